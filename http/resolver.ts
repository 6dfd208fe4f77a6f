import { DnsError, NetError } from "../streams/errors.ts";
import type { Clock } from "../streams/types.ts";
import { familyOf } from "../tcp/_ip.ts";
import { orAbort, systemLookup } from "../tcp/_lookup.ts";
import type { LookupAddress, LookupOptions } from "../tcp/_lookup.ts";
import { ask, limited } from "./_dns_exchange.ts";
import type { DnsServer } from "./_dns_exchange.ts";
import { A, AAAA, isHostName, MAX_CHAIN, NXDOMAIN } from "./_dns_message.ts";

/** How a resolver asks, and what it keeps. */
export interface ResolverOptions {
  /**
   * Servers of DNS, recursive ones: addresses, with a port where it is not 53
   * (`"192.0.2.1"`, `"192.0.2.1:5353"`, `"[2001:db8::1]:5353"`). The next one
   * is asked when one fails, and first from then on.
   *
   * @default none: the system's resolver is asked
   */
  servers?: readonly string[];
  /**
   * Milliseconds that addresses are kept: bounds of what their records say, or
   * a number in place of that. The system tells no time: with it, 30 seconds
   * within these bounds. @default {{ min: 0, max: 86_400_000 }}
   */
  ttl?: number | { readonly min?: number; readonly max?: number };
  /**
   * Milliseconds at most that it is remembered that a name has no address; the
   * zone says how long (RFC 2308, 5), and nothing is remembered if it does
   * not. With the system's resolver it is 5 seconds. @default {300_000}
   */
  negativeTtl?: number;
  /**
   * Domains that a name may be meant within: one with less than `ndots` dots
   * is looked for there first, others last. A dot at its end makes a name
   * stand for itself. @default none
   */
  search?: readonly string[];
  /** See `search`. @default {1} */
  ndots?: number;
  /** Milliseconds for each question to a server. @default {3000} */
  timeout?: number;
  /** How often each server is asked. @default {2} */
  attempts?: number;
  /** Answers that are kept; the one longest unused goes first. @default {4096} */
  size?: number;
  /** What the answers age by. @default the runtime's time */
  clock?: Clock;
}

/** A `Lookup` with a memory. */
export interface Resolver {
  /** Addresses of a name, IPv6 first; of an address, itself. */
  (
    hostname: string,
    options?: Partial<LookupOptions>,
  ): Promise<readonly LookupAddress[]>;
  /** Answers that are kept. */
  readonly size: number;
  /** Forgets them. */
  clear(): void;
}

/** What there is to know of the addresses of a name. */
interface Found {
  readonly addresses: readonly LookupAddress[];
  /** When that is over, by the clock. */
  readonly until: number;
}

/** A question under way, and how many wait for its answer. */
interface Flight {
  readonly promise: Promise<Found>;
  readonly controller: AbortController;
  waiting: number;
}

/** What a lookup asks, all checked. */
interface Settings {
  readonly servers: readonly DnsServer[];
  readonly min: number;
  readonly max: number;
  /** In place of what the records say. */
  readonly fixed: number | undefined;
  readonly negativeTtl: number;
  readonly search: readonly string[];
  readonly ndots: number;
  readonly timeout: number;
  readonly attempts: number;
  readonly size: number;
}

const SYSTEM_TTL = 30_000;
const SYSTEM_NEGATIVE_TTL = 5000;
/** How long the addresses of one family wait for those of the other. */
const OTHER_FAMILY = 250;
const NEVER = new AbortController().signal;
const KNOWN = new Set([
  ...["servers", "ttl", "negativeTtl", "search", "ndots", "timeout"],
  ...["attempts", "size", "clock"],
]);
const OF_SERVERS = ["search", "ndots", "attempts"] as const;

