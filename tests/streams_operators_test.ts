import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { all, settled, timersLeft, unhandled } from "./_streams_support.ts";
import {
  batch,
  buffer,
  Channel,
  concat,
  connect,
  consume,
  dedupe,
  drop,
  every,
  filter,
  flatMap,
  from,
  groupRuns,
  map,
  merge,
  MockClock,
  pair,
  reduce,
  scan,
  SizeLimitError,
  take,
  takeWhile,
  throttle,
  TimeoutError,
  zip,
} from "../streams/mod.ts";
import type { Source } from "../streams/mod.ts";

/** Destroyed by hand, as `connect` would. */
function destroy(source: unknown, reason: unknown): void {
  (source as { destroy(reason: unknown): void }).destroy(reason);
}

/** What a promise has come to, as soon as it has. */
function noted<T>(promise: T | Promise<T>): { value: T | undefined } {
  const note: { value: T | undefined } = { value: undefined };
  Promise.resolve(promise).then((value) => note.value = value);
  return note;
}

/** An endless producer, and whether it was stopped. */
function endless(): { source: Source<number>; stopped: () => boolean } {
  let stopped = false;
  const source = from((function* () {
    try {
      for (let n = 0;; n++) yield n;
    } finally {
      stopped = true;
    }
  })());
  return { source, stopped: () => stopped };
}

test("operators do to a source what they do to a list", async () => {
  const numbers = () => from([1, 2, 3, 4, 5]);
  assertEquals(await all(map((n: number) => n * 2)(numbers())), [
    2,
    4,
    6,
    8,
    10,
  ]);
  assertEquals(await all(filter((n: number) => n % 2)(numbers())), [1, 3, 5]);
  assertEquals(
    await all(flatMap((n: number) => Array(n % 3).fill(n))(numbers())),
    [1, 2, 2, 4, 5, 5],
  );
  assertEquals(
    await all(scan((sum: number, n: number) => sum + n, 0)(numbers())),
    [1, 3, 6, 10, 15],
  );
  assertEquals(await all(take(2)(numbers())), [1, 2]);
  assertEquals(await all(take(0)(numbers())), []);
  assertEquals(await all(take(9)(numbers())), [1, 2, 3, 4, 5]);
  assertEquals(await all(takeWhile((n: number) => n < 3)(numbers())), [1, 2]);
  assertEquals(await all(drop(3)(numbers())), [4, 5]);
  assertEquals(await all(drop(0)(numbers())), [1, 2, 3, 4, 5]);
  assertEquals(await all(dedupe()(from([1, 1, 2, 2, 1, NaN, NaN]))), [
    1,
    2,
    1,
    NaN,
  ]);
  assertEquals(
    await all(dedupe((s: string) => s[0])(from(["ab", "ac", "b"]))),
    ["ab", "b"],
  );
  assertEquals(await all(batch({ size: 2 })(numbers())), [[1, 2], [3, 4], [5]]);
  assertEquals(
    await all(groupRuns((n: number) => n > 2)(numbers())),
    [[1, 2], [3, 4, 5]],
  );
  assertEquals(await reduce(numbers(), (sum, n) => sum + n, 0), 15);
  assertEquals(await all(concat(numbers(), from([6]), from([]))), [
    1,
    2,
    3,
    4,
    5,
    6,
  ]);
  assertEquals(await all(zip(numbers(), from(["a", "b"]))), [[1, "a"], [
    2,
    "b",
  ]]);
  assertEquals(
    (await all(merge(numbers(), from([6, 7])))).sort(),
    [1, 2, 3, 4, 5, 6, 7],
  );
  assertEquals(await all(buffer({ capacity: 2 })(numbers())), [1, 2, 3, 4, 5]);
  for (const nothing of [merge(), concat(), zip()]) {
    assertEquals(await within(all(nothing as Source<unknown>)), []);
  }
});

