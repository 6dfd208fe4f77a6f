import type { Clock } from "./types.ts";

/** The runtime's own. */
export const realClock: Clock = {
  now: () => performance.now(),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (timer) =>
    clearTimeout(timer as ReturnType<typeof setTimeout> | undefined),
};

/** The clock of an option, or the runtime's own. */
export function clockOf(clock: Clock | undefined, what: string): Clock {
  if (clock === undefined) return realClock;
  if (
    typeof clock?.now === "function" &&
    typeof clock.setTimeout === "function" &&
    typeof clock.clearTimeout === "function"
  ) return clock;
  throw new TypeError(
    `Cannot ${what}: a clock has now, setTimeout and clearTimeout`,
  );
}
