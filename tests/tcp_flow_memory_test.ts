// Whose memory the bytes are that flow from one connection into another, told
// with transports that do nothing by themselves.

import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { Handmade } from "./_handmade.ts";
import { settled } from "./_streams_support.ts";
import { within } from "./_support.ts";
import { ways } from "./_tcp_flow.ts";
import { connect as join } from "../streams/mod.ts";
import { TcpConnection } from "../tcp/_connection.ts";
import type { ConnectionOptions } from "../tcp/_connection.ts";
import { ReadBuffer } from "../tcp/_read_buffer.ts";
import type { Connection } from "../tcp/mod.ts";

interface Bench {
  readonly from: Handmade;
  readonly to: Handmade;
  readonly source: Connection;
  readonly sink: Connection;
}

function bench(options?: ConnectionOptions): Bench {
  const [from, to] = [new Handmade(), new Handmade()];
  return {
    from,
    to,
    source: new TcpConnection(from, options),
    sink: new TcpConnection(to, options),
  };
}

/** The first byte of each, and how many there are. */
function told(chunks: readonly Uint8Array[]): [number, number][] {
  return chunks.map((chunk) => [chunk[0], chunk.byteLength]);
}

for (const [name, move] of Object.entries(ways)) {
  describe(`${name} of bytes`, () => {
    test("hands on at once what comes, and gives the memory back", async () => {
      const { from, to, source, sink } = bench();
      const moved = move(source, sink);
      await settled();
      assertEquals(from.events.borrows, true);
      const chunk = from.give(40_000, 1);
      assertEquals(told(to.written), [[1, 40_000]]);
      assertEquals(from.recycled, [chunk]);
      from.lend(100, 2);
      from.lend(40_000, 3);
      assertEquals(told(to.written).slice(1), [[2, 100], [3, 40_000]]);
      assertEquals(from.recycled.length, 1);
      from.events.end();
      await within(moved);
      assertEquals(to.finished, true);
      assertEquals(from.events.borrows, false);
      assertEquals([source.bytesRead, sink.bytesWritten], [80_100, 80_100]);
    });

    test("keeps the memory while the kernel has no room", async () => {
      const { from, to, source, sink } = bench();
      to.room = 0;
      const moved = move(source, sink);
      await settled();
      const first = from.give(30_000, 1);
      from.lend(20_000, 2);
      from.give(1000, 3);
      const last = from.give(30_000, 4);
      assertEquals(from.paused, true);
      // The small one was copied, and its memory is free at once.
      assertEquals(told(from.recycled), [[0, 1000]]);
      assertEquals(sink.buffered, 81_000);
      for (let n = 0; n < 3; n++) to.drain();
      const bytes = to.written.flatMap((chunk) => [...chunk]);
      assertEquals(bytes.length, 81_000);
      assertEquals(
        [0, 30_000, 50_000, 51_000].map((at) => bytes[at]),
        [1, 2, 3, 4],
      );
      assertEquals(bytes.lastIndexOf(0), -1);
      assert(from.recycled.includes(first) && from.recycled.includes(last));
      assertEquals(from.paused, false);
      from.events.end();
      await within(moved);
    });

    test("gives no memory back that a write may still use", async () => {
      const { from, to, source, sink } = bench();
      to.room = 0;
      const moved = move(source, sink);
      moved.catch(() => {});
      await settled();
      from.give(30_000, 1);
      sink.destroy(new Error("gone"));
      await assertRejects(() => within(moved));
      await within(source.closed);
      assertEquals(from.recycled, []);
    });

    test("goes on where it was once it is aborted", async () => {
      const { from, to, source, sink } = bench();
      to.room = 0;
      const controller = new AbortController();
      const moved = move(source, sink, {
        signal: controller.signal,
        keepSink: true,
        keepSource: true,
      });
      moved.catch(() => {});
      await settled();
      from.give(70_000, 1);
      assertEquals(from.paused, true);
      controller.abort();
      await assertRejects(() => within(moved));
      assertEquals(from.paused, false);
      assertEquals(from.events.borrows, false);
      const kept = from.give(30_000, 2);
      const chunk = name === "connect()"
        ? await source.receive()
        : (await source.readable.getReader().read()).value;
      assertEquals(chunk, kept);
      to.drain();
      assertEquals(told(to.written), [[1, 70_000]]);
      assertEquals(sink.buffered, 0);
    });

    test("never passes `maxBuffered`, and stays at its mark", async () => {
      const { from, to, source, sink } = bench({
        highWaterMark: 10_000,
        maxBuffered: 20_000,
      });
      to.room = 0;
      const moved = move(source, sink);
      await settled();
      let given = 0;
      while (!from.paused) from.give(1000, ++given);
      assertEquals(given, 10);
      // A transport that had more already.
      from.give(1000, ++given);
      await settled();
      assertEquals(sink.buffered, 11_000);
      for (let n = 0; n < 5; n++) {
        to.drain();
        await settled();
      }
      assertEquals(from.paused, false);
      from.events.end();
      await within(moved);
      const all = to.written.reduce((sum, chunk) => sum + chunk.byteLength, 0);
      assertEquals([all, to.lastWritten], [11_000, 11]);
    });

    test("keeps the order with who sends besides", async () => {
      const { from, to, source, sink } = bench();
      to.room = 0;
      const moved = move(source, sink, { keepSink: true });
      await settled();
      from.give(40_000, 1);
      assertEquals(from.paused, false);
      const sent = sink.send(new Uint8Array(40_000).fill(2));
      from.give(40_000, 3);
      assertEquals(sink.buffered, 80_000);
      for (let n = 0; n < 5; n++) {
        to.drain();
        await settled();
      }
      assertEquals(await within(Promise.resolve(sent)), true);
      assertEquals(to.written.map(([first]) => first), [1, 2, 3]);
      from.events.end();
      await within(moved);
    });
  });
}

