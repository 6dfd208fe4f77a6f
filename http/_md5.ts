/** Amounts that the words of a block are turned by (RFC 1321, 3.4). */
const SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
const SINES = Array.from(
  { length: 64 },
  (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32) | 0,
);

/**
 * The MD5 of bytes (RFC 1321). It is broken as a hash, and here for old
 * servers only: the web's crypto does not have it.
 */
export function md5(bytes: Uint8Array): Uint8Array {
  const size = bytes.byteLength;
  const padded = new Uint8Array(((size + 8) >> 6 << 6) + 64);
  padded.set(bytes);
  padded[size] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.byteLength - 8, (size << 3) >>> 0, true);
  view.setUint32(padded.byteLength - 4, Math.floor(size / 2 ** 29), true);
  const state = new Int32Array([
    0x67452301,
    0xefcdab89,
    0x98badcfe,
    0x10325476,
  ]);
  for (let at = 0; at < padded.byteLength; at += 64) block(state, view, at);
  const hash = new DataView(new ArrayBuffer(16));
  for (let i = 0; i < 4; i++) hash.setInt32(i * 4, state[i], true);
  return new Uint8Array(hash.buffer);
}

function block(state: Int32Array, view: DataView, at: number): void {
  let [a, b, c, d] = state;
  for (let i = 0; i < 64; i++) {
    const round = i >> 4;
    let mixed: number;
    let word: number;
    if (round === 0) {
      mixed = (b & c) | (~b & d);
      word = i;
    } else if (round === 1) {
      mixed = (d & b) | (~d & c);
      word = 5 * i + 1;
    } else if (round === 2) {
      mixed = b ^ c ^ d;
      word = 3 * i + 5;
    } else {
      mixed = c ^ (b | ~d);
      word = 7 * i;
    }
    const sum = (a + mixed + SINES[i] +
      view.getInt32(at + (word & 15) * 4, true)) | 0;
    const shift = SHIFTS[round * 4 + (i & 3)];
    [a, d, c] = [d, c, b];
    b = (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}
