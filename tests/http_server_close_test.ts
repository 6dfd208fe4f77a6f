import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "./assert.ts";
import {
  bodyOf,
  exchange,
  get,
  getOn,
  rawClient,
  withServer,
} from "./_http_raw.ts";
import type { RawClient } from "./_http_raw.ts";
import { modes, runtime, until, within } from "./_support.ts";
import { serve } from "../http/serve.ts";

const encoder = new TextEncoder();

function gate(): { open: () => void; wait: Promise<void> } {
  let open!: () => void;
  const wait = new Promise<void>((resolve) => open = resolve);
  return { open, wait };
}

for (const engine of modes) {
  if (engine !== "h2") {
    test(`close() finishes what is in flight and ends what is idle, ${engine}`, async () => {
      const { open, wait } = gate();
      let called = 0;
      await withServer(
        async (request) => {
          called++;
          if (request.url.endsWith("/slow")) await wait;
          if (request.url.endsWith("/stream")) {
            return new Response(
              new ReadableStream({
                async start(controller) {
                  controller.enqueue(encoder.encode("first"));
                  await wait;
                  controller.enqueue(encoder.encode("second"));
                  controller.close();
                },
              }),
            );
          }
          return new Response("fine");
        },
        { engine },
        async (server) => {
          const idle = await rawClient(server);
          const slow = await rawClient(server);
          const stream = await rawClient(server);
          idle.send(getOn());
          await idle.until("fine");
          slow.send(getOn("/slow"));
          stream.send(getOn("/stream"));
          await stream.until("first");
          await until(() => called === 3);
          const closed = server.close();
          await idle.untilEnd();
          assertEquals(bodyOf(idle.text), "fine");
          assertEquals([slow.ended, stream.ended], [false, false]);
          // Nobody new gets in.
          await refused(server);
          open();
          await within(closed);
          await within(server.closed);
          await slow.untilEnd();
          await stream.untilEnd();
          assertStringIncludes(slow.text, "fine");
          assertMatch(slow.text, /\r\nconnection: close\r\n/i);
          assertStringIncludes(stream.text, "6\r\nsecond\r\n0\r\n\r\n");
          for (const client of [idle, slow, stream]) client.destroy();
        },
      );
    });
  }

  test(`close() waits for waitUntil(), ${engine}`, async () => {
    const { open, wait } = gate();
    const told: unknown[] = [];
    await withServer((_, context) => {
      context.waitUntil(wait);
      context.waitUntil(Promise.reject(new Error("task")));
      return new Response("fine");
    }, {
      engine,
      onError(error) {
        told.push((error as Error).message);
        return new Response();
      },
    }, async (server) => {
      assertEquals(bodyOf(await exchange(server, get())), "fine");
      let over = false;
      const closed = server.close().then(() => over = true);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assertEquals(over, false);
      open();
      await within(closed);
      assertEquals(told, ["task"]);
    });
  });

  test(`close() destroys what is left at its timeout, ${engine}`, async () => {
    let called = 0;
    await withServer(
      (request) => {
        called++;
        if (request.url.endsWith("/stream")) {
          return new Response(
            new ReadableStream({
              start(controller) {
                controller.enqueue(encoder.encode("first"));
              },
            }),
          );
        }
        return new Promise(() => {});
      },
      { engine },
      async (server) => {
        const slow = await rawClient(server);
        const stream = await rawClient(server);
        slow.send(getOn("/slow"));
        stream.send(getOn("/stream"));
        await stream.until("first");
        await until(() => called === 2);
        const started = performance.now();
        await within(server.close({ timeout: 100 }), 3000, "close()");
        const took = performance.now() - started;
        assert(took >= 90 && took < 2000, `${took}`);
        await slow.untilEnd();
        await stream.untilEnd();
        assert(!stream.text.includes("0\r\n\r\n"), stream.text);
        assert(!slow.text.includes("200 OK"), slow.text);
        slow.destroy();
        stream.destroy();
      },
    );
  });

  test(`close() called again waits no longer than it was told first, ${engine}`, async () => {
    let called = 0;
    await withServer(
      () => {
        called++;
        return new Promise(() => {});
      },
      { engine },
      async (server) => {
        const client = await rawClient(server);
        client.send(getOn());
        await until(() => called === 1);
        const first = server.close({ timeout: 100 });
        server.close();
        server.close({ timeout: Infinity });
        await within(first, 3000, "close()");
        await client.untilEnd();
        client.destroy();
      },
    );
  });

  test(`close() may be called again, and hurried, ${engine}`, async () => {
    let called = 0;
    await withServer(
      () => {
        called++;
        return new Promise(() => {});
      },
      { engine },
      async (server) => {
        const client = await rawClient(server);
        client.send(getOn());
        await until(() => called === 1);
        const first = server.close();
        const second = server.close({ timeout: 0 });
        await within(Promise.all([first, second, server.closed]), 3000);
        await within(server.close());
        client.destroy();
      },
    );
  });

  if (engine !== "h2") {
    test(`the port is free after close(), ${engine}`, async () => {
      let port = 0;
      for (let i = 0; i < 3; i++) {
        const server = await serve(() => new Response("fine"), {
          engine,
          port,
          hostname: "127.0.0.1",
        });
        assert(server.address.transport === "tcp");
        port = server.address.port;
        assertEquals(bodyOf(await exchange(server, get())), "fine");
        await within(server[Symbol.asyncDispose]());
      }
    });
  }
}

