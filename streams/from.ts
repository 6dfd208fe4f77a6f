import { Inbox } from "./_inbox.ts";
import { ClosedError } from "./errors.ts";
import { isThenable } from "./_checks.ts";
import type { MaybePromise, Source, Wait } from "./types.ts";

/** Whether it is one of our sources already. */
export function isSource(input: unknown): input is Source<unknown> {
  return typeof input === "object" && input !== null &&
    typeof (input as Source<unknown>).receive === "function" &&
    typeof (input as Source<unknown>).batches === "function";
}

/** Where the messages come from. */
export interface Puller<T> {
  next(): MaybePromise<IteratorResult<T, unknown>>;
  /** The consumer is gone. */
  stop(reason: unknown): void;
}

/** A source that asks an iterator for a message when one is waited for. */
export class PulledSource<T> implements Source<T>, AsyncDisposable {
  readonly #inbox: Inbox<T>;
  readonly #puller: Puller<T>;
  #pulling = false;

  constructor(puller: Puller<T>) {
    this.#puller = puller;
    this.#inbox = new Inbox<T>({
      high: 1,
      onWait: () => this.#pull(),
      onCancel: (reason) => this.destroy(reason),
    });
  }

  receive(options?: Wait): MaybePromise<T | undefined> {
    return this.#inbox.receive(options);
  }

  batches(): AsyncIterable<readonly T[]> {
    return this.#inbox.batches();
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.#inbox[Symbol.asyncIterator]();
  }

  get readable(): ReadableStream<T> {
    return this.#inbox.readable;
  }

  /** Stops the producer; what it gave and nobody received is dropped. */
  destroy(reason?: unknown): void {
    if (this.#inbox.ended) return;
    this.#inbox.destroy(reason ?? new ClosedError("Source was destroyed"));
    this.#puller.stop(reason);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  #pull(): void {
    if (this.#pulling) return;
    try {
      const result = this.#puller.next();
      if (!isThenable(result)) {
        this.#take(result);
        return;
      }
      this.#pulling = true;
      result.then((result) => {
        this.#pulling = false;
        this.#take(result);
        // Other receives may have come in the meantime.
        while (this.#inbox.awaited && !this.#pulling) this.#pull();
      }).catch((error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#inbox.end(error ?? new ClosedError("The producer failed"));
  }

  #take(result: IteratorResult<T, unknown>): void {
    if (result.done) {
      this.#inbox.end();
    } else if (result.value === undefined) {
      const error = new TypeError(
        "Cannot receive: undefined is the end, not a message",
      );
      this.#inbox.end(error);
      this.#puller.stop(error);
    } else {
      this.#inbox.push(result.value);
    }
  }
}

function pullStream<T>(stream: ReadableStream<T>): Puller<T> {
  const reader = stream.getReader();
  return {
    next: () => reader.read() as Promise<IteratorResult<T, unknown>>,
    stop: (reason) => void reader.cancel(reason).catch(() => {}),
  };
}

function pullIterator<T>(iterator: Iterator<T> | AsyncIterator<T>): Puller<T> {
  const stop = () => {
    try {
      const returned: unknown = iterator.return?.();
      if (isThenable(returned)) Promise.resolve(returned).catch(() => {});
    } catch {
      // It was told to stop; how it takes it changes nothing here.
    }
  };
  return {
    next: () => {
      const result: MaybePromise<IteratorResult<T>> = iterator.next();
      if (isThenable(result)) return Promise.resolve(result);
      return isThenable(result.value) ? settled(result.value, stop) : result;
    },
    stop,
  };
}

/** Promises among the values of an iterable are awaited, as by `for await`. */
async function settled<T>(
  value: Promise<T>,
  stop: () => void,
): Promise<IteratorResult<T>> {
  try {
    return { value: await value, done: false };
  } catch (error) {
    stop();
    throw error;
  }
}

/**
 * A source over anything that gives messages one after the other. It pulls
 * only when a message is waited for; a source is given back as it is.
 *
 * @example
 * ```ts
 * import { from } from "@sluice/net/streams";
 *
 * const source = from([1, 2, 3]);
 * console.log(await source.receive());
 * ```
 */
export function from<T>(
  input: Iterable<T> | AsyncIterable<T> | ReadableStream<T> | Source<T>,
): Source<T> {
  if (isSource(input)) return input as Source<T>;
  if (input instanceof ReadableStream) {
    return new PulledSource<T>(pullStream(input));
  }
  const iterable = input as Partial<AsyncIterable<T> & Iterable<T>> | null;
  const async = iterable?.[Symbol.asyncIterator];
  if (typeof async === "function") {
    return new PulledSource<T>(pullIterator<T>(async.call(iterable)));
  }
  const sync = iterable?.[Symbol.iterator];
  if (typeof sync === "function") {
    return new PulledSource<T>(pullIterator<T>(sync.call(iterable)));
  }
  throw new TypeError(
    `Cannot make a source: not iterable and no stream: ${typeof input}`,
  );
}
