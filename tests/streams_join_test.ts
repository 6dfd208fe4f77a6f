import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import {
  bytes,
  Channel,
  ClosedError,
  connect,
  consume,
  from,
  hexDump,
  NetError,
  pair,
  splice,
  text,
  TimeoutError,
  toReadable,
} from "../streams/mod.ts";
import type { Source } from "../streams/mod.ts";

async function all<T>(source: Source<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const message of source) list.push(message);
  return list;
}

test("`from()` gives what iterables, streams and sources give", async () => {
  assertEquals(await all(from([1, 2, 3])), [1, 2, 3]);
  assertEquals(await all(from(new Set(["a"]))), ["a"]);
  assertEquals(
    await all(from((async function* () {
      yield 1;
      await Promise.resolve();
      yield 2;
    })())),
    [1, 2],
  );
  assertEquals(
    await all(from(
      new ReadableStream<number>({
        start(controller) {
          controller.enqueue(1);
          controller.enqueue(2);
          controller.close();
        },
      }),
    )),
    [1, 2],
  );
  const channel = new Channel<number>();
  assertStrictEquals(from(channel), channel);
  assertThrows(() => from(5 as unknown as number[]), TypeError, "not iterable");
});

test("`from()` pulls only what is asked for", async () => {
  let pulled = 0;
  const source = from((function* () {
    for (;;) yield ++pulled;
  })());
  assertEquals(pulled, 0);
  assertEquals(source.receive(), 1);
  assertEquals(pulled, 1);
  assertEquals(await source.receive(), 2);
  assertEquals(pulled, 2);
});

test("`from()` keeps a message whose wait was given up", async () => {
  let give!: (n: number) => void;
  const source = from((async function* () {
    yield await new Promise<number>((resolve) => give = resolve);
  })());
  await assertRejects(
    async () => await source.receive({ timeout: 1 }),
    TimeoutError,
  );
  give(7);
  assertEquals(await within(Promise.resolve(source.receive())), 7);
  assertEquals(await source.receive(), undefined);
});

/** Nothing was, yet. */
function pulledOnce(): boolean {
  return false;
}

test("`from()` passes the producer's error on", async () => {
  const source = from((async function* () {
    yield 1;
    throw new Error("dry");
  })());
  assertEquals(await source.receive(), 1);
  await assertRejects(async () => await source.receive(), Error, "dry");
  const sync = from((function* (): Generator<number> {
    if (pulledOnce()) yield 1;
    throw new Error("at once");
  })());
  await assertRejects(async () => await sync.receive(), Error, "at once");
});

test("`from().readable` cancelled stops the producer", async () => {
  let stopped = false;
  const source = from((async function* () {
    try {
      for (let n = 0;; n++) yield n;
    } finally {
      stopped = true;
    }
  })());
  const reader = source.readable.getReader();
  assertEquals((await reader.read()).value, 0);
  await reader.cancel();
  await until(() => stopped, "The producer's end");
});

test("`connect()` moves all messages and closes the sink", async () => {
  const channel = new Channel<number>({ capacity: 1 });
  const done = connect(from([1, 2, 3, 4]), channel);
  assertEquals(await all(channel), [1, 2, 3, 4]);
  await within(done);
  assertEquals(await channel.closed, { clean: true });
});

test("`connect()` leaves the sink open when asked to", async () => {
  const channel = new Channel<number>();
  await connect(from([1]), channel, { closeSink: false });
  assertEquals(channel.send(2), true);
  assertEquals(channel.receive(), 1);
});

test("`connect()` to many goes at the pace of the slowest", async () => {
  const source = new Channel<number>({ capacity: 100 });
  const fast = new Channel<number>({ capacity: 100 });
  const slow = new Channel<number>({ capacity: 1 });
  for (let n = 0; n < 10; n++) source.send(n);
  source.close();
  const done = connect(source, [fast, slow]);
  await until(() => fast.buffered === 2);
  assertEquals(await all(slow), [...Array(10).keys()]);
  await within(done);
  assertEquals(fast.buffered, 10);
});

