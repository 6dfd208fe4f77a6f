import { BaseDuplex, toError, toNetError } from "./_duplex.ts";
import { ClosedError, TimeoutError } from "./errors.ts";
import type { CloseInfo, Duplex } from "./types.ts";

/** How much each direction of a pair holds. */
export interface PairOptions {
  /** Messages, or what `size` measures, in each direction. @default {16} */
  capacity?: number;
  /** Measures a message. @default {() => 1} */
  size?: (message: unknown) => number;
}

/** How long `close` waits for the other end, in ms. */
const CLOSE_TIMEOUT = 15_000;

/** One end of a connection in memory. */
class MemoryDuplex<In, Out> extends BaseDuplex<In, Out, CloseInfo> {
  #peer!: MemoryDuplex<Out, In>;
  #leaving = false;
  #finished = false;
  #over = false;

  constructor({ capacity = 16, size }: PairOptions) {
    super({
      size,
      high: capacity,
      onRoom: () => this.#peer.outbox.admit(),
    }, {
      size,
      full: () => this.#peer.#isFull(capacity),
      accept: (message) => this.#peer.#take(message),
    });
  }

  static join<A, B>(one: MemoryDuplex<A, B>, other: MemoryDuplex<B, A>): void {
    one.#peer = other;
    other.#peer = one;
  }

  get buffered(): number {
    return this.#peer.inbox.fill + this.outbox.pending;
  }

  #isFull(capacity: number): boolean {
    return !this.#leaving && this.inbox.fill >= capacity && !this.inbox.awaited;
  }

  #take(message: In): void {
    if (!this.#leaving) this.inbox.push(message);
  }

  protected async finish(): Promise<void> {
    // Those who wait for room were here first.
    await this.outbox.drained();
    if (this.#finished || this.#over) return;
    this.#finished = true;
    this.outbox.close();
    this.#peer.inbox.end();
    if (this.#peer.#finished) {
      this.#end({ clean: true });
      this.#peer.#end({ clean: true });
    }
  }

  async close(options: { timeout?: number } = {}): Promise<void> {
    if (this.#over || this.#leaving) {
      await this.closed;
      return;
    }
    this.#leaving = true;
    const timeout = options.timeout ?? CLOSE_TIMEOUT;
    const timer = setTimeout(() => {
      this.destroy(
        new TimeoutError(`Cannot close within ${timeout} ms`, {
          phase: "close",
        }),
      );
    }, timeout);
    this.#peer.outbox.admit();
    await this.finish();
    await this.closed;
    clearTimeout(timer);
  }

  destroy(reason?: unknown): void {
    if (this.#over) return;
    const text = "Connection was destroyed";
    this.inbox.destroy(toError(reason, text));
    this.#end({ clean: false, error: toNetError(reason, text) });
    const error = new ClosedError("Connection was destroyed by the other end", {
      code: "ECONNRESET",
    });
    this.#peer.inbox.end(error);
    this.#peer.#end({ clean: false, error });
  }

  #end(info: CloseInfo): void {
    if (this.#over) return;
    this.#over = true;
    this.outbox.close();
    this.settle(info);
  }
}

/**
 * A connection in memory: what one end sends the other receives, with
 * backpressure, half-close and failure as on a real one. For tests.
 *
 * @example
 * ```ts
 * import { pair } from "@sluice/net/streams";
 *
 * const [client, server] = pair<string>();
 * client.send("hello");
 * console.log(await server.receive());
 * await Promise.all([client.close(), server.close()]);
 * ```
 */
export function pair<A, B = A>(
  options: PairOptions = {},
): [Duplex<A, B>, Duplex<B, A>] {
  const one = new MemoryDuplex<A, B>(options);
  const other = new MemoryDuplex<B, A>(options);
  MemoryDuplex.join(one, other);
  return [one, other];
}
