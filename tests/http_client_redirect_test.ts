import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { answer, bodyOf, nodeServer, scripted } from "./_http_servers.ts";
import { until } from "./_support.ts";
import { FetchError, RedirectError } from "../http/errors.ts";

/** `/301/post?to=…` redirects; anything else tells what came. */
const server = (other?: { url: string }) =>
  nodeServer(async (request, response) => {
    const url = new URL(request.url!, "http://a");
    const status = Number(url.pathname.slice(1, 4));
    const body = await bodyOf(request);
    if (status >= 300) {
      const to = url.searchParams.get("to")!;
      response.writeHead(status, {
        location: to === "other" ? other!.url : to,
        "content-type": "text/html",
      });
      response.end("moved");
      return;
    }
    response.end(JSON.stringify({
      method: request.method,
      url: request.url,
      headers: request.headers,
      body,
    }));
  });

interface Seen {
  method: string;
  url: string;
  headers: Record<string, string | undefined>;
  body: string;
}

describe("redirects", () => {
  test("are followed, and told", () =>
    withClient(server(), async (client, { url, accepted }) => {
      const response = await client.get(
        `${url}301?to=${encodeURIComponent("/302?to=../x%23f")}`,
      );
      assertEquals(response.redirected, true);
      assertEquals(response.url, `${url}x`);
      assertEquals(response.redirects, [
        `${url}301?to=${encodeURIComponent("/302?to=../x%23f")}`,
        `${url}302?to=../x%23f`,
      ]);
      assertEquals(response.request.url, `${url}x`);
      assertEquals((await response.json() as Seen).url, "/x");
      // The bodies in between were read: one connection did it all.
      assertEquals(accepted, 0);
      assertEquals(client.stats().idle, 1);
    }));

  // Fetch, 4.4, and RFC 9110, 15.4.
  const methods: [status: number, method: string, then: string][] = [
    [301, "GET", "GET"],
    [301, "POST", "GET"],
    [301, "PUT", "PUT"],
    [302, "POST", "GET"],
    [302, "DELETE", "DELETE"],
    [303, "GET", "GET"],
    [303, "POST", "GET"],
    [303, "PUT", "GET"],
    [303, "PATCH", "GET"],
    [307, "POST", "POST"],
    [307, "GET", "GET"],
    [308, "POST", "POST"],
    [308, "PUT", "PUT"],
  ];
  for (const [status, method, then] of methods) {
    test(`${status} makes ${then} of ${method}`, () =>
      withClient(server(), async (client, { url }) => {
        const body = method === "GET" ? undefined : "hello";
        const seen = await client.fetch(`${url}${status}?to=/x`, {
          method,
          body,
          headers: { "content-language": "en", "x-a": "b" },
        }).json<Seen>();
        assertEquals(seen.method, then);
        const kept = then === method && body !== undefined;
        assertEquals(seen.body, kept ? "hello" : "");
        assertEquals(seen.headers["x-a"], "b");
        assertEquals(
          seen.headers["content-type"],
          kept ? "text/plain;charset=UTF-8" : undefined,
        );
        assertEquals(
          seen.headers["content-language"],
          kept || method === "GET" ? "en" : undefined,
        );
      }));
  }

  test("303 keeps HEAD", () =>
    withClient(server(), async (client, { url }) => {
      const response = await client.head(`${url}303?to=/x`);
      assertEquals(response.request.method, "HEAD");
      assertEquals(response.url, `${url}x`);
    }));

  test("keep credentials within the origin, and drop them beyond", async () => {
    const other = await server();
    try {
      await withClient(server(other), async (client, { url, port }) => {
        const init = {
          auth: { bearer: "secret" },
          headers: {
            cookie: "a=b",
            "proxy-authorization": "c",
            "x-a": "b",
            host: `127.0.0.1:${port}`,
          },
        } as const;
        const same = await client.get(`${url}302?to=/x`, init).json<Seen>();
        assertEquals(same.headers.authorization, "Bearer secret");
        assertEquals(same.headers.cookie, "a=b");
        const gone = await client.get(`${url}302?to=other`, init).json<Seen>();
        assertEquals(gone.headers.authorization, undefined);
        assertEquals(gone.headers.cookie, undefined);
        assertEquals(gone.headers["proxy-authorization"], undefined);
        assertEquals(gone.headers["x-a"], "b");
        assertEquals(gone.headers.host, `127.0.0.1:${other.port}`);
      });
    } finally {
      await other.close();
    }
  });

  test("are not followed with a body that is gone", () =>
    withClient(server(), async (client, { url }) => {
      const body = () => new Blob(["hello"]).stream();
      for (const status of [301, 302, 303]) {
        const seen = await client.post(`${url}${status}?to=/x`, {
          body: body(),
        })
          .json<Seen>();
        assertEquals(seen.method, "GET");
      }
      for (const status of [307, 308]) {
        const error = await assertRejects(
          () => client.post(`${url}${status}?to=/x`, { body: body() }),
          FetchError,
          "once",
        );
        assertInstanceOf(error.cause, RedirectError);
        assertEquals(error.phase, "redirect");
      }
    }));

  test("are followed with a Blob, a form and bytes", () =>
    withClient(server(), async (client, { url }) => {
      const form = new FormData();
      form.set("a", "b");
      for (const body of [new Blob(["hello"]), form, new Uint8Array([104])]) {
        const seen = await client.post(`${url}307?to=/x`, { body })
          .json<Seen>();
        assertEquals(seen.method, "POST");
        assert(seen.body.length > 0);
      }
    }));

  test("end at maxRedirects", () =>
    withClient(
      scripted(({ socket, head }) => {
        const n = Number(head.slice(5, head.indexOf(" HTTP")));
        socket.write(answer("", `Location: /${n + 1}\r\n`, "302 Found"));
      }),
      async (client, { url }) => {
        const error = await assertRejects(
          () => client.get(`${url}1`),
          FetchError,
        );
        assertInstanceOf(error.cause, RedirectError);
        assert(error.message.includes("20"), error.message);
        await assertRejects(
          () => client.get(`${url}1`, { maxRedirects: 0 }),
          FetchError,
          "0 times",
        );
        assertEquals(client.stats().open, 1);
      },
    ));

  test("are given to the caller with manual, refused with error", () =>
    withClient(server(), async (client, { url }) => {
      const response = await client.get(`${url}302?to=/x`, {
        redirect: "manual",
      });
      assertEquals(response.status, 302);
      assertEquals(response.headers.get("location"), "/x");
      assertEquals(await response.text(), "moved");
      await assertRejects(
        () => client.get(`${url}302?to=/x`, { redirect: "error" }),
        FetchError,
        "not wanted",
      );
      const request = new Request(`${url}302?to=/x`, { redirect: "manual" });
      assertEquals((await client.fetch(request)).status, 302);
    }));

  test("without a Location are answers like others", () =>
    withClient(
      scripted(({ socket }) => socket.write(answer("hi", "", "302 Found"))),
      async (client, { url }) => {
        const response = await client.get(url);
        assertEquals(response.status, 302);
        assertEquals(await response.text(), "hi");
      },
    ));

  test("of other statuses are answers, too", () =>
    withClient(
      scripted(({ socket }) =>
        socket.write(answer("hi", "Location: /x\r\n", "300 Multiple Choices"))
      ),
      async (client, { url }) =>
        assertEquals((await client.get(url)).status, 300),
    ));

  for (
    const to of [
      ...["ftp://a/", "http://", "http://u:p@127.0.0.1/", "javascript:1", "//"],
    ]
  ) {
    test(`are not followed to ${to}`, () =>
      withClient(
        scripted(({ socket }) =>
          socket.write(answer("", `Location: ${to}\r\n`, "302 Found"))
        ),
        async (client, { url }) => {
          const error = await assertRejects(() => client.get(url), FetchError);
          assertInstanceOf(error.cause, RedirectError);
        },
      ));
  }

  test("may be in UTF-8", () =>
    withClient(
      scripted(({ socket, head }) => {
        if (head.startsWith("GET / ")) {
          socket.write(answer("", `Location: /é\r\n`, "302 Found"));
        } else socket.write(answer(head.slice(4, head.indexOf(" HTTP"))));
      }),
      async (client, { url }) => {
        assertEquals(await client.get(url).text(), "/%C3%A9");
      },
    ));

  test("do not wait for a body that does not come, or is long", () =>
    withClient(
      scripted(({ socket, head }) => {
        if (head.startsWith("GET /x")) socket.write(answer("there"));
        else if (head.startsWith("GET /silent")) {
          socket.write(
            "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 9\r\n\r\n",
          );
        } else {
          socket.write(
            "HTTP/1.1 302 Found\r\nLocation: /x\r\n" +
              "Content-Length: 99999999\r\n\r\n",
          );
          socket.write("x".repeat(200_000));
        }
      }),
      async (client, { url }) => {
        assertEquals(await client.get(`${url}long`).text(), "there");
        assertEquals(await client.get(`${url}silent`).text(), "there");
        await until(() => client.stats().open === 1);
      },
    ));

  test("count for the total timeout as one", () =>
    withClient(
      scripted(({ socket }) => {
        setTimeout(
          () => socket.write(answer("", "Location: /x\r\n", "302 Found")),
          15,
        );
      }),
      async (client, { url }) => {
        const error = await assertRejects(
          () => client.get(url, { timeout: { total: 80, response: 2000 } }),
          FetchError,
        );
        assertEquals(error.phase, "total");
      },
    ));

  test("is followed by the next request alike when a URL is asked for often", async () => {
    const heads: string[] = [];
    const there = scripted(({ socket, head }) => {
      heads.push(head);
      const path = head.split(" ", 2)[1];
      socket.write(
        path === "/a"
          ? answer("", "Location: /b?c\r\n", "302 Found")
          : answer(`at ${path}`),
      );
    });
    await withClient(there, async (client, { url }) => {
      const urls = [`${url}a`, `${url}a`, `${url}b?c`, `${url}d`];
      for (let n = 0; n < 4; n++) {
        for (const one of urls) {
          const text = await client.get(one).text();
          assertEquals(text, one.endsWith("d") ? "at /d" : "at /b?c");
        }
        // What is said for one request is for that alone.
        const { length } = heads;
        await client.get(`${url}d`, { headers: { "x-a": "b" } }).text();
        assert(heads[length].includes("x-a: b\r\n"));
        await client.post(`${url}d`).text();
        assert(heads[length + 1].startsWith("POST /d "));
        heads.length = length;
      }
      const first = heads.slice(0, 6);
      const paths = first.map((head) => head.split(" ", 2)[1]);
      assertEquals(paths, ["/a", "/b?c", "/a", "/b?c", "/b?c", "/d"]);
      assertEquals(first[1], first[0].replace("/a ", "/b?c "));
      assertEquals(first[5], first[0].replace("/a ", "/d "));
      for (let n = 0; n < 4; n++) {
        assertEquals(heads.slice(6 * n, 6 * n + 6), first);
      }
    }, { headers: { "x-latin": "Gr\u00fc\u00dfe" } });
  });

  test("to more than one place lead nowhere", () => {
    const twice = (second: string) =>
      scripted(({ socket, head }) => {
        socket.write(
          head.startsWith("GET /a ")
            ? answer(
              "",
              `Location: /b\r\nLocation: ${second}\r\n`,
              "302 Found",
            )
            : answer("there"),
        );
      });
    return withClient(twice("/c"), async (client, { url }) => {
      const error = await assertRejects(
        () => client.get(`${url}a`),
        FetchError,
        "more than one place",
      );
      assertInstanceOf(error.cause, RedirectError);
      // Whoever follows them himself is shown what came.
      const shown = await client.get(`${url}a`, { redirect: "manual" });
      assertEquals(shown.headers.get("location"), "/b, /c");
      await withClient(twice("/b"), async (client, { url }) => {
        assertEquals(await client.get(`${url}a`).text(), "there");
      });
    });
  });

  test("to what cannot be fetched are told with the place", () =>
    withClient(server(), async (client, { url }) => {
      for (const to of ["data:text/plain,x", "http://a:b@127.0.0.1/"]) {
        await assertRejects(
          () => client.get(`${url}302?to=${encodeURIComponent(to)}`),
          FetchError,
          `cannot be fetched: "${to}"`,
        );
      }
    }));
});
