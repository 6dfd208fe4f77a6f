/** A promise made when somebody asks for it, also after the fact. */
export class Outcome<T> {
  #promise: Promise<T> | undefined;
  #resolve: ((value: T) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  #settled: { value: T } | { error: unknown } | undefined;

  get promise(): Promise<T> {
    if (this.#promise === undefined) {
      this.#promise = new Promise<T>((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
      });
      // Nobody has to listen.
      this.#promise.catch(() => {});
      if (this.#settled !== undefined) this.#settle();
    }
    return this.#promise;
  }

  resolve(value: T): void {
    this.#settled ??= { value };
    this.#settle();
  }

  reject(error: unknown): void {
    this.#settled ??= { error };
    this.#settle();
  }

  #settle(): void {
    const settled = this.#settled!;
    if ("error" in settled) this.#reject?.(settled.error);
    else this.#resolve?.(settled.value);
  }
}
