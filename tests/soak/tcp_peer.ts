// One end of a flood, as a process of its own, so that its memory can be
// watched:
//   tcp_peer.ts serve|connect PORT plain|tls fast|slow BYTES SECONDS
// "fast" sends BYTES, waiting for each `send`; "slow" reads a chunk a second
// for SECONDS, then the rest at once. Prints lines of JSON: the port, the
// growth of its memory in the slow seconds, and how it ended.

import { readFileSync } from "node:fs";
import process from "node:process";
import { connect, serve } from "../../tcp/mod.ts";
import type { Connection } from "../../tcp/mod.ts";

const MESSAGE = 64 * 1024;

const [role, port, layer, side, bytes, seconds] = process.argv.slice(2);
const slow = Number(seconds) * 1000;
const pem = (name: string) =>
  readFileSync(new URL(`../certs/${name}`, import.meta.url), "utf8");

function say(what: Record<string, unknown>): void {
  console.log(JSON.stringify({ role, side, ...what }));
}

let base = 0;
let peak = 0;
function sample(): void {
  peak = Math.max(peak, process.memoryUsage().rss);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function flood(connection: Connection): Promise<number> {
  const message = new Uint8Array(MESSAGE);
  let sent = 0;
  while (sent < Number(bytes)) {
    message[0]++;
    const accepted = connection.send(message);
    if (!(accepted === true || await accepted)) break;
    sent += MESSAGE;
  }
  return sent;
}

async function sip(connection: Connection): Promise<number> {
  const until = performance.now() + slow;
  let read = 0;
  for await (const chunk of connection) {
    read += chunk.byteLength;
    if (performance.now() < until) {
      await sleep(Math.max(0, Math.min(1000, until - performance.now())));
    }
  }
  return read;
}

async function run(connection: Connection): Promise<void> {
  base = peak = process.memoryUsage().rss;
  const timer = setInterval(sample, 20);
  const report = setTimeout(() => {
    sample();
    say({ growth: peak - base });
  }, slow - 100);
  if (side === "fast") {
    const sent = await flood(connection);
    say({ sent });
    await connection.close({ timeout: 60_000 });
  } else {
    say({ read: await sip(connection) });
    await connection.close({ timeout: 60_000 });
  }
  const { clean, error } = await connection.closed;
  sample();
  clearInterval(timer);
  clearTimeout(report);
  say({ clean, error: error?.message, total: peak - base });
}

if (role === "serve") {
  const server = await serve(async (connection) => {
    await run(connection);
    setTimeout(() => process.exit(0), 200);
  }, {
    port: 0,
    hostname: "127.0.0.1",
    tls: layer === "tls"
      ? { cert: pem("server.pem"), key: pem("server.key") }
      : undefined,
  });
  say({ ...server.address });
} else {
  const tls = layer === "tls" && { ca: pem("ca.pem") };
  await run(await connect({ port: Number(port), tls }));
  process.exit(0);
}
