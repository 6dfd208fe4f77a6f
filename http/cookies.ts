import { isToken } from "./_field_syntax.ts";

/** A cookie for a client to keep (RFC 6265bis, 4.1). */
export interface Cookie {
  /** Its name, a token. */
  name: string;
  /**
   * Its value, as it is sent: printable ASCII without space, `"`, `,`, `;`
   * and `\`. For other text there is `encodeURIComponent`.
   */
  value: string;
  /** When it ends: a date, or milliseconds since 1970. */
  expires?: Date | number;
  /**
   * Seconds it lives; wins over `expires`. 0 or less deletes it. More than
   * 400 days are sent as 400 days: that is what browsers make of it.
   */
  maxAge?: number;
  /** Host that it is for, with all below it. @default the host alone */
  domain?: string;
  /** Path that it is for, with all below it. @default that of the request */
  path?: string;
  /** Over TLS only. @default {false} */
  secure?: boolean;
  /** Not for scripts of the page. @default {false} */
  httpOnly?: boolean;
  /** Whether requests from other sites carry it. `"None"` needs `secure`. */
  sameSite?: "Strict" | "Lax" | "None" | "strict" | "lax" | "none";
  /** One for each top-level site. Needs `secure`. @default {false} */
  partitioned?: boolean;
}

/** What browsers keep a cookie for at most (RFC 6265bis, 5.5). */
const LONGEST = 400 * 24 * 60 * 60;
/** Bytes of name and value, and of an attribute, that browsers take. */
const LARGEST = 4096;
const LARGEST_ATTRIBUTE = 1024;

const KNOWN: ReadonlySet<string> = new Set([
  "name",
  "value",
  "expires",
  "maxAge",
  "domain",
  "path",
  "secure",
  "httpOnly",
  "sameSite",
  "partitioned",
]);

/**
 * The cookies of a request, by name, as they were sent: nothing is decoded.
 * Of two with one name the first counts, the one with the longer path. What
 * has no name is left out. The record has no prototype.
 *
 * @example
 * ```ts
 * import { getCookies } from "@sluice/net/http";
 *
 * const request = new Request("http://localhost/", {
 *   headers: { cookie: "session=abc; theme=dark" },
 * });
 * console.log(getCookies(request).theme);
 * ```
 *
 * @param request The request, or anything with headers.
 */
export function getCookies(
  request: { readonly headers: Headers },
): Record<string, string> {
  const cookies: Record<string, string> = Object.create(null);
  const header = request.headers.get("cookie");
  if (header === null) return cookies;
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals === -1) continue;
    const name = trim(pair.slice(0, equals));
    // Not "in": there is one that asks for the prototype.
    if (name === "" || Object.hasOwn(cookies, name)) continue;
    cookies[name] = trim(pair.slice(equals + 1));
  }
  return cookies;
}

/** Without the spaces and tabs around it, and nothing else. */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/**
 * Adds a `Set-Cookie` line to the headers of a response. Everything in it is
 * checked: what a browser would refuse, or read differently, is a TypeError
 * (a RangeError for times). `__Secure-` and `__Host-` names must have the
 * attributes that they stand for: `secure`, and for `__Host-` also `path: "/"`
 * and no domain (RFC 6265bis, 4.1.3).
 *
 * @example
 * ```ts
 * import { setCookie } from "@sluice/net/http";
 *
 * const headers = new Headers();
 * setCookie(headers, {
 *   name: "__Host-session",
 *   value: crypto.randomUUID(),
 *   path: "/",
 *   secure: true,
 *   httpOnly: true,
 *   sameSite: "Lax",
 * });
 * const response = new Response("Welcome", { headers });
 * console.log(response.headers.getSetCookie());
 * ```
 *
 * @param headers The headers of the response.
 * @param cookie Name, value and attributes. `maxAge: 0` deletes one.
 */
export function setCookie(headers: Headers, cookie: Cookie): void {
  headers.append("set-cookie", cookieLine(cookie));
}

function refuse(cookie: Cookie, why: string): TypeError {
  return new TypeError(
    `Cannot set the cookie ${JSON.stringify(cookie.name)}: ${why}`,
  );
}

