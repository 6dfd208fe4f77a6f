import { Ring } from "../streams/_ring.ts";
import { writable } from "./_node_memory.ts";
import type { Transport } from "./_transport.ts";

/** Size of the buffer that small writes are gathered in at first. */
const SMALL = 4 * 1024;
/** And at most. */
const GATHER = 64 * 1024;
/** Chunks up to this size are gathered; larger ones go down as they are. */
export const COPY_LIMIT = 16 * 1024;
/** Gathering buffers kept for the next writer that needs one. */
const SMALL_POOL = 512;
const POOL = 32;

/** A gathering buffer, and what of it was written last: often as much again. */
class Slab {
  readonly bytes: Uint8Array;
  #view: Uint8Array | undefined;

  constructor(size: number) {
    this.bytes = writable(size);
  }

  /** The first bytes of it. */
  head(size: number): Uint8Array {
    const view = this.#view;
    if (view !== undefined && view.byteLength === size) return view;
    return this.#view = this.bytes.subarray(0, size);
  }
}

/**
 * Bytes that may go to the kernel in one turn of the event loop. A sender
 * whose peer keeps up would never let go of it otherwise: no timer would
 * fire, and nobody else be served.
 */
const BURST = 1024 * 1024;

/** Bytes that one `writeAll` is given, or little more. */
const GATHERED = 512 * 1024;

const smallPool: Slab[] = [];
const pool: Slab[] = [];
/** The next turn of the event loop, after what is due in this one. */
const nextTurn: (callback: () => void) => unknown =
  (globalThis as { setImmediate?: (callback: () => void) => unknown })
    .setImmediate ?? setTimeout;
const encoder = new TextEncoder();
const resolved = Promise.resolve();

/**
 * Writes to a transport. What is written in one turn of the event loop goes
 * down in as few system calls as it fits in; while the kernel has no room it
 * waits here, and `full` tells the floors above to hold.
 */
export class Writer {
  readonly #transport: Transport;
  readonly #highWaterMark: number;
  /** Whole chunks, before the tail. */
  readonly #chunks = new Ring<Uint8Array>();
  /** Where small writes are gathered: the last chunk, still open. */
  #tail: Slab | undefined;
  #used = 0;
  /** The only chunk so far, given for good: gathered if another comes. */
  #single: Uint8Array | undefined;
  #queued = 0;
  /** A gathering buffer that the transport has until `drained`. */
  #lent: Slab | undefined;
  /** Full ones, whose bytes are queued or with the transport. */
  #sealed: Slab[] | undefined;
  #blocked = false;
  #scheduled = false;
  #held = false;
  /** Turns of the microtask queue that what is written waits for more. */
  #patience = 0;
  #ending = false;
  #over = false;
  readonly #onRoom: (() => void) | undefined;
  #burst = 0;
  #resting = false;
  /** Made when it is needed. */
  #onTurn: (() => void) | undefined;

  /**
   * With `onRoom` the writer counts as full once it has had its share of the
   * event loop, and `onRoom` tells that it may go on, as a drain does.
   */
  constructor(
    transport: Transport,
    highWaterMark: number,
    onRoom?: () => void,
  ) {
    this.#transport = transport;
    this.#highWaterMark = highWaterMark;
    this.#onRoom = onRoom;
  }

  /** Bytes taken and not with the kernel yet. */
  get buffered(): number {
    return this.#queued + this.#transport.pending;
  }

  /** Whether to hold: `drained` will be called, and may have made room. */
  get full(): boolean {
    return this.buffered >= this.#highWaterMark || this.#burst >= BURST;
  }

  /** Whether the kernel has no room: what is written stays here. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Whether FIN was asked for. */
  get ending(): boolean {
    return this.#ending;
  }

  /** Whether nothing of ours is left outside the kernel. */
  get idle(): boolean {
    return this.#queued === 0 && this.#transport.pending === 0;
  }

