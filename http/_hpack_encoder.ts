import type { Fields } from "./_h1_types.ts";
import { encodeHuffman, huffmanLength } from "./_hpack_huffman.ts";
import {
  DEFAULT_TABLE_SIZE,
  DynamicTable,
  ENTRY_OVERHEAD,
  LAST_STATIC,
  STATIC_NAMES,
  STATIC_VALUES,
} from "./_hpack_table.ts";

/** Settings of an encoder. */
export interface HpackEncoderOptions {
  /**
   * The size of the dynamic table that is used at most, in bytes; never more
   * than the peer allows. @default {4096}
   */
  maxTableSize?: number;
}

/** How the values of a name are written. */
const INDEX = 0;
/** They change with every message: not into the table. */
const PLAIN = 1;
/** Secrets, which must not be compressed by anybody on the way (7.1.3). */
const NEVER = 2;
/** Secrets when they are short, and so can be guessed; else indexed. */
const SHORT_NEVER = 3;
/** The same, and what is long changes with every message. */
const SHORT_NEVER_PLAIN = 4;

/** Shorter secrets than this could be guessed by what they compress to. */
const GUESSABLE = 20;

const POLICIES: ReadonlyMap<string, number> = new Map([
  ["authorization", NEVER],
  ["proxy-authorization", NEVER],
  ["cookie", SHORT_NEVER],
  ["set-cookie", SHORT_NEVER_PLAIN],
  ...("age content-length content-location content-md5 content-range date " +
    "digest etag expires idempotency-key if-match if-modified-since " +
    "if-none-match if-range if-unmodified-since last-event-id last-modified " +
    "location range repr-digest retry-after sec-websocket-accept " +
    "sec-websocket-key server-timing traceparent tracestate x-request-id")
    .split(" ").map((name) => [name, PLAIN] as const),
]);

/**
 * A name whose values missed the table this often in a row gets no more into
 * it, but for a value that comes twice running.
 */
const MAX_MISSES = 8;

/** Values and literals up to this length are kept for when they come again. */
const MAX_KEPT = 128;

/** A buffer larger than this is not kept. */
const MAX_BUFFER = 64 * 1024;

/** What the encoder knows of a name. */
interface NameEntry {
  readonly policy: number;
  /** Its lowest index in the static table, 0 when it has none. */
  readonly index: number;
  /** Its values in the static table. */
  readonly statics: ReadonlyMap<string, number> | undefined;
  /** Numbers of its entries in the dynamic table by value. */
  numbers: Map<string, number> | undefined;
  /** Number of its newest entry in the dynamic table, -1 for none. */
  newest: number;
  /** The value that was indexed last, and its number, or ~index if static. */
  hit: string | undefined;
  hitAt: number;
  misses: number;
  /** The value that was written as a literal last … */
  last: string | undefined;
  /** … and the whole field as it was, if it says the same anywhere. */
  wire: Uint8Array | undefined;
}

/** The static table, by name. */
const STATICS: ReadonlyMap<
  string,
  { index: number; values: ReadonlyMap<string, number> | undefined }
> = staticNames();

function staticNames(): Map<
  string,
  { index: number; values: Map<string, number> | undefined }
> {
  const names = new Map<
    string,
    { index: number; values: Map<string, number> | undefined }
  >();
  for (let index = 1; index <= LAST_STATIC; index++) {
    const value = STATIC_VALUES[index];
    let entry = names.get(STATIC_NAMES[index]);
    if (entry === undefined) {
      entry = { index, values: undefined };
      names.set(STATIC_NAMES[index], entry);
    }
    (entry.values ??= new Map()).set(value, index);
  }
  return names;
}

/** The dynamic table of an encoder, which is searched by name and value. */
class SearchedTable extends DynamicTable {
  readonly names: Map<string, NameEntry> = new Map();

  /** What is known of a name; new names are not kept before they are in. */
  find(name: string): NameEntry {
    let entry = this.names.get(name);
    if (entry === undefined) {
      const fixed = STATICS.get(name);
      entry = {
        policy: POLICIES.get(name) ?? INDEX,
        index: fixed?.index ?? 0,
        statics: fixed?.values,
        numbers: undefined,
        newest: -1,
        hit: undefined,
        hitAt: -1,
        misses: 0,
        last: undefined,
        wire: undefined,
      };
      // These are a fixed number; others are kept while they are in the table.
      if (fixed !== undefined || entry.policy !== INDEX) {
        this.names.set(name, entry);
      }
    }
    return entry;
  }

