import { ProtocolError, SizeLimitError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import {
  INVALID_DATA,
  isSendableCode,
  MAX_CONTROL,
  NO_CODE,
  PROTOCOL_ERROR,
  TOO_BIG,
} from "./_codes.ts";
import { InflateFailure, Inflater } from "./_deflate.ts";
import { decodeLatin1 } from "../http/_h1_tables.ts";
import { writable } from "../tcp/_node_memory.ts";
import { applyMask } from "./_mask.ts";
import { decodeUtf8, Utf8Pieces } from "./_utf8.ts";

/** Longest head there is: 2 bytes, 8 of length, 4 of masking key. */
const MAX_HEAD = 14;
/**
 * From this size on a binary message that came in one chunk is a view of it;
 * a smaller one is copied, lest a few bytes keep a whole chunk alive.
 */
const VIEW_FROM = 4096;
/** What a message that is gathered from pieces begins with, at most. */
const GATHER_FROM = 64 * 1024;
/** Frames of one message. */
const MAX_FRAGMENTS = 65_536;

/** On the first frame of a compressed message (RFC 7692, 6). */
const RSV1 = 0x40;
/** From which size on the beginning of a compressed message is looked at. */
const PROBE_FROM = 64 * 1024;

const OP_TEXT = 1;
const OP_CLOSE = 8;
const OP_PING = 9;
const OP_PONG = 10;

const empty = new Uint8Array(0);
/** The key in use; each reader keeps its own as a number, which is smaller. */
const key = new Uint8Array(4);

/**
 * Up to this size a message in one piece is copied while it is unmasked. A
 * text goes to memory that is there already: making a view of a small chunk
 * costs more than all the rest.
 */
const SMALL = 256;
const smallBytes = writable(SMALL);
const smallViews: Uint8Array[] = [];
function small(size: number): Uint8Array {
  return smallViews[size] ??= smallBytes.subarray(0, size);
}

/** What the reader tells, in the order of the frames. */
export interface FrameEvents {
  /** A whole message; its bytes are the listener's. */
  message(data: string | Uint8Array): void;
  ping(data: Uint8Array): void;
  pong(data: Uint8Array): void;
  /** The peer's Close: 1005 when it had no code. Nothing comes after it. */
  closing(code: number, reason: string): void;
  /** The peer broke a rule. `code` is for it; nothing comes after this. */
  fail(code: number, error: NetError): void;
}

export interface FrameReaderOptions {
  /** Whether the peer's frames must be masked (a client's) or must not. */
  masked: boolean;
  /** Bytes of a message. */
  maxMessageSize: number;
  /** Frames of a message. @default {65_536} */
  maxFragments?: number;
  /** When compression was agreed on: then a message may have RSV1. */
  inflater?: Inflater | undefined;
}

/**
 * Reads frames (RFC 6455, section 5) from bytes that may be cut anywhere and
 * tells messages and control frames. It owns the chunks it is given: they are
 * unmasked in place. Limits hold before anything is buffered.
 */
export class FrameReader<Events extends FrameEvents = FrameEvents> {
  readonly #events: Events;
  readonly #masked: boolean;
  readonly #maxMessageSize: number;
  readonly #maxFragments: number;
  readonly #inflater: Inflater | undefined;
  #over = false;
  /** Whether the chunk that is read will be overwritten. */
  #lent = false;

  // The frame that is being read.
  #inPayload = false;
  #opcode = 0;
  #fin = false;
  #left = 0;
  /** Its masking key, and at which byte of that the next one is. */
  #mask = 0;
  #phase = 0;

  // The message that is being read; its opcode is 0 when there is none.
  #message = 0;
  #compressed = false;
  #size = 0;
  #fragments = 0;
  /** What came in pieces; mostly nothing does. */
  #pieces: Pieces | undefined;

  constructor(options: FrameReaderOptions, events: Events) {
    this.#events = events;
    this.#masked = options.masked;
    this.#maxMessageSize = options.maxMessageSize;
    this.#maxFragments = options.maxFragments ?? MAX_FRAGMENTS;
    this.#inflater = options.inflater;
  }

  /** Who is told. */
  get events(): Events {
    return this.#events;
  }

  /** Whether nothing more will be told: Close came, a rule broke, `stop`. */
  get over(): boolean {
    return this.#over;
  }

  /** Tells nothing any more, not even what is left of the current chunk. */
  stop(): void {
    this.#over = true;
    this.#pieces = undefined;
  }

  /**
   * Takes the next bytes; they are the reader's from now on, or until this
   * returns when they are `lent`.
   */
  push(bytes: Uint8Array, lent = false): void {
    this.#lent = lent;
    let chunk = bytes;
    const end = chunk.byteLength;
    let at = 0;
    while (at < end && !this.#over) {
      if (!this.#inPayload) {
        at = this.#readHead(chunk, at);
        if (!this.#inPayload) continue;
      }
      const size = Math.min(this.#left, end - at);
      if (size <= SMALL && this.#isWhole(size)) {
        this.#readSmall(chunk, at, size);
        at += size;
        continue;
      }
      // A Buffer's `slice` is no copy, and messages are plain arrays anywhere.
      if (chunk.constructor !== Uint8Array) {
        chunk = new Uint8Array(bytes.buffer, bytes.byteOffset, end);
      }
      if (this.#masked && size > 0) {
        setKey(this.#mask);
        applyMask(chunk, at, at + size, key, this.#phase);
        this.#phase = (this.#phase + size) & 3;
      }
      this.#left -= size;
      if (this.#left === 0) this.#inPayload = false;
      if (this.#opcode >= OP_CLOSE) this.#readControl(chunk, at, at + size);
      else this.#readData(chunk, at, at + size);
      at += size;
    }
  }

  /** Gives where the payload begins, or the end when the head is not whole. */
  #readHead(chunk: Uint8Array, start: number): number {
    const end = chunk.byteLength;
    if (this.#pieces === undefined || this.#pieces.headSize === 0) {
      const need = headNeed(chunk, start, end - start);
      if (need <= end - start) {
        this.#parseHead(chunk, start);
        return start + need;
      }
    }
    const pieces = this.#pieces ??= new Pieces();
    const head = pieces.head ??= new Uint8Array(MAX_HEAD);
    let at = start;
    for (;;) {
      const need = headNeed(head, 0, pieces.headSize);
      if (need <= pieces.headSize) break;
      if (at === end) return end;
      head[pieces.headSize++] = chunk[at++];
    }
    pieces.headSize = 0;
    this.#parseHead(head, 0);
    return at;
  }

  /** Checks a whole head (RFC 6455, 5.2) and takes up its frame. */
  #parseHead(bytes: Uint8Array, start: number): void {
    const first = bytes[start];
    const second = bytes[start + 1];
    const opcode = first & 0x0f;
    const fin = (first & 0x80) !== 0;
    const reserved = first & 0x70;
    if (
      reserved !== 0 &&
      (reserved !== RSV1 || this.#inflater === undefined || opcode === 0 ||
        opcode >= OP_CLOSE)
    ) {
      return this.#broken("a reserved bit is set");
    }
    if (((second & 0x80) !== 0) !== this.#masked) {
      return this.#broken(
        this.#masked ? "a client's frame is not masked" : "a frame is masked",
      );
    }
    let length = second & 0x7f;
    let at = start + 2;
    if (opcode >= OP_CLOSE) {
      if (opcode > OP_PONG) {
        return this.#broken(`unknown opcode ${opcode}`);
      }
      if (!fin) return this.#broken("a control frame is fragmented");
      if (length > MAX_CONTROL) {
        return this.#broken("a control frame is longer than 125 bytes");
      }
    } else {
      if (opcode > 2) return this.#broken(`unknown opcode ${opcode}`);
      if (opcode === 0 && this.#message === 0) {
        return this.#broken("a continuation without a message");
      }
      if (opcode !== 0 && this.#message !== 0) {
        return this.#broken("a new message within another");
      }
      if (length === 126) {
        length = bytes[at] << 8 | bytes[at + 1];
        at += 2;
        if (length < 126) {
          return this.#broken("a length is not in its shortest form");
        }
      } else if (length === 127) {
        const high = word(bytes, at);
        if (high >= 0x8000_0000) {
          return this.#broken("a length has its highest bit set");
        }
        length = high * 0x1_0000_0000 + word(bytes, at + 4);
        at += 8;
        if (length < 65_536) {
          return this.#broken("a length is not in its shortest form");
        }
      }
      if (opcode !== 0) this.#compressed = reserved !== 0;
      const limit = this.#compressed
        ? Inflater.packedLimit(this.#maxMessageSize)
        : this.#maxMessageSize;
      if (this.#size + length > limit) {
        return this.#fail(
          TOO_BIG,
          new SizeLimitError(
            `Cannot receive a message of over ${this.#maxMessageSize} bytes: at least ${
              this.#size + length
            }`,
            { limit: this.#maxMessageSize, phase: "message" },
          ),
        );
      }
      if (++this.#fragments > this.#maxFragments) {
        return this.#fail(
          TOO_BIG,
          new SizeLimitError(
            `Cannot receive a message of over ${this.#maxFragments} fragments`,
            { limit: this.#maxFragments, phase: "message" },
          ),
        );
      }
      if (opcode !== 0) this.#message = opcode;
      this.#size += length;
    }
    if (this.#masked) {
      // A small integer, which an object holds in place.
      this.#mask = word(bytes, at) | 0;
      this.#phase = 0;
    }
    this.#opcode = opcode;
    this.#fin = fin;
    this.#left = length;
    this.#inPayload = true;
  }

  /** Whether so many bytes are all of the frame, and all of a message. */
  #isWhole(size: number): boolean {
    return size === this.#left && size === this.#size && this.#fin &&
      !this.#compressed &&
      this.#opcode !== 0 && this.#opcode < OP_CLOSE;
  }

  /** A small message in one piece: unmasked and copied in one go. */
  #readSmall(chunk: Uint8Array, at: number, size: number): void {
    const isText = this.#opcode === OP_TEXT;
    const bytes = isText ? smallBytes : new Uint8Array(size);
    setKey(this.#masked ? this.#mask : 0);
    let all = 0;
    for (let i = 0; i < size; i++) {
      all |= bytes[i] = chunk[at + i] ^ key[i & 3];
    }
    this.#inPayload = false;
    this.#message = this.#size = this.#fragments = 0;
    let data: string | Uint8Array = bytes;
    if (isText) {
      try {
        // It gives ASCII faster than a TextDecoder.
        data = all < 0x80
          ? decodeLatin1(smallBytes, 0, size)
          : decodeUtf8(small(size));
      } catch {
        return this.#notUtf8();
      }
    }
    this.#events.message(data);
  }

  #readControl(chunk: Uint8Array, start: number, end: number): void {
    let data: Uint8Array | undefined;
    const before = this.#pieces === undefined ? 0 : this.#pieces.controlSize;
    if (this.#left > 0 || before > 0) {
      const pieces = this.#pieces ??= new Pieces();
      const control = pieces.control ??= new Uint8Array(MAX_CONTROL);
      control.set(chunk.subarray(start, end), before);
      pieces.controlSize = before + end - start;
      if (this.#left > 0) return;
      data = control.slice(0, pieces.controlSize);
      pieces.controlSize = 0;
    }
    data ??= chunk.slice(start, end);
    if (this.#opcode === OP_PING) this.#events.ping(data);
    else if (this.#opcode === OP_PONG) this.#events.pong(data);
    else this.#readClose(data);
  }

  /** RFC 6455, 5.5.1 and 7.4. */
  #readClose(data: Uint8Array): void {
    let code = NO_CODE;
    let reason = "";
    if (data.byteLength > 0) {
      code = data[0] << 8 | data[1];
      if (data.byteLength === 1) {
        return this.#broken("a close code of one byte");
      }
      if (!isSendableCode(code)) {
        return this.#broken(`close code ${code}`);
      }
      try {
        reason = decodeUtf8(data.subarray(2));
      } catch {
        return this.#notUtf8();
      }
    }
    this.stop();
    this.#events.closing(code, reason);
  }

  #readData(chunk: Uint8Array, start: number, end: number): void {
    const last = this.#left === 0 && this.#fin;
    const isText = this.#message === OP_TEXT;
    const whole = last && this.#size === end - start;
    let data: string | Uint8Array;
    if (this.#compressed) {
      try {
        const plain = this.#inflate(chunk.subarray(start, end), last, whole);
        if (plain === undefined) return;
        data = isText ? decodeUtf8(plain) : plain;
      } catch (error) {
        if (!(error instanceof InflateFailure)) return this.#notUtf8();
        return this.#fail(error.code, error.error);
      }
    } else if (isText) {
      try {
        if (whole) {
          data = decodeUtf8(chunk.subarray(start, end));
        } else {
          const pieces = this.#pieces ??= new Pieces();
          const text = pieces.text ??= new Utf8Pieces();
          if (end > start) text.push(chunk.subarray(start, end));
          if (!last) return;
          data = text.finish();
        }
      } catch {
        return this.#notUtf8();
      }
    } else if (whole) {
      data = end - start >= VIEW_FROM && !this.#lent
        ? chunk.subarray(start, end)
        : chunk.slice(start, end);
    } else {
      const { bytes } = this.#gather(chunk, start, end);
      if (!last) return;
      data = bytes.byteLength === this.#size
        ? bytes
        : bytes.slice(0, this.#size);
    }
    this.#message = this.#size = this.#fragments = 0;
    this.#pieces = undefined;
    this.#events.message(data);
  }

  /**
   * Gathers a compressed message, and gives it once it is whole. A large one
   * is looked at whenever it has doubled: a bomb goes off early.
   */
  #inflate(
    bytes: Uint8Array,
    last: boolean,
    whole: boolean,
  ): Uint8Array | undefined {
    const inflater = this.#inflater!;
    const limit = this.#maxMessageSize;
    if (whole) return inflater.unpack(bytes, limit);
    const pieces = this.#gather(bytes, 0, bytes.byteLength);
    const packed = pieces.bytes.subarray(0, pieces.size);
    if (last) return inflater.unpack(packed, limit);
    if (packed.byteLength >= pieces.probeAt) {
      pieces.probeAt = 2 * packed.byteLength;
      inflater.probe(packed, limit);
    }
    return undefined;
  }

  /**
   * Appends to the message. The buffer grows with what has come, not with
   * what a head promises: nobody reserves memory by a declared length.
   */
  #gather(chunk: Uint8Array, start: number, end: number): Pieces {
    const pieces = this.#pieces ??= new Pieces();
    if (end === start) return pieces;
    const before = pieces.size;
    const size = pieces.size += end - start;
    if (size > pieces.bytes.byteLength) {
      const bytes = new Uint8Array(this.#room(size, before));
      bytes.set(pieces.bytes.subarray(0, before));
      pieces.bytes = bytes;
    }
    pieces.bytes.set(chunk.subarray(start, end), before);
    return pieces;
  }

  /** At least double: many small fragments are not copied each time. */
  #room(size: number, before: number): number {
    if (!this.#fin) return Math.max(size, before * 2);
    // All of the message is known: no more than that.
    return Math.max(
      size,
      Math.min(this.#size, Math.max(before * 2, GATHER_FROM)),
    );
  }

  #notUtf8(): void {
    this.#fail(
      INVALID_DATA,
      new ProtocolError("Cannot receive a text message: it is not UTF-8", {
        code: "ERR_INVALID_UTF8",
      }),
    );
  }

  #broken(what: string): void {
    this.#fail(
      PROTOCOL_ERROR,
      new ProtocolError(`Cannot read a WebSocket frame: ${what}`),
    );
  }

  #fail(code: number, error: NetError): void {
    this.stop();
    this.#events.fail(code, error);
  }
}

/** What a reader keeps of heads and messages that came in pieces. */
class Pieces {
  /** Bytes of a head that did not come whole. */
  head: Uint8Array | undefined;
  headSize = 0;
  /** Bytes of a control frame that did not. */
  control: Uint8Array | undefined;
  controlSize = 0;
  /** Bytes of a message, `size` of them, or what of it is text. */
  bytes: Uint8Array = empty;
  size = 0;
  text: Utf8Pieces | undefined;
  /** How much of a compressed one is gathered before it is looked at. */
  probeAt = PROBE_FROM;
}

/** How long the head is, as far as the bytes at hand tell. */
function headNeed(bytes: Uint8Array, at: number, available: number): number {
  if (available < 2) return 2;
  const second = bytes[at + 1];
  const length = second & 0x7f;
  return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) +
    ((second & 0x80) === 0 ? 0 : 4);
}

function setKey(mask: number): void {
  key[0] = mask >>> 24;
  key[1] = mask >>> 16;
  key[2] = mask >>> 8;
  key[3] = mask;
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 |
    bytes[at + 3]) >>> 0;
}
