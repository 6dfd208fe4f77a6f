import {
  checkAmount,
  checkFlag,
  checkHost,
  checkKnown,
  checkPath,
  checkPort,
  checkSignal,
} from "../tcp/_options.ts";
import { checkServerTls } from "../tcp/_tls_options.ts";
import type { Address } from "../streams/types.ts";
import type { TlsServerOptions, Wiretap } from "../tcp/types.ts";
import { trustOf } from "./_client_address.ts";
import { compressing, compressOf } from "./_compress.ts";
import type { Trust } from "./_client_address.ts";
import { checkWindows, FLOOD } from "./_h2_types.ts";
import type { Handler, ServeOptions } from "./types.ts";

/** The function that answers, whatever form the handler has. */
export type HandlerFunction = Handler;

export interface Limits {
  readonly body: number;
  readonly header: number;
  readonly target: number;
  readonly connections: number;
  readonly requests: number;
}

export interface Timeouts {
  readonly header: number;
  readonly body: number;
  readonly idle: number;
  readonly handler: number;
}

/** A protocol that HTTP is spoken in. */
export type Protocol = "http/1.1" | "h2" | "h3";

/** What HTTP/2 is bounded by. */
export interface Http2Settings {
  readonly maxConcurrentStreams: number;
  readonly initialWindow: number;
  readonly maxWindow: number;
  readonly maxResets: number;
  readonly maxControls: number;
}

/** The options of `serve`, checked and with their defaults. */
export interface ServeConfig {
  readonly port: number;
  readonly hostname: string;
  readonly path: string | undefined;
  readonly reusePort: boolean | undefined;
  readonly backlog: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly tls: TlsServerOptions | undefined;
  readonly proxyProtocol: boolean;
  readonly engine: "wire" | "native";
  /** Those that were asked for; `undefined`: the engine's own. */
  readonly protocols: readonly Protocol[] | undefined;
  readonly limits: Limits;
  readonly timeouts: Timeouts;
  readonly h2: Http2Settings;
  readonly handler: HandlerFunction;
  readonly onListen: ((address: Address) => void) | undefined;
  readonly onError: ServeOptions["onError"];
  readonly onExpect: ServeOptions["onExpect"];
  readonly onOverload: ServeOptions["onOverload"];
  /** Whose word counts about the client's address. */
  readonly trust: Trust | undefined;
  readonly wiretap: Wiretap | undefined;
  /** The limits and timeouts that were given, not taken from the defaults. */
  readonly given: ReadonlySet<string>;
}

const WHAT = "serve";

const KNOWN = new Set([
  "port",
  "hostname",
  "path",
  "reusePort",
  "backlog",
  "signal",
  "tls",
  "proxyProtocol",
  "engine",
  "limits",
  "timeouts",
  "onListen",
  "onError",
  "onExpect",
  "onOverload",
  "protocols",
  "http2",
  "trustProxy",
  "compress",
  "wiretap",
]);

const CALLBACKS = [
  ...["onListen", "onError", "onExpect", "onOverload", "wiretap"] as const,
];

const LIMITS: Limits = {
  body: 128 * 1024 * 1024,
  header: 16 * 1024,
  target: 8 * 1024,
  connections: Infinity,
  requests: Infinity,
};

const HTTP2: Http2Settings = {
  maxConcurrentStreams: 1000,
  initialWindow: 512 * 1024,
  maxWindow: 16 * 1024 * 1024,
  maxResets: FLOOD,
  maxControls: FLOOD,
};

const TIMEOUTS: Timeouts = {
  header: 10_000,
  body: 60_000,
  idle: 75_000,
  handler: Infinity,
};

