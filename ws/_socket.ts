import { BaseDuplex } from "../streams/_duplex.ts";
import { ClosedError, SizeLimitError } from "../streams/errors.ts";
import { Inbox } from "../streams/_inbox.ts";
import type { InboxOptions } from "../streams/_inbox.ts";
import { Outbox } from "../streams/_outbox.ts";
import type { OutboxOptions } from "../streams/_outbox.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address, MaybePromise, Wait } from "../streams/types.ts";
import type { Home, Member } from "../http/_exchange.ts";
import { GOING_AWAY, INTERNAL_ERROR, NORMAL, POLICY } from "./_codes.ts";
import type { Deflate } from "./_deflate.ts";
import type { SocketLimits } from "./_options.ts";
import { Pings } from "./_pings.ts";
import type {
  Listener,
  Message,
  Socket,
  SocketHandler,
  WebSocketCloseInfo,
} from "./types.ts";

/** What a message weighs besides its bytes: empty ones are not free. */
const OVERHEAD = 64;

/** What every socket is told at its birth. */
export interface SocketInit {
  readonly limits: SocketLimits;
  readonly listener?: Listener;
  readonly protocol: string;
  /** The extensions agreed on, as the server said them. */
  readonly extensions?: string | undefined;
  /** Compression, when it was agreed on; not on native engines. */
  readonly deflate?: Deflate | undefined;
  readonly url: string;
  /** Where the peer is; where there is a transport, that tells. */
  readonly remoteAddress?: Address | undefined;
  /** Hears of what the user's code threw. */
  readonly report: (error: unknown) => void;
}

/** What sockets of one kind have in common, mostly one object for all. */
interface Terms {
  readonly limits: SocketLimits;
  readonly protocol: string;
  readonly extensions: string;
  readonly url: string;
}

let lastTerms: Terms | undefined;

function termsOf(init: SocketInit): Terms {
  const { limits, protocol, extensions = "", url } = init;
  const last = lastTerms;
  return last !== undefined && last.limits === limits &&
      last.protocol === protocol && last.extensions === extensions &&
      last.url === url
    ? last
    : lastTerms = { limits, protocol, extensions, url };
}

/**
 * What sockets of all engines have in common: messages go to a listener or
 * wait to be received, user code that fails closes with 1011, and the end is
 * told once to whoever waits.
 */
