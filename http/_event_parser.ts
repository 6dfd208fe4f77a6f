import { SizeLimitError } from "../streams/errors.ts";

/** One event as the standard dispatches it. */
export interface ParsedEvent {
  data: string;
  event: string;
  id: string;
}

/** What a stream of events tells besides its events. */
export interface EventState {
  /** Id of the last event: where to go on. */
  lastEventId: string;
  /** Milliseconds to wait before connecting again, as the server says. */
  retry: number | undefined;
}

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
/** No timer is longer. */
const MAX_RETRY = 2 ** 31 - 1;

/** A BOM within the stream is text. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Parses a stream of events (HTML, 9.2.6), whatever it is cut into. What has
 * come up to the last end of a line is decoded at once: CR and LF are never
 * part of another character.
 */
export class EventParser {
  readonly #max: number;
  readonly #state: EventState;
  /** Bytes of a line whose end has not come. */
  #carry: Uint8Array[] = [];
  #carried = 0;
  /** Bytes of the BOM that have come; 3 once it is decided. */
  #bom = 0;
  /** The last byte was a CR that ended a line: an LF belongs to it. */
  #afterCr = false;
  #data: string[] = [];
  /** Bytes that the lines of this event have. */
  #size = 0;
  #type = "";
  #id: string;

  /** The id is kept in the state, which outlives the connection. */
  constructor(state: EventState, max: number) {
    this.#state = state;
    this.#max = max;
    this.#id = state.lastEventId;
  }

  /**
   * Takes bytes; adds the events that are complete to a list. Throws when one
   * is too large; those before it are in the list.
   */
  push(given: Uint8Array, events: ParsedEvent[]): void {
    const chunk = this.#bom < 3 ? this.#withoutBom(given) : given;
    if (chunk.byteLength === 0) return;
    // The LF of a CRLF that was cut in two.
    const from = this.#afterCr && chunk[0] === LF ? 1 : 0;
    const end = Math.max(chunk.lastIndexOf(LF), chunk.lastIndexOf(CR)) + 1;
    if (end > from) this.#lines(this.#take(chunk.subarray(from, end)), events);
    this.#afterCr = end === chunk.byteLength && chunk[end - 1] === CR;
    const rest = Math.max(from, end);
    if (rest === chunk.byteLength) return;
    this.#carried += chunk.byteLength - rest;
    this.#check(this.#carried);
    // Whoever gave the chunk may use its memory again.
    this.#carry.push(chunk.slice(rest));
  }

  /** Without the BOM that the stream may begin with, in any number of cuts. */
  #withoutBom(chunk: Uint8Array): Uint8Array {
    const bom = [0xef, 0xbb, 0xbf];
    for (let at = 0; at < chunk.byteLength; at++) {
      if (chunk[at] !== bom[this.#bom]) {
        // What looked like one is text.
        const before = Uint8Array.from(bom.slice(0, this.#bom));
        this.#bom = 3;
        if (before.byteLength === at) return chunk;
        const whole = new Uint8Array(before.byteLength + chunk.byteLength - at);
        whole.set(before);
        whole.set(chunk.subarray(at), before.byteLength);
        return whole;
      }
      if (++this.#bom === 3) return chunk.subarray(at + 1);
    }
    return chunk.subarray(chunk.byteLength);
  }

  /** The bytes, behind those that were left over. */
  #take(last: Uint8Array): Uint8Array {
    if (this.#carried === 0) return last;
    const bytes = new Uint8Array(this.#carried + last.byteLength);
    let at = 0;
    for (const piece of this.#carry) {
      bytes.set(piece, at);
      at += piece.byteLength;
    }
    bytes.set(last, at);
    this.#carry = [];
    this.#carried = 0;
    return bytes;
  }

  /** Whole lines, with their ends. */
  #lines(bytes: Uint8Array, events: ParsedEvent[]): void {
    const text = decoder.decode(bytes);
    // Then every character is of one byte.
    const narrow = text.length === bytes.byteLength;
    // Searched again only once it is passed; most streams have no CR at all.
    let cr = text.indexOf("\r");
    let lf = text.indexOf("\n");
    for (let at = 0; at < text.length;) {
      const end = cr === -1 || (lf !== -1 && lf < cr) ? lf : cr;
      const line = text.slice(at, end);
      const size = narrow ? line.length : sizeOf(line);
      this.#check(size);
      this.#line(line, size, events);
      at = end + 1;
      if (end === cr && lf === at) at++;
      if (cr !== -1 && cr < at) cr = text.indexOf("\r", at);
      if (lf !== -1 && lf < at) lf = text.indexOf("\n", at);
    }
  }

  #check(line: number): void {
    if (this.#size + line <= this.#max) return;
    throw new SizeLimitError(
      `Cannot read the events: one is over ${this.#max} bytes`,
      { limit: this.#max, phase: "body" },
    );
  }

  #line(line: string, size: number, events: ParsedEvent[]): void {
    if (line === "") {
      this.#dispatch(events);
      return;
    }
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(
      line.charCodeAt(colon + 1) === SPACE ? colon + 2 : colon + 1,
    );
    // Names are compared as they are: no other case, no white space.
    switch (name) {
      case "data":
        this.#data.push(value);
        this.#size += size;
        break;
      case "event":
        this.#type = value;
        break;
      case "id":
        if (!value.includes("\0")) this.#id = value;
        break;
      case "retry":
        if (/^[0-9]+$/.test(value)) {
          this.#state.retry = Math.min(Number(value), MAX_RETRY);
        }
    }
  }

  #dispatch(events: ParsedEvent[]): void {
    this.#state.lastEventId = this.#id;
    const data = this.#data;
    const type = this.#type;
    this.#type = "";
    if (data.length === 0) return;
    this.#data = [];
    this.#size = 0;
    events.push({
      data: data.length === 1 ? data[0] : data.join("\n"),
      event: type === "" ? "message" : type,
      id: this.#id,
    });
  }
}

/** Bytes that it has in UTF-8. */
function sizeOf(text: string): number {
  let size = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    // Each half of a pair is two of its four bytes.
    size += code >= 0x800 && (code < 0xd800 || code > 0xdfff) ? 2 : 1;
  }
  return size;
}
