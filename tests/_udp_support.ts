import dgram from "node:dgram";
import { test } from "node:test";
import { bind } from "../udp/mod.ts";
import type { BindOptions, Datagram, Socket } from "../udp/mod.ts";
import { within } from "./_support.ts";

/** The loopback address that tests talk over. */
export const HOST = "127.0.0.1";

/** A datagram as a peer got it. */
export interface Got {
  text: string;
  size: number;
  address: string;
  port: number;
}

/** A peer made of the system's own means: `node:dgram`. */
export interface Peer {
  readonly port: number;
  readonly raw: dgram.Socket;
  /** The next datagram that came. */
  next(): Promise<Got>;
  /** How many wait to be taken by `next`. */
  readonly queued: number;
  send(data: string | Uint8Array, to: { port: number } | number): Promise<void>;
  close(): void;
}

/** What a test has at hand; all of it is closed behind it. */
export interface Scene {
  bind(options?: BindOptions): Promise<Socket>;
  peer(hostname?: string, port?: number): Promise<Peer>;
}

/** A test whose sockets are closed whatever happens. */
export function scene(
  name: string,
  body: (scene: Scene) => Promise<void>,
  options: { skip?: string | false } = {},
): void {
  test(name, options, async () => {
    const closers: (() => unknown)[] = [];
    try {
      await within(
        body({
          async bind(options = { hostname: HOST }) {
            const socket = await bind(options);
            closers.push(() => socket.close({ timeout: 0 }));
            return socket;
          },
          async peer(hostname = HOST, port = 0) {
            const peer = await openPeer(hostname, port);
            closers.push(() => peer.close());
            return peer;
          },
        }),
        20_000,
        "The test",
      );
    } finally {
      for (const close of closers) await close();
    }
  });
}

async function openPeer(hostname: string, port: number): Promise<Peer> {
  const raw = dgram.createSocket({
    type: hostname.includes(":") ? "udp6" : "udp4",
  });
  const queue: Got[] = [];
  const waiting: ((got: Got) => void)[] = [];
  raw.on("message", (data, { address, port }) => {
    const got = { text: data.toString(), size: data.length, address, port };
    const taker = waiting.shift();
    if (taker === undefined) queue.push(got);
    else taker(got);
  });
  // Bun reports here that a test's socket is gone.
  raw.on("error", () => {});
  await new Promise<void>((resolve, reject) => {
    raw.once("error", reject);
    raw.bind({ port, address: hostname }, resolve);
  });
  let closed = false;
  return {
    raw,
    port: raw.address().port,
    next: () =>
      within(
        new Promise<Got>((resolve) => {
          const got = queue.shift();
          if (got === undefined) waiting.push(resolve);
          else resolve(got);
        }),
        5000,
        "A datagram at the peer",
      ),
    get queued() {
      return queue.length;
    },
    async send(data, to) {
      const port = typeof to === "number" ? to : to.port;
      const once = () =>
        new Promise<void>((resolve, reject) => {
          raw.send(data, port, hostname, (error) => {
            if (error) reject(error);
            else resolve();
          });
        });
      // On Bun the error may be of the one before: then this one stayed here.
      await once().catch(once).catch(() => {});
    },
    close() {
      if (closed) return;
      closed = true;
      raw.close();
    },
  };
}

/** The port that a socket is bound to. */
export function portOf(socket: Socket): number {
  return (socket.address as { port: number }).port;
}

/** The next datagram, in bounded time. */
export async function take(socket: Socket): Promise<Datagram> {
  const datagram = await socket.receive({ timeout: 5000 });
  if (datagram === undefined) throw new Error("The socket has ended");
  return datagram;
}

/** The payload as a string. */
export function text(datagram: Datagram): string {
  return new TextDecoder().decode(datagram.data);
}

/** The texts of so many datagrams, in the order they came. */
export async function texts(socket: Socket, count: number): Promise<string[]> {
  const list: string[] = [];
  while (list.length < count) list.push(text(await take(socket)));
  return list;
}
