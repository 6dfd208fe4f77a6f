import { checkCount } from "./_checks.ts";
import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise, Operator, Passing } from "./types.ts";

class DropStep<T> implements Step<T> {
  readonly #next: Step<T>;
  #left: number;

  constructor(next: Step<T>, left: number) {
    this.#next = next;
    this.#left = left;
  }

  push(message: T): MaybePromise<boolean | void> {
    if (this.#left === 0) return this.#next.push(message);
    this.#left--;
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }
}

/**
 * All but the first `count` messages.
 *
 * @example
 * ```ts
 * import { drop, from } from "@sluice/net/streams";
 *
 * for await (const n of drop(1)(from([1, 2, 3]))) console.log(n);
 * ```
 */
export function drop(count: number): Passing;
/** The same, for messages of one type. */
export function drop<T>(count: number): Operator<T, T>;
export function drop<T>(count: number): Operator<T, T> {
  checkCount(count, "drop");
  return operator((next) => new DropStep(next, count));
}
