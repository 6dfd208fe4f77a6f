import { describe, test } from "node:test";
import { Duplex } from "node:stream";
import * as nodeTls from "node:tls";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { runtime, until, within } from "./_support.ts";
import { collect } from "./_tcp_support.ts";
import { ca, echo, pair, pem, text, tlsRig } from "./_tls_support.ts";
import type { TlsRig } from "./_tls_support.ts";
import { Client, serve as serveHttp } from "../http/mod.ts";
import { serve, TimeoutError, TlsError } from "../tcp/mod.ts";
import type { TlsClientOptions, TlsServerOptions } from "../tcp/mod.ts";
import { HelloReader } from "../tcp/_client_hello.ts";
import { loadRuntime } from "../tcp/_load.ts";
import { TlsAcceptor } from "../tcp/_node_tls.ts";

/** Whose certificate a client is shown that asks for this name. */
async function shown(
  kit: TlsRig,
  serverName: string | undefined,
  more: TlsClientOptions = {},
): Promise<string> {
  const connection = await kit.connect(
    { insecure: true, serverName, ...more },
    "127.0.0.1",
  );
  try {
    await connection.send("ping");
    assertEquals(text(await within(connection.read(4))), "ping");
    return connection.tls!.peerCertificate!.subject.replace(/.*CN=/, "");
  } finally {
    connection.destroy();
  }
}

const byName = {
  "elsewhere.test": pair("other-host"),
  "*.Sluice.test": pair("second"),
  "exact.sluice.test": pair("other-host"),
};

