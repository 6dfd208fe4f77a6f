import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { deferred, withClient } from "./_client_support.ts";
import { answer, scripted } from "./_http_servers.ts";
import { until } from "./_support.ts";
import type { ClientInit } from "../http/client.ts";
import { FetchError } from "../http/errors.ts";
import { TimeoutError } from "../streams/errors.ts";

const HEAD = "HTTP/1.1 200 OK\r\n";

/** A server that answers nothing. */
const silent = () => scripted(() => {});

/** A stream that gives these pieces, then waits for ever. */
function stuck(pieces: string[], onCancel?: (reason: unknown) => void) {
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      const piece = pieces.shift();
      if (piece !== undefined) controller.enqueue(encoder.encode(piece));
      else return new Promise(() => {});
    },
    cancel: (reason) => onCancel?.(reason),
  }, { highWaterMark: 0 });
}

async function timesOut(
  run: () => Promise<unknown>,
  phase: string,
): Promise<void> {
  const start = performance.now();
  const error = await assertRejects(run, FetchError);
  assertEquals(error.phase, phase);
  assertEquals(error.code, "ETIMEDOUT");
  assertInstanceOf(error.cause, TimeoutError);
  assertEquals(error.cause.phase, phase);
  const took = performance.now() - start;
  assert(took >= 15 && took < 10_000, `It took ${took} ms`);
}

describe("timeouts", () => {
  test("response: the server does not answer", () =>
    withClient(silent(), async (client, server) => {
      await timesOut(
        () => client.get(server.url, { timeout: { response: 20 } }),
        "response",
      );
      assertEquals(client.stats().open, 0);
      await until(() => server.open === 0);
    }));

  test("response: it does not count the upload", () =>
    withClient(
      scripted(async ({ socket, until }) => {
        await until("0\r\n\r\n");
        socket.write(answer("done"));
      }),
      async (client, server) => {
        const body = (async function* () {
          for (let i = 0; i < 4; i++) {
            yield "x";
            await new Promise((resolve) => setTimeout(resolve, 500));
          }
        })();
        const text = client.post(server.url, {
          body,
          timeout: { response: 1500 },
        }).text();
        assertEquals(await text, "done");
      },
    ));

  test("pool: no connection is free", () =>
    withClient(silent(), async (client, server) => {
      const first = client.get(server.url).catch(() => {});
      await until(() => server.accepted === 1);
      await timesOut(
        () => client.get(server.url, { timeout: { pool: 20 } }),
        "pool",
      );
      assertEquals(client.stats().queued, 0);
      assertEquals(server.open, 1);
      await client.close({ timeout: 0 });
      await first;
    }, { pool: { perHost: 1 } }));

  test("connect: nobody is there", () =>
    withClient(silent(), async (client) => {
      // 192.0.2.0/24 is for documentation: no packet comes back from it.
      const error = await assertRejects(
        () => client.get("http://192.0.2.1/", { timeout: { connect: 30 } }),
        FetchError,
      );
      // A machine without a way out says so at once.
      assert(["ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED"]
        .includes(error.code));
      assertEquals(error.phase, "connect");
      assertEquals(client.stats().open, 0);
    }));

  test("idle: the body stops coming", () =>
    withClient(
      scripted(({ socket }) => {
        socket.write(`${HEAD}Content-Length: 9\r\n\r\nhello`);
      }),
      async (client, server) => {
        await timesOut(
          () => client.get(server.url, { timeout: { idle: 20 } }).text(),
          "idle",
        );
        assertEquals(client.stats().open, 0);
      },
    ));

  test("idle: it does not count a reader that is slow", () =>
    withClient(
      scripted(({ socket }) => {
        socket.write(`${HEAD}Content-Length: 1000000\r\n\r\n`);
        socket.write("x".repeat(1_000_000));
      }),
      async (client, server) => {
        const response = await client.get(server.url, {
          timeout: { idle: 1000 },
        });
        await new Promise((resolve) => setTimeout(resolve, 1800));
        assertEquals((await response.bytes()).length, 1_000_000);
      },
    ));

  test("idle: the server takes no more of an upload", () =>
    withClient(
      scripted(({ socket }) => socket.pause()),
      async (client, server) => {
        const chunk = new Uint8Array(256 * 1024);
        let pulled = 0;
        const body = new ReadableStream<Uint8Array>({
          pull(controller) {
            pulled++;
            controller.enqueue(chunk);
          },
        }, { highWaterMark: 0 });
        await timesOut(
          () => client.post(server.url, { body, timeout: { idle: 200 } }),
          "idle",
        );
        // It is the kernels' buffers that were filled, no more.
        assert(pulled < 200, `${pulled} pieces`);
      },
    ));

  test("total: from the call to the end of the body", () =>
    withClient(
      scripted(({ socket }) => {
        socket.write(`${HEAD}Content-Length: 9\r\n\r\n`);
        const timer = setInterval(() => socket.write("x"), 10);
        socket.on("close", () => clearInterval(timer));
      }),
      async (client, server) => {
        await timesOut(
          () => client.get(server.url, { timeout: 30 }).text(),
          "total",
        );
        const late = await client.get(server.url, { timeout: { total: 9000 } });
        assertEquals(late.status, 200);
        assertEquals(await late.text(), "xxxxxxxxx");
      },
    ));

  test("total: while it waits in the queue", () =>
    withClient(silent(), async (client, server) => {
      const first = client.get(server.url).catch(() => {});
      await timesOut(
        () => client.get(server.url, { timeout: { total: 20 } }),
        "total",
      );
      await client.close({ timeout: 0 });
      await first;
    }, { pool: { perHost: 1 } }));

  test("are those of the client, and those of a request above", () =>
    withClient(silent(), async (client, server) => {
      await timesOut(() => client.get(server.url), "response");
      await timesOut(
        () =>
          client.get(server.url, { timeout: { response: 1000, total: 30 } }),
        "total",
      );
    }, { timeout: { response: 30, idle: 500 } }));

  test("leave no timer behind", () =>
    withClient(
      scripted(({ socket }) => socket.write(answer("hi"))),
      async (client, server) => {
        const timeout = {
          pool: 1500,
          connect: 1500,
          response: 1500,
          idle: 1500,
          total: 1500,
        };
        const response = await client.get(server.url, { timeout });
        await new Promise((resolve) => setTimeout(resolve, 2000));
        assertEquals(await response.text(), "hi");
        assertEquals(client.stats().idle, 1);
      },
    ));
});

