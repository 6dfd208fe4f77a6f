import { describe, test } from "node:test";
import * as nodeNet from "node:net";
import * as nodeTls from "node:tls";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { collect } from "./_tcp_support.ts";
import { ca, echo, pair, text } from "./_tls_support.ts";
import {
  ClosedError,
  connect,
  NetError,
  serve,
  TimeoutError,
  TlsError,
} from "../tcp/mod.ts";
import type {
  Connection,
  Server,
  StartTlsOptions,
  TcpServeOptions,
} from "../tcp/mod.ts";

const own = { ...pair("server"), server: true as const };

interface Rig {
  readonly server: Server;
  readonly port: number;
  readonly told: unknown[];
  /** The server's first ends. */
  readonly ends: Connection[];
  connect(): Promise<Connection>;
  close(): Promise<void>;
}

async function rig(
  handler: (connection: Connection) => unknown,
  options: Partial<TcpServeOptions> = {},
): Promise<Rig> {
  const told: unknown[] = [];
  const ends: Connection[] = [];
  const server = await serve((connection) => {
    ends.push(connection);
    return handler(connection);
  }, {
    hostname: "127.0.0.1",
    port: 0,
    onError: (error) => told.push(error),
    ...options,
  });
  const { port } = server.address as { port: number };
  return {
    server,
    port,
    told,
    ends,
    connect: () => within(connect({ hostname: "localhost", port })),
    close: () => within(server.close({ timeout: 0 })),
  };
}

/** A server's part: three bytes in plain text each way, then TLS, then echo. */
async function serveStart(
  connection: Connection,
  options: StartTlsOptions = own,
): Promise<void> {
  assertEquals(text(await connection.read(3)), "go?");
  connection.send("go!");
  await echo(await connection.startTls(options));
}

/** The client's part of the same. */
async function start(
  connection: Connection,
  options: StartTlsOptions = { ca },
): Promise<Connection> {
  await connection.send("go?");
  assertEquals(text(await within(connection.read(3))), "go!");
  return await within(connection.startTls(options));
}

async function pong(connection: Connection, word = "hello"): Promise<void> {
  await connection.send(word);
  assertEquals(text(await within(connection.read(word.length))), word);
}