/** Checks what `serve` was given; refuses what nothing here would honour. */
export function resolveOptions(
  handler: Handler | { fetch: Handler },
  options: ServeOptions = {},
): ServeConfig {
  checkKnown(options, KNOWN, WHAT);
  checkPort(options.port, WHAT);
  checkPath(options.path, WHAT);
  checkHost(options.hostname, WHAT);
  checkFlag(options.reusePort, "reusePort", WHAT);
  checkSignal(options.signal, WHAT);
  checkAmount(options.backlog, "backlog", WHAT);
  const { engine = "wire", path, tls } = options;
  if (engine !== "wire" && engine !== "native") {
    throw new TypeError(
      `Cannot serve: engine must be "wire" or "native": ${engine}`,
    );
  }
  if (path !== undefined) {
    if (options.port !== undefined || options.hostname !== undefined) {
      throw new TypeError(
        "Cannot serve: give either path or hostname and port, not both",
      );
    }
    if (options.reusePort) {
      throw new TypeError("Cannot serve: reusePort makes no sense with path");
    }
  }
  for (const name of CALLBACKS) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== "function") {
      throw new TypeError(`Cannot serve: ${name} must be a function`);
    }
  }
  if (tls !== undefined) checkServerTls(tls, WHAT);
  const { proxyProtocol = false } = options;
  checkFlag(proxyProtocol, "proxyProtocol", WHAT);
  const given = new Set<string>();
  if (proxyProtocol) given.add("proxyProtocol");
  if (options.wiretap !== undefined) given.add("wiretap");
  if (options.http2 !== undefined) given.add("http2");
  return {
    port: options.port ?? 8000,
    hostname: options.hostname ?? "0.0.0.0",
    path,
    reusePort: options.reusePort,
    backlog: options.backlog,
    signal: options.signal,
    tls,
    proxyProtocol,
    engine,
    protocols: protocolsOf(options),
    limits: amounts("limits", options.limits, LIMITS, given),
    timeouts: timesOf(amounts("timeouts", options.timeouts, TIMEOUTS, given)),
    h2: http2Of(amounts("http2", options.http2, HTTP2, given)),
    handler: compressing(
      functionOf(handler),
      compressOf(options.compress, WHAT),
    ),
    onListen: options.onListen?.bind(options),
    onError: options.onError?.bind(options),
    onExpect: options.onExpect?.bind(options),
    onOverload: options.onOverload?.bind(options),
    trust: trustOf(options.trustProxy),
    wiretap: options.wiretap,
    given,
  };
}

function protocolsOf(
  { protocols, tls }: ServeOptions,
): readonly Protocol[] | undefined {
  if (protocols === undefined) return undefined;
  const known = ["http/1.1", "h2", "h3"];
  if (
    !Array.isArray(protocols) || protocols.length === 0 ||
    new Set(protocols).size !== protocols.length ||
    !protocols.every((protocol) => known.includes(protocol))
  ) {
    throw new TypeError(
      `Cannot serve: protocols must be a list of "http/1.1", "h2" and "h3", each once: ${
        JSON.stringify(protocols)
      }`,
    );
  }
  if (protocols.includes("h3") && tls === undefined) {
    throw new TypeError("Cannot serve: protocols: h3 needs tls");
  }
  return [...protocols];
}

/** RFC 9113, 6.5.2. */
function http2Of(settings: Http2Settings): Http2Settings {
  const { maxConcurrentStreams, initialWindow, maxWindow } = settings;
  if (!(maxConcurrentStreams >= 1 && maxConcurrentStreams <= 2 ** 31 - 1)) {
    throw new RangeError(
      `Cannot serve: http2.maxConcurrentStreams must be 1 or more: ${maxConcurrentStreams}`,
    );
  }
  checkWindows([initialWindow, maxWindow], WHAT);
  return settings;
}

function functionOf(handler: Handler | { fetch: Handler }): HandlerFunction {
  if (typeof handler === "function") return handler;
  const { fetch } = handler ?? {};
  if (typeof fetch !== "function") {
    throw new TypeError(
      `Cannot serve: the handler is neither a function nor has it a fetch: ${
        handler === null ? "null" : typeof handler
      }`,
    );
  }
  return fetch.bind(handler);
}

function amounts<T extends object>(
  group: string,
  values: Partial<T> | undefined,
  defaults: T,
  given: Set<string>,
): T {
  if (values === undefined) return defaults;
  checkKnown(values, new Set(Object.keys(defaults)), `${WHAT} with ${group}`);
  const resolved = { ...defaults };
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    checkAmount(value, `${group}.${name}`, WHAT);
    resolved[name as keyof T] = value as T[keyof T];
    given.add(`${group}.${name}`);
  }
  return resolved;
}

/** `0` turns a timeout off. */
function timesOf(times: Timeouts): Timeouts {
  const resolved: Record<string, number> = {};
  for (const [name, ms] of Object.entries(times)) {
    resolved[name] = ms === 0 ? Infinity : ms;
  }
  return resolved as unknown as Timeouts;
}

/** `http://host:port/`, as this machine can reach it. */
export function urlOf(address: Address, secure: boolean): string {
  const scheme = secure ? "https" : "http";
  if (address.transport === "unix") return `${scheme}://localhost/`;
  const { hostname, port } = address;
  const host = hostname === "0.0.0.0" || hostname === "::" || hostname === ""
    ? "localhost"
    : hostname.includes(":")
    ? `[${hostname}]`
    : hostname;
  return new URL(`${scheme}://${host}:${port}/`).href;
}
