/** Lower case of a token character (RFC 9110, 5.6.2); 0 for any other byte. */
export const TOKEN: Uint8Array = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
  TOKEN[char.charCodeAt(0)] = char.charCodeAt(0);
}
for (let c = 0x41; c <= 0x5a; c++) TOKEN[c] = c + 0x20;

/** 1 for a byte that may be in a field value (RFC 9110, 5.5), 0 for others. */
export const VALUE: Uint8Array = new Uint8Array(256).fill(1);
VALUE.fill(0, 0, 0x20);
VALUE[0x09] = 1;
VALUE[0x7f] = 0;

/**
 * 1 for a byte that may be in a request target, 2 for a backslash, 0 for
 * others. Clients do send `|`, `{` and the like unescaped; a fragment, white
 * space and what is not ASCII they must not (RFC 9112, 3.2).
 */
export const TARGET: Uint8Array = new Uint8Array(256);
TARGET.fill(1, 0x21, 0x7f);
TARGET[0x23] = 0;
TARGET[0x5c] = 2;

/** 1 for a byte of a registered name without `%` (RFC 3986, 3.2.2). */
const HOST: Uint8Array = new Uint8Array(128);
for (
  const char
    of "!$&'()*+,;=-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
) {
  HOST[char.charCodeAt(0)] = 1;
}

/** Value of a hexadecimal digit, 255 for any other byte. */
export const HEX: Uint8Array = new Uint8Array(256).fill(255);
for (let n = 0; n < 16; n++) {
  HEX[n.toString(16).charCodeAt(0)] = n;
  HEX[n.toString(16).toUpperCase().charCodeAt(0)] = n;
}

/** Names that are met often: found by their hash, never built from bytes. */
const NAMES: readonly string[] = [
  "host connection content-length transfer-encoding upgrade expect",
  "accept accept-charset accept-encoding accept-language accept-ranges",
  "access-control-allow-credentials access-control-allow-headers",
  "access-control-allow-methods access-control-allow-origin",
  "access-control-expose-headers access-control-max-age",
  "access-control-request-headers access-control-request-method age allow",
  "alt-svc authorization cache-control cf-ray cookie content-disposition",
  "content-encoding content-language content-location content-range",
  "content-security-policy content-type cross-origin-opener-policy",
  "cross-origin-resource-policy date dnt etag expires forwarded from",
  "idempotency-key if-match if-modified-since if-none-match if-range",
  "if-unmodified-since keep-alive last-event-id last-modified link location",
  "max-forwards origin permissions-policy pragma priority",
  "proxy-authenticate proxy-authorization proxy-connection range referer",
  "referrer-policy retry-after sec-ch-ua sec-ch-ua-mobile",
  "sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site",
  "sec-fetch-user sec-websocket-accept sec-websocket-extensions",
  "sec-websocket-key sec-websocket-protocol sec-websocket-version server",
  "server-timing set-cookie strict-transport-security te trailer traceparent",
  "tracestate upgrade-insecure-requests user-agent vary via www-authenticate",
  "x-content-type-options x-forwarded-for x-forwarded-host",
  "x-forwarded-proto x-frame-options x-powered-by x-real-ip x-request-id",
  "x-requested-with x-xss-protection",
].join(" ").split(" ");

const SLOTS = 1024;
const slots: (string | undefined)[] = new Array(SLOTS).fill(undefined);

/** One step of the hash that the reader computes while it reads a name. */
function hashOf(name: string): number {
  let hash = 0;
  for (let i = 0; i < name.length; i++) {
    hash = (Math.imul(hash, 31) + name.charCodeAt(i)) | 0;
  }
  return hash;
}

for (const name of NAMES) {
  let slot = hashOf(name) & (SLOTS - 1);
  while (slots[slot] !== undefined) slot = (slot + 1) & (SLOTS - 1);
  slots[slot] = name;
}

/** The well-known name that these bytes spell in whatever case, if any. */
export function knownName(
  buffer: Uint8Array,
  start: number,
  end: number,
  hash: number,
): string | undefined {
  const length = end - start;
  search: for (let slot = hash & (SLOTS - 1);; slot = (slot + 1) & 1023) {
    const name = slots[slot];
    if (name === undefined) return undefined;
    if (name.length !== length) continue;
    for (let i = 0; i < length; i++) {
      if (name.charCodeAt(i) !== TOKEN[buffer[start + i]]) continue search;
    }
    return name;
  }
}

