import { ClosedError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import type { Connection, TlsInfo } from "../tcp/types.ts";
import { TcpConnection } from "../tcp/_connection.ts";
import type { Fields, HeadMemo, RequestHead } from "./_h1_types.ts";
import { headersOf, makeRequest } from "./_request.ts";
import { checkInforming, informingFields } from "./_response_parts.ts";
import type { RequestSource } from "./_request.ts";
import { canonicalTarget } from "./_request_url.ts";
import { RequestBody } from "./_request_body.ts";
import { Outcome } from "./_outcome.ts";
import { clientOf } from "./_client_address.ts";
import { takeoverResponse } from "./_takeover.ts";
import { steadyTime } from "./_turn.ts";
import type { ServerContext } from "./types.ts";
import type { Home, Member } from "./_exchange.ts";
import type { Carrier } from "./_wire_carrier.ts";
import type { WireServer } from "./_wire_server.ts";
import type { ResponseStream } from "./_wire_stream.ts";

/** One request and its response, as the wire engine knows them. */
export class WireExchange implements RequestSource {
  readonly engine = "wire";
  readonly connection: Carrier;
  readonly head: RequestHead;
  readonly origin: string;
  readonly body: RequestBody | undefined;
  readonly receivedAt: number;
  /** Bytes of the body so far. */
  received = 0;
  /** The request has come whole. */
  arrived = false;
  /** The final response has begun, or never will: what comes is too late. */
  answered = false;
  /** Nothing more of the response will be written. */
  finished = false;
  /** The client has not been told to go on with its body. */
  expecting: boolean;
  /** The connection is lost. */
  lost: unknown = undefined;
  /** Why the body broke off, when it did. */
  broken: unknown = undefined;
  /** When the handler has had its time; in the server's own. */
  deadline = Infinity;
  stream: ResponseStream | undefined;
  /** The body of the response goes out in chunks (RFC 9112, 7.1). */
  chunked = false;
  /** Of a head that has come before. */
  memo: HeadMemo | undefined = undefined;
  /** It counts among those that are being answered. */
  admitted = false;
  #settled = false;
  #request: Request | undefined;
  #context: ServerContext | undefined;
  #url: string | undefined;
  #controller: AbortController | undefined;
  #gone = false;
  #trailerFields: Fields | undefined;
  #trailers: Outcome<Headers> | undefined;
  #completed: Outcome<void> | undefined;

  constructor(
    connection: Carrier,
    head: RequestHead,
    origin: string,
    body: boolean,
  ) {
    this.connection = connection;
    this.head = head;
    this.origin = origin;
    const { framing } = head;
    this.body = body
      ? new RequestBody(
        this,
        framing.kind === "length" ? framing.length : undefined,
      )
      : undefined;
    this.expecting = head.expectContinue;
    this.receivedAt = steadyTime();
  }

  get method(): string {
    return this.head.method;
  }

  get fields(): Fields {
    return this.head.fields;
  }

  get url(): string {
    return this.#url ??= canonicalTarget(this.origin, this.head);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#gone) this.#abort();
    }
    return this.#controller.signal;
  }

  get request(): Request {
    return this.#request ??= makeRequest(this);
  }

  get context(): ServerContext {
    return this.#context ??= new WireContext(this);
  }

  get trailers(): Promise<Headers> {
    if (this.#trailers === undefined) {
      this.#trailers = new Outcome();
      if (this.arrived) this.#trailers.resolve(this.#trailerHeaders());
      else if (this.broken !== undefined) this.#trailers.reject(this.broken);
    }
    return this.#trailers.promise;
  }

  #trailerHeaders(): Headers {
    return headersOf(this.#trailerFields ?? []);
  }

  get completed(): Promise<void> {
    if (this.#completed === undefined) {
      this.#completed = new Outcome();
      if (this.lost !== undefined) this.#completed.reject(this.lost);
      else if (this.finished) this.connection.whenFlushed(this);
    }
    return this.#completed.promise;
  }

  /** Whether somebody waits to hear how the delivery went. */
  get watched(): boolean {
    return this.#completed !== undefined;
  }

  /** The handler has nothing more to give. */
  settle(): void {
    this.#settled = true;
    this.release();
  }

  /** Makes room for another when the handler is done and so is the response. */
  release(): void {
    if (!this.admitted || !this.#settled) return;
    if (!this.finished && this.lost === undefined) return;
    this.admitted = false;
    this.connection.server.active--;
  }

  /** All of the response is with the kernel. */
  delivered(): void {
    this.#completed?.resolve();
  }

  /** The request has come whole. */
  arrive(trailers: Fields | undefined): void {
    this.arrived = true;
    this.#trailerFields = trailers;
    this.body?.end();
    this.#trailers?.resolve(this.#trailerHeaders());
  }

  /** The rest of the request will not come. */
  breakOff(reason: unknown): void {
    if (this.arrived || this.broken !== undefined) return;
    this.broken = reason;
    this.body?.fail(reason);
    this.#trailers?.reject(reason);
  }

  /** The client is gone: who works for it may stop. */
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

  /** The client is gone before it had all of the response. */
  lose(reason: unknown): void {
    this.leave();
    this.fail(reason);
  }

  /** The response cannot be delivered. */
  fail(reason: unknown): void {
    if (this.lost !== undefined) return;
    this.lost = reason;
    this.breakOff(reason);
    this.answered = true;
    this.#completed?.reject(reason);
    this.stream?.stop(reason);
    this.release();
  }

  /** Whether the error is none of the handler's: it is how it heard. */
  isKnown(error: unknown): boolean {
    return error !== undefined &&
      (error === this.broken || error === this.lost ||
        (this.#gone && error === this.#controller?.signal.reason));
  }

  onShutdown(callback: () => void): () => void {
    return this.connection.server.onShutdown(callback);
  }

  report(error: unknown): void {
    this.connection.server.report(error, this.request);
  }

  cut(error: unknown): void {
    if (!this.answered) this.connection.abort(this, error);
  }

  reporter(): (error: unknown) => void {
    return reporterOf(this.connection.server, this);
  }

  adopt(member: Member): Home {
    return this.connection.server.adopt(member);
  }

  // What the body asks for.

  wanted(): void {
    if (!this.expecting) return;
    this.expecting = false;
    if (!this.answered) this.connection.sayContinue();
  }

  room(): void {
    this.connection.makeRoom();
  }
}

/** There is no one to tell. */
function nobody(): void {}

/**
 * Tells of a request that is long answered: of the very one as long as
 * anybody has it, else of one that is made from its head.
 */
function reporterOf(
  server: WireServer,
  { head, origin, request }: WireExchange,
): (error: unknown) => void {
  if (server.config.onError === undefined) return nobody;
  const seen = new WeakRef(request);
  return (error) =>
    server.report(
      error,
      seen.deref() ??
        new Request(canonicalTarget(origin, head), {
          headers: headersOf(head.fields),
        }),
    );
}

/** What the handler is told. */
class WireContext implements ServerContext {
  readonly #exchange: WireExchange;

  constructor(exchange: WireExchange) {
    this.#exchange = exchange;
  }

  get remoteAddress(): Address {
    return this.#exchange.connection.transport.remoteAddress;
  }

  get localAddress(): Address {
    return this.#exchange.connection.transport.localAddress;
  }

  get clientAddress(): string {
    const { connection, fields } = this.#exchange;
    return clientOf(
      this.remoteAddress,
      connection.server.config.trust,
      (name) => joined(fields, name),
    );
  }

  get protocol(): "http/1.0" | "http/1.1" | "h2" {
    const { version, minor } = this.#exchange.head;
    return version ?? (minor === 0 ? "http/1.0" : "http/1.1");
  }

  get receivedAt(): number {
    return this.#exchange.receivedAt;
  }

  get tls(): TlsInfo | undefined {
    return this.#exchange.connection.transport.tls;
  }

  get trailers(): Promise<Headers> {
    return this.#exchange.trailers;
  }

  get completed(): Promise<void> {
    return this.#exchange.completed;
  }

  get raw(): unknown {
    return this.#exchange.connection.transport.raw;
  }

  waitUntil(task: Promise<unknown>): void {
    this.#exchange.connection.server.waitUntil(
      task,
      (error) => this.#exchange.report(error),
    );
  }

  inform(status: 102 | 103, headers?: HeadersInit): void {
    const exchange = this.#exchange;
    checkInforming(status);
    if (exchange.answered) {
      throw new TypeError("Cannot inform: the response has begun");
    }
    // RFC 9110, 15.2: never to an HTTP/1.0 client.
    if (exchange.head.minor === 0) return;
    exchange.connection.output.inform(
      exchange,
      status,
      informingFields(headers),
    );
  }

  tunnel(
    handler: (connection: Connection) => unknown,
    init: ResponseInit = {},
  ): Response {
    return tunnel(this.#exchange, handler, init);
  }
}

/** The values of a field, as `Headers` joins them. */
function joined(fields: Fields, name: string): string | undefined {
  let value: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== name) continue;
    value = value === undefined ? fields[i + 1] : `${value}, ${fields[i + 1]}`;
  }
  return value;
}

function tunnel(
  exchange: WireExchange,
  handler: (connection: Connection) => unknown,
  init: ResponseInit,
): Response {
  if (typeof handler !== "function") {
    throw new TypeError(
      `Cannot tunnel: the handler must be a function: ${typeof handler}`,
    );
  }
  const { method, upgrade } = exchange.head;
  const connect = method === "CONNECT";
  if (!connect && upgrade === undefined) {
    throw new TypeError(
      `Cannot tunnel: the request is neither CONNECT nor asks for an upgrade: ${method}`,
    );
  }
  const status = init.status ?? (connect ? 200 : 101);
  if (connect ? status < 200 || status > 299 : status !== 101) {
    throw new RangeError(
      `Cannot tunnel: the status must be ${
        connect ? "2xx after CONNECT" : "101 after an upgrade"
      }: ${status}`,
    );
  }
  const headers = new Headers(init.headers);
  if (!connect) {
    if (!headers.has("upgrade")) headers.set("upgrade", upgrade!);
    headers.set("connection", "upgrade");
  }
  return takeoverResponse(status, headers, {
    start(transport, head) {
      const connection = new TcpConnection(transport, {}, head);
      const { server } = exchange.connection;
      server.waitUntil(connection.closed, () => {});
      run(handler, connection, exchange);
    },
    abandon() {},
  });
}

/** The handler's lifetime is the connection's. */
async function run(
  handler: (connection: Connection) => unknown,
  connection: TcpConnection,
  exchange: WireExchange,
): Promise<void> {
  try {
    await handler(connection);
  } catch (error) {
    connection.destroy(error);
    if (!(error instanceof ClosedError)) exchange.report(error);
    return;
  }
  await connection.close();
}
