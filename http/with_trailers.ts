import { isResponse } from "./_response_parts.ts";
import { setTrailers, trailerFields } from "./_trailers.ts";

/**
 * Gives a response trailers: fields that are sent behind its body, e.g. a
 * checksum or how it went (RFC 9110, 6.5). It is the same response that is
 * given back; a copy of it has no trailers.
 *
 * Fields that say how a message is to be read, whom it is for or who may see
 * it are refused with a TypeError, such as `content-length`, `set-cookie` or
 * `authorization` (RFC 9110, 6.5.1). Trailers given as a promise are waited
 * for once the body has ended; when it rejects, or gives what is refused, the
 * connection is aborted: the response must not look complete.
 *
 * The names of trailers given as they are are announced in `Trailer`; with a
 * promise, set that field yourself. There are none for HTTP/1.0, for HEAD and
 * where a status has no body. Only the wire engine can send them: on a native
 * one such a response is an error.
 *
 * @example
 * ```ts
 * import { serve, withTrailers } from "@sluice/net/http";
 * import { toReadable } from "@sluice/net/streams";
 *
 * const server = await serve(() => {
 *   let count = 0;
 *   async function* rows() {
 *     for (; count < 3; count++) yield `row ${count}\n`;
 *     done({ "x-rows": String(count) });
 *   }
 *   let done!: (trailers: HeadersInit) => void;
 *   const trailers = new Promise<HeadersInit>((resolve) => done = resolve);
 *   return withTrailers(new Response(toReadable(rows())), trailers);
 * }, { hostname: "127.0.0.1", port: 0 });
 * await server.close();
 * ```
 *
 * @param response What to send before them.
 * @param trailers The fields, or a promise of them.
 */
export function withTrailers(
  response: Response,
  trailers: HeadersInit | Promise<HeadersInit>,
): Response {
  if (!isResponse(response)) {
    throw new TypeError(
      `Cannot add trailers: not to a Response: ${typeof response}`,
    );
  }
  if (isPromise(trailers)) {
    const fields = Promise.resolve(trailers).then(trailerFields);
    // Perhaps nobody ever waits for it: the client may leave.
    fields.catch(() => {});
    setTrailers(response, { names: [], fields });
  } else {
    const fields = trailerFields(trailers);
    const names = fields.filter((_, index) => index % 2 === 0);
    setTrailers(response, {
      names: [...new Set(names)],
      fields: Promise.resolve(fields),
    });
  }
  return response;
}

function isPromise(
  value: HeadersInit | Promise<HeadersInit>,
): value is Promise<HeadersInit> {
  return typeof (value as { then?: unknown } | null)?.then === "function";
}
