import { isThenable } from "./_checks.ts";
import type { Source } from "./types.ts";

/**
 * Calls a function with every message, one after the other: its promise is
 * awaited, which is the backpressure. `false` stops it. Rejects with what the
 * function throws, or what broke the source. However it stops before the end,
 * the source stays open, with the messages that were not given out.
 *
 * @example
 * ```ts
 * import { consume, from } from "@sluice/net/streams";
 *
 * await consume(from([1, 2, 3]), (n) => {
 *   console.log(n);
 *   return n < 2;
 * });
 * ```
 */
export async function consume<T>(
  source: Source<T>,
  fn: (message: T) => unknown,
): Promise<void> {
  for (;;) {
    const received = source.receive();
    const message = received instanceof Promise ? await received : received;
    if (message === undefined) return;
    const result = fn(message);
    if ((isThenable(result) ? await result : result) === false) return;
  }
}
