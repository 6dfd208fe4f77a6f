import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { all, counted, settled, unhandled } from "./_streams_support.ts";
import {
  Channel,
  ClosedError,
  connect,
  from,
  MockClock,
  NetError,
  pair,
  splice,
  TimeoutError,
} from "../streams/mod.ts";
import type {
  CloseInfo,
  MaybePromise,
  Sink,
  Source,
  Wait,
} from "../streams/mod.ts";

/** A sink and a source that are not of this library: they see a real signal. */
class Foreign<T> implements Sink<T>, Source<T> {
  readonly channel: Channel<T>;
  signals = 0;

  constructor(capacity: number) {
    this.channel = new Channel<T>({ capacity });
  }

  #look({ signal }: Wait = {}): void {
    if (signal === undefined) return;
    assert(Object.prototype.toString.call(signal) === "[object AbortSignal]");
    signal.throwIfAborted();
    AbortSignal.any([signal]);
    this.signals++;
  }

  get readable(): ReadableStream<T> {
    return this.channel.readable;
  }
  get writable(): WritableStream<T> {
    return this.channel.writable;
  }
  get buffered(): number {
    return this.channel.buffered;
  }
  receive(wait?: Wait): MaybePromise<T | undefined> {
    this.#look(wait);
    return this.channel.receive(wait);
  }
  batches(): AsyncIterable<readonly T[]> {
    return this.channel.batches();
  }
  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.channel[Symbol.asyncIterator]();
  }
  send(message: T, wait?: Wait): MaybePromise<boolean> {
    this.#look(wait);
    return this.channel.send(message, wait);
  }
}

test("`connect()` loses nothing of what the source still has", async () => {
  const source = new Channel<number>();
  const sink = new Channel<number>({ capacity: 1 });
  const done = connect(source, sink, { closeSource: false });
  await settled();
  sink.close();
  await within(done);
  for (const n of [1, 2, 3]) source.send(n);
  assertEquals([1, 2, 3].map(() => source.receive()), [1, 2, 3]);
});

test("`connect()` ends at once while it waits for room", async () => {
  const source = new Channel<number>();
  const sink = new Channel<number>({ capacity: 1 });
  const done = connect(source, sink);
  for (const n of [1, 2, 3]) source.send(n);
  await until(() => sink.buffered === 2, "The wait for room");
  sink.close();
  await within(done);
  assertEquals((await source.closed).clean, false);
  assertEquals(source.send(4), false);
});

test("`connect()` does nothing when the sink is closed already", async () => {
  const sink = new Channel<number>();
  sink.close();
  let pulled = 0;
  let stopped = false;
  await within(connect(
    from((function* () {
      try {
        for (;;) yield pulled++;
      } finally {
        stopped = true;
      }
    })()),
    sink,
  ));
  assert(pulled <= 1);
  assertEquals(stopped || pulled === 0, true);
});

test("`connect()` to no sink at all ends at once", async () => {
  const source = new Channel<number>();
  await within(connect(source, []));
  assertEquals((await within(source.closed)).clean, false);
});

test("`connect()` stops the producer when the sink is gone", async () => {
  let stopped = false;
  const sink = new Channel<number>({ capacity: 1 });
  const done = connect(
    from((async function* () {
      try {
        for (let n = 0;; n++) yield n;
      } finally {
        stopped = true;
      }
    })()),
    sink,
  );
  assertEquals(await sink.receive(), 0);
  sink.close();
  await within(done);
  await until(() => stopped, "The producer's end");

  let cancelled: unknown;
  const other = new Channel<number>();
  const reason = new Error("no more");
  const second = connect(
    from(
      new ReadableStream<number>({
        cancel: (reason) => void (cancelled = reason),
      }),
    ),
    other,
  );
  other.destroy(reason);
  await assertRejects(() => within(second), NetError);
  await until(() => cancelled !== undefined, "The cancel");
  assertStrictEquals((cancelled as NetError).cause, reason);
});

