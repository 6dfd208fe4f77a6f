import { writable } from "../tcp/_node_memory.ts";
import { applyMask, randomMask } from "./_mask.ts";

/** First byte of a frame that is a message or a control frame of its own. */
export const TEXT = 0x81;
export const BINARY = 0x82;
/** Marks a message as compressed (RFC 7692, 6). */
export const COMPRESSED = 0x40;
export const CLOSE = 0x88;
export const PING = 0x89;
export const PONG = 0x8a;

/** Longest head there is: 2 bytes, 8 of length, 4 of masking key. */
export const MAX_HEAD = 14;

type Write = (this: Uint8Array, text: string, start: number) => number;

const { Buffer, Deno } = globalThis as {
  Buffer?: { prototype: { utf8Write?: Write } };
  Deno?: unknown;
};

/**
 * Node's and Bun's own encoder, which needs no view of the target: it takes
 * half the time of `encodeInto`. Deno's is written in JavaScript.
 */
const utf8Write = Deno === undefined ? Buffer?.prototype.utf8Write : undefined;
/** Strings up to this many UTF-16 units are encoded by hand, while ASCII. */
const BY_HAND = utf8Write === undefined ? 48 : 15;

const encoder = new TextEncoder();
const key = new Uint8Array(4);

/** Whether some of its characters are, here and there. */
export function seemsAscii(text: string): boolean {
  const step = (text.length >> 5) + 1;
  for (let i = 0; i < text.length; i += step) {
    if (text.charCodeAt(i) > 0x7f) return false;
  }
  return true;
}

/** Bytes that a text takes as a frame, at most. */
export function textRoom(text: string): number {
  return MAX_HEAD + text.length * 3;
}

/**
 * Writes a frame (RFC 6455, 5.2), head and payload, masked when `masked`, to
 * `target` from `at`; gives its end. The payload is copied.
 */
export function writeFrame(
  target: Uint8Array,
  at: number,
  first: number,
  payload: Uint8Array,
  masked: boolean,
): number {
  const length = payload.byteLength;
  const start = at + headSize(length, masked);
  target.set(payload, start);
  writeHead(target, at, first, length, masked);
  return start + length;
}

/**
 * The same with a text, which fits for sure in `textRoom(text)` bytes; gives
 * -1 when there is less and it does not.
 */
export function writeText(
  target: Uint8Array,
  at: number,
  text: string,
  masked: boolean,
): number {
  const units = text.length;
  // Its place if the text is ASCII, as most are.
  let start = at + headSize(units, masked);
  if (start + units > target.byteLength) return -1;
  let length = units;
  if (units > BY_HAND || !writeAscii(target, start, text)) {
    length = encodeUtf8(target, start, text);
    if (length < 0) return -1;
    const real = at + headSize(length, masked);
    if (real !== start) {
      if (real + length > target.byteLength) return -1;
      target.copyWithin(real, start, start + length);
      start = real;
    }
  }
  writeHead(target, at, TEXT, length, masked);
  return start + length;
}

/** One frame in a buffer of its own. */
export function encodeFrame(
  first: number,
  payload: Uint8Array,
  masked: boolean,
): Uint8Array {
  const length = payload.byteLength;
  const frame = writable(headSize(length, masked) + length);
  writeFrame(frame, 0, first, payload, masked);
  return frame;
}

/** A text message as one frame in a buffer of its own. */
export function encodeText(text: string, masked: boolean): Uint8Array {
  if (seemsAscii(text)) {
    const units = text.length;
    const frame = writable(headSize(units, masked) + units);
    if (writeText(frame, 0, text, masked) >= 0) return frame;
  }
  return encodeFrame(TEXT, encoder.encode(text), masked);
}

/** Gives how many bytes it took; -1 when it does not fit. */
function encodeUtf8(target: Uint8Array, start: number, text: string): number {
  const units = text.length;
  // It does not tell whether it came to the end: for sure with so much room.
  if (utf8Write !== undefined && units * 3 <= target.byteLength - start) {
    return utf8Write.call(target, text, start);
  }
  const { read, written } = encoder.encodeInto(text, target.subarray(start));
  return read < units ? -1 : written;
}

function writeAscii(target: Uint8Array, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return false;
    target[start + i] = code;
  }
  return true;
}

function headSize(length: number, masked: boolean): number {
  return (length < 126 ? 2 : length < 65_536 ? 4 : 10) + (masked ? 4 : 0);
}

/** Writes the head before a payload that is in place, and masks that. */
function writeHead(
  frame: Uint8Array,
  start: number,
  first: number,
  length: number,
  masked: boolean,
): void {
  const bit = masked ? 0x80 : 0;
  let at = start;
  frame[at++] = first;
  if (length < 126) {
    frame[at++] = bit | length;
  } else if (length < 65_536) {
    frame[at++] = bit | 126;
    frame[at++] = length >>> 8;
    frame[at++] = length;
  } else {
    frame[at++] = bit | 127;
    for (let shift = 56; shift >= 0; shift -= 8) {
      frame[at++] = Math.floor(length / 2 ** shift);
    }
  }
  if (!masked) return;
  randomMask(key);
  frame[at++] = key[0];
  frame[at++] = key[1];
  frame[at++] = key[2];
  frame[at++] = key[3];
  applyMask(frame, at, at + length, key, 0);
}
