import { resolveOptions } from "./_serve_options.ts";
import type { Handler, HttpServer, ServeOptions } from "./types.ts";
import { serveWire } from "./_wire_server.ts";

const globals = globalThis as { Deno?: unknown; Bun?: unknown };

/**
 * Serves HTTP. Resolves when it listens; rejects with a `NetError` whose
 * `code` says why it cannot (`EADDRINUSE`, `EACCES`, …).
 *
 * A handler that throws gives a bare 500 and `onError` hears of it. A
 * response body that fails cuts the connection: it never looks complete.
 *
 * @example
 * ```ts
 * import { serve } from "@sluice/net/http";
 *
 * const server = await serve((request) => {
 *   return new Response(`You asked for ${new URL(request.url).pathname}`);
 * }, { port: 0 });
 * console.log(server.url);
 * await server.close();
 * ```
 *
 * @param handler A function, or what has one called `fetch`, as a Hono app.
 * @param options Where to listen, bounds, times, callbacks.
 * @returns The listening server.
 */
export async function serve(
  handler: Handler | { fetch: Handler },
  options?: ServeOptions,
): Promise<HttpServer> {
  const config = resolveOptions(handler, options);
  config.signal?.throwIfAborted();
  let server: HttpServer;
  if (config.engine === "wire") server = await serveWire(config);
  else if (globals.Deno !== undefined) {
    server = await (await import("./_deno.ts")).serveNative(config);
  } else if (globals.Bun !== undefined) {
    server = await (await import("./_bun.ts")).serveNative(config);
  } else {
    throw new TypeError(
      'Cannot serve: this runtime has no native server, use engine: "wire"',
    );
  }
  try {
    config.onListen?.(server.address);
  } catch (error) {
    // Nobody would have it, and nobody could close it.
    await server.close({ timeout: 0 });
    throw error;
  }
  return server;
}
