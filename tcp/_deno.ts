import { setImmediate } from "node:timers";
import { Ring } from "../streams/_ring.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { codeOf, connectError, cutError, listenError } from "./_errors.ts";
import { ReadBuffer } from "./_read_buffer.ts";
import type {
  DialOptions,
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import type { Transport, TransportEvents } from "./_transport.ts";

/** How long accepting rests when it failed for want of resources, in ms. */
const ACCEPT_PAUSE = 50;

// What is used of Deno, spelled out: the npm build has no types of it.
interface DenoAddr {
  transport: string;
  hostname?: string;
  port?: number;
  path?: string | null;
}

export interface DenoConn {
  read(into: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
  closeWrite(): Promise<void>;
  ref?(): void;
  unref?(): void;
  setNoDelay?(on: boolean): void;
  setKeepAlive?(on: boolean): void;
  readonly localAddr: DenoAddr;
  readonly remoteAddr: DenoAddr;
}

interface DenoListener {
  readonly addr: DenoAddr;
  accept(): Promise<DenoConn>;
  close(): void;
  ref(): void;
  unref(): void;
}

interface DenoNet {
  listen(options: object): DenoListener;
  connect(options: object): Promise<DenoConn>;
}

const deno = (globalThis as unknown as { Deno: DenoNet }).Deno;

/** What `read` and `write` of a `Deno.Conn` call. */
interface DenoCore {
  /** Where a connection has the number of its resource. */
  readonly internalRidSymbol: symbol;
  /** 0 is the end. */
  read(rid: number, into: Uint8Array): Promise<number>;
  write(rid: number, bytes: Uint8Array): Promise<number>;
  refOpPromise(promise: Promise<number>): void;
  unrefOpPromise(promise: Promise<number>): void;
}

/**
 * Read and written straight, a socket costs half the objects, and a seventh
 * less time. Deno promises none of this: where one is missing its connections
 * are read and written by their own methods.
 */
const core = findCore();

function findCore(): DenoCore | undefined {
  const { internal } = deno as { internal?: symbol };
  if (typeof internal !== "symbol") return undefined;
  const { core } = (deno as unknown as Record<symbol, { core?: DenoCore }>)[
    internal
  ] ?? {};
  const whole = typeof core?.internalRidSymbol === "symbol" &&
    [core.read, core.write, core.refOpPromise, core.unrefOpPromise].every(
      (method) => typeof method === "function",
    );
  return whole ? core : undefined;
}

function ridOf(conn: DenoConn): number | undefined {
  if (core === undefined) return undefined;
  const rid = (conn as unknown as Record<symbol, unknown>)[
    core.internalRidSymbol
  ];
  return typeof rid === "number" ? rid : undefined;
}

function tcpAddress({ hostname = "", port = 0 }: DenoAddr): Address {
  return { transport: "tcp", hostname, port };
}

/**
 * A `Deno.Conn` as a transport. Deno tells of a disconnect only to a pending
 * read, so one is pending always: while paused it may fill one chunk, which
 * is held, and after that the kernel stops the peer.
 */
export class DenoTransport implements Transport {
  readonly remoteAddress: Address;
  readonly localAddress: Address;
  readonly #conn: DenoConn;
  /** Of the resource, when that is used in place of the connection. */
  readonly #rid: number | undefined;
  /** The read that is pending, when it was begun so. */
  #straight: Promise<number> | undefined;
  /** Whether `unref` was called: the connection keeps account of its reads. */
  #loose = false;
  readonly #buffer = new ReadBuffer();
  readonly #queue = new Ring<Uint8Array>();
  #events: TransportEvents | undefined;
  #error: NetError | undefined;
  /** What is being written. */
  #current: Uint8Array | undefined;
  #pending = 0;
  #writing = false;
  #reading = false;
  #paused = false;
  #held: Uint8Array | undefined;
  #ending = false;
  #sentEnd = false;
  #ended = false;
  #over = false;
  #closed = false;

  constructor(conn: DenoConn, path?: string) {
    this.#conn = conn;
    this.#rid = ridOf(conn);
    const unix: Address | undefined = path === undefined
      ? undefined
      : { transport: "unix", path };
    this.remoteAddress = unix ?? tcpAddress(conn.remoteAddr);
    this.localAddress = unix ?? tcpAddress(conn.localAddr);
  }

  get raw(): unknown {
    return this.#conn;
  }

  get pending(): number {
    return this.#over ? 0 : this.#pending;
  }

  attach(events: TransportEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    if (!first) return;
    if (this.#over) this.#tellClosed();
    else if (!this.#paused) this.#read();
  }

  #read(): void {
    if (this.#reading || this.#ended) return;
    this.#reading = true;
    this.#pull();
  }

  #pull(): void {
    const space = this.#buffer.space();
    const rid = this.#rid;
    // An async function would make more objects of each.
    if (rid === undefined || this.#loose) {
      this.#conn.read(space).then(this.#onRead, this.#onCut);
    } else {
      this.#straight = core!.read(rid, space);
      this.#straight.then(this.#onRead, this.#onCut);
    }
  }

  readonly #onRead = (size: number | null): void => {
    if (this.#over) return;
    this.#straight = undefined;
    if (size === null || size === 0) {
      this.#ended = true;
      this.#events!.end();
      this.#checkOver();
      return;
    }
    if (this.#paused) {
      this.#held = this.#buffer.take(size);
      this.#reading = false;
      return;
    }
    const events = this.#events!;
    const { borrows } = events;
    if (borrows === "all" || (borrows === true && this.#buffer.lends(size))) {
      events.data(this.#buffer.lend(size), true);
    } else events.data(this.#buffer.take(size));
    if (!this.#over) this.#pull();
  };

  write(bytes: Uint8Array): boolean {
    if (this.#over || this.#ending || bytes.byteLength === 0) return true;
    this.#pending += bytes.byteLength;
    if (this.#writing) this.#queue.push(bytes);
    else this.#put(bytes);
    return false;
  }

  recycle(chunk: Uint8Array): void {
    this.#buffer.recycle(chunk);
  }

  /** Writes this, and then what has been queued. */
  #put(bytes: Uint8Array): void {
    this.#current = bytes;
    this.#writing = true;
    // An async function would be one more promise for each of them.
    const rid = this.#rid;
    const written = rid === undefined
      ? this.#conn.write(bytes)
      : core!.write(rid, bytes);
    written.then(this.#onWritten, this.#onCut);
  }

  readonly #onWritten = (size: number): void => {
    if (this.#over) return;
    this.#pending -= size;
    const bytes = this.#current!;
    if (size < bytes.byteLength) return this.#put(bytes.subarray(size));
    if (this.#queue.length > 0) return this.#put(this.#queue.shift()!);
    this.#current = undefined;
    this.#writing = false;
    if (this.#ending) this.#sendEnd();
    this.#events?.drain();
  };

  readonly #onCut = (error: unknown): void => this.#fail(error);

  end(): void {
    if (this.#over || this.#ending) return;
    this.#ending = true;
    if (!this.#writing) this.#sendEnd();
  }

  #sendEnd(): void {
    this.#conn.closeWrite().then(() => {
      this.#sentEnd = true;
      this.#checkOver();
    }, (error) => this.#fail(error));
  }

  destroy(): void {
    if (this.#over) return;
    this.#over = true;
    this.#held = this.#current = this.#straight = undefined;
    this.#queue.clear();
    try {
      this.#conn.close();
    } catch {
      // It was closed underneath us: what was wanted.
    }
    if (this.#events !== undefined) this.#tellClosed();
  }

  /** Deno cannot send a RST: it has no SO_LINGER. This is `destroy`. */
  reset(): void {
    this.destroy();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#events === undefined || this.#over) return;
    if (this.#held !== undefined) queueMicrotask(() => this.#giveHeld());
    else this.#read();
  }

  #giveHeld(): void {
    const held = this.#held;
    if (held === undefined || this.#paused || this.#over) return;
    this.#held = undefined;
    this.#events!.data(held);
    if (!this.#over && !this.#paused) this.#read();
  }

  setNoDelay(on: boolean): void {
    this.#try(() => this.#conn.setNoDelay?.(on));
  }

  /** Deno has no say in the delay: the system's holds. */
  setKeepAlive(on: boolean, _delay?: number): void {
    this.#try(() => this.#conn.setKeepAlive?.(on));
  }

  ref(): void {
    this.#try(() => {
      this.#conn.ref?.();
      if (this.#straight !== undefined) core!.refOpPromise(this.#straight);
    });
  }

  unref(): void {
    this.#loose = true;
    this.#try(() => {
      this.#conn.unref?.();
      if (this.#straight !== undefined) core!.unrefOpPromise(this.#straight);
    });
  }

  #try(change: () => void): void {
    if (this.#over) return;
    try {
      change();
    } catch {
      // The peer is gone already: the next read tells.
    }
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#error = cutError(error, this.remoteAddress);
    this.destroy();
  }

  #checkOver(): void {
    if (this.#ended && this.#sentEnd) this.destroy();
  }

  #tellClosed(): void {
    if (this.#closed) return;
    this.#closed = true;
    queueMicrotask(() => this.#events!.close(this.#error));
  }
}

/** Failures of one connection that was about to be accepted, not of ours. */
const PASSING = new Set(["ECONNABORTED", "ECONNRESET", "EINTR", "EPERM"]);

async function accept(
  listener: DenoListener,
  isOpen: () => boolean,
  events: ListenEvents,
  address: Address,
): Promise<void> {
  const path = address.transport === "unix" ? address.path : undefined;
  while (isOpen()) {
    let conn: DenoConn;
    try {
      conn = await listener.accept();
    } catch (error) {
      if (!isOpen()) return;
      let code = codeOf(error);
      // A client that was gone before Deno asked for its address.
      if (code === "ENOTCONN") code = "ECONNRESET";
      const cause = new Error((error as Error).message, { cause: error });
      events.error(listenError(Object.assign(cause, { code }), address));
      if (!PASSING.has(code)) {
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE));
      }
      continue;
    }
    if (!isOpen()) {
      conn.close();
      return;
    }
    const transport = new DenoTransport(conn, path);
    transport.setNoDelay(true);
    events.connection(transport);
  }
}

function listenHere(
  options: ListenOptions,
  events: ListenEvents,
): RuntimeServer {
  const { hostname, port, path, backlog } = options;
  const wanted: Address = path === undefined
    ? tcpAddress({ transport: "tcp", hostname, port })
    : { transport: "unix", path };
  let listener: DenoListener;
  try {
    listener = deno.listen(
      path === undefined
        ? { hostname, port, tcpBacklog: backlog }
        : { transport: "unix", path },
    );
  } catch (error) {
    throw listenError(error, wanted);
  }
  const address = path === undefined ? tcpAddress(listener.addr) : wanted;
  let open = true;
  // The socket is closed only when the pending accept has been given up.
  const stopped = accept(listener, () => open, events, address);
  return {
    address,
    raw: listener,
    close() {
      if (open) {
        open = false;
        listener.close();
      }
      return stopped;
    },
    updateTls() {
      throw new TypeError("Cannot update TLS: this server has none");
    },
    ref: () => listener.ref(),
    unref: () => listener.unref(),
  };
}

// node:net is loaded only for what the natives cannot do.

async function listen(
  options: ListenOptions,
  events: ListenEvents,
): Promise<RuntimeServer> {
  // Deno.listen takes reusePort only with --unstable-net, and without it the
  // process is ended; on Unix sockets it has no backlog.
  const { reusePort, path, backlog } = options;
  if (reusePort || (path !== undefined && backlog !== undefined)) {
    const node = await import("./_node.ts");
    return await node.runtime.listen(options, events);
  }
  if (path === undefined) return listenHere(options, events);
  const { replacingStale } = await import("./_node_stale.ts");
  return await replacingStale(path, () => listenHere(options, events));
}

async function connect(options: DialOptions): Promise<Transport> {
  const { hostname, port, path, localAddress, signal } = options;
  // Deno.connect cannot choose the address to come from.
  if (localAddress !== undefined) {
    const node = await import("./_node.ts");
    return await node.runtime.connect(options);
  }
  const address: Address = path === undefined
    ? tcpAddress({ transport: "tcp", hostname, port })
    : { transport: "unix", path };
  signal?.throwIfAborted();
  // Deno 2.9 loses a socket, for ever, that has connected as a timer aborts:
  // from setImmediate, when such results have been told, it does not.
  const attempt = new AbortController();
  const giveUp = () => void setImmediate(() => attempt.abort());
  signal?.addEventListener("abort", giveUp, { once: true });
  let conn: DenoConn;
  try {
    conn = await deno.connect(
      path === undefined
        ? { hostname, port, signal: attempt.signal }
        : { transport: "unix", path, signal: attempt.signal },
    );
  } catch (error) {
    signal?.throwIfAborted();
    throw connectError(error, address);
  } finally {
    signal?.removeEventListener("abort", giveUp);
  }
  if (signal?.aborted) {
    conn.close();
    throw signal.reason;
  }
  const transport = new DenoTransport(conn, path);
  transport.setNoDelay(true);
  return transport;
}

/** TCP on `Deno.listen` and `Deno.connect`. */
export const runtime: TcpRuntime = { listen, connect };
