import type { Address } from "../streams/types.ts";
import { listenError } from "../tcp/_errors.ts";
import { ipBytes } from "../tcp/_ip.ts";
import { wholeness } from "./_bun_body.ts";
import { standardOf } from "./_client_response.ts";
import { UNUSABLE } from "./_response_parts.ts";
import { nativeOf } from "./response.ts";
import { setExchange } from "./_exchange.ts";
import type { NativeExchange, NativeSocketEvents } from "./_exchange.ts";
import {
  listenNative,
  NativeContext,
  NativeRequest,
  NativeServer,
  oldProtocolOf,
  refusal,
  refuseGiven,
  refuseTls,
} from "./_native.ts";
import { isThenable } from "./_thenable.ts";
import type { Protocol, ServeConfig } from "./_serve_options.ts";
import { takeoverOf } from "./_takeover.ts";
import type { HttpServer } from "./types.ts";

// What is used of Bun, spelled out: the npm build has no types of it.
interface BunServer {
  readonly hostname?: string;
  readonly port?: number;
  stop(force?: boolean): Promise<void>;
  ref(): void;
  unref(): void;
  /** Seconds without traffic before this connection is closed; 0: never. */
  timeout(request: Request, seconds: number): void;
  requestIP(request: Request): { address: string; port: number } | null;
  upgrade(
    request: Request,
    options: { headers?: Headers; data: NativeSocketEvents },
  ): boolean;
}

interface BunWebSocket {
  readonly data: NativeSocketEvents;
}

interface BunNamespace {
  serve(options: object): BunServer;
  peek: {
    (promise: Promise<unknown>): unknown;
    status(promise: Promise<unknown>): "pending" | "fulfilled" | "rejected";
  };
}

const bun = (globalThis as unknown as { Bun: BunNamespace }).Bun;

/** What Bun.serve has no way to do. */
const CANNOT = [
  "http2",
  "proxyProtocol",
  "wiretap",
  "limits.header",
  "limits.target",
  "limits.connections",
  "timeouts.header",
  "timeouts.body",
];

/** Bun's longest idle timeout, in seconds. */
const MAX_IDLE = 255;
/** Bytes of a WebSocket message at most. */
const MAX_MESSAGE = 16 * 1024 * 1024;
/** Bytes that wait on a WebSocket at most, before Bun drops messages. */
const MAX_BUFFERED = 256 * 1024 * 1024;

export async function serveNative(config: ServeConfig): Promise<HttpServer> {
  refuseGiven(config, CANNOT, "Bun");
  refuseTls(config, ["alpn", "sni"], "Bun");
  if (config.backlog !== undefined) throw refusal("serve with backlog", "Bun");
  if (config.onExpect !== undefined) {
    throw refusal("serve with onExpect", "Bun");
  }
  const { idle } = config.timeouts;
  if (idle !== Infinity && idle > MAX_IDLE * 1000) {
    throw new RangeError(
      `Cannot serve: Bun's own server knows timeouts.idle up to ${
        MAX_IDLE * 1000
      } ms, or serve with engine: "wire": ${idle}`,
    );
  }
  return await listenNative(config, (clean) => new BunHttpServer(clean));
}

class BunHttpServer extends NativeServer {
  readonly runtime = "Bun";
  readonly address: Address;
  readonly raw: BunServer;
  /** Seconds; 0 is never. */
  readonly #idle: number;
  readonly protocols: readonly Protocol[];

  constructor(config: ServeConfig) {
    super(config);
    const { hostname, port, path, reusePort, tls, limits, timeouts } = config;
    this.protocols = config.protocols ??
      (tls === undefined ? ["http/1.1"] : ["h2", "http/1.1"]);
    this.#idle = timeouts.idle === Infinity
      ? 0
      : Math.ceil(timeouts.idle / 1000);
    const where: Address = path === undefined
      ? { transport: "tcp", hostname, port }
      : { transport: "unix", path };
    try {
      this.raw = bun.serve({
        ...(path === undefined
          // In production Bun shares the port unless told not to.
          ? { hostname, port, reusePort: reusePort ?? false }
          : { unix: path }),
        ...(tls === undefined ? {} : { tls: tlsOf(tls) }),
        http1: this.protocols.includes("http/1.1"),
        http2: this.protocols.includes("h2"),
        http3: this.protocols.includes("h3"),
        development: false,
        idleTimeout: this.#idle,
        maxRequestBodySize: Math.min(limits.body, Number.MAX_SAFE_INTEGER),
        fetch: (request: Request, server: BunServer) =>
          this.#handle(request, server),
        error: () => new Response(null, { status: 500 }),
        websocket,
      });
    } catch (error) {
      throw listenError(nameless(error, config), where);
    }
    this.address = path === undefined
      ? { transport: "tcp", hostname, port: this.raw.port ?? port }
      : where;
    this.lifetime.start();
  }

