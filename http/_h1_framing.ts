import { H1Error, showText } from "./_h1_error.ts";
import { isToken, listOf } from "./_h1_tables.ts";
import type { Fields, Framing } from "./_h1_types.ts";

/** No body. */
export const NONE: Framing = { kind: "none" };
/** A body in chunks. */
export const CHUNKED: Framing = { kind: "chunked" };
/** A body up to the end of the connection. */
export const CLOSE: Framing = { kind: "close" };

/** Values of a field that came in several lines, as one. */
export function joined(first: string | undefined, next: string): string {
  return first === undefined ? next : `${first}, ${next}`;
}

/** Digits and nothing else (RFC 9112, 6.3; RFC 9110, 8.6). */
export function parseLength(text: string): number {
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (!(digit >= 0 && digit <= 9)) {
      throw new H1Error(400, `Cannot take Content-Length: ${showText(text)}`);
    }
    length = length * 10 + digit;
  }
  if (text === "") throw new H1Error(400, "Cannot take Content-Length: empty");
  if (length > Number.MAX_SAFE_INTEGER) {
    throw new H1Error(413, `Cannot take Content-Length: ${showText(text)}`);
  }
  return length;
}

/**
 * Whether a transfer coding is there, which can only be `chunked`; with a
 * length beside it, or on HTTP/1.0, it is refused (RFC 9112, 6.1 and 6.3).
 */
export function isChunked(
  minor: number,
  length: string | undefined,
  coding: string | undefined,
): boolean {
  if (coding === undefined) return false;
  if (minor === 0) {
    throw new H1Error(400, "Cannot take Transfer-Encoding with HTTP/1.0");
  }
  if (length !== undefined) {
    throw new H1Error(
      400,
      "Cannot take both Content-Length and Transfer-Encoding",
    );
  }
  if (coding === "chunked" || coding.toLowerCase() === "chunked") return true;
  throw refuseCoding(coding);
}

/** Why it is not exactly `chunked` (RFC 9112, 6.1 and 6.3). */
function refuseCoding(coding: string): H1Error {
  const codings = listOf(coding);
  const first = codings.indexOf("chunked");
  const unknown = codings.length > 0 && codings.every(isToken) &&
    (first === -1 || first === codings.length - 1) && codings.length ===
      coding.split(",").length &&
    codings[0] !== "chunked";
  return unknown
    ? new H1Error(501, `Cannot decode the transfer coding: ${showText(coding)}`)
    : new H1Error(400, `Cannot take Transfer-Encoding: ${showText(coding)}`);
}

/** Values of a field, joined; `undefined` when there is none. */
export function fieldOf(fields: Fields, name: string): string | undefined {
  let value: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name) value = joined(value, fields[i + 1]);
  }
  return value;
}
