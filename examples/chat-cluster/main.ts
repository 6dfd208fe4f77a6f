/**
 * A chat on three server processes and one NATS server, behind one page. Kill
 * any of the three: whoever it served is connected to another at once, and
 * misses nothing.
 *
 * ```sh
 * nats-server &
 * deno run -A examples/chat-cluster/main.ts     # or bun, or node
 * kill -9 PID                                   # one of those it prints
 * ```
 *
 * This process starts the servers and hands each connection to one of them,
 * as a load balancer would. The chat is in `server.ts`.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { streams, tcp } from "../../mod.ts";

const { values: { port, nats } } = parseArgs({
  options: {
    port: { type: "string", default: "8000" },
    nats: { type: "string", default: "127.0.0.1:4222" },
  },
});
const hostname = "127.0.0.1";
const program = fileURLToPath(new URL("./server.ts", import.meta.url));
const run = "Deno" in globalThis ? ["run", "-A"] : [];

/** Ports of the servers that are there. */
const ports: number[] = [];
let turn = 0;

for (const name of ["one", "two", "three"]) {
  const child = spawn(
    process.execPath,
    [...run, program, `--name=${name}`, `--nats=${nats}`],
    // A server ends with its standard input, so also when this process dies.
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const mine: number[] = [];
  createInterface({ input: child.stdout }).once("line", (line) => {
    mine.push(Number(line));
    ports.push(mine[0]);
    console.log(`server ${name}: pid ${child.pid}`);
    if (ports.length === 3) open();
  });
  child.on("exit", () => {
    ports.splice(ports.indexOf(mine[0]), mine.length);
    console.log(`server ${name} is gone, ${ports.length} are left`);
  });
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => child.stdin.end());
  }
}

async function open(): Promise<void> {
  const balancer = await tcp.serve(forward, { hostname, port: Number(port) });
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => balancer.close({ timeout: 0 }));
  }
  console.log(`The chat is open: http://${hostname}:${portOf(balancer)}/`);
}

function portOf({ address }: tcp.Server): number {
  return (address as { port: number }).port;
}

/** Joins a client to the next server that answers. */
async function forward(client: tcp.Connection): Promise<void> {
  for (let tries = ports.length; tries > 0; tries--) {
    const port = ports[turn++ % ports.length];
    let server: tcp.Connection;
    try {
      server = await tcp.connect({ hostname, port });
    } catch {
      continue; // It died a moment ago.
    }
    // However one side ends, so does the other; there is nothing to tell.
    await Promise.allSettled([
      streams.connect(client, server),
      streams.connect(server, client),
    ]);
    return;
  }
}