/** Fields that make no sense or do harm behind a body (RFC 9110, 6.5.1). */
export const NOT_IN_TRAILERS: ReadonlySet<string> = new Set(
  ("content-length transfer-encoding host connection keep-alive te trailer " +
    "upgrade expect proxy-connection content-encoding content-type " +
    "content-range content-location authorization proxy-authorization " +
    "proxy-authenticate www-authenticate cookie set-cookie cache-control " +
    "max-forwards pragma range if-match if-none-match if-modified-since " +
    "if-unmodified-since if-range age expires date location retry-after " +
    "vary warning forwarded x-forwarded-for x-forwarded-host " +
    "x-forwarded-proto").split(" "),
);

type Slice = (this: Uint8Array, start: number, end: number) => string;

// `Buffer` is a global on all three runtimes; its native Latin-1 decoder is
// twice as fast as TextDecoder, which moreover knows no true Latin-1.
const latin1Slice = (globalThis as {
  Buffer?: { prototype: { latin1Slice?: Slice } };
}).Buffer?.prototype.latin1Slice;

/** Decodes Latin-1. */
export const decodeLatin1: (
  bytes: Uint8Array,
  start: number,
  end: number,
) => string = latin1Slice === undefined
  ? (bytes, start, end) => {
    let text = "";
    for (let i = start; i < end; i += 4096) {
      const piece = bytes.subarray(i, Math.min(end, i + 4096));
      text += String.fromCharCode(...piece);
    }
    return text;
  }
  : (bytes, start, end) => latin1Slice.call(bytes, start, end);

/** Authorities that were found valid; bounded. */
const goodHosts = new Set<string>();
/** The last of them: most often it comes again. */
let lastHost = "";

/**
 * Whether this is a host with an optional port (RFC 9110, 4.2 and 7.2) that
 * a URL can be made of. Not empty, no user information, no `%`.
 */
export function isAuthority(text: string): boolean {
  if (text === lastHost && text !== "") return true;
  if (!goodHosts.has(text)) {
    if (!checkAuthority(text)) return false;
    if (goodHosts.size >= 256) goodHosts.clear();
    goodHosts.add(text);
  }
  lastHost = text;
  return true;
}

/** Whether a CONNECT may ask for it: a host and its port (RFC 9112, 3.2.3). */
export function isTunnelTarget(text: string): boolean {
  const colon = text.lastIndexOf(":");
  if (colon < 1 || colon === text.length - 1) return false;
  // The colon of an IPv6 address without a port is not the one.
  if (text.charCodeAt(0) === 0x5b && text[colon - 1] !== "]") return false;
  return isAuthority(text);
}

function checkAuthority(text: string): boolean {
  if (text.length === 0 || text.length > 512) return false;
  let end = text.length;
  if (text[0] === "[") {
    end = text.indexOf("]") + 1;
    if (end === 0) return false;
    for (let i = 1; i < end - 1; i++) {
      const c = text[i];
      if (c !== ":" && c !== "." && HEX[text.charCodeAt(i) & 0xff] === 255) {
        return false;
      }
    }
  } else {
    const colon = text.indexOf(":");
    if (colon !== -1) end = colon;
    if (end === 0) return false;
    for (let i = 0; i < end; i++) {
      const c = text.charCodeAt(i);
      if (c > 0x7f || HOST[c] === 0) return false;
    }
  }
  if (end < text.length && !isPort(text, end)) return false;
  // What is left to find out, e.g. 1.2.3.256, the URL parser knows.
  try {
    return new URL(`http://${text}/`).pathname === "/";
  } catch {
    return false;
  }
}

/** `:` and digits of a port, perhaps none, from `start` to the end. */
function isPort(text: string, start: number): boolean {
  if (text[start] !== ":" || text.length - start > 6) return false;
  let port = 0;
  for (let i = start + 1; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return false;
    port = port * 10 + digit;
  }
  return port <= 65535;
}

/** Whether the text is a token (RFC 9110, 5.6.2). */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 0x7f || TOKEN[c] === 0) return false;
  }
  return text.length > 0;
}

/**
 * Members of a comma-separated list of tokens, in lower case; empty members
 * are skipped (RFC 9110, 5.6.1.2).
 */
export function listOf(value: string): string[] {
  const list: string[] = [];
  for (const member of value.split(",")) {
    const trimmed = trim(member);
    if (trimmed !== "") list.push(trimmed.toLowerCase());
  }
  return list;
}

/** Without the white space of HTTP (space and tab) around it. */
export function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