test("`connect()` of two sources into one sink has both wait", async () => {
  const { from, to, source, sink } = bench();
  const other = new Handmade();
  const second = new TcpConnection(other);
  to.room = 0;
  const moved = [
    join(source, sink, { closeSink: false }),
    join(second, sink, { closeSink: false }),
  ];
  await settled();
  from.give(40_000, 1);
  other.give(40_000, 2);
  assertEquals([from.paused, other.paused], [false, true]);
  from.give(1000, 3);
  for (let n = 0; n < 5; n++) {
    to.drain();
    await settled();
  }
  assertEquals([from.paused, other.paused], [false, false]);
  from.give(70_000, 4);
  other.give(70_000, 5);
  from.give(70_000, 6);
  for (let n = 0; n < 5; n++) {
    to.drain();
    await settled();
  }
  assertEquals([from.paused, other.paused], [false, false]);
  assertEquals(to.written.map(([first]) => first), [1, 2, 3, 4, 5, 6]);
  from.events.end();
  other.events.end();
  await within(Promise.all(moved));
});

test("`ReadBuffer` shows nobody what another connection has read", () => {
  const grown = () => {
    const reads = new ReadBuffer();
    for (let n = 0; n < 4; n++) {
      const space = reads.space();
      reads.take(space.byteLength);
    }
    return reads;
  };
  const [mine, yours] = [grown(), grown()];
  const space = mine.space();
  assertEquals(space.byteLength, 65_536);
  space.fill(7);
  const chunk = mine.take(65_536);
  // It reads on before the chunk is with the other side.
  mine.space();
  mine.recycle(chunk);
  const used = yours.space();
  assertEquals(used.buffer === chunk.buffer, true);
  used.fill(8, 0, 40_000);
  const taken = yours.take(40_000);
  const all = new Uint8Array(taken.buffer);
  assertEquals([all[39_999], all.indexOf(7), all.byteLength], [8, -1, 65_536]);
  assertEquals(yours.space().buffer === chunk.buffer, false);
});

test("`ReadBuffer` lends what was read last, also when it is as long again", () => {
  const reads = new ReadBuffer();
  const read = (size: number, value: number) => {
    reads.space().fill(value, 0, size);
    const lent = reads.lend(size);
    assertEquals([...lent], new Array(size).fill(value));
  };
  for (const size of [3, 3, 5, 3, 3]) read(size, size);
  read(2048, 1);
  for (let i = 0; i < 40; i++) read(3, i);
  assertEquals(reads.space().byteLength, 2048);
  read(3, 4);
  reads.take(2000);
  read(3, 5);
});