  protected override evicted(
    number: number,
    name: string,
    value: string,
  ): void {
    const entry = this.names.get(name);
    if (entry === undefined) return;
    entry.numbers?.delete(value);
    if (entry.hitAt === number) entry.hit = undefined;
    if (entry.newest === number) {
      entry.newest = -1;
      if (entry.index === 0 && entry.policy === INDEX) this.names.delete(name);
    }
  }
}

/** Encodes the header blocks of one direction of a connection (RFC 7541). */
export class HpackEncoder {
  readonly #table: SearchedTable;
  readonly #maxTableSize: number;
  #peerTableSize = DEFAULT_TABLE_SIZE;
  /** Smallest size since the last block, if a size update is to be sent. */
  #smallest = -1;
  #buffer: Uint8Array = new Uint8Array(512);
  #at = 0;

  constructor(options: HpackEncoderOptions = {}) {
    this.#maxTableSize = options.maxTableSize ?? DEFAULT_TABLE_SIZE;
    const size = Math.min(this.#maxTableSize, DEFAULT_TABLE_SIZE);
    this.#table = new SearchedTable(size);
    // The peer believes in 4096 until it is told (4.2).
    if (size < DEFAULT_TABLE_SIZE) this.#smallest = size;
  }

  /**
   * Heeds the peer's SETTINGS_HEADER_TABLE_SIZE: the next block starts with
   * the size updates that it asks for, the smallest size and the last when it
   * went down and up again (4.2).
   */
  setPeerTableSize(size: number): void {
    if (!(size >= 0)) throw new RangeError(`Invalid table size: ${size}`);
    const next = Math.min(size, this.#maxTableSize);
    // A peer that takes back what it allowed waits for an update, even if we
    // never used that much (RFC 9113, 4.3.1).
    if (size < this.#peerTableSize || next !== this.#table.capacity) {
      this.#smallest = this.#smallest < 0
        ? next
        : Math.min(this.#smallest, next);
    }
    this.#peerTableSize = size;
    this.#table.resize(next);
  }

  /**
   * Encodes one header block. The result is a view that is valid until the
   * next call. Names must be in lower case. Fields named in `sensitive` are
   * written so that nobody on the way puts them into a table (7.1.3). Throws a
   * `TypeError`, and stays in step with the peer, when a character is not
   * Latin-1.
   */
  encode(fields: Fields, sensitive?: ReadonlySet<string>): Uint8Array {
    if (this.#buffer.length > MAX_BUFFER) this.#buffer = new Uint8Array(512);
    this.#at = 0;
    if (this.#smallest >= 0) this.#sizeUpdates();
    try {
      for (let i = 0; i < fields.length; i += 2) {
        this.#field(fields[i], fields[i + 1], sensitive);
      }
    } catch (error) {
      // This block is never sent. What it added, the peer will not have: both
      // tables are emptied by the next one.
      const size = this.#table.capacity;
      this.#table.resize(0);
      this.#table.resize(size);
      this.#smallest = 0;
      throw error;
    }
    return this.#buffer.subarray(0, this.#at);
  }

  #sizeUpdates(): void {
    const size = this.#table.capacity;
    if (this.#smallest < size) this.#integer(0x20, 0x1f, this.#smallest);
    this.#integer(0x20, 0x1f, size);
    this.#smallest = -1;
  }

  #field(
    name: string,
    value: string,
    sensitive: ReadonlySet<string> | undefined,
  ): void {
    const table = this.#table;
    // Room for the worst, so that nothing below has to look.
    const most = this.#at + name.length + value.length + 16;
    if (most > this.#buffer.length) this.#grow(most);
    const entry = table.find(name);
    if (sensitive !== undefined && sensitive.has(name)) {
      return this.#literal(0x10, 0x0f, entry, name, value);
    }
    if (entry.hit === value) {
      const at = entry.hitAt;
      entry.misses = 0;
      return this.#integer(0x80, 0x7f, at < 0 ? ~at : this.#index(at));
    }
    if (entry.policy !== INDEX) {
      const short = value.length < GUESSABLE;
      if (entry.policy === NEVER || (short && entry.policy >= SHORT_NEVER)) {
        return this.#literal(0x10, 0x0f, entry, name, value);
      }
      if (entry.policy !== SHORT_NEVER) {
        return this.#plain(entry, name, value);
      }
    }
    const fixed = entry.statics?.get(value);
    if (fixed !== undefined) {
      entry.hit = value;
      entry.hitAt = ~fixed;
      return this.#integer(0x80, 0x7f, fixed);
    }
    const number = entry.numbers?.get(value);
    if (number !== undefined) {
      entry.hit = value;
      entry.hitAt = number;
      entry.misses = 0;
      return this.#integer(0x80, 0x7f, this.#index(number));
    }
    // What takes most of the table would drive everything else out.
    const size = name.length + value.length + ENTRY_OVERHEAD;
    if (
      size > table.capacity * 3 / 4 ||
      (entry.misses >= MAX_MISSES && entry.last !== value)
    ) {
      return this.#plain(entry, name, value);
    }
    entry.misses++;
    this.#literal(0x40, 0x3f, entry, name, value);
    const next = table.next;
    table.insert(name, value);
    // Its other entries may just have been evicted, and it with them.
    table.names.set(name, entry);
    (entry.numbers ??= new Map()).set(value, next);
    entry.newest = next;
    entry.hit = value;
    entry.hitAt = next;
  }

  /** Index of an entry of the dynamic table (2.3.3). */
  #index(number: number): number {
    return LAST_STATIC + this.#table.next - number;
  }

  /** A literal without indexing; copied if it is the same as the last. */
  #plain(entry: NameEntry, name: string, value: string): void {
    const wire = entry.wire;
    if (wire !== undefined && entry.last === value) {
      const buffer = this.#buffer;
      const at = this.#at;
      for (let i = 0; i < wire.length; i++) buffer[at + i] = wire[i];
      this.#at = at + wire.length;
      return;
    }
    const start = this.#at;
    this.#literal(0x00, 0x0f, entry, name, value);
    entry.last = value.length <= MAX_KEPT ? value : undefined;
    // With an index of the dynamic table it would soon mean something else.
    const lasts = entry.index > 0 || entry.newest < 0;
    entry.wire = lasts && this.#at - start <= MAX_KEPT
      ? this.#buffer.slice(start, this.#at)
      : undefined;
  }

  /** A literal of the kind of these bits (6.2). */
  #literal(
    bits: number,
    mask: number,
    entry: NameEntry,
    name: string,
    value: string,
  ): void {
    const index = entry.index > 0
      ? entry.index
      : entry.newest >= 0
      ? this.#index(entry.newest)
      : 0;
    this.#integer(bits, mask, index);
    if (index === 0) this.#string(name);
    this.#string(value);
  }

  #string(text: string): void {
    const coded = huffmanLength(text);
    if (coded < 0) {
      throw new TypeError("Cannot encode a field: it is not Latin-1");
    }
    const length = text.length;
    if (coded < length) {
      this.#integer(0x80, 0x7f, coded);
      this.#at = encodeHuffman(text, this.#buffer, this.#at);
      return;
    }
    this.#integer(0x00, 0x7f, length);
    const buffer = this.#buffer;
    const at = this.#at;
    for (let i = 0; i < length; i++) buffer[at + i] = text.charCodeAt(i);
    this.#at = at + length;
  }

  /** An integer whose first byte has these bits besides (5.1). */
  #integer(bits: number, mask: number, value: number): void {
    const buffer = this.#buffer;
    if (value < mask) {
      buffer[this.#at++] = bits | value;
      return;
    }
    buffer[this.#at++] = bits | mask;
    value -= mask;
    while (value >= 0x80) {
      buffer[this.#at++] = value & 0x7f | 0x80;
      value = Math.floor(value / 0x80);
    }
    buffer[this.#at++] = value;
  }

  #grow(least: number): void {
    const buffer = new Uint8Array(Math.max(least, 2 * this.#buffer.length));
    buffer.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = buffer;
  }
}
