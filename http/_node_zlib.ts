/** What is used of the compressing streams of node:zlib. */
export interface Encoder {
  write(bytes: Uint8Array, done: () => void): boolean;
  flush(kind: number, done: () => void): void;
  end(): void;
  destroy(): void;
  on(event: string, listener: (value: never) => void): void;
}

type Params = Readonly<Record<number, number>>;

interface Settings {
  readonly level?: number;
  readonly windowBits?: number;
  readonly memLevel?: number;
  readonly chunkSize?: number;
  readonly flush?: number;
  readonly params?: Params;
}

/** What is used of node:zlib, spelled out: the npm build has no types of it. */
interface Zlib {
  readonly constants: Readonly<Record<string, number>>;
  createGzip(settings: Settings): Encoder;
  createDeflate(settings: Settings): Encoder;
  createBrotliCompress(settings: Settings): Encoder;
  createZstdCompress(settings: Settings): Encoder;
  gzipSync(bytes: Uint8Array, settings: Settings): Uint8Array;
  deflateSync(bytes: Uint8Array, settings: Settings): Uint8Array;
  brotliCompressSync(bytes: Uint8Array, settings: Settings): Uint8Array;
  zstdCompressSync?(bytes: Uint8Array, settings: Settings): Uint8Array;
}

interface Globals {
  readonly process?: { getBuiltinModule?(name: string): unknown };
}

/** A content coding that bodies are compressed with. */
export type Coding = "br" | "gzip" | "zstd" | "deflate";

let loaded: Zlib | undefined;

/** The runtime's zlib: who compresses nothing never loads it. */
function zlib(): Zlib {
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

/** Whether this runtime has the coding. Throws where there is no zlib at all. */
export function hasCoding(coding: Coding): boolean {
  const { zstdCompressSync } = zlib();
  if (coding !== "zstd") return true;
  if (typeof zstdCompressSync !== "function") return false;
  try {
    return zstdCompressSync(new Uint8Array(1), {}).byteLength > 0;
  } catch {
    return false;
  }
}

/** Bits of the window of brotli and zstd: more takes memory for each body. */
const WINDOW = 18;

/** All of it at once; `level` is of the coding. */
export function compressWhole(
  coding: Coding,
  bytes: Uint8Array,
  level: number,
): Uint8Array {
  const { constants } = zlib();
  switch (coding) {
    case "br":
      return zlib().brotliCompressSync(bytes, {
        params: {
          [constants.BROTLI_PARAM_QUALITY]: level,
          [constants.BROTLI_PARAM_LGWIN]: WINDOW,
          [constants.BROTLI_PARAM_SIZE_HINT]: bytes.byteLength,
        },
      });
    case "zstd":
      return zlib().zstdCompressSync!(bytes, {
        params: { [constants.ZSTD_c_compressionLevel]: level },
      });
    case "gzip":
      return zlib().gzipSync(bytes, { level });
    case "deflate":
      return zlib().deflateSync(bytes, { level });
  }
}

/**
 * A compressing stream. With `eager` each write is flushed: made for small
 * writes on many connections, it holds little memory.
 */
export function createEncoder(
  coding: Coding,
  level: number,
  eager: boolean,
): Encoder {
  const { constants } = zlib();
  switch (coding) {
    case "br":
      return zlib().createBrotliCompress({
        ...(eager && { flush: constants.BROTLI_OPERATION_FLUSH }),
        params: {
          [constants.BROTLI_PARAM_QUALITY]: level,
          [constants.BROTLI_PARAM_LGWIN]: eager ? 16 : WINDOW,
        },
      });
    case "zstd":
      return zlib().createZstdCompress({
        ...(eager && { flush: constants.ZSTD_e_flush }),
        params: {
          [constants.ZSTD_c_compressionLevel]: level,
          [constants.ZSTD_c_windowLog]: eager ? 16 : WINDOW,
        },
      });
  }
  const settings = eager
    ? {
      level,
      flush: constants.Z_SYNC_FLUSH,
      windowBits: 13,
      memLevel: 6,
      chunkSize: 4096,
    }
    : { level };
  return coding === "gzip"
    ? zlib().createGzip(settings)
    : zlib().createDeflate(settings);
}

/** What makes an encoder give all that it has. */
export function flushKind(coding: Coding): number {
  const { constants } = zlib();
  if (coding === "br") return constants.BROTLI_OPERATION_FLUSH;
  return coding === "zstd" ? constants.ZSTD_e_flush : constants.Z_SYNC_FLUSH;
}
