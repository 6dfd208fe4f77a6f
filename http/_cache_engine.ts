import type { MaybePromise } from "../streams/types.ts";
import {
  ageOf,
  isStorable,
  judge,
  normalised,
  policyOf,
  renewed,
  storedField,
  storedHeaders,
  varyNames,
  wishOf,
} from "./_cache_policy.ts";
import { Patience } from "./_cache_patience.ts";
import type { Exchange, Heuristic, Verdict, Wish } from "./_cache_policy.ts";
import {
  conditionsOf,
  copied,
  hashOf,
  isSame,
  isStored,
  keyOf,
  modeFields,
  offline,
  opaque,
  plain,
  refuse,
  trustOf,
} from "./_cache_request.ts";
import { passed, served } from "./_cache_response.ts";
import type { CacheStore, StoredResponse } from "./cache_store.ts";
import { contextOf } from "./_client_context.ts";
import type { ClientContext } from "./_client_context.ts";
import { inheritJar, jarOf, withCookies } from "./_client_jar.ts";
import { LightResponse } from "./_client_response.ts";
import type { ClientResponse } from "./_client_response.ts";
import { sendWith } from "./_client_send_with.ts";
import { Deadlines } from "./_client_timers.ts";
import { FetchError } from "./errors.ts";

/** What a cache goes by, all there. */
export interface CacheSettings {
  readonly store: CacheStore;
  readonly maxEntrySize: number;
  readonly storeTimeout: number;
  readonly heuristic: Heuristic | undefined;
  readonly partition: ((request: Request) => MaybePromise<string>) | undefined;
  readonly now: () => number;
  readonly onError: ((error: unknown) => void) | undefined;
}

type Send = (request: Request) => Promise<ClientResponse>;

const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** What a server that cannot answer says (RFC 5861, 4). */
const FAILURES = new Set([500, 502, 503, 504]);
/** With these a caller has a cache of its own (Fetch, 4.6). */
const CONDITIONS = [
  ...["if-match", "if-none-match", "if-modified-since"],
  ...["if-unmodified-since", "if-range"],
];
/** Responses under one key, for what `Vary` and partitions tell apart. */
const MAX_VARIANTS = 32;
/** Milliseconds that nobody waits for. */
const BEHIND_TIME = 60_000;
/** Keys whose change is remembered, for those who asked before. */
const MAX_CHANGED = 4096;

/** One request, as the cache looks at it. */
interface Visit {
  readonly request: Request;
  readonly next: Send;
  readonly key: string;
  readonly context: ClientContext;
  readonly wish: Wish;
  readonly partition: string;
  /** Values of its fields as `Vary` compares them. */
  readonly value: (name: string) => string | null;
}

/** What was found, and how good it is. */
interface Found {
  readonly stored: StoredResponse;
  readonly age: number;
  readonly verdict: Verdict;
}

/** A private cache (RFC 9111). */
export class CacheEngine {
  readonly #settings: CacheSettings;
  /** One after the other under each key. */
  readonly #locks = new Map<string, Promise<void>>();
  /** Counts what happens, to know what came first. */
  #step = 0;
  /** When what is under a key was changed by an unsafe method. */
  readonly #changed = new Map<string, number>();
  /** Before this, any key may have been. */
  #forgotten = 0;
  /** What is validated behind an answer. */
  readonly #behind = new Set<string>();
  readonly #deadlines = new Deadlines();
  readonly #patience: Patience;

  constructor(settings: CacheSettings) {
    this.#settings = settings;
    this.#patience = new Patience(settings.storeTimeout);
  }

  async handle(request: Request, next: Send): Promise<ClientResponse> {
    const { method, headers } = request;
    if (!SAFE.has(method)) return await this.#unsafe(request, next);
    const context = contextOf(request);
    const wish = wishOf(headers);
    const aside = (method !== "GET" && method !== "HEAD") ||
      context.mode === "no-store" || wish.noStore || headers.has("range") ||
      CONDITIONS.some((name) => headers.has(name));
    if (aside) {
      return offline(context, wish)
        ? refuse(request, context)
        : await next(request);
    }
    const { value, partition } = await this.#identify(request, context);
    const key = keyOf(context, request.url, context.raw);
    const visit: Visit = {
      ...{ request, next, key, context, wish, partition, value },
    };
    const list = await this.#read(key, request);
    const stored = list.find((one) => this.#matches(one, visit));
    if (stored === undefined || context.mode === "reload") {
      if (offline(context, wish)) return refuse(request, context);
      const why = stored !== undefined
        ? "request"
        : list.length > 0
        ? "vary-miss"
        : "uri-miss";
      return await this.#forward(visit, undefined, why);
    }
    return await this.#use(visit, stored);
  }

  async #use(visit: Visit, stored: StoredResponse): Promise<ClientResponse> {
    const { request, context, wish } = visit;
    const { heuristic, now } = this.#settings;
    const policy = policyOf(stored, heuristic);
    const age = ageOf(stored, now());
    const verdict = judge(policy, age, {
      ...wish,
      noCache: wish.noCache || context.mode === "no-cache",
    });
    const any = context.mode === "force-cache" ||
      context.mode === "only-if-cached";
    const hit = `sluice; hit; ttl=${verdict.left}`;
    // What is there is nothing to who has given up.
    request.signal.throwIfAborted();
    if (any || verdict.use) return served(stored, age, hit, request);
    if (offline(context, wish)) return refuse(request, context);
    const found = { stored, age, verdict };
    if (verdict.behind && !context.hosted) {
      this.#validateBehind(visit, found);
      return served(stored, age, hit, request);
    }
    const why = wish.noCache || context.mode === "no-cache" || verdict.left > 0
      ? "request"
      : "stale";
    return await this.#forward(visit, found, why);
  }

