import { test } from "node:test";
import { assert, assertEquals, assertInstanceOf } from "./assert.ts";
import { rawClient, withServer } from "./_http_raw.ts";
import { within } from "./_support.ts";

const GET =
  "GET /a?b=%20c HTTP/1.1\r\nhost: X.test\r\nx-one:  1 \r\nx-one: 2\r\ncookie: a=b\r\nset-cookie: c=d\r\n\r\n";
const POST =
  "POST /a?b=%20c HTTP/1.1\r\nhost: X.test\r\nx-one: 1\r\nx-one: 2\r\ncookie: a=b\r\nset-cookie: c=d\r\ncontent-length: 4\r\n\r\nbody";
const URL_OF = "http://x.test/a?b=%20c";
/** The first ones are not yet remembered. */
const TIMES = 8;
const FIELDS = "cookie: a=b\nhost: X.test\nset-cookie: c=d\nx-one: 1, 2"
  .toLowerCase();

/** What a request says of itself, without its body. */
function saysOf(request: Request): string {
  return [
    request.method,
    request.url,
    ...[...request.headers]
      .filter(([name]) => name !== "content-length")
      .map(([name, value]) => `${name}: ${value}`)
      .sort(),
  ].join("\n").toLowerCase();
}

/** Sends the same request again and again on one connection. */
async function repeat(
  message: string,
  handler: (request: Request, turn: number) => unknown,
): Promise<void> {
  const errors: unknown[] = [];
  let turn = 0;
  await withServer(
    async (request) => {
      const response = new Response(`answer ${turn}.`);
      try {
        await handler(request, turn++);
      } catch (error) {
        errors.push(error);
      }
      return response;
    },
    { engine: "wire" },
    async (server) => {
      const client = await rawClient(server);
      for (let i = 0; i < TIMES; i++) {
        client.send(message);
        await client.until(`answer ${i}.`);
      }
      client.destroy();
    },
  );
  assertEquals(turn, TIMES);
  for (const error of errors) throw error;
}

for (const [method, message] of Object.entries({ GET, POST })) {
  const says = `${method}\n${URL_OF}\n${FIELDS}`.toLowerCase();
  const name = (what: string) =>
    `a ${method} that comes again and again ${what}`;

  test(
    name("is told as it came each time"),
    () =>
      repeat(message, async (request) => {
        assertInstanceOf(request, Request);
        assertEquals(request.constructor, Request);
        assertEquals(saysOf(request), says);
        assertEquals(await request.text(), method === "GET" ? "" : "body");
      }),
  );

  test(
    name("has headers of its own each time"),
    () =>
      repeat(message, (request, turn) => {
        assertEquals(saysOf(request), says);
        request.headers.set("x-one", `${turn}`);
        request.headers.append("x-two", "2");
        request.headers.append("set-cookie", "e=f");
        request.headers.delete("cookie");
        assertEquals(new Request(request).headers.get("x-one"), `${turn}`);
      }),
  );

  test(
    name("can be copied each time"),
    () =>
      repeat(message, async (request, turn) => {
        const copy = turn % 2 === 0 ? new Request(request) : request.clone();
        assertEquals(saysOf(copy), says);
        assertEquals(await copy.text(), method === "GET" ? "" : "body");
        const { redirect, mode, credentials, cache, referrer, keepalive } =
          new Request(URL_OF, { method });
        assertEquals(
          [
            copy.redirect,
            copy.mode,
            copy.credentials,
            copy.cache,
            copy.referrer,
            copy.keepalive,
          ],
          [redirect, mode, credentials, cache, referrer, keepalive],
        );
      }),
  );
}

test(`requests that come again and again are all others`, async () => {
  const seen = new Set<Request>();
  const signals = new Set<AbortSignal>();
  await repeat(GET, (request) => {
    seen.add(request);
    signals.add(request.signal);
  });
  assertEquals([seen.size, signals.size], [TIMES, TIMES]);
});