test("`connect()` rejects with what broke the sink, however it is learnt", async () => {
  // `send` gives false some time before `closed` says why.
  let settle!: (info: CloseInfo) => void;
  const error = new ClosedError("Broken pipe", { code: "EPIPE" });
  const sink = {
    writable: new WritableStream<number>(),
    buffered: 0,
    closed: new Promise<CloseInfo>((resolve) => settle = resolve),
    send() {
      setTimeout(() => settle({ clean: false, error }), 1);
      return false;
    },
  };
  const source = new Channel<number>();
  source.send(1);
  const thrown = await assertRejects(
    () => within(connect(source, sink)),
    ClosedError,
  );
  assertStrictEquals(thrown, error);
  assertStrictEquals((await source.closed).error, error);

  // It breaks while it is being flushed.
  const flushing = {
    writable: new WritableStream<number>(),
    buffered: 0,
    closed: new Promise<CloseInfo>((resolve) => settle = resolve),
    send: () => true,
    closeWrite() {
      settle({ clean: false, error });
      return Promise.resolve();
    },
  };
  assertStrictEquals(
    await assertRejects(() => within(connect(from([1]), flushing))),
    error,
  );
});

test("`connect()` goes on with the sinks that are left", async () => {
  const source = new Channel<number>();
  const sinks = [1, 2, 3].map(() => new Channel<number>());
  const done = connect(source, sinks);
  source.send(1);
  await settled();
  sinks[0].close();
  sinks[1].destroy(new Error("broken"));
  source.send(2);
  source.close();
  await within(done);
  assertEquals(await all(sinks[0]), [1]);
  assertEquals(await all(sinks[2]), [1, 2]);
  assertEquals(await sinks[2].closed, { clean: true });
});

test("`connect()` fails with the last sink's failure", async () => {
  const source = new Channel<number>();
  const sinks = [1, 2].map(() => new Channel<number>());
  const done = connect(source, sinks);
  sinks[0].close();
  sinks[1].destroy(new Error("broken"));
  await assertRejects(() => within(done), ClosedError);
  assertEquals((await within(source.closed)).clean, false);
});

test("`connect()` with `onSlow: drop` never makes the others wait", async () => {
  const source = new Channel<number>({ capacity: 1000 });
  for (let n = 0; n < 1000; n++) source.send(n);
  source.close();
  const fast = new Channel<number>({ capacity: Infinity });
  const slow = new Channel<number>({ capacity: 2 });
  const started = performance.now();
  await connect(source, [slow, fast], { onSlow: "drop" });
  assert(performance.now() - started < 500);
  assertEquals((await all(fast)).length, 1000);
  assertEquals(await all(slow), [0, 1]);
});

test("`connect()` with `onSlow: drop` waits once, and gives again when there is room", async () => {
  const clock = new MockClock();
  const source = new Channel<number>({ capacity: 1000 });
  const fast = new Channel<number>({ capacity: Infinity });
  const slow = new Channel<number>({ capacity: 1 });
  const done = connect(source, [slow, fast], {
    onSlow: "drop",
    timeout: 20,
    clock,
  });
  for (let n = 0; n < 100; n++) source.send(n);
  await clock.advance(19);
  assertEquals(fast.buffered, 2);
  await clock.advance(1);
  assertEquals([fast.buffered, clock.pending], [100, 0]);
  assertEquals(slow.receive(), 0);
  source.send(100);
  await clock.advance(0);
  assertEquals(fast.buffered, 101);
  assertEquals(slow.receive(), 100);
  // It has shown that it can: it is waited for again.
  source.send(101);
  source.send(102);
  await clock.advance(19);
  assertEquals([slow.buffered, fast.buffered], [2, 103]);
  assertEquals(slow.receive(), 101);
  await clock.advance(1);
  assertEquals(slow.receive(), 102);
  source.close();
  await within(done);
});

test("`connect()` times out and closes by the clock that it is given", async () => {
  const clock = new MockClock();
  const source = new Channel<number>();
  const slow = new Channel<number>({ capacity: 1 });
  const waiting = connect(source, slow, { timeout: 1000, clock });
  const failed = assertRejects(() => within(waiting), TimeoutError);
  source.send(1);
  source.send(2);
  await clock.advance(999);
  assertEquals(source.send(3), true);
  await clock.advance(1);
  await failed;
  assertEquals((await source.closed).clean, false);

  const other = new Channel<number>();
  const [fast, lazy] = [100, 1].map((capacity) =>
    new Channel<number>({ capacity })
  );
  const done = connect(other, [fast, lazy], {
    onSlow: "close",
    timeout: 1000,
    clock,
  });
  for (const n of [1, 2, 3]) other.send(n);
  await clock.advance(1000);
  assertInstanceOf((await lazy.closed).error, TimeoutError);
  other.close();
  await within(done);
  assertEquals(await all(fast), [1, 2, 3]);
  assertEquals(clock.pending, 0);
});

