import { NetError, PoolError, ProtocolError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import { bodyLength, sourceError } from "./_client_body.ts";
import type { Puller, RequestBody } from "./_client_body.ts";
import type { Call } from "./_client_call.ts";
import { withMethod } from "./_client_draft.ts";
import type { Carrier, CarrierSource, Plan } from "./_client_carrier.ts";
import type { ClientStats, HostStats } from "./_client_stats.ts";
import { Deadlines } from "./_client_timers.ts";
import type { Fields, ResponseHead } from "./_h1_types.ts";
import { FetchError } from "./errors.ts";
import { trailersOf } from "./_trailers.ts";

/** What a transport is told besides the `Request`. */
export interface TransportInit {
  /** Aborts when nobody waits any more; that of the `Request` does as well. */
  readonly signal: AbortSignal;
}

/**
 * Stands in for the network: what would go over a connection is given to it
 * as a `Request`, after a redirect again, and the answer is taken as if it had
 * come over one.
 */
export type ClientTransport = (
  request: Request,
  init: TransportInit,
) => MaybePromise<Response>;

/** In place of a pool: every request is a call of a function. */
export class TransportSource implements CarrierSource {
  readonly deadlines: Deadlines = new Deadlines({ keepAlive: true });
  readonly #transport: ClientTransport;
  readonly #carriers = new Set<TransportCarrier>();
  readonly #onIdle: (() => void)[] = [];
  #closed = false;

  constructor(transport: ClientTransport) {
    this.#transport = transport;
  }

  acquire(call: Call): void {
    if (this.#closed) {
      call.refuse(
        new PoolError("Cannot fetch: the client is closed", {
          code: "ERR_CLOSED",
          retryable: false,
        }),
      );
      return;
    }
    const carrier = new TransportCarrier(
      call.plan.target.origin,
      this.#transport,
      () => this.#left(carrier),
    );
    this.#carriers.add(carrier);
    call.run(carrier);
  }

  #left(carrier: TransportCarrier): void {
    this.#carriers.delete(carrier);
    this.#settleIdle();
  }

  #settleIdle(): void {
    if (this.#carriers.size > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  close(): void {
    this.#closed = true;
  }

  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
      this.#settleIdle();
    });
  }

  destroy(): void {
    this.#closed = true;
    const error = new NetError("The client was closed", {
      code: "ERR_CLOSED",
      phase: "pool",
    });
    for (const carrier of [...this.#carriers]) carrier.fail(error);
    this.deadlines.clear();
  }

  stats(): ClientStats {
    const hosts: Record<string, HostStats> = {};
    for (const { origin } of this.#carriers) {
      const open = (hosts[origin]?.open ?? 0) + 1;
      hosts[origin] = { open, idle: 0, queued: 0 };
    }
    return { open: this.#carriers.size, idle: 0, queued: 0, hosts };
  }
}

/** One exchange with a transport. */
class TransportCarrier implements Carrier {
  readonly origin: string;
  readonly reused = false;
  readonly shared = false;
  readonly marks = undefined;
  readonly #transport: ClientTransport;
  readonly #onOver: () => void;
  readonly #controller = new AbortController();
  #call: Call | undefined;
  #over = false;
  #puller: Puller | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #paused = false;
  #wake: (() => void) | undefined;

  constructor(
    origin: string,
    transport: ClientTransport,
    onOver: () => void,
  ) {
    this.origin = origin;
    this.#transport = transport;
    this.#onOver = onOver;
  }

  start(call: Call): void {
    this.#call = call;
    this.#exchange(call).catch((error) => this.#broke(error));
  }

  async #exchange(call: Call): Promise<void> {
    const { signal } = this.#controller;
    const request = this.#requestOf(call);
    const pending = this.#transport(request, { signal });
    const response = await pending;
    if (this.#over) {
      response?.body?.cancel().catch(() => {});
      return;
    }
    const body = bodyOf(response, call.plan.method);
    const head = headOf(response, body !== null);
    call.answered = true;
    call.onHead(head);
    if (this.#call !== call) {
      body?.cancel().catch(() => {});
      return;
    }
    if (body !== null) {
      call.onFed();
      await this.#pump(call, body);
      if (this.#call !== call) return;
    }
    const trailers = await trailersIn(response);
    if (this.#call !== call) return;
    this.#finish();
    call.onEnd(trailers);
  }

  async #pump(call: Call, body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = this.#reader = body.getReader();
    for (;;) {
      if (this.#paused) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#call !== call) return;
      const { done, value } = await reader.read().catch(brokenBody);
      if (done || this.#call !== call) return;
      if (!(value instanceof Uint8Array)) {
        throw new TypeError(
          `Cannot read the body of a transport's response: a piece of it is no bytes: ${typeof value}`,
        );
      }
      call.onData(value);
    }
  }

  #broke(error: unknown): void {
    const call = this.#call;
    if (call === undefined) return;
    if (error instanceof NetError) {
      this.fail(error);
      return;
    }
    this.destroy(error);
    // A mistake of the transport's: the test that made it shall see it.
    call.onBreak(error);
  }

  #requestOf(call: Call): Request {
    const { plan } = call;
    const { method, target, body } = plan;
    const length = body === undefined ? undefined : bodyLength(body);
    const init = {
      method,
      headers: headersOf(plan, length),
      body: body === undefined ? undefined : body.whole ??
        this.#stream(call, body, length),
      signal: this.#controller.signal,
      redirect: "manual",
      duplex: "half",
    };
    const request = withMethod(
      new Request(target.href, init as RequestInit),
      method,
    );
    if (body === undefined || body.whole !== undefined) call.onSent();
    if (body?.whole !== undefined && length! > 0) {
      // It may fail the call, which is not to end before it has begun.
      queueMicrotask(() => {
        if (this.#call === call) call.onUploaded(length!, length);
      });
    }
    return request;
  }

  /** The body as the transport reads it. */
  #stream(
    call: Call,
    body: RequestBody,
    length: number | undefined,
  ): ReadableStream<Uint8Array> {
    let left = length ?? Infinity;
    const next = async (): Promise<Uint8Array | undefined> => {
      call.begun = true;
      const puller = this.#puller ??= body.open();
      for (;;) {
        const piece = await puller.next();
        if (piece === undefined) break;
        if (piece.byteLength === 0) continue;
        left -= piece.byteLength;
        if (left < 0) throw new TypeError(`It is longer than ${length} bytes`);
        return piece;
      }
      if (left > 0 && length !== undefined) {
        throw new TypeError(`It ended ${left} of ${length} bytes early`);
      }
      this.#puller = undefined;
      return undefined;
    };
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (this.#call === call) call.onProgress();
        try {
          const piece = await next();
          if (this.#call !== call) {
            controller.error(new TypeError("The request is over"));
          } else if (piece === undefined) {
            controller.close();
            call.onSent();
          } else {
            controller.enqueue(piece);
            call.onUploaded(piece.byteLength, length);
            if (!call.headed) call.onStalled();
          }
        } catch (cause) {
          const error = sourceError(cause);
          controller.error(error);
          if (this.#call === call) this.fail(error);
        }
      },
      cancel: (reason) => {
        const puller = this.#puller;
        this.#puller = undefined;
        puller?.cancel(reason);
      },
    }, { highWaterMark: 0 });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  keep(): void {
    // There is nothing to keep.
  }

  destroy(reason?: unknown): void {
    if (this.#over) return;
    this.#reader?.cancel(reason).catch(() => {});
    this.#finish(reason);
    this.#controller.abort(reason);
  }

  fail(error: NetError): void {
    const call = this.#call;
    this.destroy(error);
    call?.onFail(error);
  }

  #finish(reason?: unknown): void {
    this.#over = true;
    this.#call = undefined;
    const puller = this.#puller;
    this.#puller = undefined;
    puller?.cancel(reason ?? new TypeError("The request is over"));
    this.resume();
    this.#onOver();
  }
}

/** The fields as they would be sent, but for those of the connection. */
function headersOf(plan: Plan, length: number | undefined): Headers {
  const headers = new Headers();
  headers.append("host", plan.host);
  const { sent } = plan;
  for (let i = 0; i < sent.length; i += 2) headers.append(sent[i], sent[i + 1]);
  if (length !== undefined) headers.set("content-length", String(length));
  return headers;
}

/** The body that counts; complains of what is no response. */
function bodyOf(
  response: Response,
  method: string,
): ReadableStream<Uint8Array> | null {
  if (
    typeof response !== "object" || response === null ||
    typeof response.status !== "number" ||
    typeof response.headers?.get !== "function"
  ) {
    throw new TypeError(
      `Cannot fetch: the transport gave no Response: ${typeof response}`,
    );
  }
  if (response.type === "error" || response.status < 200) {
    throw new ProtocolError(
      `Cannot take a response: its status is ${response.status}`,
      { phase: "response" },
    );
  }
  const { body } = response;
  if (response.bodyUsed || body?.locked) {
    throw new TypeError(
      "Cannot fetch: the body of the transport's response was read already",
    );
  }
  if (method !== "HEAD" || body === null) return body;
  body.cancel().catch(() => {});
  return null;
}

function headOf(response: Response, hasBody: boolean): ResponseHead {
  const { headers, status, statusText, url } = response;
  // What another fetch gives is decoded already, whatever its fields say.
  const decoded = url !== "" && headers.has("content-encoding");
  const fields: Fields = [];
  let length = NaN;
  for (const [name, value] of headers) {
    if (name === "content-length" && /^\d{1,15}$/.test(value)) {
      length = Number(value);
    }
    if (
      decoded && (name === "content-encoding" || name === "content-length")
    ) continue;
    fields.push(name, value);
  }
  return {
    status,
    reason: statusText,
    minor: 1,
    fields,
    framing: !hasBody
      ? { kind: "none" }
      : decoded || Number.isNaN(length)
      ? { kind: "chunked" }
      : { kind: "length", length },
    keepAlive: true,
  };
}

/** Trailers of a handler's response, or of another client's. */
async function trailersIn(response: Response): Promise<Fields | undefined> {
  const given = trailersOf(response);
  if (given !== undefined) return await given.fields.catch(brokenBody);
  const { trailers } = response as { trailers?: unknown };
  if (!(trailers instanceof Promise)) return undefined;
  const fields: Fields = [];
  const headers = await trailers.catch(brokenBody);
  if (headers instanceof Headers) {
    for (const [name, value] of headers) fields.push(name, value);
  }
  return fields.length === 0 ? undefined : fields;
}

/** A server whose body breaks ends the connection; so it is here. */
function brokenBody(cause: unknown): never {
  if (cause instanceof NetError) throw cause;
  if (cause instanceof FetchError) throw cause.cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  throw new NetError(`The body of the response broke off: ${why}`, {
    code: "ECONNRESET",
    phase: "body",
    retryable: true,
    cause,
  });
}
