import * as net from "node:net";
import process from "node:process";
import { free } from "../streams/_free.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { cutError } from "./_errors.ts";
import {
  localOf,
  peerOf,
  shareLocal,
  shareText,
  tcpAddress,
} from "./_node_names.ts";
import type { Named } from "./_node_names.ts";
import { statusOf } from "./_node_wrap.ts";
import type { TlsInfo, Transport, TransportEvents } from "./_transport.ts";

/** What is used of `net.Socket`: spelled out, for no runtime has all types. */
type NetSocket = net.Socket & {
  resetAndDestroy?(): void;
  /** What it failed with, before anybody is told. */
  readonly errored?: unknown;
  push(chunk: unknown, encoding?: string): boolean;
  readonly _handle?: Named | null;
  /** The transport that it is used by, for those who hear of its events. */
  [owner]?: NodeTransport;
};

const owner = Symbol("sluice.transport");

/** Whether this is Node, and not another runtime's `node:net`. */
const isNode = process.versions.bun === undefined &&
  (process.versions as { deno?: string }).deno === undefined;
/** What it does with what was read. */
const { push: streamPush } = net.Socket.prototype as unknown as NetSocket;
/** Its callback tells when what was written before it is with the kernel. */
const none = new Uint8Array(0);

/** What every `net.Socket` listens to its own end with; asked of a new one. */
let nodesOnEnd: (() => void) | undefined;

const ENOTCONN = statusOf("ENOTCONN");

function findOnEnd(): () => void {
  const [first = () => {}] = new net.Socket().listeners("end");
  return first as () => void;
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
      const { _handle: handle } = this.#socket;
      const { remoteAddress: address, remotePort: port } = socket;
      const peer = peerOf(handle) ?? { address, port };
      this.#peer = shareText(peer.address);
      this.#port = peer.port ?? 0;
      this.localAddress = localOf(handle) ??
        shareLocal({ address: socket.localAddress, port: socket.localPort });
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
    const { buffer, byteLength } = chunk;
    transport.#events!.data(
      byteLength === buffer.byteLength
        ? new Uint8Array(buffer)
        // Node 26 leaves some in more memory, with who knows what in it.
        : new Uint8Array(chunk),
    );
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
    this.#socket.on("data", NodeTransport.#onData);
    if (isNode) this.#socket.push = NodeTransport.#push;
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
    // Whoever listens beside us has the same memory.
    if (this.#socket.listenerCount("data") === 1) free(chunk);
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

  pause(): void {
    this.#paused = true;
    if (!this.#over && !this.#ended) this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#over && this.#events !== undefined) this.#socket.resume();
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
