import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "./assert.ts";
import { within } from "./_support.ts";
import { all, counted, settled } from "./_streams_support.ts";
import { Bus, Channel, connect, SizeLimitError } from "../streams/mod.ts";

test("`Bus.publish()` gives to all subscribers of the topic, and counts them", () => {
  const bus = new Bus<string>();
  assertEquals(bus.publish("a", "nobody"), 0);
  const first = bus.subscribe("a");
  const second = bus.subscribe("a");
  const other = bus.subscribe("b");
  assertEquals(bus.publish("a", "x"), 2);
  assertEquals(bus.publish("b", "y"), 1);
  assertEquals([first.receive(), second.receive(), other.receive()], [
    "x",
    "x",
    "y",
  ]);
  assertEquals([...bus.topics], [["a", 2], ["b", 1]]);
});

test("`Bus.publish()` gives the very same message to all", () => {
  const bus = new Bus<Uint8Array>();
  const subscriptions = [1, 2, 3].map(() => bus.subscribe("a"));
  const message = new Uint8Array([1]);
  bus.publish("a", message);
  for (const subscription of subscriptions) {
    assertStrictEquals(subscription.receive(), message);
  }
});

test("`Bus` keeps the order for every subscriber", async () => {
  const bus = new Bus<number>();
  const waiting = bus.subscribe("a", { capacity: 1, overflow: "wait" });
  const fast = bus.subscribe("a", { capacity: 100 });
  const published = Array.from({ length: 50 }, (_, n) => bus.publish("a", n));
  const received: (number | undefined)[] = [];
  for (let n = 0; n < 50; n++) received.push(await waiting.receive());
  assertEquals(received, [...Array(50).keys()]);
  assertEquals(await Promise.all(published), Array(50).fill(2));
  fast.close();
  assertEquals(await all(fast), [...Array(50).keys()]);
});

test("`Subscription.close()` unsubscribes at once, and keeps what is queued", async () => {
  const bus = new Bus<number>();
  const subscription = bus.subscribe("a");
  bus.publish("a", 1);
  subscription.close();
  assertEquals(bus.topics.size, 0);
  assertEquals(bus.publish("a", 2), 0);
  assertEquals(await all(subscription), [1]);
  assertEquals(await subscription.closed, { clean: true });
  subscription.close();

  const others = [1, 2].map(() => bus.subscribe("a"));
  others[0].close();
  others[0].close();
  assertEquals(bus.topics.get("a"), 1);
  await others[1][Symbol.asyncDispose]();
  assertEquals(bus.topics.has("a"), false);
});

test("`Subscription` ends with its stream, its connection and its signal", async () => {
  const bus = new Bus<number>();
  await bus.subscribe("a").readable.cancel();
  assertEquals(bus.topics.size, 0);

  const sink = new Channel<number>();
  const done = connect(bus.subscribe("a"), sink);
  bus.publish("a", 1);
  assertEquals(await sink.receive(), 1);
  sink.close();
  await within(done);
  assertEquals(bus.topics.size, 0);

  const { controller, signal, listeners } = counted();
  const subscription = bus.subscribe("a", { signal });
  assertEquals(listeners(), 1);
  controller.abort();
  assertEquals(bus.topics.size, 0);
  assertEquals(await subscription.receive(), undefined);
  assertEquals(listeners(), 0);
  assertEquals(await bus.subscribe("a", { signal }).receive(), undefined);
  assertEquals([bus.topics.size, listeners()], [0, 0]);

  const fresh = counted();
  bus.subscribe("a", { signal: fresh.signal }).close();
  assertEquals(fresh.listeners(), 0);
});

