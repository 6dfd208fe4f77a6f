import { Buffer } from "node:buffer";
import type { EventEmitter } from "node:events";
import { ServerResponse, STATUS_CODES } from "node:http";
import process from "node:process";
import type { Writable } from "node:stream";
import { exchangeOf } from "./_exchange.ts";
import type { Answer } from "./_node_answer.ts";
import { isFieldValue } from "./_field_syntax.ts";
import { coded, pairsOf, sentError } from "./_node_fields.ts";
import type { HeaderInit, HeaderValue } from "./_node_fields.ts";
import type { Incoming } from "./_node_incoming.ts";
import type { NodeSocket } from "./_node_socket.ts";

type Callback = (error?: Error | null) => void;

/** Where a `res` keeps what is behind it. */
const answerKey: unique symbol = Symbol("sluice.answer");

/**
 * What a listener is given as `res`. All members are its own, for Express puts
 * another prototype in the place of ours; and they are plain fields, for a
 * getter of one's own costs as much as all the rest.
 */
export class Outgoing {
  [answerKey]: Answer;
  declare on: EventEmitter["on"];
  declare once: EventEmitter["once"];
  declare emit: EventEmitter["emit"];
  declare listenerCount: EventEmitter["listenerCount"];
  readonly req: Incoming;
  readonly socket: NodeSocket;
  readonly connection: NodeSocket;
  statusCode = 200;
  statusMessage: string | undefined = undefined;
  sendDate = true;
  shouldKeepAlive = true;
  useChunkedEncodingByDefault = true;
  strictContentLength = false;
  /** The head is settled. */
  headersSent = false;
  _header: string | null = null;
  finished = false;
  writable = true;
  writableEnded = false;
  writableFinished = false;
  writableLength = 0;
  writableHighWaterMark: number = 16 * 1024;
  writableCorked = 0;
  writableNeedDrain = false;
  writableObjectMode = false;
  destroyed = false;
  closed = false;
  errored: Error | null = null;

  setHeader: typeof setHeader = setHeader;
  setHeaders: typeof setHeaders = setHeaders;
  appendHeader: typeof appendHeader = appendHeader;
  getHeader: typeof getHeader = getHeader;
  getHeaders: typeof getHeaders = getHeaders;
  getHeaderNames: typeof getHeaderNames = getHeaderNames;
  getRawHeaderNames: typeof getRawHeaderNames = getRawHeaderNames;
  hasHeader: typeof hasHeader = hasHeader;
  removeHeader: typeof removeHeader = removeHeader;
  writeHead: typeof writeHead = writeHead;
  _implicitHeader: typeof implicitHeader = implicitHeader;
  flushHeaders: typeof flushHeaders = flushHeaders;
  writeContinue: typeof writeContinue = writeContinue;
  writeProcessing: typeof writeProcessing = writeProcessing;
  writeEarlyHints: typeof writeEarlyHints = writeEarlyHints;
  addTrailers: typeof addTrailers = addTrailers;
  write: typeof write = write;
  end: typeof end = end;
  cork: typeof cork = cork;
  uncork: typeof uncork = uncork;
  setDefaultEncoding: typeof setDefaultEncoding = setDefaultEncoding;
  destroy: typeof destroy = destroy;
  setTimeout: typeof setTimer = setTimer;
  assignSocket: () => void = nothing;
  detachSocket: () => void = nothing;
  mirror: typeof mirror = mirror;

  constructor(answer: Answer) {
    const { incoming, socket } = answer.options;
    this[answerKey] = answer;
    this.req = incoming;
    this.socket = socket;
    this.connection = socket;
  }

  /** For those who look into streams. */
  get _writableState(): unknown {
    const { inner } = this[answerKey];
    return (inner as unknown as { _writableState: unknown })._writableState;
  }
}
Object.setPrototypeOf(Outgoing.prototype, ServerResponse.prototype);
Object.defineProperty(Outgoing.prototype, "constructor", {
  value: ServerResponse,
  configurable: true,
  writable: true,
});

const MIRRORED = [
  ...["writable", "writableEnded", "writableFinished", "writableLength"],
  ...["writableHighWaterMark", "writableCorked", "writableNeedDrain"],
  ...["destroyed", "closed", "_writableState"],
] as (keyof Writable & string)[];

/** From now on it tells what the stream behind it does. */
function mirror(
  this: Outgoing,
  inner: Writable,
  errored: () => Error | null,
): void {
  const tell = (name: string, get: () => unknown) =>
    Object.defineProperty(this, name, {
      get,
      set: nothing,
      configurable: true,
      enumerable: true,
    });
  for (const name of MIRRORED) tell(name, () => inner[name]);
  tell("finished", () => inner.writableEnded);
  tell("errored", errored);
}

function nothing(): void {}

function setHeader(this: Outgoing, name: string, value: HeaderValue): Outgoing {
  this[answerKey].set(name, value);
  return this;
}

