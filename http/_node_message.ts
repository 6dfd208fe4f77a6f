import { ClosedError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import type { TlsInfo } from "../tcp/types.ts";
import { clientOf } from "./_client_address.ts";
import type { Trust } from "./_client_address.ts";
import type { Fields, RequestHead } from "./_h1_types.ts";
import { fieldLine } from "./_h1_writer.ts";
import { Outcome } from "./_outcome.ts";
import { headersOf, makeRequest } from "./_request.ts";
import type { RequestSource } from "./_request.ts";
import { RequestBody } from "./_request_body.ts";
import { canonicalTarget, Origins } from "./_request_url.ts";
import type { ServerContext } from "./types.ts";

/** As much of a socket of `node:http` as is used here. */
export interface NodeSocket {
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly localAddress?: string;
  readonly localPort?: number;
  readonly encrypted?: boolean;
  readonly authorized?: boolean;
  readonly alpnProtocol?: string | false | null;
  readonly servername?: string | false;
  getProtocol?(): string | null;
}

/** As much of an `IncomingMessage` of `node:http` as is used here. */
export interface NodeRequest {
  readonly method?: string;
  readonly url?: string;
  /** The whole target, where Express has taken a prefix off `url`. */
  readonly originalUrl?: string;
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
  readonly rawTrailers: readonly string[];
  readonly socket: NodeSocket;
  readonly readableEnded?: boolean;
  readonly readableDidRead?: boolean;
  on(event: string, listener: (...args: never[]) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

/** As much of a `ServerResponse` of `node:http` as is used here. */
export interface NodeResponse {
  readonly headersSent: boolean;
  readonly writableFinished: boolean;
  on(event: string, listener: (...args: never[]) => void): unknown;
  setHeader(name: string, value: string | string[]): unknown;
  removeHeader(name: string): void;
  writeHead(status: number, reason?: string): unknown;
  writeEarlyHints?(hints: Record<string, string | string[]>): void;
  writeProcessing?(): void;
  write(chunk: Uint8Array): boolean;
  end(body?: string | Uint8Array): unknown;
  destroy(error?: Error): unknown;
}

const secure = new Origins("https", "https://localhost");
const plain = new Origins("http", "http://localhost");

/** One request that node:http has read, as the engines know theirs. */
export class NodeExchange implements RequestSource {
  readonly engine = "wire";
  readonly incoming: NodeRequest;
  readonly outgoing: NodeResponse;
  readonly method: string;
  readonly url: string;
  readonly fields: Fields;
  readonly body: RequestBody | undefined;
  readonly context: NodeContext;
  readonly trailers: Outcome<Headers> = new Outcome();
  readonly completed: Outcome<void> = new Outcome();
  readonly report: (error: unknown) => void;
  /** Why nobody will have the response. */
  lost: ClosedError | undefined;
  /** Called when that is found out. */
  onLost: ((reason: ClosedError) => void) | undefined;
  #controller: AbortController | undefined;
  #request: Request | undefined;

  constructor(
    incoming: NodeRequest,
    outgoing: NodeResponse,
    trust: Trust | undefined,
    report: (error: unknown, request: Request) => void,
  ) {
    this.incoming = incoming;
    this.outgoing = outgoing;
    this.report = (error) => report(error, this.request);
    this.method = incoming.method ?? "GET";
    this.fields = lowered(incoming.rawHeaders);
    const { method } = this;
    const target = incoming.originalUrl ?? incoming.url ?? "/";
    // What an absolute target says counts (RFC 9112, 3.2.2).
    const authority = authorityOf(target);
    if (authority !== undefined) replace(this.fields, "host", authority);
    const host = value(this.fields, "host");
    const origins = incoming.socket.encrypted ? secure : plain;
    const origin = origins.of(host ?? "");
    if (origin === undefined) {
      throw new TypeError(
        `Cannot take a request: its Host is no host: ${host}`,
      );
    }
    this.url = canonicalTarget(origin, { target, method } as RequestHead);
    this.body = this.#bodyOf();
    this.context = new NodeContext(this, trust);
    outgoing.on("finish", () => this.completed.resolve());
    outgoing.on("close", () => {
      if (!outgoing.writableFinished) this.#lose();
    });
  }

  #bodyOf(): RequestBody | undefined {
    const { incoming, method, fields } = this;
    const none = method === "GET" || method === "HEAD" ||
      (value(fields, "transfer-encoding") === undefined &&
        Number(value(fields, "content-length") ?? 0) === 0 &&
        incoming.httpVersion !== "2.0");
    if (none) {
      this.trailers.resolve(new Headers());
      return undefined;
    }
    const body = new RequestBody({
      wanted() {},
      room: () => void incoming.resume(),
    });
    if (incoming.readableEnded || incoming.readableDidRead) {
      body.fail(
        new TypeError(
          "Cannot read the body: it was read before, from node:http",
        ),
      );
      this.trailers.resolve(new Headers());
      return body;
    }
    incoming.on("data", (chunk: Uint8Array) => {
      // A Buffer may be a view on a pool that others share.
      const bytes = new Uint8Array(
        chunk.buffer,
        chunk.byteOffset,
        chunk.byteLength,
      );
      if (!body.push(bytes)) incoming.pause();
    });
    incoming.on("end", () => {
      body.end();
      this.trailers.resolve(headersOf(lowered(incoming.rawTrailers)));
    });
    incoming.on("error", (error: Error) => {
      body.fail(error);
      // Deno's response does not close for it.
      this.#lose();
    });
    return body;
  }

  #lose(): void {
    if (this.lost !== undefined) return;
    const reason = this.lost = new ClosedError("The client is gone");
    this.#controller?.abort(
      new DOMException("The client is gone", "AbortError"),
    );
    this.body?.fail(reason);
    this.trailers.reject(reason);
    this.completed.reject(reason);
    this.onLost?.(reason);
  }

  get request(): Request {
    return this.#request ??= makeRequest(this);
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.lost !== undefined) {
      this.#controller.abort(
        new DOMException("The client is gone", "AbortError"),
      );
    }
    return this.#controller.signal;
  }

  onShutdown(_callback: () => void): () => void {
    // The server is node:http's: it does not tell.
    return () => {};
  }
}