test("operators await what is asynchronous, in order", async () => {
  const later = async <T>(value: T): Promise<T> => {
    await settled();
    return value;
  };
  let running = 0;
  const careful = map(async (n: number) => {
    assertEquals(++running, 1);
    await settled();
    running--;
    return n + 1;
  });
  assertEquals(await all(careful(from([1, 2, 3]))), [2, 3, 4]);
  assertEquals(
    await all(filter((n: number) => later(n > 1))(from([1, 2, 3]))),
    [2, 3],
  );
  assertEquals(
    await all(flatMap((n: number) => later([n, -n]))(from([1, 2]))),
    [1, -1, 2, -2],
  );
  assertEquals(
    await all(
      flatMap(async function* (n: number) {
        yield await later(n);
        yield n * 10;
      })(from([1, 2])),
    ),
    [1, 10, 2, 20],
  );
  assertEquals(
    await all(flatMap((n: number) => from([n, n]))(from([1, 2]))),
    [1, 1, 2, 2],
  );
  assertEquals(
    await all(
      scan((sum: number, n: number) => later(sum + n), 0)(from([1, 2])),
    ),
    [1, 3],
  );
  assertEquals(
    await all(takeWhile((n: number) => later(n < 2))(from([1, 2, 1]))),
    [1],
  );
  assertEquals(
    await reduce(from([1, 2, 3]), (sum, n) => later(sum + n), 0),
    6,
  );
  // A step that waits in the middle of a chain, and one after it that ends it.
  const chain = take(3)(
    flatMap((n: number) => [n, n])(careful(drop(1)(from([1, 2, 3, 4])))),
  );
  assertEquals(await all(chain), [3, 3, 4]);
});

test("operators end with the error of a step, after what came before", async () => {
  const boom = (n: number) => {
    if (n === 3) throw new Error("three");
    return n;
  };
  const later = async (n: number) => {
    await null;
    return boom(n);
  };
  const steps: ((source: Source<number>) => Source<unknown>)[] = [
    map(boom),
    map(later),
    filter(boom),
    filter(later),
    flatMap((n: number) => [boom(n)]),
    flatMap(async function* (n: number) {
      yield await later(n);
    }),
    scan((_: number, n: number) => boom(n), 0),
    takeWhile(boom),
    dedupe(boom),
    groupRuns(boom),
    batch({ size: 2, measure: (n: number) => boom(n) && 2 }),
  ];
  for (const step of steps) {
    const { source, stopped } = endless();
    const out: unknown[] = [];
    await assertRejects(
      async () => {
        for await (const message of step(drop(1)(source))) out.push(message);
      },
      Error,
      "three",
    );
    assertGreaterOrEqual(out.length, 1, `${steps.indexOf(step)}`);
    await until(stopped, "The producer's end");
  }
  await assertRejects(() => reduce(from([3]), (_, n) => boom(n), 0), Error);
});

test("operators pass the source's error on, after what came before", async () => {
  const failing = () =>
    from((function* () {
      yield 1;
      yield 2;
      throw new Error("dry");
    })());
  const sources: Source<unknown>[] = [
    map((n: number) => n)(failing()),
    concat(failing(), from([3])),
    merge(failing(), new Channel<number>()),
    buffer({ capacity: 9 })(failing()),
    throttle({ rate: 1e6 })(failing()),
    batch({ size: 1, within: 1000 })(failing()),
  ];
  for (const source of sources) {
    assertEquals([await source.receive(), await source.receive()].flat(), [
      1,
      2,
    ]);
    await assertRejects(async () => await source.receive(), Error, "dry");
  }
  const zipped = zip(failing(), from([1, 2, 3]));
  assertEquals([await zipped.receive(), await zipped.receive()], [[1, 1], [
    2,
    2,
  ]]);
  await assertRejects(async () => await zipped.receive(), Error, "dry");
});

