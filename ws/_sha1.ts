/**
 * SHA-1 of an ASCII text of at most 240 characters, as 20 bytes. The opening handshake asks for
 * it (RFC 6455, 4.2.2) where it protects nothing; `crypto.subtle` has it only
 * as a promise, and an upgrade is answered at once. The bytes hold until the
 * next call.
 */
export function sha1(text: string): Uint8Array {
  const blocks = (text.length + 8 >> 6) + 1;
  words.fill(0, 0, blocks * 16);
  for (let i = 0; i < text.length; i++) put(i, text.charCodeAt(i));
  put(text.length, 0x80);
  words[blocks * 16 - 1] = text.length * 8;

  let h0 = 0x67452301, h1 = 0xefcdab89 | 0, h2 = 0x98badcfe | 0;
  let h3 = 0x10325476, h4 = 0xc3d2e1f0 | 0;
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < 80; i++) {
      mixed[i] = i < 16 ? words[block * 16 + i] : rotate(
        mixed[i - 3] ^ mixed[i - 8] ^ mixed[i - 14] ^ mixed[i - 16],
        1,
      );
    }
    let a = h0, b = h1, c = h2, d = h3, e = h4;
    for (let i = 0; i < 80; i++) {
      const mix = i < 20
        ? (b & c | ~b & d) + 0x5a827999
        : i < 40
        ? (b ^ c ^ d) + 0x6ed9eba1
        : i < 60
        ? (b & c | b & d | c & d) + 0x8f1bbcdc
        : (b ^ c ^ d) + 0xca62c1d6;
      const next = rotate(a, 5) + mix + e + mixed[i] | 0;
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = next;
    }
    h0 = h0 + a | 0;
    h1 = h1 + b | 0;
    h2 = h2 + c | 0;
    h3 = h3 + d | 0;
    h4 = h4 + e | 0;
  }
  putWord(digest, 0, h0);
  putWord(digest, 4, h1);
  putWord(digest, 8, h2);
  putWord(digest, 12, h3);
  putWord(digest, 16, h4);
  return digest;
}

/** Room for the longest text there is here, in big-endian words. */
const words = new Int32Array(64);
const mixed = new Int32Array(80);
const digest = new Uint8Array(20);

function putWord(digest: Uint8Array, at: number, word: number): void {
  for (let k = 0; k < 4; k++) digest[at + k] = word >>> 24 - 8 * k;
}

function put(at: number, byte: number): void {
  words[at >> 2] |= byte << 24 - 8 * (at & 3);
}

function rotate(value: number, by: number): number {
  return value << by | value >>> (32 - by);
}
