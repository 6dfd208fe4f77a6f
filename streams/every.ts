import { checkPositive } from "./_checks.ts";
import { PulledSource } from "./from.ts";
import { Sleep } from "./_sleep.ts";
import type { MaybePromise, Source } from "./types.ts";

/**
 * What a function gives every `interval` ms, the first time after one of them.
 * It is called only when somebody receives: who comes late gets one message at
 * once, not all that were missed, and the beat stays the same.
 *
 * @example
 * ```ts
 * import { every, take } from "@sluice/net/streams";
 *
 * const ticks = take(3)(every(10, (count) => count));
 * for await (const tick of ticks) console.log(tick);
 * ```
 */
export function every<T>(
  interval: number,
  fn: (count: number) => MaybePromise<T>,
): Source<T> {
  checkPositive(interval, "repeat at this interval");
  const sleep = new Sleep();
  let stopped = false;
  let due = performance.now() + interval;
  let count = 0;
  const next = async (): Promise<IteratorResult<T, unknown>> => {
    let now = performance.now();
    while (now < due && !stopped) {
      // A timer may fire a little early: then there is another round.
      await sleep.for(due - now);
      now = performance.now();
    }
    if (stopped) return { value: undefined, done: true };
    due += interval * (1 + Math.max(0, Math.floor((now - due) / interval)));
    return { value: await fn(count++), done: false };
  };
  return new PulledSource<T>({
    next,
    stop: () => {
      stopped = true;
      sleep.wake();
    },
  });
}