test("operators stop the producer when nobody receives any more", async () => {
  const reasons = await unhandled(async () => {
    const timed = [
      throttle<number>({ rate: 1e6 }),
      batch<number>({ size: 2, within: 1000 }),
      buffer<number>({ capacity: 2 }),
    ];
    const ops: ((source: Source<number>) => Source<unknown>)[] = [
      map((n: number) => n),
      flatMap((n: number) => [n, n]),
      (source) =>
        map((n: number) => n)(take(99)(filter<number>(() => true)(source))),
      (source) => merge(source, new Channel<number>()),
      (source) => concat(source, from([1])),
      (source) => zip(source, endless().source),
      ...timed,
    ];
    for (const op of ops) {
      const name = `operator ${ops.indexOf(op)}`;
      // By a destroy, by a cancelled stream, by `connect`.
      const one = endless();
      const destroyed = op(one.source);
      await destroyed.receive();
      destroy(destroyed, new Error("enough"));
      await until(one.stopped, `${name}, destroyed`);
      await assertRejects(
        async () => await destroyed.receive(),
        Error,
        "enough",
      );

      const two = endless();
      const reader = op(two.source).readable.getReader();
      await reader.read();
      await reader.cancel();
      await until(two.stopped, `${name}, cancelled`);

      const three = endless();
      const sink = new Channel<unknown>({ capacity: 1 });
      const done = connect(op(three.source), sink);
      await sink.receive();
      sink.close();
      await within(done);
      await until(three.stopped, `${name}, connected`);
    }
    // While it waits for the source.
    const channel = new Channel<number>();
    const waiting = map((n: number) => n)(channel);
    const received = waiting.receive();
    destroy(waiting, new Error("enough"));
    await assertRejects(async () => await received, Error, "enough");
    assertEquals(channel.send(1), false);
  });
  assertEquals(reasons, []);
});

test("`take()` ends its source at once, but no connection", async () => {
  const { source, stopped } = endless();
  assertEquals(await all(take(2)(source)), [0, 1]);
  assertEquals(stopped(), true);
  const channel = new Channel<number>();
  channel.send(1);
  const taken = take(1)(channel);
  assertEquals(taken.receive(), 1);
  assertEquals(taken.receive(), undefined);
  assertEquals(channel.send(2), false);
  const none = new Channel<number>();
  assertEquals(await take(0)(none).receive(), undefined);
  assertEquals(none.send(1), false);

  const [a, b] = pair<number>();
  b.send(1);
  b.send(2);
  assertEquals(await all(take(1)(a)), [1]);
  assertEquals(a.send(3), true);
  assertEquals(b.receive(), 3);
  assertEquals(a.receive(), 2);
  // What the whole chain is destroyed for destroys the connection, too.
  const mapped = map((n: number) => n)(a);
  destroy(mapped, new Error("enough"));
  assertEquals((await within(a.closed)).clean, false);
});

test("`take()` gives what comes after it its end", async () => {
  const { source } = endless();
  assertEquals(await all(batch({ size: 2 })(take(3)(source))), [[0, 1], [2]]);
  // And nothing of what is left in those before it.
  assertEquals(
    await all(take(1)(batch({ size: 2 })(from([1, 2, 3])))),
    [[1, 2]],
  );
});

test("operators take nothing before it is wanted", async () => {
  let pulled = 0;
  const source = from((function* () {
    for (;;) yield pulled++;
  })());
  const chain = map((n: number) => n)(filter((n: number) => n % 2)(source));
  await settled();
  assertEquals(pulled, 0);
  assertEquals(chain.receive(), 1);
  assertEquals(pulled, 2);
  const reader = chain.readable.getReader();
  assertEquals((await reader.read()).value, 3);
  assertEquals(pulled, 4);
  await reader.cancel();
});

test("operators lose nothing when a wait is given up", async () => {
  const wrap: ((source: Source<number>) => Source<unknown>)[] = [
    map((n: number) => n),
    map(async (n: number) => {
      await settled();
      return n;
    }),
    (source) => merge(source),
    (source) => concat(source),
    (source) => map(([n]: [number]) => n)(zip(source)),
    throttle({ rate: 1e6 }),
    buffer(),
  ];
  for (const op of wrap) {
    const channel = new Channel<number>();
    const source = op(channel);
    for (let n = 0; n < 5; n++) {
      await assertRejects(
        async () => await source.receive({ timeout: 1 }),
        TimeoutError,
      );
      channel.send(n);
      assertEquals(await within(Promise.resolve(source.receive())), n);
    }
  }
});

