import type { Handler, ServerContext } from "./types.ts";

/** A handler that answers by calling back, now or later. */
export type CallbackHandler = (
  request: Request,
  respond: (response: Response) => void,
  raise: (error: unknown) => void,
  context: ServerContext,
) => void;

/**
 * Makes a handler of a function that answers by calling back, as asynchronous
 * Ring handlers do. The first call of `respond` or `raise` counts, and so does
 * an error that the function throws (or rejects with) before it. What comes
 * later has no effect; the body of a response that comes too late is
 * cancelled.
 *
 * @example
 * ```ts
 * import { fromCallback, serve } from "@sluice/net/http";
 *
 * const server = await serve(
 *   fromCallback((_, respond) => {
 *     setTimeout(() => respond(new Response("later")), 1);
 *   }),
 *   { hostname: "127.0.0.1", port: 0 },
 * );
 * await server.close();
 * ```
 *
 * @param callback Called for every request; the context comes last.
 */
export function fromCallback(callback: CallbackHandler): Handler {
  if (typeof callback !== "function") {
    throw new TypeError(
      `Cannot make a handler: no function was given: ${typeof callback}`,
    );
  }
  return (request, context) =>
    new Promise<Response>((resolve, reject) => {
      let settled = false;
      const respond = (response: Response): void => {
        if (settled) {
          cancelBody(response);
          return;
        }
        settled = true;
        resolve(response);
      };
      const raise = (error: unknown): void => {
        settled = true;
        reject(error);
      };
      const returned: unknown = callback(request, respond, raise, context);
      // It was written as an async function: its failure is one too.
      if (returned instanceof Promise) returned.catch(raise);
    });
}

function cancelBody(response: Response | undefined): void {
  try {
    response?.body?.cancel().catch(() => {});
  } catch {
    // It is no response, or its body is read elsewhere.
  }
}
