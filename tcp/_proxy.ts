import { familyOf } from "./_ip.ts";
import { checkAmount, checkKnown } from "./_options.ts";
import { checkClientTls } from "./_tls_options.ts";
import type { TlsClientOptions } from "./types.ts";

/** Schemes of proxies, and the ports they are at usually. */
const PORTS: Readonly<Record<string, number>> = {
  "http:": 80,
  "https:": 443,
  "socks4:": 1080,
  "socks4a:": 1080,
  "socks5:": 1080,
  "socks5h:": 1080,
};

/** Fields that say how a message travels: they are not for a caller. */
const OWN_FIELDS = [
  ...["connection", "content-length", "host", "keep-alive", "te", "trailer"],
  ...["proxy-connection", "transfer-encoding", "upgrade"],
];

/** A way out through a proxy, with more to say than its URL. */
export interface ProxyOptions {
  /**
   * `http:`, `https:` (TLS to the proxy), `socks4:`, `socks4a:`, `socks5:` or
   * `socks5h:`. Those with `a` or `h` and the HTTP ones have the proxy look
   * names up; for the others it is done here. User and password of the URL
   * are for the proxy: Basic, the user id of SOCKS4, RFC 1929.
   */
  url: string | URL;
  /** More fields for an HTTP proxy, e.g. `proxy-authorization`. */
  headers?: HeadersInit;
  /**
   * Asks an HTTP proxy for a tunnel (CONNECT) for plain `http:` targets, too,
   * where an HTTP client would hand it the request otherwise. TCP and
   * WebSocket connections take a tunnel always. @default {false}
   */
  tunnel?: boolean;
  /**
   * Milliseconds until the proxy is reached and has made the tunnel, counted
   * beside the time for all. @default no limit of its own
   */
  connectTimeout?: number;
  /** What an `https:` proxy is trusted by. @default the runtime's authorities */
  tls?: TlsClientOptions;
}

/** A proxy as it is used: all checked, nothing secret in what is shown. */
export interface ProxyPlan {
  readonly scheme: string;
  readonly hostname: string;
  readonly port: number;
  /** Scheme, host and port, for messages. */
  readonly shown: string;
  /** Of SOCKS. */
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** Fields of an HTTP proxy, flat, names in lower case: secrets are here. */
  readonly fields: readonly string[];
  readonly tunnel: boolean;
  readonly connectTimeout: number | undefined;
  /** Only of an `https:` proxy. */
  readonly tls: TlsClientOptions | undefined;
  /** The same for whoever may share a connection: secrets are here. */
  readonly key: string;
}

const KNOWN = new Set(["url", "headers", "tunnel", "connectTimeout", "tls"]);

/** Reads the `proxy` option; no message shows what is secret in it. */
export function proxyPlan(
  given: string | URL | ProxyOptions,
  what: string,
): ProxyPlan {
  const options: ProxyOptions =
    typeof given === "string" || given instanceof URL ? { url: given } : given;
  checkKnown(options, KNOWN, `${what} through a proxy`);
  const { headers, tunnel = false, connectTimeout, tls } = options;
  const refuse = (why: string) => new TypeError(`Cannot ${what}: ${why}`);
  const url = parse(options.url);
  if (url === undefined) throw refuse("the proxy's URL is malformed");
  const scheme = url.protocol;
  if (PORTS[scheme] === undefined) {
    throw refuse(
      `the proxy's scheme must be one of ${Object.keys(PORTS).join(" ")}`,
    );
  }
  const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (familyOf(hostname) === 0 && !isName(hostname)) {
    throw refuse("the proxy's URL has no host");
  }
  if (
    url.port === "0" || url.search !== "" || url.hash !== "" ||
    (url.pathname !== "" && url.pathname !== "/")
  ) {
    throw refuse("the proxy's URL must be of a scheme, a host and a port only");
  }
  const http = scheme === "http:" || scheme === "https:";
  if (typeof tunnel !== "boolean") {
    throw refuse("the proxy's tunnel must be true or false");
  }
  if (headers !== undefined && !http) {
    throw refuse("a SOCKS proxy takes no headers");
  }
  checkAmount(connectTimeout, "connectTimeout of the proxy", what);
  if (tls !== undefined) {
    if (scheme !== "https:") {
      throw refuse("tls of the proxy goes with an https: URL only");
    }
    checkClientTls(tls);
  }
  const secrets = secretsOf(url);
  if (secrets === undefined) {
    throw refuse("the proxy's user or password is malformed");
  }
  const { user, password } = secrets;
  if (user !== undefined && !http) checkSocks(scheme, user, password, refuse);
  const port = url.port === "" ? PORTS[scheme] : Number(url.port);
  const fields = http ? fieldsOf(headers, user, password, refuse) : [];
  const shown = `${scheme}//${
    hostname.includes(":") ? `[${hostname}]` : hostname
  }:${port}`;
  return {
    scheme,
    hostname,
    port,
    shown,
    user: http ? undefined : user,
    password: http ? undefined : password,
    fields,
    tunnel,
    connectTimeout,
    tls: scheme === "https:" ? { ...tls } : undefined,
    key: JSON.stringify([shown, user, password, fields, tunnel, tls]),
  };
}

