import { checkFunction } from "../tcp/_options.ts";
import { checkClientTls } from "../tcp/_tls_options.ts";
import { checkLookup } from "../tcp/_lookup.ts";
import type { Lookup } from "../tcp/_lookup.ts";
import type { TlsClientOptions } from "../tcp/types.ts";
import { CookieJar } from "./cookie_jar.ts";
import { proxiesOf } from "./_client_proxy.ts";
import type { Proxies } from "./_client_proxy.ts";
import { showText } from "./_h1_error.ts";
import type { Fields } from "./_h1_types.ts";
import { checkName, checkValue } from "./_h1_writer.ts";
import { checkWindows } from "./_h2_types.ts";
import { noProxyOf } from "./_no_proxy.ts";
import type { NoProxy } from "./_no_proxy.ts";
import type {
  ClientAuth,
  ClientInit,
  ClientOptions,
  ClientSettings,
  ClientTimeouts,
} from "./_client_types.ts";

const SETTINGS = [
  ...["headers", "query", "queryStyle", "auth", "base", "timeout"],
  ...["redirect", "maxRedirects", "maxResponseSize", "decompress"],
  ...["throwOnStatus", "unix", "tls", "lookup", "proxy", "noProxy"],
  ...["cookies", "retry", "expectContinue", "protocols", "onInform"],
  ...["onUploadProgress", "onDownloadProgress"],
];
const INIT = new Set([
  ...SETTINGS,
  ...["method", "body", "signal", "form", "json", "state", "duplex", "cache"],
  "multipart",
  ...["credentials", "integrity", "keepalive", "mode", "priority"],
  ...["referrer", "referrerPolicy", "window"],
]);
const OPTIONS = new Set([
  ...SETTINGS,
  "pool",
  "localAddress",
  "use",
  "wiretap",
  "transport",
  "http2",
]);
const HTTP2 = new Set(["initialWindow", "maxWindow"]);
const POOL = new Set([
  ...["perHost", "total", "queue", "idleTimeout", "maxLifetime"],
]);
/** Smallest window of a stream that we give (RFC 9113, 6.9.2). */
const MIN_WINDOW = 65_535;
const TIMEOUTS = new Set([
  ...["pool", "lookup", "connect", "tls", "response", "idle", "total"],
]);
const STYLES = new Set(["repeat", "brackets", "indices", "comma"]);
const REDIRECTS = new Set(["follow", "error", "manual"]);
const CACHES = new Set([
  ...["default", "no-store", "reload", "no-cache", "force-cache"],
  "only-if-cached",
]);

/** Refuses what nothing here honours, rather than ignore it. */
export function checkKnown(
  options: object,
  known: ReadonlySet<string>,
  what: string,
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.has(name)) {
      throw new TypeError(`Cannot ${what}: no such option: ${name}`);
    }
  }
}

function checkAmount(value: unknown, name: string, least = 0): void {
  if (value === undefined) return;
  if (typeof value !== "number" || !(value >= least)) {
    throw new RangeError(
      `Cannot fetch: ${name} must be a number of ${least} or more: ${value}`,
    );
  }
}

/** Settings that a request goes by, all there. */
export interface Settled {
  readonly timeouts: ClientTimeouts;
  readonly redirect: RequestRedirect;
  readonly maxRedirects: number;
  readonly maxResponseSize: number;
  readonly decompress: boolean;
  readonly throwOnStatus: boolean;
  readonly unix: string | undefined;
  readonly tls: TlsClientOptions | undefined;
  readonly lookup: Lookup | undefined;
  readonly proxies: Proxies | undefined;
  readonly noProxy: NoProxy | undefined;
  readonly cookies: CookieJar | undefined;
  /** As they were given; `undefined`: both with TLS, else HTTP/1.1. */
  readonly protocols: ("http/1.1" | "h2")[] | undefined;
  /** Milliseconds to wait for a 100; `undefined`: it is not asked for. */
  readonly expect: number | undefined;
  readonly onInform: ClientSettings["onInform"];
  readonly onUploadProgress: ClientSettings["onUploadProgress"];
  readonly onDownloadProgress: ClientSettings["onDownloadProgress"];
}

