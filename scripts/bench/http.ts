/**
 * HTTP servers, driven by h2load over 64 connections: CPU time a request of
 * `http.serve` on its engines beside the runtime's own server, measured in
 * pairs. On Node that is node:http without any standard object. `light` is the
 * engine with the `Response` of `@sluice/net/http`, `installed` with that and its
 * `Request` installed, on Node and Bun. Run it with each runtime, or `deno task bench http`.
 */
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROUNDS = 5;
/** Clock ticks of /proc a second. */
const TICKS = 100;

const globals = globalThis as { Deno?: unknown; Bun?: unknown };
const runtime = globals.Deno !== undefined
  ? "deno"
  : globals.Bun !== undefined
  ? "bun"
  : "node";
const kinds = runtime === "node"
  ? ["raw", "wire", "light", "installed"]
  : runtime === "bun"
  ? ["raw", "native", "wire", "light", "installed"]
  : ["raw", "native", "wire"];

interface Scenario {
  readonly name: string;
  readonly requests: number;
  readonly connections: number;
  readonly body?: string;
  /** Requests at a time on a connection of HTTP/2. */
  readonly streams?: number;
}

const post = `/tmp/sluice-bench-${process.pid}.bin`;
writeFileSync(post, new Uint8Array(16 * 1024).fill(120));
const scenarios: Scenario[] = [
  { name: "text", requests: 100_000, connections: 64 },
  { name: "json", requests: 100_000, connections: 64 },
  { name: "echo", requests: 40_000, connections: 64, body: post },
  { name: "pass", requests: 40_000, connections: 64, body: post },
  { name: "stream", requests: 100, connections: 4 },
  // Without TLS, where Bun has none of its own.
  ...(runtime === "bun"
    ? []
    : [{ name: "http2", requests: 100_000, connections: 10, streams: 100 }]),
];

interface Server {
  readonly process: ChildProcess;
  readonly url: string;
}

async function start(kind: string, scenario: string): Promise<Server> {
  const program = fileURLToPath(new URL("./_http_server.ts", import.meta.url));
  const child = spawn(process.execPath, [
    ...(runtime === "deno" ? ["run", "-A"] : []),
    program,
    kind,
    scenario,
  ], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout! });
  for await (const line of lines) {
    return { process: child, url: `http://127.0.0.1:${line}/` };
  }
  throw new Error(`The server did not start: ${kind} ${scenario}`);
}

/** CPU time that a process has used, in microseconds. */
function cpuOf(child: ChildProcess): number {
  const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 1e6 / TICKS;
}

function load(url: string, scenario: Scenario, requests: number) {
  const { connections, body, streams } = scenario;
  return new Promise<void>((resolve, reject) => {
    execFile("h2load", [
      ...(streams === undefined ? ["--h1"] : ["-m", `${streams}`]),
      "-n",
      `${requests}`,
      "-c",
      `${connections}`,
      ...(body === undefined ? [] : ["-d", body]),
      url,
    ], (error, stdout) => {
      if (error === null && stdout.includes(` ${requests} succeeded`)) {
        resolve();
      } else reject(new Error(`h2load failed: ${error?.message}\n${stdout}`));
    });
  });
}

function median(numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1];
}

const only = process.argv.slice(2);
for (const scenario of scenarios) {
  if (only.length > 0 && !only.includes(scenario.name)) continue;
  const servers = new Map<string, Server>();
  const costs = new Map<string, number[]>();
  for (const kind of kinds) {
    servers.set(kind, await start(kind, scenario.name));
    costs.set(kind, []);
  }
  try {
    for (const { url } of servers.values()) {
      await load(url, scenario, scenario.requests / 4);
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const [kind, { process, url }] of servers) {
        const before = cpuOf(process);
        await load(url, scenario, scenario.requests);
        costs.get(kind)!.push(
          (cpuOf(process) - before) / scenario.requests,
        );
      }
    }
  } finally {
    for (const { process } of servers.values()) process.kill("SIGKILL");
  }
  const raw = costs.get("raw")!;
  for (const [kind, list] of costs) {
    const ratio = median(list.map((cost, round) => cost / raw[round]));
    console.log(
      `${scenario.name.padEnd(8)}${kind.padEnd(10)}` +
        `${median([...list]).toFixed(2).padStart(10)} µs a request  ` +
        `${ratio.toFixed(2)} × raw`,
    );
  }
}