/**
 * Makes a `lookup` that remembers: for as long as records of DNS say, it does
 * not ask again; lookups of one name at a time share one question.
 *
 * With `servers` it asks them itself, over UDP with EDNS0 and over TCP where
 * an answer does not fit (RFC 1035, 7766), A and AAAA side by side; answers
 * that are malformed, or to what was not asked, do not count. It does not read
 * `/etc/hosts`; `localhost` is loopback (RFC 6761). A name without addresses
 * rejects with a `DnsError` `ENOTFOUND`, and one that no server answers for
 * with `EAI_AGAIN`, which is `retryable`.
 *
 * @example
 * ```ts
 * import { Client, resolver } from "@sluice/net/http";
 *
 * const lookup = resolver({ ttl: { min: 1000, max: 60_000 } });
 * console.log(await lookup("localhost", { family: 4 }));
 * const client = new Client({ lookup });
 * await client.close();
 * ```
 */
export function resolver(options: ResolverOptions = {}): Resolver {
  const cache = new ResolverCache(settingsOf(options), options.clock);
  const lookup = (hostname: string, given: Partial<LookupOptions> = {}) =>
    cache.lookup(hostname, given.family, given.signal ?? NEVER);
  return Object.defineProperties(lookup, {
    size: { get: () => cache.size },
    clear: { value: () => cache.clear() },
  }) as Resolver;
}

class ResolverCache {
  readonly #settings: Settings;
  readonly #clock: Pick<Clock, "now">;
  readonly #kept = new Map<string, Found>();
  readonly #flights = new Map<string, Flight>();
  /** The server that is asked first. */
  #first = 0;

  constructor(settings: Settings, clock: Clock | undefined) {
    this.#settings = settings;
    this.#clock = clock ?? performance;
  }

  get size(): number {
    return this.#kept.size;
  }

  clear(): void {
    this.#kept.clear();
    // Who asks from now on gets what is so from now on.
    this.#flights.clear();
  }

