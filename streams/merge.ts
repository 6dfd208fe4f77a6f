import { from } from "./from.ts";
import { MergedSource } from "./_merged.ts";
import type { Source } from "./types.ts";

/**
 * The messages of all sources as they come; no source is kept waiting by
 * another. It ends when all have. One that fails fails the whole, and the
 * others are destroyed.
 *
 * @example
 * ```ts
 * import { from, merge } from "@sluice/net/streams";
 *
 * for await (const n of merge(from([1, 2]), from([3]))) console.log(n);
 * ```
 */
export function merge<T>(...sources: Source<T>[]): Source<T> {
  return new MergedSource<T>(sources.map((source) => from(source)));
}
