import { Socket } from "node:net";
import type { SocketConstructorOpts } from "node:net";
import { free } from "../streams/_free.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { cutError } from "./_errors.ts";
import { localOf, peerOf, shareText, tcpAddress } from "./_node_names.ts";
import { bufferOf, giveShared, OwnReads, sharedBuffer } from "./_node_read.ts";
import { NodeTransport } from "./_node_socket.ts";
import { statusOf, systemError } from "./_node_wrap.ts";
import type { Handle, Request, StreamWrap } from "./_node_wrap.ts";
import type { Transport, TransportEvents } from "./_transport.ts";

// A `net.Socket` costs two to three KiB, and with each write about as much
// time as a small write itself. These are Node's sockets without it: what it
// stands on is used here as it uses it, and where somebody asks for the socket
// there is one, from then on.

/** A server that counts its connections, as `net.Server` does. */
export interface Counting {
  _connections?: number;
  _emitCloseIfDrained?(): void;
}

const owner = Symbol("sluice.transport");

/** A handle that is in use here. */
type Owned = Handle & { [owner]?: HandleTransport };

/** What libuv calls the end of a stream, on every system. */
const EOF = -4095;
const ECONNRESET = statusOf("ECONNRESET");
const ENOTCONN = statusOf("ENOTCONN");

/** Set before the first transport. */
let wrap: StreamWrap;
let state: Int32Array;
let readResult = 0;
let wasAsync = 0;
let writeError = 0;
/** For the next write, until one does not end at once; not on Node 26. */
let spare: Request | null = null;

/** To be told before the first transport is made. */
export function useWrap(found: StreamWrap): void {
  wrap = found;
  state = wrap.streamBaseState;
  readResult = wrap.kReadBytesOrError;
  wasAsync = wrap.kLastWriteWasAsync;
  if (wrap.kLastWriteErr === undefined) spare = new wrap.WriteWrap();
  else writeError = wrap.kLastWriteErr;
}

/** A socket of libuv as a transport. */
export class HandleTransport implements Transport {
  readonly localAddress: Address;
  /** Where the peer is, or the name of its host: then a port belongs to it. */
  #peer: Address | string;
  readonly #port: number = 0;
  readonly #handle: Owned;
  /** Who counts it. */
  readonly #server: Counting | undefined;
  #events: TransportEvents | undefined;
  /** What one read leaves to keep. */
  #reads: OwnReads | undefined;
  /** Bytes of the write that is under way, and what waits behind it. */
  #sending = 0;
  #waiting: Uint8Array[] | undefined;
  #waitingSize = 0;
  #error: NetError | undefined;
  /** In place of this one, from when somebody asked for the socket. */
  #socket: NodeTransport | undefined;
  #reading = false;
  #paused = false;
  /** The peer has sent its FIN. */
  #ended = false;
  /** Ours is wanted; it is with the kernel. */
  #ending = false;
  #finished = false;
  /** Nothing is to be done with the handle any more. */
  #over = false;
  #closed = false;

  /** `path` is that of a Unix socket. */
  constructor(handle: Owned, path?: string, server?: Counting) {
    this.#handle = handle;
    this.#server = server;
    handle[owner] = this;
    if (path !== undefined) {
      this.#peer = this.localAddress = { transport: "unix", path };
    } else {
      const { address, port = 0 } = peerOf(handle) ?? {};
      this.#peer = shareText(address);
      this.#port = port;
      this.localAddress = localOf(handle) ?? tcpAddress();
    }
  }

  get remoteAddress(): Address {
    const peer = this.#peer;
    if (typeof peer !== "string") return peer;
    return this.#peer = tcpAddress(peer, this.#port);
  }

