import { describe, test } from "node:test";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals, assertInstanceOf } from "./assert.ts";
import { needs, runtime, tool, until, within } from "./_support.ts";
import { runProgram } from "./_tcp_support.ts";
import { ca, echo, pair, pem, tlsRig } from "./_tls_support.ts";
import {
  ClosedError,
  connect,
  ConnectError,
  DnsError,
  NetError,
  serve,
  TimeoutError,
  TlsError,
} from "../tcp/mod.ts";
import type {
  Connection,
  TlsClientOptions,
  TlsServerOptions,
} from "../tcp/mod.ts";

/** What an error says that a program can go by. */
interface Expected {
  type: new (...args: never[]) => NetError;
  code: string;
  phase: string | undefined;
  retryable: boolean;
}

function check(error: unknown, expected: Expected): void {
  assertInstanceOf(error, expected.type, String(error));
  const { code, phase, retryable, name, message } = error;
  assertEquals(
    { code, phase, retryable },
    {
      code: expected.code,
      phase: expected.phase,
      retryable: expected.retryable,
    },
    `${name}: ${message}`,
  );
  assert(/^[A-Z].*[^.]$/s.test(message), message);
}

/** What a promise was rejected with, in time. */
async function failure(work: () => unknown): Promise<unknown> {
  try {
    await within(Promise.resolve(work()), 10_000);
  } catch (error) {
    return error;
  }
  throw new Error("It did not fail");
}

