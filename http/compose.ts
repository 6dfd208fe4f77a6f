import { exchangeOf, setExchange } from "./_exchange.ts";
import type { MaybePromise } from "../streams/types.ts";
import type { Handler, ServerContext } from "./types.ts";

/**
 * The rest of the chain. Without an argument it gets the request of the one
 * who calls; a request given in its place goes to all that follow.
 */
export type Next = (request?: Request) => Promise<Response>;

/** A layer around a handler: it may answer itself, or call `next`, once. */
export type Middleware = (
  request: Request,
  context: ServerContext,
  next: Next,
) => MaybePromise<Response>;

/**
 * Wraps a handler in layers, the first one outermost. Each layer calls
 * `next()` at most once, a second call rejects with a TypeError, and gives
 * back a response: that of `next` or its own. A request given to `next` stays
 * one of the server's: it can be upgraded.
 *
 * @example
 * ```ts
 * import { compose, serve } from "@sluice/net/http";
 * import type { Middleware } from "@sluice/net/http";
 *
 * const timed: Middleware = async (_request, context, next) => {
 *   const response = await next();
 *   const ms = performance.now() - context.receivedAt;
 *   response.headers.set("server-timing", `app;dur=${ms.toFixed(1)}`);
 *   return response;
 * };
 * const server = await serve(compose(timed)(() => new Response("hello")), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * await server.close();
 * ```
 *
 * @param middleware The layers, from the outside in.
 * @returns What makes a handler of a handler.
 */
export function compose(
  ...middleware: Middleware[]
): (handler: Handler | { fetch: Handler }) => Handler {
  const layers = [...middleware];
  for (const layer of layers) checkFunction(layer, "a layer");
  return (handler) => {
    const last: Handler = typeof handler === "object" && handler !== null
      ? (request, context) => handler.fetch(request, context)
      : handler;
    checkFunction(
      typeof handler === "object" ? handler?.fetch : handler,
      "the handler",
    );
    const call = (
      index: number,
      request: Request,
      context: ServerContext,
    ): MaybePromise<Response> => {
      if (index === layers.length) return last(request, context);
      let called = false;
      const rest = async (given: Request): Promise<Response> => {
        if (called) {
          throw new TypeError("Cannot call next(): it was called already");
        }
        called = true;
        if (given !== request) adopt(given, request);
        return await call(index + 1, given, context);
      };
      const next: Next = (given = request) => {
        const response = rest(given);
        // A layer may answer without waiting for it.
        response.catch(() => {});
        return response;
      };
      return layers[index](request, context, next);
    };
    return (request, context) => call(0, request, context);
  };
}

/** What is known of the request is known of the one in its place. */
function adopt(given: Request, request: Request): void {
  const exchange = exchangeOf(request);
  if (exchange !== undefined && exchangeOf(given) === undefined) {
    setExchange(given, exchange);
  }
}

function checkFunction(value: unknown, what: string): void {
  if (typeof value === "function") return;
  throw new TypeError(
    `Cannot compose: ${what} is no function: ${
      value === null ? "null" : typeof value
    }`,
  );
}
