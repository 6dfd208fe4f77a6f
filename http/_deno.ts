import type { Address } from "../streams/types.ts";
import { listenError } from "../tcp/_errors.ts";
import { tooLong } from "./_error_status.ts";
import { longBody } from "./_wire_checks.ts";
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
import { exchangeKey, setExchange } from "./_exchange.ts";
import type { NativeExchange } from "./_exchange.ts";
import { Outcome } from "./_outcome.ts";
import { takeApart } from "./_response_parts.ts";
import type { ServeConfig } from "./_serve_options.ts";
import type { HttpServer } from "./types.ts";

// What is used of Deno, spelled out: the npm build has no types of it.
interface DenoAddr {
  transport: string;
  hostname?: string;
  port?: number;
  path?: string | null;
}

interface DenoInfo {
  readonly remoteAddr: DenoAddr;
  readonly completed: Promise<void>;
}

interface DenoServer {
  readonly addr: DenoAddr;
  readonly finished: Promise<void>;
  shutdown(): Promise<void>;
  ref(): void;
  unref(): void;
}

interface DenoNamespace {
  /** Only there with `--unstable-net`. */
  listenDatagram?: unknown;
  serve(
    options: object,
    handler: (
      request: Request,
      info: DenoInfo,
    ) => Response | Promise<Response>,
  ): DenoServer;
}

const deno = (globalThis as unknown as { Deno: DenoNamespace }).Deno;

/** What Deno.serve has no way to do. */
const CANNOT = [
  "http2",
  "proxyProtocol",
  "wiretap",
  "limits.header",
  "limits.target",
  "limits.connections",
  "timeouts.header",
  "timeouts.body",
  "timeouts.idle",
];

function addressOf({ transport, hostname, port, path }: DenoAddr): Address {
  return transport === "unix"
    ? { transport: "unix", path: path ?? "" }
    : { transport: "tcp", hostname: hostname ?? "", port: port ?? 0 };
}

export async function serveNative(config: ServeConfig): Promise<HttpServer> {
  refuseGiven(config, CANNOT, "Deno");
  if (config.reusePort && deno.listenDatagram === undefined) {
    // Without the flag Deno does not throw: it ends the process.
    throw new TypeError(
      'Cannot serve with reusePort: Deno wants --unstable-net, or engine: "wire"',
    );
  }
  if (config.onExpect !== undefined) {
    throw refusal("serve with onExpect", "Deno");
  }
  const { protocols } = config;
  if (
    protocols !== undefined && !(protocols.length === 2 &&
      protocols.includes("h2") && protocols.includes("http/1.1"))
  ) {
    throw refusal(
      `serve with protocols: ${protocols.join(", ")} and nothing else`,
      "Deno",
    );
  }
  refuseTls(config, ["alpn", "ca", "clientAuth", "sni"], "Deno");
  return await listenNative(config, (clean) => new DenoHttpServer(clean));
}

class DenoHttpServer extends NativeServer {
  readonly runtime = "Deno";
  readonly address: Address;
  readonly raw: DenoServer;
  readonly streams: Set<WatchedStream> = new Set();

  constructor(config: ServeConfig) {
    super(config);
    const { hostname, port, path, reusePort, backlog, tls } = config;
    const where = path === undefined
      ? { hostname, port, reusePort, tcpBacklog: backlog }
      : { path };
    try {
      this.raw = deno.serve({
        ...where,
        ...(tls === undefined ? {} : { cert: tls.cert, key: tls.key }),
        onListen() {},
        onError: () => new Response(null, { status: 500 }),
      }, (request, info) => this.#handle(request, info));
    } catch (error) {
      throw listenError(
        error,
        path === undefined
          ? { transport: "tcp", hostname, port }
          : { transport: "unix", path },
      );
    }
    this.address = addressOf(this.raw.addr);
    this.lifetime.start();
  }

  #handle(request: Request, info: DenoInfo): Response | Promise<Response> {
    const { method } = request;
    let given = request;
    if (method !== "GET" && method !== "HEAD") {
      const limit = this.config.limits.body;
      const length = fieldOf(request, "content-length");
      if (length !== null) {
        if (Number(length) > limit) {
          return new Response(null, {
            status: 413,
            headers: { connection: "close" },
          });
        }
      } else if (
        limit !== Infinity &&
        // HTTP/2 has no Host, and bodies without any field that tells of them.
        (fieldOf(request, "transfer-encoding") !== null ||
          fieldOf(request, "host") === null)
      ) {
        given = limited(request, limit);
      }
    }
    const exchange = new DenoRequest(this, request, given, info);
    setExchange(given, exchange);
    return this.answer(exchange, given);
  }

