import { Buffer } from "node:buffer";
import type { EventEmitter } from "node:events";
import { ServerResponse, STATUS_CODES } from "node:http";
import { validateHeaderName, validateHeaderValue } from "node:http";
import { Writable } from "node:stream";
import { exchangeOf } from "./_exchange.ts";
import { NodeBodyFeed } from "./_node_body.ts";
import { goneError } from "./_node_incoming.ts";
import type { Incoming } from "./_node_incoming.ts";
import type { NodeSocket } from "./_node_socket.ts";
import { concat } from "./_request_body.ts";
import { makeResponse } from "./response.ts";
import { NOT_IN_TRAILERS } from "./_h1_tables.ts";
import type { ServerContext } from "./types.ts";
import { withTrailers } from "./with_trailers.ts";

type HeaderValue = number | string | readonly string[];
type HeaderInit =
  | Readonly<Record<string, HeaderValue | undefined>>
  | readonly HeaderValue[]
  | readonly (readonly [string, HeaderValue])[];
type Callback = (error?: Error | null) => void;

/** Bytes of several writes that are sent as one at most. */
const SMALL = 16 * 1024;

/** Where a `res` keeps what is behind it. */
const answerKey: unique symbol = Symbol("sluice.answer");

/** What a listener is given as `res`. */
export interface Outgoing extends EventEmitter {
  [answerKey]: Answer;
  readonly req: Incoming;
  statusCode: number;
  statusMessage: string | undefined;
  readonly headersSent: boolean;
  writeHead(status: number, ...rest: unknown[]): Outgoing;
  setHeader(name: string, value: HeaderValue): Outgoing;
  _implicitHeader(): void;
}

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

/** An error as those of Node. */
function coded<T extends Error>(error: T, code: string): T {
  return Object.assign(error, { code });
}

function sentError(what: string): Error {
  return coded(
    new Error(`Cannot ${what} headers after they are sent to the client`),
    "ERR_HTTP_HEADERS_SENT",
  );
}

/** One response on its way from a `res` to a `Response`. */
export class Answer {
  readonly options: AnswerOptions;
  readonly outgoing: Outgoing;
  readonly feed: NodeBodyFeed;
  readonly inner: Writable;
  /** By names in lower case: the name as it was given, and its value. */
  readonly fields: Map<string, [string, HeaderValue]> = new Map();
  /** The head is settled. */
  headed = false;
  /** It was given to the server. */
  begun = false;
  trailers: [string, string][] = [];
  #trailersDone: ((trailers: [string, string][]) => void) | undefined;

  constructor(options: AnswerOptions) {
    this.options = options;
    this.feed = new NodeBodyFeed((reason) => this.lose(reason));
    const outgoing = Object.create(ServerResponse.prototype) as Outgoing;
    this.outgoing = outgoing;
    Object.defineProperties(outgoing, members);
    outgoing[answerKey] = this;
    Object.defineProperty(outgoing, "req", {
      value: options.incoming,
      writable: true,
      configurable: true,
    });
    outgoing.statusCode = 200;
    outgoing.statusMessage = undefined;
    const inner = this.inner = new Writable({
      decodeStrings: true,
      write: (chunk, _encoding, callback) => this.#send([chunk], callback),
      writev: (chunks, callback) =>
        this.#send(chunks.map(({ chunk }) => chunk), callback),
      final: (callback) => {
        this.#trailersDone?.(this.trailers);
        this.feed.end(callback);
      },
      destroy: (error, callback) => {
        // Known to all before anybody is told.
        if (!inner.writableFinished) this.#cut(error ?? goneError());
        callback(error);
      },
    });
    inner.on("drain", () => outgoing.emit("drain"));
    inner.on("finish", () => outgoing.emit("finish"));
    inner.on("close", () => {
      options.socket.over(inner.errored !== null);
      outgoing.emit("close");
    });
    inner.on("error", (error: Error) => {
      if (outgoing.listenerCount("error") > 0) outgoing.emit("error", error);
      else if (error !== this.#cause) options.report(error);
    });
  }

  #gone = false;
  /** Why the response is cut off, which the server tells of. */
  #cause: unknown;

  /** Whether the response has a body at all. */
  get bodiless(): boolean {
    const { statusCode } = this.outgoing;
    return this.options.request.method === "HEAD" || statusCode === 204 ||
      statusCode === 205 || statusCode === 304;
  }

  #send(chunks: Uint8Array[], callback: Callback): void {
    this.options.socket.touch();
    if (this.bodiless) callback();
    else {
      const size = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
      const small = chunks.length > 1 && size <= SMALL;
      this.feed.send(small ? [concat(chunks)] : chunks, callback);
    }
  }