test("`Bus` lets a slow subscriber drop, close or be waited for", async () => {
  const bus = new Bus<number>();
  const oldest = bus.subscribe("a", { capacity: 2 });
  const newest = bus.subscribe("a", { capacity: 2, overflow: "drop-newest" });
  const closing = bus.subscribe("a", { capacity: 2, overflow: "close" });
  assertEquals([1, 2].map((n) => bus.publish("a", n)), [3, 3]);
  // One drops this very message, one is closed by it.
  assertEquals(bus.publish("a", 3), 1);
  assertEquals(bus.topics.get("a"), 2);
  assertEquals(bus.publish("a", 4), 1);
  assertEquals([oldest.receive(), oldest.receive()], [3, 4]);
  assertEquals([newest.receive(), newest.receive()], [1, 2]);
  assertEquals([oldest.dropped, newest.dropped], [2, 2]);
  assertEquals(bus.publish("a", 5), 2);
  assertEquals([closing.receive(), closing.receive()], [1, 2]);
  await assertRejects(async () => await closing.receive(), SizeLimitError);
  assertInstanceOf((await closing.closed).error, SizeLimitError);

  const patient = bus.subscribe("b", { capacity: 1, overflow: "wait" });
  const quick = bus.subscribe("b");
  assertEquals(bus.publish("b", 1), 2);
  const published = bus.publish("b", 2);
  assert(published instanceof Promise);
  // The others have it already.
  assertEquals([quick.receive(), quick.receive()], [1, 2]);
  assertEquals(patient.receive(), 1);
  assertEquals(await within(published), 2);
  const third = bus.publish("b", 3);
  patient.close();
  assertEquals(await within(Promise.resolve(third)), 1);
});

test("`Bus` by default makes no publisher wait for a subscriber who sleeps", () => {
  const bus = new Bus<number>();
  const sleeping = bus.subscribe("a");
  for (let n = 0; n < 10_000; n++) assertEquals(bus.publish("a", n), 1);
  assertEquals(sleeping.dropped, 10_000 - 256);
  assertEquals(sleeping.receive(), 10_000 - 256);
});

test("`Bus` refuses what makes no sense", async () => {
  const bus = new Bus<unknown>();
  const subscription = bus.subscribe("a");
  await assertRejects(async () => await bus.publish("a", undefined), TypeError);
  assertThrows(() => bus.subscribe(5 as unknown as string), TypeError);
  assertThrows(() => bus.subscribe("a", { capacity: -1 }), RangeError);
  assertEquals(bus.topics.get("a"), 1);
  subscription.close();
});

test("`Bus.publish()` is safe while subscribers come and go", async () => {
  const bus = new Bus<number>();
  const seen: number[][] = [];
  const reading: Promise<void>[] = [];
  // Each of them closes itself or another, or subscribes, when it hears.
  const open = (depth: number) => {
    const mine: number[] = [];
    seen.push(mine);
    const subscription = bus.subscribe("a", {
      capacity: 2,
      overflow: depth % 2 === 0 ? "close" : "wait",
    });
    reading.push(
      (async () => {
        for await (const n of subscription) {
          mine.push(n);
          if (mine.length === 2 && depth < 3) open(depth + 1);
          if (mine.length === 4) subscription.close();
        }
      })().catch(() => {}),
    );
  };
  for (let n = 0; n < 50; n++) open(n % 3);
  for (let n = 0; bus.topics.size > 0 && n < 1000; n++) {
    await within(Promise.resolve(bus.publish("a", n)));
    if (n % 7 === 0) await settled();
  }
  // Nobody is left that has had its four, and nobody has had a gap.
  for (const list of seen) {
    assertEquals(list, list.map((_, n) => list[0] + n));
  }
  await within(Promise.all(reading), 20_000);
  assertEquals(bus.topics.size, 0);
});

test("`Bus` serves ten thousand subscribers of one topic", async () => {
  const bus = new Bus<number>();
  const subscriptions = Array.from(
    { length: 10_000 },
    () => bus.subscribe("a"),
  );
  const received = subscriptions.map((subscription) => all(subscription));
  const started = performance.now();
  for (let n = 0; n < 20; n++) {
    assertEquals(bus.publish("a", n), 10_000);
    if (n % 5 === 0) await settled();
  }
  for (const subscription of subscriptions) subscription.close();
  for (const list of await within(Promise.all(received), 20_000)) {
    assertEquals(list.length, 20);
    assertEquals(list[19], 19);
  }
  assertLess(performance.now() - started, 15_000);
  assertEquals(bus.topics.size, 0);
});
