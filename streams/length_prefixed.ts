import { Carry } from "./_carry.ts";
import { deliver, limitOf, tooLong } from "./_framing.ts";
import type { FramingOptions } from "./_framing.ts";
import { ClosedError } from "./errors.ts";
import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import { encode } from "./to_readable.ts";
import type { Bytes, MaybePromise, Operator } from "./types.ts";

/** How the length of a message is written in front of it. */
export interface LengthPrefix {
  /** Bytes of the length: an unsigned integer. */
  bytes: 1 | 2 | 4 | 8;
  /** Whether its lowest byte comes first. @default {false} */
  littleEndian?: boolean;
}

/** The prefix with all that it needs, or an error when there is no such one. */
export function prefixOf(prefix: LengthPrefix): Required<LengthPrefix> {
  const { bytes, littleEndian = false } = prefix;
  if (bytes === 1 || bytes === 2 || bytes === 4 || bytes === 8) {
    return { bytes, littleEndian };
  }
  throw new RangeError(
    `Cannot frame: a length has 1, 2, 4 or 8 bytes: ${bytes}`,
  );
}

/** Cuts bytes where the lengths in them say. */
class LengthPrefixedStep implements Step<Bytes> {
  readonly #next: Step<Uint8Array>;
  readonly #prefix: Required<LengthPrefix>;
  readonly #limit: number;
  readonly #carry = new Carry();
  /** Bytes of prefix and message that are still to come before it is whole. */
  #missing = 0;

  constructor(
    next: Step<Uint8Array>,
    prefix: Required<LengthPrefix>,
    limit: number,
  ) {
    this.#next = next;
    this.#prefix = prefix;
    this.#limit = limit;
  }

  push(message: Bytes): MaybePromise<boolean> {
    let bytes = encode(message);
    const joined = this.#carry.length > 0;
    if (joined) {
      this.#carry.append(bytes);
      if (bytes.byteLength < this.#missing) {
        this.#missing -= bytes.byteLength;
        return false;
      }
      bytes = this.#carry.bytes;
    }
    const frames: Uint8Array[] = [];
    let failure: Error | undefined;
    let start = 0;
    for (;;) {
      const left = bytes.byteLength - start - this.#prefix.bytes;
      const length = left < 0 ? 0 : this.#read(bytes, start);
      if (length > this.#limit) {
        failure = tooLong("message", this.#limit);
        break;
      }
      this.#missing = length - left;
      if (this.#missing > 0) break;
      const from = start + this.#prefix.bytes;
      start = from + length;
      // What is held is written over: what is given is not.
      frames.push(
        joined ? bytes.slice(from, start) : bytes.subarray(from, start),
      );
    }
    if (!joined) this.#carry.append(bytes.subarray(start));
    else if (start === bytes.byteLength) this.#carry.clear();
    else this.#carry.skip(start);
    return deliver(this.#next, frames, failure);
  }

  flush(): MaybePromise<void> {
    if (this.#carry.length > 0) {
      throw new ClosedError(
        `Cannot read a message: it ended ${this.#missing} bytes too early`,
        { code: "ERR_UNEXPECTED_END" },
      );
    }
    return this.#next.flush();
  }

  #read(bytes: Uint8Array, at: number): number {
    const { bytes: size, littleEndian } = this.#prefix;
    let length = 0;
    for (let i = 0; i < size; i++) {
      // Past 2^53 it is inexact, and past every limit.
      length = length * 256 + bytes[littleEndian ? at + size - 1 - i : at + i];
    }
    return length;
  }
}

/**
 * The messages of a source of bytes in which each one follows its length. A
 * length that is over `maxLength` fails at once, before anything is held.
 *
 * @example
 * ```ts
 * import { from, lengthPrefixed, text } from "@sluice/net/streams";
 *
 * const source = from([new Uint8Array([0, 2, 104]), new Uint8Array([105])]);
 * for await (const message of lengthPrefixed({ bytes: 2 })(source)) {
 *   console.log(await text(message));
 * }
 * ```
 */
export function lengthPrefixed(
  prefix: LengthPrefix,
  options?: FramingOptions,
): Operator<Bytes, Uint8Array> {
  const limit = limitOf(options);
  const full = prefixOf(prefix);
  return operator((next) => new LengthPrefixedStep(next, full, limit));
}
