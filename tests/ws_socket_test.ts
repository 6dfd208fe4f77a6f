import { describe, test } from "node:test";
import type { NetError } from "../streams/errors.ts";
import type { TransportEvents } from "../tcp/_transport.ts";
import { FrameReader } from "../ws/_frame_reader.ts";
import { BINARY, encodeFrame } from "../ws/_frame_writer.ts";
import { WireSocket } from "../ws/_wire_socket.ts";
import type { SocketInit } from "../ws/_socket.ts";
import type {
  Message,
  Socket,
  SocketHandler,
  SocketOptions,
} from "../ws/types.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { build, hex, toHex } from "./_ws_frames.ts";
import { initOf, memoryTransports, summary, turn } from "./_ws_support.ts";
import type { MemoryTransport } from "./_ws_support.ts";
import { until, within } from "./_support.ts";

const nothing = new Uint8Array(0);

interface Both {
  server: WireSocket;
  client: WireSocket;
  serverEnd: MemoryTransport;
  clientEnd: MemoryTransport;
  reported: unknown[];
}

/** A server with that handler and a client, over memory. */
function both(
  handler?: SocketHandler,
  options: { server?: SocketOptions; client?: SocketOptions } = {},
): Both {
  const [serverEnd, clientEnd] = memoryTransports();
  const reported: unknown[] = [];
  const more: Partial<SocketInit> = {
    report: (error: unknown) => void reported.push(error),
  };
  const listener = typeof handler === "object" ? handler : undefined;
  const server = new WireSocket(
    serverEnd,
    false,
    initOf(options.server, { ...more, listener }),
  );
  const client = new WireSocket(clientEnd, true, initOf(options.client, more));
  server.start(handler, nothing);
  client.start(undefined, nothing);
  return { server, client, serverEnd, clientEnd, reported };
}

/** A peer that sends bytes as they are, and tells what came back. */
function rude(handler?: SocketHandler, options: SocketOptions = {}) {
  const [serverEnd, clientEnd] = memoryTransports();
  const reported: unknown[] = [];
  const listener = typeof handler === "object" ? handler : undefined;
  const server = new WireSocket(
    serverEnd,
    false,
    initOf(options, { listener, report: (e) => void reported.push(e) }),
  );
  const told: string[] = [];
  const reader = new FrameReader({ masked: false, maxMessageSize: 1 << 24 }, {
    message: (data) => told.push(typeof data === "string" ? data : toHex(data)),
    ping: (data) => told.push(`ping:${toHex(data)}`),
    pong: (data) => told.push(`pong:${toHex(data)}`),
    closing: (code) => told.push(`close:${code}`),
    fail: (code) => told.push(`fail:${code}`),
  });
  const events: TransportEvents = {
    data: (chunk) => reader.push(chunk),
    end: () => told.push("end"),
    drain() {},
    close: () => told.push("over"),
  };
  clientEnd.attach(events);
  server.start(handler, nothing);
  return { server, clientEnd, told, reported };
}

async function echo(socket: Socket): Promise<void> {
  for await (const message of socket) await socket.send(message);
}

