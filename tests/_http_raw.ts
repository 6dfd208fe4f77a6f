import * as net from "node:net";
import { serve } from "../http/serve.ts";
import type { Handler, HttpServer, ServeOptions } from "../http/types.ts";
import { until, within } from "./_support.ts";

/** A client that sends what it is told and shows every byte that comes. */
export class RawClient {
  readonly socket: net.Socket;
  /** All that has come, as Latin-1. */
  text = "";
  /** The server's FIN has come. */
  ended = false;
  closed = false;
  error: string | undefined;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Uint8Array) => {
      for (let i = 0; i < chunk.length; i += 4096) {
        this.text += String.fromCharCode(...chunk.subarray(i, i + 4096));
      }
    });
    socket.on("end", () => this.ended = true);
    socket.on("error", (error: Error & { code?: string }) => {
      this.error = error.code ?? error.message;
    });
    socket.on("close", () => this.closed = true);
  }

  send(data: string | Uint8Array): void {
    this.socket.write(
      typeof data === "string"
        ? Uint8Array.from(data, (char) => char.charCodeAt(0))
        : data,
    );
  }

  /** Waits until all that has come holds this, so many times. */
  async until(wanted: string, times = 1): Promise<string> {
    await until(
      () => this.text.split(wanted).length > times || this.closed,
      `${JSON.stringify(wanted)} in ${JSON.stringify(this.text.slice(-300))}`,
    );
    if (this.text.split(wanted).length <= times) {
      throw new Error(
        `Closed without ${JSON.stringify(wanted)}: ${
          JSON.stringify(this.text.slice(-300))
        } ${this.error}`,
      );
    }
    return this.text;
  }

  /** Waits for the end of the connection; gives all that has come. */
  async untilEnd(): Promise<string> {
    await until(() => this.ended || this.closed, "The end of the connection");
    return this.text;
  }

  /** Half-closes. */
  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }
}

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
  const client = new RawClient(socket);
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

/** Runs a test with a server on loopback, and ends it. */
export async function withServer(
  handler: Handler | { fetch: Handler },
  options: ServeOptions,
  run: (server: HttpServer) => Promise<unknown>,
): Promise<void> {
  const server = await serve(handler, {
    port: 0,
    hostname: "127.0.0.1",
    ...options,
  });
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
