import type {
  Address,
  CloseInfo,
  Duplex,
  MaybePromise,
  Wait,
} from "../streams/types.ts";
import type { Lookup } from "../tcp/_lookup.ts";
import type { ProxyOptions } from "../tcp/_proxy.ts";
import type { TlsClientOptions, Wiretap } from "../tcp/types.ts";

/** What comes and goes: text is a string, binary is bytes. */
export type Message = string | Uint8Array;

/** How a WebSocket came to its end. */
export interface WebSocketCloseInfo extends CloseInfo {
  /** `true` when both sides said Close. */
  readonly clean: boolean;
  /**
   * The code of the peer's Close frame; 1005 when it had none. When this side
   * failed the connection, the code it said (1002, 1007, 1009, 1011 …); 1006
   * when the connection was lost without a Close.
   */
  readonly code: number;
  /** The reason in the peer's Close frame, or `""`. */
  readonly reason: string;
}

/**
 * One WebSocket, server or client side: a duplex of messages.
 *
 * When the peer closes, whoever reads messages can still answer those that
 * came before, as long as it comes for the next one within 200 ms; then Close
 * is answered. Native engines answer it at once.
 *
 * `send` copies: a buffer whose `send` gave `true` may be used again at once.
 */
export interface Socket extends Duplex<Message, Message, WebSocketCloseInfo> {
  /**
   * Sends a ping and resolves with the round trip in milliseconds. `data` has
   * at most 125 bytes. Rejects with a `ClosedError` when the socket ends
   * first, and with a `TimeoutError` after 30 s or `options.timeout`.
   */
  ping(data?: Message, options?: Wait): Promise<number>;
  /**
   * Sends what was accepted, then Close, and waits for the peer's (bounded by
   * `closeTimeout`). Messages that come after the call are dropped, those
   * queued before can be received still.
   *
   * @param code 1000 to 1003, 1007 to 1014 or 3000 to 4999. Default 1000.
   * @param reason At most 123 bytes of UTF-8. Default `""`.
   */
  close(code?: number, reason?: string): Promise<void>;
  /** Ends it now, without a Close: the peer sees 1006. */
  destroy(reason?: unknown): void;
  /** Resolves when all is over; never rejects. */
  readonly closed: Promise<WebSocketCloseInfo>;
  /** The subprotocol agreed on, or `""`. */
  readonly protocol: string;
  /** The extensions agreed on, or `""`. */
  readonly extensions: string;
  /** The URL connected to; on a server, that of the request. */
  readonly url: string;
  /** The other end. */
  readonly remoteAddress: Address;
  /** The runtime's own socket. */
  readonly raw: unknown;
}

/**
 * A socket by callbacks, the fastest form. They are called in order, none
 * before `open`. When `message` gives a promise, the next message waits for
 * it, and the peer is stopped meanwhile. A callback that throws or rejects
 * closes the socket with 1011. Without `message` messages are dropped.
 */
export interface Listener {
  /** The handshake is done; nothing was received yet. */
  open?(socket: Socket): unknown;
  /** A whole message. */
  message?(socket: Socket, data: Message): unknown;
  /** It is over; the last callback. */
  close?(socket: Socket, info: WebSocketCloseInfo): unknown;
  /** It was cut off; `close` follows. */
  error?(socket: Socket, error: Error): unknown;
  /** The peer pinged; the answer goes out by itself. */
  ping?(socket: Socket, data: Uint8Array): unknown;
  /** The peer answered a ping, or sent an unasked pong. */
  pong?(socket: Socket, data: Uint8Array): unknown;
  /** There is room again, after a `send` that gave a promise. */
  drain?(socket: Socket): unknown;
}

/** How to compress (permessage-deflate, RFC 7692). */
export interface CompressOptions {
  /**
   * Bytes of a message from which on it is compressed; one that would not
   * become smaller is sent as it is. @default 1024
   */
  threshold?: number;
  /** Effort of zlib, 1 to 9. @default 3 */
  level?: number;
  /**
   * Whether each message of the server is compressed on its own. `false` lets
   * it refer to the ones before it: smaller, at up to 32 KiB of memory on
   * both sides and about three times the work. Broadcasts cannot share it.
   * @default true
   */
  serverNoContextTakeover?: boolean;
  /** The same for the messages of the client. @default true */
  clientNoContextTakeover?: boolean;
  /** log2 of the server's window, 8 to 15. @default 15 */
  serverMaxWindowBits?: number;
  /** log2 of the client's window, 8 to 15. @default 15 */
  clientMaxWindowBits?: number;
  /**
   * Bytes that the windows of all sockets of this process may take: past
   * them a new socket is agreed on without context takeover.
   * @default 64 MiB
   */
  maxMemory?: number;
}

