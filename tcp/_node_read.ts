import { free } from "../streams/_free.ts";
import { writable } from "./_node_memory.ts";
import type { TransportEvents } from "./_transport.ts";

/** The most that one read takes: as much as Node's own reads do. */
const SIZE = 64 * 1024;
/** Chunks from this size on are given away with the buffer they came in. */
const LARGE = SIZE / 2;
/** Small reads in a row after which a socket lets go of a buffer of its own. */
const PATIENCE = 4;
/** Sockets that may have a buffer of their own: 32 MiB in all. */
const MAX_OWN = 512;

/** A copy of what was read, as Node itself gives it. */
export function bufferOf(buffer: Uint8Array, size: number): Uint8Array {
  const copy = writable(size);
  copy.set(buffer.subarray(0, size));
  return copy;
}

let shared: Uint8Array | undefined;
/** How many sockets have a buffer of their own. */
let owned = 0;

/** With anything in it. */
function memory(): Uint8Array {
  return new Uint8Array(writable(SIZE).buffer);
}

/**
 * What sockets read into. libuv fills it and tells of it in one go, so that
 * one buffer serves them all, where Node would make one for each read.
 */
export function sharedBuffer(): Uint8Array {
  return shared ??= memory();
}

/**
 * Gives a chunk in the buffer of all that the socket needs to keep nothing
 * for, as most are; other ones are for `OwnReads`: `false`.
 */
export function giveShared(size: number, listener: TransportEvents): boolean {
  const { borrows } = listener;
  if (size >= LARGE && borrows !== "all") return false;
  if (borrows !== undefined && borrows !== false) {
    listener.data(shared!.subarray(0, size), true);
  } else listener.data(shared!.slice(0, size));
  return true;
}

/**
 * What one socket reads. Small chunks are lent or copied, out of the buffer of
 * all; when large ones come it gets a buffer of its own, and then each is
 * given away with the buffer it came in.
 */
export class OwnReads {
  /** What the next read goes into. */
  buffer: Uint8Array = sharedBuffer();
  /** What came while nobody wanted it: no more is read before it is taken. */
  held: Uint8Array | undefined;
  /** Small reads in a row, while it has its own. */
  #small = 0;
  /** One that came back. */
  #spare: Uint8Array | undefined;

  get #own(): boolean {
    return this.buffer !== shared;
  }

  /** Without a listener it is held. Gives whether to read on. */
  take(size: number, listener: TransportEvents | undefined): boolean {
    const { buffer } = this;
    if (listener === undefined) {
      this.held = buffer.slice(0, size);
      return false;
    }
    const { borrows } = listener;
    if (size < LARGE || borrows === "all") {
      // Before it is told: nobody who is told may find another one.
      if (this.#own && ++this.#small >= PATIENCE) this.release();
      if (borrows !== undefined && borrows !== false) {
        listener.data(buffer.subarray(0, size), true);
      } else listener.data(buffer.slice(0, size));
    } else if (this.#own) {
      this.#small = 0;
      // Nobody is to see what was in that memory before.
      if (size < SIZE) buffer.fill(0, size);
      this.buffer = this.#spare ?? memory();
      this.#spare = undefined;
      listener.data(buffer.subarray(0, size));
    } else {
      if (owned < MAX_OWN) {
        owned++;
        this.buffer = memory();
      }
      listener.data(buffer.slice(0, size));
    }
    return true;
  }

  /** The listener needs nothing of a chunk any more that was its own. */
  recycle(chunk: Uint8Array): void {
    const { buffer } = chunk;
    if (this.#own && buffer.byteLength === SIZE) {
      this.#spare = new Uint8Array(buffer);
    } else if (buffer !== sharedBuffer().buffer) free(chunk);
  }

  /** It has no buffer of its own any more. */
  release(): void {
    if (!this.#own) return;
    this.buffer = shared!;
    this.#spare = undefined;
    this.#small = 0;
    owned--;
  }
}
