import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import { until, within } from "./_support.ts";
import { all, randomly, settled, unhandled } from "./_streams_support.ts";
import {
  batch,
  buffer,
  Channel,
  connect,
  dedupe,
  drop,
  filter,
  flatMap,
  from,
  groupRuns,
  map,
  reduce,
  scan,
  take,
  takeWhile,
} from "../streams/mod.ts";
import type { Operator, Source } from "../streams/mod.ts";

type List = number[];
interface Pick {
  readonly name: string;
  readonly op: Operator<number, number>;
  readonly list: (list: List) => List;
}

/** An operator at random, beside what it does to a list. */
function pick(random: (n: number) => number): Pick {
  const k = random(5);
  const wait = random(4) === 0;
  const maybe = <T>(value: T): T | Promise<T> =>
    wait ? Promise.resolve(value) : value;
  const picks: (() => Pick)[] = [
    () => ({
      name: "map",
      op: map((n: number) => maybe(n + k)),
      list: (list) => list.map((n) => n + k),
    }),
    () => ({
      name: "filter",
      op: filter((n: number) => maybe(n % 3 !== k)),
      list: (list) => list.filter((n) => n % 3 !== k),
    }),
    () => ({
      name: "flatMap",
      op: flatMap((n: number) => maybe(Array<number>(n % 3).fill(n))),
      list: (list) => list.flatMap((n) => Array<number>(n % 3).fill(n)),
    }),
    () => ({
      name: "scan",
      op: scan((sum: number, n: number) => maybe((sum + n) % 100), k),
      list: (list) => {
        let sum = k;
        return list.map((n) => sum = (sum + n) % 100);
      },
    }),
    () => ({
      name: `take ${k * 3}`,
      op: take<number>(k * 3),
      list: (list) => list.slice(0, k * 3),
    }),
    () => ({
      name: "takeWhile",
      op: takeWhile((n: number) => maybe(n < 40 * k)),
      list: (list) => {
        const at = list.findIndex((n) => !(n < 40 * k));
        return at < 0 ? list : list.slice(0, at);
      },
    }),
    () => ({
      name: `drop ${k}`,
      op: drop<number>(k),
      list: (list) => list.slice(k),
    }),
    () => ({
      name: "dedupe",
      op: dedupe<number>(),
      list: (list) => list.filter((n, i) => i === 0 || n !== list[i - 1]),
    }),
    () => {
      const together = (source: Source<number>) =>
        flatMap((batch: number[]) => batch)(
          batch<number>({ size: k + 1 })(source),
        );
      return {
        name: "batch",
        op: Object.assign(together, {
          transform: () => {
            const one = batch<number>({ size: k + 1 }).transform();
            const other = flatMap((list: number[]) => list).transform();
            one.readable.pipeTo(other.writable).catch(() => {});
            return { writable: one.writable, readable: other.readable };
          },
        }),
        list: (list) => list,
      };
    },
    () => {
      const runs = groupRuns((n: number) => n % 2);
      const last = map((run: number[]) => run[run.length - 1]);
      return {
        name: "groupRuns",
        op: Object.assign((source: Source<number>) => last(runs(source)), {
          transform: () => {
            const one = runs.transform();
            const other = last.transform();
            one.readable.pipeTo(other.writable).catch(() => {});
            return { writable: one.writable, readable: other.readable };
          },
        }),
        list: (list) => list.filter((n, i) => n % 2 !== list[i + 1] % 2),
      };
    },
    () => ({
      name: "buffer",
      op: buffer<number>({ capacity: k + 1 }),
      list: (list) => list,
    }),
  ];
  return picks[random(picks.length)]();
}

