import type { Source } from "./types.ts";

interface Origin {
  readonly source: Source<unknown>;
  /** Somebody has begun to read the stream, or had the source. */
  touched: boolean;
}

const origins = new WeakMap<ReadableStream<unknown>, Origin>();

/** Remembers which source a stream is a view of. */
export function setOrigin(
  stream: ReadableStream<unknown>,
  source: Source<unknown>,
): Origin {
  const origin = { source, touched: false };
  origins.set(stream, origin);
  return origin;
}

/**
 * The source behind a stream that `toReadable` made and nobody has begun to
 * read; the stream is locked from then on. Reading the source instead spares
 * two promises a chunk. Its messages are still to be encoded by `encode`.
 */
export function takeOrigin(
  stream: ReadableStream<unknown>,
): Source<unknown> | undefined {
  const origin = origins.get(stream);
  if (origin === undefined || origin.touched || stream.locked) return undefined;
  origin.touched = true;
  stream.getReader();
  return origin.source;
}
