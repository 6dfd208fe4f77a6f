interface Globals {
  readonly Deno?: unknown;
  readonly Bun?: unknown;
  readonly Buffer?: { allocUnsafeSlow(size: number): Uint8Array };
}

const { Deno, Bun, Buffer } = globalThis as Globals;
const buffers = Deno === undefined && Bun === undefined ? Buffer : undefined;

/**
 * Memory to write from, with anything in it. On Node it is a Buffer, and so
 * are its views: of any other view a Buffer is made, for every write.
 */
export function writable(size: number): Uint8Array {
  return buffers === undefined
    ? new Uint8Array(size)
    : buffers.allocUnsafeSlow(size);
}
