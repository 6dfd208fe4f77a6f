import { open, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * Writes chunks to a file of another name beside the path, which gets its own
 * once it is whole; what is only half-written is removed. Resolves with its
 * size. node:fs is the same on all runtimes.
 */
export async function saveFile(
  path: string | URL,
  chunks: () => Promise<Uint8Array | undefined>,
): Promise<number> {
  // Not longer for the name being long: that may be as long as one can be.
  const name = `.${crypto.randomUUID()}.part`;
  const half = typeof path === "string"
    ? join(dirname(path), name)
    : new URL(name, path);
  // "wx": never into what is there, not even through a link.
  const file = await open(half, "wx");
  let size = 0;
  try {
    try {
      for (let chunk = await chunks(); chunk; chunk = await chunks()) {
        for (let at = 0; at < chunk.byteLength;) {
          const { bytesWritten } = await file.write(chunk, at);
          at += bytesWritten;
        }
        size += chunk.byteLength;
      }
    } finally {
      await file.close();
    }
    await rename(half, path);
  } catch (error) {
    await unlink(half).catch(() => {});
    throw error;
  }
  return size;
}
