import { exchangeOf } from "../http/_exchange.ts";
import type { Exchange } from "../http/_exchange.ts";
import { takeoverResponse } from "../http/_takeover.ts";
import type { Takeover } from "../http/_takeover.ts";
import type { Transport } from "../tcp/_transport.ts";
import { upgradeBun } from "./_bun.ts";
import { GOING_AWAY } from "./_codes.ts";
import { affordable, Deflate } from "./_deflate.ts";
import { upgradeDeno } from "./_deno.ts";
import { answer } from "./_handshake.ts";
import { compressOf, limitsOf } from "./_options.ts";
import type { CompressSettings } from "./_options.ts";
import type { Agreement } from "./_extensions.ts";
import type { BaseSocket, SocketInit } from "./_socket.ts";
import type {
  Listener,
  Socket,
  SocketHandler,
  UpgradeOptions,
} from "./types.ts";
import { WireSocket } from "./_wire_socket.ts";

const NO_OPTIONS: UpgradeOptions = {};

/** Options besides those of every socket. */
const KNOWN = ["protocols", "headers", "origins"];

/**
 * Makes the response that turns a request into a WebSocket: return it from
 * the handler of `http.serve`. A request that is no proper handshake gets a
 * response that says so (400, 403, 405 or 426), and its handler is not run.
 *
 * The handler's lifetime is the socket's: when the function is done (when its
 * promise resolves) the socket is closed with 1000; when it fails, with 1011,
 * and the server's `onError` hears of it. A listener has no such lifetime.
 *
 * @example
 * ```ts
 * import { http, ws } from "@sluice/net";
 *
 * await using server = await http.serve((request) =>
 *   ws.upgrade(request, async (socket) => {
 *     for await (const message of socket) await socket.send(message);
 *   }), { hostname: "127.0.0.1", port: 0 });
 * ```
 *
 * @param request The very request that the handler was given.
 * @param handler A function over the socket, or callbacks.
 * @param options Subprotocols, origins, limits.
 * @returns What to return from the handler.
 */
export function upgrade(
  request: Request,
  handler: ((socket: Socket) => unknown) | Listener,
  options: UpgradeOptions = NO_OPTIONS,
): Response {
  const exchange = exchangeOf(request);
  if (exchange === undefined) {
    throw new TypeError(
      `Cannot upgrade: not a request that a handler of http.serve was given, or a copy of one: ${request.url}`,
    );
  }
  if (
    typeof handler !== "function" &&
    (typeof handler !== "object" || handler === null)
  ) {
    throw new TypeError(
      `Cannot upgrade: the handler is neither a function nor a listener: ${handler}`,
    );
  }
  const limits = limitsOf(options, KNOWN, "upgrade");
  let compress = compressOf(options.compress, "upgrade");
  const { context, engine } = exchange;
  if (compress !== undefined) {
    if (engine !== "wire") {
      throw new TypeError(
        `Cannot upgrade: the ${engine} engine has no say in compression, serve with engine: "wire": compress`,
      );
    }
    compress = affordable(compress);
  }
  const given = answer(request, context.protocol, options, compress);
  if ("refusal" in given) return given.refusal;
  const init: SocketInit = {
    limits,
    listener: typeof handler === "function" ? undefined : handler,
    protocol: given.protocol,
    extensions: given.agreed?.extensions,
    url: urlOf(request.url),
    remoteAddress: engine === "wire" ? undefined : context.remoteAddress,
    report: exchange.reporter?.() ?? reporterOf(exchange),
  };
  const beginning = new Beginning(exchange, handler, init);
  if (engine !== "wire") {
    return upgradeNatively(exchange, given.fields, beginning);
  }
  const { agreed } = given;
  if (agreed !== undefined) beginning.compress(agreed, compress!);
  return takeoverResponse(101, given.fields, beginning);
}

function reporterOf(exchange: Exchange): (error: unknown) => void {
  return (error) => exchange.report(error);
}

/** By the runtime's own WebSockets. */
function upgradeNatively(
  { engine, native }: Exchange,
  fields: readonly string[],
  beginning: Beginning,
): Response {
  if (native === undefined) {
    throw new TypeError(`Cannot upgrade: not on this engine: ${engine}`);
  }
  const upgradeNative = engine === "deno" ? upgradeDeno : upgradeBun;
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) {
    headers.append(fields[i], fields[i + 1]);
  }
  return upgradeNative(
    native,
    headers,
    beginning.init,
    (socket) => beginning.run(socket),
  );
}

/** What becomes a socket once the handshake is answered. */
class Beginning implements Takeover {
  readonly init: SocketInit;
  readonly #exchange: Exchange;
  readonly #handler: SocketHandler;
  #deflate: (() => Deflate) | undefined;

  constructor(exchange: Exchange, handler: SocketHandler, init: SocketInit) {
    this.#exchange = exchange;
    this.#handler = handler;
    this.init = init;
  }

  /** This was agreed on. */
  compress(agreed: Agreement, settings: CompressSettings): void {
    this.#deflate = () => new Deflate(agreed, settings, false);
  }

  /** On the wire engine. */
  start(transport: Transport, head: Uint8Array): void {
    const socket = new WireSocket(
      transport,
      false,
      this.#deflate === undefined
        ? this.init
        : { ...this.init, deflate: this.#deflate() },
    );
    adopt(this.#exchange, socket);
    socket.start(this.#handler, head);
  }

  /** On another engine. */
  run(socket: BaseSocket): void {
    adopt(this.#exchange, socket);
    socket.run(this.#handler);
  }

  abandon(): void {}
}

/** Most sockets of a server have the same URL: they share the text of it. */
let lastUrl = { http: "", ws: "" };

/** `http:` is `ws:`, `https:` is `wss:`. */
function urlOf(http: string): string {
  if (lastUrl.http !== http) {
    lastUrl = { http, ws: `ws${http.slice("http".length)}` };
  }
  return lastUrl.ws;
}

/** The server closes its sockets when it closes, and waits for them. */
function adopt(exchange: Exchange, socket: BaseSocket): void {
  if (exchange.adopt !== undefined) {
    socket.home = exchange.adopt(socket);
    return;
  }
  exchange.context.waitUntil(socket.closed);
  const withdraw = exchange.onShutdown(() => void socket.close(GOING_AWAY));
  socket.closed.then(withdraw);
}
