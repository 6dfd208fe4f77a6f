// WebSockets over HTTP/2 (RFC 8441), both sides ours.

import { describe, test } from "node:test";
import { serve } from "../http/mod.ts";
import type { HttpServer, ServeOptions } from "../http/mod.ts";
import { connect, HandshakeError, isUpgrade, upgrade } from "../ws/mod.ts";
import type { ConnectOptions, UpgradeOptions } from "../ws/mod.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { frame, H2Peer, settings } from "./_h2_raw.ts";
import { until, within } from "./_support.ts";
import { serve as serveTcp } from "../tcp/mod.ts";
import { pem } from "./_tls_support.ts";

const tls = { cert: pem("server.pem"), key: pem("server.key") };

const modes: [string, ServeOptions, ConnectOptions][] = [
  ["prior knowledge", { protocols: ["h2", "http/1.1"] }, { http2: true }],
  ["ALPN", { tls }, { http2: true, tls: { ca: pem("ca.pem") } }],
];

for (const [name, serving, connecting] of modes) {
  /** Runs a test with a server that echoes. */
  const withEcho = async (
    options: UpgradeOptions,
    run: (url: string, server: HttpServer) => Promise<unknown>,
  ): Promise<void> => {
    const server = await serve((request, context) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/refuses") return new Response("no", { status: 403 });
      if (!isUpgrade(request)) return new Response(context.protocol);
      return upgrade(request, async (socket) => {
        for await (const message of socket) {
          if (message === "end") {
            await socket.close(4001, "as you wish");
            return;
          }
          await socket.send(message);
        }
      }, options);
    }, { port: 0, hostname: "127.0.0.1", ...serving });
    const url = server.url.replace("127.0.0.1", "localhost");
    try {
      await within(run(url, server), 15_000);
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  };

  describe(`a WebSocket over HTTP/2 by ${name}`, () => {
    test("echoes text and bytes of all sizes, and closes in order", () =>
      withEcho({ protocols: ["a"] }, async (url, server) => {
        const socket = await connect(url, { ...connecting, protocols: "a" });
        assertEquals(socket.protocol, "a");
        for (const size of [0, 1, 125, 65_535, 65_536, 1_000_000]) {
          const bytes = new Uint8Array(size).map((_, i) => i * 3);
          const sent = socket.send(bytes);
          assertEquals(
            await within(socket.receive() as Promise<unknown>),
            bytes,
          );
          assertEquals(await sent, true);
          const text = "é".repeat(size);
          socket.send(text);
          assertEquals(
            await within(socket.receive() as Promise<unknown>) === text,
            true,
          );
        }
        assert(await socket.ping() >= 0);
        socket.send("end");
        assertEquals(await socket.receive(), undefined);
        assertEquals(await socket.closed, {
          clean: true,
          code: 4001,
          reason: "as you wish",
        });
        await until(() => server.stats().connections === 0, "the end");
      }));

    test("compresses", () =>
      withEcho({ compress: true }, async (url) => {
        const socket = await connect(url, { ...connecting, compress: true });
        assert(socket.extensions.startsWith("permessage-deflate"));
        const text = "again and ".repeat(10_000);
        socket.send(text);
        assertEquals(await socket.receive() === text, true);
        await socket.close();
        assertEquals((await socket.closed).code, 1000);
      }));

    test("a refusal tells its status", () =>
      withEcho({}, async (url) => {
        const error = await assertRejects(
          () => connect(`${url}refuses`, connecting),
          HandshakeError,
          "403",
        );
        assertEquals(error.status, 403);
      }));

    test("a reader that does not read stops the sender", () =>
      withEcho({}, async (url) => {
        const socket = await connect(url, connecting);
        const block = new Uint8Array(64 * 1024);
        let sent = 0;
        for (;;) {
          const accepted = socket.send(block);
          sent++;
          if (!(accepted instanceof Promise)) continue;
          const held = await Promise.race([
            accepted.then(() => false),
            new Promise<boolean>((resolve) =>
              setTimeout(() => resolve(true), 300)
            ),
          ]);
          if (held) break;
          assert(sent < 4096, `${sent} blocks`);
        }
        // And once it reads, all of it arrives.
        for (let i = 0; i < sent; i++) {
          const message = await within(
            socket.receive() as Promise<Uint8Array>,
          );
          assertEquals(message.byteLength, block.byteLength);
        }
        await socket.close();
      }));

    test("the server's close says goodbye, a cut connection is told", () =>
      withEcho({}, async (url, server) => {
        const polite = await connect(url, connecting);
        const cut = await connect(url, connecting);
        polite.send("x");
        await polite.receive();
        cut.destroy();
        const closed = server.close({ timeout: 5000 });
        assertEquals((await within(polite.closed)).code, 1001);
        await within(closed, 8000);
      }));
  });
}

test("`connect()` over HTTP/2 refuses a server that has none, or no WebSockets", async () => {
  const plain = await serve(() => new Response(), {
    port: 0,
    hostname: "127.0.0.1",
  });
  await assertRejects(
    () => connect(plain.url, { http2: true, timeout: 5000 }),
    Error,
    "Cannot connect",
  );
  await plain.close({ timeout: 0 });
  const old = await serve(() => new Response(), {
    port: 0,
    hostname: "127.0.0.1",
    tls,
    protocols: ["http/1.1"],
  });
  const url = old.url.replace("127.0.0.1", "localhost");
  await assertRejects(
    () => connect(url, { http2: true, tls: { ca: pem("ca.pem") } }),
    Error,
    "protocol",
  );
  await assertRejects(
    () => connect(url, { http2: 1 as unknown as boolean }),
    TypeError,
    "http2",
  );
  await old.close({ timeout: 0 });
});

for (
  const [name, frames] of [
    ["GOAWAY that leaves it out", [7, 0, 8, 0, ...Array(8).fill(0)]],
    ["REFUSED_STREAM", [3, 1, 4, 0, 0, 0, 0, 7]],
  ] as const
) {
  test(`connect() over HTTP/2 fails at ${name}`, async () => {
    const [type, stream, size, ...payload] = frames;
    const server = await serveTcp(async (connection) => {
      const peer = new H2Peer(connection, {
        server: true,
        greeting: settings([8, 1]),
      });
      await peer.request();
      peer.send(frame(type, 0, stream, payload.slice(-size)));
      await peer.closed();
    }, { port: 0, hostname: "127.0.0.1" });
    const { address } = server;
    const port = address.transport === "unix" ? 0 : address.port;
    try {
      const error = await within(
        assertRejects(
          () =>
            connect(`ws://127.0.0.1:${port}/`, {
              http2: true,
              timeout: 60_000,
            }),
          Error,
        ),
        10_000,
      );
      assert(`${error}`.includes("Cannot connect"), `${error}`);
    } finally {
      await server.close({ timeout: 0 });
    }
  });
}
