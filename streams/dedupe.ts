import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise, Operator, Passing } from "./types.ts";

const NOTHING: unique symbol = Symbol("nothing");

class DedupeStep<T> implements Step<T> {
  readonly #next: Step<T>;
  readonly #key: (message: T) => unknown;
  #last: unknown = NOTHING;

  constructor(next: Step<T>, key: (message: T) => unknown) {
    this.#next = next;
    this.#key = key;
  }

  push(message: T): MaybePromise<boolean | void> {
    const key = this.#key(message);
    if (Object.is(key, this.#last)) return undefined;
    this.#last = key;
    return this.#next.push(message);
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }
}

/**
 * The messages without those that are the same as the one before, or have the
 * same key.
 *
 * @example
 * ```ts
 * import { dedupe, from } from "@sluice/net/streams";
 *
 * for await (const n of dedupe()(from([1, 1, 2, 1]))) console.log(n);
 * ```
 */
export function dedupe(): Passing;
/** The same, by a key. */
export function dedupe<T>(key?: (message: T) => unknown): Operator<T, T>;
export function dedupe<T>(
  key: (message: T) => unknown = (message) => message,
): Operator<T, T> {
  return operator((next) => new DedupeStep(next, key));
}
