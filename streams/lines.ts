import { Carry } from "./_carry.ts";
import { deliver, finish, limitOf, tooLong } from "./_framing.ts";
import type { FramingOptions } from "./_framing.ts";
import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import { encode } from "./to_readable.ts";
import type { Bytes, MaybePromise, Operator } from "./types.ts";

const LF = 0x0a;
const CR = 0x0d;
const BOM = "\ufeff";

/** Cuts bytes into lines of text. */
class LineStep implements Step<Bytes> {
  readonly #next: Step<string>;
  readonly #limit: number;
  readonly #carry = new Carry();
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #first = true;

  constructor(next: Step<string>, limit: number) {
    this.#next = next;
    this.#limit = limit;
  }

  push(message: Bytes): MaybePromise<boolean> {
    const bytes = encode(message);
    const last = bytes.lastIndexOf(LF);
    if (last < 0) return deliver(this.#next, [], this.#hold(bytes));
    let whole = bytes.subarray(0, last + 1);
    const joined = this.#carry.length > 0;
    if (joined) {
      this.#carry.append(whole);
      whole = this.#carry.bytes;
    }
    // Shorter than the limit altogether: so is every line of it.
    const fit = whole.byteLength <= this.#limit
      ? whole.byteLength
      : this.#measure(whole);
    const lines = this.#split(whole.subarray(0, fit));
    let failure: Error | undefined;
    if (fit < whole.byteLength) failure = tooLong("line", this.#limit);
    if (joined) this.#carry.clear();
    failure ??= this.#hold(bytes.subarray(last + 1));
    return deliver(this.#next, lines, failure);
  }

  flush(): MaybePromise<void> {
    if (this.#carry.length === 0) return this.#next.flush();
    if (this.#carry.length > this.#limit) throw tooLong("line", this.#limit);
    return finish(this.#next, [this.#decode(this.#carry.bytes)]);
  }

  /** Where the first line begins that is too long. */
  #measure(whole: Uint8Array): number {
    for (let start = 0; start < whole.byteLength;) {
      const end = whole.indexOf(LF, start);
      const cr = end > start && whole[end - 1] === CR ? 1 : 0;
      if (end - cr - start > this.#limit) return start;
      start = end + 1;
    }
    return whole.byteLength;
  }

  /** Whole lines; an LF is never part of another character. */
  #split(whole: Uint8Array): string[] {
    if (whole.byteLength === 0) return [];
    const lines = this.#decode(whole.subarray(0, -1)).split("\n");
    for (let i = 0; i < lines.length; i++) {
      if (lines[i].endsWith("\r")) lines[i] = lines[i].slice(0, -1);
    }
    return lines;
  }

  #decode(bytes: Uint8Array): string {
    const text = this.#decoder.decode(bytes);
    if (!this.#first) return text;
    this.#first = false;
    return text.startsWith(BOM) ? text.slice(1) : text;
  }

  #hold(bytes: Uint8Array): Error | undefined {
    if (bytes.byteLength === 0) return undefined;
    const length = this.#carry.length + bytes.byteLength;
    // The CR of a CRLF whose LF is not there yet does not count.
    const cr = bytes[bytes.byteLength - 1] === CR ? 1 : 0;
    if (length - cr > this.#limit) return tooLong("line", this.#limit);
    this.#carry.append(bytes);
    return undefined;
  }
}

/**
 * The lines of a source of bytes, as text: each ends with LF or CRLF, the last
 * one with the source. It does not matter how the bytes are cut, be it in the
 * middle of a character. A byte order mark at the beginning is dropped.
 *
 * @example
 * ```ts
 * import { from, lines } from "@sluice/net/streams";
 *
 * for await (const line of lines()(from(["one\r\ntw", "o\n"]))) {
 *   console.log(line);
 * }
 * ```
 */
export function lines(options?: FramingOptions): Operator<Bytes, string> {
  const limit = limitOf(options);
  return operator((next) => new LineStep(next, limit));
}