  get raw(): unknown {
    return (this.#socket ?? this.#becomeSocket()).raw;
  }

  get attached(): boolean {
    return this.#events !== undefined;
  }

  get pending(): number {
    if (this.#socket !== undefined) return this.#sending + this.#socket.pending;
    return this.#over ? 0 : this.#sending + this.#waitingSize;
  }

  get gathers(): boolean {
    return true;
  }

  attach(events: TransportEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    if (this.#socket !== undefined) this.#socket.attach(events);
    else if (first && this.#closed) {
      queueMicrotask(() => this.#events!.close(this.#error));
    } else if (first && !this.#over) {
      this.#handle.useUserBuffer(sharedBuffer());
      this.#handle.onread = HandleTransport.#onRead;
      if (!this.#paused) this.#read();
    }
  }

  #read(): void {
    if (this.#reading || this.#ended) return;
    this.#reading = true;
    const status = this.#handle.readStart();
    if (status < 0) this.#fail(status, "read");
  }

  // The same functions for all sockets, as there may be very many.

  /** Gives what is read into from now on, once it may be another one. */
  static #onRead(this: Owned): Uint8Array | undefined {
    const transport = this[owner]!;
    try {
      transport.#take(state[readResult]);
    } catch (error) {
      // Of a listener. Thrown here, libuv would go on with the buffer that was
      // given away.
      queueMicrotask(() => {
        throw error;
      });
    }
    return transport.#reads?.buffer;
  }

  #take(size: number): void {
    if (this.#over || size === 0) return;
    if (size < 0) {
      if (size === EOF) this.#takeEnd();
      else this.#fail(size, "read");
      return;
    }
    const events = this.#paused ? undefined : this.#events;
    if (
      this.#reads === undefined && events !== undefined &&
      giveShared(size, events)
    ) return;
    this.#reads ??= new OwnReads();
    if (!this.#reads.take(size, events)) {
      this.#reading = false;
      this.#handle.readStop();
    }
  }

  #takeEnd(): void {
    if (this.#ended) return;
    this.#ended = true;
    // libuv of Node 20 and 22 takes a RST right behind data for a FIN. The
    // kernel knows no peer then.
    if (!this.#ending && this.#handle.getpeername?.({}) === ENOTCONN) {
      this.#fail(ECONNRESET, "read");
      return;
    }
    this.#events!.end();
    this.#closeWhenDone();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over || this.#ending) return this.#writeLate(bytes);
    if (this.#sending > 0) return this.#wait(bytes);
    return this.#dispatched(
      this.#handle.writeBuffer(spare, bytes),
      bytes,
      bytes.byteLength,
    );
  }

  writeAll(pieces: readonly Uint8Array[]): boolean {
    if (this.#over || this.#ending || this.#sending > 0) {
      let sent = true;
      for (const piece of pieces) sent = this.write(piece);
      return sent;
    }
    let size = 0;
    for (const piece of pieces) size += piece.byteLength;
    return this.#dispatched(
      this.#handle.writev(spare, pieces, true),
      pieces,
      size,
    );
  }

  #writeLate(bytes: Uint8Array): boolean {
    if (this.#socket !== undefined) return this.#socket.write(bytes);
    // Broken: its close is on the way.
    return this.#error === undefined;
  }

  #wait(bytes: Uint8Array): false {
    (this.#waiting ??= []).push(bytes);
    this.#waitingSize += bytes.byteLength;
    return false;
  }

  /** Sees to a write that libuv was given. `true`: the kernel has it all. */
  #dispatched(
    result: number | Request,
    bytes: Uint8Array | readonly Uint8Array[],
    size: number,
  ): boolean {
    let request: Request;
    if (typeof result !== "number") {
      request = result;
      const status = request.writeStatus ?? state[writeError];
      if (status < 0) return this.#fail(status, "write");
      if (request.writeStatus === 0) return true;
    } else {
      if (result === 0 && state[wasAsync] === 0) return true;
      request = spare!;
      if (spare !== null) spare = new wrap.WriteWrap();
      if (result < 0) return this.#fail(result, "write");
    }
    request.oncomplete = HandleTransport.#onWritten;
    // The list may be its owner's.
    request.bytes = bytes instanceof Uint8Array ? bytes : bytes.slice();
    this.#sending = size;
    return false;
  }

  static #onWritten(this: Request, status: number, handle: unknown): void {
    this.bytes = undefined;
    (handle as Owned)[owner]!.#written(status);
  }

  #written(status: number): void {
    this.#sending = 0;
    if (this.#socket !== undefined) {
      if (status < 0) {
        (this.raw as Socket).destroy(systemError(status, "write"));
      } else if (this.#socket.pending === 0) this.#events?.drain();
      return;
    }
    if (this.#over) return;
    if (status < 0) {
      this.#fail(status, "write");
      return;
    }
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      const size = this.#waitingSize;
      this.#waitingSize = 0;
      const sent = this.#dispatched(
        this.#handle.writev(spare, waiting, true),
        waiting,
        size,
      );
      if (this.#ending && !this.#over) this.#shutDown();
      if (!sent) return;
    }
    if (!this.#over) this.#events?.drain();
  }

  recycle(chunk: Uint8Array): void {
    if (this.#socket !== undefined) this.#socket.recycle(chunk);
    else if (this.#reads !== undefined) this.#reads.recycle(chunk);
    // Never what all sockets are read into.
    else if (chunk.buffer !== sharedBuffer().buffer) free(chunk);
  }

  end(): void {
    if (this.#socket !== undefined) this.#socket.end();
    if (this.#over || this.#ending) return;
    this.#ending = true;
    if (this.#waiting === undefined) this.#shutDown();
  }

  #shutDown(): void {
    const request = new wrap.ShutdownWrap();
    request.oncomplete = HandleTransport.#onShutDown;
    const status = this.#handle.shutdown(request);
    // It was at once, or there is nothing left to end.
    if (status === 1 || status === ENOTCONN) this.#finish();
    else if (status < 0) this.#fail(status, "shutdown");
  }

  static #onShutDown(this: Request, _status: number, handle: unknown): void {
    (handle as Owned)[owner]!.#finish();
  }

  #finish(): void {
    this.#finished = true;
    this.#closeWhenDone();
  }

  #closeWhenDone(): void {
    if (this.#ended && this.#finished && !this.#over) this.#close();
  }

  #fail(status: number, call: string): false {
    this.#error ??= cutError(systemError(status, call), this.remoteAddress);
    this.#close();
    return false;
  }

  #close(reset = false): void {
    this.#over = true;
    this.#waiting = undefined;
    const handle = this.#handle;
    // One that is being shut down libuv does not reset.
    if (reset && !this.#ending && handle.reset !== undefined) {
      handle.reset(HandleTransport.#onClosed);
    } else handle.close(HandleTransport.#onClosed);
  }

  static #onClosed(this: Owned): void {
    this[owner]!.#tellClose();
  }

  #tellClose(): void {
    this.#closed = true;
    this.#reads?.release();
    const server = this.#server;
    if (server?._connections !== undefined) {
      server._connections--;
      server._emitCloseIfDrained?.();
    }
    this.#events?.close(this.#error);
  }

  destroy(): void {
    if (this.#socket !== undefined) this.#socket.destroy();
    else if (!this.#over) this.#close();
  }

  reset(): void {
    if (this.#socket !== undefined) this.#socket.reset();
    else if (!this.#over) this.#close(true);
  }

  /** A disconnect is told of only while it reads: until one chunk is held. */
  pause(): void {
    this.#paused = true;
    this.#socket?.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#socket !== undefined) this.#socket.resume();
    else if (this.#over || this.#events === undefined) return;
    else if (this.#reads?.held === undefined) this.#read();
    else queueMicrotask(() => this.#giveHeld());
  }

  #giveHeld(): void {
    if (this.#paused || this.#over) return;
    const reads = this.#reads!;
    const { held } = reads;
    if (held === undefined) return;
    reads.held = undefined;
    this.#events!.data(held);
    if (!this.#over && !this.#paused) this.#read();
  }

  setNoDelay(on: boolean): void {
    if (this.#socket !== undefined) this.#socket.setNoDelay(on);
    else if (!this.#over) this.#handle.setNoDelay?.(on);
  }

  setKeepAlive(on: boolean, delay = 0): void {
    if (this.#socket !== undefined) this.#socket.setKeepAlive(on, delay);
    else if (!this.#over) {
      this.#handle.setKeepAlive?.(on, Math.trunc(delay / 1000));
    }
  }

  ref(): void {
    if (this.#socket !== undefined) this.#socket.ref();
    else if (!this.#over) this.#handle.ref();
  }

  unref(): void {
    if (this.#socket !== undefined) this.#socket.unref();
    else if (!this.#over) this.#handle.unref();
  }

  /** Has a `net.Socket` in its place from now on, in the same state. */
  #becomeSocket(): NodeTransport {
    if (this.#over) {
      return this.#socket = new NodeTransport(new Socket().destroy(), this);
    }
    this.#over = true;
    const events = this.#events;
    const socket: Socket = new Socket({
      handle: this.#handle,
      allowHalfOpen: true,
      pauseOnCreate: true,
      readable: true,
      writable: true,
      // It has been told to read into a buffer of ours.
      onread: events === undefined ? undefined : {
        buffer: sharedBuffer(),
        callback: (size: number, buffer: Uint8Array) =>
          socket.push(bufferOf(buffer, size)),
      },
    } as SocketConstructorOpts);
    Object.assign(socket, { server: this.#server, _server: this.#server });
    const below = this.#socket = new NodeTransport(socket, this);
    this.#reads?.release();
    const held = this.#reads?.held;
    if (held !== undefined) socket.unshift(held);
    for (const bytes of this.#waiting ?? []) below.write(bytes);
    this.#waiting = undefined;
    if (this.#ending) below.end();
    if (this.#paused) below.pause();
    if (events !== undefined) {
      below.attach(this.#ended ? endless(events) : events);
    }
    return below;
  }
}

/** The same, for whom the end has been told already. */
function endless(events: TransportEvents): TransportEvents {
  return {
    borrows: events.borrows,
    data: (chunk, lent) => events.data(chunk, lent),
    end() {},
    drain: () => events.drain(),
    close: (error) => events.close(error),
  };
}
