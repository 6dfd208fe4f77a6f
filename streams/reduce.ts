import { isThenable } from "./_checks.ts";
import { from } from "./from.ts";
import type { MaybePromise, Source } from "./types.ts";

/**
 * What a function makes, step by step, of an initial state and all messages.
 * Its promise is awaited before the next message. Rejects with what it throws,
 * or what broke the source.
 *
 * @example
 * ```ts
 * import { from, reduce } from "@sluice/net/streams";
 *
 * console.log(await reduce(from([1, 2, 3]), (sum, n) => sum + n, 0));
 * ```
 */
export async function reduce<T, R>(
  source: Source<T>,
  fn: (state: R, message: T) => MaybePromise<R>,
  initial: R,
): Promise<R> {
  const messages = from(source);
  let state = initial;
  for (;;) {
    const received = messages.receive();
    const message = received instanceof Promise ? await received : received;
    if (message === undefined) return state;
    const result = fn(state, message);
    state = isThenable(result) ? await result : result;
  }
}
