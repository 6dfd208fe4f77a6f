import { ProtocolError } from "../streams/errors.ts";
import { decodeLatin1 } from "./_h1_tables.ts";

/**
 * A header block cannot be decoded (RFC 7541). The tables of the two ends
 * have come apart, so the connection dies of it: COMPRESSION_ERROR (RFC 9113,
 * 4.3).
 */
export class HpackError extends ProtocolError {
  static {
    this.prototype.name = "HpackError";
  }

  /** `code` is `ERR_PROTOCOL`. */
  constructor(what: string) {
    super(`Cannot decode a header block: ${what}`);
  }
}

/**
 * Bits of the code of each byte, and of EOS at the end, as digits in base 36
 * (RFC 7541, appendix B). The code is canonical: shorter codes come first,
 * those of one length in order of their bytes, so the lengths say it all.
 */
const LENGTHS: string = [
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca",
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds",
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn",
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq",
  "u",
].join("");

const EOS = 256;

/** Code of each byte, in the low bits; EOS, which is never written, is left out. */
const CODES: Uint32Array = new Uint32Array(EOS);
/** Number of bits of it. */
const BITS: Uint8Array = new Uint8Array(EOS);

/** Entry of the machine: a whole code has ended, its byte is in the low 8 bits. */
const EMIT = 1 << 8;
/** The next state is above this. */
const NEXT = 9;
/** Entry of the machine: EOS was read. */
const FAIL = 1 << 17;

/**
 * The machine that reads four bits at a time: state × 16 + four bits gives
 * the next state and perhaps a byte, never two: no code is shorter than five
 * bits. A state is an inner node of the tree of codes.
 */
const MACHINE: Int32Array = new Int32Array(256 * 16);

/**
 * States 0 to 7 have read that many bits of EOS, all of them 1, since the last
 * whole code: where a string may end (5.2).
 */
const ENDS = 8;

{
  // Both children of each inner node: a node, or ~symbol.
  const tree = new Int16Array(2 * 256);
  let nodes = 1;
  const add = (symbol: number, code: number, bits: number) => {
    let node = 0;
    for (let bit = bits - 1; bit > 0; bit--) {
      const edge = 2 * node + ((code >>> bit) & 1);
      if (tree[edge] === 0) tree[edge] = nodes++;
      node = tree[edge];
    }
    tree[2 * node + (code & 1)] = ~symbol;
  };
  // First, so that the nodes on its way have the first numbers.
  add(EOS, 0x3fffffff, 30);
  let code = 0;
  for (let bits = 5; bits <= 30; bits++, code <<= 1) {
    const digit = bits.toString(36);
    for (let byte = 0; byte < EOS; byte++) {
      if (LENGTHS[byte] !== digit) continue;
      add(byte, code, bits);
      CODES[byte] = code++;
      BITS[byte] = bits;
    }
  }
  for (let state = 0; state < 256; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let entry = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = tree[2 * node + ((nibble >>> bit) & 1)];
        node = next < 0 ? 0 : next;
        if (next < 0) entry |= ~next === EOS ? FAIL : EMIT | ~next;
      }
      MACHINE[state * 16 + nibble] = entry | node << NEXT;
    }
  }
}

/** Where strings are decoded into; grows with them, up to a bound. */
let scratch = new Uint8Array(1024);
const MAX_KEPT = 64 * 1024;

/** Decodes a string that is Huffman-coded (5.2), to Latin-1. */
export function decodeHuffman(
  source: Uint8Array,
  start: number,
  end: number,
): string {
  // No code is shorter than five bits.
  const most = Math.ceil((end - start) * 8 / 5) + 1;
  let out = scratch;
  if (out.length < most) {
    out = new Uint8Array(most);
    if (most <= MAX_KEPT) scratch = out;
  }
  let state = 0;
  let length = 0;
  let seen = 0;
  for (let i = start; i < end; i++) {
    const byte = source[i];
    const high = MACHINE[state << 4 | byte >>> 4];
    out[length] = high;
    length += high >>> 8 & 1;
    const low = MACHINE[(high >>> NEXT & 0xff) << 4 | byte & 15];
    out[length] = low;
    length += low >>> 8 & 1;
    state = low >>> NEXT & 0xff;
    seen |= high | low;
  }
  if ((seen & FAIL) !== 0) throw new HpackError("a string holds EOS");
  if (state >= ENDS) {
    throw new HpackError(
      "a string ends with what is not at most 7 bits of EOS",
    );
  }
  return decodeLatin1(out, 0, length);
}

/**
 * Length of a text, which must be Latin-1, when it is Huffman-coded; -1 when
 * it is not Latin-1.
 */
export function huffmanLength(text: string): number {
  let bits = 0;
  let seen = 0;
  for (let i = 0; i < text.length; i++) {
    const byte = text.charCodeAt(i);
    seen |= byte;
    bits += BITS[byte & 0xff];
  }
  return seen > 0xff ? -1 : bits + 7 >>> 3;
}

/** Writes a Latin-1 text Huffman-coded at `at`; returns where it ends. */
export function encodeHuffman(
  text: string,
  target: Uint8Array,
  at: number,
): number {
  // What is not written yet are the low `waiting` bits, fewer than eight.
  let pending = 0;
  let waiting = 0;
  for (let i = 0; i < text.length; i++) {
    const byte = text.charCodeAt(i);
    let code = CODES[byte];
    let bits = BITS[byte];
    if (bits > 24) {
      // 7 + 30 bits are too many for one number: the upper part first.
      bits -= 16;
      pending = pending << bits | code >>> 16;
      waiting += bits;
      while (waiting >= 8) target[at++] = pending >>> (waiting -= 8);
      code &= 0xffff;
      bits = 16;
    }
    pending = pending << bits | code;
    waiting += bits;
    while (waiting >= 8) target[at++] = pending >>> (waiting -= 8);
  }
  if (waiting > 0) {
    // The first bits of EOS, which are 1 (5.2).
    target[at++] = pending << 8 - waiting | 0xff >>> waiting;
  }
  return at;
}
