import { createServer } from "node:tls";
import { describe, test } from "node:test";
import { serve } from "../http/mod.ts";
import { acceptKey } from "../ws/_handshake.ts";
import { connect, upgrade } from "../ws/mod.ts";
import type { NetError } from "../ws/mod.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { engines, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";

const ca = pem("ca.pem");

for (const engine of engines) {
  describe(`wss: to the ${engine} engine`, () => {
    const serving = async (fn: (url: string) => Promise<void>) => {
      const server = await serve(
        (request) =>
          upgrade(request, async (socket) => {
            for await (const message of socket) await socket.send(message);
          }),
        {
          port: 0,
          hostname: "127.0.0.1",
          engine,
          tls: { cert: pem("server.pem"), key: pem("server.key") },
        },
      );
      assert(server.address.transport === "tcp");
      try {
        await fn(`wss://localhost:${server.address.port}/`);
      } finally {
        await within(server.close({ timeout: 0 }));
      }
    };

    test("connect() echoes over TLS", async () => {
      await serving(async (url) => {
        const socket = await within(connect(url, { tls: { ca } }));
        assertEquals(socket.url, url);
        for (const message of ["hello", new Uint8Array(300_000).fill(7)]) {
          await socket.send(message);
          assertEquals(await within(socket.receive()), message);
        }
        await within(socket.close());
        assertEquals((await socket.closed).clean, true);
      });
    });

    test("connect() rejects a certificate it does not trust", async () => {
      await serving(async (url) => {
        const error = await assertRejects(() => within(connect(url)), Error);
        assertEquals((error as NetError).name, "TlsError");
      });
    });
  });
}

describe("connect() over TLS", () => {
  test("asks for HTTP/1.1 by ALPN and by the name of the URL", async () => {
    const seen: unknown[] = [];
    const server = createServer({
      cert: pem("server.pem"),
      key: pem("server.key"),
      ALPNProtocols: ["h2", "http/1.1"],
    }, (socket) => {
      seen.push(socket.alpnProtocol);
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        const key = /sec-websocket-key: (.*)\r\n/i.exec(`${chunk}`)?.[1];
        if (key === undefined) return;
        socket.write(
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
            `Connection: Upgrade\r\nSec-WebSocket-Accept: ${
              acceptKey(key)
            }\r\n\r\n`,
        );
        socket.end(Uint8Array.of(0x81, 2, 0x68, 0x69, 0x88, 0));
      });
    });
    await new Promise<void>((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve())
    );
    const { port } = server.address() as { port: number };
    const socket = await within(
      connect(`wss://localhost:${port}/`, { tls: { ca } }),
    );
    assertEquals(await within(socket.receive()), "hi");
    assertEquals(await within(socket.receive()), undefined);
    assertEquals((await within(socket.closed)).code, 1005);
    assertEquals(seen, ["http/1.1"]);
    await new Promise((resolve) => server.close(resolve));
  });
});
