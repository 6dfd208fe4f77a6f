import { ClosedError, TimeoutError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { toError, toNetError } from "../streams/_duplex.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";
import { ABNORMAL, closePayload, GOING_AWAY, NO_CODE } from "./_codes.ts";
import type { Deflate } from "./_deflate.ts";
import { FrameReader } from "./_frame_reader.ts";
import type { FrameEvents } from "./_frame_reader.ts";
import {
  BINARY,
  CLOSE,
  COMPRESSED,
  PING,
  PONG,
  TEXT,
} from "./_frame_writer.ts";
import { Output } from "./_output.ts";
import { packedFrame, plainFrame } from "./_shared.ts";
import { BaseSocket } from "./_socket.ts";
import type { SocketInit } from "./_socket.ts";
import type { Message, SocketHandler } from "./types.ts";
import { Watch } from "./_watch.ts";

const empty = new Uint8Array(0);
/** How long one message may keep the answer to a Close waiting. */
const LINGER = 200;

/** How a socket winds down; one that is open has none. */
class Ending {
  /** The Close of ours that is to go out, or has. */
  farewell: Uint8Array | undefined;
  sentClose = false;
  /** The Close of the peer's. */
  received: { code: number; reason: string } | undefined;
  /** Why this side failed the connection, and what it said. */
  failure: { code: number; error: NetError } | undefined;
  timer: ReturnType<typeof setTimeout> | undefined;
  /** The peer's Close waits until what came before it is answered. */
  lingering = false;
  /** The peer's FIN came meanwhile. */
  finished = false;

  /** Whether both sides have said Close: nothing can make that unclean. */
  get shaken(): boolean {
    return this.sentClose && this.received !== undefined;
  }
}

/** A WebSocket over our own codec and any transport, after the handshake. */
export class WireSocket extends BaseSocket {
  readonly #transport: Transport;
  readonly #output: Output;
  readonly #reader: FrameReader<FrameEvents & TransportEvents>;
  readonly #watch: Watch | undefined;
  readonly #deflate: Deflate | undefined;
  #held = false;
  /** Whether anybody has ever come for a message. */
  #read = false;
  #end: Ending | undefined;
  /** The answer to the last ping, which there was no room for. */
  #owedPong: Uint8Array | undefined;

  constructor(transport: Transport, client: boolean, init: SocketInit) {
    super(init);
    const { limits } = init;
    this.#transport = transport;
    this.#deflate = init.deflate;
    this.#output = new Output(transport, limits.highWaterMark, client);
    this.#reader = new FrameReader({
      masked: !client,
      maxMessageSize: limits.maxMessageSize,
      inflater: init.deflate?.inflater,
    }, new WireSocket.#Ears(this));
    if (limits.heartbeat > 0 || limits.idleTimeout > 0) {
      this.#watch = new Watch(limits, {
        held: () => this.#held,
        ping: () => this.#write(PING, empty),
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
  }

  /**
   * Begins: the handler first, so that it is there for the first message.
   * `head` is what came behind the handshake.
   */
  start(handler: SocketHandler | undefined, head: Uint8Array): void {
    if (handler !== undefined) this.run(handler);
    if (head.byteLength > 0) this.#onData(head);
    this.#transport.attach(this.#reader.events);
    // Whoever had the transport before may have paused it.
    if (!this.#held) this.#transport.resume();
  }

  /** Clients mask, and leave it to the server to end TCP first. */
  get #client(): boolean {
    return this.#output.masked;
  }

  get #ending(): Ending {
    return this.#end ??= new Ending();
  }

  get raw(): unknown {
    return this.#transport.raw;
  }

  get remoteAddress(): Address {
    return this.#transport.remoteAddress;
  }

  get buffered(): number {
    return this.#output.buffered + this.pending;
  }

  protected get full(): boolean {
    return this.#output.full;
  }

  protected transmit(message: Message): void {
    if (this.#watch !== undefined) this.#watch.used = true;
    // Whoever has received a message comes back for the next one.
    this.#output.expected = this.hasInbox && !this.inbox.awaited;
    if (this.#deflate !== undefined) {
      const packed = this.#deflate.deflater.pack(message);
      if (packed !== undefined) {
        const first = (typeof message === "string" ? TEXT : BINARY) |
          COMPRESSED;
        const frame = this.#client ? undefined : packedFrame.of(first, packed);
        if (frame === undefined) this.#output.frame(first, packed);
        else this.#output.shared(frame);
        return;
      }
    }
    if (!this.#client) {
      const first = typeof message === "string" ? TEXT : BINARY;
      const frame = plainFrame.of(first, message);
      if (frame !== undefined) return this.#output.shared(frame);
    }
    if (typeof message === "string") this.#output.text(message);
    else this.#output.frame(BINARY, message);
  }

  protected transmitPing(data: Uint8Array): void {
    this.#write(PING, data);
  }

  /** Control frames, as long as there may be any. */
  #write(first: number, payload: Uint8Array): void {
    if (this.#end?.sentClose) return;
    this.#output.frame(first, payload);
  }

  protected override flush(): void {
    this.#read = true;
    this.#output.answered();
    this.caughtUp();
  }

  protected override caughtUp(): void {
    if (this.#end?.lingering) this.#answerClose();
  }

  protected hold(): void {
    if (this.#held || this.closing) return;
    this.#held = true;
    this.#transport.pause();
  }

  protected release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#transport.resume();
  }

  override close(code = 1000, reason = ""): Promise<void> {
    let payload: Uint8Array;
    try {
      payload = closePayload(code, reason);
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#end?.lingering) {
      this.#answerClose();
    } else if (!this.closing) {
      this.#ending.farewell = payload;
      this.#wind();
      this.endInbox();
      this.#sayClose();
    }
    return this.closed.then(() => {});
  }

  override destroy(reason?: unknown): void {
    if (this.ended) return;
    this.cut ??= toError(reason, "The WebSocket was destroyed");
    const ending = this.#ending;
    if (!ending.shaken) {
      ending.failure ??= {
        code: ABNORMAL,
        error: toNetError(reason, "The WebSocket was destroyed"),
      };
    }
    this.closing = true;
    this.#reader.stop();
    this.dropInbox(this.cut);
    this.closeOutbox();
    this.#output.drop();
    this.#transport.destroy();
  }

  protected fail(code: number, error: NetError): void {
    const ending = this.#ending;
    if (this.ended || ending.failure !== undefined || ending.shaken) return;
    ending.failure = { code, error };
    this.cut ??= error;
    this.#reader.stop();
    this.endInbox(error);
    this.closeOutbox();
    ending.farewell ??= closePayload(code, "");
    this.#wind();
    this.#sayClose();
    // What the peer still sends is read and dropped until its FIN: an unread
    // byte would turn our Close into a reset.
    this.#output.end();
  }

  /** From here on it only winds down, in bounded time. */
  #wind(): void {
    this.closing = true;
    this.release();
    this.#watch?.stop();
    const ending = this.#ending;
    if (ending.lingering) {
      ending.lingering = false;
      clearTimeout(ending.timer);
      ending.timer = undefined;
    }
    if (ending.timer !== undefined) return;
    const { closeTimeout } = this.limits;
    ending.timer = setTimeout(() => {
      if (ending.received === undefined) {
        this.destroy(
          new TimeoutError(
            `The WebSocket's peer did not close within ${closeTimeout} ms`,
            { phase: "close" },
          ),
        );
      } else {
        this.#transport.destroy();
      }
    }, closeTimeout);
  }

  /** Close goes behind all that was accepted, and what waits to be. */
  #sayClose(): void {
    const ending = this.#end;
    if (ending?.farewell === undefined || ending.sentClose) return;
    if (this.crowded) return;
    this.#write(CLOSE, ending.farewell);
    ending.sentClose = true;
    this.closeOutbox();
  }

  /**
   * Hears of frames and of the transport: one small object, where functions
   * would cost every idle connection half a KiB.
   */
  static readonly #Ears = class implements FrameEvents, TransportEvents {
    readonly #socket: WireSocket;

    constructor(socket: WireSocket) {
      this.#socket = socket;
    }
    message(data: Message): void {
      this.#socket.#onMessage(data);
    }
    ping(data: Uint8Array): void {
      this.#socket.#onPing(data);
    }
    pong(data: Uint8Array): void {
      this.#socket.tell("pong", data);
    }
    closing(code: number, reason: string): void {
      this.#socket.#onClose(code, reason);
    }
    fail(code: number, error: NetError): void {
      this.#socket.fail(code, error);
    }
    get borrows(): "all" {
      return "all";
    }
    data(chunk: Uint8Array, lent?: boolean): void {
      this.#socket.#onData(chunk, lent);
    }
    end(): void {
      this.#socket.#onEnd();
    }
    drain(): void {
      this.#socket.#onDrain();
    }
    close(error?: NetError): void {
      this.#socket.#onOver(error);
    }
  };

  #onMessage(data: Message): void {
    if (this.closing) return;
    if (this.#watch !== undefined) this.#watch.used = true;
    this.deliver(data);
  }

  #onData(chunk: Uint8Array, lent?: boolean): void {
    if (this.#watch !== undefined) this.#watch.heard = true;
    if (this.#reader.over) return;
    // What a listener answers to the messages of a chunk goes out together.
    this.#output.cork();
    this.#reader.push(chunk, lent);
    this.#output.uncork();
  }

  #onPing(data: Uint8Array): void {
    // A peer that pings and does not read is owed one answer, not a queue.
    if (this.full) this.#owedPong = data;
    else this.#write(PONG, data);
    this.tell("ping", data);
  }

  /** RFC 6455, 5.5.1 and 7.1.1. */
  #onClose(code: number, reason: string): void {
    const ending = this.#ending;
    ending.received = { code, reason };
    // The reader of a client comes when it is connected, maybe after this.
    const hasReader = this.#read || this.#client || this.listener;
    if (!this.closing && hasReader && this.busy) {
      this.#linger();
    } else {
      this.#answerClose();
    }
  }

  /**
   * Whoever has a message in hand may answer it first: as long as there is
   * progress, and within the time that a closing has.
   */
  #linger(): void {
    const ending = this.#ending;
    ending.lingering = true;
    this.release();
    this.#watch?.stop();
    let left = this.queued;
    let time = this.limits.closeTimeout;
    const wait = () => {
      const step = Math.min(LINGER, time);
      ending.timer = setTimeout(() => {
        if (this.closing) return;
        time -= step;
        if (time <= 0 || this.queued === left) return this.#answerClose();
        left = this.queued;
        wait();
      }, step);
    };
    wait();
  }

  #answerClose(): void {
    const ending = this.#ending;
    const { code, reason } = ending.received!;
    this.closeOutbox();
    this.endInbox();
    if (!ending.sentClose) {
      // The reason goes back too: peers show what they hear.
      ending.farewell = code === NO_CODE ? empty : closePayload(code, reason);
    }
    this.#wind();
    this.#sayClose();
    if (!this.#client || ending.finished) this.#output.end();
  }

  /** The peer's FIN. */
  #onEnd(): void {
    const ending = this.#ending;
    const { received, failure, lingering } = ending;
    if (lingering) {
      ending.finished = true;
      return;
    }
    if (received !== undefined || failure !== undefined) {
      this.#output.end();
      return;
    }
    this.#lost(new ClosedError("The WebSocket's peer ended without a Close"));
    this.#transport.destroy();
  }

  #lost(error: NetError): void {
    this.#ending.failure = { code: ABNORMAL, error };
    this.cut ??= error;
    this.closing = true;
    this.#reader.stop();
    this.endInbox(error);
    this.closeOutbox();
  }

  #onDrain(): void {
    this.#output.drained();
    if (this.#owedPong !== undefined && !this.full) {
      const data = this.#owedPong;
      this.#owedPong = undefined;
      this.#write(PONG, data);
    }
    this.drained();
    this.#sayClose();
  }

  #onOver(error: NetError | undefined): void {
    const ending = this.#ending;
    if (ending.failure === undefined) {
      if (ending.received === undefined) {
        this.#lost(
          error ?? new ClosedError("The WebSocket was cut off without a Close"),
        );
      } else if (this.#output.buffered > 0) {
        this.#lost(
          error ?? new ClosedError("The WebSocket was cut off while it sent"),
        );
      }
    }
    if (ending.timer !== undefined) clearTimeout(ending.timer);
    this.#watch?.stop();
    this.#deflate?.release();
    this.#output.drop();
    this.over(
      ending.failure === undefined ? { clean: true, ...ending.received! } : {
        clean: false,
        code: ending.received?.code ?? ending.failure.code,
        reason: ending.received?.reason ?? "",
        error: ending.failure.error,
      },
    );
  }
}
