import type { ServeConfig } from "./_serve_options.ts";
import type { HttpServer } from "./types.ts";

/**
 * What `_deno.ts` and `_bun.ts` each implement: the runtime's own server
 * behind our handler, context and lifetime. Node has none: its server is no
 * faster than ours and has no Request.
 */
export interface NativeHttp {
  /**
   * Listens. Rejects with a `NetError` when it cannot, and with a TypeError
   * that names the wire engine for an option that the runtime cannot honour.
   */
  serveNative(config: ServeConfig): Promise<HttpServer>;
}
