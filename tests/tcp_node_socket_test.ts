import { test } from "node:test";
import * as net from "node:net";
import { assertEquals } from "./assert.ts";
import { runtime, until, within } from "./_support.ts";
import { connectBy } from "../tcp/_node.ts";

const LOCAL = "127.0.0.1";

/** What a transport over a net.Socket tells, and the peer's socket. */
interface Pair {
  readonly raw: net.Socket;
  readonly peer: net.Socket;
  received: string;
  ended: boolean;
}

/** `before` is run while nobody is attached yet. */
async function pair(
  run: (pair: Pair) => Promise<void>,
  before?: (raw: net.Socket, peer: net.Socket) => Promise<void>,
): Promise<void> {
  const listener = net.createServer();
  const peers = new Promise<net.Socket>((resolve) => {
    listener.once("connection", resolve);
  });
  await new Promise<void>((resolve) => listener.listen(0, LOCAL, resolve));
  const { port } = listener.address() as net.AddressInfo;
  try {
    const transport = await within(connectBy({ hostname: LOCAL, port }));
    const peer = await within(peers);
    const raw = transport.raw as net.Socket;
    const pair: Pair = { raw, peer, received: "", ended: false };
    await before?.(raw, peer);
    const decoder = new TextDecoder();
    transport.attach({
      data: (chunk) => void (pair.received += decoder.decode(chunk)),
      end: () => void (pair.ended = true),
      drain() {},
      close() {},
    });
    peer.setNoDelay(true);
    try {
      await run(pair);
    } finally {
      transport.destroy();
      peer.destroy();
    }
  } finally {
    listener.close();
  }
}

test("NodeTransport and others who listen to its socket hear the same", () =>
  pair(async (pair) => {
    const { raw, peer } = pair;
    peer.write("one");
    await until(() => pair.received === "one", "the first");
    let heard = "";
    const listener = (chunk: Uint8Array) => {
      heard += new TextDecoder().decode(chunk);
    };
    raw.on("data", listener);
    peer.write("two");
    await until(() => pair.received === "onetwo", "the second");
    await until(() => heard === "two", "the second, beside it");
    raw.removeListener("data", listener);
    peer.write("three");
    await until(() => pair.received === "onetwothree", "the third");
    assertEquals(heard, "two");
  }));

/** Whether so much waits in its stream; on Node it waits in the kernel. */
function waits(raw: net.Socket, size: number): boolean {
  return runtime === "node" || raw.readableLength >= size;
}

// Deno does not read at all then.
const reads = runtime === "deno" ? () => {} : test;
reads(
  "NodeTransport keeps the order when its socket is paused by others",
  () =>
    pair(async (pair) => {
      const { raw, peer } = pair;
      let sent = "";
      for (let round = 0; round < 20; round++) {
        peer.write(`<${round}a>`);
        sent += `<${round}a>`;
        await until(() => pair.received === sent, "what came while it flowed");
        raw.pause();
        peer.write(`<${round}b>`);
        await until(() => waits(raw, 1), "what waits in the stream");
        raw.resume();
        peer.write(`<${round}c>`);
        sent += `<${round}b><${round}c>`;
        await until(() => pair.received === sent, "the rest");
      }
      raw.pause();
      peer.end("the end");
      await until(() => waits(raw, 7), "what came before the end");
      raw.resume();
      await until(() => pair.ended, "the end");
      assertEquals(pair.received, `${sent}the end`);
    }),
);

test("NodeTransport gives what its socket has read before it is attached", () =>
  pair(async (pair) => {
    pair.peer.end("two");
    await until(() => pair.ended, "the end");
    assertEquals(pair.received, "onetwo");
  }, async (raw, peer) => {
    peer.write("one");
    raw.read(0);
    await until(() => raw.readableLength === 3, "what the stream holds");
  }));
