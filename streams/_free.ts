const { Bun: bun } = globalThis as { Bun?: unknown };

type Detach = (this: ArrayBuffer, size: number) => ArrayBuffer;

/** Not on Node 20; and on Bun what is let go costs nothing. */
const detach = bun === undefined
  ? (ArrayBuffer.prototype as unknown as { transfer?: Detach }).transfer
  : undefined;

/** Bytes that are worth the trouble. */
export const WORTH_FREEING: number = 4 * 1024;

/**
 * Gives memory back that nobody looks at any more. The garbage collector
 * would do so in its time: until then every message has memory that is cold.
 */
export function free(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (
    detach !== undefined && bytes.byteLength >= WORTH_FREEING &&
    bytes.byteLength === buffer.byteLength && buffer instanceof ArrayBuffer
  ) detach.call(buffer, 0);
}
