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
import { all, settled, unhandled } from "./_streams_support.ts";
import { Channel, ClosedError, from, pair } from "../streams/mod.ts";

test("`readable` is one real Web Stream, and excludes every other way", async () => {
  const channel = new Channel<number>();
  const { readable } = channel;
  assertInstanceOf(readable, ReadableStream);
  assertStrictEquals(channel.readable, readable);
  assertThrows(() => channel.receive(), TypeError, "readable");
  await assertRejects(
    () => channel[Symbol.asyncIterator]().next(),
    TypeError,
    "readable",
  );
  await assertRejects(
    () => channel.batches()[Symbol.asyncIterator]().next(),
    TypeError,
    "readable",
  );
  const other = new Channel<number>();
  const waiting = other[Symbol.asyncIterator]().next();
  assertThrows(() => other.readable, TypeError, "pending");
  other.send(1);
  assertEquals((await waiting).value, 1);
  assertInstanceOf(other.readable, ReadableStream);
});

test("`readable` gives all, then ends, in a pipe too", async () => {
  const channel = new Channel<number>({ capacity: 8 });
  const produced = (async () => {
    for (let n = 0; n < 1000; n++) await channel.send(n);
    channel.close();
  })();
  const doubled: number[] = [];
  await within(
    channel.readable
      .pipeThrough(
        new TransformStream<number, number>({
          transform: (n, controller) => controller.enqueue(n * 2),
        }),
      )
      .pipeTo(new WritableStream({ write: (n) => void doubled.push(n) })),
  );
  await produced;
  assertEquals(doubled, Array.from({ length: 1000 }, (_, n) => n * 2));
});

test("`readable` ends when the source does, though nobody reads", async () => {
  const channel = new Channel<number>();
  const reader = channel.readable.getReader();
  channel.close();
  await within(reader.closed);

  const queued = new Channel<number>();
  const late = queued.readable.getReader();
  queued.send(1);
  queued.close();
  assertEquals(await late.read(), { value: 1, done: false });
  await within(late.closed);

  const before = new Channel<number>();
  before.close();
  await within(before.readable.getReader().closed);
});

test("`readable` fails when the source does, though nobody reads", async () => {
  const channel = new Channel<number>();
  const reader = channel.readable.getReader();
  channel.destroy(new Error("broken"));
  await assertRejects(() => within(reader.closed), Error, "broken");

  const [a, b] = pair<number>();
  const other = b.readable.getReader();
  a.send(1);
  a.destroy();
  assertEquals(await other.read(), { value: 1, done: false });
  await assertRejects(() => within(other.closed), ClosedError);

  const before = new Channel<number>();
  before.destroy(new Error("earlier"));
  await assertRejects(() => before.readable.getReader().closed, Error);
});

test("`readable` gives what was queued before the error", async () => {
  const [a, b] = pair<number>();
  for (const n of [1, 2, 3]) a.send(n);
  const reader = b.readable.getReader();
  assertEquals((await reader.read()).value, 1);
  // The others are in the Web Stream by now.
  a.destroy(new Error("broken"));
  assertEquals((await reader.read()).value, 2);
  assertEquals((await reader.read()).value, 3);
  await assertRejects(() => reader.read(), ClosedError);
});

test("`readable` drops what it holds when the source is destroyed", async () => {
  const channel = new Channel<number>();
  for (const n of [1, 2, 3]) channel.send(n);
  const reader = channel.readable.getReader();
  assertEquals((await reader.read()).value, 1);
  channel.destroy(new Error("broken"));
  await assertRejects(() => reader.read(), Error, "broken");
});

test("`readable` cancelled while it waits destroys the source, quietly", async () => {
  const reasons = await unhandled(async () => {
    const channel = new Channel<number>();
    const reader = channel.readable.getReader();
    const reading = reader.read();
    await settled();
    const reason = new Error("enough");
    await reader.cancel(reason);
    assertEquals((await reading).done, true);
    assertEquals(channel.send(1), false);
    assertStrictEquals((await channel.closed).error?.cause, reason);
    // A message that comes between the cancel and the pull's end.
    const other = new Channel<number>();
    const second = other.readable.getReader();
    const pending = second.read();
    await settled();
    other.send(1);
    await second.cancel();
    await pending;
  });
  assertEquals(reasons, []);
});

