import type { NativeExchange } from "../http/_exchange.ts";
import {
  ClosedError,
  NetError,
  ProtocolError,
  SizeLimitError,
  TimeoutError,
} from "../streams/errors.ts";
import { toError, toNetError } from "../streams/_duplex.ts";
import type { Address, Wait } from "../streams/types.ts";
import {
  ABNORMAL,
  closePayload,
  GOING_AWAY,
  POLICY,
  TOO_BIG,
} from "./_codes.ts";
import { BaseSocket } from "./_socket.ts";
import type { SocketInit } from "./_socket.ts";
import type { Message } from "./types.ts";
import { Watch } from "./_watch.ts";

/** What of Deno's WebSocket is used here. */
interface DenoWebSocket {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: string | ArrayBuffer }) => void) | null;
  onerror: ((event: { message?: string }) => void) | null;
  onclose:
    | ((event: { code: number; reason: string; wasClean: boolean }) => void)
    | null;
  send(data: Message): void;
  close(code?: number, reason?: string): void;
}

interface DenoNamespace {
  upgradeWebSocket(
    request: Request,
    options: { idleTimeout: number },
  ): { socket: DenoWebSocket; response: Response };
}

const WIRE = 'serve with engine: "wire"';

/**
 * Fields that `Deno.upgradeWebSocket` writes by itself. The protocol it does
 * not find in a list without spaces, so that is written here.
 */
const OWN_FIELDS = /^(connection|upgrade|sec-websocket-accept)$/;

/** Upgrades by `Deno.upgradeWebSocket`; gives its very response. */
export function upgradeDeno(
  native: NativeExchange,
  headers: Headers,
  init: SocketInit,
  begin: (socket: BaseSocket) => void,
): Response {
  for (const name of ["ping", "pong", "drain"] as const) {
    if (init.listener?.[name] !== undefined) {
      throw new TypeError(
        `Cannot upgrade: Deno's own WebSocket does not tell, ${WIRE}: ${name}`,
      );
    }
  }
  const { Deno } = globalThis as unknown as { Deno: DenoNamespace };
  const { socket, response } = Deno.upgradeWebSocket(native.request, {
    // Seconds of silence; Deno pings after half of them.
    idleTimeout: init.limits.heartbeat * 2 / 1000,
  });
  for (const [name, value] of headers) {
    if (!OWN_FIELDS.test(name)) response.headers.append(name, value);
  }
  const ours = new DenoSocket(socket, init);
  socket.onopen = () => begin(ours);
  return response;
}

/**
 * Deno's own WebSocket. It cannot be paused, so its queue is bounded by
 * `maxBuffered` and closes with 1008; it tells nothing of what was sent, so
 * that is bounded in the same way.
 */
