import type { Address } from "../streams/types.ts";
import type { RuntimeServer } from "./_runtime.ts";
import type { Server, ServerStats, TlsServerOptions } from "./types.ts";

/** How long `close` waits for what is open, in ms. */
const CLOSE_TIMEOUT = 15_000;
/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** What a server knows of one connection it carries. */
export interface Carried {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Resolves when it is over; never rejects. */
  readonly closed: Promise<unknown>;
  /** Ends it in order: finishes what is going on. */
  close(): void;
  destroy(reason?: unknown): void;
}

/**
 * The lifetime of a server, the same for every protocol: the connections it
 * carries, its counters, and a close that drains until a deadline.
 */
export class Carrier implements Server {
  #listener!: RuntimeServer;
  readonly #open = new Set<Carried>();
  readonly #maxConnections: number;
  readonly closed: Promise<void>;
  #settle!: () => void;
  #closing = false;
  #released = false;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #closeBy = Infinity;
  #signal: AbortSignal | undefined;
  #accepted = 0;
  #refused = 0;
  #bytesRead = 0;
  #bytesWritten = 0;

  constructor(options: { maxConnections?: number; signal?: AbortSignal }) {
    this.#maxConnections = options.maxConnections ?? Infinity;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#signal = options.signal;
  }

  /** It listens now. */
  start(listener: RuntimeServer): void {
    this.#listener = listener;
    if (this.#signal?.aborted) this.#onAbort();
    else this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get address(): Address {
    return this.#listener.address;
  }

  get raw(): unknown {
    return this.#listener.raw;
  }

  /**
   * Whether one more may come in, beside so many that are on their way; counts
   * it as refused when not.
   */
  admits(arriving = 0): boolean {
    if (
      !this.#closing && this.#open.size + arriving < this.#maxConnections
    ) return true;
    this.#refused++;
    return false;
  }

  /** Carries a connection until it is over. */
  carry(connection: Carried): void {
    this.#accepted++;
    this.#open.add(connection);
    connection.closed.then(() => {
      this.#open.delete(connection);
      this.#bytesRead += connection.bytesRead;
      this.#bytesWritten += connection.bytesWritten;
      this.#checkOver();
    });
  }

  close(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = CLOSE_TIMEOUT } = options;
    if (typeof timeout !== "number" || !(timeout >= 0)) {
      return Promise.reject(
        new RangeError(
          `Cannot close: timeout must be a number of 0 or more: ${timeout}`,
        ),
      );
    }
    if (!this.#closing) {
      this.#closing = true;
      this.#signal?.removeEventListener("abort", this.#onAbort);
      this.#listener.close().then(() => {
        this.#released = true;
        this.#checkOver();
      });
      for (const connection of [...this.#open]) connection.close();
    }
    const by = performance.now() + timeout;
    if (timeout === 0) this.#destroyAll();
    else if (
      // A later call may only shorten the wait.
      timeout <= MAX_TIMEOUT && by < this.#closeBy && this.#open.size > 0
    ) {
      this.#closeBy = by;
      clearTimeout(this.#deadline);
      this.#deadline = setTimeout(() => this.#destroyAll(), timeout);
    }
    return this.closed;
  }

  stats(): ServerStats {
    let bytesRead = this.#bytesRead;
    let bytesWritten = this.#bytesWritten;
    for (const connection of this.#open) {
      bytesRead += connection.bytesRead;
      bytesWritten += connection.bytesWritten;
    }
    return {
      connections: this.#open.size,
      accepted: this.#accepted,
      refused: this.#refused,
      bytesRead,
      bytesWritten,
    };
  }

  updateTls(options: TlsServerOptions): void {
    this.#listener.updateTls(options);
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  readonly #onAbort = (): void => {
    this.close();
  };

  #destroyAll(): void {
    for (const connection of [...this.#open]) connection.destroy();
  }

  #checkOver(): void {
    if (!this.#released || this.#open.size > 0) return;
    clearTimeout(this.#deadline);
    this.#settle();
  }
}