test("`connect()` with `onSlow: close` rejects when nobody is left", async () => {
  const source = new Channel<number>();
  const slow = new Channel<number>({ capacity: 1 });
  source.send(1);
  source.send(2);
  await assertRejects(
    () => within(connect(source, slow, { onSlow: "close" })),
    TimeoutError,
  );
  assertInstanceOf((await slow.closed).error, TimeoutError);
  assertEquals((await source.closed).clean, false);
});

test("`connect()` refuses options that make no sense", async () => {
  const channel = new Channel<number>();
  await assertRejects(
    () => connect(channel, channel, { onSlow: "explode" as "wait" }),
    TypeError,
    "explode",
  );
  await assertRejects(
    () => connect(channel, channel, { timeout: NaN }),
    RangeError,
  );
  for (const no of [5, null, undefined, "x", [1], new ReadableStream()]) {
    await assertRejects(
      () => within(connect(no as unknown as Source<number>, channel)),
      TypeError,
      "the source cannot receive",
    );
    await assertRejects(
      () => within(connect(channel, [channel, no as unknown as Sink<number>])),
      TypeError,
      "this sink cannot send",
    );
  }
  assertEquals(channel.send(1), true);
});

test("`connect()` fails with a message that can never be sent", async () => {
  for (const onSlow of ["wait", "drop"] as const) {
    const source = new Channel<string>();
    const sink = new Channel<string>({ size: (s) => s.length / 0 });
    const done = connect(source, sink, { onSlow });
    source.send("x");
    await assertRejects(() => within(done), RangeError);
    assertEquals((await source.closed).clean, false);
    assertEquals((await sink.closed).clean, false);
  }
});

test("`connect()` leaves no listener and no rejection behind", async () => {
  const reasons = await unhandled(async () => {
    const { controller, signal, listeners } = counted();
    await connect(from([1, 2, 3]), new Channel<number>(), { signal });
    assertEquals(listeners(), 0);
    const source = new Channel<number>();
    const sink = new Channel<number>({ capacity: 1 });
    const done = connect(source, sink, { signal });
    source.send(1);
    source.send(2);
    await settled();
    assertEquals(listeners(), 1);
    controller.abort(new Error("enough"));
    await assertRejects(() => within(done), Error, "enough");
    assertEquals(listeners(), 0);
    assertEquals((await source.closed).clean, false);
    assertEquals((await sink.closed).clean, false);
    await assertRejects(
      () => connect(new Channel<number>(), new Channel<number>(), { signal }),
      Error,
      "enough",
    );
  });
  assertEquals(reasons, []);
});

test("`connect()` aborted leaves both sides alone when asked to", async () => {
  const controller = new AbortController();
  const source = new Channel<number>();
  const sink = new Channel<number>();
  const done = connect(source, sink, {
    signal: controller.signal,
    closeSink: false,
    closeSource: false,
  });
  controller.abort(new Error("enough"));
  await assertRejects(() => within(done), Error, "enough");
  assertEquals(source.send(1), true);
  assertEquals(source.receive(), 1);
  assertEquals(sink.send(2), true);
});

test("`connect()` gives up while a sink says goodbye for too long", async () => {
  const controller = new AbortController();
  const [a, b] = pair<number>();
  const foreign = {
    writable: a.writable,
    buffered: 0,
    closed: a.closed,
    send: (n: number) => a.send(n),
    close: () => a.close(),
    destroy: (reason: unknown) => a.destroy(reason),
  };
  const done = connect(from([1]), foreign, { signal: controller.signal });
  assertEquals(await b.receive(), 1);
  controller.abort(new Error("too long"));
  await assertRejects(() => within(done), Error, "too long");
  assertEquals((await within(a.closed)).clean, false);
});

test("`connect()` gives others a real signal", async () => {
  const source = new Foreign<number>(4);
  const sink = new Foreign<number>(1);
  const done = connect(source, sink);
  for (const n of [1, 2, 3]) source.channel.send(n);
  source.channel.close();
  assertEquals(await sink.receive(), 1);
  assertEquals(await sink.receive(), 2);
  assertEquals(await sink.receive(), 3);
  await within(done);
  assert(source.signals > 0 && sink.signals > 0);
});

