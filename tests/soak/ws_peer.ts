// One end of a flood, as a process of its own, so that its memory can be
// watched:
//   ws_peer.ts serve ENGINE SIDE BYTES SLOW_SECONDS
//   ws_peer.ts connect URL SIDE BYTES SLOW_SECONDS
// SIDE is "fast" (sends BYTES, waiting for each `send`) or "slow" (reads one
// message a second for SLOW_SECONDS, then the rest at once). Prints lines of
// JSON: where it listens, the growth of its memory before the slow seconds
// are over, and how it ended.

import process from "node:process";
import { serve } from "../../http/mod.ts";
import { connect, upgrade } from "../../ws/mod.ts";
import type { Socket } from "../../ws/mod.ts";

const MESSAGE = 64 * 1024;

const [role, where, side, bytes, seconds] = process.argv.slice(2);
const slow = Number(seconds) * 1000;

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

async function flood(socket: Socket): Promise<number> {
  const message = new Uint8Array(MESSAGE);
  let sent = 0;
  while (sent < Number(bytes)) {
    message[0]++;
    const accepted = socket.send(message);
    if (!(accepted === true || await accepted)) break;
    sent += MESSAGE;
  }
  return sent;
}

async function sip(socket: Socket): Promise<number> {
  const until = performance.now() + slow;
  let read = 0;
  try {
    for await (const message of socket) {
      read += message.length;
      if (performance.now() < until) {
        await sleep(Math.max(0, Math.min(1000, until - performance.now())));
      }
    }
  } catch (error) {
    say({ caught: (error as Error).message });
  }
  return read;
}

async function run(socket: Socket): Promise<void> {
  base = peak = process.memoryUsage().rss;
  const timer = setInterval(sample, 20);
  const report = setTimeout(
    () => {
      sample();
      say({ growth: peak - base });
    },
    slow - 100,
  );
  if (side === "fast") {
    const sent = await flood(socket);
    say({ sent });
    await socket.close();
  } else {
    say({ read: await sip(socket) });
  }
  const { clean, code, error } = await socket.closed;
  sample();
  clearInterval(timer);
  clearTimeout(report);
  say({ clean, code, error: error?.message, total: peak - base });
}

if (role === "serve") {
  const server = await serve((request) => {
    return upgrade(request, async (socket) => {
      await run(socket);
      setTimeout(() => process.exit(0), 200);
    }, { closeTimeout: 60_000 });
  }, {
    port: 0,
    hostname: "127.0.0.1",
    engine: where as "wire" | "native",
  });
  say({ url: server.url });
} else {
  await run(await connect(where, { closeTimeout: 60_000 }));
  process.exit(0);
}
