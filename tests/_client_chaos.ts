import * as net from "node:net";
import { assert, assertEquals } from "./assert.ts";
import { answer, listen } from "./_http_servers.ts";
import type { TestServer } from "./_http_servers.ts";
import { counted, randomly } from "./_streams_support.ts";
import { until, within } from "./_support.ts";
import { Client } from "../http/client.ts";
import type { ClientInit } from "../http/client.ts";
import { FetchError } from "../http/errors.ts";

const HEAD = "HTTP/1.1 200 OK\r\n";
const latin1 = new TextDecoder("latin1");
const BIG = "b".repeat(300_000);

type Behaviour = (socket: net.Socket) => unknown;

/** What the server does with a request, by the last part of its path. */
const behaviours: Record<string, Behaviour> = {
  ok: (socket) => socket.write(answer("fine")),
  empty: (socket) => socket.write("HTTP/1.1 204 No Content\r\n\r\n"),
  slow: (socket) => later(socket, 5, answer("slow")),
  big: (socket) => socket.write(answer(BIG)),
  chunks: (socket) => {
    socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`);
    later(socket, 2, "5\r\nworld\r\n0\r\nx-end: 1\r\n\r\n");
  },
  close: (socket) => socket.end(answer("bye", "Connection: close\r\n")),
  informs: (socket) =>
    socket.write(`HTTP/1.1 103 Early Hints\r\n\r\n${answer("fine")}`),
  moved: (socket) => socket.write(moved("ok")),
  "moved-big": (socket) => socket.write(moved("ok", BIG)),
  "moved-away": (socket) => socket.write(moved("reset")),
  loop: (socket) => socket.write(moved("loop")),
  refused: (socket) =>
    socket.write(answer("no").replace("200 OK", "417 Expectation Failed")),
  // From here on nothing good comes of it.
  hang: () => {},
  "hang-head": (socket) => socket.write(HEAD),
  "hang-body": (socket) => socket.write(answer(BIG).slice(0, 100_000)),
  fin: (socket) => socket.end(),
  "fin-head": (socket) => socket.end(HEAD),
  "fin-body": (socket) => socket.end(answer("hello").slice(0, -2)),
  reset: (socket) => socket.resetAndDestroy(),
  "reset-body": (socket) =>
    socket.write(answer(BIG).slice(0, 50_000), () => socket.resetAndDestroy()),
  garbage: (socket) => socket.write("\0\x01garbage\r\n\r\n"),
  twice: (socket) => socket.write(answer("one") + answer("two")),
  "chunk-bad": (socket) =>
    socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`),
};
const names = Object.keys(behaviours);

function moved(to: string, body = ""): string {
  return answer(body, `Location: ${to}\r\n`).replace("200 OK", "307 Moved");
}

function later(socket: net.Socket, ms: number, text: string): void {
  setTimeout(() => {
    if (socket.writable) socket.write(text);
  }, ms);
}

