import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { settled, timersLeft, unhandled } from "./_streams_support.ts";
import {
  backplane,
  Bus,
  natsBackplane,
  NetError,
  ProtocolError,
  redisBackplane,
  SizeLimitError,
} from "../streams/mod.ts";
import type { Backplane, BackplaneLoss } from "../streams/mod.ts";

type Data = string | Uint8Array;

/** A broker in memory, which does as it is told. */
class FakeBroker {
  readonly ears = new Map<string, Set<(data: Data) => void>>();
  /** All that it was given. */
  readonly given: Data[] = [];

  tell(channel: string, data: Data): void {
    for (const ear of this.ears.get(channel) ?? []) ear(data);
  }
}

class FakeEngine implements Backplane {
  readonly binary: boolean;
  connected = true;
  /** What a publish does before the broker has it. */
  before: () => unknown = () => {};
  refusals = 0;
  readonly broker: FakeBroker;
  readonly listeners = new Set<() => void>();

  constructor(broker: FakeBroker, binary = true) {
    this.broker = broker;
    this.binary = binary;
  }

  async publish(channel: string, data: Data): Promise<void> {
    await this.before();
    this.broker.given.push(data);
    this.broker.tell(channel, data);
  }

  subscribe(channel: string, ear: (data: Data) => void): Promise<() => void> {
    if (this.refusals-- > 0) return Promise.reject(new Error("refused"));
    const { ears } = this.broker;
    ears.set(channel, (ears.get(channel) ?? new Set()).add(ear));
    return Promise.resolve(() => {
      ears.get(channel)!.delete(ear);
      if (ears.get(channel)!.size === 0) ears.delete(channel);
    });
  }

