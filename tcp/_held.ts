import { setImmediate } from "node:timers";
import type { NetError } from "../streams/errors.ts";
import { DelegatedTransport } from "./_delegated.ts";
import type { Transport, TransportEvents } from "./_transport.ts";

/**
 * A transport whose first bytes others have read. It holds what came right
 * behind those, and an end, for whoever attaches; after that events go past
 * it.
 */
export class HeldTransport extends DelegatedTransport {
  readonly #early: Uint8Array[] = [];
  #events: TransportEvents | undefined;
  #paused = false;
  #ended = false;
  #closed = false;
  #error: NetError | undefined;
  /** Whether all that was held is told: the listener is attached below. */
  #direct = false;
  #told = false;
  #over = false;

  /** Takes a transport over from its listener. `rest`: what that left. */
  constructor(below: Transport, rest: Uint8Array) {
    super(below);
    if (rest.byteLength > 0) this.#early.push(rest);
    below.pause();
    below.attach({
      data: (chunk) => {
        if (!this.#over) this.#early.push(chunk);
      },
      end: () => {
        this.#ended = true;
      },
      drain: () => this.#events?.drain(),
      close: (error) => {
        this.#closed = true;
        this.#error = error;
        this.#later();
      },
    });
  }

  override attach(events: TransportEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    if (this.#direct) this.below.attach(events);
    // What is there at once node:tls of Node would take twice.
    else if (first) setImmediate(() => this.#deliver());
  }

  #later(): void {
    if (this.#events !== undefined) queueMicrotask(() => this.#deliver());
  }

  /** Tells what was held, in order, as far as it may; then steps aside. */
  #deliver(): void {
    if (this.#direct || this.#told) return;
    // Once it is destroyed or cut, only its close is still to come.
    while (this.#early.length > 0 && this.#error === undefined) {
      if (this.#paused) return;
      this.#events!.data(this.#early.shift()!);
    }
    if (this.#ended && !this.#over && this.#error === undefined) {
      if (this.#paused) return;
      this.#ended = false;
      this.#events!.end();
    }
    if (this.#closed) {
      this.#told = true;
      // Never within another call.
      queueMicrotask(() => this.#events!.close(this.#error));
    } else {
      this.#direct = true;
      this.below.attach(this.#events!);
      if (!this.#paused) this.below.resume();
    }
  }

  override destroy(): void {
    this.#drop();
    this.below.destroy();
  }

  override reset(): void {
    this.#drop();
    this.below.reset();
  }

  #drop(): void {
    this.#over = true;
    this.#early.length = 0;
  }

  override pause(): void {
    this.#paused = true;
    if (this.#direct) this.below.pause();
  }

  override resume(): void {
    this.#paused = false;
    if (this.#direct) this.below.resume();
    else this.#later();
  }
}
