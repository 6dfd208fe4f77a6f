/**
 * TCP echo over 64 connections: CPU time a 64-byte message of `tcp.serve`
 * beside the runtime's own sockets, and of 64 KiB blocks, measured in pairs.
 * The clients are a process of its own, the same for both. Run it with each
 * runtime, or `deno task bench tcp`.
 */
import { spawn } from "node:child_process";
import * as net from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { connect } from "../../streams/mod.ts";
import { serve } from "../../tcp/mod.ts";
import type { Connection } from "../../tcp/mod.ts";

/** Bytes that were seen. */
let bytes = 0;
const ROUNDS = 5;
const WARM_UP = 500;
const WINDOW = 1500;
const CONNECTIONS = 64;
const HOST = "127.0.0.1";

interface DenoLike {
  listen(options: object): {
    addr: { port: number };
    accept(): Promise<{
      read(into: Uint8Array): Promise<number | null>;
      write(bytes: Uint8Array): Promise<number>;
      setNoDelay(on: boolean): void;
    }>;
  };
}

interface BunLike {
  listen(options: object): { port: number };
}

const { Deno, Bun } = globalThis as unknown as {
  Deno?: DenoLike;
  Bun?: BunLike;
};

type Echo = (count: (bytes: number) => void) => Promise<number>;
/** Bytes that were received, for those who see none of them. */
let received = (): number => bytes;

/** The runtime's own loop, as one would write it by hand. */
const raw: Echo = async (count) => {
  if (Deno !== undefined) {
    const listener = Deno.listen({ hostname: HOST, port: 0 });
    (async () => {
      for (;;) {
        const conn = await listener.accept();
        conn.setNoDelay(true);
        (async () => {
          const buffer = new Uint8Array(65_536);
          for (;;) {
            const size = await conn.read(buffer).catch(() => null);
            if (size === null) return;
            count(size);
            let rest = buffer.subarray(0, size);
            while (rest.byteLength > 0) {
              rest = rest.subarray(await conn.write(rest).catch(() => 1e9));
            }
          }
        })();
      }
    })();
    return listener.addr.port;
  }
  if (Bun !== undefined) {
    interface Socket {
      data: { rest: Uint8Array };
      write(bytes: Uint8Array): number;
    }
    return Bun.listen({
      hostname: HOST,
      port: 0,
      socket: {
        open(socket: Socket) {
          socket.data = { rest: new Uint8Array(0) };
        },
        data(socket: Socket, bytes: Uint8Array) {
          count(bytes.byteLength);
          const { rest } = socket.data;
          const sent = rest.length > 0 ? 0 : socket.write(bytes);
          if (sent === bytes.length) return;
          const all = new Uint8Array(rest.length + bytes.length - sent);
          all.set(rest);
          all.set(bytes.subarray(sent), rest.length);
          socket.data.rest = all;
        },
        drain(socket: Socket) {
          const { rest } = socket.data;
          socket.data.rest = rest.subarray(socket.write(rest));
        },
      },
    }).port;
  }
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      count(bytes.length);
      socket.write(bytes);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  return (server.address() as net.AddressInfo).port;
};

function ours(
  handler: (
    connection: Connection,
    count: (bytes: number) => void,
  ) => Promise<void>,
): Echo {
  return async (count) => {
    const server = await serve(
      (connection) => handler(connection, count),
      { hostname: HOST, port: 0 },
    );
    return (server.address as { port: number }).port;
  };
}

/** The same, of what never shows its bytes: the server counts them. */
function unseen(handler: (connection: Connection) => Promise<void>): Echo {
  return async () => {
    const server = await serve(handler, { hostname: HOST, port: 0 });
    received = () => server.stats().bytesRead;
    return (server.address as { port: number }).port;
  };
}

const echoes: Record<string, Echo> = {
  raw,
  "receive/send": ours(async (connection, count) => {
    for (;;) {
      const next = connection.receive();
      const chunk = next instanceof Promise ? await next : next;
      if (chunk === undefined) return;
      count(chunk.byteLength);
      const sent = connection.send(chunk);
      if (sent instanceof Promise) await sent;
    }
  }),
  "for await": ours(async (connection, count) => {
    for await (const chunk of connection) {
      count(chunk.byteLength);
      await connection.send(chunk);
    }
  }),
  "connect": unseen((connection) => connect(connection, connection)),
  "pipeTo": unseen((connection) =>
    connection.readable.pipeTo(connection.writable)
  ),
  "pipeThrough": ours(async (connection, count) => {
    await connection.readable.pipeThrough(
      new TransformStream({
        transform(chunk: Uint8Array, controller) {
          count(chunk.byteLength);
          controller.enqueue(chunk);
        },
      }),
    ).pipeTo(connection.writable);
  }),
};

/** Sends blocks and waits for their echo, on all connections; for ever. */
function load(port: number, size: number): void {
  const block = new Uint8Array(size);
  for (let i = 0; i < CONNECTIONS; i++) {
    const socket = net.connect({ host: HOST, port, noDelay: true }, () => {
      let left = size;
      socket.on("data", (bytes) => {
        left -= bytes.length;
        if (left > 0) return;
        left = size;
        socket.write(block);
      });
      socket.write(block);
    });
  }
}

if (process.argv[2] === "load") {
  load(Number(process.argv[3]), Number(process.argv[4]));
} else if (process.argv[2] === "serve") {
  const port = await echoes[process.argv[3]]((size) => bytes += size);
  console.log(JSON.stringify({ port }));
  await new Promise((resolve) => setTimeout(resolve, WARM_UP));
  const before = {
    bytes: received(),
    cpu: process.cpuUsage(),
    at: performance.now(),
  };
  await new Promise((resolve) => setTimeout(resolve, WINDOW));
  const { user, system } = process.cpuUsage(before.cpu);
  const seconds = (performance.now() - before.at) / 1000;
  console.log(JSON.stringify({
    bytes: received() - before.bytes,
    cpu: user + system,
    seconds,
  }));
  process.exit();
} else {
  await main();
}

interface Sample {
  bytes: number;
  cpu: number;
  seconds: number;
}

async function measure(name: string, size: number): Promise<Sample> {
  const self = fileURLToPath(import.meta.url);
  const args = Deno === undefined ? [] : ["run", "-A", "--no-lock"];
  const server = spawn(process.execPath, [...args, self, "serve", name], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: server.stdout! })
    [Symbol.asyncIterator]();
  const { port } = JSON.parse((await lines.next()).value!);
  const client = spawn(process.execPath, [
    ...args,
    self,
    "load",
    `${port}`,
    `${size}`,
  ], { stdio: ["ignore", "ignore", "ignore"] });
  const sample = JSON.parse((await lines.next()).value!) as Sample;
  client.kill("SIGKILL");
  server.kill("SIGKILL");
  return sample;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}

async function main(): Promise<void> {
  for (const size of [64, 65_536]) {
    const found: Record<string, number[]> = {};
    const rates: Record<string, number[]> = {};
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of Object.keys(echoes)) {
        const { bytes, cpu, seconds } = await measure(name, size);
        (found[name] ??= []).push(cpu / (bytes / size));
        (rates[name] ??= []).push(bytes / size / seconds);
      }
    }
    const base = median(found.raw);
    for (const name of Object.keys(echoes)) {
      const cost = median(found[name]);
      console.log(
        `${size} bytes  ${name.padEnd(14)} ${cost.toFixed(2).padStart(7)} µs` +
          `  ${(cost / base).toFixed(2)}×  ` +
          `${Math.round(median(rates[name])).toLocaleString("en")} msg/s`,
      );
    }
  }
}
