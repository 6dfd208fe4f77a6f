import { ClosedError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Transport } from "../tcp/_transport.ts";
import { PREFACE } from "./_h2_frames.ts";
import type { ServedConnection, WireServer } from "./_wire_server.ts";

const EMPTY = new Uint8Array(0);

/**
 * A connection without TLS whose first bytes tell whether it is HTTP/2 by
 * prior knowledge (RFC 9113, 3.3) or HTTP/1.1.
 */
export class Doorway implements ServedConnection {
  readonly transport: Transport;
  readonly #server: WireServer;
  #seen = EMPTY;
  #deadline: number;

  constructor(server: WireServer, transport: Transport) {
    this.#server = server;
    this.transport = transport;
    this.#deadline = server.after(server.config.timeouts.idle);
  }

  data(chunk: Uint8Array): void {
    const seen = new Uint8Array(this.#seen.byteLength + chunk.byteLength);
    seen.set(this.#seen);
    seen.set(chunk, this.#seen.byteLength);
    const size = Math.min(seen.byteLength, PREFACE.byteLength);
    for (let i = 0; i < size; i++) {
      if (seen[i] !== PREFACE[i]) {
        this.#server.sort(this, "http/1.1", seen);
        return;
      }
    }
    if (size === PREFACE.byteLength) this.#server.sort(this, "h2", seen);
    else {
      if (this.#seen.byteLength === 0) {
        this.#deadline = this.#server.after(
          this.#server.config.timeouts.header,
        );
      }
      this.#seen = seen;
    }
  }

  end(): void {
    this.transport.destroy();
  }

  drain(): void {
    // Nothing is written.
  }

  close(): void {
    this.#server.remove(this);
  }

  destroy(_reason: NetError): void {
    this.transport.destroy();
  }

  /** A client that has said nothing yet may be about to. */
  get resting(): boolean {
    return this.#seen.byteLength === 0;
  }

  shutDown(): void {
    this.transport.destroy();
  }

  check(now: number): void {
    if (now >= this.#deadline) {
      this.destroy(new ClosedError("The client said nothing"));
    }
  }
}