test("`flatMap()` of what never ends waits for whoever receives", async () => {
  let made = 0;
  const numbers = flatMap(function* () {
    for (;;) yield made++;
  })(from([1]));
  assertEquals(await numbers.receive(), 0);
  await settled();
  assertLess(made, 2000);
  for (let n = 1; n < 5000; n++) assertEquals(await numbers.receive(), n);
  assertLess(made, 7000);
  const first = take(3000)(
    flatMap(function* () {
      for (let n = 0;; n++) yield n;
    })(from([1])),
  );
  assertEquals((await within(all(first))).length, 3000);
});

test("`flatMap().transform()` of what never ends waits for its reader", async () => {
  let made = 0;
  let stopped = false;
  const forEver = () =>
    flatMap(function* (n: number) {
      try {
        for (;; made++) yield n;
      } finally {
        stopped = true;
      }
    }).transform();
  const transform = forEver();
  assert(transform instanceof TransformStream);
  const source = new Channel<number>();
  source.send(7);
  const reader = source.readable.pipeThrough(transform).getReader();
  for (let n = 0; n < 5000; n++) {
    assertEquals((await within(reader.read())).value, 7);
  }
  assertLess(made, 20_000);
  await within(reader.cancel(new Error("enough")));
  await within(source.closed);
  assertEquals(stopped, true);

  // A writer by hand, an end, and an error.
  const twice = flatMap((n: number) => [n, n]).transform();
  const writer = twice.writable.getWriter();
  const list: number[] = [];
  const read = (async () => {
    const reader = twice.readable.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      list.push(value);
    }
  })();
  for (const n of [1, 2, 3]) await within(writer.write(n));
  await within(writer.close());
  await within(read);
  assertEquals(list, [1, 1, 2, 2, 3, 3]);
  const failing = flatMap((): number[] => {
    throw new Error("no");
  }).transform();
  const failed = failing.writable.getWriter();
  failed.closed.catch(() => {});
  failed.write(1).catch(() => {});
  await assertRejects(
    () => within(failing.readable.getReader().read()),
    Error,
    "no",
  );
  await assertRejects(() => within(failed.closed), Error);
});

test("operators pass batches on, and mix with single messages", async () => {
  const channel = new Channel<number>({ capacity: 100 });
  for (let n = 0; n < 10; n++) channel.send(n);
  const chain = map((n: number) => n * 2)(
    filter((n: number) => n % 2)(channel),
  );
  const batches = chain.batches()[Symbol.asyncIterator]();
  assertEquals((await batches.next()).value, [2, 6, 10, 14, 18]);
  channel.send(11);
  assertEquals(await within(Promise.resolve(chain.receive())), 22);
  channel.send(13);
  channel.close();
  assertEquals((await within(batches.next())).value, [26]);
  assertEquals((await within(batches.next())).done, true);
});

test("operators refuse `undefined` for a message", async () => {
  const source = map((n: number) => n === 2 ? undefined : n)(from([1, 2]));
  assertEquals(source.receive(), 1);
  await assertRejects(async () => await source.receive(), TypeError);
});

test("operators are TransformStreams, too", async () => {
  const numbers = (n: number) => from(Array.from({ length: n }, (_, i) => i));
  const piped = numbers(6).readable
    .pipeThrough(map((n: number) => n + 1).transform())
    .pipeThrough(filter(async (n: number) => await n % 2).transform())
    .pipeThrough(flatMap((n: number) => [n, n]).transform())
    .pipeThrough(batch({ size: 4 }).transform<number>());
  assert(map((n: number) => n).transform() instanceof TransformStream);
  assertEquals(await all(from(piped)), [[1, 1, 3, 3], [5, 5]]);
  // Each use has a state of its own.
  const two = take(2);
  for (let round = 0; round < 2; round++) {
    const { source, stopped } = endless();
    const taken = source.readable.pipeThrough(two.transform<number>());
    assertEquals(await within(all(from(taken))), [0, 1]);
    await until(stopped, "The producer's end");
  }
  const timed = numbers(5).readable
    .pipeThrough(batch({ size: 2, within: 1000 }).transform<number>())
    .pipeThrough(throttle({ rate: 1e6 }).transform<number[]>())
    .pipeThrough(buffer({ capacity: 2 }).transform<number[]>());
  assertEquals(await within(all(from(timed))), [[0, 1], [2, 3], [4]]);
  await assertRejects(
    () =>
      all(from(
        numbers(3).readable.pipeThrough(
          map(() => {
            throw new Error("no");
          }).transform(),
        ),
      )),
    Error,
    "no",
  );
});

