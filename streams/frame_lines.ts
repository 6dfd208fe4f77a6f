import { map } from "./map.ts";
import { encode } from "./to_readable.ts";
import type { Bytes, Operator } from "./types.ts";

/**
 * The opposite of `lines`: each message as UTF-8 with an LF after it. One that
 * holds a line break itself fails with a `TypeError`: it would be read as two.
 *
 * @example
 * ```ts
 * import { frameLines, from, text } from "@sluice/net/streams";
 *
 * console.log(await text(frameLines()(from(["one", "two"]))));
 * ```
 */
export function frameLines(): Operator<Bytes, Uint8Array> {
  return map(frameLine);
}

function frameLine(message: Bytes): Uint8Array {
  const bytes = typeof message === "string"
    ? encode(`${message}\n`)
    : withLineFeed(encode(message));
  if (bytes.indexOf(0x0a) !== bytes.byteLength - 1) {
    throw new TypeError("Cannot frame a line: it holds a line break");
  }
  return bytes;
}

function withLineFeed(bytes: Uint8Array): Uint8Array {
  const line = new Uint8Array(bytes.byteLength + 1);
  line.set(bytes);
  line[bytes.byteLength] = 0x0a;
  return line;
}
