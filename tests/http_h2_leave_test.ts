// Clients of HTTP/2 that leave in order: by a half-close, or by GOAWAY. What
// they have begun is answered, and then the connection ends.

import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assert, assertEquals, assertInstanceOf } from "./assert.ts";
import {
  data,
  END_HEADERS,
  END_STREAM,
  fieldsFor,
  frame,
  get,
  GOAWAY,
  H2Peer,
  headers,
  NO_ERROR,
  post,
  RST_STREAM,
  settings,
  u32,
  windowUpdate,
  withH2,
} from "./_h2_raw.ts";
import { withServer } from "./_http_raw.ts";
import { until, within } from "./_support.ts";
import { ClosedError } from "../streams/mod.ts";
import { connect } from "../tcp/mod.ts";
import type { Handler } from "../http/types.ts";

const pem = (name: string) =>
  readFileSync(
    fileURLToPath(new URL(`./certs/${name}`, import.meta.url)),
    "utf8",
  );

const goAway = frame(GOAWAY, 0, 0, [...u32(0), ...u32(NO_ERROR)]);

/** A promise and what fulfils it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => open = resolve);
  return { opened, open };
}

/** Answers once the gate is open, with pieces that take turns. */
function slowly(opened: Promise<unknown>): Handler {
  return async (request) => {
    const { pathname } = new URL(request.url);
    const body = await request.text();
    await opened;
    if (pathname === "/whole") return new Response(`whole ${body}`);
    let left = 100;
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve));
          if (left-- > 0) controller.enqueue(new Uint8Array(100).fill(65));
          else controller.close();
        },
      }),
    );
  };
}

async function answersAll(
  peer: H2Peer,
  open: () => void,
  leave: () => unknown,
): Promise<void> {
  peer.send(get(1, "/stream"), post(3, "/whole"), data(3, "body", END_STREAM));
  peer.send(get(5, "/whole"));
  await peer.pinged();
  await leave();
  open();
  const bodies = new Map<number, string>();
  let ends = 0;
  for (let f = await peer.next(); f !== undefined; f = await peer.next()) {
    assert(f.type !== RST_STREAM, `${peer}`);
    if (f.stream === 0) continue;
    if ((f.flags & END_STREAM) !== 0) ends++;
    if (f.type !== 0) continue;
    const text = String.fromCharCode(...f.payload);
    bodies.set(f.stream, (bodies.get(f.stream) ?? "") + text);
  }
  assertEquals(ends, 3, `${peer}`);
  assertEquals(bodies.get(1)?.length, 10_000);
  assertEquals(bodies.get(3), "whole body");
  assertEquals(bodies.get(5), "whole ");
}

test("serve() answers a client of HTTP/2 to the end that half-closes", async () => {
  const { opened, open } = gate();
  await withH2(slowly(opened), async (peer, server) => {
    await answersAll(peer, open, () => peer.connection.closeWrite());
    await until(() => server.stats().connections === 0, "its end");
  });
});

test("serve() answers a client of HTTP/2 by TLS that half-closes", async () => {
  const { opened, open } = gate();
  await withServer(
    slowly(opened),
    { tls: { cert: pem("server.pem"), key: pem("server.key") } },
    async (server) => {
      const { address } = server;
      if (address.transport === "unix") throw new TypeError("Not over TCP");
      const peer = new H2Peer(
        await within(connect({
          hostname: "localhost",
          port: address.port,
          tls: { ca: pem("ca.pem"), alpn: ["h2"] },
        })),
        {},
      );
      try {
        await answersAll(peer, open, () => peer.connection.closeWrite());
        await until(() => server.stats().connections === 0, "its end");
      } finally {
        peer.destroy();
      }
    },
  );
});

