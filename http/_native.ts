import type { Address } from "../streams/types.ts";
import type { Connection, ServerStats, TlsInfo } from "../tcp/types.ts";
import { clientOf } from "./_client_address.ts";
import { statusOfError } from "./_error_status.ts";
import type { Exchange, NativeExchange } from "./_exchange.ts";
import { isResponse } from "./_response_parts.ts";
import { fetchDirect } from "./_serve_direct.ts";
import { Lifetime } from "./_serve_lifetime.ts";
import { isThenable } from "./_thenable.ts";
import { trailersOf } from "./_trailers.ts";
import { urlOf } from "./_serve_options.ts";
import type { Protocol, ServeConfig } from "./_serve_options.ts";
import type { HttpServer, ServerContext } from "./types.ts";

/** How often handlers' times are looked at, in ms. */
const TICK = 50;

/** An error that names the engine that can do it. */
export function refusal(what: string, runtime: string): TypeError {
  return new TypeError(
    `Cannot ${what}: ${runtime}'s own server cannot, serve with engine: "wire"`,
  );
}

/** Refuses the options that the runtime's own server cannot honour. */
export function refuseGiven(
  config: ServeConfig,
  names: readonly string[],
  runtime: string,
): void {
  for (const name of names) {
    if (config.given.has(name)) throw refusal(`serve with ${name}`, runtime);
  }
}

/** The same for the particulars of TLS. */
export function refuseTls(
  config: ServeConfig,
  names: readonly string[],
  runtime: string,
): void {
  for (const name of names) {
    const value = (config.tls as Record<string, unknown> | undefined)?.[name];
    if (value !== undefined) throw refusal(`serve with tls.${name}`, runtime);
  }
}

/** With certificates that the runtimes' own servers read alike. */
async function withCleanTls(config: ServeConfig): Promise<ServeConfig> {
  const { tls } = config;
  if (tls === undefined) return config;
  const { credentialsOf } = await import("../tcp/_credentials.ts");
  return { ...config, tls: { ...tls, ...credentialsOf(tls, "serve") } };
}

/**
 * Makes a server with certificates that the runtimes read alike, and in the
 * place of one that died on the same path.
 */
export async function listenNative(
  config: ServeConfig,
  make: (config: ServeConfig) => HttpServer,
): Promise<HttpServer> {
  const clean = await withCleanTls(config);
  if (clean.path === undefined) return make(clean);
  const { replacingStale } = await import("../tcp/_node_stale.ts");
  return await replacingStale(clean.path, () => make(clean));
}

/** What the native engines have in common. */
export abstract class NativeServer implements HttpServer {
  readonly config: ServeConfig;
  abstract readonly runtime: "Deno" | "Bun";
  abstract readonly address: Address;
  abstract readonly raw: unknown;
  protected readonly lifetime: Lifetime;
  /** Everything has ended. */
  protected drained = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Handlers at work, also those whose time is over. */
  #active = 0;
  /** Those whose response is waited for, the oldest first. */
  #first: Waiting | undefined;
  #last: Waiting | undefined;

