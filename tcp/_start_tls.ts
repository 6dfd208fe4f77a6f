import { ClosedError, TimeoutError, TlsError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { show } from "./_errors.ts";
import { checkClientTls, checkServerTls } from "./_tls_options.ts";
import type { Transport } from "./_transport.ts";
import type { StartTlsOptions, TlsServerOptions } from "./types.ts";

/** How long what is queued and the handshake may take, in ms. */
export const START_TIMEOUT = 10_000;
/** The type of the record that a handshake begins with (RFC 8446 §5.1). */
const HANDSHAKE = 22;

const WHAT = "start TLS";

/** Does the handshake; the transport is destroyed when it fails. */
export type Shake = (
  below: Transport,
  head: readonly Uint8Array[],
) => Promise<Transport>;

function serverOptions(
  options: StartTlsOptions,
): TlsServerOptions | undefined {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot ${WHAT}: options must be given: ${options}`);
  }
  const { server, ...rest } = options as TlsServerOptions & { server?: true };
  if (server === undefined) return undefined;
  if (server !== true) {
    throw new TypeError(`Cannot ${WHAT}: server must be true: ${server}`);
  }
  return rest;
}

/** Throws unless the options make sense. */
export function checkStart(options: StartTlsOptions): void {
  const server = serverOptions(options);
  if (server !== undefined) checkServerTls(server, WHAT);
  else checkClientTls(options, WHAT);
}

/** Throws a `TlsError` when certificate and key are of no use. */
export async function prepareStart(
  options: StartTlsOptions,
  hostname: string,
): Promise<Shake> {
  const server = serverOptions(options);
  if (server === undefined) {
    const { credentialsOf } = await import("./_credentials.ts");
    const { secureClient } = await import("./_node_secure.ts");
    credentialsOf(options, WHAT);
    return (below) =>
      secureClient(below, options, { hostname, address: below.remoteAddress });
  }
  const { TlsAcceptor } = await import("./_node_tls.ts");
  const acceptor = new TlsAcceptor(server);
  return (below, head) => acceptor.accept(below, { head });
}

/**
 * Why what came before the handshake forbids it. A client is never spoken to
 * first, and a server by nothing but a handshake: the rest was said by someone
 * who is not part of what becomes secret.
 */
export function injected(
  head: readonly Uint8Array[],
  { address, server }: { address: Address; server: boolean },
): TlsError | undefined {
  const first = head.find((chunk) => chunk.byteLength > 0);
  if (first === undefined || (server && first[0] === HANDSHAKE)) {
    return undefined;
  }
  const size = head.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  return new TlsError(
    `Cannot ${WHAT} with ${show(address)}: ${size} bytes of plain text came ` +
      "before it and were not received: receive what the protocol says first",
    { code: "ERR_TLS_NOT_TLS", address },
  );
}

/** What a connection that TLS was started on answers with. */
export function takenOver(address: Address): NetError {
  return new ClosedError(
    `This connection to ${show(address)} was taken over by startTls(): ` +
      "use the one that it gave",
    { code: "ERR_DETACHED", address },
  );
}

export function startTooLate(address: Address): TimeoutError {
  return new TimeoutError(
    `Cannot ${WHAT} with ${show(address)} within ${START_TIMEOUT} ms`,
    { phase: "tls", address },
  );
}
