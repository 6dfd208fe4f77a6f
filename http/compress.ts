import { compressed, compressOf } from "./_compress.ts";
import type { Middleware } from "./compose.ts";

/** How and what to compress of responses. */
export interface CompressOptions {
  /**
   * The content codings to use, the best first: of those that a client takes
   * equally well the first is used. What a runtime has not, zstd on Node 20, is
   * not used.
   *
   * @default {["br", "zstd", "gzip", "deflate"]}
   */
  codings?: ("br" | "zstd" | "gzip" | "deflate")[];
  /**
   * Bytes of a body from which on it is compressed. One whose length is not
   * known beforehand, a stream, always is.
   *
   * @default {1024}
   */
  threshold?: number;
  /**
   * How hard to try: brotli 0 to 11 (4), zstd 1 to 19 (3), gzip and deflate 1
   * to 9 (6).
   */
  levels?: { br?: number; zstd?: number; gzip?: number; deflate?: number };
  /**
   * Decides which responses are compressed, in place of the list of types. It
   * is asked for each one that could be. It must not read the body.
   */
  filter?(response: Response, request: Request): boolean;
}

/**
 * A layer for `compose` that compresses responses: brotli, zstd, gzip or
 * deflate, as `Accept-Encoding` of the request has it (RFC 9110, 12.5.3). The
 * option `compress` of `serve` is the same for all that a server sends.
 *
 * Compressed is text of any kind: `text/*`, JSON, XML, SVG, JavaScript and
 * WebAssembly. Left as it is: what has `Content-Encoding`, `Content-Range`, a
 * digest (RFC 9530) or `Cache-Control: no-transform`, and what is shorter than
 * the threshold. All that could be compressed gets `Vary: accept-encoding`. A
 * compressed response has no `Accept-Ranges` and a weak `ETag`.
 *
 * Streams are compressed as the client takes them. When there is nothing more
 * to come for the moment, what has come is flushed, so that no chunk waits for
 * the next; server-sent events are flushed one by one.
 *
 * What is compressed tells by its length what it repeats. Where a page holds
 * both a secret (a token against CSRF, say) and something that an attacker can
 * choose, he can guess the one by the other (BREACH): send such a page with
 * `Cache-Control: no-transform`, or mask the secret anew each time.
 *
 * @example
 * ```ts
 * import { compose, compress, serve } from "@sluice/net/http";
 *
 * const handler = compose(compress({ threshold: 512 }))(
 *   () => Response.json({ text: "hello ".repeat(200) }),
 * );
 * const server = await serve(handler, { hostname: "127.0.0.1", port: 0 });
 * await server.close();
 * ```
 *
 * @param options Codings, threshold, levels, what to compress.
 */
export function compress(options: CompressOptions = {}): Middleware {
  const config = compressOf(options, "compress");
  if (config === undefined) {
    throw new TypeError("Cannot compress: the options are none");
  }
  return async (request, _context, next) =>
    compressed(config, request, await next());
}
