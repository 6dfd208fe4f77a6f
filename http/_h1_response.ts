import { H1Error, showByte } from "./_h1_error.ts";
import {
  CHUNKED,
  CLOSE,
  isChunked,
  joined,
  NONE,
  parseLength,
} from "./_h1_framing.ts";
import { H1Reader, START } from "./_h1_machine.ts";
import { listOf, trim, VALUE } from "./_h1_tables.ts";
import type {
  Framing,
  H1Limits,
  H1ResponseEvents,
  ResponseHead,
} from "./_h1_types.ts";

const VERSION = 2;
const CODE = 3;
const CODE_END = 4;
const REASON = 5;
const LINE_LF = 6;

const HTTP = "HTTP/1.";
/** A reason phrase is for nobody: this much is more than enough. */
const MAX_REASON = 1024;

/** Reads responses. Each one has to be announced with `expect`. */
export class ResponseReader extends H1Reader<ResponseHead> {
  // A user agent takes obs-fold for white space (RFC 9112, 5.2).
  protected override readonly unfold: boolean = true;
  readonly #inform: ((head: ResponseHead) => void) | undefined;
  #method: string | undefined;
  #informed = false;
  #version = 0;
  #minor = 0;
  #digits = 0;
  #status = 0;
  #reasonStart = 0;
  #reasonEnd = 0;

  constructor(events: H1ResponseEvents, limits: H1Limits) {
    super(events, limits);
    this.#inform = events.inform?.bind(events);
  }

  /** The next response answers a request of this method. */
  expect(method: string): void {
    this.#method = method;
  }

  protected override reset(): void {
    if (!this.#informed) this.#method = undefined;
    this.#informed = false;
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
          if (this.#method === undefined) {
            throw new H1Error(
              502,
              "Cannot take a response: none was asked for",
            );
          }
          this.#version = 0;
          this.state = VERSION;
          // falls through: it is the first byte of the version
        case VERSION: {
          const at = this.#version++;
          if (at < 7) {
            if (c !== HTTP.charCodeAt(at)) throw badLine(c);
          } else if (at === 7) {
            if (!(c >= 0x30 && c <= 0x39)) throw badLine(c);
            this.#minor = c === 0x30 ? 0 : 1;
          } else {
            if (c !== 0x20) throw badLine(c);
            this.#digits = 0;
            this.#status = 0;
            this.state = CODE;
          }
          pos++;
          break;
        }
        case CODE:
          if (!(c >= 0x30 && c <= 0x39)) throw badLine(c);
          this.#status = this.#status * 10 + c - 0x30;
          if (++this.#digits === 3) this.state = CODE_END;
          pos++;
          break;
        case CODE_END:
          // The space is required, and often left out with the reason.
          if (c === 0x20) {
            pos++;
          } else if (c !== 0x0d) {
            throw badLine(c);
          }
          this.#reasonStart = pos - base;
          this.state = REASON;
          break;
        case REASON: {
          const limit = base + this.#reasonStart + MAX_REASON;
          const stop = end < limit ? end : limit;
          while (pos < stop && VALUE[buffer[pos]] === 1) pos++;
          if (pos === end) return pos;
          if (buffer[pos] !== 0x0d) {
            throw pos === limit && VALUE[buffer[pos]] === 1
              ? new H1Error(
                502,
                `Cannot read the reason of a response: more than ${MAX_REASON} bytes`,
                "ERR_SIZE_LIMIT",
              )
              : badLine(buffer[pos]);
          }
          this.#reasonEnd = pos - base;
          pos++;
          this.state = LINE_LF;
          break;
        }
        default: // LINE_LF
          if (c !== 0x0a) throw badLine(c);
          pos++;
          // From 600 on they are as good as 5xx (RFC 9110, 15).
          if (this.#status < 100) {
            throw new H1Error(
              502,
              `Cannot take a response: its status is ${this.#status}`,
            );
          }
          this.beginFields(pos - base);
          return pos;
      }
    }
    return pos;
  }

  protected override complete(text: string): Framing | undefined {
    const fields = this.fieldsOf(text);
    const status = this.#status;
    const minor = this.#minor === 0 ? 0 : 1;
    let length: string | undefined;
    let coding: string | undefined;
    let connection: string | undefined;
    for (let i = 0; i < fields.length; i += 2) {
      switch (fields[i]) {
        case "content-length":
          length = joined(length, fields[i + 1]);
          break;
        case "transfer-encoding":
          coding = joined(coding, fields[i + 1]);
          break;
        case "connection":
          connection = joined(connection, fields[i + 1]);
      }
    }
    const informed = status < 200 && status !== 101;
    const tunnel = status === 101 ||
      (this.#method === "CONNECT" && status >= 200 && status < 300);
    // RFC 9112, 6.3: what has no body, whatever its fields say.
    const bodiless = informed || tunnel || status === 204 || status === 304 ||
      this.#method === "HEAD";
    let framing: Framing = NONE;
    if (!tunnel && !informed) {
      if (isChunked(minor, length, coding)) {
        if (!bodiless) framing = CHUNKED;
      } else if (length !== undefined) {
        const size = parseSame(length);
        if (!bodiless) framing = { kind: "length", length: size };
      } else if (!bodiless) {
        framing = CLOSE;
      }
    }
    let keepAlive = minor === 1;
    if (connection !== undefined && connection !== "keep-alive") {
      const options = listOf(connection);
      keepAlive = !options.includes("close") &&
        (keepAlive || options.includes("keep-alive"));
    } else if (connection !== undefined) {
      keepAlive = true;
    }
    const head: ResponseHead = {
      status,
      reason: trim(text.slice(this.#reasonStart, this.#reasonEnd)),
      minor,
      fields,
      framing,
      keepAlive: keepAlive && framing !== CLOSE && !tunnel,
    };
    if (informed) {
      // Its end is silent, and the method stays for the one that follows.
      this.#informed = true;
      this.#inform?.(head);
      return framing;
    }
    this.events.head(head);
    return tunnel ? undefined : framing;
  }

  protected override get silentEnd(): boolean {
    return this.#informed;
  }
}

/**
 * A Content-Length; several equal ones are taken for one, as RFC 9112, 6.3
 * lets a user agent do.
 */
function parseSame(text: string): number {
  if (!text.includes(",")) return parseLength(text);
  const [first, ...others] = text.split(",").map(trim);
  const length = parseLength(first);
  if (others.some((other) => parseLength(other) !== length)) {
    throw new H1Error(502, "Cannot take a response: its lengths differ");
  }
  return length;
}

function badLine(c: number): H1Error {
  return new H1Error(
    502,
    `Cannot read the status line of a response: it holds ${showByte(c)}`,
  );
}
