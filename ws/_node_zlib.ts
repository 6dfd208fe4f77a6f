/** What is used of node:zlib, spelled out: the npm build has no types of it. */
export interface Zlib {
  readonly constants: {
    readonly Z_SYNC_FLUSH: number;
    readonly Z_HUFFMAN_ONLY: number;
    readonly Z_DEFAULT_STRATEGY: number;
  };
  deflateRawSync(bytes: Uint8Array, options: DeflateRawOptions): Uint8Array;
  inflateRawSync(bytes: Uint8Array, options: InflateRawOptions): Inflated;
}

export interface DeflateRawOptions {
  readonly level: number;
  readonly windowBits: number;
  readonly memLevel: number;
  readonly strategy: number;
  readonly chunkSize: number;
  readonly finishFlush: number;
  readonly dictionary?: Uint8Array;
}

export interface InflateRawOptions {
  readonly windowBits: number;
  readonly chunkSize: number;
  readonly maxOutputLength: number;
  readonly finishFlush?: number;
  readonly info: true;
}

/** What comes back when `info` is asked for. */
export interface Inflated {
  readonly buffer: Uint8Array;
  /** `bytesWritten` counts the input that was used. */
  readonly engine: { readonly bytesWritten: number };
}

interface Globals {
  readonly process?: { getBuiltinModule?(name: string): unknown };
}

let loaded: Zlib | undefined;

/**
 * The runtime's zlib. Who compresses nothing never loads it, and an upgrade
 * cannot wait for an import: so it is asked for when it is first needed.
 */
export function zlib(): Zlib {
  if (loaded !== undefined) return loaded;
  const { process } = globalThis as Globals;
  const found = process?.getBuiltinModule?.("node:zlib");
  if (found === undefined) {
    throw new TypeError(
      "Cannot compress: this runtime does not give node:zlib, leave compress out (Node has it from 20.16 on)",
    );
  }
  return loaded = found as Zlib;
}

let primes: boolean | undefined;

/**
 * Whether a raw deflate takes a dictionary: Deno ignores it. Without one a
 * message cannot refer to the messages before it.
 */
export function takesDictionary(): boolean {
  if (primes !== undefined) return primes;
  const { constants, deflateRawSync } = zlib();
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i * 31 ^ i >> 3);
  const packed = deflateRawSync(bytes, {
    level: 6,
    windowBits: 15,
    memLevel: 8,
    strategy: constants.Z_DEFAULT_STRATEGY,
    chunkSize: 1024,
    finishFlush: constants.Z_SYNC_FLUSH,
    dictionary: bytes,
  });
  return primes = packed.byteLength < 64;
}
