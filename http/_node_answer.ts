import {
  STATUS_CODES,
  validateHeaderName,
  validateHeaderValue,
} from "node:http";
import { Buffer } from "node:buffer";
import process from "node:process";
import { Writable } from "node:stream";
import { exchangeOf } from "./_exchange.ts";
import { NOT_IN_TRAILERS } from "./_h1_tables.ts";
import { NodeBodyFeed } from "./_node_body.ts";
import { coded, pairsOf, sentError } from "./_node_fields.ts";
import type { HeaderInit, HeaderValue } from "./_node_fields.ts";
import { discard, goneError, tellAborted } from "./_node_incoming.ts";
import type { Incoming } from "./_node_incoming.ts";
import { encodingOf, Outgoing } from "./_node_outgoing.ts";
import type { NodeSocket } from "./_node_socket.ts";
import { concat } from "./_request_body.ts";
import { makeResponse } from "./response.ts";
import { setUntyped } from "./_text_type.ts";
import type { ServerContext } from "./types.ts";
import { withTrailers } from "./with_trailers.ts";

type Callback = (error?: Error | null) => void;

/** Bytes of several writes that are sent as one at most. */
const SMALL = 16 * 1024;

/** What an answer is made with. */
export interface AnswerOptions {
  readonly request: Request;
  readonly context: ServerContext;
  readonly incoming: Incoming;
  readonly socket: NodeSocket;
  /** Takes the response, once. */
  respond(response: Response): void;
  /** There will be none. */
  refuse(error: unknown): void;
  report(error: unknown): void;
}

/** One response on its way from a `res` to a `Response`. */
export class Answer {
  readonly options: AnswerOptions;
  readonly outgoing: Outgoing;
  /** By names in lower case: the name as it was given, and its value. */
  readonly fields: Map<string, [string, HeaderValue]> = new Map();
  readonly trailers: [string, string][] = [];
  /** It was given to the server, or refused. */
  begun = false;
  #feed: NodeBodyFeed | undefined;
  #inner: Writable | undefined;
  #trailersDone: ((trailers: [string, string][]) => void) | undefined;
  #gone = false;
  /** Bytes so far, for those who want their length to be right. */
  #written = 0;
  /** Why the response is cut off, which the server tells of. */
  #cause: unknown;
  /** Why the listener has destroyed it. */
  #reason: Error | undefined;

  constructor(options: AnswerOptions) {
    this.options = options;
    this.outgoing = new Outgoing(this);
  }

  /** Whether something is written piece by piece. */
  get isOpen(): boolean {
    return this.#inner !== undefined;
  }

  /** What takes the pieces: made for those who write any. */
  get inner(): Writable {
    return this.#inner ??= this.#open();
  }

  #open(): Writable {
    const { outgoing } = this;
    const feed = this.#feed = new NodeBodyFeed((reason) => this.lose(reason));
    const inner = new Writable({
      write: (chunk, _encoding, callback) => this.#send([chunk], callback),
      writev: (chunks, callback) =>
        this.#send(chunks.map(({ chunk }) => chunk), callback),
      final: (callback) => {
        this.#trailersDone?.(this.trailers);
        if (this.#bodiless) callback();
        else feed.end(callback);
      },
      destroy: (error, callback) => {
        if (!inner.writableFinished) {
          this.#cut(this.#reason ?? error ?? goneError());
        }
        callback(error);
      },
    });
    inner.on("drain", () => outgoing.emit("drain"));
    inner.on("prefinish", () => outgoing.emit("prefinish"));
    inner.on("finish", () => outgoing.emit("finish"));
    inner.on("close", () => this.#over(outgoing.errored !== null));
    inner.on("error", (error: Error) => this.#tell(error));
    outgoing.mirror(inner, () => this.#reason ?? inner.errored);
    return inner;
  }

  #over(failed: boolean): void {
    const { socket, incoming } = this.options;
    socket.over(failed);
    this.outgoing.emit("close");
    discard(incoming);
  }

  #tell(error: Error): void {
    const { outgoing } = this;
    if (outgoing.listenerCount("error") > 0) outgoing.emit("error", error);
    else if (error !== this.#cause) this.options.report(error);
  }

  /** Whether the response has a body at all. */
  get #bodiless(): boolean {
    const { statusCode } = this.outgoing;
    return this.options.request.method === "HEAD" || statusCode === 204 ||
      statusCode === 205 || statusCode === 304;
  }

  #send(chunks: Uint8Array[], callback: Callback): void {
    this.options.socket.touch();
    if (this.#bodiless) {
      callback();
      return;
    }
    const size = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const small = chunks.length > 1 && size <= SMALL;
    this.#feed!.send(small ? [concat(chunks)] : chunks, callback);
  }

  /** Settles the head, if nobody has. */
  head(): void {
    if (!this.outgoing.headersSent) this.outgoing._implicitHeader();
  }