  watch(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  turn(connected: boolean): void {
    this.connected = connected;
    for (const listener of this.listeners) listener();
  }
}

const broken = () => {
  throw new NetError("Broken", { code: "ECONNRESET", retryable: true });
};

test("`backplane()` publishes again what a broken connection has lost, in order", async () => {
  const broker = new FakeBroker();
  const engine = new FakeEngine(broker);
  const here = new Bus<number>();
  const there = new Bus<number>();
  const links = [
    await backplane(here, engine),
    await backplane(there, new FakeEngine(broker)),
  ];
  const other = there.subscribe("a");
  await links[1].settled();
  let calls = 0;
  engine.before = () => {
    // The second one fails, those after it arrive before it is tried again.
    if (++calls === 2) broken();
  };
  for (const n of [1, 2, 3]) assertEquals(here.publish("a", n), 0);
  assertEquals(await within(links[0].flush(), 20_000), true);
  // What came twice was given once; what came too late, is told.
  assertEquals([other.receive(), other.receive()], [1, 3]);
  assertEquals([other.buffered, links[0].lost, links[1].lost], [0, 0, 1]);
  for (const link of links) await link.close();
  assertEquals([engine.listeners.size, broker.ears.size], [0, 0]);
});

test("`backplane()` waits for a broker that is down, and bounds what waits", async () => {
  const left = await timersLeft(async () => {
    const broker = new FakeBroker();
    const engine = new FakeEngine(broker);
    const bus = new Bus<string>();
    const losses: BackplaneLoss[] = [];
    const link = await backplane(bus, engine, {
      maxBuffered: 10,
      onLoss: (loss) => {
        losses.push(loss);
        throw new Error("nobody minds");
      },
    });
    engine.turn(false);
    for (const text of ["four", "five!", "sixes"]) {
      assertEquals(bus.publish("a", text), 0);
    }
    // Ten bytes have room: the first had to go.
    assertEquals(losses.map(({ count, topic }) => [topic, count]), [["a", 1]]);
    assertEquals([link.connected, link.buffered], [false, 2]);
    const flushed = link.flush();
    engine.turn(true);
    assertEquals(await within(flushed), true);
    assertEquals(broker.given.length, 2);

    engine.turn(false);
    bus.publish("a", "last");
    const failed = link.flush();
    await within(link.close({ timeout: 0 }));
    assertEquals(await within(failed), false);
    assertEquals([losses.length, link.lost, link.buffered], [2, 2, 0]);
    await link.close();
    await link[Symbol.asyncDispose]();
    assertEquals(bus.publish("a", "after"), 0);
  });
  assertEquals(left, 0);
});

test("`Bus.publish()` waits when the broker falls behind, and goes on when it goes", async () => {
  const engine = new FakeEngine(new FakeBroker());
  const bus = new Bus<number>();
  const link = await backplane(bus, engine, { capacity: 4 });
  const own = bus.subscribe("a");
  let release!: () => void;
  const gate = new Promise<void>((resolve) => release = resolve);
  engine.before = () => gate;
  assertEquals([bus.publish("a", 1), bus.publish("a", 2)], [1, 1]);
  const third = bus.publish("a", 3);
  assertInstanceOf(third, Promise);
  let done = false;
  third.then(() => done = true);
  await settled();
  assertEquals([done, own.buffered], [false, 3]);
  bus.publish("a", 4);
  // All four are under way: one that nobody waited for is lost.
  bus.publish("a", 5);
  assertEquals([link.lost, own.buffered], [1, 5]);
  release();
  assertEquals(await within(third), 1);
  await link.close();
});

test("`backplane()` gives up on what the broker refuses for good", async () => {
  const engine = new FakeEngine(new FakeBroker());
  const bus = new Bus<number>();
  const losses: BackplaneLoss[] = [];
  const link = await backplane(bus, engine, {
    onLoss: (loss) => losses.push(loss),
  });
  engine.before = () => {
    throw new Error("too large");
  };
  bus.publish("a", 1);
  assertEquals(await within(link.flush()), false);
  assertEquals(losses[0].error.code, "ERR_BROKER");
  assertEquals((losses[0].error.cause as Error).message, "too large");
  // A broker that says it is there, and fails every time.
  engine.before = broken;
  bus.publish("a", 2);
  assertEquals(await within(link.flush(), 20_000), false);
  assertEquals([losses.length, losses[1].error.code], [2, "ECONNRESET"]);
  engine.before = () => {};
  bus.publish("a", 3);
  assertEquals(await within(link.flush()), true);
  await link.close();
});

test("`backplane()` subscribes until it may, and tells of it", async () => {
  const rejections = await unhandled(async () => {
    const broker = new FakeBroker();
    const engine = new FakeEngine(broker);
    const bus = new Bus<number>();
    const errors: unknown[] = [];
    bus.subscribe("before");
    engine.refusals = 2;
    const link = await backplane(bus, engine, {
      onError: (error) => errors.push(error),
    });
    await until(
      () => broker.ears.has("sluice.before"),
      "The subscription",
      20_000,
    );
    assertEquals(errors.map((error) => (error as Error).message), [
      "refused",
      "refused",
    ]);
    engine.refusals = 1;
    bus.subscribe("other").close();
    await link.settled();
    engine.refusals = 1000;
    bus.subscribe("never");
    await link.settled();
    await within(link.close());
    assertEquals(broker.ears.size, 0);
  });
  assertEquals(rejections, []);
});

test("`backplane()` refuses messages that are none, or not for it", async () => {
  const broker = new FakeBroker();
  const bus = new Bus<unknown>();
  const errors: unknown[] = [];
  const losses: BackplaneLoss[] = [];
  const link = await backplane(bus, new FakeEngine(broker), {
    maxMessageSize: 100,
    onError: (error) => errors.push(error),
    onLoss: (loss) => losses.push(loss),
  });
  const own = bus.subscribe("a");
  await link.settled();
  const bytes = (text: string) => new TextEncoder().encode(text);
  for (
    const text of [
      ...["", "hello", "\n", "sluice1 t a 1\nx", "sluice1 q a 1 1\nx"],
      ...["sluice1 t a 1 1", " sluice1 t a 1 1\nx", "sluice1 t a  1 1\nx"],
      ...["sluice1 t a -1 1\nx", `sluice1 t ${"a".repeat(33)} 1 1\nx`],
      ...["sluice1 t a 1 1\r\nx", "sluice1 x a 1 1\n*"],
    ]
  ) {
    broker.tell("sluice.a", text);
    broker.tell("sluice.a", bytes(text));
  }
  broker.tell(
    "sluice.a",
    Uint8Array.from([...bytes("sluice1 t a 1 1\n"), 255]),
  );
  broker.tell("sluice.a", "sluice1 b a 1 1\nbytes as text");
  assertEquals(errors.length, 26);
  for (const error of errors) assertInstanceOf(error, ProtocolError);
  broker.tell("sluice.a", "sluice1 j a 1 2\n{");
  broker.tell("sluice.a", "x".repeat(300));
  assertEquals(losses.map(({ error }) => error.code), [
    "ERR_PROTOCOL",
    "ERR_SIZE_LIMIT",
  ]);
  // Doubles, and what is older than what was there, are no news; gaps are.
  for (const count of ["3", "3", "2", "6"]) {
    broker.tell("sluice.a", `sluice1 t a 1 ${count}\n${count}`);
  }
  broker.tell("sluice.a", "sluice1 t a 2 2\nnext run");
  broker.tell("sluice.a", "sluice1 t a 1 9\nold run");
  assertEquals(own.buffered, 3);
  assertEquals([own.receive(), own.receive(), own.receive()], [
    "3",
    "6",
    "next run",
  ]);
  assertEquals(losses.slice(2).map(({ count }) => count), [2, 1]);
  assertEquals(losses[2].direction, "in");
  assertEquals(link.lost, 5);
  await link.close();
});

test("`backplane()` encodes and decodes as it is told", async () => {
  for (const binary of [true, false]) {
    const broker = new FakeBroker();
    const codec = {
      encode: (n: number) => n < 0 ? Uint8Array.of(-n, 0, 255) : `number ${n}`,
      decode: (data: Data) =>
        typeof data === "string" ? Number(data.slice(7)) : -data[0],
    };
    const [here, there] = [new Bus<number>(), new Bus<number>()];
    const links = [
      await backplane(here, new FakeEngine(broker, binary), codec),
      await backplane(there, new FakeEngine(broker, binary), codec),
    ];
    const other = there.subscribe("a");
    await links[1].settled();
    for (const n of [1, -2, 3]) here.publish("a", n);
    assertEquals(
      [await other.receive(), await other.receive(), await other.receive()],
      [1, -2, 3],
    );
    if (!binary) assert(broker.given.every((data) => typeof data === "string"));
    for (const link of links) await link.close();
  }
});

test("`Bus.publish()` refuses what cannot be sent, and gives it to nobody", async () => {
  const bus = new Bus<unknown>();
  const link = await backplane(bus, new FakeEngine(new FakeBroker()), {
    maxMessageSize: 10,
  });
  const own = bus.subscribe("a");
  const circle: { it?: unknown } = {};
  circle.it = circle;
  for (const bad of [circle, () => 1, 1n, Symbol("s"), new ArrayBuffer(1)]) {
    await assertRejects(async () => await bus.publish("a", bad), TypeError);
  }
  await assertRejects(
    async () => await bus.publish("a", "x".repeat(11)),
    SizeLimitError,
  );
  assertEquals(own.buffered, 0);
  assertEquals(bus.publish("a", "é".repeat(5)), 1);
  await link.close();
});

test("`backplane()` waits for no subscriber, but keeps some for those who want it", async () => {
  const broker = new FakeBroker();
  const [here, there] = [new Bus<number>(), new Bus<number>()];
  const links = [
    await backplane(here, new FakeEngine(broker)),
    await backplane(there, new FakeEngine(broker), { capacity: 3 }),
  ];
  const waited = there.subscribe("a", { capacity: 2, overflow: "wait" });
  const fast = there.subscribe("a", { capacity: 100 });
  const closing = there.subscribe("a", { capacity: 2, overflow: "close" });
  await links[1].settled();
  for (let n = 1; n <= 10; n++) here.publish("a", n);
  await links[0].flush();
  // Two it holds and three wait for it: five were lost.
  assertEquals([waited.buffered, fast.buffered, links[1].lost], [5, 10, 5]);
  assertEquals(there.topics.get("a"), 2);
  assertInstanceOf((await closing.closed).error, SizeLimitError);
  for (const n of [1, 2, 3, 4, 5]) assertEquals(await waited.receive(), n);
  here.publish("a", 11);
  assertEquals(await within(Promise.resolve(waited.receive())), 11);
  for (const link of links) await link.close();
});

test("`backplane()` refuses options and clients that make no sense", async () => {
  const bus = new Bus<string>();
  const engine = new FakeEngine(new FakeBroker());
  for (const capacity of [0, 1.5, NaN, 65_537]) {
    await assertRejects(() => backplane(bus, engine, { capacity }), RangeError);
  }
  await assertRejects(
    () => backplane(bus, engine, { maxMessageSize: -1 }),
    RangeError,
  );
  await assertRejects(
    () => backplane(bus, engine, { encode: (text) => text }),
    TypeError,
  );
  assertEquals(engine.listeners.size, 0);
  const link = await backplane(bus, engine);
  await assertRejects(() => link.close({ timeout: -1 }), RangeError);
  await link.close();
  assertThrows(() => natsBackplane({} as never), TypeError);
  assertThrows(() => redisBackplane({} as never, {} as never), TypeError);
  const client = {
    publish: () => Promise.resolve(),
    subscribe: () => Promise.resolve(),
    unsubscribe: () => Promise.resolve(),
  };
  assertThrows(() => redisBackplane(client, client), TypeError);
});
