import { ClosedError, NetError } from "../streams/errors.ts";
import type { DialMarks } from "../tcp/_dial.ts";
import { bodyLength, sourceError } from "./_client_body.ts";
import type { Puller, RequestBody } from "./_client_body.ts";
import type { Call } from "./_client_call.ts";
import type { Carrier, Plan } from "./_client_carrier.ts";
import type { Deadline } from "./_client_timers.ts";
import type { Fields, Framing, ResponseHead } from "./_h1_types.ts";
import type { H2ClientConnection } from "./_h2_client.ts";
import { OF_CONNECTION, responseHead, trailerSection } from "./_h2_fields.ts";
import {
  CANCEL,
  H2StreamError,
  HTTP_1_1_REQUIRED,
  NO_ERROR,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
} from "./_h2_frames.ts";
import type { H2Stream, StreamListener } from "./_h2_stream.ts";

/** Informational responses before a real one; more is a flood. */
const MAX_INFORMED = 64;

/** Bytes in memory up to this size are one piece. */
const TOGETHER = 64 * 1024;

const encoder = new TextEncoder();

/** One request and its answer, on a stream of a shared connection. */
export class H2ClientStream implements Carrier, StreamListener {
  readonly shared = true;
  readonly reused: boolean;
  readonly #connection: H2ClientConnection;
  #stream: H2Stream | undefined;
  #call: Call | undefined;
  #headed = false;
  #informed = 0;
  #paused = false;
  /** Where a body comes from that is on its way. */
  #puller: Puller | undefined;
  #onDrain: (() => void) | undefined;
  /** A body that waits for the server to say that it shall come. */
  #asking: RequestBody | undefined;
  #patience: Deadline | undefined;

  constructor(connection: H2ClientConnection, reused: boolean) {
    this.#connection = connection;
    this.reused = reused;
  }

  get marks(): DialMarks {
    return this.#connection.marks;
  }

  // What the call asks for.

