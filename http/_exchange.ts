import type { ServerContext } from "./types.ts";

/** What the engine that serves a request lets the floors above know of it. */
export interface Exchange {
  /** Which engine serves it. */
  readonly engine: "wire" | "deno" | "bun";
  readonly context: ServerContext;
  /** What a native engine needs to upgrade it. */
  readonly native?: NativeExchange;
  /**
   * Calls back, once, when the server begins to close gracefully (at once
   * when it has): long-lived connections say goodbye then. Gives back the
   * function that withdraws it. To make the close wait for the connection
   * there is `context.waitUntil`.
   */
  onShutdown(callback: () => void): () => void;
  /** Tells the server's error handler what no caller waits for. */
  report(error: unknown): void;
  /**
   * Closes the connection, unanswered: what `report` is told of is why. Does
   * nothing once the response has begun. Wire engine only.
   */
  cut?(error: unknown): void;
  /**
   * `report` for a connection that outlives the request: it keeps no more of
   * the exchange than it needs to tell of the request. Wire engine only.
   */
  reporter?(): (error: unknown) => void;
  /**
   * `onShutdown` and `waitUntil` in one, for many connections at little
   * memory. Wire engine only.
   */
  adopt?(member: Member): Home;
}

/** A connection that lives long, as its server knows it. */
export interface Member {
  /** The server closes: it says goodbye, and leaves. */
  goodbye(): void;
}

/** What a member leaves when it is over. */
export interface Home {
  leave(member: Member): void;
}

/** The runtime's own objects behind a request of a native engine. */
export interface NativeExchange {
  /** The very request the runtime made. */
  readonly request: Request;
  /** Bun: its server. */
  readonly server?: {
    upgrade(
      request: Request,
      options: { headers?: Headers; data: NativeSocketEvents },
    ): boolean;
  };
  /** Bun: bytes of a message at most, its `maxPayloadLength`. */
  readonly maxMessageSize?: number;
}

/**
 * Bun has one `websocket` handler a server. The one of `http` does nothing
 * but call the function of the same name on `ws.data`, which is the `data`
 * given to `server.upgrade`. After an upgrade the handler's response is a
 * takeover response, and the engine gives `undefined` to Bun in its place.
 */
export interface NativeSocketEvents {
  open(socket: unknown): void;
  message(socket: unknown, data: string | Uint8Array): void;
  drain(socket: unknown): void;
  ping(socket: unknown, data: Uint8Array): void;
  pong(socket: unknown, data: Uint8Array): void;
  close(socket: unknown, code: number, reason: string): void;
}

/** Where a request keeps its exchange: no map to look in. */
export const exchangeKey: unique symbol = Symbol("sluice.exchange");

/** Remembers the exchange on the request object itself. */
export function setExchange(request: Request, exchange: Exchange): void {
  (request as { [exchangeKey]?: Exchange })[exchangeKey] = exchange;
}

/**
 * The exchange of a request that a handler was given. `undefined` for one
 * that was made or copied elsewhere: it cannot be upgraded.
 */
export function exchangeOf(request: Request): Exchange | undefined {
  return (request as { [exchangeKey]?: Exchange })[exchangeKey];
}