function parse(url: unknown): URL | undefined {
  // A cause would show the URL, and with it what is secret.
  try {
    return typeof url === "string" || url instanceof URL
      ? new URL(url)
      : undefined;
  } catch {
    return undefined;
  }
}

function secretsOf(
  url: URL,
): { user: string | undefined; password: string } | undefined {
  const { username, password } = url;
  if (username === "" && password === "") {
    return { user: undefined, password: "" };
  }
  try {
    return {
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
    };
  } catch {
    return undefined;
  }
}

function checkSocks(
  scheme: string,
  user: string,
  password: string,
  refuse: (why: string) => TypeError,
): void {
  const encoder = new TextEncoder();
  const sizes = [user, password].map((text) => encoder.encode(text).byteLength);
  if (sizes[0] > 255 || sizes[1] > 255) {
    throw refuse("a SOCKS proxy takes user and password of up to 255 bytes");
  }
  if (scheme.startsWith("socks5")) {
    if (sizes[0] === 0) throw refuse("the proxy's URL has no user name");
  } else if (password !== "") {
    throw refuse("a SOCKS4 proxy takes a user name, but no password");
  } else if (user.includes("\0")) {
    throw refuse("a SOCKS4 proxy takes no NUL in the user name");
  }
}

function fieldsOf(
  init: HeadersInit | undefined,
  user: string | undefined,
  password: string | undefined,
  refuse: (why: string) => TypeError,
): string[] {
  let headers: Headers;
  try {
    headers = new Headers(init);
  } catch {
    throw refuse("the proxy's headers are malformed");
  }
  for (const name of OWN_FIELDS) {
    if (headers.has(name)) {
      throw refuse(`a proxy's headers may not have this one: ${name}`);
    }
  }
  if (user !== undefined) {
    if (headers.has("proxy-authorization")) {
      throw refuse(
        "give either user and password in the proxy's URL, or the header",
      );
    }
    // RFC 7617, 2: the first colon ends the name.
    if (user.includes(":")) {
      throw refuse("the proxy's user name has a colon in it");
    }
    const bytes = new TextEncoder().encode(`${user}:${password}`);
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    headers.set("proxy-authorization", `Basic ${btoa(text)}`);
  }
  return [...headers].flat();
}

/** Whether a text can be a host name on the wire (RFC 1123, and `_`). */
function isName(text: string): boolean {
  return text.length <= 253 && /^[\w.-]+$/.test(text);
}

/**
 * A host as it is said to a proxy: names in ASCII, addresses as they are. It
 * is put in a request, so nothing passes that could be read in two ways.
 */
export function tunnelHost(hostname: string, what: string): string {
  if (familyOf(hostname) !== 0 && !hostname.includes("%")) return hostname;
  if (isName(hostname)) return hostname;
  if (/[\u0080-\uffff]/.test(hostname)) {
    try {
      const { hostname: ascii } = new URL(`http://${hostname}/`);
      if (!/[\s@:/?#\\[\]%]/.test(hostname) && isName(ascii)) return ascii;
    } catch {
      // Refused below.
    }
  }
  throw new TypeError(
    `Cannot ${what} through a proxy: hostname is malformed: ${
      JSON.stringify(hostname)
    }`,
  );
}
