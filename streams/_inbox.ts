import { ClosedError, NetError } from "./errors.ts";
import { Ring } from "./_ring.ts";
import { FlowWaiter, LoopWaiter } from "./_inbox_waiters.ts";
import type { LoopOwner, Receiver } from "./_inbox_waiters.ts";
import { promiseOf, refuseWait, Rejection, Waiters } from "./_waiters.ts";
import type { Settler, Waiter } from "./_waiters.ts";
import type { MaybePromise, Source, Wait } from "./types.ts";

/** Messages given to a Web Stream in one pull. */
const PULL_BATCH = 16;

/** Pending receives past which another one is refused. */
const MAX_RECEIVERS = 65_536;

/** Messages that weigh less than one on the average, past which it is full. */
const MAX_LIGHT = 65_536;

/** Of an inbox that never queued anything; nothing is put into it. */
const empty = new Ring<never>();

/** `size` is called as a function, the others as methods. */
export interface InboxOptions<T> {
  /** Weight of a message. @default {() => 1} */
  size?: (message: T) => number;
  /** Whether it says the same again: then nobody has to keep it. */
  steady?: boolean;
  /** `push` gives `false` once the weight of the queue has come to this. */
  high: number;
  /** `onRoom` is called once it has fallen to this. @default {below high} */
  low?: number;
  /** There is room again, after a `push` that gave `false`. */
  onRoom?(): void;
  /** Somebody is about to wait; a producer that pulls may push right now. */
  onWait?(): void;
  /** Its Web Stream is read from. */
  onPull?(): void;
  /** The consumer cancelled its Web Stream: nobody will read on. */
  onCancel?(reason: unknown): void;
}

/**
 * The receiving half that every source is made of: a bounded queue between a
 * producer that pushes and whoever receives. It never drops by itself: a
 * producer that goes on after `push` gave `false` makes the queue longer, so
 * every producer must stop, shed or fail there.
 */
export class Inbox<T> implements Source<T> {
  #queue: Ring<T> = empty;
  /** What they weigh, when `size` may say something else by then. */
  #sizes: Ring<number> | undefined;
  readonly #options: InboxOptions<T>;
  readonly #size: ((message: T) => number) | undefined;
  readonly #high: number;
  readonly #asks: boolean;
  /** A loop that waits alone, or before all the others. */
  #parked: Receiver<T> | undefined;
  #line: Waiters<T | undefined> | undefined;
  #fill = 0;
  #full = false;
  #ended = false;
  #failed = false;
  #destroyed = false;
  #error: unknown;
  #stream: ReadableStream<T> | undefined;
  /** Set while the stream can still be given something. */
  #controller: ReadableStreamDefaultController<T> | undefined;
  /** The stream's reader waits: what comes next goes to it at once. */
  #wanted = false;
  #flow: FlowWaiter<T> | undefined;

  constructor(options: InboxOptions<T>) {
    this.#options = options;
    this.#size = options.size;
    this.#high = options.high;
    this.#asks = options.onWait !== undefined;
  }

  /** Messages queued. */
  get length(): number {
    return this.#queue.length;
  }

  /** Weight of what is queued. */
  get fill(): number {
    return this.#fill;
  }

  /** Whether the producer should hold. */
  get full(): boolean {
    return this.#full;
  }

  /** Whether it holds as much as it may at this moment. */
  get brimming(): boolean {
    return this.#fill >= this.#high || this.#crowded;
  }

