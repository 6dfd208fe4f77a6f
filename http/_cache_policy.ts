import {
  MAX_SECONDS,
  parseCacheControl,
  parseSeconds,
} from "./_cache_control.ts";
import type { Directives } from "./_cache_control.ts";
import type { StoredResponse } from "./cache_store.ts";
import { isToken } from "./_field_syntax.ts";
import { parseHttpDate } from "./_http_date.ts";

/** Statuses that may be kept without being told so (RFC 9110, 15.1). */
const HEURISTIC = new Set([
  200,
  203,
  204,
  300,
  301,
  308,
  404,
  405,
  410,
  414,
  501,
]);
/** Statuses whose meaning for caches is honoured here. */
const UNDERSTOOD = new Set([...HEURISTIC, 302, 303, 307]);
/** Fields of one connection, or of one way of sending (RFC 9111, 3.1). */
const NOT_STORED = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer"],
  ...["transfer-encoding", "upgrade", "proxy-authenticate"],
  ...["proxy-authentication-info", "proxy-authorization"],
]);
/** What a 304 says nothing new about (RFC 9111, 3.2). */
const NOT_UPDATED = new Set([
  ...["content-length", "content-encoding", "content-range"],
]);

/** How long without being told: a part of the age, and a bound in seconds. */
export interface Heuristic {
  readonly fraction: number;
  readonly max: number;
}

/** What is kept is looked at as these. */
export interface Policy {
  readonly directives: Directives;
  /** Seconds that it is fresh for. */
  readonly lifetime: number;
}

/** A field of a stored response; several of them as one, with commas. */
export function storedField(
  { headers }: Pick<StoredResponse, "headers">,
  wanted: string,
): string | null {
  let found: string | null = null;
  for (const [name, value] of headers) {
    if (name !== wanted) continue;
    found = found === null ? value : `${found}, ${value}`;
  }
  return found;
}

/**
 * Whether a response to GET may be stored in a private cache (RFC 9111, 3).
 * What is unclear is not.
 */
export function isStorable(status: number, headers: Headers): boolean {
  if (status < 200 || status === 206 || status === 304) return false;
  const directives = parseCacheControl(headers.get("cache-control"));
  if (directives === undefined) return false;
  if (directives.has("must-understand")) {
    if (!UNDERSTOOD.has(status)) return false;
  } else if (directives.has("no-store")) return false;
  if (varyNames(headers.get("vary")) === undefined) return false;
  const timed = directives.has("max-age") || headers.has("expires");
  if (
    !timed && !HEURISTIC.has(status) && !directives.has("public") &&
    !directives.has("private")
  ) return false;
  // Else it is of no use: neither fresh for a time nor to be validated.
  return headers.has("etag") || headers.has("last-modified") ||
    (timed && !directives.has("no-cache"));
}

/** Names that `Vary` holds; `undefined` for `*` and what is malformed. */
export function varyNames(text: string | null): string[] | undefined {
  if (text === null) return [];
  const names = new Set<string>();
  for (const part of text.split(",")) {
    const name = part.trim().toLowerCase();
    if (name === "") continue;
    if (name === "*" || !isToken(name)) return undefined;
    names.add(name);
  }
  return [...names].sort();
}

/** The value of a field as `Vary` compares it: white space does not count. */
export function normalised(value: string | null): string | null {
  return value === null
    ? null
    : value.split(",").map((part) => part.trim()).join(",");
}

/** Reads what decides over the use of a stored response. */
export function policyOf(
  stored: StoredResponse,
  heuristic: Heuristic | undefined,
): Policy {
  // What could not be read was not stored: these were changed since.
  const directives = parseCacheControl(storedField(stored, "cache-control")) ??
    new Map([["no-cache", ""]]);
  return { directives, lifetime: lifetimeOf(stored, directives, heuristic) };
}

/** RFC 9111, 4.2.1 and 4.2.2, for a private cache. */
function lifetimeOf(
  stored: StoredResponse,
  directives: Directives,
  heuristic: Heuristic | undefined,
): number {
  if (directives.has("max-age")) {
    // What is no number is stale (RFC 9111, 4.2.1).
    return parseSeconds(directives.get("max-age")) ?? 0;
  }
  const date = dateOf(stored);
  const expires = storedField(stored, "expires");
  if (expires !== null) {
    const end = parseHttpDate(expires);
    return end === undefined ? 0 : seconds(end - date);
  }
  const modified = parseHttpDate(storedField(stored, "last-modified") ?? "");
  if (
    heuristic === undefined || modified === undefined ||
    !(HEURISTIC.has(stored.status) || directives.has("public"))
  ) return 0;
  return Math.min(
    heuristic.max,
    seconds((date - modified) * heuristic.fraction),
  );
}

/** When it was made; a clock that is missing is ours. */
function dateOf(stored: StoredResponse): number {
  return parseHttpDate(storedField(stored, "date") ?? "") ??
    stored.responseTime;
}

function seconds(ms: number): number {
  return Math.min(MAX_SECONDS, Math.max(0, Math.floor(ms / 1000)));
}

