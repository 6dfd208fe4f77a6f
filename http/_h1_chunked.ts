import { bareCr, H1Error, showByte } from "./_h1_error.ts";
import { HEX, TOKEN, VALUE } from "./_h1_tables.ts";

const SIZE = 0;
const LF = 1;
/** White space: only another extension may follow. */
const SPACE = 2;
const NAME_SPACE = 3;
const NAME = 4;
const NAME_END = 5;
const VALUE_SPACE = 6;
const VALUE_TOKEN = 7;
const QUOTED = 8;
const ESCAPE = 9;
const VALUE_END = 10;

const MAX_DIGITS = 16;

/** Reads the line before a chunk: its size, and extensions that nobody uses. */
export class ChunkLine {
  /** Size of the chunk, once `step` gave `true`. */
  size = 0;
  /** Bytes of extensions in this message so far. */
  extra = 0;
  readonly #limit: number;
  #digits = 0;
  #state = SIZE;

  /** `limit` is in bytes of extensions, of all chunks of a message. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Another message. */
  begin(): void {
    this.extra = 0;
    this.next();
  }

  /** Another chunk. */
  next(): void {
    this.size = 0;
    this.#digits = 0;
    this.#state = SIZE;
  }

  /** Takes a byte in; `true` when it was the last of the line. */
  step(c: number): boolean {
    if (this.#state === SIZE) {
      const digit = HEX[c];
      if (digit !== 255) {
        this.size = this.size * 16 + digit;
        if (
          ++this.#digits > MAX_DIGITS || this.size > Number.MAX_SAFE_INTEGER
        ) {
          throw new H1Error(413, "Cannot read a chunk: its size is absurd");
        }
        return false;
      }
      if (this.#digits === 0) throw bad(c);
    } else if (this.#state === LF) {
      if (c !== 0x0a) throw bareCr();
      return true;
    }
    this.#extension(c);
    if (c !== 0x0d && ++this.extra > this.#limit) {
      throw new H1Error(
        431,
        `Cannot read chunk extensions: more than ${this.#limit} bytes`,
        "ERR_SIZE_LIMIT",
      );
    }
    return false;
  }

  /** One byte behind the size (RFC 9112, 7.1.1). */
  #extension(c: number): void {
    const blank = c === 0x20 || c === 0x09;
    switch (this.#state) {
      case SIZE:
      case VALUE_END:
        return this.#after(c, SPACE);
      case SPACE:
        if (c === 0x0d) throw bad(c);
        return this.#after(c, SPACE);
      case NAME_SPACE:
        if (blank) return;
        if (TOKEN[c] === 0) throw bad(c);
        this.#state = NAME;
        return;
      case NAME:
        if (TOKEN[c] !== 0) return;
        if (c !== 0x3d) return this.#after(c, NAME_END);
        this.#state = VALUE_SPACE;
        return;
      case NAME_END:
        if (blank) return;
        if (c === 0x3b) this.#state = NAME_SPACE;
        else if (c === 0x3d) this.#state = VALUE_SPACE;
        else throw bad(c);
        return;
      case VALUE_SPACE:
        if (blank) return;
        if (c === 0x22) this.#state = QUOTED;
        else if (TOKEN[c] !== 0) this.#state = VALUE_TOKEN;
        else throw bad(c);
        return;
      case VALUE_TOKEN:
        if (TOKEN[c] === 0) this.#after(c, SPACE);
        return;
      case QUOTED:
        if (VALUE[c] === 0) throw bad(c);
        if (c === 0x5c) this.#state = ESCAPE;
        else if (c === 0x22) this.#state = VALUE_END;
        return;
      default: // ESCAPE
        if (VALUE[c] === 0) throw bad(c);
        this.#state = QUOTED;
    }
  }

  /** What may end a part; `space` is where white space leads. */
  #after(c: number, space: number): void {
    if (c === 0x0d) this.#state = LF;
    else if (c === 0x3b) this.#state = NAME_SPACE;
    else if (c === 0x20 || c === 0x09) this.#state = space;
    else throw bad(c);
  }
}

function bad(c: number): H1Error {
  return new H1Error(400, `Cannot read a chunk size: it holds ${showByte(c)}`);
}
