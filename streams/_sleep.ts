import { realClock } from "./_clock.ts";
import type { Clock } from "./types.ts";

/** A wait that can be cut short. */
export class Sleep {
  readonly #clock: Clock;
  #timer: unknown;
  #wake: (() => void) | undefined;

  constructor(clock: Clock = realClock) {
    this.#clock = clock;
  }

  /** Resolves after `ms`, or when it is woken. */
  for(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#clock.setTimeout(() => this.wake(), ms);
    });
  }

  wake(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#wake?.();
    this.#wake = undefined;
  }
}
