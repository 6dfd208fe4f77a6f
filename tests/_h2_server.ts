// A server of HTTP/2 that does as a test says, and a client of ours.

import {
  bytesOf,
  data,
  END_HEADERS,
  END_STREAM,
  H2Peer,
  headers,
} from "./_h2_raw.ts";
import type { H2PeerOptions } from "./_h2_raw.ts";
import { within } from "./_support.ts";
import { Client } from "../http/client.ts";
import type { ClientOptions } from "../http/client.ts";
import { serve } from "../tcp/mod.ts";

/** Runs a test with a client of HTTP/2, and a server that does as it is told. */
export async function withH2Server(
  script: (peer: H2Peer, connection: number) => Promise<unknown>,
  run: (client: Client, url: string) => Promise<unknown>,
  options: { peer?: H2PeerOptions; client?: ClientOptions } = {},
): Promise<void> {
  let connections = 0;
  const failures: unknown[] = [];
  const peers: H2Peer[] = [];
  const server = await serve(async (connection) => {
    const peer = new H2Peer(connection, {
      server: true,
      ...connections === 0 ? options.peer : undefined,
    });
    peers.push(peer);
    try {
      await script(peer, connections++);
      await peer.closed();
    } catch (error) {
      failures.push(error);
    } finally {
      peer.destroy();
    }
  }, { port: 0, hostname: "127.0.0.1" });
  const { address } = server;
  const port = address.transport === "unix" ? 0 : address.port;
  const client = new Client({ protocols: ["h2"], ...options.client });
  try {
    await within(
      run(client, `http://127.0.0.1:${port}/`),
      15_000,
      "The test",
    ).catch((error) => {
      throw new Error(`${error}: ${peers.join("; ")} ${failures}`, {
        cause: error,
      });
    });
    // What the scripts waited for has come.
    await client.close({ timeout: 0 });
    await server.close();
    if (failures.length > 0) throw failures[0];
  } finally {
    await client.close({ timeout: 0 });
    await server.close({ timeout: 0 });
  }
}

/** A response without a body, or before one. */
export function head(
  stream: number,
  fields = "",
  flags = END_HEADERS,
): Uint8Array {
  const more = fields === "" ? "" : `|${fields}`;
  return headers(stream, `:status 200${more}`, flags);
}

/** A whole response. */
export function answer(stream: number, body = "ok"): Uint8Array {
  return bytesOf(head(stream), data(stream, body, END_STREAM));
}