test("`readable` left unread holds the senders back", async () => {
  const [a, b] = pair<number>({ capacity: 2 });
  const reader = b.readable.getReader();
  await settled();
  let sent = 0;
  while (a.send(sent) === true) sent++;
  assertEquals(sent, 2);
  assertEquals((await reader.read()).value, 0);
  await reader.cancel();
});

test("`readable` of what `from` gives pulls as it is read", async () => {
  let pulled = 0;
  const source = from((function* () {
    for (;;) yield pulled++;
  })());
  const reader = source.readable.getReader();
  await settled();
  assertEquals(pulled, 0);
  for (let n = 0; n < 20; n++) assertEquals((await reader.read()).value, n);
  assertEquals(pulled, 20);
  await reader.cancel();
});

test("`writable` waits for room, message by message", async () => {
  const channel = new Channel<number>({ capacity: 1 });
  const writer = channel.writable.getWriter();
  assertStrictEquals(channel.writable.locked, true);
  await within(writer.ready);
  await writer.write(1);
  const second = writer.write(2);
  let ready = false;
  writer.ready.then(() => ready = true);
  await settled();
  assertEquals(ready, false);
  assertEquals(channel.receive(), 1);
  await within(second);
  await within(writer.ready);
  const closing = writer.close();
  await within(closing);
  assertEquals(channel.receive(), 2);
  assertEquals(channel.receive(), undefined);
  assertEquals(await channel.closed, { clean: true });
});

test("`writable` closed after what waits has been let in", async () => {
  const [a, b] = pair<number>({ capacity: 1 });
  const writer = a.writable.getWriter();
  const writes = [1, 2, 3].map((n) => writer.write(n));
  const closing = writer.close();
  assertEquals(await within(all(b)), [1, 2, 3]);
  await within(Promise.all([...writes, closing]));
  await within(Promise.all([a.close(), b.close()]));
});

test("`writable` fails when the sink closes or is destroyed", async () => {
  const reasons = await unhandled(async () => {
    const channel = new Channel<number>({ capacity: 1 });
    const writer = channel.writable.getWriter();
    channel.close();
    await assertRejects(() => writer.write(1), ClosedError);

    const [a, b] = pair<number>({ capacity: 1 });
    const other = a.writable.getWriter();
    await other.write(1);
    const waiting = other.write(2).catch((error) => error);
    b.destroy(new Error("broken"));
    assertInstanceOf(await within(waiting), ClosedError);
    await assertRejects(() => within(other.closed), ClosedError);

    // Nobody looks at this one: it must not matter.
    const unseen = new Channel<number>();
    unseen.writable.getWriter();
    unseen.destroy(new Error("broken"));
  });
  assertEquals(reasons, []);
});

test("`writable` aborted destroys the sink with that reason", async () => {
  const [a, b] = pair<number>();
  const reason = new Error("stop");
  await a.writable.abort(reason);
  assertStrictEquals((await a.closed).error?.cause, reason);
  await assertRejects(async () => await b.receive(), ClosedError);
});

test("`writable` and `readable` of one pair carry a pipe", async () => {
  const [a, b] = pair<number>({ capacity: 4 });
  const done = from(Array.from({ length: 100 }, (_, n) => n)).readable
    .pipeTo(a.writable);
  assertEquals(await within(all(from(b.readable))), [...Array(100).keys()]);
  await within(done);
  await within(Promise.all([a.close(), b.close()]));
});

test("a `ReadableStream` cancelled by its pipe stops the producer", async () => {
  let stopped = false;
  const source = from((async function* () {
    try {
      for (let n = 0;; n++) yield n;
    } finally {
      stopped = true;
    }
  })());
  const sink = new WritableStream<number>({
    write(n) {
      if (n === 3) throw new Error("full");
    },
  });
  await assertRejects(() => source.readable.pipeTo(sink), Error, "full");
  await until(() => stopped, "The producer's end");
  assert(stopped);
});