describe("TLS `sni`", () => {
  test("a record is searched for the name, then for a wildcard", async () => {
    const kit = await tlsRig({ sni: byName, alpn: ["x"] });
    try {
      const rows = [
        ["elsewhere.test", "elsewhere.test"],
        ["ELSEWHERE.Test", "elsewhere.test"],
        ["a.sluice.test", "second"],
        ["A.SLUICE.TEST", "second"],
        ["exact.sluice.test", "elsewhere.test"],
        // A wildcard stands for one label, neither none nor two.
        ["sluice.test", "localhost"],
        ["a.b.sluice.test", "localhost"],
        ["x.elsewhere.test", "localhost"],
        ["unknown.test", "localhost"],
        ["localhost", "localhost"],
        // No name at all: the host is an address.
        [undefined, "localhost"],
      ] as const;
      for (const [name, whose] of rows) {
        assertEquals(await shown(kit, name, { alpn: ["x"] }), whose, name);
        assertEquals(kit.ends.at(-1)!.tls!.alpn, "x");
      }
      assertEquals(kit.ends[0].tls!.serverName, "elsewhere.test");
      const good = await kit.connect({ ca, serverName: "elsewhere.test" });
      assertEquals(good.tls!.authorized, true);
      good.destroy();
      assertEquals(kit.told, []);
    } finally {
      await kit.close();
    }
  });

  test("TLS 1.2 has it, too", async () => {
    const kit = await tlsRig({ sni: byName });
    try {
      const socket = nodeTls.connect({
        port: kit.port,
        host: "127.0.0.1",
        servername: "elsewhere.test",
        ca,
        maxVersion: "TLSv1.2",
      });
      const seen = collect(socket);
      socket.write("hello");
      await until(() => seen.text === "hello", "the echo");
      assertEquals(socket.getProtocol(), "TLSv1.2");
      assertEquals(socket.getPeerCertificate().subject.CN, "elsewhere.test");
      socket.destroy();
    } finally {
      await kit.close();
    }
  });

  // On Bun this is served over streams, as TLS always is on Deno.
  for (const reusePort of runtime === "bun" ? [false, true] : [false]) {
    test(`a callback chooses, at once or later${reusePort ? ", over a stream" : ""}`, () =>
      chooses(reusePort));
  }

  async function chooses(reusePort: boolean): Promise<void> {
    const asked: string[] = [];
    const second = pair("second");
    const kit = await tlsRig({
      sni: (name) => {
        asked.push(name);
        if (name === "now.test") return second;
        if (name === "none.test") return undefined;
        return new Promise((resolve) =>
          setTimeout(() => resolve(pair("other-host")), 10)
        );
      },
    }, { reusePort });
    try {
      assertEquals(await shown(kit, "now.test"), "second");
      assertEquals(await shown(kit, "NOW.test"), "second");
      assertEquals(await shown(kit, "later.test"), "elsewhere.test");
      assertEquals(await shown(kit, "none.test"), "localhost");
      assertEquals(await shown(kit, undefined), "localhost");
      assertEquals(asked, [
        "now.test",
        "now.test",
        "later.test",
        "none.test",
      ]);
      const names = Array.from({ length: 20 }, (_, i) => `n${i}.test`);
      const all = await Promise.all(names.map((name) => shown(kit, name)));
      assert(all.every((one) => one === "elsewhere.test"));
    } finally {
      await kit.close();
    }
  }

  test("ALPN is as strict with a callback", async () => {
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const kit = await tlsRig({
        alpn: ["x"],
        sni: () => Promise.resolve(pair("second")),
      });
      try {
        const options = {
          port: kit.port,
          host: "127.0.0.1",
          servername: "a.sluice.test",
          ca,
          maxVersion,
        };
        const good = nodeTls.connect({ ...options, ALPNProtocols: ["y", "x"] });
        good.on("error", () => {});
        await until(() => kit.ends.length === 1, "the handshake");
        assertEquals(kit.ends[0].tls!.alpn, "x", maxVersion);
        good.destroy();
        const bad = nodeTls.connect({ ...options, ALPNProtocols: ["y"] });
        bad.on("error", () => {});
        await until(() => kit.told.length === 1, "the refusal");
        assertEquals(kit.told[0].code, "ERR_TLS_ALPN", maxVersion);
        assertEquals(kit.ends.length, 1);
        bad.destroy();
      } finally {
        await kit.close();
      }
    }
  });

  test("a callback is not told what is no name", async () => {
    const asked: string[] = [];
    const kit = await tlsRig({
      sni: (name) => {
        asked.push(name);
        return undefined;
      },
    });
    try {
      const names = [
        "../../etc/passwd",
        "a b.test",
        "*.sluice.test",
        "a..test",
        ".test",
        `${"a".repeat(64)}.test`,
        `${"a.".repeat(126)}test`,
      ];
      for (const name of names) {
        // Some clients refuse to ask, and some handshakes are refused for it.
        const socket = await new Promise<nodeTls.TLSSocket | undefined>(
          (resolve) => {
            try {
              const socket = nodeTls.connect({
                port: kit.port,
                host: "127.0.0.1",
                servername: name,
                rejectUnauthorized: false,
              }, () => resolve(socket));
              socket.on("error", () => resolve(undefined));
            } catch {
              resolve(undefined);
            }
          },
        );
        socket?.destroy();
      }
      assertEquals(await shown(kit, "ok.test"), "localhost");
      assertEquals(asked, ["ok.test"]);
    } finally {
      await kit.close();
    }
  });

  const failing: [string, TlsServerOptions["sni"], string][] = [
    ["throws", () => {
      throw new Error("no such tenant");
    }, "no such tenant"],
    ["rejects", () => Promise.reject(new Error("store down")), "store down"],
    ["rejects with no error", () => Promise.reject(7), "7"],
    ["gives nonsense", (() => 7) as never, "number"],
    ["gives a key of another's", () => ({
      cert: pair("second").cert,
      key: pair("server").key,
    }), "belong together"],
  ];
  for (const [what, sni, message] of failing) {
    test(`a callback that ${what} fails that handshake only`, async () => {
      const kit = await tlsRig({
        sni: (name) =>
          name === "bad.test"
            ? (sni as (name: string) => never)(name)
            : pair("second"),
      });
      try {
        const standing = await kit.connect({ ca, serverName: "localhost" });
        const error = await assertRejects(
          () => shown(kit, "bad.test"),
          TlsError,
        );
        assertEquals(error.phase, "tls");
        await until(() => kit.told.length === 1, "the server's error");
        assert(kit.told[0] instanceof TlsError);
        assertEquals(kit.told[0].code, "ERR_TLS_SNI", String(kit.told[0]));
        assert(kit.told[0].message.includes(message), kit.told[0].message);
        assertEquals(await shown(kit, "good.test"), "second");
        await standing.send("x");
        assertEquals(text(await within(standing.read(1))), "x");
        standing.destroy();
        assertEquals(kit.told.length, 1);
      } finally {
        await kit.close();
      }
    });
  }

  test("a callback that never answers holds its own handshake only, in time", async () => {
    let answer: (pair: { cert: string; key: string }) => void = () => {};
    const acceptor = new TlsAcceptor({
      ...pair("server"),
      sni: (name) =>
        name === "slow.test"
          ? new Promise((resolve) => answer = resolve)
          : pair("second"),
    });
    const runtime = await loadRuntime();
    const results: (string | TlsError)[] = [];
    const server = await runtime.listen({ hostname: "127.0.0.1", port: 0 }, {
      connection: (below) =>
        acceptor.accept(below, { timeout: 300 }).then((transport) => {
          results.push("done");
          transport.destroy();
        }, (error) => results.push(error)),
      error: () => {},
    });
    try {
      const { port } = server.address as { port: number };
      const ask = (servername: string) => {
        const socket = nodeTls.connect({
          port,
          host: "127.0.0.1",
          servername,
          rejectUnauthorized: false,
        });
        return collect(socket);
      };
      const slow = ask("slow.test");
      const quick = ask("quick.test");
      await until(() => results.includes("done"), "the quick one");
      await until(() => results.length === 2, "the slow one");
      const late = results.find((one) => one !== "done");
      assert(late instanceof TimeoutError, String(late));
      assertEquals(late.phase, "tls");
      await until(() => slow.closed && quick.closed, "the sockets' ends");
      answer(pair("other-host"));
      const again = ask("quick.test");
      await until(() => results.length === 3, "one more");
      assertEquals(results[2], "done");
      await until(() => again.closed, "its end");
    } finally {
      await within(server.close());
    }
  });

  test("a client that leaves while the callback thinks is told of", async () => {
    let answer: (pair: undefined) => void = () => {};
    let asked = false;
    const kit = await tlsRig({
      sni: () => {
        asked = true;
        return new Promise((resolve) => answer = resolve);
      },
    });
    try {
      const socket = nodeTls.connect({
        port: kit.port,
        host: "127.0.0.1",
        servername: "a.test",
        rejectUnauthorized: false,
      });
      socket.on("error", () => {});
      await until(() => asked, "the callback");
      socket.destroy();
      await until(() => kit.told.length === 1, "the error");
      assertEquals(kit.told[0].code, "ECONNRESET");
      answer(undefined);
    } finally {
      await kit.close();
    }
  });

  test("client certificates are checked as they are without it", async () => {
    const kit = await tlsRig({ sni: byName, ca, clientAuth: "require" });
    try {
      for (const name of ["elsewhere.test", "a.sluice.test", "unknown.test"]) {
        const good = await kit.connect({
          insecure: true,
          serverName: name,
          ...pair("client"),
        });
        await good.send("x");
        await within(good.read(1));
        assertEquals(kit.ends.at(-1)!.tls!.authorized, true, name);
        good.destroy();
        // In TLS 1.3 a client is done before the server has looked.
        for (const bad of [pair("stranger"), {}]) {
          const handled: number = kit.ends.length;
          const before = kit.told.length;
          await assertRejects(async () => {
            const connection = await kit.connect({
              insecure: true,
              serverName: name,
              ...bad,
            });
            const end = await within(
              Promise.resolve(connection.receive()),
            );
            assertEquals(end, undefined);
            connection.destroy();
            throw new Error("It ended");
          });
          await until(() => kit.told.length > before, "the server's error");
          assertEquals(kit.ends.length, handled);
        }
      }
    } finally {
      await kit.close();
    }
  });

  test("`updateTls()` swaps it, and takes it away", async () => {
    const kit = await tlsRig({ sni: byName });
    try {
      const standing = await kit.connect({ ca, serverName: "elsewhere.test" });
      assertEquals(await shown(kit, "elsewhere.test"), "elsewhere.test");
      kit.server.updateTls({
        ...pair("server"),
        sni: { "new.test": pair("second") },
      });
      assertEquals(await shown(kit, "elsewhere.test"), "localhost");
      assertEquals(await shown(kit, "new.test"), "second");
      assertThrows(
        () =>
          kit.server.updateTls({
            ...pair("server"),
            sni: {
              "new.test": { cert: pem("second.pem"), key: pem("server.key") },
            },
          }),
        TlsError,
        "new.test",
      );
      assertEquals(await shown(kit, "new.test"), "second");
      kit.server.updateTls(pair("second"));
      assertEquals(await shown(kit, "new.test"), "second");
      kit.server.updateTls(pair("server"));
      assertEquals(await shown(kit, "new.test"), "localhost");
      await standing.send("x");
      assertEquals(text(await within(standing.read(1))), "x");
      standing.destroy();
    } finally {
      await kit.close();
    }
  });

  test("names and certificates of no use are refused", async () => {
    const good = pair("server");
    const bad: unknown[] = [
      true,
      7,
      [],
      null,
      { "": good },
      { "a b": good },
      { "*": good },
      { "a.*.test": good },
      { "*a.test": good },
      { "*.*.test": good },
      { "straße.test": good },
      { "a.test.": good },
      { "a.test": good, "A.test": good },
      { "a.test": undefined },
      { "a.test": { cert: good.cert } },
      { "a.test": { cert: "x", key: good.key } },
    ];
    for (const sni of bad) {
      await assertRejects(
        () =>
          serve(echo, {
            hostname: "127.0.0.1",
            port: 0,
            tls: { ...good, sni: sni as TlsServerOptions["sni"] },
          }),
        TypeError,
        "Cannot serve",
      );
    }
    const error = await assertRejects(
      () =>
        serve(echo, {
          hostname: "127.0.0.1",
          port: 0,
          tls: {
            ...good,
            sni: { "a.test": { cert: pair("second").cert, key: good.key } },
          },
        }),
      TlsError,
      "a.test",
    );
    assertEquals(error.code, "ERR_TLS_CERTIFICATE");
  });
});

