// Nanoseconds of CPU per message through a channel and what is built on it,
// and through the Web Streams that it is an alternative to.
import process from "node:process";
import {
  Bus,
  Channel,
  connect,
  consume,
  from,
  lines,
  map,
  pair,
} from "../../streams/mod.ts";
import type { Source } from "../../streams/mod.ts";

const N = 1_000_000;
const message = new Uint8Array(64);

async function measure(
  name: string,
  run: (n: number) => unknown,
  n = N,
): Promise<void> {
  await run(n / 10);
  let best = Infinity;
  for (let round = 0; round < 3; round++) {
    const before = process.cpuUsage();
    await run(n);
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, ((user + system) / n) * 1e3);
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(0).padStart(6)} ns`);
}

async function produce(channel: Channel<Uint8Array>, n: number) {
  for (let i = 0; i < n; i++) {
    const sent = channel.send(message);
    if (sent !== true) await sent;
  }
  channel.close();
}

function* messages(n: number): Generator<Uint8Array> {
  for (let i = 0; i < n; i++) yield message;
}

function pulled(n: number): ReadableStream<Uint8Array> {
  let i = 0;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      if (i++ < n) controller.enqueue(message);
      else controller.close();
    },
  });
}

await measure("send and receive, both at once", (n) => {
  const channel = new Channel<Uint8Array>();
  for (let i = 0; i < n; i++) {
    channel.send(message);
    channel.receive();
  }
});

await measure("16 sends, then 16 receives", (n) => {
  const channel = new Channel<Uint8Array>();
  for (let i = 0; i < n; i += 16) {
    for (let k = 0; k < 16; k++) channel.send(message);
    for (let k = 0; k < 16; k++) channel.receive();
  }
});

await measure("every receive waits, every send resolves it", async (n) => {
  const channel = new Channel<Uint8Array>();
  for (let i = 0; i < n; i++) {
    const received = channel.receive();
    channel.send(message);
    await received;
  }
}, N / 2);

for (const capacity of [16, 256]) {
  const of = `, capacity ${capacity}`;
  await measure(`a producer and batches()${of}`, async (n) => {
    const channel = new Channel<Uint8Array>({ capacity });
    produce(channel, n);
    for await (const _ of channel.batches());
  });

  await measure(`a producer and for await${of}`, async (n) => {
    const channel = new Channel<Uint8Array>({ capacity });
    produce(channel, n);
    for await (const _ of channel);
  });

  await measure(`a producer and consume()${of}`, async (n) => {
    const channel = new Channel<Uint8Array>({ capacity });
    produce(channel, n);
    await consume(channel, () => {});
  });

  await measure(`a producer and readable${of}`, async (n) => {
    const channel = new Channel<Uint8Array>({ capacity });
    produce(channel, n);
    const reader = channel.readable.getReader();
    while (!(await reader.read()).done);
  }, N / 4);

  await measure(`connect() of two channels${of}`, async (n) => {
    const one = new Channel<Uint8Array>({ capacity });
    const other = new Channel<Uint8Array>({ capacity });
    produce(one, n);
    connect(one, other);
    for await (const _ of other.batches());
  });
}

await measure("connect() from an iterable to a channel", async (n) => {
  const channel = new Channel<Uint8Array>();
  connect(from(messages(n)), channel);
  for await (const _ of channel.batches());
});

await measure("pair(), there and back, one at a time", async (n) => {
  const [a, b] = pair<Uint8Array>();
  const echoed = connect(b, b);
  for (let i = 0; i < n; i++) {
    a.send(message);
    await a.receive();
  }
  await a.close();
  await echoed;
}, N / 4);

const same = map((message: Uint8Array) => message);
function hops(n: number, source: Source<Uint8Array>): Source<Uint8Array> {
  for (let i = 0; i < n; i++) source = same(source);
  return source;
}

for (const n of [0, 1, 5]) {
  const of = `${n} hops of map(), capacity 64, `;
  await measure(`${of}batches()`, async (count) => {
    const channel = new Channel<Uint8Array>({ capacity: 64 });
    produce(channel, count);
    for await (const _ of hops(n, channel).batches());
  });

  await measure(`${of}consume()`, async (count) => {
    const channel = new Channel<Uint8Array>({ capacity: 64 });
    produce(channel, count);
    await consume(hops(n, channel), () => {});
  });
}

await measure("lines() of 64 bytes, 64 KiB a chunk", async (n) => {
  const chunk = new TextEncoder().encode(`${"x".repeat(63)}\n`.repeat(1024));
  const chunks = Array<Uint8Array>(Math.ceil(n / 1024)).fill(chunk);
  await consume(lines()(from(chunks)), () => {});
});

for (const count of [1000, 10_000]) {
  await measure(`Bus, a message to each of ${count} subscribers`, (n) => {
    const bus = new Bus<Uint8Array>();
    const subscribers = Array.from(
      { length: count },
      () => bus.subscribe("topic", { capacity: 16 }),
    );
    for (let i = 0; i < n; i += 16 * count) {
      for (let k = 0; k < 16; k++) bus.publish("topic", message);
      for (const it of subscribers) for (let k = 0; k < 16; k++) it.receive();
    }
  });
}

await measure("for comparison: ReadableStream, pull", async (n) => {
  const reader = pulled(n).getReader();
  while (!(await reader.read()).done);
}, N / 4);

await measure("for comparison: pipeTo(WritableStream)", async (n) => {
  await pulled(n).pipeTo(new WritableStream({ write() {} }));
}, N / 4);

for (const hops of [1, 5]) {
  await measure(`for comparison: ${hops} TransformStreams`, async (n) => {
    let stream = pulled(n);
    for (let i = 0; i < hops; i++) {
      stream = stream.pipeThrough(
        new TransformStream<Uint8Array, Uint8Array>({
          transform: (message, controller) => controller.enqueue(message),
        }),
      );
    }
    const reader = stream.getReader();
    while (!(await reader.read()).done);
  }, N / 4 / hops);
}