  /** Messages may weigh nothing: their number is bounded all the same. */
  get #crowded(): boolean {
    const { length } = this.#queue;
    return length >= MAX_LIGHT && length > this.#fill;
  }

  /** Whether somebody waits for a message right now. */
  get awaited(): boolean {
    return this.#receivers > 0 || this.#wanted;
  }

  /** How many wait, beside a Web Stream. */
  get #receivers(): number {
    const line = this.#line === undefined ? 0 : this.#line.size;
    return this.#parked === undefined ? line : line + 1;
  }

  /** Takes out who has waited longest. */
  #next(): Receiver<T> | undefined {
    const parked = this.#parked;
    if (parked === undefined) return this.#line?.shift();
    this.#parked = undefined;
    return parked;
  }

  /** Whether nobody waits for a message but a `flow`. */
  get flowing(): boolean {
    return this.#flow?.queued === true && this.#receivers === 1;
  }

  /** Whether its Web Stream can be read past: it is open and holds nothing. */
  get passable(): boolean {
    return !this.#wanted && this.#controller?.desiredSize === 0;
  }

  /** Whether the producer has finished, cleanly or not. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Takes a message in; `false` tells the producer to hold until `onRoom`.
   * `weight` is for those who have measured it already.
   */
  push(message: T, weight?: number): boolean {
    if (this.#ended) return false;
    const receiver = this.#next();
    if (receiver !== undefined) {
      receiver.resolve(message);
      return !this.#full;
    }
    if (this.#wanted) {
      this.#tellReader(message);
      return !this.#full;
    }
    if (this.#queue === empty) this.#makeQueue();
    this.#queue.push(message);
    if (this.#size === undefined) {
      this.#fill++;
    } else {
      weight ??= this.#size(message);
      this.#sizes?.push(weight);
      this.#fill += weight;
    }
    if (this.brimming) this.#full = true;
    return !this.#full;
  }

  /**
   * Puts a message back in front, e.g. the rest of one that was split; not
   * once all has been dropped.
   */
  unshift(message: T): void {
    if (this.#destroyed) return;
    const receiver = this.#next();
    if (receiver !== undefined) {
      receiver.resolve(message);
      return;
    }
    if (this.#wanted) return this.#tellReader(message);
    if (this.#queue === empty) this.#makeQueue();
    this.#queue.unshift(message);
    if (this.#size === undefined) {
      this.#fill++;
    } else {
      const size = this.#size(message);
      this.#sizes?.unshift(size);
      this.#fill += size;
    }
  }

  #makeQueue(): void {
    this.#queue = new Ring();
    const { size, steady } = this.#options;
    if (size !== undefined && !steady) this.#sizes = new Ring();
  }

  /** Drops the oldest message and gives it back. */
  drop(): T | undefined {
    return this.#queue.length === 0 ? undefined : this.#take();
  }

  /**
   * No more will come. What is queued stays receivable; after it comes the
   * clean end, or the error.
   */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    if (error !== undefined) {
      this.#failed = true;
      this.#error = error;
      this.#rejectAll(error);
    } else {
      for (let w = this.#next(); w !== undefined; w = this.#next()) {
        w.resolve(undefined);
      }
    }
    this.#tellStream();
  }

  #rejectAll(error: unknown): void {
    for (let w = this.#next(); w !== undefined; w = this.#next()) {
      w.reject(error);
    }
  }

  /** Ends it now: what is queued is dropped, receives reject with the error. */
  destroy(error: unknown): void {
    this.#destroyed = true;
    if (this.#ended && this.#queue.length === 0) {
      if (this.#failed) this.#controller?.error(this.#error);
      return;
    }
    this.#ended = true;
    this.#failed = true;
    this.#error = error;
    this.#queue.clear();
    this.#sizes?.clear();
    this.#fill = 0;
    this.#rejectAll(error);
    this.#controller?.error(error);
    this.#controller = undefined;
    this.#wanted = false;
  }

  /** Throws when it is read through its Web Stream. */
  checkUnread(): void {
    if (this.#stream !== undefined) throw readElsewhere();
  }

  receive(options?: Wait): MaybePromise<T | undefined> {
    if (this.#stream !== undefined) throw readElsewhere();
    if (options !== undefined) {
      const refused = refuseWait(options);
      if (refused !== undefined) return refused;
    }
    return this.#receive(options);
  }

  /**
   * Like `receive`, but while it waits the producer may see to the messages
   * itself, as long as `flowing` says so; `onOver` once it waits no longer. It
   * may be called beside a Web Stream, by whoever has locked that.
   */
  flow(onOver: () => void, options?: Wait): MaybePromise<T | undefined> {
    const refused = refuseWait(options);
    if (refused !== undefined) return refused;
    if (this.#flow?.queued === true) return this.#receive(options);
    const message = this.#receive(
      options,
      () => this.#flow = new FlowWaiter<T>(onOver),
    );
    this.#tellStream();
    return message;
  }

  #receive(
    options?: Wait,
    make?: () => Waiter<T | undefined, undefined>,
  ): MaybePromise<T | undefined> {
    const message = this.#poll();
    if (message !== undefined) return message;
    if (this.#ended) {
      return this.#failed ? Promise.reject(this.#error) : undefined;
    }
    const refused = this.#refuse();
    if (refused !== undefined) return Promise.reject(refused);
    const line = this.#line ??= new Waiters("receive");
    if (make === undefined) return line.add(undefined, options);
    const waiter = make();
    line.enter(waiter, options);
    return waiter.promise;
  }

  /** A message that is there, or that the producer has at hand. */
  #poll(): T | undefined {
    if (this.#queue.length > 0) return this.#take();
    if (!this.#asks || this.#ended) return undefined;
    this.#options.onWait!();
    return this.#queue.length > 0 ? this.#take() : undefined;
  }

  #refuse(): NetError | undefined {
    if (this.#receivers < MAX_RECEIVERS) return undefined;
    return new NetError(`Cannot receive: ${MAX_RECEIVERS} calls wait already`, {
      code: "ERR_TOO_MANY_WAITERS",
    });
  }

  #take(): T {
    const message = this.#queue.shift() as T;
    if (this.#size === undefined) {
      this.#fill--;
    } else {
      const weight = this.#sizes === undefined
        ? this.#size(message)
        : this.#sizes.shift()!;
      // Sums of fractions drift: an empty queue weighs exactly nothing.
      this.#fill = this.#queue.length === 0 ? 0 : this.#fill - weight;
    }
    if (this.#full && this.#hasRoom()) {
      this.#full = false;
      this.#options.onRoom?.();
    }
    return message;
  }

  #hasRoom(): boolean {
    if (this.#queue.length === 0) return true;
    const { low } = this.#options;
    if (low === undefined) return !this.brimming;
    return this.#fill <= low && !this.#crowded;
  }

  #takeAll(first: T): readonly T[] {
    const list = [first];
    if (this.#queue.length === 0) return list;
    this.#queue.drainInto(list);
    this.#sizes?.clear();
    this.#fill = 0;
    if (this.#full) {
      this.#full = false;
      this.#options.onRoom?.();
    }
    return list;
  }

  batches(): AsyncIterable<readonly T[]> {
    return {
      [Symbol.asyncIterator]: () => new Inbox.#Batches<T>(this),
    };
  }

  /** Leaving the loop leaves the inbox open, and what is in it there. */
  [Symbol.asyncIterator](): AsyncIterator<T> {
    return new Inbox.#Loop<T>(this);
  }

  /**
   * One loop, which waits by itself while nobody waits before it: its functions
   * are shared and it is one object, for there may be very many.
   */
  static readonly #Loop = class<T>
    implements AsyncIterator<T>, Receiver<T>, LoopOwner<T>, Settler {
    readonly #inbox: Inbox<T>;
    /** What settles the wait of its own. */
    #resolve: ((result: unknown) => void) | undefined;
    /** Its waits beside that, of calls of `next` that are not awaited. */
    #others: Set<LoopWaiter<T>> | undefined;
    over = false;

    constructor(inbox: Inbox<T>) {
      this.#inbox = inbox;
    }

    next(): Promise<IteratorResult<T>> {
      if (this.over) return Promise.resolve({ value: undefined, done: true });
      const inbox = this.#inbox;
      if (inbox.#stream !== undefined) return this.#fail(readElsewhere());
      const message = inbox.#poll();
      if (message !== undefined) {
        return Promise.resolve({ value: message, done: false });
      }
      if (inbox.#ended && !inbox.#failed) {
        this.over = true;
        return Promise.resolve({ value: undefined, done: true });
      }
      if (inbox.#failed) return this.#fail(inbox.#error);
      const refused = inbox.#refuse();
      if (refused !== undefined) return this.#fail(refused);
      if (inbox.#receivers === 0) {
        inbox.#parked = this;
        return promiseOf(this);
      }
      const waiter = new LoopWaiter<T>(this);
      (this.#others ??= new Set()).add(waiter);
      (inbox.#line ??= new Waiters("receive")).enter(waiter);
      return waiter.result;
    }

    settleBy(resolve: (result: unknown) => void): void {
      this.#resolve = resolve;
    }

    resolve(message: T | undefined): void {
      const resolve = this.#resolve!;
      this.#resolve = undefined;
      if (message === undefined) this.over = true;
      resolve({ value: message, done: message === undefined });
    }

    reject(error: unknown): void {
      const resolve = this.#resolve!;
      this.#resolve = undefined;
      this.over = true;
      resolve(new Rejection(error));
    }

    settled(waiter: LoopWaiter<T>): void {
      this.#others!.delete(waiter);
    }

    return(): Promise<IteratorResult<T>> {
      const inbox = this.#inbox;
      this.over = true;
      // A `next` that waits would take a message that nobody looks at.
      if (inbox.#parked === this) {
        inbox.#parked = undefined;
        this.resolve(undefined);
      }
      for (const waiter of this.#others ?? []) {
        inbox.#line!.withdraw(waiter);
        waiter.resolve(undefined);
      }
      return Promise.resolve({ value: undefined, done: true });
    }

    #fail(error: unknown): Promise<never> {
      this.over = true;
      return Promise.reject(error);
    }
  };

  /**
   * The same, with all that has come by the time that the loop goes on: what
   * is pushed in one go is one batch.
   */
  static readonly #Batches = class<T> implements AsyncIterator<readonly T[]> {
    readonly #inbox: Inbox<T>;
    readonly #loop: AsyncIterator<T> & LoopOwner<T>;
    readonly #map: (
      result: IteratorResult<T>,
    ) => IteratorResult<readonly T[]>;

    constructor(inbox: Inbox<T>) {
      this.#inbox = inbox;
      this.#loop = new Inbox.#Loop<T>(inbox);
      this.#map = ({ value, done }) =>
        done
          ? { value: undefined, done }
          : { value: this.#inbox.#takeAll(value), done: false };
    }

    next(): Promise<IteratorResult<readonly T[]>> {
      const inbox = this.#inbox;
      if (!this.#loop.over && inbox.#stream === undefined) {
        const first = inbox.#poll();
        if (first !== undefined) {
          return Promise.resolve({ value: inbox.#takeAll(first), done: false });
        }
      }
      return this.#loop.next().then(this.#map);
    }

    return(): Promise<IteratorResult<readonly T[]>> {
      this.#loop.return!();
      return Promise.resolve({ value: undefined, done: true });
    }
  };

  get readable(): ReadableStream<T> {
    if (this.#stream === undefined) {
      if (this.#receivers > 0) {
        throw new TypeError("Cannot make a readable: a receive is pending");
      }
      this.#stream = new ReadableStream<T>({
        start: (controller) => {
          this.#controller = controller;
          this.#tellStream();
        },
        // Without a promise: a reader that waits is told by the next message.
        pull: (controller) => {
          this.#options.onPull?.();
          const message = this.#poll();
          if (message !== undefined) this.#feed(controller, message);
          else if (this.#ended) this.#tellStream();
          else this.#wanted = true;
        },
        cancel: (reason) => {
          this.#controller = undefined;
          this.#wanted = false;
          if (this.#options.onCancel !== undefined) {
            this.#options.onCancel(reason);
          } else {this.destroy(
              reason ?? new ClosedError("Reading was cancelled"),
            );}
        },
        // Nothing is prefetched: the inbox is the queue, this is a view of it.
      }, { highWaterMark: 0 });
    }
    return this.#stream;
  }

  #tellReader(message: T): void {
    this.#wanted = false;
    this.#controller!.enqueue(message);
  }

  #feed(controller: ReadableStreamDefaultController<T>, first: T): void {
    controller.enqueue(first);
    for (let n = 1; n < PULL_BATCH && this.#queue.length > 0; n++) {
      controller.enqueue(this.#take());
    }
    this.#tellStream();
  }

  /** Ends the stream as soon as that takes nothing from its reader. */
  #tellStream(): void {
    const controller = this.#controller;
    if (controller === undefined || !this.#ended) return;
    if (this.#queue.length > 0) return;
    if (!this.#failed) controller.close();
    // To fail it now would drop what it holds: then the next pull does.
    else if (controller.desiredSize === 0) controller.error(this.#error);
    else return;
    this.#controller = undefined;
    this.#wanted = false;
  }
}

function readElsewhere(): TypeError {
  return new TypeError(
    "Cannot receive: this source is read through its readable",
  );
}