test("`batch()` gives on in time what has come", async () => {
  const clock = new MockClock();
  const channel = new Channel<number>();
  const batches = batch({ size: 3, within: 30, clock })(channel);
  for (const n of [1, 2, 3, 4]) channel.send(n);
  assertEquals(await batches.receive(), [1, 2, 3]);
  const second = noted(batches.receive());
  await clock.advance(29);
  assertEquals(second.value, undefined);
  await clock.advance(1);
  assertEquals(second.value, [4]);
  // It waits for a first message however long that takes.
  const third = noted(batches.receive());
  await clock.advance(1_000_000);
  assertEquals([third.value, clock.pending], [undefined, 0]);
  channel.send(5);
  await clock.advance(20);
  channel.send(6);
  await clock.advance(9);
  assertEquals(third.value, undefined);
  await clock.advance(1);
  assertEquals(third.value, [5, 6]);
  channel.send(7);
  channel.close();
  assertEquals(await batches.receive(), [7]);
  assertEquals(await batches.receive(), undefined);
  assertEquals(clock.pending, 0);
});

test("`batch()` measures, and is never larger than it may be", async () => {
  const words = ["aaa", "bb", "c", "dddddddd", "e", "f"];
  for (const within of [Infinity, 1000]) {
    const op = batch<string>({ size: 5, measure: (s) => s.length, within });
    assertEquals(await all(op(from(words))), [
      ["aaa", "bb"],
      ["c"],
      ["dddddddd"],
      ["e", "f"],
    ]);
  }
  assertThrows(() => batch({}), TypeError);
  assertThrows(() => batch({ size: 0 }), RangeError);
  assertThrows(() => batch({ within: -1 }), RangeError);
});

test("`throttle()` lets a burst through, then keeps its rate", async () => {
  const clock = new MockClock();
  for (const rate of [100, 3, 7.7]) {
    const gap = 1000 / rate;
    const began = clock.now();
    const times: number[] = [];
    const slow = throttle({ rate, burst: 3, clock })(from([1, 2, 3, 4, 5, 6]));
    const done = consume(slow, () => void times.push(clock.now() - began));
    await clock.advance(3 * gap - 0.001);
    assertEquals(times.length, 5);
    await clock.advance(0.002);
    await within(done);
    for (const [n, gaps] of [0, 0, 0, 1, 2, 3].entries()) {
      assert(Math.abs(times[n] - gaps * gap) < 0.001, `${times}`);
    }
  }
  // Silence saves up for a burst, and for no more than that.
  const channel = new Channel<number>();
  const slow = throttle({ rate: 1, burst: 2, clock })(channel);
  const received: number[] = [];
  const done = consume(slow, (n) => void received.push(n));
  await clock.advance(60_000);
  for (const n of [1, 2, 3, 4]) channel.send(n);
  await clock.advance(0);
  assertEquals(received, [1, 2]);
  await clock.advance(1000);
  assertEquals(received, [1, 2, 3]);
  destroy(slow, new Error("enough"));
  await assertRejects(() => within(done), Error, "enough");
  await settled();
  assertEquals(clock.pending, 0);
  assertThrows(() => throttle({ rate: 0 }), RangeError);
  assertThrows(() => throttle({ rate: 1, burst: 0 }), RangeError);
});

