import { describe, test } from "node:test";
import * as net from "node:net";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { needs, until, within } from "./_support.ts";
import { collect, peerProcess, settle, utf8 } from "./_tcp_support.ts";
import {
  ClosedError,
  connect,
  serve,
  SizeLimitError,
  TimeoutError,
} from "../tcp/mod.ts";
import type {
  Connection,
  Server,
  TcpConnectOptions,
  TcpServeOptions,
} from "../tcp/mod.ts";

const text = (bytes?: Uint8Array) => new TextDecoder().decode(bytes);

function portOf(server: Server): number {
  const { address } = server;
  return address.transport === "unix" ? 0 : address.port;
}

/** An accepted connection that stays as long as the test, and its raw peer. */
async function accepted(
  options: Partial<TcpServeOptions> = {},
): Promise<
  { connection: Connection; peer: net.Socket; close(): Promise<void> }
> {
  let take!: (connection: Connection) => void;
  let leave!: () => void;
  const took = new Promise<Connection>((resolve) => take = resolve);
  const left = new Promise<void>((resolve) => leave = resolve);
  const server = await serve((connection) => {
    take(connection);
    return left;
  }, { hostname: "127.0.0.1", port: 0, ...options } as TcpServeOptions);
  const peer = net.connect({
    host: "127.0.0.1",
    port: portOf(server),
    allowHalfOpen: true,
  });
  peer.on("error", () => {});
  peer.pause();
  const connection = await within(took);
  await until(() => !peer.connecting, "the connection");
  return {
    connection,
    peer,
    async close() {
      leave();
      peer.destroy();
      await within(server.close({ timeout: 0 }));
    },
  };
}

/** A connection made by `connect`, and its raw peer. */
async function connected(
  options: Partial<TcpConnectOptions> = {},
): Promise<
  { connection: Connection; peer: net.Socket; close(): Promise<void> }
