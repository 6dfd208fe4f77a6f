import { bodyOf, onceBody, wholeBody } from "./_client_body.ts";
import type { ClientBody, Puller, RequestBody } from "./_client_body.ts";
import { Call } from "./_client_call.ts";
import type { Plan, Settle } from "./_client_call.ts";
import {
  authorization,
  checkInit,
  checkOptions,
  givenFields,
  hasField,
  methodOf,
  overlay,
  settle,
} from "./_client_options.ts";
import type { GivenFields, Settled } from "./_client_options.ts";
import { inheritJar, jarOf } from "./_client_jar.ts";
import {
  fieldText,
  followRedirect,
  headText,
  makePlan,
  routeOf,
  usualFields,
  wayText,
} from "./_client_plan.ts";
import { Pool } from "./_client_pool.ts";
import { markReplayable } from "./_client_replay.ts";
import type { Route } from "./_client_pool.ts";
import type { ClientResponse } from "./_client_response.ts";
import type {
  ClientInit,
  ClientMiddleware,
  ClientOptions,
} from "./_client_types.ts";
import {
  addQuery,
  encodeQuery,
  resolveTarget,
  targetOf,
} from "./_client_url.ts";
import type { Target } from "./_client_url.ts";
import { StatusError } from "./errors.ts";
import type { Fields } from "./_h1_types.ts";

export type { ClientBody } from "./_client_body.ts";
export type { ClientResponse, ClientTimings } from "./_client_response.ts";
export type {
  ClientAuth,
  ClientInit,
  ClientMiddleware,
  ClientOptions,
  ClientSettings,
  ClientTimeouts,
  PoolOptions,
} from "./_client_types.ts";
export type { QueryInit, QueryStyle } from "./_client_url.ts";

const CLOSE_TIMEOUT = 15_000;
/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_DELAY = 2 ** 31 - 1;

/** The promise of a response, and of its body in whatever form. */
export interface ResponsePromise extends Promise<ClientResponse> {
  /** The body as text. */
  text(): Promise<string>;
  /** The body, parsed as JSON. */
  json<T = unknown>(): Promise<T>;
  /** The body as bytes. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  /** The body as an ArrayBuffer. */
  arrayBuffer(): Promise<ArrayBuffer>;
  /** The body as a Blob. */
  blob(): Promise<Blob>;
  /** The body as a form. */
  formData(): Promise<FormData>;
}

class PendingResponse extends Promise<ClientResponse>
  implements ResponsePromise {
  static {
    // So that `await` takes it as it is, and `then` gives a plain promise.
    Object.defineProperty(this.prototype, "constructor", { value: Promise });
  }

  text(): Promise<string> {
    return this.then((response) => response.text());
  }

  json<T>(): Promise<T> {
    return this.then((response) => response.json() as Promise<T>);
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return this.then((response) => response.bytes());
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this.then((response) => response.arrayBuffer());
  }

  blob(): Promise<Blob> {
    return this.then((response) => response.blob());
  }

  formData(): Promise<FormData> {
    return this.then((response) => response.formData());
  }
}

/** Counters of a client's pool. */
export interface ClientStats {
  /** Connections that there are, those being made included. */
  readonly open: number;
  /** Connections that nobody uses. */
  readonly idle: number;
  /** Requests that wait for a connection. */
  readonly queued: number;
  /** The same for each origin. */
  readonly hosts: Record<
    string,
    { readonly open: number; readonly idle: number; readonly queued: number }
  >;
}

/** One request, before it is a plan. */
interface Draft {
  method: string;
  target: Target;
  given: GivenFields;
  body: RequestBody | undefined | Promise<RequestBody | undefined>;
  settled: Settled;
  signal: AbortSignal | undefined;
  /** The `Request` that the caller gave, if it was one. */
  request: Request | undefined;
}

/**
 * An HTTP client with its own pool of connections: the same on Deno, Bun and
 * Node. It follows the rules of fetch, and rejects with a `FetchError`, a
 * `StatusError` where asked for, a `TypeError` or `RangeError` for arguments
 * that make no sense, and the signal's reason when one aborts.
 *
 * @example
 * ```ts
 * import { Client, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => Response.json({ hello: "world" }), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const client = new Client({ base: server.url, timeout: 5000 });
 * console.log(await client.get("/").json());
 * await client.close();
 * await server.close();
 * ```
 */
