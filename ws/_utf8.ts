/** Bytes up to which a loop beats the decoder, while they are ASCII. */
const BY_HAND = 24;

/** A byte order mark is part of the text, and bad bytes are an error. */
const OPTIONS = { fatal: true, ignoreBOM: true };

const decoder = new TextDecoder("utf-8", OPTIONS);

/** Decodes a whole text; throws when it is not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  const length = bytes.byteLength;
  if (length <= BY_HAND) {
    let text = "";
    let i = 0;
    for (; i < length && bytes[i] < 0x80; i++) {
      text += String.fromCharCode(bytes[i]);
    }
    if (i === length) return text;
  }
  return decoder.decode(bytes);
}

/**
 * Decodes a text that comes in pieces, and finds out at the first bad byte.
 * However small the pieces are, what is kept stays about as large as the
 * text: neighbours of similar size are joined as they come.
 */
export class Utf8Pieces {
  readonly #decoder = new TextDecoder("utf-8", OPTIONS);
  readonly #parts: string[] = [];

  /** Takes a piece; throws when the text cannot be UTF-8 any more. */
  push(bytes: Uint8Array): void {
    const parts = this.#parts;
    let part = this.#decoder.decode(bytes, { stream: true });
    while (
      parts.length > 0 && parts[parts.length - 1].length <= 2 * part.length
    ) {
      part = [parts.pop()!, part].join("");
    }
    if (part !== "") parts.push(part);
  }

  /** The text; throws when it ends within a character. */
  finish(): string {
    this.#parts.push(this.#decoder.decode());
    return this.#parts.join("");
  }
}
