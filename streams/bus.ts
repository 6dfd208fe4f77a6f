import { BusChannel } from "./_subscription.ts";
import type { CloseInfo, MaybePromise, Overflow, Source } from "./types.ts";

/** How much a subscription holds, and how long it lasts. */
export interface SubscribeOptions {
  /** Messages that wait for the subscriber. @default {256} */
  capacity?: number;
  /**
   * What becomes of a message for which there is no room: `"drop-oldest"`,
   * `"drop-newest"`, `"close"`, which ends the subscription with a
   * `SizeLimitError`, or `"wait"`, which makes `publish` wait for it.
   * @default {"drop-oldest"}
   */
  overflow?: Overflow;
  /** Closes the subscription when it aborts. */
  signal?: AbortSignal;
}

/** What is published to a topic, as one of its subscribers receives it. */
export interface Subscription<T> extends Source<T>, AsyncDisposable {
  /** Ends the subscription; what is queued stays receivable. */
  close(): void;
  /** Ends it now: what is queued is dropped, pending receives reject. */
  destroy(reason?: unknown): void;
  /** Resolves when it has ended; never rejects. */
  readonly closed: Promise<CloseInfo>;
  /** Messages that are queued, or wait to be. */
  readonly buffered: number;
  /** Messages that the overflow policy has dropped. */
  readonly dropped: number;
}

/** What carries topics to other processes, as the bus knows it. */
export interface BusLink<T> {
  /** Takes what is published here; a promise holds the publisher back. */
  publish(topic: string, message: T): Promise<void> | undefined;
  /** A topic has its first subscriber, or has lost its last. */
  want(topic: string, wanted: boolean): void;
}

/** The way in for what links a bus to others; not part of the public API. */
export interface BusGate {
  /** Joins the bus to a link; gives what parts them again. */
  link<T>(bus: Bus<T>, link: BusLink<T>): () => void;
  /**
   * Gives a message to the subscribers here alone, and waits for nobody:
   * says how many of those who are waited for had `limit` waiting already,
   * and so have lost it.
   */
  deliver<T>(bus: Bus<T>, topic: string, message: T, limit: number): number;
}

/** Set by the class below, which alone sees its private parts. */
export let gate: BusGate;

/**
 * Topics within one process: what is published to a topic goes to each of its
 * subscribers, in the order of publication. Subscribers do not slow each other
 * down; only one that subscribes with `overflow: "wait"` slows publishers.
 *
 * A subscription lasts until it is closed: leaving a `for await` over it does
 * not end it, as with every source.
 *
 * @example
 * ```ts
 * import { Bus } from "@sluice/net/streams";
 *
 * const bus = new Bus<string>();
 * const subscription = bus.subscribe("news");
 * console.log(await bus.publish("news", "hello"));
 * console.log(await subscription.receive());
 * subscription.close();
 * ```
 */
export class Bus<T> {
  readonly #subscribers = new Map<string, Set<BusChannel<T>>>();
  readonly #counts = new Map<string, number>();
  /** Few, if any: `undefined` while there is none. */
  #links: readonly BusLink<T>[] | undefined;

  static {
    gate = {
      link: (bus, link) => bus.#link(link),
      deliver: (bus, topic, message, limit) =>
        bus.#deliver(topic, message, limit),
    };
  }

  /** The topics that have subscribers, and how many; it is always current. */
  get topics(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /**
   * Gives a message to all who have subscribed to the topic, and says how many
   * have accepted it: at once, or when those who are waited for have decided.
   * With a `backplane` it goes to the other processes, too, but the number is
   * that of the subscribers in this one; and the promise waits for the engine
   * when that falls behind. Rejects when the message cannot be encoded for it.
   */
  publish(topic: string, message: T): MaybePromise<number> {
    if (message === undefined) {
      return Promise.reject(
        new TypeError("Cannot publish: undefined is the end, not a message"),
      );
    }
    if (this.#links !== undefined) return this.#publishLinked(topic, message);
    return this.#publish(topic, message);
  }

  #publish(topic: string, message: T): MaybePromise<number> {
    const subscribers = this.#subscribers.get(topic);
    if (subscribers === undefined) return 0;
    let accepted = 0;
    let waiting: Promise<boolean>[] | undefined;
    for (const subscriber of subscribers) {
      const offered = subscriber.offer(message);
      if (offered === true) accepted++;
      else if (offered !== false) (waiting ??= []).push(offered);
      else subscriber.releaseIfOver();
    }
    if (waiting === undefined) return accepted;
    return Promise.all(waiting).then((results) =>
      accepted + results.filter((result) => result).length
    );
  }

  #publishLinked(topic: string, message: T): MaybePromise<number> {
    let held: Promise<void>[] | undefined;
    try {
      for (const link of this.#links!) {
        const waiting = link.publish(topic, message);
        if (waiting !== undefined) (held ??= []).push(waiting);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    const accepted = this.#publish(topic, message);
    return held === undefined
      ? accepted
      : Promise.all(held).then(() => accepted);
  }

  #deliver(topic: string, message: T, limit: number): number {
    const subscribers = this.#subscribers.get(topic);
    if (subscribers === undefined) return 0;
    let lost = 0;
    for (const subscriber of subscribers) {
      if (subscriber.crowded(limit)) {
        lost++;
        continue;
      }
      // It waits in line, behind fewer than `limit`: it is never refused.
      const offered = subscriber.offer(message);
      if (offered === false) subscriber.releaseIfOver();
    }
    return lost;
  }

  #link(link: BusLink<T>): () => void {
    this.#links = [...this.#links ?? [], link];
    for (const topic of this.#counts.keys()) link.want(topic, true);
    return () => {
      const left = this.#links?.filter((other) => other !== link) ?? [];
      this.#links = left.length === 0 ? undefined : left;
    };
  }

  #tellLinks(topic: string, wanted: boolean): void {
    if (this.#links === undefined) return;
    for (const link of this.#links) link.want(topic, wanted);
  }

  /** Receives what is published to a topic from now on. */
  subscribe(topic: string, options: SubscribeOptions = {}): Subscription<T> {
    if (typeof topic !== "string") {
      throw new TypeError(
        `Cannot subscribe: a topic is a string: ${typeof topic}`,
      );
    }
    const { capacity = 256, overflow = "drop-oldest", signal } = options;
    const subscription = new BusChannel<T>(
      { capacity, overflow, signal },
      (subscription) => this.#remove(topic, subscription),
    );
    if (signal?.aborted) {
      subscription.close();
      return subscription;
    }
    let subscribers = this.#subscribers.get(topic);
    if (subscribers === undefined) {
      subscribers = new Set();
      this.#subscribers.set(topic, subscribers);
    }
    subscribers.add(subscription);
    this.#counts.set(topic, subscribers.size);
    if (subscribers.size === 1) this.#tellLinks(topic, true);
    return subscription;
  }

  #remove(topic: string, subscription: BusChannel<T>): void {
    const subscribers = this.#subscribers.get(topic);
    if (subscribers === undefined || !subscribers.delete(subscription)) return;
    if (subscribers.size > 0) {
      this.#counts.set(topic, subscribers.size);
    } else {
      this.#subscribers.delete(topic);
      this.#counts.delete(topic);
      this.#tellLinks(topic, false);
    }
  }
}