function cookieLine(cookie: Cookie): string {
  if (typeof cookie !== "object" || cookie === null) {
    throw new TypeError(`Cannot set a cookie: no object: ${cookie}`);
  }
  for (const key of Object.keys(cookie)) {
    if (!KNOWN.has(key)) throw refuse(cookie, `no such attribute: ${key}`);
  }
  const { name, value, domain, path, sameSite } = cookie;
  if (typeof name !== "string" || !isToken(name)) {
    throw refuse(cookie, "the name is no token");
  }
  if (typeof value !== "string" || !isValue(value)) {
    // Not the value itself: it may be a secret.
    throw refuse(
      cookie,
      "the value holds what a cookie cannot, encodeURIComponent helps",
    );
  }
  if (name.length + value.length > LARGEST) {
    throw refuse(cookie, `more than ${LARGEST} bytes`);
  }
  const secure = flag(cookie, "secure");
  const httpOnly = flag(cookie, "httpOnly");
  const partitioned = flag(cookie, "partitioned");
  let line = `${name}=${value}`;
  if (cookie.expires !== undefined) line += `; Expires=${expiresOf(cookie)}`;
  if (cookie.maxAge !== undefined) line += `; Max-Age=${maxAgeOf(cookie)}`;
  if (domain !== undefined) {
    if (!isHost(domain)) throw refuse(cookie, "the domain is no host name");
    line += `; Domain=${domain}`;
  }
  if (path !== undefined) {
    if (!isPath(path)) {
      throw refuse(cookie, "the path must begin with / and hold no ;");
    }
    line += `; Path=${path}`;
  }
  if (secure) line += "; Secure";
  if (httpOnly) line += "; HttpOnly";
  const site = siteOf(cookie);
  if (sameSite !== undefined) line += `; SameSite=${site}`;
  if (partitioned) line += "; Partitioned";
  if (!secure && site === "None") {
    throw refuse(cookie, 'sameSite "None" needs secure');
  }
  if (!secure && partitioned) throw refuse(cookie, "partitioned needs secure");
  checkPrefix(cookie, secure, httpOnly);
  return line;
}

function flag(
  cookie: Cookie,
  key: "secure" | "httpOnly" | "partitioned",
): boolean {
  const value = cookie[key];
  if (value !== undefined && typeof value !== "boolean") {
    throw refuse(cookie, `${key} must be a boolean: ${typeof value}`);
  }
  return value === true;
}

function siteOf(cookie: Cookie): "Strict" | "Lax" | "None" | undefined {
  switch (cookie.sameSite) {
    case undefined:
      return undefined;
    case "Strict":
    case "strict":
      return "Strict";
    case "Lax":
    case "lax":
      return "Lax";
    case "None":
    case "none":
      return "None";
  }
  throw refuse(cookie, "sameSite must be Strict, Lax or None");
}

/** Browsers look at prefixes without regard to case (RFC 6265bis, 5.4). */
function checkPrefix(
  cookie: Cookie,
  secure: boolean,
  httpOnly: boolean,
): void {
  const name = cookie.name.toLowerCase();
  const host = name.startsWith("__host-");
  const http = name.startsWith("__http-") || name.startsWith("__host-http-");
  if (!host && !http && !name.startsWith("__secure-")) return;
  if (!secure) throw refuse(cookie, "such a name needs secure");
  if (http && !httpOnly) throw refuse(cookie, "such a name needs httpOnly");
  if (!host) return;
  if (cookie.path !== "/") throw refuse(cookie, 'such a name needs path: "/"');
  if (cookie.domain !== undefined) {
    throw refuse(cookie, "such a name goes with no domain");
  }
}

function expiresOf(cookie: Cookie): string {
  const { expires } = cookie;
  const date = new Date(expires as Date | number);
  const year = date.getUTCFullYear();
  // Browsers read no year before 1601 (RFC 6265bis, 5.1.1).
  if (
    (typeof expires !== "number" && !(expires instanceof Date)) ||
    !(year >= 1601 && year <= 9999)
  ) {
    throw new RangeError(
      `Cannot set the cookie ${cookie.name}: expires is no usable date: ${expires}`,
    );
  }
  return date.toUTCString();
}

function maxAgeOf(cookie: Cookie): number {
  const { maxAge } = cookie;
  if (!Number.isInteger(maxAge)) {
    throw new RangeError(
      `Cannot set the cookie ${cookie.name}: maxAge must be whole seconds: ${maxAge}`,
    );
  }
  return Math.max(0, Math.min(maxAge!, LONGEST));
}

/** cookie-value: octets, perhaps in quotes (RFC 6265bis, 4.1.1). */
function isValue(value: string): boolean {
  let start = 0;
  let end = value.length;
  if (end >= 2 && value[0] === '"' && value[end - 1] === '"') {
    start++;
    end--;
  }
  for (let i = start; i < end; i++) {
    const c = value.charCodeAt(i);
    const good = c > 0x20 && c < 0x7f && c !== 0x22 && c !== 0x2c &&
      c !== 0x3b && c !== 0x5c;
    if (!good) return false;
  }
  return true;
}

/** av-octets: no control character, nothing past ASCII, no semicolon. */
function isPath(path: string): boolean {
  if (
    typeof path !== "string" || path[0] !== "/" ||
    path.length > LARGEST_ATTRIBUTE
  ) return false;
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    if (c < 0x20 || c > 0x7e || c === 0x3b) return false;
  }
  // What is trimmed would be another path than the one that was meant.
  return !isBlank(path.charCodeAt(path.length - 1));
}

function isHost(domain: string): boolean {
  return typeof domain === "string" && domain.length <= 253 &&
    domain.split(".").every(isLabel);
}

/** Letters, digits, hyphens inside; 63 at most (RFC 1123, 2.1). */
function isLabel(label: string): boolean {
  return label.length <= 63 &&
    /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/.test(label);
}
