import { BaseDuplex, toNetError } from "./_duplex.ts";
import { MAX_TIMEOUT, refuseWait } from "./_waiters.ts";
import { checkCapacity, weigh } from "./_checks.ts";
import { ClosedError, TimeoutError } from "./errors.ts";
import type { CloseInfo, Duplex, MaybePromise, Wait } from "./types.ts";

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
  readonly #size: ((message: Out) => number) | undefined;
  #peer!: MemoryDuplex<Out, In>;
  #closing = false;
  #leaving = false;
  #finished = false;
  #over = false;

  constructor({ capacity = 16, size }: PairOptions) {
    checkCapacity(capacity, "pair");
    super({
      size,
      high: capacity,
      onRoom: () => this.#peer.outbox.admit(),
      onWait: () => this.#peer.outbox.hand(),
    }, {
      full: () => this.#peer.#isFull(),
      accept: (message, weight) => this.#peer.#take(message, weight),
    });
    this.#size = size;
  }

  static join<A, B>(one: MemoryDuplex<A, B>, other: MemoryDuplex<B, A>): void {
    one.#peer = other;
    other.#peer = one;
  }

  get buffered(): number {
    return this.#peer.inbox.fill + this.outbox.pending;
  }

  override send(message: Out, options?: Wait): MaybePromise<boolean> {
    const weight = weigh(this.#size, message);
    if (typeof weight !== "number") return weight;
    if (this.#closing) return refuseWait(options) ?? false;
    return this.outbox.send(message, options, weight);
  }

  #isFull(): boolean {
    return !this.#leaving && this.inbox.brimming && !this.inbox.awaited;
  }

  #take(message: In, weight: number | undefined): void {
    if (!this.#leaving || !this.inbox.brimming) {
      this.inbox.push(message, weight);
    } else {
      // From here on it has gaps for whoever still receives: let it end.
      this.inbox.end(
        new ClosedError("Connection was closed before all was received"),
      );
    }
  }

  /** Half-close: the other end sees the end, and may go on sending. */
  async closeWrite(): Promise<void> {
    this.#closing = true;
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

  protected finish(): Promise<void> {
    return this.closeWrite();
  }

  async close(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = CLOSE_TIMEOUT } = options;
    if (typeof timeout !== "number" || !(timeout >= 0)) {
      throw new RangeError(
        `Cannot close: timeout must be 0 or more: ${timeout}`,
      );
    }
    if (this.#over) return;
    const timer = timeout > MAX_TIMEOUT ? undefined : setTimeout(() => {
      this.destroy(
        new TimeoutError(
          `Cannot close within ${timeout} ms: the other end has not finished`,
          { phase: "close" },
        ),
      );
    }, timeout);
    this.#leaving = true;
    // The other end must be able to finish, whether anybody receives or not.
    this.#peer.outbox.admit();
    await this.closeWrite();
    await this.closed;
    clearTimeout(timer);
  }

  destroy(reason?: unknown): void {
    if (this.#over) return;
    const error = toNetError(reason, "Connection was destroyed");
    this.inbox.destroy(reason instanceof Error ? reason : error);
    this.#end({ clean: false, error });
    const reset = new ClosedError("Connection was destroyed by the other end", {
      code: "ECONNRESET",
    });
    this.#peer.inbox.end(reset);
    this.#peer.#end({ clean: false, error: reset });
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
