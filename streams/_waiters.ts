import { TimeoutError } from "./errors.ts";
import { Stop } from "./_stop.ts";
import { clockOf, realClock } from "./_clock.ts";
import type { Clock, Wait } from "./types.ts";

/** Longest delay a timer takes; past it runtimes fire at once. */
export const MAX_TIMEOUT = 2 ** 31 - 1;

/**
 * Refuses a wait that makes no sense, and one whose signal has aborted.
 * Gives the rejection to return, or `undefined` when the wait may begin.
 */
export function refuseWait(
  options: Wait | undefined,
): Promise<never> | undefined {
  if (options === undefined) return undefined;
  const { signal, timeout, clock } = options;
  if (timeout !== undefined && !(timeout >= 0)) {
    return Promise.reject(
      new RangeError(`Cannot wait: timeout must be 0 or more: ${timeout}`),
    );
  }
  if (signal?.aborted) return Promise.reject(signal.reason);
  if (clock !== undefined) {
    try {
      clockOf(clock, "wait");
    } catch (error) {
      return Promise.reject(error);
    }
  }
  return undefined;
}

const nothing = (): void => {};
/** What settles the promise that is being made. */
let keptResolve: (result: unknown) => void = nothing;
let keptReject: (error: unknown) => void = nothing;

/** The same function for all promises: a closure for each would cost more. */
function keep(
  resolve: (result: never) => void,
  reject: (error: unknown) => void,
): void {
  keptResolve = resolve as (result: unknown) => void;
  keptReject = reject;
}

/** Whoever settles a promise by hand. */
export interface Settler {
  settleBy(resolve: (result: unknown) => void): void;
}

/** What a promise that is resolved with it takes over: a rejection. */
export class Rejection {
  readonly #error: unknown;

  constructor(error: unknown) {
    this.#error = error;
  }

  then(_: unknown, reject: (error: unknown) => void): void {
    reject(this.#error);
  }
}

/**
 * A promise for its owner to settle; cheaper than a `Waiter`. It is rejected
 * by resolving it with a `Rejection`: there may be very many, and another
 * function to keep for each.
 */
export function promiseOf<R>(owner: Settler): Promise<R> {
  const promise = new Promise<R>(keep);
  owner.settleBy(keptResolve);
  keptResolve = keptReject = nothing;
  return promise;
}

/** What may end a wait before its time. */
interface Limits {
  /** The cheap kind of signal. */
  stop?: Stop;
  signal?: AbortSignal;
  onAbort?: () => void;
  clock?: Clock;
  timer?: unknown;
}

/**
 * One pending call. Most have no limits of their own, and it is on the way of
 * every message that is waited for: hence few fields.
 */
export class Waiter<R, V> {
  readonly value: V;
  readonly promise: Promise<R>;
  readonly #resolve: (result: R) => void;
  readonly #reject: (error: unknown) => void;
  #limits: Limits | undefined;
  /** The line to leave when a `Stop` ends it. */
  #line: Waiters<R, V> | undefined;
  /** What it weighs, in whatever the line counts. */
  readonly weight: number;
  /** Whether it still stands in line. */
  queued = false;
  previous: Waiter<R, V> | undefined;
  next: Waiter<R, V> | undefined;

  constructor(value: V, weight = 1) {
    this.value = value;
    this.weight = weight;
    this.promise = new Promise(keep);
    this.#resolve = keptResolve;
    this.#reject = keptReject;
    // They would keep the promise, and what it is given.
    keptResolve = keptReject = nothing;
  }

