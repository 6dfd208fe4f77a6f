// WebSockets over HTTP/2 (RFC 8441), and tunnels, with peers that put things
// into frames as others do: Chromium ends its stream in the frame that has its
// Close.

import { test } from "node:test";
import { connect, upgrade } from "../ws/mod.ts";
import type { WebSocketCloseInfo } from "../ws/mod.ts";
import { serve } from "../tcp/mod.ts";
import { ConnectError } from "../streams/mod.ts";
import { assertEquals, assertMatch, assertRejects } from "./assert.ts";
import {
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  H2Peer,
  headers,
  settings,
  withH2,
} from "./_h2_raw.ts";
import { within } from "./_support.ts";
import { build } from "./_ws_frames.ts";

const ASK = ":method CONNECT|:protocol websocket|:scheme http|:path /" +
  "|:authority localhost|sec-websocket-version 13";

/** A Close. */
function closing(code: number, masked: boolean): Uint8Array {
  const payload = Uint8Array.from([code >> 8, code & 255]);
  return build([{ first: 0x88, payload }], masked);
}

test("a WebSocket over HTTP/2 is over when Close and the end come in one frame", async () => {
  for (const first of ["server", "client"]) {
    let closed: Promise<WebSocketCloseInfo> | undefined;
    let returned: Promise<void> | undefined;
    await withH2(
      (request) =>
        upgrade(request, (socket) => {
          closed = socket.closed;
          return returned = (async () => {
            if (first === "server") await socket.close(3000, "enough");
            for await (const _ of socket);
          })();
        }),
      async (peer) => {
        peer.send(headers(1, ASK, END_HEADERS));
        if (first === "server") {
          await peer.until((f) => f.type === DATA, "Close");
        } else await peer.until((f) => f.fields !== undefined, "2xx");
        peer.send(data(1, closing(3000, true), END_STREAM));
        await peer.until((f) => (f.flags & END_STREAM) !== 0, "the end");
        await peer.pinged();
        await within(returned!);
        const { clean, code } = await within(closed!);
        assertEquals([first, clean, code], [first, true, 3000]);
      },
    );
  }
});

test("a WebSocket over HTTP/2 has a key answered that it does not need", async () => {
  await withH2(
    (request) => upgrade(request, (socket) => socket.receive()),
    async (peer) => {
      // As RFC 6455 has it, 1.3.
      const key = "sec-websocket-key dGhlIHNhbXBsZSBub25jZQ==";
      const asks = [ASK, `${ASK}|${key}`, `${ASK}|sec-websocket-key odd`];
      const wanted = [undefined, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", undefined];
      for (const [i, ask] of asks.entries()) {
        const id = 2 * i + 1;
        peer.send(headers(id, ask, END_HEADERS));
        const { fields } = await peer.until(
          (f) => f.stream === id && f.fields !== undefined,
          "2xx",
        );
        const of = (name: string) => {
          const at = fields!.indexOf(name);
          return at === -1 ? undefined : fields![at + 1];
        };
        assertEquals(of(":status"), "200");
        assertEquals(of("sec-websocket-accept"), wanted[i]);
      }
    },
  );
});

test("`connect()` over HTTP/2 is over when Close and the end come in one frame", async () => {
  for (const first of ["server", "client"]) {
    const server = await serve(async (connection) => {
      const peer = new H2Peer(connection, {
        server: true,
        greeting: settings([8, 1]),
      });
      const { stream } = await peer.request();
      peer.send(headers(stream, ":status 200", END_HEADERS));
      if (first === "client") await peer.until((f) => f.type === DATA, "Close");
      peer.send(data(stream, closing(3000, false), END_STREAM));
      await peer.closed();
    }, { port: 0, hostname: "127.0.0.1" });
    try {
      const { port } = server.address as { port: number };
      const socket = await within(
        connect(`ws://127.0.0.1:${port}/`, { http2: true }),
      );
      if (first === "client") await within(socket.close(3000));
      const { clean, code } = await within(socket.closed);
      assertEquals([first, clean, code], [first, true, 3000]);
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  }
});

test("a tunnel over HTTP/2 that answers its last bytes with its end is over", async () => {
  let closed: Promise<{ clean: boolean }> | undefined;
  await withH2((_, context) =>
    context.tunnel((connection) => {
      closed = connection.closed;
      return (async () => {
        for await (const chunk of connection) await connection.send(chunk);
      })();
    }), async (peer) => {
    peer.send(
      headers(1, ":method CONNECT|:authority example.com:443", END_HEADERS),
      data(1, "last", END_STREAM),
    );
    await peer.until((f) => (f.flags & END_STREAM) !== 0, "the end");
    assertEquals((await within(closed!)).clean, true);
  });
});

test("`connect()` over HTTP/2 says that the server takes no WebSockets on it, or what it says wrongly", async () => {
  const greetings: [Uint8Array, string, RegExp][] = [
    [settings(), "ERR_HANDSHAKE", /takes no WebSockets over HTTP\/2/],
    [settings([8, 2]), "ERR_HTTP2_PROTOCOL_ERROR", /to ws:.*: [a-z].+/],
  ];
  for (const [greeting, code, message] of greetings) {
    const server = await serve(async (connection) => {
      const peer = new H2Peer(connection, { server: true, greeting });
      await peer.closed();
    }, { port: 0, hostname: "127.0.0.1" });
    try {
      const { port } = server.address as { port: number };
      const error = await assertRejects(
        () => within(connect(`ws://127.0.0.1:${port}/`, { http2: true })),
        ConnectError,
      );
      assertEquals([error.code, error.phase], [code, "handshake"]);
      assertEquals(error.retryable, false);
      assertMatch(error.message, message);
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  }
});