/** A signal that can tell how many listen to it. */
function counted(): { controller: AbortController; listening(): number } {
  const controller = new AbortController();
  const { signal } = controller;
  let count = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = function (...args: unknown[]) {
    count++;
    return Reflect.apply(addEventListener, signal, args);
  };
  signal.removeEventListener = function (...args: unknown[]) {
    count--;
    return Reflect.apply(removeEventListener, signal, args);
  };
  return { controller, listening: () => count };
}

/** Aborts once something holds; the fetch has to give the very reason. */
async function aborts(
  run: (init: ClientInit) => Promise<unknown>,
  when: () => unknown,
): Promise<void> {
  const { controller, listening } = counted();
  const reason = new Error("Enough");
  const settled = run({ signal: controller.signal }).then(
    () => "resolved",
    (error) => error,
  );
  await until(when, "What the abort waits for");
  controller.abort(reason);
  assertStrictEquals(await settled, reason);
  assertEquals(listening(), 0);
}

describe("an aborted signal", () => {
  test("refuses the request before anything is done", () =>
    withClient(silent(), async (client, server) => {
      const reason = { not: "an error" };
      await client.get(server.url, { signal: AbortSignal.abort(reason) }).then(
        () => assert(false),
        (error) => assertStrictEquals(error, reason),
      );
      const error = await assertRejects(
        () => client.get(server.url, { signal: AbortSignal.abort() }),
        DOMException,
      );
      assertEquals(error.name, "AbortError");
      assertEquals(server.accepted, 0);
    }));

  test("ends it while it connects", () =>
    withClient(silent(), async (client) => {
      const url = "http://192.0.2.1/";
      const controller = new AbortController();
      const pending = client.get(url, { signal: controller.signal });
      controller.abort("enough");
      await pending.then(
        () => assert(false),
        (error) => assertEquals(error, "enough"),
      );
      await until(() => client.stats().open === 0);
    }));

  // Deno 2.9 loses sockets that connect in the turn of a timer that aborts.
  test("leaves no socket behind, however close it is to connecting", () =>
    withClient(
      scripted(({ socket }) => socket.write(answer("hi"))),
      async (client, server) => {
        for (let round = 0; round < 40; round++) {
          await Promise.all(Array.from({ length: 16 }, async () => {
            const controller = new AbortController();
            setTimeout(() => controller.abort("enough"), 0);
            await client.get(server.url, {
              signal: controller.signal,
              headers: { connection: "close" },
            }).text().catch(() => {});
          }));
        }
        await until(() => client.stats().open === client.stats().idle);
        await client.close();
        await until(() => server.open === 0);
      },
    ));

  test("ends it while it waits in the queue, and no other", () =>
    withClient(
      scripted(async ({ socket, until }) => {
        await until("never").catch(() => {});
        socket.end();
      }),
      async (client, server) => {
        const first = client.get(server.url).catch(() => {});
        await until(() => server.accepted === 1);
        const others = [1, 2].map(() => client.get(server.url).catch(() => {}));
        await aborts((init) => client.get(server.url, init), () =>
          client.stats().queued === 3);
        assertEquals(client.stats().queued, 2);
        assertEquals(server.open, 1);
        await client.close({ timeout: 0 });
        await Promise.all([first, ...others]);
      },
      { pool: { perHost: 1 } },
    ));

  test("ends it while the answer is waited for", () =>
    withClient(silent(), async (client, server) => {
      await aborts(
        (init) => client.get(server.url, init),
        () => server.accepted === 1,
      );
      await until(() => server.open === 0);
    }));

  test("ends it while the head comes", () => {
    const came = deferred();
    let head = false;
    came.promise.then(() => head = true);
    return withClient(
      scripted(({ socket }) => {
        socket.write("HTTP/1.1 200 OK\r\nA: ", () => came.resolve());
      }),
      async (client, server) => {
        await aborts((init) => client.get(server.url, init), () => head);
        assertEquals(client.stats().open, 0);
      },
    );
  });

  test("ends it while the body is sent, and cancels its source", () => {
    const cancelled = deferred<unknown>();
    let came = false;
    return withClient(
      scripted(async ({ until }) => {
        await until("hello");
        came = true;
      }),
      async (client, server) => {
        const body = stuck(["hello"], cancelled.resolve);
        await aborts(
          (init) => client.post(server.url, { ...init, body }),
          () => came,
        );
        const reason = await cancelled.promise;
        assertInstanceOf(reason, Error);
        assertEquals(reason.message, "Enough");
      },
    );
  });

  for (const how of ["text", "stream", "gzip"] as const) {
    test(`ends it while the body comes (${how})`, () =>
      withClient(
        scripted(({ socket }) => {
          const coding = how === "gzip" ? "Content-Encoding: gzip\r\n" : "";
          socket.write(`${HEAD}Content-Length: 9\r\n${coding}\r\n\x1f`);
        }),
        async (client, server) => {
          let reading = false;
          await aborts(async (init) => {
            const response = await client.get(server.url, init);
            reading = true;
            if (how !== "stream") return await response.text();
            for await (const _ of response.body!);
          }, () => reading);
          await until(() => server.open === 0);
        },
      ));
  }

  test("ends a body that nobody reads yet", () =>
    withClient(
      scripted(({ socket }) => {
        socket.write(`${HEAD}Content-Length: 9\r\n\r\nhello`);
      }),
      async (client, server) => {
        const controller = new AbortController();
        const response = await client.get(server.url, {
          signal: controller.signal,
        });
        controller.abort("enough");
        await response.text().then(
          () => assert(false),
          (error) => assertEquals(error, "enough"),
        );
        assertEquals(client.stats().open, 0);
      },
    ));

  test("means nothing once the body has come", () =>
    withClient(
      scripted(({ socket }) => socket.write(answer("hello"))),
      async (client, server) => {
        const { controller, listening } = counted();
        const { signal } = controller;
        const response = await client.get(server.url, { signal });
        await until(() => client.stats().idle === 1);
        assertEquals(listening(), 0);
        controller.abort();
        assertEquals(await response.text(), "hello");
        assertEquals(client.stats().idle, 1);
      },
    ));

  test("ends it behind a redirect, too", () =>
    withClient(
      scripted(({ socket, head }) => {
        if (head.startsWith("GET / ")) {
          socket.write(answer("", "Location: /b\r\n", "302 Found"));
        } else asked = true;
      }),
      async (client, server) => {
        asked = false;
        await aborts((init) => client.get(server.url, init), () => asked);
      },
    ));
  let asked = false;

  test("of a Request counts as well", () =>
    withClient(silent(), async (client, server) => {
      const controller = new AbortController();
      const request = new Request(server.url, { signal: controller.signal });
      const pending = client.fetch(request);
      await until(() => server.accepted === 1);
      controller.abort();
      const error = await assertRejects(() => pending, DOMException);
      assertEquals(error.name, "AbortError");
    }));
});
