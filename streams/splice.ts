import { toNetError } from "./_duplex.ts";
import { back, flow, intake } from "./_flow.ts";
import type { Inflowing, Intake, Outflowing } from "./_flow.ts";
import type {
  CloseInfo,
  Duplex,
  MaybePromise,
  Sink,
  Source,
  Wait,
} from "./types.ts";

interface Ending {
  readonly closed?: Promise<CloseInfo>;
  closeWrite?(): MaybePromise<void>;
  close?(): MaybePromise<void>;
  destroy?(reason?: unknown): void;
}

class Spliced<In, Out> implements Duplex<In, Out> {
  readonly #source: Source<In> & Ending & Outflowing<In>;
  readonly #sink: Sink<Out> & Ending & Inflowing<Out>;
  readonly closed: Promise<CloseInfo>;
  #settle!: (info: CloseInfo) => void;

  constructor(source: Source<In> & Ending, sink: Sink<Out> & Ending) {
    this.#source = source;
    this.#sink = sink;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    // A half that does not tell when it is over is over with the other one.
    const halves = [source.closed, sink.closed].filter((half) =>
      half !== undefined
    );
    if (halves.length > 0) {
      Promise.all(halves).then((infos) =>
        this.#settle(infos.find(({ clean }) => !clean) ?? { clean: true })
      );
    }
  }

  get readable(): ReadableStream<In> {
    return this.#source.readable;
  }

  get writable(): WritableStream<Out> {
    return this.#sink.writable;
  }

  get buffered(): number {
    return this.#sink.buffered;
  }

  receive(options?: Wait): MaybePromise<In | undefined> {
    return this.#source.receive(options);
  }

  batches(): AsyncIterable<readonly In[]> {
    return this.#source.batches();
  }

  [Symbol.asyncIterator](): AsyncIterator<In> {
    return this.#source[Symbol.asyncIterator]();
  }

  send(message: Out, options?: Wait): MaybePromise<boolean> {
    return this.#sink.send(message, options);
  }

  get [intake](): Intake<Out> | undefined {
    return this.#sink[intake];
  }

  [flow](into: Intake<In>, wait?: Wait): MaybePromise<In | undefined> {
    const source = this.#source;
    return source[flow] === undefined
      ? source.receive(wait)
      : source[flow](into, wait);
  }

  [back](message: In): void {
    this.#source[back]?.(message);
  }

  /** Ends the sink, in its own half where it has two. */
  async closeWrite(): Promise<void> {
    if (this.#sink.closeWrite !== undefined) await this.#sink.closeWrite();
    else await this.#sink.close?.();
  }

  async close(): Promise<void> {
    // Each may wait for its peer, and the peers for one another.
    await Promise.all([this.#sink.close?.(), this.#release()]);
    this.#settle({ clean: true });
  }

  #release(): MaybePromise<void> {
    const source = this.#source;
    return source.close === undefined ? source.destroy?.() : source.close();
  }

  destroy(reason?: unknown): void {
    this.#sink.destroy?.(reason);
    this.#source.destroy?.(reason);
    this.#settle({
      clean: false,
      error: toNetError(reason, "Duplex was destroyed"),
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * One duplex out of a source and a sink that belong together. It is closed
 * when both are; `close` and `destroy` go to both.
 *
 * @example
 * ```ts
 * import { Channel, splice } from "@sluice/net/streams";
 *
 * const requests = new Channel<string>();
 * const answers = new Channel<number>();
 * const client = splice(answers, requests);
 * client.send("how many?");
 * ```
 */
export function splice<In, Out>(
  source: Source<In>,
  sink: Sink<Out>,
): Duplex<In, Out> {
  return new Spliced(source, sink);
}
