import { ProtocolError } from "../streams/errors.ts";

/** Types of frames (RFC 9113, 6; RFC 9218, 7.1). */
export const DATA = 0x0;
export const HEADERS = 0x1;
export const PRIORITY = 0x2;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PUSH_PROMISE = 0x5;
export const PING = 0x6;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;
export const PRIORITY_UPDATE = 0x10;

/** Flags. */
export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const PRIORITIZED = 0x20;

/** Error codes (RFC 9113, 7). */
export const NO_ERROR = 0x0;
export const PROTOCOL_ERROR = 0x1;
export const INTERNAL_ERROR = 0x2;
export const FLOW_CONTROL_ERROR = 0x3;
export const STREAM_CLOSED = 0x5;
export const FRAME_SIZE_ERROR = 0x6;
export const REFUSED_STREAM = 0x7;
export const CANCEL = 0x8;
export const COMPRESSION_ERROR = 0x9;
export const CONNECT_ERROR = 0xa;
export const ENHANCE_YOUR_CALM = 0xb;
export const HTTP_1_1_REQUIRED = 0xd;

const CODES = [
  ..."NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR".split(" "),
  ..."SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR REFUSED_STREAM".split(
    " ",
  ),
  ..."CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM".split(" "),
  ..."INADEQUATE_SECURITY HTTP_1_1_REQUIRED".split(" "),
];

/** The name of an error code, as the RFC has it. */
export function nameOfCode(code: number): string {
  return CODES[code] ?? `0x${code.toString(16)}`;
}

/** Settings (RFC 9113, 6.5.2; RFC 8441, 3; RFC 9218, 2.1). */
export const HEADER_TABLE_SIZE = 0x1;
export const ENABLE_PUSH = 0x2;
export const MAX_CONCURRENT_STREAMS = 0x3;
export const INITIAL_WINDOW_SIZE = 0x4;
export const MAX_FRAME_SIZE = 0x5;
export const MAX_HEADER_LIST_SIZE = 0x6;
export const ENABLE_CONNECT_PROTOCOL = 0x8;
export const NO_RFC7540_PRIORITIES = 0x9;

/** Windows end here (RFC 9113, 6.9.1). */
export const MAX_WINDOW = 2 ** 31 - 1;
/** Windows at first, until settings say otherwise (RFC 9113, 6.9.2). */
export const DEFAULT_WINDOW = 65_535;
/** Largest payload that everybody takes, and that we take. */
export const FRAME_SIZE = 16_384;
/** Bytes before the payload of a frame. */
export const HEAD_SIZE = 9;

/** Payloads that tell our pings apart. */
export const PROBE: Uint8Array = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);
export const QUESTION: Uint8Array = new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0]);

/** Streams that were reset which are remembered. */
const MAX_RESET = 1024;

/** What a client says first (RFC 9113, 3.4). */
export const PREFACE: Uint8Array = new TextEncoder().encode(
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
);

/** An error of the whole connection (RFC 9113, 5.4.1). */
export class H2Error extends ProtocolError {
  static {
    this.prototype.name = "ProtocolError";
  }

  /** One of the error codes. */
  readonly h2code: number;

  constructor(h2code: number, message: string) {
    super(message, { code: `ERR_HTTP2_${nameOfCode(h2code)}` });
    this.h2code = h2code;
  }
}

/** An error of one stream (RFC 9113, 5.4.2). */
export class H2StreamError extends ProtocolError {
  static {
    this.prototype.name = "ProtocolError";
  }

  /** One of the error codes. */
  readonly h2code: number;
  /** Whether it is the peer who said so. */
  readonly remote: boolean;

  constructor(h2code: number, message: string, remote = false) {
    super(message, { code: `ERR_HTTP2_${nameOfCode(h2code)}` });
    this.h2code = h2code;
    this.remote = remote;
  }
}

/** The peer broke the protocol. */
export function protocolError(what: string): H2Error {
  return new H2Error(PROTOCOL_ERROR, `Cannot go on: ${what}`);
}

/** Takes the padding off (RFC 9113, 6.1). */
export function unpad(payload: Uint8Array): Uint8Array {
  if (payload.byteLength === 0) {
    throw new H2Error(
      FRAME_SIZE_ERROR,
      "Cannot take padding: none is there",
    );
  }
  const end = payload.byteLength - payload[0];
  if (end < 1) throw protocolError("more padding than there is");
  return payload.subarray(1, end);
}

/** Writes the head of a frame. */
export function writeHead(
  bytes: Uint8Array,
  length: number,
  type: number,
  flags: number,
  stream: number,
): void {
  bytes[0] = length >>> 16;
  bytes[1] = length >>> 8;
  bytes[2] = length;
  bytes[3] = type;
  bytes[4] = flags;
  write32(bytes, 5, stream);
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** 32 bits, unsigned. */
export function read32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) |
    bytes[at + 3]) >>> 0;
}

/** 31 bits; the reserved one is ignored. */
export function read31(bytes: Uint8Array, at: number): number {
  return read32(bytes, at) & 0x7fffffff;
}

/** A frame whose payload is a number of 32 bits. */
export function numberFrame(
  type: number,
  stream: number,
  number: number,
): Uint8Array {
  const bytes = new Uint8Array(HEAD_SIZE + 4);
  writeHead(bytes, 4, type, 0, stream);
  write32(bytes, HEAD_SIZE, number);
  return bytes;
}

