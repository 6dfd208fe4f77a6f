// The flow of bodies over HTTP/2: windows that others hold (RFC 9113, 5.2),
// frames that come in pieces, settings that cost, small pieces.

import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import {
  ACK,
  bytesOf,
  DATA,
  data,
  END_STREAM,
  frame,
  get,
  GOAWAY,
  headers,
  post,
  PREFACE,
  rstStream,
  SETTINGS,
  settings,
  u32,
  WINDOW_UPDATE,
  windowUpdate,
  withH2,
} from "./_h2_raw.ts";
import type { H2Frame, H2Peer } from "./_h2_raw.ts";
import { answer, head, withH2Server } from "./_h2_server.ts";
import { within } from "./_support.ts";
import { FetchError } from "../http/errors.ts";

const WINDOW = 524_288;

/** Sends as many bytes on a stream as its windows let through. */
class Sender {
  readonly #peer: H2Peer;
  #seen = 0;
  #connection = 65_535;
  readonly #streams = new Map<number, number>();

  constructor(peer: H2Peer) {
    this.#peer = peer;
  }

  /** What the window of the connection lets through. */
  get left(): number {
    this.#look();
    return this.#connection;
  }

  /** Sends so much, or what the window of the connection lets through. */
  async fill(stream: number, size: number): Promise<void> {
    for (let room = size; room > 0 && this.left > 0;) {
      room -= await this.#some(stream, room);
    }
  }

  async upload(stream: number, size: number): Promise<void> {
    for (let left = size; left > 0;) left -= await this.#some(stream, left);
    await this.#peer.sendAll(data(stream, "", END_STREAM));
  }

  async #some(stream: number, most: number): Promise<number> {
    for (;;) {
      this.#look();
      const left = this.#streams.get(stream) ?? WINDOW;
      const size = Math.min(16_384, most, left, this.#connection);
      if (size > 0) {
        this.#connection -= size;
        this.#streams.set(stream, left - size);
        await this.#peer.sendAll(data(stream, new Uint8Array(size)));
        return size;
      }
      await this.#peer.more();
    }
  }

  #look(): void {
    const { frames } = this.#peer;
    for (; this.#seen < frames.length; this.#seen++) {
      const { type, stream, number } = frames[this.#seen];
      if (type !== WINDOW_UPDATE) continue;
      if (stream === 0) this.#connection += number;
      else {
        const left = this.#streams.get(stream) ?? WINDOW;
        this.#streams.set(stream, left + number);
      }
    }
  }
}

test("serve() gives windows on while other bodies wait (5.2)", async () => {
  let release!: () => void;
  const released = new Promise<void>((resolve) => release = resolve);
  await withH2(async (request) => {
    if (request.url.endsWith("/hold")) await released;
    return new Response(String((await request.bytes()).length));
  }, async (peer) => {
    await peer.pinged();
    const sender = new Sender(peer);
    // All but one eighth of the window of the connection waits.
    const held = [1, 3, 5, 7, 9, 11, 13];
    for (const stream of held) peer.send(post(stream, "/hold"));
    for (const stream of held) await sender.fill(stream, WINDOW);
    peer.send(post(15));
    await sender.upload(15, 1_000_000);
    assertEquals((await peer.response(15)).body, "1000000");
    release();
    for (const stream of held) {
      peer.send(data(stream, "", END_STREAM));
      assertEquals((await peer.response(stream)).body, String(WINDOW));
    }
  }, { serve: { http2: { initialWindow: WINDOW, maxWindow: WINDOW } } });
});

test("serve() waits for a body whose client has no window (5.2)", async () => {
  // Once more when the machine was too slow to fill the window in time.
  for (let left = 20; !await waitsForBody(); left--) assert(left > 0);
});

async function waitsForBody(): Promise<boolean> {
  let release!: () => void;
  const released = new Promise<void>((resolve) => release = resolve);
  let inTime = false;
  await withH2(async (request) => {
    if (request.url.endsWith("/hold")) await released;
    return new Response(String((await request.bytes()).length));
  }, async (peer) => {
    const answered = () => peer.frames.some((f) => f.fields !== undefined);
    await peer.pinged();
    const sender = new Sender(peer);
    let stream = 1;
    for (; sender.left > 0; stream += 2) {
      peer.send(post(stream, "/hold"));
      await sender.fill(stream, WINDOW);
      await peer.pinged();
      if (answered()) return;
    }
    inTime = true;
    peer.send(post(stream));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assert(!answered(), `${peer}`);
    release();
  }, {
    serve: {
      timeouts: { body: 300 },
      http2: { initialWindow: WINDOW, maxWindow: WINDOW },
    },
  });
  return inTime;
}