/** A server of node:net; runs the work with its port. */
async function withPeer<T>(
  onConnection: (peer: net.Socket) => void,
  work: (port: number) => Promise<T>,
): Promise<T> {
  const peers: net.Socket[] = [];
  const server = net.createServer((peer) => {
    peers.push(peer);
    peer.on("error", () => {});
    onConnection(peer);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    return await work((server.address() as net.AddressInfo).port);
  } finally {
    for (const peer of peers) peer.destroy();
    server.close();
  }
}

const hostname = "127.0.0.1";

/** The end of a connection that was up. */
async function cutOff(
  onConnection: (peer: net.Socket) => void,
  then: (connection: Connection) => unknown,
): Promise<unknown> {
  return await withPeer(onConnection, async (port) => {
    const connection = await connect({ hostname, port });
    await then(connection);
    const { clean, error } = await within(connection.closed, 10_000);
    assertEquals(clean, false);
    return error;
  });
}

const refusedPort = async () => {
  const server = net.createServer();
  await new Promise<void>((done) => server.listen(0, hostname, done));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
};

const rows: [string, () => Promise<unknown>, Expected][] = [
  [
    "refused",
    async () => {
      const port = await refusedPort();
      return await failure(() => connect({ hostname, port }));
    },
    {
      type: ConnectError,
      code: "ECONNREFUSED",
      phase: "connect",
      retryable: true,
    },
  ],
  [
    "an address that is not ours",
    () =>
      failure(() => connect({ hostname, port: 9, localAddress: "192.0.2.1" })),
    {
      type: ConnectError,
      code: "EADDRNOTAVAIL",
      phase: "connect",
      retryable: true,
    },
  ],
  [
    "no such name",
    () => failure(() => connect({ hostname: "nowhere.invalid", port: 9 })),
    {
      type: DnsError,
      code: "ENOTFOUND",
      phase: "lookup",
      retryable: false,
    },
  ],
  [
    "no such socket file",
    () => failure(() => connect({ path: "/nowhere/at/all.sock" })),
    {
      type: ConnectError,
      code: "ENOENT",
      phase: "connect",
      retryable: true,
    },
  ],
  [
    "in use",
    async () => {
      const one = await serve(echo, { hostname, port: 0 });
      try {
        const { port } = one.address as { port: number };
        return await failure(() => serve(echo, { hostname, port }));
      } finally {
        await one.close();
      }
    },
    {
      type: NetError,
      code: "EADDRINUSE",
      phase: "listen",
      retryable: false,
    },
  ],
  [
    "listening on an address that is not ours",
    () => failure(() => serve(echo, { hostname: "192.0.2.1", port: 0 })),
    {
      type: NetError,
      code: "EADDRNOTAVAIL",
      phase: "listen",
      retryable: false,
    },
  ],
  [
    "a TLS handshake that takes too long",
    () =>
      withPeer(
        () => {},
        (port) =>
          failure(() => connect({ hostname, port, tls: true, timeout: 150 })),
      ),
    {
      type: TimeoutError,
      code: "ETIMEDOUT",
      phase: "tls",
      retryable: true,
    },
  ],
  [
    "reset",
    () =>
      cutOff((peer) => {
        peer.once("data", () => peer.resetAndDestroy());
      }, (connection) => connection.send("x")),
    {
      type: ClosedError,
      code: "ECONNRESET",
      phase: undefined,
      retryable: true,
    },
  ],
  [
    "reset by us",
    () => cutOff(() => {}, (connection) => connection.reset()),
    {
      type: ClosedError,
      code: "ECONNRESET",
      phase: undefined,
      retryable: false,
    },
  ],
  [
    "closed by us",
    () => cutOff(() => {}, (connection) => connection.destroy()),
    {
      type: ClosedError,
      code: "ERR_CLOSED",
      phase: undefined,
      retryable: false,
    },
  ],
  [
    "a close that takes too long",
    () =>
      cutOff((peer) => {
        peer.allowHalfOpen = true;
      }, (connection) => connection.close({ timeout: 100 })),
    {
      type: TimeoutError,
      code: "ETIMEDOUT",
      phase: "close",
      retryable: true,
    },
  ],
  [
    "an end in the middle of a read",
    () =>
      withPeer((peer) => void peer.end("abc"), async (port) => {
        const connection = await connect({ hostname, port });
        const error = await failure(() => connection.read(5));
        connection.destroy();
        return error;
      }),
    {
      type: ClosedError,
      code: "ERR_UNEXPECTED_END",
      phase: undefined,
      retryable: false,
    },
  ],
];

const untrusted = { type: TlsError, phase: "tls", retryable: false } as const;

/** Handshakes with our server that fail: what each side says. */
const handshakes: [
  string,
  Partial<TlsServerOptions>,
  true | TlsClientOptions,
  string,
][] = [
  ["unknown CA", {}, true, "ERR_TLS_UNKNOWN_CA"],
  [
    "another CA",
    {},
    { ca: pem("stranger-ca.pem") },
    "ERR_TLS_UNKNOWN_CA",
  ],
  ["expired", pair("expired"), { ca }, "ERR_TLS_EXPIRED"],
  ["expired, of an unknown CA", pair("expired"), true, "ERR_TLS_EXPIRED"],
  ["wrong host", pair("other-host"), { ca }, "ERR_TLS_WRONG_HOST"],
  [
    "no protocol in common",
    { alpn: ["a"] },
    { ca, alpn: ["b"] },
    "ERR_TLS_ALPN",
  ],
  ["a server without ALPN", {}, { ca, alpn: ["b"] }, "ERR_TLS_ALPN"],
];

describe("failures are the same on every runtime:", () => {
  for (const [what, provoke, expected] of rows) {
    test(what, async () => check(await provoke(), expected));
  }

  test("broken pipe", async () => {
    // After a RST that nobody has read writing is broken; which of the two is
    // told first is the kernel's affair, and both say that it can be retried.
    const error = await cutOff((peer) => {
      peer.once("data", () => peer.resetAndDestroy());
    }, async (c) => {
      while (await c.send(new Uint8Array(100_000)));
    });
    assertInstanceOf(error, ClosedError);
    assert(["ECONNRESET", "EPIPE"].includes(error.code), error.code);
    assertEquals([error.phase, error.retryable], [undefined, true]);
  });

  for (const [what, tls, client, code] of handshakes) {
    test(`TLS, ${what}`, async () => {
      const kit = await tlsRig(tls);
      try {
        check(await failure(() => kit.connect(client)), { ...untrusted, code });
        for (const error of kit.told) {
          assertInstanceOf(error, TlsError);
          assertEquals(error.phase, "tls");
        }
      } finally {
        await kit.close();
      }
    });
  }

  test("TLS, a certificate that is none", async () => {
    const broken =
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(
      await failure(() => tlsRig({ cert: broken })),
      { ...untrusted, code: "ERR_TLS_CERTIFICATE" },
    );
  });

  test("TLS, a client certificate that is missing or refused", async () => {
    const kit = await tlsRig({ ca, clientAuth: "require" });
    try {
      for (
        const [client, code] of [
          [{}, "ERR_TLS_CLIENT_CERTIFICATE"],
          [pair("stranger"), "ERR_TLS_UNKNOWN_CA"],
        ] as const
      ) {
        const told = kit.told.length;
        // In TLS 1.3 the client is done before the server has looked at it.
        const connection = await connect({
          hostname: "localhost",
          port: kit.port,
          tls: { ca, ...client },
        }).catch(() => undefined);
        await until(() => kit.told.length > told, "the server's error");
        const error = kit.told[told];
        assertInstanceOf(error, TlsError);
        assertEquals([error.phase, error.code], ["tls", code]);
        assertEquals(kit.ends, []);
        connection?.destroy();
      }
    } finally {
      await kit.close();
    }
  });

  test("TLS, a server of plain text", async () => {
    const error = await withPeer(
      (peer) => void peer.write("220 hello, this is no TLS\r\n"),
      (port) => failure(() => connect({ hostname, port, tls: true })),
    );
    check(error, { ...untrusted, code: "ERR_TLS_NOT_TLS" });
  });

  test("TLS, a client of plain text", async () => {
    const kit = await tlsRig();
    try {
      const words = [
        "GET / HTTP/1.1\r\n\r\n",
        "EHLO there\r\n",
        "\0".repeat(99),
      ];
      for (const word of words) {
        const peer = await connect({ hostname, port: kit.port });
        const told = kit.told.length;
        await peer.send(word);
        await until(() => kit.told.length > told, "the server's error");
        check(kit.told[told], { ...untrusted, code: "ERR_TLS_NOT_TLS" });
        peer.destroy();
      }
    } finally {
      await kit.close();
    }
  });

  test("TLS, a client of TLS on a server of plain text", async () => {
    const server = await serve(
      async (connection) => {
        const first = (await connection.receive())!;
        // What the server sees: a handshake, not its own protocol.
        assertEquals(first[0], 22);
        await connection.send("400 what is that\r\n");
      },
      { hostname, port: 0 },
    );
    try {
      const { port } = server.address as { port: number };
      check(
        await failure(() => connect({ hostname, port, tls: { ca } })),
        { ...untrusted, code: "ERR_TLS_NOT_TLS" },
      );
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  });

  test("a server that resets at once is named", async () => {
    const server = net.createServer((peer) => {
      peer.on("error", () => {});
      peer.resetAndDestroy();
    });
    await new Promise<void>((done) => server.listen(0, hostname, done));
    const { port } = server.address() as net.AddressInfo;
    try {
      for (let i = 0; i < 20; i++) {
        const error = await failure(async () => {
          const connection = await connect({ hostname, port });
          try {
            await within(Promise.resolve(connection.receive()));
          } finally {
            connection.destroy();
          }
        });
        assertInstanceOf(error, NetError);
        assertEquals(error.code, "ECONNRESET");
        assert(error.message.includes(`${hostname}:${port}`), error.message);
      }
    } finally {
      await new Promise((done) => server.close(done));
    }
  });

  for (const how of ["end", "resetAndDestroy"] as const) {
    test(`TLS, a server that leaves, by ${how}`, async () => {
      const error = await withPeer(
        (peer) => peer.once("data", () => peer[how]()),
        (port) => failure(() => connect({ hostname, port, tls: true })),
      );
      check(error, {
        type: TlsError,
        code: "ECONNRESET",
        phase: "tls",
        retryable: true,
      });
    });
  }

  const apart = ["unshare", "setpriv"];
  const skip = needs(...apart) ||
    (spawnSync(tool("unshare")!, ["-n", "true"]).status !== 0 &&
      "no network namespaces here");
  test("unreachable; no permission", { skip }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    chmodSync(folder, 0o500);
    try {
      const { output, errors } = await runProgram(
        `
        import { connect, serve } from ${
          JSON.stringify(new URL("../tcp/mod.ts", import.meta.url).href)
        };
        const tell = ({ name, code, phase, retryable }) =>
          console.log(JSON.stringify([name, code, phase, retryable]));
        await connect({ hostname: "192.0.2.1", port: 9 }).catch(tell);
        await serve(() => {}, { path: ${JSON.stringify(join(folder, "x"))} })
          .catch(tell);
        process.exit();
      `,
        runtime,
        {
          under: [
            tool("unshare")!,
            "-n",
            tool("setpriv")!,
            "--bounding-set=-all",
            "--inh-caps=-all",
          ],
        },
      );
      const lines = output.trim().split("\n").map((line) => JSON.parse(line));
      assertEquals(lines, [
        [
          "ConnectError",
          // Bun says so of a network, too.
          runtime === "bun" ? "ECONNREFUSED" : "ENETUNREACH",
          "connect",
          true,
        ],
        ["NetError", "EACCES", "listen", false],
      ], errors);
    } finally {
      chmodSync(folder, 0o700);
      rmSync(folder, { recursive: true });
    }
  });
});
