/** Chunks up to this size are put together. */
const SMALL = 1024;
/** Chunks that wait before any are. */
const FEW = 16;
/** Where they are put together. */
const SIZE = 16 * 1024;

/** The end of a list of chunks, as long as small ones can be put behind it. */
export interface Tail {
  readonly bytes: Uint8Array;
  /** What of it is used; as such it is in the list. */
  view: Uint8Array;
}

/**
 * Puts a chunk at the end of a list. Where several wait already small ones
 * become few: a peer that sends single bytes must not make us keep an object
 * for each. Gives the tail, for the next time.
 */
export function append(
  chunks: Uint8Array[],
  chunk: Uint8Array,
  tail: Tail | undefined,
): Tail | undefined {
  const size = chunk.byteLength;
  const { length } = chunks;
  if (size > SMALL || length < FEW) {
    chunks.push(chunk);
    return tail;
  }
  if (tail === undefined || chunks[length - 1] !== tail.view) {
    return begin(chunks, chunk);
  }
  const { bytes, view } = tail;
  const used = view.byteLength;
  if (used + size > bytes.byteLength) return begin(chunks, chunk);
  bytes.set(chunk, used);
  chunks[length - 1] = tail.view = bytes.subarray(0, used + size);
  return tail;
}

function begin(chunks: Uint8Array[], chunk: Uint8Array): Tail {
  const bytes = new Uint8Array(SIZE);
  bytes.set(chunk);
  const view = bytes.subarray(0, chunk.byteLength);
  chunks.push(view);
  return { bytes, view };
}
