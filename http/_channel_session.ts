import { isThenable } from "../streams/_checks.ts";
import { toNetError, writableOf } from "../streams/_duplex.ts";
import { SizeLimitError, TimeoutError } from "../streams/errors.ts";
import { Outbox } from "../streams/_outbox.ts";
import { Ring } from "../streams/_ring.ts";
import type { CloseInfo, MaybePromise, Wait } from "../streams/types.ts";
import type { Bounds } from "./_channel_options.ts";
import type {
  ChannelHandlers,
  ChannelMessage,
  ChannelSession,
} from "./channel.ts";
import { exchangeOf } from "./_exchange.ts";
import type { Exchange, Home, Member } from "./_exchange.ts";

/** Messages of one client that are handled, or wait to be, at a time. */
const MAX_POSTS = 64;

/** Sessions of this process by id: those that are, and lately were. */
const sessions = new Map<string, Session>();
/** Bytes that they keep. */
let memory = 0;

/** The session of this id, when it was opened on this path. */
export function find(id: string | null, path: string): Session | undefined {
  const session = id === null ? undefined : sessions.get(id);
  return session?.path === path ? session : undefined;
}

/** Whether there is no room for another session. */
export function isFull(bounds: Bounds): boolean {
  return sessions.size >= bounds.maxSessions || memory > bounds.maxMemory;
}

/** 144 bits that nobody can guess, as 24 characters of base64url. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-").replaceAll("/", "_");
}

/** A message on its way to the client. */
export interface Entry {
  readonly id: number;
  /** Its envelope, on one line. */
  readonly text: string;
  readonly size: number;
}

/** The stream of events or the poll by which the client is there. */
export interface Attachment {
  /** There is something for it, or it is all over. */
  wake(): void;
  /** Another one has taken its place. */
  replaced(): void;
}

/**
 * The session of a client that comes by SSE or polling: what was sent and not
 * yet acknowledged, who waits for room, and whether the client is there.
 */
export class Session implements ChannelSession, Member {
  readonly id: string = randomId();
  readonly kind: "sse" | "polling";
  readonly path: string;
  readonly bounds: Bounds;
  readonly closed: Promise<CloseInfo>;
  readonly #handlers: ChannelHandlers;
  readonly #outbox: Outbox<Entry>;
  readonly #report: (error: unknown) => void;
  /** Given to the client, who may ask for it again. */
  #kept: Ring<Entry> = new Ring();
  #keptBytes = 0;
  /** Not given yet. */
  #queue: Ring<Entry> = new Ring();
  #queuedBytes = 0;
  /** Number of the last message that was sent here, and that was given. */
  #last = 0;
  #given = 0;
  /** Those up to this one are acknowledged, or not kept any more. */
  #base = 0;
  #attached: Attachment | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closing = false;
  /** The server shuts down. */
  #again = false;
  #info: CloseInfo | undefined;
  #settle!: (info: CloseInfo) => void;
  #withdraw: (() => void) | undefined;
  #home: Home | undefined;
  #writable: WritableStream<ChannelMessage> | undefined;
  /** The callbacks, one after the other. */
  #incoming: Promise<unknown> | undefined;
  #posts = 0;
  #seq = 0;