/** Reads heads and lets bodies pass; some connections end at once. */
function evil(random: (n: number) => number): Promise<TestServer> {
  return listen(
    net.createServer({ allowHalfOpen: true }, (socket: net.Socket) => {
      // Not before it has sent: Deno may not report a reset as early as that.
      const doomed = random(40) === 0;
      socket.setNoDelay(true);
      socket.on("end", () => socket.end());
      let text = "";
      socket.on("data", (chunk: Uint8Array) => {
        if (doomed) {
          socket.resetAndDestroy();
          return;
        }
        text += latin1.decode(chunk);
        for (;;) {
          // Bodies are of x, so that every head is found.
          const from = text.search(/[A-Z]+ \//);
          const end = from === -1 ? -1 : text.indexOf("\r\n\r\n", from);
          if (end === -1) {
            if (from === -1) text = text.slice(-16);
            return;
          }
          const head = text.slice(from, end);
          text = text.slice(end + 4);
          const name = /\/([a-z-]+)[ ?]/.exec(head)?.[1] ?? "ok";
          behaviours[name]?.(socket);
        }
      });
    }),
  );
}

/** A body that comes in pieces, slowly, and may fail. */
async function* trickle(pieces: number, fails: boolean) {
  for (let i = 0; i < pieces; i++) {
    yield "x".repeat(1000);
    if (i % 4 === 3) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  if (fails) throw new RangeError("The source failed");
}

/** What the test does with a response: all that people do. */
async function consume(
  response: Response,
  random: (n: number) => number,
): Promise<void> {
  switch (random(6)) {
    case 0:
      return await response.body?.cancel();
    case 1: {
      const reader = response.body?.getReader();
      await reader?.read();
      return await reader?.cancel("enough");
    }
    case 2: {
      const [mine, other] = [response, response.clone()];
      await Promise.all([mine.text(), other.arrayBuffer()]);
      return;
    }
    case 3:
      for await (const _ of response.body ?? []) { /* all of it */ }
      return;
    default:
      await response.text();
  }
}

/** One of all the things that can be asked of a client. */
function draft(name: string, random: (n: number) => number): ClientInit {
  const init: ClientInit = {};
  if (random(3) === 0) {
    init.method = ["POST", "PUT"][random(2)];
    const bodies: (() => ClientInit["body"])[] = [
      () => "x".repeat(random(2000)),
      () => new Uint8Array(100_000).fill(0x78),
      () => trickle(1 + random(30), random(3) === 0),
      () => new Blob(["x".repeat(80_000)]),
    ];
    init.body = bodies[random(bodies.length)]();
    if (random(3) === 0) init.expectContinue = random(10);
  }
  // Sooner or later every request has to end.
  init.timeout = {
    total: name.startsWith("hang") ? 30 : random(10) === 0 ? 5 : 10_000,
    ...[{ pool: 3 }, { connect: 2 }, { response: 4 }, { idle: 3 }][random(12)],
  };
  if (random(5) === 0) init.retry = 1;
  if (random(8) === 0) init.maxResponseSize = 1000;
  return init;
}

/**
 * Requests of every kind to a server that does all it should not, given up at
 * any moment; says how they ended. Throws when something is left of them.
 */
export async function chaos(
  options: { requests: number; seed: number },
): Promise<Record<string, number>> {
  const random = randomly(options.seed);
  const server = await evil(random);
  const client = new Client({
    base: server.url,
    pool: { perHost: 16, maxLifetime: 1000 },
    maxRedirects: 3,
  });
  const ends: Record<string, number> = {};
  let left = options.requests;
  const one = async (): Promise<string> => {
    const { controller, signal, listeners } = counted();
    const name = names[random(names.length)];
    const init = draft(name, random);
    const when = random(8);
    if (when === 0) controller.abort("abort");
    if (when === 1) queueMicrotask(() => controller.abort("abort"));
    if (when === 2) setTimeout(() => controller.abort("abort"), random(12));
    try {
      const response = await client.fetch(`${name}?${left}`, {
        ...init,
        signal,
      });
      await consume(response, random);
      return "done";
    } catch (error) {
      if (error === "abort") return "abort";
      assert(error instanceof FetchError, String(error));
      return error.code;
    } finally {
      // With the body over, too, nothing is left of the request.
      await until(() => listeners() === 0, "A listener left on the signal");
    }
  };
  const worker = async () => {
    while (left-- > 0) {
      const end = await within(one(), 20_000, "A request");
      ends[end] = (ends[end] ?? 0) + 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: 48 }, worker));
    const { open, queued } = client.stats();
    assert(open <= 16);
    assertEquals(queued, 0);
    // What is idle serves; what is not has ended.
    await until(() => {
      const { open, idle } = client.stats();
      return open === idle;
    }, "A connection is neither idle nor over");
    const working = await Promise.all(
      Array.from(
        { length: 16 },
        () => client.get("empty", { retry: 5 }).then(({ status }) => status),
      ),
    );
    assertEquals(new Set(working).size, 1);
    await within(client.close(), 20_000, "close()");
    assertEquals(client.stats().open, 0);
    await until(() => server.open === 0, "A socket of the server's");
  } finally {
    await client.close({ timeout: 0 });
    await server.close();
  }
  return ends;
}
