import { prefixOf } from "./length_prefixed.ts";
import type { LengthPrefix } from "./length_prefixed.ts";
import { map } from "./map.ts";
import { SizeLimitError } from "./errors.ts";
import { encode } from "./to_readable.ts";
import type { Bytes, Operator } from "./types.ts";

/**
 * The opposite of `lengthPrefixed`: each message with its length before it, as
 * one piece. One that is longer than the length can say fails with a
 * `SizeLimitError`.
 *
 * @example
 * ```ts
 * import { frameLengthPrefixed, from, hexDump } from "@sluice/net/streams";
 *
 * const frames = frameLengthPrefixed({ bytes: 2 })(from(["hi"]));
 * for await (const frame of frames) console.log(hexDump(frame));
 * ```
 */
export function frameLengthPrefixed(
  prefix: LengthPrefix,
): Operator<Bytes, Uint8Array> {
  const { bytes: size, littleEndian } = prefixOf(prefix);
  const limit = size === 8 ? Number.MAX_SAFE_INTEGER : 2 ** (8 * size) - 1;
  return map((message) => {
    const bytes = encode(message);
    if (bytes.byteLength > limit) {
      throw new SizeLimitError(
        `Cannot frame ${bytes.byteLength} bytes: a length of ${size} bytes says ${limit} at most`,
        { limit },
      );
    }
    const frame = new Uint8Array(size + bytes.byteLength);
    let left = bytes.byteLength;
    for (let i = 0; i < size; i++) {
      frame[littleEndian ? i : size - 1 - i] = left % 256;
      left = Math.floor(left / 256);
    }
    frame.set(bytes, size);
    return frame;
  });
}
