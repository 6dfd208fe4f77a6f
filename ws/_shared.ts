import { encodeFrame, encodeText, TEXT } from "./_frame_writer.ts";
import type { Message } from "./types.ts";

/** Shorter messages are written anew faster than they are compared. */
const LEAST = 512;
/** Larger ones are not kept: only `broadcast` knows when they have gone. */
const MOST = 256 * 1024;
/** Longest head of a frame without a mask. */
const MAX_HEAD = 10;

/**
 * The frame of a server's message that goes to many sockets, such as what a
 * `Bus` publishes: from the second socket on it is encoded, then handed to
 * all the others as it is.
 */
export class SharedFrame {
  #message: Message | undefined;
  #first = 0;
  #frame: Uint8Array | undefined;

  /** The frame, when this message was the last one too. Not to be changed. */
  of(first: number, message: Message): Uint8Array | undefined {
    const size = message.length;
    if (size < LEAST) return undefined;
    if (this.#message !== message || this.#first !== first) {
      if (size > MOST) return undefined;
      this.#message = message;
      this.#first = first;
      this.#frame = undefined;
      return undefined;
    }
    // Bytes can have changed in their place.
    if (typeof message !== "string" && !endsWith(this.#frame, message)) {
      this.#frame = undefined;
    }
    return this.#frame ??= encode(first, message);
  }

  /** Encodes a message for all the calls of `of` until `release`. */
  hold(first: number, message: Message): void {
    if (message.length < LEAST) return;
    this.#message = message;
    this.#first = first;
    this.#frame = encode(first, message);
  }

  /** Lets go of a message that is too large to be kept. */
  release(): void {
    if (this.#message === undefined || this.#message.length <= MOST) return;
    this.#message = this.#frame = undefined;
  }
}

/** Of messages as they are, and of compressed ones. */
export const plainFrame: SharedFrame = new SharedFrame();
export const packedFrame: SharedFrame = new SharedFrame();

function encode(first: number, message: Message): Uint8Array {
  return typeof message === "string" && first === TEXT
    ? encodeText(message, false)
    : encodeFrame(first, message as Uint8Array, false);
}

function endsWith(frame: Uint8Array | undefined, bytes: Uint8Array): boolean {
  if (frame === undefined) return false;
  const size = bytes.byteLength;
  const start = frame.byteLength - size;
  if (start < 2 || start > MAX_HEAD) return false;
  for (let i = 0; i < size; i++) {
    if (frame[start + i] !== bytes[i]) return false;
  }
  return true;
}
