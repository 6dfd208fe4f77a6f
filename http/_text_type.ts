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

/** Whether it is UTF-8; when it is not the whole, its end may be cut. */
export function isText(bytes: Uint8Array, whole: boolean): boolean {
  try {
    strict.decode(bytes, { stream: !whole });
    return true;
  } catch {
    return false;
  } finally {
    if (!whole) forget();
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
