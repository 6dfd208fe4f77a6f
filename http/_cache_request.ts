import { NetError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import { storedField } from "./_cache_policy.ts";
import type { Wish } from "./_cache_policy.ts";
import { notCached } from "./_cache_response.ts";
import type { StoredResponse } from "./cache_store.ts";
import type { ClientContext } from "./_client_context.ts";
import type { ClientResponse } from "./_client_response.ts";
import { FetchError } from "./errors.ts";

export function offline({ mode }: ClientContext, wish: Wish): boolean {
  return mode === "only-if-cached" || wish.onlyIfCached;
}

/** Nothing is stored that would do, and the server must not be asked. */
export function refuse(
  request: Request,
  { mode }: ClientContext,
): ClientResponse {
  if (mode !== "only-if-cached") {
    return notCached(request, 'sluice; detail="only-if-cached"');
  }
  // By the rules of fetch it is an error.
  const { method } = request;
  throw new FetchError(
    `Cannot fetch ${method} ${plain(request.url).split("?", 1)[0]}: ` +
      "it is not stored, and only-if-cached asks nobody else",
    new NetError("It is not stored", { code: "ERR_NOT_CACHED" }),
    "response",
  );
}

export function conditionsOf(stored: StoredResponse): [string, string][] {
  const fields: [string, string][] = [];
  const tag = storedField(stored, "etag");
  const modified = storedField(stored, "last-modified");
  if (tag !== null) fields.push(["if-none-match", tag]);
  if (modified !== null) fields.push(["if-modified-since", modified]);
  return fields;
}

/** What Fetch (4.6) has caches on the way know. */
export function modeFields(
  { headers }: Request,
  { mode }: ClientContext,
): [string, string][] {
  if (headers.has("cache-control")) return [];
  if (mode === "no-cache") return [["cache-control", "max-age=0"]];
  return mode === "reload"
    ? [["cache-control", "no-cache"], ["pragma", "no-cache"]]
    : [];
}

/** A tag for the weak comparison (RFC 9110, 8.8.3.2). */
export function opaque(tag: string | null): string | null {
  return tag === null ? null : tag.replace(/^W\//, "");
}

/**
 * Whether the fields of a HEAD are those of what is stored (RFC 9111, 4.3.5);
 * `undefined` when they say nothing of it.
 */
export function isSame(
  stored: StoredResponse,
  headers: Headers,
): boolean | undefined {
  if (stored.status !== 200) return false;
  const tag = headers.get("etag");
  const modified = headers.get("last-modified");
  const length = headers.get("content-length");
  if (tag !== null && opaque(tag) !== opaque(storedField(stored, "etag"))) {
    return false;
  }
  if (
    modified !== null && modified !== storedField(stored, "last-modified")
  ) return false;
  const known = tag !== null || modified !== null;
  if (length === null) return known || undefined;
  // Of what was decoded the size is not the one that was sent.
  const size = storedField(stored, "content-length") ??
    (storedField(stored, "content-encoding") === null
      ? String(stored.body?.byteLength ?? 0)
      : null);
  return size === null ? known || undefined : size === length;
}

export function plain(url: string): string {
  return url.split("#", 1)[0];
}

export function keyOf(
  { place }: ClientContext,
  url: string,
  raw: boolean,
): string {
  return `${place}${raw ? "raw " : ""}${plain(url)}`;
}

export function copied(stored: StoredResponse): [string, string][] {
  return stored.headers.map(([name, value]) => [name, value]);
}

/** Whether somebody else's store gave what it was given. */
export function isStored(value: unknown): value is StoredResponse {
  const stored = value as Partial<StoredResponse> | null;
  return typeof stored === "object" && stored !== null &&
    typeof stored.url === "string" && typeof stored.status === "number" &&
    Array.isArray(stored.headers) && Array.isArray(stored.vary) &&
    (stored.body === undefined || stored.body instanceof Uint8Array) &&
    typeof stored.requestTime === "number" &&
    typeof stored.responseTime === "number";
}

/**
 * What is trusted and shown over TLS, hashed: what one got that trusts anybody,
 * or shows a certificate, is not for others. `""` where nothing is said of it.
 */
export function trustOf(
  { tls }: ClientContext,
  url: string,
): MaybePromise<string> {
  if (tls === undefined || !url.startsWith("https:")) return "";
  const { ca, cert, serverName, insecure = false } = tls;
  const said = ca !== undefined || cert !== undefined ||
    serverName !== undefined || insecure;
  return said ? hashOf(JSON.stringify([ca, cert, serverName, insecure])) : "";
}

const MAX_HASHES = 64;
const hashes = new Map<string, Promise<string>>();

/** A hash of a secret; those in use are at hand. */
export function hashOf(text: string): Promise<string> {
  let hash = hashes.get(text);
  if (hash === undefined) {
    if (hashes.size === MAX_HASHES) hashes.clear();
    hash = makeHash(text);
    hashes.set(text, hash);
  }
  return hash;
}

async function makeHash(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return btoa(String.fromCharCode(...hash));
}
