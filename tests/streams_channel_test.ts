import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { within } from "./_support.ts";
import {
  Channel,
  ClosedError,
  SizeLimitError,
  TimeoutError,
} from "../streams/mod.ts";
import type { MaybePromise } from "../streams/mod.ts";

test("`Channel` gives messages and takes room at once, without a promise", () => {
  const channel = new Channel<number>({ capacity: 2 });
  assertEquals(channel.send(1), true);
  assertEquals(channel.send(2), true);
  assert(channel.send(3) instanceof Promise);
  assertEquals(channel.buffered, 3);
  assertEquals(channel.receive(), 1);
  assertEquals(channel.receive(), 2);
  assertEquals(channel.receive(), 3);
  assert(channel.receive() instanceof Promise);
});

test("`Channel.send()` waits for room and keeps the order", async () => {
  const channel = new Channel<number>({ capacity: 1 });
  const sends = [1, 2, 3, 4].map((n) => channel.send(n));
  const got: unknown[] = [];
  for (let i = 0; i < 4; i++) got.push(await channel.receive());
  assertEquals(got, [1, 2, 3, 4]);
  assertEquals(await Promise.all(sends), [true, true, true, true]);
});

test("`Channel.receive()` given up loses no message", async () => {
  const channel = new Channel<number>();
  await assertRejects(
    async () => await channel.receive({ timeout: 1 }),
    TimeoutError,
  );
  const controller = new AbortController();
  const pending = channel.receive({ signal: controller.signal });
  const reason = new Error("no more");
  controller.abort(reason);
  await assertRejects(async () => await pending, Error, "no more");
  channel.send(1);
  assertEquals(channel.receive(), 1);
});

test("`Channel.send()` given up sends nothing", async () => {
  const channel = new Channel<number>({ capacity: 1 });
  channel.send(1);
  await assertRejects(
    async () => await channel.send(2, { timeout: 1 }),
    TimeoutError,
  );
  const controller = new AbortController();
  const third = channel.send(3, { signal: controller.signal });
  const fourth = channel.send(4);
  controller.abort(new Error("withdrawn"));
  await assertRejects(async () => await third, Error, "withdrawn");
  assertEquals(channel.receive(), 1);
  assertEquals(await channel.receive(), 4);
  assertEquals(await fourth, true);
  assertEquals(channel.buffered, 0);
});

test("`Channel` leaves no listener on a signal it no longer waits for", async () => {
  const controller = new AbortController();
  let listeners = 0;
  const { signal } = controller;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = ((...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  }) as typeof signal.addEventListener;
  signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  }) as typeof signal.removeEventListener;
  const channel = new Channel<number>({ capacity: 1 });
  const received = channel.receive({ signal, timeout: 1000 });
  channel.send(1);
  assertEquals(await received, 1);
  channel.send(2);
  const sent = channel.send(3, { signal, timeout: 1000 });
  assertEquals(listeners, 1);
  assertEquals(channel.receive(), 2);
  assertEquals(await sent, true);
  assertEquals(listeners, 0);
});

test("`Channel.close()` keeps what is queued, then ends cleanly", async () => {
  const channel = new Channel<number>({ capacity: 2 });
  channel.send(1);
  channel.send(2);
  const waiting = channel.send(3);
  channel.close();
  assertEquals(await waiting, false);
  assertEquals(channel.send(4), false);
  assertEquals(channel.receive(), 1);
  assertEquals(channel.receive(), 2);
  assertEquals(channel.receive(), undefined);
  assertEquals(await channel.closed, { clean: true });
});

test("`Channel.close()` ends receivers that wait", async () => {
  const channel = new Channel<number>();
  const waiting = [channel.receive(), channel.receive()];
  channel.close();
  assertEquals(await Promise.all(waiting), [undefined, undefined]);
});

test("`Channel.destroy()` drops what is queued and rejects receives", async () => {
  const channel = new Channel<number>({ capacity: 1 });
  channel.send(1);
  const waiting = channel.send(2);
  const reason = new Error("broken");
  channel.destroy(reason);
  assertEquals(await waiting, false);
  assertEquals(channel.send(3), false);
  assertEquals(channel.buffered, 0);
  await assertRejects(async () => await channel.receive(), Error, "broken");
  const { clean, error } = await channel.closed;
  assertEquals(clean, false);
  assertInstanceOf(error, ClosedError);
  assertEquals(error.cause, reason);
});

