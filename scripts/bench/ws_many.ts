// Many WebSockets on one server: memory of an idle one, and the CPU and time
// that a broadcast of 1 KiB to all of them takes.
//   ws_many.ts [KIND …]; CONNECTIONS from the environment

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const CONNECTIONS = Number(process.env.CONNECTIONS ?? 5000);
const ROUNDS = 20;

const onDeno = "Deno" in globalThis;
const onBun = "Bun" in globalThis;
const kinds = process.argv.length > 2 ? process.argv.slice(2) : [
  "listener",
  "loop",
  ...(onDeno || onBun ? ["runtime"] : ["ws"]),
];
const run = onDeno
  ? ["run", "-A", "--v8-flags=--expose-gc"]
  : onBun
  ? []
  : ["--expose-gc"];

function ticks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

interface Program {
  child: ChildProcess;
  line(): Promise<string[]>;
}

function start(program: string, ...args: string[]): Program {
  const path = fileURLToPath(new URL(program, import.meta.url));
  const child = spawn(process.execPath, [...run, path, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout! })
    [Symbol.asyncIterator]();
  return {
    child,
    line: async () => (await lines.next()).value!.split(" "),
  };
}

for (const kind of kinds) {
  const server = start("./_ws_many_server.ts", kind);
  const [, port] = await server.line();
  const tell = (line: string) => server.child.stdin!.write(`${line}\n`);
  const memory = async () => {
    tell("memory");
    return (await server.line()).slice(1).map(Number);
  };
  const warm = start("./_ws_fleet.ts", port, "200", "1028");
  await warm.line();
  warm.child.kill("SIGKILL");
  const before = await memory();
  const fleet = start("./_ws_fleet.ts", port, `${CONNECTIONS}`, "1028");
  await fleet.line();
  const after = await memory();
  const each = (at: number) =>
    ((after[at] - before[at]) / 1024 / CONNECTIONS).toFixed(1).padStart(5);
  tell("send");
  await fleet.line();
  const from = performance.now();
  const worked = ticks(server.child.pid!);
  for (let i = 0; i < ROUNDS; i++) {
    tell("send");
    await fleet.line();
  }
  const micros = (ticks(server.child.pid!) - worked) * 10_000;
  console.log(
    `${kind.padEnd(9)} idle ${each(0)} KiB RSS ${each(1)} KiB heap; broadcast ${
      (micros / ROUNDS / CONNECTIONS).toFixed(2)
    } µs CPU a socket, ${
      ((performance.now() - from) / ROUNDS).toFixed(1)
    } ms to all`,
  );
  fleet.child.kill("SIGKILL");
  server.child.kill("SIGKILL");
}
process.exit(0);
