import type { NetError } from "../streams/errors.ts";
import { DelegatedTransport } from "../tcp/_delegated.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";

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
export class TakenTransport extends DelegatedTransport {
  readonly #server: TakenEvents;
  #ended: boolean;

  /** `ended`: the peer's FIN has come already. */
  constructor(transport: Transport, ended: boolean, server: TakenEvents) {
    super(transport);
    this.#ended = ended;
    this.#server = server;
  }

  override attach(events: TransportEvents): void {
    this.below.attach(new TakenTransport.#Watch(this, events));
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

  override write(bytes: Uint8Array): boolean {
    this.#server.bytesWritten += bytes.byteLength;
    return this.below.write(bytes);
  }
}
