import type { NativeExchange } from "../http/_exchange.ts";
import { takeoverResponse } from "../http/_takeover.ts";
import {
  ClosedError,
  ProtocolError,
  SizeLimitError,
  TimeoutError,
} from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { toError, toNetError } from "../streams/_duplex.ts";
import { ABNORMAL, closePayload, GOING_AWAY, TOO_BIG } from "./_codes.ts";
import { BaseSocket } from "./_socket.ts";
import type { SocketInit } from "./_socket.ts";
import type { Message } from "./types.ts";
import { Watch } from "./_watch.ts";

/** What of Bun's ServerWebSocket is used here. */
interface BunWebSocket {
  binaryType: string;
  getBufferedAmount(): number;
  send(data: Message): number;
  ping(data: Uint8Array): number;
  close(code: number, reason: string): void;
  terminate(): void;
  pause(): void;
  resume(): void;
}

const empty = new Uint8Array(0);

/** Fields that Bun writes by itself. */
const OWN_FIELDS = ["connection", "upgrade", "sec-websocket-accept"];

/** Upgrades by Bun's server; the response only says that it was done. */
export function upgradeBun(
  native: NativeExchange,
  headers: Headers,
  init: SocketInit,
  begin: (socket: BaseSocket) => void,
): Response {
  const { server, maxMessageSize = Infinity } = native;
  if (init.limits.maxMessageSize > maxMessageSize) {
    throw new RangeError(
      `Cannot upgrade: Bun's own WebSocket takes at most ${maxMessageSize} bytes here, serve with engine: "wire": maxMessageSize ${init.limits.maxMessageSize}`,
    );
  }
  let ours: BunSocket;
  const fields = new Headers(headers);
  for (const name of OWN_FIELDS) fields.delete(name);
  const done = server!.upgrade(native.request, {
    headers: fields,
    data: {
      open(socket) {
        ours = new BunSocket(socket as BunWebSocket, init);
        begin(ours);
      },
      message: (_, data) => ours.onMessage(data),
      drain: () => ours.onDrain(),
      ping: (_, data) => ours.onPing(data),
      pong: (_, data) => ours.onPong(data),
      close: (_, code, reason) => ours.onClose(code, reason),
    },
  });
  if (!done) {
    return new Response("This connection cannot become a WebSocket\n", {
      status: 400,
    });
  }
  return takeoverResponse(101, headers, { start() {}, abandon() {} });
}

/** Bun's own WebSocket, which can be paused and tells when it has drained. */
class BunSocket extends BaseSocket {
  readonly raw: BunWebSocket;
  readonly remoteAddress: Address;
  readonly #watch: Watch;
  #held = false;
  #farewell: { code: number; reason: string } | undefined;
  #failure: { code: number; error: NetError } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: BunWebSocket, init: SocketInit) {
    super(init);
    this.raw = socket;
    this.remoteAddress = init.remoteAddress!;
    socket.binaryType = "uint8array";
    const { limits } = init;
    this.#watch = new Watch(limits, {
      held: () => this.#held,
      ping: () => this.transmitPing(empty),
      dead: () =>
        this.destroy(
          new TimeoutError(
            `The WebSocket's peer did not answer within ${limits.heartbeat} ms`,
            { phase: "heartbeat" },
          ),
        ),
      idle: () => void this.close(GOING_AWAY, "Idle"),
    });
  }

  get buffered(): number {
    return (this.ended ? 0 : this.raw.getBufferedAmount()) +
      this.pending;
  }

  protected get full(): boolean {
    return this.raw.getBufferedAmount() >= this.limits.highWaterMark;
  }

  protected transmit(message: Message): void {
    this.#watch.used = true;
    const sent = this.raw.send(message);
    // Refused for good, because of the server's backpressureLimit.
    if (sent === 0 && message.length > 0 && !this.closing) {
      this.destroy(
        new SizeLimitError("Cannot send: Bun dropped a message", {
          limit: this.limits.maxBuffered,
          phase: "send",
        }),
      );
    }
  }

  protected transmitPing(data: Uint8Array): void {
    if (!this.ended) this.raw.ping(data);
  }

  protected hold(): void {
    if (this.#held || this.closing) return;
    this.#held = true;
    this.raw.pause();
  }

  protected release(): void {
    if (!this.#held || this.ended) return;
    this.#held = false;
    this.raw.resume();
  }

  override close(code = 1000, reason = ""): Promise<void> {
    try {
      closePayload(code, reason);
    } catch (error) {
      return Promise.reject(error);
    }
    if (!this.closing) {
      this.closing = true;
      this.#farewell = { code, reason };
      this.endInbox();
      this.release();
      const { closeTimeout } = this.limits;
      this.#timer = setTimeout(
        () =>
          this.destroy(
            new TimeoutError(
              `The WebSocket's peer did not close within ${closeTimeout} ms`,
              { phase: "close" },
            ),
          ),
        closeTimeout,
      );
      this.#sayClose();
    }
    return this.closed.then(() => {});
  }

  /** Bun's close is over at once: it goes behind what waits to be sent. */
  #sayClose(): void {
    if (this.#farewell === undefined || this.ended) return;
    if (this.crowded || this.raw.getBufferedAmount() > 0) return;
    this.raw.close(this.#farewell.code, this.#farewell.reason);
  }

  override destroy(reason?: unknown): void {
    if (this.ended) return;
    const message = "The WebSocket was destroyed";
    this.cut ??= toError(reason, message);
    this.#failure ??= { code: ABNORMAL, error: toNetError(reason, message) };
    this.closing = true;
    this.dropInbox(this.cut);
    this.closeOutbox();
    this.raw.terminate();
  }

  protected fail(code: number, error: NetError): void {
    if (this.ended || this.#failure !== undefined) return;
    this.#failure = { code, error };
    this.cut ??= error;
    this.closing = true;
    this.endInbox(error);
    this.closeOutbox();
    this.release();
    this.raw.close(code, "");
  }

  // What Bun tells; called by the functions in `upgradeBun`.

  onMessage(data: Message): void {
    this.#watch.heard = this.#watch.used = true;
    if (this.closing) return;
    const { maxMessageSize } = this.limits;
    // Characters are not bytes, but never more than them.
    if (data.length > maxMessageSize) {
      this.fail(
        TOO_BIG,
        new SizeLimitError(
          `Cannot receive a message of over ${maxMessageSize} bytes: ${data.length}`,
          { limit: maxMessageSize, phase: "message" },
        ),
      );
    } else {
      this.deliver(data);
    }
  }

  onDrain(): void {
    this.drained();
    this.#sayClose();
  }

  onPing(data: Uint8Array): void {
    this.#watch.heard = true;
    this.tell("ping", data);
  }

  onPong(data: Uint8Array): void {
    this.#watch.heard = true;
    this.tell("pong", data);
  }

  onClose(code: number, reason: string): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#watch.stop();
    if (this.#failure === undefined && code !== ABNORMAL) {
      this.over({ clean: true, code, reason });
      return;
    }
    const failure = this.#failure ??= {
      code: ABNORMAL,
      // Bun tells a broken rule in words.
      error: reason === ""
        ? new ClosedError("The WebSocket was cut off without a Close")
        : new ProtocolError(`Cannot read a WebSocket frame: ${reason}`),
    };
    this.cut ??= failure.error;
    this.over({ clean: false, reason: "", ...failure });
  }
}
