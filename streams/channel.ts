import { toNetError, writableOf } from "./_duplex.ts";
import { SizeLimitError } from "./errors.ts";
import { Inbox } from "./_inbox.ts";
import { Outbox } from "./_outbox.ts";
import { refuseWait } from "./_waiters.ts";
import { checkCapacity, weigh } from "./_checks.ts";
import type {
  CloseInfo,
  MaybePromise,
  Overflow,
  Sink,
  Source,
  Wait,
} from "./types.ts";

/** How much a channel holds, and what it does when it is full. */
export interface ChannelOptions<T> {
  /**
   * How much it holds: messages, or what `size` measures. With `0` every send
   * waits for a receiver.
   * @default {16}
   */
  capacity?: number;
  /** Measures a message: 0 or more. @default {() => 1} */
  size?: (message: T) => number;
  /**
   * What a send does when the channel is full: `"wait"`, `"drop-oldest"`,
   * `"drop-newest"`, or `"close"`, which ends the channel with a
   * `SizeLimitError` once what is queued is received.
   * @default {"wait"}
   */
  overflow?: Overflow;
}

const POLICIES: readonly string[] = [
  "wait",
  "drop-oldest",
  "drop-newest",
  "close",
];

/**
 * A bounded stream in memory. Many may send and many may receive: each
 * message goes to one receiver, in order. `undefined` cannot be a message, for
 * it is the end.
 *
 * @example
 * ```ts
 * import { Channel } from "@sluice/net/streams";
 *
 * const channel = new Channel<number>({ capacity: 2 });
 * channel.send(1);
 * channel.send(2);
 * channel.close();
 * for await (const n of channel) console.log(n);
 * ```
 */
export class Channel<T> implements Source<T>, Sink<T>, AsyncDisposable {
  readonly #inbox: Inbox<T>;
  readonly #outbox: Outbox<T>;
  readonly #capacity: number;
  readonly #overflow: Overflow;
  readonly #size: ((message: T) => number) | undefined;
  #writable: WritableStream<T> | undefined;
  #dropped = 0;
  #settle!: (info: CloseInfo) => void;
  /** Resolves when it is closed or destroyed; never rejects. */
  readonly closed: Promise<CloseInfo>;

  /** Makes an open, empty channel. */
  constructor(options: ChannelOptions<T> = {}) {
    const { capacity = 16, size, overflow = "wait" } = options;
    checkCapacity(capacity, "channel");
    if (!POLICIES.includes(overflow)) {
      throw new TypeError(
        `Cannot make a channel: no such overflow policy: ${overflow}`,
      );
    }
    this.#capacity = capacity;
    this.#overflow = overflow;
    this.#size = size;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#inbox = new Inbox<T>({
      size,
      high: capacity,
      onRoom: () => this.#outbox.admit(),
      // With no room of its own a send waits for exactly this.
      onWait: () => this.#outbox.hand(),
      onCancel: (reason) => this.destroy(reason),
    });
    this.#outbox = new Outbox<T>({
      full: () => this.#full(),
      accept: (message, weight) => void this.#inbox.push(message, weight),
    });
  }

  /** What is queued and what waits to be: messages, or what `size` measures. */
  get buffered(): number {
    return this.#inbox.fill + this.#outbox.pending;
  }

  /** Messages that the overflow policy has dropped. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The next message; `undefined` once it is closed and empty. */
  receive(options?: Wait): MaybePromise<T | undefined> {
    return this.#inbox.receive(options);
  }

  /** All that is queued at a time. */
  batches(): AsyncIterable<readonly T[]> {
    return this.#inbox.batches();
  }

  /** The messages one by one. Leaving the loop leaves the channel open. */
  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.#inbox[Symbol.asyncIterator]();
  }

  /** The messages as a Web Stream; cancelling it destroys the channel. */
  get readable(): ReadableStream<T> {
    return this.#inbox.readable;
  }

  /** Sends a message: `true` when taken, `false` when closed. */
  send(message: T, options?: Wait): MaybePromise<boolean> {
    const weight = weigh(this.#size, message);
    if (typeof weight !== "number") return weight;
    if (this.#overflow === "wait" || this.#outbox.closed || !this.#full()) {
      return this.#outbox.send(message, options, weight);
    }
    return refuseWait(options) ?? this.#shed(message, weight);
  }

  /** The sending half as a Web Stream; closing it closes the channel. */
  get writable(): WritableStream<T> {
    return this.#writable ??= writableOf<T>(
      this,
      () => this.close(),
      (reason) => this.destroy(reason),
    );
  }

  /** No more sends; what is queued stays receivable. */
  close(): void {
    this.#outbox.close();
    this.#inbox.end();
    this.#settle({ clean: true });
  }

  /** Ends it now: what is queued is dropped and receives reject. */
  destroy(reason?: unknown): void {
    const error = toNetError(reason, "Channel was destroyed");
    this.#outbox.close();
    this.#inbox.destroy(reason instanceof Error ? reason : error);
    this.#settle({ clean: false, error });
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #full(): boolean {
    return this.#inbox.brimming && !this.#inbox.awaited;
  }

  #shed(message: T, weight: number): boolean {
    if (this.#overflow === "drop-newest") {
      this.#dropped++;
      return true;
    }
    if (this.#overflow === "close") {
      const error = new SizeLimitError(
        `Channel was closed: it held ${this.#capacity} already`,
        { limit: this.#capacity },
      );
      this.#outbox.close();
      this.#inbox.end(error);
      this.#settle({ clean: false, error });
      return false;
    }
    while (this.#full() && this.#inbox.drop() !== undefined) this.#dropped++;
    // Nothing to drop in a channel without room: then this one goes.
    if (this.#full()) this.#dropped++;
    else this.#inbox.push(message, weight);
    return true;
  }
}
