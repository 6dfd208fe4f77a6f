import { ChunkLine } from "./_h1_chunked.ts";
import { bareCr, H1Error, showByte, showText } from "./_h1_error.ts";
import { NONE } from "./_h1_framing.ts";
import {
  decodeLatin1,
  knownName,
  NOT_IN_TRAILERS,
  TOKEN,
  VALUE,
} from "./_h1_tables.ts";
import type { Fields, Framing, H1Events, H1Limits } from "./_h1_types.ts";

/** Where in a message the reader is. */
export type H1Phase = "start" | "head" | "body" | "trailer";

// States below FIELD_START are of the start line; the subclasses know them.
/** Between two messages. */
export const START = 0;
export const FIELD_START = 16;
const NAME = 17;
const PADDING = 18;
const CONTENT = 19;
const CONTENT_LF = 20;
const LAST_LF = 21;
/** All of a field section has been seen. */
const SECTION_END = 22;
const END = 32;
const LENGTH = 33;
const CLOSE = 34;
const SIZE = 40;
const CHUNK = 42;
const CHUNK_CR = 43;
const CHUNK_LF = 44;
/** Nothing is read any more: an error, or the bytes belong to another. */
const OVER = 99;

const EMPTY = new Uint8Array(0);
/** To copy so few bytes costs less than a view of them, which holds them all. */
const SMALL = 1000;

/** What is found of a section of fields while it is read. */
class Found {
  /** Offsets of the fields: name start, name end, value start, value end. */
  readonly spans: number[] = [];
  /** Their names, when they are well known. */
  readonly names: (string | undefined)[] = [];
}

/** Mostly a section comes whole: then all readers take turns with one. */
let spare: Found | undefined;

/**
 * What readers of requests and of responses have in common: a machine that
 * looks at every byte once, may be fed any pieces, and comes to the same
 * result for each way of cutting the input. Pure: no I/O, no timers.
 */
export abstract class H1Reader<Head> {
  protected readonly events: H1Events<Head>;
  protected readonly limits: H1Limits;
  /** State of the machine; subclasses move it within the start line. */
  protected state: number = START;
  /** Whether obs-fold is taken for white space (RFC 9112, 5.2). */
  protected readonly unfold: boolean = false;

  #stopped = false;
  #running = false;
  #input: Uint8Array = EMPTY;
  /** Whether that is not ours: what is kept of it is copied. */
  #lent = false;
  #next = 0;
  #cut = false;
  #kept: Uint8Array[] = [];
  #carry: Uint8Array = EMPTY;
  #carried = 0;
  #found: Found | undefined;
  #count = 0;
  #sectionStart = 0;
  #sectionLimit = 0;
  #trailing = false;
  #folded = false;
  #hash = 0;
  #left = 0;
  #line: ChunkLine | undefined;

  constructor(events: H1Events<Head>, limits: H1Limits) {
    this.events = events;
    this.limits = limits;
  }

  /** Whether it waits for `resume`. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Whether it keeps bytes to be read later. */
  get keeps(): boolean {
    return this.#kept.length > 0;
  }

