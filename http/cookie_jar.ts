import { MAX_AGE, parseSetCookie } from "./_cookie_parse.ts";

/** A cookie as a jar keeps it; as JSON, too. */
export interface StoredCookie {
  /** May be empty: then the value is sent alone. */
  readonly name: string;
  /** As it came, quotes and all. */
  readonly value: string;
  /** Host that it is for, in lower case. */
  readonly domain: string;
  /** Whether it is for that host alone, not for those below it. */
  readonly hostOnly: boolean;
  /** Path that it is for, with all below it. */
  readonly path: string;
  /** Over TLS only. */
  readonly secure: boolean;
  /** Not for scripts of a page. */
  readonly httpOnly: boolean;
  /** Which requests from other sites carry it; null: not said. */
  readonly sameSite: "strict" | "lax" | "none" | null;
  /** When it ends, in milliseconds since 1970; null: with the session. */
  readonly expires: number | null;
  /** When it was first stored, in milliseconds since 1970. */
  readonly created: number;
}

/** A jar as JSON: what `toJSON` gives and `fromJSON` takes. */
export interface CookieJarJson {
  /** Oldest first. */
  readonly cookies: readonly StoredCookie[];
}

/** What a jar goes by. */
export interface CookieJarOptions {
  /**
   * Whether a domain (in lower case, punycode) is one under which anybody can
   * register, by the list at publicsuffix.org: no cookie is kept for all of
   * it. Without a hook only names without a dot count as such.
   */
  isPublicSuffix?: (domain: string) => boolean;
  /** Cookies kept in all; at least 1. @default {3000} */
  maxCookies?: number;
  /** Cookies kept for one domain; at least 1. @default {180} */
  maxPerDomain?: number;
}

/** From where a cookie is set or asked for. */
export interface CookieAccess {
  /** Whether it is HTTP, not a script: `httpOnly` counts. @default {true} */
  http?: boolean;
  /**
   * Where the request comes from: the same site, another one as somebody goes
   * there by a safe method (`"lax"`), or another one in any other way.
   * @default {"same"}
   */
  site?: "same" | "lax" | "cross";
}

interface Entry {
  cookie: StoredCookie;
  /** Order of first storing; of last use. */
  readonly order: number;
  used: number;
}

/**
 * Keeps the cookies that servers set, and says which of them go with a
 * request, by RFC 6265bis: domains, paths, `Secure`, `HttpOnly`, `SameSite`,
 * the prefixes `__Secure-` and `__Host-`, dates and `Max-Age` (400 days at
 * most). Of more than 4096 bytes (name and value) none is kept; where there
 * are too many, those go that have ended, then those that are not secure, the
 * longest unused first.
 *
 * @example
 * ```ts
 * import { CookieJar } from "@sluice/net/http";
 *
 * const jar = new CookieJar();
 * jar.set("id=7; Path=/; Secure; HttpOnly", "https://example.com/login");
 * console.log(jar.header("https://example.com/")); // "id=7"
 * console.log(jar.header("http://example.com/")); // undefined
 * ```
 */
export class CookieJar implements Iterable<StoredCookie> {
  readonly #domains = new Map<string, Map<string, Entry>>();
  readonly #isPublicSuffix: ((domain: string) => boolean) | undefined;
  readonly #maxCookies: number;
  readonly #maxPerDomain: number;
  #size = 0;
  #clock = 0;

  /** An empty jar. Throws a `RangeError` for limits below 1. */
  constructor(options: CookieJarOptions = {}) {
    const { maxCookies = 3000, maxPerDomain = 180, isPublicSuffix } = options;
    if (!(maxCookies >= 1) || !(maxPerDomain >= 1)) {
      throw new RangeError(
        `Cannot make a jar: maxCookies and maxPerDomain must be 1 or more: ${maxCookies}, ${maxPerDomain}`,
      );
    }
    if (isPublicSuffix !== undefined && typeof isPublicSuffix !== "function") {
      throw new TypeError("Cannot make a jar: isPublicSuffix is no function");
    }
    this.#isPublicSuffix = isPublicSuffix;
    this.#maxCookies = maxCookies;
    this.#maxPerDomain = maxPerDomain;
  }

