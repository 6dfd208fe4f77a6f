// Connections that die as a request is sent on them: what may be sent again
// is, on a connection that nobody has used.

import * as net from "node:net";
import { test } from "node:test";
import { Client } from "../http/mod.ts";
import type { ClientInit } from "../http/mod.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { within } from "./_support.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
const FAREWELL = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n" +
  "connection: close\r\n\r\n";

type Answer = (socket: net.Socket, count: number) => void;

/**
 * Runs with a server that is told of each request on a connection, and which
 * one of its connection it is; `seen` counts all.
 */
async function withPeer(
  answer: Answer,
  run: (
    client: Client,
    url: string,
    seen: { requests: number },
  ) => Promise<void>,
): Promise<void> {
  const seen = { requests: 0 };
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    let text = "";
    let count = 0;
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      for (;;) {
        const end = text.indexOf("\r\n\r\n");
        if (end < 0) return;
        const length = /content-length: (\d+)/i.exec(text.slice(0, end))?.[1];
        const size = end + 4 + Number(length ?? 0);
        if (text.length < size) return;
        text = text.slice(size);
        seen.requests++;
        answer(socket, ++count);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  const client = new Client();
  try {
    await within(run(client, `http://127.0.0.1:${port}/`, seen), 15_000);
  } finally {
    await client.close({ timeout: 0 });
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** Each connection serves one request, and dies at the second. */
const once = (die: (socket: net.Socket) => void): Answer => (socket, count) => {
  if (count === 1) socket.write(OK);
  else die(socket);
};

const deaths: [string, (socket: net.Socket) => void][] = [
  ["FIN", (socket) => void socket.end()],
  ["RST", (socket) => void socket.resetAndDestroy()],
  ["408", (socket) => void socket.end(FAREWELL)],
];

for (const [name, die] of deaths) {
  test(`Client loses no request that may be sent again to connections that die: ${name}`, () =>
    withPeer(once(die), async (client, url, seen) => {
      const inits: ClientInit[] = [{}, { method: "PUT", body: "hello" }];
      if (name === "408") inits.push({ method: "POST", body: "hello" });
      for (const init of inits) {
        seen.requests = 0;
        await Promise.all(Array.from({ length: 6 }, async () => {
          for (let i = 0; i < 10; i++) {
            const response = await client.fetch(url, init);
            assertEquals([response.status, await response.text()], [
              200,
              "fine",
            ]);
          }
        }));
        assert(seen.requests > 60, "None was sent again");
      }
    }));
}

test("Client sends a POST once, whatever becomes of its connection", () =>
  withPeer(once((socket) => void socket.end()), async (client, url, seen) => {
    await client.post(url, { body: "a" }).text();
    await assertRejects(() => client.post(url, { body: "a" }).text());
    assertEquals(seen.requests, 2);
  }));

test("Client takes a 408 for an answer where it is one", async () => {
  const statuses = async (
    answer: Answer,
    init: () => ClientInit,
  ): Promise<number[]> => {
    const all: number[] = [];
    await withPeer(answer, async (client, url) => {
      for (let i = 0; i < 2; i++) {
        const response = await client.fetch(url, init());
        await response.text();
        all.push(response.status);
      }
    });
    return all;
  };
  // On a connection of its own.
  const always: Answer = (socket) => void socket.end(FAREWELL);
  assertEquals(await statuses(always, () => ({})), [408, 408]);
  // From a server that stays.
  const stays: Answer = (socket, count) =>
    void socket.write(
      count === 1 ? OK : "HTTP/1.1 408 Late\r\ncontent-length: 0\r\n\r\n",
    );
  assertEquals(await statuses(stays, () => ({})), [200, 408]);
  // And when there is nothing left to send.
  const stream = () => ({
    method: "POST",
    headers: { "content-length": "5" },
    body: new Blob(["hello"]).stream(),
    duplex: "half" as const,
  });
  const dies = once((socket) => void socket.end(FAREWELL));
  assertEquals(await statuses(dies, stream), [200, 408]);
});
