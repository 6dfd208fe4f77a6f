/**
 * SHA-1 of a short ASCII text, as 20 bytes. The opening handshake asks for
 * it (RFC 6455, 4.2.2) where it protects nothing; `crypto.subtle` has it only
 * as a promise, and an upgrade is answered at once.
 */
export function sha1(text: string): Uint8Array {
  const blocks = (text.length + 8 >> 6) + 1;
  const input = new DataView(new ArrayBuffer(blocks * 64));
  for (let i = 0; i < text.length; i++) input.setUint8(i, text.charCodeAt(i));
  input.setUint8(text.length, 0x80);
  input.setUint32(blocks * 64 - 4, text.length * 8);

  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  const words = new Int32Array(80);
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < 80; i++) {
      words[i] = i < 16 ? input.getInt32(block * 64 + i * 4) : rotate(
        words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16],
        1,
      );
    }
    let [a, b, c, d, e] = state;
    for (let i = 0; i < 80; i++) {
      const mix = i < 20
        ? (b & c | ~b & d) + 0x5a827999
        : i < 40
        ? (b ^ c ^ d) + 0x6ed9eba1
        : i < 60
        ? (b & c | b & d | c & d) + 0x8f1bbcdc
        : (b ^ c ^ d) + 0xca62c1d6;
      const next = rotate(a, 5) + mix + e + words[i] | 0;
      e = d;
      d = c;
      c = rotate(b, 30);
      b = a;
      a = next;
    }
    [a, b, c, d, e].forEach((value, i) => state[i] = state[i] + value | 0);
  }

  const digest = new DataView(new ArrayBuffer(20));
  state.forEach((value, i) => digest.setInt32(i * 4, value));
  return new Uint8Array(digest.buffer);
}

function rotate(value: number, by: number): number {
  return value << by | value >>> (32 - by);
}
