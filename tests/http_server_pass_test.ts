import { Buffer } from "node:buffer";
import * as net from "node:net";
import { describe, test } from "node:test";
import { assertEquals } from "./assert.ts";
import { until, within } from "./_support.ts";
import { serve } from "../http/mod.ts";

const SIZES = [
  1,
  100,
  4000,
  5000,
  8000,
  16_000,
  16_384,
  16_385,
  20_000,
  33_000,
  48_000,
  65_536,
  70_000,
  16_384,
  16_384,
  200_000,
  300,
  16_300,
];

/** Bytes that are another request's if they are not this one's. */
function bodyOf(index: number, size: number): Uint8Array {
  return Uint8Array.from(
    { length: size },
    (_, i) => (i * 7 + index * 31) % 251,
  );
}

function requestOf(body: Uint8Array): Uint8Array {
  const head = new TextEncoder().encode(
    `POST / HTTP/1.1\r\nhost: h\r\ncontent-length: ${body.length}\r\n\r\n`,
  );
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

/** The bodies of responses, each of which has a length or is chunked. */
function bodiesIn(bytes: Uint8Array): Uint8Array[] {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const bodies: Uint8Array[] = [];
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf("\r\n\r\n", at);
    if (end === -1) break;
    const head = text.slice(at, end);
    at = end + 4;
    const length = /content-length: (\d+)/.exec(head)?.[1];
    if (length !== undefined) {
      if (at + Number(length) > text.length) break;
      bodies.push(bytes.slice(at, at += Number(length)));
      continue;
    }
    let body = "";
    for (;;) {
      const line = text.indexOf("\r\n", at);
      if (line === -1) return bodies;
      const size = parseInt(text.slice(at, line), 16);
      if (line + size + 4 > text.length) return bodies;
      body += text.slice(line + 2, line + 2 + size);
      at = line + size + 4;
      if (size === 0) break;
    }
    bodies.push(Uint8Array.from(body, (c) => c.charCodeAt(0)));
  }
  return bodies;
}

describe("serve() whose handler hands the request's body on", () => {
  const handlers: Record<string, (request: Request) => Response> = {
    "as it is": (request) => new Response(request.body),
    "through a stream": (request) =>
      new Response(request.body!.pipeThrough(new TransformStream())),
  };
  for (const [name, handler] of Object.entries(handlers)) {
    for (const together of [1, 4]) {
      test(`serve() gives every body back, ${name}, ${together} at a time`, async () => {
        const server = await serve(handler, {
          hostname: "127.0.0.1",
          port: 0,
          engine: "wire",
        });
        const { address } = server;
        const port = address.transport === "unix" ? 0 : address.port;
        const sockets = Array.from(
          { length: 3 },
          () => net.connect(port, "127.0.0.1"),
        );
        try {
          await Promise.all(sockets.map(async (socket, nth) => {
            const came: Uint8Array[] = [];
            let size = 0;
            socket.on("error", () => {});
            socket.on("data", (chunk) => {
              came.push(chunk as Uint8Array);
              size += chunk.length;
            });
            for (let at = 0; at < SIZES.length; at += together) {
              const bodies = SIZES.slice(at, at + together)
                .map((size, i) => bodyOf(nth * 50 + at + i, size));
              const least = bodies.reduce((n, body) => n + body.length, 0);
              came.length = size = 0;
              socket.write(Buffer.concat(bodies.map(requestOf)));
              const answers = () =>
                size < least
                  ? []
                  : bodiesIn(new Uint8Array(Buffer.concat(came)));
              await until(
                () => answers().length === bodies.length,
                "the answers",
                20_000,
              );
              answers().forEach((answer, i) => {
                assertEquals(answer.length, bodies[i].length);
                assertEquals(Buffer.compare(answer, bodies[i]), 0);
              });
            }
          }));
        } finally {
          for (const socket of sockets) socket.destroy();
          await within(server.close({ timeout: 0 }));
        }
      });
    }
  }
});
