import type { NetError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import type { MulticastOptions } from "./types.ts";

/** A place on the network: an IP address, never a name. */
export type Endpoint = { hostname: string; port: number };

/** What to open; everything is checked and looked up already. */
export interface OpenOptions extends Endpoint {
  family: 4 | 6;
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

/** A datagram on its way out, to an IP address. */
export interface Outgoing {
  readonly data: Uint8Array;
  readonly address: string;
  readonly port: number;
  /** To be called once: what the system said against it. */
  settle(error?: NetError): void;
}

export interface RuntimeSocket {
  readonly address: Endpoint;
  readonly raw: unknown;
  /** `send` settles at once, unless the kernel is full. */
  readonly immediate: boolean;
  /**
   * Sends without telling what becomes of it, nor keeping the bytes: what
   * most datagrams need. `false`: not now, use `send`.
   */
  attempt(data: Uint8Array, address: string, port: number): boolean;
  /** Hands a datagram over. Never throws; what is out at `close` is dropped. */
  send(datagram: Outgoing): void;
  join(group: string, through?: string): MaybePromise<void>;
  leave(group: string, through?: string): MaybePromise<void>;
  /** Ends it now, once; resolves when the port is free. */
  close(): MaybePromise<void>;
}

/** What `_deno.ts`, `_bun.ts` and `_node.ts` each implement. */
export interface UdpRuntime {
  open(options: OpenOptions, events: SocketEvents): Promise<RuntimeSocket>;
  /** An address of that family; rejects with a `DnsError`. */
  lookup(name: string, family: 4 | 6): Promise<string>;
}
