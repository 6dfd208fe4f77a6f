/** Longest ClientHello that is read, in bytes; they have some hundreds. */
const MAX_HELLO = 65_536;
/** Most bytes that it may come in, with the headers of its records. */
const MAX_BYTES = 2 * MAX_HELLO;
/** Longest plain record (RFC 8446 §5.1). */
const MAX_RECORD = 16_384;

/** Reads numbers and vectors; what is too short is an error. */
class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.byteLength - this.#at;
  }

  take(size: number): Uint8Array {
    if (size > this.left) throw new RangeError("Too short");
    return this.#bytes.subarray(this.#at, this.#at += size);
  }

  /** A number of so many bytes. */
  number(size: number): number {
    return this.take(size).reduce((sum, byte) => sum * 256 + byte, 0);
  }

  /** What has its length in front, in so many bytes. */
  vector(size: number): Uint8Array {
    return this.take(this.number(size));
  }
}

/** The name in an extension `server_name` (RFC 6066 §3). */
function nameIn(extension: Uint8Array): string {
  const outer = new Cursor(extension);
  const list = new Cursor(outer.vector(2));
  const type = list.number(1);
  const name = list.vector(2);
  if (outer.left > 0 || list.left > 0 || type !== 0 || name.length === 0) {
    throw new RangeError("Not one name");
  }
  return String.fromCharCode(...name.subarray(0, 256));
}

/** The name in the body of a ClientHello (RFC 8446 §4.1.2), if it has one. */
function nameOf(body: Uint8Array): string | undefined {
  const hello = new Cursor(body);
  hello.take(2 + 32);
  hello.vector(1);
  hello.vector(2);
  hello.vector(1);
  if (hello.left === 0) return undefined;
  const extensions = new Cursor(hello.vector(2));
  if (hello.left > 0) throw new RangeError("Too long");
  const seen = new Set<number>();
  let name: string | undefined;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const value = extensions.vector(2);
    if (seen.has(type)) throw new RangeError("Given twice");
    seen.add(type);
    if (type === 0) name = nameIn(value);
  }
  return name;
}

/**
 * Finds the name that a TLS client asks for in its first bytes, which stay as
 * they are for whoever does the handshake. What is no ClientHello has no name:
 * to refuse it is the handshake's affair.
 */
export class HelloReader {
  #total = 0;
  readonly #header = new Uint8Array(5);
  #headerFilled = 0;
  #recordLeft = 0;
  #message = new Uint8Array(1024);
  #filled = 0;
  #done = false;
  #name: string | undefined;

  /** The name, once `push` has given `true`. */
  get name(): string | undefined {
    return this.#name;
  }

  /** Takes the next bytes; `true` when no more are needed. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    this.#total += chunk.byteLength;
    while (!this.#done && at < chunk.byteLength) {
      if (this.#recordLeft === 0) {
        this.#header[this.#headerFilled++] = chunk[at++];
        if (this.#headerFilled === 5) this.#begin();
        continue;
      }
      const part = chunk.subarray(at, at + this.#recordLeft);
      at += part.byteLength;
      this.#recordLeft -= part.byteLength;
      this.#add(part);
    }
    return this.#done ||= this.#total > MAX_BYTES;
  }

  /** A record's header is whole. */
  #begin(): void {
    this.#headerFilled = 0;
    const [type, major, , high, low] = this.#header;
    this.#recordLeft = high * 256 + low;
    if (
      type !== 22 || major !== 3 || this.#recordLeft === 0 ||
      this.#recordLeft > MAX_RECORD
    ) this.#done = true;
  }

  #add(part: Uint8Array): void {
    const filled = this.#filled + part.byteLength;
    if (filled > this.#message.byteLength) {
      const larger = new Uint8Array(Math.max(filled, this.#filled * 2));
      larger.set(this.#message.subarray(0, this.#filled));
      this.#message = larger;
    }
    this.#message.set(part, this.#filled);
    this.#filled = filled;
    const [type, a, b, c] = this.#message;
    if (type !== 1) {
      this.#done = true;
      return;
    }
    if (filled < 4) return;
    const size = a * 65_536 + b * 256 + c;
    if (size > MAX_HELLO) this.#done = true;
    if (filled < 4 + size) return;
    this.#done = true;
    try {
      this.#name = nameOf(this.#message.subarray(4, 4 + size));
    } catch {
      // Malformed: the handshake says so.
    }
  }
}
