import type { CloseInfo, MaybePromise, Sink, Wait } from "../streams/types.ts";
import { boundsOf } from "./_channel_options.ts";
import { pollResponse, postResponse, sseResponse } from "./_channel_http.ts";
import { find, isFull, Session } from "./_channel_session.ts";
import type { Bounds } from "./_channel_options.ts";
import { overSocket } from "./_channel_socket.ts";
import { lastEventIdOf } from "./_event_text.ts";

/** What comes and goes: text is a string, binary is bytes. */
export type ChannelMessage = string | Uint8Array;

/** One client, however it is connected. */
export interface ChannelSession extends Sink<ChannelMessage> {
  /** Names it; nobody can guess it, and who knows it can speak for it. */
  readonly id: string;
  /** How it is connected. */
  readonly kind: "websocket" | "sse" | "polling";
  /**
   * `true`: accepted, `false`: the client is gone, a promise: more than
   * `highWaterMark` waits for it, or it is not there for the moment; wait.
   */
  send(message: ChannelMessage, options?: Wait): MaybePromise<boolean>;
  /** Sends what was accepted, and ends it. */
  close(): Promise<void>;
  /** Ends it now; what is queued is dropped. */
  destroy(reason?: unknown): void;
  /** Resolves when it is over; never rejects. */
  readonly closed: Promise<CloseInfo>;
}

/**
 * One set of callbacks for every way a client may come. They are called in
 * order, none before `open` is done. When `message` gives a promise, the next
 * message waits for it, and the client is stopped meanwhile. One that throws
 * or rejects ends the session, and the server's `onError` hears of it.
 */
export interface ChannelHandlers {
  /** The client is there. */
  open?(session: ChannelSession): unknown;
  /** It sent a message. */
  message?(session: ChannelSession, message: ChannelMessage): unknown;
  /** It is over; the last callback. */
  close?(session: ChannelSession, info: CloseInfo): unknown;
}

/** What a channel uses of a WebSocket. */
export interface ChannelSocket extends Sink<ChannelMessage> {
  /** Says goodbye and waits for the peer's. */
  close(code?: number, reason?: string): Promise<void>;
  /** Ends it now. */
  destroy(reason?: unknown): void;
  /** Resolves when it is over. */
  readonly closed: Promise<CloseInfo>;
}

/** The callbacks that a channel gives to `ws.upgrade`. */
export interface ChannelListener {
  /** The socket is open. */
  open(socket: ChannelSocket): unknown;
  /** A message came. */
  message(socket: ChannelSocket, data: ChannelMessage): unknown;
  /** It is over. */
  close(socket: ChannelSocket, info: CloseInfo): unknown;
}

/** How clients may come, and how long is waited for them. */
export interface ChannelOptions {
  /**
   * `ws.upgrade`, or a function that calls it with options of its own, for
   * clients that come by WebSocket. Without it they get a 426 and have to
   * come by other means.
   */
  upgrade?: (request: Request, listener: ChannelListener) => Response;
  /**
   * Bytes queued for a client before `send` gives a promise. Not for
   * WebSockets, which have their own. @default 64 KiB
   */
  highWaterMark?: number;
  /**
   * Bytes of messages whose `send` was not waited for, past which the session
   * is destroyed with a `SizeLimitError`. Not for WebSockets. @default 16 MiB
   */
  maxBuffered?: number;
  /**
   * Bytes of a message from a client by POST; 413 past it. Not for
   * WebSockets. @default 1 MiB
   */
  maxMessageSize?: number;
  /**
   * Bytes of messages, sent already, that are kept for an SSE client whose
   * connection is cut. @default 64 KiB
   */
  replay?: number;
  /** Milliseconds that a poll waits for a message. @default {25000} */
  poll?: number;
  /**
   * Milliseconds in which a client that is not connected must come back,
   * before its session is over. @default {30000}
   */
  grace?: number;
  /** Milliseconds of silence until an SSE client gets a comment. @default {15000} */
  heartbeat?: number;
  /**
   * Milliseconds until an SSE client connects again, 2³¹ − 1 at most.
   * @default {1000}
   */
  retry?: number;
  /**
   * Sessions by SSE and polling at a time in this process, from this call's
   * point of view; 503 past it. @default {10000}
   */
  maxSessions?: number;
  /**
   * Bytes kept for all these sessions together. Past it, a session whose
   * client is behind is destroyed when it is sent more. @default 256 MiB
   */
  maxMemory?: number;
}

