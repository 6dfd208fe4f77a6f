/** Each gap of the native engines is a clear error that names the other. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { bodyOf, exchange, get, statusOf, withServer } from "./_http_raw.ts";
import { engines, runtime } from "./_support.ts";
import { serve } from "../http/serve.ts";
import type { ServeOptions, ServerContext } from "../http/types.ts";

const native = engines.includes("native");
const NAMES_WIRE = 'engine: "wire"';

/** A test of an engine that Node has not. */
function nativeTest(name: string, run: () => Promise<void>): void {
  if (native) test(name, run);
}

nativeTest("the native engine refuses limits that it cannot keep", async () => {
  const refused: ServeOptions[] = [
    { http2: {} },
    { limits: { header: 100 } },
    { limits: { target: 100 } },
    { limits: { connections: 1 } },
    { timeouts: { header: 100 } },
    { timeouts: { body: 100 } },
  ];
  if (runtime === "deno") {
    refused.push({ timeouts: { idle: 100 } }, { reusePort: true });
  } else {
    refused.push({ timeouts: { idle: 300_000 } }, { backlog: 1 });
  }
  for (const options of refused) {
    await assertRejects(
      () =>
        serve(() => new Response(), {
          port: 0,
          engine: "native",
          ...options,
        }),
      Error,
      NAMES_WIRE,
    );
  }
});

nativeTest("the native engine says what its context cannot tell", async () => {
  let context!: ServerContext;
  await withServer(
    (_, given) => {
      context = given;
      for (
        const use of [
          () => given.trailers,
          () => given.inform(103),
          () => given.tunnel(() => {}),
          ...(runtime === "bun" ? [() => given.completed] : []),
        ]
      ) assertThrows(use, TypeError, NAMES_WIRE);
      return new Response("fine");
    },
    { engine: "native" },
    async (server) => {
      assertEquals(bodyOf(await exchange(server, get())), "fine");
      assertThrows(() => server.stats(), TypeError, NAMES_WIRE);
      assertThrows(
        () => server.updateTls({ cert: "", key: "" }),
        TypeError,
        NAMES_WIRE,
      );
      if (runtime === "deno") await context.completed;
    },
  );
});

nativeTest("the native engine keeps limits.body", async () => {
  let size = 0;
  await withServer(
    async (request) => {
      size = (await request.text()).length;
      return new Response(`${size}`);
    },
    { engine: "native", limits: { body: 10 } },
    async (server) => {
      const post = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
      const long = await exchange(
        server,
        `${post}content-length: 11\r\n\r\nhello world`,
      );
      assertEquals(statusOf(long), 413);
      const chunked = await exchange(
        server,
        `${post}transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n`,
      );
      assert([413, 500].includes(statusOf(chunked)), chunked);
      assertEquals(size, 0);
      const fine = await exchange(
        server,
        `${post}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      );
      assert(fine.includes("5"), fine);
      assertEquals(size, 5);
    },
  );
});

test("serve() with engine native says on Node that there is none", async () => {
  if (native) return;
  await assertRejects(
    () => serve(() => new Response(), { port: 0, engine: "native" }),
    TypeError,
    NAMES_WIRE,
  );
});
