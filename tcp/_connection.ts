import { BaseDuplex, toError, toNetError } from "../streams/_duplex.ts";
import { flow, intake } from "../streams/_flow.ts";
import type { Intake } from "../streams/_flow.ts";
import { setIntake, setPipeTo } from "../streams/_pipe_to.ts";
import { refuseWait } from "../streams/_waiters.ts";
import { Ring } from "../streams/_ring.ts";
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
import { ExactRead } from "./_exact_read.ts";
import { Inflow, Outflow } from "./_flow.ts";
import { idledOut, IdleWatch } from "./_idle.ts";
import { isShared, noMessage, viewOf } from "./_message.ts";
import type { TlsInfo, Transport } from "./_transport.ts";
import {
  checkStart,
  injected,
  prepareStart,
  START_TIMEOUT,
  startTooLate,
  takenOver,
} from "./_start_tls.ts";
import type { Shake } from "./_start_tls.ts";
import type { Connection, StartTlsOptions } from "./types.ts";
import { COPY_LIMIT, Writer } from "./_writer.ts";

/** How long `close` waits for the peer's FIN, in ms. */
const CLOSE_TIMEOUT = 15_000;
/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;

export interface ConnectionOptions {
  /** @default 64 KiB */
  highWaterMark?: number;
  /** @default 16 MiB */
  maxBuffered?: number;
  /** Milliseconds without a byte either way before it is destroyed. */
  idleTimeout?: number;
  /** The name that was connected to, for TLS. */
  host?: string;
  /** Counters to go on from. */
  bytesRead?: number;
  bytesWritten?: number;
}

const encoder = new TextEncoder();

/** A large message on its way, and the sender whose buffer it is. */
interface Lent {
  /** `bytesWritten` behind it. */
  readonly mark: number;
  readonly resolve: (sent: boolean) => void;
}

/**
 * A `Connection` over any transport. Once `send` has given its result the
 * buffer is the sender's again: small messages are copied, of large ones the
 * result waits until the kernel has them.
 */