test("`connect()` drops for a slow sink when asked to", async () => {
  const fast = new Channel<number>({ capacity: 100 });
  const slow = new Channel<number>({ capacity: 1 });
  await connect(from([1, 2, 3]), [fast, slow], { onSlow: "drop" });
  assertEquals(await all(fast), [1, 2, 3]);
  assertEquals(await all(slow), [1]);
});

test("`connect()` closes a slow sink when asked to", async () => {
  const fast = new Channel<number>({ capacity: 100 });
  const slow = new Channel<number>({ capacity: 1 });
  await connect(from([1, 2, 3]), [fast, slow], {
    onSlow: "close",
    timeout: 5,
  });
  assertEquals(await all(fast), [1, 2, 3]);
  assertInstanceOf((await slow.closed).error, TimeoutError);
});

test("`connect()` rejects when the only sink is too slow", async () => {
  const source = new Channel<number>();
  const slow = new Channel<number>({ capacity: 1 });
  source.send(1);
  source.send(2);
  await assertRejects(
    () => within(connect(source, slow, { timeout: 5 })),
    TimeoutError,
  );
  assertEquals((await source.closed).clean, false);
});

test("`connect()` ends the source at once when the sink closes", async () => {
  const source = new Channel<number>();
  const sink = new Channel<number>();
  const done = connect(source, sink);
  sink.close();
  await within(done);
  assertEquals((await within(source.closed)).clean, false);
});

test("`connect()` leaves the source open when asked to", async () => {
  const source = new Channel<number>();
  const sink = new Channel<number>();
  const done = connect(source, sink, { closeSource: false });
  sink.close();
  await within(done);
  source.send(1);
  assertEquals(source.receive(), 1);
});

test("`connect()` passes errors on to both sides", async () => {
  const source = new Channel<number>();
  const sink = new Channel<number>();
  const done = connect(source, sink);
  source.destroy(new Error("source broke"));
  await assertRejects(() => within(done), Error, "source broke");
  await assertRejects(async () => await sink.receive(), Error, "source broke");

  const other = new Channel<number>();
  const broken = new Channel<number>();
  const second = connect(other, broken);
  broken.destroy(new Error("sink broke"));
  await assertRejects(() => within(second), NetError);
  assertEquals((await within(other.closed)).clean, false);
});

