import { createHash } from "node:crypto";
import * as net from "node:net";
import { until, within } from "./_support.ts";
import { connect as join } from "../streams/mod.ts";
import { serve } from "../tcp/mod.ts";
import type { Connection, Server, TcpServeOptions } from "../tcp/mod.ts";

export const MIB: number = 1024 * 1024;
/** Bytes as a text. */
export const text = (bytes?: Uint8Array): string =>
  new TextDecoder().decode(bytes);

/** How it is moved. */
export interface MoveOptions {
  signal?: AbortSignal;
  /** The sink is left open, whatever comes. */
  keepSink?: boolean;
  /** The source is left open, whatever comes. */
  keepSource?: boolean;
}

/** Moves all that comes from one connection to another. */
export type Move = (
  source: Connection,
  sink: Connection,
  options?: MoveOptions,
) => Promise<void>;

/** The ways to move all from one connection to another. */
export const ways: Record<string, Move> = {
  "connect()": (source, sink, { signal, keepSink, keepSource } = {}) =>
    join(source, sink, {
      signal,
      closeSink: !keepSink,
      closeSource: !keepSource,
    }),
  "pipeTo()": (source, sink, { signal, keepSink, keepSource } = {}) =>
    source.readable.pipeTo(sink.writable, {
      signal,
      preventClose: keepSink,
      preventAbort: keepSink,
      preventCancel: keepSource,
    }),
};

/** Where a server listens. */
export function portOf(server: Server): number {
  return (server.address as { port: number }).port;
}

/** Bytes of which none is where another one was. */
function noise(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = 1;
  for (let i = 0; i < size; i++) {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    bytes[i] = state >> 16;
  }
  return bytes;
}

/** What is sent, again and again. */
export const block: Uint8Array = noise(251 * 1021);

/** What so many bytes of the block, again and again, come to. */
export function sumOf(size: number): string {
  const hash = createHash("sha256");
  for (let left = size; left > 0; left -= block.byteLength) {
    hash.update(left < block.byteLength ? block.subarray(0, left) : block);
  }
  return hash.digest("hex");
}

/** Writes so many bytes of the block to a socket, at its pace. */
export function pour(socket: net.Socket, size: number): Promise<void> {
  return new Promise((resolve) => {
    let left = size;
    const go = () => {
      while (left > 0) {
        const part = left < block.byteLength ? block.subarray(0, left) : block;
        left -= part.byteLength;
        if (!socket.write(part)) {
          socket.once("drain", go);
          return;
        }
      }
      resolve();
    };
    go();
  });
}

/** The sum of all that comes, and how much it was. */
export function summed(
  socket: net.Socket,
): Promise<{ size: number; sum: string }> {
  const hash = createHash("sha256");
  let size = 0;
  return new Promise((resolve) => {
    socket.on("data", (chunk: Uint8Array) => {
      size += chunk.byteLength;
      hash.update(chunk);
    });
    socket.once("end", () => resolve({ size, sum: hash.digest("hex") }));
    socket.resume();
  });
}

/** A raw socket that is connected. */
export function dialRaw(port: number): Promise<net.Socket> {
  const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  socket.on("error", () => {});
  return new Promise((resolve) =>
    socket.once("connect", () => resolve(socket))
  );
}

/** Two connections and who is at their other ends. */
export interface Ends {
  /** The raw peer of the source. */
  readonly from: net.Socket;
  readonly source: Connection;
  readonly sink: Connection;
  /** The raw peer of the sink. */
  readonly to: net.Socket;
  close(): Promise<void>;
}

/** Two connections, each with a raw peer at its other end. */
export async function ends(
  options: Partial<TcpServeOptions> = {},
): Promise<Ends> {
  const came: Connection[] = [];
  let leave!: () => void;
  const left = new Promise<void>((resolve) => leave = resolve);
  const server = await serve((connection) => {
    came.push(connection);
    return left;
  }, { hostname: "127.0.0.1", port: 0, ...options } as TcpServeOptions);
  const from = await dialRaw(portOf(server));
  await until(() => came.length === 1, "the source");
  const to = await dialRaw(portOf(server));
  await until(() => came.length === 2, "the sink");
  to.pause();
  return {
    from,
    source: came[0],
    sink: came[1],
    to,
    async close() {
      for (const connection of came) connection.destroy();
      from.destroy();
      to.destroy();
      leave();
      await within(server.close({ timeout: 0 }));
    },
  };
}