describe("WireSocket", () => {
  test("carries texts and bytes both ways, in order", async () => {
    const { client } = both(echo);
    const messages: Message[] = [
      "a",
      "",
      Uint8Array.of(1, 2, 3),
      "漢字",
      new Uint8Array(0),
      "x".repeat(100_000),
      new Uint8Array(70_000).fill(9),
    ];
    for (const message of messages) await within(client.send(message));
    for (const message of messages) {
      assertEquals(await within(client.receive()), message);
    }
    await within(client.close());
  });

  test("send() leaves though its loop never comes back", async () => {
    const { client } = both(async (socket) => {
      for await (const message of socket) {
        void socket.send(message);
        await socket.closed;
      }
    });
    client.send("one");
    assertEquals(await within(client.receive()), "one");
    client.destroy();
  });

  test("send() keeps the order of a loop and of others beside it", async () => {
    const { client } = both(async (socket) => {
      let n = 0;
      for await (const message of socket) {
        void socket.send(`${message}: ${n++}`);
        await new Promise((resolve) => setTimeout(resolve));
        void socket.send(`${message}: ${n++}`);
        queueMicrotask(() => void socket.send(`${message}: ${n++}`));
      }
    });
    client.send("é");
    client.send("b");
    for (const expected of [0, 1, 2, 3, 4, 5]) {
      assertEquals(
        await within(client.receive()),
        `${expected < 3 ? "é" : "b"}: ${expected}`,
      );
    }
    client.destroy();
  });

  test("send() copies: the buffer may be used again", async () => {
    const { client } = both(echo);
    const bytes = new Uint8Array(50_000).fill(1);
    assertEquals(client.send(bytes), true);
    bytes.fill(2);
    assertEquals(
      await within(client.receive()),
      new Uint8Array(50_000).fill(1),
    );
    client.destroy();
  });

  test("send() in a listener gathers large messages of one chunk", async () => {
    const { told, clientEnd, server } = rude({
      message: (socket, data) => void socket.send(data),
    });
    let writes = 0;
    const serverEnd = clientEnd.peer;
    const write = serverEnd.write.bind(serverEnd);
    serverEnd.write = (bytes) => {
      writes++;
      return write(bytes);
    };
    const size = 15_000;
    const frame = encodeFrame(BINARY, new Uint8Array(size).fill(7), true);
    const three = new Uint8Array(3 * frame.byteLength);
    for (let i = 0; i < 3; i++) three.set(frame, i * frame.byteLength);
    for (let turns = 1; turns <= 3; turns++) {
      writes = 0;
      clientEnd.write(three);
      await until(() => told.length === 3 * turns);
    }
    assertEquals(writes, 1);
    assert(told.every((text) => text === "07".repeat(size)));
    server.destroy();
  });

  test("send() rejects what is neither a string nor bytes", async () => {
    const { client } = both(echo);
    await assertRejects(
      async () => void await client.send(42 as unknown as string),
      TypeError,
    );
    client.destroy();
  });

  test("close() tells code and reason to the peer, and is clean", async () => {
    const { client, server } = both();
    await within(client.close(4001, "enough"));
    assertEquals(summary(await client.closed), "clean 4001 enough");
    assertEquals(summary(await server.closed), "clean 4001 enough");
    assertEquals(await server.receive(), undefined);
    assertEquals(await client.receive(), undefined);
    assertEquals(client.send("x"), false);
    assertEquals(server.send("x"), false);
    await client.close();
  });

  test("close() on the server leaves TCP to be ended by the server", async () => {
    const { told, server, clientEnd } = rude();
    const closed = server.close(1001);
    await turn();
    assertEquals(told, ["close:1001"]);
    clientEnd.write(build([{ first: 0x88, payload: hex("03e9") }], true));
    await turn();
    assertEquals(told, ["close:1001", "end"]);
    clientEnd.end();
    await within(closed);
    assertEquals(summary(await server.closed), "clean 1001");
  });

  test("close() rejects a code or a reason that may not be sent", async () => {
    const { client } = both();
    for (const code of [0, 999, 1005, 1006, 1015, 2000, 5000]) {
      await assertRejects(() => client.close(code), RangeError);
    }
    await assertRejects(() => client.close(1000, "x".repeat(124)), RangeError);
    assertEquals(client.send("still open"), true);
    client.destroy();
  });

  test("close() sends what waited for room first", async () => {
    const { client, server, clientEnd } = both();
    clientEnd.capacity = 1000;
    let sent = 0;
    for (let i = 0; i < 10; i++) {
      Promise.resolve(client.send("x".repeat(50_000))).then((ok) => {
        if (ok) sent++;
      });
    }
    const closed = client.close();
    assertEquals(client.send("late"), false);
    let count = 0;
    for await (const message of server) {
      assertEquals(message.length, 50_000);
      count++;
    }
    await within(closed);
    assertEquals(count, 10);
    assertEquals(sent, 10);
    assertEquals((await server.closed).clean, true);
  });

  test("close() drops what comes after it and keeps what was queued", async () => {
    const { client, server } = both();
    server.send("before");
    await turn();
    const closed = client.close();
    server.send("after");
    await within(closed);
    assertEquals(client.receive(), "before");
    assertEquals(client.receive(), undefined);
  });

  test("close() reads on when the queue was full", async () => {
    const { client, server } = both(undefined, {
      client: { highWaterMark: 100 },
    });
    for (let i = 0; i < 20; i++) void server.send("x".repeat(100));
    await turn();
    await within(client.close());
    assertEquals((await within(server.closed)).clean, true);
  });

  test("close() gives up on a peer that does not answer", async () => {
    const { server, told } = rude(undefined, { closeTimeout: 30 });
    await within(server.close());
    const info = await server.closed;
    assertEquals(summary(info), "cut 1006");
    assertEquals(info.error?.code, "ETIMEDOUT");
    assertEquals(info.error?.phase, "close");
    await turn();
    assertEquals(told, ["close:1000", "over"]);
  });

  test("a peer that keeps TCP open after Close is cut off, cleanly", async () => {
    const { server, clientEnd } = rude(undefined, { closeTimeout: 30 });
    clientEnd.write(build([{ first: 0x88, payload: hex("03e8") }], true));
    assertEquals(summary(await within(server.closed)), "clean 1000");
  });

  test("answers a Close at once, and messages before it are received", async () => {
    const { server, clientEnd, told } = rude();
    clientEnd.write(build([
      { first: 0x81, payload: hex("61") },
      { first: 0x88, payload: hex("0fa0") },
      { first: 0x81, payload: hex("62") },
    ], true));
    await turn();
    assertEquals(told, ["close:4000", "end"]);
    assertEquals(server.receive(), "a");
    assertEquals(server.receive(), undefined);
    clientEnd.end();
    assertEquals(summary(await within(server.closed)), "clean 4000");
  });

  // RFC 6455, 5.5.1: data may go out until this side says Close.
  const late = build([
    { first: 0x81, payload: hex("61") },
    { first: 0x81, payload: hex("62") },
    { first: 0x88, payload: hex("0fa0") },
  ], true);
  const slowEcho = async (socket: Socket, message: Message) => {
    for (let i = 0; i < 5; i++) await turn();
    await socket.send(message);
  };
  const handlers: [string, SocketHandler][] = [
    ["a loop", echo],
    ["a loop that takes its time", async (socket) => {
      for await (const message of socket) await slowEcho(socket, message);
    }],
    ["a loop over batches", async (socket) => {
      for await (const batch of socket.batches()) {
        for (const message of batch) await slowEcho(socket, message);
      }
    }],
    ["receive()", async (socket) => {
      for (;;) {
        const message = await socket.receive();
        if (message === undefined) return;
        await slowEcho(socket, message);
      }
    }],
    ["a pipe", (socket) => socket.readable.pipeTo(socket.writable)],
    ["a listener that is awaited", { message: slowEcho }],
  ];
  for (const [name, handler] of handlers) {
    test(`${name} answers what came right before a Close`, async () => {
      const { server, clientEnd, told, reported } = rude(handler);
      await turn();
      clientEnd.write(late);
      await until(() => told.includes("end"), "the answers");
      assertEquals(told, ["a", "b", "close:4000", "end"]);
      clientEnd.end();
      assertEquals(summary(await within(server.closed)), "clean 4000");
      assertEquals(reported, []);
    });
  }

  test("answers what came right before a Close and a FIN", async () => {
    const { server, clientEnd, told } = rude(async (socket) => {
      for await (const message of socket) await slowEcho(socket, message);
    });
    await turn();
    clientEnd.write(late);
    clientEnd.end();
    await until(() => told.includes("end"), "the answers");
    assertEquals(told.slice(0, 4), ["a", "b", "close:4000", "end"]);
    assertEquals(summary(await within(server.closed)), "clean 4000");
  });

  test("of a client answers what came with the handshake, Close and all", async () => {
    const [serverEnd, clientEnd] = memoryTransports();
    const client = new WireSocket(clientEnd, true, initOf());
    client.start(
      undefined,
      build([
        { first: 0x81, payload: hex("61") },
        { first: 0x88, payload: hex("0fa0") },
      ], false),
    );
    const server = new WireSocket(serverEnd, false, initOf());
    server.start(undefined, nothing);
    await turn();
    void echo(client);
    assertEquals(await within(server.receive()), "a");
    assertEquals((await within(server.closed)).code, 4000);
    assertEquals(summary(await within(client.closed)), "clean 4000");
  });

  for (const end of ["Close", "Close and FIN"]) {
    test(`a handler that keeps a message for ever does not keep the ${end}`, async () => {
      let over = false;
      const { server, clientEnd, told } = rude(async (socket) => {
        await socket.receive();
        await socket.closed;
        over = true;
      });
      await turn();
      clientEnd.write(late);
      if (end !== "Close") clientEnd.end();
      await until(() => told.includes("end"), "the Close");
      assertEquals(told.slice(0, 2), ["close:4000", "end"]);
      clientEnd.end();
      assertEquals(summary(await within(server.closed)), "clean 4000");
      await until(() => over, "the handler");
    });
  }

  test("a handler that returns, closes or fails with a message in hand ends the wait", async () => {
    const ends: [string, (socket: Socket) => unknown][] = [
      ["close:4000", () => {}],
      ["close:4000", (socket) => socket.close(4001)],
      ["close:1011", () => Promise.reject(new Error("mine"))],
    ];
    for (const [close, end] of ends) {
      const { server, clientEnd, told } = rude(async (socket) => {
        await socket.receive();
        await turn();
        await end(socket);
      });
      await turn();
      clientEnd.write(late);
      await until(() => told.includes("end"), "the Close");
      assertEquals(told.slice(0, 2), [close, "end"]);
      clientEnd.end();
      assertEquals((await within(server.closed)).code, 4000);
    }
  });

  test("a peer that is gone after its Close is a clean end to who still reads", async () => {
    const got: Message[] = [];
    const { server, clientEnd } = rude(async (socket) => {
      for await (const message of socket) {
        for (let i = 0; i < 5; i++) await turn();
        got.push(message);
      }
      got.push("end");
    });
    await turn();
    clientEnd.write(late);
    await turn();
    clientEnd.destroy();
    assertEquals(summary(await within(server.closed)), "clean 4000");
    await until(() => got.length === 3, "the end");
    assertEquals(got, ["a", "b", "end"]);
  });

  test("what was accepted and could not be sent is not a clean end", async () => {
    const { server, clientEnd } = rude(undefined, { closeTimeout: 30 });
    clientEnd.peer.capacity = 1000;
    clientEnd.pause();
    for (let i = 0; i < 10; i++) void server.send("x".repeat(50_000));
    clientEnd.write(build([{ first: 0x88, payload: hex("03e8") }], true));
    const info = await within(server.closed);
    assertEquals(summary(info), "cut 1000");
    assertEquals(info.error?.message.includes("while it sent"), true);
  });

  test("a handler that finds its writable closed is no failure", async () => {
    const { server, client, reported } = both(async (socket) => {
      const writer = socket.writable.getWriter();
      for (;;) {
        await writer.write("x");
        await turn();
      }
    });
    await within(client.receive());
    await within(client.close());
    await within(server.closed);
    await turn();
    assertEquals(reported, []);
  });

  test("a Close without a code is told as 1005 and answered in kind", async () => {
    const { server, clientEnd, told } = rude();
    clientEnd.write(build([{ first: 0x88, payload: nothing }], true));
    await turn();
    clientEnd.end();
    assertEquals(summary(await within(server.closed)), "clean 1005");
    assertEquals(told[0], "close:1005");
  });

  test("an end without a Close is 1006, and an error to who receives", async () => {
    const { server, clientEnd } = rude();
    const pending = server.receive() as Promise<Message | undefined>;
    clientEnd.end();
    await assertRejects(() => within(pending), Error, "without a Close");
    const info = await within(server.closed);
    assertEquals(summary(info), "cut 1006");
    assertEquals(info.error?.code, "ERR_CLOSED");
  });

  test("messages before the loss can be received still", async () => {
    const { server, clientEnd } = rude();
    clientEnd.write(build([{ first: 0x81, payload: hex("61") }], true));
    clientEnd.end();
    await within(server.closed);
    assertEquals(server.receive(), "a");
    await assertRejects(async () => void await server.receive());
  });

  test("destroy() ends it now, with the caller's reason", async () => {
    const { server, client } = both();
    const reason = new Error("because");
    const pending = server.receive() as Promise<Message | undefined>;
    server.destroy(reason);
    assertEquals(
      await within(pending).then(() => undefined, (error) => error),
      reason,
    );
    const info = await within(server.closed);
    assertEquals(summary(info), "cut 1006");
    assertEquals(info.error?.cause, reason);
    assertEquals(server.send("x"), false);
    assertEquals(summary(await within(client.closed)), "cut 1006");
  });

  test("a broken rule is answered with its code, then FIN", async () => {
    const { server, clientEnd, told } = rude();
    clientEnd.write(build([
      { first: 0x81, payload: hex("61") },
      { first: 0xc1, payload: hex("62") },
    ], true));
    await turn();
    assertEquals(told, ["close:1002", "end"]);
    // Whatever else comes is ignored.
    clientEnd.write(build([{ first: 0x81, payload: hex("63") }], true));
    clientEnd.end();
    const info = await within(server.closed);
    assertEquals(summary(info), "cut 1002");
    assertEquals(info.error?.name, "ProtocolError");
    assertEquals(server.receive(), "a");
    await assertRejects(async () => void await server.receive());
  });

  test("a message over maxMessageSize is 1009", async () => {
    const { server, client } = both(undefined, {
      server: { maxMessageSize: 1000 },
    });
    await within(client.send("x".repeat(1001)));
    const info = await within(server.closed);
    assertEquals(summary(info), "cut 1009");
    assertEquals(info.error?.name, "SizeLimitError");
    assertEquals(summary(await within(client.closed)), "clean 1009");
  });

  test("a handler's end closes it with 1000", async () => {
    const { client } = both(async (socket) => {
      await socket.send("bye");
    });
    assertEquals(await within(client.receive()), "bye");
    assertEquals(await within(client.receive()), undefined);
    assertEquals(summary(await within(client.closed)), "clean 1000");
  });

  test("a handler's failure closes it with 1011 and is reported", async () => {
    const failure = new Error("secret");
    const { client, server, reported } = both(() => Promise.reject(failure));
    const info = await within(client.closed);
    assertEquals(summary(info), "clean 1011");
    assertEquals(reported, [failure]);
    const own = await within(server.closed);
    assertEquals(summary(own), "cut 1011");
    assertEquals(own.error?.cause, failure);
  });

  test("a handler that throws at once is 1011 too", async () => {
    const failure = new Error("secret");
    const { client, reported } = both(() => {
      throw failure;
    });
    assertEquals((await within(client.closed)).code, 1011);
    assertEquals(reported, [failure]);
  });

  test("a handler that ends because the peer is lost is no failure", async () => {
    const { server, client, reported } = both(echo);
    client.destroy();
    await within(server.closed);
    await turn();
    assertEquals(reported, []);
  });

  test("ping() resolves with the round trip", async () => {
    const { client, server } = both();
    const [one, two, three] = await within(Promise.all([
      client.ping(),
      client.ping("hello"),
      server.ping(Uint8Array.of(1, 2)),
    ]));
    for (const time of [one, two, three]) {
      assert(time >= 0 && time < 1000, `${time}`);
    }
    client.destroy();
  });

  test("ping() refuses more than 125 bytes", async () => {
    const { client } = both();
    await assertRejects(() => client.ping("x".repeat(126)), RangeError);
    client.destroy();
  });

  test("ping() rejects when the socket ends first, and at its limits", async () => {
    const { server } = rude();
    const lost = server.ping();
    await assertRejects(
      () => within(server.ping("x", { timeout: 5 })),
      Error,
      "within 5 ms",
    );
    const abort = new AbortController();
    const given = server.ping("y", { signal: abort.signal });
    abort.abort(new Error("no more"));
    await assertRejects(() => given, Error, "no more");
    server.destroy();
    const error = await within(lost).then(() => undefined, (e) => e);
    assertEquals((error as NetError).code, "ERR_CLOSED");
    await assertRejects(() => server.ping(), Error, "closed");
  });

  test("a pong answers the pings before its own too", async () => {
    const { server, clientEnd } = rude();
    const pings = [server.ping("1"), server.ping("2")];
    clientEnd.write(build([
      { first: 0x8a, payload: hex("39") },
      { first: 0x8a, payload: hex("32") },
    ], true));
    assertEquals((await within(Promise.all(pings))).length, 2);
    server.destroy();
  });

  test("a peer that pings without reading is owed one pong, not a queue", async () => {
    const { server, clientEnd, told } = rude(undefined, {
      highWaterMark: 4096,
    });
    const serverEnd = clientEnd.peer;
    serverEnd.capacity = 0;
    clientEnd.pause();
    const ping = build([{ first: 0x89, payload: new Uint8Array(125) }], true);
    for (let i = 0; i < 1000; i++) clientEnd.write(ping);
    clientEnd.write(build([{ first: 0x89, payload: hex("aabb") }], true));
    await turn();
    assert(server.buffered < 8192, `${server.buffered}`);
    clientEnd.resume();
    await until(() => told.includes("pong:aabb"), "the last pong");
    server.destroy();
  });
});

