import { NetError } from "../streams/errors.ts";
import { TcpConnection } from "./_connection.ts";
import { listen } from "./_listen.ts";
import {
  checkAmount,
  checkFlag,
  checkFunction,
  checkHost,
  checkKnown,
  checkPath,
  checkPort,
  checkSignal,
} from "./_options.ts";
import { Carrier } from "./_server.ts";
import { turnAway } from "./_transport.ts";
import type { Transport } from "./_transport.ts";
import type { Connection, Server, TlsServerOptions, Wiretap } from "./types.ts";
import { tapped } from "./_wiretap.ts";

/** Where to listen, and how. */
export interface TcpServeOptions {
  /** Port; `0` takes any free one. */
  port?: number;
  /** Address to listen on. @default {"0.0.0.0"} */
  hostname?: string;
  /**
   * Path of a Unix socket, in place of hostname and port; on Linux an abstract
   * name when it begins with a NUL.
   */
  path?: string;
  /** Speaks TLS: the handler runs after the handshake. @default plain TCP */
  tls?: TlsServerOptions;
  /** Connections the kernel queues before they are accepted. @default {511} */
  backlog?: number;
  /** Lets several processes listen on the same port. @default {false} */
  reusePort?: boolean;
  /**
   * Connections open at a time, those included that are in their TLS handshake
   * or PROXY header; one more is closed at once. @default no limit
   */
  maxConnections?: number;
  /** Milliseconds without a byte before a connection is destroyed. @default never */
  idleTimeout?: number;
  /**
   * Every connection begins with a header of HAProxy's PROXY protocol, version
   * 1 or 2: its addresses are the connection's then. One without it, or with a
   * malformed one, is closed, and `onError` is told a `ProtocolError` (within
   * 10 s, a `TimeoutError`). To be given only where proxies alone can connect:
   * whoever else can would choose the addresses. @default {false}
   */
  proxyProtocol?: boolean;
  /** Bytes queued either way before backpressure. @default 64 KiB */
  highWaterMark?: number;
  /** Bytes that may wait behind ignored backpressure. @default 16 MiB */
  maxBuffered?: number;
  /** Closes the server, gracefully, when it aborts. */
  signal?: AbortSignal;
  /**
   * Told what a handler threw, with its connection, and what went wrong while
   * accepting. @default nothing is told
   */
  onError?: (error: unknown, connection?: Connection) => void;
  /** Told of all that goes through the connections. @default nothing is told */
  wiretap?: Wiretap;
}

const KNOWN = new Set([
  "port",
  "hostname",
  "path",
  "tls",
  "backlog",
  "reusePort",
  "maxConnections",
  "idleTimeout",
  "proxyProtocol",
  "highWaterMark",
  "maxBuffered",
  "signal",
  "onError",
  "wiretap",
]);

/**
 * Listens on a TCP port or a Unix socket. The handler's lifetime is the
 * connection's: when its promise settles the connection is closed, when it
 * rejects the connection is destroyed and `onError` is told.
 *
 * Rejects with a `NetError` whose `code` says why it cannot listen
 * (`EADDRINUSE`, `EACCES`, …).
 *
 * @example
 * ```ts
 * import { serve } from "@sluice/net/tcp";
 *
 * const server = await serve(async (connection) => {
 *   for await (const chunk of connection) await connection.send(chunk);
 * }, { hostname: "127.0.0.1", port: 0 });
 * await server.close();
 * ```
 */
export async function serve(
  handler: (connection: Connection) => unknown,
  options: TcpServeOptions,
): Promise<Server> {
  if (typeof handler !== "function") {
    throw new TypeError(
      `Cannot serve: the handler must be a function: ${typeof handler}`,
    );
  }
  checkKnown(options, KNOWN, "serve");
  checkPort(options.port, "serve");
  checkPath(options.path, "serve");
  checkHost(options.hostname, "serve");
  for (
    const name of [
      "backlog",
      "maxConnections",
      "idleTimeout",
      "highWaterMark",
      "maxBuffered",
    ] as const
  ) checkAmount(options[name], name, "serve");
  checkFlag(options.proxyProtocol, "proxyProtocol", "serve");
  checkFunction(options.wiretap, "wiretap", "serve");
  checkSignal(options.signal, "serve");
  const { port, hostname = "0.0.0.0", path, signal, onError } = options;
  if (port === undefined && path === undefined) {
    throw new TypeError("Cannot serve: neither port nor path is given");
  }
  if (path !== undefined) {
    for (const name of ["port", "hostname", "reusePort"] as const) {
      if (options[name] !== undefined) {
        throw new TypeError(`Cannot serve: give either path or ${name}`);
      }
    }
  }
  signal?.throwIfAborted();
  const tell = (error: unknown, connection?: Connection) => {
    try {
      onError?.(error, connection);
    } catch {
      // It was told; what it makes of it is not ours.
    }
  };
  const server = new Carrier({
    maxConnections: options.maxConnections,
    signal,
  });
  const accept = (transport: Transport) => {
    if (!server.admits()) {
      turnAway(transport);
      return;
    }
    const connection = new TcpConnection(
      tapped(transport, options.wiretap),
      options,
    );
    server.carry({
      closed: connection.closed,
      get bytesRead() {
        return connection.bytesRead;
      },
      get bytesWritten() {
        return connection.bytesWritten;
      },
      // Its handler finishes it; what it still says is waited for.
      close() {},
      destroy: (reason) => connection.destroy(reason),
    });
    run(handler, connection, tell);
  };
  const { backlog, reusePort, tls, proxyProtocol } = options;
  const listener = await listen(
    path === undefined
      ? { hostname, port, backlog, reusePort, tls, proxyProtocol }
      : { path, backlog, tls, proxyProtocol },
    {
      connection: accept,
      error: (error) => tell(error),
      admits: (arriving) => server.admits(arriving),
    },
  );
  server.start(listener);
  return server;
}

async function run(
  handler: (connection: Connection) => unknown,
  connection: TcpConnection,
  tell: (error: unknown, connection: Connection) => void,
): Promise<void> {
  try {
    await handler(connection);
  } catch (error) {
    // A connection that broke under its handler is no error of the handler.
    const broke = error instanceof NetError && connection.broke(error);
    connection.destroy(error);
    if (!broke) tell(error, connection);
    return;
  }
  await connection.close();
}