test("serve() has requests of HTTP/2 that come with FIN answered", async () => {
  await withH2(() => new Response("a".repeat(50_000)), async (peer) => {
    peer.send(get(1), get(3, "/b"));
    // Only then: so that the windows are those of the greeting.
    await peer.connection.closeWrite();
    let size = 0;
    for (let f = await peer.next(); f !== undefined; f = await peer.next()) {
      if (f.type === 0) size += f.payload.length;
    }
    // As much as the window of the connection lets through.
    assertEquals(size, 65_535);
  });
});

test("serve() tells a handler by its signal that the client half-closed", async () => {
  const { opened, open } = gate();
  await withH2(async (request) => {
    await new Promise<void>((resolve) => {
      request.signal.addEventListener("abort", () => resolve());
    });
    open();
    return new Response("still");
  }, async (peer) => {
    peer.send(get(1));
    await peer.pinged();
    await peer.connection.closeWrite();
    await within(opened);
    assertEquals((await peer.response(1)).body, "still");
    await peer.closed();
  });
});

test("serve() breaks off an upload of HTTP/2 whose client half-closes", async () => {
  const failed: unknown[] = [];
  await withH2(async (request) => {
    try {
      return new Response(await request.text());
    } catch (error) {
      failed.push(error);
      throw error;
    }
  }, async (peer) => {
    peer.send(post(1, "/"), data(1, "par"), get(3));
    await peer.pinged();
    await peer.connection.closeWrite();
    // The other one was answered before.
    await peer.until((f) => f.type === RST_STREAM && f.stream === 1, "RST");
    await peer.closed();
  });
  assertEquals(failed.length, 1);
  assertInstanceOf(failed[0], ClosedError);
});

test("serve() ends a connection of HTTP/2 that half-closes with nothing to do", async () => {
  await withH2(() => new Response("ok"), async (peer, server) => {
    peer.send(get(1));
    await peer.response(1);
    await peer.connection.closeWrite();
    await peer.closed();
    await until(() => server.stats().connections === 0, "its end");
  });
});

test("serve() finds out that a client of HTTP/2 is gone, though nothing is sent", async () => {
  let cancelled = 0;
  let aborted = 0;
  await withH2((request) => {
    request.signal.addEventListener("abort", () => aborted++);
    if (new URL(request.url).pathname === "/never") {
      return new Promise<Response>(() => {});
    }
    return new Response(
      new ReadableStream({
        cancel() {
          cancelled++;
        },
      }),
    );
  }, async (peer, server) => {
    peer.send(get(1, "/never"), get(3));
    await peer.until((f) => f.stream === 3, "the head");
    await peer.pinged();
    peer.destroy();
    await until(
      () => server.stats().connections === 0,
      "the end of the connection",
      14_000,
    );
    assertEquals([cancelled, aborted], [1, 2]);
  });
});

test("serve() does not keep a half-closed connection of HTTP/2 for ever", async () => {
  let aborted = 0;
  await withH2((request) => {
    request.signal.addEventListener("abort", () => aborted++);
    return new Promise<Response>(() => {});
  }, async (peer) => {
    peer.send(get(1, "/never"));
    await peer.pinged();
    await peer.connection.closeWrite();
    await peer.closed();
    assertEquals(aborted, 1);
  }, { serve: { timeouts: { idle: 300 } } });
});

test("serve() keeps a half-closed connection of HTTP/2 as long as it moves", async () => {
  let left = 13;
  await withH2(() =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          if (left-- > 0) controller.enqueue(new Uint8Array(10));
          else controller.close();
        },
      }),
    ), async (peer) => {
    peer.send(get(1));
    await peer.connection.closeWrite();
    assertEquals((await peer.response(1)).body.length, 130);
    await peer.closed();
  }, { serve: { timeouts: { idle: 1000 } } });
});

test("close() waits for what a half-closed client of HTTP/2 has begun", async () => {
  const { opened, open } = gate();
  await withH2(slowly(opened), async (peer, server) => {
    let closed: Promise<void> | undefined;
    await answersAll(peer, open, async () => {
      await peer.connection.closeWrite();
      closed = server.close();
    });
    await within(closed!);
  });
});

