import { describe, test } from "node:test";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import * as net from "node:net";
import process from "node:process";
import * as nodeTls from "node:tls";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { needs, tool, until, within } from "./_support.ts";
import { collect, settle } from "./_tcp_support.ts";
import { ca, echo, pair, pathOf, pem, text, tlsRig } from "./_tls_support.ts";
import { connect, serve, TimeoutError, TlsError } from "../tcp/mod.ts";
import type { TlsClientOptions, TlsServerOptions } from "../tcp/mod.ts";
import { dial } from "../tcp/_dial.ts";
import { loadRuntime } from "../tcp/_load.ts";
import { TlsAcceptor } from "../tcp/_node_tls.ts";

/** How many encrypted records there are (RFC 8446, 5.1). */
function encrypted(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at + 5 <= bytes.length;) {
    if (bytes[at] === 23) count++;
    at += 5 + (bytes[at + 3] << 8 | bytes[at + 4]);
  }
  return count;
}

describe("TLS", () => {
  test("both ends say what was agreed on", async () => {
    const kit = await tlsRig({ alpn: ["one", "two"] });
    try {
      const connection = await kit.connect({ ca, alpn: ["two", "three"] });
      await connection.send("hello");
      assertEquals(text(await within(connection.read(5))), "hello");
      const { peerCertificate, ...rest } = connection.tls!;
      assertEquals(rest, {
        protocol: "TLSv1.3",
        authorized: true,
        alpn: "two",
        serverName: "localhost",
      });
      assertEquals(peerCertificate!.subject, "O=Sluice tests, CN=localhost");
      const [, base64] = pair("server").cert.split(/-----[^-]+-----/);
      assertEquals(
        btoa(String.fromCharCode(...peerCertificate!.raw)),
        base64.replace(/\s/g, ""),
      );
      assertEquals(kit.ends[0].tls, {
        protocol: "TLSv1.3",
        authorized: false,
        alpn: "two",
        serverName: "localhost",
      });
      assertEquals(connection.remoteAddress, kit.server.address);
      assertEquals(kit.ends[0].remoteAddress, connection.localAddress);
      await within(connection.close());
      assertEquals(await connection.closed, { clean: true });
      assertEquals(await within(kit.ends[0].closed), { clean: true });
      assertEquals(kit.told, []);
    } finally {
      await kit.close();
    }
  });

  test("a plain connection has no `tls`", async () => {
    const server = await serve(echo, { hostname: "127.0.0.1", port: 0 });
    const connection = await connect({
      ...server.address as { hostname: string; port: number },
      tls: false,
    });
    assertEquals(connection.tls, undefined);
    connection.destroy();
    await within(server.close({ timeout: 0 }));
  });

  test("a host's address is checked as well as its name", async () => {
    const kit = await tlsRig();
    try {
      const connection = await kit.connect({ ca }, "127.0.0.1");
      assertEquals(connection.tls!.serverName, undefined);
      assertEquals(connection.tls!.authorized, true);
      connection.destroy();
      const named = await kit.connect({ ca, serverName: "a.sluice.test" });
      await named.send("x");
      await within(named.read(1));
      assertEquals(kit.ends.pop()!.tls!.serverName, "a.sluice.test");
      named.destroy();
    } finally {
      await kit.close();
    }
    const other = await tlsRig({}, { hostname: "127.0.0.2" });
    try {
      const error = await assertRejects(
        () => other.connect({ ca }, "127.0.0.2"),
        TlsError,
      );
      assertEquals(error.code, "ERR_TLS_WRONG_HOST");
    } finally {
      await other.close();
    }
  });

  const refused: [
    string,
    Partial<TlsServerOptions>,
    true | TlsClientOptions,
    string,
    string,
  ][] = [
    ["an authority that is not trusted", {}, true, "ERR_TLS_UNKNOWN_CA", "any"],
    [
      "another authority than the one given",
      {},
      { ca: pem("stranger-ca.pem") },
      "ERR_TLS_UNKNOWN_CA",
      "any",
    ],
    [
      "a certificate that has expired",
      pair("expired"),
      { ca },
      "ERR_TLS_EXPIRED",
      "any",
    ],
    [
      "the certificate of another host",
      pair("other-host"),
      { ca },
      "ERR_TLS_WRONG_HOST",
      "any",
    ],
    [
      "another `serverName`",
      {},
      { ca, serverName: "elsewhere.test" },
      "ERR_TLS_WRONG_HOST",
      "any",
    ],
    [
      "no protocol in common",
      { alpn: ["one", "two"] },
      { ca, alpn: ["three"] },
      "ERR_TLS_ALPN",
      "ERR_TLS_ALPN",
    ],
  ];
  for (const [what, server, client, code, serverCode] of refused) {
    test(`\`connect()\` refuses ${what}`, async () => {
      const kit = await tlsRig(server);
      try {
        const error = await assertRejects(
          () => kit.connect(client),
          TlsError,
          `Cannot agree on TLS with localhost:${kit.port}`,
        );
        assertEquals([error.code, error.phase], [code, "tls"]);
        assertEquals(error.address, {
          transport: "tcp",
          hostname: "localhost",
          port: kit.port,
        });
        await until(() => kit.told.length === 1, "what the server saw");
        assertInstanceOf(kit.told[0], TlsError);
        if (serverCode !== "any") assertEquals(kit.told[0].code, serverCode);
        // No handler ran.
        assertEquals(kit.ends, []);
        assertEquals(kit.server.stats().accepted, 0);
      } finally {
        await kit.close();
      }
    });
  }

  test("`insecure` takes any certificate, and says so", async () => {
    for (const name of ["server", "expired", "other-host"]) {
      const kit = await tlsRig(pair(name));
      try {
        const connection = await kit.connect({ insecure: true });
        assertEquals(connection.tls!.authorized, false);
        await connection.send("x");
        assertEquals(text(await within(connection.read(1))), "x");
        connection.destroy();
      } finally {
        await kit.close();
      }
    }
  });

  test("a server that knows no ALPN is refused, unless it may", async () => {
    const kit = await tlsRig();
    try {
      const error = await assertRejects(
        () => kit.connect({ ca, alpn: ["one"] }),
        TlsError,
        "it knows none of one",
      );
      assertEquals(error.code, "ERR_TLS_ALPN");
      const transport = await within(dial({
        port: kit.port,
        tls: { ca, alpn: ["one"] },
        alpnOptional: true,
      }));
      assertEquals(transport.tls!.alpn, undefined);
      transport.destroy();
    } finally {
      await kit.close();
    }
  });

  test("a client that offers no ALPN is taken", async () => {
    const kit = await tlsRig({ alpn: ["one"] });
    try {
      const connection = await kit.connect({ ca });
      assertEquals(connection.tls!.alpn, undefined);
      connection.destroy();
    } finally {
      await kit.close();
    }
  });

  test("an end that comes with the last bytes of the handshake is told", async () => {
    const kit = await tlsRig();
    // Holds back what a client sends behind its first flight: the end of its
    // handshake, until the alert that it closes with has come, too.
    const between = net.createServer((client) => {
      let held: Uint8Array = new Uint8Array();
      let first = true;
      const server = net.connect(kit.port, "127.0.0.1");
      client.on("error", () => server.destroy());
      server.on("error", () => client.destroy());
      client.on("data", (chunk) => {
        if (first) {
          first = false;
          server.write(chunk);
          return;
        }
        held = Buffer.concat([held, chunk]);
        if (encrypted(held) === 2) server.write(held);
      });
      server.pipe(client);
    });
    await new Promise<void>((done) => between.listen(0, "127.0.0.1", done));
    const { port } = between.address() as net.AddressInfo;
    try {
      for (let i = 1; i <= 3; i++) {
        const connection = await within(
          connect({ hostname: "localhost", port, tls: { ca } }),
        );
        void connection.close();
        await until(() => kit.ends.length === i, "the server's end");
        assertEquals(await within(kit.ends[i - 1].closed), { clean: true });
        assertEquals(await within(connection.closed), { clean: true });
      }
      assertEquals(kit.told, []);
    } finally {
      await kit.close();
      await new Promise((done) => between.close(done));
    }
  });

  test("`clientAuth` lets in who shows a good certificate", async () => {
    const kit = await tlsRig({ clientAuth: "require", ca });
    try {
      const connection = await kit.connect({ ca, ...pair("client") });
      await connection.send("x");
      assertEquals(text(await within(connection.read(1))), "x");
      const { authorized, peerCertificate } = kit.ends[0].tls!;
      assertEquals(authorized, true);
      assertEquals(peerCertificate!.subject, "O=Sluice tests, CN=client");
      assert(peerCertificate!.raw.byteLength > 300);
      connection.destroy();
    } finally {
      await kit.close();
    }
  });

  test("`clientAuth` keeps the others out", async () => {
    const kit = await tlsRig({ clientAuth: "require", ca });
    try {
      for (const shown of [{}, pair("stranger")]) {
        // In TLS 1.3 the client is done before the server has decided.
        try {
          const connection = await kit.connect({ ca, ...shown });
          await connection.send("x");
          await assertRejects(async () => {
            if (
              await within(Promise.resolve(connection.receive())) === undefined
            ) {
              throw new Error("ended");
            }
          });
          connection.destroy();
        } catch (error) {
          assertInstanceOf(error, TlsError);
        }
      }
      await until(() => kit.told.length === 2, "what the server saw");
      assertEquals(kit.told[0].code, "ERR_TLS_CLIENT_CERTIFICATE");
      assertInstanceOf(kit.told[1], TlsError);
      assertEquals(kit.ends, []);
    } finally {
      await kit.close();
    }
  });

  test("`clientAuth: request` tells who it is, and lets all in", async () => {
    const kit = await tlsRig({ clientAuth: "request", ca });
    try {
      const seen: unknown[] = [];
      for (const shown of [{}, pair("stranger"), pair("client")]) {
        const connection = await kit.connect({ ca, ...shown });
        await connection.send("x");
        await within(connection.read(1));
        const { authorized, peerCertificate } = kit.ends.pop()!.tls!;
        seen.push([authorized, peerCertificate?.subject]);
        connection.destroy();
      }
      assertEquals(seen, [
        [false, undefined],
        [false, "O=Sluice tests, CN=stranger"],
        [true, "O=Sluice tests, CN=client"],
      ]);
    } finally {
      await kit.close();
    }
  });

  test("`updateTls()` swaps certificates; what stands goes on", async () => {
    const kit = await tlsRig();
    try {
      const first = await kit.connect({ ca });
      kit.server.updateTls(pair("second"));
      const second = await kit.connect({ ca });
      assertEquals(
        [first, second].map((c) => c.tls!.peerCertificate!.subject),
        ["O=Sluice tests, CN=localhost", "O=Sluice tests, CN=second"],
      );
      for (const connection of [first, second]) {
        await connection.send("x");
        assertEquals(text(await within(connection.read(1))), "x");
        connection.destroy();
      }
      for (
        const wrong of [
          {},
          { cert: "x", key: "y" },
          { cert: pair("server").cert, key: pair("second").key },
        ]
      ) {
        let threw = false;
        try {
          kit.server.updateTls(wrong as TlsServerOptions);
        } catch {
          threw = true;
        }
        assert(threw, "nothing was thrown");
      }
      const third = await kit.connect({ ca });
      assertEquals(
        third.tls!.peerCertificate!.subject,
        "O=Sluice tests, CN=second",
      );
      third.destroy();
    } finally {
      await kit.close();
    }
  });

  test("`updateTls()` leaves `ca`, `clientAuth` and `alpn` when they are not given", async () => {
    const kit = await tlsRig({ ca, clientAuth: "require", alpn: ["one"] });
    try {
      kit.server.updateTls(pair("second"));
      const known = await kit.connect({
        ca,
        ...pair("client"),
        alpn: ["two", "one"],
      });
      assertEquals(known.tls!.alpn, "one");
      await known.send("x");
      assertEquals(text(await within(known.read(1))), "x");
      assertEquals(kit.ends.pop()!.tls!.authorized, true);
      known.destroy();
      for (const shown of [{}, pair("stranger")]) {
        kit.told.length = 0;
        const other = await kit.connect({ ca, ...shown }).catch(() => {});
        await until(() => kit.told.length === 1, "what the server saw");
        other?.destroy();
        assertEquals(kit.ends, []);
      }
      kit.server.updateTls({ ...pair("server"), clientAuth: "none" });
      const nobody = await kit.connect({ ca });
      await nobody.send("x");
      assertEquals(text(await within(nobody.read(1))), "x");
      nobody.destroy();
    } finally {
      await kit.close();
    }
  });

  test("a client of plain text is sent away, and it is said", async () => {
    const kit = await tlsRig();
    try {
      const peer = net.connect({ host: "127.0.0.1", port: kit.port });
      const got = collect(peer);
      peer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      await until(() => got.ended || got.closed, "the end");
      await until(() => kit.told.length === 1, "what the server saw");
      assertEquals(kit.told[0].code, "ERR_TLS_NOT_TLS");
      peer.destroy();
    } finally {
      await kit.close();
    }
  });

  test("a server of plain text is told apart", async () => {
    const server = net.createServer((peer) => {
      peer.on("error", () => {});
      peer.end("220 hello, this is no TLS\r\n");
    });
    await new Promise<void>((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve())
    );
    try {
      const { port } = server.address() as net.AddressInfo;
      const error = await assertRejects(
        () => within(connect({ hostname: "127.0.0.1", port, tls: true })),
        TlsError,
      );
      assertEquals(error.code, "ERR_TLS_NOT_TLS");
    } finally {
      server.close();
    }
  });

  test("a server that leaves within the handshake is an error", async () => {
    for (const how of ["end", "resetAndDestroy"] as const) {
      const server = net.createServer((peer) => {
        peer.on("error", () => {});
        peer.once("data", () => peer[how]());
      });
      await new Promise<void>((resolve) =>
        server.listen(0, "127.0.0.1", () => resolve())
      );
      try {
        const { port } = server.address() as net.AddressInfo;
        const error = await assertRejects(
          () => within(connect({ hostname: "127.0.0.1", port, tls: true })),
          TlsError,
        );
        assertEquals(error.code, "ECONNRESET");
      } finally {
        server.close();
      }
    }
  });

  test("a handshake that does not come to an end is given up", async () => {
    const silent: net.Socket[] = [];
    const server = net.createServer((peer) => {
      peer.on("error", () => {});
      silent.push(peer);
    });
    await new Promise<void>((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve())
    );
    const { port } = server.address() as net.AddressInfo;
    const options = { hostname: "127.0.0.1", port, tls: true } as const;
    try {
      const error = await assertRejects(
        () => within(connect({ ...options, timeout: 100 })),
        TimeoutError,
        `Cannot agree on TLS with 127.0.0.1:${port} within 100 ms`,
      );
      assertEquals(error.phase, "tls");
      const controller = new AbortController();
      const reason = new Error("mine");
      setTimeout(() => controller.abort(reason), 50);
      assertStrictEquals(
        await assertRejects(() =>
          within(connect({ ...options, signal: controller.signal }))
        ),
        reason,
      );
      await until(
        () =>
          silent.length === 2 &&
          silent.every((p) =>
            p.readableEnded || p.destroyed || (p.resume(), false)
          ),
        "the sockets' ends",
      );
    } finally {
      for (const peer of silent) peer.destroy();
      server.close();
    }
  });

  test("a client that says nothing is sent away in time", async () => {
    const { listen } = await loadRuntime();
    const acceptor = new TlsAcceptor(pair("server"));
    let failure: Promise<unknown> | undefined;
    const server = await listen({ hostname: "127.0.0.1", port: 0 }, {
      connection: (below) =>
        failure = acceptor.accept(below, { timeout: 80 }).then(
          () => "no",
          (error) => error,
        ),
      error() {},
    });
    try {
      const { address } = server;
      const peer = net.connect({
        host: "127.0.0.1",
        port: address.transport === "unix" ? 0 : address.port,
      });
      const got = collect(peer);
      await until(() => failure !== undefined, "the connection");
      const error = await within(failure!);
      assertInstanceOf(error, TimeoutError);
      assertEquals(error.phase, "tls");
      await until(() => got.ended || got.closed, "the end");
      peer.destroy();
    } finally {
      await server.close();
    }
  });

  test("`close()` does not wait for handshakes", async () => {
    const kit = await tlsRig();
    const peer = net.connect({ host: "127.0.0.1", port: kit.port });
    const got = collect(peer);
    await until(() => !peer.connecting, "the connection");
    await settle(20);
    await within(kit.server.close());
    await until(() => got.ended || got.closed, "the end");
    peer.destroy();
  });

  test("TLS 1.2 is spoken, nothing older", async () => {
    const kit = await tlsRig();
    try {
      const open = (version: nodeTls.SecureVersion) =>
        new Promise<string>((resolve) => {
          const peer = nodeTls.connect({
            host: "127.0.0.1",
            port: kit.port,
            servername: "localhost",
            ca,
            minVersion: version,
            maxVersion: version,
          }, () => {
            resolve(peer.getProtocol()!);
            peer.destroy();
          });
          peer.on("error", () => resolve("refused"));
        });
      assertEquals(await within(open("TLSv1.2")), "TLSv1.2");
      assertEquals(await within(open("TLSv1.1")), "refused");
    } finally {
      await kit.close();
    }
  });

  test("half-close works both ways", async () => {
    const kit = await tlsRig({}, {}, async (connection) => {
      let all = "";
      for await (const chunk of connection) all += text(chunk);
      await connection.send(`${all}, answered`);
    });
    try {
      const connection = await kit.connect({ ca });
      await connection.send("question");
      await within(connection.closeWrite());
      assertEquals(
        text(await within(connection.read(18))),
        "question, answered",
      );
      assertEquals(
        await within(Promise.resolve(connection.receive())),
        undefined,
      );
      assertEquals(await within(connection.closed), { clean: true });
      assertEquals(await within(kit.ends[0].closed), { clean: true });
    } finally {
      await kit.close();
    }
  });

  test("much both ways arrives whole", async () => {
    const kit = await tlsRig();
    try {
      const connection = await kit.connect({ ca });
      const total = 24 << 20;
      const sending = (async () => {
        const block = new Uint8Array(100_000);
        for (let at = 0; at < total; at += block.length) {
          for (let i = 0; i < block.length; i += 1000) {
            block[i] = ((at + i) / 1000) & 255;
          }
          const size = Math.min(block.length, total - at);
          assertEquals(await connection.send(block.subarray(0, size)), true);
        }
        await connection.closeWrite();
      })();
      let at = 0;
      let wrong = 0;
      for await (const chunk of connection) {
        const to = at + chunk.byteLength;
        for (let i = Math.ceil(at / 1000) * 1000; i < to; i += 1000) {
          if (chunk[i - at] !== ((i / 1000) & 255)) wrong++;
        }
        at = to;
      }
      await within(sending);
      assertEquals([at, wrong], [total, 0]);
      assertEquals(await within(connection.closed), { clean: true });
    } finally {
      await kit.close();
    }
  });

  test("a slow reader stops the sender, on either side", async () => {
    const kit = await tlsRig({}, {}, (connection) => connection.closed);
    try {
      const connection = await kit.connect({ ca });
      await until(() => kit.ends.length === 1, "the other end");
      for (
        const [sender, reader] of [
          [connection, kit.ends[0]],
          [kit.ends[0], connection],
        ]
      ) {
        const block = new Uint8Array(65_536);
        let sent = 0;
        let stopped = false;
        while (!stopped) {
          const result = sender.send(block);
          sent += block.byteLength;
          if (result === true) continue;
          stopped = await Promise.race([
            Promise.resolve(result).then(() => false),
            settle(300).then(() => true),
          ]);
          assert(sent < 32 << 20, "no backpressure");
        }
        assert(reader.bytesRead < 1 << 20, `${reader.bytesRead} were read`);
        let received = 0;
        while (received < sent) {
          received += (await within(Promise.resolve(reader.receive())))!
            .byteLength;
        }
        assertEquals(received, sent);
      }
      connection.destroy();
    } finally {
      await kit.close();
    }
  });

  test("`reset()` and `destroy()` are seen by the other end", async () => {
    for (const how of ["reset", "destroy"] as const) {
      const kit = await tlsRig({}, {}, (connection) => connection.closed);
      try {
        const connection = await kit.connect({ ca });
        await until(() => kit.ends.length === 1, "the other end");
        connection[how]();
        assertEquals((await within(connection.closed)).clean, false);
        const receiving = kit.ends[0].receive();
        await within(Promise.resolve(receiving).catch(() => {}));
      } finally {
        await kit.close();
      }
    }
  });

  test("`reusePort` holds with TLS, too", async () => {
    // Refused there: `tcp_server_test.ts` has it.
    if (process.versions.node.startsWith("20.")) return;
    const first = await tlsRig({}, { reusePort: true });
    const second = await tlsRig({}, { reusePort: true, port: first.port });
    await first.close();
    try {
      const connection = await second.connect({ ca });
      await connection.send("x");
      assertEquals(text(await within(connection.read(1))), "x");
      connection.destroy();
    } finally {
      await second.close();
    }
  });

  test("a hundred handshakes at a time", async () => {
    const kit = await tlsRig();
    try {
      const all = await Promise.all(
        Array.from({ length: 100 }, async (_, i) => {
          const connection = await connect({
            hostname: "localhost",
            port: kit.port,
            tls: { ca, serverName: `n${i}.sluice.test` },
          });
          await connection.send(`n${i}.sluice.test`);
          return connection;
        }),
      );
      for (const connection of all) {
        const name = connection.tls!.serverName!;
        assertEquals(text(await within(connection.read(name.length))), name);
      }
      // Each handshake came to the connection it belongs to.
      for (const end of kit.ends) {
        const other = all.find((c) =>
          JSON.stringify(c.localAddress) === JSON.stringify(end.remoteAddress)
        );
        assertEquals(other!.tls!.serverName, end.tls!.serverName);
      }
      await within(Promise.all(all.map((connection) => connection.close())));
      await until(() => kit.server.stats().connections === 0, "the closes");
    } finally {
      await kit.close();
    }
  });

  test("options that make no sense are refused", async () => {
    const servers: unknown[] = [
      true,
      {},
      { cert: ca },
      { cert: "x", key: "y" },
      { ...pair("server"), alpn: "h2" },
      { ...pair("server"), alpn: [] },
      { ...pair("server"), clientAuth: "maybe" },
      { ...pair("server"), clientAuth: "require" },
      { ...pair("server"), ca: 7 },
      { ...pair("server"), sni: "x" },
    ];
    for (const tls of servers) {
      await assertRejects(
        () =>
          serve(echo, {
            hostname: "127.0.0.1",
            port: 0,
            tls: tls as TlsServerOptions,
          }),
        TypeError,
        "Cannot serve",
      );
    }
    const mismatch = await assertRejects(
      () =>
        serve(echo, {
          hostname: "127.0.0.1",
          port: 0,
          tls: { cert: pair("server").cert, key: pair("second").key },
        }),
      TlsError,
    );
    assertEquals(mismatch.code, "ERR_TLS_CERTIFICATE");
    const clients: unknown[] = [
      7,
      { ca: "garbage" },
      { cert: pair("client").cert },
      { alpn: [""] },
      { serverName: "" },
      { insecure: 1 },
      { rejectUnauthorized: false },
    ];
    for (const tls of clients) {
      await assertRejects(
        () => within(connect({ port: 1, tls: tls as TlsClientOptions })),
        TypeError,
        "Cannot connect",
      );
    }
  });
});