describe("WireSocket under pressure", () => {
  test("send() gives a promise at the high-water mark, tied to the transport", async () => {
    const { server, client, serverEnd, clientEnd } = both(undefined, {
      server: { highWaterMark: 10_000 },
      client: { highWaterMark: 1000 },
    });
    serverEnd.capacity = 5000;
    let accepted = 1;
    server.send("x".repeat(1000));
    await until(() => clientEnd.paused, "the client to be full");
    let waiting: Promise<boolean> | undefined;
    for (let i = 0; i < 100 && waiting === undefined; i++) {
      const sent = server.send("x".repeat(1000));
      if (sent instanceof Promise) waiting = sent;
      else accepted++;
    }
    assert(accepted < 50, `${accepted}`);
    await turn();
    assert(server.buffered > 0);
    let done = false;
    waiting!.then(() => done = true);
    await turn();
    assertEquals(done, false, "nobody reads");
    let received = 0;
    while (received <= accepted) {
      await within(client.receive());
      received++;
    }
    assertEquals(await within(waiting!), true);
    server.destroy();
  });

  test("a reader that does not read stops the peer", async () => {
    const { server, client, clientEnd, serverEnd } = both(undefined, {
      server: { highWaterMark: 10_000 },
      client: { highWaterMark: 10_000 },
    });
    clientEnd.capacity = 10_000;
    let sent = 0;
    const push = async () => {
      while (await client.send("x".repeat(1000))) sent++;
    };
    const pushing = push();
    await turn();
    const before = sent;
    await turn();
    assertEquals(sent, before, "stopped");
    assert(serverEnd.paused);
    assert(sent < 60, `${sent}`);
    for (let i = 0; i < 500; i++) await within(server.receive());
    assert(sent > before, "goes on");
    server.destroy();
    await within(pushing);
  });

  test("a queue of empty messages is bounded too", async () => {
    const { client, serverEnd } = both(undefined, {
      server: { highWaterMark: 6400 },
    });
    for (let i = 0; i < 1000; i++) {
      await client.send("");
      if (i % 10 === 0) await turn();
    }
    assert(serverEnd.paused);
    client.destroy();
  });

  test("a sender that does not wait is cut off past maxBuffered", async () => {
    const { server, client } = both(undefined, {
      server: { maxBuffered: 100_000, highWaterMark: 1000 },
      client: { highWaterMark: 1000 },
    });
    let result: unknown = true;
    for (let i = 0; i < 1000 && result !== false; i++) {
      result = server.send("x".repeat(10_000));
    }
    assertEquals(result, false);
    const info = await within(server.closed);
    assertEquals(info.error?.name, "SizeLimitError");
    assertEquals((info.error as unknown as { limit: number }).limit, 100_000);
    assertEquals(summary(info), "cut 1006");
    client.destroy();
  });

  test("a wait given up sends nothing and loses nothing", async () => {
    const { server, client } = both(undefined, {
      server: { highWaterMark: 1000 },
      client: { highWaterMark: 100 },
    });
    const waiting: Promise<boolean>[] = [];
    let sent = 0;
    while (waiting.length === 0) {
      const result = server.send("x".repeat(500));
      if (result instanceof Promise) waiting.push(result);
      else sent++;
    }
    await assertRejects(
      async () => void await server.send("never", { timeout: 5 }),
      Error,
      "within 5 ms",
    );
    waiting.push(Promise.resolve(server.send("last")));
    for (let i = 0; i < sent; i++) {
      assertEquals((await within(client.receive()))?.length, 500);
    }
    assertEquals((await within(client.receive()))?.length, 500);
    assertEquals(await within(client.receive()), "last");
    client.destroy();
  });
});

