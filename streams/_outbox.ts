import { NetError } from "./errors.ts";
import { refuseWait, Waiters } from "./_waiters.ts";
import type { Waiter } from "./_waiters.ts";
import type { MaybePromise, Wait } from "./types.ts";

/** Pending sends past which another one is refused. */
const MAX_SENDERS = 65_536;

/** All are called as methods. */
export interface OutboxOptions<T> {
  /** Whether the next message has to wait. */
  full(): boolean;
  /** Takes a message over for good; `weight` is what `send` was told. */
  accept(message: T, weight?: number): void;
  /** Weight of a message that `send` was not told of. @default {() => 1} */
  size?(message: T): number;
  /** Weight of the messages that may wait. @default {Infinity} */
  maxPending?(): number;
  /** A sender ignored its promise and passed `maxPending`. */
  onOverflow?(): void;
}

/**
 * The sending half that every sink is made of: it decides who has to wait,
 * keeps the order, and lets a wait be withdrawn so that a message whose send
 * was given up is never sent.
 */
export class Outbox<T> {
  readonly #options: OutboxOptions<T>;
  /** Made when the first one has to wait. */
  #senders: Waiters<boolean, T> | undefined;
  #pending = 0;
  #closed = false;
  #drained: (() => void)[] | undefined;

  constructor(options: OutboxOptions<T>) {
    this.#options = options;
  }

  /** Weight of the messages whose senders wait. */
  get pending(): number {
    return this.#pending;
  }

  /** How many senders wait. */
  get waiting(): number {
    return this.#senders === undefined ? 0 : this.#senders.size;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(message: T, wait?: Wait, weight?: number): MaybePromise<boolean> {
    if (wait !== undefined) {
      const refused = refuseWait(wait);
      if (refused !== undefined) return refused;
    }
    if (this.#closed) return false;
    const options = this.#options;
    if (this.waiting === 0 && !options.full()) {
      options.accept(message, weight);
      return true;
    }
    weight ??= options.size?.(message) ?? 1;
    const pending = this.#pending + weight;
    if (pending > (options.maxPending?.() ?? Infinity)) {
      options.onOverflow?.();
      return false;
    }
    if (this.waiting >= MAX_SENDERS) {
      return Promise.reject(
        new NetError(
          `Cannot send: ${MAX_SENDERS} calls wait already; await what send gives`,
          { code: "ERR_TOO_MANY_WAITERS" },
        ),
      );
    }
    this.#pending = pending;
    this.#senders ??= new Waiters("send", this);
    return this.#senders.add(message, wait, weight);
  }

  /** Lets in who waits, as far as there is room. */
  admit(): void {
    const options = this.#options;
    while (this.waiting > 0 && !options.full()) this.#next();
    this.#tellDrained();
  }

  /** Lets the first in line in, room or not: its message is wanted now. */
  hand(): void {
    if (this.waiting === 0) return;
    this.#next();
    this.#tellDrained();
  }

  /** A sender gave up. */
  gaveUp(sender: Waiter<boolean, T>): void {
    this.#leave(sender);
    this.#tellDrained();
  }

  #next(): void {
    const sender = this.#senders!.shift()!;
    this.#leave(sender);
    this.#options.accept(sender.value, sender.weight);
    sender.resolve(true);
  }

  #leave(sender: Waiter<boolean, T>): void {
    // Sums of fractions drift: nobody waiting is exactly nothing.
    if (this.waiting === 0) this.#pending = 0;
    else this.#pending -= sender.weight;
  }

  /** Resolves once nobody waits any more: all let in, given up or closed. */
  drained(): Promise<void> {
    if (this.waiting === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#drained ??= []).push(resolve));
  }

  #tellDrained(): void {
    if (this.#drained === undefined || this.waiting > 0) return;
    for (const resolve of this.#drained) resolve();
    this.#drained = undefined;
  }

  /** From now on every send gives `false`, the waiting ones too. */
  close(): void {
    this.#closed = true;
    this.#pending = 0;
    this.#senders?.resolveAll(false);
    this.#tellDrained();
  }
}