  /**
   * A jar with what `toJSON` gave, or the text of it; what has ended since is
   * left out. Throws a `TypeError` for what no jar has written, and a
   * `SyntaxError` for text that is no JSON.
   */
  static fromJSON(
    json: CookieJarJson | string,
    options?: CookieJarOptions,
  ): CookieJar {
    const given: unknown = typeof json === "string" ? JSON.parse(json) : json;
    const { cookies } = (given ?? {}) as { cookies?: unknown };
    if (!Array.isArray(cookies)) {
      throw new TypeError("Cannot read a jar: there is no list of cookies");
    }
    const jar = new CookieJar(options);
    const now = Date.now();
    for (const [at, given] of cookies.entries()) {
      const cookie = storedOf(given, now);
      if (cookie === undefined) {
        throw new TypeError(`Cannot read a jar: cookie ${at} is none`);
      }
      if (!isOver(cookie, now)) jar.#put(cookie, now);
    }
    return jar;
  }

  /** How many there are, ended ones that nobody has asked for included. */
  get size(): number {
    return this.#size;
  }

  /**
   * Takes the value of one Set-Cookie that a URL answered with. Tells whether
   * it is kept (or has ended one that was); throws a `TypeError` when the URL
   * is none, and what `isPublicSuffix` throws.
   */
  set(
    setCookie: string,
    url: string | URL,
    options: CookieAccess = {},
  ): boolean {
    const { http = true, site = "same" } = options;
    const { host, path, secure } = placeOf(url);
    const now = Date.now();
    const parsed = parseSetCookie(setCookie, now);
    if (parsed === undefined || (parsed.httpOnly && !http)) return false;
    if (parsed.secure && !secure) return false;
    if (parsed.sameSite !== "none" && site === "cross") return false;
    const domain = this.#domainOf(parsed.domain ?? "", host);
    if (domain === undefined) return false;
    const cookie: StoredCookie = {
      name: parsed.name,
      value: parsed.value,
      domain: domain === "" ? host : domain,
      hostOnly: domain === "",
      path: parsed.path ?? defaultPath(path),
      secure: parsed.secure,
      httpOnly: parsed.httpOnly,
      sameSite: parsed.sameSite ?? null,
      expires: parsed.expires ?? null,
      created: now,
    };
    if (!fitsPrefix(cookie, parsed.path)) return false;
    if (!cookie.secure && !secure && this.#shadowsSecure(cookie, host)) {
      return false;
    }
    const old = this.#domains.get(cookie.domain)?.get(keyOf(cookie));
    if (old?.cookie.httpOnly && !http) return false;
    if (isOver(cookie, now)) {
      this.#remove(cookie);
      return old !== undefined;
    }
    this.#put(
      old === undefined ? cookie : { ...cookie, created: old.cookie.created },
      now,
    );
    return true;
  }

  /** Takes every Set-Cookie of a response's headers. */
  setAll(
    headers: Headers,
    url: string | URL,
    options: CookieAccess = {},
  ): void {
    for (const value of headers.getSetCookie()) this.set(value, url, options);
  }

  /** The cookies that go with a request to a URL, in the order of sending. */
  get(url: string | URL, options: CookieAccess = {}): StoredCookie[] {
    const { http = true, site = "same" } = options;
    const { host, path, secure } = placeOf(url);
    const now = Date.now();
    const found: Entry[] = [];
    for (const domain of domainsOf(host)) {
      const entries = this.#domains.get(domain);
      if (entries === undefined) continue;
      for (const entry of [...entries.values()]) {
        const { cookie } = entry;
        if (isOver(cookie, now)) {
          this.#remove(cookie);
          continue;
        }
        if (cookie.hostOnly && domain !== host) continue;
        if (cookie.secure && !secure) continue;
        if (cookie.httpOnly && !http) continue;
        if (!pathMatches(path, cookie.path)) continue;
        if (!goesFrom(cookie, site)) continue;
        found.push(entry);
      }
    }
    found.sort((a, b) =>
      b.cookie.path.length - a.cookie.path.length || a.order - b.order
    );
    for (const entry of found) entry.used = ++this.#clock;
    return found.map((entry) => entry.cookie);
  }

  /** Value of Cookie for a request to a URL; undefined when it has none. */
  header(url: string | URL, options: CookieAccess = {}): string | undefined {
    const found = this.get(url, options);
    return found.length === 0 ? undefined : found.map(pairOf).join("; ");
  }

  /** Forgets all, those of a domain, or one of it (or several, by path). */
  clear(domain?: string, name?: string): void {
    if (domain === undefined) {
      this.#domains.clear();
      this.#size = 0;
      return;
    }
    const entries = this.#domains.get(domain.toLowerCase());
    for (const { cookie } of [...entries?.values() ?? []]) {
      if (name === undefined || cookie.name === name) this.#remove(cookie);
    }
  }

  /** Forgets those that end with the session. */
  endSession(): void {
    for (const cookie of this) {
      if (cookie.expires === null) this.#remove(cookie);
    }
  }

  /** All that have not ended, oldest first. */
  *[Symbol.iterator](): IterableIterator<StoredCookie> {
    const now = Date.now();
    const all: Entry[] = [];
    for (const entries of this.#domains.values()) all.push(...entries.values());
    all.sort((a, b) => a.order - b.order);
    for (const { cookie } of all) if (!isOver(cookie, now)) yield cookie;
  }

  /** What `JSON.stringify` writes: also those that end with the session. */
  toJSON(): CookieJarJson {
    return { cookies: [...this] };
  }

  /** Domain that a cookie is for: "": the host alone; undefined: refused. */
  #domainOf(given: string, host: string): string | undefined {
    if (given === "") return "";
    for (let i = 0; i < given.length; i++) {
      if (given.charCodeAt(i) > 0x7f) return undefined;
    }
    if (this.#isPublic(given)) return given === host ? "" : undefined;
    return domainMatches(host, given) ? given : undefined;
  }

  #isPublic(domain: string): boolean {
    return this.#isPublicSuffix === undefined
      ? !domain.includes(".")
      : this.#isPublicSuffix(domain);
  }

  /** Whether it would hide a secure cookie from its server (5.7). */
  #shadowsSecure(cookie: StoredCookie, host: string): boolean {
    const shadows = (entries: Map<string, Entry>): boolean => {
      for (const { cookie: old } of entries.values()) {
        if (
          old.secure && old.name === cookie.name &&
          pathMatches(cookie.path, old.path) && !isOver(old, cookie.created)
        ) return true;
      }
      return false;
    };
    for (const domain of domainsOf(host)) {
      const entries = this.#domains.get(domain);
      if (
        entries !== undefined && domainMatches(cookie.domain, domain) &&
        shadows(entries)
      ) return true;
    }
    for (const [domain, entries] of this.#domains) {
      if (domainMatches(domain, cookie.domain) && shadows(entries)) return true;
    }
    return false;
  }

  #put(cookie: StoredCookie, now: number): void {
    let entries = this.#domains.get(cookie.domain);
    if (entries === undefined) {
      entries = new Map();
      this.#domains.set(cookie.domain, entries);
    }
    const key = keyOf(cookie);
    const used = ++this.#clock;
    const old = entries.get(key);
    if (old !== undefined) {
      old.cookie = cookie;
      old.used = used;
      return;
    }
    entries.set(key, { cookie, order: used, used });
    this.#size++;
    if (entries.size > this.#maxPerDomain) this.#evict([entries], now);
    if (this.#size > this.#maxCookies) {
      this.#evict([...this.#domains.values()], now);
    }
  }

  /** Makes room for one: the newest is not the one to go. */
  #evict(among: Map<string, Entry>[], now: number): void {
    let worst: Entry | undefined;
    let rank = 0;
    const over: StoredCookie[] = [];
    for (const entries of among) {
      for (const entry of entries.values()) {
        if (isOver(entry.cookie, now)) {
          over.push(entry.cookie);
          continue;
        }
        if (entry.used === this.#clock) continue;
        const own = entry.cookie.secure ? 1 : 2;
        if (
          worst === undefined || own > rank ||
          (own === rank && entry.used < worst.used)
        ) {
          worst = entry;
          rank = own;
        }
      }
    }
    if (over.length > 0) { for (const cookie of over) this.#remove(cookie); }
    else if (worst !== undefined) this.#remove(worst.cookie);
  }

  #remove(cookie: StoredCookie): void {
    const entries = this.#domains.get(cookie.domain);
    if (!entries?.delete(keyOf(cookie))) return;
    this.#size--;
    if (entries.size === 0) this.#domains.delete(cookie.domain);
  }
}