  /** Asks the server, with conditions where there is something to keep. */
  async #forward(
    visit: Visit,
    found: Found | undefined,
    why: string,
  ): Promise<ClientResponse> {
    const { request, next, context } = visit;
    const { now } = this.#settings;
    const conditions = request.method === "GET" && found !== undefined
      ? conditionsOf(found.stored)
      : [];
    const fields = [...conditions, ...modeFields(request, context)];
    const step = ++this.#step;
    let response: ClientResponse;
    const requestTime = now();
    try {
      response = await sendWith(request, fields, next);
    } catch (error) {
      if (
        found?.verdict.onError && error instanceof FetchError &&
        !request.signal.aborted
      ) {
        const status = 'sluice; fwd=stale; detail="stale-if-error"';
        return served(found.stored, this.#age(found.stored), status, request);
      }
      throw error;
    }
    const responseTime = now();
    if (response.status === 304 && conditions.length > 0) {
      return await this.#validated(visit, found!, response, why, {
        ...{ requestTime, responseTime, step },
      });
    }
    if (found?.verdict.onError && FAILURES.has(response.status)) {
      await response.body?.cancel().catch(() => {});
      const status =
        `sluice; fwd=${why}; fwd-status=${response.status}; detail="stale-if-error"`;
      return served(found.stored, this.#age(found.stored), status, request);
    }
    return await this.#take(visit, response, why, {
      ...{ requestTime, responseTime, step },
    });
  }

  /** Gives a full response on, and keeps it if it may. */
  async #take(
    asked: Visit,
    response: ClientResponse,
    why: string,
    exchange: Exchange,
  ): Promise<ClientResponse> {
    const { step, requestTime, responseTime } = exchange;
    const { headers, status } = response;
    const max = this.#max;
    const got = asked.request.method === "GET";
    const visit = !got
      ? undefined
      : response.redirected
      ? await this.#arrive(asked, response)
      : asked;
    const storable = visit !== undefined && isStorable(status, headers) &&
      !(Number(headers.get("content-length") ?? 0) > max);
    if (got && status < 500 && !(storable && visit === asked)) {
      // What was there is not what the server has now.
      await this.#drop(asked);
    }
    if (!storable) {
      if (visit !== undefined && visit !== asked && status < 500) {
        await this.#drop(visit);
      }
      if (asked.request.method === "HEAD" && !response.redirected) {
        await this.#compare(asked, response, exchange);
      }
      return passed(response, `sluice; fwd=${why}; fwd-status=${status}`);
    }
    const { key } = visit;
    const stored: Omit<StoredResponse, "body"> = {
      url: plain(visit.request.url),
      status,
      statusText: response.statusText,
      headers: storedHeaders(headers),
      vary: varyNames(headers.get("vary"))!
        .map((name) => [name, visit.value(name)]),
      partition: visit.partition,
      requestTime,
      responseTime,
    };
    const keep = async (body: Uint8Array | undefined): Promise<void> => {
      if (!this.#outdated(key, step)) {
        await this.#keep(visit, { ...stored, body });
      }
    };
    const told = `sluice; fwd=${why}; fwd-status=${status}; stored`;
    if (!LightResponse.hasBody(response)) await keep(undefined);
    else if (headers.get("content-length") === "0") {
      // Nobody has to read it.
      await keep(new Uint8Array(0));
      return passed(response, told);
    }
    return passed(response, told, { max, onWhole: keep });
  }

  /**
   * Where redirects led to, as if it had been asked for; nothing where what is
   * stored would be found by others than those who would get it.
   */
  async #arrive(
    visit: Visit,
    response: ClientResponse,
  ): Promise<Visit | undefined> {
    const { request, context } = visit;
    const { request: last, url } = response;
    if (
      last?.method !== "GET" || context.place !== "" || context.ownCookies
    ) return undefined;
    const jar = jarOf(request) ?? context.cookies;
    if (
      jar !== undefined &&
      varyNames(response.headers.get("vary"))?.includes("cookie")
    ) {
      // Which cookies went there is not known any more.
      return undefined;
    }
    const headers = new Headers(request.headers);
    for (const name of [...headers.keys()]) {
      // What does not go to another origin.
      if (!last.headers.has(name)) headers.delete(name);
    }
    const { redirect, signal } = request;
    const there = new Request(url, { headers, redirect, signal });
    inheritJar(request, there);
    return {
      ...visit,
      ...await this.#identify(there, context),
      request: there,
      key: keyOf(context, url, context.raw),
    };
  }

  /**
   * A HEAD tells of what is stored whether it is still right: then it is as
   * fresh as that, else it is forgotten (RFC 9111, 4.3.5).
   */
  async #compare(
    visit: Visit,
    { status, headers }: ClientResponse,
    exchange: Exchange,
  ): Promise<void> {
    const { requestTime, step } = exchange;
    if (status !== 200 || this.#outdated(visit.key, step)) return;
    const list = await this.#read(visit.key);
    if (!list.some((one) => this.#matches(one, visit))) return;
    await this.#write(visit.key, (list) =>
      list.flatMap((one) => {
        // What came after it was asked for is newer.
        if (!this.#matches(one, visit) || one.requestTime > requestTime) {
          return [one];
        }
        const same = isSame(one, headers);
        if (same === undefined) return [one];
        const fresh = renewed(one, headers, visit.value, exchange);
        return same && isStorable(fresh.status, new Headers(copied(fresh)))
          ? [fresh]
          : [];
      }));
  }

  /** What is stored is still right (RFC 9111, 4.3.4). */
  async #validated(
    visit: Visit,
    { stored }: Found,
    response: ClientResponse,
    why: string,
    exchange: Exchange,
  ): Promise<ClientResponse> {
    const tag = response.headers.get("etag");
    if (
      response.redirected ||
      (tag !== null && opaque(tag) !== opaque(storedField(stored, "etag")))
    ) {
      // That was said of something else.
      return await this.#forward(visit, undefined, why);
    }
    const fresh = renewed(stored, response.headers, visit.value, exchange);
    if (!this.#outdated(visit.key, exchange.step)) {
      if (isStorable(fresh.status, new Headers(copied(fresh)))) {
        await this.#keep(visit, fresh);
      } else await this.#drop(visit);
    }
    const status = `sluice; fwd=${why}; fwd-status=304`;
    return served(fresh, this.#age(fresh), status, visit.request);
  }

  /** Validates a response that was given already. */
  #validateBehind(visit: Visit, found: Found): void {
    const { request, key } = visit;
    const { vary, partition } = found.stored;
    const what = JSON.stringify([key, partition, vary]);
    if (this.#behind.has(what)) return;
    this.#behind.add(what);
    const controller = new AbortController();
    const timer = this.#deadlines.set(BEHIND_TIME, () => controller.abort());
    // Who asked may go before it is done.
    const copy = new Request(request.url, {
      method: "GET",
      headers: request.headers,
      redirect: request.redirect,
      signal: controller.signal,
    });
    this.#forward({ ...visit, request: copy }, {
      ...found,
      verdict: { ...found.verdict, onError: false },
    }, "stale").then((response) => this.#consume(response))
      .catch(() => {})
      .finally(() => {
        timer?.cancel();
        this.#behind.delete(what);
      });
  }

  async #consume(response: ClientResponse): Promise<void> {
    const reader = response.body?.getReader();
    for (let size = 0; reader !== undefined;) {
      const { done, value } = await reader.read();
      if (done) return;
      size += value.byteLength;
      if (size > this.#max) {
        await reader.cancel();
        return;
      }
    }
  }

  /** What changes things makes what is stored of them invalid (4.4). */
  async #unsafe(request: Request, next: Send): Promise<ClientResponse> {
    const response = await next(request);
    if (response.status < 200 || response.status > 399) return response;
    const { headers } = response;
    const base = response.url || request.url;
    const urls = new Set([request.url, base, ...response.redirects ?? []]);
    for (const name of ["location", "content-location"]) {
      const value = headers.get(name);
      if (value === null || !URL.canParse(value, base)) continue;
      const url = new URL(value, base);
      if (url.origin === new URL(base).origin) urls.add(url.href);
    }
    const context = contextOf(request);
    for (const url of urls) {
      for (const raw of [false, true]) {
        const key = keyOf(context, url, raw);
        this.#change(key);
        await this.#forget(key);
      }
    }
    return response;
  }

  get #max(): number {
    const { store, maxEntrySize } = this.#settings;
    return Math.min(maxEntrySize, store.maxEntrySize ?? Infinity);
  }

  #age(stored: StoredResponse): number {
    return ageOf(stored, this.#settings.now());
  }

  #change(key: string): void {
    this.#changed.delete(key);
    this.#changed.set(key, ++this.#step);
    if (this.#changed.size <= MAX_CHANGED) return;
    const [[oldest, step]] = this.#changed;
    this.#changed.delete(oldest);
    this.#forgotten = step;
  }

  /** Whether what was asked for then may have been changed since. */
  #outdated(key: string, step: number): boolean {
    return step < Math.max(this.#forgotten, this.#changed.get(key) ?? 0);
  }

  /** Whether a stored response is for this request (RFC 9111, 4.1). */
  #matches(stored: StoredResponse, visit: Visit): boolean {
    return stored.partition === visit.partition &&
      stored.vary.every(([name, value]) => visit.value(name) === value) &&
      // To follow it is not for the cache.
      !(REDIRECTS.has(stored.status) && visit.request.redirect !== "manual");
  }

  async #identify(
    request: Request,
    context: ClientContext,
  ): Promise<Pick<Visit, "partition" | "value">> {
    // Layers below may change its fields meanwhile.
    const headers = new Headers(request.headers);
    const given = headers.get("cookie");
    const jar = jarOf(request) ?? context.cookies;
    const [, cookie = null] = withCookies(
      given === null ? [] : ["cookie", given],
      jar,
      request.url,
    );
    const authorization = headers.get("authorization");
    const secrets = new Map<string, string | null>();
    for (const [name, value] of Object.entries({ authorization, cookie })) {
      secrets.set(name, value === null ? null : await hashOf(value));
    }
    // A jar of the client's is its user; what comes with a request may be of
    // somebody else.
    const own = context.ownCookies
      ? secrets.get("cookie")
      : given === null
      ? null
      : await hashOf(given);
    const { partition } = this.#settings;
    const whose = partition === undefined
      ? [secrets.get("authorization") ?? "", own ?? ""].join(" ").trim()
      : String(await partition(request));
    const trust = await trustOf(context, request.url);
    return {
      value: (name) =>
        secrets.has(name) ? secrets.get(name)! : normalised(headers.get(name)),
      partition: trust === "" ? whose : `${whose} tls ${trust}`,
    };
  }

  async #read(
    key: string,
    request?: Request,
  ): Promise<readonly StoredResponse[]> {
    const { store } = this.#settings;
    try {
      const list = await this.#patience.ask(() => store.get(key), request);
      return Array.isArray(list) ? list.filter(isStored) : [];
    } catch (error) {
      request?.signal.throwIfAborted();
      this.#report(error);
      return [];
    }
  }

  #keep(visit: Visit, stored: StoredResponse): Promise<void> {
    return this.#write(visit.key, (list) =>
      [
        stored,
        ...list.filter((one) => !this.#matches(one, visit)),
      ].slice(0, MAX_VARIANTS));
  }

  /** Forgets what a visit would be given. */
  #drop(visit: Visit): Promise<void> {
    return this.#write(
      visit.key,
      (list) => list.filter((one) => !this.#matches(one, visit)),
    );
  }

  /** Changes what is under a key; never rejects. */
  #write(
    key: string,
    change: (list: readonly StoredResponse[]) => readonly StoredResponse[],
  ): Promise<void> {
    return this.#inOrder(key, async () => {
      const list = await this.#read(key);
      const changed = change(list);
      const { store } = this.#settings;
      if (changed.length > 0) {
        await this.#patience.ask(() => store.put(key, changed));
      } else if (list.length > 0) {
        await this.#patience.tell(() => store.delete(key));
      }
    });
  }

  /** Forgets all that is under a key, also if it cannot be read just now. */
  #forget(key: string): Promise<void> {
    const { store } = this.#settings;
    return this.#inOrder(
      key,
      () => this.#patience.tell(() => store.delete(key)),
    );
  }

  /** One after the other under each key; never rejects. */
  async #inOrder(key: string, act: () => Promise<void>): Promise<void> {
    const before = this.#locks.get(key);
    const done = (async () => {
      await before;
      try {
        await act();
      } catch (error) {
        this.#report(error);
      }
    })();
    this.#locks.set(key, done);
    await done;
    if (this.#locks.get(key) === done) this.#locks.delete(key);
  }

  #report(error: unknown): void {
    try {
      this.#settings.onError?.(error);
    } catch {
      // It was told.
    }
  }
}