describe("TLS and openssl", () => {
  const skip = needs("openssl");

  test("`serve()` talks with s_client", { skip }, async () => {
    const kit = await tlsRig({ alpn: ["one"] });
    try {
      const child = spawn(tool("openssl")!, [
        "s_client",
        "-connect",
        `127.0.0.1:${kit.port}`,
        "-servername",
        "localhost",
        "-CAfile",
        pathOf("ca.pem"),
        "-verify_return_error",
        "-alpn",
        "two,one",
        "-quiet",
        "-no_ign_eof",
      ], { stdio: ["pipe", "pipe", "ignore"] });
      let output = "";
      child.stdout!.on("data", (chunk) => output += chunk);
      child.stdin!.write("hello\n");
      await until(() => output === "hello\n", "the echo");
      assertEquals(kit.ends[0].tls!.alpn, "one");
      child.stdin!.end();
      const info = await within(kit.ends[0].closed);
      assertEquals(info, { clean: true });
      child.kill();
    } finally {
      await kit.close();
    }
  });

  test("`connect()` talks with s_server", { skip }, async () => {
    const child = spawn(tool("openssl")!, [
      "s_server",
      "-accept",
      "127.0.0.1:0",
      "-cert",
      pathOf("server.pem"),
      "-key",
      pathOf("server.key"),
      "-rev",
    ], { stdio: ["pipe", "pipe", "pipe"] });
    let output = "";
    child.stdout!.on("data", (chunk) => output += chunk);
    child.stderr!.on("data", (chunk) => output += chunk);
    try {
      await until(() => /ACCEPT 127\.0\.0\.1:\d+/.test(output), "its port");
      const port = Number(/ACCEPT 127\.0\.0\.1:(\d+)/.exec(output)![1]);
      const connection = await within(connect({ port, tls: { ca } }));
      await connection.send("olleh\n");
      assertEquals(text(await within(connection.read(6))), "hello\n");
      connection.destroy();
    } finally {
      child.kill("SIGKILL");
    }
  });
});
