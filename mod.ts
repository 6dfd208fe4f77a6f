/**
 * One streaming API for HTTP, WebSocket, TCP and UDP on Deno, Bun and Node.
 *
 * Every connection is a `Duplex`: messages come in with `for await` or
 * `receive`, go out with `send`, and the result of `send` is the backpressure.
 *
 * @example
 * ```ts
 * import { http, tcp } from "@sluice/net";
 *
 * const web = await http.serve(() => new Response("Hello\n"), { port: 0 });
 * const echo = await tcp.serve(async (connection) => {
 *   for await (const chunk of connection) await connection.send(chunk);
 * }, { hostname: "127.0.0.1", port: 0 });
 * await web.close();
 * await echo.close();
 * ```
 *
 * @module
 */

export * as http from "./http/mod.ts";
export * as streams from "./streams/mod.ts";
export * as tcp from "./tcp/mod.ts";
export * as udp from "./udp/mod.ts";
export * as ws from "./ws/mod.ts";
