// Streams of HTTP/2 seen by a raw client whose windows say how much may come:
// who is sent first (RFC 9218), tunnels (RFC 9113, 8.5; RFC 8441), refusals.

import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import {
  bytesOf,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  fieldsFor,
  frame,
  get,
  headers,
  PREFACE,
  RST_STREAM,
  settings,
  u32,
  windowUpdate,
  withH2,
} from "./_h2_raw.ts";
import type { H2Peer } from "./_h2_raw.ts";
import { unLatin1 } from "./_h1.ts";
import { Response as LightResponse } from "../http/mod.ts";
import { TimeoutError } from "../streams/mod.ts";
import type { Handler } from "../http/mod.ts";
import { NO_PRIORITY, parsePriority, Scheduler } from "../http/_h2_priority.ts";

const SIZE = 100_000;
const big: Handler = () => new LightResponse(new Uint8Array(SIZE));

/** A request with a Priority field. */
function asking(stream: number, priority: string): Uint8Array {
  return headers(stream, fieldsFor("/", "GET", `priority ${priority}`));
}

function priorityUpdate(stream: number, value: string): Uint8Array {
  return frame(0x10, 0, 0, bytesOf(u32(stream), value));
}

/** The streams whose DATA come, in order, each time another one. */
async function order(peer: H2Peer, ends: number): Promise<number[]> {
  const seen: number[] = [];
  let over = 0;
  while (over < ends) {
    const { stream, flags } = await peer.until((f) => f.type === DATA, "DATA");
    if (seen[seen.length - 1] !== stream) seen.push(stream);
    if ((flags & END_STREAM) !== 0) over++;
  }
  return seen;
}

/** Says hello with windows that hold nothing up but that of the connection. */
const closed = {
  greeting: bytesOf(PREFACE, settings([4, 0])),
};

/** Lets all streams go at once. */
function open(peer: H2Peer): void {
  peer.send(windowUpdate(0, 1 << 24), settings([4, 1 << 20]));
}

test("priority: the most urgent comes first, whole", () =>
  withH2(big, async (peer) => {
    peer.send(asking(1, "u=5"), asking(3, "u=3"), asking(5, "u=0"));
    await peer.pinged();
    open(peer);
    assertEquals(await order(peer, 3), [5, 3, 1]);
  }, closed));

test("priority: incremental ones share, others do not", () =>
  withH2(big, async (peer) => {
    peer.send(asking(1, "u=1"), asking(3, "u=1"), asking(5, "u=2, i"));
    peer.send(asking(7, "u=2, i"));
    await peer.pinged();
    open(peer);
    const seen = await order(peer, 4);
    assertEquals(seen.slice(0, 2), [1, 3]);
    const rest = seen.slice(2);
    assert(rest.length > 4, `${rest}`);
    assertEquals([...new Set(rest)].sort(), [5, 7]);
  }, closed));

test("priority: who says nothing shares with others who do not", () =>
  withH2(big, async (peer) => {
    peer.send(get(1), get(3));
    await peer.pinged();
    open(peer);
    assert((await order(peer, 2)).length > 4);
  }, closed));

test("priority: PRIORITY_UPDATE counts, before the request and after it", () =>
  withH2(big, async (peer) => {
    peer.send(priorityUpdate(5, "u=0"), asking(1, "u=2"), asking(3, "u=3"));
    peer.send(asking(5, "u=7"), priorityUpdate(3, "u=1"));
    await peer.pinged();
    open(peer);
    assertEquals(await order(peer, 3), [5, 3, 1]);
  }, closed));

test("priority: a field is read by RFC 8941, what is malformed is nothing", () => {
  const rows: [string | undefined, number, boolean][] = [
    [undefined, 3, true],
    ["", 3, true],
    ["u=0", 0, false],
    ["u=7, i", 7, true],
    ["i", 3, true],
    ["i=?0", 3, false],
    ["i=?1;x=1,u=2;y", 2, true],
    ["u=8", 3, false],
    ["u=-1", 3, false],
    ["u=1.5", 3, false],
    ["u=5, u=1", 1, false],
    ["x-other=3, u=4", 4, false],
    ["U=1", 3, true],
    ["=", 3, true],
    ["u=1".padEnd(300), 3, true],
  ];
  for (const [text, urgency, incremental] of rows) {
    assertEquals(parsePriority(text), { urgency, incremental }, `${text}`);
  }
});

