const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);
const IPV6 = /^[\da-f:.]*:[\da-f:.]*$/i;
const ZONE = /^%[^\s%]+$/;

/** How IPv4 looks on an IPv6 socket (RFC 4291 §2.5.5.2). */
const MAPPED = "::ffff:";

/** An IP address, taken apart from names. */
export interface IP {
  readonly family: 4 | 6;
  /** IPv4 in four parts, IPv6 as RFC 5952 spells it. */
  readonly address: string;
}

/** Whether it is an IPv4 address in its four-part form. */
export function isIPv4(text: string): boolean {
  return IPV4.test(text);
}

/** The one spelling (RFC 5952) of an IPv6 address; `undefined` for others. */
export function canonicalIPv6(text: string): string | undefined {
  const percent = text.indexOf("%");
  const address = percent < 0 ? text : text.slice(0, percent);
  const zone = percent < 0 ? "" : text.slice(percent);
  if (!IPV6.test(address) || (zone !== "" && !ZONE.test(zone))) return;
  try {
    return new URL(`http://[${address}]`).hostname.slice(1, -1) + zone;
  } catch {
    return undefined;
  }
}

/** An IP address in the spelling used here; `undefined` for a name. */
export function parseIP(text: string): IP | undefined {
  if (isIPv4(text)) return { family: 4, address: text };
  const address = canonicalIPv6(text);
  if (address === undefined) return undefined;
  const hex = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(address);
  if (hex === null) return { family: 6, address };
  const [high, low] = [parseInt(hex[1], 16), parseInt(hex[2], 16)];
  const octets = [high >> 8, high & 255, low >> 8, low & 255];
  return { family: 4, address: octets.join(".") };
}

/** What a system calls a peer, in the spelling used here. */
export function unmapped(hostname: string): string {
  return hostname.startsWith(MAPPED) && hostname.includes(".", MAPPED.length)
    ? hostname.slice(MAPPED.length)
    : hostname;
}

/** An address as a socket of the family wants it: IPv4 inside of IPv6. */
export function toSystem(address: string, family: 4 | 6): string {
  return family === 6 && isIPv4(address) ? MAPPED + address : address;
}

/** Whether two spellings mean one address; zones are not compared. */
export function sameAddress(a: string, b: string): boolean {
  if (a === b) return true;
  const [left, right] = [parseIP(a), parseIP(b)];
  return left !== undefined && right !== undefined &&
    withoutZone(left.address) === withoutZone(right.address);
}

/** Whether it is a multicast address (RFC 5771, RFC 4291 §2.7). */
export function isMulticast(address: string): boolean {
  return isIPv4(address)
    ? (Number.parseInt(address) & 0xf0) === 0xe0
    : address.startsWith("ff");
}

/** Whether it is this very machine. */
export function isLoopback(address: string): boolean {
  return address === "::1" || (isIPv4(address) && address.startsWith("127."));
}

/** Host and port for a message. */
export function show(hostname: string, port: number): string {
  return hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
}

function withoutZone(address: string): string {
  const percent = address.indexOf("%");
  return percent < 0 ? address : address.slice(0, percent);
}
