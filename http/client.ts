import type { RequestBody } from "./_client_body.ts";
import { Call } from "./_client_call.ts";
import type { Settle } from "./_client_call.ts";
import type { CarrierSource, Plan } from "./_client_carrier.ts";
import { bodyFrom, toRequest } from "./_client_draft.ts";
import type { Draft } from "./_client_draft.ts";
import {
  authorization,
  checkInit,
  checkOptions,
  givenFields,
  hasField,
  methodOf,
  overlay,
  settle,
  without,
} from "./_client_options.ts";
import { SignalLink } from "./_client_link.ts";
import type { GivenFields, Settled } from "./_client_options.ts";
import { PendingResponse } from "./_client_promise.ts";
import type { ResponsePromise } from "./_client_promise.ts";
import { inheritContext, isCache, setContext } from "./_client_context.ts";
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
import { Retries } from "./_client_retry.ts";
import type { Route } from "./_client_pool.ts";
import { parseIntegrity, verified } from "./_client_integrity.ts";
import type { ClientResponse } from "./_client_response.ts";
import type { ClientStats } from "./_client_stats.ts";
import { TransportSource } from "./_client_transport.ts";
import type {
  ClientInit,
  ClientMiddleware,
  ClientOptions,
} from "./_client_types.ts";
import { addQuery, resolveTarget, targetOf } from "./_client_url.ts";
import type { Target } from "./_client_url.ts";
import { StatusError } from "./errors.ts";
import type { Fields } from "./_h1_types.ts";
import { encodeHead } from "./_h1_writer.ts";

export type { ClientBody } from "./_client_body.ts";
export type {
  MultipartBody,
  MultipartInit,
  MultipartPart,
  MultipartValue,
} from "./_client_multipart.ts";
export type { ClientResponse, ClientTimings } from "./_client_response.ts";
export type {
  ClientAuth,
  ClientInit,
  ClientMiddleware,
  ClientOptions,
  ClientProgress,
  ClientSettings,
  ClientTimeouts,
  PoolOptions,
} from "./_client_types.ts";
export type { ResponsePromise } from "./_client_promise.ts";
export type { ClientStats } from "./_client_stats.ts";
export type { ClientTransport, TransportInit } from "./_client_transport.ts";
export type { QueryInit, QueryStyle } from "./_client_url.ts";