test("priority: the scheduler gives turns, and forgets whom it is told to", () => {
  const scheduler = new Scheduler<{ priority: typeof NO_PRIORITY }>();
  const a = { priority: NO_PRIORITY };
  const b = { priority: NO_PRIORITY };
  const c = { priority: { urgency: 1, incremental: false } };
  assertEquals(scheduler.next(), undefined);
  for (const item of [a, b, c, a]) scheduler.add(item);
  assertEquals(scheduler.size, 3);
  assertEquals([scheduler.next(), scheduler.next()], [c, c]);
  scheduler.remove(c);
  scheduler.remove(c);
  assertEquals([scheduler.next(), scheduler.next()], [a, b]);
  scheduler.move(b, { urgency: 0, incremental: false });
  assertEquals([scheduler.next(), scheduler.next()], [b, b]);
  scheduler.remove(b);
  scheduler.remove(a);
  assertEquals([scheduler.size, scheduler.next()], [0, undefined]);
});

/** What has come on a stream, until it holds the text or is over. */
async function text(peer: H2Peer, stream: number, wanted: string) {
  let all = "";
  while (!all.includes(wanted)) {
    const { payload, flags } = await peer.until(
      (f) => f.type === DATA && f.stream === stream,
      wanted,
    );
    all += unLatin1(payload);
    if ((flags & END_STREAM) !== 0) break;
  }
  return all;
}

const tunnels: Handler = (_, context) =>
  context.tunnel(async (connection) => {
    for await (const chunk of connection) {
      const said = new TextDecoder().decode(chunk);
      if (said === "bye") return;
      await connection.send(said.toUpperCase());
    }
    await connection.send("the end");
  });

test("CONNECT makes a tunnel of a stream", () =>
  withH2(tunnels, async (peer) => {
    peer.send(
      headers(1, ":method CONNECT|:authority example.com:443", END_HEADERS),
      data(1, "early"),
    );
    const { fields } = await peer.until((f) => f.fields !== undefined, "2xx");
    assertEquals(fields!.slice(0, 2), [":status", "200"]);
    assertEquals(fields!.includes("content-length"), false);
    assertEquals(await text(peer, 1, "EARLY"), "EARLY");
    peer.send(data(1, "hello"));
    assertEquals(await text(peer, 1, "HELLO"), "HELLO");
    // A half-close goes through.
    peer.send(data(1, "", END_STREAM));
    assertEquals(await text(peer, 1, "the end"), "the end");
    // Others on the connection are not in the way.
    peer.send(
      headers(3, ":method CONNECT|:authority example.com:443", END_HEADERS),
      data(3, "bye"),
    );
    await peer.until((f) => f.stream === 3 && f.fields !== undefined, "2xx");
    await peer.until(
      (f) =>
        f.stream === 3 &&
        (f.type === RST_STREAM || (f.flags & END_STREAM) !== 0),
      "the end of the tunnel",
    );
    await peer.pinged();
  }));

test("an extended CONNECT is a request for an upgrade", () =>
  withH2(tunnels, async (peer) => {
    await peer.pinged();
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441, 3).
    assertEquals(peer.settings.get(8), 1);
    peer.send(headers(
      1,
      ":method CONNECT|:protocol echo|:scheme http|:path /a|:authority b",
      END_HEADERS,
    ));
    const { fields } = await peer.until((f) => f.fields !== undefined, "2xx");
    assertEquals(fields!.slice(0, 2), [":status", "200"]);
    assertEquals(fields!.includes("upgrade"), false);
    assertEquals(fields!.includes("connection"), false);
    peer.send(data(1, "hello"));
    assertEquals(await text(peer, 1, "HELLO"), "HELLO");
  }));

