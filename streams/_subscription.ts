import { Channel } from "./channel.ts";
import type { MaybePromise, Overflow } from "./types.ts";

/** What one subscriber of a topic has and has not received yet. */
export class BusChannel<T> extends Channel<T> {
  readonly #leave: (subscription: BusChannel<T>) => void;
  readonly #countsDrops: boolean;
  /** Past which a send waits; `undefined` where none does. */
  readonly #patience: number | undefined;
  #signal: AbortSignal | undefined;
  #onAbort: (() => void) | undefined;

  constructor(
    options: { capacity: number; overflow: Overflow; signal?: AbortSignal },
    leave: (subscription: BusChannel<T>) => void,
  ) {
    super(options);
    this.#leave = leave;
    this.#countsDrops = options.overflow === "drop-newest";
    if (options.overflow === "wait") this.#patience = options.capacity;
    if (options.signal === undefined) return;
    this.#signal = options.signal;
    this.#onAbort = () => this.close();
    this.#signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** `true` when the message is kept for the subscriber. */
  offer(message: T): MaybePromise<boolean> {
    if (!this.#countsDrops) return this.send(message);
    const { dropped } = this;
    return this.send(message) === true && dropped === this.dropped;
  }

  /** Whether `limit` messages wait for it already, besides those it holds. */
  crowded(limit: number): boolean {
    return this.#patience !== undefined &&
      this.buffered >= this.#patience + limit;
  }

  override close(): void {
    this.release();
    super.close();
  }

  override destroy(reason?: unknown): void {
    this.release();
    super.destroy(reason);
  }

  /** It refused a message: for good, unless it only sheds. */
  releaseIfOver(): void {
    if (!this.#countsDrops) this.release();
  }

  /** Nothing will be published to it any more. */
  release(): void {
    this.#leave(this);
    if (this.#onAbort === undefined) return;
    this.#signal!.removeEventListener("abort", this.#onAbort);
    this.#onAbort = undefined;
  }
}
