import type { Fields } from "./_h1_types.ts";
import * as h2 from "./_h2_frames.ts";
import { H2Error, protocolError, unpad } from "./_h2_frames.ts";
import { concat } from "./_request_body.ts";
import { HpackDecoder } from "./_hpack_decoder.ts";

/** CONTINUATION frames of one block, at most; most blocks have none. */
const MAX_CONTINUATIONS = 64;

/** A section of fields that has come whole. */
export interface FieldBlock {
  readonly id: number;
  /** `undefined`: it was longer than it may be. */
  readonly fields: Fields | undefined;
  /** It ends the stream. */
  readonly ended: boolean;
}

/** Puts header blocks together and decompresses them (RFC 9113, 4.3). */
export class BlockReader {
  readonly #limit: number;
  readonly #decoder = new HpackDecoder();
  #id = 0;
  #ended = false;
  #chunks: Uint8Array[] = [];
  #size = 0;

  /** `limit`: bytes of a section, counted as RFC 9113, 6.5.2, says. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Stream whose block has begun and not come whole; else 0. */
  get within(): number {
    return this.#id;
  }

  /** HEADERS (RFC 9113, 6.2). */
  begin(
    flags: number,
    id: number,
    payload: Uint8Array,
  ): FieldBlock | undefined {
    let block = (flags & h2.PADDED) === 0 ? payload : unpad(payload);
    if ((flags & h2.PRIORITIZED) !== 0) {
      if (block.byteLength < 5) {
        throw new H2Error(
          h2.FRAME_SIZE_ERROR,
          "Cannot take HEADERS: it is too short",
        );
      }
      // Else it means nothing any more (RFC 9113, 5.3.2).
      if (h2.read31(block, 0) === id) {
        throw protocolError(`stream ${id} depends on itself`);
      }
      block = block.subarray(5);
    }
    const ended = (flags & h2.END_STREAM) !== 0;
    if ((flags & h2.END_HEADERS) !== 0) return this.#decode(id, ended, block);
    this.#id = id;
    this.#ended = ended;
    this.#chunks = [block];
    this.#size = block.byteLength;
    return undefined;
  }

  /** CONTINUATION (RFC 9113, 6.10). */
  goOn(flags: number, payload: Uint8Array): FieldBlock | undefined {
    if (this.#id === 0) throw protocolError("CONTINUATION of nothing");
    const chunks = this.#chunks;
    chunks.push(payload);
    this.#size += payload.byteLength;
    // Compressed it is hardly longer than it is: no need to keep more.
    if (
      this.#size > 2 * this.#limit + h2.FRAME_SIZE ||
      chunks.length > MAX_CONTINUATIONS
    ) {
      throw new H2Error(
        h2.ENHANCE_YOUR_CALM,
        `Cannot take a header block: it is longer than ${this.#limit} bytes`,
      );
    }
    if ((flags & h2.END_HEADERS) === 0) return undefined;
    const id = this.#id;
    this.#id = 0;
    this.#chunks = [];
    return this.#decode(id, this.#ended, concat(chunks));
  }

  #decode(id: number, ended: boolean, block: Uint8Array): FieldBlock {
    // Whatever the stream is, for it changes the table.
    return { id, ended, fields: this.#decoder.decode(block, this.#limit) };
  }
}