/** What a socket does with a connection, on either side. */
export interface SocketOptions {
  /** Bytes of a message; a larger one closes with 1009. @default 16 MiB */
  maxMessageSize?: number;
  /**
   * Bytes queued each way before `send` gives a promise and the peer is
   * stopped. @default 64 KiB
   */
  highWaterMark?: number;
  /**
   * Bytes of messages whose `send` was not waited for, past which the socket
   * is destroyed with a `SizeLimitError`. @default 16 MiB
   */
  maxBuffered?: number;
  /**
   * Milliseconds of silence after which the peer is pinged; when the next as
   * many bring nothing either, the socket is destroyed with a
   * `TimeoutError`. Not counted while nobody reads here. @default off
   */
  heartbeat?: number;
  /**
   * Milliseconds without a message either way after which the socket is
   * closed with 1001. @default off
   */
  idleTimeout?: number;
  /** Milliseconds that `close` waits for the peer. @default 15 s */
  closeTimeout?: number;
  /**
   * Compresses messages by permessage-deflate where the peer can, too.
   *
   * Off by default: it costs some 20 to 60 µs of CPU a KiB and holds up the
   * event loop while it works (a MiB takes some 10 to 30 ms), it is of no use
   * for what is compressed already, and the size of what is sent tells of its
   * contents, so that secrets should not be sent together with what an
   * attacker may choose. Not on native engines. @default false
   */
  compress?: boolean | CompressOptions;
}

/** How to answer an upgrade. */
export interface UpgradeOptions extends SocketOptions {
  /**
   * Subprotocols this server speaks: the first that the client offers is
   * taken, in the client's order. Or a function that chooses one of those
   * offered, or none.
   */
  protocols?:
    | readonly string[]
    | ((offered: readonly string[], request: Request) => string | undefined);
  /** More fields of the 101 response, e.g. cookies. */
  headers?: HeadersInit;
  /**
   * Origins whose pages may connect, e.g. `"https://example.com"`; others get
   * a 403. Or a function that decides. A request without an Origin does not
   * come from a page: a list lets it in, a function is given `null`.
   * @default all
   */
  origins?:
    | readonly string[]
    | ((origin: string | null, request: Request) => boolean);
}

/** How to connect to a WebSocket server. */
export interface ConnectOptions extends SocketOptions {
  /** More fields of the request, e.g. `authorization`. */
  headers?: HeadersInit;
  /** Subprotocols to offer, the preferred one first. */
  protocols?: string | readonly string[];
  /** For `wss:`: whom to trust and what to show. */
  tls?: true | TlsClientOptions;
  /** Path of a Unix socket to connect to in place of the URL's host. */
  unix?: string;
  /** Says which addresses a name has. @default the system's resolver */
  lookup?: Lookup;
  /**
   * Goes through a proxy, as the HTTP client does, but always by a tunnel: its
   * URL, or more than that, `"env"`, or `false`. `"env"` takes what holds for
   * `http:` and `https:` URLs for `ws:` and `wss:` ones. @default {false}
   */
  proxy?: string | URL | ProxyOptions | "env" | false;
  /** Whom to reach without the proxy, as the HTTP client has it. */
  noProxy?: string | readonly string[];
  /** Milliseconds until the handshake is done. @default 10 s */
  timeout?: number;
  /** Gives the attempt up; `connect` rejects with its reason. */
  signal?: AbortSignal;
  /**
   * Speaks HTTP/2 (RFC 8441): for `wss:` agreed on by ALPN, for `ws:` by prior
   * knowledge. The server has to take extended CONNECT. The socket has a
   * connection of its own. @default {false}
   */
  http2?: boolean;
  /** Told of all that goes through the connection. @default nothing is told */
  wiretap?: Wiretap;
}

/** A function over the socket, or callbacks. */
export type SocketHandler =
  | ((socket: Socket) => MaybePromise<unknown>)
  | Listener;
