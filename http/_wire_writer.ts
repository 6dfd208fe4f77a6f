import type { Transport } from "../tcp/_transport.ts";
import { Writer } from "../tcp/_writer.ts";
import { chunkHead, CRLF, encodeChunk } from "./_h1_writer.ts";

/** Bytes of the response that wait before its source is held. */
const HIGH_WATER_MARK = 64 * 1024;
/** Large bodies go down in slices: so it shows whether the client takes any. */
const SLICE = 1024 * 1024;
/** Chunks up to this size are written from a buffer of their own. */
const SMALL = 4096;
/** And up to this size from one that is used again. */
const MEDIUM = 64 * 1024;
/** With room for what frames a chunk. */
const FRAME = MEDIUM + 16;
/** Of these so many are kept. */
const POOL = 32;

const pool: Uint8Array[] = [];

/** Writes the bodies of HTTP/1.1. */
export class BodyWriter extends Writer {
  /** Buffers of chunks that may not be with the kernel yet. */
  #frames: Uint8Array[] | undefined;

  constructor(transport: Transport) {
    super(transport, HIGH_WATER_MARK);
  }

  /** Takes bytes as `write` does, also very many. */
  writeLarge(bytes: Uint8Array): void {
    const size = bytes.byteLength;
    for (let at = 0; at < size; at += SLICE) {
      this.write(size <= SLICE ? bytes : bytes.subarray(at, at + SLICE));
    }
  }

  /**
   * Takes a chunk with what frames it (RFC 9112, 7.1); gives the number of
   * bytes that makes. To copy it costs less than to write in three pieces.
   */
  writeChunk(chunk: Uint8Array): number {
    const size = chunk.byteLength;
    if (size <= SMALL) {
      const bytes = encodeChunk(chunk);
      this.give(bytes);
      return bytes.byteLength;
    }
    const head = chunkHead(size);
    const whole = head.byteLength + size + 2;
    if (size > MEDIUM) {
      this.write(head);
      this.writeLarge(chunk);
      this.write(CRLF);
      return whole;
    }
    const frame = pool.pop() ?? new Uint8Array(FRAME);
    frame.set(head);
    frame.set(chunk, head.byteLength);
    frame.set(CRLF, whole - 2);
    (this.#frames ??= []).push(frame);
    this.give(frame.subarray(0, whole));
    return whole;
  }

  override flush(): void {
    super.flush();
    if (this.#frames !== undefined && this.idle) this.#recycle();
  }

  /** All of them are with the kernel. */
  #recycle(): void {
    for (const frame of this.#frames!) {
      if (pool.length < POOL) pool.push(frame);
    }
    this.#frames = undefined;
  }

  override drop(): void {
    super.drop();
    // The transport may have them still.
    this.#frames = undefined;
  }
}
