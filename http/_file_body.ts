import { openFile } from "./_node_files.ts";
import type { OpenFile } from "./_node_files.ts";

/** What a body is made of: text, or bytes of the file from `start` to `end`. */
export type Piece =
  | Uint8Array<ArrayBuffer>
  | { readonly start: number; readonly end: number };

const BLOCK = 128 * 1024;

/** Reads all of a part; rejects when the file has become shorter. */
export async function readWhole(
  file: OpenFile,
  start: number,
  end: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(end - start);
  for (let at = 0; at < bytes.length;) {
    const count = await file.read(bytes.subarray(at), start + at);
    if (count === 0) throw shrunk();
    at += count;
  }
  return bytes;
}

function shrunk(): Error {
  return new Error(
    "Cannot send the file: it changed while it was sent; its connection is ended",
  );
}

/**
 * The pieces as a stream, a block whenever one is wanted. The file is opened
 * at the first pull, so that a stream that nobody reads holds nothing, and
 * closed at the end, at a failure, and when the reader leaves.
 */
export function bodyOf(
  path: string,
  version: string,
  pieces: readonly Piece[],
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let file: OpenFile | undefined;
  let index = 0;
  let position = -1;
  let left = false;
  let closing: Promise<void> | undefined;

  /** The next block; undefined behind the last one. */
  async function next(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (file === undefined) {
      file = await openFile(path);
      if (file.facts.version !== version) throw shrunk();
    }
    while (index < pieces.length) {
      const piece = pieces[index];
      if (piece instanceof Uint8Array) {
        index++;
        return piece;
      }
      if (position === -1) position = piece.start;
      const wanted = Math.min(BLOCK, piece.end - position);
      if (wanted > 0) {
        const block = new Uint8Array(wanted);
        const count = await file.read(block, position);
        if (count === 0) throw shrunk();
        position += count;
        return count === wanted ? block : block.subarray(0, count);
      }
      position = -1;
      index++;
    }
    return undefined;
  }

  /** Closes once; while a read is under way, that read closes after itself. */
  function close(): Promise<void> {
    const open = file;
    if (open === undefined) return Promise.resolve();
    return closing ??= open.close();
  }

  let busy: Promise<unknown> | undefined;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const reading = next();
      busy = reading.catch(() => {});
      try {
        const block = await reading;
        if (left) return;
        if (block !== undefined) {
          controller.enqueue(block);
          return;
        }
        await close();
        if (!left) controller.close();
      } catch (error) {
        await close().catch(() => {});
        throw error;
      }
    },
    async cancel() {
      left = true;
      await busy;
      await close();
    },
  }, { highWaterMark: 0 });
}
