import type { NetError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import type { MulticastOptions } from "./types.ts";

/** A place on the network: an IP address, never a name. */
export interface Endpoint {
  readonly hostname: string;
  readonly port: number;
}

/** What to open; everything is checked and looked up already. */
export interface OpenOptions {
  family: 4 | 6;
  hostname: string;
  port: number;
  /** Connects, where the runtime can. */
  remote: Endpoint | undefined;
  broadcast: boolean;
  reuseAddress: boolean;
  ttl: number | undefined;
  multicast: MulticastOptions | undefined;
}

export interface SocketEvents {
  /** A datagram. The bytes are the listener's from now on. */
  message(data: Uint8Array, hostname: string, port: number): void;
  /** The system told of trouble (ICMP, mostly); the socket goes on. */
  error(error: unknown): void;
  /** It is over without our doing. */
  close(error?: unknown): void;
}

export interface RuntimeSocket {
  readonly address: Endpoint;
  readonly raw: unknown;
  /** `send` answers at once, unless the kernel is full, and keeps no bytes. */
  readonly immediate: boolean;
  /**
   * Hands a datagram over, in order; gives what the system said against it.
   * Never throws or rejects. The answer may stay out once it is closed.
   */
  send(
    data: Uint8Array,
    hostname: string,
    port: number,
  ): MaybePromise<NetError | undefined>;
  join(group: string, through?: string): MaybePromise<void>;
  leave(group: string, through?: string): MaybePromise<void>;
  /** Ends it now; a second call does nothing. */
  close(): void;
}

/** What `_deno.ts`, `_bun.ts` and `_node.ts` each implement. */
export interface UdpRuntime {
  open(options: OpenOptions, events: SocketEvents): Promise<RuntimeSocket>;
  /** An address of that family; rejects with a `DnsError`. */
  lookup(name: string, family: 4 | 6): Promise<string>;
}
