import { collect } from "./to_readable.ts";

/**
 * All the bytes of a string, bytes, a `Blob`, a `Response`, a stream, an
 * (async) iterable or a source.
 *
 * @example
 * ```ts
 * import { bytes } from "@sluice/net/streams";
 *
 * console.log((await bytes(["a", "bc"])).byteLength);
 * ```
 */
export function bytes(x: unknown): Promise<Uint8Array> {
  return collect(x);
}