test("serve() takes a body for as long as it comes, however its frames are cut", async () => {
  await withH2(
    async (request) => new Response(String((await request.bytes()).length)),
    async (peer) => {
      const bytes = bytesOf(
        post(1),
        ...Array.from({ length: 40 }, () => data(1, new Uint8Array(1000))),
        data(1, "", END_STREAM),
      );
      // No piece ends where a frame does.
      for (let at = 0; at < bytes.length; at += 1009) {
        peer.send(bytes.subarray(at, at + 1009));
        await new Promise((resolve) => setTimeout(resolve, 25));
        assert(!peer.ended, `${peer}`);
      }
      assertEquals((await peer.response(1)).body, "40000");
    },
    // An acknowledgment would come in between.
    { acknowledge: false, serve: { timeouts: { header: 300 } } },
  );
});

test("serve() gives up a frame whose rest does not come", async () => {
  for (const cut of [4, 9, 500]) {
    await withH2(async (request) => new Response(await request.text()), async (
      peer,
    ) => {
      peer.send(post(1), data(1, new Uint8Array(1000)).subarray(0, cut));
      for (;;) {
        const { type } = await peer.until((f) => f.stream === 0, "the end");
        if (type === GOAWAY) break;
      }
      await peer.closed();
    }, { serve: { timeouts: { header: 100, body: 200 } } });
  }
});

test("serve() looks at a setting once, however often a frame names it (6.5.3)", async () => {
  await withH2(() => new Response("0123456789"), async (peer) => {
    const streams = 500;
    for (let i = 0; i < streams; i++) peer.send(get(2 * i + 1));
    await peer.pinged();
    const pair = [0, 4, ...u32(1), 0, 4, ...u32(0)];
    const many = frame(SETTINGS, 0, 0, Array(1365).fill(pair).flat());
    for (let i = 0; i < 400; i++) await peer.sendAll(many);
    peer.send(settings([4, 9], [4, 10]));
    let ended = 0;
    while (ended < streams) {
      const { flags } = await peer.until((f) => f.type === DATA, "the bodies");
      if ((flags & END_STREAM) !== 0) ended++;
    }
    const acks = (f: H2Frame) => f.type === SETTINGS && (f.flags & ACK) !== 0;
    assertEquals(peer.frames.filter(acks).length, 402);
  }, { greeting: bytesOf(PREFACE, settings([4, 0])) });
});

/** Sends bytes one by one, each in a frame of its own. */
async function oneByOne(
  peer: H2Peer,
  stream: number,
  size: number,
): Promise<void> {
  const block = bytesOf(
    ...Array.from({ length: 256 }, (_, i) => data(stream, [i])),
  );
  for (let left = size / 256; left > 0; left--) await peer.sendAll(block);
  peer.send(data(stream, "", END_STREAM));
}

function counts(bytes: Uint8Array): boolean {
  return bytes.every((byte, i) => byte === (i & 0xff));
}

test("serve() keeps a body of single bytes in few pieces, until it is read", async () => {
  let release!: () => void;
  const released = new Promise<void>((resolve) => release = resolve);
  const seen: number[] = [];
  await withH2(async (request) => {
    await released;
    let size = 0;
    let pieces = 0;
    let good = true;
    for await (const chunk of request.body!) {
      good &&= chunk.every((byte, i) => byte === ((size + i) & 0xff));
      size += chunk.length;
      pieces++;
    }
    seen.push(size, pieces);
    return new Response(String(good));
  }, async (peer) => {
    peer.send(post(1));
    await oneByOne(peer, 1, 32 * 1024);
    await peer.pinged();
    release();
    assertEquals((await peer.response(1)).body, "true");
    assertEquals(seen[0], 32 * 1024);
    assert(seen[1] < 500, `${seen[1]} pieces`);
  });
});