describe("HelloReader", () => {
  /** A ClientHello of node:tls, as it is on the wire. */
  async function hello(servername: string): Promise<Uint8Array> {
    let bytes = new Uint8Array(0);
    const stream = new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        bytes = new Uint8Array(chunk);
        done();
      },
    });
    const socket = nodeTls.connect({ socket: stream, servername });
    socket.on("error", () => {});
    await until(() => bytes.length > 0, "the hello");
    socket.destroy();
    stream.destroy();
    return bytes;
  }

  /** The name in these bytes, given in parts of this size. */
  function read(bytes: Uint8Array, size = bytes.length): string | undefined {
    const reader = new HelloReader();
    for (let at = 0; at < bytes.length; at += size) {
      if (reader.push(bytes.subarray(at, at + size))) return reader.name;
    }
    throw new Error("It wants more");
  }

  /** The same message in records of this size. */
  function inRecords(bytes: Uint8Array, size: number): Uint8Array {
    const parts: number[] = [];
    for (let at = 5; at < bytes.length; at += size) {
      const part = bytes.subarray(at, at + size);
      parts.push(22, 3, 1, part.length >> 8, part.length & 255, ...part);
    }
    return new Uint8Array(parts);
  }

  test("finds the name, however the bytes come", async () => {
    const bytes = await hello("some.name.test");
    for (const size of [1, 2, 5, 7, 100, bytes.length]) {
      assertEquals(read(bytes, size), "some.name.test");
      assertEquals(read(inRecords(bytes, size), 3), "some.name.test");
    }
    assertEquals(read(await hello("")), undefined);
  });

  test("what is no hello has no name", () => {
    for (const bytes of ["GET / HTTP/1.1\r\n", "\x16\x02\x00\x01\x00"]) {
      assertEquals(read(new TextEncoder().encode(bytes)), undefined);
    }
    // A record of nothing, of too much; a message of another type.
    assertEquals(read(new Uint8Array([22, 3, 1, 0, 0])), undefined);
    assertEquals(read(new Uint8Array([22, 3, 1, 64, 1])), undefined);
    assertEquals(read(new Uint8Array([22, 3, 1, 0, 4, 2, 0, 0, 0])), undefined);
    // A message of 16 MiB, and one that never ends.
    assertEquals(
      read(new Uint8Array([22, 3, 1, 0, 4, 1, 255, 255, 255])),
      undefined,
    );
    const slow = new Uint8Array(199_998);
    for (let at = 0; at < slow.length; at += 6) {
      slow.set([22, 3, 1, 0, 1, at === 0 ? 1 : 0], at);
    }
    slow.set([1], 11);
    assertEquals(read(slow), undefined);
  });

  test("no damage makes it fail, and none gives another length", async () => {
    const bytes = await hello("some.name.test");
    let seed = 7;
    const random = (n: number) => {
      seed = Math.imul(seed, 1_103_515_245) + 12_345;
      return (seed >>> 8) % n;
    };
    for (let round = 0; round < 3000; round++) {
      const bad = bytes.slice(0, round % 3 ? bytes.length : random(600) + 1);
      for (let n = random(4); n >= 0; n--) {
        bad[random(bad.length)] = random(256);
      }
      const reader = new HelloReader();
      if (!reader.push(bad)) continue;
      assert((reader.name?.length ?? 0) <= 256);
    }
  });
});