function setHeaders(
  this: Outgoing,
  headers: Headers | ReadonlyMap<string, HeaderValue>,
): Outgoing {
  if (this.headersSent) throw sentError("set");
  if (!(headers instanceof Headers) && !(headers instanceof Map)) {
    throw coded(
      new TypeError(
        'The "headers" argument must be an instance of Headers or Map',
      ),
      "ERR_INVALID_ARG_TYPE",
    );
  }
  const cookies: string[] = [];
  for (const [name, value] of headers) {
    if (name === "set-cookie" && typeof value === "string") cookies.push(value);
    else this.setHeader(name, value);
  }
  if (cookies.length > 0) this.setHeader("set-cookie", cookies);
  return this;
}

function appendHeader(
  this: Outgoing,
  name: string,
  value: string | readonly string[],
): Outgoing {
  if (this.headersSent) throw sentError("append");
  const known = this[answerKey].fields.get(keyOf(name));
  if (known === undefined) return this.setHeader(name, value);
  return this.setHeader(known[0], [known[1], value].flat() as string[]);
}

function keyOf(name: unknown): string {
  if (typeof name === "string") return name.toLowerCase();
  throw coded(
    new TypeError(
      `The "name" argument must be of type string: ${typeof name}`,
    ),
    "ERR_INVALID_ARG_TYPE",
  );
}

function getHeader(this: Outgoing, name: string): HeaderValue | undefined {
  return this[answerKey].fields.get(keyOf(name))?.[1];
}

function getHeaders(this: Outgoing): Record<string, HeaderValue> {
  const headers: Record<string, HeaderValue> = Object.create(null);
  for (const [name, [, value]] of this[answerKey].fields) headers[name] = value;
  return headers;
}

function getHeaderNames(this: Outgoing): string[] {
  return [...this[answerKey].fields.keys()];
}

function getRawHeaderNames(this: Outgoing): string[] {
  return Array.from(this[answerKey].fields.values(), ([name]) => name);
}

function hasHeader(this: Outgoing, name: string): boolean {
  return this[answerKey].fields.has(keyOf(name));
}

function removeHeader(this: Outgoing, name: string): void {
  const key = keyOf(name);
  if (this.headersSent) throw sentError("remove");
  this[answerKey].fields.delete(key);
}

function writeHead(
  this: Outgoing,
  status: number,
  ...rest: unknown[]
): Outgoing {
  const answer = this[answerKey];
  if (this.headersSent) throw sentError("write");
  const given = Number(status) | 0;
  if (given < 100 || given > 999) {
    throw coded(
      new RangeError(`Invalid status code: ${status}`),
      "ERR_HTTP_INVALID_STATUS_CODE",
    );
  }
  const reason = typeof rest[0] === "string"
    ? rest.shift() as string
    : this.statusMessage;
  if (reason !== undefined && !isFieldValue(reason)) {
    throw coded(
      new TypeError("Invalid character in statusMessage"),
      "ERR_INVALID_CHAR",
    );
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
          ? [known[1], value].flat() as string[]
          : value,
      );
      seen.add(key);
    }
  }
  this.statusCode = given;
  this.statusMessage = reason ?? STATUS_CODES[given] ?? "unknown";
  this.headersSent = true;
  this._header = `HTTP/1.1 ${given} ${this.statusMessage}\r\n`;
  return this;
}

function implicitHeader(this: Outgoing): void {
  this.writeHead(this.statusCode);
}

function flushHeaders(this: Outgoing): void {
  this[answerKey].begin();
}

function writeContinue(this: Outgoing, callback?: () => void): void {
  const exchange = exchangeOf(this[answerKey].options.request);
  (exchange as { wanted?(): void } | undefined)?.wanted?.();
  if (typeof callback === "function") queueMicrotask(callback);
}

function writeProcessing(this: Outgoing, callback?: () => void): void {
  this[answerKey].options.context.inform(102);
  if (typeof callback === "function") queueMicrotask(callback);
}

function writeEarlyHints(
  this: Outgoing,
  hints: Record<string, string | string[]>,
  callback?: () => void,
): void {
  if (this.headersSent) throw sentError("write");
  // Without a link node:http sends nothing.
  if (hints.link === undefined || hints.link.length === 0) return;
  const headers = new Headers();
  for (const [name, value] of Object.entries(hints)) {
    for (const one of [value].flat()) headers.append(name, one);
  }
  this[answerKey].options.context.inform(103, headers);
  if (typeof callback === "function") queueMicrotask(callback);
}

function addTrailers(this: Outgoing, fields: HeaderInit): void {
  this[answerKey].addTrailers(fields);
}

/** The encoding of a text, where a callback may be. */
export function encodingOf(encoding: unknown): BufferEncoding {
  return typeof encoding === "string" ? encoding as BufferEncoding : "utf8";
}