interface Place {
  host: string;
  path: string;
  secure: boolean;
}

function placeOf(url: string | URL): Place {
  const { hostname, pathname, protocol } = typeof url === "string"
    ? new URL(url)
    : url;
  return {
    host: hostname,
    path: pathname,
    secure: protocol === "https:" || protocol === "wss:",
  };
}

function pairOf({ name, value }: StoredCookie): string {
  return name === "" ? value : `${name}=${value}`;
}

function keyOf({ name, path, hostOnly }: StoredCookie): string {
  // No name has a semicolon, and no path: this is never read in two ways.
  return `${hostOnly ? "h" : "d"}${name};${path}`;
}

function isOver({ expires }: StoredCookie, now: number): boolean {
  return expires !== null && expires <= now;
}

/** As a URL writes them. */
function isAddress(host: string): boolean {
  return host.startsWith("[") || /^[0-9]+(?:\.[0-9]+){3}$/.test(host);
}

/** 5.1.3 */
function domainMatches(host: string, domain: string): boolean {
  return host === domain ||
    (host.endsWith(`.${domain}`) && domain !== "" && !isAddress(host));
}

/** The host and what is above it. */
function domainsOf(host: string): string[] {
  const domains = [host];
  if (isAddress(host)) return domains;
  for (let at = host.indexOf("."); at !== -1; at = host.indexOf(".", at + 1)) {
    domains.push(host.slice(at + 1));
  }
  return domains;
}