  #handle(
    request: Request,
    server: BunServer,
  ): Response | Promise<Response> {
    let given = request;
    // Without a Host, as HTTP/1.0 may be, all that Bun has is the target.
    if (request.url.startsWith("/")) {
      // One that is no host: RFC 9112, 3.2.
      if (request.headers.get("host")) return new Response(null, BAD);
      given = requestOf(this.url, request);
    }
    const exchange = new BunRequest(this, request, given, server);
    const response = this.answer(exchange, given);
    // To Bun a handler at work is an idle connection.
    if (isThenable(response) && this.#idle > 0) server.timeout(request, 0);
    return response;
  }

  /** What is there already needs no turn to wait: nor does Bun take one. */
  override take(
    exchange: BunRequest,
    given: unknown,
  ): Response | Promise<Response> {
    if (given instanceof Promise) {
      switch (bun.peek.status(given)) {
        case "fulfilled":
          return super.take(exchange, bun.peek(given));
        case "rejected":
          given.catch(() => {});
          return this.fail(exchange, bun.peek(given));
      }
    }
    return super.take(exchange, given);
  }

  protected adapt(exchange: BunRequest, given: Response): Response {
    const response = standardOf(nativeOf(given));
    if (takeoverOf(response) !== undefined && response.status === 101) {
      // It is a WebSocket by now: Bun wants no response.
      return undefined as unknown as Response;
    }
    // Bun would send it empty.
    if (response.bodyUsed) throw new TypeError(UNUSABLE);
    if (this.#idle > 0) {
      // So is a stream that is silent; of this kind they are by nature.
      if (!isWhole?.(response) && isEvents(response)) {
        exchange.raw.timeout(exchange.own, 0);
      } else if (exchange.waited) {
        exchange.raw.timeout(exchange.own, this.#idle);
      }
    }
    return response;
  }

  protected stop(): Promise<void> {
    return this.raw.stop();
  }

  protected destroyAll(): void {
    this.raw.stop(true).catch(() => {});
  }

  ref(): void {
    this.raw.ref();
  }

  unref(): void {
    this.raw.unref();
  }
}

const isWhole = wholeness();

function isEvents(response: Response): boolean {
  return response.headers.get("content-type")
    ?.startsWith("text/event-stream") ?? false;
}

function tlsOf(
  { cert, key, ca, clientAuth = "none" }: NonNullable<ServeConfig["tls"]>,
): object {
  return {
    cert,
    key,
    ca,
    requestCert: clientAuth !== "none",
    rejectUnauthorized: clientAuth === "require",
  };
}

/** Passes all on to the one who upgraded. */
const websocket = {
  maxPayloadLength: MAX_MESSAGE,
  backpressureLimit: MAX_BUFFERED,
  idleTimeout: 0,
  sendPings: false,
  perMessageDeflate: false,
  open: (ws: BunWebSocket) => ws.data.open(ws),
  message: (ws: BunWebSocket, data: string | Uint8Array) =>
    ws.data.message(ws, data),
  drain: (ws: BunWebSocket) => ws.data.drain(ws),
  ping: (ws: BunWebSocket, data: Uint8Array) => ws.data.ping(ws, data),
  pong: (ws: BunWebSocket, data: Uint8Array) => ws.data.pong(ws, data),
  close: (ws: BunWebSocket, code: number, reason: string) =>
    ws.data.close(ws, code, reason),
};

class BunRequest extends NativeRequest {
  declare readonly server: BunHttpServer;
  /** The one that Bun has made. */
  readonly own: Request;
  readonly raw: BunServer;
  #context: BunContext | undefined;

  constructor(
    server: BunHttpServer,
    own: Request,
    given: Request,
    raw: BunServer,
  ) {
    super(server, given);
    this.own = own;
    this.raw = raw;
    setExchange(given, this);
  }

  get context(): BunContext {
    return this.#context ??= new BunContext(this);
  }

  get engine(): "bun" {
    return "bun";
  }

  get native(): NativeExchange {
    const { own, raw } = this;
    return { request: own, server: raw, maxMessageSize: MAX_MESSAGE };
  }
}

class BunContext extends NativeContext<BunRequest> {
  #remote: Address | undefined;

  get remoteAddress(): Address {
    const { own, raw, server } = this.exchange;
    if (this.#remote !== undefined) return this.#remote;
    const found = raw.requestIP(own);
    if (found === null) {
      // Bun knows it no more once the response is out, and never a path.
      return server.address.transport === "unix"
        ? server.address
        : { transport: "tcp", hostname: "", port: 0 };
    }
    return this.#remote = {
      transport: "tcp",
      hostname: found.address,
      port: found.port,
    };
  }

  get protocol(): Protocol {
    const { protocols } = this.exchange.server;
    return protocols.length === 1 ? protocols[0] : oldProtocolOf(this.exchange);
  }

  get completed(): Promise<void> {
    throw refusal("tell when a response is delivered", "Bun");
  }

  get raw(): unknown {
    return this.exchange.raw;
  }
}

const BAD: ResponseInit = { status: 400, headers: { connection: "close" } };

/** The same request, at the server's own host. */
function requestOf(server: string, request: Request): Request {
  const { method, headers, body, signal } = request;
  return new Request(server.slice(0, -1) + request.url, {
    method,
    headers,
    body,
    signal,
    ...(body !== null && { duplex: "half" }),
  });
}

/** Bun says nothing of use when it cannot look a name up. */
function nameless(error: unknown, { hostname, path }: ServeConfig): unknown {
  const known = ["EADDRINUSE", "EADDRNOTAVAIL", "EACCES"];
  const { code = "" } = error as { code?: string };
  return path !== undefined || !/^E[A-Z]+$/.test(code) ||
      known.includes(code) || ipBytes(hostname) !== undefined
    ? error
    : Object.assign(error as Error, { code: "ENOTFOUND" });
}
