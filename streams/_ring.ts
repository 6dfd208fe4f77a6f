/** What an empty ring that never held anything has: it is never written. */
const none: never[] = [];

/** A queue in a circular buffer: push and shift cost a few nanoseconds. */
export class Ring<T> {
  #items: (T | undefined)[] = none;
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  /** Puts an item back in front of the others. */
  unshift(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#items.length - 1);
    this.#items[this.#head] = item;
    this.#length++;
  }

  /** The first item; `undefined` when there is none. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#head];
  }

  /** Moves all items, in order, to the end of a list. */
  drainInto(list: T[]): void {
    const items = this.#items;
    const mask = items.length - 1;
    for (let i = 0; i < this.#length; i++) {
      const at = (this.#head + i) & mask;
      list.push(items[at] as T);
      items[at] = undefined;
    }
    this.#head = 0;
    this.#length = 0;
  }

  clear(): void {
    this.#items = none;
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const size = this.#items.length;
    const items: (T | undefined)[] = new Array(size === 0 ? 8 : size * 2);
    for (let i = 0; i < size; i++) {
      items[i] = this.#items[(this.#head + i) & (size - 1)];
    }
    this.#items = items;
    this.#head = 0;
  }
}