  /** Settles the head, if nobody has. */
  head(): void {
    if (!this.headed) this.outgoing._implicitHeader();
  }

  /** Hands the response over; `whole` is all of its body. */
  begin(whole?: Uint8Array): void {
    this.head();
    if (this.begun) return;
    this.begun = true;
    try {
      this.options.respond(this.#make(whole));
    } catch (error) {
      this.options.refuse(error);
      this.inner.destroy();
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
    const standard = STATUS_CODES[status] ?? "";
    const reason = statusMessage === undefined || statusMessage === standard
      ? ""
      : statusMessage;
    const { request } = this.options;
    // HEAD has the length of the body that it is not sent.
    const body = status === 204 || status === 205 || status === 304
      ? null
      : whole !== undefined && whole.byteLength > 0
      ? whole
      : whole !== undefined || request.method === "HEAD"
      ? null
      : this.feed.readable;
    const response = makeResponse({ status, fields, body }, reason);
    if (body !== this.feed.readable) return response;
    const announced = this.fields.has("trailer") ||
      (!this.fields.has("content-length") && this.#canTrail);
    if (this.trailers.length === 0 && !announced) return response;
    return withTrailers(
      response,
      new Promise((resolve) => this.#trailersDone = resolve),
    );
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

  /** The listener failed. */
  fail(error: unknown): void {
    if (!this.begun) {
      this.begun = this.headed = true;
      this.options.refuse(error);
      this.inner.destroy();
    } else if (!this.inner.writableFinished) {
      this.inner.destroy(
        error instanceof Error ? error : new Error(String(error)),
      );
    } else this.options.report(error);
  }

  /** The client is gone. */
  lose(reason: unknown): void {
    if (this.#gone || this.inner.writableFinished) return;
    this.#gone = true;
    if (!this.begun) {
      this.begun = true;
      this.options.refuse(reason);
    }
    this.inner.destroy();
  }

  #cut(error: Error): void {
    this.#cause = error;
    if (!this.begun) {
      this.begun = true;
      this.options.refuse(error);
    }
    this.feed.fail(error);
  }

  set(name: string, value: HeaderValue): void {
    if (this.headed) throw sentError("set");
    validateHeaderName(name);
    validateHeaderValue(name, value as string);
    this.fields.set(name.toLowerCase(), [name, value]);
  }
}

/** Names and values of what `writeHead` and `addTrailers` are given. */
function* pairsOf(init: HeaderInit): Generator<[string, HeaderValue]> {
  if (!Array.isArray(init)) {
    for (const [name, value] of Object.entries(init)) {
      if (value !== undefined) yield [name, value];
    }
  } else if (Array.isArray(init[0])) {
    yield* init as [string, HeaderValue][];
  } else {
    if (init.length % 2 !== 0) {
      throw coded(
        new TypeError("Cannot write a head: a name is without its value"),
        "ERR_INVALID_ARG_VALUE",
      );
    }
    for (let i = 0; i < init.length; i += 2) {
      yield [String(init[i]), init[i + 1] as HeaderValue];
    }
  }
}

/** What was given to `write` or `end`, as bytes of its own when told of. */
function bytesOf(chunk: unknown, encoding: unknown): Uint8Array | undefined {
  if (typeof chunk === "string") {
    return Buffer.from(
      chunk,
      typeof encoding === "string" ? encoding as BufferEncoding : "utf8",
    );
  }
  return chunk instanceof Uint8Array ? chunk : undefined;
}

type This = Outgoing;

/**
 * The members of a `res`: each has them as its own, for Express puts another
 * prototype in the place of ours.
 */
const members = Object.getOwnPropertyDescriptors({
  sendDate: true,
  shouldKeepAlive: true,
  useChunkedEncodingByDefault: true,
  strictContentLength: false,

  get socket(): NodeSocket | null {
    const { socket } = (this as unknown as This)[answerKey].options;
    return socket;
  },
  get connection(): NodeSocket | null {
    return (this as unknown as This)[answerKey].options.socket;
  },
  get headersSent(): boolean {
    return (this as unknown as This)[answerKey].headed;
  },
  get _header(): string | null {
    return (this as unknown as This)[answerKey].headed ? "sent" : null;
  },
  get _headerSent(): boolean {
    return (this as unknown as This)[answerKey].begun;
  },
  get finished(): boolean {
    return (this as unknown as This)[answerKey].inner.writableEnded;
  },
  get _writableState(): unknown {
    const { inner } = (this as unknown as This)[answerKey];
    return (inner as unknown as { _writableState: unknown })._writableState;
  },
  get writable(): boolean {
    return (this as unknown as This)[answerKey].inner.writable;
  },
  get writableEnded(): boolean {
    return (this as unknown as This)[answerKey].inner.writableEnded;
  },
  get writableFinished(): boolean {
    return (this as unknown as This)[answerKey].inner.writableFinished;
  },
  get writableLength(): number {
    return (this as unknown as This)[answerKey].inner.writableLength;
  },
  get writableHighWaterMark(): number {
    return (this as unknown as This)[answerKey].inner.writableHighWaterMark;
  },
  get writableCorked(): number {
    return (this as unknown as This)[answerKey].inner.writableCorked;
  },
  get writableNeedDrain(): boolean {
    return (this as unknown as This)[answerKey].inner.writableNeedDrain;
  },
  get writableObjectMode(): boolean {
    return false;
  },
  get destroyed(): boolean {
    return (this as unknown as This)[answerKey].inner.destroyed;
  },
  get errored(): Error | null {
    return (this as unknown as This)[answerKey].inner.errored;
  },
  get closed(): boolean {
    return (this as unknown as This)[answerKey].inner.closed;
  },

  setHeader(this: This, name: string, value: HeaderValue): This {
    this[answerKey].set(name, value);
    return this;
  },
  setHeaders(
    this: This,
    headers: Headers | ReadonlyMap<string, HeaderValue>,
  ): This {
    const cookies: string[] = [];
    for (const [name, value] of headers) {
      if (name === "set-cookie" && typeof value === "string") {
        cookies.push(value);
      } else this.setHeader(name, value);
    }
    if (cookies.length > 0) this.setHeader("set-cookie", cookies);
    return this;
  },
  appendHeader(
    this: This,
    name: string,
    value: string | readonly string[],
  ): This {
    const known = this[answerKey].fields.get(String(name).toLowerCase());
    if (known === undefined) return this.setHeader(name, value);
    const values = [known[1], value].flat().map(String);
    return this.setHeader(known[0], values);
  },
  getHeader(this: This, name: string): HeaderValue | undefined {
    return this[answerKey].fields.get(String(name).toLowerCase())?.[1];
  },
  getHeaders(this: This): Record<string, HeaderValue> {
    const headers: Record<string, HeaderValue> = Object.create(null);
    for (const [name, [, value]] of this[answerKey].fields) {
      headers[name] = value;
    }
    return headers;
  },
  getHeaderNames(this: This): string[] {
    return [...this[answerKey].fields.keys()];
  },
  getRawHeaderNames(this: This): string[] {
    return Array.from(this[answerKey].fields.values(), ([name]) => name);
  },
  hasHeader(this: This, name: string): boolean {
    return this[answerKey].fields.has(String(name).toLowerCase());
  },
  removeHeader(this: This, name: string): void {
    const answer = this[answerKey];
    if (answer.headed) throw sentError("remove");
    answer.fields.delete(String(name).toLowerCase());
  },

  writeHead(this: This, status: number, ...rest: unknown[]): This {
    const answer = this[answerKey];
    if (answer.headed) throw sentError("write");
    const given = Number(status) | 0;
    if (given < 100 || given > 999) {
      throw coded(
        new RangeError(`Invalid status code: ${status}`),
        "ERR_HTTP_INVALID_STATUS_CODE",
      );
    }
    if (typeof rest[0] === "string") {
      const reason = rest.shift() as string;
      validateHeaderValue("statusMessage", reason);
      this.statusMessage = reason;
    }
    const init = rest[0] ?? rest[1];
    if (init !== undefined && init !== null) {
      const seen = new Set<string>();
      for (const [name, value] of pairsOf(init as HeaderInit)) {
        const key = name.toLowerCase();
        const known = answer.fields.get(key);
        // Of a list each one counts; else it takes the place of the one set.
        answer.set(
          name,
          seen.has(key) && known !== undefined
            ? [known[1], value].flat().map(String)
            : value,
        );
        seen.add(key);
      }
    }
    const { statusMessage } = this;
    if (statusMessage !== undefined) {
      validateHeaderValue("statusMessage", statusMessage);
    }
    this.statusCode = given;
    this.statusMessage ??= STATUS_CODES[given] ?? "unknown";
    answer.headed = true;
    return this;
  },
  _implicitHeader(this: This): void {
    this.writeHead(this.statusCode);
  },
  flushHeaders(this: This): void {
    this[answerKey].begin();
  },
  writeContinue(this: This, callback?: () => void): void {
    const exchange = exchangeOf(this[answerKey].options.request);
    (exchange as { wanted?(): void } | undefined)?.wanted?.();
    if (callback !== undefined) queueMicrotask(callback);
  },
  writeProcessing(this: This, callback?: () => void): void {
    this[answerKey].options.context.inform(102);
    if (callback !== undefined) queueMicrotask(callback);
  },
  writeEarlyHints(
    this: This,
    hints: Record<string, string | string[]>,
    callback?: () => void,
  ): void {
    const headers = new Headers();
    for (const [name, value] of Object.entries(hints)) {
      for (const one of [value].flat()) headers.append(name, one);
    }
    this[answerKey].options.context.inform(103, headers);
    if (callback !== undefined) queueMicrotask(callback);
  },
  addTrailers(this: This, fields: HeaderInit): void {
    this[answerKey].addTrailers(fields);
  },

  write(
    this: This,
    chunk: unknown,
    encoding?: string | Callback,
    callback?: Callback,
  ): boolean {
    const answer = this[answerKey];
    const { inner } = answer;
    const done = typeof encoding === "function" ? encoding : callback;
    if (!inner.writableEnded && !inner.destroyed) answer.begin();
    // Who is told when it is written may use its memory again.
    const own = done !== undefined && chunk instanceof Uint8Array
      ? Buffer.from(chunk)
      : chunk;
    return inner.write(
      own,
      typeof encoding === "string" ? encoding as BufferEncoding : "utf8",
      done,
    );
  },
  end(
    this: This,
    chunk?: unknown,
    encoding?: string | Callback,
    callback?: Callback,
  ): This {
    const answer = this[answerKey];
    const { inner } = answer;
    let last: unknown = chunk;
    let done = typeof encoding === "function" ? encoding : callback;
    if (typeof chunk === "function") {
      done = chunk as Callback;
      last = undefined;
    }
    if (done !== undefined) {
      const told = done;
      if (inner.writableFinished || inner.destroyed) {
        queueMicrotask(() => told());
      } else this.once("finish", () => told());
    }
    if (inner.writableEnded || inner.destroyed) return this;
    if (!answer.begun && inner.writableLength === 0) {
      const whole = last === undefined || last === null
        ? new Uint8Array(0)
        : bytesOf(last, encoding);
      if (whole !== undefined) {
        answer.head();
        if (!answer.begun && answer.trailers.length === 0) {
          answer.begin(whole);
          answer.feed.taken = true;
          inner.end();
          return this;
        }
      }
    }
    answer.begin();
    if (last !== undefined && last !== null) {
      inner.write(
        last,
        typeof encoding === "string" ? encoding as BufferEncoding : "utf8",
      );
    }
    inner.end();
    return this;
  },
  cork(this: This): void {
    this[answerKey].inner.cork();
  },
  uncork(this: This): void {
    this[answerKey].inner.uncork();
  },
  setDefaultEncoding(this: This, encoding: string): This {
    this[answerKey].inner.setDefaultEncoding(encoding as BufferEncoding);
    return this;
  },
  destroy(this: This, error?: Error): This {
    this[answerKey].inner.destroy(error);
    return this;
  },
  setTimeout(this: This, ms: number, listener?: () => void): This {
    const { socket } = this[answerKey].options;
    if (listener !== undefined) this.on("timeout", listener);
    socket.setTimeout(ms);
    return this;
  },
  assignSocket(): void {},
  detachSocket(): void {},
});
for (const descriptor of Object.values(members)) descriptor.enumerable = false;
