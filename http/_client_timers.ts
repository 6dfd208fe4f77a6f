// The timers of node:timers can be unref'ed on every runtime.
import { clearTimeout, setTimeout } from "node:timers";

/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_DELAY = 2 ** 31 - 1;

/** A deadline that can be withdrawn in O(1). */
export class Deadline {
  readonly at: number;
  readonly fire: () => void;
  list: DeadlineList | undefined;
  previous: Deadline | undefined;
  next: Deadline | undefined;

  constructor(at: number, fire: () => void) {
    this.at = at;
    this.fire = fire;
  }

  /** Withdraws it; does nothing when it has fired. */
  cancel(): void {
    this.list?.remove(this);
  }
}

/** Deadlines of the same delay: they fire in the order they were made. */
class DeadlineList {
  readonly #delay: number;
  readonly #onEmpty: () => void;
  readonly #keepAlive: boolean;
  #first: Deadline | undefined;
  #last: Deadline | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(delay: number, keepAlive: boolean, onEmpty: () => void) {
    this.#delay = delay;
    this.#keepAlive = keepAlive;
    this.#onEmpty = onEmpty;
  }

  add(fire: () => void): Deadline {
    const deadline = new Deadline(performance.now() + this.#delay, fire);
    deadline.list = this;
    deadline.previous = this.#last;
    if (this.#last === undefined) this.#first = deadline;
    else this.#last.next = deadline;
    this.#last = deadline;
    if (this.#timer === undefined) this.#arm(this.#delay);
    else if (this.#keepAlive) this.#timer.ref();
    return deadline;
  }

  remove(deadline: Deadline): void {
    const { previous, next } = deadline;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    deadline.list = deadline.previous = deadline.next = undefined;
    if (this.#keepAlive && this.#first === undefined) this.#timer?.unref();
  }

  /** Drops the timer. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(delay: number): void {
    // What waits has a socket that keeps the process alive, if it should be.
    this.#timer = setTimeout(() => this.#expire(), Math.max(1, delay));
    if (!this.#keepAlive) this.#timer.unref();
  }

  #expire(): void {
    this.#timer = undefined;
    const now = performance.now();
    let first = this.#first;
    // A timer may fire a little early.
    while (first !== undefined && first.at <= now + 1) {
      this.remove(first);
      first.fire();
      first = this.#first;
    }
    if (first !== undefined) this.#arm(Math.ceil(first.at - now));
    else if (this.#timer === undefined) this.#onEmpty();
  }
}

/**
 * Deadlines of many requests with few real timers: one for each delay in use.
 * Setting and withdrawing one touches no timer of the runtime.
 */
export class Deadlines {
  readonly #lists = new Map<number, DeadlineList>();
  readonly #keepAlive: boolean;

  /** With `keepAlive` the process lives while there are any. */
  constructor(options: { keepAlive?: boolean } = {}) {
    this.#keepAlive = options.keepAlive ?? false;
  }

  /** Calls back in `delay` ms; `undefined` when that is never. */
  set(delay: number, fire: () => void): Deadline | undefined {
    if (delay > MAX_DELAY) return undefined;
    let list = this.#lists.get(delay);
    if (list === undefined) {
      list = new DeadlineList(
        delay,
        this.#keepAlive,
        () => this.#lists.delete(delay),
      );
      this.#lists.set(delay, list);
    }
    return list.add(fire);
  }

  /** Drops all of them. */
  clear(): void {
    for (const list of this.#lists.values()) list.clear();
    this.#lists.clear();
  }
}
