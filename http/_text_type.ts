import { openEnd } from "../streams/_utf8_end.ts";

/** What a body of text is when nobody says otherwise, as the standard has it. */
export const TEXT_TYPE = "text/plain;charset=UTF-8";

/**
 * Bun tells nobody that a body was made of a string, and so is of this type:
 * there what is without a type and valid UTF-8 is taken for text, so that no
 * browser takes it for HTML.
 */
export const hidesType: boolean =
  new Response("text").headers.get("content-type") === null;

const strict = new TextDecoder("utf-8", { fatal: true });

const untyped = new WeakSet<Response>();
let used = false;

/** Says of a response that it has no type because nobody gave it one. */
export function setUntyped(response: Response): void {
  if (!hidesType) return;
  used = true;
  untyped.add(response);
}

/** Whether a response without a type is to stay without. */
export function isUntyped(response: Response): boolean {
  return used && untyped.has(response);
}

let isUtf8 = (bytes: Uint8Array): boolean => {
  strict.decode(bytes);
  return true;
};

/** A faster way to tell than to decode it. */
export function useUtf8(check: (bytes: Uint8Array) => boolean): void {
  isUtf8 = check;
}

/**
 * Whether the chunks together are UTF-8; when they are not the whole, the end
 * may be cut.
 */
export function isText(chunks: readonly Uint8Array[], whole: boolean): boolean {
  let open = false;
  try {
    for (const chunk of chunks) {
      const rest = open ? 0 : chunk.byteLength - openEnd(chunk);
      if (rest > 0 && !isUtf8(chunk.subarray(0, rest))) return false;
      if (rest === chunk.byteLength) continue;
      // A character is cut: the decoder has it, and goes on with it.
      strict.decode(chunk.subarray(rest), { stream: true });
      open = true;
    }
    if (open && whole) strict.decode();
    return true;
  } catch {
    return false;
  } finally {
    if (open) forget();
  }
}

/** Drops what a cut character left behind. */
function forget(): void {
  try {
    strict.decode();
  } catch {
    // It was cut: that was known.
  }
}