test("CONNECT that is refused is answered like any other request", () =>
  withH2(() => new LightResponse("no", { status: 403 }), async (peer) => {
    peer.send(
      headers(1, ":method CONNECT|:authority example.com:443", END_HEADERS),
    );
    const { status, body } = await peer.response(1);
    assertEquals([status, body], [403, "no"]);
    await peer.pinged();
  }));

test("a plain response does not say that an extended CONNECT was granted", () =>
  withH2(() => new LightResponse("fine"), async (peer) => {
    peer.send(headers(
      1,
      ":method CONNECT|:protocol echo|:scheme http|:path /a|:authority b",
      END_HEADERS,
    ));
    assertEquals((await peer.response(1)).status, 500);
    // Nor has one to CONNECT a length (RFC 9110, 9.3.6).
    peer.send(headers(3, ":method CONNECT|:authority b:443", END_HEADERS));
    const { fields } = await peer.until(
      (f) => f.stream === 3 && f.fields !== undefined,
      "2xx",
    );
    assertEquals(fields!.slice(0, 2), [":status", "200"]);
    assertEquals(fields!.includes("content-length"), false);
    await peer.pinged();
  }));

test("a tunnel whose client resets it ends with an error", async () => {
  let ended: Promise<string> | undefined;
  await withH2((_, context) =>
    context.tunnel(async (connection) => {
      ended = connection.closed.then(({ clean, error }) =>
        `${clean} ${(error as { code?: string } | undefined)?.code}`
      );
      await connection.send("here");
      await connection.closed;
    }), async (peer) => {
    peer.send(
      headers(1, ":method CONNECT|:authority example.com:443", END_HEADERS),
    );
    assertEquals(await text(peer, 1, "here"), "here");
    peer.send(frame(RST_STREAM, 0, 1, u32(8)));
    await peer.pinged();
    assertEquals(await ended, "false ECONNRESET");
  });
});

test("what follows a refused head is no other request", async () => {
  let called = 0;
  await withH2(
    () => {
      called++;
      return new LightResponse("called");
    },
    async (peer) => {
      const long = fieldsFor("/", "POST", `x-long ${"x".repeat(3000)}`);
      peer.send(headers(1, long, END_HEADERS));
      const { fields } = await peer.until((f) => f.fields !== undefined, "431");
      assertEquals(fields!.slice(0, 2), [":status", "431"]);
      peer.send(get(1));
      await peer.pinged();
      assertEquals(called, 0);
    },
    { serve: { limits: { header: 2000 } } },
  );
});

test("a client that gives no window loses its stream, and the source hears why", async () => {
  let cancelled: unknown;
  await withH2(
    () =>
      new Response(
        new ReadableStream<Uint8Array>({
          pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
          cancel: (reason) => void (cancelled = reason),
        }),
      ),
    async (peer) => {
      peer.send(get(1));
      await peer.reset(1, 8);
      await peer.pinged();
      assert(cancelled instanceof TimeoutError, String(cancelled));
      assertEquals(cancelled.phase, "idle");
    },
    { ...closed, serve: { timeouts: { idle: 200 } } },
  );
});

test("streams past the limit are refused, and cost the others nothing", async () => {
  let release!: () => void;
  const released = new Promise<void>((resolve) => release = resolve);
  await withH2(async () => {
    await released;
    return new LightResponse("ok");
  }, async (peer) => {
    // As a client may that does not know the limit yet.
    const requests = Array.from({ length: 2500 }, (_, i) => get(2 * i + 1));
    await peer.sendAll(bytesOf(...requests));
    await peer.pinged();
    release();
    for (let i = 0; i < 1000; i++) {
      await peer.until((f) => f.type === DATA, "an answer");
    }
    const refused = peer.frames.filter((f) => f.type === RST_STREAM);
    assertEquals(refused.length, 1500);
    assert(refused.every((f) => f.number === 7), "REFUSED_STREAM");
  });
});