  /** Arms the caller's own limits. */
  limit(
    { signal, timeout, clock = realClock }: Wait,
    what: string,
    giveUp: (waiter: this) => void,
  ): void {
    const limits: Limits = this.#limits = {};
    if (signal !== undefined) {
      limits.signal = signal;
      limits.onAbort = () => {
        giveUp(this);
        this.reject(signal.reason);
      };
      signal.addEventListener("abort", limits.onAbort, { once: true });
    }
    if (timeout !== undefined && timeout <= MAX_TIMEOUT) {
      limits.clock = clock;
      limits.timer = clock.setTimeout(() => {
        giveUp(this);
        this.reject(
          new TimeoutError(`Cannot ${what} within ${timeout} ms`, {
            phase: what,
          }),
        );
      }, timeout);
    }
  }

  /** The same for a signal of our own: next to nothing is made for one wait. */
  watch(stop: Stop, line: Waiters<R, V>): void {
    this.#limits = { stop };
    this.#line = line;
    stop.watch(this);
  }

  stopped(reason: unknown): void {
    this.#line!.giveUp(this);
    this.reject(reason);
  }

  resolve(result: R): void {
    if (this.#limits !== undefined) this.#disarm(this.#limits);
    this.#resolve(result);
  }

  reject(error: unknown): void {
    if (this.#limits !== undefined) this.#disarm(this.#limits);
    this.#reject(error);
  }

  #disarm({ stop, signal, onAbort, clock, timer }: Limits): void {
    this.#limits = undefined;
    stop?.unwatch(this);
    clock?.clearTimeout(timer);
    if (onAbort !== undefined) signal!.removeEventListener("abort", onAbort);
  }
}

/** Who hears of calls that gave up. */
export interface WaitersOwner<R, V> {
  gaveUp(waiter: Waiter<R, V>): void;
}

/** Pending calls in order of arrival; any one can be withdrawn in O(1). */
export class Waiters<R, V = undefined> {
  readonly #what: string;
  readonly #owner: WaitersOwner<R, V> | undefined;
  #first: Waiter<R, V> | undefined;
  #last: Waiter<R, V> | undefined;
  #size = 0;

  /** `what` names the call in errors. */
  constructor(what: string, owner?: WaitersOwner<R, V>) {
    this.#what = what;
    this.#owner = owner;
  }

  get size(): number {
    return this.#size;
  }

  add(value: V, options?: Wait, weight?: number): Promise<R> {
    const waiter = new Waiter<R, V>(value, weight);
    this.enter(waiter, options);
    return waiter.promise;
  }

  /** Puts a pending call at the end of the line. */
  enter(waiter: Waiter<R, V>, options?: Wait): void {
    waiter.queued = true;
    waiter.previous = this.#last;
    if (this.#last === undefined) this.#first = waiter;
    else this.#last.next = waiter;
    this.#last = waiter;
    this.#size++;
    if (options === undefined) return;
    const { signal, timeout } = options;
    if (timeout === undefined && signal instanceof Stop) {
      waiter.watch(signal, this);
    } else {
      waiter.limit(options, this.#what, () => this.giveUp(waiter));
    }
  }

  /** Takes one out whose caller waits no longer, and says so. */
  giveUp(waiter: Waiter<R, V>): void {
    this.withdraw(waiter);
    this.#owner?.gaveUp(waiter);
  }

  /** Takes one out, wherever it stands; the caller settles it. */
  withdraw(waiter: Waiter<R, V>): void {
    if (waiter.queued) this.#remove(waiter);
  }

  /** Takes the first in line out; the caller settles it. */
  shift(): Waiter<R, V> | undefined {
    const waiter = this.#first;
    if (waiter !== undefined) this.#remove(waiter);
    return waiter;
  }

  resolveAll(result: R): void {
    for (let w = this.shift(); w !== undefined; w = this.shift()) {
      w.resolve(result);
    }
  }

  #remove(waiter: Waiter<R, V>): void {
    if (waiter.previous === undefined) this.#first = waiter.next;
    else waiter.previous.next = waiter.next;
    if (waiter.next === undefined) this.#last = waiter.previous;
    else waiter.next.previous = waiter.previous;
    waiter.previous = waiter.next = undefined;
    waiter.queued = false;
    this.#size--;
  }
}
