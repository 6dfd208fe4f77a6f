import type { Transport } from "./_transport.ts";

/** Chunks up to this size are copied together; larger ones go as they are. */
const COPY_LIMIT = 16 * 1024;
/** Bytes gathered into one write at most. */
const GATHER = 64 * 1024;

/**
 * Writes to a transport. What is written in one turn of the event loop goes
 * down in as few system calls as it fits in; while the kernel has no room it
 * waits here, and `full` tells the floors above to hold.
 */
export class Writer {
  readonly #transport: Transport;
  readonly #highWaterMark: number;
  #chunks: Uint8Array[] = [];
  #queued = 0;
  #blocked = false;
  #scheduled = false;
  #ending = false;
  #over = false;

  constructor(transport: Transport, highWaterMark: number) {
    this.#transport = transport;
    this.#highWaterMark = highWaterMark;
  }

  /** Bytes taken and not with the kernel yet. */
  get buffered(): number {
    return this.#queued + this.#transport.pending;
  }

  /** Whether to hold until `drained` gives `true`. */
  get full(): boolean {
    return this.buffered >= this.#highWaterMark;
  }

  /** Whether FIN was asked for. */
  get ending(): boolean {
    return this.#ending;
  }

  /** Takes bytes; they leave at the end of this turn, or with `flush`. */
  write(bytes: Uint8Array): void {
    if (this.#over || this.#ending || bytes.byteLength === 0) return;
    this.#chunks.push(bytes);
    this.#queued += bytes.byteLength;
    if (this.#blocked || this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** Hands on what is queued, as far as the kernel takes it. */
  flush(): void {
    if (this.#over || this.#blocked) return;
    while (this.#chunks.length > 0) {
      const bytes = this.#gather();
      this.#queued -= bytes.byteLength;
      if (!this.#transport.write(bytes)) {
        this.#blocked = true;
        return;
      }
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
    this.flush();
  }

  /** Drops what is queued: the transport is over. */
  drop(): void {
    this.#over = true;
    this.#chunks = [];
    this.#queued = 0;
  }

  /** Whether nothing of ours is left outside the kernel. */
  get idle(): boolean {
    return this.#queued === 0 && this.#transport.pending === 0;
  }

  #gather(): Uint8Array {
    const chunks = this.#chunks;
    const first = chunks[0];
    if (chunks.length === 1 || first.byteLength > COPY_LIMIT) {
      chunks.shift();
      return first;
    }
    let count = 0;
    let size = 0;
    for (const chunk of chunks) {
      if (chunk.byteLength > COPY_LIMIT || size + chunk.byteLength > GATHER) {
        break;
      }
      size += chunk.byteLength;
      count++;
    }
    const bytes = new Uint8Array(size);
    let offset = 0;
    for (let i = 0; i < count; i++) {
      bytes.set(chunks[i], offset);
      offset += chunks[i].byteLength;
    }
    chunks.splice(0, count);
    return bytes;
  }
}
