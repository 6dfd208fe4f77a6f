import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import type { TlsInfo, Transport, TransportEvents } from "../tcp/_transport.ts";

/** What the server wants to know of a connection that another has taken. */
export interface TakenEvents {
  bytesRead: number;
  bytesWritten: number;
  leave(transport: TakenTransport): void;
}

/**
 * A connection that another has taken over. The server still counts it, and
 * keeps nothing else of it: what read its requests can go.
 */
export class TakenTransport implements Transport {
  readonly #transport: Transport;
  readonly #server: TakenEvents;
  #ended: boolean;

  /** `ended`: the peer's FIN has come already. */
  constructor(transport: Transport, ended: boolean, server: TakenEvents) {
    this.#transport = transport;
    this.#ended = ended;
    this.#server = server;
  }

  attach(events: TransportEvents): void {
    this.#transport.attach(new TakenTransport.#Watch(this, events));
    if (!this.#ended) return;
    queueMicrotask(() => {
      if (!this.#ended) return;
      this.#ended = false;
      events.end();
    });
  }

  /** Stands between the transport and who took it over. */
  static readonly #Watch = class implements TransportEvents {
    readonly #taken: TakenTransport;
    readonly #events: TransportEvents;

    constructor(taken: TakenTransport, events: TransportEvents) {
      this.#taken = taken;
      this.#events = events;
    }
    get borrows(): boolean | "all" | undefined {
      return this.#events.borrows;
    }
    data(chunk: Uint8Array, lent?: boolean): void {
      this.#taken.#server.bytesRead += chunk.byteLength;
      this.#events.data(chunk, lent);
    }
    end(): void {
      this.#taken.#ended = false;
      this.#events.end();
    }
    drain(): void {
      this.#events.drain();
    }
    close(error?: NetError): void {
      const taken = this.#taken;
      taken.#ended = false;
      this.#events.close(error);
      taken.#server.leave(taken);
    }
  };

  write(bytes: Uint8Array): boolean {
    this.#server.bytesWritten += bytes.byteLength;
    return this.#transport.write(bytes);
  }

  recycle(chunk: Uint8Array): void {
    this.#transport.recycle?.(chunk);
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
