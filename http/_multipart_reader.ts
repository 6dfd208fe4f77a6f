import { ClosedError } from "../streams/errors.ts";
import { MultipartError, MultipartLimitError } from "./errors.ts";

/** Bounds of a multipart body, all of them set. */
export interface MultipartBounds {
  parts: number;
  partSize: number;
  total: number;
  name: number;
  header: number;
}

const CR = 0x0d;
const LF = 0x0a;
const DASH = 0x2d;
/** Blanks behind a boundary that are taken (RFC 2046, 5.1.1). */
const PADDING = 64;

const EMPTY = new Uint8Array(0);
const CRLF = new Uint8Array([CR, LF]);

/**
 * Finds bytes in others by Horspool's rule: most bytes are never looked at.
 * The comparison goes forward: a delimiter begins with CR, LF, which is nowhere
 * else in it, so that no body makes it take more than linear time.
 */
class Finder {
  readonly bytes: Uint8Array;
  readonly #skip: Uint8Array;

  constructor(bytes: Uint8Array) {
    const last = bytes.length - 1;
    this.bytes = bytes;
    this.#skip = new Uint8Array(256).fill(bytes.length);
    for (let i = 0; i < last; i++) this.#skip[bytes[i]] = last - i;
  }

  find(data: Uint8Array): number {
    const { bytes } = this;
    const skip = this.#skip;
    const last = bytes.length - 1;
    const end = bytes[last];
    const length = data.length;
    for (let at = last; at < length;) {
      const byte = data[at];
      if (byte === end) {
        const start = at - last;
        let i = 0;
        while (i < last && data[start + i] === bytes[i]) i++;
        if (i === last) return start;
      }
      at += skip[byte];
    }
    return -1;
  }

  /** How many bytes at the end could be the beginning of what is looked for. */
  overlap(data: Uint8Array): number {
    const { bytes } = this;
    let start = Math.max(0, data.length - bytes.length + 1);
    for (;;) {
      start = data.indexOf(bytes[0], start);
      if (start === -1) return 0;
      let i = start + 1;
      while (i < data.length && data[i] === bytes[i - start]) i++;
      if (i === data.length) return data.length - start;
      start++;
    }
  }
}

