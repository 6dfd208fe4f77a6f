import { collect } from "./to_readable.ts";

/**
 * All the bytes of whatever `toReadable` takes: a string, bytes, a `Blob`,
 * `FormData`, `URLSearchParams`, a `Request` or `Response`, a stream, an
 * (async) iterable or a source. What it gives is a copy of its own.
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
