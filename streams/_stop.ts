/**
 * What `receive` and `send` use of an `AbortSignal`, at a tenth of its price.
 * Only for sources and sinks of our own: others may ask a signal for more.
 */
export class Stop {
  readonly #listeners = new Set<() => void>();
  aborted = false;
  reason: unknown;

  /** The same object, as a `Wait` takes it. */
  get signal(): AbortSignal {
    return this as unknown as AbortSignal;
  }

  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  addEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.delete(listener);
  }
}
