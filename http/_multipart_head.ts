import { isToken } from "./_field_syntax.ts";
import { decodeLatin1 } from "./_h1_tables.ts";
import { MultipartError, MultipartLimitError } from "./errors.ts";
import { malformed } from "./_multipart_reader.ts";
import type { MultipartBounds } from "./_multipart_reader.ts";

/** What the header of a part says. */
export interface PartHead {
  name: string;
  filename: string | undefined;
  type: string;
  headers: Headers;
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** A value with parameters, by name in lower case; `undefined`: broken. */
function parseParameters(
  text: string,
  escapes: boolean,
): { value: string; parameters: Map<string, string> } | undefined {
  const parameters = new Map<string, string>();
  const semicolon = text.indexOf(";");
  const value = (semicolon === -1 ? text : text.slice(0, semicolon)).trim()
    .toLowerCase();
  let at = semicolon === -1 ? text.length : semicolon;
  while (at < text.length) {
    // At a semicolon.
    at = skipBlanks(text, at + 1);
    if (at === text.length) break;
    const equals = text.indexOf("=", at);
    if (equals === -1) return undefined;
    const name = text.slice(at, equals).toLowerCase();
    if (!isToken(name) || parameters.has(name)) return undefined;
    at = equals + 1;
    if (text[at] === '"') {
      let out = "";
      for (at++; text[at] !== '"'; at++) {
        if (at >= text.length) return undefined;
        // Browsers escape nothing so: a backslash before anything else is one.
        const next = text[at + 1];
        if (
          text[at] === "\\" && (escapes || next === '"' || next === "\\")
        ) at++;
        if (at >= text.length) return undefined;
        out += text[at];
      }
      parameters.set(name, out);
      at++;
    } else {
      let end = at;
      while (end < text.length && text[end] !== ";" && !isBlank(text[end])) {
        end++;
      }
      const token = text.slice(at, end);
      if (!isToken(token)) return undefined;
      parameters.set(name, token);
      at = end;
    }
    at = skipBlanks(text, at);
    if (at < text.length && text[at] !== ";") return undefined;
  }
  return { value, parameters };
}

function isBlank(char: string): boolean {
  return char === " " || char === "\t";
}

function skipBlanks(text: string, at: number): number {
  while (at < text.length && isBlank(text[at])) at++;
  return at;
}

/** The boundary of a multipart/form-data body (RFC 2046, 5.1.1). */
export function boundaryOf(contentType: string | null): string {
  const parsed = contentType === null
    ? undefined
    : parseParameters(contentType, true);
  if (
    contentType === null ||
    !/^multipart\/form-data(?:[;\s]|$)/i.test(contentType)
  ) {
    throw new MultipartError(
      `Cannot read a multipart body: the content-type is ${
        contentType === null ? "missing" : JSON.stringify(contentType)
      }`,
      415,
    );
  }
  const boundary = parsed?.parameters.get("boundary");
  if (boundary === undefined || !isBoundary(boundary)) {
    throw malformed("its content-type has no usable boundary");
  }
  return boundary;
}

/** 1 to 70 of bchars, no space at the end. */
function isBoundary(text: string): boolean {
  return text.length <= 70 && !text.endsWith(" ") &&
    /^[0-9A-Za-z'()+_,\-./:=? ]+$/.test(text);
}

/** Takes a header block apart: it begins and ends with a line break. */
export function parsePartHead(
  block: Uint8Array,
  bounds: MultipartBounds,
): PartHead {
  const headers = new Headers();
  const text = decodeLatin1(block, 0, block.length);
  let disposition: string | undefined;
  for (let at = 2; at < text.length;) {
    const end = text.indexOf("\r\n", at);
    const line = text.slice(at, end);
    at = end + 2;
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(colon, 0));
    if (!isToken(name)) throw malformed("a part with a bad header field");
    const value = trimBlanks(line.slice(colon + 1));
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if ((code < 0x20 && code !== 0x09) || code === 0x7f) {
        throw malformed("a part with a control character in its header");
      }
    }
    const key = name.toLowerCase();
    if (
      (key === "content-disposition" || key === "content-type") &&
      headers.has(key)
    ) throw malformed(`a part with two ${key} fields`);
    if (key === "content-disposition") disposition = value;
    headers.append(name, value);
  }
  if (disposition === undefined) {
    throw malformed("a part without content-disposition");
  }
  const parsed = parseParameters(disposition, false);
  if (parsed === undefined || parsed.value !== "form-data") {
    throw malformed("a part whose content-disposition cannot be read");
  }
  // RFC 7578, 4.7: nothing uses it, and it would have to be decoded.
  const encoding = headers.get("content-transfer-encoding");
  if (encoding !== null && !/^(?:7bit|8bit|binary)$/i.test(encoding)) {
    throw malformed(`a part that is encoded: ${JSON.stringify(encoding)}`);
  }
  const name = parsed.parameters.get("name");
  if (name === undefined) throw malformed("a part without a name");
  return {
    name: decodeName(name, bounds),
    // "filename*" must not be used here (RFC 7578, 4.2).
    filename: parsed.parameters.has("filename")
      ? decodeName(parsed.parameters.get("filename")!, bounds)
      : undefined,
    type: headers.get("content-type") ?? "text/plain",
    headers,
  };
}

function trimBlanks(text: string): string {
  let end = text.length;
  while (end > 0 && isBlank(text[end - 1])) end--;
  return text.slice(Math.min(skipBlanks(text, 0), end), end);
}

/** UTF-8, with the three escapes that browsers use (HTML, 4.10.22.8). */
function decodeName(latin1: string, { name }: MultipartBounds): string {
  if (latin1.length > name) throw new MultipartLimitError("a name", name);
  const bytes = Uint8Array.from(latin1, (char) => char.charCodeAt(0));
  return utf8.decode(bytes).replace(
    /%(?:22|0A|0D)/gi,
    (escape) => String.fromCharCode(parseInt(escape.slice(1), 16)),
  );
}
