import { openEnd } from "../streams/_utf8_end.ts";

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
