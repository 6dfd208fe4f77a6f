/** Bytes that wait for those that follow them. */
export class Carry {
  #buffer: Uint8Array = new Uint8Array(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What is held, until the next `append`. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  append(bytes: Uint8Array): void {
    const length = this.#length + bytes.byteLength;
    if (length > this.#buffer.byteLength) {
      const size = Math.max(length, this.#buffer.byteLength * 2, 256);
      const buffer = new Uint8Array(size);
      buffer.set(this.bytes);
      this.#buffer = buffer;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = length;
  }

  /** Drops the first `n` bytes. */
  skip(n: number): void {
    this.#buffer.copyWithin(0, n, this.#length);
    this.#length -= n;
  }

  clear(): void {
    this.#length = 0;
    // A long message once must not be paid for ever after.
    if (this.#buffer.byteLength > 65_536) this.#buffer = new Uint8Array(0);
  }
}
