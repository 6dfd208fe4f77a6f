import { describe, test } from "node:test";
import { assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { answer, nodeServer, scripted } from "./_http_servers.ts";
import { CookieJar } from "../http/cookie_jar.ts";
import { cookies } from "../http/cookies_middleware.ts";

/** `/set?c=…&to=…` sets cookies, and redirects; anything tells its Cookie. */
const server = () =>
  nodeServer((request, response) => {
    const url = new URL(request.url!, "http://a");
    const set = url.searchParams.getAll("c");
    const to = url.searchParams.get("to");
    if (set.length > 0) response.setHeader("set-cookie", set);
    if (to !== null) {
      response.statusCode = 302;
      response.setHeader("location", to);
    }
    response.end(request.headers.cookie ?? "-");
  });

describe("Client cookies", () => {
  for (const how of ["option", "middleware"]) {
    const options = (jar: CookieJar) =>
      how === "option" ? { cookies: jar } : { use: [cookies(jar)] };

    test(`go along at each redirect (${how})`, async () => {
      const jar = new CookieJar();
      await withClient(server(), async (client, { url }) => {
        assertEquals(await client.get(`${url}?c=a=1&c=b=2`).text(), "-");
        assertEquals(await client.get(url).text(), "a=1; b=2");
        const end = await client.get(`${url}x/?c=c=3;Path=/y&to=/y`);
        assertEquals(await end.text(), "c=3; a=1; b=2");
        assertEquals(end.redirected, true);
        assertEquals(await client.post(url, { body: "x" }).text(), "a=1; b=2");
        assertEquals(jar.size, 3);
      }, options(jar));
    });

    test(`go to no host that did not set them (${how})`, async () => {
      const jar = new CookieJar();
      const other = await server();
      try {
        await withClient(server(), async (client, { url }) => {
          // A port makes another origin, a name another host.
          const there = other.url.replace("127.0.0.1", "localhost");
          await client.get(`${url}?c=a=1`).text();
          const to = encodeURIComponent(there);
          const headers = { cookie: "mine=1" };
          assertEquals(
            await client.get(`${url}?to=${to}`, { headers }).text(),
            "-",
          );
          jar.set("b=2", there);
          assertEquals(await client.get(`${url}?to=${to}`).text(), "b=2");
        }, options(jar));
      } finally {
        await other.close();
      }
    });
  }

  test("are sent behind those that the caller gives, which hide them", () => {
    const jar = new CookieJar();
    return withClient(server(), async (client, { url }) => {
      jar.set("a=1", url);
      jar.set("b=2", url);
      const headers = { cookie: "a=9; c=3" };
      assertEquals(
        await client.get(url, { headers }).text(),
        "a=9; c=3; b=2",
      );
      assertEquals(await client.get(url, { cookies: false }).text(), "-");
      const own = new CookieJar();
      own.set("o=1", url);
      assertEquals(await client.get(url, { cookies: own }).text(), "o=1");
    }, { cookies: jar });
  });

  test("are kept of an answer without a body, and with a broken one", () => {
    const jar = new CookieJar();
    return withClient(
      scripted(({ socket, request }) => {
        socket.write(
          request === 1
            ? "HTTP/1.1 204 No Content\r\nSet-Cookie: a=1\r\n\r\n"
            : answer("ok", "Set-Cookie: b=2\r\nSet-Cookie: x\x01=2\r\n")
              .slice(0, -1),
        );
        if (request === 2) socket.end();
      }),
      async (client, { url }) => {
        await client.get(url);
        await assertRejects(() => client.get(url).text());
        assertEquals(jar.header(url), "a=1");
      },
      { cookies: jar },
    );
  });

  test("pass through layers that make a Request of their own", () => {
    const jar = new CookieJar();
    return withClient(server(), async (client, { url }) => {
      jar.set("a=1", url);
      assertEquals(await client.get(url).text(), "a=1");
    }, {
      use: [
        cookies(jar),
        (request, next) => next(new Request(request)),
      ],
    });
  });

  test("whose hook throws fail the request with what it threw", () => {
    const failure = new Error("No list");
    const jar = new CookieJar({
      isPublicSuffix: () => {
        throw failure;
      },
    });
    return withClient(server(), async (client, { url }) => {
      const error = await assertRejects(
        () => client.get(`${url}?c=a=1;Domain=127.0.0.1`),
        Error,
      );
      assertEquals(error, failure);
      assertEquals(await client.get(url).text(), "-");
    }, { cookies: jar });
  });

  test("want a jar", () => {
    assertThrows(() => cookies({} as CookieJar), TypeError);
  });
});
