import type { MaybePromise } from "../streams/types.ts";
import type { TlsCertificate, TlsServerOptions } from "./types.ts";

/** Labels of letters, digits, `-` and `_`: no path, no pattern, no blank. */
const NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;
/** Longest name of the DNS (RFC 1035 §2.3.4), without the last dot. */
const MAX_NAME = 253;

/**
 * A host's name in the one form that names are compared in, and sent: without
 * the dot of the root (RFC 6066 §3).
 */
export function normalName(name: string): string | undefined {
  const lower = name.toLowerCase().replace(/\.$/, "");
  return lower.length <= MAX_NAME && NAME.test(lower) ? lower : undefined;
}

/** Throws unless this is a host's name, or one with `*` as its first label. */
export function checkSniName(name: string, what: string): string {
  const bare = name.startsWith("*.") ? name.slice(2) : name;
  if (normalName(bare) === undefined || bare.endsWith(".")) {
    throw new TypeError(
      `Cannot ${what}: tls.sni has a name that is no host's: ` +
        `${JSON.stringify(name)}: give letters, digits and -, as in ` +
        `a.example.com, *.example.com or xn--caf-dma.example`,
    );
  }
  return name.toLowerCase();
}

/** What a name is answered with; `undefined` stands for the default. */
export type Chooser<T> = (name: string) => MaybePromise<T | undefined>;

/**
 * Finds what belongs to a name: an exact name goes first, then a wildcard,
 * which stands for one label (RFC 9525 §6.3). `make` is called on each
 * certificate of a record at once, so that a bad one is found here; on what a
 * callback gives, when it is given.
 */
export function chooser<T>(
  sni: NonNullable<TlsServerOptions["sni"]>,
  make: (certificate: TlsCertificate, name: string) => T,
): Chooser<T> {
  if (typeof sni === "function") return fromCallback(sni, make);
  const found = new Map<string, T>();
  for (const [name, certificate] of Object.entries(sni)) {
    found.set(name.toLowerCase(), make(certificate, name));
  }
  return (name) => {
    const normal = normalName(name);
    if (normal === undefined) return undefined;
    return found.get(normal) ??
      found.get("*" + normal.slice(normal.indexOf(".")));
  };
}

/** A callback that gives the same object again has its result made once. */
function fromCallback<T>(
  sni: (name: string) => MaybePromise<TlsCertificate | undefined>,
  make: (certificate: TlsCertificate, name: string) => T,
): Chooser<T> {
  interface Made extends TlsCertificate {
    readonly result: T;
  }
  const known = new WeakMap<TlsCertificate, Made>();
  return async (name) => {
    const normal = normalName(name);
    if (normal === undefined) return undefined;
    const given = await sni(normal);
    if (given == null) return undefined;
    if (typeof given !== "object") {
      throw new TypeError(`It gave no { cert, key }: ${typeof given}`);
    }
    const { cert, key } = given;
    const before = known.get(given);
    if (before !== undefined && before.cert === cert && before.key === key) {
      return before.result;
    }
    const result = make({ cert, key }, normal);
    known.set(given, { cert, key, result });
    return result;
  };
}
