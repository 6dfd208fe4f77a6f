import { ClosedError } from "./errors.ts";
import { Inbox } from "./_inbox.ts";
import type { Ending } from "./_operator.ts";
import type { MaybePromise, Source, Wait } from "./types.ts";

/** One of the sources that are merged. */
interface Merged<T> {
  readonly source: Source<T> & Ending;
  waiting: boolean;
  ended: boolean;
}

/** Several sources as one; each is asked again once it has been received from. */
export class MergedSource<T> implements Source<T>, AsyncDisposable {
  readonly #inbox: Inbox<T>;
  readonly #sources: readonly Merged<T>[];
  #left: number;
  #turn = 0;

  constructor(sources: readonly Source<T>[]) {
    this.#sources = sources.map((source) => ({
      source,
      waiting: false,
      ended: false,
    }));
    this.#left = sources.length;
    this.#inbox = new Inbox<T>({
      high: Math.max(1, sources.length),
      onWait: () => this.#pull(),
      onCancel: (reason) => this.destroy(reason),
    });
    if (this.#left === 0) this.#inbox.end();
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

  destroy(reason?: unknown): void {
    if (this.#inbox.ended && this.#inbox.length === 0) return;
    const error = reason ?? new ClosedError("Source was destroyed");
    this.#inbox.destroy(error);
    this.#stop(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  /** Asks those that are not waited for, in turn, until one has a message. */
  #pull(): void {
    const count = this.#sources.length;
    for (let i = 0; i < count && this.#inbox.length === 0; i++) {
      const merged = this.#sources[this.#turn];
      this.#turn = (this.#turn + 1) % count;
      if (!merged.waiting && !merged.ended) this.#ask(merged);
    }
  }

  #ask(merged: Merged<T>): void {
    try {
      const message = merged.source.receive();
      if (!(message instanceof Promise)) {
        this.#take(merged, message);
        return;
      }
      merged.waiting = true;
      message.then((message) => {
        merged.waiting = false;
        this.#take(merged, message);
        if (this.#inbox.awaited) this.#pull();
      }).catch((error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  #take(merged: Merged<T>, message: T | undefined): void {
    if (message !== undefined) {
      this.#inbox.push(message);
      return;
    }
    merged.ended = true;
    if (--this.#left === 0) this.#inbox.end();
  }

  #fail(error: unknown): void {
    if (this.#inbox.ended) return;
    const reason = error ?? new ClosedError("A source failed");
    this.#inbox.end(reason);
    this.#stop(reason);
  }

  #stop(reason: unknown): void {
    for (const { source, ended } of this.#sources) {
      if (!ended) source.destroy?.(reason);
    }
  }
}
