import { TimeoutError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { show } from "./_errors.ts";

/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** Calls back once nobody has touched it for so many milliseconds. */
export class IdleWatch {
  readonly #timeout: number;
  readonly #onIdle: () => void;
  #last = performance.now();
  #timer: ReturnType<typeof setTimeout>;

  constructor(timeout: number, onIdle: () => void) {
    this.#timeout = timeout;
    this.#onIdle = onIdle;
    this.#timer = setTimeout(this.#look, Math.min(timeout, MAX_TIMEOUT));
  }

  touch(): void {
    this.#last = performance.now();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  // One timer for many touches: it looks how long ago the last one was.
  readonly #look = (): void => {
    const left = this.#last + this.#timeout - performance.now();
    if (left > 0) {
      this.#timer = setTimeout(this.#look, Math.min(left, MAX_TIMEOUT));
    } else this.#onIdle();
  };
}

/** The error of a connection that was idle for so many milliseconds. */
export function idledOut(address: Address, timeout: number): TimeoutError {
  return new TimeoutError(
    `Connection to ${show(address)} was idle for ${timeout} ms`,
    { phase: "idle", address },
  );
}