test("serve() ends a tunnel of HTTP/2 as the client ends the connection", async () => {
  const ends: string[] = [];
  await withH2((_, context) =>
    context.tunnel(async (connection) => {
      let text = "";
      try {
        for await (const chunk of connection) {
          text += String.fromCharCode(...chunk);
        }
        await connection.send(`got ${text}`);
        ends.push("clean");
      } catch {
        ends.push(`cut ${text}`);
      }
    }), async (peer) => {
    const connectTo = ":method CONNECT|:authority a:1";
    peer.send(headers(1, connectTo, END_HEADERS), data(1, "one"));
    peer.send(headers(3, connectTo, END_HEADERS));
    peer.send(data(3, "two", END_STREAM));
    await peer.until((f) => f.stream === 3, "the tunnel");
    await peer.pinged();
    await peer.connection.closeWrite();
    await peer.closed();
    const sent = peer.frames.filter((f) => f.type === 0 && f.stream === 3);
    assertEquals(String.fromCharCode(...sent[0].payload), "got two");
  });
  assertEquals(ends.sort(), ["clean", "cut one"]);
});

test("serve() closes after GOAWAY of a client that has nothing open (6.8)", async () => {
  await withH2(() => new Response("ok"), async (peer, server) => {
    peer.send(get(1));
    await peer.response(1);
    peer.send(goAway);
    const { payload } = await peer.goAway(NO_ERROR);
    assertEquals(payload[3], 1, "the last stream");
    await peer.closed();
    await until(() => server.stats().connections === 0, "its end");
  });
});

test("serve() answers what is open after a client's GOAWAY, and closes (6.8)", async () => {
  const { opened, open } = gate();
  await withH2(slowly(opened), async (peer, server) => {
    await answersAll(peer, open, () => peer.send(goAway, goAway));
    await until(() => server.stats().connections === 0, "its end");
  });
});

for (
  const [name, flags, payload] of [
    ["with undefined flags", 0xff, [...u32(0), ...u32(NO_ERROR)]],
    ["of an unknown code", 0, [...u32(0), ...u32(0xff)]],
    ["of an error, with a text", 0, [...u32(1), ...u32(1), 98, 121, 101]],
    ["that names streams to come", 0, [...u32(2 ** 31 - 1), ...u32(0)]],
  ] as const
) {
  test(`serve() answers, and closes after GOAWAY ${name} (6.8, 7)`, async () => {
    await withH2(() => new Response("ok"), async (peer) => {
      peer.send(get(1), frame(GOAWAY, flags, 0, payload));
      assertEquals((await peer.response(1)).body, "ok");
      await peer.goAway(NO_ERROR);
      await peer.closed();
    });
  });
}

test("serve() takes what comes together with GOAWAY (6.8)", async () => {
  await withH2(() => new Response("ok"), async (peer) => {
    peer.send(goAway, get(1), settings(), windowUpdate(0, 1));
    assertEquals((await peer.response(1)).body, "ok");
    await peer.closed();
  });
});

test("serve() takes a body that comes after GOAWAY (6.8)", async () => {
  await withH2(async (request) => new Response(await request.text()), async (
    peer,
  ) => {
    peer.send(headers(1, fieldsFor("/", "POST"), END_HEADERS), goAway);
    await peer.pinged();
    peer.send(data(1, "late", END_STREAM));
    assertEquals((await peer.response(1)).body, "late");
    await peer.closed();
  });
});

test("stats() counts the bytes of HTTP/2, both ways", async () => {
  await withH2(() => new Response("a".repeat(10_000)), async (peer, server) => {
    peer.send(get(1));
    await peer.response(1);
    const { bytesRead, bytesWritten } = server.stats();
    assert(bytesRead > 50 && bytesRead < 500, `${bytesRead}`);
    assert(bytesWritten > 10_000 && bytesWritten < 10_500, `${bytesWritten}`);
  });
});
