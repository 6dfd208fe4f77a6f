import type { Address, MaybePromise } from "../streams/types.ts";
import type {
  Connection,
  Server,
  TlsInfo,
  TlsServerOptions,
} from "../tcp/types.ts";

/** What is known of a request besides the `Request`. */
export interface ServerContext {
  /** The other end of the connection. */
  readonly remoteAddress: Address;
  /** This end of the connection. */
  readonly localAddress: Address;
  /** The client's address, through trusted proxies only. */
  readonly clientAddress: string;
  /** Protocol of the request. */
  readonly protocol: "http/1.0" | "http/1.1" | "h2" | "h3";
  /** When its head had been read, in the time of `performance.now()`. */
  readonly receivedAt: number;
  /** What the TLS handshake agreed on; absent on a plain connection. */
  readonly tls?: TlsInfo;
  /** Trailers of the request, once its body is read (RFC 9110, 6.5). */
  readonly trailers: Promise<Headers>;
  /** The response is handed over whole; rejects when delivery failed. */
  readonly completed: Promise<void>;
  /** A graceful close waits for this task too. */
  waitUntil(task: Promise<unknown>): void;
  /** Sends an informational response, e.g. 103 early hints (RFC 8297). */
  inform(status: 102 | 103, headers?: HeadersInit): void;
  /** A response that turns the connection into a tunnel (CONNECT, Upgrade). */
  tunnel(
    handler: (connection: Connection) => unknown,
    init?: ResponseInit,
  ): Response;
  /** The runtime's own object. */
  readonly raw: unknown;
}

/** Answers a request. */
export type Handler = (
  request: Request,
  context: ServerContext,
) => MaybePromise<Response>;

/** Where and how to serve HTTP. */
export interface ServeOptions {
  /**
   * Port; `0` takes any free one.
   *
   * @default {8000}
   */
  port?: number;
  /**
   * Address to listen on.
   *
   * @default {"0.0.0.0"}
   */
  hostname?: string;
  /** Path of a Unix socket, in place of hostname and port. */
  path?: string;
  /** Lets several processes share the port. */
  reusePort?: boolean;
  /** Connections the kernel queues before they are accepted. */
  backlog?: number;
  /** Closes the server, gracefully, when it aborts. */
  signal?: AbortSignal;
  /** Serves HTTPS. */
  tls?: TlsServerOptions;
  /** `"wire"`: our codecs over tcp. `"native"`: the runtime's server. @default {"wire"} */
  engine?: "wire" | "native";
  /** Bounds on what a client may send. */
  limits?: {
    /** Bytes of a request's body. @default 128 MiB */
    body?: number;
    /** Bytes of a header block. @default 16 KiB */
    header?: number;
    /** Bytes of a request target. @default 8 KiB */
    target?: number;
    /** Connections open at a time. @default no limit */
    connections?: number;
  };
  /** Milliseconds for each phase. */
  timeouts?: {
    /** From the first byte of a request to the end of its head. @default 10 s */
    header?: number;
    /** Between two chunks of a body. @default 60 s */
    body?: number;
    /** Between two requests on a connection. @default 75 s */
    idle?: number;
    /** For the handler to answer; 503 past it. @default no limit */
    handler?: number;
  };
  /** Told the address as soon as it listens. */
  onListen?(address: Address): void;
  /** Makes the answer for a handler that threw. @default a bare 500 */
  onError?(error: unknown, request: Request): MaybePromise<Response>;
}

/** A listening HTTP server. */
export interface HttpServer extends Server {
  /** `http://host:port/`, reachable from this machine. */
  readonly url: string;
  /** Runs the handler without a socket. */
  fetch(request: Request): Promise<Response>;
}
