import type { Home, Member } from "./_exchange.ts";

/** How long `close` waits for what is open, in ms. */
const CLOSE_TIMEOUT = 15_000;

export interface LifetimeEvents {
  signal: AbortSignal | undefined;
  /** Stops accepting and ends what is idle; resolves when the port is free. */
  begin(): Promise<void>;
  /** The deadline has come: ends everything now. */
  destroy(): void;
  /** Whether nothing is open any more. */
  isOver(): boolean;
}

/**
 * How an HTTP server ends: it stops accepting, tells those who live long,
 * waits for what is open and for tasks, and destroys the rest at the deadline.
 */
export class Lifetime implements Home {
  readonly closed: Promise<void>;
  readonly #events: LifetimeEvents;
  readonly #shutdown = new Set<() => void>();
  readonly #members = new Set<Member>();
  #settle!: () => void;
  #closing = false;
  #released = false;
  #expired = false;
  #tasks = 0;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #closeBy = Infinity;

  constructor(events: LifetimeEvents) {
    this.#events = events;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** It listens now. */
  start(): void {
    const { signal } = this.#events;
    if (signal?.aborted) this.close();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get closing(): boolean {
    return this.#closing;
  }

  readonly #onAbort = (): void => {
    this.close();
  };

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
      this.#events.signal?.removeEventListener("abort", this.#onAbort);
      this.#events.begin().then(() => {
        this.#released = true;
        this.check();
      });
      for (const callback of [...this.#shutdown]) callback();
      this.#shutdown.clear();
      for (const member of [...this.#members]) member.goodbye();
    }
    const by = performance.now() + timeout;
    if (timeout === 0) this.#expire();
    else if (timeout <= 2 ** 31 - 1 && by < this.#closeBy) {
      // A later call may only shorten the wait.
      this.#closeBy = by;
      clearTimeout(this.#deadline);
      this.#deadline = setTimeout(() => this.#expire(), timeout);
    }
    this.check();
    return this.closed;
  }

  #expire(): void {
    this.#expired = true;
    this.#closeBy = -Infinity;
    clearTimeout(this.#deadline);
    this.#events.destroy();
    this.check();
  }

  /** To be called when something has ended. */
  check(): void {
    if (!this.#closing || !this.#released || !this.#events.isOver()) return;
    if (this.#tasks + this.#members.size > 0 && !this.#expired) return;
    clearTimeout(this.#deadline);
    this.#settle();
  }

  waitUntil(task: Promise<unknown>, onError: (error: unknown) => void): void {
    this.#tasks++;
    const over = () => {
      this.#tasks--;
      this.check();
    };
    Promise.resolve(task).then(over, (error) => {
      onError(error);
      over();
    });
  }

  /** The close tells this one, and waits until it has left. */
  adopt(member: Member): this {
    this.#members.add(member);
    if (this.#closing) queueMicrotask(() => member.goodbye());
    return this;
  }

  leave(member: Member): void {
    if (this.#members.delete(member)) this.check();
  }

  onShutdown(callback: () => void): () => void {
    if (this.#closing) queueMicrotask(callback);
    else this.#shutdown.add(callback);
    return () => this.#shutdown.delete(callback);
  }
}
