import { Channel } from "./channel.ts";
import { BaseDuplex } from "./_duplex.ts";
import { back, flow, intake } from "./_flow.ts";
import type { Inflowing, Intake, Outflowing } from "./_flow.ts";
import { PulledSource } from "./from.ts";
import { MergedSource } from "./_merged.ts";
import { Derived } from "./_operator.ts";
import { Stop } from "./_stop.ts";
import { BusChannel } from "./_subscription.ts";
import { refuseWait } from "./_waiters.ts";
import { ClosedError, TimeoutError } from "./errors.ts";
import type { CloseInfo, MaybePromise, Sink, Source, Wait } from "./types.ts";

/** How a source and its sinks are joined. */
export interface ConnectOptions extends Wait {
  /** The sinks end when the source does. @default {true} */
  closeSink?: boolean;
  /** The source ends when no sink is left. @default {true} */
  closeSource?: boolean;
  /**
   * What becomes of a sink that keeps the others waiting for longer than
   * `timeout` ms (0 when not given): `"wait"` for it (a `timeout` then ends
   * the whole with a `TimeoutError`), `"drop"` what comes until it has room
   * again, or `"close"` it: it is destroyed with a `TimeoutError`.
   * @default {"wait"}
   */
  onSlow?: "wait" | "drop" | "close";
}

/** What sinks and sources may have besides `send` and `receive`. */
interface Ending {
  readonly closed?: Promise<CloseInfo>;
  closeWrite?(): MaybePromise<void>;
  close?(): MaybePromise<void>;
  destroy?(reason?: unknown): void;
}

/** Messages moved without a pause before others get their turn. */
const TURN = 256;
/** How long a sink that refuses has to say why, in ms. */
const GRACE = 100;
const POLICIES: readonly string[] = ["wait", "drop", "close"];

/** Why the pump stops when every sink has closed. */
const EXHAUSTED: unique symbol = Symbol("exhausted");
/** Why a send is withdrawn at once. */
const SLOW: unique symbol = Symbol("slow");

/**
 * Sends all that a source gives to one sink, or to each of many. The slowest
 * sink sets the pace, unless `onSlow` says otherwise. Resolves when the source
 * ends, or at once when no sink is open any more; rejects with what broke the
 * source or the last sink, with the signal's reason, or with a `TimeoutError`.
 *
 * The sinks are closed with the source (half-closed where they can be), the
 * source with the last sink; an error is passed on to both. A message that
 * was under way to a sink that closed is gone. One that still waits for room
 * in the only sink when `signal` aborts goes back to a source that is a
 * connection: with `closeSource: false` the next to receive has it.
 *
 * From one `tcp` connection straight into another, or back into itself, bytes
 * go without a chunk or a promise for each: as cheap as a loop over the
 * runtime's own sockets. That needs a single sink, and no `timeout`.
 *
 * @example
 * ```ts
 * import { Channel, connect, from } from "@sluice/net/streams";
 *
 * const channel = new Channel<number>();
 * const done = connect(from([1, 2, 3]), channel);
 * for await (const n of channel) console.log(n);
 * await done;
 * ```
 */
