import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import {
  bytesOf,
  CANCEL,
  data,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  get,
  GET_ROOT,
  GOAWAY,
  headers,
  NO_ERROR,
  post,
  PREFACE,
  RST_STREAM,
  settings,
  withH2,
} from "./_h2_raw.ts";
import type { H2Frame, H2Peer } from "./_h2_raw.ts";
import { rowHandler } from "./_h2_rows.ts";
import { within } from "./_support.ts";
import { ClosedError } from "../streams/errors.ts";
import type { Handler } from "../http/types.ts";

/** The last stream that a GOAWAY names. */
function lastOf(frame: H2Frame): number {
  const { payload } = frame;
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0);
}

/** Waits for the GOAWAY that is final. */
async function finalGoAway(peer: H2Peer): Promise<number> {
  for (;;) {
    const frame = await peer.goAway(NO_ERROR);
    if (lastOf(frame) !== 2 ** 31 - 1) return lastOf(frame);
  }
}

/**
 * Runs a test with a short `timeouts.idle` once more when that was over before
 * the request was there, as it may be on a busy machine.
 */
async function withIdle(
  handler: Handler,
  run: (peer: H2Peer) => Promise<unknown>,
): Promise<void> {
  for (let left = 20;; left--) {
    let called = false;
    try {
      await withH2(
        (request, context) => {
          called = true;
          return handler(request, context);
        },
        run,
        { serve: { timeouts: { idle: 100 } } },
      );
      return;
    } catch (error) {
      if (called || left === 0) throw error;
    }
  }
}

test("close() tells clients of HTTP/2 first, and ends what is idle (6.8)", async () => {
  await withH2(rowHandler, async (peer, server) => {
    peer.send(get(1));
    await peer.response(1);
    const closed = server.close();
    assertEquals(await finalGoAway(peer), 1);
    await peer.closed();
    await within(closed);
  });
});

test("close() lets streams of HTTP/2 finish (6.8)", async () => {
  let answer!: () => void;
  const gate = new Promise<void>((resolve) => answer = resolve);
  await withH2(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/slow") await gate;
    return new Response(`${pathname} ${await request.text()}`);
  }, async (peer, server) => {
    peer.send(get(1, "/slow"), post(3, "/slow"), data(3, "one"));
    await peer.pinged();
    const closed = server.close();
    assertEquals(await finalGoAway(peer), 3);
    // What was begun goes on; what comes later is not taken.
    peer.send(data(3, ", two", END_STREAM), get(5));
    await peer.pinged("ping-two");
    answer();
    const bodies = new Map<number, string>();
    let frame: H2Frame | undefined;
    while ((frame = await peer.next()) !== undefined) {
      assert(frame.stream !== 5 || frame.type === RST_STREAM, `${peer}`);
      if (frame.type === 0) {
        bodies.set(
          frame.stream,
          (bodies.get(frame.stream) ?? "") +
            String.fromCharCode(...frame.payload),
        );
      }
    }
    assertEquals([...bodies].sort(), [[1, "/slow "], [3, "/slow one, two"]]);
    await within(closed);
  });
});

test("close() with a timeout of 0 ends connections of HTTP/2 at once", async () => {
  let aborted = false;
  await withH2(async (request) => {
    await new Promise<void>((resolve) => {
      request.signal.addEventListener("abort", () => {
        aborted = true;
        resolve();
      });
    });
    return new Response("late");
  }, async (peer, server) => {
    peer.send(get(1));
    await peer.pinged();
    await within(server.close({ timeout: 0 }));
    await peer.closed();
    assert(aborted);
  });
});

test("close() does not wait for a client of HTTP/2 that says nothing", async () => {
  await withH2(rowHandler, async (peer, server) => {
    // Not even the answer to a PING.
    peer.send(get(1));
    await peer.response(1);
    const closed = server.close();
    await peer.closed();
    await within(closed, 10_000);
  }, { acknowledge: false });
});

