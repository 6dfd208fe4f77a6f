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
const COLON = 0x3a;
const SPACE = 0x20;
/** No timer is longer. */
const MAX_RETRY = 2 ** 31 - 1;

/** A BOM within the stream is text. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Parses a stream of events (HTML, 9.2.6), whatever it is cut into. Lines are
 * found in the bytes, where CR and LF are never part of something else, and
 * decoded whole.
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
    let at = 0;
    if (this.#afterCr && chunk.byteLength > 0) {
      this.#afterCr = false;
      if (chunk[0] === LF) at = 1;
    }
    // Searched again only once it is passed; most streams have no CR at all.
    let cr = -2;
    let lf = -2;
    while (at < chunk.byteLength) {
      if (cr !== -1 && cr < at) cr = chunk.indexOf(CR, at);
      if (lf !== -1 && lf < at) lf = chunk.indexOf(LF, at);
      if (cr === -1 && lf === -1) break;
      const end = cr === -1 ? lf : lf === -1 ? cr : Math.min(cr, lf);
      this.#line(this.#take(chunk, at, end), events);
      at = end + 1;
      if (end !== cr) continue;
      if (at === chunk.byteLength) this.#afterCr = true;
      else if (chunk[at] === LF) at++;
    }
    if (at < chunk.byteLength) {
      // Whoever gave the chunk may use its memory again.
      const rest = chunk.slice(at);
      this.#carried += rest.byteLength;
      this.#check(this.#carried);
      this.#carry.push(rest);
    }
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

  #take(chunk: Uint8Array, from: number, to: number): Uint8Array {
    const last = chunk.subarray(from, to);
    const size = this.#carried + last.byteLength;
    this.#check(size);
    if (this.#carried === 0) return last;
    const line = new Uint8Array(size);
    let at = 0;
    for (const piece of this.#carry) {
      line.set(piece, at);
      at += piece.byteLength;
    }
    line.set(last, at);
    this.#carry = [];
    this.#carried = 0;
    return line;
  }

  #check(line: number): void {
    if (this.#size + line <= this.#max) return;
    throw new SizeLimitError(
      `Cannot read the events: one is over ${this.#max} bytes`,
      { limit: this.#max, phase: "body" },
    );
  }

  #line(line: Uint8Array, events: ParsedEvent[]): void {
    if (line.byteLength === 0) {
      this.#dispatch(events);
      return;
    }
    const colon = line.indexOf(COLON);
    if (colon === 0) return;
    const name = colon === -1 ? line : line.subarray(0, colon);
    const from = colon === -1
      ? line.byteLength
      : line[colon + 1] === SPACE
      ? colon + 2
      : colon + 1;
    const value = line.subarray(from);
    // Names are compared as they are: no other case, no white space.
    switch (decoder.decode(name)) {
      case "data":
        this.#data.push(decoder.decode(value));
        this.#size += value.byteLength + 1;
        break;
      case "event":
        this.#type = decoder.decode(value);
        break;
      case "id":
        if (!value.includes(0)) this.#id = decoder.decode(value);
        break;
      case "retry":
        if (isDigits(value)) {
          const retry = Number(decoder.decode(value));
          this.#state.retry = Math.min(retry, MAX_RETRY);
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

function isDigits(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte < 0x30 || byte > 0x39) return false;
  return bytes.byteLength > 0;
}
