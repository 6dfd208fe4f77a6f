import type { Address } from "../streams/types.ts";
import { inNetwork, ipBytes, networkOf } from "../tcp/_ip.ts";
import type { Network } from "../tcp/_ip.ts";

/** Names for the networks that proxies are usually in. */
const NETWORKS: Record<string, readonly string[]> = {
  loopback: ["127.0.0.0/8", "::1"],
  linklocal: ["169.254.0.0/16", "fe80::/10"],
  uniquelocal: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
};

/**
 * Whether what a hop says of the one before it is believed. Hop 0 is the peer
 * itself; without bytes it came over a Unix socket.
 */
export type Trust = (bytes: Uint8Array | undefined, hop: number) => boolean;

/** Reads the `trustProxy` option. `undefined`: nobody is trusted. */
export function trustOf(option: unknown): Trust | undefined {
  if (option === undefined || option === false) return undefined;
  if (option === true) return () => true;
  if (typeof option === "number") {
    if (!Number.isInteger(option) || option < 0) {
      throw new RangeError(
        `Cannot serve: trustProxy must be a number of hops: ${option}`,
      );
    }
    return option === 0 ? undefined : (_, hop) => hop < option;
  }
  if (!Array.isArray(option)) {
    throw new TypeError(
      "Cannot serve: trustProxy must be a boolean, a number of hops or a list of networks",
    );
  }
  let unix = false;
  const networks: Network[] = [];
  for (const entry of option as unknown[]) {
    if (entry === "unix") {
      unix = true;
      continue;
    }
    const own = typeof entry === "string" ? networkOf(entry) : undefined;
    if (own !== undefined) networks.push(own);
    else if (typeof entry === "string" && Object.hasOwn(NETWORKS, entry)) {
      for (const name of NETWORKS[entry]) networks.push(networkOf(name)!);
    } else {
      throw new TypeError(
        `Cannot serve: trustProxy takes addresses, networks, "loopback", "linklocal", "uniquelocal" and "unix": ${
          JSON.stringify(entry)
        }`,
      );
    }
  }
  return (bytes) =>
    bytes === undefined
      ? unix
      : networks.some((network) => inNetwork(bytes, network));
}

/** The host of an address; the path of a Unix socket. */
export function peerOf(address: Address): string {
  return address.transport === "unix" ? address.path : address.hostname;
}

/**
 * Who sent the request: the first one, from the peer on, that is not trusted
 * to tell who was before it. `field` gives a header's values, joined.
 */
export function clientOf(
  peer: Address,
  trust: Trust | undefined,
  field: (name: string) => string | undefined,
): string {
  let client = peerOf(peer);
  if (trust === undefined) return client;
  let bytes = peer.transport === "unix" ? undefined : ipBytes(bare(client));
  if (bytes === undefined && peer.transport !== "unix") return client;
  if (!trust(bytes, 0)) return client;
  const hops = hopsOf(field("forwarded"), field("x-forwarded-for"));
  for (let hop = 1; hop <= hops.length; hop++) {
    const said = hops[hops.length - hop];
    bytes = said === undefined ? undefined : ipBytes(said);
    // Hidden, or no address: nobody knows who was before it.
    if (bytes === undefined) return client;
    client = said!;
    if (!trust(bytes, hop)) return client;
  }
  return client;
}

/** What the proxies say, the nearest last; `undefined` for no address. */
function hopsOf(
  forwarded: string | undefined,
  list: string | undefined,
): readonly (string | undefined)[] {
  const standard = forwarded === undefined
    ? undefined
    : forwardedFor(forwarded) ?? [];
  // Empty elements of a list say nothing (RFC 9110, 5.6.1.2).
  const common = list?.split(",").map((entry) => entry.trim())
    .filter((entry) => entry !== "").map(addressIn);
  if (standard === undefined || common === undefined) {
    return standard ?? common ?? [];
  }
  // A proxy writes one of them and lets the client's own other one through:
  // where they differ neither can be believed.
  const same = standard.length === common.length &&
    standard.every((entry, at) => entry === common[at]);
  return same ? standard : [];
}

function bare(hostname: string): string {
  const zone = hostname.indexOf("%");
  return zone === -1 ? hostname : hostname.slice(0, zone);
}

/** `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`. */
function addressIn(text: string): string | undefined {
  let host = text;
  if (text.startsWith("[")) {
    const end = text.indexOf("]");
    if (end === -1 || !isPort(text.slice(end + 1))) return undefined;
    host = text.slice(1, end);
    if (!host.includes(":")) return undefined;
  } else {
    const colon = text.indexOf(":");
    if (colon !== -1 && colon === text.lastIndexOf(":")) {
      if (!isPort(text.slice(colon))) return undefined;
      host = text.slice(0, colon);
    }
  }
  return ipBytes(host) === undefined ? undefined : host;
}

/** Nothing, or `:` and a port; RFC 7239, 6 also has names that hide it. */
function isPort(text: string): boolean {
  return text === "" || /^:(?:\d{1,5}|_[\w.-]+)$/.test(text);
}

/**
 * The `for` of each element of a Forwarded field (RFC 7239, 4); an element
 * without one says `undefined`, a field that breaks the rules nothing at all.
 */
function forwardedFor(text: string): (string | undefined)[] | undefined {
  const hops: (string | undefined)[] = [];
  let at = 0;
  let element: string | undefined;
  let named = new Set<string>();
  const space = () => {
    while (text[at] === " " || text[at] === "\t") at++;
  };
  for (;;) {
    space();
    const pair = /[!#$%&'*+.^_`|~\w-]+=/y;
    pair.lastIndex = at;
    const match = pair.exec(text);
    if (match === null) {
      // Empty elements of a list are allowed (RFC 9110, 5.6.1.2).
      const end = at === text.length || text[at] === ",";
      if (!end || named.size > 0) return undefined;
    } else {
      at = pair.lastIndex;
      const value = valueAt(text, at);
      if (value === undefined) return undefined;
      at = value.end;
      const name = match[0].slice(0, -1).toLowerCase();
      if (named.has(name)) return undefined;
      named.add(name);
      if (name === "for") element = addressIn(value.text);
      space();
      if (text[at] === ";") {
        at++;
        continue;
      }
    }
    if (at < text.length && text[at] !== ",") return undefined;
    if (named.size > 0) hops.push(element);
    if (at === text.length) return hops;
    at++;
    element = undefined;
    named = new Set();
  }
}

/** A token or a quoted string (RFC 9110, 5.6.4). */
function valueAt(
  text: string,
  start: number,
): { text: string; end: number } | undefined {
  if (text[start] !== '"') {
    const token = /[!#$%&'*+.^_`|~\w-]+/y;
    token.lastIndex = start;
    const match = token.exec(text);
    return match === null
      ? undefined
      : { text: match[0], end: token.lastIndex };
  }
  let value = "";
  for (let at = start + 1; at < text.length; at++) {
    const c = text[at];
    if (c === '"') return { text: value, end: at + 1 };
    if (c === "\\" && ++at === text.length) return undefined;
    value += text[at];
  }
  return undefined;
}
