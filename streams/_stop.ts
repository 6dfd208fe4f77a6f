/** A call that waits, and can be told to give up. */
export interface Stoppable {
  stopped(reason: unknown): void;
}

/**
 * What `receive` and `send` use of an `AbortSignal`, at a tenth of its price.
 * Only for sources and sinks of our own: others may ask a signal for more.
 */
export class Stop {
  readonly #listeners = new Set<() => void>();
  /** Who waits: mostly one at a time, and the others besides. */
  #waiting: Stoppable | undefined;
  #others: Set<Stoppable> | undefined;
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
    const waiting = [this.#waiting, ...this.#others ?? []];
    this.#waiting = this.#others = undefined;
    for (const one of waiting) one?.stopped(reason);
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** Tells it to give up, should it come to that; it has not, so far. */
  watch(waiting: Stoppable): void {
    if (this.#waiting === undefined) this.#waiting = waiting;
    else (this.#others ??= new Set()).add(waiting);
  }

  /** It waits no longer. */
  unwatch(waiting: Stoppable): void {
    if (this.#waiting === waiting) this.#waiting = undefined;
    else this.#others?.delete(waiting);
  }

  addEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    this.#listeners.delete(listener);
  }
}
