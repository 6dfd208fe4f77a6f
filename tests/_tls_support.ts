import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { connect, serve } from "../tcp/mod.ts";
import type {
  Connection,
  Server,
  TcpServeOptions,
  TlsClientOptions,
  TlsError,
  TlsServerOptions,
} from "../tcp/mod.ts";
import { within } from "./_support.ts";

const folder = new URL("./certs/", import.meta.url);

/** Where a file of `tests/certs` is. */
export const pathOf = (name: string): string =>
  fileURLToPath(new URL(name, folder));

/** A file of `tests/certs`. */
export const pem = (name: string): string => readFileSync(pathOf(name), "utf8");

/** A certificate of `tests/certs` and its key. */
export const pair = (name: string): { cert: string; key: string } => ({
  cert: pem(`${name}.pem`),
  key: pem(`${name}.key`),
});

/** The authority of most of them. */
export const ca: string = pem("ca.pem");

/** Bytes as a text. */
export const text = (bytes?: Uint8Array): string =>
  new TextDecoder().decode(bytes);

/** Sends back what comes. */
export async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.send(chunk);
}

/** A TLS server, and what is known of it. */
export interface TlsRig {
  readonly server: Server;
  readonly port: number;
  /** Errors that `onError` was told. */
  readonly told: TlsError[];
  /** The server's ends. */
  readonly ends: Connection[];
  connect(tls: true | TlsClientOptions, hostname?: string): Promise<Connection>;
  close(): Promise<void>;
}

/** A server with the certificate `server`, on 127.0.0.1. */
export async function tlsRig(
  tls: Partial<TlsServerOptions> = {},
  options: Partial<TcpServeOptions> = {},
  handler: (connection: Connection) => unknown = echo,
): Promise<TlsRig> {
  const told: TlsError[] = [];
  const ends: Connection[] = [];
  const server = await serve((connection) => {
    ends.push(connection);
    return handler(connection);
  }, {
    hostname: "127.0.0.1",
    port: 0,
    tls: { ...pair("server"), ...tls },
    onError: (error) => told.push(error as TlsError),
    ...options,
  });
  const { address } = server;
  const port = address.transport === "unix" ? 0 : address.port;
  return {
    server,
    port,
    told,
    ends,
    connect: (tls, hostname = "localhost") =>
      within(connect({ hostname, port, tls })),
    close: () => within(server.close({ timeout: 0 })),
  };
}