describe("Connection.startTls()", () => {
  test("secures both sides in mid-stream", async () => {
    const kit = await rig((c) =>
      serveStart(c, { ...own, alpn: ["x"], sni: { "b.test": pair("second") } })
    );
    try {
      const plain = await kit.connect();
      assertEquals(plain.tls, undefined);
      const secure = await start(plain, { ca, alpn: ["x"] });
      assert(secure !== plain);
      assertEquals(secure.tls!.protocol, "TLSv1.3");
      assertEquals(secure.tls!.authorized, true);
      assertEquals(secure.tls!.alpn, "x");
      // The name that was connected to.
      assertEquals(secure.tls!.serverName, "localhost");
      assertEquals(secure.remoteAddress, plain.remoteAddress);
      assertEquals(secure.localAddress, plain.localAddress);
      await pong(secure);
      const big = new Uint8Array(300_000).fill(7);
      const sent = secure.send(big);
      assertEquals(await within(secure.read(300_000)), big);
      assertEquals(await sent, true);
      await within(secure.close());
      assertEquals(await within(secure.closed), { clean: true });
      assertEquals(await within(plain.closed), { clean: true });
      assertEquals(await within(kit.ends[0].closed), { clean: true });
      const named = await start(await kit.connect(), {
        insecure: true,
        serverName: "b.test",
      });
      assertEquals(
        named.tls!.peerCertificate!.subject,
        "O=Sluice tests, CN=second",
      );
      await pong(named);
      named.destroy();
      assertEquals(kit.told, []);
    } finally {
      await kit.close();
    }
  });

  test("talks with node:tls on either side", async () => {
    const kit = await rig((c) => serveStart(c));
    const raw = nodeNet.createServer((socket) => {
      socket.once("data", () => {
        socket.write("go!", () => {
          const secure = new nodeTls.TLSSocket(socket, {
            isServer: true,
            secureContext: nodeTls.createSecureContext(pair("server")),
          });
          secure.on("error", () => {});
          secure.pipe(secure);
        });
      });
      socket.on("error", () => {});
    });
    try {
      const socket = nodeNet.connect(kit.port, "127.0.0.1");
      socket.write("go?");
      await within(new Promise((done) => socket.once("data", done)));
      const secure = nodeTls.connect({ socket, ca, servername: "localhost" });
      const seen = collect(secure);
      secure.write("hello");
      await until(() => seen.text === "hello", "the echo");
      secure.destroy();
      await new Promise<void>((done) => raw.listen(0, "127.0.0.1", done));
      const { port } = raw.address() as nodeNet.AddressInfo;
      const client = await start(
        await connect({ hostname: "localhost", port }),
      );
      await pong(client);
      client.destroy();
    } finally {
      raw.close();
      await kit.close();
    }
  });

  test("leaves the old connection spent, with clear errors", async () => {
    const kit = await rig((c) => serveStart(c));
    try {
      const plain = await kit.connect();
      const secure = await start(plain);
      const calls: (() => unknown)[] = [
        () => plain.send("x"),
        () => plain.send(new Uint8Array(100_000)),
        () => plain.receive(),
        () => plain.read(1),
        () => plain.closeWrite(),
        () => plain.startTls({ ca }),
        () => plain[Symbol.asyncIterator]().next(),
      ];
      for (const call of calls) {
        const error = await assertRejects(
          async () => await call(),
          ClosedError,
          "startTls()",
        );
        assertEquals(error.code, "ERR_DETACHED");
      }
      await pong(secure);
      // Its end is the new one's, from either.
      await within(plain.close());
      assertEquals(await within(secure.closed), { clean: true });
      const again = await kit.connect();
      const other = await start(again);
      again.destroy(new Error("enough"));
      assertEquals((await within(other.closed)).clean, false);
      assertEquals((await within(again.closed)).clean, false);
      const third = await kit.connect();
      const last = await start(third);
      third.reset();
      assertEquals((await within(last.closed)).error!.code, "ECONNRESET");
    } finally {
      await kit.close();
    }
  });

  test("counts on, for the connection and its server", async () => {
    const kit = await rig((c) => serveStart(c));
    try {
      const plain = await kit.connect();
      const secure = await start(plain);
      await pong(secure);
      for (const one of [plain, secure, kit.ends[0]]) {
        assertEquals([one.bytesRead, one.bytesWritten], [8, 8]);
      }
      assertEquals(kit.server.stats(), {
        connections: 1,
        accepted: 1,
        refused: 0,
        bytesRead: 8,
        bytesWritten: 8,
      });
      secure.destroy();
      await until(() => kit.server.stats().connections === 0, "its end");
      const { bytesRead, bytesWritten } = kit.server.stats();
      assertEquals([bytesRead, bytesWritten], [8, 8]);
    } finally {
      await kit.close();
    }
  });

  test("the handler's end closes the new connection", async () => {
    const kit = await rig(async (connection) => {
      const secure = await connection.startTls(own);
      await secure.send("bye");
    });
    try {
      const secure = await within((await kit.connect()).startTls({ ca }));
      assertEquals(text(await within(secure.read(3))), "bye");
      assertEquals(await within(Promise.resolve(secure.receive())), undefined);
      await within(secure.close());
      await until(() => kit.server.stats().connections === 0, "its end");
    } finally {
      await kit.close();
    }
    const failing = await rig(async (connection) => {
      await connection.startTls(own);
      throw new Error("a handler's own");
    });
    try {
      const secure = await within((await failing.connect()).startTls({ ca }));
      await until(() => failing.told.length === 1, "the error");
      assertEquals((failing.told[0] as Error).message, "a handler's own");
      await until(() => failing.server.stats().connections === 0, "its end");
      secure.destroy();
    } finally {
      await failing.close();
    }
  });

  test("`server.close()` destroys the new connection in time", async () => {
    const kit = await rig((c) => serveStart(c));
    const secure = await start(await kit.connect());
    await pong(secure);
    await within(kit.server.close({ timeout: 10 }));
    await until(() => kit.server.stats().connections === 0, "its end");
    secure.destroy();
  });

  test("`idleTimeout` goes on", async () => {
    const kit = await rig((c) => serveStart(c), { idleTimeout: 150 });
    try {
      const secure = await start(await kit.connect());
      await pong(secure);
      const { error } = await within(kit.ends[0].closed);
      assertInstanceOf(error, TimeoutError);
      assertEquals(error.phase, "idle");
      secure.destroy();
    } finally {
      await kit.close();
    }
  });

  test("what was sent before goes first, in plain text, in order", async () => {
    const size = 2_000_000;
    const kit = await rig(async (connection) => {
      let bytes = 0;
      while (bytes < size) bytes += (await connection.read(50_000))!.length;
      await echo(await connection.startTls(own));
    });
    try {
      const plain = await kit.connect();
      for (let n = 0; n < 40; n++) plain.send(new Uint8Array(50_000));
      const starting = plain.startTls({ ca });
      await assertRejects(async () => await plain.send("late"), ClosedError);
      const secure = await within(starting);
      await pong(secure);
      assertEquals(kit.ends[0].bytesRead, size + 5);
      secure.destroy();
    } finally {
      await kit.close();
    }
  });

  test("a handshake that has come already is taken up", async () => {
    for (const sni of [undefined, () => pair("second")]) {
      let begin = () => {};
      const may = new Promise<void>((resolve) => begin = resolve);
      const kit = await rig(async (connection) => {
        await may;
        await echo(await connection.startTls({ ...own, sni }));
      });
      try {
        const plain = await kit.connect();
        const starting = plain.startTls({ ca });
        // The hello waits in the server's inbox.
        await until(() => kit.ends[0]?.bytesRead > 100, "the hello");
        begin();
        const secure = await within(starting);
        await pong(secure);
        assertEquals(kit.ends[0].bytesRead, 5);
        assertEquals(
          secure.tls!.peerCertificate!.subject.includes("second"),
          sni !== undefined,
        );
        secure.destroy();
      } finally {
        await kit.close();
      }
    }
  });

  test("plain text put before a handshake is refused, on a server", async () => {
    let failed: unknown;
    let handled = false;
    const kit = await rig(async (connection) => {
      await connection.read(4);
      await until(() => connection.bytesRead === 15, "what was injected");
      try {
        await connection.startTls(own);
        handled = true;
      } catch (error) {
        failed = error;
        throw error;
      }
    });
    try {
      const socket = nodeNet.connect(kit.port, "127.0.0.1");
      const seen = collect(socket);
      socket.write("TLS\nRCPT TO:<a>");
      await until(() => failed !== undefined, "the refusal");
      assertInstanceOf(failed, TlsError);
      assertEquals(failed.code, "ERR_TLS_NOT_TLS");
      assertEquals(failed.phase, "tls");
      assertStrictEquals((await within(kit.ends[0].closed)).error, failed);
      assertEquals(handled, false);
      await until(() => seen.closed, "the peer's end");
      // It broke under its handler, and the handler knows.
      assertEquals(kit.told, []);
    } finally {
      await kit.close();
    }
  });

  test("plain text put before a handshake is refused, on a client", async () => {
    const kit = await rig(async (connection) => {
      await connection.send("go!250 AUTH PLAIN");
      await connection.closed;
    });
    try {
      const plain = await kit.connect();
      await within(plain.read(3));
      const error = await assertRejects(
        () => within(plain.startTls({ ca })),
        TlsError,
        "14 bytes",
      );
      assertEquals(error.code, "ERR_TLS_NOT_TLS");
      assertStrictEquals((await within(plain.closed)).error, error);
    } finally {
      await kit.close();
    }
  });

  test("plain text that comes within the handshake fails it", async () => {
    const kit = await rig(async (connection) => {
      await connection.read(1);
      await connection.send("this is no TLS at all, nor will it be");
      await connection.closed;
    });
    const server = await rig(async (connection) => {
      await connection.startTls(own).catch((error) => told.push(error));
    });
    const told: TlsError[] = [];
    try {
      const plain = await kit.connect();
      const error = await assertRejects(
        () => within(plain.startTls({ ca })),
        TlsError,
      );
      assertEquals(error.code, "ERR_TLS_NOT_TLS");
      assertStrictEquals((await within(plain.closed)).error, error);
      const socket = nodeNet.connect(server.port, "127.0.0.1");
      socket.on("error", () => {});
      await until(() => server.ends.length === 1, "the connection");
      socket.write("EHLO somebody.test\r\nand so on\r\n");
      await until(() => told.length === 1, "the server's error");
      assertEquals(told[0].code, "ERR_TLS_NOT_TLS");
      socket.destroy();
    } finally {
      await kit.close();
      await server.close();
    }
  });

  test("a failed handshake ends both sides", async () => {
    const kit = await rig((c) => serveStart(c));
    try {
      const plain = await kit.connect();
      const error = await assertRejects(() => start(plain, {}), TlsError);
      assertEquals(error.code, "ERR_TLS_UNKNOWN_CA");
      assertStrictEquals((await within(plain.closed)).error, error);
      assertEquals(await plain.send("x"), false);
      await within(plain.close());
      await until(() => kit.server.stats().connections === 0, "the server's");
      const wrong = await kit.connect();
      const other = await assertRejects(
        () => start(wrong, { ca, serverName: "elsewhere.test" }),
        TlsError,
      );
      assertEquals(other.code, "ERR_TLS_WRONG_HOST");
    } finally {
      await kit.close();
    }
  });

  test("a peer that leaves within the handshake is told of", async () => {
    for (const how of ["destroy", "closeWrite"] as const) {
      const kit = await rig((c) => c.startTls(own));
      try {
        const plain = await kit.connect();
        await until(() => kit.ends.length === 1, "the server's end");
        await plain[how]();
        const { clean, error } = await within(kit.ends[0].closed);
        assertEquals(clean, false);
        assertInstanceOf(error, NetError);
        plain.destroy();
      } finally {
        await kit.close();
      }
    }
  });

  test("`destroy()` and `close()` end a handshake under way", async () => {
    const kit = await rig((c) => c.closed);
    try {
      const plain = await kit.connect();
      const reason = new NetError("Enough", { code: "ERR_ENOUGH" });
      const starting = plain.startTls({ ca });
      await until(() => kit.ends[0]?.bytesRead > 100, "the hello");
      plain.destroy(reason);
      assertStrictEquals(await assertRejects(() => starting), reason);
      assertStrictEquals((await within(plain.closed)).error, reason);
      const other = await kit.connect();
      const again = other.startTls({ ca });
      const failed = assertRejects(() => within(again), TimeoutError);
      await until(() => kit.ends[1]?.bytesRead > 100, "the hello");
      await within(other.close({ timeout: 20 }));
      assertEquals((await failed).phase, "close");
      const early = await kit.connect();
      const third = early.startTls({ ca });
      early.destroy();
      await assertRejects(() => within(third), ClosedError);
      await within(early.closed);
    } finally {
      await kit.close();
    }
  });

  test("is refused, and nothing lost, where it makes no sense", async () => {
    const kit = await rig(echo);
    try {
      const plain = await kit.connect();
      const bad: unknown[] = [
        undefined,
        true,
        null,
        { server: false },
        { server: true },
        { server: true, cert: "x", key: "y" },
        { ...own, server: "yes" },
        { ...own, clientAuth: "require" },
        { ca: 7 },
        { serverName: "" },
        { nonsense: 1 },
      ];
      for (const options of bad) {
        await assertRejects(
          () => within(plain.startTls(options as StartTlsOptions)),
          TypeError,
          "Cannot start TLS",
        );
      }
      const error = await assertRejects(
        () => plain.startTls({ ...own, key: pair("second").key }),
        TlsError,
      );
      assertEquals(error.code, "ERR_TLS_CERTIFICATE");
      const waiting = plain.receive();
      await assertRejects(() => plain.startTls({ ca }), TypeError, "receive");
      await plain.send("x");
      assertEquals(text(await waiting), "x");
      await pong(plain);
      await plain.closeWrite();
      await assertRejects(() => plain.startTls({ ca }), ClosedError);
      plain.destroy();
      await assertRejects(() => plain.startTls({ ca }), ClosedError);
    } finally {
      await kit.close();
    }
  });

  test("client certificates, and TLS within TLS", async () => {
    const kit = await rig((c) =>
      serveStart(c, { ...own, ca, clientAuth: "require" })
    );
    try {
      const secure = await start(await kit.connect(), {
        ca,
        ...pair("client"),
      });
      await pong(secure);
      secure.destroy();
    } finally {
      await kit.close();
    }
    const twice = await rig((c) => serveStart(c), { tls: pair("server") });
    try {
      const outer = await within(
        connect({ hostname: "localhost", port: twice.port, tls: { ca } }),
      );
      const inner = await start(outer);
      await pong(inner);
      assertEquals(inner.tls!.authorized, true);
      await within(inner.close());
      assertEquals(await within(outer.closed), { clean: true });
    } finally {
      await twice.close();
    }
  });

  test("a slow reader stops the sender", async () => {
    let sent = 0;
    const kit = await rig(async (connection) => {
      const secure = await connection.startTls(own);
      const block = new Uint8Array(65_536);
      for (let n = 0; n < 640; n++) {
        if (!await secure.send(block)) return;
        sent += block.length;
      }
    });
    try {
      const secure = await within((await kit.connect()).startTls({ ca }));
      let before = -1;
      await until(async () => {
        if (sent > 0 && sent === before) return true;
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return false;
      }, "a standstill");
      assert(sent < 30_000_000, `${sent} bytes were sent`);
      let bytes = 0;
      await within(
        (async () => {
          for await (const chunk of secure) bytes += chunk.length;
        })(),
        20_000,
      );
      assertEquals(bytes, 640 * 65_536);
      await within(secure.close());
    } finally {
      await kit.close();
    }
  });
});
