/**
 * TCP and Unix sockets: servers and clients whose connections are duplex
 * streams of bytes with backpressure both ways.
 *
 * @example
 * ```ts
 * import { serve } from "@sluice/net/tcp";
 *
 * const server = await serve(async (connection) => {
 *   for await (const chunk of connection) await connection.send(chunk);
 * }, { hostname: "127.0.0.1", port: 0 });
 * await server.close();
 * ```
 *
 * @module
 */
export * from "./connect.ts";
export * from "./serve.ts";
export * from "./types.ts";
export type { Lookup, LookupAddress, LookupOptions } from "./_lookup.ts";
export type { ProxyOptions } from "./_proxy.ts";
export * from "../streams/errors.ts";
export type { Address, Bytes, CloseInfo, Wait } from "../streams/types.ts";