test("`connect()` lets others run between two that never wait", async () => {
  const controller = new AbortController();
  let pulled = 0;
  const done = connect(
    from((function* () {
      for (;;) yield pulled++;
    })()),
    new Channel<number>({ overflow: "drop-oldest" }),
    { signal: controller.signal },
  );
  await null;
  await null;
  controller.abort(new Error("enough"));
  await assertRejects(() => within(done), Error, "enough");
  assert(pulled < 10_000);
});

test("`connect()` joins two duplexes both ways, as a proxy does", async () => {
  const [client, front] = pair<string>();
  const [back, server] = pair<string>();
  const proxied = Promise.all([connect(front, back), connect(back, front)]);
  const served = (async () => {
    for await (const message of server) await server.send(`${message}!`);
    await server.close();
  })();
  client.send("a");
  client.send("b");
  await client.writable.close();
  assertEquals(await within(all(client)), ["a!", "b!"]);
  await within(served);
  await within(proxied);
  await within(client.close());
  for (const end of [client, front, back, server]) {
    assertEquals(await within(end.closed), { clean: true });
  }
});

test("`pair()` refuses what is no message, and capacities of nonsense", async () => {
  const [a, b] = pair<unknown>();
  await assertRejects(async () => await a.send(undefined), TypeError);
  assertEquals(a.send(null), true);
  assertEquals(b.receive(), null);
  await assertRejects(
    () => Promise.resolve().then(() => pair({ capacity: -1 })),
    RangeError,
  );
  b.destroy();
});

test("`pair()` of capacity 0 hands over", async () => {
  const [a, b] = pair<number>({ capacity: 0 });
  const sent = a.send(1);
  assert(sent instanceof Promise);
  assertEquals(b.receive(), 1);
  assertEquals(await sent, true);
  const waiting = b.receive();
  assertEquals(a.send(2), true);
  assertEquals(await waiting, 2);
  await within(Promise.all([a.close(), b.close()]));
});

test("`pair()` counts what is under way, by `size`", async () => {
  const [a, b] = pair<string>({
    capacity: 10,
    size: (message) => (message as string).length,
  });
  assertEquals(a.send("12345678"), true);
  assertEquals(a.send("12345678"), true);
  const third = a.send("x");
  assert(third instanceof Promise);
  assertEquals(a.buffered, 17);
  assertEquals(b.receive()?.toString().length, 8);
  assertEquals(await third, true);
  assertEquals(a.buffered, 9);
  a.destroy();
});

test("`pair()` closed flushes what waits, and takes no more", async () => {
  const [a, b] = pair<number>({ capacity: 1 });
  assertEquals(a.send(1), true);
  const second = a.send(2);
  const closing = a.close();
  assertEquals(a.send(3), false);
  assertEquals(b.send(9), true);
  assertEquals(await within(all(b)), [1, 2]);
  assertEquals(await second, true);
  await within(Promise.all([closing, b.close()]));
  assertEquals(await a.closed, { clean: true });
});

test("`pair()` closed lets the other end finish, and says what it missed", async () => {
  const [a, b] = pair<number>({ capacity: 2 });
  const closing = a.close();
  for (let n = 0; n < 10; n++) assertEquals(b.send(n), true);
  await within(Promise.all([closing, b.close()]));
  assertEquals([a.receive(), a.receive()], [0, 1]);
  await assertRejects(async () => await a.receive(), ClosedError, "before all");
});

test("`pair()` destroyed keeps what had come for the other end", async () => {
  const [a, b] = pair<number>();
  a.send(1);
  b.send(2);
  a.destroy(new Error("why"));
  await assertRejects(async () => await a.receive(), Error, "why");
  assertEquals(b.receive(), 1);
  await assertRejects(async () => await b.receive(), ClosedError);
});

test("`splice()` closes with its halves, and destroys both", async () => {
  const inward = new Channel<number>();
  const outward = new Channel<number>();
  const duplex = splice(inward, outward);
  inward.close();
  outward.close();
  assertEquals(await within(duplex.closed), { clean: true });

  let stopped = false;
  const sink = new Channel<number>();
  const other = splice(
    from((function* () {
      try {
        for (;;) yield 1;
      } finally {
        stopped = true;
      }
    })()),
    sink,
  );
  assertEquals(other.receive(), 1);
  other.destroy(new Error("why"));
  assertEquals(stopped, true);
  assertEquals(sink.send(1), false);
  assertEquals((await within(other.closed)).clean, false);

  const last = splice(from([1]), new Channel<number>());
  await within(last[Symbol.asyncDispose]());
  assertEquals(await last.closed, { clean: true });
});
