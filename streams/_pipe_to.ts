import { Stop } from "./_stop.ts";
import type { Intake } from "./_flow.ts";
import type { MaybePromise, Wait } from "./types.ts";

/** Messages moved without a pause before others get their turn. */
const TURN = 256;

/** What is behind a readable, for a pipe that goes past its queue. */
export interface PipeSource<T> {
  /** It tells whether the readable is open, and holds nothing itself. */
  readonly inbox: { readonly passable: boolean };
  /** As `flow` of a source; it does not mind the readable. */
  flow(into: Intake<T>, wait: Wait): MaybePromise<T | undefined>;
}

/** The intakes behind writables of our own. */
const intakes = new WeakMap<object, Intake<unknown>>();

/** Remembers what a writable writes to. */
export function setIntake<T, Some extends T>(
  writable: WritableStream<T>,
  into: Intake<Some>,
): WritableStream<T> {
  intakes.set(writable, into as Intake<unknown>);
  return writable;
}

/**
 * Gives a readable a `pipeTo` that moves what comes straight into the intake
 * of a writable of our own, with both of them locked; to any other one, and
 * whenever either holds something itself, it is the runtime's.
 */
export function setPipeTo<T>(
  readable: ReadableStream<T>,
  source: PipeSource<T>,
): ReadableStream<T> {
  const native = readable.pipeTo;
  Object.defineProperty(readable, "pipeTo", {
    configurable: true,
    writable: true,
    value(
      this: ReadableStream<T>,
      destination: WritableStream<T>,
      options?: StreamPipeOptions,
    ): Promise<void> {
      const into = intakes.get(destination) as Intake<T> | undefined;
      if (
        into === undefined || !into.open || !source.inbox.passable ||
        this !== readable || readable.locked || destination.locked ||
        !isPlain(options)
      ) return native.call(this, destination, options);
      return new Pipe<T>(source, into, { ...options }).run(
        readable,
        destination,
        native,
      );
    },
  });
  return readable;
}

/** Whether nothing of it has to be refused, and nothing has been aborted. */
function isPlain(options: StreamPipeOptions | undefined): boolean {
  if (options === undefined) return true;
  if (options === null || typeof options !== "object") return false;
  const { signal } = options;
  return signal === undefined ||
    (signal instanceof AbortSignal && !signal.aborted);
}

/** Why it stops when the destination has failed. */
const LOST: unique symbol = Symbol("lost");

/** One `pipeTo`, as the Streams standard has it (ReadableStreamPipeTo). */
class Pipe<T> {
  readonly #source: PipeSource<T>;
  readonly #into: Intake<T>;
  readonly #options: StreamPipeOptions;
  readonly #stop = new Stop();
  /** What the destination has failed with. */
  #failure: unknown;

  constructor(
    source: PipeSource<T>,
    into: Intake<T>,
    options: StreamPipeOptions,
  ) {
    this.#source = source;
    this.#into = into;
    this.#options = options;
  }

  async run(
    readable: ReadableStream<T>,
    destination: WritableStream<T>,
    native: ReadableStream<T>["pipeTo"],
  ): Promise<void> {
    const { signal } = this.#options;
    const stop = this.#stop;
    const reader = readable.getReader();
    const writer = destination.getWriter();
    const release = () => {
      reader.releaseLock();
      writer.releaseLock();
    };
    // Whatever of it concerns the pipe is told by other ways.
    reader.closed.catch(() => {});
    writer.closed.catch(this.#lost);
    // One that was told to close before anybody had it says so by now.
    await null;
    await null;
    if (!this.#into.open || writer.desiredSize !== 1) {
      release();
      return await native.call(readable, destination, this.#options);
    }
    const onAbort = () => stop.abort(signal);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    try {
      let broken: { error: unknown } | undefined;
      try {
        await this.#pump(writer);
      } catch (error) {
        broken = { error };
      }
      if (!stop.aborted) await this.#end(writer, broken);
      else if (stop.reason === LOST) await this.#giveUp(reader);
      else await this.#abort(reader, writer);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      release();
    }
  }

  readonly #lost = (error: unknown): void => {
    this.#failure = error;
    this.#stop.abort(LOST);
  };

  /** Resolves when the source has ended; rejects when it broke, or `stop`. */
  async #pump(writer: WritableStreamDefaultWriter<T>): Promise<void> {
    const stop = this.#stop;
    const wait: Wait = { signal: stop.signal };
    for (let moved = 1;; moved++) {
      if (stop.aborted) throw stop.reason;
      const received = this.#source.flow(this.#into, wait);
      const message = received instanceof Promise ? await received : received;
      if (message === undefined) return;
      // What was read is written, whatever comes in between.
      await writer.write(message).catch(this.#lost);
      if (moved % TURN === 0) await null;
    }
  }

  /** The source has ended, or broken: so does the destination. */
  async #end(
    writer: WritableStreamDefaultWriter<T>,
    broken: { error: unknown } | undefined,
  ): Promise<void> {
    if (broken === undefined) {
      if (!this.#options.preventClose) await writer.close();
      return;
    }
    if (!this.#options.preventAbort) await writer.abort(broken.error);
    throw broken.error;
  }

  /** The destination has failed: nobody reads on for it. */
  async #giveUp(reader: ReadableStreamDefaultReader<T>): Promise<void> {
    const error = this.#failure;
    if (!this.#options.preventCancel) await reader.cancel(error);
    throw error;
  }

  /** The caller's signal says so. */
  async #abort(
    reader: ReadableStreamDefaultReader<T>,
    writer: WritableStreamDefaultWriter<T>,
  ): Promise<void> {
    const { signal, preventAbort, preventCancel } = this.#options;
    const { reason } = signal!;
    await Promise.all([
      preventAbort ? undefined : writer.abort(reason),
      preventCancel ? undefined : reader.cancel(reason),
    ]);
    throw reason;
  }
}
