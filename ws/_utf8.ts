/**
 * A byte order mark is part of the text. Bad bytes become U+FFFD: looking for
 * it afterwards is cheaper than the decoder that throws (on Deno ten times).
 */
const loose = new TextDecoder("utf-8", { ignoreBOM: true });
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

const empty = new Uint8Array(0);

/** Decodes a whole text; throws when it is not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  const text = loose.decode(bytes);
  // It may have been there all along.
  return text.includes("\ufffd") ? strict.decode(bytes) : text;
}

/**
 * Decodes a text that comes in pieces, and finds out at the first bad byte.
 * However small the pieces are, what is kept stays about as large as the
 * text: neighbours of similar size are joined as they come.
 */
export class Utf8Pieces {
  readonly #parts: string[] = [];
  /** The beginning of a character that was cut. */
  #open: Uint8Array = empty;

  /** Takes a piece; throws when the text cannot be UTF-8 any more. */
  push(bytes: Uint8Array): void {
    let piece = bytes;
    if (this.#open.byteLength > 0) {
      piece = new Uint8Array(this.#open.byteLength + bytes.byteLength);
      piece.set(this.#open);
      piece.set(bytes, this.#open.byteLength);
    }
    const end = piece.byteLength - openEnd(piece);
    this.#open = end === piece.byteLength ? empty : piece.slice(end);
    if (end === 0) return;
    let part = decodeUtf8(piece.subarray(0, end));
    const parts = this.#parts;
    while (
      parts.length > 0 && parts[parts.length - 1].length <= 2 * part.length
    ) {
      part = [parts.pop()!, part].join("");
    }
    parts.push(part);
  }

  /** The text; throws when it ends within a character. */
  finish(): string {
    if (this.#open.byteLength > 0) throw new TypeError("Cut in a character");
    return this.#parts.join("");
  }
}

/**
 * How many bytes at the end begin a character that can still become whole
 * (table 3-7 of the Unicode standard). None when what is there is bad.
 */
function openEnd(bytes: Uint8Array): number {
  const size = bytes.byteLength;
  for (let count = 1; count <= 3 && count <= size; count++) {
    const lead = bytes[size - count];
    if (lead < 0x80) return 0;
    if (lead < 0xc0) continue;
    const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || count >= length) return 0;
    if (count === 1) return 1;
    const second = bytes[size - count + 1];
    const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    return second >= least && second <= most ? count : 0;
  }
  return 0;
}
