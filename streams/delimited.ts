import { Carry } from "./_carry.ts";
import { deliver, find, finish, limitOf, tooLong } from "./_framing.ts";
import type { FramingOptions } from "./_framing.ts";
import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import { encode } from "./to_readable.ts";
import type { Bytes, MaybePromise, Operator } from "./types.ts";

/** Cuts bytes at a delimiter. */
class DelimitedStep implements Step<Bytes> {
  readonly #next: Step<Uint8Array>;
  readonly #delimiter: Uint8Array;
  readonly #limit: number;
  readonly #carry = new Carry();

  constructor(next: Step<Uint8Array>, delimiter: Uint8Array, limit: number) {
    this.#next = next;
    this.#delimiter = delimiter;
    this.#limit = limit;
  }

  push(message: Bytes): MaybePromise<boolean> {
    let bytes = encode(message);
    let scan = 0;
    const joined = this.#carry.length > 0;
    if (joined) {
      // The delimiter may be cut, too.
      scan = Math.max(0, this.#carry.length - this.#delimiter.byteLength + 1);
      this.#carry.append(bytes);
      bytes = this.#carry.bytes;
    }
    const frames: Uint8Array[] = [];
    let failure: Error | undefined;
    let start = 0;
    for (
      let at = find(bytes, this.#delimiter, scan);
      at >= 0 && failure === undefined;
      at = find(bytes, this.#delimiter, start)
    ) {
      failure = this.#check(at - start);
      if (failure !== undefined) break;
      // What is held is written over: what is given is not.
      frames.push(joined ? bytes.slice(start, at) : bytes.subarray(start, at));
      start = at + this.#delimiter.byteLength;
    }
    failure ??= this.#keep(bytes, start, joined);
    return deliver(this.#next, frames, failure);
  }

  flush(): MaybePromise<void> {
    if (this.#carry.length === 0) return this.#next.flush();
    // More than the limit only as the beginning of a delimiter.
    const failure = this.#check(this.#carry.length);
    if (failure !== undefined) throw failure;
    return finish(this.#next, [this.#carry.bytes]);
  }

  #keep(
    bytes: Uint8Array,
    start: number,
    joined: boolean,
  ): Error | undefined {
    // The last bytes may be the beginning of a delimiter.
    const slack = this.#delimiter.byteLength - 1;
    const failure = this.#check(bytes.byteLength - start - slack);
    if (failure !== undefined) return failure;
    if (!joined) this.#carry.append(bytes.subarray(start));
    else if (start === this.#carry.length) this.#carry.clear();
    else if (start > 0) this.#carry.skip(start);
    return undefined;
  }

  #check(length: number): Error | undefined {
    return length > this.#limit ? tooLong("message", this.#limit) : undefined;
  }
}

/**
 * The messages of a source of bytes in which a delimiter ends each of them;
 * the last one may end with the source. The delimiter is not part of them.
 *
 * @example
 * ```ts
 * import { delimited, from, text } from "@sluice/net/streams";
 *
 * const source = from(["one\0tw", "o\0"]);
 * for await (const message of delimited("\0")(source)) {
 *   console.log(await text(message));
 * }
 * ```
 */
export function delimited(
  delimiter: Bytes,
  options?: FramingOptions,
): Operator<Bytes, Uint8Array> {
  const limit = limitOf(options);
  const end = encode(delimiter).slice();
  if (end.byteLength === 0) {
    throw new RangeError("Cannot frame: the delimiter is empty");
  }
  return operator((next) => new DelimitedStep(next, end, limit));
}
