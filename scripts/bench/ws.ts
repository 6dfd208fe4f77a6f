// WebSocket echo: microseconds of CPU that the server spends on a message
// (from /proc, user and system), over 64 connections. Small messages one at
// a time and 16 under way, and 16 KiB ones.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SECONDS = Number(process.env.SECONDS ?? 3);
const CONNECTIONS = 64;
const LOADS: [depth: number, size: number, type: string][] = [
  [1, 32, "text"],
  [16, 32, "text"],
  [1, 16 * 1024, "text"],
  [1, 16 * 1024, "binary"],
  [4, 16 * 1024, "binary"],
];

const onDeno = "Deno" in globalThis;
const onBun = "Bun" in globalThis;
const kinds = process.argv.length > 2 ? process.argv.slice(2) : [
  "loop",
  "listener",
  ...(onDeno || onBun ? ["native-listener", "runtime"] : ["ws"]),
];
const run = onDeno ? ["run", "-A"] : [];

/** Ticks of 10 ms that the process and its threads have run. */
function ticks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

function start(program: string, ...args: string[]): ChildProcess {
  const path = fileURLToPath(new URL(program, import.meta.url));
  return spawn(process.execPath, [...run, path, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function* lines(child: ChildProcess): AsyncGenerator<string[]> {
  for await (const line of createInterface({ input: child.stdout! })) {
    yield line.split(" ");
  }
}

for (const [depth, size, type] of LOADS) {
  for (const kind of kinds) {
    const server = start("./_ws_server.ts", kind);
    try {
      const { value } = await lines(server).next();
      const load = start(
        "./_ws_load.ts",
        ...[value![1], CONNECTIONS, depth, size, SECONDS, type].map(String),
      );
      let before = 0;
      for await (const [what, count, took] of lines(load)) {
        if (what === "start") {
          before = ticks(server.pid!);
        } else {
          const micros = (ticks(server.pid!) - before) * 10_000;
          console.log(
            `${kind.padEnd(16)} ${`${size} B ${type}`.padEnd(14)} depth ${
              `${depth}`.padEnd(3)
            } ${(micros / Number(count)).toFixed(2).padStart(7)} µs ${
              Math.round(Number(count) / Number(took)).toString().padStart(8)
            }/s`,
          );
        }
      }
    } finally {
      server.kill("SIGKILL");
    }
  }
}
process.exit(0);
