/**
 * UDP: sockets that are duplexes of datagrams.
 *
 * @example An echo
 * ```ts
 * import * as udp from "@sluice/net/udp";
 *
 * const socket = await udp.bind({ port: 8002 });
 * for await (const datagram of socket) await socket.send(datagram);
 * ```
 *
 * @module
 */

export { bind } from "./bind.ts";
export type {
  BindOptions,
  Datagram,
  JoinOptions,
  MulticastOptions,
  OutgoingDatagram,
  Socket,
} from "./types.ts";
export {
  ClosedError,
  DnsError,
  NetError,
  SizeLimitError,
  TimeoutError,
} from "../streams/errors.ts";
export type { NetErrorDetails, NetErrorOptions } from "../streams/errors.ts";
export type {
  Address,
  Bytes,
  CloseInfo,
  Duplex,
  MaybePromise,
  Overflow,
  Sink,
  Source,
  Wait,
} from "../streams/types.ts";
