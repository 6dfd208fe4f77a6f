import { ProtocolError, SizeLimitError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Agreement, Direction } from "./_extensions.ts";
import { takesDictionary, zlib } from "./_node_zlib.ts";
import type { CompressSettings } from "./_options.ts";
import type { Message } from "./types.ts";

/**
 * What a message that was compressed on its own is ended with: the empty
 * block that its sender took away (RFC 7692, 7.2.2), and an empty final one,
 * so that a message that is cut in the middle is noticed.
 */
const TAIL = Uint8Array.of(0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff);
/** Bytes of the empty block that a sync flush ends with. */
const FLUSHED = 4;
/** Head of a stored block. */
const STORED = 5;
/** zlib cannot look back over so many bytes at the far end of its window. */
const LOOKAHEAD = 262;
/** Final blocks within a message; each makes zlib begin anew. */
const MAX_FINALS = 16;
/** What is inflated or deflated at once has chunks of at most that size. */
const MAX_CHUNK = 64 * 1024;
/** Below this a Buffer of Node's may be a part of its shared pool. */
const POOLED = 4096;
/** Larger messages are not remembered for the next socket. */
const MAX_SHARED = 256 * 1024;

const empty = new Uint8Array(0);
const encoder = new TextEncoder();

/** Bytes of windows that the sockets of this process hold or may come to. */
let reserved = 0;

/** The bytes a window may take; none when nothing is kept. */
function windowSize({ bits, takeover }: Direction): number {
  return takeover ? 2 ** bits : 0;
}

/**
 * The settings as the memory that is left allows them: without context
 * takeover once the windows of this process have used up `maxMemory`.
 */
export function affordable(settings: CompressSettings): CompressSettings {
  // Now, not at the first message, is the time to find that there is none.
  zlib();
  const need = windowSize({
    bits: settings.serverMaxWindowBits,
    takeover: !settings.serverNoContextTakeover,
  }) + windowSize({
    bits: settings.clientMaxWindowBits,
    takeover: !settings.clientNoContextTakeover,
  });
  if (reserved + need <= settings.maxMemory) return settings;
  return {
    ...settings,
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
  };
}

/** Compression on one socket, both ways. */
export class Deflate {
  readonly deflater: Deflater;
  readonly inflater: Inflater;
  readonly #size: number;
  #released = false;

  constructor(agreed: Agreement, settings: CompressSettings, client: boolean) {
    const own = client ? agreed.client : agreed.server;
    const peer = client ? agreed.server : agreed.client;
    this.deflater = new Deflater(own, settings);
    this.inflater = new Inflater(peer);
    this.#size = windowSize(own) + windowSize(peer);
    reserved += this.#size;
  }

  /** The socket is over: its windows are free. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    reserved -= this.#size;
  }
}

/** The last bytes of what one direction carried, as far as they are kept. */
class Window {
  readonly #most: number;
  bytes: Uint8Array = empty;

  constructor(most: number) {
    this.#most = most;
  }

  add(message: Uint8Array): void {
    const most = this.#most;
    if (message.byteLength >= most) {
      this.bytes = copy(message.subarray(message.byteLength - most));
      return;
    }
    const kept = Math.min(this.bytes.byteLength, most - message.byteLength);
    const next = new Uint8Array(kept + message.byteLength);
    next.set(this.bytes.subarray(this.bytes.byteLength - kept));
    next.set(message, kept);
    this.bytes = next;
  }
}

/** The message compressed last, for the other sockets that it is sent to. */
let shared: {
  readonly message: Message;
  readonly key: number;
  readonly packed: Uint8Array | undefined;
} | undefined;

/** The message that is being broadcast, whatever its size. */
let held: Message | undefined;

/** A message goes to many: what it is compressed to is kept meanwhile. */
export function share(message: Message): void {
  held = message;
}

/** It went to all of them. */
export function unshare(): void {
  held = undefined;
  if (shared !== undefined && shared.message.length > MAX_SHARED) {
    shared = undefined;
  }
}

/**
 * Compresses messages, each in one call: between two of them a socket holds
 * its window, and no state of zlib's.
 */
export class Deflater {
  readonly #threshold: number;
  readonly #level: number;
  readonly #bits: number;
  readonly #window: Window | undefined;

  constructor({ bits, takeover }: Direction, settings: CompressSettings) {
    this.#threshold = settings.threshold;
    this.#level = settings.level;
    this.#bits = bits;
    // That a message may refer to others does not mean that it has to.
    if (takeover && bits > 8 && takesDictionary()) {
      this.#window = new Window(2 ** bits);
    }
  }

