import { TcpConnection } from "./_connection.ts";
import { dial } from "./_dial.ts";
import { checkLookup } from "./_lookup.ts";
import type { Lookup } from "./_lookup.ts";
import {
  checkAmount,
  checkFlag,
  checkFunction,
  checkHost,
  checkIp,
  checkKnown,
  checkPath,
  checkPort,
  checkSignal,
} from "./_options.ts";
import { proxyPlan, tunnelHost } from "./_proxy.ts";
import type { ProxyOptions, ProxyPlan } from "./_proxy.ts";
import type { Connection, TlsClientOptions, Wiretap } from "./types.ts";
import { tapped } from "./_wiretap.ts";

/** Whom to connect to, and how. */
export interface TcpConnectOptions {
  /** Name or address of the host. @default {"localhost"} */
  hostname?: string;
  /** Port, 1 to 65535. */
  port?: number;
  /**
   * Path of a Unix socket, in place of hostname and port; on Linux an abstract
   * name when it begins with a NUL.
   */
  path?: string;
  /** Speaks TLS; `true` stands for its defaults. @default {false} */
  tls?: boolean | TlsClientOptions;
  /** Address of this machine to connect from. */
  localAddress?: string;
  /** Says which addresses a name has. @default the system's resolver */
  lookup?: Lookup;
  /**
   * Goes through a proxy: its URL (`http:`, `https:`, `socks4:`, `socks4a:`,
   * `socks5:` or `socks5h:`, with user and password where it wants them), or
   * more than that. TLS to the target runs inside. `remoteAddress` is the
   * proxy's then.
   */
  proxy?: string | URL | ProxyOptions;
  /** Milliseconds until a `TimeoutError`. @default {10_000} */
  timeout?: number;
  /** Sends small writes at once (TCP_NODELAY). @default {true} */
  noDelay?: boolean;
  /** Probes an idle connection; a number is the delay in ms. @default {false} */
  keepAlive?: boolean | number;
  /** Bytes queued either way before backpressure. @default 64 KiB */
  highWaterMark?: number;
  /** Bytes that may wait behind ignored backpressure. @default 16 MiB */
  maxBuffered?: number;
  /** Gives the attempt up, and destroys the connection later. */
  signal?: AbortSignal;
  /** Told of all that goes through the connection. @default nothing is told */
  wiretap?: Wiretap;
}

const KNOWN = new Set([
  "transport", // an Address may be given as it is
  "hostname",
  "port",
  "path",
  "tls",
  "localAddress",
  "lookup",
  "proxy",
  "timeout",
  "noDelay",
  "keepAlive",
  "highWaterMark",
  "maxBuffered",
  "signal",
  "wiretap",
]);

/** Options that make no sense with the path of a Unix socket. */
const NOT_UNIX = [
  ...["port", "hostname", "localAddress", "lookup", "proxy"] as const,
];

/**
 * Connects to a TCP port or a Unix socket, with TLS when asked to.
 *
 * Rejects with `ConnectError`, `DnsError`, `ProxyError`, `TlsError` or
 * `TimeoutError` (phase `"lookup"`, `"connect"`, `"proxy"` or `"tls"`), with the
 * signal's reason when it aborts, and with `TypeError` or `RangeError` for options
 * that make no sense.
 *
 * @example
 * ```ts
 * import { connect, serve } from "@sluice/net/tcp";
 *
 * const server = await serve(async (connection) => {
 *   for await (const chunk of connection) await connection.send(chunk);
 * }, { hostname: "127.0.0.1", port: 0 });
 * const { address } = server;
 * if (address.transport === "tcp") {
 *   const connection = await connect(address);
 *   await connection.send("hello");
 *   console.log(new TextDecoder().decode(await connection.read(5)));
 *   await connection.close();
 * }
 * await server.close();
 * ```
 */
export async function connect(options: TcpConnectOptions): Promise<Connection> {
  checkKnown(options, KNOWN, "connect");
  checkPath(options.path, "connect");
  if (options.path === undefined && options.port === undefined) {
    throw new TypeError("Cannot connect: neither port nor path is given");
  }
  if (options.path !== undefined) {
    for (const name of NOT_UNIX) {
      if (options[name] !== undefined) {
        throw new TypeError(`Cannot connect: give either path or ${name}`);
      }
    }
  } else checkPort(options.port, "connect", 1);
  checkHost(options.hostname, "connect");
  checkIp(options.localAddress, "localAddress", "connect");
  checkAmount(options.timeout, "timeout", "connect");
  checkAmount(options.highWaterMark, "highWaterMark", "connect");
  checkAmount(options.maxBuffered, "maxBuffered", "connect");
  checkFlag(options.noDelay, "noDelay", "connect");
  if (typeof options.keepAlive !== "boolean") {
    checkAmount(options.keepAlive, "keepAlive", "connect");
  }
  checkLookup(options.lookup, "connect");
  checkFunction(options.wiretap, "wiretap", "connect");
  checkSignal(options.signal, "connect");
  const { signal, noDelay = true, keepAlive = false } = options;
  const transport = await dial({ ...options, proxy: proxyOf(options) });
  if (!noDelay) transport.setNoDelay(false);
  if (keepAlive !== false) {
    transport.setKeepAlive(true, keepAlive === true ? undefined : keepAlive);
  }
  const { hostname = "localhost" } = options;
  const connection = new TcpConnection(tapped(transport, options.wiretap), {
    ...options,
    host: hostname,
  });
  if (signal !== undefined) {
    const abort = () => connection.destroy(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    connection.closed.then(() => signal.removeEventListener("abort", abort));
  }
  return connection;
}

function proxyOf(options: TcpConnectOptions): ProxyPlan | undefined {
  const { proxy, hostname = "localhost" } = options;
  if (proxy === undefined) return undefined;
  tunnelHost(hostname, "connect");
  return proxyPlan(proxy, "connect");
}
