import { from, PulledSource } from "./from.ts";
import type { Ending } from "./_operator.ts";
import type { MaybePromise, Source } from "./types.ts";

/**
 * All messages of the first source, then those of the next. A source that
 * fails fails the whole, and those that have not had their turn are destroyed.
 *
 * @example
 * ```ts
 * import { concat, from } from "@sluice/net/streams";
 *
 * for await (const n of concat(from([1, 2]), from([3]))) console.log(n);
 * ```
 */
export function concat<T>(...sources: Source<T>[]): Source<T> {
  const left: (Source<T> & Ending)[] = sources.map((source) => from(source));
  const stop = (reason: unknown) => {
    for (const source of left.splice(0)) source.destroy?.(reason);
  };
  const result = (
    message: T | undefined,
  ): MaybePromise<IteratorResult<T, unknown>> => {
    if (message !== undefined) return { value: message, done: false };
    left.shift();
    return next();
  };
  const fail = (error: unknown): never => {
    left.shift();
    stop(error);
    throw error;
  };
  const next = (): MaybePromise<IteratorResult<T, unknown>> => {
    if (left.length === 0) return { value: undefined, done: true };
    const message = left[0].receive();
    return message instanceof Promise
      ? message.then(result, fail)
      : result(message);
  };
  return new PulledSource<T>({ next, stop });
}
