import { NetError } from "./errors.ts";
import { refuseWait, Waiters } from "./_waiters.ts";
import type { MaybePromise, Wait } from "./types.ts";

/** Pending sends past which another one is refused. */
const MAX_SENDERS = 65_536;

export interface OutboxOptions<T> {
  /** Whether the next message has to wait. */
  full: () => boolean;
  /** Takes a message over for good. */
  accept: (message: T) => void;
  /** Weight of a message. @default {() => 1} */
  size?: (message: T) => number;
  /** Weight of the messages that may wait. @default {Infinity} */
  maxPending?: () => number;
  /** A sender ignored its promise and passed `maxPending`. */
  onOverflow?: () => void;
}

/**
 * The sending half that every sink is made of: it decides who has to wait,
 * keeps the order, and lets a wait be withdrawn so that a message whose send
 * was given up is never sent.
 */
export class Outbox<T> {
  readonly #options: OutboxOptions<T>;
  readonly #senders: Waiters<boolean, T>;
  #pending = 0;
  #closed = false;
  #drained: (() => void)[] | undefined;

  constructor(options: OutboxOptions<T>) {
    this.#options = options;
    this.#senders = new Waiters("send", (message) => {
      this.#pending -= this.#size(message);
      this.#tellDrained();
    });
  }

  /** Weight of the messages whose senders wait. */
  get pending(): number {
    return this.#pending;
  }

  /** How many senders wait. */
  get waiting(): number {
    return this.#senders.size;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(message: T, wait?: Wait): MaybePromise<boolean> {
    const refused = refuseWait(wait);
    if (refused !== undefined) return refused;
    if (this.#closed) return false;
    const { full, accept, maxPending, onOverflow } = this.#options;
    if (this.#senders.size === 0 && !full()) {
      accept(message);
      return true;
    }
    const pending = this.#pending + this.#size(message);
    if (maxPending !== undefined && pending > maxPending()) {
      onOverflow?.();
      return false;
    }
    if (this.#senders.size >= MAX_SENDERS) {
      return Promise.reject(
        new NetError(`Cannot send: ${MAX_SENDERS} calls wait already`, {
          code: "ERR_TOO_MANY_WAITERS",
        }),
      );
    }
    this.#pending = pending;
    return this.#senders.add(message, wait);
  }

  /** Lets in who waits, as far as there is room. */
  admit(): void {
    const { full, accept } = this.#options;
    while (this.#senders.size > 0 && !full()) {
      const sender = this.#senders.shift()!;
      this.#pending -= this.#size(sender.value);
      accept(sender.value);
      sender.resolve(true);
    }
    this.#tellDrained();
  }

  /** Resolves once nobody waits any more: all let in, given up or closed. */
  drained(): Promise<void> {
    if (this.#senders.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#drained ??= []).push(resolve));
  }

  #tellDrained(): void {
    if (this.#drained === undefined || this.#senders.size > 0) return;
    for (const resolve of this.#drained) resolve();
    this.#drained = undefined;
  }

  /** From now on every send gives `false`, the waiting ones too. */
  close(): void {
    this.#closed = true;
    this.#pending = 0;
    this.#senders.resolveAll(false);
    this.#tellDrained();
  }

  #size(message: T): number {
    return this.#options.size === undefined ? 1 : this.#options.size(message);
  }
}