const BASICS: Settled = {
  timeouts: {},
  redirect: "follow",
  maxRedirects: 20,
  maxResponseSize: Infinity,
  decompress: true,
  throwOnStatus: false,
  unix: undefined,
  tls: undefined,
  lookup: undefined,
  proxies: undefined,
  noProxy: undefined,
  cookies: undefined,
  protocols: undefined,
  expect: undefined,
  onInform: undefined,
  onUploadProgress: undefined,
  onDownloadProgress: undefined,
};

/** The settings with others laid over them. */
export function settle(given: ClientSettings, under = BASICS): Settled {
  const { timeout, redirect, queryStyle } = given;
  let { timeouts } = under;
  if (typeof timeout === "object" && timeout !== null) {
    checkKnown(timeout, TIMEOUTS, "fetch with a timeout");
    for (const [phase, value] of Object.entries(timeout)) {
      checkAmount(value, `timeout.${phase}`);
    }
    timeouts = { ...timeouts, ...timeout };
  } else if (timeout !== undefined) {
    checkAmount(timeout, "timeout");
    timeouts = { ...timeouts, total: timeout };
  }
  if (redirect !== undefined && !REDIRECTS.has(redirect)) {
    throw new TypeError(`Cannot fetch: no such redirect mode: ${redirect}`);
  }
  if (queryStyle !== undefined && !STYLES.has(queryStyle)) {
    throw new TypeError(`Cannot fetch: no such queryStyle: ${queryStyle}`);
  }
  const { lookup, proxy, noProxy, cookies, expectContinue } = given;
  if (
    cookies !== undefined && cookies !== false &&
    !(cookies instanceof CookieJar)
  ) {
    throw new TypeError("Cannot fetch: cookies is no CookieJar");
  }
  checkLookup(lookup, "fetch");
  checkFunction(given.onInform, "onInform", "fetch");
  checkFunction(given.onUploadProgress, "onUploadProgress", "fetch");
  checkFunction(given.onDownloadProgress, "onDownloadProgress", "fetch");
  checkAmount(given.maxRedirects, "maxRedirects");
  checkAmount(given.maxResponseSize, "maxResponseSize");
  return {
    timeouts,
    redirect: redirect ?? under.redirect,
    maxRedirects: given.maxRedirects ?? under.maxRedirects,
    maxResponseSize: given.maxResponseSize ?? under.maxResponseSize,
    decompress: given.decompress ?? under.decompress,
    throwOnStatus: given.throwOnStatus ?? under.throwOnStatus,
    unix: given.unix ?? under.unix,
    tls: given.tls === undefined ? under.tls : checkTls(given.tls),
    protocols: given.protocols === undefined
      ? under.protocols
      : checkProtocols(given.protocols),
    lookup: lookup ?? under.lookup,
    proxies: proxy === undefined ? under.proxies : proxiesOf(proxy, "fetch"),
    noProxy: noProxy === undefined
      ? under.noProxy
      : noProxyOf(noProxy, "fetch"),
    cookies: cookies === undefined ? under.cookies : cookies || undefined,
    expect: expectContinue === undefined
      ? under.expect
      : expectation(expectContinue),
    onInform: given.onInform ?? under.onInform,
    onUploadProgress: given.onUploadProgress ?? under.onUploadProgress,
    onDownloadProgress: given.onDownloadProgress ?? under.onDownloadProgress,
  };
}

/** Milliseconds that a body waits unless it is said. */
const EXPECT_WAIT = 1000;

function expectation(given: boolean | number): number | undefined {
  if (typeof given === "boolean") return given ? EXPECT_WAIT : undefined;
  checkAmount(given, "expectContinue");
  return given;
}

