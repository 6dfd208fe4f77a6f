import { isThenable } from "./_checks.ts";
import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise, Operator } from "./types.ts";

class ScanStep<In, Out> implements Step<In> {
  readonly #next: Step<Out>;
  readonly #fn: (state: Out, message: In) => MaybePromise<Out>;
  #state: Out;

  constructor(
    next: Step<Out>,
    fn: (state: Out, message: In) => MaybePromise<Out>,
    initial: Out,
  ) {
    this.#next = next;
    this.#fn = fn;
    this.#state = initial;
  }

  push(message: In): MaybePromise<boolean | void> {
    const state = this.#fn(this.#state, message);
    if (!isThenable(state)) return this.#next.push(this.#state = state);
    return Promise.resolve(state).then((state) =>
      this.#next.push(this.#state = state)
    );
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }
}

/**
 * What a function makes of the state so far and each message: the new state,
 * which is given on. The initial state itself is not.
 *
 * @example
 * ```ts
 * import { from, scan } from "@sluice/net/streams";
 *
 * const sums = scan((sum: number, n: number) => sum + n, 0);
 * for await (const sum of sums(from([1, 2, 3]))) console.log(sum);
 * ```
 */
export function scan<In, Out>(
  fn: (state: Out, message: In) => MaybePromise<Out>,
  initial: Out,
): Operator<In, Out> {
  return operator((next) => new ScanStep(next, fn, initial));
}