export class TcpConnection extends BaseDuplex<Uint8Array, Bytes, CloseInfo>
  implements Connection {
  readonly #transport: Transport;
  readonly #writer: Writer;
  readonly #maxBuffered: number;
  readonly #idle: IdleWatch | undefined;
  readonly #lent = new Ring<Lent>();
  readonly #options: ConnectionOptions;
  #bytesRead: number;
  #bytesWritten: number;
  #error: NetError | undefined;
  #over = false;
  /** FIN was asked for: whoever waits to send goes first, nobody else. */
  #finishing = false;
  /** `close` was called. */
  #leaving = false;
  /** What comes is dropped: nobody here receives it any more. */
  #deaf = false;
  /** The peer has said FIN. */
  #ended = false;
  #exact: ExactRead | undefined;
  #outflow: Outflow | undefined;
  #readable: ReadableStream<Uint8Array> | undefined;
  #writable: WritableStream<Bytes> | undefined;
  #inflow: Inflow | undefined;
  /** Called when everything written, and FIN, is with the kernel. */
  #flushed: (() => void)[] = [];
  #closeTimer: ReturnType<typeof setTimeout> | undefined;
  #closeBy = Infinity;
  /** Set once TLS is being started: what other calls are refused with. */
  #taken: NetError | undefined;
  /** Settles when that has succeeded or failed; it does not reject. */
  #starting: Promise<unknown> | undefined;
  /** What goes on in place of this. */
  #next: TcpConnection | undefined;

  /** `head` is what was read before this took the transport over. */
  constructor(
    transport: Transport,
    options: ConnectionOptions = {},
    head?: Uint8Array,
  ) {
    const { maxBuffered = 16_777_216, idleTimeout = 0 } = options;
    const highWaterMark = Math.max(1, options.highWaterMark ?? 65_536);
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
        this.#writer.write(
          bytes.byteLength > COPY_LIMIT ? new Uint8Array(bytes) : bytes,
        );
      },
      size: (message) => (message as Uint8Array).byteLength,
      // One sender who waits for what send gives may wait, however much it is.
      maxPending: () =>
        this.outbox.waiting === 0
          ? Infinity
          : maxBuffered - this.#writer.buffered,
      onOverflow: () => this.#overflow(),
    });
    this.#transport = transport;
    this.#options = options;
    this.#bytesRead = options.bytesRead ?? 0;
    this.#bytesWritten = options.bytesWritten ?? 0;
    this.#writer = new Writer(
      transport,
      highWaterMark,
      () => this.#roomy(),
    );
    this.#maxBuffered = maxBuffered;
    if (idleTimeout > 0) {
      this.#idle = new IdleWatch(
        idleTimeout,
        () => this.destroy(idledOut(this.remoteAddress, idleTimeout)),
      );
    }
    if (head !== undefined && head.byteLength > 0) this.#take(head);
    const isBorrowing = () => this.#outflow?.open === true;
    transport.attach({
      get borrows() {
        return isBorrowing();
      },
      data: (chunk, lent = false) => this.#take(chunk, lent),
      end: () => {
        this.#ended = true;
        this.inbox.end();
      },
      drain: () => this.#drained(),
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
    return this.#next?.bytesRead ?? this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#next?.bytesWritten ?? this.#bytesWritten;
  }

  get buffered(): number {
    return this.#writer.buffered + this.outbox.pending;
  }

  override send(message: Bytes, options?: Wait): MaybePromise<boolean> {
    const now = options === undefined && !this.#finishing && !this.#over &&
      this.outbox.waiting === 0 && !this.#writer.full;
    if (typeof message === "string") {
      if (!now) return this.#queue(encoder.encode(message), options);
      this.#bytesWritten += this.#writer.writeText(message);
      return true;
    }
    const bytes = viewOf(message);
    if (bytes === undefined) {
      return Promise.reject(noMessage(message));
    }
    if (!now) return this.#queue(bytes, options);
    this.#bytesWritten += bytes.byteLength;
    if (bytes.byteLength <= COPY_LIMIT) {
      this.#writer.write(bytes);
      return true;
    }
    return this.#sendLarge(bytes);
  }

  #queue(bytes: Uint8Array, options?: Wait): MaybePromise<boolean> {
    if (this.#taken !== undefined) return Promise.reject(this.#taken);
    if (this.#finishing) return refuseWait(options) ?? false;
    return this.outbox.send(bytes, options);
  }

  #sendLarge(bytes: Uint8Array): MaybePromise<boolean> {
    if (this.#writer.blocked || isShared(bytes)) {
      // A Buffer's `slice` is no copy.
      this.#writer.write(new Uint8Array(bytes));
      return true;
    }
    this.#writer.write(bytes);
    this.#writer.flush();
    if (!this.#writer.blocked) return true;
    return new Promise((resolve) => {
      this.#lent.push({ mark: this.#bytesWritten, resolve });
    });
  }

  #overflow(): void {
    const address = this.remoteAddress;
    const limit = this.#maxBuffered;
    this.destroy(
      new SizeLimitError(
        `Sending to ${show(address)} was stopped: more than ${limit} bytes ` +
          `wait; await what send gives`,
        { limit, address },
      ),
    );
  }

  read(n: number, options?: Wait): Promise<Uint8Array | undefined> {
    this.#exact ??= new ExactRead(this.inbox, this.#maxBuffered, {
      remoteAddress: this.remoteAddress,
      over: () => this.#over,
    });
    return this.#exact.read(n, options);
  }

  [flow](
    into: Intake<Uint8Array>,
    wait?: Wait,
  ): MaybePromise<Uint8Array | undefined> {
    this.inbox.checkUnread();
    return this.#flowInto(into, wait);
  }

  #flowInto(
    into: Intake<Uint8Array>,
    wait?: Wait,
  ): MaybePromise<Uint8Array | undefined> {
    this.#outflow ??= new Outflow(this.#transport, this.inbox);
    return this.#outflow.run(into, wait);
  }

  override get readable(): ReadableStream<Uint8Array> {
    return this.#readable ??= setPipeTo(super.readable, {
      inbox: this.inbox,
      flow: (into, wait) => this.#flowInto(into, wait),
    });
  }

  override get writable(): WritableStream<Bytes> {
    return this.#writable ??= setIntake(super.writable, this[intake]);
  }

  get [intake](): Intake<Uint8Array> {
    return this.#inflow ??= new Inflow(this.#writer, {
      open: () => !this.#finishing && !this.#over,
      busy: () => this.outbox.waiting > 0,
      count: (size) => this.#bytesWritten += size,
    });
  }

  closeWrite(): Promise<void> {
    if (this.#taken !== undefined) return Promise.reject(this.#taken);
    this.#finishing = true;
    this.#finishIfDue();
    return this.#flush();
  }

  /** FIN, once those who waited to send have had their turn. */
  #finishIfDue(): void {
    if (!this.#finishing || this.#over || this.outbox.waiting > 0) return;
    if (this.#taken !== undefined) return this.#writer.flush();
    this.outbox.close();
    this.#writer.end();
  }

  protected finish(): Promise<void> {
    return this.closeWrite();
  }

  async close(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = CLOSE_TIMEOUT } = options;
    if (typeof timeout !== "number" || !(timeout >= 0)) {
      throw new RangeError(
        `Cannot close: timeout must be a number of 0 or more: ${timeout}`,
      );
    }
    if (this.#taken !== undefined) return await this.#closeNext(timeout);
    if (this.#over) return void await this.closed;
    this.#closeWithin(timeout);
    if (!this.#leaving) {
      this.#leaving = true;
      // The peer must be able to finish, whether anybody receives it or not.
      if (!this.#ended) this.#transport.resume();
      // Once both have said FIN the transport is over by itself.
      await this.closeWrite();
    }
    await this.closed;
  }

  /** The earliest deadline that was asked for holds. */
  #closeWithin(timeout: number): void {
    const by = performance.now() + timeout;
    if (timeout > MAX_TIMEOUT || by >= this.#closeBy) return;
    this.#closeBy = by;
    clearTimeout(this.#closeTimer);
    this.#closeTimer = setTimeout(() => {
      this.destroy(
        new TimeoutError(
          `Cannot close the connection to ${show(this.remoteAddress)} ` +
            `within ${timeout} ms: the peer has not finished`,
          { phase: "close", address: this.remoteAddress },
        ),
      );
    }, timeout);
  }

  destroy(reason?: unknown): void {
    if (this.#taken !== undefined && this.#over) {
      if (this.#next !== undefined) this.#next.destroy(reason);
      else this.#giveUp(reason, "destroyed");
      return;
    }
    if (this.#over) return;
    this.#stop(reason);
    this.#transport.destroy();
  }

  reset(): void {
    this.#next?.reset();
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
    return error === this.#error || this.#next?.broke(error) === true;
  }

  startTls(options: StartTlsOptions): Promise<Connection> {
    try {
      checkStart(options);
      this.#checkFree();
    } catch (error) {
      return Promise.reject(error);
    }
    // From here on nothing more is sent in plain text.
    this.#taken = takenOver(this.remoteAddress);
    this.#finishing = true;
    const started = this.#startTls(options);
    this.#starting = started.catch(() => {});
    return started;
  }

  /** Throws unless all of it can be handed over. */
  #checkFree(): void {
    if (this.#taken !== undefined) throw this.#taken;
    const address = this.remoteAddress;
    if (this.#over || this.#finishing || this.#ended) {
      throw this.#error ?? new ClosedError(
        `Cannot start TLS with ${show(address)}: the connection ends`,
        { address },
      );
    }
    if (this.#exact?.pending || this.inbox.awaited) {
      throw new TypeError("Cannot start TLS: a receive is pending");
    }
  }

  async #startTls(options: StartTlsOptions): Promise<Connection> {
    const address = this.remoteAddress;
    const hostname = this.#options.host ??
      (address.transport === "tcp" ? address.hostname : "localhost");
    let shake: Shake;
    try {
      shake = await prepareStart(options, hostname);
    } catch (error) {
      this.#taken = undefined;
      this.#finishing = false;
      throw error;
    }
    const late = () => this.destroy(startTooLate(address));
    const timer = setTimeout(late, START_TIMEOUT);
    try {
      await this.#flush();
      if (this.#ended) this.destroy();
      if (this.#over) throw this.#error ?? this.#taken;
      const head: Uint8Array[] = [];
      for (let it = this.inbox.drop(); it; it = this.inbox.drop()) {
        head.push(it);
        this.#bytesRead -= it.byteLength;
      }
      const server = "server" in options && options.server === true;
      const mixed = injected(head, { address, server });
      if (mixed !== undefined) {
        this.destroy(mixed);
        throw mixed;
      }
      return await this.#handOver(shake, head);
    } finally {
      clearTimeout(timer);
    }
  }

  async #handOver(
    shake: Shake,
    head: readonly Uint8Array[],
  ): Promise<Connection> {
    const by = this.#closeBy;
    this.#release();
    this.#closeBy = Infinity;
    this.#closeWithin(by - performance.now());
    let transport: Transport;
    try {
      transport = await shake(this.#transport, head);
      if (this.#error !== undefined) {
        transport.destroy();
        throw this.#error;
      }
    } catch (error) {
      this.#giveUp(error, "not secured");
      this.#taken = undefined;
      this.inbox.end(this.#error);
      this.settle({ clean: false, error: this.#error! });
      throw this.#error;
    }
    clearTimeout(this.#closeTimer);
    this.inbox.end(this.#taken);
    const next = this.#next = new TcpConnection(transport, {
      ...this.#options,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
    });
    next.closed.then((info) => this.settle(info));
    return next;
  }

  /** Ends it within the handshake, which then fails. */
  #giveUp(reason: unknown, how: string): void {
    this.#error ??= toNetError(
      reason,
      `Connection to ${show(this.remoteAddress)} was ${how}`,
    );
    clearTimeout(this.#closeTimer);
    this.#transport.destroy();
  }

  /** Closes what TLS is being started on, or has been. */
  async #closeNext(timeout: number): Promise<void> {
    const by = performance.now() + timeout;
    if (this.#next === undefined) {
      this.#closeWithin(timeout);
      await this.#starting;
      // It could not even begin: this goes on.
      if (this.#taken === undefined) return await this.close({ timeout });
    }
    await this.#next?.close({ timeout: Math.max(0, by - performance.now()) });
    await this.closed;
  }

  #stop(reason: unknown): void {
    const message = `Connection to ${show(this.remoteAddress)} was destroyed`;
    this.#error ??= toNetError(reason, message);
    this.inbox.destroy(toError(reason ?? this.#error, message));
    this.#release();
  }

  /** No more sends; whoever waits for one is told. */
  #release(): void {
    this.#over = true;
    this.#idle?.stop();
    clearTimeout(this.#closeTimer);
    this.#writer.drop();
    this.outbox.close();
    this.#inflow?.drop();
    for (let it = this.#lent.shift(); it; it = this.#lent.shift()) {
      it.resolve(false);
    }
    this.#tellFlushed();
  }

  #take(chunk: Uint8Array, lent = false): void {
    this.#bytesRead += chunk.byteLength;
    this.#idle?.touch();
    if (this.#deaf) return;
    if (this.#outflow !== undefined && !this.#leaving) {
      if (this.#outflow.pass(chunk, lent)) return;
    }
    if (lent) chunk = new Uint8Array(chunk);
    if (this.#leaving && this.inbox.full) {
      // From here on it has gaps for whoever still receives: let it end.
      this.#deaf = true;
      const address = this.remoteAddress;
      this.inbox.end(
        new ClosedError(
          `Connection to ${show(address)} was closed before all was received`,
          { address },
        ),
      );
    } else if (!this.inbox.push(chunk) && !this.#leaving) {
      this.#transport.pause();
    }
  }

  #drained(): void {
    this.#idle?.touch();
    this.#writer.drained();
    const sent = this.#bytesWritten - this.#writer.buffered;
    this.#inflow?.sent(sent);
    for (let it = this.#lent.peek(); it; it = this.#lent.peek()) {
      if (it.mark > sent) break;
      this.#lent.shift();
      it.resolve(true);
    }
    this.#roomy();
  }

  /** There may be room: for who waits to send, and then for FIN. */
  #roomy(): void {
    this.outbox.admit();
    this.#inflow?.roomy();
    this.#finishIfDue();
    this.#tellFlushed();
  }

  #end(error: NetError | undefined): void {
    const unfinished = !this.#ended && !this.#leaving;
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
    if (this.#isFlushed()) return Promise.resolve();
    return new Promise((resolve) => this.#flushed.push(resolve));
  }

  #isFlushed(): boolean {
    return this.#over || (this.#writer.idle && this.outbox.waiting === 0);
  }

  #tellFlushed(): void {
    if (this.#flushed.length === 0 || !this.#isFlushed()) return;
    const waiting = this.#flushed;
    this.#flushed = [];
    for (const resolve of waiting) resolve();
  }
}