  start(call: Call): void {
    this.#call = call;
    const { body, expect, method } = call.plan;
    const fields = requestFields(call.plan);
    if (body === undefined) {
      // RFC 9110, 8.6: a body was possible, and there is none.
      if (method === "POST" || method === "PUT" || method === "PATCH") {
        fields.push("content-length", "0");
      }
      this.#open(fields, true);
      return;
    }
    const length = bodyLength(body);
    if (length !== undefined) fields.push("content-length", String(length));
    if (expect !== undefined && length !== 0) {
      fields.push("expect", "100-continue");
      this.#asking = body;
      this.#patience = this.#connection.deadlines.set(
        expect,
        () => this.#proceed(),
      );
      this.#open(fields, false);
      return;
    }
    call.begun = true;
    this.#open(fields, false);
    this.#sendBody(body, length);
  }

  #open(fields: Fields, end: boolean): void {
    this.#stream = this.#connection.session.request(
      fields,
      end,
      () => this,
    );
  }

  /** Now the body goes, if one has waited (RFC 9110, 10.1.1). */
  #proceed(): void {
    const body = this.#answered();
    if (body === undefined) return;
    this.#call!.begun = true;
    this.#sendBody(body, bodyLength(body));
  }

  /** Nobody waits any more for the server to say whether it wants the body. */
  #answered(): RequestBody | undefined {
    const body = this.#asking;
    this.#asking = undefined;
    this.#patience?.cancel();
    this.#patience = undefined;
    return body;
  }

  #sendBody(body: RequestBody, length: number | undefined): void {
    const { whole } = body;
    const told = this.#call!.settled.onUploadProgress !== undefined;
    if (whole !== undefined && !(told && length! > TOGETHER)) {
      if (told && length! > 0) {
        // It may fail the call, which is not to end before it has begun.
        queueMicrotask(() => this.#call?.onUploaded(length!, length));
      }
      this.#stream!.sendLast(
        typeof whole === "string" ? encoder.encode(whole) : whole,
      );
      if (this.#stream!.queued > 0) this.#call!.onStalled();
      return;
    }
    this.#upload(body, length).catch((error) => {
      if (this.#call !== undefined) this.fail(sourceError(error));
    });
  }

  async #upload(body: RequestBody, length: number | undefined): Promise<void> {
    const stream = this.#stream!;
    const puller = body.open();
    this.#puller = puller;
    let left = length ?? Infinity;
    for (;;) {
      const piece = await puller.next();
      // The answer is whole already, or broken off: nobody takes the rest.
      if (this.#puller !== puller) return;
      if (piece === undefined) break;
      if (piece.byteLength === 0) continue;
      left -= piece.byteLength;
      if (left < 0) throw new TypeError(`It is longer than ${length} bytes`);
      stream.send(piece);
      this.#call?.onUploaded(piece.byteLength, length);
      if (this.#puller !== puller) return;
      if (!stream.full) continue;
      this.#call?.onStalled();
      await new Promise<void>((resolve) => {
        this.#onDrain = resolve;
      });
      if (this.#puller !== puller) return;
      this.#call?.onProgress();
    }
    if (left > 0 && length !== undefined) {
      throw new TypeError(`It ended ${left} of ${length} bytes early`);
    }
    this.#puller = undefined;
    stream.end();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const stream = this.#stream;
    stream?.consume(stream.held);
  }

  keep(): void {
    // That is for connections of HTTP/1.1.
  }

  destroy(reason?: unknown): void {
    this.#leave(reason);
    this.#stream?.reset(CANCEL);
  }

  fail(error: NetError): void {
    const call = this.#call;
    this.destroy(error);
    call?.onFail(error);
  }

  /** The call is none of its business any more. */
  #leave(reason?: unknown): void {
    this.#call = undefined;
    this.#answered();
    const puller = this.#puller;
    this.#puller = undefined;
    puller?.cancel(reason ?? new ClosedError("The request is over"));
    const wake = this.#onDrain;
    this.#onDrain = undefined;
    wake?.();
  }

  // What the stream tells.

  fields(fields: Fields | undefined, ended: boolean): void {
    const call = this.#call;
    if (call === undefined) return;
    if (fields === undefined) {
      throw new H2StreamError(
        PROTOCOL_ERROR,
        "Cannot take the answer: its fields are longer than they may be",
      );
    }
    call.answered = true;
    if (this.#headed) {
      if (!ended) throw malformed("its trailers do not end it");
      this.#stream?.endRemote();
      this.#end(trailerSection(fields));
      return;
    }
    const { status, fields: rest, length } = responseHead(fields);
    if (status < 200) {
      if (ended) throw malformed("it ends with an informational response");
      if (status === 100) this.#proceed();
      else {
        call.onInform(headOf(status, rest, { kind: "none" }));
        if (this.#call !== call) return;
      }
      if (++this.#informed > MAX_INFORMED) {
        throw malformed("only informational responses come");
      }
      return;
    }
    this.#headed = true;
    this.#answered();
    const bodiless = ended || call.plan.method === "HEAD" || status === 204 ||
      status === 304;
    const stream = this.#stream!;
    if (!bodiless) stream.expected = length;
    else if (ended && length && !isBodiless(call.plan.method, status)) {
      throw malformed(`its content-length is ${length}, and it has no body`);
    }
    const framing: Framing = bodiless
      ? { kind: "none" }
      : length === undefined
      ? { kind: "chunked" }
      : { kind: "length", length };
    call.onHead(headOf(status, rest, framing));
    if (ended) this.#end(undefined);
    else this.#connection.feeds(this);
  }

  data(chunk: Uint8Array): void {
    const call = this.#call;
    if (call !== undefined) {
      if (!this.#headed) throw malformed("it begins with data");
      call.onData(chunk);
      this.#connection.feeds(this);
    }
    if (!this.#paused) this.#stream?.consume(chunk.byteLength);
  }

  end(): void {
    if (this.#call !== undefined && !this.#headed) {
      throw malformed("it ends without a head");
    }
    this.#end(undefined);
  }

  #end(trailers: Fields | undefined): void {
    const call = this.#call;
    if (call === undefined) return;
    const early = this.#stream?.localEnded === false;
    this.#leave();
    call.onEnd(trailers);
    // The server does not want the rest of the request (RFC 9113, 8.1).
    if (early) this.#stream?.reset(NO_ERROR);
  }

  /** All that came in one piece is read. */
  fed(): void {
    this.#call?.onFed();
  }

  drain(): void {
    const wake = this.#onDrain;
    this.#onDrain = undefined;
    wake?.();
  }

  sent(): void {
    const call = this.#call;
    if (call === undefined) return;
    call.onProgress();
    call.onSent();
  }

  cut(error: unknown): void {
    const call = this.#call;
    const reason = this.#reasonOf(error);
    this.#leave(reason);
    call?.onFail(reason);
  }

  #reasonOf(error: unknown): NetError {
    if (!(error instanceof H2StreamError) || !error.remote) {
      return error as NetError;
    }
    const phase = this.#headed ? "body" : "response";
    if (error.h2code === HTTP_1_1_REQUIRED) this.#connection.demote();
    if (error.h2code === REFUSED_STREAM || error.h2code === HTTP_1_1_REQUIRED) {
      return new NetError("The server refused the request unseen", {
        code: "ERR_HTTP2_REFUSED_STREAM",
        phase,
        retryable: true,
        cause: error,
      });
    }
    return new NetError(error.message, {
      code: "ECONNRESET",
      phase,
      retryable: true,
      cause: error,
    });
  }

  check(): void {
    // The call keeps the time.
  }
}

function headOf(
  status: number,
  fields: Fields,
  framing: Framing,
): ResponseHead {
  return {
    status,
    reason: "",
    minor: 1,
    version: "h2",
    fields,
    framing,
    keepAlive: true,
  };
}

function isBodiless(method: string, status: number): boolean {
  return method === "HEAD" || status === 204 || status === 304;
}

function malformed(message: string): H2StreamError {
  return new H2StreamError(
    PROTOCOL_ERROR,
    `Cannot take the answer: ${message}`,
  );
}

/** The head of a request (RFC 9113, 8.3.1). */
function requestFields({ method, target, host, sent }: Plan): Fields {
  const head = [
    ...[":method", method],
    ...[":scheme", target.secure ? "https" : "http"],
    ...[":authority", host],
    ...[":path", target.path],
  ];
  for (let i = 0; i < sent.length; i += 2) {
    const name = sent[i].toLowerCase();
    // `:authority` stands for Host.
    if (name === "host" || OF_CONNECTION.has(name)) continue;
    if (name === "te" && sent[i + 1].toLowerCase() !== "trailers") continue;
    head.push(name, sent[i + 1]);
  }
  return head;
}