class DenoSocket extends BaseSocket {
  readonly raw: DenoWebSocket;
  readonly remoteAddress: Address;
  readonly #watch: Watch;
  #failure: { code: number; error: NetError } | undefined;
  #trouble: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: DenoWebSocket, init: SocketInit) {
    super(init);
    this.raw = socket;
    this.remoteAddress = init.remoteAddress!;
    this.#watch = new Watch({ ...init.limits, heartbeat: 0 }, {
      held: () => false,
      ping: () => {},
      dead: () => {},
      idle: () => void this.close(GOING_AWAY, "Idle"),
    });
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (this.closing) return;
      this.#watch.used = true;
      this.#take(typeof data === "string" ? data : new Uint8Array(data));
    };
    socket.onerror = ({ message }) => {
      this.#trouble = message;
    };
    socket.onclose = ({ code, reason, wasClean }) =>
      this.#onOver(code, reason, wasClean);
  }

  get buffered(): number {
    return this.raw.bufferedAmount + this.pending;
  }

  protected get full(): boolean {
    return false;
  }

  #take(message: Message): void {
    const { maxMessageSize } = this.limits;
    // Characters are not bytes, but never more than them.
    if (message.length > maxMessageSize) {
      this.fail(
        TOO_BIG,
        new SizeLimitError(
          `Cannot receive a message of over ${maxMessageSize} bytes: ${message.length}`,
          { limit: maxMessageSize, phase: "message" },
        ),
      );
    } else {
      this.deliver(message);
    }
  }

  protected transmit(message: Message): void {
    this.#watch.used = true;
    this.raw.send(message);
    if (this.raw.bufferedAmount > this.limits.maxBuffered) {
      this.#overflow("send", "the peer does not read");
    }
  }

  protected hold(): void {
    if (this.inbox.fill > this.limits.maxBuffered) {
      this.#overflow("receive", "they are not received fast enough");
    }
  }

  protected release(): void {}

  #overflow(phase: string, why: string): void {
    const { maxBuffered } = this.limits;
    this.fail(
      POLICY,
      new SizeLimitError(
        `Cannot ${phase}: over ${maxBuffered} bytes of messages wait because ${why}, and Deno's own WebSocket has no backpressure: ${WIRE}`,
        { limit: maxBuffered, phase },
      ),
    );
  }

  protected transmitPing(): void {}

  override ping(_data?: Message, _options?: Wait): Promise<number> {
    return Promise.reject(
      new NetError(`Cannot ping: Deno's own WebSocket has no ping, ${WIRE}`, {
        code: "ERR_NOT_SUPPORTED",
      }),
    );
  }

  override close(code = 1000, reason = ""): Promise<void> {
    try {
      closePayload(code, reason);
    } catch (error) {
      return Promise.reject(error);
    }
    if (!this.closing) {
      this.endInbox();
      this.#say(code, reason);
    }
    return this.closed.then(() => {});
  }

  override destroy(reason?: unknown): void {
    if (this.ended) return;
    const message = "The WebSocket was destroyed";
    this.cut ??= toError(reason, message);
    this.#failure ??= { code: ABNORMAL, error: toNetError(reason, message) };
    this.dropInbox(this.cut);
    // Deno has nothing harder than a Close; nobody waits for its answer.
    this.#say(GOING_AWAY, "");
    this.#onOver(0, "", false);
  }

  protected fail(code: number, error: NetError): void {
    if (this.ended || this.#failure !== undefined) return;
    this.#failure = { code, error };
    this.cut ??= error;
    this.endInbox(error);
    this.#say(code, "");
  }

  #say(code: number, reason: string): void {
    this.closing = true;
    this.closeOutbox();
    this.raw.close(code, reason);
    const { closeTimeout } = this.limits;
    this.#timer ??= setTimeout(() => {
      this.#failure ??= {
        code: ABNORMAL,
        error: new TimeoutError(
          `The WebSocket's peer did not close within ${closeTimeout} ms`,
          { phase: "close" },
        ),
      };
      this.#onOver(0, "", false);
    }, closeTimeout);
  }

  #onOver(code: number, reason: string, clean: boolean): void {
    if (this.ended) return;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#watch.stop();
    if (clean && this.#failure === undefined) {
      this.over({ clean, code, reason });
      return;
    }
    const { code: said, error } = this.#failure ??= {
      code: ABNORMAL,
      error: errorOf(reason, this.#trouble),
    };
    this.cut ??= error;
    this.over({ clean: false, code: said, reason: "", error });
  }
}

/** Deno tells the cause in words, and abnormal ends with code 0. */
function errorOf(reason: string, trouble: string | undefined): NetError {
  if (/^No response from ping/.test(reason)) {
    return new TimeoutError("The WebSocket's peer did not answer a ping", {
      phase: "heartbeat",
    });
  }
  return trouble === undefined || /eof|reset|broken pipe/i.test(trouble)
    ? new ClosedError("The WebSocket was cut off without a Close")
    : new ProtocolError(`Cannot read a WebSocket frame: ${trouble}`);
}
