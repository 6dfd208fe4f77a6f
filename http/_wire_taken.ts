import type { Address } from "../streams/types.ts";
import type { TlsInfo, Transport, TransportEvents } from "../tcp/_transport.ts";

/** What the server wants to know of a connection that another has taken. */
export interface TakenEvents {
  read(size: number): void;
  written(size: number): void;
  closed(): void;
}

/** A connection that another has taken over; the server still counts it. */
export class TakenTransport implements Transport {
  readonly #transport: Transport;
  readonly #events: TakenEvents;
  #ended: boolean;

  /** `ended`: the peer's FIN has come already. */
  constructor(transport: Transport, ended: boolean, events: TakenEvents) {
    this.#transport = transport;
    this.#ended = ended;
    this.#events = events;
  }

  attach(events: TransportEvents): void {
    this.#transport.attach({
      data: (chunk) => {
        this.#events.read(chunk.byteLength);
        events.data(chunk);
      },
      end: () => {
        this.#ended = false;
        events.end();
      },
      drain: () => events.drain(),
      close: (error) => {
        this.#ended = false;
        events.close(error);
        this.#events.closed();
      },
    });
    if (!this.#ended) return;
    queueMicrotask(() => {
      if (!this.#ended) return;
      this.#ended = false;
      events.end();
    });
  }

  write(bytes: Uint8Array): boolean {
    this.#events.written(bytes.byteLength);
    return this.#transport.write(bytes);
  }

  get remoteAddress(): Address {
    return this.#transport.remoteAddress;
  }

  get localAddress(): Address {
    return this.#transport.localAddress;
  }

  get tls(): TlsInfo | undefined {
    return this.#transport.tls;
  }

  get raw(): unknown {
    return this.#transport.raw;
  }

  get pending(): number {
    return this.#transport.pending;
  }

  end(): void {
    this.#transport.end();
  }

  destroy(): void {
    this.#transport.destroy();
  }

  reset(): void {
    this.#transport.reset();
  }

  pause(): void {
    this.#transport.pause();
  }

  resume(): void {
    this.#transport.resume();
  }

  setNoDelay(on: boolean): void {
    this.#transport.setNoDelay(on);
  }

  setKeepAlive(on: boolean, delay?: number): void {
    this.#transport.setKeepAlive(on, delay);
  }

  ref(): void {
    this.#transport.ref();
  }

  unref(): void {
    this.#transport.unref();
  }
}
