import type { Lookup } from "../tcp/_lookup.ts";
import type { ProxyOptions } from "../tcp/_proxy.ts";
import type { TlsClientOptions, Wiretap } from "../tcp/types.ts";
import type { ClientBody } from "./_client_body.ts";
import type { MultipartInit } from "./_client_multipart.ts";
import type { ClientResponse } from "./_client_response.ts";
import type { ClientTransport } from "./_client_transport.ts";
import type { CookieJar } from "./cookie_jar.ts";
import type { RetryOptions } from "./retry.ts";
import type { QueryInit, QueryStyle } from "./_client_url.ts";

/** Milliseconds for each phase of a request. */
export interface ClientTimeouts {
  /** Waiting for a place in the pool. @default no limit */
  pool?: number;
  /** Looking a name up, within `connect`. @default none of its own */
  lookup?: number;
  /** Making a connection, its name looked up; TLS, too. @default 10 s */
  connect?: number;
  /** Agreeing on TLS, counted apart from `connect`. @default none of its own */
  tls?: number;
  /** From the request sent to the head of the response. @default no limit */
  response?: number;
  /** Between two pieces of a body, either way. @default no limit */
  idle?: number;
  /**
   * From the call to the end of the body, redirects and all, but of one
   * attempt: with `retry` each has so long. @default no limit
   */
  total?: number;
}

/** Who one is, to the server. Redirects to another origin do not tell it. */
export type ClientAuth =
  | { readonly basic: readonly [user: string, password: string] }
  | { readonly bearer: string };

/** How far a body has come. */
export interface ClientProgress {
  /** Bytes of the body so far. */
  readonly loaded: number;
  /** Bytes of all of it, when that is known beforehand. */
  readonly total?: number;
}

/** What can be said for one request and for all of a client. */
export interface ClientSettings {
  /** Header fields; those of a request go before those of its client. */
  headers?: HeadersInit;
  /** Added to the query of the URL. */
  query?: QueryInit;
  /** How lists in `query` are written. @default {"repeat"} */
  queryStyle?: QueryStyle;
  /** Sends `Authorization`. */
  auth?: ClientAuth;
  /** What relative URLs are resolved against. */
  base?: string | URL;
  /**
   * For each phase, or a number for `total`. A request that is sent again, by
   * `retry` or other middleware, has all of them anew each time: what is not
   * to take longer in all, pauses too, gets
   * `signal: AbortSignal.timeout(milliseconds)`.
   */
  timeout?: number | ClientTimeouts;
  /** Follows redirects, gives them to the caller, or rejects. @default {"follow"} */
  redirect?: RequestRedirect;
  /** Redirects followed at most. @default {20} */
  maxRedirects?: number;
  /** Bytes of a response's body, before and after decoding. @default no limit */
  maxResponseSize?: number;
  /** Asks for gzip, deflate and br, and decodes them (and zstd). @default {true} */
  decompress?: boolean;
  /** Rejects with a `StatusError` unless the status is 2xx. @default {false} */
  throwOnStatus?: boolean;
  /** Path of a Unix socket to connect to, whatever the host of the URL. */
  unix?: string;
  /** What `https:` trusts and shows. @default the runtime's authorities */
  tls?: true | TlsClientOptions;
  /**
   * What is spoken, and nothing else is: for `https:` it is agreed on by ALPN,
   * in this order of preference; for `http:` HTTP/2 has to be the only one,
   * for the client has to know that the server speaks it (RFC 9113, 3.3).
   *
   * @default {["h2", "http/1.1"]} for `https:`, `["http/1.1"]` for `http:`
   */
  protocols?: readonly ("http/1.1" | "h2")[];
  /** Says which addresses a name has. @default the system's resolver */
  lookup?: Lookup;
  /**
   * Goes through a proxy: its URL (`http:`, `https:`, `socks4:`, `socks4a:`,
   * `socks5:` or `socks5h:`, with user and password where it wants them), or
   * more than that. An HTTP proxy is handed requests for `http:` URLs; for
   * `https:` ones, and with `tunnel`, it makes a tunnel. `"env"` goes by
   * `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` of the environment
   * as it is then, in lower or upper case; `HTTP_PROXY` does not count where
   * `REQUEST_METHOD` is set. `false` is none, whatever the client has. Sockets
   * of `unix` go through none. @default {false}
   */
  proxy?: string | URL | ProxyOptions | "env" | false;
  /**
   * Whom to reach without the proxy, in a list or a text with commas: a name
   * (and what is under it), a suffix (`.example.com`: only what is under it),
   * an address, a network (`10.0.0.0/8`) or `*`, each with a `:port` or for
   * all. Counts beside `NO_PROXY` of `"env"`.
   */
  noProxy?: string | readonly string[];
  /**
   * Sends the cookies that this jar has for a URL, after those of a `cookie`
   * header given with the request, and keeps in it what answers set; at each
   * redirect those of where it leads. `false` is none, whatever the client
   * has. Requests count as from the same site. @default {false}
   */
  cookies?: CookieJar | false;
  /**
   * Sends a request again that failed, around all middleware and by the rules
   * of the middleware `retry`: up to two times (`true`), up to so many times
   * (a number), or as its options say. `true` for a request is what its client
   * does, if that retries. A `timeout` is for each attempt, `total` too;
   * a `signal` is for all of them. All requests share
   * the budget of the client, but those with options that have a `budget`
   * share that with the requests given the same object. @default {false}
   */
  retry?: boolean | number | RetryOptions;
  /**
   * Sends the body only when the server says that it wants it, with 100, or
   * does not say anything for a second, or for so many milliseconds (RFC 9110,
   * 10.1.1). A server that answers at once, with a redirect or 401, is spared
   * the body; a body that is a stream can then still be sent to where a
   * redirect leads. After 417 the request is made again without asking.
   *
   * @default {false}
   */
  expectContinue?: boolean | number;
  /**
   * Told of each piece of the request's body once it is handed to the
   * transport: text and bytes up to 64 KiB are one piece, more are pieces of
   * 64 KiB, streams have their own. It begins again at a redirect or another
   * attempt that sends the body. What it throws is what the request rejects
   * with.
   */
  onUploadProgress?(progress: ClientProgress): void;
  /**
   * Told of each piece of the response's body as it comes, before its coding
   * is undone; not of bodies of redirects. `total` is Content-Length. A body
   * that nobody reads stands still, and so does this. What it throws is what
   * reading the body rejects with.
   */
  onDownloadProgress?(progress: ClientProgress): void;
  /**
   * Told of informational responses, such as 103 early hints, as they come,
   * but for 100 and 101. What it throws is what the request rejects with.
   */
  onInform?(status: number, headers: Headers): void;
}

