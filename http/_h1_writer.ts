import { showByte, showText } from "./_h1_error.ts";
import { isToken, NOT_IN_TRAILERS, VALUE } from "./_h1_tables.ts";
import type { Fields } from "./_h1_types.ts";
import { wallTime } from "./_turn.ts";

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

/** Takes back what was allocated last, and not used. */
function giveBack(bytes: Uint8Array): void {
  if (bytes.byteLength <= SLAB_LIMIT) used -= bytes.byteLength;
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

/** Texts up to this length are encoded faster here than by the runtime. */
const SHORT = 32;

/** Bodies up to this length are looked at whether they are the same again. */
const REPEATED = 1024;

/**
 * A message in one buffer: what its head begins with, as `headStart` gives it,
 * the length of the body, the lines after that with the empty one, in ASCII,
 * and the body. One that is the same again is the same bytes again: nobody
 * changes what is written.
 */
export function encodeMessage(
  start: HeadStart,
  end: string,
  body: string | Uint8Array | null,
): Uint8Array {
  const { bytes: head, last } = start;
  if (typeof body !== "string") {
    const size = body === null ? 0 : body.byteLength;
    const bytes = allocate(headLength(head, size, end) + size);
    const at = writeHead(bytes, head, { size, end });
    if (body !== null) bytes.set(body, at);
    return bytes;
  }
  if (last !== undefined && start.body === body && start.end === end) {
    return last;
  }
  const bytes = encodeText(head, end, body);
  if (body.length <= REPEATED) {
    start.last = bytes;
    start.body = body;
    start.end = end;
  }
  return bytes;
}

function encodeText(head: Uint8Array, end: string, body: string): Uint8Array {
  // All ASCII, nearly always.
  let size = body.length;
  let bytes = allocate(headLength(head, size, end) + size);
  let at = writeHead(bytes, head, { size, end });
  if (writeAscii(bytes, at, body)) return bytes;
  giveBack(bytes);
  size = utf8Length(body);
  bytes = allocate(headLength(head, size, end) + size);
  at = writeHead(bytes, head, { size, end });
  encoder.encodeInto(body, bytes.subarray(at));
  return bytes;
}

function headLength(start: Uint8Array, size: number, end: string): number {
  let digits = 1;
  for (let rest = size; rest >= 10; rest = Math.trunc(rest / 10)) digits++;
  return start.byteLength + digits + 2 + end.length;
}

/** Gives where it ends, which is where `headLength` says. */
function writeHead(
  bytes: Uint8Array,
  start: Uint8Array,
  { size, end }: { size: number; end: string },
): number {
  bytes.set(start);
  const length = headLength(start, size, end);
  const lines = length - end.length;
  let at = lines - 2;
  let rest = size;
  do {
    const next = Math.trunc(rest / 10);
    bytes[--at] = 0x30 + rest - next * 10;
    rest = next;
  } while (rest > 0);
  bytes[lines - 2] = CR;
  bytes[lines - 1] = LF;
  for (let i = 0; i < end.length; i++) bytes[lines + i] = end.charCodeAt(i);
  return length;
}

/** Writes a text that is to fill the rest; `false`: it is not all ASCII. */
function writeAscii(bytes: Uint8Array, at: number, text: string): boolean {
  const { length } = text;
  if (length > SHORT) {
    const { read, written } = encoder.encodeInto(text, bytes.subarray(at));
    return read === length && written === length;
  }
  for (let i = 0; i < length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x80) return false;
    bytes[at + i] = c;
  }
  return true;
}

/** Length of the text in UTF-8. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x80) continue;
    if (c < 0x800) length++;
    else if (c >= 0xd800 && c <= 0xdbff && isLow(text.charCodeAt(i + 1))) {
      // Two code units, four bytes.
      length += 2;
      i++;
    } else length += 2;
  }
  return length;
}

function isLow(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
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

/** Of the chunk before: a stream is mostly made of chunks of one size. */
let lastSize = -1;
let lastHead = CRLF;