test("serve() ends a connection whose preface does not come", async () => {
  const cuts = [1, 10, 23, 24, 30];
  for (const cut of cuts) {
    await withH2(rowHandler, async (peer) => {
      await peer.closed();
    }, {
      greeting: bytesOf(PREFACE, settings()).subarray(0, cut),
      acknowledge: false,
      serve: { timeouts: { header: 50, idle: 50 } },
    });
  }
});

test("serve() ends a connection whose header block does not end", async () => {
  await withH2(rowHandler, async (peer) => {
    peer.send(headers(1, GET_ROOT, END_STREAM));
    await peer.closed();
  }, { serve: { timeouts: { header: 50 } } });
});

test("serve() says good-bye to a connection of HTTP/2 that is idle", async () => {
  await withIdle(rowHandler, async (peer) => {
    peer.send(get(1));
    await peer.response(1);
    await finalGoAway(peer);
    await peer.closed();
  });
});

test("serve() does not take a connection with a slow handler for idle", async () => {
  await withIdle(async () => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    return new Response("slow");
  }, async (peer) => {
    peer.send(get(1));
    assertEquals((await peer.response(1)).body, "slow");
  });
});

test("serve() takes no more of a body once its handler is too late", async () => {
  let failed: unknown;
  await withH2(async (request) => {
    await request.text().catch((error) => failed = error);
    return new Response("late");
  }, async (peer) => {
    peer.send(post(1, "/"));
    const timer = setInterval(() => peer.send(data(1, "x")), 20);
    try {
      assertEquals((await peer.response(1)).status, 503);
      await peer.until((f) => f.type === RST_STREAM && f.stream === 1, "RST");
    } finally {
      clearInterval(timer);
    }
    assert(failed instanceof ClosedError);
    peer.send(get(3));
    await peer.pinged();
  }, { serve: { timeouts: { handler: 200 } } });
});

test("serve() gives up on a client of HTTP/2 that opens no window (6.9)", async () => {
  await withIdle(rowHandler, async (peer) => {
    peer.send(settings([4, 0]), get(1, "/large"));
    const end = await peer.until(
      (f) => f.type === RST_STREAM || f.type === GOAWAY,
      "the end of the stream",
    );
    if (end.type === RST_STREAM) {
      assertEquals([end.stream, end.number], [1, CANCEL]);
    }
  });
});

test("serve() answers 408 when a body of HTTP/2 does not come", async () => {
  await withH2(rowHandler, async (peer) => {
    peer.send(post(1, "/echo", "content-length 5"), data(1, "hel"));
    assertEquals((await peer.response(1)).status, 408);
  }, { serve: { timeouts: { body: 50 } } });
});

test("serve() answers 413 when a body of HTTP/2 is too large", async () => {
  await withH2(rowHandler, async (peer) => {
    peer.send(post(1, "/echo", "content-length 1001"));
    assertEquals((await peer.response(1)).status, 413);
    peer.send(post(3), data(3, new Uint8Array(1001)));
    assertEquals((await peer.response(3)).status, 413);
    // The others of the connection go on.
    peer.send(post(5), data(5, new Uint8Array(1000).fill(65), END_STREAM));
    assertEquals((await peer.response(5)).body, "A".repeat(1000));
  }, { serve: { limits: { body: 1000 } } });
});

test("serve() ends a connection that floods after GOAWAY", async () => {
  await withH2(rowHandler, async (peer) => {
    const flood = bytesOf(
      ...Array.from({ length: 2000 }, (_, i) => headers(2 * i + 1, "a b", 5)),
    );
    peer.send(flood);
    await peer.goAway(ENHANCE_YOUR_CALM);
    for (let i = 0; i < 100 && !peer.ended; i++) await peer.sendAll(flood);
    await peer.closed();
  });
});

test("serve() sees a client of HTTP/2 go in the middle of a response", async () => {
  let cancelled!: () => void;
  const over = new Promise<void>((resolve) => cancelled = resolve);
  await withH2(
    () =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(10_000)),
          cancel: () => cancelled(),
        }),
      ),
    async (peer) => {
      peer.send(headers(1, GET_ROOT, END_HEADERS | END_STREAM));
      await peer.until((f) => f.stream === 1, "the response");
      peer.connection.reset();
      await within(over);
    },
  );
});
