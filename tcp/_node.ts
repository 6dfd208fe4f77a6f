import { lookup } from "node:dns/promises";
import * as net from "node:net";
import process from "node:process";
import { free } from "../streams/_free.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { connectError, cutError, listenError } from "./_errors.ts";
import { interleave, raceAddresses } from "./_eyeballs.ts";
import {
  bufferOf,
  DirectReads,
  readDirectly,
  takeShared,
} from "./_node_read.ts";
import { replacingStale } from "./_node_stale.ts";
import type {
  DialOptions,
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import type { TlsInfo, Transport, TransportEvents } from "./_transport.ts";

/** What is used of `net.Socket`: spelled out, for no runtime has all types. */
type NetSocket = net.Socket & {
  resetAndDestroy?(): void;
  /** What it failed with, before anybody is told. */
  readonly errored?: unknown;
  push(chunk: unknown, encoding?: string): boolean;
  readonly _handle?: {
    getpeername?(into: Name): number;
    getsockname?(into: Name): number;
  } | null;
  /** The transport that it is used by, for those who hear of its events. */
  [owner]?: NodeTransport;
};

const owner = Symbol("sluice.transport");

/** What libuv says of one end of a socket. */
interface Name {
  address?: string;
  port?: number;
}

/** Whether this is Node, and not another runtime's `node:net`. */
const isNode = process.versions.bun === undefined &&
  (process.versions as { deno?: string }).deno === undefined;
/** What it does with what was read. */
const { push: streamPush } = net.Socket.prototype as unknown as NetSocket;
/** Its callback tells when what was written before it is with the kernel. */
const none = new Uint8Array(0);

/** What every `net.Socket` listens to its own end with; asked of a new one. */
let nodesOnEnd: (() => void) | undefined;

/** What libuv calls ENOTCONN. */
const ENOTCONN = -107;

function tcpAddress(hostname = "", port = 0): Address {
  return { transport: "tcp", hostname, port };
}

/** Asked of each socket anew: Node itself would keep an object for each. */
const name: Name = {};
/** Many sockets have the same peer: they share the text of its address. */
let lastPeer = "";
/** Mostly the next socket has the same. */
let lastLocal: Address & { transport: "tcp" } = {
  transport: "tcp",
  hostname: "",
  port: 0,
};

/** Has `name` say who the peer is. */
function askPeer(socket: NetSocket): void {
  const { _handle: handle } = socket;
  name.address = name.port = undefined;
  if (typeof handle?.getpeername !== "function") {
    name.address = socket.remoteAddress;
    name.port = socket.remotePort;
  } else handle.getpeername(name);
  const { address = "" } = name;
  if (address !== lastPeer) lastPeer = address;
}

function findOnEnd(): () => void {
  const [first = () => {}] = new net.Socket().listeners("end");
  return first as () => void;
}

function localOf(socket: NetSocket): Address {
  const { _handle: handle } = socket;
  let { hostname, port } = lastLocal;
  if (typeof handle?.getsockname !== "function") {
    ({ localAddress: hostname = "", localPort: port = 0 } = socket);
  } else if (handle.getsockname(name) === 0) {
    ({ address: hostname = "", port = 0 } = name);
  } else return tcpAddress();
  if (hostname !== lastLocal.hostname || port !== lastLocal.port) {
    lastLocal = { transport: "tcp", hostname, port };
  }
  return lastLocal;
}

/** A `net.Socket` as a transport: Node's, and wherever node:net is better. */
export class NodeTransport implements Transport {
  readonly localAddress: Address;
  declare readonly tls?: TlsInfo;
  /** Where the peer is, or the name of its host: then a port belongs to it. */
  #peer: Address | string;
  readonly #port: number;
  readonly #socket: NetSocket;
  /** Whether it is a socket of Node's own, without TLS. */
  readonly #plain: boolean;
  /** Whether the listener takes Buffers as they are. */
  #borrowed = false;
  #events: TransportEvents | undefined;
  /** Whether Node reads into our buffers, and what one read leaves to keep. */
  #direct = false;
  #reads: DirectReads | undefined;
  #onWritten: (() => void) | undefined;
  #error: NetError | undefined;
  #over = false;
  #closed = false;
  #blocked = false;
  #paused = false;
  #ended = false;

  /** `at` is the path of a Unix socket, or what knows the addresses. */
  constructor(socket: net.Socket, at?: string | Transport) {
    this.#socket = socket;
    this.#plain = isNode && socket.constructor === net.Socket;
    this.#port = 0;
    if (typeof at === "object") {
      this.#peer = at.remoteAddress;
      this.localAddress = at.localAddress;
    } else if (at !== undefined) {
      this.#peer = this.localAddress = { transport: "unix", path: at };
    } else {
      askPeer(socket);
      this.#peer = lastPeer;
      this.#port = name.port ?? 0;
      this.localAddress = localOf(socket);
    }
    this.#socket[owner] = this;
    // Node's own does nothing while the other half may stay open; with one
    // listener it needs no list of them.
    if (this.#plain && socket.allowHalfOpen) {
      nodesOnEnd ??= findOnEnd();
      socket.removeListener("end", nodesOnEnd);
    }
    socket.on("error", NodeTransport.#onError);
    socket.on("close", NodeTransport.#onClose);
    socket.on("end", NodeTransport.#onEnd);
  }

  get remoteAddress(): Address {
    const peer = this.#peer;
    if (typeof peer !== "string") return peer;
    return this.#peer = tcpAddress(peer, this.#port);
  }

  // The same functions for all sockets, as there may be very many.

  static #onError(this: NetSocket, error: Error): void {
    const transport = this[owner]!;
    transport.#error ??= cutError(error, transport.remoteAddress);
  }

  static #onClose(this: NetSocket): void {
    const transport = this[owner]!;
    transport.#over = true;
    transport.#closed = true;
    transport.#reads?.release();
    transport.#events?.close(transport.#error);
  }

  static #onEnd(this: NetSocket): void {
    const transport = this[owner]!;
    transport.#ended = true;
    if (transport.#over) return;
    if (transport.#wasReset()) {
      transport.#error ??= cutError(
        { code: "ECONNRESET" },
        transport.remoteAddress,
      );
      transport.#over = true;
      this.destroy();
    } else transport.#events?.end();
  }

  /** A plain Uint8Array, as everywhere: Buffer has other methods. */
  static #onData(this: NetSocket, chunk: Uint8Array): void {
    const transport = this[owner]!;
    if (transport.#over) return;
    if (transport.#borrowed) return transport.#events!.data(chunk);
    const { buffer, byteOffset, byteLength } = chunk;
    transport.#events!.data(new Uint8Array(buffer, byteOffset, byteLength));
  }

  static #onRead(this: NetSocket, size: number, buffer: Uint8Array): boolean {
    const transport = this[owner]!;
    if (transport.#over) return true;
    // For whoever listens beside us.
    if (this.listenerCount("data") > 0) {
      this.emit("data", bufferOf(buffer, size));
    }
    const events = transport.#paused ? undefined : transport.#events;
    if (
      transport.#reads === undefined && events !== undefined &&
      takeShared(size, buffer, events)
    ) return true;
    return (transport.#reads ??= new DirectReads()).take(size, buffer, events);
  }

  /**
   * In place of the socket's own `push`, which it calls with what was read:
   * that emits the chunk and has a turn of the tick queue ask for the next
   * one, a fifth of what a small message costs. The stream is left as it is
   * then and would be again: empty, with a read under way. In any other state,
   * and for anybody who listens beside us, the stream does all itself.
   */
  static #push(this: NetSocket, chunk: unknown, encoding?: string): boolean {
    if (
      !(chunk instanceof Uint8Array) || this.readableFlowing !== true ||
      this.readableLength > 0 || this.listenerCount("data") !== 1
    ) return streamPush.call(this, chunk, encoding);
    NodeTransport.#onData.call(this, chunk);
    return true;
  }

  /**
   * Whether the end that was told is a reset in truth: libuv of Node 20 and
   * 22 takes a RST right behind data for a FIN. The kernel knows no peer then.
   */
  #wasReset(): boolean {
    if (this.#socket.writableEnded) return false;
    const { _handle: handle } = this.#socket;
    return typeof handle?.getpeername === "function" &&
      handle.getpeername({}) === ENOTCONN;
  }

  get raw(): unknown {
    return this.#socket;
  }

  get attached(): boolean {
    return this.#events !== undefined;
  }

  protected get paused(): boolean {
    return this.#paused;
  }

  /** Bytes that are not with the kernel. */
  protected get unsent(): number {
    return this.#socket.writableLength;
  }

  get pending(): number {
    return this.#over ? 0 : this.unsent;
  }

  attach(events: TransportEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    this.#borrowed = events.borrows === "all";
    if (!first) return;
    if (this.#closed) {
      queueMicrotask(() => this.#events!.close(this.#error));
      return;
    }
    if (this.#plain && readDirectly(this.#socket, NodeTransport.#onRead)) {
      this.#direct = true;
    } else {
      this.#socket.on("data", NodeTransport.#onData);
      if (isNode) this.#socket.push = NodeTransport.#push;
    }
    if (!this.#paused) this.#socket.resume();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over) return true;
    const socket = this.#socket;
    // Broken already: its close is on the way, and more would only fail, too.
    if (socket.destroyed || socket.errored != null) return false;
    if (this.#plain && !this.#blocked) {
      // A callback would cost a turn of the tick queue, for each.
      socket.write(bytes);
      if (socket.writableLength > 0) socket.write(none, this.#whenWritten());
    } else socket.write(bytes, this.#whenWritten());
    // What the kernel took at once is gone from the stream by now.
    this.#blocked = this.unsent > 0;
    return !this.#blocked && socket.errored == null;
  }

  get gathers(): boolean {
    return this.#plain;
  }

  writeAll(pieces: readonly Uint8Array[]): boolean {
    if (this.#over) return true;
    const socket = this.#socket;
    if (socket.destroyed || socket.errored != null) return false;
    socket.cork();
    for (const piece of pieces) socket.write(piece);
    socket.uncork();
    if (socket.writableLength > 0) socket.write(none, this.#whenWritten());
    this.#blocked = this.unsent > 0;
    return !this.#blocked && socket.errored == null;
  }

  recycle(chunk: Uint8Array): void {
    if (this.#reads !== undefined) this.#reads.recycle(chunk);
    else if (this.#direct) free(chunk);
    // Whoever listens beside us has the same memory.
    else if (this.#socket.listenerCount("data") === 1) free(chunk);
  }

  /** Made when it is needed: an idle connection has none. */
  #whenWritten(): () => void {
    return this.#onWritten ??= () => this.idled();
  }

  /** To be called when everything may be with the kernel. */
  protected idled(): void {
    if (!this.#blocked || this.unsent > 0) return;
    this.#blocked = false;
    if (!this.#over) this.#events?.drain();
  }

  end(): void {
    if (!this.#over) this.#socket.end();
  }

  destroy(): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.destroy();
  }

  reset(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#socket.resetAndDestroy !== undefined) {
      this.#socket.resetAndDestroy();
    } else this.#socket.destroy();
  }

  /** What reads directly tells of a disconnect only while it reads. */
  pause(): void {
    this.#paused = true;
    if (this.#direct) return;
    if (!this.#over && !this.#ended) this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#over || this.#events === undefined) return;
    if (this.#reads?.held === undefined) this.#socket.resume();
    else queueMicrotask(() => this.#giveHeld());
  }

  #giveHeld(): void {
    const reads = this.#reads!;
    const { held } = reads;
    if (held === undefined || this.#paused || this.#over) return;
    reads.held = undefined;
    this.#events!.data(held);
    if (!this.#over && !this.#paused) this.#socket.resume();
  }

  setNoDelay(on: boolean): void {
    if (!this.#over) this.#socket.setNoDelay(on);
  }

  setKeepAlive(on: boolean, delay?: number): void {
    if (!this.#over) this.#socket.setKeepAlive(on, delay);
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}

/** Before 22.12 Node does not read the option, and says nothing. */
function canReusePort(): boolean {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 12);
}

function listen(
  options: ListenOptions,
  events: ListenEvents,
): Promise<RuntimeServer> {
  const { hostname, port, path, backlog, reusePort } = options;
  if (reusePort && !canReusePort()) {
    return Promise.reject(
      new TypeError("Cannot listen with reusePort: Node has it from 22.12 on"),
    );
  }
  const wanted: Address = path === undefined
    ? tcpAddress(hostname, port)
    : { transport: "unix", path };
  const server = net.createServer(
    { allowHalfOpen: true, pauseOnConnect: true, noDelay: true },
    (socket) => events.connection(new NodeTransport(socket, path)),
  );
  return new Promise((resolve, reject) => {
    const refuse = (error: Error) => reject(listenError(error, wanted));
    server.once("error", refuse);
    const where = path === undefined ? { host: hostname, port } : { path };
    server.listen({ ...where, backlog, reusePort }, () => {
      server.removeListener("error", refuse);
      server.on("error", (error) => events.error(listenError(error, wanted)));
      const bound = server.address();
      resolve({
        address: bound !== null && typeof bound === "object"
          ? tcpAddress(bound.address, bound.port)
          : wanted,
        raw: server,
        close() {
          // Its own promise waits for every connection; the port is free now.
          server.close();
          return Promise.resolve();
        },
        updateTls() {
          throw new TypeError("Cannot update TLS: this server has none");
        },
        ref: () => void server.ref(),
        unref: () => void server.unref(),
      });
    });
  });
}

/** What a connection is made of: its socket, and the path of a Unix one. */
type Wrap = (socket: net.Socket, path?: string) => Transport;

/** One attempt, at one address. */
function connectOnce(
  options: DialOptions,
  wrap: Wrap,
  signal: AbortSignal | undefined,
): Promise<Transport> {
  const { hostname, port, path, localAddress } = options;
  const address: Address = path === undefined
    ? tcpAddress(hostname, port)
    : { transport: "unix", path };
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const socket = net.connect({
      ...(path === undefined
        ? { host: hostname, port: port!, localAddress }
        : { path }),
      allowHalfOpen: true,
      noDelay: true,
    });
    socket.pause();
    const settle = () => {
      signal?.removeEventListener("abort", abort);
      socket.removeListener("error", refuse);
      socket.removeListener("connect", accept);
    };
    const abort = () => {
      settle();
      socket.on("error", () => {});
      socket.destroy();
      reject(signal!.reason);
    };
    const refuse = (error: Error) => {
      settle();
      reject(connectError(error, address));
    };
    const accept = () => {
      settle();
      resolve(wrap(socket, path));
    };
    signal?.addEventListener("abort", abort, { once: true });
    socket.once("error", refuse);
    socket.once("connect", accept);
  });
}

/** The promise, or the signal's reason as soon as it aborts. */
function orAbort<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() =>
      signal.removeEventListener("abort", abort)
    );
  });
}

function asNode(socket: net.Socket, path?: string): Transport {
  return new NodeTransport(socket, path);
}

/** Connects with node:net; what stands then is made a transport by `wrap`. */
export async function connectBy(
  options: DialOptions,
  wrap: Wrap = asNode,
): Promise<Transport> {
  const { hostname = "", path, signal } = options;
  if (path !== undefined || net.isIP(hostname) !== 0) {
    return await connectOnce(options, wrap, signal);
  }
  signal?.throwIfAborted();
  // Node's own way through the addresses of a name gives each only 250 ms.
  let found;
  try {
    found = await orAbort(lookup(hostname, { all: true }), signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw connectError(error, tcpAddress(hostname, options.port));
  }
  return await raceAddresses(
    interleave(found),
    (address, given) =>
      connectOnce({ ...options, hostname: address }, wrap, given),
    { signal, discard: (late) => late.destroy() },
  );
}

/** All addresses of a name, or those of one family, by the system's resolver. */
export async function lookupAll(
  hostname: string,
  family: 4 | 6 | undefined,
): Promise<{ address: string; family: number }[]> {
  return await lookup(hostname, { all: true, family: family ?? 0 });
}

/** The address to listen on for a name, with the error as of listening. */
export async function addressOf(
  hostname: string,
  port: number,
): Promise<string> {
  if (net.isIP(hostname) !== 0) return hostname;
  try {
    return (await lookup(hostname)).address;
  } catch (error) {
    throw listenError(error, tcpAddress(hostname, port));
  }
}

/** TCP on node:net. */
export const runtime: TcpRuntime = {
  listen: (options, events) =>
    replacingStale(options.path, () => listen(options, events)),
  connect: (options) => connectBy(options),
};