export class Client implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #options: ClientOptions;
  readonly #settled: Settled;
  readonly #given: GivenFields;
  readonly #usual: Fields;
  readonly #usualText: string;
  readonly #fast: boolean;
  readonly #routes = new Map<string, Route>();

  /** Nothing is opened before the first request. */
  constructor(options: ClientOptions = {}) {
    checkOptions(options);
    const { pool } = options;
    this.#options = { ...options, use: [...options.use ?? []] };
    this.#settled = settle(options);
    this.#given = withAuth(givenFields(options.headers), options);
    this.#pool = new Pool({
      perHost: pool?.perHost ?? 16,
      total: pool?.total ?? 1024,
      queue: pool?.queue ?? 65_536,
      idleTimeout: pool?.idleTimeout ?? 30_000,
    }, options.wiretap);
    const { fields, close, host, length } = this.#given;
    this.#usual = overlay(fields, usualFields(this.#settled.decompress));
    this.#usualText = fieldText(this.#usual);
    this.#fast = !close && host === undefined && length === undefined &&
      !hasField(fields, "range") && options.base === undefined &&
      options.query === undefined && this.#options.use!.length === 0 &&
      this.#settled.cookies === undefined;
  }

  /** Sends a request; resolves with the head of the response. */
  fetch(input: string | URL | Request, init?: ClientInit): ResponsePromise {
    return new PendingResponse((resolve, reject) => {
      try {
        const promise = { resolve, reject };
        if (this.#fast && init === undefined && typeof input === "string") {
          this.#begin("GET", targetOf(input), promise);
        } else {
          this.#start(this.#draft(input, init), init, promise);
        }
      } catch (error) {
        reject(error);
      }
    });
  }

  /** `fetch` with the method GET. */
  get(url: string | URL, init?: ClientInit): ResponsePromise {
    return this.fetch(url, init === undefined ? undefined : as("GET", init));
  }

  /** `fetch` with the method HEAD. */
  head(url: string | URL, init?: ClientInit): ResponsePromise {
    return this.fetch(url, as("HEAD", init));
  }

  /** `fetch` with the method POST. */
  post(url: string | URL, init?: ClientInit): ResponsePromise {
    return this.fetch(url, as("POST", init));
  }

  /** `fetch` with the method PUT. */
  put(url: string | URL, init?: ClientInit): ResponsePromise {
    return this.fetch(url, as("PUT", init));
  }

  /** `fetch` with the method PATCH. */
  patch(url: string | URL, init?: ClientInit): ResponsePromise {
    return this.fetch(url, as("PATCH", init));
  }

  /** `fetch` with the method DELETE. */
  delete(url: string | URL, init?: ClientInit): ResponsePromise {
    return this.fetch(url, as("DELETE", init));
  }

  /** `fetch` with the method OPTIONS. */
  options(url: string | URL, init?: ClientInit): ResponsePromise {
    return this.fetch(url, as("OPTIONS", init));
  }

  /** Counters of the pool. */
  stats(): ClientStats {
    return this.#pool.stats();
  }

  /**
   * Takes no more requests, lets those under way finish, and ends what is
   * left at the timeout (ms; 0 = now).
   */
  async close(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = CLOSE_TIMEOUT } = options;
    if (!(timeout >= 0)) {
      throw new RangeError(
        `Cannot close the client: timeout must be 0 or more: ${timeout}`,
      );
    }
    this.#pool.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      this.#pool.idle(),
      new Promise<void>((resolve) => {
        if (timeout <= MAX_DELAY) timer = setTimeout(resolve, timeout);
      }),
    ]);
    clearTimeout(timer);
    this.#pool.destroy();
  }

  /** `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A request with nothing said about it: no time is lost on options. */
  #begin(method: string, target: Target, promise: Settle): void {
    const route = this.#route(target);
    const fields = route.proxy === undefined
      ? this.#usualText
      : wayText(route, this.#usual) + this.#usualText;
    const plan: Plan = {
      method,
      target,
      fields: this.#usual,
      body: undefined,
      head: headText(method, target, target.host, fields, route),
      close: false,
      route,
    };
    new Call({
      pool: this.#pool,
      plan,
      settled: this.#settled,
      signal: undefined,
      follow: followRedirect,
      given: undefined,
      promise,
    }).begin();
  }

  #route(target: Target): Route {
    let route = this.#routes.get(target.origin);
    if (route === undefined) {
      route = routeOf(target, this.#settled, this.#options.localAddress);
      if (this.#routes.size >= 1024) this.#routes.clear();
      this.#routes.set(target.origin, route);
    }
    return route;
  }

  #draft(
    input: string | URL | Request,
    init: ClientInit | undefined,
  ): Draft {
    if (init !== undefined) checkInit(init);
    const request = input instanceof Request ? input : undefined;
    const settled = init === undefined
      ? this.#settled
      : settle(init, this.#settled);
    const given = withAuth(
      givenFields(init?.headers ?? request?.headers),
      init ?? {},
    );
    const signal = init?.signal !== undefined ? init.signal : request?.signal;
    return {
      method: methodOf(init?.method ?? request?.method ?? "GET"),
      target: this.#target(request?.url ?? input as string | URL, init),
      given: over(given, this.#given),
      body: bodyFrom(init, request),
      settled: request === undefined || init?.redirect !== undefined
        ? settled
        : { ...settled, redirect: request.redirect },
      signal: signal ?? undefined,
      request,
    };
  }

  #target(input: string | URL, init: ClientInit | undefined): Target {
    const { base, query, queryStyle = "repeat" } = this.#options;
    const target = resolveTarget(input, init?.base ?? base);
    let { href } = target;
    if (query !== undefined) href = addQuery(href, query, queryStyle);
    if (init?.query !== undefined) {
      href = addQuery(href, init.query, init.queryStyle ?? queryStyle);
    }
    return href === target.href ? target : targetOf(href);
  }

  #start(draft: Draft, init: ClientInit | undefined, promise: Settle): void {
    const use = this.#options.use!;
    if (use.length > 0) {
      this.#through(use, draft, init).then(promise.resolve, promise.reject);
      return;
    }
    const { body } = draft;
    if (body instanceof Promise) {
      body.then((body) => this.#call({ ...draft, body }, promise))
        .catch(promise.reject);
      return;
    }
    this.#call(draft, promise);
  }

  #call(draft: Draft, promise: Settle): void {
    const plan = makePlan({
      ...draft,
      body: draft.body as RequestBody | undefined,
      localAddress: this.#options.localAddress,
    });
    new Call({
      pool: this.#pool,
      plan,
      settled: draft.settled,
      signal: draft.signal,
      follow: followRedirect,
      given: draft.request,
      promise,
    }).begin();
  }

  /** Through the middleware, as a `Request`. */
  async #through(
    use: readonly ClientMiddleware[],
    draft: Draft,
    init: ClientInit | undefined,
  ): Promise<ClientResponse> {
    const { throwOnStatus } = draft.settled;
    const settled = { ...draft.settled, throwOnStatus: false };
    const body = await draft.body;
    const first = toRequest(draft, body);
    if (body?.replayable) markReplayable(first);
    const send = (request: Request): Promise<ClientResponse> => {
      const given = givenFields(request.headers);
      const same = request === first;
      if (same && request.bodyUsed && body?.replayable === false) {
        throw new TypeError("Cannot fetch: the body of the Request was read");
      }
      const cookies = jarOf(request) ?? settled.cookies;
      return new Promise((resolve, reject) => {
        const next: Draft = {
          method: methodOf(request.method),
          target: same ? draft.target : targetOf(request.url),
          // Host, length and close are no fields that a Request tells.
          given: same ? { ...draft.given, fields: given.fields } : given,
          body: same ? body : bodyFrom(undefined, request),
          settled: {
            ...settled,
            cookies,
            redirect: same ? settled.redirect : request.redirect,
          },
          signal: same ? draft.signal : request.signal,
          request: same ? draft.request : request,
        };
        Promise.resolve(next.body).then((body) =>
          this.#call({ ...next, body }, { resolve, reject })
        ).catch(reject);
      });
    };
    const dispatch = (at: number, request: Request): Promise<ClientResponse> =>
      at === use.length ? send(request) : use[at](
        request,
        (next) => {
          inheritJar(request, next);
          return dispatch(at + 1, next);
        },
        init?.state,
      );
    const response = await dispatch(0, first);
    if (throwOnStatus && !response.ok) {
      throw new StatusError(
        `Cannot use the answer of ${draft.target.origin}: its status is ${response.status}`,
        response,
      );
    }
    return response;
  }
}