  /**
   * Takes bytes; they leave at the end of this turn, or with `flush`. A chunk
   * of over 16 KiB is not copied and must not be changed from now on.
   */
  write(bytes: Uint8Array): void {
    const size = bytes.byteLength;
    if (size <= COPY_LIMIT) return this.copy(bytes);
    if (this.#over || this.#ending) return;
    this.#seal();
    this.#chunks.push(bytes);
    this.#add(size);
  }

  /** Takes a copy of bytes, however many. */
  copy(bytes: Uint8Array): void {
    const size = bytes.byteLength;
    if (size === 0 || this.#over || this.#ending) return;
    if (size <= GATHER) {
      this.#room(size).bytes.set(bytes, this.#used);
      this.#used += size;
    } else {
      this.#seal();
      this.#chunks.push(new Uint8Array(bytes));
    }
    this.#add(size);
  }

  /** Takes bytes over for good: when they stay alone they are not copied. */
  give(bytes: Uint8Array): void {
    if (
      this.#queued > 0 || this.#over || this.#ending || bytes.byteLength === 0
    ) {
      this.write(bytes);
      return;
    }
    this.#single = bytes;
    this.#add(bytes.byteLength);
  }

  /**
   * Hands bytes on at once, behind what is queued. They must not be changed
   * before the kernel has them, and do not count as a share of the event
   * loop: they are a part of one.
   */
  pass(bytes: Uint8Array): void {
    if (this.#over || this.#ending) return;
    if (this.#queued > 0) this.flush();
    if (this.#blocked || this.#queued > 0) {
      this.#seal();
      this.#chunks.push(bytes);
      this.#queued += bytes.byteLength;
    } else this.#blocked = !this.#transport.write(bytes);
  }

  /** What is written from now on waits so many microtasks for more. */
  linger(turns: number): void {
    this.#patience = turns;
  }

  /** Takes a text, as UTF-8; gives the number of its bytes. */
  writeText(text: string): number {
    if (text.length === 0 || this.#over || this.#ending) return 0;
    const most = text.length * 3;
    if (most > COPY_LIMIT) {
      const bytes = encoder.encode(text);
      this.write(bytes);
      return bytes.byteLength;
    }
    const tail = this.#room(most);
    const used = this.#used;
    const { written } = encoder.encodeInto(
      text,
      used === 0 ? tail.bytes : tail.bytes.subarray(used),
    );
    this.#used = used + written;
    this.#add(written);
    return written;
  }

  /** A gathering buffer that has this much room behind `#used`. */
  #room(size: number): Slab {
    if (this.#single !== undefined) this.#gatherSingle();
    let tail = this.#tail;
    if (tail !== undefined && tail.bytes.byteLength - this.#used >= size) {
      return tail;
    }
    if (tail !== undefined && GATHER - this.#used >= size) {
      const larger = pool.pop() ?? new Slab(GATHER);
      larger.bytes.set(tail.head(this.#used));
      recycle(tail);
      return this.#tail = larger;
    }
    this.#seal();
    tail = size <= SMALL
      ? smallPool.pop() ?? new Slab(SMALL)
      : pool.pop() ?? new Slab(GATHER);
    return this.#tail = tail;
  }

  /** It is not alone any more. */
  #gatherSingle(): void {
    const single = this.#single!;
    this.#single = undefined;
    if (single.byteLength <= COPY_LIMIT) {
      this.#room(single.byteLength).bytes.set(single, this.#used);
      this.#used += single.byteLength;
    } else this.#chunks.push(single);
  }

  #add(size: number): void {
    this.#queued += size;
    if (this.#blocked) return;
    if (this.#onRoom !== undefined) {
      this.#burst += size;
      // Early, so that who lets go of the event loop never has to wait.
      if (this.#burst >= BURST / 2 && !this.#resting) {
        this.#resting = true;
        nextTurn(() => this.#rested());
      }
    }
    // Once full it waits for a drain, and only a blocked kernel gives one.
    if (this.#queued >= this.#highWaterMark) this.flush();
    else if (!this.#scheduled && !this.#held) {
      this.#scheduled = true;
      // Node makes an object of its own for every `queueMicrotask`.
      resolved.then(this.#onTurn ??= () => this.#turn());
    }
  }

  #rested(): void {
    const waited = this.#burst >= BURST;
    this.#resting = false;
    this.#burst = 0;
    if (waited && !this.#over) this.#onRoom!();
  }

  #turn(): void {
    if (this.#patience > 0) {
      this.#patience--;
      resolved.then(this.#onTurn);
      return;
    }
    this.#scheduled = false;
    this.flush();
  }

  /** What is written goes down with `release`, and not before the turn ends. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    if (this.#queued > 0 || this.#ending) this.flush();
  }

  /** Hands on what is queued, as far as the kernel takes it. */
  flush(): void {
    this.#patience = 0;
    if (this.#over || this.#blocked) return;
    if (this.#single !== undefined) {
      const single = this.#single;
      this.#single = undefined;
      this.#queued = 0;
      this.#blocked = !this.#transport.write(single);
    }
    while (!this.#over && !this.#blocked) {
      if (this.#chunks.length > 1 && this.#transport.gathers === true) {
        this.#gather();
        continue;
      }
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#queued -= chunk.byteLength;
        this.#blocked = !this.#transport.write(chunk);
      } else if (this.#used > 0) {
        const tail = this.#tail!;
        const used = this.#used;
        this.#tail = undefined;
        this.#used = 0;
        this.#queued -= used;
        this.#blocked = !this.#transport.write(tail.head(used));
        if (this.#blocked) this.#lent = tail;
        else recycle(tail);
      } else {
        if (this.#sealed !== undefined) this.#unseal();
        if (this.#ending) {
          this.#over = true;
          this.#transport.end();
        }
        return;
      }
    }
  }

  /** Hands several chunks on at once. */
  #gather(): void {
    const pieces: Uint8Array[] = [];
    let size = 0;
    do {
      const chunk = this.#chunks.shift()!;
      size += chunk.byteLength;
      pieces.push(chunk);
    } while (size < GATHERED && this.#chunks.length > 0);
    const tail = this.#chunks.length === 0 ? this.#tail : undefined;
    if (tail !== undefined) {
      size += this.#used;
      pieces.push(tail.head(this.#used));
      this.#tail = undefined;
      this.#used = 0;
    }
    this.#queued -= size;
    this.#blocked = !this.#transport.writeAll!(pieces);
    if (tail === undefined) return;
    if (this.#blocked) this.#lent = tail;
    else recycle(tail);
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
    if (this.#lent !== undefined) {
      recycle(this.#lent);
      this.#lent = undefined;
    }
    this.flush();
  }

  /** Drops what is queued: the transport is over. */
  drop(): void {
    this.#over = true;
    this.#chunks.clear();
    this.#single = undefined;
    this.#tail = undefined;
    // The transport may have them still.
    this.#sealed = undefined;
    this.#used = 0;
    this.#queued = 0;
  }

  #seal(): void {
    if (this.#single !== undefined) this.#gatherSingle();
    if (this.#used === 0) return;
    const tail = this.#tail!;
    this.#chunks.push(tail.head(this.#used));
    (this.#sealed ??= []).push(tail);
    this.#tail = undefined;
    this.#used = 0;
  }

  /** All that was queued is with the kernel. */
  #unseal(): void {
    for (const slab of this.#sealed!) recycle(slab);
    this.#sealed = undefined;
  }
}

function recycle(slab: Slab): void {
  if (slab.bytes.byteLength === SMALL) {
    if (smallPool.length < SMALL_POOL) smallPool.push(slab);
  } else if (pool.length < POOL) pool.push(slab);
}
