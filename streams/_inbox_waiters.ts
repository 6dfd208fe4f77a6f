import { Waiter } from "./_waiters.ts";

/** Whoever waits for a message, or for the end. */
export interface Receiver<T> {
  resolve(message: T | undefined): void;
  reject(error: unknown): void;
}

/** A loop over an inbox, as its waits know it. */
export interface LoopOwner<T> {
  over: boolean;
  settled(waiter: LoopWaiter<T>): void;
}

/** A loop's wait: it gives what an iterator gives, without another promise. */
export class LoopWaiter<T> extends Waiter<T | undefined, undefined> {
  readonly #owner: LoopOwner<T>;

  constructor(owner: LoopOwner<T>) {
    super(undefined);
    this.#owner = owner;
  }

  get result(): Promise<IteratorResult<T>> {
    return this.promise as unknown as Promise<IteratorResult<T>>;
  }

  override resolve(message: T | undefined): void {
    this.#owner.settled(this);
    if (message === undefined) this.#owner.over = true;
    const result = { value: message, done: message === undefined };
    super.resolve(result as unknown as T);
  }

  override reject(error: unknown): void {
    this.#owner.settled(this);
    this.#owner.over = true;
    super.reject(error);
  }
}

/** A wait that what comes may go past. */
export class FlowWaiter<T> extends Waiter<T | undefined, undefined> {
  readonly #onOver: () => void;

  constructor(onOver: () => void) {
    super(undefined);
    this.#onOver = onOver;
  }

  override resolve(message: T | undefined): void {
    super.resolve(message);
    this.#onOver();
  }

  override reject(error: unknown): void {
    super.reject(error);
    this.#onOver();
  }
}