/** SETTINGS: identifier and value in turn. */
export function settingsFrame(
  settings: readonly (readonly [id: number, value: number])[],
): Uint8Array {
  const bytes = new Uint8Array(HEAD_SIZE + settings.length * 6);
  writeHead(bytes, settings.length * 6, SETTINGS, 0, 0);
  settings.forEach(([id, value], i) => {
    const at = HEAD_SIZE + i * 6;
    bytes[at] = id >>> 8;
    bytes[at + 1] = id;
    write32(bytes, at + 2, value);
  });
  return bytes;
}

/** Waits for the preface of a client, byte by byte (RFC 9113, 3.4). */
export class PrefaceReader {
  #seen = 0;

  get done(): boolean {
    return this.#seen === PREFACE.byteLength;
  }

  /** Gives what comes behind it. */
  feed(chunk: Uint8Array): Uint8Array {
    let at = 0;
    while (at < chunk.byteLength && !this.done) {
      if (chunk[at++] !== PREFACE[this.#seen++]) {
        throw protocolError("the connection does not begin as HTTP/2 does");
      }
    }
    return at === 0 ? chunk : chunk.subarray(at);
  }
}

/** Streams that were reset here: frames may still be on their way to them. */
export class ResetStreams {
  readonly #ids = new Set<number>();
  /** The highest of those that were forgotten. */
  #forgotten = 0;

  /** Whether it was, or may have been: of many only the last are known. */
  has(id: number): boolean {
    return id <= this.#forgotten || this.#ids.has(id);
  }

  add(id: number): void {
    const ids = this.#ids;
    ids.add(id);
    if (ids.size <= MAX_RESET) return;
    for (const oldest of ids) {
      ids.delete(oldest);
      this.#forgotten = Math.max(this.#forgotten, oldest);
      break;
    }
  }
}

/** Ranges of streams that the peer left out, at most. */
const MAX_RANGES = 64;

/** Streams that the peer left out, and may not begin later (RFC 9113, 5.1.1). */
export class SkippedStreams {
  readonly #ranges: { first: number; last: number }[] = [];

  has(id: number): boolean {
    return this.#ranges.some(({ first, last }) => first <= id && id <= last);
  }

  /** A stream is begun: those between the last one and this are left out. */
  add(last: number, id: number): void {
    if (id - last <= 2) return;
    this.#ranges.push({ first: last + 1, last: id - 1 });
    if (this.#ranges.length > MAX_RANGES) this.#ranges.shift();
  }
}

/** Takes whole frames, with their payload a view that is good for the call. */
export type OnFrame = (
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array,
) => void;

const EMPTY = new Uint8Array(0);

/** Cuts a byte stream into frames, whatever pieces it comes in. */
export class FrameReader {
  readonly #onFrame: OnFrame;
  /** The beginning of a frame whose end is to come. */
  #carry: Uint8Array = EMPTY;
  #carried = 0;
  #stopped = false;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  /**
   * Type of the frame that has begun and not come whole; -1 as long as not
   * even that has come.
   */
  get within(): number | undefined {
    if (this.#carried === 0) return undefined;
    return this.#carried > 3 ? this.#carry[3] : -1;
  }

  /** Nothing more is read. */
  stop(): void {
    this.#stopped = true;
    this.#carry = EMPTY;
    this.#carried = 0;
  }

  /** Throws what `onFrame` throws, and for frames that are too long. */
  feed(chunk: Uint8Array): void {
    let at = 0;
    if (this.#carried > 0) at = this.#goOn(chunk);
    const end = chunk.byteLength;
    while (!this.#stopped && end - at >= HEAD_SIZE) {
      const next = at + HEAD_SIZE + lengthAt(chunk, at);
      if (next > end) break;
      this.#emit(chunk, at, next);
      at = next;
    }
    if (!this.#stopped && at < end) this.#keep(chunk, at, end);
  }

  #emit(bytes: Uint8Array, at: number, next: number): void {
    this.#onFrame(
      bytes[at + 3],
      bytes[at + 4],
      read31(bytes, at + 5),
      bytes.subarray(at + HEAD_SIZE, next),
    );
  }

  /** The rest of the frame that was cut; gives where the next one begins. */
  #goOn(chunk: Uint8Array): number {
    let at = 0;
    if (this.#carried < HEAD_SIZE) {
      at = Math.min(HEAD_SIZE - this.#carried, chunk.byteLength);
      this.#keep(chunk, 0, at);
      if (this.#carried < HEAD_SIZE) return at;
    }
    const size = HEAD_SIZE + lengthAt(this.#carry, 0);
    const take = Math.min(size - this.#carried, chunk.byteLength - at);
    this.#keep(chunk, at, at + take, size);
    at += take;
    if (this.#carried < size) return at;
    const whole = this.#carry;
    // What is told is somebody else's from now on.
    this.#carry = EMPTY;
    this.#carried = 0;
    this.#emit(whole, 0, size);
    return at;
  }

  #keep(chunk: Uint8Array, from: number, to: number, room = 0): void {
    const size = this.#carried + to - from;
    if (size > this.#carry.byteLength) {
      const grown = new Uint8Array(Math.max(64, room, size));
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(chunk.subarray(from, to), this.#carried);
    this.#carried = size;
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  const length = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
  if (length > FRAME_SIZE) {
    throw new H2Error(
      FRAME_SIZE_ERROR,
      `Cannot take a frame: it is longer than ${FRAME_SIZE} bytes: ${length}`,
    );
  }
  return length;
}