  /**
   * The payload of a message, compressed; `undefined` when it is to be sent
   * as it is, because it is small or would not become smaller.
   */
  pack(message: Message): Uint8Array | undefined {
    // A character has up to three bytes in UTF-8.
    if (message.length * 3 < this.#threshold) return undefined;
    const isText = typeof message === "string";
    if (!isText && message.byteLength < this.#threshold) return undefined;
    const key = this.#level << 4 | this.#bits;
    const share = this.#window === undefined;
    if (share && shared?.key === key && isSame(shared.message, message)) {
      return shared.packed;
    }
    const plain = isText ? encoder.encode(message) : message;
    if (plain.byteLength < this.#threshold) return undefined;
    const packed = this.#deflate(plain);
    if (share && (plain.byteLength <= MAX_SHARED || message === held)) {
      shared = { message: isText ? message : copy(message), key, packed };
    }
    return packed;
  }

  #deflate(plain: Uint8Array): Uint8Array | undefined {
    const size = plain.byteLength;
    const { constants, deflateRawSync } = zlib();
    const dictionary = this.#window?.bytes ?? empty;
    // What is to be looked at decides how much zlib has to set up.
    const span = dictionary.byteLength + size;
    const bits = Math.min(
      Math.max(9, Math.ceil(Math.log2(span + LOOKAHEAD))),
      Math.max(9, this.#bits),
    );
    const out = deflateRawSync(plain, {
      level: this.#level,
      windowBits: bits,
      memLevel: Math.min(8, Math.max(1, bits - 6)),
      // zlib has no window of 256 bytes: then nothing is referred to.
      strategy: this.#bits === 8
        ? constants.Z_HUFFMAN_ONLY
        : constants.Z_DEFAULT_STRATEGY,
      chunkSize: Math.min(MAX_CHUNK, size + 64),
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(dictionary.byteLength > 0 ? { dictionary } : {}),
    });
    const packed = out.subarray(0, out.byteLength - FLUSHED);
    if (packed.byteLength >= size) return undefined;
    this.#window?.add(plain);
    return packed;
  }
}

/** Whether it is the same message still: bytes can change in their place. */
function isSame(one: Message, two: Message): boolean {
  if (typeof one === "string" || typeof two === "string") return one === two;
  const size = one.byteLength;
  if (size !== two.byteLength) return false;
  for (let i = 0; i < size; i++) if (one[i] !== two[i]) return false;
  return true;
}

/** A message that cannot be inflated: the code to close with, and why. */
export class InflateFailure {
  readonly code: 1007 | 1009;
  readonly error: NetError;

  constructor(code: 1007 | 1009, error: NetError) {
    this.code = code;
    this.error = error;
  }
}

/** Inflates messages, each in one call. */
export class Inflater {
  readonly #bits: number;
  readonly #window: Window | undefined;

  constructor({ bits, takeover }: Direction) {
    this.#bits = Math.max(9, bits);
    if (takeover) this.#window = new Window(2 ** bits);
  }

  /** Bytes that a message of up to `limit` has when compressed, generously. */
  static packedLimit(limit: number): number {
    return limit + (limit >> 3) + 1024;
  }

  /**
   * The message of a payload; it is never larger than `limit`, nor is what is
   * made to find that out. Throws an `InflateFailure`.
   */
  unpack(packed: Uint8Array, limit: number): Uint8Array {
    const parts: Uint8Array[] = [];
    let left = limit;
    let window = this.#window?.bytes ?? empty;
    let input = join([packed, TAIL]);
    for (let finals = 0;; finals++) {
      if (finals > MAX_FINALS) throw corrupt();
      const { bytes, used } = this.#inflate(window, input, left);
      parts.push(bytes);
      left -= bytes.byteLength;
      if (used === input.byteLength) break;
      // A final block ended the stream, not the message (RFC 7692, 7.2.3.4).
      input = input.subarray(used);
      if (this.#window === undefined) {
        window = join([window, bytes]).slice(-(2 ** this.#bits));
      } else {
        this.#window.add(bytes);
        window = this.#window.bytes;
      }
      if (parts.length > 1) parts.splice(0, 2, join(parts));
    }
    const last = parts[parts.length - 1];
    this.#window?.add(last);
    return parts.length === 1 ? own(last) : join(parts);
  }

  /**
   * Looks at the beginning of a payload, whether the message is too large
   * already. Throws an `InflateFailure`.
   */
  probe(packed: Uint8Array, limit: number): void {
    this.#inflate(this.#window?.bytes ?? empty, packed, limit, true);
  }

  /** The window goes before the input as a stored block: all zlibs know it. */
  #inflate(
    window: Uint8Array,
    input: Uint8Array,
    limit: number,
    partial = false,
  ): { bytes: Uint8Array; used: number } {
    const { constants, inflateRawSync } = zlib();
    const before = window.byteLength;
    let bytes = input;
    if (before > 0) {
      const size = before & 0xffff;
      bytes = join([
        Uint8Array.of(0, size, size >> 8, ~size, ~size >> 8),
        window,
        input,
      ]);
    }
    try {
      const { buffer, engine } = inflateRawSync(bytes, {
        windowBits: this.#bits,
        chunkSize: Math.min(
          MAX_CHUNK,
          Math.max(1024, before + 4 * input.byteLength),
        ),
        maxOutputLength: Math.max(1, before + limit),
        info: true,
        ...(partial ? { finishFlush: constants.Z_SYNC_FLUSH } : {}),
      });
      if (buffer.byteLength - before > limit) throw tooLarge(limit);
      return {
        bytes: buffer.subarray(before),
        used: engine.bytesWritten - (before > 0 ? STORED + before : 0),
      };
    } catch (error) {
      if (error instanceof InflateFailure) throw error;
      const { code } = error as { code?: unknown };
      throw code === "ERR_BUFFER_TOO_LARGE"
        ? tooLarge(limit, error)
        : corrupt(error);
    }
  }
}

function tooLarge(limit: number, cause?: unknown): InflateFailure {
  return new InflateFailure(
    1009,
    new SizeLimitError(
      `Cannot receive a message of over ${limit} bytes: it is larger once inflated`,
      { limit, phase: "message", cause },
    ),
  );
}

function corrupt(cause?: unknown): InflateFailure {
  return new InflateFailure(
    1007,
    new ProtocolError("Cannot inflate a message: it is corrupt", {
      code: "ERR_INVALID_DEFLATE",
      cause,
    }),
  );
}

/** A copy, also of a Buffer of Node's, whose `slice` makes none. */
function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** Bytes that are nobody else's, without much around them. */
function own(bytes: Uint8Array): Uint8Array {
  const { buffer, byteOffset, byteLength } = bytes;
  if (byteLength < POOLED || buffer.byteLength > 2 * byteLength) {
    return copy(bytes);
  }
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(
    parts.reduce((size, part) => size + part.byteLength, 0),
  );
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.byteLength;
  }
  return joined;
}