function as(method: string, init: ClientInit | undefined): ClientInit {
  return { ...init, method };
}

function withAuth(given: GivenFields, { auth }: ClientInit): GivenFields {
  if (auth === undefined) return given;
  const fields: Fields = ["authorization", authorization(auth)];
  return { ...given, fields: overlay(fields, given.fields) };
}

function over(given: GivenFields, under: GivenFields): GivenFields {
  return {
    fields: overlay(given.fields, under.fields),
    host: given.host ?? under.host,
    length: given.length,
    close: given.close || under.close,
  };
}

function bodyFrom(
  init: ClientInit | undefined,
  request: Request | undefined,
): RequestBody | undefined | Promise<RequestBody | undefined> {
  if (init?.json !== undefined) {
    const text = JSON.stringify(init.json);
    if (text === undefined) {
      throw new TypeError("Cannot send a body: json is no JSON value");
    }
    return wholeBody(text, "application/json");
  }
  if (init?.form !== undefined) {
    return wholeBody(
      encodeQuery(init.form, init.queryStyle ?? "repeat"),
      "application/x-www-form-urlencoded;charset=UTF-8",
    );
  }
  if (init?.body !== undefined) {
    return init.body === null ? undefined : bodyOf(init.body as ClientBody);
  }
  if (request === undefined) return undefined;
  if (request.bodyUsed) {
    throw new TypeError("Cannot fetch: the body of the Request was read");
  }
  return request.body === null ? undefined : peek(request.body);
}