export abstract class BaseSocket
  extends BaseDuplex<Message, Message, WebSocketCloseInfo>
  implements Socket, Member {
  readonly #terms: Terms;
  protected readonly listener: Listener | undefined;
  /** The server that it is counted by. */
  home: Home | undefined;
  /** Nothing more is sent, and what comes is dropped. */
  protected closing = false;
  /** What receives reject with, once the connection was cut off. */
  protected cut: Error | undefined;
  readonly #report: (error: unknown) => void;
  #pings: Pings | undefined;
  /** A promise of the listener's is awaited: messages queue behind it. */
  #awaiting = false;
  /** The listener has a message just now: what ends it is told afterwards. */
  #calling = false;
  /** The listener knows of the end. */
  #told = false;
  /** A `send` gave a promise: the listener is owed a `drain`. */
  #owesDrain = false;
  #info: WebSocketCloseInfo | undefined;

  constructor(init: SocketInit) {
    super();
    this.#terms = termsOf(init);
    this.listener = init.listener;
    this.#report = init.report;
  }

  get protocol(): string {
    return this.#terms.protocol;
  }

  get extensions(): string {
    return this.#terms.extensions;
  }

  get url(): string {
    return this.#terms.url;
  }

  protected get limits(): SocketLimits {
    return this.#terms.limits;
  }

  protected override makeInbox(): Inbox<Message> {
    return new Inbox<Message>(new BaseSocket.#Hooks(this));
  }

  protected override makeOutbox(): Outbox<Message> {
    return new Outbox<Message>(new BaseSocket.#Hooks(this));
  }

  /** Whether whoever reads has a message, and has not come for the next. */
  protected get busy(): boolean {
    if (this.listener !== undefined) return this.#awaiting;
    return this.hasInbox && !this.inbox.awaited;
  }

  /** Messages that wait to be read. */
  protected get queued(): number {
    return this.hasInbox ? this.inbox.length : 0;
  }

  /** Whether senders wait for room. */
  protected get crowded(): boolean {
    return this.hasOutbox && this.outbox.waiting > 0;
  }

  /** Bytes of the messages whose senders wait. */
  protected get pending(): number {
    return this.hasOutbox ? this.outbox.pending : 0;
  }

  /** Nobody needs to wait any more: `closing` refuses whoever comes. */
  protected closeOutbox(): void {
    if (this.hasOutbox) this.outbox.close();
  }

  /** What the inbox and the outbox ask and tell. */
  static readonly #Hooks = class
    implements InboxOptions<Message>, OutboxOptions<Message> {
    readonly high: number;
    readonly low: number;
    readonly socket: BaseSocket;

    constructor(socket: BaseSocket) {
      const { highWaterMark } = socket.limits;
      this.socket = socket;
      this.high = highWaterMark;
      this.low = highWaterMark >> 1;
    }
    get steady(): boolean {
      return true;
    }
    size(message: Message): number {
      return message.length + OVERHEAD;
    }
    onWait(): void {
      this.socket.flush();
    }
    onRoom(): void {
      this.socket.release();
    }
    onCancel(reason: unknown): void {
      this.socket.destroy(reason);
    }
    full(): boolean {
      return this.socket.full;
    }
    accept(message: Message): void {
      this.socket.transmit(message);
    }
    maxPending(): number {
      return this.socket.limits.maxBuffered;
    }
    onOverflow(): void {
      const { maxBuffered } = this.socket.limits;
      this.socket.destroy(
        new SizeLimitError(
          `Cannot send: over ${maxBuffered} bytes wait, and nobody waits for their send`,
          { limit: maxBuffered, phase: "send" },
        ),
      );
    }
  };

  abstract readonly raw: unknown;
  abstract readonly remoteAddress: Address;
  abstract override close(code?: number, reason?: string): Promise<void>;
  /** Whether the next message has to wait. */
  protected abstract readonly full: boolean;
  /** Sends a message, whatever `full` says. */
  protected abstract transmit(message: Message): void;
  protected abstract transmitPing(data: Uint8Array): void;
  /** Whoever reads messages has answered those that came. */
  protected flush(): void {}
  /** A listener that is awaited has done with all that came. */
  protected caughtUp(): void {}
  /** Stops reading, and reads on. */
  protected abstract hold(): void;
  protected abstract release(): void;
  /** Says Close with this code and ends it without waiting for the peer's. */
  protected abstract fail(code: number, error: NetError): void;

  protected finish(): Promise<void> {
    return this.close();
  }

  override send(message: Message, options?: Wait): MaybePromise<boolean> {
    if (typeof message !== "string" && !(message instanceof Uint8Array)) {
      return Promise.reject(
        new TypeError(`Cannot send: neither a string nor bytes: ${message}`),
      );
    }
    if (this.closing) return false;
    // The outbox is for those who have to wait.
    if (options === undefined && !this.crowded && !this.full) {
      this.transmit(message);
      return true;
    }
    const sent = super.send(message, options);
    if (sent !== true && sent !== false) this.#owesDrain = true;
    return sent;
  }

  /** The server closes. */
  goodbye(): void {
    void this.close(GOING_AWAY);
  }

  /** What `broadcast` does with one socket. */
  offer(
    message: Message,
    slow: "drop" | "close" | "wait",
  ): MaybePromise<boolean> {
    if (this.closing) return false;
    if (slow === "wait" || (!this.crowded && !this.full)) {
      return this.send(message);
    }
    if (slow === "close") {
      const { highWaterMark } = this.limits;
      this.fail(
        POLICY,
        new SizeLimitError(
          `Cannot broadcast to a peer that does not read fast enough: over ${highWaterMark} bytes wait`,
          { limit: highWaterMark, phase: "send" },
        ),
      );
    }
    return false;
  }

  ping(data?: Message, options?: Wait): Promise<number> {
    if (this.closing) {
      return Promise.reject(
        new ClosedError("Cannot ping: the WebSocket was closed"),
      );
    }
    return (this.#pings ??= new Pings()).add(data, options, (payload) => {
      this.transmitPing(payload);
    });
  }

  /**
   * Gives the socket to its handler, whose lifetime is the socket's: it is
   * closed when the function has come to its end and fails when it fails.
   */
  run(handler: SocketHandler): void {
    try {
      if (typeof handler === "function") {
        const result = handler(this);
        if (isThenable(result)) {
          result.then(() => this.close(NORMAL), (e) => this.crash(e));
        } else {
          void this.close(NORMAL);
        }
      } else {
        this.#watch(handler.open?.(this));
      }
    } catch (error) {
      this.crash(error);
    }
  }

  /** User code failed. */
  protected crash(thrown: unknown): void {
    // It only passed on how this socket ended, or that it cannot be written
    // to any more: that is no news.
    if (this.cut !== undefined && thrown === this.cut) return;
    if (this.closing && thrown instanceof ClosedError) return;
    this.#report(thrown);
    this.fail(
      INTERNAL_ERROR,
      new ClosedError("The handler of the WebSocket failed", {
        code: "ERR_HANDLER",
        cause: thrown,
      }),
    );
  }

  /** A message came. */
  protected deliver(message: Message): void {
    const { listener } = this;
    if (listener === undefined || this.#awaiting) {
      if (this.closing) return;
      if (!this.inbox.push(message)) this.hold();
    } else if (listener.message !== undefined) {
      this.#call(listener, message);
      if (this.#info !== undefined) this.#farewell();
    }
  }

  #call(listener: Listener, message: Message): void {
    this.#calling = true;
    try {
      const result = listener.message!(this, message);
      this.#calling = false;
      if (result === undefined || !isThenable(result)) return;
      this.#awaiting = true;
      result.then(() => this.#next(), (error) => {
        this.#awaiting = false;
        this.crash(error);
        this.#farewell();
      });
    } catch (error) {
      this.#calling = false;
      this.crash(error);
    }
  }

  /** The listener has done with a message: the queued ones follow. */
  #next(): void {
    this.#awaiting = false;
    while (
      this.hasInbox && this.inbox.length > 0 && this.cut === undefined
    ) {
      this.#call(this.listener!, this.inbox.drop()!);
      if (this.#awaiting) return;
    }
    this.caughtUp();
    this.#farewell();
  }

  /** Calls the listener's callback of that name, if there is one. */
  protected tell(name: "ping" | "pong", data: Uint8Array): void {
    if (name === "pong") this.#pings?.answer(data);
    if (this.listener?.[name] === undefined) return;
    try {
      this.#watch(this.listener[name](this, data));
    } catch (error) {
      this.crash(error);
    }
  }

  /** What was sent is with the kernel: lets in who waits. */
  protected drained(): void {
    if (this.hasOutbox) this.outbox.admit();
    if (!this.#owesDrain || this.crowded || this.full) return;
    this.#owesDrain = false;
    if (this.listener?.drain === undefined || this.closing) return;
    try {
      this.#watch(this.listener.drain(this));
    } catch (error) {
      this.crash(error);
    }
  }

  /** Nothing more comes. A listener whose messages never wait has no inbox. */
  protected endInbox(error?: unknown): void {
    if (this.listener === undefined || this.hasInbox) this.inbox.end(error);
  }

  /** Nor is anything received that waits. */
  protected dropInbox(error: unknown): void {
    if (this.listener === undefined || this.hasInbox) this.inbox.destroy(error);
  }

  /** Whether all is over. */
  protected get ended(): boolean {
    return this.#info !== undefined;
  }

  /** All is over: tells whoever waits, once. */
  protected over(info: WebSocketCloseInfo): void {
    if (this.#info !== undefined) return;
    this.#info = info;
    this.closing = true;
    this.closeOutbox();
    this.endInbox(this.cut);
    this.#pings?.end(this.cut);
    this.settle(info);
    this.home?.leave(this);
    this.#farewell();
  }

  #farewell(): void {
    const info = this.#info;
    const { listener } = this;
    if (info === undefined || listener === undefined || this.#told) return;
    if (this.#awaiting || this.#calling) return;
    this.#told = true;
    const report = this.#report;
    try {
      if (info.error !== undefined) {
        this.#watch(listener.error?.(this, info.error));
      }
      this.#watch(listener.close?.(this, info));
    } catch (error) {
      report(error);
    }
  }

  /** A callback may be an async function: its failure counts the same. */
  #watch(result: unknown): void {
    if (isThenable(result)) result.then(undefined, (e) => this.crash(e));
  }

  // A socket that has a listener has its consumer.

  override receive(options?: Wait): MaybePromise<Message | undefined> {
    this.#refuseSecond();
    return super.receive(options);
  }

  override batches(): AsyncIterable<readonly Message[]> {
    this.#refuseSecond();
    return super.batches();
  }

  override [Symbol.asyncIterator](): AsyncIterator<Message> {
    this.#refuseSecond();
    return super[Symbol.asyncIterator]();
  }

  override get readable(): ReadableStream<Message> {
    this.#refuseSecond();
    return super.readable;
  }

  #refuseSecond(): void {
    if (this.listener !== undefined) {
      throw new TypeError(
        "Cannot receive: the messages of this WebSocket go to its listener",
      );
    }
  }
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}
