import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import type { Transport } from "./_transport.ts";
import type { TlsServerOptions } from "./types.ts";

/** Where to listen: a port, or the path of a Unix socket. */
export interface ListenOptions {
  hostname?: string;
  port?: number;
  path?: string;
  backlog?: number;
  reusePort?: boolean;
  /** TLS comes on top at once: of what node:tls takes best. */
  secure?: boolean;
  /** Connections begin with a PROXY header. Seen to above the runtimes. */
  proxyProtocol?: boolean;
}

/** Whom to connect to. Names are looked up by the runtime. */
export interface DialOptions {
  hostname?: string;
  port?: number;
  path?: string;
  localAddress?: string;
  /** TLS comes on top at once: of what node:tls takes best. */
  secure?: boolean;
  /** Gives the attempt up at any moment, leaving no socket behind. */
  signal?: AbortSignal;
}

export interface ListenEvents {
  /** A connection, after its TLS handshake where there is one. */
  connection(transport: Transport): void;
  /** Something went wrong that ended no connection of ours. */
  error(error: NetError): void;
  /**
   * Whether one more may come in, beside so many that are not reported yet.
   * Asked by the layers that report a connection later than it came, at once
   * when it comes; one that may not is ended unreported. @default any may
   */
  admits?(arriving: number): boolean;
}

export interface RuntimeServer {
  readonly address: Address;
  readonly raw: unknown;
  /** Stops accepting; connections live on. Resolves when the port is free. */
  close(): Promise<void>;
  updateTls(options: TlsServerOptions): void;
  ref(): void;
  unref(): void;
}

/**
 * What `_deno.ts`, `_bun.ts` and `_node.ts` each implement: plain sockets. TLS
 * goes over any of them, in `_node_tls.ts`.
 */
export interface TcpRuntime {
  /** Rejects with a `NetError` whose code is the POSIX name. */
  listen(options: ListenOptions, events: ListenEvents): Promise<RuntimeServer>;
  /** Rejects with a `NetError`, or with the signal's reason. */
  connect(options: DialOptions): Promise<Transport>;
}