/** The line before the data of a chunk; not to be changed. */
export function chunkHead(size: number): Uint8Array {
  if (size !== lastSize) {
    lastHead = encodeHead(`${size.toString(16)}\r\n`);
    lastSize = size;
  }
  return lastHead;
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

/** The first character that no field value holds; -1: there is none. */
function badOf(value: string): number {
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (c > 0xff || VALUE[c] === 0) return c;
  }
  return -1;
}

/**
 * Throws a TypeError unless every character is one of a field value (RFC
 * 9110, 5.5): no CR, no LF, no NUL, no other control, nothing past Latin-1.
 */
export function checkValue(name: string, value: string): void {
  const bad = badOf(value);
  if (bad === -1) return;
  // Not the value itself: it may be a secret.
  throw new TypeError(
    `Cannot send the field ${showText(name)}: bad value: it holds ${
      showByte(bad)
    }`,
  );
}

/** The same for the reason phrase of a response (RFC 9112, 4). */
export function checkReason(reason: string): void {
  const bad = badOf(reason);
  if (bad === -1) return;
  throw new TypeError(
    `Cannot send a response: its status text holds ${showByte(bad)}`,
  );
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

const statusLines: string[] = [];

/** The first line of a response, with its CR LF. */
export function statusLine(status: number, reason = ""): string {
  if (reason === "") {
    return statusLines[status] ??= `HTTP/1.1 ${status} ${
      REASONS[status] ?? ""
    }\r\n`;
  }
  checkReason(reason);
  return `HTTP/1.1 ${status} ${reason}\r\n`;
}

let dateFrom = 0;
let dateUntil = 0;
let dateNow = "";
let dateNowLine = "";

/** `date: …` with its CR LF, made once a second (RFC 9110, 6.6.1). */
export function dateLine(): string {
  const now = wallTime();
  if (now >= dateUntil || now < dateFrom) {
    dateFrom = now - now % 1000;
    dateUntil = dateFrom + 1000;
    dateNow = new Date(dateFrom).toUTCString();
    dateNowLine = `date: ${dateNow}\r\n`;
  }
  return dateNowLine;
}

/** The same without its name. */
export function dateText(): string {
  dateLine();
  return dateNow;
}

const LENGTH = "content-length: ";
/** Heads that are kept as bytes, each where the length of its fields says. */
const HEADS = 16;
/** What is longer is not kept. */
const HEAD_LIMIT = 1024;

/** What a head begins with, and the message it was the beginning of last. */
export interface HeadStart {
  first: string;
  lines: string;
  date: string;
  buffer: Uint8Array;
  bytes: Uint8Array;
  body: string;
  end: string;
  last: Uint8Array | undefined;
}

const heads: (HeadStart | undefined)[] = new Array(HEADS).fill(undefined);

/**
 * The head of a response up to the number of its `content-length`: the same
 * bytes while the date is. `undefined` when it is not short. Good until the
 * next call.
 */
export function headStart(
  first: string,
  lines: string,
  date: string,
): HeadStart | undefined {
  const slot = lines.length % HEADS;
  let head = heads[slot];
  if (
    head !== undefined && head.date === date && head.first === first &&
    head.lines === lines
  ) return head;
  const text = first + lines + date + LENGTH;
  if (text.length > HEAD_LIMIT) return undefined;
  if (head === undefined) {
    const buffer = new Uint8Array(HEAD_LIMIT);
    head = heads[slot] = {
      first,
      lines,
      date,
      buffer,
      bytes: buffer,
      body: "",
      end: "",
      last: undefined,
    };
  }
  head.first = first;
  head.lines = lines;
  head.date = date;
  head.bytes = head.buffer.subarray(0, text.length);
  head.last = undefined;
  encodeLatin1(text, head.bytes);
  return head;
}
