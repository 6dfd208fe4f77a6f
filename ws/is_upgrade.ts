import { asksUpgrade } from "./_handshake.ts";

/**
 * Whether a request asks for a WebSocket. It may ask badly: `upgrade` then
 * answers why not.
 *
 * @example
 * ```ts
 * import { http, ws } from "@sluice/net";
 *
 * await using server = await http.serve((request) => {
 *   if (!ws.isUpgrade(request)) return new Response("A WebSocket, please");
 *   return ws.upgrade(request, async (socket) => {
 *     for await (const message of socket) await socket.send(message);
 *   });
 * }, { hostname: "127.0.0.1", port: 0 });
 * ```
 *
 * @param request The request.
 * @returns Whether it is a GET with `Upgrade: websocket`.
 */
export function isUpgrade(request: Request): boolean {
  return asksUpgrade(request);
}
