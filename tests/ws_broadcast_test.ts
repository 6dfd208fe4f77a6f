import { describe, test } from "node:test";
import { serve } from "../http/mod.ts";
import { SizeLimitError } from "../streams/errors.ts";
import { Bus } from "../streams/mod.ts";
import { SharedFrame } from "../ws/_shared.ts";
import { WireSocket } from "../ws/_wire_socket.ts";
import { broadcast, connect, upgrade } from "../ws/mod.ts";
import type { BroadcastOptions, Message, Socket } from "../ws/mod.ts";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { initOf, memoryTransports, turn } from "./_ws_support.ts";
import { engines, until, within } from "./_support.ts";

const local = { port: 0, hostname: "127.0.0.1" };

/** A server's socket, and the client at its other end. */
function couple(): { server: WireSocket; client: WireSocket } {
  const [here, there] = memoryTransports();
  const server = new WireSocket(here, false, initOf({ highWaterMark: 1024 }));
  const client = new WireSocket(there, true, initOf({ highWaterMark: 1024 }));
  server.start(undefined, new Uint8Array(0));
  client.start(undefined, new Uint8Array(0));
  return { server, client };
}

/** Sends until the socket has no room: its peer does not read. */
async function stuff(socket: Socket): Promise<void> {
  for (;;) {
    const sent = socket.send(new Uint8Array(8000));
    if (sent instanceof Promise) {
      sent.catch(() => {});
      return;
    }
    await turn();
  }
}

describe("broadcast()", () => {
  for (const engine of engines) {
    for (const compress of engine === "wire" ? [false, true] : [false]) {
      const title = `${engine} engine${compress ? ", compressed" : ""}`;
      test(`gives every socket each message, in order (${title})`, async () => {
        const sockets = new Set<Socket>();
        const server = await serve((request) =>
          upgrade(request, {
            open: (socket) => sockets.add(socket),
            close: (socket) => sockets.delete(socket),
          }, { compress }), { ...local, engine });
        const clients: Socket[] = [];
        try {
          for (let i = 0; i < 12; i++) {
            clients.push(
              await within(
                connect(server.url, { compress: compress && i % 2 === 0 }),
              ),
            );
          }
          await until(() => sockets.size === 12, "all sockets");
          const bytes = new Uint8Array(3000).fill(1);
          const messages: Message[] = [
            "short",
            "é".repeat(2000),
            "x".repeat(400_000),
            bytes,
            new Uint8Array(400_000).fill(2),
            "",
          ];
          for (const message of messages) {
            assertEquals(
              await broadcast(sockets, message, { slow: "wait" }),
              12,
            );
          }
          // What it was given is its own: it does not see this.
          bytes.fill(9);
          for (const client of clients) {
            for (const message of messages) {
              const got = await within(Promise.resolve(client.receive()));
              assertEquals(got?.length, message.length);
              if (message === bytes) {
                assertEquals(got, new Uint8Array(3000).fill(1));
              } else assert(typeof message !== "string" || got === message);
            }
          }
          await within(clients[0].close());
          await until(() => sockets.size === 11, "one less");
          assertEquals(broadcast(sockets, "again"), 11);
        } finally {
          for (const client of clients) client.destroy();
          await within(server.close({ timeout: 0 }));
        }
      });
    }
  }

  test("does with a slow socket as it is told", async () => {
    const fast = couple();
    const slow = couple();
    const all = [fast.server, slow.server];
    await stuff(slow.server);
    assertEquals(broadcast(all, "one"), 1);
    assertEquals(await within(Promise.resolve(fast.client.receive())), "one");
    const waited = broadcast(all, "two", { slow: "wait" });
    assert(waited instanceof Promise);
    assertEquals(await within(Promise.resolve(fast.client.receive())), "two");
    // The slow one reads at last.
    const seen: Message[] = [];
    while (seen[seen.length - 1] !== "two") {
      seen.push((await within(Promise.resolve(slow.client.receive())))!);
    }
    assertEquals(await within(waited), 2);
    assert(!seen.includes("one"));
    await stuff(slow.server);
    assertEquals(broadcast(all, "three", { slow: "close" }), 1);
    assertEquals(slow.server.send("closed"), false);
    // Its peer finds out once it reads.
    for await (const message of slow.client) assert(message !== "three");
    assertEquals((await within(slow.client.closed)).code, 1008);
    const { error } = await within(slow.server.closed);
    assert(error instanceof SizeLimitError);
    fast.server.destroy();
    await within(fast.client.closed);
    assertEquals(broadcast(all, "four"), 0);
  });

  test("refuses what cannot be sent", () => {
    assertThrows(() => broadcast([], 1 as unknown as string), TypeError);
    assertThrows(
      () =>
        broadcast([], "x", { slow: "maybe" } as unknown as BroadcastOptions),
      TypeError,
    );
    assertEquals(broadcast([], "x"), 0);
  });
});

describe("SharedFrame", () => {
  test("encodes from the second time on, and then no more", () => {
    const shared = new SharedFrame();
    const text = "x".repeat(1000);
    assertEquals(shared.of(0x81, text), undefined);
    const frame = shared.of(0x81, text)!;
    assertEquals(frame.length, 1004);
    assert(shared.of(0x81, text) === frame);
    assertEquals(shared.of(0x81, "y".repeat(1000)), undefined);
    assertEquals(shared.of(0x81, "short"), undefined);
    assertEquals(shared.of(0x81, "x".repeat(1 << 20)), undefined);
    assertEquals(shared.of(0x81, "x".repeat(1 << 20)), undefined);
  });

  test("sees bytes that have changed in their place", () => {
    const shared = new SharedFrame();
    const bytes = new Uint8Array(70_000);
    shared.of(0x82, bytes);
    const before = shared.of(0x82, bytes)!;
    bytes[69_999] = 1;
    const after = shared.of(0x82, bytes)!;
    assert(before !== after);
    assertEquals(before[before.length - 1], 0);
    assertEquals(after[after.length - 1], 1);
    // Another kind of frame is another frame.
    assertEquals(shared.of(0xc2, bytes), undefined);
  });
});

describe("Bus and sockets", () => {
  test("hand one message to many, each at its own pace", async () => {
    const bus = new Bus<Message>();
    const couples = Array.from({ length: 50 }, couple);
    for (const { server } of couples) {
      const news = bus.subscribe("news");
      void (async () => {
        for await (const message of news) {
          if (!(await server.send(message))) break;
        }
      })();
    }
    const texts = Array.from({ length: 5 }, (_, i) => `${i}`.repeat(2000));
    for (const text of texts) assertEquals(await bus.publish("news", text), 50);
    for (const { client } of couples) {
      for (const text of texts) {
        assertEquals(await within(Promise.resolve(client.receive())), text);
      }
    }
    for (const { server } of couples) server.destroy();
    await bus.publish("news", "the end");
    for (const { client } of couples) await within(client.closed);
  });
});
