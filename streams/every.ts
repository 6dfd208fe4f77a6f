import { checkPositive } from "./_checks.ts";
import { PulledSource } from "./from.ts";
import { Sleep } from "./_sleep.ts";
import { clockOf } from "./_clock.ts";
import type { Clock, MaybePromise, Source } from "./types.ts";

/** What else there is to say about a beat. */
export interface EveryOptions {
  /** What the interval is measured by; a `MockClock` in tests. */
  clock?: Clock;
}

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
  options: EveryOptions = {},
): Source<T> {
  checkPositive(interval, "repeat at this interval");
  const clock = clockOf(options.clock, "repeat");
  const sleep = new Sleep(clock);
  let stopped = false;
  let due = clock.now() + interval;
  let count = 0;
  const next = async (): Promise<IteratorResult<T, unknown>> => {
    let now = clock.now();
    while (now < due && !stopped) {
      // A timer may fire a little early: then there is another round.
      await sleep.for(due - now);
      now = clock.now();
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
