import { hasCertificate, isEncrypted, privateKeyOf } from "./_pem.ts";
import { checkSniName } from "./_sni.ts";
import type {
  TlsCertificate,
  TlsClientOptions,
  TlsServerOptions,
} from "./types.ts";

/** Some runtimes take anything here and then trust something else. */
function checkPem(value: unknown, name: string, what: string): void {
  if (value === undefined) return;
  const all = name === "ca" && Array.isArray(value) ? value : [value];
  for (const one of all) {
    if (typeof one !== "string" || !hasCertificate(one)) {
      throw new TypeError(
        `Cannot ${what}: tls.${name} must be PEM text with a certificate`,
      );
    }
  }
}

function checkKey(value: unknown, name: string, what: string): void {
  if (value === undefined) return;
  const key = typeof value === "string" ? privateKeyOf(value) : undefined;
  if (key === undefined) {
    throw new TypeError(
      `Cannot ${what}: tls.${name} must be PEM text with a private key`,
    );
  }
  if (isEncrypted(key)) {
    throw new TypeError(
      `Cannot ${what}: tls.${name} must be a key without a passphrase: ` +
        "decrypt it first, say with openssl pkey",
    );
  }
}

function checkAlpn(alpn: unknown, what: string): void {
  if (alpn === undefined) return;
  if (
    !Array.isArray(alpn) || alpn.length === 0 ||
    alpn.some((p) => typeof p !== "string" || p === "" || p.length > 255)
  ) {
    throw new TypeError(
      `Cannot ${what}: tls.alpn must be a list of protocol names: ${alpn}`,
    );
  }
}

function refuseUnknown(
  options: unknown,
  known: ReadonlySet<string>,
  what: string,
): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot ${what}: tls must be an object: ${options}`);
  }
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.has(name)) {
      throw new TypeError(`Cannot ${what}: no such option: tls.${name}`);
    }
  }
}

const CLIENT = new Set([
  "ca",
  "cert",
  "key",
  "serverName",
  "insecure",
  "alpn",
]);

const SERVER = new Set(["cert", "key", "ca", "clientAuth", "alpn", "sni"]);

/** Refuses certificates by name that make no sense. */
function checkSni(sni: unknown, what: string): void {
  if (sni === undefined || typeof sni === "function") return;
  if (typeof sni !== "object" || sni === null || Array.isArray(sni)) {
    throw new TypeError(
      `Cannot ${what}: tls.sni must be a record of names or a function`,
    );
  }
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(sni)) {
    const normal = checkSniName(name, what);
    if (seen.has(normal)) {
      throw new TypeError(`Cannot ${what}: tls.sni has ${normal} twice`);
    }
    seen.add(normal);
    const { cert, key } = (value ?? {}) as Partial<TlsCertificate>;
    if (cert === undefined || key === undefined) {
      throw new TypeError(
        `Cannot ${what}: tls.sni: ${name} must have cert and key`,
      );
    }
    checkPem(cert, `sni: ${name}: cert`, what);
    checkKey(key, `sni: ${name}: key`, what);
  }
}

/** Refuses options of a client that make no sense. */
export function checkClientTls(
  options: TlsClientOptions,
  what = "connect",
): void {
  refuseUnknown(options, CLIENT, what);
  checkPem(options.ca, "ca", what);
  checkPem(options.cert, "cert", what);
  checkKey(options.key, "key", what);
  checkAlpn(options.alpn, what);
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw new TypeError(`Cannot ${what}: tls.cert and tls.key belong together`);
  }
  const { insecure, serverName } = options;
  if (insecure !== undefined && typeof insecure !== "boolean") {
    throw new TypeError(`Cannot ${what}: tls.insecure must be a boolean`);
  }
  if (
    serverName !== undefined &&
    (typeof serverName !== "string" || serverName === "")
  ) throw new TypeError(`Cannot ${what}: tls.serverName must be a name`);
}

/** Refuses options of a server that make no sense. */
export function checkServerTls(
  options: TlsServerOptions,
  what = "serve",
): void {
  refuseUnknown(options, SERVER, what);
  const { cert, key, ca, clientAuth, alpn, sni } = options;
  if (cert === undefined || key === undefined) {
    throw new TypeError(`Cannot ${what}: tls.cert and tls.key must be given`);
  }
  checkPem(cert, "cert", what);
  checkKey(key, "key", what);
  checkPem(ca, "ca", what);
  checkAlpn(alpn, what);
  checkSni(sni, what);
  if (!["none", "request", "require", undefined].includes(clientAuth)) {
    throw new TypeError(
      `Cannot ${what}: no such tls.clientAuth: ${clientAuth}`,
    );
  }
  if (
    clientAuth !== undefined && clientAuth !== "none" &&
    (ca === undefined || ca.length === 0)
  ) {
    throw new TypeError(`Cannot ${what}: tls.clientAuth needs tls.ca`);
  }
}
