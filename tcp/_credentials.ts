import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { TlsError } from "../streams/errors.ts";
import { certificatesOf, isEncrypted, privateKeyOf } from "./_pem.ts";
import type { TlsCertificate, TlsClientOptions } from "./types.ts";

/** Most results that are remembered; a program has few. */
const MAX_KNOWN = 64;

function remember<T>(known: Map<string, T>, key: string, value: T): T {
  if (known.size >= MAX_KNOWN) {
    for (const oldest of known.keys()) {
      known.delete(oldest);
      break;
    }
  }
  known.set(key, value);
  return value;
}

function readAll(certificates: readonly string[]): void {
  for (const one of certificates) new X509Certificate(one);
}

const authorities = new Map<string, string>();
/** Digests of what was read well: each connection asks again. */
const pairs = new Map<string, true>();

/**
 * Authorities as all runtimes read them alike. Throws when one is damaged: the
 * runtimes pass over it, or end in an error that nobody can catch.
 */
export function cleanAuthorities(
  ca: string | string[] | undefined,
): string[] | undefined {
  if (ca === undefined) return undefined;
  return [ca].flat().map((text) => {
    const before = authorities.get(text);
    if (before !== undefined) return before;
    const all = certificatesOf(text);
    readAll(all);
    return remember(authorities, text, all.join(""));
  });
}

/**
 * A certificate and its key as all runtimes read them alike. Throws when they
 * are of no use: some runtimes find out in a handshake only, or show nothing.
 */
export function cleanPair({ cert, key }: TlsCertificate): TlsCertificate {
  const certificates = certificatesOf(cert);
  const own = privateKeyOf(key);
  if (certificates.length === 0) throw new TypeError("there is no certificate");
  if (own === undefined) throw new TypeError("there is no private key");
  if (isEncrypted(own)) throw new TypeError("the key has a passphrase");
  const clean = { cert: certificates.join(""), key: own };
  const digest = createHash("sha256").update(clean.cert + own).digest("hex");
  if (pairs.has(digest)) return clean;
  readAll(certificates);
  const first = new X509Certificate(certificates[0]);
  if (!first.checkPrivateKey(createPrivateKey(own))) {
    throw new TypeError("they do not belong together");
  }
  remember(pairs, digest, true);
  return clean;
}

/** What certificates and keys that cannot be used are answered with. */
export function useless(what: string, which: string, cause: unknown): TlsError {
  return new TlsError(
    `Cannot ${what}: ${which} of no use: ${(cause as Error).message}`,
    { code: "ERR_TLS_CERTIFICATE", cause },
  );
}

/** What a side of TLS trusts and shows. Throws a `TlsError` when of no use. */
export function credentialsOf(
  { ca, cert, key }: TlsClientOptions,
  what: string,
): Pick<TlsClientOptions, "ca" | "cert" | "key"> {
  let which = "tls.ca is";
  try {
    const trusted = cleanAuthorities(ca);
    if (cert === undefined || key === undefined) return { ca: trusted };
    which = "tls.cert and key are";
    return { ca: trusted, ...cleanPair({ cert, key }) };
  } catch (error) {
    throw useless(what, which, error);
  }
}