test(`a request that came before aborts alone when its client leaves`, async () => {
  const signals: AbortSignal[] = [];
  let began = () => {};
  let left = () => {};
  const beginning = new Promise<void>((resolve) => began = resolve);
  const leaving = new Promise<void>((resolve) => left = resolve);
  await withServer(
    async (request) => {
      const turn = signals.push(request.signal);
      if (turn < 6) return new Response(`answer ${turn}.`);
      request.signal.addEventListener("abort", () => left());
      began();
      await leaving;
      return new Response();
    },
    { engine: "wire" },
    async (server) => {
      const client = await rawClient(server);
      for (let turn = 1; turn < 6; turn++) {
        client.send(GET);
        await client.until(`answer ${turn}.`);
      }
      client.send(GET);
      await beginning;
      client.destroy();
      await within(leaving, 10_000, "abort");
    },
  );
  assertEquals(signals.map(({ aborted }) => aborted), [
    ...new Array(5).fill(false),
    true,
  ]);
});

/** A body that ends in another turn than its only chunk comes in. */
function ending(
  end: (controller: ReadableStreamDefaultController<Uint8Array>) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let chunk: Uint8Array | undefined = new Uint8Array([0x61, 0x62]);
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (chunk === undefined) return;
      controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
      chunk = undefined;
      end(controller);
    },
  }, { highWaterMark: 0 });
}

test("serve sends what a stream holds that ends with its chunk, behind it, or with an error", async () => {
  const told: string[] = [];
  const bodies: Record<string, () => BodyInit> = {
    "/at-once": () => ending((controller) => controller.close()),
    "/later": () =>
      ending((controller) => setTimeout(() => controller.close(), 20)),
    "/error-at-once": () =>
      ending((controller) => controller.error(new Error("at once"))),
    "/error-later": () =>
      ending((controller) =>
        setTimeout(() => controller.error(new Error("later")), 20)
      ),
    "/bytes": () =>
      new ReadableStream({
        type: "bytes",
        start(controller) {
          controller.enqueue(new Uint8Array([0x61, 0x62]));
          controller.close();
        },
      }),
    "/two": () =>
      new ReadableStream<Uint8Array<ArrayBuffer>>({
        start(controller) {
          controller.enqueue(new Uint8Array([0x61]));
          controller.enqueue(new Uint8Array([0x62]));
          controller.close();
        },
      }),
    "/text": () => "ab",
  };
  await withServer((request) => {
    const { pathname } = new URL(request.url);
    return new Response(bodies[pathname]());
  }, {
    engine: "wire",
    onError(error) {
      told.push((error as Error).message);
      return new Response(null, { status: 500 });
    },
  }, async (server) => {
    for (const path of Object.keys(bodies)) {
      const client = await rawClient(server);
      client.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
      if (path === "/error-at-once") {
        await client.until("HTTP/1.1 500");
      } else if (path === "/error-later") {
        await client.untilEnd();
        assert(!client.text.endsWith("0\r\n\r\n"), client.text);
      } else if (path === "/later") {
        await client.until("2\r\nab\r\n0\r\n\r\n");
      } else {
        await client.until("\r\n\r\nab");
        assert(client.text.includes("content-length: 2\r\n"), client.text);
      }
      client.destroy();
    }
    assertEquals(told, ["at once", "later"]);
  });
});

test("answers to pipelined requests that are there soon leave together", async () => {
  const times = 200;
  await withServer(
    async () => {
      await null;
      return new Response("an answer");
    },
    { engine: "wire" },
    async (server) => {
      const client = await rawClient(server);
      let pieces = 0;
      client.socket.on("data", () => pieces++);
      client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(times));
      await client.until("an answer", times);
      assert(pieces < times / 2, `${pieces}`);
      client.destroy();
    },
  );
});

test("an answer does not wait for that to the next of the pipelined requests", async () => {
  let read = () => {};
  const seen = new Promise<void>((resolve) => read = resolve);
  await withServer(
    async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/3") await seen;
      return new Response(`answer ${pathname}.`);
    },
    { engine: "wire" },
    async (server) => {
      const client = await rawClient(server);
      client.send(
        [1, 2, 3, 4].map((n) => `GET /${n} HTTP/1.1\r\nhost: x\r\n\r\n`)
          .join(""),
      );
      await client.until("answer /2.");
      read();
      await client.until("answer /4.");
      assertEquals(
        [...client.text.matchAll(/answer \/(\d)/g)].map(([, n]) => n),
        ["1", "2", "3", "4"],
      );
      client.destroy();
    },
  );
});
