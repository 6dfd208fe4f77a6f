import { ClosedError } from "../streams/errors.ts";
import { append } from "./_append.ts";
import type { Tail } from "./_append.ts";

/** Bytes that may be queued before the peer is held. */
const HIGH = 64 * 1024;
/** Chunks given to a Web Stream in one pull. */
const PULL_BATCH = 16;
/** Memory that a body gets on its word alone; for more half must have come. */
const TRUSTED = 64 * 1024;

const EMPTY = new Uint8Array(0);

/** What a body asks of the connection that fills it. */
export interface BodyOwner {
  /** Somebody reads, for the first time. */
  wanted(): void;
  /** There is room again, after a `push` that gave `false`. */
  room(): void;
}

/** Reads a body to its end: what is used of a reader of a Web Stream. */
export interface BodyReader {
  read(): Promise<ReadableStreamReadResult<Uint8Array>>;
  cancel(reason?: unknown): Promise<void>;
}

/** Chunks as one; the chunk itself when there is one. */
export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 1) return chunks[0];
  if (chunks.length === 0) return EMPTY;
  let size = 0;
  for (const chunk of chunks) size += chunk.byteLength;
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}

/**
 * The body of a request as it comes in. It is either collected whole or read
 * as a Web Stream, never both; what nobody reads waits, bounded.
 */