  constructor(
    request: Request,
    handlers: ChannelHandlers,
    { bounds, kind }: { bounds: Bounds; kind: "sse" | "polling" },
  ) {
    this.#handlers = handlers;
    this.bounds = bounds;
    this.kind = kind;
    this.path = new URL(request.url).pathname;
    this.closed = new Promise((resolve) => this.#settle = resolve);
    this.#outbox = new Outbox<Entry>({
      full: () => this.#weight >= bounds.highWaterMark,
      accept: (entry) => this.#accept(entry),
      size: (entry) => entry.size,
      maxPending: () => bounds.maxBuffered,
      onOverflow: () =>
        this.destroy(
          new SizeLimitError(
            `Cannot send: over ${bounds.maxBuffered} bytes wait, and nobody waits for their send`,
            { limit: bounds.maxBuffered, phase: "send" },
          ),
        ),
    });
    sessions.set(this.id, this);
    const exchange = exchangeOf(request);
    this.#report = exchange?.reporter?.() ??
      ((error) => exchange?.report(error));
    if (exchange !== undefined) this.#enter(exchange);
    this.#expect();
  }

  /** The server tells it when it closes, and waits for it. */
  #enter(exchange: Exchange): void {
    if (exchange.adopt !== undefined) {
      this.#home = exchange.adopt(this);
      return;
    }
    exchange.context.waitUntil(this.closed);
    this.#withdraw = exchange.onShutdown(() => this.goodbye());
  }

  /** Calls the first callback. */
  open(): void {
    let result: unknown;
    try {
      result = this.#handlers.open?.(this);
    } catch (error) {
      this.destroy(error);
      throw error;
    }
    if (isThenable(result)) {
      this.#incoming = Promise.resolve(result)
        .catch((error) => this.#crash(error));
    }
  }

  /** Bytes that wait for the client: those given count until it polls again. */
  get #weight(): number {
    return this.kind === "sse"
      ? this.#queuedBytes
      : this.#queuedBytes + this.#keptBytes;
  }

  get buffered(): number {
    return this.#weight + this.#outbox.pending;
  }

  send(message: ChannelMessage, options?: Wait): MaybePromise<boolean> {
    if (typeof message !== "string" && !(message instanceof Uint8Array)) {
      return Promise.reject(
        new TypeError(`Cannot send: neither a string nor bytes: ${message}`),
      );
    }
    if (this.#closing) return false;
    // What waits may yet be given up: it is numbered when it is accepted.
    const text = typeof message === "string"
      ? `"data":${JSON.stringify(message)}`
      : `"base64":"${base64(message)}"`;
    return this.#outbox.send(
      { id: 0, text, size: utf8Length(text) + 32 },
      options,
    );
  }

  get writable(): WritableStream<ChannelMessage> {
    return this.#writable ??= writableOf<ChannelMessage>(
      this,
      () => this.close(),
      (reason) => this.destroy(reason),
    );
  }

  #accept({ text, size }: Entry): void {
    const id = ++this.#last;
    if (memory + size > this.bounds.maxMemory && this.#memoryFails()) return;
    this.#queue.push({ id, text: `{"id":${id},${text}}`, size });
    this.#queuedBytes += size;
    memory += size;
    this.#attached?.wake();
  }

  /** All sessions keep too much: one whose client is behind has to go. */
  #memoryFails(): boolean {
    if (this.kind === "sse") this.#forget(Infinity);
    const { maxMemory } = this.bounds;
    if (memory <= maxMemory || this.#weight === 0) return false;
    this.destroy(
      new SizeLimitError(
        `Cannot send: the sessions of all clients keep over ${maxMemory} bytes`,
        { limit: maxMemory, phase: "send" },
      ),
    );
    return true;
  }

  /** The client is there now; who was in its place is told so. */
  attach(attachment: Attachment): void {
    const before = this.#attached;
    this.#attached = attachment;
    clearTimeout(this.#timer);
    before?.replaced();
  }

  /** The client left, or has its answer: it has to come back in time. */
  detach(attachment: Attachment): void {
    if (this.#attached !== attachment) return;
    this.#attached = undefined;
    if (this.#again) this.#undelivered();
    else this.#expect();
  }

  #expect(): void {
    clearTimeout(this.#timer);
    if (this.#attached !== undefined || !sessions.has(this.id)) return;
    const { grace } = this.bounds;
    this.#timer = setTimeout(() => {
      this.destroy(
        new TimeoutError(
          `Channel was closed: its client was gone for ${grace} ms`,
          { phase: "grace" },
        ),
      );
      this.#remove();
    }, grace);
  }

  /** The next message for a stream of events. */
  take(): Entry | undefined {
    const entry = this.#queue.shift();
    if (entry === undefined) return undefined;
    this.#queuedBytes -= entry.size;
    this.#given = entry.id;
    this.#keep(entry);
    if (this.kind === "sse") {
      this.#forget(0);
      this.#outbox.admit();
    }
    return entry;
  }

  /** All there is for a poll, up to some bytes, those given before again. */
  takeAll(): Entry[] {
    const entries: Entry[] = [];
    this.#kept.drainInto(entries);
    for (const entry of entries) this.#kept.push(entry);
    const { highWaterMark } = this.bounds;
    while (entries.length === 0 || this.#keptBytes < highWaterMark) {
      const entry = this.take();
      if (entry === undefined) break;
      entries.push(entry);
    }
    return entries;
  }

  get hasMessages(): boolean {
    return this.#queue.length > 0 || this.#kept.length > 0;
  }

  /** Whether there are messages that were not given yet. */
  get hasMore(): boolean {
    return this.#queue.length > 0;
  }

  /** Number of the last message that was given. */
  get cursor(): number {
    return this.#given;
  }

  #keep(entry: Entry): void {
    this.#kept.push(entry);
    this.#keptBytes += entry.size;
  }

  /** Drops what was given, to have no more than `replay` less so many bytes. */
  #forget(bytes: number): void {
    const most = Math.max(0, this.bounds.replay - bytes);
    while (this.#keptBytes > most) this.#drop();
  }

  #drop(): void {
    const entry = this.#kept.shift()!;
    this.#keptBytes -= entry.size;
    memory -= entry.size;
    this.#base = entry.id;
  }

  /** The client has all up to this message. `false`: it was given no such. */
  acknowledge(cursor: number): boolean {
    if (cursor > this.#given) return false;
    while (this.#kept.length > 0 && this.#kept.peek()!.id <= cursor) {
      this.#drop();
    }
    this.#outbox.admit();
    return true;
  }

  /**
   * A stream of events goes on behind this message. `false`: it cannot, what
   * the client missed is not kept any more; then the session is over.
   */
  rewind(cursor: number): boolean {
    if (cursor < this.#base || !this.acknowledge(cursor)) {
      this.destroy(
        new SizeLimitError(
          `Channel was closed: its client missed more than ${this.bounds.replay} bytes`,
          { limit: this.bounds.replay, phase: "replay" },
        ),
      );
      this.#remove();
      return false;
    }
    // The stream before is at its end: it takes no more.
    const before = this.#attached;
    this.#attached = undefined;
    before?.replaced();
    const missed: Entry[] = [];
    this.#kept.drainInto(missed);
    this.#keptBytes = 0;
    for (let entry = missed.pop(); entry !== undefined; entry = missed.pop()) {
      this.#queue.unshift(entry);
      this.#queuedBytes += entry.size;
    }
    this.#given = cursor;
    this.#expect();
    return true;
  }

  /** Whether it does not speak any more: all that it has is for the client. */
  get closing(): boolean {
    return this.#closing;
  }

  /** Whether it is over. */
  get done(): boolean {
    return this.#info !== undefined;
  }

  /** What the client is told at the end. */
  get farewell(): { clean: boolean; again?: true } {
    const clean = this.#info?.clean ?? true;
    return this.#again ? { clean, again: true } : { clean };
  }

  /** Whether the client has so many messages on the way that one is refused. */
  get crowded(): boolean {
    return this.#posts >= MAX_POSTS;
  }

  /**
   * A message of the client comes: `read` is called in its turn, and the
   * handler with what it gives. Resolves to what is wrong, if anything is.
   */
  receive(
    read: () => Promise<ChannelMessage | { error: string }>,
    seq: number | undefined,
  ): Promise<string | undefined> {
    this.#posts++;
    if (this.#attached === undefined) this.#expect();
    const before = this.#incoming ?? Promise.resolve();
    const handled = before.then(() => this.#handle(read, seq));
    const incoming = handled.then(() => {}, () => {}).then(() => {
      this.#posts--;
      if (this.#incoming === incoming) this.#incoming = undefined;
    });
    this.#incoming = incoming;
    return handled;
  }

  async #handle(
    read: () => Promise<ChannelMessage | { error: string }>,
    seq: number | undefined,
  ): Promise<string | undefined> {
    const message = await read();
    if (this.#closing) return "closed";
    if (typeof message === "object" && "error" in message) return message.error;
    if (seq !== undefined) {
      if (seq <= this.#seq) return undefined;
      if (seq !== this.#seq + 1) return `seq must be ${this.#seq + 1}`;
      this.#seq = seq;
    }
    try {
      await this.#handlers.message?.(this, message);
      return undefined;
    } catch (error) {
      this.#crash(error);
      return "failed";
    }
  }

  /** User code failed. */
  #crash(error: unknown): void {
    this.#report(error);
    this.destroy(error);
  }

  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      // Who waits has been told that it may yet be sent.
      while (this.#outbox.waiting > 0 && !this.done) this.#outbox.hand();
      this.#outbox.close();
      this.#attached?.wake();
    }
    return this.closed.then(() => {});
  }

  /** The server closes. */
  goodbye(): void {
    this.#again = true;
    void this.close();
    if (this.done) this.#remove();
    else if (this.#attached === undefined) this.#undelivered();
  }

  /** Nobody comes any more for what there is. */
  #undelivered(): void {
    this.#end({ clean: this.#queue.length === 0 });
    this.#remove();
  }

  /** The client says that it is over. */
  leave(): void {
    this.#end({ clean: true });
  }

  /** The client was told that it is over, behind all messages. */
  told(): void {
    this.#end({ clean: true });
  }

  destroy(reason?: unknown): void {
    this.#end({
      clean: false,
      error: toNetError(reason, "Channel was destroyed"),
    });
  }

  #end(info: CloseInfo): void {
    if (this.#info !== undefined) return;
    this.#info = info;
    this.#closing = true;
    this.#outbox.close();
    if (!info.clean) {
      memory -= this.#queuedBytes;
      this.#queue.clear();
      this.#queuedBytes = 0;
    }
    this.#settle(info);
    this.#attached?.wake();
    const tell = () => this.#handlers.close?.(this, info);
    const told = this.#incoming === undefined
      ? (async () => await tell())()
      : this.#incoming.then(tell);
    told.catch((error) => this.#report(error));
    // It stays for a while, for a client that did not hear of it.
    if (this.#again) this.#remove();
    else this.#expect();
  }

  #remove(): void {
    if (!sessions.delete(this.id)) return;
    clearTimeout(this.#timer);
    this.#withdraw?.();
    this.#home?.leave(this);
    memory -= this.#queuedBytes + this.#keptBytes;
    this.#queue.clear();
    this.#kept.clear();
    this.#queuedBytes = this.#keptBytes = 0;
  }
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(text);
}

function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // Each half of a pair counts two: together they are four bytes.
    if (code > 0x7f) {
      length += code < 0x800 || (code & 0xf800) === 0xd800 ? 1 : 2;
    }
  }
  return length;
}