/** The function among the last arguments; Fastify gives null for none. */
function callbackOf(
  encoding: unknown,
  callback: unknown,
): Callback | undefined {
  if (typeof encoding === "function") return encoding as Callback;
  return typeof callback === "function" ? callback as Callback : undefined;
}

/** How long a chunk is, as it stands; throws for one that is none. */
function sizeOf(chunk: unknown): number {
  if (typeof chunk === "string") return chunk.length;
  if (chunk instanceof Uint8Array) return chunk.byteLength;
  const none = chunk === null;
  throw coded(
    new TypeError(
      none
        ? "May not write null values to stream"
        : `The "chunk" argument must be of type string or an instance of Buffer or Uint8Array: ${typeof chunk}`,
    ),
    none ? "ERR_STREAM_NULL_VALUES" : "ERR_INVALID_ARG_TYPE",
  );
}

function finishedError(): Error {
  return coded(
    new Error("Cannot call end after a stream was finished"),
    "ERR_STREAM_ALREADY_FINISHED",
  );
}

function write(
  this: Outgoing,
  chunk: unknown,
  encoding?: string | Callback,
  callback?: Callback,
): boolean {
  const answer = this[answerKey];
  const done = callbackOf(encoding, callback);
  const size = sizeOf(chunk);
  if (this.writableEnded || this.destroyed) return writeLate(answer, done);
  if (this.strictContentLength) answer.measure(chunk, encoding);
  answer.begin();
  if (this.destroyed) return writeLate(answer, done);
  const { inner } = answer;
  if (size === 0) {
    if (done !== undefined) process.nextTick(done);
    return !inner.writableNeedDrain;
  }
  // Who is told when it is written may use its memory again.
  const own = done !== undefined && chunk instanceof Uint8Array
    ? Buffer.from(chunk)
    : chunk;
  return inner.write(own, encodingOf(encoding), done);
}

/** There is nothing any more that could be written to. */
function writeLate(answer: Answer, done: Callback | undefined): boolean {
  const { outgoing } = answer;
  const ended = outgoing.writableEnded;
  const error = coded(
    new Error(
      ended
        ? "write after end"
        : "Cannot call write after a stream was destroyed",
    ),
    ended ? "ERR_STREAM_WRITE_AFTER_END" : "ERR_STREAM_DESTROYED",
  );
  process.nextTick(() => {
    done?.(error);
    if (!ended) return;
    if (outgoing.listenerCount("error") > 0) outgoing.emit("error", error);
    else answer.options.report(error);
  });
  return false;
}

function end(
  this: Outgoing,
  chunk?: unknown,
  encoding?: string | Callback,
  callback?: Callback,
): Outgoing {
  const answer = this[answerKey];
  let last: unknown = chunk;
  let done = callbackOf(encoding, callback);
  if (typeof chunk === "function") {
    done = chunk as Callback;
    last = undefined;
  }
  const some = last !== undefined && last !== null;
  if (some) sizeOf(last);
  if (some && this.writableEnded) {
    writeLate(answer, done);
    return this;
  }
  if (done !== undefined) {
    const told = done;
    if (this.writableFinished) process.nextTick(told, finishedError());
    else if (this.destroyed) process.nextTick(told);
    else this.once("finish", () => told());
  }
  if (this.writableEnded || this.destroyed) return this;
  if (this.strictContentLength) answer.measure(last, encoding, true);
  if (!answer.begun && !answer.isOpen) {
    const whole = !some
      ? EMPTY
      : typeof last === "string"
      ? Buffer.from(last, encodingOf(encoding))
      : last;
    if (whole instanceof Uint8Array) {
      // Somebody may hear of it, and write.
      answer.head();
      if (!answer.isOpen && answer.trailers.length === 0) {
        answer.endWhole(whole);
        return this;
      }
    }
  }
  answer.begin();
  if (this.destroyed) return this;
  const { inner } = answer;
  if (some) inner.write(last, encodingOf(encoding));
  inner.end();
  return this;
}

const EMPTY = new Uint8Array(0);

function cork(this: Outgoing): void {
  if (!this.destroyed && !this.writableEnded) this[answerKey].inner.cork();
}

function uncork(this: Outgoing): void {
  if (this[answerKey].isOpen) this[answerKey].inner.uncork();
}

function setDefaultEncoding(this: Outgoing, encoding: string): Outgoing {
  this[answerKey].inner.setDefaultEncoding(encoding as BufferEncoding);
  return this;
}

function destroy(this: Outgoing, error?: Error): Outgoing {
  this[answerKey].destroy(error);
  return this;
}

function setTimer(
  this: Outgoing,
  ms: number,
  listener?: () => void,
): Outgoing {
  if (listener !== undefined) this.on("timeout", listener);
  this[answerKey].options.socket.setTimeout(ms);
  return this;
}
