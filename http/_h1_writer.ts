import { showByte, showText } from "./_h1_error.ts";
import { isToken, NOT_IN_TRAILERS, VALUE } from "./_h1_tables.ts";
import type { Fields } from "./_h1_types.ts";

/** Small messages are written into slabs: a buffer of its own costs more. */
const SLAB = 16 * 1024;
/** What is larger gets a buffer of its own. */
const SLAB_LIMIT = 4 * 1024;

const encoder = new TextEncoder();
let slab = new Uint8Array(SLAB);
let used = 0;

/** Room for `size` bytes that nobody else has; not zeroed. */
export function allocate(size: number): Uint8Array {
  if (size > SLAB_LIMIT) return new Uint8Array(size);
  if (used + size > SLAB) {
    slab = new Uint8Array(SLAB);
    used = 0;
  }
  used += size;
  return slab.subarray(used - size, used);
}

/**
 * Encodes the text of a head as Latin-1, with the body behind it, if any:
 * one buffer, one write.
 */
export function encodeHead(text: string, body?: Uint8Array): Uint8Array {
  const length = text.length;
  const bytes = allocate(
    body === undefined ? length : length + body.byteLength,
  );
  encodeLatin1(text, bytes);
  if (body !== undefined) bytes.set(body, length);
  return bytes;
}

/**
 * The same with a body that is text: encoded as UTF-8 right behind the head.
 * `size` is its length in UTF-8.
 */
export function encodeTextMessage(
  head: string,
  body: string,
  size: number,
): Uint8Array {
  const length = head.length + size;
  const bytes = allocate(length);
  if (size === body.length) {
    // All ASCII, and so is the head, nearly always: one call for both.
    const { read, written } = encoder.encodeInto(head + body, bytes);
    if (read === length && written === length) return bytes;
  }
  encodeLatin1(head, bytes);
  encoder.encodeInto(body, bytes.subarray(head.length));
  return bytes;
}

function encodeLatin1(text: string, bytes: Uint8Array): void {
  // ASCII, nearly always: then UTF-8 is the same, and takes as many bytes.
  const { read, written } = encoder.encodeInto(text, bytes);
  if (read === text.length && written === read) return;
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
}

const CR = 0x0d;
const LF = 0x0a;

/** What ends a chunk. */
export const CRLF: Uint8Array = new Uint8Array([CR, LF]);
/** The last chunk, without trailers. */
export const LAST_CHUNK: Uint8Array = encoder.encode("0\r\n\r\n");

/** The line before the data of a chunk. */
export function chunkHead(size: number): Uint8Array {
  return encodeHead(`${size.toString(16)}\r\n`);
}

/** A whole chunk in one buffer; for small ones. */
export function encodeChunk(data: Uint8Array): Uint8Array {
  const line = `${data.byteLength.toString(16)}\r\n`;
  const bytes = allocate(line.length + data.byteLength + 2);
  encodeLatin1(line, bytes);
  bytes.set(data, line.length);
  bytes[bytes.length - 2] = CR;
  bytes[bytes.length - 1] = LF;
  return bytes;
}

/** The last chunk with trailers behind it (RFC 9112, 7.1.2). */
export function encodeTrailers(fields: Fields): Uint8Array {
  if (fields.length === 0) return LAST_CHUNK;
  let text = "0\r\n";
  for (let i = 0; i < fields.length; i += 2) {
    if (NOT_IN_TRAILERS.has(fields[i].toLowerCase())) {
      throw new TypeError(
        `Cannot send a trailer: ${showText(fields[i])} is not allowed`,
      );
    }
    text += fieldLine(fields[i], fields[i + 1]);
  }
  return encodeHead(`${text}\r\n`);
}

/** Names that were found valid; bounded. */
const goodNames = new Set<string>();

/** Throws a TypeError unless it is a token (RFC 9110, 5.1). */
export function checkName(name: string): void {
  if (goodNames.has(name)) return;
  if (!isToken(name)) {
    throw new TypeError(`Cannot send a field: bad name ${showText(name)}`);
  }
  if (goodNames.size >= 512) goodNames.clear();
  goodNames.add(name);
}

/**
 * Throws a TypeError unless every character is one of a field value (RFC
 * 9110, 5.5): no CR, no LF, no NUL, no other control, nothing past Latin-1.
 */
export function checkValue(name: string, value: string): void {
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (c > 0xff || VALUE[c] === 0) {
      // Not the value itself: it may be a secret.
      throw new TypeError(
        `Cannot send the field ${showText(name)}: bad value: it holds ${
          showByte(c)
        }`,
      );
    }
  }
}

/** A checked field line with its CR LF. */
export function fieldLine(name: string, value: string): string {
  checkName(name);
  checkValue(name, value);
  return `${name}: ${value}\r\n`;
}

const REASONS: Readonly<Record<number, string>> = {
  100: "Continue",
  101: "Switching Protocols",
  102: "Processing",
  103: "Early Hints",
  200: "OK",
  201: "Created",
  202: "Accepted",
  203: "Non-Authoritative Information",
  204: "No Content",
  205: "Reset Content",
  206: "Partial Content",
  207: "Multi-Status",
  208: "Already Reported",
  226: "IM Used",
  300: "Multiple Choices",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  417: "Expectation Failed",
  418: "I'm a teapot",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  423: "Locked",
  424: "Failed Dependency",
  425: "Too Early",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  451: "Unavailable For Legal Reasons",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
  506: "Variant Also Negotiates",
  507: "Insufficient Storage",
  508: "Loop Detected",
  510: "Not Extended",
  511: "Network Authentication Required",
};

const OK = "HTTP/1.1 200 OK\r\n";

/** The first line of a response, with its CR LF. */
export function statusLine(status: number, reason = ""): string {
  if (reason === "") {
    return status === 200
      ? OK
      : `HTTP/1.1 ${status} ${REASONS[status] ?? ""}\r\n`;
  }
  checkValue("status line", reason);
  return `HTTP/1.1 ${status} ${reason}\r\n`;
}

let dateSecond = -1;
let dateNow = "";
let dateNowLine = "";

/** `date: …` with its CR LF, made once a second (RFC 9110, 6.6.1). */
export function dateLine(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateNow = new Date(second * 1000).toUTCString();
    dateNowLine = `date: ${dateNow}\r\n`;
  }
  return dateNowLine;
}

/** The same without its name. */
export function dateText(): string {
  dateLine();
  return dateNow;
}
