import { CacheEngine } from "./_cache_engine.ts";
import type { Heuristic } from "./_cache_policy.ts";
import type { MaybePromise } from "../streams/types.ts";
import { MemoryStore } from "./cache_store.ts";
import type { CacheStore } from "./cache_store.ts";
import { markCache } from "./_client_context.ts";
import { checkKnown } from "./_client_options.ts";
import type { ClientMiddleware } from "./_client_types.ts";

/** How long what says nothing of it is fresh (RFC 9111, 4.2.2). */
export interface CacheHeuristic {
  /** This part of the time since `Last-Modified`. @default {0.1} */
  fraction?: number;
  /** Seconds at most. @default one day */
  max?: number;
}

/** How a cache works. */
export interface CacheOptions {
  /**
   * Bytes that a body may have to be stored; `maxEntrySize` of the store
   * counts, too. @default 8 MiB
   */
  maxEntrySize?: number;
  /**
   * Milliseconds that a call of the store may take: past it, it counts as one
   * that throws, and the store is not asked for ten times as long.
   * @default 2000
   */
  storeTimeout?: number;
  /**
   * How long what says nothing of it is fresh; `false`: it is validated each
   * time. @default {true}
   */
  heuristic?: boolean | CacheHeuristic;
  /**
   * Names whose responses they are: a response is given to requests of the
   * same partition only. Those with another `tls` are always apart.
   *
   * @default a hash of `Authorization` and of cookies that come with the
   * request itself; cookies of the client's own jar are no difference
   */
  partition?: (request: Request) => MaybePromise<string>;
  /** The time in milliseconds since 1970. @default Date.now */
  now?: () => number;
  /** Told of what a store throws: it counts as nothing found. */
  onError?: (error: unknown) => void;
}

const KNOWN = new Set([
  ...["maxEntrySize", "storeTimeout", "heuristic", "partition", "now"],
  "onError",
]);
const MAX_ENTRY = 8 * 1024 * 1024;
const STORE_TIME = 2_000;
const DAY = 24 * 60 * 60;

/**
 * Middleware for `use` of a `Client`: a private HTTP cache (RFC 9111). It
 * answers GET and HEAD from what it has stored while that is fresh, validates
 * with `ETag` and `Last-Modified` what is not, tells variants apart by `Vary`,
 * and forgets what an unsafe method changed. `stale-while-revalidate` and
 * `stale-if-error` (RFC 5861) are honoured, so are the directives of requests
 * and `cache` of a request: `"default"`, `"no-store"`, `"reload"`,
 * `"no-cache"`, `"force-cache"` and `"only-if-cached"`; with the last one it
 * rejects with a `FetchError` (`ERR_NOT_CACHED`) where nothing is stored, and
 * with the directive `only-if-cached` it answers with 504.
 *
 * A body is stored as it is read, once all of it was read and if it is not too
 * large; who cancels it stores nothing. What a redirect led to is stored as the
 * answer of where it led; redirects themselves only with `redirect: "manual"`.
 * A HEAD that had to ask the server makes what is stored as fresh as its answer
 * says, or has it forgotten when it is not the same (RFC 9111, 4.3.5). Partial
 * responses are not stored; requests with `Range` or conditions of their own
 * pass by. What is answered or asked by the cache has a field `Cache-Status`
 * (RFC 9211), e.g. `sluice; hit; ttl=60` or
 * `sluice; fwd=stale; fwd-status=304`; what passes by has none of its own.
 *
 * Throws a `TypeError` or `RangeError` for options that make no sense.
 *
 * @example
 * ```ts
 * import { cache, Client, serve } from "@sluice/net/http";
 *
 * const server = await serve(
 *   () => new Response("hello", { headers: { "cache-control": "max-age=60" } }),
 *   { hostname: "127.0.0.1", port: 0 },
 * );
 * const client = new Client({ use: [cache()] });
 * await client.get(server.url).text();
 * const { headers } = await client.get(server.url);
 * console.log(headers.get("cache-status")); // sluice; hit; ttl=60
 * await client.close();
 * await server.close();
 * ```
 *
 * @param store Where responses are kept; by default 64 MiB of memory.
 * @param options Bounds, and whose responses they are.
 */
export function cache(
  store: CacheStore = new MemoryStore(),
  options: CacheOptions = {},
): ClientMiddleware {
  for (const name of ["get", "put", "delete"] as const) {
    if (typeof store?.[name] !== "function") {
      throw new TypeError("Cannot cache: a store has get, put and delete");
    }
  }
  checkKnown(options, KNOWN, "cache");
  const { maxEntrySize = MAX_ENTRY, heuristic = true } = options;
  const { storeTimeout = STORE_TIME } = options;
  const { partition, now = Date.now, onError } = options;
  atLeast(maxEntrySize, "maxEntrySize");
  atLeast(storeTimeout, "storeTimeout");
  for (const [name, value] of Object.entries({ partition, now, onError })) {
    if (value !== undefined && typeof value !== "function") {
      throw new TypeError(`Cannot cache: ${name} must be a function`);
    }
  }
  const engine = new CacheEngine({
    ...{ store, maxEntrySize, storeTimeout, partition, now, onError },
    heuristic: heuristicOf(heuristic),
  });
  return markCache((request, next) => engine.handle(request, next));
}

function heuristicOf(given: boolean | CacheHeuristic): Heuristic | undefined {
  if (given === false) return undefined;
  const { fraction = 0.1, max = DAY } = given === true ? {} : given;
  atLeast(fraction, "heuristic.fraction");
  atLeast(max, "heuristic.max");
  return { fraction, max };
}

function atLeast(value: number, name: string): void {
  if (typeof value === "number" && value >= 0) return;
  throw new RangeError(`Cannot cache: ${name} must be 0 or more: ${value}`);
}
