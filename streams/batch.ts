import { checkPositive } from "./_checks.ts";
import { finish } from "./_framing.ts";
import { PulledSource } from "./from.ts";
import { operator, sourceOperator } from "./_operator.ts";
import type { Ending, Step } from "./_operator.ts";
import { TimeoutError } from "./errors.ts";
import { clockOf } from "./_clock.ts";
import type { Clock, MaybePromise, Operator, Source } from "./types.ts";

/** When a batch is given on. */
export interface BatchOptions<T> {
  /** What a batch holds: messages, or what `measure` says. @default {Infinity} */
  size?: number;
  /** Milliseconds after its first message. @default {Infinity} */
  within?: number;
  /** Measures a message. @default {() => 1} */
  measure?: (message: T) => number;
  /** What `within` is measured by; a `MockClock` in tests. */
  clock?: Clock;
}

/** What is gathered, and whether the next message belongs to it. */
class Gathering<T> {
  readonly #size: number;
  readonly #measure: (message: T) => number;
  #messages: T[] = [];
  #weight = 0;

  constructor(size: number, measure: (message: T) => number) {
    this.#size = size;
    this.#measure = measure;
  }

  get empty(): boolean {
    return this.#messages.length === 0;
  }

  get full(): boolean {
    return this.#weight >= this.#size;
  }

  /** Takes a message in; gives the batch that has no room for it. */
  add(message: T): T[] | undefined {
    const weight = this.#measure(message);
    const over = !this.empty && this.#weight + weight > this.#size;
    const batch = over ? this.take() : undefined;
    this.#messages.push(message);
    this.#weight += weight;
    return batch;
  }

  take(): T[] {
    const messages = this.#messages;
    this.#messages = [];
    this.#weight = 0;
    return messages;
  }
}

class BatchStep<T> implements Step<T> {
  readonly #next: Step<T[]>;
  readonly #gathering: Gathering<T>;

  constructor(next: Step<T[]>, gathering: Gathering<T>) {
    this.#next = next;
    this.#gathering = gathering;
  }

  push(message: T): MaybePromise<boolean | void> {
    const batch = this.#gathering.add(message);
    if (batch === undefined) return this.#giveFull();
    const pushed = this.#next.push(batch);
    return pushed instanceof Promise
      ? pushed.then((enough) => enough || this.#giveFull())
      : pushed || this.#giveFull();
  }

  flush(): MaybePromise<void> {
    const gathering = this.#gathering;
    return finish(this.#next, gathering.empty ? [] : [gathering.take()]);
  }

  #giveFull(): MaybePromise<boolean | void> {
    return this.#gathering.full
      ? this.#next.push(this.#gathering.take())
      : undefined;
  }
}

/** Batches that do not wait for ever for their last message. */
function batchWithin<T>(
  source: Source<T> & Ending,
  gathering: Gathering<T>,
  within: number,
  clock: Clock,
): Source<T[]> {
  let ended = false;
  let due = Infinity;
  const begin = () => {
    due = clock.now() + within;
  };
  const next = async (): Promise<IteratorResult<T[], unknown>> => {
    // One may have been left by a message too large to join the one before.
    if (!gathering.empty) begin();
    while (!ended && !gathering.full) {
      let message: T | undefined;
      try {
        const timeout = gathering.empty
          ? undefined
          : Math.max(0, due - clock.now());
        const received = source.receive(
          timeout === undefined ? {} : { timeout, clock },
        );
        message = received instanceof Promise ? await received : received;
      } catch (error) {
        // Its own failure comes again with the next receive.
        if (error instanceof TimeoutError && !gathering.empty) break;
        throw error;
      }
      if (message === undefined) {
        ended = true;
        break;
      }
      if (gathering.empty) begin();
      const batch = gathering.add(message);
      if (batch !== undefined) return { value: batch, done: false };
    }
    return gathering.empty
      ? { value: undefined, done: true }
      : { value: gathering.take(), done: false };
  };
  return new PulledSource<T[]>({
    next,
    stop: (reason) => source.destroy?.(reason),
  });
}

/**
 * The messages in lists: one is given on when it has come to `size`, `within`
 * ms after its first message, or when the source ends. It is never larger than
 * `size` unless a single message is.
 *
 * @example
 * ```ts
 * import { batch, from } from "@sluice/net/streams";
 *
 * const pairs = batch({ size: 2 })(from([1, 2, 3]));
 * for await (const pair of pairs) console.log(pair);
 * ```
 */
export function batch(
  options: { size?: number; within?: number; clock?: Clock },
): {
  <T>(source: Source<T>): Source<T[]>;
  transform<T>(): TransformStream<T, T[]>;
};
/** The same, with what `measure` says for a size. */
export function batch<T>(options: BatchOptions<T>): Operator<T, T[]>;
export function batch<T>(options: BatchOptions<T>): Operator<T, T[]> {
  const { size = Infinity, within = Infinity, measure = () => 1 } = options;
  const clock = clockOf(options.clock, "batch");
  checkPositive(size, "batch by size");
  checkPositive(within, "batch by time");
  if (size === Infinity && within === Infinity) {
    throw new TypeError("Cannot batch: neither size nor within is given");
  }
  if (within === Infinity) {
    return operator((next) =>
      new BatchStep(next, new Gathering<T>(size, measure))
    );
  }
  return sourceOperator((source) =>
    batchWithin(source, new Gathering<T>(size, measure), within, clock)
  );
}
