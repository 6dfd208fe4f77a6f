import type { RequestHead } from "./_h1_types.ts";

/** 1 for what the URL parser leaves as it is, in a path and in a query. */
const PLAIN = new Uint8Array(128);
for (
  const char
    of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~!$&()*+,;=:@"
) {
  PLAIN[char.charCodeAt(0)] = 1;
}

/** Whether the URL parser would give the target back unchanged. */
function isCanonical(target: string): boolean {
  let query = false;
  for (let i = 1; i < target.length; i++) {
    const c = target.charCodeAt(i);
    if (c < 128 && PLAIN[c] === 1) continue;
    if (c === 0x2f) continue;
    if (c === 0x3f) {
      query = true;
    } else if (c === 0x2e) {
      // A segment that begins with a dot may be one to be resolved.
      if (!query && target.charCodeAt(i - 1) === 0x2f) return false;
    } else if (c === 0x25) {
      // So may one that begins with an encoded dot.
      if (
        !query && target.charCodeAt(i + 1) === 0x32 &&
        (target.charCodeAt(i + 2) | 0x20) === 0x65
      ) return false;
    } else return false;
  }
  return true;
}

/** The URL of a request, as `URL` writes it. `origin` is so already. */
export function canonicalTarget(origin: string, head: RequestHead): string {
  const { target, method } = head;
  if (target.charCodeAt(0) === 0x2f) {
    const url = origin + target;
    return isCanonical(target) ? url : new URL(url).href;
  }
  // RFC 9112, 3.3: the asterisk form and CONNECT have neither path nor query.
  if (method === "CONNECT" || target === "*") return `${origin}/`;
  const path = /^[^:]*:\/\/[^/?]*(.*)$/.exec(target)?.[1] ?? "";
  return new URL(path.startsWith("/") ? origin + path : `${origin}/${path}`)
    .href;
}

/** Origins by `Host`, which is nearly always the same. */
export class Origins {
  readonly #scheme: string;
  readonly #fallback: string;
  readonly #known = new Map<string, string>();
  #host = "";
  #origin: string;

  /** `fallback` is for those who name no host. */
  constructor(scheme: "http" | "https", fallback: string) {
    this.#scheme = scheme;
    this.#fallback = fallback;
    this.#origin = fallback;
  }

  /** The origin of a host, as `URL` writes it; `undefined` when it is none. */
  of(host: string): string | undefined {
    if (host === this.#host) return this.#origin;
    if (host === "") return this.#fallback;
    let origin = this.#known.get(host);
    if (origin === undefined) {
      try {
        origin = new URL(`${this.#scheme}://${host}/`).href.slice(0, -1);
      } catch {
        return undefined;
      }
      if (this.#known.size >= 256) this.#known.clear();
      this.#known.set(host, origin);
    }
    this.#host = host;
    this.#origin = origin;
    return origin;
  }
}
