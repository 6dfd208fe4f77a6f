const MASK = (1n << 64n) - 1n;

interface Constants {
  readonly rounds: readonly bigint[];
  readonly start: readonly bigint[];
}

let constants: Constants | undefined;

/**
 * The SHA-512/256 of bytes (FIPS 180-4, 5.3.6.2), which the web's crypto does
 * not have. Big integers make it slow: about a megabyte a second.
 */
export function sha512t256(bytes: Uint8Array): Uint8Array {
  constants ??= makeConstants();
  return hash(bytes, constants.start, constants.rounds).subarray(0, 32);
}

/** Its numbers, from where they come from: roots of the first primes. */
function makeConstants(): Constants {
  const primes: bigint[] = [];
  for (let n = 2n; primes.length < 80; n++) {
    if (primes.every((prime) => n % prime !== 0n)) primes.push(n);
  }
  const rounds = primes.map((prime) => root(prime << 192n, 3n) & MASK);
  const plain = primes.slice(0, 8)
    .map((prime) => root(prime << 128n, 2n) & MASK);
  // The generation function of 5.3.6.
  const start = hash(
    new TextEncoder().encode("SHA-512/256"),
    plain.map((word) => word ^ 0xa5a5a5a5a5a5a5a5n),
    rounds,
  );
  const view = new DataView(start.buffer);
  return {
    rounds,
    start: plain.map((_, i) => view.getBigUint64(i * 8)),
  };
}

/** The greatest integer whose power is no greater. */
function root(of: bigint, power: bigint): bigint {
  let low = 0n;
  let high = 1n << 100n;
  while (low < high) {
    const middle = (low + high + 1n) >> 1n;
    if (middle ** power <= of) low = middle;
    else high = middle - 1n;
  }
  return low;
}

/** SHA-512, begun with other words. */
function hash(
  bytes: Uint8Array,
  start: readonly bigint[],
  rounds: readonly bigint[],
): Uint8Array {
  const size = bytes.byteLength;
  const padded = new Uint8Array((Math.floor((size + 16) / 128) + 1) * 128);
  padded.set(bytes);
  padded[size] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.byteLength - 8, BigInt(size) * 8n);
  const state = [...start];
  const words: bigint[] = new Array(80).fill(0n);
  for (let at = 0; at < padded.byteLength; at += 128) {
    for (let i = 0; i < 80; i++) {
      words[i] = i < 16
        ? view.getBigUint64(at + i * 8)
        : (words[i - 16] + small(words[i - 15], 1n, 8n, 7n) + words[i - 7] +
          small(words[i - 2], 19n, 61n, 6n)) & MASK;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 80; i++) {
      const one = h + large(e, 14n, 18n, 41n) + ((e & f) ^ (~e & MASK & g)) +
        rounds[i] + words[i];
      const two = large(a, 28n, 34n, 39n) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e] = [g, f, e, (d + one) & MASK];
      [d, c, b, a] = [c, b, a, (one + two) & MASK];
    }
    for (const [i, word] of [a, b, c, d, e, f, g, h].entries()) {
      state[i] = (state[i] + word) & MASK;
    }
  }
  const out = new DataView(new ArrayBuffer(64));
  for (const [i, word] of state.entries()) out.setBigUint64(i * 8, word);
  return new Uint8Array(out.buffer);
}

function turn(word: bigint, by: bigint): bigint {
  return (word >> by) | ((word << (64n - by)) & MASK);
}

function small(word: bigint, a: bigint, b: bigint, shift: bigint): bigint {
  return turn(word, a) ^ turn(word, b) ^ (word >> shift);
}

function large(word: bigint, a: bigint, b: bigint, c: bigint): bigint {
  return turn(word, a) ^ turn(word, b) ^ turn(word, c);
}