async function refused(server: Parameters<typeof rawClient>[0]): Promise<void> {
  let client: RawClient;
  try {
    client = await rawClient(server);
  } catch {
    return;
  }
  // A listener that is about to close may take it, and end it.
  client.send(getOn());
  await client.untilEnd();
  assertEquals(client.text, "");
  client.destroy();
}

test("close() lets a head that is half there be finished and answered", async () => {
  await withServer(() => new Response("fine"), {}, async (server) => {
    const half = await rawClient(server);
    const fresh = await rawClient(server);
    half.send("GET / HTTP/1.1\r\n");
    await until(() => server.stats().bytesRead > 0);
    await until(() => server.stats().connections === 2);
    const closed = server.close();
    assertEquals(await fresh.untilEnd(), "");
    half.send("host: x\r\n\r\n");
    await half.untilEnd();
    assertEquals(bodyOf(half.text), "fine");
    assertStringIncludes(half.text, "connection: close");
    await within(closed);
    half.destroy();
    fresh.destroy();
  });
});

test("close() ends a connection whose next request has begun to be read after", async () => {
  const { open, wait } = gate();
  await withServer(
    async (request) => {
      if (request.url.endsWith("/1")) await wait;
      return new Response("fine");
    },
    {},
    async (server) => {
      const client = await rawClient(server);
      client.send(getOn("/1") + getOn("/2"));
      await until(() => server.stats().bytesRead > 50);
      const closed = server.close();
      open();
      await client.untilEnd();
      // The first says that it is the last one: the client asks again elsewhere.
      assertEquals(client.text.split("200 OK").length, 2);
      assertStringIncludes(client.text, "connection: close");
      client.destroy();
      await within(closed);
    },
  );
});

test("close() does not wait for a client that does not go", async () => {
  await withServer(() => new Response("fine"), {}, async (server) => {
    // It keeps its side open after our FIN.
    const client = await rawClient(server);
    client.send(get());
    await client.untilEnd();
    const started = performance.now();
    await within(server.close(), 6000, "close()");
    assert(performance.now() - started < 5000);
    client.destroy();
  });
});

test("a server that was unref'd does not keep the process", async () => {
  await withServer(() => new Response("fine"), {}, async (server) => {
    server.unref();
    server.ref();
    assertEquals(bodyOf(await exchange(server, get())), "fine");
    assert(server.raw !== undefined || runtime === "bun");
  });
});
