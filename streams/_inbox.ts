import { ClosedError, NetError } from "./errors.ts";
import { Ring } from "./_ring.ts";
import { refuseWait, Waiters } from "./_waiters.ts";
import type { MaybePromise, Source, Wait } from "./types.ts";

/** Messages given to a Web Stream in one pull. */
const PULL_BATCH = 16;

/** Pending receives past which another one is refused. */
const MAX_RECEIVERS = 65_536;

export interface InboxOptions<T> {
  /** Weight of a message. @default {() => 1} */
  size?: (message: T) => number;
  /** `push` gives `false` once the weight of the queue has come to this. */
  high: number;
  /** `onRoom` is called once it has fallen to this. @default {high - 1} */
  low?: number;
  /** There is room again, after a `push` that gave `false`. */
  onRoom?: () => void;
  /** Somebody is about to wait; a producer that pulls may push right now. */
  onWait?: () => void;
  /** The consumer cancelled its Web Stream: nobody will read on. */
  onCancel?: (reason: unknown) => void;
}

/**
 * The receiving half that every source is made of: a bounded queue between a
 * producer that pushes and whoever receives. It never drops by itself: a
 * producer that goes on after `push` gave `false` makes the queue longer, so
 * every producer must stop, shed or fail there.
 */
export class Inbox<T> implements Source<T> {
  readonly #queue = new Ring<T>();
  readonly #sizes: Ring<number> | undefined;
  readonly #size: ((message: T) => number) | undefined;
  readonly #high: number;
  readonly #low: number;
  readonly #onRoom: (() => void) | undefined;
  readonly #onWait: (() => void) | undefined;
  readonly #onCancel: ((reason: unknown) => void) | undefined;
  readonly #receivers = new Waiters<T | undefined>("receive");
  #fill = 0;
  #full = false;
  #ended = false;
  #failed = false;
  #error: unknown;
  #stream: ReadableStream<T> | undefined;
  #controller: ReadableStreamDefaultController<T> | undefined;

  constructor(options: InboxOptions<T>) {
    this.#size = options.size;
    this.#sizes = options.size && new Ring<number>();
    this.#high = options.high;
    this.#low = options.low ?? Math.max(0, options.high - 1);
    this.#onRoom = options.onRoom;
    this.#onWait = options.onWait;
    this.#onCancel = options.onCancel;
  }

  /** Messages queued. */
  get length(): number {
    return this.#queue.length;
  }

  /** Weight of what is queued. */
  get fill(): number {
    return this.#fill;
  }

  /** Whether the producer should hold. */
  get full(): boolean {
    return this.#full;
  }

  /** Whether somebody waits for a message right now. */
  get awaited(): boolean {
    return this.#receivers.size > 0;
  }

