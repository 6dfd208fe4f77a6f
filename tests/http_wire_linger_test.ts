/** What a client sends behind an answer that ends its connection. */
import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import { Handmade } from "./_handmade.ts";
import { serve } from "../http/serve.ts";
import { WireConnection } from "../http/_wire_connection.ts";
import type { WireServer } from "../http/_wire_server.ts";

const MiB = 1024 * 1024;

test("serve() throws away 16 MiB behind a last answer, and then cuts", async () => {
  const server = await serve(() => new Response("never"), {
    hostname: "127.0.0.1",
    port: 0,
    limits: { body: 10 },
  });
  try {
    const transport = new Handmade();
    // Beside the server's own connections: no deadline ends this one.
    const connection = new WireConnection(
      server as unknown as WireServer,
      transport,
    );
    transport.attach(connection);
    const head =
      "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n";
    connection.data(new TextEncoder().encode(head));
    await Promise.resolve();
    const decoder = new TextDecoder();
    const answer = transport.written.map((it) => decoder.decode(it)).join("");
    assert(answer.startsWith("HTTP/1.1 413 "), answer);
    assert(/connection: close/i.test(answer), answer);
    assertEquals([transport.finished, transport.over], [true, false]);
    const { length } = transport.written;
    const chunk = 64 * 1024;
    for (let sent = 0; sent < 16 * MiB; sent += chunk) {
      connection.data(new Uint8Array(chunk));
      assert(!transport.over, `Cut after ${sent + chunk} bytes`);
    }
    connection.data(new Uint8Array(1));
    assert(transport.over);
    assertEquals(transport.written.length, length);
  } finally {
    await server.close({ timeout: 0 });
  }
});
