import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { within } from "./_support.ts";
import {
  all,
  counted,
  settled,
  timersLeft,
  unhandled,
} from "./_streams_support.ts";
import {
  Channel,
  ClosedError,
  connect,
  consume,
  from,
  NetError,
  pair,
  TimeoutError,
} from "../streams/mod.ts";

test("`receive()` and `send()` leave no listener, however they end", async () => {
  const { controller, signal, listeners } = counted();
  const channel = new Channel<number>({ capacity: 1 });
  const received = channel.receive({ signal, timeout: 1000 });
  assertEquals(listeners(), 1);
  channel.send(1);
  assertEquals(await received, 1);
  assertEquals(listeners(), 0);

  assertEquals(channel.send(1, { signal }), true);
  assertEquals(channel.receive({ signal }), 1);
  assertEquals(listeners(), 0);

  channel.send(2);
  const late = channel.send(3, { signal, timeout: 1 });
  assertEquals(listeners(), 1);
  await assertRejects(async () => await late, TimeoutError);
  assertEquals(listeners(), 0);
  assertEquals(channel.receive(), 2);

  const closing = [channel.receive({ signal }), channel.receive({ signal })];
  assertEquals(listeners(), 2);
  channel.close();
  assertEquals(await Promise.all(closing), [undefined, undefined]);
  assertEquals(listeners(), 0);

  const other = new Channel<number>({ capacity: 1 });
  const failing = other.receive({ signal });
  other.destroy(new Error("broken"));
  await assertRejects(async () => await failing, Error, "broken");
  assertEquals(listeners(), 0);

  const last = new Channel<number>();
  const aborted = last.receive({ signal });
  controller.abort(new Error("enough"));
  await assertRejects(async () => await aborted, Error, "enough");
  assertEquals(listeners(), 0);
});

test("`receive()` and `send()` leave no timer, however they end", async () => {
  const left = await timersLeft(async () => {
    const timeout = 60_000;
    const channel = new Channel<number>({ capacity: 1 });
    const received = channel.receive({ timeout });
    channel.send(1);
    await received;
    channel.send(2);
    const controller = new AbortController();
    const sent = channel.send(3, { timeout, signal: controller.signal });
    controller.abort();
    await assertRejects(async () => await sent);
    assertEquals(channel.receive({ timeout }), 2);
    const waiting = channel.receive({ timeout });
    channel.close();
    assertEquals(await waiting, undefined);
    await connect(from([1, 2]), new Channel<number>(), { timeout });
    const [a, b] = pair<number>();
    await Promise.all([a.close(), b.close()]);
    const [c] = pair<number>();
    const closing = c.close();
    c.destroy();
    await closing;
  });
  assertEquals(left, 0);
});

test("`receive()` refuses a signal that has aborted, and takes nothing", async () => {
  const channel = new Channel<number>();
  channel.send(1);
  const signal = AbortSignal.abort(new Error("before"));
  await assertRejects(
    async () => await channel.receive({ signal }),
    Error,
    "before",
  );
  await assertRejects(
    async () => await channel.send(2, { signal }),
    Error,
    "before",
  );
  assertEquals(channel.receive(), 1);
  assertEquals(channel.buffered, 0);
});

test("`receive()` rejects with the signal's own reason, or a timeout's code", async () => {
  const channel = new Channel<number>();
  const controller = new AbortController();
  const waiting = channel.receive({ signal: controller.signal });
  controller.abort();
  const aborted = await assertRejects(async () => await waiting);
  assertEquals((aborted as Error).name, "AbortError");
  const late = await assertRejects(
    async () => await channel.receive({ timeout: 0 }),
    TimeoutError,
  );
  assertEquals([late.code, late.phase], ["ETIMEDOUT", "receive"]);
});

test("`receive()` waits for ever when its timeout is infinite", async () => {
  const channel = new Channel<number>();
  let done = false;
  const waiting = Promise.resolve(channel.receive({ timeout: Infinity }))
    .finally(() => done = true);
  await settled();
  assertEquals(done, false);
  channel.send(1);
  assertEquals(await waiting, 1);
});

test("`receive()` and `send()` are refused when too many wait", async () => {
  const channel = new Channel<number>({ capacity: 1 });
  const receives = Array.from({ length: 65_536 }, () => channel.receive());
  const refused = await assertRejects(
    async () => await channel.receive(),
    NetError,
  );
  assertEquals(refused.code, "ERR_TOO_MANY_WAITERS");
  channel.close();
  assertEquals([...new Set(await Promise.all(receives))], [undefined]);

  const other = new Channel<number>({ capacity: 1 });
  const sends = Array.from({ length: 65_537 }, (_, n) => other.send(n));
  const error = await assertRejects(
    async () => await other.send(0),
    NetError,
  );
  assertEquals(error.code, "ERR_TOO_MANY_WAITERS");
  other.destroy();
  assertEquals((await Promise.all(sends)).filter((ok) => ok).length, 1);
});

test("`Symbol.asyncIterator` left with a `next` pending takes no message", async () => {
  const channel = new Channel<number>();
  for (
    const iterator of [
      channel[Symbol.asyncIterator]() as AsyncIterator<unknown>,
      channel.batches()[Symbol.asyncIterator](),
    ]
  ) {
    const pending = [iterator.next(), iterator.next()];
    await iterator.return!();
    for (const next of pending) assertEquals((await within(next)).done, true);
    channel.send(1);
    assertEquals(channel.receive(), 1);
    assertEquals((await iterator.next()).done, true);
  }
});