> {
  let take!: (peer: net.Socket) => void;
  const took = new Promise<net.Socket>((resolve) => take = resolve);
  const server = net.createServer(
    { allowHalfOpen: true, pauseOnConnect: true },
    (peer) => {
      peer.on("error", () => {});
      take(peer);
    },
  );
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve())
  );
  const { port } = server.address() as net.AddressInfo;
  const connection = await connect({ hostname: "127.0.0.1", port, ...options });
  const peer = await within(took);
  return {
    connection,
    peer,
    async close() {
      connection.destroy();
      peer.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

for (
  const [side, open] of [["serve", accepted], ["connect", connected]] as const
) {
  describe(`a connection of tcp.${side}()`, () => {
    test("`send()` takes strings, bytes, buffers and views", async () => {
      const { connection, peer, close } = await open();
      try {
        const got = collect(peer);
        assertEquals(connection.send("a🦆"), true);
        assertEquals(connection.send(utf8("b")), true);
        assertEquals(connection.send(utf8("c").buffer as ArrayBuffer), true);
        assertEquals(
          connection.send(new DataView(utf8("xdx").buffer, 1, 1)),
          true,
        );
        assertEquals(connection.send(""), true);
        assertEquals(connection.send(new Uint8Array(0)), true);
        await until(() => got.text === "a🦆bcd", "the text");
        assertEquals(connection.bytesWritten, 8);
        assertEquals(connection.buffered, 0);
      } finally {
        await close();
      }
    });

    test("`send()` rejects what is no message", async () => {
      const { connection, close } = await open();
      try {
        for (const wrong of [1, null, undefined, {}, [1], true]) {
          await assertRejects(
            async () => await connection.send(wrong as unknown as string),
            TypeError,
            "Cannot send",
          );
        }
        assertEquals(connection.bytesWritten, 0);
      } finally {
        await close();
      }
    });

    test("`send()` leaves the buffer to its sender", async () => {
      const { connection, peer, close } = await open();
      try {
        const chunks: Uint8Array[] = [];
        let bytes = 0;
        peer.on("data", (chunk: Uint8Array) => {
          chunks.push(chunk);
          bytes += chunk.byteLength;
        });
        const sizes = [1, 100, 5000, 20_000, 70_000, 200_000, 3, 40_000];
        const buffer = new Uint8Array(200_000);
        let total = 0;
        for (let round = 0; round < 100; round++) {
          const size = sizes[round % sizes.length];
          buffer.fill(round + 1, 0, size);
          // The peer is slow for a while, so that the kernel has no room.
          if (round === 70) peer.resume();
          const sent = connection.send(buffer.subarray(0, size));
          if (sent instanceof Promise && round < 70) peer.resume();
          assertEquals(await within(Promise.resolve(sent)), true);
          buffer.fill(0);
          total += size;
        }
        await until(() => bytes === total, "the bytes");
        let at = 0;
        const all = new Uint8Array(total);
        for (const chunk of chunks) {
          all.set(chunk, at);
          at += chunk.byteLength;
        }
        at = 0;
        for (let round = 0; round < 100; round++) {
          const end = at + sizes[round % sizes.length];
          for (; at < end; at++) {
            if (all[at] !== round + 1) throw new Error(`Byte ${at} is wrong`);
          }
        }
      } finally {
        await close();
      }
    });

    test("`send()` in one turn goes down together, in order", async () => {
      const { connection, peer, close } = await open();
      try {
        const chunks: string[] = [];
        peer.on("data", (chunk: Uint8Array) => chunks.push(text(chunk)));
        peer.resume();
        for (let i = 0; i < 100; i++) connection.send(`${i},`);
        const all = Array.from({ length: 100 }, (_, i) => `${i},`).join("");
        await until(() => chunks.join("") === all, "the text");
        assert(chunks.length < 5, `${chunks.length} chunks`);
      } finally {
        await close();
      }
    });

    test("`send()` beyond the mark in one turn still goes on", async () => {
      const { connection, peer, close } = await open();
      try {
        const got = collect(peer);
        const sent: unknown[] = [];
        for (let i = 0; i < 200; i++) {
          sent.push(connection.send(new Uint8Array(1000)));
        }
        await within(Promise.all(sent));
        await until(() => got.bytes === 200_000, "the bytes");
      } finally {
        await close();
      }
    });

    test("`send()` waits while the peer does not read", async () => {
      const { connection, peer, close } = await open();
      try {
        const chunk = new Uint8Array(8192);
        let sent = 0;
        let wait: boolean | Promise<boolean> = true;
        while (true) {
          wait = connection.send(chunk);
          sent += chunk.byteLength;
          if (wait === true) {
            await settle(0);
            assert(sent < 64 << 20, "no backpressure");
            continue;
          }
          assertInstanceOf(wait, Promise);
          // It may be the moment's: only a full kernel makes it last.
          const done = await Promise.race([wait, settle(300).then(() => "no")]);
          if (done === "no") break;
        }
        assert(connection.buffered >= 65_536);
        assert(connection.buffered < 65_536 + 3 * 8192);
        const got = collect(peer);
        assertEquals(await within(Promise.resolve(wait)), true);
        await until(() => got.bytes === sent, "the bytes");
        await until(() => connection.buffered === 0, "an empty buffer");
      } finally {
        await close();
      }
    });

    test("`send()` that was given up is never sent", async () => {
      const { connection, peer, close } = await open();
      try {
        // Full: what the kernel takes, and the mark.
        const block = new Uint8Array(12 << 20);
        const first = connection.send(block);
        connection.send("x".repeat(65_536));
        const late = connection.send("late", { timeout: 20 });
        const after = connection.send("after");
        await assertRejects(() => Promise.resolve(late), TimeoutError);
        const controller = new AbortController();
        const aborted = connection.send("aborted", {
          signal: controller.signal,
        });
        controller.abort(new Error("mine"));
        await assertRejects(() => Promise.resolve(aborted), Error, "mine");
        const got = { text: "", bytes: 0 };
        peer.on("data", (chunk: Uint8Array) => {
          got.bytes += chunk.byteLength;
          got.text = (got.text + text(chunk)).slice(-20);
        });
        peer.resume();
        assertEquals(await within(Promise.resolve(first)), true);
        assertEquals(await within(Promise.resolve(after)), true);
        await until(() => got.text.endsWith("after"), "the last");
        assert(got.text.endsWith("xafter"), got.text);
        await assertRejects(
          () => Promise.resolve(connection.send("x", { timeout: -1 })),
          RangeError,
        );
        await assertRejects(
          () =>
            Promise.resolve(
              connection.send("x", { signal: controller.signal }),
            ),
          Error,
          "mine",
        );
      } finally {
        await close();
      }
    });

    test("a sender that ignores `send` is stopped at `maxBuffered`", async () => {
      const { connection, peer, close } = await open({ maxBuffered: 1 << 20 });
      try {
        const sent: (boolean | Promise<boolean>)[] = [];
        const chunk = new Uint8Array(65_536);
        let refused = 0;
        for (let i = 0; i < 400; i++) {
          const result = connection.send(chunk);
          sent.push(result);
          if (result === false) refused++;
          assert(connection.buffered <= (1 << 20) + 2 * 65_536);
        }
        assert(refused > 0);
        const { clean, error } = await within(connection.closed);
        assert(!clean);
        assertInstanceOf(error, SizeLimitError);
        assertEquals([error.code, error.limit], ["ERR_SIZE_LIMIT", 1 << 20]);
        // Nothing rejects, whoever waits.
        const results = await within(Promise.all(sent));
        assertEquals(results[results.length - 1], false);
        assertEquals(connection.send("x"), false);
        assert(!peer.destroyed);
      } finally {
        await close();
      }
    });

    test("a sender that waits may send more than `maxBuffered`", async () => {
      const { connection, peer, close } = await open({ maxBuffered: 1 << 20 });
      try {
        const got = collect(peer);
        const chunk = new Uint8Array(5 << 20);
        for (let i = 0; i < 3; i++) {
          assertEquals(
            await within(Promise.resolve(connection.send(chunk))),
            true,
          );
        }
        await connection.closeWrite();
        await until(() => got.ended, "the end");
        assertEquals(got.bytes, 15 << 20);
      } finally {
        await close();
      }
    });

    test("`receive()` stops the peer, and gives all in order", async () => {
      const { connection, peer, close } = await open();
      try {
        const total = 24 << 20;
        let written = false;
        const block = new Uint8Array(total);
        for (let i = 0; i < total; i += 4096) block[i] = i >> 12;
        peer.end(block, () => written = true);
        await settle(200);
        assert(!written, "everything was swallowed");
        const bound = 64 * 1024 + (1 << 20);
        assert(connection.bytesRead < bound, `${connection.bytesRead} read`);
        let at = 0;
        let wrong = 0;
        for await (const chunk of connection) {
          const to = at + chunk.byteLength;
          for (let i = Math.ceil(at / 4096) * 4096; i < to; i += 4096) {
            if (chunk[i - at] !== ((i >> 12) & 255)) wrong++;
          }
          at = to;
        }
        assertEquals([at, wrong], [total, 0]);
        assertEquals(connection.bytesRead, total);
      } finally {
        await close();
      }
    });

    test("`receive()` gives `undefined` at the end, again and again", async () => {
      const { connection, peer, close } = await open();
      try {
        peer.end("x");
        assertEquals(text(await connection.receive()), "x");
        assertEquals(await connection.receive(), undefined);
        assertEquals(await connection.receive(), undefined);
      } finally {
        await close();
      }
    });

    test("`receive()` given up loses nothing", async () => {
      const { connection, peer, close } = await open();
      try {
        await assertRejects(
          () => Promise.resolve(connection.receive({ timeout: 5 })),
          TimeoutError,
        );
        peer.write("x");
        assertEquals(text(await connection.receive({ timeout: 5000 })), "x");
      } finally {
        await close();
      }
    });

    test("`read()` gives exactly so many bytes", async () => {
      const { connection, peer, close } = await open();
      try {
        peer.write("abcdef");
        assertEquals(text(await connection.read(2)), "ab");
        assertEquals(text(await connection.read(0)), "");
        assertEquals(text(await connection.read(1)), "c");
        const pending = connection.read(6);
        await assertRejects(() => connection.read(1), TypeError, "pending");
        await settle(10);
        peer.write("gh");
        await settle(10);
        peer.write("ijkl");
        assertEquals(text(await within(pending)), "defghi");
        assertEquals(text(await connection.receive()), "jkl");
        peer.end("tail");
        await assertRejects(
          () => connection.read(5),
          ClosedError,
          "it ended after 4",
        ).then((error) => assertEquals(error.code, "ERR_UNEXPECTED_END"));
        // What there was can still be had.
        assertEquals(text(await connection.read(4)), "tail");
        assertEquals(await connection.read(1), undefined);
      } finally {
        await close();
      }
    });

    test("`read()` refuses a size that makes no sense", async () => {
      const { connection, close } = await open();
      try {
        for (const n of [-1, 1.5, NaN, Infinity]) {
          await assertRejects(() => connection.read(n), RangeError);
        }
        await assertRejects(() => connection.read(2 ** 32), SizeLimitError);
      } finally {
        await close();
      }
    });

    test("`read()` given up loses no bytes", async () => {
      const { connection, peer, close } = await open();
      try {
        peer.write("abc");
        await assertRejects(
          () => connection.read(6, { timeout: 30 }),
          TimeoutError,
        );
        peer.write("def");
        assertEquals(text(await within(connection.read(6))), "abcdef");
      } finally {
        await close();
      }
    });

    test("`read()` rejects with the reason when it is cut", async () => {
      const { connection, peer, close } = await open();
      try {
        const pending = connection.read(10);
        peer.write("abc");
        await until(() => connection.bytesRead === 3, "the bytes");
        peer.resetAndDestroy();
        const error = await assertRejects(() => within(pending), ClosedError);
        assertEquals(error.code, "ECONNRESET");
      } finally {
        await close();
      }
    });

    test("`read()` of large sizes in pieces", async () => {
      const { connection, peer, close } = await open();
      try {
        const block = new Uint8Array(3_000_000).map((_, i) => i % 251);
        peer.end(block);
        let at = 0;
        for (const n of [1, 999_999, 1_500_000, 500_000]) {
          const bytes = (await within(connection.read(n)))!;
          assertEquals(bytes.byteLength, n);
          for (const i of [0, n >> 1, n - 1]) {
            assertEquals(bytes[i], (at + i) % 251);
          }
          at += n;
        }
        assertEquals(await connection.read(1), undefined);
      } finally {
        await close();
      }
    });

    test("`closeWrite()` sends all, then FIN, and reading goes on", async () => {
      const { connection, peer, close } = await open();
      try {
        const got = collect(peer);
        peer.pause();
        const total = 12 << 20;
        const sent = connection.send(new Uint8Array(total));
        const closing = connection.closeWrite();
        assertEquals(connection.send("more"), false);
        await settle(30);
        peer.resume();
        await within(closing);
        assertEquals(await sent, true);
        await until(() => got.ended, "the FIN");
        assertEquals(got.bytes, total);
        assertEquals(connection.buffered, 0);
        peer.end("answer");
        assertEquals(text(await within(connection.read(6))), "answer");
        assertEquals(await within(connection.closed), { clean: true });
        await connection.closeWrite();
      } finally {
        await close();
      }
    });

    test("`closeWrite()` lets those go first who wait to send", async () => {
      const { connection, peer, close } = await open();
      try {
        const total = 12 << 20;
        connection.send(new Uint8Array(total));
        const rest = connection.send(new Uint8Array(70_000));
        const waiting = connection.send("waited");
        const closing = connection.closeWrite();
        const got = collect(peer);
        assertEquals(await within(Promise.resolve(rest)), true);
        assertEquals(await within(Promise.resolve(waiting)), true);
        await within(closing);
        await until(() => got.ended, "the FIN");
        assertEquals(got.bytes, total + 70_006);
      } finally {
        await close();
      }
    });

    test("`close()` flushes and waits for the peer's FIN", async () => {
      const { connection, peer, close } = await open();
      try {
        const got = collect(peer);
        connection.send("bye");
        let over = false;
        const closing = connection.close().then(() => over = true);
        await until(() => got.ended, "the FIN");
        assertEquals(got.text, "bye");
        await settle(20);
        assert(!over, "closed without the peer");
        peer.end("and this");
        await within(closing);
        assertEquals(await connection.closed, { clean: true });
        assertEquals(connection.send("x"), false);
        await connection.close();
      } finally {
        await close();
      }
    });

    test("`close()` gives a peer up that does not finish", async () => {
      const { connection, close } = await open();
      try {
        await within(connection.close({ timeout: 50 }));
        const { clean, error } = await connection.closed;
        assert(!clean);
        assertInstanceOf(error, TimeoutError);
        assertEquals(error.phase, "close");
      } finally {
        await close();
      }
    });

    test("`close()` of 0 ms is at once, a later one may be sooner", async () => {
      const { connection, close } = await open();
      try {
        const slow = connection.close({ timeout: Infinity });
        await settle(20);
        await within(connection.close({ timeout: 0 }));
        await within(slow);
        await assertRejects(
          () => connection.close({ timeout: -1 }),
          RangeError,
        );
      } finally {
        await close();
      }
    });

    test("`destroy()` rejects receives, and gives `false` to sends", async () => {
      const { connection, close } = await open();
      try {
        const reason = new Error("mine");
        const receiving = connection.receive();
        const large = connection.send(new Uint8Array(12 << 20));
        const waiting = connection.send(new Uint8Array(70_000));
        connection.destroy(reason);
        const error = await assertRejects(() => Promise.resolve(receiving));
        assertStrictEquals(error, reason);
        assertEquals(await large, false);
        assertEquals(await waiting, false);
        assertEquals(connection.send("x"), false);
        assertEquals(connection.buffered, 0);
        const info = await within(connection.closed);
        assertEquals(info.clean, false);
        assertEquals(info.error!.code, "ERR_CLOSED");
        assertStrictEquals(info.error!.cause, reason);
        connection.destroy();
        connection.reset();
        await connection.close();
        await connection.closeWrite();
      } finally {
        await close();
      }
    });

    test("a reset by the peer is in `closed`, and rejects", async () => {
      const { connection, peer, close } = await open();
      try {
        const receiving = Promise.resolve(connection.receive());
        peer.resetAndDestroy();
        const error = await assertRejects(() => within(receiving), ClosedError);
        assertEquals(error.code, "ECONNRESET");
        const info = await within(connection.closed);
        assertEquals([info.clean, info.error!.code], [false, "ECONNRESET"]);
        assertEquals(connection.send("x"), false);
      } finally {
        await close();
      }
    });

    test("sending to a peer that is gone never throws", async () => {
      const { connection, peer, close } = await open();
      try {
        peer.destroy();
        let last: boolean | Promise<boolean> = true;
        await until(async () => {
          last = connection.send("x".repeat(1000));
          return await last === false;
        }, "a refused send");
        const info = await within(connection.closed);
        assert(["ECONNRESET", "EPIPE"].includes(info.error!.code));
      } finally {
        await close();
      }
    });

    test("`readable` and `writable` are the same connection", async () => {
      const { connection, peer, close } = await open();
      try {
        const got = collect(peer);
        const writer = connection.writable.getWriter();
        await within(writer.write("hello "));
        await within(writer.write(utf8("streams")));
        await within(writer.close());
        await until(() => got.ended, "the FIN");
        assertEquals(got.text, "hello streams");
        peer.write("one");
        const reader = connection.readable.getReader();
        assertEquals(text((await within(reader.read())).value), "one");
        peer.end();
        assertEquals((await within(reader.read())).done, true);
        assertEquals(await within(connection.closed), { clean: true });
      } finally {
        await close();
      }
    });

    test("is disposed of asynchronously", async () => {
      const { connection, peer, close } = await open();
      try {
        collect(peer);
        peer.end();
        await within(connection[Symbol.asyncDispose]());
        assertEquals(await connection.closed, { clean: true });
      } finally {
        await close();
      }
    });
  });
}

describe("a connection and a peer in another process", () => {
  const missing = needs("node");

  test("`idleTimeout` destroys a silent one, not a busy one", async () => {
    const { connection, peer, close } = await accepted({ idleTimeout: 1000 });
    try {
      for (let i = 1; i <= 10; i++) {
        await settle(150);
        peer.write("x");
        await until(() => connection.bytesRead === i, "the byte");
      }
      const { error } = await within(connection.closed);
      assertInstanceOf(error, TimeoutError);
      assertEquals(error.phase, "idle");
    } finally {
      await close();
    }
  });

  test("`close()` lets a peer finish that has much to say", {
    skip: missing,
  }, async () => {
    const peer = await peerProcess("listen", 16 << 20);
    try {
      const connection = await connect({
        hostname: "127.0.0.1",
        port: peer.port,
      });
      await until(() => connection.bytesRead >= 65_536, "the first bytes");
      await within(connection.close());
      assertEquals(await connection.closed, { clean: true });
      assertEquals(connection.bytesRead, 16 << 20);
      assertEquals((await peer.seen).ended, true);
      // What was queued is a beginning; its end tells that it is not all.
      let received = 0;
      await assertRejects(
        async () => {
          for await (const chunk of connection) received += chunk.byteLength;
        },
        ClosedError,
        "before all was received",
      );
      assert(received > 0 && received < 16 << 20);
    } finally {
      peer.kill();
    }
  });

  test("`close()` still gives what comes to who receives it", {
    skip: missing,
  }, async () => {
    const peer = await peerProcess("listen", 16 << 20);
    try {
      const connection = await connect({
        hostname: "127.0.0.1",
        port: peer.port,
      });
      const received = (async () => {
        let bytes = 0;
        for await (const chunk of connection) bytes += chunk.byteLength;
        return bytes;
      })();
      await within(connection.close());
      assertEquals(await within(received), 16 << 20);
      assertEquals(await connection.closed, { clean: true });
    } finally {
      peer.kill();
    }
  });

  test(
    "`close()` gives a peer up that talks on",
    { skip: missing },
    async () => {
      const peer = await peerProcess("listen", 1e12);
      try {
        const connection = await connect({
          hostname: "127.0.0.1",
          port: peer.port,
        });
        await within(connection.close({ timeout: 100 }));
        const { error } = await connection.closed;
        assertInstanceOf(error, TimeoutError);
        assert((await within(peer.seen)).error !== undefined);
      } finally {
        peer.kill();
      }
    },
  );

  test(
    "much both ways at once, each to its end",
    { skip: missing },
    async () => {
      const peer = await peerProcess("listen", 32 << 20);
      try {
        const connection = await connect({
          hostname: "127.0.0.1",
          port: peer.port,
        });
        const block = new Uint8Array(100_000);
        const sending = (async () => {
          for (let i = 0; i < 320; i++) {
            assertEquals(await connection.send(block), true);
          }
          await connection.closeWrite();
        })();
        let bytes = 0;
        for await (const chunk of connection) bytes += chunk.byteLength;
        await within(sending);
        assertEquals(bytes, 32 << 20);
        assertEquals(await within(connection.closed), { clean: true });
        assertEquals(await within(peer.seen), {
          read: 32_000_000,
          written: 32 << 20,
          ended: true,
        });
      } finally {
        peer.kill();
      }
    },
  );
});
