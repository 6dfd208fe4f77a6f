import {
  ClosedError,
  ConnectError,
  DnsError,
  NetError,
  TimeoutError,
  TlsError,
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
  const { code, name, message = "", syscall } = error as {
    code?: unknown;
    name?: string;
    message?: string;
    syscall?: string;
  };
  // No name can be so: Node, and Deno, tell it from one that nobody has.
  if (
    (code === "EINVAL" && syscall === "getaddrinfo") ||
    (name === "URIError" && message.startsWith("invalid host"))
  ) return "ENOTFOUND";
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
  let code = codeOf(first !== undefined ? first : error);
  // What node:net of Deno says of an address that is not ours to come from.
  if (code === "EINVAL" && /^bind /.test((error as Error).message)) {
    code = "EADDRNOTAVAIL";
  }
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
  if (isTlsFailure(error)) return tlsCutError(error, address);
  return new ClosedError(
    `Connection to ${show(address)} was cut: ${describe(error, code)}`,
    { code, address, cause: error, retryable: true },
  );
}

/** What the runtimes call a failed handshake, as our codes. */
const TLS_FAILURES: readonly (readonly [RegExp, string, string])[] = [
  [
    /ALTNAME_INVALID|NotValidForName/,
    "ERR_TLS_WRONG_HOST",
    "its certificate is another host's",
  ],
  [
    /CERT_HAS_EXPIRED|CERTIFICATE_EXPIRED|Expired/,
    "ERR_TLS_EXPIRED",
    "the certificate has expired",
  ],
  [
    /CERT_NOT_YET_VALID|NotValidYet/,
    "ERR_TLS_NOT_YET_VALID",
    "the certificate is not valid yet",
  ],
  [
    /NO_APPLICATION_PROTOCOL|NoApplicationProtocol/,
    "ERR_TLS_ALPN",
    "there is no protocol that both know",
  ],
  [
    /CERTIFICATE_REQUIRED|DID_NOT_RETURN_A_CERTIFICATE|CertificateRequired/,
    "ERR_TLS_CLIENT_CERTIFICATE",
    "the client has shown no certificate",
  ],
  [
    /SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|UNKNOWN_CA|UnknownIssuer|UnknownCA/,
    "ERR_TLS_UNKNOWN_CA",
    "the certificate is of no authority that is trusted",
  ],
  [
    /UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|NO_PROTOCOLS/,
    "ERR_TLS_VERSION",
    "there is no TLS version that both know",
  ],
  [
    /WRONG_VERSION_NUMBER|HTTP_REQUEST|UNEXPECTED_?MESSAGE|BAD_RECORD_TYPE|InvalidContentType/i,
    "ERR_TLS_NOT_TLS",
    "the other side does not speak TLS",
  ],
];

interface Failure {
  code?: string;
  message?: string;
}

/** Its row of the table, or none. */
function failureOf(
  { code = "", message = "" }: Failure,
): readonly [RegExp?, string?, string?] {
  return TLS_FAILURES.find(([pattern]) =>
    pattern.test(code) || pattern.test(message)
  ) ?? [];
}

/**
 * What a failure is in few words, of which the runtimes make, with an alert:
 * `F00:error:0A000410:SSL routines:f:ssl/tls alert handshake failure:rec.c:1:`,
 * `error:10000410:SSL routines:f:SSLV3_ALERT_HANDSHAKE_FAILURE` and
 * `received fatal alert: HandshakeFailure`.
 */
function reasonOf({ message = "" }: Failure): string {
  const fatal = /fatal alert: (\w+)/.exec(message)?.[1];
  const [, number = "0", given] =
    /error:([0-9a-f]{8}):[^:]*:[^:]*:([^:]+)/i.exec(message) ?? [];
  const reason = fatal?.replace(/\B[A-Z]/g, " $&") ??
    given?.replaceAll("_", " ").replace(/^(?:ssl|tls)\S+ (?:alert )?/i, "");
  if (reason === undefined) return message.trim();
  // Reasons of OpenSSL from 1000 on are alerts of the peer's.
  const alert = fatal !== undefined || parseInt(number, 16) % 4096 >= 1000;
  return (alert ? "the other side refused: " : "") + reason.toLowerCase();
}

/** Whether an alert came, or what is none of TLS. */
function isTlsFailure(error: unknown): boolean {
  const { code = "", message = "" } = error as Failure;
  return code.startsWith("ERR_SSL_") || message.includes(" alert");
}

/** What ended TLS once it was agreed on. */
function tlsCutError(error: unknown, address: Address): NetError {
  const failure = error as Failure;
  const [, code = "ERR_TLS", meaning = reasonOf(failure)] = failureOf(failure);
  return new TlsError(`TLS with ${show(address)} was cut: ${meaning}`, {
    code,
    address,
    cause: error,
    retryable: false,
  });
}

/** Why there was no TLS, as one of our errors. */
export function tlsError(error: unknown, address: Address): NetError {
  if (error instanceof NetError && !(error instanceof ClosedError)) {
    return error;
  }
  const { code = "" } = error as Failure;
  const [, ours, meaning] = failureOf(error as Failure);
  const cut = code === "ECONNRESET" || code === "EPIPE";
  return new TlsError(
    `Cannot agree on TLS with ${show(address)}: ${
      meaning ??
        (cut
          ? "the connection was cut in the handshake"
          : reasonOf(error as Failure))
    }`,
    {
      code: ours ?? (cut ? "ECONNRESET" : "ERR_TLS"),
      address,
      cause: error,
      retryable: cut,
    },
  );
}