  protected adapt(exchange: DenoRequest, response: Response): Response {
    if (exchange.head) return headOnly(response);
    // One that is upgraded is Deno's own, and has to come back as it is.
    if (!isStream(response) || response.status === 101) return response;
    const { status, statusText, headers, body } = response;
    exchange.stream();
    const stream = new WatchedStream(this, exchange, body!);
    return new Response(stream.readable, { status, statusText, headers });
  }

  protected stop(): Promise<void> {
    return this.raw.shutdown();
  }

  protected destroyAll(): void {
    // There is no call for it; streams that fail end their connections.
    for (const stream of [...this.streams]) {
      stream.fail(new TypeError("The server was closed"));
    }
  }

  ref(): void {
    this.raw.ref();
  }

  unref(): void {
    this.raw.unref();
  }
}

/** The response without its body: on HTTP/2 Deno would send one to HEAD. */
function headOnly(response: Response): Response {
  const { status, statusText } = response;
  const headers = new Headers(response.headers);
  const { body } = takeApart(response);
  if (body instanceof ReadableStream) {
    body.cancel().catch(() => {});
    if (!headers.has("content-length")) {
      // Of nothing at all Deno would say that GET had a length of 0.
      const none = new ReadableStream({ start: (it) => it.close() });
      return new Response(none, { status, statusText, headers });
    }
  } else if (body !== null) {
    const { byteLength } = typeof body === "string"
      ? new TextEncoder().encode(body)
      : body;
    headers.set("content-length", String(byteLength));
  }
  return new Response(null, { status, statusText, headers });
}

/** The same request, whose body fails when it is too long. */
function limited(request: Request, limit: number): Request {
  if (request.body === null) return request;
  let size = 0;
  const body = request.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        size += chunk.byteLength;
        if (size > limit) {
          const error = longBody(limit);
          tooLong.add(error);
          controller.error(error);
        } else controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
      },
    }),
  );
  const { method, headers, url } = request;
  return new Request(url, { method, headers, body });
}

/** A symbol that Deno marks its objects with, by its description. */
function markOf(object: object, description: string): symbol {
  const found = Object.getOwnPropertySymbols(object).find((symbol) =>
    symbol.description === description
  );
  return found ?? Symbol(description);
}

type Marked = Record<symbol, unknown>;

/** What Deno leaves on a response whose body it has whole. */
const FAST = markOf(new Response(""), "serve fast body");
const LAZY = markOf(new Response(""), "lazy static body");
const READY = markOf(new Response(""), "serve native response");
/** Of the kind that has none of these marks the body must be a stream. */
const marked = [
  new Response("text"),
  new Response(new Uint8Array(1), { headers: { a: "b" } }),
  new Response("text", { status: 404, headers: { a: "b" } }),
].every(isMarked) && !isMarked(new Response(new ReadableStream()));

function isMarked(response: Response): boolean {
  const inside = response as unknown as Marked;
  return (inside[FAST] ?? inside[LAZY] ?? inside[READY] ?? null) !== null;
}

/** What holds the body: the bytes or the text of it, or a stream. */
const BODY = markOf(Response.prototype, "body");
/** What has it: not what only passes for a response, as the client's do. */
const REAL = markOf(new Response(""), "response");

function isStream(response: Response): boolean {
  if (marked && isMarked(response)) return false;
  const inner = Object.hasOwn(response, REAL)
    ? (response as unknown as Marked)[BODY] as
      | { streamOrStatic?: { body?: unknown } }
      | null
    : undefined;
  // Asked for it, it would make a stream of what is none.
  if (typeof inner?.streamOrStatic?.body === "string") return false;
  if (inner?.streamOrStatic?.body instanceof Uint8Array) return false;
  return response.body !== null;
}

/** What a request is made of. */
const INNER = markOf(new Request("http://localhost/"), "request");

/** One field: asked of a request's own Headers, all of them would be made. */
function fieldOf(request: Request, name: string): string | null {
  const inside = request as unknown as Marked;
  const inner = inside[INNER] as
    | { header?: (name: string) => string | null }
    | undefined;
  return typeof inner?.header === "function"
    ? inner.header(name)
    : request.headers.get(name);
}

