import { isThenable } from "./_checks.ts";
import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise, Operator } from "./types.ts";

class MapStep<In, Out> implements Step<In> {
  readonly #next: Step<Out>;
  readonly #fn: (message: In) => MaybePromise<Out>;

  constructor(next: Step<Out>, fn: (message: In) => MaybePromise<Out>) {
    this.#next = next;
    this.#fn = fn;
  }

  push(message: In): MaybePromise<boolean | void> {
    const result = this.#fn(message);
    if (!isThenable(result)) return this.#next.push(result);
    return Promise.resolve(result).then((result) => this.#next.push(result));
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }
}

/**
 * What a function makes of each message. Its promise is awaited before the
 * next message is given to it.
 *
 * @example
 * ```ts
 * import { from, map } from "@sluice/net/streams";
 *
 * for await (const n of map((n: number) => n * 2)(from([1, 2, 3]))) {
 *   console.log(n);
 * }
 * ```
 */
export function map<In, Out>(
  fn: (message: In) => MaybePromise<Out>,
): Operator<In, Out> {
  return operator((next) => new MapStep(next, fn));
}
