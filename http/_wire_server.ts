import { ClosedError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { listen } from "../tcp/_listen.ts";
import type { RuntimeServer } from "../tcp/_runtime.ts";
import { turnAway } from "../tcp/_transport.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";
import type { ServerStats, TlsServerOptions } from "../tcp/types.ts";
import { tapped } from "../tcp/_wiretap.ts";
import type { H1Limits } from "./_h1_types.ts";
import { useInside } from "./_response_parts.ts";
import { useUtf8 } from "./_text_type.ts";
import { Origins } from "./_request_url.ts";
import { fetchDirect } from "./_serve_direct.ts";
import type { Home, Member } from "./_exchange.ts";
import { Lifetime } from "./_serve_lifetime.ts";
import { urlOf } from "./_serve_options.ts";
import type { Protocol, ServeConfig } from "./_serve_options.ts";
import type { HttpServer } from "./types.ts";
import type { TakenTransport } from "./_wire_taken.ts";
import type { WireExchange } from "./_wire_exchange.ts";
import { Doorway } from "./_h2_doorway.ts";
import { Farewell } from "./_wire_farewell.ts";
import type { Resting } from "./_wire_farewell.ts";
import { H2Connection } from "./_h2_server.ts";
import { WireConnection } from "./_wire_connection.ts";

/** Header fields of a request, and of its trailers, at most. */
const MAX_FIELDS = 256;
/** Deadlines are looked at as often as this at most and at least, in ms. */
const MIN_TICK = 10;
const MAX_TICK = 500;

/** A connection that the server counts and looks after. */
export interface ServedConnection extends TransportEvents, Resting {
  /** The end, now. */
  destroy(reason: NetError): void;
  /** Looks at the deadlines; called every so often. */
  check(now: number): void;
}

/** What is agreed on is what is listed, and nothing else (RFC 7301). */
function withAlpn(
  tls: TlsServerOptions,
  protocols: readonly Protocol[],
): TlsServerOptions {
  const { alpn = [...protocols] } = tls;
  for (const protocol of alpn) {
    if (!(protocols as readonly string[]).includes(protocol)) {
      throw new TypeError(
        `Cannot serve: alpn names what is not among the protocols: ${protocol}`,
      );
    }
  }
  return { ...tls, alpn };
}

/** The server of the wire engine: our own codec over tcp. */
export class WireServer implements HttpServer {
  readonly config: ServeConfig;
  readonly #protocols: readonly Protocol[];
  readonly readerLimits: H1Limits;
  /** Time as of the last look at the deadlines: good enough for them. */
  now = 0;
  bytesRead = 0;
  bytesWritten = 0;
  /** Requests being answered; counted when there is a limit. */
  active = 0;
  #listener!: RuntimeServer;
  #origins!: Origins;
  readonly #connections = new Set<ServedConnection>();
  readonly #farewell = new Farewell(this.#connections);
  /** Connections that others have taken over. */
  readonly #taken = new Set<TakenTransport>();
  readonly #lifetime: Lifetime;
  readonly #tick: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #accepted = 0;
  #refused = 0;

  constructor(config: ServeConfig) {
    this.config = config;
    this.#protocols = config.protocols ??
      (config.tls === undefined ? ["http/1.1"] : ["h2", "http/1.1"]);
    const { header, target } = config.limits;
    this.readerLimits = {
      header,
      target,
      fields: MAX_FIELDS,
      trailer: header,
    };
    const shortest = Math.min(...Object.values(config.timeouts));
    this.#tick = Math.min(MAX_TICK, Math.max(MIN_TICK, shortest / 8));
    this.#lifetime = new Lifetime({
      signal: config.signal,
      begin: () => this.#beginClose(),
      destroy: () => {
        this.#farewell.stop();
        const reason = new ClosedError("The server was closed");
        for (const connection of [...this.#connections]) {
          connection.destroy(reason);
        }
        for (const taken of [...this.#taken]) taken.destroy();
      },
      isOver: () => this.#connections.size === 0 && this.#taken.size === 0,
    });
  }

  /** Begins to listen; rejects when it cannot. */
  async listen(): Promise<void> {
    const { hostname, port, path, backlog, reusePort, tls, proxyProtocol } =
      this.config;
    this.#listener = await listen({
      ...(path === undefined ? { hostname, port, reusePort } : { path }),
      backlog,
      proxyProtocol,
      tls: tls && withAlpn(tls, this.#protocols),
    }, {
      connection: (transport) => this.#accept(transport),
      error: (error) => this.#lose(error),
      admits: (arriving) => this.#admits(arriving),
    });
    const scheme = tls === undefined ? "http" : "https";
    this.#origins = new Origins(scheme, this.url.slice(0, -1));
    this.#lifetime.start();
  }

  get origins(): Origins {
    return this.#origins;
  }

  get address(): Address {
    return this.#listener.address;
  }

  get url(): string {
    return urlOf(this.address, this.config.tls !== undefined);
  }

  get raw(): unknown {
    return this.#listener.raw;
  }

  get closing(): boolean {
    return this.#lifetime.closing;
  }

  get closed(): Promise<void> {
    return this.#lifetime.closed;
  }

  /** Needs no `this`: it can be handed on. */
  readonly fetch = (request: Request): Promise<Response> =>
    fetchDirect(this, this.config, request);

  close(options?: { timeout?: number }): Promise<void> {
    return this.#lifetime.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  stats(): ServerStats {
    return {
      connections: this.#connections.size + this.#taken.size,
      accepted: this.#accepted,
      refused: this.#refused,
      bytesRead: this.bytesRead,
      bytesWritten: this.bytesWritten,
    };
  }

  updateTls(options: TlsServerOptions): void {
    this.#listener.updateTls(withAlpn(options, this.#protocols));
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }

  // For the connections.

  /** Whether there is room for one more request at work. */
  admit(exchange: WireExchange): boolean {
    const { requests } = this.config.limits;
    if (requests === Infinity) return true;
    if (this.active >= requests) return false;
    this.active++;
    return exchange.admitted = true;
  }

  /** It is answered, with a head that did not tell of the close to come. */
  rests(connection: ServedConnection): void {
    this.#farewell.rest(connection);
  }

  /** From now on only the transport is kept. */
  handOver(connection: ServedConnection, taken: TakenTransport): void {
    this.#taken.add(taken);
    this.remove(connection);
  }

  /** A connection that was taken over has ended. */
  leave(taken: TakenTransport): void {
    if (this.#taken.delete(taken)) this.#lifetime.check();
  }

  /** Counts a connection that lives long: see `Exchange.adopt`. */
  adopt(member: Member): Home {
    return this.#lifetime.adopt(member);
  }

  waitUntil(task: Promise<unknown>, onError: (error: unknown) => void): void {
    this.#lifetime.waitUntil(task, onError);
  }

  onShutdown(callback: () => void): () => void {
    return this.#lifetime.onShutdown(callback);
  }

  /** Tells `onError` what no caller waits for. */
  report(error: unknown, request: Request): void {
    try {
      const told = this.config.onError?.(error, request);
      if (told instanceof Promise) told.catch(() => {});
    } catch {
      // It was told; what it makes of it is not ours.
    }
  }

  /** The time that is `ms` from now, and never less. */
  after(ms: number): number {
    return this.now + ms + this.#tick;
  }

  remove(connection: ServedConnection): void {
    if (!this.#connections.delete(connection)) return;
    if (this.#connections.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#farewell.stop();
    }
    this.#lifetime.check();
  }

  /**
   * Whether there is room for one more connection, beside so many that are in
   * their TLS handshake or PROXY header; counts it as refused when not.
   */
  #admits(arriving: number): boolean {
    const open = this.#connections.size + this.#taken.size + arriving;
    if (!this.closing && open < this.config.limits.connections) return true;
    this.#refused++;
    return false;
  }

  #accept(below: Transport): void {
    if (!this.#admits(0)) {
      turnAway(below);
      return;
    }
    const transport = tapped(below, this.config.wiretap);
    this.#accepted++;
    if (this.#timer === undefined) {
      this.now = performance.now();
      // It lives no longer than the connections, so it holds nothing up.
      this.#timer = setInterval(() => this.#look(), this.#tick);
    }
    this.#take(transport, this.#kindOf(transport));
  }

  /** Which kind of connection it is; `undefined`: its first bytes tell. */
  #kindOf({ tls }: Transport): Protocol | undefined {
    const protocols = this.#protocols;
    if (tls !== undefined) {
      // Who agrees on nothing speaks HTTP/1.1, if that is listed.
      return tls.alpn === "h2" || !protocols.includes("http/1.1")
        ? "h2"
        : "http/1.1";
    }
    return protocols.length > 1 ? undefined : protocols[0];
  }

  #take(transport: Transport, kind: Protocol | undefined): void {
    const connection = kind === "http/1.1"
      ? new WireConnection(this, transport)
      : kind === "h2"
      ? new H2Connection(this, transport)
      : new Doorway(this, transport);
    this.#connections.add(connection);
    transport.attach(connection);
  }

  /** Its first bytes have told what it speaks. */
  sort(doorway: Doorway, kind: Protocol, first: Uint8Array): void {
    const { transport } = doorway;
    const connection = kind === "h2"
      ? new H2Connection(this, transport)
      : new WireConnection(this, transport);
    this.#connections.delete(doorway);
    this.#connections.add(connection);
    transport.attach(connection);
    connection.data(first);
    if (!this.closing) return;
    if (connection.resting) this.rests(connection);
    else connection.shutDown();
  }

  #look(): void {
    const now = this.now = performance.now();
    for (const connection of this.#connections) connection.check(now);
  }

  /** Something is wrong with accepting; no request has to do with it. */
  #lose(_error: NetError): void {
    // The listener goes on; there is no one to tell.
  }

  #beginClose(): Promise<void> {
    const closed = this.#listener.close();
    this.#farewell.begin();
    return closed;
  }
}

export async function serveWire(config: ServeConfig): Promise<HttpServer> {
  if (config.protocols?.includes("h3")) {
    throw new TypeError(
      "Cannot serve: protocols: the wire engine does not speak this one: h3",
    );
  }
  if ((globalThis as { Bun?: unknown }).Bun !== undefined) {
    const { bodyInside, isUtf8 } = await import("./_bun_body.ts");
    useInside(bodyInside(), isUtf8);
    useUtf8(isUtf8);
  }
  const server = new WireServer(config);
  await server.listen();
  return server;
}
