// A server, or the clients of one, as a process of its own, so that its
// memory can be watched:
//   http_peer.ts serve OPTIONS_AS_JSON
//   http_peer.ts clients PORT
// Does what the lines on its standard input say, each `[name, ...arguments]`
// as JSON, one after the other, and answers each with a line of JSON.

import process from "node:process";
import { createInterface } from "node:readline";
import { Crowd } from "../_crowd.ts";

const MIB = 1024 * 1024;

type Act = (...given: never[]) => unknown;

const globals = globalThis as {
  gc?: () => void;
  Bun?: { gc(now: boolean): void };
};

/** What is in use once all garbage is gone, in bytes. */
async function memory(): Promise<Record<string, number>> {
  for (let i = 0; i < 3; i++) {
    globals.Bun?.gc(true);
    globals.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heap: heapUsed + external };
}

const whole = new Uint8Array(6 * MIB);
const chunk = new Uint8Array(64 * 1024);

/** Never ends, nor waits. */
function endless(): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(chunk.slice());
    },
  });
}

async function answer(request: Request): Promise<Response> {
  switch (new URL(request.url).pathname) {
    case "/echo":
      return new Response(await request.bytes());
    case "/whole":
      return new Response(whole);
    case "/endless":
      return new Response(endless());
    case "/long":
      return new Response("x".repeat(1000));
    default:
      return new Response("fine");
  }
}

/** The server's part. */
async function server(given: string): Promise<Record<string, Act>> {
  // The clients can do without.
  const { serve } = await import("../../http/serve.ts");
  const server = await serve(answer, {
    hostname: "127.0.0.1",
    port: 0,
    ...(JSON.parse(given).engine === "native" ? {} : { backlog: 4096 }),
    ...JSON.parse(given),
  });
  // The most that was in use between two `peak`s.
  let peak = 0;
  setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 20);
  return {
    port: () => Number(new URL(server.url).port),
    stats: () => server.stats(),
    memory,
    peak: () => {
      const last = peak;
      peak = process.memoryUsage().rss;
      return last;
    },
    close: () => server.close(),
  };
}

/** The clients' part. */
function clients(port: string): Record<string, Act> {
  const crowds: Crowd[] = [];
  return {
    /** Gives the number of the new crowd. */
    open: async (count: number, first: string, deaf: boolean) => {
      const crowd = new Crowd(Number(port));
      await crowd.open(count, first, deaf);
      return crowds.push(crowd) - 1;
    },
    /** A crowd that comes, asks once, is answered and goes. */
    meet: async (count: number, request: string) => {
      // On a busy machine a client may itself be too slow for the timeouts.
      for (let left = 5;; left--) {
        const crowd = new Crowd(Number(port));
        try {
          await crowd.open(count, request);
          await crowd.answered();
          return;
        } catch (error) {
          if (left === 1) throw error;
        } finally {
          crowd.leave();
        }
      }
    },
    exchange: (at: number, request: string, times: number) =>
      crowds[at].exchange(request, times),
    flood: (at: number, request: string, times: number) =>
      crowds[at].send(request.repeat(times)),
    untilOver: (at: number) => crowds[at].untilOver(),
    leave: (at: number, reset: boolean) => crowds[at].leave(reset),
  };
}

const [role, given] = process.argv.slice(2);
const acts = role === "serve" ? await server(given) : clients(given);
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  let told;
  try {
    told = { value: (await acts[name](...args as never[])) ?? null };
  } catch (error) {
    told = { error: (error as Error).message };
  }
  console.log(JSON.stringify(told));
}
process.exit(0);