export async function connect<T>(
  source: Source<T>,
  sink: Sink<T> | readonly Sink<T>[],
  options: ConnectOptions = {},
): Promise<void> {
  const { onSlow = "wait", timeout, signal, clock } = options;
  if (!POLICIES.includes(onSlow)) {
    throw new TypeError(`Cannot connect: no such onSlow policy: ${onSlow}`);
  }
  const refused = refuseWait({ timeout, clock });
  if (refused !== undefined) await refused;
  const sinks = (Array.isArray(sink) ? sink : [sink]) as readonly Sink<T>[];
  checkEnds(source, sinks);
  const joint = new Joint<T>(source, sinks, options);
  const onAbort = () => joint.stop(signal!.reason);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await joint.run();
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

function checkEnds(source: unknown, sinks: readonly unknown[]): void {
  if (!has(source, "receive")) {
    throw new TypeError(
      `Cannot connect: the source cannot receive, from() makes one of what is iterable: ${source}`,
    );
  }
  const at = sinks.findIndex((sink) => !has(sink, "send"));
  if (at !== -1) {
    throw new TypeError(`Cannot connect: this sink cannot send: ${sinks[at]}`);
  }
}

function has(end: unknown, method: "receive" | "send"): boolean {
  return typeof end === "object" && end !== null &&
    typeof (end as Record<string, unknown>)[method] === "function";
}

/** Whether it takes a `Stop` for a signal. */
function isOurs(end: unknown): boolean {
  return end instanceof BaseDuplex || end instanceof PulledSource ||
    end instanceof Derived || end instanceof MergedSource ||
    end instanceof BusChannel ||
    (end as object).constructor === Channel;
}

/** One thing that stops: a signal for our own ends, and one for others. */
class Brake {
  readonly #stop = new Stop();
  #controller: AbortController | undefined;

  get aborted(): boolean {
    return this.#stop.aborted;
  }

  get reason(): unknown {
    return this.#stop.reason;
  }

  for(end: unknown): AbortSignal {
    if (isOurs(end)) return this.#stop.signal;
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#stop.abort(reason);
    this.#controller?.abort(reason);
  }

  /** Rejects when it stops for another reason than this one. */
  failure(expected: unknown): Promise<never> {
    return new Promise((_, reject) => {
      this.#stop.addEventListener("abort", () => {
        if (this.reason !== expected) reject(this.reason);
      });
    });
  }
}

/** One of the sinks that are fed. */
class Fed<T> {
  readonly sink: Sink<T> & Ending;
  readonly #patience: Wait;
  readonly #onSlow: "wait" | "drop" | "close";
  /** Withdraws a send that finds no room; made anew once it was used. */
  #gate: Brake | undefined;
  #instant: boolean;
  open = true;
  error: unknown;

  constructor(sink: Sink<T>, brake: Brake, options: ConnectOptions) {
    const { onSlow = "wait", timeout, clock } = options;
    this.sink = sink;
    this.#onSlow = onSlow;
    this.#patience = { signal: brake.for(sink), timeout, clock };
    this.#instant = onSlow !== "wait" && !(timeout! > 0);
  }

  /** Gives it a message: whether it is open, or a promise of that. */
  feed(message: T, fail: (error: unknown) => void): MaybePromise<boolean> {
    return this.#instant
      ? this.#feedNow(message, fail)
      : this.#feedPatiently(message);
  }

  #feedPatiently(message: T): MaybePromise<boolean> {
    const sent = this.sink.send(message, this.#patience);
    if (this.#onSlow === "wait" || typeof sent === "boolean") return sent;
    return sent.catch((error) => {
      if (!(error instanceof TimeoutError)) throw error;
      if (this.#onSlow === "close") return this.#drop(error);
      // From now on it is passed over, until it has room again.
      this.#instant = true;
      return true;
    });
  }

  #feedNow(message: T, fail: (error: unknown) => void): boolean {
    const gate = this.#gate ??= new Brake();
    const sent = this.sink.send(message, { signal: gate.for(this.sink) });
    if (typeof sent === "boolean") {
      if (this.#patience.timeout! > 0) this.#instant = false;
      return sent;
    }
    this.#gate = undefined;
    gate.abort(SLOW);
    sent.catch((error) => {
      if (error !== SLOW) fail(error);
    });
    if (this.#onSlow === "drop") return true;
    return this.#drop(
      new TimeoutError("The sink was too slow for the others", {
        phase: "send",
      }),
    );
  }

  #drop(error: TimeoutError): boolean {
    this.error = error;
    if (this.sink.destroy !== undefined) this.sink.destroy(error);
    else void this.sink.close?.();
    return false;
  }
}

/** A source and its sinks, while they are joined. */
class Joint<T> {
  readonly #source: Source<T> & Ending & Outflowing<T>;
  readonly #sinks: readonly Fed<T>[];
  readonly #closeSink: boolean;
  readonly #closeSource: boolean;
  /** Where the source's messages may go without a wait for each. */
  readonly #intake: Intake<T> | undefined;
  // Ends the wait for a message: the last sink closed, or the caller did.
  readonly #brake = new Brake();
  #open: number;

