import { free } from "../streams/_free.ts";
import { COPY_LIMIT } from "../tcp/_writer.ts";
import { reuse } from "./_copies.ts";
import {
  dateLine,
  encodeHead,
  encodeMessage,
  encodeTrailers,
  fieldLine,
  headStart,
  LAST_CHUNK,
  statusLine,
  utf8Length,
} from "./_h1_writer.ts";
import type { Outgoing } from "./_response_parts.ts";
import type { OutgoingTrailers } from "./_trailers.ts";
import type { ResponseOutput } from "./_wire_carrier.ts";
import type { WireConnection } from "./_wire_connection.ts";
import type { WireExchange } from "./_wire_exchange.ts";

const encoder = new TextEncoder();

/** Bodies up to this length leave in one buffer with their head. */
const SHORT_BODY = 4096;
const CHUNKED = "transfer-encoding: chunked\r\n";

/** How a connection of HTTP/1.1 has its responses written. */
export const h1Output: ResponseOutput = {
  form: "lines",
  inform(exchange, status, headers) {
    let text = statusLine(status);
    for (const [name, value] of headers) text += fieldLine(name, value);
    connectionOf(exchange).writeText(`${text}\r\n`);
  },
  whole: writeWhole,
  head(exchange, outgoing, length, trailers) {
    let framing = "";
    if (isUnframed(exchange, outgoing.status)) {
      outgoing.close = true;
    } else if (trailers !== undefined) {
      exchange.chunked = true;
      framing = `${trailerLine(trailers, outgoing)}${CHUNKED}`;
    } else if (length !== undefined) {
      framing = lengthLine(length);
    } else if (exchange.head.minor === 1) {
      exchange.chunked = true;
      framing = CHUNKED;
    } else {
      // HTTP/1.0: its end is the end of the connection (RFC 9112, 6.3).
      outgoing.close = true;
    }
    connectionOf(exchange).write(
      encodeHead(headText(exchange, outgoing, framing)),
    );
  },
  data(exchange, chunk) {
    connectionOf(exchange).writePart(chunk, exchange.chunked);
  },
  last(exchange, trailers) {
    if (trailers !== undefined) {
      connectionOf(exchange).write(encodeTrailers(trailers));
    } else if (exchange.chunked) connectionOf(exchange).write(LAST_CHUNK);
  },
};

/** What carries an exchange of HTTP/1.1. */
function connectionOf(exchange: WireExchange): WireConnection {
  return exchange.connection as WireConnection;
}

/** Tells which trailers come, unless the handler did (RFC 9110, 6.6.2). */
function trailerLine(
  { names }: OutgoingTrailers,
  { lines }: Outgoing,
): string {
  const told = lines.startsWith("trailer: ") || lines.includes("\ntrailer: ");
  return told || names.length === 0 ? "" : `trailer: ${names.join(", ")}\r\n`;
}

/** The whole head, with the empty line. `framing` is a line or nothing. */
function headText(
  exchange: WireExchange,
  outgoing: Outgoing,
  framing: string,
): string {
  const connection = connectionLine(exchange, outgoing);
  const date = outgoing.dated ? "" : dateLine();
  return `${
    statusLine(outgoing.status, outgoing.reason)
  }${outgoing.lines}${date}${framing}${connection}\r\n`;
}

/** What the head says of the connection, mostly nothing. */
function connectionLine(exchange: WireExchange, outgoing: Outgoing): string {
  const persists = connectionOf(exchange).decidePersistence(exchange, outgoing);
  if (!persists) {
    return outgoing.upgrade
      ? "connection: close, upgrade\r\n"
      : "connection: close\r\n";
  }
  if (outgoing.upgrade) return "connection: upgrade\r\n";
  return exchange.head.minor === 0 ? "connection: keep-alive\r\n" : "";
}

/** The head that hands the connection over; nothing frames what follows. */
export function takeoverHead(outgoing: Outgoing): string {
  const { status, reason, lines, dated } = outgoing;
  const connection = status === 101 ? "connection: upgrade\r\n" : "";
  const date = dated ? "" : dateLine();
  return `${statusLine(status, reason)}${lines}${date}${connection}\r\n`;
}

function lengthLine(length: number | string): string {
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

/** Whether nothing may say how long it is (RFC 9110, 9.3.6). */
export function isUnframed(exchange: WireExchange, status: number): boolean {
  return exchange.method === "CONNECT" && status < 300;
}

/** A response whose body is known, in as few pieces as it takes. */
function writeWhole(
  exchange: WireExchange,
  outgoing: Outgoing,
  body: string | Uint8Array | null,
): void {
  const connection = connectionOf(exchange);
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
  if (typeof body === "string" && body.length > SHORT_BODY) {
    body = encoder.encode(body);
  }
  const unframed = isUnframed(exchange, status);
  if (!unframed && (body === null || body.length <= SHORT_BODY)) {
    const end = connectionLine(exchange, outgoing) + "\r\n";
    const start = headStart(
      statusLine(status, outgoing.reason),
      outgoing.lines,
      outgoing.dated ? "" : dateLine(),
    );
    if (start !== undefined) {
      connection.give(encodeMessage(start, end, body));
      return;
    }
  }
  if (typeof body === "string") body = encoder.encode(body);
  const size = body === null ? 0 : (body as Uint8Array).byteLength;
  const framing = unframed ? "" : lengthLine(size);
  connection.give(encodeHead(headText(exchange, outgoing, framing)));
  if (body === null) return;
  connection.write(body as Uint8Array);
  // So far it is copied.
  if (outgoing.owned && size <= COPY_LIMIT && !reuse(body as Uint8Array)) {
    free(body as Uint8Array);
  }
}