describe("http.serve() `tls.sni`", () => {
  test("the wire engine has it, `updateTls()` swaps it", async () => {
    const server = await serveHttp(
      (_request, { tls }) => Response.json(tls?.serverName ?? null),
      {
        hostname: "127.0.0.1",
        port: 0,
        tls: {
          ...pair("other-host"),
          sni: (name) =>
            Promise.resolve(name === "localhost" ? pair("server") : undefined),
        },
      },
    );
    try {
      const url = `https://localhost:${
        (server.address as { port: number }).port
      }`;
      const client = new Client({ tls: { ca } });
      try {
        assertEquals(await client.get(url).json(), "localhost");
      } finally {
        await client.close({ timeout: 0 });
      }
      server.updateTls(pair("other-host"));
      const other = new Client({ tls: { ca } });
      try {
        const error = await assertRejects(() => other.get(url).json());
        assertEquals((error as TlsError).code, "ERR_TLS_WRONG_HOST");
      } finally {
        await other.close({ timeout: 0 });
      }
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  });

  test("the native engines refuse it", async () => {
    if (runtime === "node") return;
    await assertRejects(
      () =>
        serveHttp(() => new Response(), {
          port: 0,
          engine: "native",
          tls: { ...pair("server"), sni: {} },
        }),
      TypeError,
      'engine: "wire"',
    );
  });
});