/**
 * Talks with a client by WebSocket, server-sent events or long polling, with
 * one set of callbacks. Give it all requests of one path:
 *
 * - A WebSocket handshake becomes a socket, when `options.upgrade` is
 *   `ws.upgrade`. Its messages are plain WebSocket messages.
 * - `GET` with `Accept: text/event-stream` opens a session and streams it. The
 *   first event has the type `channel` and the data `{ "channel": id }`; each
 *   message is an event whose data is an envelope, `{ "id": 7, "data": "text" }`,
 *   or `{ "id": 7, "base64": "…" }` for bytes; the last one, of type `close`,
 *   has `{ "clean": true }`. An `EventSource` whose connection was cut comes
 *   back by itself, is told `{ "channel": id, "resumed": true }`, and misses
 *   nothing; when too much was missed, or it was gone for too long, it gets a
 *   new session under a new id.
 * - Any other `GET` polls. The first one opens a session and is answered at
 *   once: `{ "channel": id, "cursor": 0, "messages": [] }`, where `messages`
 *   are envelopes. `GET ?channel=<id>&cursor=<cursor>` acknowledges all up to
 *   `cursor` and waits for what comes after it, at most `options.poll`. An
 *   answer that got lost is given again to who asks again. A second poll ends
 *   the first, which is answered with `"replaced": true`. At the end there is
 *   `"closed": { "clean": true }` in the answer.
 * - `POST ?channel=<id>` sends its body, as bytes when it is of the type
 *   `application/octet-stream` and as text else, and is answered with
 *   `{ "ok": true }` when `message` is done with it; or with `ok: false` and an
 *   `error`. With `&seq=1`, `2`, … a message that is sent twice, because no
 *   answer came, is handled once. `DELETE ?channel=<id>` ends the session.
 *
 * `"again": true` in a close says that the server shuts down: come again. An
 * id that is not known gets a 404, one of a session that is over a 410, and an
 * `EventSource` that comes back to one a 204, which stops it.
 *
 * Sessions live in this process: where there are several, one client's requests
 * have to reach the same one. They belong to the path they were opened on. Who
 * may open one is for the handler to decide, before it calls `channel`; for
 * pages of other origins see `origins` of `ws.upgrade`.
 *
 * @example
 * ```ts
 * import { http, ws } from "@sluice/net";
 *
 * const server = await http.serve((request) =>
 *   http.channel(request, {
 *     open: (session) => session.send("welcome"),
 *     message: (session, text) => session.send(`echo ${text}`),
 *   }, { upgrade: ws.upgrade }), { hostname: "127.0.0.1", port: 0 });
 * const answer = await http.get(server.url);
 * console.log(await answer.json());
 * await server.close();
 * ```
 *
 * @param request The request that the handler was given.
 * @param handlers Callbacks; those of the request that opened a session count.
 * @param options `ws.upgrade`, bounds and times.
 * @returns What to return from the handler.
 */