/** A response body that knows when the client is gone, and can be cut. */
class WatchedStream {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #server: DenoHttpServer;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;

  constructor(
    server: DenoHttpServer,
    exchange: DenoRequest,
    body: ReadableStream<Uint8Array<ArrayBuffer>>,
  ) {
    this.#server = server;
    this.#reader = body.getReader();
    server.streams.add(this);
    this.readable = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: async (controller) => {
        try {
          const { done, value } = await this.#reader.read();
          if (!done) {
            controller.enqueue(value);
            return;
          }
          server.streams.delete(this);
          controller.close();
          exchange.delivered();
        } catch (error) {
          if (server.streams.delete(this)) exchange.report(error);
          exchange.undelivered(error);
          throw error;
        }
      },
      cancel: (reason) => {
        server.streams.delete(this);
        exchange.leave();
        exchange.undelivered(reason);
        return this.#reader.cancel(reason);
      },
    }, { highWaterMark: 0 });
  }

  /** It ends unfinished, and with it its connection. */
  fail(error: unknown): void {
    this.#server.streams.delete(this);
    this.#controller.error(error);
    this.#reader.cancel(error).catch(() => {});
  }
}

class DenoRequest extends NativeRequest {
  readonly info: DenoInfo;
  readonly #own: Request;
  #context: DenoContext | undefined;
  #controller: AbortController | undefined;
  #gone = false;
  #streaming = false;
  #outcome: Outcome<void> | undefined;

  constructor(
    server: DenoHttpServer,
    request: Request,
    given: Request,
    info: DenoInfo,
  ) {
    super(server, given);
    this.info = info;
    this.#own = request;
  }

  get context(): DenoContext {
    return this.#context ??= new DenoContext(this);
  }

  /** No body is to be sent. */
  get head(): boolean {
    return this.#own.method === "HEAD";
  }

  get engine(): "deno" {
    return "deno";
  }

  get native(): NativeExchange {
    return { request: this.#own };
  }

  /** Aborts when the client is gone; Deno's also does when all is well. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      const native = signalOf.call(this.#own);
      native.addEventListener("abort", () => {
        if (!this.over) this.leave();
      });
      if (this.#gone || (native.aborted && !this.over)) this.#abort();
    }
    return this.#controller.signal;
  }

  leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    if (this.#controller !== undefined) this.#abort();
  }

  #abort(): void {
    this.#controller!.abort(
      new DOMException("The client is gone", "AbortError"),
    );
  }

  /** Deno says that a stream was delivered when it was cancelled, too. */
  get completed(): Promise<void> {
    if (this.#outcome === undefined) {
      const outcome = this.#outcome = new Outcome<void>();
      if (this.over) outcome.resolve();
      else {
        this.info.completed.then(
          () => this.#streaming || outcome.resolve(),
          (error) => outcome.reject(error),
        );
      }
    }
    return this.#outcome.promise;
  }

  /** Its response is a stream, of which we know how it ends. */
  stream(): void {
    this.#streaming = true;
    this.#outcome ??= new Outcome<void>();
  }

  delivered(): void {
    this.#outcome?.resolve();
  }

  undelivered(error: unknown): void {
    this.#outcome?.reject(error);
  }
}

class DenoContext extends NativeContext<DenoRequest> {
  #remote: Address | undefined;

  get remoteAddress(): Address {
    return this.#remote ??= addressOf(this.exchange.info.remoteAddr);
  }

  get protocol(): "http/1.1" {
    return oldProtocolOf(this.exchange);
  }

  get completed(): Promise<void> {
    return this.exchange.completed;
  }

  get raw(): unknown {
    return this.exchange.info;
  }
}

const signalOf = Object.getOwnPropertyDescriptor(Request.prototype, "signal")!
  .get as (this: Request) => AbortSignal;

type Stamped = Request & { [exchangeKey]?: unknown };

/**
 * Deno's signals abort for every request that was answered, too. So requests
 * of our servers, and no others, tell of one of their own. That is done for all
 * at once: another prototype for each would cost as much as all the rest here.
 */
Object.defineProperty(Request.prototype, "signal", {
  get(this: Stamped): AbortSignal {
    const exchange = this[exchangeKey];
    return exchange instanceof DenoRequest && exchange.request === this
      ? exchange.signal
      : signalOf.call(this);
  },
  enumerable: true,
  configurable: true,
});