  /** Hands the response over; `whole` is all of its body. */
  begin(whole?: Uint8Array): void {
    this.head();
    if (this.begun) return;
    this.begun = true;
    try {
      this.options.respond(this.#make(whole));
    } catch (error) {
      this.#cause = error;
      this.options.refuse(error);
      this.#tear();
    }
  }

  #make(whole: Uint8Array | undefined): Response {
    const { statusCode: status, statusMessage } = this.outgoing;
    if (status < 200 || status > 599) {
      throw new RangeError(
        `Cannot send a response: its status must be from 200 to 599: ${status}`,
      );
    }
    const fields: string[] = [];
    for (const [name, [, value]] of this.fields) {
      if (Array.isArray(value)) {
        for (const one of value) fields.push(name, String(one));
      } else fields.push(name, String(value));
    }
    if (!this.outgoing.shouldKeepAlive) fields.push("connection", "close");
    const standard = STATUS_CODES[status] ?? "";
    const reason = statusMessage === undefined || statusMessage === standard
      ? ""
      : statusMessage;
    const streams = whole === undefined && !this.#bodiless;
    // HEAD has the length of the body that it is not sent.
    const bare = status === 204 || status === 205 || status === 304 ||
      whole === undefined || whole.byteLength === 0;
    const body = streams ? this.#stream() : bare ? null : whole;
    const response = makeResponse({ status, fields, body }, reason);
    if (!this.fields.has("content-type")) setUntyped(response);
    if (!streams) return response;
    // Who only names some need not have any: it may be another's response.
    const open = this.fields.has("trailer") ||
      !this.fields.has("content-length");
    if (this.trailers.length === 0 && !(open && this.#canTrail)) {
      return response;
    }
    return withTrailers(
      response,
      new Promise((resolve) => this.#trailersDone = resolve),
    );
  }

  /** Counts a chunk against the length that was declared, and throws. */
  measure(chunk: unknown, encoding: unknown, last = false): void {
    const length = this.fields.get("content-length")?.[1];
    if (length === undefined || this.#bodiless) return;
    let written = this.#written;
    if (typeof chunk === "string") {
      written += Buffer.byteLength(chunk, encodingOf(encoding));
    } else if (chunk instanceof Uint8Array) written += chunk.byteLength;
    const declared = Number(length);
    if (last ? written === declared : written <= declared) {
      this.#written = written;
      return;
    }
    throw coded(
      new Error(
        `Response body's content-length of ${written} byte(s) does not match the content-length of ${declared} byte(s) set in header`,
      ),
      "ERR_HTTP_CONTENT_LENGTH_MISMATCH",
    );
  }

  #stream(): ReadableStream<Uint8Array> {
    // It is made with what fills it.
    this.#inner ??= this.#open();
    return this.#feed!.readable;
  }

  /** Whether the engine can send trailers. */
  get #canTrail(): boolean {
    return exchangeOf(this.options.request)?.engine === "wire";
  }

  addTrailers(fields: HeaderInit): void {
    if (!this.#canTrail) {
      throw new TypeError(
        'Cannot add trailers: the runtime\'s own server cannot send them, serve with engine: "wire"',
      );
    }
    for (const [name, value] of pairsOf(fields)) {
      if (value === undefined) continue;
      validateHeaderName(name);
      validateHeaderValue(name, String(value));
      if (NOT_IN_TRAILERS.has(name.toLowerCase())) {
        throw new TypeError(
          `Cannot send a trailer: ${name} is not allowed behind a body (RFC 9110, 6.5.1)`,
        );
      }
      this.trailers.push([name, String(value)]);
    }
  }

  /** The response, all at once. */
  endWhole(body: Uint8Array): void {
    const { outgoing } = this;
    this.begin(body);
    if (outgoing.destroyed) return;
    outgoing.finished = outgoing.writableEnded = true;
    outgoing.writable = false;
    outgoing.emit("prefinish");
    process.nextTick(() => {
      if (outgoing.destroyed) return;
      outgoing.writableFinished = true;
      outgoing.emit("finish");
      process.nextTick(() => this.#close(false));
    });
  }

  #close(failed: boolean): void {
    const { outgoing } = this;
    if (outgoing.closed) return;
    outgoing.destroyed = outgoing.closed = true;
    this.#over(failed);
  }

  /** The listener has enough of the connection. */
  destroy(error?: Error): void {
    const { outgoing } = this;
    // What is as short as this node:http has given to the kernel.
    const sent = outgoing.writableEnded && outgoing.writableLength <= SMALL;
    if (!sent) this.abandon(error);
  }

  /** Ends it, whatever is missing, and the request with it. */
  abandon(error?: Error): void {
    if (this.outgoing.destroyed) return;
    const { incoming } = this.options;
    // As there: the request, the response, and then why.
    process.nextTick(() => {
      tellAborted(incoming);
      incoming.destroy(goneError());
    });
    this.#tear(error);
  }

  /** Nothing more of the response goes out. */
  #tear(error?: Error): void {
    const { outgoing } = this;
    if (outgoing.destroyed) return;
    this.#reason = error;
    if (this.#inner !== undefined) this.#inner.destroy();
    else {
      outgoing.destroyed = true;
      outgoing.writable = false;
      outgoing.errored = error ?? null;
      if (!outgoing.writableFinished) this.#cut(error ?? goneError());
      process.nextTick(() => this.#close(error !== undefined));
    }
  }

  /** The listener failed. */
  fail(error: unknown): void {
    if (!this.begun) {
      this.#cause = error;
      this.begun = true;
      this.outgoing.headersSent = true;
      this.options.refuse(error);
      this.#tear();
    } else if (!this.outgoing.writableFinished && this.isOpen) {
      this.abandon(error instanceof Error ? error : new Error(String(error)));
    } else this.options.report(error);
  }

  /** The client is gone. */
  lose(reason: unknown): void {
    if (this.#gone || this.outgoing.writableFinished) return;
    this.#gone = true;
    if (!this.begun) {
      this.begun = true;
      this.options.refuse(reason);
    }
    this.#tear();
  }

  #cut(error: Error): void {
    this.#cause ??= error;
    if (!this.begun) {
      this.begun = true;
      const { request, refuse } = this.options;
      exchangeOf(request)?.cut?.(error);
      refuse(error);
    }
    this.#feed?.fail(error);
  }

  set(name: string, value: HeaderValue): void {
    if (this.outgoing.headersSent) throw sentError("set");
    validateHeaderName(name);
    validateHeaderValue(name, value as string);
    this.fields.set(name.toLowerCase(), [name, value]);
  }
}
