/**
 * For Hono apps: `serve(app)` of `@sluice/net/http` needs nothing, this gives
 * Hono's own helpers over it, on every engine and runtime.
 *
 * @example
 * ```ts
 * import { serve } from "@sluice/net/http";
 * import { getConnInfo, upgradeWebSocket } from "@sluice/net/hono";
 * import { Hono } from "hono";
 *
 * const app = new Hono()
 *   .get("/", (c) => c.text(`Hello ${getConnInfo(c).remote.address}`))
 *   .get(
 *     "/socket",
 *     upgradeWebSocket(() => ({
 *       onMessage: (event, socket) => socket.send(`You said ${event.data}`),
 *     })),
 *   );
 * const server = await serve(app, { port: 0 });
 * await server.close();
 * ```
 *
 * @module
 */
import type { Context } from "hono";
import type { ConnInfo } from "hono/conninfo";
import { defineWebSocketHelper, WSContext } from "hono/ws";
import type { UpgradeWebSocket, WSReadyState } from "hono/ws";
import { isUpgrade } from "../ws/is_upgrade.ts";
import type { Socket, UpgradeOptions } from "../ws/types.ts";
import { upgrade } from "../ws/upgrade.ts";
import { exchangeOf } from "./_exchange.ts";
import type { ServerContext } from "./types.ts";

export * from "../streams/errors.ts";
export type {
  Address,
  CloseInfo,
  Duplex,
  MaybePromise,
  Sink,
  Source,
  Wait,
} from "../streams/types.ts";
export type {
  Message,
  Socket,
  SocketOptions,
  UpgradeOptions,
  WebSocketCloseInfo,
} from "../ws/types.ts";

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** The standard's `CloseEvent`, which Node 20 and 22 lack. */
function closeEvent(
  init: { code: number; reason: string; wasClean: boolean },
): CloseEvent {
  return typeof CloseEvent === "function"
    ? new CloseEvent("close", init)
    : Object.assign(new Event("close"), init) as CloseEvent;
}

function errorEvent(error: Error): Event {
  return typeof ErrorEvent === "function"
    ? new ErrorEvent("error", { error, message: error.message })
    : Object.assign(new Event("error"), { error, message: error.message });
}

/**
 * Hono's WebSocket helper: the options are those of `ws.upgrade`, the `raw`
 * of the context is the socket of `@sluice/net/ws`. Binary messages come as
 * `ArrayBuffer`.
 *
 * Hono's `send` has no result, and so no backpressure: a peer that takes
 * nothing is cut off once `maxBuffered` waits for it. `raw.send` has.
 *
 * @example
 * ```ts
 * import { upgradeWebSocket } from "@sluice/net/hono";
 * import { Hono } from "hono";
 *
 * const app = new Hono();
 * app.get(
 *   "/echo",
 *   upgradeWebSocket(() => ({
 *     onMessage: (event, socket) => socket.send(event.data as string),
 *   })),
 * );
 * ```
 */
export const upgradeWebSocket: UpgradeWebSocket<
  Socket,
  UpgradeOptions
> = defineWebSocketHelper<
  Socket,
  UpgradeOptions
>((c, events, options) => {
  const request = c.req.raw;
  if (!isUpgrade(request)) return;
  let state: WSReadyState = CONNECTING;
  let context: WSContext<Socket>;
  const open = (socket: Socket): void => {
    state = OPEN;
    context = new WSContext<Socket>({
      raw: socket,
      url: socket.url,
      protocol: socket.protocol,
      get readyState() {
        return state;
      },
      send(data) {
        const sent = socket.send(
          data instanceof ArrayBuffer ? new Uint8Array(data) : data,
        );
        // Who wants to wait uses `raw`.
        if (sent instanceof Promise) sent.catch(() => {});
      },
      close(code, reason) {
        if (state === OPEN) state = CLOSING;
        socket.close(code, reason).catch(() => {});
      },
    });
  };
  return upgrade(request, {
    open(socket) {
      open(socket);
      return events.onOpen?.(new Event("open"), context);
    },
    message(_, data) {
      const given = typeof data === "string"
        ? data
        : data.slice().buffer as ArrayBuffer;
      return events.onMessage?.(
        new MessageEvent("message", { data: given }),
        context,
      );
    },
    error(_, error) {
      state = CLOSED;
      return events.onError?.(errorEvent(error), context);
    },
    close(_, { code, reason, clean }) {
      state = CLOSED;
      return events.onClose?.(
        closeEvent({ code, reason, wasClean: clean }),
        context,
      );
    },
  }, options);
});

/**
 * Hono's connection info: who is at the other end.
 *
 * @example
 * ```ts
 * import { getConnInfo } from "@sluice/net/hono";
 * import { Hono } from "hono";
 *
 * const app = new Hono();
 * app.get("/", (c) => c.text(`${getConnInfo(c).remote.address}`));
 * ```
 *
 * @param c The context of the handler.
 * @returns Address and port; nothing of them on a Unix socket.
 */
export function getConnInfo(c: Context): ConnInfo {
  const env = c.env as Partial<ServerContext> | undefined;
  const address = exchangeOf(c.req.raw)?.context.remoteAddress ??
    env?.remoteAddress;
  if (address === undefined) {
    throw new TypeError(
      "Cannot tell about the connection: the app is not served by http.serve",
    );
  }
  if (address.transport === "unix") return { remote: {} };
  const { hostname, port } = address;
  return {
    remote: {
      transport: "tcp",
      address: hostname,
      addressType: hostname.includes(":") ? "IPv6" : "IPv4",
      port,
    },
  };
}
