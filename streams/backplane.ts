import { Link } from "./_link.ts";
import type { Bus } from "./bus.ts";
import type { NetError } from "./errors.ts";
import type { MaybePromise } from "./types.ts";

/**
 * What carries the topics of a bus from process to process: a thin coat over
 * the client of a message broker. `natsBackplane` and `redisBackplane` make
 * one; any other broker that delivers in order is a matter of these members.
 */
export interface Backplane {
  /** Whether it carries bytes. If not, it is given text alone. */
  readonly binary: boolean;
  /** Whether the broker can be reached at this moment. */
  readonly connected: boolean;
  /**
   * Hands a message over; the promise resolves once the broker has it. A
   * rejection with a `NetError` that is `retryable` says that the connection
   * broke: it is published again, when there is one. Any other is final.
   */
  publish(channel: string, data: string | Uint8Array): MaybePromise<unknown>;
  /**
   * Calls a function with all that others and we ourselves publish, until the
   * function that it resolves with is called; also after a reconnect.
   */
  subscribe(
    channel: string,
    receive: (data: string | Uint8Array) => void,
  ): Promise<() => MaybePromise<unknown>>;
  /** Calls a function when `connected` may have changed, until told not to. */
  watch(listener: () => void): () => void;
}

/** Messages that did not get where they should. */
export interface BackplaneLoss {
  /** The topic that they were published to. */
  readonly topic: string;
  /** How many. */
  readonly count: number;
  /**
   * `"out"`: published here, and not handed to the broker. `"in"`: published
   * elsewhere, and missed here.
   */
  readonly direction: "in" | "out";
  /** Why; `code` is `ERR_LOST` when the messages were missed on the way. */
  readonly error: NetError;
}

/** How topics travel. */
export interface BackplaneOptions<T> {
  /**
   * What a message is on its way. By default strings and bytes go as they
   * are, everything else as JSON; they are told apart when they arrive.
   */
  encode?: (message: T) => string | Uint8Array;
  /** The reverse of `encode`; it is given what that gave. */
  decode?: (data: string | Uint8Array) => T;
  /** Put before each topic, to keep apart who shares a broker. @default {"sluice."} */
  prefix?: string;
  /**
   * Messages that may wait for the broker, and remote ones that may wait for
   * one subscriber with `overflow: "wait"`; 1 to 65536. @default {1024}
   */
  capacity?: number;
  /** Bytes that may wait for the broker. @default {16 MiB} */
  maxBuffered?: number;
  /** Longest message in bytes, either way. @default {1 MiB} */
  maxMessageSize?: number;
  /** Hears of every loss. What it throws is ignored. */
  onLoss?: (loss: BackplaneLoss) => void;
  /**
   * Hears of what went wrong without a message being lost: a subscription
   * that the broker refused (it is tried again), a message that was not ours.
   * What it throws is ignored.
   */
  onError?: (error: unknown) => void;
}

/** A bus that is joined to others, until it is closed. */
export interface BackplaneLink extends AsyncDisposable {
  /** Whether the broker can be reached at this moment. */
  readonly connected: boolean;
  /** Messages that wait for the broker. */
  readonly buffered: number;
  /** Messages lost so far, either way. */
  readonly lost: number;
  /** Resolves once the broker knows of all that is subscribed to by now. */
  settled(): Promise<void>;
  /**
   * Resolves once the broker has taken, or this process has lost, all that
   * was published before: `true` when nothing of it was lost. Others have it
   * a moment later, if they listen.
   */
  flush(): Promise<boolean>;
  /**
   * Parts the bus from the others. Waits up to `timeout` ms (5000 by default)
   * for what the broker has not taken yet; the rest is lost. The broker's
   * connection stays open: it belongs to whoever opened it.
   */
  close(options?: { timeout?: number }): Promise<void>;
}

/**
 * Joins a bus to those of other processes and machines: what is published to
 * a topic on one of them is received by the subscribers on all of them.
 * Resolves once the broker knows of the present subscriptions (with a broker
 * that is down: at once).
 *
 * Each message arrives once (a message that comes back, or comes twice, is
 * dropped) and in the order in which its process has published to that topic.
 * While the broker is down what is published waits, and is sent afterwards;
 * what there is no room for is lost, the oldest first. What others published
 * while this process could not hear it is lost here, and counted when the
 * next message of theirs arrives. Nothing is lost without being told.
 *
 * @example
 * ```ts
 * import { backplane, Bus } from "@sluice/net/streams";
 * import type { Backplane } from "@sluice/net/streams";
 *
 * // A broker in memory; `natsBackplane(connection)` is a real one.
 * const ears = new Map<string, Set<(data: string | Uint8Array) => void>>();
 * const engine: Backplane = {
 *   binary: true,
 *   connected: true,
 *   publish: (channel, data) => ears.get(channel)?.forEach((ear) => ear(data)),
 *   subscribe: (channel, ear) => {
 *     ears.set(channel, (ears.get(channel) ?? new Set()).add(ear));
 *     return Promise.resolve(() => ears.get(channel)!.delete(ear));
 *   },
 *   watch: () => () => {},
 * };
 * const here = new Bus<string>();
 * const there = new Bus<string>();
 * const news = there.subscribe("news");
 * const links = [await backplane(here, engine), await backplane(there, engine)];
 * here.publish("news", "hello");
 * console.log(await news.receive());
 * for (const link of links) await link.close();
 * ```
 */
export async function backplane<T>(
  bus: Bus<T>,
  engine: Backplane,
  options: BackplaneOptions<T> = {},
): Promise<BackplaneLink> {
  const link = new Link<T>(bus, engine, options);
  await link.settled();
  return link;
}
