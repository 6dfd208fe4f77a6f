/**
 * HTTP: a server and a client on one codec, the same on every runtime.
 *
 * @example
 * ```ts
 * import { serve } from "@sluice/net/http";
 *
 * await using server = await serve(() => new Response("hello"), { port: 0 });
 * ```
 *
 * @module
 */
export { cache } from "./cache.ts";
export type { CacheHeuristic, CacheOptions } from "./cache.ts";
export { MemoryStore } from "./cache_store.ts";
export type {
  CacheStore,
  MemoryStoreOptions,
  StoredResponse,
} from "./cache_store.ts";
export { channel } from "./channel.ts";
export type {
  ChannelHandlers,
  ChannelListener,
  ChannelMessage,
  ChannelOptions,
  ChannelSession,
  ChannelSocket,
} from "./channel.ts";
export * from "./client.ts";
export { compose } from "./compose.ts";
export type { Middleware, Next } from "./compose.ts";
export { compress } from "./compress.ts";
export type { CompressOptions } from "./compress.ts";
export { CookieJar } from "./cookie_jar.ts";
export type {
  CookieAccess,
  CookieJarJson,
  CookieJarOptions,
  StoredCookie,
} from "./cookie_jar.ts";
export { cookies } from "./cookies_middleware.ts";
export { getCookies, setCookie } from "./cookies.ts";
export type { Cookie } from "./cookies.ts";
export { digest } from "./digest.ts";
export type { DigestAlgorithm, DigestOptions } from "./digest.ts";
export { directory } from "./directory.ts";
export type { DirectoryOptions } from "./directory.ts";
export * from "./errors.ts";
export { eventStream } from "./event_stream.ts";
export type {
  EventSourceInput,
  EventStreamOptions,
  ServerSentEvent,
} from "./event_stream.ts";
export { events } from "./events.ts";
export type {
  EventsOptions,
  EventsReconnectInfo,
  EventsReconnectOptions,
  ReceivedEvent,
} from "./events.ts";
export { fake } from "./fake.ts";
export type {
  FakeAnswer,
  FakeHandler,
  FakeRoutes,
  FakeTransport,
} from "./fake.ts";
export * from "./fetch.ts";
export { file } from "./file.ts";
export type { FileOptions } from "./file.ts";
export { fromCallback } from "./from_callback.ts";
export type { CallbackHandler } from "./from_callback.ts";
export * from "../streams/errors.ts";
export { fromNodeListener } from "./from_node_listener.ts";
export { multipart } from "./multipart.ts";
export type { MultipartLimits, Part } from "./multipart.ts";
export { installRequest, Request } from "./request.ts";
export { resolver } from "./resolver.ts";
export type { Resolver, ResolverOptions } from "./resolver.ts";
export { installResponse, Response } from "./response.ts";
export { retry } from "./retry.ts";
export type { RetryOptions } from "./retry.ts";
export * from "./serve.ts";
export { toNodeListener } from "./to_node_listener.ts";
export type { NodeListenerOptions } from "./to_node_listener.ts";
export { withTrailers } from "./with_trailers.ts";
export type {
  Handler,
  HttpServer,
  ServeOptions,
  ServerContext,
} from "./types.ts";
export type {
  Address,
  Bytes,
  Clock,
  CloseInfo,
  Duplex,
  MaybePromise,
  Sink,
  Source,
  Wait,
} from "../streams/types.ts";
export type {
  Connection,
  Server,
  ServerStats,
  TlsClientOptions,
  TlsInfo,
  TlsServerOptions,
  Wiretap,
  WiretapEvent,
} from "../tcp/types.ts";
export type { Lookup, LookupAddress, LookupOptions } from "../tcp/_lookup.ts";
export type { ProxyOptions } from "../tcp/_proxy.ts";
