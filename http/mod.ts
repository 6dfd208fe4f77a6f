/**
 * HTTP: a server and a client on one codec, the same on every runtime.
 *
 * @example
 * ```ts
 * import { serve } from "@sluice/net/http";
 *
 * await using server = await serve(() => new Response("hello"), { port: 0 });
 * ```
 *
 * @module
 */
export * from "./client.ts";
export * from "./errors.ts";
export * from "./fetch.ts";
export * from "../streams/errors.ts";
export { installResponse, Response } from "./response.ts";
export * from "./serve.ts";
export type {
  Handler,
  HttpServer,
  ServeOptions,
  ServerContext,
} from "./types.ts";
export type {
  Server,
  ServerStats,
  TlsClientOptions,
  TlsServerOptions,
} from "../tcp/types.ts";