export function channel(
  request: Request,
  handlers: ChannelHandlers,
  options: ChannelOptions = {},
): Response {
  if (typeof handlers !== "object" || handlers === null) {
    throw new TypeError(
      `Cannot make a channel: the handlers are no object: ${handlers}`,
    );
  }
  const bounds = boundsOf(options);
  const { method, headers } = request;
  if (listed(headers.get("upgrade"), "websocket")) {
    if (bounds.upgrade !== undefined) {
      return overSocket(request, handlers, bounds.upgrade);
    }
    return refuse(426, "No WebSocket here: use server-sent events or polling", {
      connection: "upgrade",
      upgrade: "HTTP/1.1",
    });
  }
  const { pathname, searchParams } = new URL(request.url);
  const id = searchParams.get("channel");
  switch (method) {
    case "GET":
      if (listed(headers.get("accept"), "text/event-stream")) {
        return stream(request, handlers, bounds);
      }
      if (id === null) {
        return begin(request, handlers, bounds, "polling");
      }
      return poll(
        find(id, pathname),
        numberOf(searchParams.get("cursor") ?? "0"),
      );
    case "POST":
      return post(request, find(id, pathname), searchParams.get("seq"));
    case "DELETE": {
      const session = find(id, pathname);
      if (session === undefined) return unknown();
      session.leave();
      return refuse(204);
    }
  }
  return refuse(405, "GET, POST or DELETE wanted", {
    allow: "GET, POST, DELETE",
  });
}

/** By server-sent events: goes on with a session, or opens one. */
function stream(
  request: Request,
  handlers: ChannelHandlers,
  bounds: Bounds,
): Response {
  const { pathname, searchParams } = new URL(request.url);
  const last = lastEventIdOf(request);
  let id = searchParams.get("channel");
  let cursor = searchParams.get("cursor") ?? "0";
  const slash = last === undefined ? -1 : last.indexOf("/");
  if (last !== undefined && slash !== -1) {
    id = last.slice(0, slash);
    cursor = last.slice(slash + 1);
  }
  const session = find(id, pathname);
  if (session === undefined || session.kind !== "sse") {
    return begin(request, handlers, bounds, "sse");
  }
  const number = numberOf(cursor);
  if (number === undefined) return refuse(400, "cursor must be a number");
  if (session.done) return refuse(204);
  if (session.rewind(number)) return sseResponse(session, true);
  return begin(request, handlers, bounds, "sse");
}

function begin(
  request: Request,
  handlers: ChannelHandlers,
  bounds: Bounds,
  kind: "sse" | "polling",
): Response {
  if (isFull(bounds)) {
    return refuse(503, "There are too many sessions", { "retry-after": "10" });
  }
  const session = new Session(request, handlers, { bounds, kind });
  session.open();
  return kind === "sse" ? sseResponse(session, false) : pollResponse(session);
}

function poll(
  session: Session | undefined,
  cursor: number | undefined,
): Response {
  if (session === undefined) return unknown();
  if (cursor === undefined) return refuse(400, "cursor must be a number");
  if (session.kind !== "polling") {
    return refuse(400, "This session is a stream of events");
  }
  if (!session.acknowledge(cursor)) {
    return refuse(400, "cursor is of no message that was given");
  }
  return pollResponse(session, cursor);
}

function post(
  request: Request,
  session: Session | undefined,
  seq: string | null,
): Response {
  if (session === undefined) return unknown();
  if (session.done) return refuse(410, "The session is over");
  const number = seq === null ? undefined : numberOf(seq);
  if (seq !== null && !number) {
    return refuse(400, "seq must be a number from 1 on");
  }
  const length = Number(request.headers.get("content-length") ?? 0);
  if (length > session.bounds.maxMessageSize) {
    return refuse(413, "The message is too large");
  }
  if (session.crowded) {
    return refuse(429, "Too many messages at a time", { "retry-after": "1" });
  }
  return postResponse(session, request, number);
}

function unknown(): Response {
  return refuse(404, "There is no such session");
}

function refuse(
  status: number,
  text?: string,
  headers?: Record<string, string>,
): Response {
  return new Response(text === undefined ? null : `${text}\n`, {
    status,
    headers: { "cache-control": "no-store", ...headers },
  });
}

/** Whether a comma-separated field has this, parameters aside. */
function listed(field: string | null, wanted: string): boolean {
  return field !== null &&
    field.split(",").some((item) =>
      item.split(";")[0].trim().toLowerCase() === wanted
    );
}

/** A whole number of 0 or more, in digits. */
function numberOf(text: string): number | undefined {
  if (!/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}