test("`Symbol.asyncIterator` fails once, then it is over", async () => {
  const channel = new Channel<number>();
  const iterator = channel[Symbol.asyncIterator]();
  channel.destroy(new Error("broken"));
  await assertRejects(() => iterator.next(), Error, "broken");
  assertEquals((await iterator.next()).done, true);
});

test("`Symbol.asyncIterator` that waits fails with the very error", async () => {
  const channel = new Channel<number>();
  const iterator = channel[Symbol.asyncIterator]();
  const told: unknown[] = [];
  const waits = [iterator.next(), iterator.next(), channel.receive()].map(
    (wait) => Promise.resolve(wait).catch((error: unknown) => told.push(error)),
  );
  const broken = Object.assign(new Error("broken"), {
    // What a promise would take for another one.
    then: () => assert(false, "nobody asks an error what comes then"),
  });
  channel.destroy(broken);
  await within(Promise.all(waits));
  assertEquals(told.length, 3);
  for (const error of told) assert(error === broken);
  assertEquals((await iterator.next()).done, true);
});

test("`for await` shares a channel with other receivers", async () => {
  const channel = new Channel<number>();
  const seen: number[][] = [[], [], []];
  const loops = seen.map(async (list) => {
    for await (const n of channel) {
      list.push(n);
      await null;
    }
  });
  for (let n = 0; n < 300; n++) await channel.send(n);
  channel.close();
  await within(Promise.all(loops));
  assertEquals(seen.flat().sort((a, b) => a - b), [...Array(300).keys()]);
  for (const list of seen) {
    assert(list.length > 0);
    assertEquals(list, [...list].sort((a, b) => a - b));
  }
});

test("`Channel` of capacity 0 hands over to every kind of receiver", async () => {
  const produce = async (channel: Channel<number>) => {
    for (const n of [1, 2, 3]) {
      assertEquals(await within(Promise.resolve(channel.send(n))), true);
      assertEquals(channel.buffered, 0);
    }
    channel.close();
  };
  const ways: ((channel: Channel<number>) => Promise<number[]>)[] = [
    all,
    async (channel) => {
      const list: number[] = [];
      for await (const batch of channel.batches()) list.push(...batch);
      return list;
    },
    (channel) => all(from(channel.readable)),
    async (channel) => {
      const list: number[] = [];
      await consume(channel, (n) => void list.push(n));
      return list;
    },
  ];
  for (const way of ways) {
    const early = new Channel<number>({ capacity: 0 });
    const produced = produce(early);
    assertEquals(await within(way(early)), [1, 2, 3]);
    await produced;
    const late = new Channel<number>({ capacity: 0 });
    const received = way(late);
    await settled();
    await within(produce(late));
    assertEquals(await within(received), [1, 2, 3]);
  }
});

test("`Channel` weighs as `size` says, and refuses what makes no sense", async () => {
  const channel = new Channel<number>({ capacity: 1, size: (n) => n });
  for (const weight of [NaN, -1, Infinity]) {
    await assertRejects(async () => await channel.send(weight), RangeError);
  }
  const throwing = new Channel<number>({
    size: () => {
      throw new Error("no size");
    },
  });
  await assertRejects(async () => await throwing.send(1), Error, "no size");
  // Ten tenths are not quite one: nothing is left when nothing is left.
  for (let round = 0; round < 100; round++) {
    while (channel.send(0.1) === true);
    while (channel.buffered > 0) channel.receive();
    assertEquals(channel.buffered, 0);
  }
  assertEquals(channel.send(1), true);
  assertEquals(channel.receive(), 1);
});

test("`Channel` holds no endless number of messages without weight", () => {
  const channel = new Channel<string>({ capacity: 10, size: (s) => s.length });
  let held = 0;
  while (channel.send("") === true && held < 100_000) held++;
  assertEquals(held, 65_536);
  assertEquals(channel.receive(), "");
  assertEquals(channel.buffered, 0);
});

test("`Channel` destroyed without a reason says so", async () => {
  const channel = new Channel<number>();
  channel.destroy();
  const error = await assertRejects(
    async () => await channel.receive(),
    ClosedError,
  );
  assertEquals([error.code, error.message], [
    "ERR_CLOSED",
    "Channel was destroyed",
  ]);
  assertStrictEquals((await channel.closed).error, error);
});

test("`Channel` closed once stays as it was closed", async () => {
  const channel = new Channel<number>();
  channel.close();
  channel.destroy(new Error("late"));
  assertEquals(await channel.closed, { clean: true });
  assertEquals(channel.receive(), undefined);
  const other = new Channel<number>();
  other.destroy(new Error("first"));
  other.destroy(new Error("second"));
  other.close();
  await assertRejects(async () => await other.receive(), Error, "first");
  assertEquals((await other.closed).clean, false);
});

test("`send()` to what is gone gives `false` and never rejects", async () => {
  const reasons = await unhandled(async () => {
    const channel = new Channel<number>({ capacity: 1 });
    const [a, b] = pair<number>({ capacity: 1 });
    for (const sink of [channel, a]) {
      sink.send(1);
      const waiting = sink.send(2);
      sink.destroy(new Error("gone"));
      assertEquals(await waiting, false);
      assertEquals(sink.send(3), false);
      assertEquals(sink.send(4, { timeout: 5 }), false);
    }
    assertEquals(b.send(1), false);
  });
  assertEquals(reasons, []);
});

test("`Channel` is closed by `Symbol.asyncDispose`", async () => {
  const channel = new Channel<number>();
  channel.send(1);
  await channel[Symbol.asyncDispose]();
  assertEquals(channel.send(2), false);
  assertEquals(channel.receive(), 1);
  assertInstanceOf(channel.closed, Promise);
});
