import { writable } from "../tcp/_node_memory.ts";
import type { Transport } from "../tcp/_transport.ts";
import {
  encodeFrame,
  encodeText,
  MAX_HEAD,
  seemsAscii,
  textRoom,
  writeFrame,
  writeText,
} from "./_frame_writer.ts";

const { Deno, setImmediate } = globalThis as {
  Deno?: unknown;
  setImmediate?: (callback: () => void) => unknown;
};

/**
 * Sizes of the slabs that frames are written into, one behind another: room
 * for a payload that is a power of two, and some heads.
 */
const SLABS = [16 * 1024 + 64, 64 * 1024 + 64];
/** A larger frame has a buffer of its own. */
const LARGEST = SLABS[SLABS.length - 1];
/** Slabs of a size kept for the next socket that has something to say. */
const MAX_POOL = 64;
/**
 * Microtasks without another frame after which the frames leave: as many as
 * a `for await` loop takes from one message to the next.
 */
const QUIET = 3;

/** Up to this size what is written has its view kept, of the last slab. */
const SHORT = 256;
const views: (Uint8Array | undefined)[] = new Array(SHORT + 1).fill(undefined);
let viewed: Uint8Array | undefined;
let used: Uint8Array | undefined;

/**
 * The end of a turn of the event loop, where that costs little: microtasks are
 * run for each socket that is read, so that each message would need its own.
 */
const nextCheck = Deno === undefined ? setImmediate : undefined;

const pools: Uint8Array[][] = SLABS.map(() => []);
const now: Promise<void> = Promise.resolve();

/** Bytes that wait, and the slab they are in, when they are in one. */
interface Chunk {
  readonly bytes: Uint8Array;
  readonly slab: Uint8Array | undefined;
}

/** What nothing was ever put into; it is never written. */
const none: Chunk[] = [];

/**
 * Frames on their way to a transport. Those of one turn of the event loop,
 * also of a loop that awaits each `send`, go down in one system call; while
 * the kernel has no room they wait here, and `full` tells to hold.
 */
export class Output {
  readonly #transport: Transport;
  readonly #highWaterMark: number;
  readonly #masked: boolean;
  /** What waits, in order; behind it what the slab holds. */
  #chunks: Chunk[] = none;
  #slab: Uint8Array | undefined;
  #end = 0;
  /** The slab that the transport keeps until its drain. */
  #kept: Uint8Array | undefined;
  #queued = 0;
  #scheduled = false;
  #corked = false;
  #blocked = false;
  /** Whether large messages come several at a time. */
  #wide = false;
  #ending = false;
  #over = false;
  /** Whether `answered` is likely to come, very soon. */
  expected = false;

  constructor(transport: Transport, highWaterMark: number, masked: boolean) {
    this.#transport = transport;
    this.#highWaterMark = highWaterMark;
    this.#masked = masked;
  }

  /** Whether its frames are masked: a client's. */
  get masked(): boolean {
    return this.#masked;
  }

  /** Bytes taken and not with the kernel yet. */
  get buffered(): number {
    return this.#over ? 0 : this.#queued + this.#transport.pending;
  }