const CLOSE_TIMEOUT = 15_000;
/** URLs whose requests are kept as they go out. */
const MAX_PLANS = 256;
/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_DELAY = 2 ** 31 - 1;

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
  readonly #source: CarrierSource;
  readonly #options: ClientOptions;
  readonly #settled: Settled;
  readonly #given: GivenFields;
  readonly #usual: Fields;
  readonly #usualText: string;
  readonly #retries: Retries;
  readonly #fast: boolean;
  /** Whether there is a cache among the layers. */
  readonly #caching: boolean;
  /** Whether there are no connections, and no proxies on the way. */
  readonly #direct: boolean;
  readonly #routes = new Map<string, Route>();
  readonly #plans = new Map<Target, Plan>();

  /** Nothing is opened before the first request. */
  constructor(options: ClientOptions = {}) {
    checkOptions(options);
    const { pool, http2 } = options;
    this.#options = { ...options, use: [...options.use ?? []] };
    const { transport } = options;
    this.#retries = new Retries(options.retry);
    this.#direct = transport !== undefined;
    this.#settled = settle(options);
    this.#given = withAuth(givenFields(options.headers), options);
    this.#source = transport !== undefined
      ? new TransportSource(transport)
      : new Pool({
        perHost: pool?.perHost ?? 16,
        total: pool?.total ?? 1024,
        queue: pool?.queue ?? 65_536,
        idleTimeout: pool?.idleTimeout ?? 30_000,
        maxLifetime: pool?.maxLifetime ?? Infinity,
        initialWindow: http2?.initialWindow ?? 1024 * 1024,
        maxWindow: http2?.maxWindow ?? 16 * 1024 * 1024,
      }, options.wiretap);
    const { fields, close, host, length } = this.#given;
    this.#usual = overlay(fields, usualFields(this.#settled.decompress));
    this.#usualText = fieldText(this.#usual);
    this.#caching = this.#options.use!.some(isCache);
    this.#fast = !close && host === undefined && length === undefined &&
      !hasField(fields, "range") && options.base === undefined &&
      options.query === undefined && this.#options.use!.length === 0 &&
      this.#settled.cookies === undefined && !this.#direct &&
      this.#retries.layer(undefined) === undefined;
  }

  /** Sends a request; resolves with the head of the response. */
  fetch(input: string | URL | Request, init?: ClientInit): ResponsePromise {
    return new PendingResponse((resolve, reject) => {
      try {
        const promise = { resolve, reject };
        if (this.#fast && init === undefined && typeof input === "string") {
          this.#begin(targetOf(input), promise);
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
    return this.#source.stats();
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
    this.#source.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([
      this.#source.idle(),
      new Promise<void>((resolve) => {
        if (timeout <= MAX_DELAY) timer = setTimeout(resolve, timeout);
      }),
    ]);
    clearTimeout(timer);
    this.#source.destroy();
  }

  /** `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A GET with nothing said about it: no time is lost on options. */
  #begin(target: Target, promise: Settle): void {
    const plan = this.#planOf(target);
    new Call({
      source: this.#source,
      plan,
      settled: this.#settled,
      signal: undefined,
      follow: followRedirect,
      given: undefined,
      promise,
      onOver: undefined,
    }).begin();
  }

  /** The same URL is asked for often: all that goes out is then at hand. */
  #planOf(target: Target): Plan {
    const known = this.#plans.get(target);
    if (known !== undefined) {
      known.wire ??= encodeHead(`${known.head}\r\n`).slice();
      return known;
    }
    const method = "GET";
    const route = this.#route(target);
    const fields = route.proxy === undefined
      ? this.#usualText
      : wayText(route, this.#usual) + this.#usualText;
    const plan: Plan = {
      method,
      target,
      fields: this.#usual,
      sent: this.#usual,
      host: target.host,
      body: undefined,
      head: headText(method, target, target.host, fields, route),
      wire: undefined,
      close: false,
      expect: undefined,
      route,
    };
    if (this.#plans.size >= MAX_PLANS) this.#plans.clear();
    this.#plans.set(target, plan);
    return plan;
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
    if (init !== undefined) checkInit(init, this.#caching);
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
      given: init?.multipart === undefined
        ? over(given, this.#given)
        : untyped(over(given, this.#given), init.headers, given),
      body: bodyFrom(init, request),
      settled: request === undefined || init?.redirect !== undefined
        ? settled
        : { ...settled, redirect: request.redirect },
      signal: signal ?? undefined,
      request,
      onOver: undefined,
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

  #start(draft: Draft, init: ClientInit | undefined, given: Settle): void {
    const integrity = parseIntegrity(
      init?.integrity ?? draft.request?.integrity ?? "",
    );
    const promise = integrity === undefined ? given : {
      resolve: (response: ClientResponse) =>
        void verified(response, integrity).then(given.resolve, given.reject),
      reject: given.reject,
    };
    const retry = this.#retries.layer(init?.retry);
    const layers = this.#options.use!;
    const use = retry === undefined ? layers : [retry, ...layers];
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
    const settled = this.#direct
      ? { ...draft.settled, proxies: undefined }
      : draft.settled;
    const plan = makePlan({
      ...draft,
      settled,
      body: draft.body as RequestBody | undefined,
      localAddress: this.#options.localAddress,
    });
    new Call({
      source: this.#source,
      plan,
      settled,
      signal: draft.signal,
      follow: followRedirect,
      given: draft.request,
      promise,
      onOver: draft.onOver,
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
    const link = draft.signal && new SignalLink(draft.signal);
    const release = link?.hold();
    const first = toRequest(draft, body, link?.signal);
    if (body?.replayable) markReplayable(first);
    if (this.#caching) {
      const { unix, cookies, decompress, tls } = settled;
      const { host } = draft.given;
      setContext(first, {
        mode: init?.cache ?? draft.request?.cache ?? "default",
        cookies,
        ownCookies: init?.cookies !== undefined,
        raw: !decompress,
        place: [unix && `unix:${unix} `, host && `host:${host} `].join(""),
        hosted: host !== undefined,
        tls,
      });
    }
    const send = (request: Request): Promise<ClientResponse> => {
      const given = givenFields(request.headers);
      const same = request === first;
      if (same && request.bodyUsed && body?.replayable === false) {
        throw new TypeError("Cannot fetch: the body of the Request was read");
      }
      const cookies = jarOf(request) ?? settled.cookies;
      return new Promise((resolve, reject) => {
        const onOver = link?.hold();
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
          onOver,
        };
        Promise.resolve(next.body).then((body) =>
          this.#call({ ...next, body }, { resolve, reject })
        ).catch((error) => {
          onOver?.();
          reject(error);
        });
      });
    };
    const dispatch = (at: number, request: Request): Promise<ClientResponse> =>
      at === use.length ? send(request) : use[at](
        request,
        (next) => {
          inheritJar(request, next);
          inheritContext(request, next);
          return dispatch(at + 1, next);
        },
        init?.state,
      );
    const answer = dispatch(0, first).finally(release);
    const response = draft.signal === undefined
      ? await answer
      : await unlessAborted(answer, draft.signal);
    if (throwOnStatus && !response.ok) {
      throw new StatusError(
        `Cannot use the answer of ${draft.target.origin}: its status is ${response.status}`,
        response,
      );
    }
    return response;
  }
}

/** Who gives up waits for no layer: one may hang, and not know the signal. */
function unlessAborted(
  answer: Promise<ClientResponse>,
  signal: AbortSignal,
): Promise<ClientResponse> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal.reason);
      // It is for nobody.
      answer.then((late) => late.body?.cancel()).catch(() => {});
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    answer.then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function as(method: string, init: ClientInit | undefined): ClientInit {
  return { ...init, method };
}

function withAuth(given: GivenFields, { auth }: ClientInit): GivenFields {
  if (auth === undefined) return given;
  const fields: Fields = ["authorization", authorization(auth)];
  return { ...given, fields: overlay(fields, given.fields) };
}

const TYPE = new Set(["content-type"]);

/** The type of a form is its own: only it knows its boundary. */
function untyped(
  all: GivenFields,
  headers: HeadersInit | undefined,
  given: GivenFields,
): GivenFields {
  if (headers !== undefined && hasField(given.fields, "content-type")) {
    throw new TypeError(
      "Cannot send multipart: leave content-type out of the headers: it has to name the boundary",
    );
  }
  return { ...all, fields: without(all.fields, TYPE) };
}

function over(given: GivenFields, under: GivenFields): GivenFields {
  return {
    fields: overlay(given.fields, under.fields),
    host: given.host ?? under.host,
    length: given.length,
    close: given.close || under.close,
  };
}
