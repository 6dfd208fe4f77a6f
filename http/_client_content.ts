import { Inbox } from "../streams/_inbox.ts";
import { ClosedError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import { append } from "./_append.ts";
import type { Tail } from "./_append.ts";

/** Bytes held for a reader that has not come; past it the peer is stopped. */
const HIGH = 64 * 1024;

/** What a piece counts at least, as one: its bytes may be few. */
const LEAST = 64;

/** Who moves the bytes of a body. */
export interface ContentOwner {
  /** No more for now. */
  pauseContent(): void;
  resumeContent(): void;
  /** Nobody wants the rest. */
  cancelContent(reason: unknown): void;
}

/** What a body can be read from. */
export interface Content {
  /** All of it, once. */
  collect(): Promise<Uint8Array>;
  /** The next piece; `undefined` at the end. */
  receive(): MaybePromise<Uint8Array | undefined>;
  /** Nobody wants the rest. */
  cancel(reason: unknown): void;
}

const EMPTY = new Uint8Array(0);

/** One piece of bytes, in a buffer that holds little else. */
export function join(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 0) return new Uint8Array(0);
  if (chunks.length === 1) {
    const [chunk] = chunks;
    return chunk.byteLength === chunk.buffer.byteLength ? chunk : chunk.slice();
  }
  let size = 0;
  for (const chunk of chunks) size += chunk.byteLength;
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}

/**
 * The body of a response as it comes from the connection. Until somebody
 * says how to read it, it is held, up to a bound. Gathering it makes no
 * stream and never stops the peer; reading it piece by piece does.
 */
export class IncomingContent implements Content {
  readonly #owner: ContentOwner;
  /** What nobody has come for, or what the inbox has no room for. */
  #chunks: Uint8Array[] = [];
  #tail: Tail | undefined;
  #fill = 0;
  #full = false;
  #ended = false;
  #failed = false;
  #error: unknown;
  #inbox: Inbox<Uint8Array> | undefined;
  #collecting = false;
  #cancelled = false;
  #held = false;
  #resolve: ((bytes: Uint8Array) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(owner: ContentOwner) {
    this.#owner = owner;
  }

  /** Whether nothing more will come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether it is being read as a whole, whoever holds the response. */
  get held(): boolean {
    return this.#held;
  }

  hold(): void {
    this.#held = true;
  }

  push(chunk: Uint8Array): void {
    if (this.#ended || this.#cancelled) return;
    const inbox = this.#inbox;
    if (inbox !== undefined && this.#chunks.length === 0 && !inbox.full) {
      if (!inbox.push(chunk)) this.#owner.pauseContent();
      return;
    }
    this.#tail = append(this.#chunks, chunk, this.#tail);
    if (this.#collecting || inbox !== undefined) return;
    this.#fill += chunk.byteLength;
    if (this.#fill >= HIGH && !this.#full) {
      this.#full = true;
      this.#owner.pauseContent();
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#chunks.length === 0) this.#inbox?.end();
    if (this.#collecting) this.#settle();
  }

  /** It broke off. `now`: what is held is dropped, too. */
  fail(error: unknown, now: boolean): void {
    if (this.#ended && !(now && this.#inbox !== undefined)) return;
    this.#ended = true;
    this.#failed = true;
    this.#error = error;
    if (now) {
      this.#inbox?.destroy(error);
      this.#chunks = [];
    } else if (this.#chunks.length === 0) {
      this.#inbox?.end(error);
    }
    if (this.#collecting) this.#settle();
  }

  /** All that came, when it all came and nobody has begun to read. */
  take(): Uint8Array | undefined {
    const chunks = this.#chunks;
    if (!this.#ended || this.#failed || this.#inbox !== undefined) {
      return undefined;
    }
    if (chunks.length > 1) return undefined;
    this.#chunks = [];
    return chunks.length === 0 ? EMPTY : chunks[0];
  }

  collect(): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#collecting = true;
      if (this.#ended) this.#settle();
      else if (this.#full) this.#owner.resumeContent();
    });
  }

  #settle(): void {
    const chunks = this.#chunks;
    this.#chunks = [];
    if (this.#failed) this.#reject?.(this.#error);
    else this.#resolve?.(join(chunks));
    this.#resolve = this.#reject = undefined;
  }

  receive(): MaybePromise<Uint8Array | undefined> {
    return (this.#inbox ?? this.#begin()).receive();
  }

  /** It as a stream; `onUse` is called whenever it is read or cancelled. */
  open(onUse: () => void): ReadableStream<Uint8Array> {
    return this.#begin(onUse).readable;
  }

  #begin(onUse?: () => void): Inbox<Uint8Array> {
    const inbox = this.#inbox = new Inbox<Uint8Array>({
      size: (chunk) => Math.max(chunk.byteLength, LEAST),
      high: HIGH,
      low: HIGH / 2,
      onRoom: () => this.#refill(),
      onPull: onUse,
      onCancel: (reason) => {
        onUse?.();
        this.cancel(
          reason ?? new ClosedError("Reading the body was cancelled"),
        );
      },
    });
    this.#move(inbox);
    // Small pieces weigh more there.
    if (inbox.full && !this.#ended) this.#owner.pauseContent();
    return inbox;
  }

  /** There is room again in the inbox. */
  #refill(): void {
    this.#move(this.#inbox!);
    if (this.#chunks.length === 0 && !this.#ended) this.#owner.resumeContent();
  }

  /** Moves into the inbox what it has room for, and the end behind that. */
  #move(inbox: Inbox<Uint8Array>): void {
    const chunks = this.#chunks;
    let moved = 0;
    while (moved < chunks.length && !inbox.full) inbox.push(chunks[moved++]);
    chunks.splice(0, moved);
    if (chunks.length > 0) return;
    if (this.#failed) inbox.end(this.#error);
    else if (this.#ended) inbox.end();
  }

  cancel(reason: unknown): void {
    this.#cancelled = true;
    this.#chunks = [];
    this.#inbox?.end();
    if (!this.#ended) this.#owner.cancelContent(reason);
  }
}

/** A body that another stream gives: a clone's, or a made-up response's. */
export class StreamContent implements Content {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  async collect(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return join(chunks);
      chunks.push(value);
    }
  }

  receive(): Promise<Uint8Array | undefined> {
    return this.#reader.read().then(({ done, value }) =>
      done ? undefined : value
    );
  }

  cancel(reason: unknown): void {
    this.#reader.cancel(reason).catch(() => {});
  }
}
