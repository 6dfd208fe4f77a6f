import { ENHANCE_YOUR_CALM, H2Error } from "./_h2_frames.ts";

/**
 * Counts what costs the peer little and us something, against an allowance
 * that fills up again over time: floods run dry, and nobody else notices.
 */
export class Guard {
  readonly #what: string;
  readonly #burst: number;
  #left: number;
  #at: number;

  /** `burst` at once, and a tenth of that each second. */
  constructor(what: string, burst: number) {
    this.#what = what;
    this.#burst = burst;
    this.#left = burst;
    this.#at = performance.now();
  }

  /** One more. Throws the error of the connection when it is one too many. */
  count(): void {
    if (--this.#left >= 0) return;
    const now = performance.now();
    const gained = Math.floor((now - this.#at) / 10_000 * this.#burst);
    this.#at = now;
    this.#left = Math.min(this.#burst, this.#left + gained);
    if (this.#left < 0) {
      throw new H2Error(
        ENHANCE_YOUR_CALM,
        `Cannot go on with the connection: too many ${this.#what}`,
      );
    }
  }
}
