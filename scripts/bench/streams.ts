// Nanoseconds of CPU per message through a channel, and through the Web
// Streams that it is an alternative to.
import { Channel, connect, from } from "../../streams/mod.ts";

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
    const started = performance.now();
    await run(n);
    best = Math.min(best, ((performance.now() - started) / n) * 1e6);
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(0).padStart(6)} ns`);
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

async function produce(channel: Channel<Uint8Array>, n: number) {
  for (let i = 0; i < n; i++) {
    const sent = channel.send(message);
    if (sent !== true) await sent;
  }
  channel.close();
}

await measure("a producer and batches()", async (n) => {
  const channel = new Channel<Uint8Array>();
  produce(channel, n);
  for await (const _ of channel.batches());
});

await measure("a producer and for await", async (n) => {
  const channel = new Channel<Uint8Array>();
  produce(channel, n);
  for await (const _ of channel);
});

await measure("a producer and readable", async (n) => {
  const channel = new Channel<Uint8Array>();
  produce(channel, n);
  const reader = channel.readable.getReader();
  while (!(await reader.read()).done);
}, N / 4);

await measure("connect() from an iterable to a channel", async (n) => {
  const channel = new Channel<Uint8Array>();
  connect(
    from((function* () {
      for (let i = 0; i < n; i++) yield message;
    })()),
    channel,
  );
  for await (const _ of channel.batches());
}, N / 4);

await measure("ReadableStream, pull, for comparison", async (n) => {
  let i = 0;
  const reader = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (i++ < n) controller.enqueue(message);
      else controller.close();
    },
  }).getReader();
  while (!(await reader.read()).done);
}, N / 4);
