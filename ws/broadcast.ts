import type { MaybePromise } from "../streams/types.ts";
import { share, unshare } from "./_deflate.ts";
import { BINARY, TEXT } from "./_frame_writer.ts";
import { plainFrame } from "./_shared.ts";
import { BaseSocket } from "./_socket.ts";
import type { Message, Socket } from "./types.ts";

/** How to send one message to many sockets. */
export interface BroadcastOptions {
  /**
   * What becomes of a socket that has no room, because its peer does not read
   * fast enough: `"drop"` leaves this message out for it, `"close"` closes it
   * with 1008 and a `SizeLimitError` in `closed`, `"wait"` queues the message
   * as `send` does, and waits for all. @default "drop"
   */
  slow?: "drop" | "close" | "wait";
}

/** Room that a socket of another make is taken to have. */
const ROOM = 64 * 1024;

/**
 * Sends a message to many sockets; its frame is encoded once, and compressed
 * once for those that agreed on the same compression without context takeover.
 *
 * What is published on a `Bus` is encoded once as well, with `send` alone:
 * there `overflow` of the subscription says what becomes of the slow ones.
 *
 * @example
 * ```ts
 * import { http, ws } from "@sluice/net";
 *
 * const sockets = new Set<ws.Socket>();
 * await using server = await http.serve((request) =>
 *   ws.upgrade(request, {
 *     open: (socket) => sockets.add(socket),
 *     message: (_, data) => void ws.broadcast(sockets, data, { slow: "close" }),
 *     close: (socket) => sockets.delete(socket),
 *   }), { hostname: "127.0.0.1", port: 0 });
 * ```
 *
 * @param sockets To whom; one that is closed is passed over.
 * @param message A string or bytes, which are copied.
 * @param options What becomes of slow sockets.
 * @returns How many have accepted it: a promise when some are waited for.
 */
export function broadcast(
  sockets: Iterable<Socket>,
  message: Message,
  options: BroadcastOptions = {},
): MaybePromise<number> {
  const { slow = "drop" } = options;
  if (slow !== "drop" && slow !== "close" && slow !== "wait") {
    throw new TypeError(
      `Cannot broadcast: slow is "drop", "close" or "wait": ${slow}`,
    );
  }
  if (typeof message !== "string" && !(message instanceof Uint8Array)) {
    throw new TypeError(
      `Cannot broadcast: neither a string nor bytes: ${message}`,
    );
  }
  let accepted = 0;
  let waiting: Promise<boolean>[] | undefined;
  plainFrame.hold(typeof message === "string" ? TEXT : BINARY, message);
  share(message);
  try {
    for (const socket of sockets) {
      const sent = socket instanceof BaseSocket
        ? socket.offer(message, slow)
        : offer(socket, message, slow);
      if (sent === true) accepted++;
      else if (sent !== false) (waiting ??= []).push(sent);
    }
  } finally {
    plainFrame.release();
    unshare();
  }
  if (waiting === undefined) return accepted;
  return Promise.all(waiting).then((results) =>
    accepted + results.filter((result) => result).length
  );
}

function offer(
  socket: Socket,
  message: Message,
  slow: "drop" | "close" | "wait",
): MaybePromise<boolean> {
  if (slow === "wait" || socket.buffered < ROOM) return socket.send(message);
  if (slow === "close") void socket.close(1008, "Too slow");
  return false;
}
