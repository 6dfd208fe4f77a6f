/** Decimal without a leading zero, up to 255: nothing an old parser reads as octal. */
const OCTET = /^(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])$/;
const GROUP = /^[\da-f]{1,4}$/i;

function ipv4Bytes(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => OCTET.test(part))) {
    return undefined;
  }
  return parts.map(Number);
}

/** Groups of one side of `::`; the last may be an IPv4 address. */
function groupBytes(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [at, group] of groups.entries()) {
    if (GROUP.test(group)) {
      const value = parseInt(group, 16);
      bytes.push(value >> 8, value & 255);
    } else {
      const tail = last && at === groups.length - 1
        ? ipv4Bytes(group)
        : undefined;
      if (tail === undefined) return undefined;
      bytes.push(...tail);
    }
  }
  return bytes;
}

function ipv6Bytes(text: string): number[] | undefined {
  const at = text.indexOf("::");
  if (at === -1) {
    const bytes = groupBytes(text, true);
    return bytes?.length === 16 ? bytes : undefined;
  }
  const head = groupBytes(text.slice(0, at), false);
  const tail = groupBytes(text.slice(at + 2), true);
  if (head === undefined || tail === undefined) return undefined;
  // The gap stands for one group at least (RFC 4291, 2.2).
  const gap = 16 - head.length - tail.length;
  return gap < 2 ? undefined : [...head, ...new Array(gap).fill(0), ...tail];
}

/** Longest text of an IPv6 address. */
const MAX_TEXT = 45;

/** The 4 or 16 bytes of an IP address; `undefined` for any other text. */
export function ipBytes(text: string): Uint8Array | undefined {
  if (text.length > MAX_TEXT) return undefined;
  const bytes = text.includes(":") ? ipv6Bytes(text) : ipv4Bytes(text);
  return bytes && Uint8Array.from(bytes);
}

/** 4 or 6 for an IP address (a zone may follow `%`), 0 for any other text. */
export function familyOf(text: string): 0 | 4 | 6 {
  const zone = text.indexOf("%");
  const bytes = ipBytes(zone > 0 ? text.slice(0, zone) : text);
  if (bytes === undefined) return 0;
  if (bytes.length === 4) return zone === -1 ? 4 : 0;
  return zone === -1 || /^[\w.-]{1,32}$/.test(text.slice(zone + 1)) ? 6 : 0;
}

/** Addresses with the first bits in common. */
export interface Network {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

/** Reads `10.0.0.0/8` or a single address; `undefined` for any other text. */
export function networkOf(text: string): Network | undefined {
  const slash = text.indexOf("/");
  const bytes = ipBytes(slash === -1 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const most = bytes.length * 8;
  if (slash === -1) return { bytes, bits: most };
  const length = text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(length) || Number(length) > most) return undefined;
  return { bytes, bits: Number(length) };
}

/** An IPv4 address that is written as an IPv6 one, as it is (RFC 4291, 2.5.5). */
function unmapped(bytes: Uint8Array): Uint8Array {
  const mapped = bytes.length === 16 &&
    bytes.subarray(0, 10).every((byte) => byte === 0) &&
    bytes[10] === 255 && bytes[11] === 255;
  return mapped ? bytes.subarray(12) : bytes;
}

/** Whether an address, as bytes, is of a network. */
export function inNetwork(address: Uint8Array, network: Network): boolean {
  const { bits } = network;
  const own = network.bytes;
  const bytes = own.length === 4 ? unmapped(address) : address;
  if (bytes.length !== own.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== own[i]) return false;
  const rest = bits & 7;
  if (rest === 0) return true;
  return ((bytes[whole] ^ own[whole]) >> (8 - rest)) === 0;
}