test("`Channel` refuses `undefined`, for it is the end", async () => {
  const channel = new Channel<unknown>();
  await assertRejects(async () => await channel.send(undefined), TypeError);
});

test("`Channel` refuses options that make no sense", () => {
  assertThrows(() => new Channel({ capacity: -1 }), RangeError);
  assertThrows(() => new Channel({ capacity: NaN }), RangeError);
  assertThrows(
    () => new Channel({ overflow: "explode" as "wait" }),
    TypeError,
    "explode",
  );
});

test("`Channel` refuses a timeout that makes no sense", async () => {
  const channel = new Channel<number>();
  await assertRejects(
    async () => await channel.receive({ timeout: -1 }),
    RangeError,
  );
});

test("`Channel` shares its messages between receivers, one each", async () => {
  const channel = new Channel<number>();
  const receivers = Array.from({ length: 3 }, () => channel.receive());
  for (const n of [1, 2, 3]) channel.send(n);
  assertEquals(await Promise.all(receivers), [1, 2, 3]);
});

test("`Channel` drops the oldest when asked to", () => {
  const channel = new Channel<number>({ capacity: 2, overflow: "drop-oldest" });
  for (const n of [1, 2, 3, 4]) assertEquals(channel.send(n), true);
  assertEquals(channel.dropped, 2);
  assertEquals([channel.receive(), channel.receive()], [3, 4]);
});

test("`Channel` drops the newest when asked to", () => {
  const channel = new Channel<number>({ capacity: 2, overflow: "drop-newest" });
  for (const n of [1, 2, 3, 4]) assertEquals(channel.send(n), true);
  assertEquals(channel.dropped, 2);
  assertEquals([channel.receive(), channel.receive()], [1, 2]);
});

test("`Channel` closes on overflow when asked to", async () => {
  const channel = new Channel<number>({ capacity: 1, overflow: "close" });
  channel.send(1);
  assertEquals(channel.send(2), false);
  const { error } = await channel.closed;
  assertInstanceOf(error, SizeLimitError);
  assertEquals(error.limit, 1);
  assertEquals(channel.receive(), 1);
  await assertRejects(async () => await channel.receive(), SizeLimitError);
});

test("`Channel` counts by `size` when it is given", () => {
  const channel = new Channel<string>({ capacity: 10, size: (s) => s.length });
  assertEquals(channel.send("12345678"), true);
  assertEquals(channel.send("12345678"), true);
  assert(channel.send("x") instanceof Promise);
  assertEquals(channel.buffered, 17);
});

test("`Channel` of capacity 0 hands over, and holds nothing", async () => {
  const channel = new Channel<number>({ capacity: 0 });
  const sent = channel.send(1);
  assert(sent instanceof Promise);
  assertEquals(await within(Promise.resolve(channel.receive())), 1);
  assertEquals(await sent, true);
  const waiting = channel.receive();
  assertEquals(channel.send(2), true);
  assertEquals(await waiting, 2);
});

test("`Channel` can be left by a `for await` and read on", async () => {
  const channel = new Channel<number>();
  for (const n of [1, 2, 3]) channel.send(n);
  for await (const n of channel) {
    assertEquals(n, 1);
    break;
  }
  assertEquals(channel.receive(), 2);
});

test("`Channel.batches()` gives all that is queued at a time", async () => {
  const channel = new Channel<number>();
  for (const n of [1, 2, 3]) channel.send(n);
  const batches: (readonly number[])[] = [];
  const reading = (async () => {
    for await (const batch of channel.batches()) batches.push(batch);
  })();
  await Promise.resolve();
  channel.send(4);
  channel.close();
  await within(reading);
  assertEquals(batches.flat(), [1, 2, 3, 4]);
  assertEquals(batches[0].length >= 3, true);
});

test("`Channel.readable` is a Web Stream on the same queue", async () => {
  const channel = new Channel<number>({ capacity: 2 });
  channel.send(1);
  channel.send(2);
  const reader = channel.readable.getReader();
  assertThrows(() => channel.receive(), TypeError, "Cannot receive");
  assertEquals(await reader.read(), { value: 1, done: false });
  assertEquals(channel.send(3), true);
  assertEquals(await reader.read(), { value: 2, done: false });
  channel.close();
  assertEquals(await reader.read(), { value: 3, done: false });
  assertEquals((await reader.read()).done, true);
});

