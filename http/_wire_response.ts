import {
  dateLine,
  encodeHead,
  encodeTextMessage,
  statusLine,
} from "./_h1_writer.ts";
import type { Outgoing } from "./_response_parts.ts";
import type { WireExchange } from "./_wire_exchange.ts";

const encoder = new TextEncoder();

/** Strings up to this length are measured first and encoded in place. */
const SHORT_TEXT = 4096;

/** The whole head, with the empty line. `framing` is a line or nothing. */
export function headText(
  exchange: WireExchange,
  outgoing: Outgoing,
  framing: string,
): string {
  const persists = exchange.connection.decidePersistence(exchange, outgoing);
  let text = statusLine(outgoing.status, outgoing.reason) + outgoing.lines;
  if (!outgoing.dated) text += dateLine();
  text += framing;
  if (!persists) {
    text += outgoing.upgrade
      ? "connection: close, upgrade\r\n"
      : "connection: close\r\n";
  } else if (outgoing.upgrade) {
    text += "connection: upgrade\r\n";
  } else if (exchange.head.minor === 0) {
    text += "connection: keep-alive\r\n";
  }
  return text + "\r\n";
}

/** The head that hands the connection over; nothing frames what follows. */
export function takeoverHead(outgoing: Outgoing): string {
  const { status, reason, lines, dated } = outgoing;
  const connection = status === 101 ? "connection: upgrade\r\n" : "";
  const date = dated ? "" : dateLine();
  return `${statusLine(status, reason)}${lines}${date}${connection}\r\n`;
}

export function lengthLine(length: number | string): string {
  return `content-length: ${length}\r\n`;
}

/** Whether it is a length as it must be written; the handler wrote it. */
export function isLength(text: string | undefined): text is string {
  if (text === undefined || text.length === 0 || text.length > 15) return false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x30 || c > 0x39) return false;
  }
  return true;
}

/** Whether the response has no body whatever its fields say (RFC 9112, 6.3). */
export function isBodiless(exchange: WireExchange, status: number): boolean {
  return status === 204 || status === 304 || status < 200 ||
    exchange.method === "HEAD";
}

/** Length of the text in UTF-8. */
function utf8Length(text: string): number {
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

/** A response whose body is known, in as few pieces as it takes. */
export function writeWhole(
  exchange: WireExchange,
  outgoing: Outgoing,
  body: string | Uint8Array | null,
): void {
  const { connection } = exchange;
  const { status } = outgoing;
  exchange.answered = true;
  if (isBodiless(exchange, status)) {
    // What the body would have been long, as far as anybody knows.
    let framing = "";
    if (status !== 204 && status >= 200) {
      if (body !== null && status !== 304) {
        framing = lengthLine(
          typeof body === "string" ? utf8Length(body) : body.byteLength,
        );
      } else if (isLength(outgoing.length)) {
        framing = lengthLine(outgoing.length);
      }
    }
    connection.give(encodeHead(headText(exchange, outgoing, framing)));
    return;
  }
  if (typeof body === "string") {
    if (body.length <= SHORT_TEXT) {
      const size = utf8Length(body);
      const head = headText(exchange, outgoing, lengthLine(size));
      connection.give(encodeTextMessage(head, body, size));
      return;
    }
    body = encoder.encode(body);
  }
  const size = body === null ? 0 : body.byteLength;
  const head = headText(exchange, outgoing, lengthLine(size));
  if (body === null || size > SHORT_TEXT) {
    connection.give(encodeHead(head));
    if (body !== null) connection.write(body);
  } else {
    connection.give(encodeHead(head, body));
  }
}