test("`every()` keeps its beat, and heaps nothing up", async () => {
  const clock = new MockClock();
  const ticks = every(20, (count) => [count, clock.now()], { clock });
  const first = noted(ticks.receive());
  await clock.advance(19);
  assertEquals(first.value, undefined);
  await clock.advance(1);
  assertEquals(first.value, [0, 20]);
  await clock.advance(75);
  assertEquals(await ticks.receive(), [1, 95]);
  // Three were missed: one of them came, and the next is the next.
  const third = noted(ticks.receive());
  await clock.advance(4);
  assertEquals(third.value, undefined);
  await clock.advance(1);
  assertEquals(third.value, [2, 100]);
  destroy(ticks, new Error("enough"));
  await assertRejects(async () => await ticks.receive(), Error, "enough");
  const failing = all(every(1, () => {
    throw new Error("no");
  }, { clock }));
  const failed = assertRejects(() => failing, Error, "no");
  await clock.advance(1);
  await failed;
  assertThrows(() => every(0, () => 1), RangeError);
});

test("timed operators leave no timer when they are destroyed", async () => {
  const left = await timersLeft(async () => {
    const ticks = every(60_000, () => 1);
    const slow = throttle({ rate: 0.001 })(from([1, 2]));
    const channel = new Channel<number>();
    const batches = batch({ within: 60_000 })(channel);
    await slow.receive();
    channel.send(1);
    for (const source of [ticks, slow, batches]) {
      const received = source.receive();
      await settled();
      destroy(source, new Error("enough"));
      await assertRejects(async () => await received, Error, "enough");
    }
    await settled();
  });
  assertEquals(left, 0);
});

test("`buffer()` reads ahead, as far as it has room", async () => {
  let pulled = 0;
  const source = from((function* () {
    while (pulled < 100) yield pulled++;
  })());
  const ahead = buffer({ capacity: 3 })(source);
  await settled();
  assertEquals(pulled, 4);
  assertEquals(await all(ahead), [...Array(100).keys()]);
  const latest = buffer({ capacity: 2, overflow: "drop-oldest" })(
    from([1, 2, 3, 4]),
  );
  await settled();
  assertEquals(await all(latest), [3, 4]);
  const closing = buffer({ capacity: 1, overflow: "close" })(from([1, 2]));
  await settled();
  assertEquals(await closing.receive(), 1);
  await assertRejects(async () => await closing.receive(), SizeLimitError);
  assertThrows(() => buffer({ capacity: -1 }), RangeError);
});

test("`groupRuns()` bounds its runs", async () => {
  const runs = groupRuns(() => 1, { maxLength: 2 });
  assertEquals(await all(runs(from([1, 2]))), [[1, 2]]);
  await assertRejects(() => all(runs(from([1, 2, 3]))), SizeLimitError);
});

test("`merge()` keeps no source waiting for another", async () => {
  const silent = new Channel<number>();
  const channel = new Channel<number>();
  const merged = merge(silent, channel, from([1]));
  assertEquals(await within(Promise.resolve(merged.receive())), 1);
  const waiting = merged.receive();
  channel.send(2);
  assertEquals(await within(Promise.resolve(waiting)), 2);
  silent.send(3);
  channel.send(4);
  assertEquals([await merged.receive(), await merged.receive()].sort(), [3, 4]);
  silent.close();
  channel.close();
  assertEquals(await within(Promise.resolve(merged.receive())), undefined);
  // Two that never end have their turns alike.
  const both = merge(
    map(() => "a")(endless().source),
    map(() => "b")(endless().source),
  );
  const seen = await all(take(10)(both));
  assertEquals(seen.filter((s) => s === "a").length, 5);
});

test("`zip()` and `concat()` end the sources they do not need", async () => {
  const long = endless();
  assertEquals(await all(zip(long.source, from([1]))), [[0, 1]]);
  await until(long.stopped, "The longer one's end");
  const later = new Channel<number>();
  const failing = concat(
    from((function* (): Generator<number> {
      if (later.buffered === 0) throw new Error("no");
      yield 1;
    })()),
    later,
  );
  await assertRejects(async () => await failing.receive(), Error, "no");
  assertEquals(later.send(1), false);
});

test("operators refuse numbers that make no sense", () => {
  for (const n of [-1, 1.5, NaN]) {
    assertThrows(() => take(n), RangeError);
    assertThrows(() => drop(n), RangeError);
  }
});

test("operators keep the message itself", async () => {
  const message = { n: 1 };
  const chain = drop(0)(filter<object>(() => true)(buffer()(from([message]))));
  assertStrictEquals(await chain.receive(), message);
});
