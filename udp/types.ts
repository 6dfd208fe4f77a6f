import type { NetError } from "../streams/errors.ts";
import type { Address, Bytes, Duplex, Overflow } from "../streams/types.ts";

/** A datagram that came, and who sent it. */
export interface Datagram {
  /** The payload, possibly empty. The bytes are the receiver's own. */
  data: Uint8Array;
  /** IP address of the sender; plain IPv4 also on a dual-stack socket. */
  hostname: string;
  /** Port of the sender. */
  port: number;
}

/** A datagram to send. A received one is one too: sending it is the echo. */
export interface OutgoingDatagram {
  /**
   * The payload: at most 65,507 bytes over IPv4, 65,527 over IPv6. Strings
   * are encoded as UTF-8. Bytes may be used again once `send` has settled.
   */
  data: Bytes;
  /** IP address or name of the receiver. @default the socket's `remote` */
  hostname?: string;
  /** Port of the receiver, 1 to 65535. @default the socket's `remote` */
  port?: number;
}

/** How multicast goes in and out of a socket. */
export interface MulticastOptions {
  /**
   * The interface to send through and to join on. For IPv4 the address of
   * the interface (`"192.168.1.5"`), for IPv6 its name (`"eth0"`).
   * @default the system's choice
   */
  interface?: string;
  /** Hops a multicast datagram may make, 1 to 255. @default {1} */
  ttl?: number;
  /** Whether what is sent also comes to this machine. @default {true} */
  loopback?: boolean;
}

/** Options of `bind`. */
export interface BindOptions {
  /** Port to bind; 0 takes any that is free. @default {0} */
  port?: number;
  /**
   * Address to bind. `"::"` takes IPv6 and IPv4. A name is looked up, IPv4
   * first.
   * @default {"0.0.0.0"} or, with a `remote`, what reaches it
   */
  hostname?: string;
  /**
   * The only peer: datagrams go there when they name no address, and those of
   * anybody else are not received.
   */
  remote?: Address;
  /** Whether datagrams may go to broadcast addresses. @default {false} */
  broadcast?: boolean;
  /** How multicast is sent. Groups are joined with `Socket.join`. */
  multicast?: MulticastOptions;
  /** Whether other sockets may bind the same port. @default {false} */
  reuseAddress?: boolean;
  /** Hops a datagram may make, 1 to 255. @default the system's, often 64 */
  ttl?: number;
  /**
   * Received datagrams that may wait for the reader. They may also not come
   * to more than 16 MiB together.
   * @default {1024}
   */
  capacity?: number;
  /**
   * What one datagram more does. No peer can be made to wait over UDP, so
   * `"wait"` is the same as `"drop-newest"`. `"close"` destroys the socket
   * with a `SizeLimitError`.
   * @default {"drop-oldest"}
   */
  overflow?: Overflow;
  /** Gives the binding up, or destroys the socket, when it aborts. */
  signal?: AbortSignal;
  /**
   * Told of datagrams that were accepted and then lost on the way as far as
   * the system says so, e.g. `ECONNREFUSED` because nobody listens at the
   * `remote`, or `ENETUNREACH`. The socket lives on. Deno is not told who
   * refuses: there `ECONNREFUSED` never comes.
   */
  onError?: (error: NetError) => void;
}

/** Where a group is joined or left. */
export interface JoinOptions {
  /** As in `MulticastOptions`. @default the socket's own, see there */
  interface?: string;
}

/**
 * A UDP socket: a duplex of datagrams.
 *
 * `send` resolves to `true` when the system has taken the datagram, which says
 * nothing about its arrival. It rejects for a datagram that can never be sent:
 * a wrong address (`TypeError`, `RangeError`, `DnsError`), one too large
 * (`EMSGSIZE`), a broadcast that was not allowed (`EACCES`). Whatever the
 * network does is no error: see `BindOptions.onError`.
 */
export interface Socket extends Duplex<Datagram, OutgoingDatagram> {
  /** Where it is bound, with the real port. */
  readonly address: Address;
  /** Received datagrams that were shed because the reader was slow. */
  readonly dropped: number;
  /** The runtime's own socket. */
  readonly raw: unknown;
  /** Joins a multicast group; to be in it already is fine. */
  join(group: string, options?: JoinOptions): Promise<void>;
  /** Leaves a multicast group. */
  leave(group: string, options?: JoinOptions): Promise<void>;
  /**
   * Takes no more datagrams, waits (ms; 15 s unless told) for what is to be
   * sent, then frees the port. What came before stays receivable.
   */
  close(options?: { timeout?: number }): Promise<void>;
}