  constructor(
    source: Source<T>,
    sinks: readonly Sink<T>[],
    options: ConnectOptions,
  ) {
    const { closeSink = true, closeSource = true } = options;
    this.#source = source;
    this.#closeSink = closeSink;
    this.#closeSource = closeSource;
    this.#sinks = sinks.map((sink) => new Fed(sink, this.#brake, options));
    this.#open = sinks.length;
    const { onSlow = "wait", timeout } = options;
    if (sinks.length === 1 && onSlow === "wait" && timeout === undefined) {
      this.#intake = (sinks[0] as Sink<T> & Inflowing<T>)[intake];
    }
    for (const fed of this.#sinks) {
      fed.sink.closed?.then(({ error }) => this.#lose(fed, error));
    }
    if (this.#open === 0) this.stop(EXHAUSTED);
  }

  stop(reason: unknown): void {
    this.#brake.abort(reason);
  }

  async run(): Promise<void> {
    try {
      await this.#pump();
      if (this.#closeSink) {
        await Promise.race([this.#finish(), this.#brake.failure(EXHAUSTED)]);
      }
    } catch (reason) {
      this.#break(reason);
    }
  }

  async #pump(): Promise<void> {
    const source = this.#source;
    const brake = this.#brake;
    const wait: Wait = { signal: brake.for(source) };
    const into = this.#intake;
    for (let moved = 1;; moved++) {
      if (brake.aborted) throw brake.reason;
      const received = into === undefined || source[flow] === undefined
        ? source.receive(wait)
        : source[flow](into, wait);
      const message = received instanceof Promise ? await received : received;
      if (message === undefined) return;
      const fed = this.#sinks.length === 1
        ? this.#feed(this.#sinks[0], message)
        : this.#feedAll(message);
      if (fed !== undefined) {
        await (this.#sinks.length === 1 ? this.#orBack(fed, message) : fed);
      } else if (moved % TURN === 0) {
        // Both may be ready for ever: others want to run, too.
        await null;
      }
    }
  }

  /** A message whose only send was withdrawn is the source's again. */
  async #orBack(fed: Promise<unknown>, message: T): Promise<void> {
    try {
      await fed;
    } catch (error) {
      if (error === this.#brake.reason) this.#source[back]?.(message);
      throw error;
    }
  }

  #feedAll(message: T): Promise<unknown> | undefined {
    let slow: Promise<void>[] | undefined;
    for (const fed of this.#sinks) {
      if (!fed.open) continue;
      const waiting = this.#feed(fed, message);
      if (waiting !== undefined) (slow ??= []).push(waiting);
    }
    return slow && Promise.all(slow);
  }

  #feed(fed: Fed<T>, message: T): Promise<void> | undefined {
    const sent = fed.feed(message, this.#fail);
    if (sent === true) return undefined;
    if (sent === false) return this.#lost(fed);
    return sent.then((open) => open ? undefined : this.#lost(fed));
  }

  readonly #fail = (error: unknown): void => this.stop(error);

  /** It refuses. It may be about to say why. */
  async #lost(fed: Fed<T>): Promise<void> {
    if (fed.open && fed.error === undefined && fed.sink.closed !== undefined) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const grace = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, GRACE);
      });
      await Promise.race([fed.sink.closed, grace]);
      clearTimeout(timer);
    }
    this.#lose(fed);
  }

  #lose(fed: Fed<T>, error?: unknown): void {
    fed.error ??= error;
    if (!fed.open) return;
    fed.open = false;
    if (--this.#open === 0) this.stop(EXHAUSTED);
  }

  /** The source has ended: so do the sinks, in order. */
  async #finish(): Promise<void> {
    const left = this.#sinks.filter(({ open }) => open);
    await Promise.all(left.map(async ({ sink }) => {
      if (sink.closeWrite !== undefined) await sink.closeWrite();
      else await sink.close?.();
    }));
    // One that broke while it was flushed has said so by now.
    await null;
    if (left.length > 0 && left.every(({ error }) => error !== undefined)) {
      throw left[0].error;
    }
  }

  #break(reason: unknown): void {
    const exhausted = reason === EXHAUSTED;
    const error = exhausted
      ? this.#sinks.find(({ error }) => error !== undefined)?.error
      : reason;
    if (this.#closeSource) {
      this.#source.destroy?.(
        error ?? new ClosedError("Nobody receives any more"),
      );
    }
    if (!exhausted && this.#closeSink) {
      for (const { sink } of this.#sinks) sink.destroy?.(error);
    }
    // Sinks that closed in order leave nothing to tell.
    if (!exhausted || error !== undefined) throw error;
  }
}