test("serve() collects a body of single bytes", async () => {
  await withH2(async (request) => {
    const bytes = await request.bytes();
    return new Response(`${bytes.length} ${counts(bytes)}`);
  }, async (peer) => {
    peer.send(post(1));
    await oneByOne(peer, 1, 32 * 1024);
    assertEquals((await peer.response(1)).body, "32768 true");
  });
});

test("serve() keeps what comes into a tunnel in few pieces, until it is read", async () => {
  let release!: () => void;
  const released = new Promise<void>((resolve) => release = resolve);
  const seen: number[] = [];
  await withH2(async (_, context) => {
    await released;
    return context.tunnel(async (connection) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of connection) chunks.push(chunk);
      seen.push(chunks.length);
      const bytes = bytesOf(...chunks);
      await connection.send(`${bytes.length} ${counts(bytes)}`);
    });
  }, async (peer) => {
    peer.send(
      frame(
        1,
        4,
        1,
        bytesOf([0, 7], ":method", [7], "CONNECT", [0, 10], [
          ...[...":authority"].map((c) => c.charCodeAt(0)),
          ...[3, 97, 58, 49],
        ]),
      ),
    );
    await oneByOne(peer, 1, 32 * 1024);
    await peer.pinged();
    release();
    assertEquals((await within(peer.response(1))).body, "32768 true");
    assert(seen[0] < 500, `${seen[0]} pieces`);
  });
});

test("serve() answers while windows of one byte are opened (6.9)", async () => {
  const body = "0123456789".repeat(30);
  await withH2(() => new Response(body), async (peer) => {
    peer.send(get(1), get(3));
    await peer.pinged();
    for (let i = 0; i < 300; i++) {
      peer.send(windowUpdate(1, 1), windowUpdate(3, 1));
      if (i % 100 === 0) await peer.pinged(`ping-${i}`.padEnd(8));
    }
    const all = (stream: number) => {
      let text = "";
      for (const f of peer.frames) {
        if (f.type === DATA && f.stream === stream) {
          text += String.fromCharCode(...f.payload);
        }
      }
      return text;
    };
    await peer.until((f) => f.stream === 3 && (f.flags & 1) !== 0, "the end");
    assertEquals([all(1), all(3)], [body, body]);
  }, { greeting: bytesOf(PREFACE, settings([4, 0])) });
});

test("fetch() keeps a body of single bytes in few pieces, until it is read", async () => {
  for (const end of ["clean", "trailers", "cut"]) {
    await withH2Server(async (peer) => {
      const { stream } = await peer.request();
      peer.send(head(stream));
      const block = bytesOf(
        ...Array.from({ length: 256 }, (_, i) => data(stream, [i])),
      );
      for (let i = 0; i < 128; i++) await peer.sendAll(block);
      if (end === "clean") peer.send(data(stream, "", END_STREAM));
      else if (end === "trailers") peer.send(headers(stream, "x-end yes"));
      else peer.send(rstStream(stream, 2));
      peer.send(answer((await peer.request()).stream));
    }, async (client, url) => {
      const response = await client.get(url);
      const reader = response.body!.getReader();
      const chunks = [(await reader.read()).value!];
      // It waits, and so does the rest.
      assertEquals(await client.get(url).text(), "ok");
      let failed: unknown;
      for (;;) {
        const result = await reader.read().catch((error) => failed = error);
        if (failed !== undefined || result.done) break;
        chunks.push(result.value!);
      }
      const bytes = bytesOf(...chunks);
      assert(counts(bytes), end);
      if (end === "cut") assert(failed instanceof FetchError, `${failed}`);
      else {
        assertEquals([bytes.length, failed], [128 * 256, undefined]);
        assert(chunks.length < 2000, `${chunks.length} pieces`);
      }
      const trailers = end === "trailers" ? await response.trailers : undefined;
      if (trailers !== undefined) assertEquals(trailers.get("x-end"), "yes");
    });
  }
});

test("fetch() collects a body of single bytes", async () => {
  await withH2Server(async (peer) => {
    const { stream } = await peer.request();
    peer.send(head(stream));
    await oneByOne(peer, stream, 64 * 1024);
  }, async (client, url) => {
    const bytes = await client.get(url).bytes();
    assertEquals(bytes.length, 64 * 1024);
    assert(counts(bytes));
  });
});