function checkTls(tls: true | TlsClientOptions): TlsClientOptions {
  if (tls === true) return {};
  checkClientTls(tls);
  const { alpn } = tls;
  if (alpn !== undefined && !alpn.every(isSpoken)) {
    throw new TypeError(
      `Cannot fetch: only h2 and http/1.1 are spoken here: tls.alpn: ${alpn}`,
    );
  }
  return tls;
}

function isSpoken(protocol: unknown): boolean {
  return protocol === "h2" || protocol === "http/1.1";
}

function checkProtocols(
  protocols: ClientSettings["protocols"],
): Settled["protocols"] {
  if (
    !Array.isArray(protocols) || protocols.length === 0 ||
    new Set(protocols).size !== protocols.length || !protocols.every(isSpoken)
  ) {
    throw new TypeError(
      `Cannot fetch: protocols must be a list of "h2" and "http/1.1", each once: ${
        JSON.stringify(protocols)
      }`,
    );
  }
  return [...protocols];
}

/** Refuses an init that makes no sense. */
export function checkInit(init: ClientInit, caching: boolean): void {
  checkKnown(init, INIT, "fetch");
  const { cache, form, json, multipart, body, duplex } = init;
  if (cache !== undefined && !CACHES.has(cache)) {
    throw new TypeError(`Cannot fetch: no such cache mode: ${cache}`);
  }
  if (!caching && (cache === "force-cache" || cache === "only-if-cached")) {
    throw new TypeError(
      `Cannot fetch: nothing is cached without the middleware cache(): ${cache}`,
    );
  }
  if (duplex !== undefined && duplex !== "half") {
    throw new TypeError(`Cannot fetch: no such duplex: ${duplex}`);
  }
  const bodies = [body ?? undefined, form, json, multipart]
    .filter((given) => given !== undefined);
  if (bodies.length > 1) {
    throw new TypeError(
      "Cannot fetch: give one of body, form, json and multipart",
    );
  }
}

/** Refuses options of a client that make no sense. */
export function checkOptions(options: ClientOptions): void {
  checkKnown(options, OPTIONS, "make a client");
  const { pool } = options;
  if (pool !== undefined) {
    checkKnown(pool, POOL, "make a client with a pool");
    checkAmount(pool.perHost, "pool.perHost", 1);
    checkAmount(pool.total, "pool.total", 1);
    checkAmount(pool.queue, "pool.queue");
    checkAmount(pool.idleTimeout, "pool.idleTimeout");
    checkAmount(pool.maxLifetime, "pool.maxLifetime");
  }
  const { http2 } = options;
  if (http2 !== undefined) {
    checkKnown(http2, HTTP2, "make a client with http2");
    const { initialWindow = MIN_WINDOW, maxWindow = MIN_WINDOW } = http2;
    checkWindows([initialWindow, maxWindow], "make a client");
  }
  checkFunction(options.wiretap, "wiretap", "make a client");
  checkFunction(options.transport, "transport", "make a client");
  for (const layer of options.use ?? []) {
    if (typeof layer !== "function") {
      throw new TypeError("Cannot make a client: use takes functions");
    }
  }
}

/** Fields that say how a message travels: they are for the codec to say. */
const HOP_BY_HOP = new Set([
  ...["connection", "keep-alive", "proxy-connection", "transfer-encoding"],
  ...["upgrade", "expect"],
]);

/** Fields that a caller gave, checked and flat. */
export interface GivenFields {
  readonly fields: Fields;
  /** Value of Host, when the caller says it. */
  readonly host: string | undefined;
  /** Content-Length, when the caller says it. */
  readonly length: string | undefined;
  /** Whether the connection is not to be used again. */
  readonly close: boolean;
}

const NOTHING: GivenFields = {
  fields: [],
  host: undefined,
  length: undefined,
  close: false,
};

