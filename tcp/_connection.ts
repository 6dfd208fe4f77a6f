import { BaseDuplex, toError, toNetError } from "../streams/_duplex.ts";
import {
  ClosedError,
  SizeLimitError,
  TimeoutError,
} from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type {
  Address,
  Bytes,
  CloseInfo,
  MaybePromise,
  Wait,
} from "../streams/types.ts";
import { show } from "./_errors.ts";
import type { TlsInfo, Transport } from "./_transport.ts";
import type { Connection } from "./types.ts";
import { Writer } from "./_writer.ts";

/** How long `close` waits for the peer's FIN, in ms. */
const CLOSE_TIMEOUT = 15_000;

export interface ConnectionOptions {
  /** @default 64 KiB */
  highWaterMark?: number;
  /** @default 16 MiB */
  maxBuffered?: number;
  /** Milliseconds without a byte either way before it is destroyed. */
  idleTimeout?: number;
}

const encoder = new TextEncoder();

/** The bytes of a message; `undefined` when it is none. Never the caller's. */
export function ownBytes(message: Bytes): Uint8Array | undefined {
  if (typeof message === "string") return encoder.encode(message);
  if (message instanceof ArrayBuffer) return new Uint8Array(message.slice(0));
  if (ArrayBuffer.isView(message)) {
    const { buffer, byteOffset, byteLength } = message;
    return new Uint8Array(buffer, byteOffset, byteLength).slice();
  }
  return undefined;
}

