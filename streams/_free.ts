const { Bun: bun } = globalThis as { Bun?: unknown };

type Detach = (this: ArrayBuffer, size: number) => ArrayBuffer;

/** Not on Node 20. */
const detach = (ArrayBuffer.prototype as unknown as { transfer?: Detach })
  .transfer;

/** Bytes that are worth the trouble: on Bun what is small costs nothing. */
export const WORTH_FREEING: number = (bun === undefined ? 4 : 8) * 1024;

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
