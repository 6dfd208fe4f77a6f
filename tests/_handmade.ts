import type { Transport, TransportEvents } from "../tcp/_transport.ts";

const address = { transport: "tcp", hostname: "127.0.0.1", port: 1 } as const;

/** A transport that does nothing but by the hand of a test. */
export class Handmade implements Transport {
  readonly remoteAddress = address;
  readonly localAddress = address;
  readonly raw: unknown = undefined;
  readonly recycled: Uint8Array[] = [];
  readonly written: Uint8Array[] = [];
  /** What `write` took, and the kernel has not. */
  readonly kept: Uint8Array[] = [];
  events!: TransportEvents;
  paused = false;
  over = false;
  finished = false;
  /** How many writes the kernel takes. */
  room = Infinity;

  get pending(): number {
    return this.kept.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }
  get lastWritten(): number | undefined {
    return this.written[this.written.length - 1]?.[0];
  }
  attach(events: TransportEvents): void {
    this.events = events;
  }
  write(bytes: Uint8Array): boolean {
    if (this.room > 0 && this.kept.length === 0) {
      this.room--;
      this.written.push(bytes.slice());
      return true;
    }
    this.kept.push(bytes);
    return false;
  }
  /** The kernel has it all. */
  drain(): void {
    for (const bytes of this.kept.splice(0)) this.written.push(bytes.slice());
    this.events.drain();
  }
  recycle(chunk: Uint8Array): void {
    this.recycled.push(chunk);
    chunk.fill(0);
  }
  /** What it read into memory that it uses again. */
  lend(size: number, value: number): void {
    const chunk = new Uint8Array(size).fill(value);
    this.events.data(chunk, true);
    chunk.fill(0);
  }
  /** What it read, for good. */
  give(size: number, value: number): Uint8Array {
    const chunk = new Uint8Array(size).fill(value);
    this.events.data(chunk);
    return chunk;
  }
  end(): void {
    this.finished = true;
  }
  destroy(): void {
    if (this.over) return;
    this.over = true;
    queueMicrotask(() => this.events.close());
  }
  reset(): void {
    this.destroy();
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  setNoDelay(): void {}
  setKeepAlive(): void {}
  ref(): void {}
  unref(): void {}
}
