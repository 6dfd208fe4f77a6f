/**
 * WebSocket (RFC 6455), server side and client: messages with honest
 * backpressure, on every runtime by the same codec.
 *
 * @example
 * ```ts
 * import { http, ws } from "@sluice/net";
 *
 * await using server = await http.serve((request) =>
 *   ws.upgrade(request, async (socket) => {
 *     for await (const message of socket) await socket.send(message);
 *   }), { hostname: "127.0.0.1", port: 0 });
 *
 * const socket = await ws.connect(server.url);
 * await socket.send("Hello");
 * console.log(await socket.receive());
 * await socket.close();
 * ```
 *
 * @module
 */
export { broadcast } from "./broadcast.ts";
export type { BroadcastOptions } from "./broadcast.ts";
export { connect } from "./connect.ts";
export { HandshakeError } from "./handshake_error.ts";
export { isUpgrade } from "./is_upgrade.ts";
export { reconnect } from "./reconnect.ts";
export type {
  Down,
  ReconnectingSocket,
  ReconnectOptions,
} from "./reconnect.ts";
export { upgrade } from "./upgrade.ts";
export type {
  CompressOptions,
  ConnectOptions,
  Listener,
  Message,
  Socket,
  SocketOptions,
  UpgradeOptions,
  WebSocketCloseInfo,
} from "./types.ts";
export * from "../streams/errors.ts";
export type {
  Address,
  CloseInfo,
  Duplex,
  MaybePromise,
  Sink,
  Source,
  Wait,
} from "../streams/types.ts";
export type { TlsClientOptions, Wiretap, WiretapEvent } from "../tcp/types.ts";
export type { Lookup, LookupAddress, LookupOptions } from "../tcp/_lookup.ts";
export type { ProxyOptions } from "../tcp/_proxy.ts";