test("chains of operators at random do what they do to lists", async () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomly(seed);
    const list = Array.from({ length: random(60) }, () => random(100));
    const picks = Array.from({ length: random(7) }, () => pick(random));
    const expected = picks.reduce((list, { list: fn }) => fn(list), list);
    const where = `seed ${seed}: ${picks.map(({ name }) => name).join(", ")}`;
    const sources: (() => Source<number>)[] = [
      () => from(list),
      () =>
        from((async function* () {
          for (const n of list) yield n;
        })()),
      () => {
        const channel = new Channel<number>({ capacity: 1 + random(8) });
        connect(from(list), channel).catch(() => {});
        return channel;
      },
    ];
    const source = sources[random(3)]();
    const chain = picks.reduce((source, { op }) => op(source), source);
    const received: number[] = [];
    const ways: (() => Promise<void>)[] = [
      async () => void received.push(...await all(chain)),
      async () => {
        for await (const batch of chain.batches()) received.push(...batch);
      },
      async () => void received.push(...await all(from(chain.readable))),
      async () => {
        await reduce(chain, (_, n) => void received.push(n), undefined);
      },
    ];
    await within(ways[random(4)](), 5000, where);
    assertEquals(received, expected, where);

    // The same with Web Streams.
    let stream = from(list).readable;
    for (const { op } of picks) stream = stream.pipeThrough(op.transform());
    assertEquals(await within(all(from(stream)), 5000, where), expected, where);
  }
});

/** A producer that may fail after the list, and whether it was stopped. */
function producer(
  list: readonly number[],
  error?: Error,
): { source: Source<number>; over: () => boolean } {
  let over = false;
  const source = from((async function* () {
    try {
      for (const n of list) yield n;
      if (error !== undefined) throw error;
    } finally {
      over = true;
    }
  })());
  return { source, over: () => over };
}

test("chains of operators at random end with the error of a source or a step", async () => {
  const left = await unhandled(async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = randomly(seed);
      const list = Array.from({ length: random(40) }, () => random(100));
      const picks = Array.from({ length: 1 + random(5) }, () => pick(random));
      const error = new Error(`seed ${seed}`);
      const inStep = random(2) === 0;
      if (inStep) {
        // A step that fails at one of the messages that come to it.
        let left = random(10);
        picks.splice(random(picks.length + 1), 0, {
          name: "failing",
          op: map((n: number) => {
            if (left-- === 0) throw error;
            return random(2) === 0 ? Promise.resolve(n) : n;
          }),
          list: (list) => list,
        });
      }
      const expected = picks.reduce((list, { list: fn }) => fn(list), list);
      const where = `seed ${seed}: ${picks.map(({ name }) => name).join(", ")}`;
      const { source, over } = producer(list, inStep ? undefined : error);
      const chain = picks.reduce((source, { op }) => op(source), source);
      const received: number[] = [];
      let failed: unknown;
      try {
        await within(
          (async () => {
            for await (const n of chain) received.push(n);
          })(),
          20_000,
          where,
        );
      } catch (caught) {
        failed = caught;
      }
      if (failed !== undefined) assert(failed === error, where);
      // Nothing is made up, and nothing is left out before the end.
      assertEquals(received, expected.slice(0, received.length), where);
      if (failed === undefined) assertEquals(received, expected, where);
      if (list.length === 0 || untouched(picks)) continue;
      await until(over, `The end of the producer, ${where}`, 20_000);
    }
  });
  assertEquals(left, []);
});

/** Whether a step wants nothing at all, so that nobody asked the producer. */
function untouched(picks: readonly Pick[]): boolean {
  return picks.some(({ name }) => name === "take 0");
}

test("chains of operators at random stop their producer when they are left", async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = randomly(seed);
    const picks = Array.from({ length: 1 + random(5) }, () => pick(random));
    const where = `seed ${seed}: ${picks.map(({ name }) => name).join(", ")}`;
    const channel = new Channel<number>({ capacity: 8 });
    for (let n = 0; n < 8; n++) channel.send(n);
    const chain = picks.reduce<Source<number>>(
      (source, { op }) => op(source),
      channel,
    );
    if (random(2) === 0) {
      const received = Promise.resolve(chain.receive());
      received.catch(() => {});
      if (random(2) === 0) await null;
      const error = new Error("enough");
      (chain as unknown as { destroy(reason: Error): void }).destroy(error);
      await within(received.catch(() => {}), 20_000, where);
    } else {
      const reader = chain.readable.getReader();
      // It may wait for ever: not all that goes in comes out.
      const read = random(2) === 0 ? reader.read().catch(() => {}) : undefined;
      if (random(2) === 0) await settled();
      await within(reader.cancel(new Error("enough")), 20_000, where);
      await within(read, 20_000, where);
    }
    assertEquals((await within(channel.closed, 20_000, where)).clean, false);
    const sent = channel.send(1);
    assertEquals(sent, false, where);
  }
});