  constructor(config: ServeConfig) {
    this.config = config;
    let expired = false;
    this.lifetime = new Lifetime({
      signal: config.signal,
      begin: () => {
        this.stop().then(() => {
          this.drained = true;
          clearInterval(this.#timer);
          this.lifetime.check();
        });
        return Promise.resolve();
      },
      destroy: () => {
        expired = true;
        clearInterval(this.#timer);
        this.#timer = undefined;
        this.#cut(Infinity);
        this.destroyAll();
      },
      isOver: () => this.drained || expired,
    });
  }

  /** Stops accepting; resolves when all that was open has ended. */
  protected abstract stop(): Promise<void>;
  /** Ends what is open, as far as the runtime lets us. */
  protected abstract destroyAll(): void;
  abstract ref(): void;
  abstract unref(): void;

  /** Only as long as there is something to look at: it holds nothing up. */
  #look(): void {
    this.#cut(performance.now());
    if (this.#first !== undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Answers for those whose deadline has come; what they give is for nobody. */
  #cut(now: number): void {
    for (;;) {
      const waiting = this.#first;
      if (waiting === undefined || waiting.deadline > now) return;
      this.#settle(waiting, new Response(null, { status: 503 }));
    }
  }

  /** The whole way of a request: at once for a handler that is. */
  answer(
    exchange: NativeRequest,
    request: Request,
  ): Response | Promise<Response> {
    const { handler, limits } = this.config;
    if (this.#active >= limits.requests) return this.#overload(exchange);
    let given: unknown;
    try {
      given = handler(request, exchange.context);
    } catch (error) {
      return this.fail(exchange, error);
    }
    return this.take(exchange, given);
  }

  /** What a handler gave: a response, or a promise of one. */
  take(
    exchange: NativeRequest,
    given: unknown,
  ): Response | Promise<Response> {
    if (isThenable(given)) {
      return this.#wait(exchange, given as PromiseLike<Response>);
    }
    exchange.over = true;
    return this.finish(exchange, given as Response);
  }

  #wait(
    exchange: NativeRequest,
    given: PromiseLike<Response>,
  ): Promise<Response> {
    const { handler } = this.config.timeouts;
    const last = this.#last;
    const waiting: Waiting = {
      exchange,
      deadline: handler === Infinity ? handler : performance.now() + handler,
      previous: last,
      next: undefined,
      resolve: undefined,
    };
    exchange.waited = true;
    this.#active++;
    if (last === undefined) this.#first = waiting;
    else last.next = waiting;
    this.#last = waiting;
    if (handler !== Infinity) {
      this.#timer ??= setInterval(() => this.#look(), TICK);
    }
    return new Promise((resolve) => {
      waiting.resolve = resolve;
      Promise.resolve(given).then(
        (response) => {
          this.#active--;
          if (waiting.resolve !== undefined) {
            this.#settle(waiting, this.finish(exchange, response));
          } else discard(response);
        },
        (error) => {
          this.#active--;
          const response = this.fail(exchange, error);
          if (waiting.resolve !== undefined) this.#settle(waiting, response);
        },
      );
    });
  }

  #settle(waiting: Waiting, response: Response | Promise<Response>): void {
    const { previous, next, resolve } = waiting;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    waiting.previous = waiting.next = waiting.resolve = undefined;
    const { exchange } = waiting;
    exchange.over = true;
    exchange.waited = false;
    resolve!(response);
  }

  /** Too many handlers are at work already. */
  #overload(exchange: NativeRequest): Response | Promise<Response> {
    exchange.over = true;
    const { onOverload } = this.config;
    if (onOverload !== undefined) {
      try {
        const response: unknown = onOverload(exchange.request);
        if (isResponse(response)) return this.adapt(exchange, response);
        // That it rejects is no second error.
        if (isThenable(response)) Promise.resolve(response).catch(() => {});
        throw new TypeError(
          "Cannot send what onOverload gave: it is no Response",
        );
      } catch (error) {
        exchange.report(error);
      }
    }
    const headers = { "retry-after": "1" };
    return new Response(null, { status: 503, headers });
  }

  /** What goes to the runtime for the handler's response. */
  finish(
    exchange: NativeRequest,
    response: Response,
  ): Response | Promise<Response> {
    try {
      if (!isResponse(response)) {
        throw new TypeError(
          `Cannot send what the handler gave: it is no Response: ${typeof response}`,
        );
      }
      if (trailersOf(response) !== undefined) {
        response.body?.cancel().catch(() => {});
        throw refusal("send trailers", this.runtime);
      }
      const adapted = this.adapt(exchange, response);
      return this.lifetime.closing ? lastOf(adapted) : adapted;
    } catch (error) {
      return this.fail(exchange, error);
    }
  }

  /** Makes of a response what the runtime sends rightly. */
  protected abstract adapt(
    exchange: NativeRequest,
    response: Response,
  ): Response;

  fail(
    exchange: NativeRequest,
    error: unknown,
  ): Response | Promise<Response> {
    exchange.over = true;
    const bare = () => new Response(null, { status: 500 });
    const { onError } = this.config;
    if (onError === undefined) {
      return new Response(null, { status: statusOfError(error) });
    }
    const check = (response: Response): Response =>
      isResponse(response) ? this.adapt(exchange, response) : bare();
    try {
      const response = onError(error, exchange.request);
      return isThenable(response)
        ? Promise.resolve(response).then(check).catch(bare)
        : check(response);
    } catch {
      return bare();
    }
  }

  get url(): string {
    return urlOf(this.address, this.config.tls !== undefined);
  }

  get closed(): Promise<void> {
    return this.lifetime.closed;
  }

  /** Needs no `this`: it can be handed on. */
  readonly fetch = (request: Request): Promise<Response> =>
    fetchDirect(this, this.config, request);