describe("Listener", () => {
  test("is told all, in order", async () => {
    const told: string[] = [];
    const { client } = both({
      open: () => told.push("open"),
      message: (socket, data) => {
        told.push(`message ${data}`);
        socket.send(data);
      },
      ping: (_, data) => told.push(`ping ${toHex(data)}`),
      pong: (_, data) => told.push(`pong ${toHex(data)}`),
      error: () => told.push("error"),
      close: (_, info) => told.push(`close ${summary(info)}`),
    });
    client.send("a");
    client.send("b");
    await within(client.ping("c"));
    client.send("d");
    for (const expected of ["a", "b", "d"]) {
      assertEquals(await within(client.receive()), expected);
    }
    await within(client.close(4000, "done"));
    await turn();
    assertEquals(told, [
      "open",
      "message a",
      "message b",
      "ping 63",
      "message d",
      "close clean 4000 done",
    ]);
  });

  test("has error before close when it was cut off", async () => {
    const told: string[] = [];
    const { client, server } = both({
      error: (_, error) => told.push(`error ${error.message}`),
      close: (_, info) => told.push(`close ${summary(info)}`),
    });
    client.destroy();
    await within(server.closed);
    assertEquals(told, [
      "error The WebSocket was cut off without a Close",
      "close cut 1006",
    ]);
  });

  test("message() that gives a promise holds the next, and the peer", async () => {
    const told: string[] = [];
    const release: (() => void)[] = [];
    const { client, server, serverEnd } = both({
      message: (_, data) => {
        told.push(`${data}`.slice(0, 2));
        return new Promise<void>((resolve) => release.push(resolve));
      },
      close: () => told.push("close"),
    }, { server: { highWaterMark: 2000 } });
    for (let i = 0; i < 10; i++) {
      await client.send(`${i} ${"x".repeat(500)}`);
      await turn();
    }
    assertEquals(told, ["0 "]);
    assert(serverEnd.paused);
    for (let i = 0; i < 10; i++) {
      assertEquals(told.length, i + 1);
      release[i]();
      await turn();
    }
    assertEquals(told.length, 10);
    client.send("last");
    await within(client.close());
    await within(server.closed);
    assertEquals(told.at(-1), "la", "close() waits for the message before it");
    release[10]();
    await turn();
    assertEquals(told.at(-1), "close");
  });

  for (
    const [name, listener] of [
      ["throws", {
        message: () => {
          throw new Error("secret");
        },
      }],
      ["rejects", { message: () => Promise.reject(new Error("secret")) }],
    ] as [string, SocketHandler][]
  ) {
    test(`message() that ${name} closes with 1011`, async () => {
      const { client, reported } = both(listener);
      client.send("x");
      assertEquals(
        summary(await within(client.closed)),
        "clean 1011",
      );
      assertEquals((reported[0] as Error).message, "secret");
      assertEquals(reported.length, 1);
    });
  }

  test("open() that throws or rejects closes with 1011", async () => {
    for (
      const open of [() => {
        throw new Error("x");
      }, () => Promise.reject(new Error("x"))]
    ) {
      const { client, reported } = both({ open });
      assertEquals((await within(client.closed)).code, 1011);
      assertEquals(reported.length, 1);
    }
  });

  test("close() that throws is reported, and no more", async () => {
    const { client, server, reported } = both({
      close: () => {
        throw new Error("x");
      },
    });
    await within(client.close());
    await within(server.closed);
    await turn();
    assertEquals(reported.length, 1);
  });

  test("drain() follows a send that gave a promise", async () => {
    let drained = 0;
    const { server, client } = both({ drain: () => void drained++ }, {
      server: { highWaterMark: 1000 },
      client: { highWaterMark: 1000 },
    });
    let sent = 0;
    for (;;) {
      sent++;
      if (server.send("x".repeat(900)) instanceof Promise) break;
    }
    await turn();
    assertEquals(drained, 0);
    for (let i = 0; i < sent; i++) await within(client.receive());
    await until(() => drained === 1, "drain");
    server.destroy();
  });

  test("without message() drops messages and goes on", async () => {
    const { client, serverEnd } = both({}, { server: { highWaterMark: 100 } });
    for (let i = 0; i < 100; i++) await client.send("x".repeat(100));
    await within(client.ping());
    assert(!serverEnd.paused);
    await within(client.close());
  });

  test("is the one consumer of its socket", async () => {
    let socket!: Socket;
    const { client } = both({ open: (s) => void (socket = s) });
    assertThrows(() => socket.receive(), TypeError);
    assertThrows(() => socket.readable, TypeError);
    assertThrows(() => socket.batches(), TypeError);
    assertThrows(() => socket[Symbol.asyncIterator](), TypeError);
    await within(client.close());
  });

  test("gets no message once it has closed the socket", async () => {
    const told: Message[] = [];
    const { clientEnd, server } = rude({
      message: (socket, data) => {
        told.push(data);
        void socket.close();
      },
    });
    clientEnd.write(build([
      { first: 0x81, payload: hex("61") },
      { first: 0x81, payload: hex("62") },
    ], true));
    await turn();
    assertEquals(told, ["a"]);
    server.destroy();
  });
});

