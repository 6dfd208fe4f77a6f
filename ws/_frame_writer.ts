import { applyMask, randomMask } from "./_mask.ts";

/** First byte of a frame that is a message or a control frame of its own. */
export const TEXT = 0x81;
export const BINARY = 0x82;
export const CLOSE = 0x88;
export const PING = 0x89;
export const PONG = 0x8a;

/** Longest head there is: 2 bytes, 8 of length, 4 of masking key. */
const MAX_HEAD = 14;
/** Strings up to this many UTF-16 units are encoded in the scratch buffer. */
const SCRATCH_UNITS = 4096;
/** Strings up to this many units are encoded by hand, while they are ASCII. */
const BY_HAND = 48;

const encoder = new TextEncoder();
const scratch = new Uint8Array(MAX_HEAD + SCRATCH_UNITS * 3);
const empty = new Uint8Array(0);

/**
 * One frame in one buffer (RFC 6455, 5.2), head and payload, masked when
 * `masked`. The payload is copied: the caller keeps its buffer.
 */
export function encodeFrame(
  first: number,
  payload: Uint8Array,
  masked: boolean,
): Uint8Array {
  const length = payload.byteLength;
  const head = headSize(length, masked);
  const frame = new Uint8Array(head + length);
  frame.set(payload, head);
  writeHead(frame, head, first, length, masked);
  return frame;
}

/** A text message as one frame in one buffer. */
export function encodeText(text: string, masked: boolean): Uint8Array {
  const units = text.length;
  if (units === 0) return encodeFrame(TEXT, empty, masked);
  if (units <= BY_HAND) {
    const head = masked ? 6 : 2;
    const frame = new Uint8Array(head + units);
    let i = 0;
    for (; i < units; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) break;
      frame[head + i] = code;
    }
    if (i === units) {
      writeHead(frame, head, TEXT, units, masked);
      return frame;
    }
  }
  if (units > SCRATCH_UNITS) {
    return encodeFrame(TEXT, encoder.encode(text), masked);
  }
  const length = encoder.encodeInto(text, scratch.subarray(MAX_HEAD)).written;
  const head = headSize(length, masked);
  const start = MAX_HEAD - head;
  const frame = scratch.slice(start, MAX_HEAD + length);
  writeHead(frame, head, TEXT, length, masked);
  return frame;
}

function headSize(length: number, masked: boolean): number {
  return (length < 126 ? 2 : length < 65_536 ? 4 : 10) + (masked ? 4 : 0);
}

/** Writes the head before a payload that is in place, and masks it. */
function writeHead(
  frame: Uint8Array,
  head: number,
  first: number,
  length: number,
  masked: boolean,
): void {
  const bit = masked ? 0x80 : 0;
  frame[0] = first;
  if (length < 126) {
    frame[1] = bit | length;
  } else if (length < 65_536) {
    frame[1] = bit | 126;
    frame[2] = length >>> 8;
    frame[3] = length;
  } else {
    frame[1] = bit | 127;
    const high = Math.floor(length / 0x1_0000_0000);
    frame[2] = 0;
    frame[3] = 0;
    frame[4] = high >>> 8;
    frame[5] = high;
    frame[6] = length >>> 24;
    frame[7] = length >>> 16;
    frame[8] = length >>> 8;
    frame[9] = length;
  }
  if (masked) {
    const key = frame.subarray(head - 4, head);
    randomMask(key, 0);
    applyMask(frame, head, frame.byteLength, key, 0);
  }
}