  /** Whether the producer has finished, cleanly or not. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Takes a message in; `false` tells the producer to hold until `onRoom`. */
  push(message: T): boolean {
    if (this.#ended) return false;
    const receiver = this.#receivers.shift();
    if (receiver !== undefined) {
      receiver.resolve(message);
      return !this.#full;
    }
    this.#queue.push(message);
    if (this.#size === undefined) {
      this.#fill++;
    } else {
      const size = this.#size(message);
      this.#sizes!.push(size);
      this.#fill += size;
    }
    if (this.#fill >= this.#high) this.#full = true;
    return !this.#full;
  }

  /** Puts a message back in front, e.g. the rest of one that was split. */
  unshift(message: T): void {
    this.#queue.unshift(message);
    if (this.#size === undefined) {
      this.#fill++;
    } else {
      const size = this.#size(message);
      this.#sizes!.unshift(size);
      this.#fill += size;
    }
  }

  /** Drops the oldest message and gives it back. */
  drop(): T | undefined {
    return this.#queue.length === 0 ? undefined : this.#take();
  }

  /**
   * No more will come. What is queued stays receivable; after it comes the
   * clean end, or the error.
   */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    if (error !== undefined) {
      this.#failed = true;
      this.#error = error;
      this.#receivers.rejectAll(error);
    } else {
      this.#receivers.resolveAll(undefined);
    }
  }

  /** Ends it now: what is queued is dropped, receives reject with the error. */
  destroy(error: unknown): void {
    if (this.#ended && this.#queue.length === 0) return;
    this.#ended = true;
    this.#failed = true;
    this.#error = error;
    this.#clear();
    this.#receivers.rejectAll(error);
    this.#controller?.error(error);
  }

  receive(options?: Wait): MaybePromise<T | undefined> {
    if (this.#stream !== undefined) {
      throw new TypeError(
        "Cannot receive: this source is read through its readable",
      );
    }
    return refuseWait(options) ?? this.#next(options);
  }

  #next(options?: Wait): MaybePromise<T | undefined> {
    if (this.#queue.length > 0) return this.#take();
    if (this.#onWait !== undefined && !this.#ended) {
      this.#onWait();
      if (this.#queue.length > 0) return this.#take();
    }
    if (this.#ended) {
      return this.#failed ? Promise.reject(this.#error) : undefined;
    }
    if (this.#receivers.size >= MAX_RECEIVERS) {
      return Promise.reject(
        new NetError(`Cannot receive: ${MAX_RECEIVERS} calls wait already`, {
          code: "ERR_TOO_MANY_WAITERS",
        }),
      );
    }
    return this.#receivers.add(undefined, options);
  }

  #take(): T {
    const message = this.#queue.shift() as T;
    this.#fill -= this.#sizes === undefined ? 1 : this.#sizes.shift()!;
    if (this.#full && this.#fill <= this.#low) {
      this.#full = false;
      this.#onRoom?.();
    }
    return message;
  }

  #clear(): void {
    this.#queue.clear();
    this.#sizes?.clear();
    this.#fill = 0;
  }

  #drainInto(list: T[]): T[] {
    for (let n = this.#queue.length; n > 0; n--) list.push(this.#take());
    return list;
  }

  batches(): AsyncIterable<readonly T[]> {
    return {
      [Symbol.asyncIterator]: () =>
        iterate(
          () => this.receive(),
          (first) => this.#drainInto([first]) as readonly T[],
        ),
    };
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return iterate(() => this.receive(), (message) => message);
  }

  get readable(): ReadableStream<T> {
    if (this.#stream === undefined) {
      if (this.#receivers.size > 0) {
        throw new TypeError("Cannot make a readable: a receive is pending");
      }
      this.#stream = new ReadableStream<T>({
        start: (controller) => {
          this.#controller = controller;
        },
        pull: (controller) => {
          const first = this.#next();
          if (first instanceof Promise) {
            return first.then((message) => this.#feed(controller, message));
          }
          this.#feed(controller, first);
        },
        cancel: (reason) => {
          if (this.#onCancel !== undefined) this.#onCancel(reason);
          else this.destroy(reason ?? new ClosedError("Reading was cancelled"));
        },
        // Nothing is prefetched: the inbox is the queue, this is a view of it.
      }, { highWaterMark: 0 });
    }
    return this.#stream;
  }

  #feed(
    controller: ReadableStreamDefaultController<T>,
    first: T | undefined,
  ): void {
    if (first === undefined) {
      this.#controller = undefined;
      controller.close();
      return;
    }
    controller.enqueue(first);
    for (let n = 1; n < PULL_BATCH && this.#queue.length > 0; n++) {
      controller.enqueue(this.#take());
    }
  }
}

/** An iterator over a receiving function; leaving the loop leaves it open. */
function iterate<M, T>(
  receive: () => MaybePromise<M | undefined>,
  map: (message: M) => T,
): AsyncIterator<T> {
  let over = false;
  const settle = (message: M | undefined): IteratorResult<T> => {
    if (message !== undefined && !over) {
      return { value: map(message), done: false };
    }
    over = true;
    return { value: undefined, done: true };
  };
  return {
    next(): Promise<IteratorResult<T>> {
      if (over) return Promise.resolve({ value: undefined, done: true });
      try {
        const message = receive();
        return message instanceof Promise
          ? message.then(settle)
          : Promise.resolve(settle(message));
      } catch (error) {
        return Promise.reject(error);
      }
    },
    return(): Promise<IteratorResult<T>> {
      over = true;
      return Promise.resolve({ value: undefined, done: true });
    },
  };
}
