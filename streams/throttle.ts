import { checkPositive } from "./_checks.ts";
import { PulledSource } from "./from.ts";
import { sourceOperator } from "./_operator.ts";
import type { Ending } from "./_operator.ts";
import { Sleep } from "./_sleep.ts";
import { clockOf } from "./_clock.ts";
import type { Clock, Operator, Passing, Source } from "./types.ts";

/** How fast messages may come. */
export interface ThrottleOptions {
  /** Messages a second, in the long run. */
  rate: number;
  /** Messages that may come at once, after as long a silence. @default {1} */
  burst?: number;
  /** What the rate is measured by; a `MockClock` in tests. */
  clock?: Clock;
}

/** One, but for what fractions lose: less is no wait that a clock can tell. */
const ENOUGH = 1 - 1e-9;

/**
 * The same messages, no faster than `rate` a second: the source waits, nothing
 * is dropped. Who has been silent may give up to `burst` messages at once.
 *
 * @example
 * ```ts
 * import { from, throttle } from "@sluice/net/streams";
 *
 * const slow = throttle({ rate: 1000, burst: 2 })(from([1, 2, 3]));
 * for await (const n of slow) console.log(n);
 * ```
 */
export function throttle(options: ThrottleOptions): Passing;
/** The same, for messages of one type. */
export function throttle<T>(options: ThrottleOptions): Operator<T, T>;
export function throttle<T>(options: ThrottleOptions): Operator<T, T> {
  const { rate, burst = 1 } = options;
  checkPositive(rate, "throttle to this rate");
  if (!(burst >= 1)) {
    throw new RangeError(`Cannot throttle: burst must be 1 or more: ${burst}`);
  }
  const clock = clockOf(options.clock, "throttle");
  return sourceOperator((source: Source<T> & Ending) => {
    const sleep = new Sleep(clock);
    let tokens = burst;
    let filled = clock.now();
    let stopped = false;
    const give = async (
      message: T | undefined,
    ): Promise<IteratorResult<T, unknown>> => {
      if (message === undefined) return { value: undefined, done: true };
      for (;;) {
        const now = clock.now();
        tokens = Math.min(burst, tokens + (now - filled) * rate / 1000);
        filled = now;
        if (tokens > ENOUGH) break;
        // A timer may fire a little early: then there is another round.
        await sleep.for((1 - tokens) * 1000 / rate);
        if (stopped) break;
      }
      tokens = Math.max(0, tokens - 1);
      return { value: message, done: false };
    };
    return new PulledSource<T>({
      next: () => Promise.resolve(source.receive()).then(give),
      stop: (reason) => {
        stopped = true;
        sleep.wake();
        source.destroy?.(reason);
      },
    });
  });
}
