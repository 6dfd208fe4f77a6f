import { isThenable } from "../streams/_checks.ts";
import type { CloseInfo, MaybePromise, Wait } from "../streams/types.ts";
import { randomId } from "./_channel_session.ts";
import type {
  ChannelHandlers,
  ChannelMessage,
  ChannelOptions,
  ChannelSession,
  ChannelSocket,
} from "./channel.ts";

/** A session that is a WebSocket. */
class SocketSession implements ChannelSession {
  readonly kind = "websocket";
  readonly #socket: ChannelSocket;
  #id: string | undefined;

  constructor(socket: ChannelSocket) {
    this.#socket = socket;
  }

  get id(): string {
    return this.#id ??= randomId();
  }

  get closed(): Promise<CloseInfo> {
    return this.#socket.closed;
  }

  get buffered(): number {
    return this.#socket.buffered;
  }

  get writable(): WritableStream<ChannelMessage> {
    return this.#socket.writable;
  }

  send(message: ChannelMessage, options?: Wait): MaybePromise<boolean> {
    return this.#socket.send(message, options);
  }

  close(): Promise<void> {
    return this.#socket.close();
  }

  destroy(reason?: unknown): void {
    this.#socket.destroy(reason);
  }
}

/** Hands a handshake to `ws.upgrade`. */
export function overSocket(
  request: Request,
  handlers: ChannelHandlers,
  upgrade: NonNullable<ChannelOptions["upgrade"]>,
): Response {
  let session: SocketSession | undefined;
  /** What `open` gave, while it is not done. */
  let opening: Promise<unknown> | undefined;
  return upgrade(request, {
    open(socket) {
      session = new SocketSession(socket);
      const result = handlers.open?.(session);
      if (!isThenable(result)) return;
      const done = () => void (opening = undefined);
      opening = Promise.resolve(result);
      opening.then(done, done);
      return opening;
    },
    message(_socket, data) {
      const deliver = () => handlers.message?.(session!, data);
      // The failure of `open` is told by itself.
      return opening === undefined
        ? deliver()
        : opening.then(deliver, () => {});
    },
    close(_socket, info) {
      // It may be over before it was open.
      if (session === undefined) return;
      const tell = () => handlers.close?.(session!, info);
      return opening === undefined ? tell() : opening.then(tell, tell);
    },
  });
}