  close(options?: { timeout?: number }): Promise<void> {
    return this.lifetime.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  stats(): ServerStats {
    throw refusal("count connections", this.runtime);
  }

  updateTls(): void {
    throw refusal("update TLS", this.runtime);
  }

  waitUntil(task: Promise<unknown>, onError: (error: unknown) => void): void {
    this.lifetime.waitUntil(task, onError);
  }

  onShutdown(callback: () => void): () => void {
    return this.lifetime.onShutdown(callback);
  }

  report(error: unknown, request: Request): void {
    try {
      const told = this.config.onError?.(error, request);
      if (told instanceof Promise) told.catch(() => {});
    } catch {
      // It was told; what it makes of it is not ours.
    }
  }
}

/** A request whose response is waited for, among those of its age. */
interface Waiting {
  readonly exchange: NativeRequest;
  /** When its time is over. */
  readonly deadline: number;
  previous: Waiting | undefined;
  next: Waiting | undefined;
  /** Gives the runtime its response; `undefined` once it has one. */
  resolve: ((response: Response | Promise<Response>) => void) | undefined;
}

/**
 * Says that no other follows on its connection, which the runtimes keep to
 * themselves; they leave it out of HTTP/2.
 */
function lastOf(response: Response | undefined): Response {
  if (response === undefined || response.status === 101) return response!;
  try {
    response.headers.set("connection", "close");
    return response;
  } catch {
    // What another server gave cannot be changed.
    const { body, status, statusText } = response;
    const headers = new Headers(response.headers);
    headers.set("connection", "close");
    return new Response(body, { status, statusText, headers });
  }
}

/** Lets go of a response that comes too late. */
function discard(response: unknown): void {
  if (!isResponse(response) || response.body === null) return;
  response.body.cancel().catch(() => {});
}

/** One request of a native engine. */
export abstract class NativeRequest implements Exchange {
  abstract readonly engine: "deno" | "bun";
  abstract readonly context: ServerContext;
  abstract readonly native: NativeExchange;
  readonly server: NativeServer;
  readonly request: Request;
  /** The handler has given its response. */
  over = false;
  /** It gave a promise of it, which is waited for. */
  waited = false;

  constructor(server: NativeServer, request: Request) {
    this.server = server;
    this.request = request;
  }

  onShutdown(callback: () => void): () => void {
    return this.server.onShutdown(callback);
  }

  report(error: unknown): void {
    this.server.report(error, this.request);
  }
}

/** No runtime tells it; but some fields only HTTP/1.1 has (RFC 9113, 8.2.2). */
export function oldProtocolOf({ request, server }: NativeRequest): "http/1.1" {
  const { headers } = request;
  if (
    headers.has("connection") || headers.has("upgrade") ||
    headers.has("transfer-encoding")
  ) return "http/1.1";
  throw refusal("tell the protocol", server.runtime);
}

/** What a handler is told by a native engine; the rest it says it cannot. */
export abstract class NativeContext<E extends NativeRequest>
  implements ServerContext {
  readonly #exchange: E;
  readonly receivedAt: number = performance.now();

  constructor(exchange: E) {
    this.#exchange = exchange;
  }

  protected get exchange(): E {
    return this.#exchange;
  }

  abstract readonly remoteAddress: Address;
  abstract readonly protocol: Protocol;
  abstract readonly raw: unknown;
  abstract readonly completed: Promise<void>;

  get localAddress(): Address {
    return this.#exchange.server.address;
  }

  get clientAddress(): string {
    const { request, server } = this.#exchange;
    return clientOf(
      this.remoteAddress,
      server.config.trust,
      (name) => request.headers.get(name) ?? undefined,
    );
  }

  get tls(): TlsInfo | undefined {
    if (this.#exchange.server.config.tls === undefined) return undefined;
    throw refusal("tell about TLS", this.#exchange.server.runtime);
  }

  get trailers(): Promise<Headers> {
    throw refusal("read trailers", this.#exchange.server.runtime);
  }

  waitUntil(task: Promise<unknown>): void {
    const exchange = this.#exchange;
    exchange.server.waitUntil(task, (error) => exchange.report(error));
  }

  inform(_status: 102 | 103, _headers?: HeadersInit): void {
    throw refusal("inform", this.#exchange.server.runtime);
  }

  tunnel(
    _handler: (connection: Connection) => unknown,
    _init?: ResponseInit,
  ): Response {
    throw refusal("tunnel", this.#exchange.server.runtime);
  }
}