/** 5.1.4 */
function defaultPath(path: string): string {
  const at = path.lastIndexOf("/");
  return at <= 0 ? "/" : path.slice(0, at);
}

/** 5.1.4 */
function pathMatches(path: string, under: string): boolean {
  return path === under ||
    (path.startsWith(under) &&
      (under.endsWith("/") || path[under.length] === "/"));
}

/** 4.1.3, and no cookie without a name that looks like one with a prefix. */
function fitsPrefix(cookie: StoredCookie, path: string | undefined): boolean {
  const { name, value, secure, hostOnly } = cookie;
  const text = (name === "" ? value : name).toLowerCase();
  const ofHost = text.startsWith("__host-");
  if (!ofHost && !text.startsWith("__secure-")) return true;
  if (name === "" || !secure) return false;
  return !ofHost || (hostOnly && path === "/");
}

function goesFrom({ sameSite }: StoredCookie, site: string): boolean {
  if (site === "same" || sameSite === "none") return true;
  // One that says nothing is taken for lax (5.6.7.1).
  return sameSite !== "strict" && site === "lax";
}

/** A cookie out of JSON, checked as one that came over the wire. */
function storedOf(given: unknown, now: number): StoredCookie | undefined {
  if (typeof given !== "object" || given === null) return undefined;
  const { name, value, domain, path, sameSite, expires, created, ...flags } =
    given as Record<string, unknown>;
  const { hostOnly, secure, httpOnly } = flags;
  if (
    typeof name !== "string" || typeof value !== "string" ||
    typeof domain !== "string" || typeof path !== "string" ||
    typeof hostOnly !== "boolean" || typeof secure !== "boolean" ||
    typeof httpOnly !== "boolean" || !Number.isFinite(created)
  ) return undefined;
  if (expires !== null && !Number.isFinite(expires)) return undefined;
  if (
    sameSite !== null && sameSite !== "strict" && sameSite !== "lax" &&
    sameSite !== "none"
  ) return undefined;
  const again = parseSetCookie(
    `${name === "" ? "" : `${name}=`}${value}; Path=${path}`,
    now,
  );
  if (
    again?.name !== name || again.value !== value || again.path !== path ||
    domain === "" || domain !== domain.toLowerCase()
  ) return undefined;
  const cookie: StoredCookie = {
    name,
    value,
    domain,
    hostOnly,
    path,
    secure,
    httpOnly,
    sameSite,
    expires: expires === null ? null : Math.min(Number(expires), now + MAX_AGE),
    created: Number(created),
  };
  return fitsPrefix(cookie, path) ? cookie : undefined;
}
