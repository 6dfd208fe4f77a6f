import { isThenable } from "./_checks.ts";
import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise, Operator } from "./types.ts";

class FilterStep<T> implements Step<T> {
  readonly #next: Step<T>;
  readonly #fn: (message: T) => unknown;

  constructor(next: Step<T>, fn: (message: T) => unknown) {
    this.#next = next;
    this.#fn = fn;
  }

  push(message: T): MaybePromise<boolean | void> {
    const wanted = this.#fn(message);
    if (!isThenable(wanted)) {
      return wanted ? this.#next.push(message) : undefined;
    }
    return Promise.resolve(wanted).then((wanted) =>
      wanted ? this.#next.push(message) : undefined
    );
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }
}

/**
 * The messages for which a function gives something true, or a promise of it.
 *
 * @example
 * ```ts
 * import { filter, from } from "@sluice/net/streams";
 *
 * const odd = filter((n: number) => n % 2 === 1)(from([1, 2, 3]));
 * for await (const n of odd) console.log(n);
 * ```
 */
export function filter<T, S extends T>(
  fn: (message: T) => message is S,
): Operator<T, S>;
/** The same, for what says nothing of the type. */
export function filter<T>(fn: (message: T) => unknown): Operator<T, T>;
export function filter<T>(fn: (message: T) => unknown): Operator<T, T> {
  return operator((next) => new FilterStep(next, fn));
}
