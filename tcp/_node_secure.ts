import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import * as tls from "node:tls";
import { domainToASCII } from "node:url";
import { TlsError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { credentialsOf } from "./_credentials.ts";
import { show, tlsError } from "./_errors.ts";
import {
  cutShort,
  globals,
  SecureTransport,
  streamOf,
} from "./_node_stream.ts";
import { normalName } from "./_sni.ts";
import type { Transport } from "./_transport.ts";
import type { TlsClientOptions } from "./types.ts";

/** What a handshake is told beyond the options. */
export interface SecurePlan {
  /** The host that was asked for. */
  hostname: string;
  /** The same, for messages. */
  address: Address;
  signal?: AbortSignal;
  /** Goes on when the server does not know ALPN at all. */
  alpnOptional?: boolean;
}

/** A name as it is sent: letters of other scripts as Punycode. */
function askedName(host: string): string | undefined {
  return normalName(host) ?? normalName(domainToASCII(host));
}

/** Node 22.23 finds no IPv6 address in any certificate. */
function checkServerIdentity(
  host: string,
  certificate: tls.PeerCertificate,
): Error | undefined {
  if (isIP(host) === 6 && globals.Deno === undefined) {
    const { raw } = certificate;
    if (new X509Certificate(raw).checkIP(host) !== undefined) return undefined;
  }
  return tls.checkServerIdentity(host, certificate);
}

/**
 * Deno looks at the whole chain and at all of `ca` to check a name, which only
 * the first certificate is needed for; what it cannot read of that would be an
 * error that nobody can catch.
 */
function lookOnce(
  socket: tls.TLSSocket,
  refuse: (error: unknown) => void,
): void {
  const look = socket.getPeerCertificate.bind(socket) as (
    detailed: boolean,
  ) => tls.DetailedPeerCertificate;
  socket.getPeerCertificate = () => {
    try {
      return look(false);
    } catch (error) {
      refuse(error);
      return {} as tls.DetailedPeerCertificate;
    }
  };
}

/** The client's side of TLS over a transport that nobody has attached to. */
export function secureClient(
  below: Transport,
  options: TlsClientOptions,
  plan: SecurePlan,
): Promise<Transport> {
  const { address, signal, alpnOptional = false } = plan;
  const host = options.serverName ?? plan.hostname;
  // What is no name is not asked for, but checked all the same.
  const name = isIP(host) === 0 ? askedName(host) : undefined;
  if (signal?.aborted) {
    below.destroy();
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const stream = streamOf(below);
    let socket: tls.TLSSocket;
    const settle = () => {
      signal?.removeEventListener("abort", abort);
      socket?.removeListener("secureConnect", accept);
    };
    const refuse = (error: unknown) => {
      settle();
      socket?.destroy();
      below.destroy();
      reject(tlsError(error, address));
    };
    const abort = () => {
      settle();
      socket.destroy();
      below.destroy();
      reject(signal!.reason);
    };
    const accept = () => {
      settle();
      if (
        options.alpn !== undefined && !alpnOptional &&
        typeof socket.alpnProtocol !== "string"
      ) {
        socket.destroy();
        below.destroy();
        reject(
          new TlsError(
            `Cannot agree on a protocol with ${show(address)}: it knows ` +
              `none of ${options.alpn.join(", ")}`,
            { code: "ERR_TLS_ALPN", address },
          ),
        );
        return;
      }
      socket.removeListener("error", refuse);
      socket.removeListener("close", gone);
      resolve(
        new SecureTransport(
          socket,
          below,
          stream,
          name,
        ),
      );
    };
    const gone = () => refuse(cutShort());
    try {
      socket = tls.connect({
        socket: stream,
        host: name ?? host,
        servername: name ?? "",
        ...credentialsOf(options, `agree on TLS with ${show(address)}`),
        ALPNProtocols: options.alpn,
        rejectUnauthorized: options.insecure !== true,
        checkServerIdentity,
        minVersion: "TLSv1.2",
      });
    } catch (error) {
      refuse(error);
      return;
    }
    if (globals.Deno !== undefined) lookOnce(socket, refuse);
    signal?.addEventListener("abort", abort, { once: true });
    socket.once("error", refuse);
    socket.once("close", gone);
    socket.once("secureConnect", accept);
    // An error that comes after another one has nobody to tell.
    socket.on("error", () => {});
  });
}

/**
 * A more exact error than this one. Deno does not tell a certificate that has
 * expired from one that it does not trust: there it is fetched once more to be
 * looked at, with nothing sent and nothing shown, and no trust in it.
 */
export async function whyUntrusted(
  error: unknown,
  options: TlsClientOptions,
  plan: SecurePlan & { open(): Promise<Transport> },
): Promise<unknown> {
  if (
    globals.Deno === undefined || !(error instanceof TlsError) ||
    error.code !== "ERR_TLS_UNKNOWN_CA"
  ) return error;
  const { serverName, alpn } = options;
  try {
    const transport = await secureClient(
      await plan.open(),
      { serverName, alpn, insecure: true },
      { ...plan, alpnOptional: true },
    );
    transport.destroy();
    const { raw } = transport.tls!.peerCertificate!;
    const { validFrom, validTo } = new X509Certificate(raw);
    const code = Date.parse(validTo) < Date.now()
      ? "CERT_HAS_EXPIRED"
      : Date.parse(validFrom) > Date.now()
      ? "CERT_NOT_YET_VALID"
      : undefined;
    if (code === undefined) return error;
    const exact = new Error(`The certificate: ${code}`, { cause: error });
    return tlsError(Object.assign(exact, { code }), plan.address);
  } catch {
    return error;
  }
}
