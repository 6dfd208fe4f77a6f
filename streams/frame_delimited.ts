import { find } from "./_framing.ts";
import { map } from "./map.ts";
import { encode } from "./to_readable.ts";
import type { Bytes, Operator } from "./types.ts";

/**
 * The opposite of `delimited`: each message with the delimiter after it, as
 * one piece. One that would be cut in the wrong place, because it holds the
 * delimiter or ends with the beginning of it, fails with a `TypeError`.
 *
 * @example
 * ```ts
 * import { frameDelimited, from, text } from "@sluice/net/streams";
 *
 * console.log(await text(frameDelimited("\r\n")(from(["one", "two"]))));
 * ```
 */
export function frameDelimited(
  delimiter: Bytes,
): Operator<Bytes, Uint8Array> {
  const end = encode(delimiter).slice();
  if (end.byteLength === 0) {
    throw new RangeError("Cannot frame: the delimiter is empty");
  }
  return map((message) => {
    const bytes = encode(message);
    const frame = new Uint8Array(bytes.byteLength + end.byteLength);
    frame.set(bytes);
    frame.set(end, bytes.byteLength);
    if (find(frame, end) !== bytes.byteLength) {
      throw new TypeError("Cannot frame a message: it holds the delimiter");
    }
    return frame;
  });
}