/**
 * The body of a `Request`. Most were made of text or bytes: then it comes in
 * one piece, and is sent with its length, and again if need be.
 */
async function peek(
  stream: ReadableStream<Uint8Array>,
): Promise<RequestBody> {
  const reader = stream.getReader();
  const first = await reader.read();
  if (first.done) return wholeBody(new Uint8Array(0), undefined);
  const second = reader.read();
  second.catch(() => {});
  let timer: ReturnType<typeof setTimeout> | undefined;
  const soon = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), 0);
  });
  const ended = await Promise.race([second, soon]);
  clearTimeout(timer);
  if (ended?.done) return wholeBody(first.value, undefined);
  const ahead = [Promise.resolve(first), second];
  return onceBody(() => ({
    next: async () => {
      const { done, value } = await (ahead.shift() ?? reader.read());
      return done ? undefined : value;
    },
    cancel: (reason) => void reader.cancel(reason).catch(() => {}),
  }));
}

/** What middleware sees of a draft. */
function toRequest(draft: Draft, body: RequestBody | undefined): Request {
  const { method, target, given, settled, signal } = draft;
  const headers = new Headers();
  const { fields } = given;
  for (let i = 0; i < fields.length; i += 2) {
    headers.append(fields[i], fields[i + 1]);
  }
  if (body?.type !== undefined && !headers.has("content-type")) {
    headers.set("content-type", body.type);
  }
  return new Request(target.href, {
    method,
    headers,
    body: (body?.whole ?? (body && viewOf(body))) as BodyInit | undefined,
    signal,
    redirect: settled.redirect,
    duplex: "half",
  } as RequestInit);
}

/** A body as a stream; unless somebody reads it, nothing is opened. */
function viewOf(body: RequestBody): ReadableStream<Uint8Array> {
  let puller: Puller | undefined;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = await (puller ??= body.open()).next();
      if (piece === undefined) controller.close();
      else controller.enqueue(piece);
    },
    cancel: (reason) => puller?.cancel(reason),
  }, { highWaterMark: 0 });
}
