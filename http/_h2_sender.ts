import type { Writer } from "../tcp/_writer.ts";
import type { Fields } from "./_h1_types.ts";
import * as h2 from "./_h2_frames.ts";
import { Scheduler } from "./_h2_priority.ts";
import type { Priority } from "./_h2_priority.ts";
import type { H2Stream } from "./_h2_stream.ts";
import { HpackEncoder } from "./_hpack_encoder.ts";

/** Where the bytes that are written are counted. */
interface Tally {
  bytesWritten: number;
}

/**
 * What a session writes: frames, header blocks in the order of their
 * compression, and data as far as the windows and the kernel take it.
 */
export class H2Sender {
  /** Of the connection (RFC 9113, 6.9.1). */
  window = h2.DEFAULT_WINDOW;
  /** Of a stream that begins. */
  initialWindow = h2.DEFAULT_WINDOW;
  readonly #writer: Writer;
  readonly #tally: Tally;
  readonly #encoder = new HpackEncoder();
  readonly #scheduler = new Scheduler<H2Stream>();
  readonly #head = new Uint8Array(h2.HEAD_SIZE);
  #pumping = false;
  #over = false;

  constructor(writer: Writer, tally: Tally = { bytesWritten: 0 }) {
    this.#writer = writer;
    this.#tally = tally;
  }

  /** No data goes any more. */
  stop(): void {
    this.#over = true;
  }

  setTableSize(size: number): void {
    this.#encoder.setPeerTableSize(size);
  }

  /** Writes bytes of ours. */
  write(bytes: Uint8Array): void {
    this.#tally.bytesWritten += bytes.byteLength;
    this.#writer.write(bytes);
  }

  frame(
    type: number,
    flags: number,
    id: number,
    payload: Uint8Array | undefined,
  ): void {
    const length = payload === undefined ? 0 : payload.byteLength;
    h2.writeHead(this.#head, length, type, flags, id);
    this.#tally.bytesWritten += h2.HEAD_SIZE + length;
    this.#writer.write(this.#head);
    if (length > 0) this.#writer.write(payload!);
  }

  /** A frame whose payload is one number of 32 bits. */
  number(type: number, id: number, number: number): void {
    this.write(h2.numberFrame(type, id, number));
  }

  goAway(last: number, code: number, debug: string): void {
    const text = new TextEncoder().encode(debug.slice(0, 256));
    const payload = new Uint8Array(8 + text.byteLength);
    h2.write32(payload, 0, last);
    h2.write32(payload, 4, code);
    payload.set(text, 8);
    this.frame(h2.GOAWAY, 0, 0, payload);
  }

  /** A section of fields; what is compressed goes out in that order. */
  fields(id: number, fields: Fields, end: boolean): void {
    const block = this.#encoder.encode(fields);
    const flags = end ? h2.END_STREAM : 0;
    const size = h2.FRAME_SIZE;
    if (block.byteLength <= size) {
      this.frame(h2.HEADERS, flags | h2.END_HEADERS, id, block);
      return;
    }
    this.frame(h2.HEADERS, flags, id, block.subarray(0, size));
    for (let at = size; at < block.byteLength; at += size) {
      const last = at + size >= block.byteLength;
      this.frame(
        h2.CONTINUATION,
        last ? h2.END_HEADERS : 0,
        id,
        block.subarray(at, at + size),
      );
    }
  }

  /** The stream has something to send. */
  schedule(stream: H2Stream): void {
    if (stream.sendWindow > 0) this.#scheduler.add(stream);
    this.pump();
  }

  /** The window of a stream has changed. */
  rewindow(stream: H2Stream): void {
    if (stream.sendWindow <= 0) this.#scheduler.remove(stream);
    else if (stream.queued > 0) this.#scheduler.add(stream);
  }

  remove(stream: H2Stream): void {
    this.#scheduler.remove(stream);
  }

  prioritize(stream: H2Stream, priority: Priority): void {
    this.#scheduler.move(stream, priority);
  }

  /** Sends as much as the windows and the kernel take. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    const writer = this.#writer;
    try {
      while (this.window > 0 && this.#scheduler.size > 0 && !this.#over) {
        if (writer.full) {
          // Only the kernel's word counts: then a drain is sure to come.
          writer.flush();
          if (writer.full) break;
        }
        this.#sendSome(this.#scheduler.next()!);
      }
    } finally {
      // Whoever hears of the room may fail; the others go on.
      this.#pumping = false;
    }
  }

  #sendSome(stream: H2Stream): void {
    const data = stream.take(
      Math.min(h2.FRAME_SIZE, this.window, stream.sendWindow),
    );
    const size = data.byteLength;
    const last = stream.queued === 0 && stream.endsWithData;
    this.window -= size;
    stream.sendWindow -= size;
    if (stream.queued === 0 || stream.sendWindow <= 0) {
      this.#scheduler.remove(stream);
    }
    this.frame(h2.DATA, last ? h2.END_STREAM : 0, stream.id, data);
    stream.moved = true;
    stream.wrote(last);
  }
}
