/** Up to this size bytes are copied so that the sender need not wait. */
export const COPY_LIMIT = 2048;

/** Bytes of the buffers that copies are parts of. */
const POOL_SIZE = 64 * 1024;

let pool = new Uint8Array(0);
let used = 0;

/** A copy that is cheap to hand to the system: a part of a larger buffer. */
export function copy(data: Uint8Array): Uint8Array {
  const size = data.byteLength;
  if (used + size > pool.byteLength) {
    // Parts in use keep the old one alive.
    pool = new Uint8Array(POOL_SIZE);
    used = 0;
  }
  const part = pool.subarray(used, used += size);
  part.set(data);
  return part;
}
