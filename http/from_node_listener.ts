import type { Handler } from "./types.ts";

type Runner = typeof import("./_node_exchange.ts").runListener;

let loading: Promise<Runner> | undefined;

/**
 * A handler that answers by a listener of `node:http`: an Express application,
 * a connect middleware, the function that `http.createServer` was given. On
 * every runtime, on both engines: the way to move an application over step by
 * step, or to keep a part of it.
 *
 * The listener gets a `req` and a `res` as from node:http, which tell the same
 * in the same order, but no connection behind them: `socket` tells of it, times
 * it out and ends it, and cannot be written to. `req.url` is path and query of
 * the request's URL, as `URL` writes them; `rawHeaders` has names in lower case;
 * a GET has no body. A length that is known is sent, and what is wrong set
 * right, unless `strictContentLength` makes it throw. Limits and times are those
 * of `serve`.
 *
 * A listener that throws or rejects before its head is sent gives a 500, or what
 * `onError` makes; after it the response is cut off. One that destroys `req`,
 * `res` or `socket` before closes the connection without an answer; on a native
 * engine, which cannot, that is a 500, too. When the client leaves, `req` tells
 * `"aborted"`, and `req` and `res` close. There are no events for CONNECT (405)
 * and upgrades; trailers, `writeEarlyHints` and `writeProcessing` need the wire
 * engine. Throws a TypeError when the listener is no function.
 *
 * @example
 * ```ts
 * import { fromNodeListener, serve } from "@sluice/net/http";
 * import type { IncomingMessage, ServerResponse } from "node:http";
 *
 * const handler = fromNodeListener(
 *   (req: IncomingMessage, res: ServerResponse) => {
 *     res.setHeader("content-type", "text/plain");
 *     res.end(`You asked for ${req.url}`);
 *   },
 * );
 * const server = await serve(handler, { hostname: "127.0.0.1", port: 0 });
 * await server.close();
 * ```
 *
 * @param listener What answers.
 * @returns A handler for `serve`, or for a route of any app of ours.
 */
export function fromNodeListener(
  listener: (request: never, response: never) => unknown,
): Handler {
  if (typeof listener !== "function") {
    throw new TypeError(
      `Cannot make a handler: the listener is no function: ${
        listener === null ? "null" : typeof listener
      }`,
    );
  }
  const call = listener as (request: object, response: object) => unknown;
  let run: Runner | undefined;
  return (request, context) => {
    if (request.method === "CONNECT") {
      return new Response(null, { status: 405 });
    }
    if (run !== undefined) return run(call, request, context);
    loading ??= import("./_node_exchange.ts").then(({ runListener }) =>
      runListener
    );
    return loading.then((loaded) => {
      run = loaded;
      return run(call, request, context);
    });
  };
}