/** What can be said of one request: fetch's own options and more. */
export interface ClientInit extends ClientSettings {
  /** Any token but CONNECT, TRACE and TRACK. @default {"GET"} */
  method?: string;
  /** Streams and iterables are sent piece by piece, as the server takes them. */
  body?: ClientBody | null;
  /** Gives the request up at any moment; it rejects with the signal's reason. */
  signal?: AbortSignal | null;
  /** An object, sent as application/x-www-form-urlencoded. */
  form?: QueryInit;
  /** A value, sent as JSON. */
  json?: unknown;
  /**
   * Fields and files of a form, sent as multipart/form-data (RFC 7578): a list
   * of parts, or a record of them by name. They are sent piece by piece, with
   * Content-Length when the length of each is known: text, bytes and Blobs
   * (Files, too). Such a form can be sent again, after a redirect or a retry;
   * one with a stream, an iterable or a source in it cannot. A name with a
   * control character is refused with a TypeError, and so is a `content-type`
   * given in `headers`: it is the form that knows its boundary.
   */
  multipart?: MultipartInit;
  /** Anything, for middleware: its third argument. */
  state?: unknown;
  /** Sending never waits for the response, nor the other way round. */
  duplex?: "half";
  /**
   * Hashes of the decoded body, one of which it has to have (W3C, Subresource
   * Integrity): `sha256-`, `sha384-` or `sha512-` and base64. The response is
   * given once its body is there, all of it in memory.
   */
  integrity?: string;
  /**
   * How the middleware `cache` is used. Without it nothing is cached, and
   * `"force-cache"` and `"only-if-cached"` are refused. @default {"default"}
   */
  cache?: RequestCache;
  /** Without meaning outside a browser. */
  credentials?: RequestCredentials;
  /** Without meaning outside a browser. */
  keepalive?: boolean;
  /** Without meaning outside a browser. */
  mode?: RequestMode;
  /** Without meaning outside a browser. */
  priority?: "auto" | "high" | "low";
  /** Without meaning outside a browser. */
  referrer?: string;
  /** Without meaning outside a browser. */
  referrerPolicy?: ReferrerPolicy;
  /** Without meaning outside a browser. */
  window?: null;
}

/** How many connections there may be. */
export interface PoolOptions {
  /** To one origin. @default {16} */
  perHost?: number;
  /**
   * In all. Origins that want more than there are share them: one with few
   * goes before one with many. @default {1024}
   */
  total?: number;
  /** Requests that may wait for a place. @default {65_536} */
  queue?: number;
  /**
   * Milliseconds that an unused connection is kept; less where the server says
   * so in `Keep-Alive`. @default 30 s
   */
  idleTimeout?: number;
  /**
   * Milliseconds from when a connection is there; older ones get no request
   * any more, so that a change of addresses is noticed. @default no limit
   */
  maxLifetime?: number;
}

/**
 * Something around every request: it may look at it, change it, answer it by
 * itself, and call `next` as often as it likes.
 */
export type ClientMiddleware = (
  request: Request,
  next: (request: Request) => Promise<ClientResponse>,
  state: unknown,
) => Promise<ClientResponse>;

/** What a client does with every request. */
export interface ClientOptions extends ClientSettings {
  /** How many connections there may be. */
  pool?: PoolOptions;
  /** Of connections that speak HTTP/2. */
  http2?: {
    /**
     * Bytes of a response that come before they are read (RFC 9113, 6.9.2);
     * up to eight times as many on a connection. @default {1048576}
     */
    initialWindow?: number;
    /**
     * Bytes that this grows to where a round trip takes more than it lets
     * through. @default {16777216}
     */
    maxWindow?: number;
  };
  /** Address of this machine to connect from. */
  localAddress?: string;
  /** Around every request, the first one outermost. */
  use?: readonly ClientMiddleware[];
  /** Told of all that goes through the connections, inside of TLS. */
  wiretap?: Wiretap;
  /**
   * Stands in for the network, for tests: `fake(routes)`, `server.fetch` of an
   * HttpServer, `app.fetch` of Hono, or any function from a `Request` to a
   * `Response`. Redirects, cookies, decoding, middleware, limits and the
   * timeouts `response`, `idle` and `total` are the client's as ever; what is
   * about connections has no meaning: `pool`, `proxy`, `unix`, `lookup`, `tls`,
   * `localAddress`, `wiretap` and the other timeouts.
   *
   * A `NetError` that it rejects with counts as a failure of the network and
   * becomes the `cause` of a `FetchError`; any other error goes to the caller
   * as it is.
   */
  transport?: ClientTransport;
}