  async lookup(
    hostname: string,
    family: 4 | 6 | undefined,
    signal: AbortSignal,
  ): Promise<readonly LookupAddress[]> {
    signal.throwIfAborted();
    const { servers } = this.#settings;
    const literal = familyOf(hostname);
    if (literal !== 0) return [{ address: hostname, family: literal }];
    if (servers.length === 0) {
      const { addresses } = await this.#get(
        `system ${hostname.toLowerCase()}`,
        signal,
        (inner) => this.#askSystem(hostname, inner),
      );
      const wanted = addresses.filter((found) =>
        family === undefined || found.family === family
      );
      if (wanted.length === 0) throw notFound(hostname);
      return wanted;
    }
    for (const name of this.#names(hostname)) {
      const found = loopback(name, family) ??
        await this.#both(name, family, signal);
      if (found.length > 0) return found;
    }
    throw notFound(hostname);
  }

  /** What a name may stand for, in the order to try. */
  #names(hostname: string): string[] {
    const { search, ndots } = this.#settings;
    const name = hostname.replace(/\.$/, "").toLowerCase();
    if (!isHostName(name)) {
      throw new DnsError(
        `Cannot look up ${JSON.stringify(hostname)}: it is no host name`,
      );
    }
    if (name !== hostname.toLowerCase()) return [name];
    const within = search.map((domain) => `${name}.${domain}`)
      .filter(isHostName);
    return name.split(".").length - 1 >= ndots
      ? [name, ...within]
      : [...within, name];
  }

  /** IPv4 and IPv6 at the same time. */
  async #both(
    name: string,
    family: 4 | 6 | undefined,
    signal: AbortSignal,
  ): Promise<readonly LookupAddress[]> {
    if (family !== undefined) {
      return (await this.#query(name, family === 4 ? A : AAAA, signal))
        .addresses;
    }
    const given = new AbortController();
    const abort = () => given.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    const results: (Found | undefined)[] = [];
    let error: unknown;
    let left = 2;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await new Promise<void>((resolve) => {
        [AAAA, A].forEach((type, at) => {
          this.#query(name, type, given.signal).then((found) => {
            results[at] = found;
            // RFC 8305, 3: a family that is late keeps nobody waiting.
            if (found.addresses.length > 0) {
              timer ??= setTimeout(resolve, OTHER_FAMILY);
            }
          }, (cause) => {
            error ??= cause;
          }).then(() => {
            if (--left === 0) resolve();
          });
        });
      });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
    signal.throwIfAborted();
    const found = results.flatMap((result) => result?.addresses ?? []);
    // That one family has none says nothing when the other is not known.
    if (found.length === 0 && error !== undefined) throw error;
    return found;
  }

  #query(name: string, type: number, signal: AbortSignal): Promise<Found> {
    return this.#get(
      `${type} ${name}`,
      signal,
      (inner) => this.#askAll(name, type, inner),
    );
  }

  /** What is kept, what is on its way, or what comes of asking. */
  #get(
    key: string,
    signal: AbortSignal,
    run: (signal: AbortSignal) => Promise<Found>,
  ): Promise<Found> {
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      this.#kept.delete(key);
      if (kept.until > this.#clock.now()) {
        this.#kept.set(key, kept);
        return Promise.resolve(kept);
      }
    }
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const controller = new AbortController();
      const made: Flight = flight = {
        controller,
        waiting: 0,
        promise: run(controller.signal).then((found) => {
          if (this.#flights.get(key) === made) this.#keep(key, found);
          return found;
        }).finally(() => this.#land(key, made)),
      };
      made.promise.catch(() => {});
      this.#flights.set(key, made);
    }
    const shared = flight;
    shared.waiting++;
    return orAbort(shared.promise, signal).finally(() => {
      if (--shared.waiting > 0) return;
      // Nobody waits any more.
      this.#land(key, shared);
      shared.controller.abort();
    });
  }

  #land(key: string, flight: Flight): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }

  #keep(key: string, found: Found): void {
    const { size } = this.#settings;
    if (found.until <= this.#clock.now() || size === 0) return;
    this.#kept.set(key, found);
    if (this.#kept.size <= size) return;
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest);
      return;
    }
  }

  async #askSystem(hostname: string, signal: AbortSignal): Promise<Found> {
    const { timeout } = this.#settings;
    try {
      const addresses = await limited(
        timeout,
        signal,
        (inner) => orAbort(systemLookup(hostname, { signal: inner }), inner),
      );
      return { addresses, until: this.#positive(SYSTEM_TTL) };
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (code !== "ENOTFOUND" && code !== "ENODATA") {
        throw failed(hostname, error);
      }
      return { addresses: [], until: this.#negative(SYSTEM_NEGATIVE_TTL) };
    }
  }

  /** Asks until all has been said of a name, other names that it has, too. */
  async #askAll(
    hostname: string,
    type: number,
    signal: AbortSignal,
  ): Promise<Found> {
    let name = hostname;
    let ttl = Infinity;
    for (let chain = 0; chain <= MAX_CHAIN; chain++) {
      const answer = await this.#askServers(hostname, name, type, signal);
      ttl = Math.min(ttl, answer.ttl);
      chain += answer.chain;
      if (answer.addresses.length > 0) {
        const family = type === A ? 4 : 6;
        const addresses = answer.addresses.map((address) => ({
          address,
          family,
        }));
        return { addresses, until: this.#positive(ttl * 1000) };
      }
      const { negativeTtl, rcode } = answer;
      if (
        answer.name === name || negativeTtl !== undefined || rcode === NXDOMAIN
      ) {
        const seconds = Math.min(ttl, negativeTtl ?? 0);
        return { addresses: [], until: this.#negative(seconds * 1000) };
      }
      // The server left it to us to go on.
      name = answer.name;
    }
    throw failed(
      hostname,
      new DnsError(`More than ${MAX_CHAIN} names stand for each other`),
    );
  }

  async #askServers(
    hostname: string,
    name: string,
    type: number,
    signal: AbortSignal,
  ): ReturnType<typeof ask> {
    const { servers, attempts, timeout } = this.#settings;
    let last: unknown;
    for (let i = 0; i < attempts * servers.length; i++) {
      const at = this.#first;
      try {
        return await limited(
          timeout,
          signal,
          (inner) => ask(servers[at], { name, type }, inner),
        );
      } catch (error) {
        signal.throwIfAborted();
        last = error;
        if (this.#first === at) this.#first = (at + 1) % servers.length;
      }
    }
    throw failed(hostname, last);
  }

  #positive(told: number): number {
    const { fixed, min, max } = this.#settings;
    const ms = fixed ?? Math.min(Math.max(told, min), max);
    return this.#clock.now() + ms;
  }

  #negative(told: number): number {
    return this.#clock.now() + Math.min(told, this.#settings.negativeTtl);
  }
}

