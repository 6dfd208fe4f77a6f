import { describe, test } from "node:test";
import zlib from "node:zlib";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "./assert.ts";
import { deferred } from "./_client_support.ts";
import { within } from "./_support.ts";
import { Client, CookieJar, retry, serve, withTrailers } from "../http/mod.ts";
import { FetchError, StatusError } from "../http/errors.ts";
import { NetError } from "../streams/errors.ts";
import type { ClientOptions, ClientTransport } from "../http/mod.ts";

const URL_ = "http://a.test/";

function gzipSync(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(zlib.gzipSync(text));
}

/** Runs a test with a client over a transport. */
async function withTransport(
  transport: ClientTransport,
  run: (client: Client) => Promise<unknown>,
  options: ClientOptions = {},
): Promise<void> {
  const client = new Client({ ...options, transport });
  try {
    await within(run(client), 10_000, "The test");
    assertEquals(client.stats().open, 0);
  } finally {
    await client.close({ timeout: 0 });
  }
}

/** A body that never ends; tells when it is cancelled. */
function endless(onCancel?: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1024)),
    cancel: () => onCancel?.(),
  });
}

describe("transport", () => {
  test("is given the request as it would be sent", () => {
    const seen: Request[] = [];
    return withTransport(
      (request) => {
        seen.push(request.clone());
        return new Response("hello", { headers: { "x-a": "b" } });
      },
      async (client) => {
        const response = await client.post(`${URL_}x?y=1#z`, {
          json: { a: 1 },
          headers: { "x-b": "c" },
          auth: { bearer: "t" },
        });
        assertEquals(response.status, 200);
        assertEquals(response.headers.get("x-a"), "b");
        assertEquals(response.url, `${URL_}x?y=1`);
        assertEquals(response.httpVersion, "1.1");
        assertEquals(await response.text(), "hello");
        assertEquals([...await response.trailers], []);
        const [request] = seen;
        assertEquals(request.method, "POST");
        assertEquals(request.url, `${URL_}x?y=1`);
        const { headers } = request;
        assertEquals(headers.get("content-type"), "application/json");
        assertEquals(headers.get("content-length"), "7");
        assertEquals(headers.get("x-b"), "c");
        assertEquals(headers.get("authorization"), "Bearer t");
        assertEquals(headers.get("accept"), "*/*");
        assertEquals(headers.get("host"), "a.test");
        assertEquals(await request.json(), { a: 1 });
      },
    );
  });

  test("is sent streams piece by piece, and answers in pieces", () =>
    withTransport(
      (request) => new Response(request.body),
      async (client) => {
        const pieces = ["a", "b", "c"];
        async function* body() {
          yield* pieces;
          await Promise.resolve();
        }
        assertEquals(
          await client.post(URL_, { body: body() }).text(),
          "abc",
        );
        const form = new FormData();
        form.set("a", "b");
        const echoed = await client.post(URL_, { body: form }).text();
        assert(echoed.includes('name="a"'));
      },
    ));

  test("fails a request whose body fails", () =>
    withTransport(
      async (request) => new Response(await request.text()),
      async (client) => {
        function* body(): Generator<string> {
          yield "a";
          throw new Error("Broken");
        }
        const error = await assertRejects(
          () => client.post(URL_, { body: body() }),
          FetchError,
          "Broken",
        );
        assertEquals(error.code, "ERR_BODY");
      },
    ));

  test("is asked again after a redirect, with cookies", () => {
    const seen: string[] = [];
    const jar = new CookieJar();
    return withTransport(
      (request) => {
        const { pathname } = new URL(request.url);
        seen.push(
          `${request.method} ${pathname} ${request.headers.get("cookie")}`,
        );
        return pathname === "/end"
          ? new Response("there")
          : new Response("moved", {
            status: 302,
            headers: [["location", "/end"], ["set-cookie", "a=1; Path=/"], [
              "set-cookie",
              "b=2; Path=/",
            ]],
          });
      },
      async (client) => {
        const response = await client.post(URL_, { body: "x" });
        assertEquals(await response.text(), "there");
        assertEquals(response.redirects, [URL_]);
        assertEquals(seen, ["POST / null", "GET /end a=1; b=2"]);
      },
      { cookies: jar },
    );
  });

  test("has its answers decoded and bounded", () => {
    const text = "text ".repeat(1000);
    return withTransport(
      () =>
        new Response(gzipSync(text), {
          headers: { "content-encoding": "gzip" },
        }),
      async (client) => {
        assertEquals(await client.get(URL_).text(), text);
        const error = await assertRejects(
          () => client.get(URL_, { maxResponseSize: 4000 }).text(),
          FetchError,
        );
        assertEquals(error.code, "ERR_SIZE_LIMIT");
      },
    );
  });

  test("is stopped past maxResponseSize", () => {
    const cancelled = deferred();
    return withTransport(
      () => new Response(endless(cancelled.resolve)),
      async (client) => {
        const error = await assertRejects(
          () => client.get(URL_, { maxResponseSize: 5000 }).bytes(),
          FetchError,
        );
        assertEquals(error.code, "ERR_SIZE_LIMIT");
        await cancelled.promise;
      },
    );
  });

  test("waits for a reader that is slow", () => {
    let given = 0;
    const cancelled = deferred();
    const body = () =>
      new ReadableStream<Uint8Array>({
        pull: (controller) => {
          given++;
          controller.enqueue(new Uint8Array(16 * 1024));
        },
        cancel: () => cancelled.resolve(),
      });
    return withTransport(() => new Response(body()), async (client) => {
      const response = await client.get(URL_);
      const reader = response.body!.getReader();
      for (let i = 0; i < 20; i++) await reader.read();
      assert(given < 50, `${given} pieces were asked for`);
      await reader.cancel();
      await cancelled.promise;
    });
  });

  test("answers HEAD without a body, and with statuses without one", () =>
    withTransport(
      (request) =>
        request.method === "HEAD"
          ? new Response("long", { headers: { "content-length": "4" } })
          : new Response(null, { status: 204 }),
      async (client) => {
        const head = await client.head(URL_);
        assertEquals(head.headers.get("content-length"), "4");
        assertEquals(head.body, null);
        assertEquals((await client.get(URL_)).status, 204);
      },
    ));

  test("goes with middleware, throwOnStatus and retry", () => {
    let left = 2;
    const order: string[] = [];
    return withTransport(
      () => {
        order.push("transport");
        return new Response("", { status: left-- > 0 ? 503 : 404 });
      },
      async (client) => {
        const error = await assertRejects(
          () => client.get(URL_, { throwOnStatus: true }),
          StatusError,
        );
        assertEquals(error.response.status, 404);
        assertEquals(order, ["transport", "transport", "transport"]);
      },
      { use: [retry({ delay: 1 })] },
    );
  });

  test("fails like the network with a NetError, else as it is", () => {
    const errors = [
      new NetError("It hung up", { code: "ECONNRESET", retryable: true }),
      new RangeError("A mistake"),
    ];
    return withTransport(() => {
      throw errors.shift();
    }, async (client) => {
      const [reset, mistake] = errors;
      const error = await assertRejects(() => client.get(URL_), FetchError);
      assertEquals(error.code, "ECONNRESET");
      assert(error.retryable);
      assertStrictEquals(error.cause, reset as NetError);
      assertStrictEquals(
        await client.get(URL_).catch((error) => error),
        mistake,
      );
    });
  });

  test("breaks off when its body does", () =>
    withTransport(
      () => {
        let first = true;
        return new Response(
          new ReadableStream<Uint8Array>({
            pull: (controller) => {
              if (!first) throw new Error("Torn");
              first = false;
              controller.enqueue(new Uint8Array(1));
            },
          }),
        );
      },
      async (client) => {
        const response = await client.get(URL_);
        const error = await assertRejects(() => response.bytes(), FetchError);
        assertEquals(error.code, "ECONNRESET");
        assertEquals(error.phase, "body");
        await assertRejects(() => response.trailers, FetchError);
      },
    ));

  test("is refused what is no response", async () => {
    const used = new Response("x");
    await used.text();
    const answers: unknown[] = [undefined, "text", {}, Response.error(), used];
    await withTransport(() => answers.shift() as Response, async (client) => {
      while (answers.length > 0) {
        await assertRejects(() => client.get(URL_), TypeError);
      }
    });
    assertThrows(
      () => new Client({ transport: "x" as unknown as ClientTransport }),
      TypeError,
      "transport",
    );
  });

  test("is told when the time is over, or the signal aborts", async () => {
    const told: { signal: AbortSignal }[] = [];
    await withTransport((request, { signal }) => {
      told.push({ signal }, request);
      return new Promise<Response>(() => {});
    }, async (client) => {
      const phases = { response: { response: 20 }, total: 20 };
      for (const [phase, timeout] of Object.entries(phases)) {
        const error = await assertRejects(
          () => client.get(URL_, { timeout }),
          FetchError,
        );
        assertEquals(error.code, "ETIMEDOUT");
        assertEquals(error.phase, phase);
      }
      const controller = new AbortController();
      const pending = client.get(URL_, { signal: controller.signal });
      controller.abort("enough");
      assertEquals(await pending.catch((reason) => reason), "enough");
      assertEquals(told.length, 6);
      for (const { signal } of told) assert(signal.aborted);
    });
  });

  test("counts the time between two pieces", () => {
    const cancelled = deferred();
    return withTransport(
      () =>
        new Response(
          new ReadableStream<Uint8Array>({
            start: (controller) => controller.enqueue(new Uint8Array(1)),
            cancel: () => cancelled.resolve(),
          }),
        ),
      async (client) => {
        const error = await assertRejects(
          () => client.get(URL_, { timeout: { idle: 20 } }).bytes(),
          FetchError,
        );
        assertEquals(error.phase, "idle");
        await cancelled.promise;
      },
    );
  });

  test("does not go through proxies, and waits for no place", () =>
    withTransport(
      () => new Response("direct"),
      async (client) => {
        const all = Array.from({ length: 5 }, () => client.get(URL_).text());
        assertEquals(await Promise.all(all), Array(5).fill("direct"));
        assertEquals(
          await client.get(URL_, { proxy: "socks5://127.0.0.1:2" }).text(),
          "direct",
        );
      },
      { proxy: "http://127.0.0.1:1", pool: { perHost: 1, queue: 0 } },
    ));

  test("is counted by stats, and waited for by close", async () => {
    const answer = deferred<Response>();
    const client = new Client({ transport: () => answer.promise });
    const pending = client.get(URL_);
    assertEquals(client.stats(), {
      open: 1,
      idle: 0,
      queued: 0,
      hosts: { "http://a.test": { open: 1, idle: 0, queued: 0 } },
    });
    const closed = client.close();
    await assertRejects(() => client.get(URL_), TypeError, "closed");
    answer.resolve(new Response("late"));
    assertEquals(await pending.text(), "late");
    await closed;
    const hung = new Client({ transport: () => new Promise(() => {}) });
    const failing = hung.get(URL_);
    await hung.close({ timeout: 0 });
    const error = await assertRejects(() => failing, FetchError);
    assertEquals(error.code, "ERR_CLOSED");
  });

  test("may be fetch of a server, in memory", async () => {
    const server = await serve(async (request) => {
      const body = await request.text();
      const response = new Response(`${request.method} ${body}`, {
        headers: { trailer: "x-end" },
      });
      return withTrailers(response, { "x-end": "yes" });
    }, { hostname: "127.0.0.1", port: 0 });
    try {
      const { fetch } = server;
      await withTransport(fetch, async (client) => {
        const response = await client.put(URL_, { body: "hello" });
        assertEquals(await response.text(), "PUT hello");
        assertEquals((await response.trailers).get("x-end"), "yes");
      });
    } finally {
      await server.close({ timeout: 0 });
    }
  });

  test("may be another client, whose answers are decoded already", async () => {
    const gzipped = () =>
      new Response(gzipSync("plain"), {
        headers: { "content-encoding": "gzip" },
      });
    const inner = new Client({ transport: gzipped });
    await withTransport(
      (request) => inner.fetch(request),
      async (client) => {
        const response = await client.get(URL_);
        assertInstanceOf(response, Response);
        assertEquals(await response.text(), "plain");
      },
    );
    await inner.close();
  });

  test("may be the runtime's own fetch", async () => {
    const server = await serve(
      async (request) =>
        new Response(gzipSync(`got ${await request.text()}`), {
          headers: { "content-encoding": "gzip" },
        }),
      { hostname: "127.0.0.1", port: 0 },
    );
    try {
      const { fetch } = globalThis;
      await withTransport(
        (request, init) => fetch(request, init),
        (client) =>
          client.post(server.url, { body: "it" }).text().then((text) =>
            assertEquals(text, "got it")
          ),
      );
    } finally {
      await server.close({ timeout: 0 });
    }
  });
});