export class RequestBody {
  /** Whether it has been collected: it cannot be read again. */
  used = false;
  /** Whether a copy of the request had to be made without it. */
  replaced = false;
  /** Whether what still comes is thrown away. */
  discarded = false;
  readonly #owner: BodyOwner;
  /** Its bytes, when that is known and none has been given away. */
  #length: number | undefined;
  #chunks: Uint8Array[] = [];
  #tail: Tail | undefined;
  /** Where they are put together, in place of `#chunks`. */
  #whole: Uint8Array | undefined;
  /** How many times somebody was given the memory that came. */
  #lent = 0;
  #size = 0;
  #full = false;
  #ended = false;
  #failed = false;
  #error: unknown;
  #settle: {
    resolve: (bytes: Uint8Array) => void;
    reject: (error: unknown) => void;
  } | undefined;
  #taken = false;
  #stream: ReadableStream<Uint8Array> | undefined;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  /** The stream's reader waits: what comes next goes to it at once. */
  #pulled = false;
  /** Whoever waits for the next chunk, past the stream. */
  #reading: {
    resolve: (result: ReadableStreamReadResult<Uint8Array>) => void;
    reject: (error: unknown) => void;
  } | undefined;

  /** `length` is what its sender is held to, when it said one. */
  constructor(owner: BodyOwner, length?: number) {
    this.#owner = owner;
    this.#length = length;
  }

  /** Whether somebody reads it, or has kept it for that. */
  get taken(): boolean {
    return this.used || this.#stream?.locked === true;
  }

  /** Whether somebody has read of it: it is not whole any more. */
  get disturbed(): boolean {
    return this.used || this.#taken;
  }

  /** Whether the stream was asked for: who has it may have a reader of it. */
  get streamed(): boolean {
    return this.#stream !== undefined;
  }

  /** Whether nobody else can read it any more. */
  get closedOff(): boolean {
    return this.disturbed || this.taken;
  }

  /** Whether all of it has come, or nothing more will. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether nothing of the memory that was pushed is in use. */
  get free(): boolean {
    return this.#chunks.length === 0 && this.#lent === 0;
  }

  /** Takes bytes in; `false` tells the connection to hold until `room`. */
  push(chunk: Uint8Array): boolean {
    if (this.#ended || this.discarded) return true;
    if (this.#settle !== undefined) {
      this.#gather(chunk);
      return true;
    }
    if (this.#pulled) {
      this.#lend();
      this.#pulled = false;
      this.#controller!.enqueue(chunk);
      return true;
    }
    if (this.#reading !== undefined) {
      this.#lend();
      const { resolve } = this.#reading;
      this.#reading = undefined;
      resolve({ done: false, value: chunk });
      return true;
    }
    this.#tail = append(this.#chunks, chunk, this.#tail);
    this.#size += chunk.byteLength;
    if (this.#size >= HIGH) this.#full = true;
    return !this.#full;
  }

  /** Whoever collects it needs no backpressure: the limit bounds it. */
  #gather(chunk: Uint8Array): void {
    if (this.#whole === undefined) {
      this.#tail = append(this.#chunks, chunk, this.#tail);
      this.#size += chunk.byteLength;
      this.#prepare();
    } else {
      this.#whole.set(chunk, this.#size);
      this.#size += chunk.byteLength;
    }
  }

  /** The place for all of it is made once its length is to be believed. */
  #prepare(): void {
    const length = this.#length;
    if (length === undefined || length > Math.max(TRUSTED, 2 * this.#size)) {
      return;
    }
    const whole = this.#whole = new Uint8Array(length);
    let offset = 0;
    for (const chunk of this.#chunks) {
      whole.set(chunk, offset);
      offset += chunk.byteLength;
    }
    this.#chunks = [];
  }

  #lend(): void {
    this.#lent++;
    this.#length = undefined;
  }

  /** What `collect` gave has been copied: its memory is not used any more. */
  release(): void {
    if (this.#lent > 0) this.#lent--;
  }

  /** All of it has come. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#settle !== undefined) this.#settle.resolve(this.#take());
    else if (this.#pulled) this.#controller!.close();
    else this.#reading?.resolve({ done: true, value: undefined });
  }

  /** It broke off: whoever reads it hears why. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failed = true;
    this.#error = error;
    this.#chunks = [];
    this.#whole = undefined;
    this.#size = 0;
    this.#settle?.reject(error);
    this.#reading?.reject(error);
    if (!this.discarded) this.#controller?.error(error);
  }

  /** Nobody will read it: what has come and comes is dropped. */
  discard(): void {
    this.discarded = true;
    this.#whole = undefined;
    this.#chunks = [];
    this.#size = 0;
    this.#makeRoom();
  }

  /** The same for one that must not look empty to whoever reads it later. */
  abandon(): void {
    if (!this.discarded && !this.#ended) {
      this.fail(
        new ClosedError(
          "Cannot read the body: nobody had begun to when the request was answered",
        ),
      );
    }
    this.discard();
  }

  /** All the bytes; at once when they are there. Uses it up. */
  collect(): Uint8Array | Promise<Uint8Array> {
    this.used = true;
    this.#begin();
    if (this.#failed) return Promise.reject(this.#error);
    if (this.#ended) return this.#take();
    const whole = new Promise<Uint8Array>((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#prepare();
    this.#makeRoom();
    return whole;
  }

  /**
   * All the bytes if they have come and nobody has begun to read: whoever
   * takes them is the one who reads. `undefined` otherwise.
   */
  takeWhole(): Uint8Array | undefined {
    if (!this.#ended || this.#failed || this.#stream !== undefined) {
      return undefined;
    }
    this.#taken = true;
    return this.#take();
  }

  /**
   * Keeps everybody else from the stream, so that it can be collected past
   * it; `false` when somebody has it already.
   */
  lock(): boolean {
    const stream = this.stream();
    if (stream.locked) return false;
    stream.getReader();
    return true;
  }

  /** The same as a stream, which is made once. */
  stream(): ReadableStream<Uint8Array> {
    return this.#stream ??= new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: (controller) => this.#pull(controller),
      cancel: () => {
        this.#taken = true;
        this.#pulled = false;
        this.discard();
      },
      // Nothing is prefetched: the queue is here, and so is the backpressure.
    }, { highWaterMark: 0 });
  }

  /**
   * Reads past the stream, when this is the one that `stream` gave and nobody
   * has done anything with it: without a Web Stream in between.
   */
  splice(stream: ReadableStream<Uint8Array>): BodyReader | undefined {
    if (
      stream !== this.#stream || stream.locked || this.disturbed ||
      this.discarded
    ) return undefined;
    // Nobody else may.
    stream.getReader();
    this.used = true;
    return {
      read: () => this.#readNext(),
      cancel: () => {
        this.#taken = true;
        this.discard();
        return Promise.resolve();
      },
    };
  }

  /**
   * All the bytes past the stream, when they have come and this is the one
   * that `stream` gave and nobody has done anything with it.
   */
  takeStream(stream: ReadableStream<Uint8Array>): Uint8Array | undefined {
    if (
      !this.#ended || this.#failed || stream !== this.#stream ||
      stream.locked || this.disturbed || this.discarded
    ) return undefined;
    // Nobody else may.
    stream.getReader();
    this.used = true;
    this.#taken = true;
    return this.#take();
  }

  #readNext(): Promise<ReadableStreamReadResult<Uint8Array>> {
    this.#begin();
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#lend();
      this.#size -= chunk.byteLength;
      if (this.#size < HIGH / 2) this.#makeRoom();
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#failed) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#reading = { resolve, reject };
    });
  }

  #begin(): void {
    if (this.#taken) return;
    this.#taken = true;
    this.#owner.wanted();
  }

  #pull(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#begin();
    const chunks = this.#chunks;
    if (chunks.length > 0) {
      this.#lend();
      for (const chunk of chunks.splice(0, PULL_BATCH)) {
        this.#size -= chunk.byteLength;
        controller.enqueue(chunk);
      }
      if (this.#size < HIGH / 2) this.#makeRoom();
    } else if (this.#failed) {
      throw this.#error;
    } else if (this.#ended) {
      controller.close();
    } else {
      this.#pulled = true;
    }
  }

  #take(): Uint8Array {
    const whole = this.#whole ?? concat(this.#chunks);
    if (this.#chunks.length === 1) this.#lend();
    this.#whole = undefined;
    this.#chunks = [];
    this.#size = 0;
    this.#makeRoom();
    return whole;
  }

  #makeRoom(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#owner.room();
  }
}
