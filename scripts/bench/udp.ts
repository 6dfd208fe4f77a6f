/**
 * UDP echo: CPU time a datagram of `udp.bind` beside the runtime's own socket,
 * measured in pairs. Run it with each runtime:
 *
 * ```sh
 * deno run -A --unstable-net scripts/bench/udp.ts   # and without the flag
 * bun scripts/bench/udp.ts
 * node scripts/bench/udp.ts
 * ```
 */
import { spawn } from "node:child_process";
import dgram from "node:dgram";
import process from "node:process";
import { createInterface } from "node:readline";
import { bind } from "../../udp/mod.ts";

const ROUNDS = 5;
const WARM_UP = 700;
const WINDOW = 1500;
const IN_FLIGHT = 32;
const PAYLOAD = 64;
const HOST = "127.0.0.1";

interface DenoLike {
  listenDatagram?(options: unknown): {
    addr: { port: number };
    receive(): Promise<[Uint8Array, unknown]>;
    send(data: Uint8Array, to: unknown): Promise<number>;
  };
}

interface BunLike {
  udpSocket(options: unknown): Promise<{ port: number }>;
}

const { Deno, Bun } = globalThis as unknown as {
  Deno?: DenoLike;
  Bun?: BunLike;
};

type Echo = (count: () => void) => Promise<number>;

const raw: Echo = async (count) => {
  if (Deno?.listenDatagram !== undefined) {
    const socket = Deno.listenDatagram({
      transport: "udp",
      hostname: HOST,
      port: 0,
    });
    (async () => {
      for (;;) {
        const [data, from] = await socket.receive();
        await socket.send(data, from);
        count();
      }
    })();
    return socket.addr.port;
  }
  if (Bun !== undefined) {
    const socket = await Bun.udpSocket({
      hostname: HOST,
      socket: {
        error() {},
        data(
          self: { send(d: Uint8Array, p: number, a: string): boolean },
          data: Uint8Array,
          port: number,
          address: string,
        ) {
          self.send(data, port, address);
          count();
        },
      },
    });
    return socket.port;
  }
  const socket = dgram.createSocket("udp4");
  socket.on("message", (data, from) => {
    socket.send(data, from.port, from.address);
    count();
  });
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
  return socket.address().port;
};

async function bound() {
  const socket = await bind({ hostname: HOST });
  return { socket, port: (socket.address as { port: number }).port };
}

const modes: Record<string, Echo> = {
  raw,
  "for await": async (count) => {
    const { socket, port } = await bound();
    (async () => {
      for await (const datagram of socket) {
        await socket.send(datagram);
        count();
      }
    })();
    return port;
  },
  batches: async (count) => {
    const { socket, port } = await bound();
    (async () => {
      for await (const batch of socket.batches()) {
        for (const datagram of batch) {
          const sent = socket.send(datagram);
          if (sent instanceof Promise) await sent;
          count();
        }
      }
    })();
    return port;
  },
  "Web Streams": async (count) => {
    const { socket, port } = await bound();
    const counter = new TransformStream({
      transform(datagram, controller) {
        count();
        controller.enqueue(datagram);
      },
    });
    socket.readable.pipeThrough(counter).pipeTo(socket.writable);
    return port;
  },
};

/** The echo: tells its port, then CPU time and count at every line it reads. */
async function serve(mode: string): Promise<void> {
  let count = 0;
  const port = await modes[mode](() => count++);
  console.log(JSON.stringify({ port }));
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "end") process.exit(0);
    const { user, system } = process.cpuUsage();
    console.log(JSON.stringify({ cpu: user + system, count }));
  }
}

/** Microseconds of CPU a datagram, and datagrams a second. */
async function measure(mode: string): Promise<{ cpu: number; rate: number }> {
  const child = spawn(process.execPath, [
    ...(Deno === undefined ? [] : [
      "run",
      "-A",
      "--no-lock",
      ...(Deno.listenDatagram === undefined ? [] : ["--unstable-net"]),
    ]),
    process.argv[1],
    mode,
  ], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })
    [Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value as string);
  const ask = (): Promise<{ cpu: number; count: number }> => {
    child.stdin.write("now\n");
    return next();
  };
  const { port } = await next();
  const client = dgram.createSocket("udp4");
  const payload = new Uint8Array(PAYLOAD);
  client.on("message", () => client.send(payload, port, HOST));
  await new Promise<void>((resolve) => client.bind(0, HOST, resolve));
  for (let i = 0; i < IN_FLIGHT; i++) client.send(payload, port, HOST);
  await sleep(WARM_UP);
  const before = await ask();
  const start = performance.now();
  await sleep(WINDOW);
  const after = await ask();
  const seconds = (performance.now() - start) / 1000;
  child.stdin.write("end\n");
  await new Promise((resolve) => child.once("exit", resolve));
  client.close();
  const count = after.count - before.count;
  return { cpu: (after.cpu - before.cpu) / count, rate: count / seconds };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}

if (process.argv[2] !== undefined) {
  await serve(process.argv[2]);
} else {
  for (const mode of Object.keys(modes)) {
    if (mode === "raw") continue;
    const [ours, theirs, ratios]: number[][] = [[], [], []];
    for (let round = 0; round < ROUNDS; round++) {
      const [a, b] = [await measure("raw"), await measure(mode)];
      theirs.push(a.cpu);
      ours.push(b.cpu);
      ratios.push(b.cpu / a.cpu);
    }
    console.log(
      `udp echo, ${mode}: ${median(ours).toFixed(2)} µs a datagram, raw ${
        median(theirs).toFixed(2)
      }, ratio ${median(ratios).toFixed(2)}`,
    );
  }
  process.exit(0);
}
