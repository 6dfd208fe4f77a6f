import { Socket } from "node:net";
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

/** Told of what came; `false`: nothing more until the socket is resumed. */
type OnRead = (this: Socket, size: number, buffer: Uint8Array) => boolean;

/** A socket, by the names under which it keeps its option `onread`. */
type Slotted = Socket & Record<symbol, unknown> & {
  readonly _handle?: { useUserBuffer?(buffer: Uint8Array): unknown } | null;
};

interface Slots {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly next: symbol;
}

function findSlots(): Slots | undefined {
  const buffer = new Uint8Array(1);
  const callback = () => true;
  const next = () => buffer;
  const nameOf = (onread: object, value: unknown) => {
    const probe = new Socket({ onread } as object) as Slotted;
    return Object.getOwnPropertySymbols(probe)
      .find((name) => probe[name] === value);
  };
  const slots = {
    buffer: nameOf({ buffer, callback }, buffer),
    callback: nameOf({ buffer, callback }, callback),
    next: nameOf({ buffer: next, callback }, next),
  };
  return Object.values(slots).includes(undefined) ? undefined : slots as Slots;
}

/** `null` until they are asked for. */
let slots: Slots | undefined | null = null;
/**
 * What sockets read into. Node fills it and tells of it in one go, so that one
 * buffer serves them all, where Node would make one for each read.
 */
let shared: Uint8Array | undefined;
/** What the socket that is being told reads into from now on, if it changes. */
let following: Uint8Array | undefined;
const next = () => following;
/** How many sockets have a buffer of their own. */
let owned = 0;

/** With anything in it. */
function memory(): Uint8Array {
  return new Uint8Array(writable(SIZE).buffer);
}

/**
 * Has a socket of Node's read into our buffers, from its next read on. That
 * is what its option `onread` does, which sockets that a server accepts cannot
 * be given: it is set behind their backs. Where a Node keeps it elsewhere, and
 * for a socket that has read already, this gives `false` and changes nothing.
 */
export function readDirectly(socket: Socket, onRead: OnRead): boolean {
  const slotted = socket as Slotted;
  const { _handle: handle } = slotted;
  if (slots === null) slots = findSlots();
  if (
    slots === undefined || typeof handle?.useUserBuffer !== "function" ||
    socket.readableLength > 0
  ) return false;
  shared ??= memory();
  slotted[slots.buffer] = shared;
  slotted[slots.callback] = onRead;
  slotted[slots.next] = next;
  handle.useUserBuffer(shared);
  return true;
}

/**
 * Gives a chunk that the socket needs to keep nothing for, as most are; other
 * ones are for `DirectReads`: `false`.
 */
export function takeShared(
  size: number,
  buffer: Uint8Array,
  listener: TransportEvents,
): boolean {
  const { borrows } = listener;
  if (size >= LARGE && borrows !== "all") return false;
  following = undefined;
  if (borrows !== undefined && borrows !== false) {
    listener.data(buffer.subarray(0, size), true);
  } else listener.data(buffer.slice(0, size));
  return true;
}

/**
 * What one socket reads. Small chunks are lent or copied, out of the buffer of
 * all; when large ones come it gets a buffer of its own, and then each is
 * given away with the buffer it came in.
 */
export class DirectReads {
  #own = false;
  /** Small reads in a row, while it has its own. */
  #small = 0;
  /** One that came back. */
  #spare: Uint8Array | undefined;
  /** What came while nobody wanted it: no more is read before it is taken. */
  held: Uint8Array | undefined;

  /** Without a listener it is held. Gives whether to read on. */
  take(
    size: number,
    buffer: Uint8Array,
    listener: TransportEvents | undefined,
  ): boolean {
    following = undefined;
    if (listener === undefined) {
      this.held = buffer.slice(0, size);
      return false;
    }
    const { borrows } = listener;
    if (size < LARGE || borrows === "all") {
      if (borrows !== undefined && borrows !== false) {
        listener.data(buffer.subarray(0, size), true);
      } else listener.data(buffer.slice(0, size));
      if (this.#own && ++this.#small >= PATIENCE) {
        this.release();
        following = shared;
      }
    } else if (this.#own) this.#give(size, buffer, listener);
    else {
      listener.data(buffer.slice(0, size));
      if (owned < MAX_OWN) {
        owned++;
        this.#own = true;
        following = memory();
      }
    }
    return true;
  }

  #give(size: number, buffer: Uint8Array, listener: TransportEvents): void {
    this.#small = 0;
    // Nobody is to see what was in that memory before.
    if (size < SIZE) buffer.fill(0, size);
    listener.data(buffer.subarray(0, size));
    following = this.#spare ?? memory();
    this.#spare = undefined;
  }

  /** The listener needs nothing of a chunk any more that was its own. */
  recycle(chunk: Uint8Array): void {
    const { buffer } = chunk;
    if (this.#own && buffer.byteLength === SIZE) {
      this.#spare = new Uint8Array(buffer);
    } else free(chunk);
  }

  /** It has no buffer of its own any more. */
  release(): void {
    if (!this.#own) return;
    this.#own = false;
    this.#spare = undefined;
    this.#small = 0;
    owned--;
  }
}
