// What the WebSocket tests share: two ends of a connection in memory, and
// frames as a peer without any manners writes them.

import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";
import { limitsOf } from "../ws/_options.ts";
import type { SocketInit } from "../ws/_socket.ts";
import type { SocketOptions, WebSocketCloseInfo } from "../ws/types.ts";

const address: Address = { transport: "unix", path: "memory" };

/** One end of a connection in memory, which carries so much at a time. */
export class MemoryTransport implements Transport {
  readonly remoteAddress = address;
  readonly localAddress = address;
  readonly raw = "memory";
  peer!: MemoryTransport;
  /** Bytes on the way to the peer, past which `write` gives `false`. */
  capacity = 64 * 1024;
  /** Bytes the peer took from us so far. */
  taken = 0;
  #events: TransportEvents | undefined;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #blocked = false;
  #paused = false;
  #ending = false;
  #sawEnd = false;
  #saidEnd = false;
  #over = false;

  get pending(): number {
    return Math.max(0, this.#queued - this.capacity);
  }
  get over(): boolean {
    return this.#over;
  }
  get paused(): boolean {
    return this.#paused;
  }
  attach(events: TransportEvents): void {
    this.#events = events;
    this.peer.#pump();
  }
  write(bytes: Uint8Array): boolean {
    if (this.#over || this.#ending) return true;
    this.#queue.push(new Uint8Array(bytes));
    this.#queued += bytes.byteLength;
    this.#pump();
    this.#blocked = this.#queued > this.capacity;
    return !this.#blocked;
  }
  end(): void {
    if (this.#over) return;
    this.#ending = true;
    this.#pump();
  }
  destroy(): void {
    this.#finish();
    const { peer } = this;
    queueMicrotask(() => peer.#finish());
  }
  reset(): void {
    this.destroy();
  }
  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    this.#paused = false;
    this.peer.#pump();
  }
  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}

  /** Moves what can be moved to the peer, each chunk in a turn of its own. */
  #pump(): void {
    queueMicrotask(() => {
      const { peer } = this;
      while (!peer.#paused && peer.#events && !peer.#over && !this.#over) {
        const chunk = this.#queue.shift();
        if (chunk === undefined) break;
        this.#queued -= chunk.byteLength;
        this.taken += chunk.byteLength;
        peer.#events.data(chunk);
      }
      if (this.#blocked && this.#queued === 0 && !this.#over) {
        this.#blocked = false;
        this.#events?.drain();
      }
      if (
        this.#ending && this.#queue.length === 0 && !this.#saidEnd &&
        !peer.#paused && !this.#over && !peer.#over && peer.#events
      ) {
        this.#saidEnd = true;
        peer.#sawEnd = true;
        peer.#events.end();
        if (this.#sawEnd) {
          this.#finish();
          peer.#finish();
        }
      }
    });
  }
  #finish(error?: NetError): void {
    if (this.#over) return;
    this.#over = true;
    queueMicrotask(() => this.#events?.close(error));
  }
}

export function memoryTransports(): [MemoryTransport, MemoryTransport] {
  const one = new MemoryTransport();
  const two = new MemoryTransport();
  one.peer = two;
  two.peer = one;
  return [one, two];
}

/** What `WireSocket` is told, with defaults. */
export function initOf(
  options: SocketOptions = {},
  more: Partial<SocketInit> = {},
): SocketInit {
  return {
    limits: limitsOf(options, [], "test"),
    protocol: "",
    url: "ws://memory/",
    remoteAddress: address,
    report: () => {},
    ...more,
  };
}

/** What of a close info can be compared. */
export function summary(info: WebSocketCloseInfo): string {
  return `${info.clean ? "clean" : "cut"} ${info.code} ${info.reason}`.trim();
}

/** A turn of the event loop: time for what is on its way in memory. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