test("`Channel.readable` takes nothing before it is read", async () => {
  const channel = new Channel<number>({ capacity: 1 });
  const { readable } = channel;
  channel.send(1);
  await Promise.resolve();
  assert(channel.send(2) instanceof Promise);
  assertEquals(channel.buffered, 2);
  await readable.cancel();
});

test("`Channel.readable` throws while a receive is pending", async () => {
  const channel = new Channel<number>();
  const pending = channel.receive();
  assertThrows(() => channel.readable, TypeError);
  channel.send(1);
  assertEquals(await pending, 1);
});

test("`Channel.readable` cancelled destroys the channel", async () => {
  const channel = new Channel<number>();
  await channel.readable.cancel(new Error("enough"));
  assertEquals(channel.send(1), false);
  assertEquals((await channel.closed).clean, false);
});

test("`Channel.readable` fails when the channel is destroyed", async () => {
  const channel = new Channel<number>();
  const reader = channel.readable.getReader();
  channel.destroy(new Error("broken"));
  await assertRejects(() => reader.read(), Error, "broken");
});

test("`Channel.writable` has backpressure, closes and aborts", async () => {
  const channel = new Channel<number>({ capacity: 1 });
  const writer = channel.writable.getWriter();
  await writer.write(1);
  let second = false;
  const writing = writer.write(2).then(() => second = true);
  await Promise.resolve();
  assertEquals(second, false);
  assertEquals(channel.receive(), 1);
  await within(writing);
  await writer.close();
  assertEquals(channel.receive(), 2);
  assertEquals(channel.receive(), undefined);

  const other = new Channel<number>();
  await other.writable.abort(new Error("stop"));
  await assertRejects(async () => await other.receive(), Error, "stop");
});

test("`Channel.writable` fails when the channel is destroyed", async () => {
  const channel = new Channel<number>();
  const writer = channel.writable.getWriter();
  channel.destroy(new Error("broken"));
  await assertRejects(() => within(writer.closed), ClosedError);
});

test("`Channel` behaves as an array does, whatever is done to it", async () => {
  // A linear congruential generator: the run can be repeated from its seed.
  let seed = 20261121;
  const random = (n: number) =>
    (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
  for (let round = 0; round < 200; round++) {
    const capacity = random(5);
    const channel = new Channel<number>({ capacity });
    const sent: number[] = [];
    const received: number[] = [];
    const pending: Promise<unknown>[] = [];
    let next = 0;
    const note = (message: MaybePromise<number | undefined>) => {
      if (message instanceof Promise) {
        pending.push(message.then((m) => m !== undefined && received.push(m)));
      } else if (message !== undefined) received.push(message);
    };
    for (let step = 0; step < 60; step++) {
      switch (random(6)) {
        case 0:
        case 1: {
          const message = next++;
          const result = channel.send(message);
          if (result === true) sent.push(message);
          else if (result instanceof Promise) {
            pending.push(result.then((ok) => ok && sent.push(message)));
          }
          break;
        }
        case 2: {
          const controller = new AbortController();
          const message = next++;
          const result = channel.send(message, { signal: controller.signal });
          if (result === true) sent.push(message);
          else if (result instanceof Promise) {
            pending.push(
              result.then((ok) => ok && sent.push(message), () => {}),
            );
            if (random(2)) controller.abort();
          }
          break;
        }
        case 3:
          note(channel.receive());
          break;
        case 4: {
          const controller = new AbortController();
          const result = channel.receive({ signal: controller.signal });
          note(
            result instanceof Promise ? result.catch(() => undefined) : result,
          );
          if (random(2)) controller.abort();
          break;
        }
        case 5:
          await Promise.resolve();
      }
    }
    channel.close();
    for (;;) {
      const message = await channel.receive();
      if (message === undefined) break;
      received.push(message);
    }
    await Promise.all(pending);
    const ascending = (a: number, b: number) => a - b;
    assertEquals(
      received.sort(ascending),
      sent.sort(ascending),
      `round ${round}, capacity ${capacity}`,
    );
  }
});