describe("heartbeat", () => {
  test("destroys a peer that does not answer", async () => {
    const { server, told } = rude(undefined, { heartbeat: 20 });
    const info = await within(server.closed);
    assertEquals(summary(info), "cut 1006");
    assertEquals(info.error?.phase, "heartbeat");
    assert(told.includes("ping:"));
  });

  test("leaves a peer that answers alone", async () => {
    const { server, client } = both(undefined, { server: { heartbeat: 200 } });
    await new Promise((resolve) => setTimeout(resolve, 900));
    assertEquals(await within(client.ping()) >= 0, true);
    await within(server.close());
  });

  test("is not counted while this side does not read", async () => {
    const { server, client } = both(undefined, {
      server: { heartbeat: 10, highWaterMark: 100 },
    });
    void client.send("x".repeat(200));
    await new Promise((resolve) => setTimeout(resolve, 80));
    assertEquals(server.send("there"), true);
    assertEquals(await within(client.receive()), "there");
    server.destroy();
  });
});

describe("idleTimeout", () => {
  test("closes with 1001 when no message goes either way", async () => {
    const { client } = both(undefined, {
      server: { idleTimeout: 40, heartbeat: 5 },
    });
    assertEquals(summary(await within(client.closed)), "clean 1001 Idle");
  });

  test("is put off by messages", async () => {
    const { client, server } = both(undefined, {
      server: { idleTimeout: 800 },
    });
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setTimeout(resolve, 120));
      if (i % 2) client.send("x");
      else server.send("x");
    }
    assertEquals(client.send("open"), true);
    client.destroy();
  });
});

describe("WireSocket as Web Streams", () => {
  test("pipes its readable into its writable", async () => {
    const { client } = both((socket) =>
      socket.readable.pipeTo(socket.writable).catch(() => {})
    );
    await client.send("a");
    await client.send("b");
    assertEquals(await within(client.receive()), "a");
    assertEquals(await within(client.receive()), "b");
    await within(client.close());
  });
});
