import type { Address, MaybePromise } from "../streams/types.ts";
import type {
  Connection,
  Server,
  TlsInfo,
  TlsServerOptions,
  Wiretap,
} from "../tcp/types.ts";
import type { CompressOptions } from "./compress.ts";

/**
 * What is known of a request besides the `Request`. What a native engine
 * cannot tell it refuses with a TypeError: see `ServeOptions.engine`.
 */
export interface ServerContext {
  /** The other end of the connection. */
  readonly remoteAddress: Address;
  /** This end of the connection. */
  readonly localAddress: Address;
  /** The client's address, through trusted proxies only. */
  readonly clientAddress: string;
  /** Protocol of the request. */
  readonly protocol: "http/1.0" | "http/1.1" | "h2" | "h3";
  /** When its head had come, in the time of `performance.now()`. */
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
  /**
   * A response that turns the connection into a tunnel: after CONNECT with
   * 200, after a request with `Upgrade` with 101. The handler's lifetime is
   * the connection's. For the one it was made for, and to be returned.
   */
  tunnel(
    handler: (connection: Connection) => unknown,
    init?: ResponseInit,
  ): Response;
  /** The runtime's own object. */
  readonly raw: unknown;
}

/**
 * Answers a request, which is a `Request` for every use. Its `signal` aborts
 * when the client is gone. A client that has only half-closed looks the same:
 * then too it aborts, and a response is sent all the same. `GET` and `HEAD`
 * have no body, as the standard says.
 */
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
  /**
   * What is spoken, and nothing else is: with `tls` it is agreed on by ALPN
   * (RFC 7301), without it a client of HTTP/2 has to know (RFC 9113, 3.3) and
   * may share the port with HTTP/1.1. The wire engine speaks both, by default
   * `["h2", "http/1.1"]` with `tls`, else `["http/1.1"]`. `Deno.serve` speaks
   * HTTP/1.1 and HTTP/2 and cannot be told otherwise. `Bun.serve` speaks what is
   * listed, by default HTTP/2 and HTTP/1.1 with `tls`, else HTTP/1.1.
   */
  protocols?: ("http/1.1" | "h2" | "h3")[];
  /**
   * Every connection begins with a header of HAProxy's PROXY protocol, version
   * 1 or 2, before TLS where there is any: `remoteAddress` is the one it
   * names. One without it is closed. To be given only where proxies alone can
   * connect. The native engines refuse it.
   *
   * @default {false}
   */
  proxyProtocol?: boolean;
  /**
   * `"wire"`: our own codec over tcp, the same on every runtime. `"native"`:
   * `Deno.serve` or `Bun.serve`, with the gaps of the support table in the
   * README; what they cannot do is refused with an error when it is asked for.
   * Node has none.
   *
   * @default {"wire"}
   */
  engine?: "wire" | "native";
  /** Bounds on what a client may send. */
  limits?: {
    /** Bytes of a request's body; 413 past it. @default {134217728} */
    body?: number;
    /** Bytes of a header block; 431 past it. @default {16384} */
    header?: number;
    /** Bytes of a request target; 414 past it. @default {8192} */
    target?: number;
    /**
     * Connections open at a time, those included that are in their TLS
     * handshake or PROXY header; one more is closed. @default {Infinity}
     */
    connections?: number;
    /**
     * Requests being answered at a time, until their response is written; one
     * more is given what `onOverload` makes. `Deno.serve` and `Bun.serve` do
     * not tell when a response is written: there it is until the handler has
     * given it.
     *
     * @default {Infinity}
     */
    requests?: number;
  };
  /** Of connections that speak HTTP/2. For the wire engine. */
  http2?: {
    /**
     * Requests that a client may have open at a time on a connection; one more
     * is refused (RFC 9113, 5.1.2). @default {1000}
     */
    maxConcurrentStreams?: number;
    /**
     * Bytes of a request's body that a client may send before they are read
     * (RFC 9113, 6.9.2); eight times as many on the whole connection.
     *
     * @default {524288}
     */
    initialWindow?: number;
    /**
     * Bytes that this grows to where a round trip takes more than it lets
     * through. @default {16777216}
     */
    maxWindow?: number;
    /**
     * Streams that a client may reset, or have reset by what it does, at once,
     * and a tenth of that each second; past it the connection ends with
     * ENHANCE_YOUR_CALM. What is refused because too many are open counts
     * half. @default {1000}
     */
    maxResets?: number;
    /** The same for its SETTINGS and PING. @default {1000} */
    maxControls?: number;
  };
  /** Milliseconds for each phase; 0 is for ever. */
  timeouts?: {
    /**
     * From the first byte of a request to the end of its head; 408 past it.
     *
     * @default {10000}
     */
    header?: number;
    /**
     * Between two chunks of a request's body, while the handler waits for
     * them; 408 past it.
     *
     * @default {60000}
     */
    body?: number;
    /**
     * Between two requests on a connection, and for a client to take anything
     * of the response that waits for it.
     *
     * @default {75000}
     */
    idle?: number;
    /** For the handler to answer; 503 past it. @default {Infinity} */
    handler?: number;
  };
  /**
   * Compresses responses, as `compress` does (which see, also for what this
   * tells an attacker): `true` with its defaults.
   *
   * @default {false}
   */
  compress?: boolean | CompressOptions;
  /** Told the address as soon as it listens. */
  onListen?(address: Address): void;
  /**
   * Makes the answer for a handler that threw, or gave what cannot be sent;
   * by default that is a bare 500. Also told of what no answer can be made
   * for: a response body that broke, a task of `waitUntil` that rejected, a
   * tunnel's handler that threw.
   */
  onError?(error: unknown, request: Request): MaybePromise<Response>;
  /**
   * Decides on a request with `Expect: 100-continue` before its handler is
   * called: `true` asks for the body at once, `false` is 417, a Response is
   * the answer. Without it the client is told to go on when the handler first
   * reads (RFC 9110, 10.1.1). For the wire engine.
   */
  onExpect?(request: Request): MaybePromise<boolean | Response>;
  /**
   * Makes the answer to a request past `limits.requests`; by default that is
   * a bare 503 with `retry-after: 1`. It must be cheap, so it is synchronous.
   */
  onOverload?(request: Request): Response;
  /**
   * Which proxies are believed in what they say of the client: `X-Forwarded-For`
   * or `Forwarded` (RFC 7239), and of the two nothing where both are there and
   * differ. `true`: all, which is only right when nobody else can connect; a
   * number: that many, counted from here; a list: those of the addresses and
   * networks (`"10.0.0.0/8"`), `"loopback"`, `"linklocal"`, `"uniquelocal"`,
   * `"unix"` (peers on a Unix socket). `context.clientAddress` is the first
   * one, seen from here, who is not trusted.
   *
   * @default {false}
   */
  trustProxy?: boolean | number | string[];
  /**
   * Told of all that goes through the connections, inside of TLS: the bytes of
   * HTTP, WebSockets and tunnels. The native engines refuse it.
   */
  wiretap?: Wiretap;
}

/** A listening HTTP server. */
export interface HttpServer extends Server {
  /** `http://host:port/`, reachable from this machine. */
  readonly url: string;
  /**
   * Runs the handler without a socket; as `transport` of a `Client`, too. It
   * needs no `this`. `limits` and `timeouts` are for what comes from outside.
   */
  fetch(request: Request): Promise<Response>;
}