/** A `Connection` over any transport. */
export class TcpConnection extends BaseDuplex<Uint8Array, Bytes, CloseInfo>
  implements Connection {
  readonly #transport: Transport;
  readonly #writer: Writer;
  readonly #idleTimeout: number;
  #bytesRead = 0;
  #bytesWritten = 0;
  #error: NetError | undefined;
  #over = false;
  /** `close` was called: what still comes is read and dropped. */
  #leaving = false;
  /** Resolves when everything written, and FIN, is with the kernel. */
  #flushed: (() => void)[] = [];
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #lastActive = 0;

  /** `head` is what was read before this took the transport over. */
  constructor(
    transport: Transport,
    options: ConnectionOptions = {},
    head?: Uint8Array,
  ) {
    const { highWaterMark = 65_536, maxBuffered = 16_777_216 } = options;
    super({
      size: (chunk) => chunk.byteLength,
      high: highWaterMark,
      low: highWaterMark >> 1,
      onRoom: () => this.#transport.resume(),
    }, {
      full: () => this.#writer.full,
      accept: (message) => {
        const bytes = message as Uint8Array;
        this.#bytesWritten += bytes.byteLength;
        this.#writer.write(bytes);
      },
      size: (message) => (message as Uint8Array).byteLength,
      maxPending: () => maxBuffered - this.#writer.buffered,
      onOverflow: () =>
        this.destroy(
          new SizeLimitError(
            `Sending to ${show(transport.remoteAddress)} was stopped: more ` +
              `than ${maxBuffered} bytes wait; await what send gives`,
            { limit: maxBuffered, address: transport.remoteAddress },
          ),
        ),
    });
    this.#transport = transport;
    this.#writer = new Writer(transport, highWaterMark);
    this.#idleTimeout = options.idleTimeout ?? 0;
    if (this.#idleTimeout > 0) this.#watchIdle();
    if (head !== undefined && head.byteLength > 0) this.#take(head);
    transport.attach({
      data: (chunk) => this.#take(chunk),
      end: () => {
        this.inbox.end();
        if (this.#leaving) this.#finishLeaving();
      },
      drain: () => {
        this.#active();
        this.#writer.drained();
        this.outbox.admit();
        this.#tellFlushed();
      },
      close: (error) => this.#end(error),
    });
  }

  get remoteAddress(): Address {
    return this.#transport.remoteAddress;
  }

  get localAddress(): Address {
    return this.#transport.localAddress;
  }

  get tls(): TlsInfo | undefined {
    return this.#transport.tls;
  }

  get raw(): unknown {
    return this.#transport.raw;
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  get buffered(): number {
    return this.#writer.buffered + this.outbox.pending;
  }

  override send(message: Bytes, options?: Wait): MaybePromise<boolean> {
    const bytes = ownBytes(message);
    if (bytes === undefined) {
      return Promise.reject(
        new TypeError(
          `Cannot send: a message is a string or bytes: ${typeof message}`,
        ),
      );
    }
    return this.outbox.send(bytes, options);
  }

  async read(n: number): Promise<Uint8Array | undefined> {
    if (!Number.isInteger(n) || n < 0) {
      throw new RangeError(
        `Cannot read: n must be an integer of 0 or more: ${n}`,
      );
    }
    if (n === 0) return new Uint8Array(0);
    let chunk = await this.receive();
    if (chunk === undefined) return undefined;
    if (chunk.byteLength === n) return chunk;
    if (chunk.byteLength > n) {
      this.inbox.unshift(chunk.subarray(n));
      return chunk.subarray(0, n);
    }
    const bytes = new Uint8Array(n);
    let filled = 0;
    for (;;) {
      const part = chunk.subarray(0, n - filled);
      bytes.set(part, filled);
      filled += part.byteLength;
      if (part.byteLength < chunk.byteLength) {
        this.inbox.unshift(chunk.subarray(part.byteLength));
      }
      if (filled === n) return bytes;
      const next = await this.receive();
      if (next === undefined) {
        throw new ClosedError(
          `Cannot read ${n} bytes from ${show(this.remoteAddress)}: ` +
            `it ended after ${filled}`,
          { code: "ERR_UNEXPECTED_END", address: this.remoteAddress },
        );
      }
      chunk = next;
    }
  }

  async closeWrite(): Promise<void> {
    // Those who wait for room were here first.
    await this.outbox.drained();
    this.outbox.close();
    this.#writer.end();
    await this.#flush();
  }

  protected finish(): Promise<void> {
    return this.closeWrite();
  }

  async close(options: { timeout?: number } = {}): Promise<void> {
    if (this.#over || this.#leaving) {
      await this.closed;
      return;
    }
    this.#leaving = true;
    const timeout = options.timeout ?? CLOSE_TIMEOUT;
    const timer = setTimeout(() => {
      this.destroy(
        new TimeoutError(
          `Cannot close the connection to ${show(this.remoteAddress)} ` +
            `within ${timeout} ms: the peer has not finished`,
          { phase: "close", address: this.remoteAddress },
        ),
      );
    }, timeout);
    // Nobody will receive it: the peer must be able to finish all the same.
    if (!this.inbox.ended) this.#transport.resume();
    await this.closeWrite();
    if (this.inbox.ended) this.#finishLeaving();
    await this.closed;
    clearTimeout(timer);
  }

  #finishLeaving(): void {
    if (!this.#writer.ending || !this.#writer.idle) return;
    this.#transport.destroy();
  }

  destroy(reason?: unknown): void {
    if (this.#over) return;
    this.#stop(reason);
    this.#transport.destroy();
  }

  reset(): void {
    if (this.#over) return;
    this.#stop(
      new ClosedError(`Connection to ${show(this.remoteAddress)} was reset`, {
        code: "ECONNRESET",
        address: this.remoteAddress,
      }),
    );
    this.#transport.reset();
  }

  /** Whether this error is the connection's own end, not somebody's mistake. */
  broke(error: unknown): boolean {
    return error === this.#error;
  }

  #stop(reason: unknown): void {
    const message = `Connection to ${show(this.remoteAddress)} was destroyed`;
    this.#error ??= toNetError(reason, message);
    this.inbox.destroy(toError(reason, message));
    this.#release();
  }

  /** No more sends; whoever waits for one is told. */
  #release(): void {
    this.#over = true;
    clearTimeout(this.#idleTimer);
    this.#writer.drop();
    this.outbox.close();
    this.#tellFlushed();
  }

  #take(chunk: Uint8Array): void {
    this.#bytesRead += chunk.byteLength;
    this.#active();
    if (this.#leaving) return;
    if (!this.inbox.push(chunk)) this.#transport.pause();
  }

  #end(error: NetError | undefined): void {
    const unfinished = !this.inbox.ended && !this.#leaving;
    this.#error ??= error ?? (unfinished
      ? new ClosedError(
        `Connection to ${show(this.remoteAddress)} ended unfinished`,
        { address: this.remoteAddress },
      )
      : undefined);
    const clean = this.#error === undefined;
    // What has come is still there to receive; then the reason.
    this.inbox.end(this.#error);
    if (!this.#over) this.#release();
    this.settle(clean ? { clean } : { clean, error: this.#error! });
  }

  /** Resolves once all that was written is with the kernel, or never will. */
  #flush(): Promise<void> {
    this.#writer.flush();
    if (this.#over || (this.#writer.idle && this.outbox.waiting === 0)) {
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#flushed.push(resolve));
  }

  #tellFlushed(): void {
    if (this.#flushed.length === 0) return;
    if (!this.#over && !(this.#writer.idle && this.outbox.waiting === 0)) {
      return;
    }
    const waiting = this.#flushed;
    this.#flushed = [];
    for (const resolve of waiting) resolve();
  }

  #active(): void {
    if (this.#idleTimeout > 0) this.#lastActive = performance.now();
  }

  #watchIdle(): void {
    this.#active();
    const look = () => {
      const left = this.#lastActive + this.#idleTimeout - performance.now();
      if (left > 0) {
        this.#idleTimer = setTimeout(look, left);
        return;
      }
      this.destroy(
        new TimeoutError(
          `Connection to ${show(this.remoteAddress)} was idle for ` +
            `${this.#idleTimeout} ms`,
          { phase: "idle", address: this.remoteAddress },
        ),
      );
    };
    this.#idleTimer = setTimeout(look, this.#idleTimeout);
  }
}
