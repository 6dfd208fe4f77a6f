import {
  ClosedError,
  ConnectError,
  DnsError,
  NetError,
  TimeoutError,
} from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";

/** What each POSIX code means, for messages. */
const MEANINGS: Record<string, string> = {
  EACCES: "permission denied",
  EADDRINUSE: "the address is in use",
  EADDRNOTAVAIL: "the address is not of this machine",
  ECONNABORTED: "the connection was aborted",
  ECONNREFUSED: "nobody listens there",
  ECONNRESET: "the peer reset the connection",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  ENOENT: "no such socket file",
  ENOTFOUND: "no such host",
  EPIPE: "the peer has closed its reading side",
  ETIMEDOUT: "no answer came in time",
};

/** Deno's error classes, by name, as POSIX codes. */
const DENO_CODES: Record<string, string> = {
  AddrInUse: "EADDRINUSE",
  AddrNotAvailable: "EADDRNOTAVAIL",
  BrokenPipe: "EPIPE",
  ConnectionAborted: "ECONNABORTED",
  ConnectionRefused: "ECONNREFUSED",
  ConnectionReset: "ECONNRESET",
  HostUnreachable: "EHOSTUNREACH",
  NetworkUnreachable: "ENETUNREACH",
  NotCapable: "EACCES",
  NotConnected: "ENOTCONN",
  NotFound: "ENOENT",
  PermissionDenied: "EACCES",
  TimedOut: "ETIMEDOUT",
};

const DNS_CODES = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_NODATA"]);

/** The POSIX code of a runtime's own error, as well as it tells. */
export function codeOf(error: unknown): string {
  const { code, name, message = "" } = error as {
    code?: unknown;
    name?: string;
    message?: string;
  };
  if (typeof code === "string" && /^E[A-Z_]+$/.test(code)) {
    return code === "EAI_NONAME" ? "ENOTFOUND" : code;
  }
  if (/failed to lookup address|name or service not known/i.test(message)) {
    return "ENOTFOUND";
  }
  if (name !== undefined && DENO_CODES[name] !== undefined) {
    return DENO_CODES[name];
  }
  return "ERR_NETWORK";
}

/** An address as messages show it. */
export function show(address: Address | undefined): string {
  if (address === undefined) return "an unknown address";
  if (address.transport === "unix") return address.path;
  const { hostname, port } = address;
  return hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
}

function describe(error: unknown, code: string): string {
  return MEANINGS[code] ?? (error instanceof Error ? error.message : code);
}

/** Why no connection could be made, as one of our errors. */
export function connectError(error: unknown, address: Address): NetError {
  if (error instanceof NetError) return error;
  const first = (error as { errors?: unknown[] })?.errors?.[0];
  const code = codeOf(first !== undefined ? first : error);
  const message = `Cannot connect to ${show(address)}: ${
    describe(error, code)
  }`;
  const details = { code, address, cause: error };
  if (DNS_CODES.has(code)) {
    return new DnsError(message, {
      ...details,
      retryable: code !== "ENOTFOUND",
    });
  }
  if (code === "ETIMEDOUT") {
    return new TimeoutError(message, { ...details, phase: "connect" });
  }
  return new ConnectError(message, details);
}

/** Why a server cannot listen, as one of our errors. */
export function listenError(error: unknown, address: Address): NetError {
  if (error instanceof NetError) return error;
  const code = codeOf(error);
  return new NetError(
    `Cannot listen on ${show(address)}: ${describe(error, code)}`,
    { code, phase: "listen", address, cause: error },
  );
}

/** Why a connection that stood was cut, as one of our errors. */
export function cutError(error: unknown, address: Address): NetError {
  if (error instanceof NetError) return error;
  const code = codeOf(error);
  return new ClosedError(
    `Connection to ${show(address)} was cut: ${describe(error, code)}`,
    { code, address, cause: error, retryable: true },
  );
}
