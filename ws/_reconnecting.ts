import { BaseDuplex, toError, toNetError } from "../streams/_duplex.ts";
import {
  ClosedError,
  NetError,
  SizeLimitError,
  TlsError,
} from "../streams/errors.ts";
import { Sleep } from "../streams/_sleep.ts";
import type { MaybePromise, Wait } from "../streams/types.ts";
import { ABNORMAL, closePayload, NORMAL } from "./_codes.ts";
import { HandshakeError } from "./handshake_error.ts";
import type {
  Down,
  ReconnectingSocket,
  ReconnectOptions,
} from "./reconnect.ts";
import type { Message, Socket, WebSocketCloseInfo } from "./types.ts";

/** What a message weighs besides its bytes. */
const OVERHEAD = 64;
const MIB = 1024 * 1024;

/** How it goes on after a loss, all of it said. */
export interface ReconnectPlan {
  readonly minDelay: number;
  readonly maxDelay: number;
  readonly attempts: number;
}

/** One duplex over connections that follow each other. */
export class Reconnecting
  extends BaseDuplex<Message, Message, WebSocketCloseInfo>
  implements ReconnectingSocket {
  readonly #open: (signal: AbortSignal) => Promise<Socket>;
  readonly #options: ReconnectOptions;
  readonly #plan: ReconnectPlan;
  readonly #giveUp = new AbortController();
  #socket: Socket | undefined;
  /** A send of the connection's gave a promise, or `head` is not sent yet. */
  #busy = false;
  /** A message that the connection did not accept: the next one's first. */
  #head: Message | undefined;
  #connections = 0;
  #failures = 0;
  #closing: { code: number; reason: string } | undefined;
  #over = false;
  readonly #pause = new Sleep();
  #room: (() => void) | undefined;

  constructor(
    open: (signal: AbortSignal) => Promise<Socket>,
    plan: ReconnectPlan,
    options: ReconnectOptions,
  ) {
    const { highWaterMark = 64 * 1024, maxBuffered = 16 * MIB } = options;
    const size = (message: Message) => message.length + OVERHEAD;
    super({
      size,
      high: highWaterMark,
      low: highWaterMark >> 1,
      onRoom: () => this.#room?.(),
    }, {
      full: () => this.#socket === undefined || this.#busy,
      accept: (message) => this.#pass(message),
      size,
      maxPending: () => maxBuffered,
      onOverflow: () =>
        this.destroy(
          new SizeLimitError(
            `Cannot send: over ${maxBuffered} bytes wait for a connection`,
            { limit: maxBuffered, phase: "send" },
          ),
        ),
    });
    this.#open = open;
    this.#plan = plan;
    this.#options = options;
    const { signal } = options;
    if (signal !== undefined) {
      const abort = () => this.destroy(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      this.closed.then(() => signal.removeEventListener("abort", abort));
      if (signal.aborted) queueMicrotask(abort);
    }
    void this.#run();
  }

  get connection(): Socket | undefined {
    return this.#socket;
  }

  get connections(): number {
    return this.#connections;
  }

  get buffered(): number {
    return (this.#socket?.buffered ?? 0) + this.outbox.pending +
      (this.#head === undefined ? 0 : this.#head.length);
  }

  override send(message: Message, options?: Wait): MaybePromise<boolean> {
    if (typeof message !== "string" && !(message instanceof Uint8Array)) {
      return Promise.reject(
        new TypeError(`Cannot send: neither a string nor bytes: ${message}`),
      );
    }
    // It may wait for long, and bytes can change in their place.
    const kept = typeof message === "string" || this.#socket !== undefined
      ? message
      : new Uint8Array(message);
    return super.send(kept, options);
  }

  ping(data?: Message, options?: Wait): Promise<number> {
    return this.#socket?.ping(data, options) ??
      Promise.reject(new ClosedError("Cannot ping: there is no connection"));
  }

  protected finish(): Promise<void> {
    return this.close();
  }

  override close(code: number = NORMAL, reason = ""): Promise<void> {
    try {
      closePayload(code, reason);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#closing === undefined && !this.#over) {
      this.#closing = { code, reason };
      this.inbox.end();
      this.#room?.();
      if (this.#socket === undefined) this.#stop();
      else void this.#finish(this.#socket);
    }
    return this.closed.then(() => {});
  }

  /** Close goes behind what waits to be sent, as long as it can be. */
  async #finish(socket: Socket): Promise<void> {
    await Promise.race([this.outbox.drained(), socket.closed]);
    this.outbox.close();
    await socket.close(this.#closing!.code, this.#closing!.reason);
  }

  override destroy(reason?: unknown): void {
    if (this.#over) return;
    const message = "The WebSocket was destroyed";
    this.inbox.destroy(toError(reason, message));
    this.#end({
      clean: false,
      code: ABNORMAL,
      reason: "",
      error: toNetError(reason, message),
    });
    this.#socket?.destroy(reason);
  }

  #stop(): void {
    this.#end({
      clean: false,
      code: ABNORMAL,
      reason: "",
      error: new ClosedError("The WebSocket was closed without a connection"),
    });
  }

  #end(info: WebSocketCloseInfo): void {
    if (this.#over) return;
    this.#over = true;
    this.outbox.close();
    this.inbox.end(info.clean ? undefined : info.error);
    this.settle(info);
    this.#giveUp.abort(info.error);
    this.#pause.wake();
    this.#room?.();
  }

  /** Hands a message to the connection, or keeps it for the next one. */
  #pass(message: Message): void {
    const sent = this.#socket!.send(message);
    if (sent === true) return;
    this.#busy = true;
    if (sent === false) {
      this.#head = message;
      return;
    }
    // Until it is accepted it is the caller's, who was told it is not.
    const kept = typeof message === "string"
      ? message
      : new Uint8Array(message);
    sent.then((accepted) => {
      if (!accepted) {
        this.#head = kept;
      } else {
        this.#busy = false;
        this.outbox.admit();
      }
    });
  }

  async #run(): Promise<void> {
    while (!this.#over) {
      let cause: WebSocketCloseInfo | Error;
      let unsent = 0;
      try {
        const socket = await this.#open(this.#giveUp.signal);
        if (this.#over) return socket.destroy();
        const watch: { unsent: number } = { unsent: 0 };
        cause = await this.#use(socket, watch);
        unsent = watch.unsent;
      } catch (error) {
        cause = toError(error, "Cannot connect");
      }
      this.#socket = undefined;
      if (this.#over) return;
      if (this.#closing !== undefined) {
        return cause instanceof Error ? this.#stop() : this.#end(cause);
      }
      this.#failures++;
      if (!this.#goesOn(cause)) return this.#lose(cause);
      const delay = this.#delay(cause);
      const down: Down = {
        unsent,
        failures: this.#failures,
        delay,
        ...(cause instanceof Error ? { error: cause } : { info: cause }),
      };
      try {
        this.#options.onDown?.(down);
      } catch (error) {
        return this.destroy(error);
      }
      await this.#pause.for(delay);
    }
  }

  /** Lives with one connection until that is over. */
  async #use(
    socket: Socket,
    watch: { unsent: number },
  ): Promise<WebSocketCloseInfo> {
    this.#connections++;
    const started = performance.now();
    try {
      await this.#options.onOpen?.(socket);
    } catch (error) {
      socket.destroy(error);
    }
    if (this.#over) socket.destroy();
    this.#socket = socket;
    this.#busy = false;
    const head = this.#head;
    if (head !== undefined) {
      this.#head = undefined;
      this.#pass(head);
    }
    this.outbox.admit();
    if (this.#closing !== undefined) void this.#finish(socket);
    try {
      for await (const message of socket) {
        this.#failures = 0;
        if (this.#closing !== undefined || this.#over) continue;
        if (this.inbox.push(message)) continue;
        await new Promise<void>((resolve) => this.#room = resolve);
        this.#room = undefined;
      }
    } catch {
      // `closed` says why.
    }
    watch.unsent = socket.buffered;
    this.#busy = true;
    const info = await socket.closed;
    if (performance.now() - started >= this.#plan.maxDelay) this.#failures = 0;
    return info;
  }

  #goesOn(cause: WebSocketCloseInfo | Error): boolean {
    if (this.#failures > this.#plan.attempts) return false;
    const { retry } = this.#options;
    if (retry !== undefined) {
      try {
        return retry(cause) === true;
      } catch {
        return false;
      }
    }
    if (!(cause instanceof Error)) return !cause.clean || cause.code !== NORMAL;
    if (cause instanceof HandshakeError || cause instanceof TlsError) {
      return cause.retryable;
    }
    return cause instanceof NetError;
  }

  /** No more attempts. */
  #lose(cause: WebSocketCloseInfo | Error): void {
    if (!(cause instanceof Error)) return this.#end(cause);
    this.#end({
      clean: false,
      code: ABNORMAL,
      reason: "",
      error: toNetError(cause, cause.message),
    });
  }

  /** Doubles from attempt to attempt; a random half keeps a crowd apart. */
  #delay(cause: WebSocketCloseInfo | Error): number {
    const { minDelay, maxDelay } = this.#plan;
    const most = Math.min(maxDelay, minDelay * 2 ** (this.#failures - 1));
    const delay = most / 2 + Math.random() * most / 2;
    if (!(cause instanceof HandshakeError)) return delay;
    // The server may say how long it wants to be left alone.
    const after = Number(cause.headers.get("retry-after") ?? NaN) * 1000;
    return after >= 0 ? Math.min(maxDelay, Math.max(delay, after)) : delay;
  }
}