/** Addresses of localhost and what is under it; nobody is asked (RFC 6761). */
function loopback(
  name: string,
  family: 4 | 6 | undefined,
): LookupAddress[] | undefined {
  if (name !== "localhost" && !name.endsWith(".localhost")) return undefined;
  return [{ address: "::1", family: 6 }, { address: "127.0.0.1", family: 4 }]
    .filter((found) => family === undefined || found.family === family);
}

function notFound(hostname: string): DnsError {
  return new DnsError(`Cannot look up ${hostname}: it has no address`);
}

function failed(hostname: string, cause: unknown): DnsError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new DnsError(`Cannot look up ${hostname}: ${why}`, {
    code: "EAI_AGAIN",
    retryable: true,
    cause: cause instanceof NetError ? cause : undefined,
  });
}

function settingsOf(options: ResolverOptions): Settings {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !KNOWN.has(name)) {
      throw new TypeError(`Cannot make a resolver: no such option: ${name}`);
    }
  }
  const { servers = [], ttl, search = [], ndots = 1, attempts = 2 } = options;
  const { negativeTtl = 300_000, timeout = 3000, size = 4096 } = options;
  for (const name of OF_SERVERS) {
    if (options.servers === undefined && options[name] !== undefined) {
      throw new TypeError(
        `Cannot make a resolver: ${name} has no meaning without servers`,
      );
    }
  }
  if (!Array.isArray(servers) || !Array.isArray(search)) {
    throw new TypeError("Cannot make a resolver: servers and search are lists");
  }
  if (options.servers !== undefined && servers.length === 0) {
    throw new TypeError("Cannot make a resolver: the list of servers is empty");
  }
  const bounds = typeof ttl === "object" && ttl !== null ? ttl : {};
  const { min = 0, max = 86_400_000 } = bounds;
  const fixed = typeof ttl === "object" ? undefined : ttl;
  const amounts = {
    "ttl.min": min,
    "ttl.max": max,
    ttl: fixed ?? 0,
    ...{ negativeTtl, ndots, timeout, attempts, size },
  };
  for (const [name, value] of Object.entries(amounts)) {
    const least = name === "attempts" || name === "timeout" ? 1 : 0;
    if (typeof value !== "number" || !(value >= least)) {
      throw new RangeError(
        `Cannot make a resolver: ${name} must be a number of ${least} or more: ${value}`,
      );
    }
  }
  if (min > max) {
    throw new RangeError("Cannot make a resolver: ttl.min is above ttl.max");
  }
  return {
    servers: servers.map(serverOf),
    ...{ min, max, fixed, negativeTtl, ndots, attempts, size },
    search: search.map((domain) => {
      const name = String(domain).replace(/\.$/, "").toLowerCase();
      if (isHostName(name)) return name;
      throw new TypeError(
        `Cannot make a resolver: search holds no domain: ${domain}`,
      );
    }),
    timeout: Math.min(timeout, 2 ** 31 - 1),
  };
}

function serverOf(text: string): DnsServer {
  const server = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const hostname = familyOf(text) === 6 ? text : server?.[1] ?? server?.[2];
  const port = familyOf(text) === 6 ? 53 : Number(server?.[3] ?? 53);
  const family = hostname === undefined ? 0 : familyOf(hostname);
  if (
    hostname === undefined || family === 0 || port < 1 || port > 65_535 ||
    (server?.[1] !== undefined && family !== 6)
  ) {
    throw new TypeError(
      `Cannot make a resolver: a server must be an IP address, with or without a port: ${text}`,
    );
  }
  return { hostname, port };
}
