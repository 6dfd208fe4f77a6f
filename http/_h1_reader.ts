import { H1Error, showByte, showText } from "./_h1_error.ts";
import { H1Reader, START } from "./_h1_machine.ts";
import {
  CHUNKED,
  isChunked,
  joined,
  NONE,
  parseLength,
} from "./_h1_framing.ts";
import {
  isAuthority,
  isTunnelTarget,
  listOf,
  TARGET,
  TOKEN,
} from "./_h1_tables.ts";
import type { Framing, HeadMemo, RequestHead } from "./_h1_types.ts";

export { H1Error } from "./_h1_error.ts";
export type { H1Phase } from "./_h1_machine.ts";
export { ResponseReader } from "./_h1_response.ts";

const START_LF = START + 1;
const METHOD = 2;
const TARGET_STATE = 3;
const VERSION = 4;
const LINE_LF = 5;

/** Empty lines ignored before a request line (RFC 9112, 2.2). */
const MAX_EMPTY_LINES = 4;
/** No method is longer than this. */
const MAX_METHOD = 32;

/** Heads up to this size are remembered: many clients say the same again. */
const MAX_REMEMBERED = 1024;
/** So many heads in a row that are not repeated, and none is remembered. */
const MAX_NEW = 4;

const HTTP = "HTTP/";

/** Methods that are met often: found by length and bytes, never built. */
const METHODS: readonly string[] = [
  "GET",
  "POST",
  "HEAD",
  "PUT",
  "DELETE",
  "OPTIONS",
  "PATCH",
  "CONNECT",
  "TRACE",
];

/** Reads requests. */
export class RequestReader extends H1Reader<RequestHead> {
  #empty = 0;
  #method = "";
  #targetEnd = 0;
  #targetStart = 0;
  #odd = 0;
  #version = 0;
  #major = 0;
  #minor = 0;
  /** Of the head told last, once it has come again byte by byte. */
  memo: HeadMemo | undefined;
  /** The head told last, and its bytes when they are remembered. */
  #head: RequestHead | undefined;
  #bytes: Uint8Array | undefined;
  /** Heads since the last one that was repeated. */
  #new = 0;

  protected override reset(): void {
    this.#empty = 0;
  }

  protected override startLine(
    buffer: Uint8Array,
    base: number,
    pos: number,
    end: number,
  ): number {
    while (pos < end) {
      const c = buffer[pos];
      switch (this.state) {
        case START:
          if (c === 0x0d) {
            if (++this.#empty > MAX_EMPTY_LINES) {
              throw new H1Error(400, "Cannot read a request: empty lines come");
            }
            this.state = START_LF;
            pos++;
            break;
          }
          this.#odd = 0;
          this.state = METHOD;
          // falls through: it is the first byte of the method
        case METHOD: {
          const limit = base + MAX_METHOD;
          const stop = end < limit ? end : limit;
          while (pos < stop && TOKEN[buffer[pos]] !== 0) pos++;
          if (pos === end) return pos;
          if (buffer[pos] !== 0x20 || pos === base) {
            throw pos === limit && TOKEN[buffer[pos]] !== 0
              ? new H1Error(501, "Cannot read a request: its method is long")
              : new H1Error(
                400,
                `Cannot read a method: it holds ${showByte(buffer[pos])}`,
              );
          }
          this.#method = methodOf(buffer, base, pos);
          pos++;
          this.#targetStart = pos - base;
          this.state = TARGET_STATE;
          break;
        }
        case START_LF:
          if (c !== 0x0a) {
            throw new H1Error(400, "Cannot read a request: it has a bare CR");
          }
          this.state = START;
          return pos + 1;
        case TARGET_STATE: {
          const limit = base + this.#targetStart + this.limits.target;
          const stop = end < limit ? end : limit;
          let odd = this.#odd;
          let kind = 0;
          while (pos < stop && (kind = TARGET[buffer[pos]]) !== 0) {
            odd |= kind;
            pos++;
          }
          this.#odd = odd;
          if (pos === end) return pos;
          if (buffer[pos] !== 0x20 || pos === base + this.#targetStart) {
            throw pos === limit && TARGET[buffer[pos]] !== 0
              ? new H1Error(
                414,
                `Cannot read a target: more than ${this.limits.target} bytes`,
                "ERR_SIZE_LIMIT",
              )
              : new H1Error(
                400,
                `Cannot read a target: it holds ${showByte(buffer[pos])}`,
              );
          }
          this.#targetEnd = pos - base;
          pos++;
          this.#version = 0;
          this.state = VERSION;
          break;
        }
        case VERSION:
          this.#versionByte(c);
          pos++;
          break;
        default: // LINE_LF
          if (c !== 0x0a) {
            throw new H1Error(400, "Cannot read a request: it has a bare CR");
          }
          pos++;
          if (this.#major !== 1) {
            throw new H1Error(
              505,
              `Cannot serve HTTP/${this.#major}.${this.#minor}: not spoken here`,
            );
          }
          this.beginFields(pos - base);
          return pos;
      }
    }
    return pos;
  }

