import type { Transport } from "../tcp/_transport.ts";
import {
  encodeFrame,
  encodeText,
  MAX_HEAD,
  textRoom,
  writeFrame,
  writeText,
} from "./_frame_writer.ts";

/** Small frames are written one behind another into a slab of this size. */
const SLAB = 16 * 1024;
/** Slabs kept for the next socket that has something to say. */
const MAX_POOL = 64;
/**
 * Microtasks without another frame after which the frames leave: as many as
 * a `for await` loop takes from one message to the next.
 */
const QUIET = 3;

const pool: Uint8Array[] = [];
const now: Promise<void> = Promise.resolve();

/**
 * Frames on their way to a transport. Those of one turn of the event loop,
 * also of a loop that awaits each `send`, go down in one system call; while
 * the kernel has no room they wait here, and `full` tells to hold.
 */
export class Output {
  readonly #transport: Transport;
  readonly #highWaterMark: number;
  readonly #masked: boolean;
  /** What is complete and waits, in order; behind it the slab's part. */
  #chunks: Uint8Array[] = [];
  #slab: Uint8Array | undefined;
  #start = 0;
  #end = 0;
  /** The slab that the transport keeps until its drain. */
  #kept: Uint8Array | undefined;
  #queued = 0;
  #seen = 0;
  #quiet = 0;
  #scheduled = false;
  #blocked = false;
  #ending = false;
  #over = false;

  constructor(transport: Transport, highWaterMark: number, masked: boolean) {
    this.#transport = transport;
    this.#highWaterMark = highWaterMark;
    this.#masked = masked;
  }

  /** Bytes taken and not with the kernel yet. */
  get buffered(): number {
    return this.#over ? 0 : this.#queued + this.#transport.pending;
  }

  /** Whether to hold until a drain, which then is sure to come. */
  get full(): boolean {
    if (this.buffered < this.#highWaterMark) return false;
    this.flush();
    return this.#blocked && this.buffered >= this.#highWaterMark;
  }

  text(text: string): void {
    if (this.#over || this.#ending) return;
    const room = textRoom(text);
    if (room > SLAB) {
      this.#add(encodeText(text, this.#masked));
    } else {
      const slab = this.#room(room);
      const end = writeText(slab, this.#end, text, this.#masked);
      this.#queued += end - this.#end;
      this.#end = end;
      this.#schedule();
    }
  }

  frame(first: number, payload: Uint8Array): void {
    if (this.#over || this.#ending) return;
    const room = MAX_HEAD + payload.byteLength;
    if (room > SLAB) {
      this.#add(encodeFrame(first, payload, this.#masked));
    } else {
      const slab = this.#room(room);
      const end = writeFrame(slab, this.#end, first, payload, this.#masked);
      this.#queued += end - this.#end;
      this.#end = end;
      this.#schedule();
    }
  }

  /** Hands on what is queued, as far as the kernel takes it. */
  flush(): void {
    if (this.#over || this.#blocked) return;
    this.#part();
    const chunks = this.#chunks;
    for (let i = 0; i < chunks.length; i++) {
      const chunk = chunks[i];
      this.#queued -= chunk.byteLength;
      if (!this.#transport.write(chunk)) {
        this.#blocked = true;
        // A slab with a part still to come is not for others any more.
        if (i === chunks.length - 1) this.#kept = this.#slab;
        this.#slab = undefined;
        chunks.splice(0, i + 1);
        return;
      }
    }
    chunks.length = 0;
    if (this.#slab !== undefined) {
      recycle(this.#slab);
      this.#slab = undefined;
    }
    if (this.#ending) {
      this.#over = true;
      this.#transport.end();
    }
  }

  /** FIN behind everything written. */
  end(): void {
    if (this.#ending) return;
    this.#ending = true;
    this.flush();
  }

  /** To be called from the transport's `drain`. */
  drained(): void {
    this.#blocked = false;
    if (this.#kept !== undefined) {
      recycle(this.#kept);
      this.#kept = undefined;
    }
    this.flush();
  }

  /** Drops what is queued: the transport is over. */
  drop(): void {
    this.#over = true;
    this.#chunks = [];
    this.#slab = this.#kept = undefined;
    this.#queued = 0;
  }

  #add(chunk: Uint8Array): void {
    this.#part();
    this.#chunks.push(chunk);
    this.#queued += chunk.byteLength;
    this.#schedule();
  }

  /** A slab with that much room behind `#end`. */
  #room(size: number): Uint8Array {
    if (this.#slab !== undefined && SLAB - this.#end >= size) {
      return this.#slab;
    }
    this.flush();
    if (this.#slab !== undefined) {
      // Blocked: it waits among the chunks, which own it from now on.
      this.#part();
    }
    this.#start = this.#end = 0;
    return this.#slab = pool.pop() ?? new Uint8Array(SLAB);
  }

  /** Moves what the slab holds to the chunks. */
  #part(): void {
    if (this.#slab === undefined || this.#end === this.#start) return;
    this.#chunks.push(this.#slab.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }

  #schedule(): void {
    if (this.#scheduled || this.#blocked) return;
    this.#scheduled = true;
    this.#seen = this.#queued;
    this.#quiet = 0;
    now.then(this.#tick);
  }

  readonly #tick = (): void => {
    if (this.#queued !== this.#seen) {
      this.#seen = this.#queued;
      this.#quiet = 0;
    } else if (++this.#quiet === QUIET) {
      this.#scheduled = false;
      this.flush();
      return;
    }
    now.then(this.#tick);
  };
}

function recycle(slab: Uint8Array): void {
  if (pool.length < MAX_POOL) pool.push(slab);
}
