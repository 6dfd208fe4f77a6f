import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { bodyOf, exchange, rawClient, withServer } from "./_http_raw.ts";
import { modes, until } from "./_support.ts";
import type { Mode } from "./_support.ts";

const POST =
  "POST /path?query HTTP/1.1\r\nhost: x.test\r\nconnection: close\r\n" +
  "content-type: text/plain\r\nx-one: 1\r\ncookie: a=b\r\ncontent-length: 4\r\n\r\nbody";
const URL_OF = "http://x.test/path?query";

/** What a request says of itself. */
async function saysOf(request: Request): Promise<string> {
  return [
    request.method,
    request.url,
    request.headers.get("x-one"),
    request.headers.get("cookie"),
    await request.text(),
  ].join(" ");
}
const SAYS = `POST ${URL_OF} 1 a=b body`;

/** Runs in a handler, with a request that has all; gives what it threw. */
async function inHandler(
  engine: Mode,
  run: (request: Request) => unknown,
  request = POST,
): Promise<void> {
  let error: unknown;
  let done = false;
  await withServer(
    async (request) => {
      try {
        await run(request);
      } catch (thrown) {
        error = thrown;
      }
      done = true;
      return new Response("done");
    },
    { engine },
    async (server) => {
      assertEquals(bodyOf(await exchange(server, request)), "done");
    },
  );
  assert(done);
  if (error !== undefined) throw error;
}