/** Seconds since it was made or validated (RFC 9111, 4.2.3). */
export function ageOf(stored: StoredResponse, now: number): number {
  const { requestTime, responseTime } = stored;
  const apparent = Math.max(0, responseTime - dateOf(stored));
  // Of several, the first one counts (RFC 9111, 5.1).
  const given = storedField(stored, "age")?.split(",", 1)[0].trim();
  const corrected = (parseSeconds(given) ?? 0) * 1000 +
    Math.max(0, responseTime - requestTime);
  const initial = Math.max(apparent, corrected);
  return seconds(initial + Math.max(0, now - responseTime));
}

/** What a request says about caches. */
export interface Wish {
  /** What is given has to be validated first. */
  readonly noCache: boolean;
  readonly noStore: boolean;
  readonly onlyIfCached: boolean;
  readonly maxAge: number | undefined;
  readonly minFresh: number;
  /** Seconds over its time that it may be. */
  readonly maxStale: number;
  readonly staleIfError: number | undefined;
}

/** Reads `Cache-Control` of a request; what is unclear asks the server. */
export function wishOf(headers: Headers): Wish {
  const field = headers.get("cache-control");
  const directives = parseCacheControl(field);
  const number = (name: string, unclear: number): number | undefined =>
    directives?.has(name)
      ? parseSeconds(directives.get(name)) ?? unclear
      : undefined;
  const stale = directives?.get("max-stale");
  return {
    noCache: directives === undefined || directives.has("no-cache") ||
      // RFC 9111, 5.4.
      (field === null && /\bno-cache\b/i.test(headers.get("pragma") ?? "")),
    noStore: directives === undefined || directives.has("no-store"),
    onlyIfCached: directives?.has("only-if-cached") ?? false,
    maxAge: number("max-age", 0),
    minFresh: number("min-fresh", MAX_SECONDS) ?? 0,
    maxStale: stale === "" ? Infinity : number("max-stale", 0) ?? 0,
    staleIfError: number("stale-if-error", 0),
  };
}

/** What may be done with a stored response. */
export interface Verdict {
  /** Given as it is. */
  readonly use: boolean;
  /** Given as it is, and validated behind it (RFC 5861, 3). */
  readonly behind: boolean;
  /** Given when the server fails (RFC 5861, 4). */
  readonly onError: boolean;
  /** Seconds that it has left; negative once it is stale. */
  readonly left: number;
}

/** Weighs a stored response against what a request wants (RFC 9111, 4.2). */
export function judge(
  policy: Policy,
  age: number,
  wish: Wish,
): Verdict {
  const { directives, lifetime } = policy;
  const left = lifetime - age;
  const noCache = directives.has("no-cache");
  const strict = noCache || directives.has("must-revalidate");
  // An age that is just the one allowed will do (RFC 9111, 5.2.1.1); but who
  // says 0 wants it validated, also what came within this second.
  const young = wish.maxAge === undefined ||
    (wish.maxAge > 0 && age <= wish.maxAge);
  const fresh = left > 0 && young && left >= wish.minFresh;
  const stale = young ? -left : Math.max(-left, age - wish.maxAge!);
  const lenient = !strict && wish.minFresh === 0;
  const asked = wish.noCache || noCache;
  const behind = parseSeconds(directives.get("stale-while-revalidate")) ?? -1;
  const onError = Math.max(
    parseSeconds(directives.get("stale-if-error")) ?? -1,
    wish.staleIfError ?? -1,
  );
  const use = !asked &&
    (fresh || (lenient && wish.maxStale > 0 && stale <= wish.maxStale));
  return {
    use,
    // Only what would be fresh but for its time: nobody wanted it newer.
    behind: !asked && !use && lenient && wish.maxAge === undefined &&
      stale <= behind,
    onError: !strict && !asked && onError >= 0 && -left <= onError,
    left,
  };
}

/** Fields of a response as they are stored. */
export function storedHeaders(headers: Headers): [string, string][] {
  const named = new Set(
    (headers.get("connection") ?? "").split(",")
      .map((name) => name.trim().toLowerCase()),
  );
  const fields: [string, string][] = [];
  headers.forEach((value, name) => {
    if (!NOT_STORED.has(name) && !named.has(name)) fields.push([name, value]);
  });
  return fields;
}

/** Fields of a stored response with those of a 304 (RFC 9111, 3.2). */
function freshened(
  stored: StoredResponse,
  headers: Headers,
): [string, string][] {
  const news = storedHeaders(headers)
    .filter(([name]) => !NOT_UPDATED.has(name));
  const names = new Set(news.map(([name]) => name));
  // The age was that of what is validated now; a date that is missing is the
  // one when it came (RFC 9110, 6.6.1).
  names.add("age").add("date");
  return [
    ...stored.headers.filter(([name]) => !names.has(name))
      .map(([name, value]): [string, string] => [name, value]),
    ...news,
  ];
}

/** What an exchange with the server was. */
export interface Exchange {
  readonly requestTime: number;
  readonly responseTime: number;
  /** When it began, in steps. */
  readonly step: number;
}

/** What was stored, as fresh as the fields of a 304 or HEAD make it. */
export function renewed(
  stored: StoredResponse,
  headers: Headers,
  value: (name: string) => string | null,
  { requestTime, responseTime }: Exchange,
): StoredResponse {
  const fields = freshened(stored, headers);
  // They may tell more of them apart than was known.
  const names = varyNames(storedField({ headers: fields }, "vary")) ?? [];
  return {
    ...stored,
    headers: fields,
    vary: names.map((name) => [name, value(name)]),
    requestTime,
    responseTime,
  };
}
