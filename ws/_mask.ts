/** Below this a view of words costs more than it saves. */
const WORDS_FROM = 96;

const keyBytes = new Uint8Array(4);
const keyWord = new Int32Array(keyBytes.buffer);

/**
 * XORs `bytes[start, end)` with a masking key, in place (RFC 6455, 5.3).
 * `phase` says at which byte of the key it begins.
 */
export function applyMask(
  bytes: Uint8Array,
  start: number,
  end: number,
  key: Uint8Array,
  phase: number,
): void {
  let i = start;
  let k = phase;
  if (end - start >= WORDS_FROM) {
    while (((bytes.byteOffset + i) & 3) !== 0) bytes[i++] ^= key[k++ & 3];
    for (let j = 0; j < 4; j++) keyBytes[j] = key[(k + j) & 3];
    const word = keyWord[0];
    const count = (end - i) >> 2;
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + i, count);
    const unrolled = count & ~7;
    let w = 0;
    for (; w < unrolled; w += 8) {
      words[w] ^= word;
      words[w + 1] ^= word;
      words[w + 2] ^= word;
      words[w + 3] ^= word;
      words[w + 4] ^= word;
      words[w + 5] ^= word;
      words[w + 6] ^= word;
      words[w + 7] ^= word;
    }
    for (; w < count; w++) words[w] ^= word;
    i += count << 2;
  }
  for (; i < end; i++) bytes[i] ^= key[k++ & 3];
}

const pool = new Uint8Array(4096);
let used = pool.byteLength;

/** Fills `key` with four fresh random bytes (RFC 6455, 10.3). */
export function randomMask(key: Uint8Array): void {
  if (used === pool.byteLength) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  key[0] = pool[used];
  key[1] = pool[used + 1];
  key[2] = pool[used + 2];
  key[3] = pool[used + 3];
  used += 4;
}