  /** Where it is: between messages, in a head, a body, its trailers. */
  get phase(): H1Phase {
    if (this.#trailing) return "trailer";
    const state = this.state;
    if (state <= START + 1) return "start";
    return state < END ? "head" : "body";
  }

  /**
   * Parses what it can; events are called from within. Throws an `H1Error`
   * on a violation: nothing after it counts. What comes while it is stopped
   * is kept. A chunk that is `lent` is not touched after this returns.
   */
  feed(chunk: Uint8Array, lent = false): void {
    if (this.state === OVER || chunk.length === 0) return;
    if (this.#stopped || this.#running) {
      this.#kept.push(lent ? chunk.slice() : chunk);
    } else {
      this.#lent = lent;
      this.#run(chunk);
      if (this.#kept.length > 0) this.#goOn();
    }
  }

  /** From within an event: stops after it. The rest is kept. */
  stop(): void {
    this.#stopped = true;
  }

  /** Goes on with what was kept; then with a FIN that came meanwhile. */
  resume(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    if (this.#running || this.state === OVER) return;
    this.#run(this.#kept.shift() ?? EMPTY);
    this.#goOn();
    if (this.#cut && !this.#stopped) this.finish();
  }

  #goOn(): void {
    while (!this.#stopped && this.#kept.length > 0) {
      this.#run(this.#kept.shift()!);
    }
  }

  /** Takes the bytes that were kept; the reader reads no more. */
  rest(): Uint8Array {
    const kept = this.#kept;
    if (this.#running && this.#next < this.#input.length) {
      kept.unshift(this.#piece(this.#input, this.#next, this.#input.length));
    }
    this.#kept = [];
    this.#carry = EMPTY;
    this.state = OVER;
    if (kept.length < 2) return kept[0] ?? EMPTY;
    const rest = new Uint8Array(kept.reduce((n, chunk) => n + chunk.length, 0));
    let offset = 0;
    for (const chunk of kept) {
      rest.set(chunk, offset);
      offset += chunk.length;
    }
    return rest;
  }

  /** The peer's FIN. Throws an `H1Error` when it cuts a message. */
  finish(): void {
    if (this.state === OVER) return;
    this.#cut = true;
    if (this.#stopped || this.#running) return;
    if (this.state === CLOSE) {
      this.#leave();
      this.events.messageEnd(undefined);
    } else if (this.phase !== "start") {
      const phase = this.phase;
      this.state = OVER;
      throw new H1Error(
        400,
        `Cannot read the message: the connection ended in its ${phase}`,
        "ERR_TRUNCATED",
      );
    }
  }

  /** Reads on in the start line, in `buffer` from `pos`; gives where it came. */
  protected abstract startLine(
    buffer: Uint8Array,
    base: number,
    pos: number,
    end: number,
  ): number;

  /**
   * The head is whole. Checks it, tells it, and says how the body is framed;
   * `undefined` when the reader is to stop here (a tunnel begins).
   */
  protected abstract complete(text: string): Framing | undefined;

  /**
   * How many bytes from `pos` on are the very head that was remembered: what
   * was found of it then holds again. 0: they are to be read.
   */
  protected repeats(_buffer: Uint8Array, _pos: number): number {
    return 0;
  }

  /** Tells the head that was remembered, and how its body is framed. */
  protected repeat(): Framing {
    return NONE;
  }

  /** These bytes are the head that was told just now. */
  protected remember(_buffer: Uint8Array, _from: number, _to: number): void {}

  /** Whether the message that ends is one that nobody is told the end of. */
  protected get silentEnd(): boolean {
    return false;
  }

  /** A message is over; the next one begins with its start line. */
  protected reset(): void {}

  /** The start line is over: fields begin at this offset of the head. */
  protected beginFields(offset: number): void {
    this.state = FIELD_START;
    this.#beginSection(offset, this.limits.header);
  }

  #beginSection(offset: number, limit: number): void {
    this.#sectionStart = offset;
    this.#sectionLimit = limit;
    this.#folded = false;
    this.#count = 0;
    if (this.#found === undefined) {
      this.#found = spare ?? new Found();
      spare = undefined;
    }
  }

  /** Fields of the section just read, from its text; once. */
  protected fieldsOf(text: string): Fields {
    const { spans, names } = spare = this.#found!;
    this.#found = undefined;
    const count = this.#count;
    const fields: Fields = new Array(count * 2);
    for (let i = 0, s = 0, f = 0; i < count; i++, s += 4, f += 2) {
      fields[f] = names[i] ?? text.slice(spans[s], spans[s + 1]).toLowerCase();
      fields[f + 1] = text.slice(spans[s + 2], spans[s + 3]);
    }
    if (this.#folded) {
      for (let f = 1; f < fields.length; f += 2) fields[f] = flat(fields[f]);
    }
    return fields;
  }

  #run(chunk: Uint8Array): void {
    this.#running = true;
    this.#input = chunk;
    let pos = 0;
    try {
      while (!this.#stopped) {
        const state = this.state;
        if (state === END) {
          this.#next = pos;
          const silent = this.silentEnd;
          this.#leave();
          if (!silent) this.events.messageEnd(undefined);
        } else if (pos === chunk.length || state === OVER) {
          break;
        } else if (state < END) {
          pos = this.#section(chunk, pos);
        } else if (state === LENGTH || state === CHUNK) {
          pos = this.#counted(chunk, pos);
        } else if (state === CLOSE) {
          const from = pos;
          pos = this.#next = chunk.length;
          this.events.content(this.#piece(chunk, from, pos));
        } else {
          pos = this.#chunked(chunk, pos);
        }
      }
    } catch (error) {
      this.state = OVER;
      this.#kept = [];
      this.#carry = EMPTY;
      throw error;
    } finally {
      this.#running = false;
      this.#input = EMPTY;
    }
    if (pos < chunk.length && this.state !== OVER) {
      this.#kept.unshift(this.#piece(chunk, pos, chunk.length));
    }
    this.#lent = false;
  }

  /** A part of the input, for whoever keeps it. */
  #piece(chunk: Uint8Array, from: number, to: number): Uint8Array {
    const size = to - from;
    if (size === chunk.length && !this.#lent) return chunk;
    if (this.#lent || size <= SMALL) return chunk.slice(from, to);
    return chunk.subarray(from, to);
  }

  /** Back to the start: the next message may come. */
  #leave(): void {
    this.state = START;
    this.#trailing = false;
    this.reset();
  }

  // Heads and trailers: read in one piece, carried over when they are cut.

  #section(chunk: Uint8Array, pos: number): number {
    if (this.state === START && this.#carried === 0) {
      const size = this.repeats(chunk, pos);
      if (size > 0) {
        this.#next = pos + size;
        this.state = END;
        const framing = this.repeat();
        if (this.state !== OVER) this.#begin(framing);
        return pos + size;
      }
    }
    let buffer = chunk;
    let base = pos;
    let from = pos;
    let end = chunk.length;
    if (this.#carried > 0) {
      from = this.#carried;
      this.#carryOn(chunk, pos);
      buffer = this.#carry;
      base = 0;
      end = this.#carried;
    }
    let at = from;
    if (this.state < FIELD_START) {
      at = this.startLine(buffer, base, at, end);
      // An empty line before the request is no part of its head.
      if (this.state === START) {
        this.#carried = 0;
        return pos + (at - from);
      }
    }
    if (this.state >= FIELD_START) at = this.#fields(buffer, base, at, end);
    if (this.state !== SECTION_END) {
      if (buffer === chunk) this.#carryOn(chunk, pos);
      return chunk.length;
    }
    const text = decodeLatin1(buffer, base, at);
    this.#carry = EMPTY;
    this.#carried = 0;
    this.#next = pos + (at - from);
    if (this.#trailing) {
      this.#endTrailers(text);
    } else {
      // Whoever looks at the phase from within the event is behind the head.
      this.state = END;
      const framing = this.complete(text);
      if (framing === undefined) this.#stopped = true;
      else if (this.state !== OVER) {
        this.remember(buffer, base, at);
        this.#begin(framing);
      }
    }
    return pos + (at - from);
  }

  #begin(framing: Framing): void {
    switch (framing.kind) {
      case "length":
        this.#left = framing.length;
        this.state = framing.length === 0 ? END : LENGTH;
        break;
      case "chunked":
        this.#line ??= new ChunkLine(this.limits.trailer);
        this.#line.begin();
        this.state = SIZE;
        break;
      case "close":
        this.state = CLOSE;
        break;
      default:
        this.state = END;
    }
  }

  #carryOn(chunk: Uint8Array, pos: number): void {
    const size = this.#carried + chunk.length - pos;
    if (size > this.#carry.length) {
      const grown = new Uint8Array(Math.max(256, size, this.#carry.length * 2));
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(pos === 0 ? chunk : chunk.subarray(pos), this.#carried);
    this.#carried = size;
  }

  #fields(
    buffer: Uint8Array,
    base: number,
    pos: number,
    end: number,
  ): number {
    const bound = base + this.#sectionStart + this.#sectionLimit;
    const stop = end < bound ? end : bound;
    const { spans, names } = this.#found!;
    let state = this.state;
    let c = 0;
    while (pos < stop) {
      switch (state) {
        case FIELD_START:
          c = buffer[pos];
          if (c === 0x0d) {
            state = LAST_LF;
            pos++;
            break;
          }
          if (TOKEN[c] === 0) {
            this.#fold(c);
            state = CONTENT;
            break;
          }
          this.#addField(pos - base);
          state = NAME;
          // falls through: it is the common way
        case NAME: {
          let hash = this.#hash;
          while (pos < stop && (c = TOKEN[buffer[pos]]) !== 0) {
            hash = (Math.imul(hash, 31) + c) | 0;
            pos++;
          }
          this.#hash = hash;
          if (pos === stop) break;
          c = buffer[pos];
          // White space before the colon, too (RFC 9112, 5.1).
          if (c !== 0x3a) throw badField("name", c);
          const at = this.#count - 1;
          const start = base + spans[at * 4];
          names[at] = knownName(buffer, start, pos, hash);
          spans[at * 4 + 1] = pos - base;
          pos++;
          state = PADDING;
        } // falls through: it is the common way
        case PADDING:
          while (pos < stop && ((c = buffer[pos]) === 0x20 || c === 0x09)) {
            pos++;
          }
          if (pos === stop) break;
          spans[this.#count * 4 - 2] = pos - base;
          state = CONTENT;
          // falls through: it is the common way
        case CONTENT: {
          while (pos < stop && VALUE[buffer[pos]] === 1) pos++;
          if (pos === stop) break;
          c = buffer[pos];
          // A bare LF, too (RFC 9112, 2.2).
          if (c !== 0x0d) throw badField("value", c);
          let last = pos;
          const start = base + spans[this.#count * 4 - 2];
          while (
            last > start && ((c = buffer[last - 1]) === 0x20 || c === 0x09)
          ) last--;
          spans[this.#count * 4 - 1] = last - base;
          pos++;
          state = CONTENT_LF;
          break;
        }
        default: // CONTENT_LF, LAST_LF
          if (buffer[pos] !== 0x0a) throw bareCr();
          pos++;
          if (state === LAST_LF) {
            this.state = SECTION_END;
            return pos;
          }
          state = FIELD_START;
      }
    }
    if (pos < end) throw this.#tooLarge();
    this.state = state;
    return pos;
  }

  #addField(start: number): void {
    if (this.#count >= this.limits.fields) {
      throw new H1Error(
        431,
        `Cannot read the fields: more than ${this.limits.fields}`,
        "ERR_SIZE_LIMIT",
      );
    }
    // One by one: an array with holes would be slow for ever.
    const { spans, names } = this.#found!;
    const at = this.#count++ * 4;
    if (at === spans.length) {
      spans.push(start, 0, 0, 0);
      names.push(undefined);
    } else spans[at] = start;
    this.#hash = 0;
  }

  /** White space at the start of a line: the value before it goes on. */
  #fold(c: number): void {
    const blank = c === 0x20 || c === 0x09;
    if (!blank || !this.unfold || this.#trailing || this.#count === 0) {
      throw blank
        ? new H1Error(
          400,
          "Cannot read the fields: a line begins with white space",
        )
        : badField("name", c);
    }
    this.#folded = true;
  }

  #tooLarge(): H1Error {
    return new H1Error(
      431,
      this.#trailing
        ? `Cannot read the trailers: more than ${this.limits.trailer} bytes`
        : `Cannot read the fields: more than ${this.limits.header} bytes`,
      "ERR_SIZE_LIMIT",
    );
  }

  // Bodies.

  /** Content of known length: a body, or a chunk of one. */
  #counted(chunk: Uint8Array, pos: number): number {
    const end = Math.min(chunk.length, pos + this.#left);
    const data = this.#piece(chunk, pos, end);
    this.#left -= data.length;
    if (this.#left === 0) this.state = this.state === LENGTH ? END : CHUNK_CR;
    this.#next = end;
    this.events.content(data);
    return end;
  }

  /** All of the chunked coding but the data (RFC 9112, 7.1). */
  #chunked(chunk: Uint8Array, pos: number): number {
    const line = this.#line!;
    for (; pos < chunk.length; pos++) {
      const c = chunk[pos];
      switch (this.state) {
        case SIZE:
          if (!line.step(c)) continue;
          this.#left = line.size;
          if (line.size === 0) {
            this.#trailing = true;
            this.state = FIELD_START;
            this.#beginSection(0, this.limits.trailer - line.extra);
          } else {
            this.state = CHUNK;
          }
          return pos + 1;
        case CHUNK_CR:
          if (c !== 0x0d) throw badChunk(c);
          this.state = CHUNK_LF;
          continue;
        case CHUNK_LF:
          if (c !== 0x0a) throw bareCr();
          line.next();
          this.state = SIZE;
      }
    }
    return pos;
  }

  #endTrailers(text: string): void {
    const trailers = this.fieldsOf(text);
    for (let i = 0; i < trailers.length; i += 2) {
      if (NOT_IN_TRAILERS.has(trailers[i])) {
        throw new H1Error(
          400,
          `Cannot take a trailer: ${showText(trailers[i])} is not allowed`,
        );
      }
    }
    this.#leave();
    this.events.messageEnd(trailers.length === 0 ? undefined : trailers);
  }
}

/** A value with its obs-folds turned into single spaces. */
function flat(value: string): string {
  if (!value.includes("\r\n")) return value;
  return value.split("\r\n").map((line) => line.trim()).join(" ").trim();
}

function badField(what: string, c: number): H1Error {
  return new H1Error(
    400,
    `Cannot read a field ${what}: it holds ${showByte(c)}`,
  );
}

function badChunk(c: number): H1Error {
  return new H1Error(
    400,
    `Cannot read a chunk: ${showByte(c)} follows in place of CR LF`,
  );
}