/** Makes fields of what a caller gave; names in lower case. */
export function givenFields(init: HeadersInit | undefined): GivenFields {
  if (init === undefined || init === null) return NOTHING;
  const fields: Fields = [];
  let host: string | undefined;
  let length: string | undefined;
  let close = false;
  for (const [given, raw] of pairsOf(init)) {
    const name = given.toLowerCase();
    // What comes from outside is stripped, as fetch does it.
    const value = strip(String(raw));
    checkName(name);
    checkValue(name, value);
    if (name === "host") host = value;
    else if (name === "content-length") length = value;
    else if (!HOP_BY_HOP.has(name)) fields.push(name, value);
    else if (name === "connection" && /\bclose\b/i.test(value)) close = true;
  }
  return { fields, host, length, close };
}

function pairsOf(init: HeadersInit): Iterable<readonly [string, string]> {
  if (init instanceof Headers) return init;
  if (typeof init !== "object") {
    throw new TypeError(`Cannot fetch: no headers: ${typeof init}`);
  }
  if (!(Symbol.iterator in init)) return Object.entries(init);
  const pairs: [string, string][] = [];
  for (const pair of init as Iterable<Iterable<string>>) {
    const [name, value, ...more] = [...pair];
    if (value === undefined || more.length > 0) {
      throw new TypeError("Cannot fetch: headers must be pairs of strings");
    }
    pairs.push([String(name), value]);
  }
  return pairs;
}

/** Without HTTP white space around it: also CR and LF (Fetch, 2.2). */
function strip(value: string): string {
  const first = value.charCodeAt(0);
  const last = value.charCodeAt(value.length - 1);
  return first > 0x20 && last > 0x20
    ? value
    : value.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
}

/** Whether a field is among them. */
export function hasField(fields: Fields, name: string): boolean {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name) return true;
  }
  return false;
}

/** The fields over others: a name in the first hides it in the second. */
export function overlay(over: Fields, under: Fields): Fields {
  if (over.length === 0) return under;
  const fields = [...over];
  for (let i = 0; i < under.length; i += 2) {
    if (!hasField(over, under[i])) fields.push(under[i], under[i + 1]);
  }
  return fields;
}

/** The fields without those of these names. */
export function without(fields: Fields, names: ReadonlySet<string>): Fields {
  const kept: Fields = [];
  for (let i = 0; i < fields.length; i += 2) {
    if (!names.has(fields[i])) kept.push(fields[i], fields[i + 1]);
  }
  return kept;
}

/** Value of Authorization. */
export function authorization(auth: ClientAuth): string {
  if ("bearer" in auth) {
    checkValue("authorization", auth.bearer);
    return `Bearer ${auth.bearer}`;
  }
  if (!Array.isArray(auth.basic) || auth.basic.length !== 2) {
    throw new TypeError("Cannot authenticate: give basic or bearer");
  }
  const [user, password] = auth.basic.map(String);
  // RFC 7617, 2: the first colon ends the name.
  if (user.includes(":")) {
    throw new TypeError(
      `Cannot authenticate: a colon in the user name: ${showText(user)}`,
    );
  }
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `Basic ${btoa(text)}`;
}

/** The method as it is sent (Fetch, 2.2.1). */
export function methodOf(given: string): string {
  const upper = given.toUpperCase();
  switch (upper) {
    case "GET":
    case "POST":
    case "HEAD":
    case "PUT":
    case "DELETE":
    case "OPTIONS":
      return upper;
    case "CONNECT":
    case "TRACE":
    case "TRACK":
      throw new TypeError(`Cannot fetch: the method is forbidden: ${given}`);
  }
  checkMethod(given);
  return given;
}

function checkMethod(given: string): void {
  try {
    checkName(given);
  } catch {
    throw new TypeError(`Cannot fetch: no method: ${showText(given)}`);
  }
}