test("`connect()` stops when its signal aborts", async () => {
  const controller = new AbortController();
  const source = new Channel<number>();
  const sink = new Channel<number>();
  const done = connect(source, sink, { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assertRejects(() => within(done), Error, "enough");
});

test("`consume()` awaits the function, and `false` stops it", async () => {
  const seen: number[] = [];
  const source = from([1, 2, 3, 4]);
  await consume(source, async (n) => {
    await Promise.resolve();
    seen.push(n);
    return n < 2;
  });
  assertEquals(seen, [1, 2]);
  assertEquals(await source.receive(), 3);
  await assertRejects(
    () =>
      consume(from([1]), () => {
        throw new Error("no");
      }),
    Error,
    "no",
  );
});

test("`pair()` carries messages both ways with backpressure", async () => {
  const [a, b] = pair<number, string>({ capacity: 1 });
  assertEquals(b.send(1), true);
  const second = b.send(2);
  assert(second instanceof Promise);
  assertEquals(a.receive(), 1);
  assertEquals(await within(second), true);
  a.send("x");
  assertEquals(b.receive(), "x");
  const closing = Promise.all([a.close(), b.close()]);
  await within(closing);
  assertEquals(await a.closed, { clean: true });
  assertEquals(await b.closed, { clean: true });
  assertEquals(a.send("late"), false);
});

test("`pair()` half-closes: the other direction goes on", async () => {
  const [a, b] = pair<string>();
  await a.writable.close();
  assertEquals(await b.receive(), undefined);
  assertEquals(b.send("still"), true);
  assertEquals(a.receive(), "still");
  await within(Promise.all([a.close(), b.close()]));
});

test("`pair()` destroyed on one end fails on the other", async () => {
  const [a, b] = pair<string>();
  const pending = b.receive();
  a.destroy();
  const error = await assertRejects(async () => await pending, ClosedError);
  assertEquals(error.code, "ECONNRESET");
  assertEquals(await b.send("x"), false);
  assertEquals((await a.closed).clean, false);
  assertEquals((await b.closed).clean, false);
});

test("`pair()` closes within its timeout when the other end does not", async () => {
  const [a, b] = pair<string>();
  await within(a.close({ timeout: 5 } as never));
  const { clean, error } = await a.closed;
  assertEquals(clean, false);
  assertInstanceOf(error, TimeoutError);
  assertEquals((await b.closed).clean, false);
});

test("`splice()` makes one duplex of two halves", async () => {
  const inward = new Channel<number>();
  const outward = new Channel<string>();
  const duplex = splice(inward, outward);
  duplex.send("q");
  assertEquals(outward.receive(), "q");
  inward.send(42);
  assertEquals(await duplex.receive(), 42);
  await within(duplex.close());
  assertEquals(await duplex.closed, { clean: true });
  assertEquals(outward.send("late"), false);
});

test("`toReadable()` takes all kinds of bodies, one chunk a message", async () => {
  const decode = new TextDecoder();
  const read = async (body: unknown) => {
    const chunks: string[] = [];
    const reader = toReadable(body).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return chunks;
      chunks.push(decode.decode(value));
    }
  };
  assertEquals(await read("héllo"), ["héllo"]);
  assertEquals(await read(new Uint8Array([65, 66])), ["AB"]);
  assertEquals(await read(new Uint8Array([65]).buffer), ["A"]);
  assertEquals(await read(new DataView(new ArrayBuffer(1))), ["\0"]);
  assertEquals((await read(new Blob(["blob"]))).join(""), "blob");
  assertEquals(await read(new URLSearchParams({ a: "1 2" })), ["a=1+2"]);
  assertEquals(await read(["a", new Uint8Array([98])]), ["a", "b"]);
  assertEquals(await read(from(["x", "y"])), ["x", "y"]);
  assertEquals((await read(new Response("resp"))).join(""), "resp");
  assertEquals(await read(null), []);
  await assertRejects(() => read([1]), TypeError, "Cannot make bytes");
});

test("`toReadable()` pulls lazily and cancels its producer", async () => {
  let pulled = 0;
  let stopped = false;
  const stream = toReadable((async function* () {
    try {
      for (;;) yield `${pulled++}`;
    } finally {
      stopped = true;
    }
  })());
  await Promise.resolve();
  assertEquals(pulled, 0);
  const reader = stream.getReader();
  await reader.read();
  assertEquals(pulled, 1);
  await reader.cancel();
  await until(() => stopped, "The producer's end");
});

test("`bytes()` and `text()` collect, however characters are cut", async () => {
  const encoded = new TextEncoder().encode("añ€😀");
  const cut = Array.from(encoded, (byte) => new Uint8Array([byte]));
  assertEquals(await text(cut), "añ€😀");
  assertEquals(await bytes(cut), encoded);
  assertEquals(await bytes("ab"), new Uint8Array([97, 98]));
  const own = new Uint8Array([1]);
  assert((await bytes(own)) !== own);
});

test("`hexDump()` shows offset, hex and ASCII", () => {
  assertEquals(
    hexDump(new TextEncoder().encode("GET / HTTP/1.1\r\nA")),
    "00000000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|\n" +
      "00000010  41                                                |A|",
  );
});

test("errors have a code, a name and a place in the family", () => {
  const error = new TimeoutError("Late", { phase: "connect" });
  assert(error instanceof NetError && error instanceof Error);
  assertEquals([error.name, error.code, error.phase, error.retryable], [
    "TimeoutError",
    "ETIMEDOUT",
    "connect",
    true,
  ]);
  assertEquals(Object.keys(error).includes("name"), false);
});
