import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";

/** What was agreed on in the TLS handshake. */
export interface TlsInfo {
  /** `"TLSv1.3"` or `"TLSv1.2"`. */
  readonly protocol: string;
  /** The protocol chosen by ALPN, when there was one. */
  readonly alpn?: string;
  /** The name the client asked for (SNI). */
  readonly serverName?: string;
  /** The peer's certificate, when it sent one: DER bytes and subject. */
  readonly peerCertificate?: {
    readonly subject: string;
    readonly raw: Uint8Array;
  };
  /** Whether the peer's certificate was verified. */
  readonly authorized: boolean;
}

/** What a transport reports to the one who attached to it. */
export interface TransportEvents {
  /**
   * Whether `data` takes chunks on loan, and copies what it keeps of them: a
   * small one costs less so. `"all"`: a large one too, as it copies anyway,
   * and a Buffer of Node's, which need not be made a plain array then. Whoever
   * stands between passes this on.
   */
  readonly borrows?: boolean | "all";
  /**
   * Bytes came. The chunk is the listener's from now on; one that is `lent`
   * only until this returns, after which it is overwritten. Even then it may
   * be changed in place.
   */
  data(chunk: Uint8Array, lent?: boolean): void;
  /** The peer's FIN: no more data will come; writing may go on. */
  end(): void;
  /** Everything written is with the kernel, after a `write` gave `false`. */
  drain(): void;
  /** Over, both ways: comes once, last, never within another call. */
  close(error?: NetError): void;
}

/** Ends a connection that is not to come in. */
export function turnAway(transport: Transport): void {
  transport.attach(ignore);
  transport.destroy();
}

const ignore: TransportEvents = { data() {}, end() {}, drain() {}, close() {} };

/**
 * A connected byte stream, told by callbacks: the seam between whatever moves
 * bytes (a socket of one of the runtimes, a TLS layer, later an HTTP/2
 * stream) and the codecs above it. No call on it ever throws, and all but
 * the getters do nothing once it is over.
 */
export interface Transport {
  readonly remoteAddress: Address;
  readonly localAddress: Address;
  readonly tls?: TlsInfo;
  /** The runtime's own socket. */
  readonly raw: unknown;
  /** Bytes that were written and are not with the kernel yet. */
  readonly pending: number;
  /**
   * Sets the listener. Before the first call nothing is read; a later call
   * hands the stream over to another listener, from the next event on.
   */
  attach(events: TransportEvents): void;
  /**
   * Takes all the bytes, in order. `true`: the kernel has them and the buffer
   * may be used again. `false`: it is kept until `drain`; hold until then.
   */
  write(bytes: Uint8Array): boolean;
  /**
   * The same for several at once, where one system call takes them all from
   * where they are: to copy them together first would cost more.
   */
  writeAll?(pieces: readonly Uint8Array[]): boolean;
  /** Whether `writeAll` is there for this one. */
  readonly gathers?: boolean;
  /**
   * From `data` on: the listener is done with a chunk that was its own, and
   * needs nothing of it any more. Its memory may be used again.
   */
  recycle?(chunk: Uint8Array): void;
  /** FIN, after all that was written. Reading goes on. */
  end(): void;
  /** Ends it now, both ways; what is not with the kernel is dropped. */
  destroy(): void;
  /** The same with a RST, where the runtime can send one. */
  reset(): void;
  /** No `data` until `resume`: the peer is stopped by the kernel. */
  pause(): void;
  resume(): void;
  setNoDelay(on: boolean): void;
  setKeepAlive(on: boolean, delay?: number): void;
  /** Whether this socket keeps the process alive; it does at first. */
  ref(): void;
  unref(): void;
}
