import type { MaybePromise } from "../streams/types.ts";

/**
 * A response as a cache keeps it: plain data that a store may serialise, and
 * must not change.
 */
export interface StoredResponse {
  /** The URL that it is the answer of. */
  readonly url: string;
  /** Its status, 200 mostly. */
  readonly status: number;
  /** The text behind the status. */
  readonly statusText: string;
  /** Its fields, the names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Its body, decoded; `undefined` when it has none. */
  readonly body: Uint8Array | undefined;
  /**
   * What the request had of the fields that `Vary` names; `null` for one that
   * it had not. Of `Authorization` and `Cookie` there is a hash.
   */
  readonly vary: readonly (readonly [name: string, value: string | null])[];
  /** Whose it is: others do not get it. */
  readonly partition: string;
  /** When it was asked for, in milliseconds since 1970. */
  readonly requestTime: number;
  /** When its head came, in milliseconds since 1970. */
  readonly responseTime: number;
}

/**
 * Where a cache keeps responses. Under each key there is a list, for what
 * `Vary` tells apart, with the newest one first. It may forget anything at any
 * time. What it throws counts as nothing found, and so does what takes longer
 * than `storeTimeout` of the cache.
 */
export interface CacheStore {
  /**
   * Bytes that a body may have; a larger one is not even gathered.
   * @default as the cache has it
   */
  readonly maxEntrySize?: number;
  /** What is kept under a key, if anything is. */
  get(key: string): MaybePromise<readonly StoredResponse[] | undefined>;
  /** Keeps this under a key, in place of what was there. */
  put(key: string, responses: readonly StoredResponse[]): MaybePromise<unknown>;
  /** Forgets what is under a key, if anything is. */
  delete(key: string): MaybePromise<unknown>;
}

/** How much a `MemoryStore` keeps. */
export interface MemoryStoreOptions {
  /** Bytes in all, fields and keys included. @default 64 MiB */
  maxSize?: number;
  /** Bytes that a body may have. @default 8 MiB, but at most an eighth of `maxSize` */
  maxEntrySize?: number;
}

/** Bytes that a response takes besides what it holds, roughly. */
const OVERHEAD = 512;

interface Kept {
  readonly responses: readonly StoredResponse[];
  readonly size: number;
}

/**
 * Keeps responses in memory, and forgets those that were not asked for the
 * longest time when there are too many. It throws a `RangeError` for options
 * that make no sense.
 *
 * @example
 * ```ts
 * import { cache, Client, MemoryStore } from "@sluice/net/http";
 *
 * const store = new MemoryStore({ maxSize: 16 * 1024 * 1024 });
 * const client = new Client({ use: [cache(store)] });
 * await client.close();
 * ```
 */
export class MemoryStore implements CacheStore {
  /** Bytes that a body may have. */
  readonly maxEntrySize: number;
  readonly #maxSize: number;
  /** The one used last is the last one. */
  readonly #kept = new Map<string, Kept>();
  #size = 0;

  /** Nothing is in it at first. */
  constructor(options: MemoryStoreOptions = {}) {
    const { maxSize = 64 * 1024 * 1024 } = options;
    const { maxEntrySize = Math.min(8 * 1024 * 1024, maxSize / 8) } = options;
    for (const [name, value] of Object.entries({ maxSize, maxEntrySize })) {
      if (typeof value === "number" && value >= 0) continue;
      throw new RangeError(
        `Cannot make a store: ${name} must be 0 or more: ${value}`,
      );
    }
    this.#maxSize = maxSize;
    this.maxEntrySize = maxEntrySize;
  }

  /** Bytes that are kept, roughly. */
  get size(): number {
    return this.#size;
  }

  /** Keys that something is kept under. */
  get count(): number {
    return this.#kept.size;
  }

  /** What is kept under a key; it is then the last one to be forgotten. */
  get(key: string): readonly StoredResponse[] | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept.responses;
  }

  /** Keeps these, and forgets others if need be. */
  put(key: string, responses: readonly StoredResponse[]): void {
    this.delete(key);
    const list: StoredResponse[] = [];
    let size = key.length * 2;
    for (const response of responses) {
      const bytes = sizeOf(response);
      // The newest ones come first: those that there is room for stay.
      if (
        (response.body?.byteLength ?? 0) > this.maxEntrySize ||
        size + bytes > this.#maxSize
      ) continue;
      list.push(response);
      size += bytes;
    }
    if (list.length === 0) return;
    this.#kept.set(key, { responses: list, size });
    this.#size += size;
    for (const oldest of this.#kept.keys()) {
      if (this.#size <= this.#maxSize) break;
      this.delete(oldest);
    }
  }

  /** Forgets what is under a key. */
  delete(key: string): void {
    this.#size -= this.#kept.get(key)?.size ?? 0;
    this.#kept.delete(key);
  }

  /** Forgets everything. */
  clear(): void {
    this.#kept.clear();
    this.#size = 0;
  }
}

function sizeOf({ url, headers, vary, body }: StoredResponse): number {
  let size = OVERHEAD + url.length * 2 + (body?.byteLength ?? 0);
  for (const [name, value] of [...headers, ...vary]) {
    size += (name.length + (value?.length ?? 0)) * 2;
  }
  return size;
}
