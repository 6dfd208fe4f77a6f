import { ClosedError, SizeLimitError } from "../streams/errors.ts";
import type { Inbox } from "../streams/_inbox.ts";
import type { Address, Wait } from "../streams/types.ts";
import { show } from "./_errors.ts";
import { joined } from "./_message.ts";

/** What an exact read asks of the connection that it reads. */
interface Owner {
  readonly remoteAddress: Address;
  /** Whether what is put back would be nobody's. */
  over(): boolean;
}

/** `read` of a connection: exactly so many bytes, out of chunks of any size. */
export class ExactRead {
  readonly #inbox: Inbox<Uint8Array>;
  readonly #owner: Owner;
  readonly #limit: number;
  pending = false;

  constructor(inbox: Inbox<Uint8Array>, limit: number, owner: Owner) {
    this.#inbox = inbox;
    this.#limit = limit;
    this.#owner = owner;
  }

  async read(n: number, options?: Wait): Promise<Uint8Array | undefined> {
    if (!Number.isInteger(n) || n < 0) {
      throw new RangeError(
        `Cannot read: n must be an integer of 0 or more: ${n}`,
      );
    }
    if (n > this.#limit) {
      throw new SizeLimitError(
        `Cannot read ${n} bytes at once: maxBuffered is ${this.#limit}`,
        { limit: this.#limit, address: this.#owner.remoteAddress },
      );
    }
    if (this.pending) {
      throw new TypeError("Cannot read: another read is pending");
    }
    if (n === 0) return new Uint8Array(0);
    this.pending = true;
    try {
      return await this.#readExactly(n, options);
    } finally {
      this.pending = false;
    }
  }

  async #readExactly(
    n: number,
    options?: Wait,
  ): Promise<Uint8Array | undefined> {
    const inbox = this.#inbox;
    const first = await inbox.receive(options);
    if (first === undefined) return undefined;
    if (first.byteLength >= n) return this.#split(first, n);
    const parts = [first];
    let filled = first.byteLength;
    while (filled < n) {
      let part;
      try {
        part = await inbox.receive(options);
      } catch (error) {
        // Given up: what was taken is the next one's.
        if (!this.#owner.over()) this.#putBack(parts);
        throw error;
      }
      if (part === undefined) {
        this.#putBack(parts);
        const address = this.#owner.remoteAddress;
        throw new ClosedError(
          `Cannot read ${n} bytes from ${show(address)}: ` +
            `it ended after ${filled}`,
          { code: "ERR_UNEXPECTED_END", address },
        );
      }
      parts.push(this.#split(part, n - filled));
      filled += parts[parts.length - 1].byteLength;
    }
    return joined(parts, n);
  }

  /** The beginning of a chunk; the rest goes back. */
  #split(chunk: Uint8Array, n: number): Uint8Array {
    if (chunk.byteLength <= n) return chunk;
    this.#inbox.unshift(chunk.subarray(n));
    return chunk.subarray(0, n);
  }

  #putBack(parts: Uint8Array[]): void {
    for (const part of parts.reverse()) this.#inbox.unshift(part);
  }
}