/** Reads a multipart body from one delimiter to the next (RFC 2046, 5.1.1). */
export class MultipartReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #bounds: MultipartBounds;
  readonly #delimiter: Finder;
  /** Read and not taken yet. Its start counts as the start of a line. */
  #data: Uint8Array = CRLF;
  #total = 0;
  #ended = false;
  #failure: { error: unknown } | undefined;
  /** Bytes of the part so far. */
  #size = 0;
  /** Nothing of the part's body was taken yet. */
  #fresh = false;
  /** In the body of a part. */
  #inside = false;
  /** All of it was read. */
  finished = false;
  #busy: Promise<unknown> = Promise.resolve();

  constructor(
    stream: ReadableStream<Uint8Array>,
    boundary: string,
    bounds: MultipartBounds,
  ) {
    this.#reader = stream.getReader();
    this.#bounds = bounds;
    this.#delimiter = new Finder(new TextEncoder().encode(`\r\n--${boundary}`));
  }

  /** Goes to the first delimiter; what is before it is for nobody. */
  async begin(): Promise<void> {
    let skipped = 0;
    for (;;) {
      const at = this.#delimiter.find(this.#data);
      const keep = at === -1 ? this.#delimiter.overlap(this.#data) : 0;
      skipped += at === -1 ? this.#data.length - keep : at;
      if (skipped > this.#bounds.header) {
        throw malformed("no boundary where its first part should begin");
      }
      if (at !== -1) {
        this.#drop(at + this.#delimiter.bytes.length);
        return;
      }
      this.#drop(this.#data.length - keep);
      if (!await this.#fill()) throw malformed("its boundary is nowhere in it");
    }
  }

  /**
   * The header block of the next part, with the line break in front of it;
   * `undefined` when there is none, and all has been read.
   */
  async next(): Promise<Uint8Array | undefined> {
    await this.#need(2, "it ends at a boundary");
    const closing = this.#data[0] === DASH && this.#data[1] === DASH;
    if (closing) this.#drop(2);
    let padding = 0;
    for (;;) {
      if (padding === this.#data.length && !await this.#fill()) break;
      const byte = this.#data[padding];
      if (byte !== 0x20 && byte !== 0x09) break;
      if (++padding > PADDING) throw malformed("too much behind a boundary");
    }
    this.#drop(padding);
    if (closing && this.#data.length === 0) {
      this.finished = true;
      return undefined;
    }
    await this.#need(2, "it ends at a boundary");
    if (this.#data[0] !== CR || this.#data[1] !== LF) {
      throw malformed("a boundary with something behind it on its line");
    }
    if (closing) {
      // What follows is for nobody (RFC 2046, 5.1.1).
      do this.#data = EMPTY; while (await this.#fill());
      this.finished = true;
      return undefined;
    }
    return await this.#readHead();
  }

  async #readHead(): Promise<Uint8Array> {
    const { header } = this.#bounds;
    for (;;) {
      const end = indexOfBlankLine(this.#data);
      // Without the line breaks around it, of which three bytes may be there.
      if ((end === -1 ? this.#data.length - 3 : end) - 2 > header) {
        throw new MultipartLimitError("the header of a part", header);
      }
      if (end !== -1) {
        const head = this.#data.subarray(0, end + 2);
        // The line break is left: it may belong to a delimiter.
        this.#drop(end + 2);
        this.#size = -2;
        this.#fresh = true;
        this.#inside = true;
        return head;
      }
      if (!await this.#fill()) throw malformed("it ends in a header");
    }
  }

  /** Bytes of the part's body; `undefined` at its end. One call at a time. */
  chunk(): Promise<Uint8Array | undefined> {
    const chunk = this.#busy.then(() => this.#chunk());
    this.#busy = chunk.catch(() => {});
    return chunk;
  }

  async #chunk(): Promise<Uint8Array | undefined> {
    try {
      if (this.#failure !== undefined) throw this.#failure.error;
      return await this.#take();
    } catch (error) {
      this.stop(error);
      throw error;
    }
  }

  async #take(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (!this.#inside) return undefined;
      const at = this.#delimiter.find(this.#data);
      const size = at === -1
        ? this.#data.length - this.#delimiter.overlap(this.#data)
        : at;
      // The line break of the header does not count, unless it was no part of
      // the body at all.
      if (size > 0 || at !== -1) {
        let chunk = this.#data.subarray(0, size);
        if (this.#fresh && size > 0) chunk = chunk.subarray(2);
        if (size > 0) this.#fresh = false;
        this.#drop(at === -1 ? size : at + this.#delimiter.bytes.length);
        if (at !== -1) this.#inside = false;
        this.#size += size;
        if (this.#size > this.#bounds.partSize) {
          throw new MultipartLimitError("a part", this.#bounds.partSize);
        }
        if (chunk.length > 0) return chunk;
      } else if (!await this.#fill()) {
        throw malformed("it ends in a part");
      }
    }
  }

  /** Leaves out what is left of the part. */
  async skip(): Promise<void> {
    while (await this.chunk() !== undefined);
  }

  /** Nobody reads on. */
  stop(reason: unknown): void {
    this.#failure ??= { error: reason };
    if (this.finished) return;
    this.finished = true;
    this.#reader.cancel(reason).catch(() => {});
  }

  release(): void {
    this.stop(new ClosedError("Cannot read the part: its request was left"));
    try {
      this.#reader.releaseLock();
    } catch {
      // A read is under way still.
    }
  }

  #drop(count: number): void {
    this.#data = this.#data.subarray(count);
  }

  async #need(count: number, why: string): Promise<void> {
    while (this.#data.length < count) {
      if (!await this.#fill()) throw malformed(why);
    }
  }

  /** Waits for more; `false` at the end. */
  async #fill(): Promise<boolean> {
    if (this.#ended) return false;
    const { done, value } = await this.#reader.read();
    if (this.#failure !== undefined) throw this.#failure.error;
    if (done) {
      this.#ended = true;
      return false;
    }
    this.#total += value.byteLength;
    if (this.#total > this.#bounds.total) {
      throw new MultipartLimitError("all of it", this.#bounds.total);
    }
    if (this.#data.length === 0) {
      this.#data = value;
    } else if (value.byteLength > 0) {
      const joined = new Uint8Array(this.#data.length + value.byteLength);
      joined.set(this.#data);
      joined.set(value, this.#data.length);
      this.#data = joined;
    }
    return true;
  }
}

export function malformed(why: string): MultipartError {
  return new MultipartError(`Cannot read the multipart body: ${why}`);
}

function indexOfBlankLine(data: Uint8Array): number {
  let at = -1;
  for (;;) {
    at = data.indexOf(CR, at + 1);
    if (at === -1 || at + 4 > data.length) return -1;
    if (
      data[at + 1] === LF && data[at + 2] === CR && data[at + 3] === LF
    ) return at;
  }
}
