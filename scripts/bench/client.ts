/**
 * The HTTP client: 64 small GETs at a time beside the runtime's `fetch` and, on
 * Node, `undici.request`; 1 GiB down and up beside a raw socket. Measured in
 * turns: requests a second, CPU a request, growth of memory. Run it with each
 * runtime, or `deno task bench client`.
 */
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Client } from "../../http/mod.ts";

const ROUNDS = 5;
const REQUESTS = 20_000;
const AT_A_TIME = 64;
const GIB = 1024 ** 3;
const CHUNK = new Uint8Array(64 * 1024);

const globals = globalThis as { Deno?: unknown; Bun?: unknown };
const isNode = globals.Deno === undefined && globals.Bun === undefined;

const server = spawn(process.execPath, [
  ...(globals.Deno === undefined ? [] : ["run", "-A"]),
  fileURLToPath(new URL("./_client_server.ts", import.meta.url)),
], { stdio: ["ignore", "pipe", "inherit"] });
let port = 0;
for await (const line of createInterface({ input: server.stdout! })) {
  port = Number(line);
  break;
}
const url = `http://127.0.0.1:${port}/`;
const client = new Client({ pool: { perHost: AT_A_TIME } });

/** A few at a time, until all are done. */
async function many(one: () => Promise<unknown>, count: number): Promise<void> {
  let left = count;
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      while (left-- > 0) await one();
    }),
  );
}

const getters: Record<string, () => Promise<unknown>> = {
  ours: () => client.get(url).text(),
  fetch: async () => (await fetch(url)).text(),
};
if (isNode) {
  const { Agent, request } = await import("undici");
  const dispatcher = new Agent({ connections: AT_A_TIME });
  getters["undici"] = async () =>
    (await request(url, { dispatcher })).body.text();
}

function median(numbers: number[]): number {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1];
}

interface Cost {
  ms: number;
  cpu: number;
}

async function cost(run: () => Promise<unknown>): Promise<Cost> {
  const before = process.cpuUsage();
  const start = performance.now();
  await run();
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { ms, cpu: user + system };
}

const costs = new Map<string, Cost[]>();
for (const [name, get] of Object.entries(getters)) {
  costs.set(name, []);
  await many(get, REQUESTS / 4);
}
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, get] of Object.entries(getters)) {
    costs.get(name)!.push(await cost(() => many(get, REQUESTS)));
  }
}
for (const [name, list] of costs) {
  const rate = median(list.map(({ ms }) => REQUESTS / ms * 1000));
  const cpu = median(list.map(({ cpu }) => cpu / REQUESTS));
  console.log(
    `GET     ${name.padEnd(8)}${rate.toFixed(0).padStart(8)} a second  ` +
      `${cpu.toFixed(2).padStart(8)} µs of CPU`,
  );
}

/** All of a body. */
async function drain(body: ReadableStream<Uint8Array> | null): Promise<void> {
  for (const reader = body!.getReader();;) {
    if ((await reader.read()).done) return;
  }
}

/** What a socket does by itself. */
function raw(head: string, up: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let down = up > 0 ? 1 : GIB;
    socket.on("error", reject);
    socket.on("data", (chunk: Uint8Array) => {
      down -= chunk.length;
      if (down > 0) return;
      socket.destroy();
      resolve();
    });
    socket.write(head);
    let left = up;
    const write = () => {
      while (left > 0) {
        left -= CHUNK.length;
        if (!socket.write(CHUNK)) {
          socket.once("drain", write);
          return;
        }
      }
    };
    write();
  });
}

function source(): ReadableStream<Uint8Array> {
  let left = GIB;
  return new ReadableStream({
    pull(controller) {
      if (left <= 0) controller.close();
      else {
        left -= CHUNK.length;
        controller.enqueue(CHUNK);
      }
    },
  });
}

const transfers: Record<string, [string, () => Promise<unknown>][]> = {
  down: [
    ["raw", () => raw(`GET /${GIB} HTTP/1.1\r\n\r\n`, 0)],
    ["ours", async () => drain((await client.get(url + GIB)).body)],
  ],
  up: [
    [
      "raw",
      () => raw(`POST / HTTP/1.1\r\ncontent-length: ${GIB}\r\n\r\n`, GIB),
    ],
    ["ours", () =>
      client.post(url, {
        body: source(),
        headers: { "content-length": String(GIB) },
      }).text()],
  ],
};

for (const [way, both] of Object.entries(transfers)) {
  for (const [name, run] of both) {
    const list: Cost[] = [];
    const before = process.memoryUsage().rss;
    let most = before;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 20);
    for (let round = 0; round < 3; round++) list.push(await cost(run));
    clearInterval(watch);
    console.log(
      `1 GiB ${way.padEnd(5)}${name.padEnd(6)}` +
        `${median(list.map(({ ms }) => ms)).toFixed(0).padStart(7)} ms  ` +
        `${median(list.map(({ cpu }) => cpu / 1000)).toFixed(0).padStart(6)} ` +
        `ms of CPU  ${((most - before) / 1024 ** 2).toFixed(0)} MiB more`,
    );
  }
}
await client.close();
server.kill();
