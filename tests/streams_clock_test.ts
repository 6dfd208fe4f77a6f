import { test } from "node:test";
import { assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { within } from "./_support.ts";
import { timersLeft } from "./_streams_support.ts";
import {
  batch,
  Channel,
  every,
  MockClock,
  NetError,
  pair,
  throttle,
  TimeoutError,
} from "../streams/mod.ts";
import type { Clock } from "../streams/mod.ts";

test("`MockClock.advance()` runs timers in order, each at its own time", async () => {
  const clock = new MockClock({ start: 1000 });
  const ran: [string, number][] = [];
  const note = (name: string) => () => void ran.push([name, clock.now()]);
  clock.setTimeout(note("c"), 30);
  clock.setTimeout(note("a"), 10);
  clock.setTimeout(note("b"), 10);
  clock.clearTimeout(clock.setTimeout(note("never"), 5));
  clock.setTimeout(note("later"), 31);
  clock.setTimeout(note("now"), -1);
  clock.setTimeout(note("no number"), NaN);
  assertEquals([clock.now(), clock.pending], [1000, 6]);
  await clock.advance(30);
  assertEquals(ran, [
    ["now", 1000],
    ["no number", 1000],
    ["a", 1010],
    ["b", 1010],
    ["c", 1030],
  ]);
  assertEquals([clock.now(), clock.pending], [1030, 1]);
  await clock.advance(0.5);
  assertEquals(clock.pending, 1);
  await clock.advance(0.5);
  assertEquals([ran.at(-1), clock.pending], [["later", 1031], 0]);
});

test("`MockClock.advance()` settles what timers set off, and runs what they set", async () => {
  const clock = new MockClock();
  const ran: number[] = [];
  const beat = async () => {
    for (let n = 0; n < 50; n++) await null;
    ran.push(clock.now());
    if (ran.length < 5) clock.setTimeout(beat, 10);
  };
  clock.setTimeout(beat, 10);
  await clock.advance(25);
  assertEquals(ran, [10, 20]);
  await clock.advance(1000);
  assertEquals(ran, [10, 20, 30, 40, 50]);
  assertEquals(clock.now(), 1025);
});

test("`MockClock.advance()` waits for the one before", async () => {
  const clock = new MockClock();
  const ran: number[] = [];
  clock.setTimeout(() => void ran.push(clock.now()), 10);
  const first = clock.advance(5);
  const second = clock.advance(5);
  const third = clock.advance(5);
  await first;
  assertEquals([clock.now(), ran], [5, []]);
  await second;
  assertEquals([clock.now(), ran], [10, [10]]);
  await third;
  assertEquals(clock.now(), 15);
});

test("`MockClock.advance()` rejects with what a timer throws, and goes on", async () => {
  const clock = new MockClock();
  let ran = false;
  clock.setTimeout(() => {
    throw new Error("no");
  }, 1);
  clock.setTimeout(() => ran = true, 2);
  await assertRejects(() => clock.advance(5), Error, "no");
  assertEquals([ran, clock.now(), clock.pending], [true, 5, 0]);
  await clock.advance(1);
  assertEquals(clock.now(), 6);
});

test("`MockClock` refuses what makes no sense", async () => {
  const clock = new MockClock();
  for (const ms of [-1, NaN, Infinity, "1" as unknown as number]) {
    await assertRejects(() => clock.advance(ms), RangeError);
  }
  assertThrows(() => new MockClock({ start: NaN }), RangeError);
  assertThrows(
    () => clock.setTimeout("alert()" as unknown as () => void, 1),
    TypeError,
  );
  clock.clearTimeout(undefined);
  assertEquals([clock.now(), clock.pending], [0, 0]);

  const broken = {} as unknown as Clock;
  assertThrows(() => every(1, () => 1, { clock: broken }), TypeError);
  assertThrows(() => throttle({ rate: 1, clock: broken }), TypeError);
  assertThrows(() => batch({ within: 1, clock: broken }), TypeError);
  await assertRejects(
    async () => await new Channel().receive({ timeout: 1, clock: broken }),
    TypeError,
  );
});

test("`MockClock.advance()` finds out timers that never end", async () => {
  // It has run a hundred thousand of them by then.
  const clock = new MockClock();
  const again = (): void => void clock.setTimeout(again, 0);
  again();
  const error = await assertRejects(
    () => within(clock.advance(1), 60_000),
    NetError,
  );
  assertEquals(error.code, "ERR_CLOCK_LOOP");
});

test("`receive()` and `send()` are timed by the clock that they are given", async () => {
  const clock = new MockClock();
  const channel = new Channel<number>({ capacity: 1 });
  const left = await timersLeft(async () => {
    const received = channel.receive({ timeout: 60_000, clock });
    assertEquals(clock.pending, 1);
    channel.send(1);
    assertEquals([await received, clock.pending], [1, 0]);

    const late = assertRejects(
      async () => await channel.receive({ timeout: 60_000, clock }),
      TimeoutError,
    );
    await clock.advance(60_000);
    assertEquals((await late).phase, "receive");

    channel.send(1);
    const sent = assertRejects(
      async () => await channel.send(2, { timeout: 5, clock }),
      TimeoutError,
    );
    await clock.advance(5);
    assertEquals((await sent).phase, "send");
    assertEquals([channel.receive(), channel.buffered], [1, 0]);

    const [a] = pair<number>();
    const other = assertRejects(
      async () => await a.receive({ timeout: 5, clock }),
      TimeoutError,
    );
    await clock.advance(5);
    await other;
    a.destroy();
  });
  assertEquals([left, clock.pending], [0, 0]);
});
