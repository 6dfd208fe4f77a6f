import type { Transport } from "../tcp/_transport.ts";
import { writable } from "../tcp/_node_memory.ts";
import { COPY_LIMIT, Writer } from "../tcp/_writer.ts";
import { chunkHead, CRLF, encodeChunk } from "./_h1_writer.ts";

/** Bytes of the response that wait before its source is held. */
const HIGH_WATER_MARK = 64 * 1024;
/** And before they go down, where several pieces can in one go. */
const GO = 256 * 1024;
/** Microtasks that a part of a body waits for the next: it may be there. */
const PATIENCE = 16;
/** Large bodies go down in slices: so it shows whether the client takes any. */
const SLICE = 1024 * 1024;
/** Chunks up to this size are written from a buffer of their own. */
const SMALL = 4096;
/**
 * And up to this size from one that is used again: to copy more costs more
 * than to write it apart, but on Deno, where every write is dear.
 */
const MEDIUM =
  ((globalThis as { Deno?: unknown }).Deno === undefined ? 32 : 64) * 1024;
/** With room for what frames a chunk. */
const FRAME = MEDIUM + 16;
/** Of these so many are kept. */
const POOL = 32;

const NONE = new Uint8Array(0);
const pool: Uint8Array[] = [];

/** Writes the bodies of HTTP/1.1. */
export class BodyWriter extends Writer {
  /** Buffers of chunks that may not be with the kernel yet. */
  #frames: Uint8Array[] | undefined;

  constructor(transport: Transport) {
    super(transport, transport.gathers === true ? GO : HIGH_WATER_MARK);
  }

  /** More is sure to be written, and perhaps soon: to leave with it is better. */
  expectMore(): void {
    this.linger(PATIENCE);
  }

  override get full(): boolean {
    return super.full || (this.blocked && this.buffered >= HIGH_WATER_MARK);
  }

  /** Takes bytes as `write` does, also very many. */
  writeLarge(bytes: Uint8Array): void {
    const size = bytes.byteLength;
    for (let at = 0; at < size; at += SLICE) {
      this.write(size <= SLICE ? bytes : bytes.subarray(at, at + SLICE));
    }
  }

  /**
   * Takes a part of a body, as a chunk with what frames it (RFC 9112, 7.1) if
   * it is to be one; gives the number of bytes that makes. From then on it may
   * be changed, unless the kernel has no room for it. To copy it up to a
   * certain size costs less than to write it alone, or in three pieces.
   */
  writePart(bytes: Uint8Array, chunked: boolean): number {
    const size = bytes.byteLength;
    if (size > MEDIUM) return this.#writeLong(bytes, chunked);
    this.linger(PATIENCE);
    if (!chunked) {
      if (size <= COPY_LIMIT) this.copy(bytes);
      else {
        const frame = this.#frame();
        frame.set(bytes);
        this.give(frame.subarray(0, size));
      }
      return size;
    }
    if (size <= SMALL) {
      const chunk = encodeChunk(bytes);
      this.give(chunk);
      return chunk.byteLength;
    }
    const head = chunkHead(size);
    const whole = head.byteLength + size + 2;
    if (whole <= COPY_LIMIT) {
      this.copy(head);
      this.copy(bytes);
      this.copy(CRLF);
      return whole;
    }
    const frame = this.#frame();
    frame.set(head);
    frame.set(bytes, head.byteLength);
    frame.set(CRLF, whole - 2);
    this.give(frame.subarray(0, whole));
    return whole;
  }

  #writeLong(bytes: Uint8Array, chunked: boolean): number {
    const head = chunked ? chunkHead(bytes.byteLength) : NONE;
    const end = chunked ? CRLF : NONE;
    this.write(head);
    this.writeLarge(bytes);
    this.flush();
    // It leaves with the head of the next one, if that is there.
    this.linger(PATIENCE);
    this.write(end);
    return head.byteLength + bytes.byteLength + end.byteLength;
  }

  #frame(): Uint8Array {
    const frame = pool.pop() ?? writable(FRAME);
    (this.#frames ??= []).push(frame);
    return frame;
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