/** What a handler is told of a request that came by node:http. */
class NodeContext implements ServerContext {
  readonly receivedAt: number = performance.now();
  readonly #exchange: NodeExchange;
  readonly #trust: Trust | undefined;

  constructor(exchange: NodeExchange, trust: Trust | undefined) {
    this.#exchange = exchange;
    this.#trust = trust;
  }

  get remoteAddress(): Address {
    const { remoteAddress, remotePort } = this.#exchange.incoming.socket;
    return addressOf(remoteAddress, remotePort);
  }

  get localAddress(): Address {
    const { localAddress, localPort } = this.#exchange.incoming.socket;
    return addressOf(localAddress, localPort);
  }

  get clientAddress(): string {
    const { fields } = this.#exchange;
    return clientOf(
      this.remoteAddress,
      this.#trust,
      (name) => headersOf(fields).get(name) ?? undefined,
    );
  }

  get protocol(): "http/1.0" | "http/1.1" | "h2" {
    const { httpVersion } = this.#exchange.incoming;
    if (httpVersion === "2.0") return "h2";
    return httpVersion === "1.0" ? "http/1.0" : "http/1.1";
  }

  get tls(): TlsInfo | undefined {
    const { socket } = this.#exchange.incoming;
    if (!socket.encrypted) return undefined;
    return {
      protocol: socket.getProtocol?.() ?? "",
      ...(socket.alpnProtocol && { alpn: socket.alpnProtocol }),
      ...(socket.servername && { serverName: socket.servername }),
      authorized: socket.authorized === true,
    };
  }

  get trailers(): Promise<Headers> {
    return this.#exchange.trailers.promise;
  }

  get completed(): Promise<void> {
    return this.#exchange.completed.promise;
  }

  get raw(): unknown {
    const { incoming, outgoing } = this.#exchange;
    return { request: incoming, response: outgoing };
  }

  waitUntil(task: Promise<unknown>): void {
    task.catch((error) => this.#exchange.report(error));
  }

  inform(status: 102 | 103, headers?: HeadersInit): void {
    const { outgoing } = this.#exchange;
    if (outgoing.headersSent) {
      throw new TypeError("Cannot inform: the response has begun");
    }
    if ((status as number) === 102) outgoing.writeProcessing?.();
    else if ((status as number) === 103) {
      const hints: Record<string, string> = {};
      for (const [name, value] of new Headers(headers)) {
        fieldLine(name, value); // For what it throws.
        hints[name] = value;
      }
      // Without a link Node sends nothing.
      outgoing.writeEarlyHints?.(hints);
    } else {
      throw new RangeError(
        `Cannot inform: the status must be 102 or 103: ${status}`,
      );
    }
  }

  tunnel(): never {
    throw new TypeError(
      "Cannot tunnel: node:http has the connection, listen for its upgrade and connect events",
    );
  }
}

function addressOf(hostname: string | undefined, port = 0): Address {
  return hostname === undefined
    ? { transport: "unix", path: "" }
    : { transport: "tcp", hostname, port };
}

/** Names in lower case; pseudo-headers of HTTP/2 stay out of `Headers`. */
function lowered(raw: readonly string[]): Fields {
  const fields: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i].startsWith(":") && raw[i] !== ":authority") continue;
    if (raw[i] === ":authority") fields.push("host", raw[i + 1]);
    else fields.push(raw[i].toLowerCase(), raw[i + 1]);
  }
  return fields;
}

/** The host of a target in absolute form; `undefined` of any other. */
function authorityOf(target: string): string | undefined {
  if (target.startsWith("/")) return undefined;
  return /^https?:\/\/([^/?#]*)/i.exec(target)?.[1];
}

function replace(fields: Fields, name: string, value: string): void {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name) fields[i + 1] = value;
  }
}

function value(fields: Fields, name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name) return fields[i + 1];
  }
}
