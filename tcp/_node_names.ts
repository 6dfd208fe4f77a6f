import type { Address } from "../streams/types.ts";

/** What libuv says of one end of a socket. */
export interface Name {
  address?: string;
  port?: number;
}

/** Whoever can be asked for its ends: a handle of libuv. */
export interface Named {
  getpeername?(into: Name): number;
  getsockname?(into: Name): number;
}

/** Asked of each socket anew: Node itself would keep an object for each. */
const name: Name = {};
/** Many sockets have the same peer: they share the text of its address. */
let lastPeer = "";
/** Mostly the next socket has the same. */
let lastLocal: Address & { transport: "tcp" } = tcpAddress();

/** The address of a TCP socket. */
export function tcpAddress(
  hostname = "",
  port = 0,
): Address & { transport: "tcp" } {
  return { transport: "tcp", hostname, port };
}

/**
 * Who the peer is, in the same object each time; `undefined` when whoever is
 * asked cannot say.
 */
export function peerOf(named: Named | null | undefined): Name | undefined {
  if (typeof named?.getpeername !== "function") return undefined;
  name.address = name.port = undefined;
  named.getpeername(name);
  return name;
}

/** The text of an address, the same string for the same one in a row. */
export function shareText(address = ""): string {
  if (address !== lastPeer) lastPeer = address;
  return lastPeer;
}

/** An address of our own end, the same object for the same one in a row. */
export function shareLocal({ address = "", port = 0 }: Name): Address {
  if (address !== lastLocal.hostname || port !== lastLocal.port) {
    lastLocal = tcpAddress(address, port);
  }
  return lastLocal;
}

/** Our own end; `undefined` when whoever is asked cannot say. */
export function localOf(named: Named | null | undefined): Address | undefined {
  if (typeof named?.getsockname !== "function") return undefined;
  return named.getsockname(name) === 0 ? shareLocal(name) : tcpAddress();
}
