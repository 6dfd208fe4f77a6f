import { from, PulledSource } from "./from.ts";
import { leave } from "./_operator.ts";
import type { Ending } from "./_operator.ts";
import type { Source } from "./types.ts";

/**
 * Lists of one message of each source. It ends with the first source that
 * ends; the others are destroyed then, and what had come of them is dropped.
 *
 * @example
 * ```ts
 * import { from, zip } from "@sluice/net/streams";
 *
 * const pairs = zip(from([1, 2]), from(["a", "b"]));
 * for await (const [n, s] of pairs) console.log(n, s);
 * ```
 */
export function zip<T extends readonly unknown[]>(
  ...sources: { [K in keyof T]: Source<T[K]> }
): Source<T> {
  const all = sources.map((source) =>
    from(source as Source<unknown>) as Source<unknown> & Ending
  );
  const stop = (reason: unknown) => {
    for (const source of all) source.destroy?.(reason);
  };
  const next = async (): Promise<IteratorResult<T, unknown>> => {
    try {
      const messages = await Promise.all(all.map((it) => it.receive()));
      if (messages.length > 0 && !messages.includes(undefined)) {
        return { value: messages as unknown as T, done: false };
      }
    } catch (error) {
      stop(error);
      throw error;
    }
    for (const source of all) leave(source);
    return { value: undefined, done: true };
  };
  return new PulledSource<T>({ next, stop });
}
