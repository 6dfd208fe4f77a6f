import type { TlsClientOptions } from "../tcp/types.ts";
import type { CookieJar } from "./cookie_jar.ts";
import type { ClientMiddleware } from "./_client_types.ts";

/** What a cache has to know of a request besides what a `Request` tells. */
export interface ClientContext {
  readonly mode: RequestCache;
  /** Whose cookies will be sent, unless another layer gives a jar. */
  readonly cookies: CookieJar | undefined;
  /** Whether they are for this request alone. */
  readonly ownCookies: boolean;
  /** Whether the body comes as it is coded. */
  readonly raw: boolean;
  /** Who answers in place of the host of the URL, if anybody. */
  readonly place: string;
  /** Whether the caller gives a Host, which no `Request` can tell. */
  readonly hosted: boolean;
  /** Who is trusted, and who is shown, where it is said. */
  readonly tls: TlsClientOptions | undefined;
}

const USUAL: ClientContext = {
  mode: "default",
  cookies: undefined,
  ownCookies: false,
  raw: false,
  place: "",
  hosted: false,
  tls: undefined,
};

const contexts = new WeakMap<Request, ClientContext>();
const caches = new WeakSet<ClientMiddleware>();

/** What one layer handed on for a request has the same context. */
export function inheritContext(from: Request, to: Request): void {
  const context = contexts.get(from);
  if (context !== undefined && !contexts.has(to)) contexts.set(to, context);
}

export function setContext(request: Request, context: ClientContext): void {
  contexts.set(request, context);
}

/** What is known; a request from elsewhere is as usual. */
export function contextOf(request: Request): ClientContext {
  return contexts.get(request) ?? USUAL;
}

/** Says of a middleware that it is a cache. */
export function markCache(layer: ClientMiddleware): ClientMiddleware {
  caches.add(layer);
  return layer;
}

export function isCache(layer: ClientMiddleware): boolean {
  return caches.has(layer);
}
