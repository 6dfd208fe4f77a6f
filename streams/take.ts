import { checkCount } from "./_checks.ts";
import { from } from "./from.ts";
import { endAfter, leave, operator, sourceOperator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise, Operator, Passing } from "./types.ts";

class TakeStep<T> implements Step<T> {
  readonly #next: Step<T>;
  #left: number;

  constructor(next: Step<T>, left: number) {
    this.#next = next;
    this.#left = left;
  }

  push(message: T): MaybePromise<boolean | void> {
    if (this.#left === 0) return true;
    const pushed = this.#next.push(message);
    return --this.#left === 0 ? endAfter(this.#next, pushed) : pushed;
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }
}

/**
 * The first `count` messages. With the last of them the source is destroyed,
 * unless it can be sent to: a connection stays open.
 *
 * @example
 * ```ts
 * import { from, take } from "@sluice/net/streams";
 *
 * for await (const n of take(2)(from([1, 2, 3]))) console.log(n);
 * ```
 */
export function take(count: number): Passing;
/** The same, for messages of one type. */
export function take<T>(count: number): Operator<T, T>;
export function take<T>(count: number): Operator<T, T> {
  checkCount(count, "take");
  if (count > 0) return operator<T, T>((next) => new TakeStep(next, count));
  return sourceOperator((source) => {
    leave(source);
    return from([]);
  });
}
