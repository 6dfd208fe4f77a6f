import { ClosedError, NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import type { TlsInfo, Transport, TransportEvents } from "../tcp/_transport.ts";
import { append } from "./_append.ts";
import type { Tail } from "./_append.ts";
import {
  CANCEL,
  CONNECT_ERROR,
  H2StreamError,
  NO_ERROR,
} from "./_h2_frames.ts";
import type { H2Stream } from "./_h2_stream.ts";

const NOBODY: TransportEvents = { data() {}, end() {}, drain() {}, close() {} };

/**
 * A stream as a connection of its own, for tunnels (RFC 9113, 8.5) and for
 * what an extended CONNECT asks for (RFC 8441): its DATA are the bytes.
 * Whoever listens to the stream hands on what it hears.
 */
export class StreamTransport implements Transport {
  readonly #stream: H2Stream;
  readonly #below: Transport;
  #events: TransportEvents = NOBODY;
  #attached = false;
  #paused = false;
  /** What came and could not be told yet. */
  #chunks: Uint8Array[] = [];
  #tail: Tail | undefined;
  #ended: boolean;
  #told = false;
  #over = false;
  #closing = false;
  #error: NetError | undefined;

  /** `below`: the connection that carries the stream. */
  constructor(stream: H2Stream, below: Transport) {
    this.#stream = stream;
    this.#below = below;
    this.#ended = stream.remoteEnded;
    stream.lowWaterMark = 0;
  }

  get remoteAddress(): Address {
    return this.#below.remoteAddress;
  }

  get localAddress(): Address {
    return this.#below.localAddress;
  }

  get tls(): TlsInfo | undefined {
    return this.#below.tls;
  }

  get raw(): unknown {
    return this.#below.raw;
  }

  get pending(): number {
    return this.#stream.queued;
  }

  attach(events: TransportEvents): void {
    this.#events = events;
    if (this.#attached) return;
    this.#attached = true;
    queueMicrotask(() => this.#deliver());
  }

  write(bytes: Uint8Array): boolean {
    const stream = this.#stream;
    stream.send(bytes);
    if (stream.queued === 0) return true;
    stream.hold();
    return false;
  }

  end(): void {
    this.#stream.end();
    this.#check();
  }

  destroy(): void {
    this.#end(CANCEL);
  }

  reset(): void {
    this.#end(CONNECT_ERROR);
  }

  #end(code: number): void {
    if (this.#over) return;
    this.#stream.reset(code);
    this.#chunks = [];
    this.#close(undefined);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    queueMicrotask(() => this.#deliver());
  }

  setNoDelay(): void {
    // The connection is shared.
  }

  setKeepAlive(): void {
    // The same.
  }

  ref(): void {
    // The same.
  }

  unref(): void {
    // The same.
  }

  // What the listener of the stream hands on.

  data(chunk: Uint8Array): void {
    if (this.#attached && !this.#paused && this.#chunks.length === 0) {
      this.#tell(chunk);
    } else this.#tail = append(this.#chunks, chunk, this.#tail);
  }

  ending(): void {
    this.#ended = true;
    this.#deliver();
  }

  drain(): void {
    this.#events.drain();
  }

  sent(): void {
    this.#check();
  }

  cut(error: unknown): void {
    this.#chunks = [];
    this.#close(closeReason(error));
  }

  #tell(chunk: Uint8Array): void {
    this.#stream.consume(chunk.byteLength);
    this.#events.data(chunk);
  }

  #deliver(): void {
    if (!this.#attached) return;
    while (!this.#paused && !this.#over && this.#chunks.length > 0) {
      this.#tell(this.#chunks.shift()!);
    }
    if (
      this.#ended && !this.#told && !this.#paused && !this.#over &&
      this.#chunks.length === 0
    ) {
      this.#told = true;
      this.#events.end();
      this.#check();
    }
  }

  /** Over once both sides are done, and that is known above. */
  #check(): void {
    if (this.#told && this.#stream.localEnded) this.#close(undefined);
  }

  #close(error: NetError | undefined): void {
    this.#over = true;
    if (this.#closing) return;
    this.#closing = true;
    this.#error = error;
    // Never within another call.
    queueMicrotask(() => {
      this.#events.close(this.#error);
    });
  }
}

/** Why it is over, as who uses a connection knows it. */
function closeReason(error: unknown): NetError {
  const told = error instanceof H2StreamError && error.remote;
  if (error instanceof NetError && !told) return error;
  return told && error.h2code !== NO_ERROR
    ? new NetError("The stream was reset by the peer", {
      code: "ECONNRESET",
      cause: error,
    })
    : new ClosedError("The stream was closed", { cause: error });
}