  /** `HTTP/d.d` and CR, byte by byte (RFC 9112, 2.3). */
  #versionByte(c: number): void {
    const at = this.#version++;
    if (at < 5) {
      if (c === HTTP.charCodeAt(at)) return;
    } else if (at === 6) {
      if (c === 0x2e) return;
    } else if (at === 8) {
      this.state = LINE_LF;
      if (c === 0x0d) return;
    } else if (c >= 0x30 && c <= 0x39) {
      if (at === 5) this.#major = c - 0x30;
      else this.#minor = c - 0x30;
      return;
    }
    throw new H1Error(
      400,
      `Cannot read the version of a request: it holds ${showByte(c)}`,
    );
  }

  protected override complete(text: string): Framing | undefined {
    const method = this.#method;
    const target = text.slice(this.#targetStart, this.#targetEnd);
    const fields = this.fieldsOf(text);
    // A higher minor version counts as the highest known (RFC 9110, 2.5).
    const minor = this.#minor === 0 ? 0 : 1;
    let host: string | undefined;
    let hostAt = -1;
    let length: string | undefined;
    let coding: string | undefined;
    let connection: string | undefined;
    let expect: string | undefined;
    let upgrade: string | undefined;
    let cookieAt = -1;
    for (let i = 0; i < fields.length; i += 2) {
      switch (fields[i]) {
        case "host":
          if (host !== undefined) throw repeated("host");
          hostAt = i + 1;
          host = fields[hostAt];
          break;
        case "content-length":
          // Even equal ones: some would take the first, some the sum.
          if (length !== undefined) throw repeated("content-length");
          length = fields[i + 1];
          break;
        case "transfer-encoding":
          if (coding !== undefined) throw repeated("transfer-encoding");
          coding = fields[i + 1];
          break;
        case "connection":
          connection = joined(connection, fields[i + 1]);
          break;
        case "expect":
          expect = joined(expect, fields[i + 1]);
          break;
        case "upgrade":
          upgrade = joined(upgrade, fields[i + 1]);
          break;
        case "cookie":
          if (cookieAt === -1) cookieAt = i + 1;
          else {
            // Its own separator: a comma is part of a value (RFC 9113, 8.2.3).
            fields[cookieAt] += `; ${fields[i + 1]}`;
            fields.splice(i, 2);
            i -= 2;
          }
      }
    }
    if (host === undefined) {
      // RFC 9112, 3.2
      if (minor === 1) throw new H1Error(400, "Cannot take a request: no Host");
      host = "";
    } else if (host !== "" && !isAuthority(host)) {
      throw new H1Error(400, `Cannot take the Host: ${showText(host)}`);
    }
    if (target.charCodeAt(0) !== 0x2f || method === "CONNECT") {
      const authority = authorityOf(method, target);
      if (authority !== undefined) {
        // It counts, not the field (RFC 9112, 3.2.2): nobody sees another.
        host = authority;
        if (hostAt !== -1) fields[hostAt] = authority;
      }
    }
    if (this.#odd > 1) refuseBackslash(target);
    const framing: Framing = isChunked(minor, length, coding)
      ? CHUNKED
      : length === undefined
      ? NONE
      : { kind: "length", length: parseLength(length) };
    let keepAlive = minor === 1;
    let upgrading = false;
    if (connection !== undefined && connection !== "keep-alive") {
      const options = listOf(connection);
      upgrading = options.includes("upgrade");
      keepAlive = !options.includes("close") &&
        (keepAlive || options.includes("keep-alive"));
    } else if (connection !== undefined) {
      keepAlive = true;
    }
    const body = framing.kind === "chunked" ||
      (framing.kind === "length" && framing.length > 0);
    const tunnel = method === "CONNECT";
    if (tunnel && body) {
      throw new H1Error(400, "Cannot take a CONNECT request: it has a body");
    }
    if (expect !== undefined && minor === 1) expect = checkExpect(expect);
    const head: RequestHead = {
      method,
      target,
      minor,
      fields,
      framing,
      host,
      // What follows a CONNECT is meant for its tunnel, never a request.
      keepAlive: keepAlive && !tunnel,
      expectContinue: expect !== undefined && minor === 1 && body,
      upgrade: upgrading && minor === 1 ? upgrade : undefined,
    };
    this.#head = head;
    this.memo = undefined;
    this.events.head(head);
    return tunnel ? undefined : framing;
  }

  protected override repeats(buffer: Uint8Array, pos: number): number {
    const bytes = this.#bytes;
    if (bytes === undefined) return 0;
    const size = bytes.length;
    if (buffer.length - pos < size) return 0;
    for (let i = 0; i < size; i++) {
      if (buffer[pos + i] !== bytes[i]) return 0;
    }
    return size;
  }

  protected override repeat(): Framing {
    const head = this.#head!;
    this.memo ??= { mold: undefined };
    this.#new = 0;
    this.events.head(head);
    return head.framing;
  }

  protected override remember(
    buffer: Uint8Array,
    from: number,
    to: number,
  ): void {
    // Not the first: many connections carry no other request.
    if (
      this.#new++ === 0 || this.#new > MAX_NEW || to - from > MAX_REMEMBERED
    ) {
      this.#bytes = undefined;
      this.#head = undefined;
    } else this.#bytes = buffer.slice(from, to);
  }
}

function repeated(name: string): H1Error {
  return new H1Error(400, `Cannot take a message: it has two ${name} fields`);
}

function methodOf(buffer: Uint8Array, start: number, end: number): string {
  const length = end - start;
  search: for (const method of METHODS) {
    if (method.length !== length) continue;
    for (let i = 0; i < length; i++) {
      if (method.charCodeAt(i) !== buffer[start + i]) continue search;
    }
    return method;
  }
  return String.fromCharCode(...buffer.subarray(start, end));
}

/**
 * The authority in a target that is not in origin form; `undefined` for the
 * asterisk form (RFC 9112, 3.2).
 */
function authorityOf(method: string, target: string): string | undefined {
  if (method === "CONNECT") {
    if (isTunnelTarget(target)) return target;
  } else if (target === "*") {
    if (method === "OPTIONS") return undefined;
  } else {
    const end = target.indexOf("://");
    const scheme = target.slice(0, Math.max(end, 0)).toLowerCase();
    if (scheme === "http" || scheme === "https") {
      let stop = end + 3;
      for (; stop < target.length; stop++) {
        const c = target.charCodeAt(stop);
        if (c === 0x2f || c === 0x3f) break;
      }
      const authority = target.slice(end + 3, stop);
      // No empty host, no user information (RFC 9110, 4.2.1 and 4.2.4).
      if (isAuthority(authority)) return authority;
    }
  }
  throw new H1Error(400, `Cannot take the target: ${showText(target)}`);
}

/** A backslash in a path would be a slash to the URL parser. */
function refuseBackslash(target: string): void {
  const query = target.indexOf("?");
  if (query === -1 || target.indexOf("\\") < query) {
    throw new H1Error(400, "Cannot take the target: its path has a backslash");
  }
}

/** RFC 9110, 10.1.1. */
function checkExpect(expect: string): string {
  if (expect.toLowerCase() !== "100-continue") {
    throw new H1Error(417, `Cannot meet the expectation: ${showText(expect)}`);
  }
  return expect;
}
