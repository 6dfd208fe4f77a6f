// Lets a test that is written in HTTP/1.1 run over HTTP/2: requests are put
// into frames, and what comes is shown as HTTP/1.1 would have it, in the order
// of the requests. What only one of the two has, it has not.

import type * as net from "node:net";
import { HpackDecoder } from "../http/_hpack_decoder.ts";
import { latin1, unLatin1 } from "./_h1.ts";
import {
  ACK,
  bytesOf,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  headers,
  PING,
  ping,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  settings,
  windowUpdate,
} from "./_h2_raw.ts";
import { RawClient } from "./_raw_client.ts";

/** Fields of a connection: HTTP/2 has none. */
const OF_CONNECTION = /^(connection|host|transfer-encoding|keep-alive|te)$/;

/** A request whose body is being sent. */
interface Sending {
  stream: number;
  /** Bytes that are left, or of chunks. */
  left: number | "chunks";
}

export class Http2RawClient extends RawClient {
  readonly #decoder = new HpackDecoder();
  #input = "";
  #sending: Sending | undefined;
  #next = 1;
  #bytes: Uint8Array = new Uint8Array();
  /** Streams whose response is not whole, in order. */
  readonly #waiting: number[] = [];
  /** What has come on them. */
  readonly #shown = new Map<number, { text: string; over: boolean }>();
  /** The stream whose request said that it is the last. */
  #last = 0;

  constructor(socket: net.Socket) {
    super(socket);
    super.send(bytesOf(PREFACE, settings([4, 1 << 20])));
    super.send(windowUpdate(0, 1 << 24));
  }

  override send(text: string | Uint8Array): void {
    this.#input += typeof text === "string" ? text : unLatin1(text);
    while (this.#sendSome());
  }

  /** Sends a piece of what there is; `false` when more is wanted. */
  #sendSome(): boolean {
    if (this.#sending !== undefined) return this.#sendBody(this.#sending);
    const end = this.#input.indexOf("\r\n\r\n");
    if (end === -1) return false;
    const [line, ...rest] = this.#input.slice(0, end).split("\r\n");
    this.#input = this.#input.slice(end + 4);
    const [method, target] = line.split(" ");
    const stream = this.#next;
    this.#next += 2;
    const fields: string[] = [];
    let host = "localhost";
    let left: Sending["left"] = 0;
    for (const field of rest) {
      const colon = field.indexOf(":");
      const name = field.slice(0, colon).toLowerCase();
      const value = field.slice(colon + 1).trim();
      if (name === "host") host = value;
      if (name === "connection" && value === "close") this.#last = stream;
      if (name === "content-length") left = Number(value);
      if (name === "transfer-encoding") left = "chunks";
      if (!OF_CONNECTION.test(name)) fields.push(name, value);
    }
    this.#waiting.push(stream);
    this.#shown.set(stream, { text: "", over: false });
    super.send(headers(
      stream,
      [
        ...[":method", method, ":scheme", "http", ":authority", host],
        ...[":path", target, ...fields],
      ],
      left === 0 ? END_HEADERS | END_STREAM : END_HEADERS,
    ));
    if (left !== 0) this.#sending = { stream, left };
    return true;
  }

  #sendBody(sending: Sending): boolean {
    const { stream, left } = sending;
    if (left === "chunks") return this.#sendChunk(stream);
    if (this.#input === "") return false;
    const piece = this.#input.slice(0, Math.min(left, 16_384));
    this.#input = this.#input.slice(piece.length);
    sending.left = left - piece.length;
    const over = sending.left === 0;
    if (over) this.#sending = undefined;
    super.send(data(stream, latin1(piece), over ? END_STREAM : 0));
    return true;
  }

  #sendChunk(stream: number): boolean {
    const end = this.#input.indexOf("\r\n");
    if (end === -1) return false;
    const size = parseInt(this.#input, 16);
    if (size > 0) {
      if (this.#input.length < end + size + 4) return false;
      const chunk = this.#input.slice(end + 2, end + 2 + size);
      this.#input = this.#input.slice(end + size + 4);
      for (let at = 0; at < size; at += 16_384) {
        super.send(data(stream, latin1(chunk.slice(at, at + 16_384))));
      }
      return true;
    }
    const trailers = this.#input.indexOf("\r\n\r\n", end);
    if (trailers === -1) return false;
    const fields = this.#input.slice(end + 2, trailers).split("\r\n")
      .filter((line) => line !== "").flatMap((line) => {
        const colon = line.indexOf(":");
        return [
          line.slice(0, colon).toLowerCase(),
          line.slice(colon + 1).trim(),
        ];
      });
    this.#input = this.#input.slice(trailers + 4);
    this.#sending = undefined;
    super.send(
      fields.length > 0
        ? headers(stream, fields)
        : data(stream, "", END_STREAM),
    );
    return true;
  }

  protected override receive(chunk: Uint8Array): void {
    let bytes = this.#bytes.length === 0 ? chunk : bytesOf(this.#bytes, chunk);
    while (bytes.length >= 9) {
      const length = bytes[0] << 16 | bytes[1] << 8 | bytes[2];
      if (bytes.length < 9 + length) break;
      const stream = (bytes[5] & 127) << 24 | bytes[6] << 16 | bytes[7] << 8 |
        bytes[8];
      this.#take(bytes[3], bytes[4], stream, bytes.slice(9, 9 + length));
      bytes = bytes.subarray(9 + length);
    }
    this.#bytes = bytes.slice();
  }

  #take(
    type: number,
    flags: number,
    stream: number,
    payload: Uint8Array,
  ): void {
    const shown = this.#shown.get(stream);
    if (type === SETTINGS && (flags & ACK) === 0) {
      super.send(frame(SETTINGS, ACK, 0));
    } else if (type === PING && (flags & ACK) === 0) {
      super.send(ping(payload, ACK));
    } else if (type === HEADERS) {
      const fields = this.#decoder.decode(payload, 1 << 20)!;
      if (shown !== undefined) shown.text += textOf(fields);
    } else if (type === DATA) {
      if (shown !== undefined) shown.text += unLatin1(payload);
      if (payload.length > 0) super.send(windowUpdate(0, payload.length));
      if (payload.length > 0 && (flags & END_STREAM) === 0) {
        super.send(windowUpdate(stream, payload.length));
      }
    } else if (type === RST_STREAM || type === GOAWAY) {
      // A connection of HTTP/1.1 would be cut, or come to its end.
      if (type === RST_STREAM && shown?.over === false) this.closed = true;
      if (type === GOAWAY && this.#waiting.length === 0) this.ended = true;
    }
    if (
      shown !== undefined && (flags & END_STREAM) !== 0 &&
      (type === HEADERS || type === DATA)
    ) shown.over = true;
    this.#show();
  }

  /** What is whole, and the beginning of what comes next. */
  #show(): void {
    while (this.#waiting.length > 0) {
      const [stream] = this.#waiting;
      const shown = this.#shown.get(stream)!;
      this.text += shown.text;
      shown.text = "";
      if (!shown.over) return;
      this.#waiting.shift();
      if (stream === this.#last) this.ended = true;
    }
  }
}

/** A head of HTTP/1.1, or lines of trailers. */
function textOf(fields: readonly string[]): string {
  let text = "";
  for (let i = 0; i < fields.length; i += 2) {
    text += fields[i] === ":status"
      ? `HTTP/1.1 ${fields[i + 1]} \r\n`
      : `${fields[i]}: ${fields[i + 1]}\r\n`;
  }
  return `${text}\r\n`;
}
