import type { Socket } from "node:net";
import { free } from "../streams/_free.ts";
import { Ring } from "../streams/_ring.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { cutError, listenError } from "./_errors.ts";
import * as node from "./_node.ts";
import { NodeTransport } from "./_node_socket.ts";
import { replacingStale } from "./_node_stale.ts";
import type {
  DialOptions,
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import type { Transport, TransportEvents } from "./_transport.ts";

// What is used of Bun, spelled out: the npm build has no types of it.
interface BunSocket {
  data: BunTransport | undefined;
  /** How many bytes the kernel took; negative when it is closed. */
  write(bytes: Uint8Array): number;
  shutdown(): void;
  close(): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  ref(): void;
  unref(): void;
  setNoDelay(on: boolean): void;
  setKeepAlive(on: boolean, delay?: number): void;
  /** Other listeners from now on. */
  reload?(options: { socket: object }): void;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly localAddress?: string;
  readonly localPort?: number;
}

interface BunListener {
  readonly hostname: string;
  readonly port: number;
  stop(force?: boolean): void;
  ref(): void;
  unref(): void;
}

interface BunNet {
  listen(options: object): BunListener;
}

const bun = (globalThis as unknown as { Bun: BunNet }).Bun;

function tcpAddress(hostname = "", port = 0): Address {
  return { transport: "tcp", hostname, port };
}

/** A socket of Bun's own as a transport. */
export class BunTransport implements Transport {
  readonly remoteAddress: Address;
  readonly localAddress: Address;
  readonly #socket: BunSocket;
  /** What the kernel did not take, in order. */
  readonly #queue = new Ring<Uint8Array>();
  /** What came while paused: the event loop may have had it already. */
  readonly #held = new Ring<Uint8Array>();
  #events: TransportEvents | undefined;
  #error: NetError | undefined;
  #pending = 0;
  #paused = false;
  #ending = false;
  #ended = false;
  #toldEnd = false;
  /** No more calls on the socket make sense. */
  #over = false;
  #closed = false;
  #told = false;

  /** `at` is the path of a Unix socket, or where it was connected to. */
  constructor(socket: BunSocket, at?: string | DialOptions) {
    this.#socket = socket;
    if (typeof at === "string") {
      this.remoteAddress = this.localAddress = { transport: "unix", path: at };
      return;
    }
    // A socket that was reset already knows no peer.
    const { remoteAddress = at?.hostname, remotePort = at?.port } = socket;
    this.remoteAddress = tcpAddress(remoteAddress, remotePort);
    this.localAddress = tcpAddress(socket.localAddress, socket.localPort);
  }

  get raw(): unknown {
    return this.#socket;
  }

  get attached(): boolean {
    return this.#events !== undefined;
  }

  get pending(): number {
    return this.#over ? 0 : this.#pending;
  }

  attach(events: TransportEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    if (!first) return;
    if (this.#closed) queueMicrotask(() => this.#deliver());
    else if (!this.#over && !this.#paused) this.#socket.resume();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#over || this.#ending || bytes.byteLength === 0) return true;
    let rest = bytes;
    if (this.#queue.length === 0) {
      const size = this.#socket.write(bytes);
      if (size === bytes.byteLength) return true;
      // Broken: its close is on the way.
      if (size < 0) return false;
      rest = bytes.subarray(size);
    }
    this.#queue.push(rest);
    this.#pending += rest.byteLength;
    return false;
  }

  recycle(chunk: Uint8Array): void {
    free(chunk);
  }

  end(): void {
    if (this.#over || this.#ending) return;
    this.#ending = true;
    if (this.#pending === 0) this.#socket.shutdown();
  }

  destroy(): void {
    if (this.#over) return;
    this.#drop();
    this.#socket.close();
    this.onClose();
  }

  reset(): void {
    if (this.#over) return;
    this.#drop();
    this.#socket.terminate();
    this.onClose();
  }

  #drop(): void {
    this.#over = true;
    this.#ended = this.#toldEnd = true;
    this.#queue.clear();
    this.#held.clear();
  }

  pause(): void {
    if (this.#over || this.#paused) return;
    this.#paused = true;
    if (this.#events !== undefined) this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#events === undefined) return;
    if (!this.#over) this.#socket.resume();
    if (this.#held.length > 0 || this.#ended || this.#closed) {
      queueMicrotask(() => this.#deliver());
    }
  }

  setNoDelay(on: boolean): void {
    if (!this.#over) this.#socket.setNoDelay(on);
  }

  setKeepAlive(on: boolean, delay?: number): void {
    if (!this.#over) this.#socket.setKeepAlive(on, delay);
  }

  ref(): void {
    if (!this.#over) this.#socket.ref();
  }

  unref(): void {
    if (!this.#over) this.#socket.unref();
  }

  // What Bun reports.

  onData(chunk: Uint8Array): void {
    if (this.#over) return;
    // Each chunk has its own memory, of its own size: it may be kept.
    if (this.#paused || this.#held.length > 0 || this.#events === undefined) {
      this.#held.push(chunk);
    } else this.#events.data(chunk);
  }

  onEnd(): void {
    if (this.#over || this.#ended) return;
    this.#ended = true;
    this.#deliver();
  }

  onDrain(): void {
    if (this.#over || this.#pending === 0) return;
    for (let bytes = this.#queue.shift(); bytes; bytes = this.#queue.shift()) {
      const size = this.#socket.write(bytes);
      if (size < 0) return;
      this.#pending -= size;
      if (size < bytes.byteLength) {
        this.#queue.unshift(bytes.subarray(size));
        return;
      }
    }
    if (this.#ending) this.#socket.shutdown();
    this.#events?.drain();
  }

  onClose(error?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    // Closed by the peer while ours was open still: whatever Bun says, that
    // is no FIN, and what the kernel had is lost.
    if (error == null && !this.#over && (!this.#ending || this.#pending > 0)) {
      this.#error = cutError({ code: "ECONNRESET" }, this.remoteAddress);
    }
    this.#over = true;
    if (error != null) {
      this.#error = cutError(error, this.remoteAddress);
      this.#held.clear();
      this.#toldEnd = true;
    } else {
      // Bun leaves the end out when the FIN came last.
      this.#ended = true;
    }
    queueMicrotask(() => this.#deliver());
  }

  /** Tells what has been held back, in order, as far as it may. */
  #deliver(): void {
    const events = this.#events;
    if (events === undefined || this.#told) return;
    while (this.#held.length > 0) {
      if (this.#paused) return;
      events.data(this.#held.shift()!);
    }
    if (this.#ended && !this.#toldEnd) {
      this.#toldEnd = true;
      events.end();
    }
    if (this.#closed && !this.#told) {
      this.#told = true;
      queueMicrotask(() => this.#events!.close(this.#error));
    }
  }
}

/** What Bun tells of a socket goes to its transport. */
const handlers = {
  binaryType: "uint8array",
  data: (socket: BunSocket, chunk: Uint8Array) => socket.data?.onData(chunk),
  end: (socket: BunSocket) => socket.data?.onEnd(),
  drain: (socket: BunSocket) => socket.data?.onDrain(),
  close: (socket: BunSocket, error?: unknown) => socket.data?.onClose(error),
  error(socket: BunSocket, error: { syscall?: string }) {
    if (error.syscall !== undefined) socket.data?.onClose(error);
    // Thrown by a listener of ours: Bun would keep it to itself.
    else {queueMicrotask(() => {
        throw error;
      });}
  },
};

function listenHere(
  options: ListenOptions,
  events: ListenEvents,
): RuntimeServer {
  const { hostname, port, path, backlog, reusePort } = options;
  const wanted: Address = path === undefined
    ? tcpAddress(hostname, port)
    : { transport: "unix", path };
  let listener: BunListener;
  try {
    listener = bun.listen({
      ...(path === undefined
        ? { hostname, port, reusePort, backlog }
        : { unix: path, backlog }),
      allowHalfOpen: true,
      socket: {
        ...handlers,
        open(socket: BunSocket) {
          const transport = socket.data = new BunTransport(socket, path);
          events.connection(transport);
          // Nothing is read before somebody listens.
          if (!transport.attached) socket.pause();
        },
      },
    });
  } catch (error) {
    throw listenError(error, wanted);
  }
  let open = true;
  return {
    address: path === undefined
      ? tcpAddress(listener.hostname, listener.port)
      : wanted,
    raw: listener,
    close() {
      if (open) {
        open = false;
        listener.stop();
      }
      return Promise.resolve();
    },
    updateTls() {
      throw new TypeError("Cannot update TLS: this server has none");
    },
    ref: () => listener.ref(),
    unref: () => listener.unref(),
  };
}

/** A `net.Socket`, with the socket of Bun's own below it. */
interface HandleOwner {
  readonly _handle?: BunSocket | null;
}

/**
 * A socket that node:net connected, without node:net from now on: it has not
 * read, and hears nothing any more. Its bytes cost half as much.
 */
function takeOver(socket: Socket, options: DialOptions): Transport {
  const { path } = options;
  const { _handle: handle } = socket as unknown as HandleOwner;
  if (typeof handle?.reload !== "function") {
    return new NodeTransport(socket, path);
  }
  handle.reload({ socket: handlers });
  handle.pause();
  return handle.data = new BunTransport(handle, path ?? options);
}

/**
 * TCP on Bun's own sockets. node:net connects them: an attempt of `Bun.connect`
 * cannot be given up, it would stay in the kernel and keep the process alive.
 */
export const runtime: TcpRuntime = {
  async listen(options, events) {
    const { hostname, port = 0, path } = options;
    if (path === undefined && hostname !== undefined) {
      // Bun.listen does not say that a name was not found.
      const address = await node.addressOf(hostname, port);
      return listenHere({ ...options, hostname: address }, events);
    }
    return await replacingStale(path, () => listenHere(options, events));
  },
  connect: (options) =>
    node.connectBy(
      options,
      options.secure ? undefined : (socket) => takeOver(socket, options),
    ),
};
