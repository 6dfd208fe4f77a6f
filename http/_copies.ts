/** Size of the memory that copies are made in. */
const SIZE = 16 * 1024;
/** Up to this size a new one costs less. */
const LEAST = 4 * 1024;
/** So many are kept for the next ones. */
const KEPT = 64;

const kept: ArrayBuffer[] = [];
/** Copies that may come back. */
let lent = 0;

/** A copy of the bytes, whose memory is used again once `reuse` is told. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  const size = bytes.byteLength;
  if (size <= LEAST || size > SIZE) return new Uint8Array(bytes);
  const copy = new Uint8Array(kept.pop() ?? new ArrayBuffer(SIZE), 0, size);
  copy.set(bytes);
  lent++;
  return copy;
}

/**
 * Takes the memory of a copy back that nobody looks at any more; `false` when
 * it is none of these.
 */
export function reuse({ buffer }: Uint8Array): boolean {
  if (lent === 0 || buffer.byteLength !== SIZE) return false;
  lent--;
  if (kept.length < KEPT) kept.push(buffer as ArrayBuffer);
  return true;
}
