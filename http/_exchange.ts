import type { ServerContext } from "./types.ts";

/** What the engine that serves a request lets the floors above know of it. */
export interface Exchange {
  /** Which engine serves it. */
  readonly engine: "wire" | "deno" | "bun";
  readonly context: ServerContext;
  /**
   * What that engine needs to upgrade it, known to its own files only
   * (Bun: its server; Deno and wire: nothing).
   */
  readonly native?: unknown;
}

const key: unique symbol = Symbol("sluice.exchange");

/** Remembers the exchange on the request object itself: no map to look in. */
export function setExchange(request: Request, exchange: Exchange): void {
  (request as { [key]?: Exchange })[key] = exchange;
}

/**
 * The exchange of a request that a handler was given. `undefined` for one
 * that was made or copied elsewhere: it cannot be upgraded.
 */
export function exchangeOf(request: Request): Exchange | undefined {
  return (request as { [key]?: Exchange })[key];
}
