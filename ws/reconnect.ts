import type { Duplex, Wait } from "../streams/types.ts";
import { MAX_TIMEOUT } from "../streams/_waiters.ts";
import { connect } from "./connect.ts";
import { Reconnecting } from "./_reconnecting.ts";
import { parseTarget } from "./_target.ts";
import type {
  ConnectOptions,
  Message,
  Socket,
  WebSocketCloseInfo,
} from "./types.ts";

/** There is no connection for a while, and why. */
export interface Down {
  /** How the connection ended; not there when there was none. */
  readonly info?: WebSocketCloseInfo;
  /** Why there was no connection. */
  readonly error?: Error;
  /**
   * Bytes that the connection had accepted and not handed to the kernel when
   * it was lost: they were not sent, and will not be.
   */
  readonly unsent: number;
  /** Failures in a row, this one too. */
  readonly failures: number;
  /** Milliseconds until the next attempt. */
  readonly delay: number;
}

/** How to connect, and to connect again. */
export interface ReconnectOptions extends ConnectOptions {
  /**
   * Milliseconds before the first new attempt. Each next one waits up to
   * twice as long, a random half of it not. @default 250
   */
  minDelay?: number;
  /** Milliseconds between two attempts at most. @default 30 s */
  maxDelay?: number;
  /**
   * Failures in a row after which it gives up. A message that comes starts
   * the count anew, and so does a connection that lasted for `maxDelay`.
   * @default 10 attempts
   */
  attempts?: number;
  /**
   * Whether to try again after this end, or this error of `connect`. Unless
   * told otherwise: after every end but a clean one with 1000, and after
   * every failure to connect but those that will stay (a refusal of 4xx, a
   * certificate that is not trusted).
   */
  retry?: (cause: WebSocketCloseInfo | Error) => boolean;
  /**
   * There is a connection, the first or another. What it sends, such as a
   * login, goes before all that waits; a promise of it is waited for, and
   * when it fails the connection is dropped.
   */
  onOpen?: (connection: Socket) => unknown;
  /** There is none any more, and another will be tried for. */
  onDown?: (down: Down) => void;
  /** Ends it all with its reason, whenever it aborts. */
  signal?: AbortSignal;
}

/** A socket that outlives its connections. */
export interface ReconnectingSocket
  extends Duplex<Message, Message, WebSocketCloseInfo> {
  /** The connection of now; `undefined` while there is none. */
  readonly connection: Socket | undefined;
  /** How many there have been. */
  readonly connections: number;
  /** Pings over the connection of now; rejects when there is none. */
  ping(data?: Message, options?: Wait): Promise<number>;
  /**
   * Sends what was accepted, closes the connection, and makes no other. When
   * there is none, the sends that wait give `false`.
   */
  close(code?: number, reason?: string): Promise<void>;
}

/**
 * Connects to a WebSocket server, and again whenever the connection is lost,
 * with waits that grow. The duplex stays the same: messages of all
 * connections come out of it in order, and it ends with `close`, `destroy`,
 * the signal, or when it gives up.
 *
 * Messages are delivered at most once. While there is no connection `send`
 * gives a promise, and what waits goes out with the next connection; a `send`
 * that gave `true` has handed its message to one connection, and it is never
 * sent by another. What a connection still had in its queue when it was lost
 * is lost with it: `onDown` tells how many bytes. What was with the kernel may
 * have arrived or not: only an answer tells.
 *
 * @example
 * ```ts
 * import { http, ws } from "@sluice/net";
 *
 * await using server = await http.serve((request) =>
 *   ws.upgrade(request, async (socket) => {
 *     for await (const message of socket) await socket.send(message);
 *   }), { hostname: "127.0.0.1", port: 0 });
 *
 * await using socket = ws.reconnect(server.url, {
 *   onOpen: (connection) => connection.send("subscribe"),
 *   onDown: ({ delay }) => console.log(`Lost, trying in ${delay} ms`),
 * });
 * console.log(await socket.receive());
 * ```
 *
 * @param url `ws:` or `wss:`; `http:` and `https:` count as these.
 * @param options Those of `connect`, and how to go on after a loss.
 * @returns The duplex, at once; the connection follows.
 */
export function reconnect(
  url: string | URL,
  options: ReconnectOptions = {},
): ReconnectingSocket {
  parseTarget(url);
  const {
    minDelay = 250,
    maxDelay = 30_000,
    attempts = 10,
    retry,
    onOpen,
    onDown,
    signal: _,
    ...rest
  } = options;
  for (const [name, value] of Object.entries({ minDelay, maxDelay })) {
    if (!(value >= 0 && value <= MAX_TIMEOUT)) {
      throw new RangeError(
        `Cannot reconnect: ${name} must be a number from 0 to ${MAX_TIMEOUT}: ${value}`,
      );
    }
  }
  if (!(attempts >= 0)) {
    throw new RangeError(
      `Cannot reconnect: attempts must be 0 or more: ${attempts}`,
    );
  }
  for (const [name, value] of Object.entries({ retry, onOpen, onDown })) {
    if (value !== undefined && typeof value !== "function") {
      throw new TypeError(
        `Cannot reconnect: ${name} must be a function: ${value}`,
      );
    }
  }
  return new Reconnecting(
    (signal) => connect(url, { ...rest, signal }),
    { minDelay, maxDelay, attempts },
    options,
  );
}
