import { free } from "../streams/_free.ts";

/** The first buffer of a connection, and the least one. */
const LEAST = 2048;
/** The buffer of a connection that fills it. */
const MOST = 64 * 1024;
/** Reads of under a quarter after which a buffer is halved. */
const PATIENCE = 16;
/** Buffers of the largest size kept for whoever needs one next. */
const POOL = 64;

const pool: Uint8Array[] = [];

/**
 * Where a pulled socket reads into. It grows while the reads fill it and
 * shrinks when they stay small, so that an idle connection holds 2 KiB; a
 * chunk that fills half of the buffer is given away with it, a smaller one
 * is copied, so that nobody's small message keeps 64 KiB alive.
 */
export class ReadBuffer {
  #buffer: Uint8Array | undefined;
  /** The bytes of another connection may be in it. */
  #pooled = false;
  #size = LEAST;
  #small = 0;
  /** What of it was lent last: many reads are as long as the one before. */
  #view: Uint8Array | undefined;

  /** Space for the next read. */
  space(): Uint8Array {
    if (this.#buffer !== undefined) return this.#buffer;
    const used = this.#size === MOST ? pool.pop() : undefined;
    this.#pooled = used !== undefined;
    return this.#buffer = used ?? new Uint8Array(this.#size);
  }

  /** Whether so many bytes are copied: then they can be lent just as well. */
  lends(size: number): boolean {
    return size < this.#buffer!.byteLength >> 1;
  }

  /** A view of what was read into it, until the next read. */
  lend(size: number): Uint8Array {
    const buffer = this.#buffer!;
    if (size < buffer.byteLength) {
      this.#settle(size);
      const view = this.#view;
      // The buffer may have been halved just now.
      if (this.#buffer === undefined) return buffer.subarray(0, size);
      if (view?.byteLength === size) return view;
      return this.#view = buffer.subarray(0, size);
    }
    this.#grow();
    return buffer;
  }

  /** Takes back what `take` gave, with the buffer that it was given with. */
  recycle(chunk: Uint8Array): void {
    const { buffer, byteLength } = chunk;
    if (buffer.byteLength !== this.#size) return;
    const whole = byteLength === this.#size ? chunk : new Uint8Array(buffer);
    if (this.#buffer === undefined) {
      this.#buffer = whole;
      this.#pooled = false;
    } else if (this.#size === MOST && pool.length < POOL) pool.push(whole);
    else free(whole);
  }

  /** What was read into it: the caller's own from now on. */
  take(size: number): Uint8Array {
    const buffer = this.#buffer!;
    if (size === buffer.byteLength) {
      this.#grow();
      this.#drop();
      return buffer;
    }
    if (!this.lends(size)) {
      if (this.#pooled) buffer.fill(0, size);
      this.#small = 0;
      this.#drop();
      return buffer.subarray(0, size);
    }
    const chunk = buffer.slice(0, size);
    this.#settle(size);
    return chunk;
  }

  /** The next read has another buffer. */
  #drop(): void {
    this.#buffer = this.#view = undefined;
  }

  /** A read that filled it. */
  #grow(): void {
    this.#small = 0;
    if (this.#size === MOST) return;
    this.#size = Math.min(MOST, this.#size * 4);
    this.#drop();
  }

  /** A small read: after many of them the buffer is too large. */
  #settle(size: number): void {
    if (this.#size === LEAST || size > this.#size >> 2) {
      this.#small = 0;
    } else if (++this.#small >= PATIENCE) {
      this.#small = 0;
      this.#size >>= 1;
      this.#drop();
    }
  }
}
