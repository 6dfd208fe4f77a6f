/**
 * A signal that aborts with another one while somebody needs it. What makes a
 * `Request` with a signal leaves a listener on it until the garbage collector
 * comes, on some runtimes; on this one it may.
 */
export class SignalLink {
  readonly #from: AbortSignal;
  readonly #controller = new AbortController();
  readonly #onAbort = (): void => this.#controller.abort(this.#from.reason);
  #holders = 0;

  constructor(from: AbortSignal) {
    this.#from = from;
    if (from.aborted) this.#onAbort();
    else from.addEventListener("abort", this.#onAbort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Keeps it until what this gives is called. */
  hold(): () => void {
    let held = true;
    this.#holders++;
    return () => {
      if (!held) return;
      held = false;
      if (--this.#holders > 0) return;
      this.#from.removeEventListener("abort", this.#onAbort);
    };
  }
}
