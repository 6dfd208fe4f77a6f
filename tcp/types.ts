import type {
  Address,
  Bytes,
  Duplex,
  MaybePromise,
  Wait,
} from "../streams/types.ts";
import type { NetError } from "../streams/errors.ts";
import type { TlsInfo } from "./_transport.ts";

export type { TlsInfo } from "./_transport.ts";

/**
 * A certificate and what it is used with, as PEM. What stands around the
 * certificates and the first key is passed over, so both may be in one file.
 */
export interface TlsCertificate {
  /** Certificate chain, the owner's own first. */
  cert: string;
  /** Private key of the certificate, without a passphrase. */
  key: string;
}

/** Certificates and rules of a TLS server. All certificates are PEM. */
export interface TlsServerOptions extends TlsCertificate {
  /** Authorities that client certificates are checked against. */
  ca?: string | string[];
  /** Whether clients must show a certificate. @default {"none"} */
  clientAuth?: "none" | "request" | "require";
  /** Protocols offered by ALPN, the preferred one first. */
  alpn?: string[];
  /**
   * Certificates by the name that a client asks for (SNI, RFC 6066 §3): a
   * record of names, of which `*.example.com` stands for one label more, or a
   * callback that is told the name, in small letters and checked to be one.
   * `cert` and `key` are for names that are not in the record, for a callback
   * that gives `undefined`, and for clients that ask for no name. A callback
   * that throws, or takes longer than the handshake may (10 s), fails that one
   * handshake, with code `ERR_TLS_SNI` or as a `TimeoutError`. It does well to
   * give the same object for the same name: its keys are read only once then.
   */
  sni?:
    | Record<string, TlsCertificate>
    | ((name: string) => MaybePromise<TlsCertificate | undefined>);
}

/** What a TLS client trusts and shows. All certificates are PEM. */
export interface TlsClientOptions {
  /** Authorities to trust, and no others. @default the runtime's own list */
  ca?: string | string[];
  /** Certificate to show, when the server asks. */
  cert?: string;
  /** Private key of that certificate. */
  key?: string;
  /** Name asked for and checked. @default the hostname */
  serverName?: string;
  /** Accepts any certificate: no security. @default {false} */
  insecure?: boolean;
  /** Protocols offered by ALPN, the preferred one first. */
  alpn?: string[];
}

/** What `startTls` takes: a client's side, or with `server` the server's. */
export type StartTlsOptions =
  | TlsClientOptions
  | (TlsServerOptions & { server: true });

/**
 * A TCP, TLS or Unix-socket connection: a duplex of bytes.
 *
 * Once `send` has given its result, or its promise has settled, the buffer is
 * the sender's again: messages of up to 16 KiB are copied, and the result of a
 * larger one waits for the kernel. Chunks that are received are the
 * receiver's.
 */
