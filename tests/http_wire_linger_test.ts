/** What a client sends behind an answer that ends its connection. */
import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import { serve } from "../http/serve.ts";
import { WireConnection } from "../http/_wire_connection.ts";
import type { WireServer } from "../http/_wire_server.ts";
import type { Transport } from "../tcp/_transport.ts";

const MiB = 1024 * 1024;

/** A transport without a socket: it takes all, and tells what it was told. */
class Recorder implements Transport {
  readonly remoteAddress = {
    transport: "tcp",
    hostname: "127.0.0.1",
    port: 1,
  } as const;
  readonly localAddress = this.remoteAddress;
  readonly raw = undefined;
  readonly pending = 0;
  written = "";
  ended = false;
  destroyed = false;

  attach(): void {}
  write(bytes: Uint8Array): boolean {
    this.written += String.fromCharCode(...bytes);
    return true;
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
  }
  reset(): void {
    this.destroyed = true;
  }
  pause(): void {}
  resume(): void {}
  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}
}

test("serve() throws away 16 MiB behind a last answer, and then cuts", async () => {
  const server = await serve(() => new Response("never"), {
    hostname: "127.0.0.1",
    port: 0,
    limits: { body: 10 },
  });
  try {
    const transport = new Recorder();
    // Beside the server's own connections: no deadline ends this one.
    const connection = new WireConnection(
      server as unknown as WireServer,
      transport,
    );
    const head =
      "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n";
    connection.data(new TextEncoder().encode(head));
    await Promise.resolve();
    assert(transport.written.startsWith("HTTP/1.1 413 "), transport.written);
    assert(/connection: close/i.test(transport.written), transport.written);
    assertEquals([transport.ended, transport.destroyed], [true, false]);
    const before = transport.written;
    const chunk = 64 * 1024;
    for (let sent = 0; sent < 16 * MiB; sent += chunk) {
      connection.data(new Uint8Array(chunk));
      assert(!transport.destroyed, `Cut after ${sent + chunk} bytes`);
    }
    connection.data(new Uint8Array(1));
    assertEquals(transport.destroyed, true);
    assertEquals(transport.written, before);
    connection.close();
  } finally {
    await server.close({ timeout: 0 });
  }
});
