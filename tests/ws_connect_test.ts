import { createServer } from "node:net";
import type { Server, Socket as NetSocket } from "node:net";
import { describe, test } from "node:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, HandshakeError } from "../ws/mod.ts";
import type { ConnectOptions } from "../ws/mod.ts";
import { acceptKey } from "../ws/_handshake.ts";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
} from "./assert.ts";
import { summary } from "./_ws_support.ts";
import { until, within } from "./_support.ts";

interface Answering {
  url: string;
  port: number;
  /** The heads of the requests, as they came. */
  heads: string[];
  open: Set<NetSocket>;
}

/** Runs `fn` with a server that answers a head with these bytes. */
async function answering(
  answer: (key: string, socket: NetSocket) => string | Uint8Array | undefined,
  fn: (server: Answering) => Promise<void>,
  path?: string,
): Promise<void> {
  const heads: string[] = [];
  const open = new Set<NetSocket>();
  const server: Server = createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => {});
    let head = "";
    socket.on("data", (chunk) => {
      if (head.includes("\r\n\r\n")) return;
      head += chunk.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      heads.push(head);
      const key = /sec-websocket-key: (.*)\r\n/i.exec(head)?.[1] ?? "";
      const bytes = answer(key, socket);
      if (bytes !== undefined) socket.write(bytes);
    });
  });
  await new Promise<void>((resolve) =>
    path === undefined
      ? server.listen(0, "127.0.0.1", resolve)
      : server.listen(path, resolve)
  );
  const address = server.address();
  const port = typeof address === "object" && address !== null
    ? address.port
    : 0;
  try {
    await fn({ url: `ws://127.0.0.1:${port}/`, port, heads, open });
  } finally {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

function agreed(key: string, ...fields: string[]): string {
  return [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${acceptKey(key)}`,
    ...fields,
    "",
    "",
  ].join("\r\n");
}

async function refusal(
  answer: (key: string, socket: NetSocket) => string | undefined,
  options?: ConnectOptions,
): Promise<HandshakeError> {
  let error: unknown;
  await answering(answer, async ({ url, open }) => {
    error = await within(connect(url, options)).then(
      () => undefined,
      (reason) => reason,
    );
    await until(() => open.size === 0, "the connection to be closed");
  });
  assertInstanceOf(error, HandshakeError);
  assertEquals(error.code, "ERR_HANDSHAKE");
  assertEquals(error.phase, "handshake");
  return error;
}

describe("connect()", () => {
  test("asks as RFC 6455 wants, with the caller's fields", async () => {
    await answering((key) => agreed(key), async ({ port, heads }) => {
      const socket = await within(connect(
        `ws://u%20x:p@127.0.0.1:${port}/a%20b?c=d`,
        { headers: { "X-One": "1", cookie: "a=b" } },
      ));
      const [head] = heads;
      assertMatch(head, /^GET \/a%20b\?c=d HTTP\/1\.1\r\n/);
      assert(head.includes(`\r\nhost: 127.0.0.1:${port}\r\n`));
      assertMatch(head, /\r\nupgrade: websocket\r\n/);
      assertMatch(head, /\r\nconnection: Upgrade\r\n/);
      assertMatch(head, /\r\nsec-websocket-version: 13\r\n/);
      assertMatch(head, /\r\nsec-websocket-key: [+/\w]{22}==\r\n/);
      assertMatch(head, /\r\nx-one: 1\r\n/);
      assertMatch(head, /\r\ncookie: a=b\r\n/);
      assertMatch(head, /\r\nauthorization: Basic dSB4OnA=\r\n/);
      assert(!head.includes("sec-websocket-protocol"));
      assert(!head.includes("sec-websocket-extensions"));
      assertEquals(socket.url, `ws://127.0.0.1:${port}/a%20b?c=d`);
      assertEquals(socket.remoteAddress, {
        transport: "tcp",
        hostname: "127.0.0.1",
        port,
      });
      socket.destroy();
      await socket.closed;
    });
  });

  test("sends a key of its own each time", async () => {
    await answering((key) => agreed(key), async ({ url, heads }) => {
      for (let i = 0; i < 2; i++) {
        const socket = await within(connect(url));
        socket.destroy();
        await socket.closed;
      }
      const keys = heads.map((head) => /key: (.*)\r/.exec(head)![1]);
      assert(keys[0] !== keys[1]);
    });
  });

  test("takes http: for ws:, and a URL object", async () => {
    await answering((key) => agreed(key), async ({ url, port }) => {
      const socket = await within(connect(new URL(url.replace("ws", "http"))));
      assertEquals(socket.url, `ws://127.0.0.1:${port}/`);
      socket.destroy();
      await socket.closed;
    });
  });

  test("delivers frames that came with the answer", async () => {
    await answering((key, socket) => {
      socket.write(
        new Uint8Array([
          ...new TextEncoder().encode(agreed(key)),
          ...[0x81, 2, 0x68, 0x69, 0x88, 2, 0x0f, 0xa0],
        ]),
      );
      socket.end();
      return undefined;
    }, async ({ url }) => {
      const socket = await within(connect(url));
      assertEquals(await within(socket.receive()), "hi");
      assertEquals(await within(socket.receive()), undefined);
      assertEquals(summary(await within(socket.closed)), "clean 4000");
    });
  });

  test("takes an answer that comes byte by byte", async () => {
    await answering((key, socket) => {
      socket.setNoDelay(true);
      const frame = Uint8Array.of(0x81, 1, 0x61);
      const all = [...new TextEncoder().encode(agreed(key)), ...frame];
      let at = 0;
      const next = () => {
        if (at === all.length) return;
        socket.write(Uint8Array.of(all[at++]), () => setTimeout(next, 0));
      };
      next();
      return undefined;
    }, async ({ url }) => {
      const socket = await within(connect(url));
      assertEquals(await within(socket.receive()), "a");
      socket.destroy();
    });
  });

  test("agrees on a protocol that was offered", async () => {
    await answering(
      (key) => agreed(key, "Sec-WebSocket-Protocol: b"),
      async ({ url, heads }) => {
        const socket = await within(connect(url, { protocols: ["a", "b"] }));
        assertEquals(socket.protocol, "b");
        assertMatch(heads[0], /\r\nsec-websocket-protocol: a, b\r\n/);
        socket.destroy();
      },
    );
  });

  test("rejects with status and headers when the server refuses", async () => {
    const error = await refusal(() =>
      "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n" +
      "Content-Length: 2\r\n\r\nno"
    );
    assertEquals(error.status, 401);
    assertEquals(error.headers.get("www-authenticate"), "Basic");
    assertEquals(error.retryable, false);
    assertMatch(error.message, /answered 401 Unauthorized$/);
  });

  test("says that trying again may help, of a 503", async () => {
    const error = await refusal(() => "HTTP/1.1 503 Busy\r\n\r\n");
    assertEquals(error.retryable, true);
  });

  test("refuses redirects", async () => {
    const error = await refusal(() =>
      "HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\n\r\n"
    );
    assertEquals(error.status, 302);
    assertMatch(error.message, /redirects to ws:\/\/elsewhere\//);
  });

  const bad: [string, (key: string) => string, ConnectOptions?][] = [
    ["a wrong accept", () => agreed("x"), undefined],
    ["no accept", (key) => agreed(key).replace(/Sec-.*\r\n/, "")],
    ["no Upgrade", (key) => agreed(key).replace("Upgrade: websocket\r\n", "")],
    ["another Upgrade", (key) => agreed(key).replace("websocket", "h2c")],
    [
      "no Connection",
      (key) => agreed(key).replace("Connection: Upgrade\r\n", ""),
    ],
    [
      "an extension",
      (key) => agreed(key, "Sec-WebSocket-Extensions: permessage-deflate"),
    ],
    [
      "a protocol nobody offered",
      (key) => agreed(key, "Sec-WebSocket-Protocol: x"),
    ],
    [
      "another protocol",
      (key) => agreed(key, "Sec-WebSocket-Protocol: x"),
      { protocols: "a" },
    ],
    ["none of the protocols", (key) => agreed(key), { protocols: "a" }],
    ["status 200", (key) => agreed(key).replace("101", "200")],
  ];
  for (const [name, answer, options] of bad) {
    test(`rejects an answer with ${name}`, async () => {
      await refusal(answer, options);
    });
  }

  test("rejects an answer that is not HTTP", async () => {
    await answering(() => "hello\r\n", async ({ url }) => {
      const error = await assertRejects(() => within(connect(url)), Error);
      assertEquals((error as HandshakeError).code, "ERR_HANDSHAKE");
    });
  });

  test("rejects an answer whose head is too large", async () => {
    await answering(
      () => `HTTP/1.1 101 x\r\nx: ${"y".repeat(20_000)}\r\n\r\n`,
      async ({ url }) => {
        await assertRejects(() => within(connect(url)), Error, "not HTTP");
      },
    );
  });

  test("rejects when the connection ends in the handshake", async () => {
    await answering((_, socket) => {
      socket.end("HTTP/1.1 101 Switching");
      return undefined;
    }, async ({ url }) => {
      const error = await assertRejects(() => within(connect(url)), Error);
      assertEquals((error as HandshakeError).code, "ECONNRESET");
      assertEquals((error as HandshakeError).phase, "handshake");
    });
  });

  test("rejects when the port is closed", async () => {
    let closed = 0;
    await answering(() => undefined, ({ port }) => {
      closed = port;
      return Promise.resolve();
    });
    const error = await assertRejects(
      () => within(connect(`ws://127.0.0.1:${closed}/`)),
      Error,
    );
    assertEquals((error as HandshakeError).code, "ECONNREFUSED");
  });

  test("gives up at its timeout and says in which phase", async () => {
    await answering(() => undefined, async ({ url, open }) => {
      const error = await assertRejects(
        () => within(connect(url, { timeout: 50 })),
        Error,
        "within 50 ms",
      );
      assertEquals((error as HandshakeError).code, "ETIMEDOUT");
      assertEquals((error as HandshakeError).phase, "handshake");
      await until(() => open.size === 0, "the connection to be closed");
    });
  });

  test("gives up when its signal aborts, with the reason", async () => {
    await answering(() => undefined, async ({ url, open, heads }) => {
      const abort = new AbortController();
      const reason = new Error("enough");
      const attempt = connect(url, { signal: abort.signal });
      attempt.catch(() => {});
      await until(() => heads.length === 1, "the request");
      abort.abort(reason);
      assertEquals(
        await within(attempt).then(() => undefined, (e) => e),
        reason,
      );
      await until(() => open.size === 0, "the connection to be closed");
      const before = await connect(url, { signal: abort.signal }).then(
        () => undefined,
        (e) => e,
      );
      assertEquals(before, reason);
    });
  });

  test("leaves the socket alone when its signal aborts later", async () => {
    await answering((key) => agreed(key), async ({ url }) => {
      const abort = new AbortController();
      const socket = await within(connect(url, { signal: abort.signal }));
      abort.abort();
      assertEquals(socket.send("x"), true);
      socket.destroy();
    });
  });

  test("connects over a Unix socket", async () => {
    const path = join(tmpdir(), `sluice-ws-${crypto.randomUUID()}.sock`);
    await answering((key) => agreed(key), async ({ heads }) => {
      const socket = await within(
        connect("ws://service/path", { unix: path }),
      );
      assertMatch(heads[0], /^GET \/path HTTP\/1\.1\r\nhost: service\r\n/);
      assertEquals(socket.remoteAddress, { transport: "unix", path });
      socket.destroy();
      await socket.closed;
    }, path);
  });

  test("refuses arguments that make no sense", async () => {
    const wrong: [string, ConnectOptions?][] = [
      ["nowhere"],
      ["ftp://a/"],
      ["ws://a/#b"],
      ["ws://a/#"],
      ["ws://a:25/"],
      ["ws://a/", { protocols: ["a", "a"] }],
      ["ws://a/", { protocols: "a b" }],
      ["ws://a/", { protocols: [""] }],
      ["ws://a/", { headers: { upgrade: "x" } }],
      ["ws://a/", { headers: { "sec-websocket-key": "x" } }],
      ["ws://a/", { headers: { a: "b\r\nc: d" } }],
      ["ws://a/", { tls: true }],
      ["ws://a/", { compress: 1 } as unknown as ConnectOptions],
      ["ws://a/", { proxy: "ftp://b/" }],
      ["ws://a/", { proxy: "http://b/", unix: "/tmp/x" }],
      ["ws://a/", { noProxy: "a b/" }],
    ];
    for (const [url, options] of wrong) {
      await assertRejects(() => within(connect(url, options)), TypeError);
    }
    await assertRejects(
      () => within(connect("ws://a/", { timeout: -1 })),
      RangeError,
    );
    await assertRejects(
      () => within(connect("ws://a/", { maxMessageSize: NaN })),
      RangeError,
    );
  });
});