for (const engine of modes) {
  const name = (text: string) => `the handler's request ${text}, ${engine}`;

  test(name("is a Request"), () =>
    inHandler(engine, async (request) => {
      assertInstanceOf(request, Request);
      assertEquals(Object.prototype.toString.call(request), "[object Request]");
      assertEquals(request.constructor, Request);
      assertEquals(request.headers === request.headers, true);
      assertEquals(request.signal === request.signal, true);
      assertInstanceOf(request.headers, Headers);
      assertInstanceOf(request.signal, AbortSignal);
      // Deno's own says undefined.
      if (engine === "wire") assertEquals(request.redirect, "follow");
      assertEquals(await saysOf(request), SAYS);
    }));

  test(
    name("can be cloned, and both read"),
    () =>
      inHandler(engine, async (request) => {
        const clone = request.clone();
        assert(clone instanceof Request);
        assertEquals(await saysOf(clone), SAYS);
        assertEquals(await saysOf(request), SAYS);
      }),
  );

  test(
    name("can be copied by new Request()"),
    () =>
      inHandler(engine, async (request) => {
        const copy = new Request(request);
        assertEquals(await saysOf(copy), SAYS);
        assertEquals(request.bodyUsed, true);
        await assertRejects(() => request.text(), TypeError);
      }),
  );

  test(name("can be copied with changes"), async () => {
    await inHandler(engine, async (request) => {
      const copy = new Request(request, { headers: { "x-two": "2" } });
      assertEquals([copy.method, copy.url], ["POST", URL_OF]);
      assertEquals(copy.headers.get("x-two"), "2");
      assertEquals(copy.headers.get("x-one"), null);
      assertEquals(await copy.text(), "body");
    });
    await inHandler(engine, async (request) => {
      const copy = new Request(request, { method: "PUT", body: "other" });
      assertEquals([copy.method, copy.url], ["PUT", URL_OF]);
      assertEquals(copy.headers.get("x-one"), "1");
      assertEquals(await copy.text(), "other");
    });
    await inHandler(engine, async (request) => {
      const { method, headers, body } = request;
      const copy = new Request("http://other.test/", {
        method,
        headers,
        body,
        duplex: "half",
      } as RequestInit);
      assertEquals(await copy.text(), "body");
      assertEquals(copy.headers.get("x-one"), "1");
    });
  });

  test(
    name("can be an init of another"),
    () =>
      inHandler(engine, async (request) => {
        const copy = new Request("http://other.test/", request as RequestInit);
        assertEquals(copy.url, "http://other.test/");
        assertEquals(copy.method, "POST");
        assertEquals(copy.headers.get("x-one"), "1");
        assertEquals(await copy.text(), "body");
      }),
  );

  if (engine !== "h2") {
    test(name("can be fetched"), async () => {
      await withServer(
        async (request) => new Response(await saysOf(request)),
        { engine },
        async (origin) => {
          await withServer(
            async (request) => {
              const { pathname, search } = new URL(request.url);
              const headers = new Headers(request.headers);
              headers.delete("connection");
              const there = new Request(
                origin.url.slice(0, -1) + pathname + search,
                {
                  method: request.method,
                  headers,
                  body: request.body,
                  duplex: "half",
                } as RequestInit,
              );
              return await fetch(there);
            },
            { engine },
            async (proxy) => {
              const text = await exchange(proxy, POST);
              assert(text.includes("/path?query 1 a=b body"), text);
            },
          );
          // The very request: to where it says.
          await withServer(
            async (request) => {
              if (request.headers.get("x-hop") === "1") {
                return new Response(await saysOf(request));
              }
              request.headers.set("x-hop", "1");
              return await fetch(request);
            },
            { engine: "wire" },
            async (server) => {
              const response = await fetch(`${server.url}path?query`, {
                method: "POST",
                body: "body",
                headers: { "x-one": "1", cookie: "a=b" },
              });
              const url = `${server.url}path?query`;
              assertEquals(await response.text(), `POST ${url} 1 a=b body`);
            },
          );
        },
      );
    });
  }

  test(name("reads its body in every form, once"), async () => {
    const forms: [string, (request: Request) => Promise<unknown>, unknown][] = [
      ["text", (r) => r.text(), "1234"],
      ["json", (r) => r.json(), 1234],
      ["bytes", async (r) => [...await r.bytes()], [49, 50, 51, 52]],
      [
        "arrayBuffer",
        async (r) => [...new Uint8Array(await r.arrayBuffer())],
        [49, 50, 51, 52],
      ],
      ["blob", async (r) => await (await r.blob()).text(), "1234"],
      ["blob type", async (r) => (await r.blob()).type, "text/plain"],
      [
        "body",
        async (r) => {
          let text = "";
          const decoder = new TextDecoder();
          for await (const chunk of r.body!) text += decoder.decode(chunk);
          return text;
        },
        "1234",
      ],
    ];
    const body = POST.replace(/body$/, "1234");
    for (const [form, read, expected] of forms) {
      await inHandler(engine, async (request) => {
        if (form === "bytes" && request.bytes === undefined) return;
        assertEquals(request.bodyUsed, false, form);
        const value = await read(request);
        if (form === "blob type") {
          assert(String(value).startsWith("text/plain"));
        } else assertEquals(value, expected, form);
        assertEquals(request.bodyUsed, true, form);
        await assertRejects(() => request.text(), TypeError);
        assertThrows(() => request.clone(), TypeError);
      }, body);
    }
  });

  test(name("reads forms"), async () => {
    const urlencoded = "a=b&c=%C3%A9";
    await inHandler(
      engine,
      async (request) => {
        const form = await request.formData();
        assertEquals([...form], [["a", "b"], ["c", "é"]]);
      },
      "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" +
        "content-type: application/x-www-form-urlencoded\r\n" +
        `content-length: ${urlencoded.length}\r\n\r\n${urlencoded}`,
    );
    const multipart =
      '--XX\r\ncontent-disposition: form-data; name="f"; filename="a.txt"\r\n\r\nfile\r\n--XX--\r\n';
    await inHandler(
      engine,
      async (request) => {
        const file = (await request.formData()).get("f") as File;
        assertEquals([file.name, await file.text()], ["a.txt", "file"]);
      },
      "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" +
        "content-type: multipart/form-data; boundary=XX\r\n" +
        `content-length: ${multipart.length}\r\n\r\n${multipart}`,
    );
  });

  test(name("without a body has none"), () =>
    inHandler(
      engine,
      async (request) => {
        assertEquals(request.body, null);
        assertEquals(request.bodyUsed, false);
        assertEquals(await request.text(), "");
        assertEquals(await request.text(), "");
        const copy = new Request(request);
        assertEquals([copy.method, copy.body], ["GET", null]);
      },
      "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ));
}

test("what a handler does to its request's headers holds for copies", () =>
  inHandler("wire", async (request) => {
    const first = new Request(request.clone());
    assertEquals(first.headers.get("x-one"), "1");
    request.headers.set("x-one", "changed");
    request.headers.delete("cookie");
    const copy = new Request(request);
    assertEquals(copy.headers.get("x-one"), "changed");
    assertEquals(copy.headers.get("cookie"), null);
    assertEquals(await copy.text(), "body");
  }));

test("a clone's signal aborts with the request's", async () => {
  let clone!: Request;
  let request!: Request;
  await withServer(
    (given) => {
      request = given;
      clone = given.clone();
      return new Promise(() => {});
    },
    {},
    async (server) => {
      const client = await rawClient(server);
      client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
      await until(() => clone !== undefined);
      assertEquals([request.signal.aborted, clone.signal.aborted], [
        false,
        false,
      ]);
      client.destroy();
      await until(() => request.signal.aborted && clone.signal.aborted);
      assertEquals((request.signal.reason as Error).name, "AbortError");
    },
  );
});

test("a body can be read after the response, and is then waited for", async () => {
  let body: Promise<string> | undefined;
  await withServer(
    (request) => {
      const text = request.text();
      body ??= text;
      return new Response("early");
    },
    {},
    async (server) => {
      const client = await rawClient(server);
      client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n");
      await client.until("early");
      client.send("bo");
      await new Promise((resolve) => setTimeout(resolve, 10));
      client.send("dy" + POST);
      await client.until("early", 2);
      assertEquals(await body, "body");
      client.destroy();
    },
  );
});
