import { realClock } from "./_clock.ts";
import { NetError } from "./errors.ts";
import type { Clock } from "./types.ts";

/** Where a mock clock begins. */
export interface MockClockOptions {
  /** What `now` says at first. @default {0} */
  start?: number;
}

interface Timer {
  readonly due: number;
  /** Of two that are due at once the older one goes first. */
  readonly order: number;
  readonly fn: () => void;
}

/** Timers that one `advance` runs, past which they make each other for ever. */
const MAX_RUNS = 100_000;

type Later = (fn: () => void) => unknown;

/** Comes after all microtasks, and sooner than a timer where there is one. */
const { setImmediate: immediately } = globalThis as { setImmediate?: Later };

/** Lets everything run that waits for nothing but its turn. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    if (immediately !== undefined) immediately(() => resolve());
    else realClock.setTimeout(resolve, 0);
  });
}

/**
 * Time that stands still until it is told to go on: for tests of everything
 * timed, without waiting and without chance. It goes where a `clock` is asked
 * for: `every`, `throttle`, `batch`, and each `timeout`.
 *
 * @example
 * ```ts
 * import { every, MockClock } from "@sluice/net/streams";
 *
 * const clock = new MockClock();
 * const ticks = every(60_000, (count) => count, { clock });
 * const first = ticks.receive();
 * await clock.advance(60_000);
 * console.log(await first, clock.now());
 * ```
 */
export class MockClock implements Clock {
  #now: number;
  #orders = 0;
  /** Those that are armed. */
  readonly #timers = new Map<number, Timer>();
  /** One `advance` after the other. */
  #line: Promise<void> = Promise.resolve();

  /** Makes a clock that stands still. */
  constructor(options: MockClockOptions = {}) {
    const { start = 0 } = options;
    if (!Number.isFinite(start)) {
      throw new RangeError(
        `Cannot make a clock: start must be a finite number: ${start}`,
      );
    }
    this.#now = start;
  }

  /** Milliseconds: where it began, and what it was advanced by. */
  now(): number {
    return this.#now;
  }

  /** Timers that are armed and have not run. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Calls the function when the clock has come `ms` further. */
  setTimeout(fn: () => void, ms: number): number {
    if (typeof fn !== "function") {
      throw new TypeError(`Cannot set a timer: this is no function: ${fn}`);
    }
    const order = ++this.#orders;
    // As timers do: what is no delay is none.
    const delay = ms > 0 ? ms : 0;
    this.#timers.set(order, { due: this.#now + delay, order, fn });
    return order;
  }

  /** Takes a timer back. One that has run, or never was, is no error. */
  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  /**
   * Lets `ms` pass. The timers that come due run in their order, each at its
   * own time, and before the next one runs, and before this resolves, all is
   * settled that they have set off: promises, that is, not I/O. Timers that
   * are set meanwhile run as well when they come due. With `0`, it settles
   * what there is. Calls wait for each other. Rejects with the first error
   * that a timer throws, once all have run.
   */
  advance(ms: number): Promise<void> {
    if (typeof ms !== "number" || !(ms >= 0) || ms === Infinity) {
      return Promise.reject(
        new RangeError(
          `Cannot advance the clock: by 0 ms or more, and not for ever: ${ms}`,
        ),
      );
    }
    const advanced = this.#line.then(() => this.#advance(ms));
    this.#line = advanced.catch(() => {});
    return advanced;
  }

  async #advance(ms: number): Promise<void> {
    // What was begun before may be about to set a timer.
    await settle();
    const end = this.#now + ms;
    const errors: unknown[] = [];
    for (let runs = 0;; runs++) {
      const timer = this.#next(end);
      if (timer === undefined) break;
      if (runs === MAX_RUNS) {
        throw new NetError(
          `Cannot advance the clock: ${MAX_RUNS} timers ran, and there are more`,
          { code: "ERR_CLOCK_LOOP" },
        );
      }
      this.#timers.delete(timer.order);
      this.#now = Math.max(this.#now, timer.due);
      try {
        timer.fn();
      } catch (error) {
        errors.push(error);
      }
      await settle();
    }
    this.#now = end;
    if (errors.length > 0) throw errors[0];
  }

  /** The one to run next, if it is due by then. */
  #next(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers.values()) {
      if (timer.due > end) continue;
      if (next === undefined || timer.due < next.due) next = timer;
    }
    return next;
  }
}
