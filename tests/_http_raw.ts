import * as net from "node:net";
import { serve } from "../http/serve.ts";
import type { Handler, HttpServer, ServeOptions } from "../http/types.ts";
import { RawClient } from "./_raw_client.ts";
import { Http2RawClient } from "./_http2_raw_client.ts";
import { within } from "./_support.ts";
import type { Mode } from "./_support.ts";

/** Servers that only speak HTTP/2. */
const overHttp2 = new WeakSet<object>();

/** Connects to a server; the connection stays half-open when one side ends. */
export async function rawClient(
  server: { address: HttpServer["address"] },
): Promise<RawClient> {
  const { address } = server;
  const socket = address.transport === "unix"
    ? net.connect({ path: address.path, allowHalfOpen: true })
    : net.connect({
      host: "127.0.0.1",
      port: address.port,
      allowHalfOpen: true,
    });
  const client = overHttp2.has(server)
    ? new Http2RawClient(socket)
    : new RawClient(socket);
  await within(
    new Promise<void>((resolve, reject) => {
      socket.once("connect", () => resolve());
      socket.once("error", reject);
    }),
  );
  return client;
}

/** One request on a connection of its own; gives all that came until its end. */
export async function exchange(
  server: { address: HttpServer["address"] },
  request: string | Uint8Array,
): Promise<string> {
  const client = await rawClient(server);
  try {
    client.send(request);
    return await client.untilEnd();
  } finally {
    client.destroy();
  }
}

/** A GET that is the last one on its connection. */
export function get(path = "/", fields = ""): string {
  return `GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${fields}\r\n`;
}

/** A GET that leaves its connection open. */
export function getOn(path = "/", fields = ""): string {
  return `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${fields}\r\n`;
}

/** Options of a server in a mode of the suite. */
export type ModeOptions = Omit<ServeOptions, "engine"> & { engine?: Mode };

/** Runs a test with a server on loopback, and ends it. */
export async function withServer(
  handler: Handler | { fetch: Handler },
  { engine, ...options }: ModeOptions,
  run: (server: HttpServer) => Promise<unknown>,
): Promise<void> {
  const server = await serve(handler, {
    port: 0,
    hostname: "127.0.0.1",
    ...(engine === "h2" ? { protocols: ["h2"] } : { engine }),
    ...options,
  });
  if (engine === "h2") overHttp2.add(server);
  try {
    await within(run(server), 15_000, "The test");
  } finally {
    await within(server.close({ timeout: 0 }), 5000, "close()");
  }
}

/** The status line's number; 0 when there is none. */
export function statusOf(text: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
}

/** What comes behind the first head. */
export function bodyOf(text: string): string {
  const at = text.indexOf("\r\n\r\n");
  return at === -1 ? "" : text.slice(at + 4);
}

/** The decoded content of a chunked body; undefined when it is not whole. */
export function unchunk(body: string): string | undefined {
  let out = "";
  for (let at = 0;;) {
    const line = body.indexOf("\r\n", at);
    if (line === -1) return undefined;
    const size = parseInt(body.slice(at, line), 16);
    if (size === 0) return body.slice(line + 2) === "\r\n" ? out : undefined;
    if (body.length < line + 2 + size + 2) return undefined;
    out += body.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
  }
}

export { RawClient };
