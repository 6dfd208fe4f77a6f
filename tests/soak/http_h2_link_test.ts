// Upload and download over a link of 100 Mbit/s with a round trip of 100 ms,
// made of timers, for not every kernel has netem: windows must not hold up
// what the link carries. HTTP/1.1 over the same link is the measure.

import * as net from "node:net";
import { test } from "node:test";
import { assert, assertEquals } from "../assert.ts";
import { runtime } from "../_support.ts";
import { Client, Response as LightResponse, serve } from "../../http/mod.ts";

/** Milliseconds one way. */
const DELAY = 50;
/** Bytes a millisecond. */
const RATE = 12_500;
const BYTES = 40 << 20;
const ROOM = RATE * DELAY * 2;

/** Hands on what comes from one socket to another as the link would. */
function carry(from: net.Socket, to: net.Socket): void {
  const queue: { chunk: Uint8Array; at: number }[] = [];
  let free = 0;
  let queued = 0;
  let ended = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const pump = () => {
    timer = undefined;
    const now = performance.now();
    while (queue.length > 0 && queue[0].at <= now) {
      const { chunk } = queue.shift()!;
      queued -= chunk.length;
      if (!to.destroyed) to.write(chunk);
    }
    if (queued < ROOM) from.resume();
    if (queue.length > 0) timer = setTimeout(pump, queue[0].at - now);
    else if (ended) to.end();
  };
  from.on("data", (chunk: Uint8Array) => {
    const now = performance.now();
    free = Math.max(free, now) + chunk.length / RATE;
    queued += chunk.length;
    queue.push({ chunk, at: free + DELAY });
    if (queued > ROOM + 262_144) from.pause();
    timer ??= setTimeout(pump, free + DELAY - now);
  });
  from.on("end", () => {
    ended = true;
    if (timer === undefined) to.end();
  });
  from.on("error", () => to.destroy());
  from.on("close", () => to.destroySoon());
}

/** Runs with a port that leads to another one over the link. */
async function withLink(
  port: number,
  run: (port: number) => Promise<void>,
): Promise<void> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
    }
    carry(near, far);
    carry(far, near);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve());
  });
  try {
    await run((server.address() as net.AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

const CHUNK = new Uint8Array(65_536);

function source(): ReadableStream<Uint8Array> {
  let left = BYTES;
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

async function count(body: ReadableStream<Uint8Array> | null): Promise<number> {
  let size = 0;
  for (const reader = body!.getReader();;) {
    const { done, value } = await reader.read();
    if (done) return size;
    size += value.byteLength;
  }
}

test("HTTP/2 fills a long link", { timeout: 120_000 }, async () => {
  const server = await serve(
    async (request) =>
      request.method === "POST"
        ? new LightResponse(String(await count(request.body)))
        : new Response(source()),
    { port: 0, hostname: "127.0.0.1", protocols: ["h2", "http/1.1"] },
  );
  try {
    const { address } = server;
    assert(address.transport === "tcp");
    await withLink(address.port, async (port) => {
      const rates: Record<string, { down: number; up: number }> = {};
      for (const protocol of ["http/1.1", "h2"] as const) {
        const client = new Client({ protocols: [protocol] });
        const url = `http://127.0.0.1:${port}/`;
        let start = performance.now();
        const response = await client.get(url);
        assertEquals(await count(response.body), BYTES);
        const down = BYTES / (performance.now() - start) / RATE;
        start = performance.now();
        const said = await client.post(url, { body: source() }).text();
        assertEquals(said, String(BYTES));
        const up = BYTES / (performance.now() - start) / RATE;
        rates[protocol] = { down, up };
        await client.close();
      }
      console.log(JSON.stringify({ runtime, rates }));
      const { h2 } = rates;
      const h1 = rates["http/1.1"];
      assert(h2.down >= 0.8 * h1.down, JSON.stringify(rates));
      assert(h2.up >= 0.8 * h1.up, JSON.stringify(rates));
    });
  } finally {
    await server.close({ timeout: 0 });
  }
});