  /** Whether to hold until a drain, which then is sure to come. */
  get full(): boolean {
    // What the transport has not got rid of it has said so.
    if (!this.#blocked && this.#queued < this.#highWaterMark) return false;
    if (this.buffered < this.#highWaterMark) return false;
    this.flush();
    return this.#blocked && this.buffered >= this.#highWaterMark;
  }

  text(text: string): void {
    if (this.#over || this.#ending) return;
    const room = textRoom(text);
    if (room > LARGEST) return this.#add(encodeText(text, this.#masked));
    const last = this.#slab;
    // Mostly a text takes a third of what it might.
    if (
      last !== undefined && last.byteLength - this.#end < room &&
      seemsAscii(text)
    ) {
      const end = writeText(last, this.#end, text, this.#masked);
      if (end >= 0) return this.#took(end);
    }
    const slab = this.#room(room);
    this.#took(writeText(slab, this.#end, text, this.#masked));
  }

  frame(first: number, payload: Uint8Array): void {
    if (this.#over || this.#ending) return;
    const room = MAX_HEAD + payload.byteLength;
    if (room > LARGEST) {
      this.#add(encodeFrame(first, payload, this.#masked));
    } else {
      const slab = this.#room(room);
      this.#took(writeFrame(slab, this.#end, first, payload, this.#masked));
    }
  }

  /** A frame that other sockets send too: alone it is not copied. */
  shared(frame: Uint8Array): void {
    if (this.#over || this.#ending) return;
    const size = frame.byteLength;
    const gathers = this.#corked || this.expected;
    if (gathers && (this.#wide || this.#queued > 0) && size < LARGEST) {
      const slab = this.#room(size);
      slab.set(frame, this.#end);
      this.#took(this.#end + size);
    } else this.#add(frame);
  }

  /** Until `uncork` what is written only gathers. */
  cork(): void {
    this.#corked = true;
  }

  uncork(): void {
    this.#corked = false;
    if (this.#queued > 0) this.flush();
  }

  /** No more is likely to be written in this turn. */
  answered(): void {
    if (!this.#corked && this.#queued > 0) this.flush();
  }

  /** Hands on what is queued, as far as the kernel takes it. */
  flush(): void {
    if (this.#over || this.#blocked) return;
    if (this.#chunks.length === 0) this.#flushSlab();
    else this.#flushChunks();
    if (this.#ending && !this.#blocked) {
      this.#over = true;
      this.#transport.end();
    }
  }

  /** Mostly there is nothing else. */
  #flushSlab(): void {
    const slab = this.#slab;
    if (slab === undefined) return;
    this.#slab = undefined;
    this.#queued -= this.#end;
    if (this.#end < SLABS[0] >> 1) this.#wide = false;
    if (this.#transport.write(viewOf(slab, this.#end))) {
      recycle(slab);
    } else {
      this.#blocked = true;
      this.#kept = slab;
    }
  }

  #flushChunks(): void {
    this.#leaveSlab();
    const chunks = this.#chunks;
    for (let i = 0; i < chunks.length; i++) {
      const { bytes, slab } = chunks[i];
      this.#queued -= bytes.byteLength;
      if (!this.#transport.write(bytes)) {
        this.#blocked = true;
        this.#kept = slab;
        chunks.splice(0, i + 1);
        return;
      }
      recycle(slab);
    }
    this.#chunks = none;
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
    recycle(this.#kept);
    this.#kept = undefined;
    this.flush();
  }

  /** Drops what is queued: the transport is over. */
  drop(): void {
    this.#over = true;
    this.#chunks = none;
    this.#slab = this.#kept = undefined;
    this.#queued = 0;
  }

  #add(bytes: Uint8Array): void {
    this.#leaveSlab();
    this.#wait({ bytes, slab: undefined });
    this.#queued += bytes.byteLength;
    this.#schedule();
  }

  /** A slab with that much room behind `#end`. */
  #room(size: number): Uint8Array {
    if (this.#slab !== undefined) {
      if (this.#slab.byteLength - this.#end >= size) return this.#slab;
      this.flush();
      this.#leaveSlab();
      this.#wide = true;
    }
    this.#end = 0;
    const at = size <= SLABS[0] && !this.#wide ? 0 : 1;
    return this.#slab = pools[at].pop() ?? writable(SLABS[at]);
  }

  #took(end: number): void {
    this.#queued += end - this.#end;
    this.#end = end;
    this.#schedule();
  }

  /** Puts what the slab holds behind what waits; another is used after it. */
  #leaveSlab(): void {
    const slab = this.#slab;
    if (slab === undefined) return;
    this.#slab = undefined;
    this.#wait({ bytes: slab.subarray(0, this.#end), slab });
  }

  #wait(chunk: Chunk): void {
    if (this.#chunks === none) this.#chunks = [chunk];
    else this.#chunks.push(chunk);
  }

  #schedule(): void {
    written++;
    if (this.#corked || this.#scheduled || this.#blocked) return;
    this.#scheduled = true;
    if (this.expected && nextCheck !== undefined) {
      if (late.push(this) === 1) nextCheck(leaveLate);
      return;
    }
    if (waiting.push(this) > 1) return;
    seen = written;
    quiet = 0;
    now.then(tick);
  }

  /** Its turn has come. */
  leave(): void {
    this.#scheduled = false;
    this.flush();
  }
}

/** Those that have something to send, in this turn of the event loop. */
let waiting: Output[] = [];
/** How often any of them took something, and how often at the last look. */
let written = 0;
let seen = 0;
let quiet = 0;

/** One look for all of them: they leave once nobody writes any more. */
function tick(): void {
  if (written !== seen) {
    seen = written;
    quiet = 0;
  } else if (++quiet === QUIET) {
    const leaving = waiting;
    waiting = [];
    for (const output of leaving) output.leave();
    return;
  }
  now.then(tick);
}

/** Those of which it was expected that `answered` would have come by now. */
let late: Output[] = [];

function leaveLate(): void {
  const leaving = late;
  late = [];
  for (const output of leaving) output.leave();
}

/** The beginning of a slab; views of short ones are made once. */
function viewOf(slab: Uint8Array, size: number): Uint8Array {
  if (size > SHORT) return slab.subarray(0, size);
  if (slab !== viewed) {
    // Not for those that take turns.
    if (slab !== used) {
      used = slab;
      return slab.subarray(0, size);
    }
    viewed = slab;
    views.fill(undefined);
  }
  return views[size] ??= slab.subarray(0, size);
}

function recycle(slab: Uint8Array | undefined): void {
  if (slab === undefined) return;
  const pool = pools[slab.byteLength === SLABS[0] ? 0 : 1];
  if (pool.length < MAX_POOL) pool.push(slab);
}
