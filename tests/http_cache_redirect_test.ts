import { describe, test } from "node:test";
import { cache, CookieJar } from "../http/mod.ts";
import type { ClientOptions } from "../http/mod.ts";
import { assertEquals } from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { nodeServer } from "./_http_servers.ts";

const FRESH = { "cache-control": "max-age=60" };

function using(more: ClientOptions = {}): ClientOptions {
  return { ...more, use: [cache()] };
}

/** Sends `/to/x` on to `/x`, `/far` to another server; the rest has a body. */
function moving(
  fields: (path: string) => Record<string, string> = () => FRESH,
  far = "",
) {
  const seen: string[] = [];
  const server = nodeServer((request, response) => {
    const { url = "", headers } = request;
    seen.push(url);
    if (url.startsWith("/to/")) {
      response.writeHead(302, { location: url.slice(3) }).end();
    } else if (url === "/far") {
      response.writeHead(307, { location: far }).end();
    } else {
      response.writeHead(200, fields(url));
      response.end(`${url} ${seen.length} ${headers.authorization ?? ""}`);
    }
  });
  return { server, seen };
}

describe("cache() and redirects", () => {
  test("stores what a redirect led to, as what it is", () => {
    const { server, seen } = moving();
    return withClient(server, async (client, { url }) => {
      const first = await client.get(`${url}to/a`);
      assertEquals([first.redirected, first.url], [true, `${url}a`]);
      assertEquals(
        first.headers.get("cache-status"),
        "sluice; fwd=uri-miss; fwd-status=200; stored",
      );
      assertEquals(await first.text(), "/a 2 ");
      const direct = await client.get(`${url}a`);
      assertEquals([direct.redirected, direct.url], [false, `${url}a`]);
      assertEquals(await direct.text(), "/a 2 ");
      assertEquals(seen.splice(0), ["/to/a", "/a"]);
      // Where it leads now is for the server to say.
      await client.get(`${url}to/a`).text();
      assertEquals(seen.splice(0), ["/to/a", "/a"]);
    }, using());
  });

  test("does not follow a redirect that is stored, by itself", () => {
    const seen: string[] = [];
    const server = nodeServer((request, response) => {
      seen.push(request.url!);
      if (request.url === "/old") {
        response.writeHead(301, { ...FRESH, location: "/new" }).end();
      } else response.writeHead(200, FRESH).end("new");
    });
    return withClient(server, async (client, { url }) => {
      const manual = { redirect: "manual" } as const;
      for (let n = 0; n < 2; n++) {
        const moved = await client.get(`${url}old`, manual);
        assertEquals([moved.status, await moved.text()], [301, ""]);
      }
      assertEquals(seen.splice(0), ["/old"]);
      const response = await client.get(`${url}old`);
      assertEquals([response.redirected, await response.text()], [true, "new"]);
      assertEquals(seen.splice(0), ["/old", "/new"]);
      assertEquals(await client.get(`${url}new`).text(), "new");
      assertEquals(seen, []);
    }, using());
  });

  test("forgets what was stored under a URL that redirects now", () => {
    let moved = false;
    const seen: string[] = [];
    const server = nodeServer((request, response) => {
      seen.push(request.url!);
      if (moved && request.url === "/a") {
        response.writeHead(302, { location: "/b" }).end();
      } else response.writeHead(200, FRESH).end(request.url);
    });
    return withClient(server, async (client, { url }) => {
      assertEquals(await client.get(`${url}a`).text(), "/a");
      moved = true;
      const init = { cache: "reload" } as const;
      assertEquals(await client.get(`${url}a`, init).text(), "/b");
      assertEquals(await client.get(`${url}a`).text(), "/b");
      assertEquals(seen, ["/a", "/a", "/b", "/a", "/b"]);
    }, using());
  });

  test("does not mix up what was sent with what was not, across origins", async () => {
    const there = moving();
    const other = await there.server;
    const { server } = moving(undefined, `${other.url}secret`);
    await withClient(server, async (client, { url }) => {
      const auth = { bearer: "x" };
      // The other origin is not told the token: it answers to nobody.
      assertEquals(
        await client.get(`${url}far`, { auth }).text(),
        "/secret 1 ",
      );
      assertEquals(await client.get(`${other.url}secret`).text(), "/secret 1 ");
      assertEquals(
        await client.get(`${other.url}secret`, { auth }).text(),
        "/secret 2 Bearer x",
      );
      // Within an origin it goes along, and its answer is for nobody else.
      assertEquals(
        await client.get(`${url}to/mine`, { auth }).text(),
        "/mine 3 Bearer x",
      );
      assertEquals(await client.get(`${url}mine`).text(), "/mine 4 ");
      assertEquals(
        await client.get(`${url}mine`, { auth }).text(),
        "/mine 3 Bearer x",
      );
    }, using());
    await other.close();
  });

  test("heeds Vary where a redirect led to", () => {
    const { server, seen } = moving((path) => ({
      ...FRESH,
      vary: path === "/cookie" ? "cookie" : "x-a, accept-encoding",
    }));
    const jar = new CookieJar();
    return withClient(server, async (client, { url }) => {
      const get = (path: string, value: string) =>
        client.get(url + path, { headers: { "x-a": value } }).text();
      assertEquals(await get("to/a", "1"), "/a 2 ");
      assertEquals(await get("a", "1"), "/a 2 ");
      assertEquals(await get("a", "2"), "/a 3 ");
      assertEquals(await get("a", "1"), "/a 2 ");
      // Which cookies of the jar went there is not known.
      seen.length = 0;
      await client.get(`${url}to/cookie`).text();
      await client.get(`${url}cookie`).text();
      assertEquals(seen, ["/to/cookie", "/cookie", "/cookie"]);
    }, using({ cookies: jar }));
  });

  test("stores nothing of a redirected HEAD or POST, or for another host", () => {
    const { server, seen } = moving();
    return withClient(server, async (client, { url }) => {
      await client.head(`${url}to/a`);
      await client.post(`${url}to/a`, { body: "x" }).text();
      await client.get(`${url}to/a`, { headers: { host: "x.test" } }).text();
      await client.get(`${url}to/a`, { cookies: new CookieJar() }).text();
      seen.length = 0;
      await client.get(`${url}a`).text();
      assertEquals(seen, ["/a"]);
    }, using());
  });
});
