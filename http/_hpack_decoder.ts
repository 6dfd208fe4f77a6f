import type { Fields } from "./_h1_types.ts";
import { decodeLatin1 } from "./_h1_tables.ts";
import { decodeHuffman, HpackError } from "./_hpack_huffman.ts";
import {
  DEFAULT_TABLE_SIZE,
  DynamicTable,
  ENTRY_OVERHEAD,
  LAST_STATIC,
  STATIC_NAMES,
  STATIC_VALUES,
} from "./_hpack_table.ts";

export { HpackError } from "./_hpack_huffman.ts";

/** Settings of a decoder. */
export interface HpackDecoderOptions {
  /**
   * The size of the dynamic table that we advertise in
   * SETTINGS_HEADER_TABLE_SIZE, in bytes. Below 4096 the peer must know of it
   * before its first block. @default {4096}
   */
  maxTableSize?: number;
}

/** Strings this long, as they are on the wire, are remembered. */
const MAX_REMEMBERED = 64;
/** How many strings are remembered, a power of two. */
const MEMORY = 32;

/** A string as it was on the wire, and what it means. */
interface Remembered {
  readonly wire: Uint8Array;
  readonly text: string;
}

/** Decodes the header blocks of one direction of a connection (RFC 7541). */
export class HpackDecoder {
  readonly #table: DynamicTable;
  readonly #maxTableSize: number;
  /** Strings that come again and again without being indexed. */
  #memory: (Remembered | undefined)[] | undefined;
  #block: Uint8Array = new Uint8Array();
  #at = 0;

  constructor(options: HpackDecoderOptions = {}) {
    this.#maxTableSize = options.maxTableSize ?? DEFAULT_TABLE_SIZE;
    // More than the default only from the peer's size update on (4.2).
    this.#table = new DynamicTable(
      Math.min(this.#maxTableSize, DEFAULT_TABLE_SIZE),
    );
  }

  /**
   * Decodes one whole header block. When its fields are larger than
   * `maxListSize` (names, values and 32 a field: RFC 9113, 6.5.2), what is
   * left is decoded all the same, as the table must stay in step, but nothing
   * more is stored, and the result is `undefined`. Throws `HpackError`.
   */
  decode(block: Uint8Array, maxListSize: number): Fields | undefined {
    const table = this.#table;
    const end = block.length;
    const fields: Fields = [];
    let size = 0;
    let over = false;
    this.#block = block;
    this.#at = 0;
    this.#sizeUpdates();
    while (this.#at < end) {
      const first = block[this.#at];
      let name: string;
      let value: string;
      if (first >= 0x80) { // 6.1
        let index = first & 0x7f;
        if (index === 0x7f) index = this.#integer(0x7f);
        else this.#at++;
        if (index <= LAST_STATIC) {
          if (index === 0) throw new HpackError("a field has index 0");
          name = STATIC_NAMES[index];
          value = STATIC_VALUES[index];
        } else {
          const number = this.#number(index);
          name = table.name(number);
          value = table.value(number);
        }
      } else if (first >= 0x40) { // 6.2.1
        const index = this.#integer(0x3f);
        name = index === 0 ? this.#string(0) : this.#name(index);
        value = this.#string(-1);
        table.insert(name, value);
      } else if (first < 0x20) { // 6.2.2, and 6.2.3 from 0x10
        const index = this.#integer(0x0f);
        name = index === 0 ? this.#string(0) : this.#name(index);
        value = this.#string(first < 0x10 ? index : -1);
      } else {
        throw new HpackError("a size update comes after a field");
      }
      size += name.length + value.length + ENTRY_OVERHEAD;
      if (size <= maxListSize) {
        fields.push(name, value);
      } else if (!over) {
        over = true;
        fields.length = 0;
      }
    }
    return over ? undefined : fields;
  }

  /** Size updates, which are at the start of a block (4.2 and 6.3). */
  #sizeUpdates(): void {
    while (
      this.#at < this.#block.length && (this.#block[this.#at] & 0xe0) === 0x20
    ) {
      const size = this.#integer(0x1f);
      if (size > this.#maxTableSize) {
        throw new HpackError(
          `a size update to ${size} is more than ${this.#maxTableSize}`,
        );
      }
      this.#table.resize(size);
    }
  }

  /** Number of the entry of the dynamic table that has this index (2.3.3). */
  #number(index: number): number {
    const back = index - LAST_STATIC;
    if (back > this.#table.count) {
      throw new HpackError(`index ${index} is not in the tables`);
    }
    return this.#table.next - back;
  }

  /** Name of an entry, by an index that is not 0. */
  #name(index: number): string {
    return index <= LAST_STATIC
      ? STATIC_NAMES[index]
      : this.#table.name(this.#number(index));
  }

  /**
   * An integer (5.1) whose first byte has these bits for it. None that is
   * allowed to be large needs more than four bytes behind the first.
   */
  #integer(mask: number): number {
    const block = this.#block;
    let value = block[this.#at++] & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.#at === block.length) throw cut();
      const byte = block[this.#at++];
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HpackError("an integer has more than 5 bytes");
  }

  /**
   * A string (5.2). `kind` tells strings apart that are remembered: the index
   * of the name whose value it is, 0 for a name; -1 is not remembered.
   */
  #string(kind: number): string {
    const block = this.#block;
    if (this.#at === block.length) throw cut();
    const huffman = block[this.#at] >= 0x80;
    const length = this.#integer(0x7f);
    const start = this.#at;
    const end = start + length;
    if (end > block.length) throw cut();
    this.#at = end;
    if (!huffman) return decodeLatin1(block, start, end);
    if (kind < 0 || length > MAX_REMEMBERED) {
      return decodeHuffman(block, start, end);
    }
    const slot = (kind * 5 + length) & (MEMORY - 1);
    const memory = this.#memory ??= new Array(MEMORY).fill(undefined);
    const last = memory[slot];
    if (last !== undefined && isAt(last.wire, block, start, length)) {
      return last.text;
    }
    const text = decodeHuffman(block, start, end);
    memory[slot] = { wire: block.slice(start, end), text };
    return text;
  }
}

/** Whether the bytes at `start` are these, and as many. */
function isAt(
  bytes: Uint8Array,
  block: Uint8Array,
  start: number,
  length: number,
): boolean {
  if (bytes.length !== length) return false;
  for (let i = 0; i < length; i++) {
    if (bytes[i] !== block[start + i]) return false;
  }
  return true;
}

function cut(): HpackError {
  return new HpackError("it ends within a field");
}
