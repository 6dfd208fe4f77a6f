import { collect } from "./to_readable.ts";

/**
 * The text of whatever `bytes` takes, decoded as UTF-8 as `Response.text`
 * does: characters may be cut anywhere between two chunks.
 *
 * @example
 * ```ts
 * import { text } from "@sluice/net/streams";
 *
 * console.log(await text(["héllo ", new Uint8Array([0xc3, 0xa9])]));
 * ```
 */
export async function text(x: unknown): Promise<string> {
  if (typeof x === "string") return x;
  return new TextDecoder().decode(await collect(x));
}
