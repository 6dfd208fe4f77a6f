import { isThenable } from "./_checks.ts";
import { endAfter, operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise, Operator } from "./types.ts";

class TakeWhileStep<T> implements Step<T> {
  readonly #next: Step<T>;
  readonly #fn: (message: T) => unknown;

  constructor(next: Step<T>, fn: (message: T) => unknown) {
    this.#next = next;
    this.#fn = fn;
  }

  push(message: T): MaybePromise<boolean | void> {
    const wanted = this.#fn(message);
    return isThenable(wanted)
      ? Promise.resolve(wanted).then((wanted) => this.#give(message, wanted))
      : this.#give(message, wanted);
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }

  #give(message: T, wanted: unknown): MaybePromise<boolean | void> {
    return wanted ? this.#next.push(message) : endAfter(this.#next, false);
  }
}

/**
 * The messages before the first one for which a function gives something
 * false. With that one the source is destroyed, unless it can be sent to.
 *
 * @example
 * ```ts
 * import { from, takeWhile } from "@sluice/net/streams";
 *
 * const small = takeWhile((n: number) => n < 3)(from([1, 2, 3, 1]));
 * for await (const n of small) console.log(n);
 * ```
 */
export function takeWhile<T>(fn: (message: T) => unknown): Operator<T, T> {
  return operator((next) => new TakeWhileStep(next, fn));
}
