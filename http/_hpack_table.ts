/** The static table (RFC 7541, appendix A), from index 1. */
const STATIC: readonly string[] = [
  ":authority",
  ":method=GET",
  ":method=POST",
  ":path=/",
  ":path=/index.html",
  ":scheme=http",
  ":scheme=https",
  ":status=200",
  ":status=204",
  ":status=206",
  ":status=304",
  ":status=400",
  ":status=404",
  ":status=500",
  "accept-charset",
  "accept-encoding=gzip, deflate",
  "accept-language",
  "accept-ranges",
  "accept",
  "access-control-allow-origin",
  "age",
  "allow",
  "authorization",
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "etag",
  "expect",
  "expires",
  "from",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "link",
  "location",
  "max-forwards",
  "proxy-authenticate",
  "proxy-authorization",
  "range",
  "referer",
  "refresh",
  "retry-after",
  "server",
  "set-cookie",
  "strict-transport-security",
  "transfer-encoding",
  "user-agent",
  "vary",
  "via",
  "www-authenticate",
];

/** Names of the static table by index; there is none at 0. */
export const STATIC_NAMES: readonly string[] = [
  "",
  ...STATIC.map((entry) => entry.split("=")[0]),
];

/** Values of the static table by index, mostly empty. */
export const STATIC_VALUES: readonly string[] = [
  "",
  ...STATIC.map((entry) => entry.split("=")[1] ?? ""),
];

/** The largest index of the static table. */
export const LAST_STATIC = 61;

/** What a table holds before anybody says otherwise (RFC 9113, 6.5.2). */
export const DEFAULT_TABLE_SIZE = 4096;

/** Size of an entry beyond its name and value (4.1). */
export const ENTRY_OVERHEAD = 32;

/** How many entries a table has room for at first. */
const FIRST_ROOM = 16;

/**
 * The dynamic table (RFC 7541, 2.3.2). Entries are numbered as they come,
 * from 0, so that a number stays while an index (which counts back from the
 * newest) moves on.
 */
export class DynamicTable {
  #names: string[] = new Array(FIRST_ROOM).fill("");
  #values: string[] = new Array(FIRST_ROOM).fill("");
  #mask = FIRST_ROOM - 1;
  #capacity: number;
  #size = 0;
  #next = 0;
  #count = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Number of the entry that comes next. */
  get next(): number {
    return this.#next;
  }

  /** How many entries there are: numbers `next - count` to `next - 1`. */
  get count(): number {
    return this.#count;
  }

  /** Size of all entries by 4.1. */
  get size(): number {
    return this.#size;
  }

  /** The size that must not be passed. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Name of an entry that is there, by number. */
  name(number: number): string {
    return this.#names[number & this.#mask];
  }

  /** Value of an entry that is there, by number. */
  value(number: number): string {
    return this.#values[number & this.#mask];
  }

  /** Changes the size that must not be passed, and evicts what is over (4.3). */
  resize(capacity: number): void {
    this.#capacity = capacity;
    this.#evict(capacity);
  }

  /**
   * Adds an entry; evicts before it does (4.4). An entry that is larger than
   * the table leaves it empty and is not added: `false`.
   */
  insert(name: string, value: string): boolean {
    const size = name.length + value.length + ENTRY_OVERHEAD;
    this.#evict(this.#capacity - size);
    if (size > this.#capacity) return false;
    if (this.#count > this.#mask) this.#grow();
    const slot = this.#next++ & this.#mask;
    this.#names[slot] = name;
    this.#values[slot] = value;
    this.#count++;
    this.#size += size;
    return true;
  }

  /** Told of each entry that goes. */
  protected evicted(_number: number, _name: string, _value: string): void {}

  /** Evicts the oldest until the rest is not larger than `size`. */
  #evict(size: number): void {
    while (this.#size > size && this.#count > 0) {
      const number = this.#next - this.#count--;
      const slot = number & this.#mask;
      const name = this.#names[slot];
      const value = this.#values[slot];
      // Not kept alive by a slot that may not be used again.
      this.#names[slot] = this.#values[slot] = "";
      this.#size -= name.length + value.length + ENTRY_OVERHEAD;
      this.evicted(number, name, value);
    }
  }

  #grow(): void {
    const names = this.#names;
    const values = this.#values;
    const mask = 2 * names.length - 1;
    this.#names = new Array(mask + 1).fill("");
    this.#values = new Array(mask + 1).fill("");
    for (let i = this.#next - this.#count; i < this.#next; i++) {
      this.#names[i & mask] = names[i & this.#mask];
      this.#values[i & mask] = values[i & this.#mask];
    }
    this.#mask = mask;
  }
}