export interface Connection extends Duplex<Uint8Array, Bytes> {
  /** The other end. */
  readonly remoteAddress: Address;
  /** This end. */
  readonly localAddress: Address;
  /** What the TLS handshake agreed on; absent on a plain connection. */
  readonly tls?: TlsInfo;
  /** Bytes received so far. */
  readonly bytesRead: number;
  /** Bytes accepted for sending so far. */
  readonly bytesWritten: number;
  /**
   * The runtime's own socket. On Node a plain connection has a `net.Socket`
   * only from when it is asked for, which costs it some speed and memory.
   */
  readonly raw: unknown;
  /**
   * Exactly `n` bytes; `undefined` at a clean end, an error when the end
   * comes in the middle. `n` is at most `maxBuffered`; a read that is given
   * up loses no bytes.
   */
  read(n: number, options?: Wait): Promise<Uint8Array | undefined>;
  /** Half-close: FIN after what is queued. Reading goes on. */
  closeWrite(): Promise<void>;
  /**
   * Starts TLS in mid-stream (STARTTLS) and gives the connection to go on
   * with, after the handshake; the client's side, or with `server: true` the
   * server's. What was sent before goes out first. A client checks the
   * certificate against `serverName`, or the hostname it had connected to.
   *
   * What came before and was not received is never given out as secret: a
   * handshake that has begun already is taken up, anything else is refused
   * with code `ERR_TLS_NOT_TLS`, and the connection destroyed. Text that you
   * have received but not looked at, say in a line reader, is for you to drop
   * (RFC 3207 §4.2).
   *
   * This connection is then spent: `send`, `receive` and the like are
   * refused with code `ERR_DETACHED`; `close`, `destroy`, `closed` and the
   * counters are those of the new one. When the handshake fails, or takes
   * more than 10 s, both are over: rejects with a `TlsError` or
   * `TimeoutError`. Wrong options, a pending `receive` and a useless key are
   * refused before anything is touched.
   *
   * @example
   * ```ts
   * import { connect } from "@sluice/net/tcp";
   *
   * async function login(hostname: string): Promise<void> {
   *   const plain = await connect({ hostname, port: 25 });
   *   await plain.send("STARTTLS\r\n");
   *   await plain.receive(); // 220 Go ahead
   *   const secure = await plain.startTls({});
   *   await secure.send("EHLO me\r\n");
   * }
   * ```
   */
  startTls(options: StartTlsOptions): Promise<Connection>;
  /**
   * Flushes, says FIN, waits for the peer's FIN, then ends. What still comes
   * can be received by who goes on receiving; it is dropped otherwise, so that
   * the peer can finish. Past the timeout (ms) it is destroyed, with a
   * `TimeoutError` in `closed`. @default 15 s
   */
  close(options?: { timeout?: number }): Promise<void>;
  /**
   * Ends it with a RST: the peer gets an error, not an end. Deno's native
   * sockets cannot send one, the peer gets an end there.
   */
  reset(): void;
}

/**
 * What a `wiretap` is told: `"open"` when a connection stands, `"read"` and
 * `"write"` with the bytes, `"end"` for the peer's FIN, `"error"` for what
 * broke it and `"close"` when it is over. With TLS the bytes are those inside,
 * but for `startTls`: then they are its records. They are not copied: copy
 * what is kept.
 */
export type WiretapEvent =
  & { readonly remoteAddress: Address; readonly localAddress: Address }
  & (
    | { readonly type: "open" | "end" | "close" }
    | { readonly type: "read" | "write"; readonly bytes: Uint8Array }
    | { readonly type: "error"; readonly error: NetError }
  );

/**
 * Told of all that goes through connections, at once and in order. What it
 * throws is dropped; it costs nothing where it is not given.
 *
 * @example
 * ```ts
 * import { hexDump } from "@sluice/net/streams";
 * import { serve } from "@sluice/net/tcp";
 *
 * const server = await serve((connection) => connection.send("hello"), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 *   wiretap(event) {
 *     console.log(event.type, event.remoteAddress);
 *     if ("bytes" in event) console.log(hexDump(event.bytes));
 *   },
 * });
 * await server.close();
 * ```
 */
export type Wiretap = (event: WiretapEvent) => void;

/** Counters of a server. */
export interface ServerStats {
  /** Connections open now. */
  readonly connections: number;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /** Connections refused because of `maxConnections` or `limits.connections`. */
  readonly refused: number;
  /** Bytes received on all connections. */
  readonly bytesRead: number;
  /** Bytes sent on all connections. */
  readonly bytesWritten: number;
}

/** A listening server, the same for tcp and http. */
export interface Server extends AsyncDisposable {
  /** Where it listens, with the real port. */
  readonly address: Address;
  /** Resolves when it has stopped and every connection is over. */
  readonly closed: Promise<void>;
  /**
   * Stops accepting, lets connections finish, then destroys what is left at
   * the timeout (ms; 0 = now). @default 15 s
   */
  close(options?: { timeout?: number }): Promise<void>;
  /** Counters. */
  stats(): ServerStats;
  /**
   * Swaps certificates, `sni` too; connections that stand go on. Of `ca`,
   * `clientAuth` and `alpn` stays what is not given.
   */
  updateTls(options: TlsServerOptions): void;
  /** Keeps the process alive (the default). */
  ref(): void;
  /** Lets the process end while this listens. */
  unref(): void;
  /** The runtime's own server. */
  readonly raw: unknown;
}

/** Told when something failed that no caller waits for. */
export type ServerErrorHandler = (error: NetError | Error) => void;
