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
   * the whole with a `TimeoutError`), `"drop"` the message for it, or
   * `"close"` it.
   * @default {"wait"}
   */
  onSlow?: "wait" | "drop" | "close";
}

/** What sinks and sources may have besides `send` and `receive`. */
interface Ending {
  readonly closed?: Promise<CloseInfo>;
  closeWrite?(): Promise<void>;
  close?(): MaybePromise<void>;
  destroy?(reason?: unknown): void;
}

/** One of the sinks that are fed. */
interface Fed<T> {
  readonly sink: Sink<T> & Ending;
  open: boolean;
  error?: unknown;
}

/**
 * Sends all that a source gives to one sink, or to each of many. The slowest
 * sink sets the pace, unless `onSlow` says otherwise. Resolves when the source
 * ends, or at once when no sink is open any more; rejects with what broke
 * either side, with the signal's reason, or with a `TimeoutError`.
 *
 * The sinks are closed with the source (half-closed where they can be), the
 * source with the last sink; an error is passed on to both.
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
  const { closeSink = true, closeSource = true, signal } = options;
  const sinks: Fed<T>[] = (Array.isArray(sink) ? sink : [sink]).map((sink) => ({
    sink,
    open: true,
  }));
  // Aborts the wait for a message: the last sink closed, or the caller did.
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal!.reason);
  if (signal?.aborted) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  const lose = (fed: Fed<T>, error?: unknown) => {
    if (!fed.open) return;
    fed.open = false;
    fed.error = error;
    if (!sinks.some(({ open }) => open)) stop.abort(EXHAUSTED);
  };
  for (const fed of sinks) {
    fed.sink.closed?.then(({ error }) => lose(fed, error));
  }

  try {
    await pump(source, sinks, lose, stop.signal, options);
    if (closeSink) await Promise.all(sinks.map(({ sink }) => finish(sink)));
  } catch (reason) {
    const exhausted = reason === EXHAUSTED;
    const error = exhausted ? sinks.find(({ error }) => error)?.error : reason;
    if (closeSource) {
      (source as Ending).destroy?.(
        error ?? new ClosedError("Nobody receives any more"),
      );
    }
    if (exhausted) {
      // Sinks that closed in order leave nothing to tell.
      if (error === undefined) return;
    } else if (closeSink) {
      for (const { sink } of sinks) sink.destroy?.(error);
    }
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Why the pump stops when every sink has closed. */
const EXHAUSTED: unique symbol = Symbol("exhausted");

async function pump<T>(
  source: Source<T>,
  sinks: readonly Fed<T>[],
  lose: (fed: Fed<T>, error?: unknown) => void,
  signal: AbortSignal,
  options: ConnectOptions,
): Promise<void> {
  const { onSlow = "wait", timeout } = options;
  const single = sinks.length === 1 ? sinks[0] : undefined;
  const wait: Wait = { signal };
  // A sink that may be passed over is waited for no longer than this.
  const patience: Wait = {
    signal,
    timeout: timeout ?? (onSlow === "wait" ? undefined : 0),
  };
  for (;;) {
    if (signal.aborted) throw signal.reason;
    const received = source.receive(wait);
    const message = received instanceof Promise ? await received : received;
    if (message === undefined) return;
    if (single !== undefined) {
      const fed = feed(single, message, lose, patience, onSlow);
      if (fed !== undefined) await fed;
      continue;
    }
    let slow: Promise<void>[] | undefined;
    for (const target of sinks) {
      if (!target.open) continue;
      const fed = feed(target, message, lose, patience, onSlow);
      if (fed !== undefined) (slow ??= []).push(fed);
    }
    if (slow !== undefined) await Promise.all(slow);
  }
}

/** Gives one message to one sink; a promise when that takes time. */
function feed<T>(
  fed: Fed<T>,
  message: T,
  lose: (fed: Fed<T>) => void,
  patience: Wait,
  onSlow: "wait" | "drop" | "close",
): Promise<void> | undefined {
  const sent = fed.sink.send(message, patience);
  if (sent === true) return undefined;
  if (sent === false) {
    lose(fed);
    return undefined;
  }
  return sent.then((accepted) => {
    if (!accepted) lose(fed);
  }, (error) => {
    if (!(error instanceof TimeoutError) || onSlow === "wait") throw error;
    if (onSlow === "close") {
      lose(fed);
      fed.sink.destroy?.(error);
    }
  });
}

/** Ends a sink in order: its own half where it has two. */
async function finish(sink: Sink<unknown> & Ending): Promise<void> {
  if (sink.closeWrite !== undefined) await sink.closeWrite();
  else if (sink.close !== undefined) await sink.close();
}
