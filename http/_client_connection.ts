import { ClosedError, NetError } from "../streams/errors.ts";
import type { DialMarks } from "../tcp/_dial.ts";
import type { Transport } from "../tcp/_transport.ts";
import type { Call } from "./_client_call.ts";
import { keepAliveTime } from "./_client_keep_alive.ts";
import type { Carrier } from "./_client_carrier.ts";
import { bodyLength, pieces, sourceError } from "./_client_body.ts";
import type { Puller, RequestBody } from "./_client_body.ts";
import type { Host, PoolConnection } from "./_client_pool.ts";
import type { Deadline } from "./_client_timers.ts";
import { ResponseReader } from "./_h1_reader.ts";
import type { Fields, H1Limits, ResponseHead } from "./_h1_types.ts";
import {
  chunkHead,
  CRLF,
  encodeChunk,
  encodeHead,
  LAST_CHUNK,
} from "./_h1_writer.ts";

const LIMITS: H1Limits = {
  header: 64 * 1024,
  target: 8 * 1024,
  fields: 256,
  trailer: 16 * 1024,
};

/** Informational responses before a real one; more is a flood. */
const MAX_INFORMED = 64;
/** Bodies up to this size leave with the head, in one write. */
const TOGETHER = 64 * 1024;
/** Chunks up to this size are copied into one write with their frame. */
const COPY_LIMIT = 16 * 1024;

const encoder = new TextEncoder();
const scratch = new Uint8Array(TOGETHER);

/** A connection to a server: one request at a time goes over it. */
export class H1Connection implements Carrier, PoolConnection {
  readonly marks: DialMarks;
  readonly #host: Host;
  readonly #transport: Transport;
  readonly #reader: ResponseReader;
  #call: Call | undefined;
  #uses = 0;
  #over = false;
  /** Where a body comes from that is on its way. */
  #puller: Puller | undefined;
  /** Whose body waits for the server to say that it shall come. */
  #asking: Call | undefined;
  #patience: Deadline | undefined;
  #blocked = false;
  #onDrain: (() => void) | undefined;
  #keepAlive = false;
  #free = false;
  #informed = 0;
  #idle: Deadline | undefined;
  #idleLimit: number;
  /** It has lived long enough: this request is its last. */
  #old = false;
  #life: Deadline | undefined;

  constructor(host: Host, transport: Transport, marks: DialMarks) {
    this.marks = marks;
    this.#host = host;
    this.#transport = transport;
    const { idleTimeout, maxLifetime } = host.pool.limits;
    this.#idleLimit = idleTimeout;
    if (maxLifetime !== Infinity) {
      this.#life = host.pool.deadlines.set(maxLifetime, () => {
        this.#old = true;
        if (this.#call === undefined) this.destroy();
      });
    }
    this.#reader = new ResponseReader({
      head: (head) => this.#onHead(head),
      content: (chunk) => this.#call?.onData(chunk),
      messageEnd: (trailers) => this.#onEnd(trailers),
      inform: (head) => {
        if (head.status === 100) this.#proceed();
        else this.#call?.onInform(head);
        if (++this.#informed <= MAX_INFORMED) return;
        this.fail(
          new NetError("Cannot wait: only informational responses come", {
            code: "ERR_PROTOCOL",
            phase: "response",
          }),
        );
      },
    }, LIMITS);
    transport.attach({
      borrows: true,
      data: (chunk, lent) => this.#onData(chunk, lent),
      end: () => this.#onFin(),
      drain: () => {
        this.#blocked = false;
        const wake = this.#onDrain;
        this.#onDrain = undefined;
        wake?.();
      },
      close: (error) => this.#onClose(error),
    });
  }

  /** It carries an exchange itself, one at a time. */
  get shared(): boolean {
    return false;
  }

  carrier(): this {
    return this;
  }

  /** Whether it has served a request before this one. */
  get reused(): boolean {
    return this.#uses > 1;
  }

  /** Nobody uses it: it neither keeps the process alive nor lives for ever. */
  sleep(): void {
    this.#transport.unref();
    this.#idle = this.#host.pool.deadlines.set(
      this.#idleLimit,
      () => this.destroy(),
    );
  }

  wake(): void {
    this.#transport.ref();
    this.#idle?.cancel();
    this.#idle = undefined;
  }

  /** The server says how long it will keep it. */
  keep(value: string): void {
    const { idleTimeout } = this.#host.pool.limits;
    const ms = keepAliveTime(value);
    if (ms !== undefined) this.#idleLimit = Math.min(idleTimeout, ms);
  }

  /** Whether it was unused for too long while no timer could fire. */
  get stale(): boolean {
    return this.#idle !== undefined && performance.now() > this.#idle.at;
  }

  /** Sends the request of a call. */
  start(call: Call): void {
    this.#call = call;
    this.#uses++;
    this.#informed = 0;
    const { plan } = call;
    const { body, method } = plan;
    this.#reader.expect(method);
    if (body === undefined) {
      // RFC 9110, 8.6: a body was possible, and there is none.
      const none = method === "POST" || method === "PUT" || method === "PATCH"
        ? "content-length: 0\r\n\r\n"
        : "\r\n";
      this.#write(plan.wire ?? encodeHead(plan.head + none));
      call.onSent();
      return;
    }
    if (plan.expect !== undefined && bodyLength(body) !== 0) {
      this.#ask(call, body, plan.expect);
      return;
    }
    call.begun = true;
    let { whole } = body;
    if (typeof whole === "string") {
      // Three bytes a character at most: it fits for sure.
      whole = whole.length * 3 <= TOGETHER
        ? scratch.subarray(0, encoder.encodeInto(whole, scratch).written)
        : encoder.encode(whole);
    }
    const length = whole?.byteLength ?? body.length;
    const framing = length === undefined
      ? "transfer-encoding: chunked\r\n\r\n"
      : `content-length: ${length}\r\n\r\n`;
    if (whole !== undefined && whole.byteLength <= TOGETHER) {
      this.#write(encodeHead(plan.head + framing, whole));
      if (length! > 0 && call.settled.onUploadProgress !== undefined) {
        // It may fail the call, which is not to end before it has begun.
        queueMicrotask(() => {
          if (this.#call === call) call.onUploaded(length!, length);
        });
      }
      call.onSent();
      return;
    }
    this.#write(encodeHead(plan.head + framing));
    this.#send(call, whole, length);
  }

  /** The head goes, the body when the server wants it (RFC 9110, 10.1.1). */
  #ask(call: Call, body: RequestBody, wait: number): void {
    const length = bodyLength(body);
    const framing = length === undefined
      ? "transfer-encoding: chunked\r\n\r\n"
      : `content-length: ${length}\r\n\r\n`;
    this.#asking = call;
    this.#patience = this.#host.pool.deadlines.set(
      wait,
      () => this.#proceed(),
    );
    this.#write(
      encodeHead(`${call.plan.head}expect: 100-continue\r\n${framing}`),
    );
  }

  /** Now the body goes, if one has waited. */
  #proceed(): void {
    const call = this.#answered();
    if (call === undefined) return;
    call.begun = true;
    const body = call.plan.body!;
    const whole = typeof body.whole === "string"
      ? encoder.encode(body.whole)
      : body.whole;
    this.#send(call, whole, bodyLength(body));
  }

  /** Nobody waits any more for the server to say whether it wants the body. */
  #answered(): Call | undefined {
    const call = this.#asking;
    this.#asking = undefined;
    this.#patience?.cancel();
    this.#patience = undefined;
    return call;
  }

  #send(
    call: Call,
    whole: Uint8Array | undefined,
    length: number | undefined,
  ): void {
    this.#upload(call, whole, length).catch((error) => {
      if (this.#call === call) this.fail(sourceError(error));
    });
  }

  #write(bytes: Uint8Array): void {
    if (!this.#transport.write(bytes)) this.#blocked = true;
  }

  async #upload(
    call: Call,
    whole: Uint8Array | undefined,
    length: number | undefined,
  ): Promise<void> {
    const puller = whole === undefined ? call.plan.body!.open() : pieces(whole);
    this.#puller = puller;
    let left = length ?? Infinity;
    for (;;) {
      const piece = await puller.next();
      // The answer is whole already, or broken off: nobody takes the rest.
      if (this.#call !== call) return;
      if (piece === undefined) break;
      if (piece.byteLength === 0) continue;
      left -= piece.byteLength;
      if (left < 0) throw new TypeError(`It is longer than ${length} bytes`);
      this.#writePiece(piece, length === undefined);
      call.onUploaded(piece.byteLength, length);
      if (this.#call !== call) return;
      if (this.#blocked) {
        call.onStalled();
        await new Promise<void>((resolve) => {
          this.#onDrain = resolve;
        });
        if (this.#call !== call) return;
        call.onProgress();
      }
    }
    if (left > 0 && length !== undefined) {
      throw new TypeError(`It ended ${left} of ${length} bytes early`);
    }
    if (length === undefined) this.#write(LAST_CHUNK);
    this.#puller = undefined;
    call.onSent();
  }

  #writePiece(piece: Uint8Array, chunked: boolean): void {
    if (!chunked) {
      this.#write(piece);
    } else if (piece.byteLength <= COPY_LIMIT) {
      this.#write(encodeChunk(piece));
    } else {
      this.#write(chunkHead(piece.byteLength));
      this.#write(piece);
      this.#write(CRLF);
    }
  }

  /** No more for now: the reader of the body is slow. */
  pause(): void {
    this.#transport.pause();
  }

  resume(): void {
    this.#transport.resume();
  }

  /** Ends it. Its call, if it has one, hears nothing. */
  destroy(reason?: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#call = undefined;
    this.#idle?.cancel();
    this.#life?.cancel();
    this.#answered();
    this.#transport.destroy();
    const puller = this.#puller;
    this.#puller = undefined;
    puller?.cancel(reason ?? new ClosedError("The request is over"));
    const wake = this.#onDrain;
    this.#onDrain = undefined;
    wake?.();
    this.#host.remove(this);
  }

  /** Ends it with an error for its call. */
  fail(error: NetError): void {
    const call = this.#call;
    this.destroy(error);
    call?.onFail(error);
  }

  #onData(chunk: Uint8Array, lent?: boolean): void {
    if (this.#over) return;
    const call = this.#call;
    if (call === undefined) {
      // What nobody asked for could be taken for the next answer.
      this.destroy();
      return;
    }
    call.answered = true;
    try {
      this.#reader.feed(chunk, lent);
    } catch (error) {
      this.fail(readError(error));
      return;
    }
    if (this.#call === call) call.onFed();
    else if (this.#free) this.#reuse();
  }

  /** Only now: bytes behind the answer would be taken for the next one. */
  #reuse(): void {
    this.#free = false;
    if (!this.#over) this.#host.release(this);
  }

  #onHead(head: ResponseHead): void {
    if (head.status === 101) {
      throw new NetError("Cannot take a response: it switches protocols", {
        code: "ERR_PROTOCOL",
        phase: "response",
      });
    }
    this.#keepAlive = head.keepAlive;
    if (this.#answered() !== undefined) {
      // It wants no body, but would take what comes next for it.
      this.#keepAlive = false;
      this.#call?.onHead({ ...head, keepAlive: false });
      return;
    }
    this.#call?.onHead(head);
  }

  #onEnd(trailers: Fields | undefined): void {
    const call = this.#call;
    if (call === undefined) return;
    this.#call = undefined;
    const early = this.#puller !== undefined;
    this.#free = this.#keepAlive && !early && !this.#old && !call.plan.close;
    call.onEnd(trailers);
    if (!this.#free) this.destroy();
  }

  #onFin(): void {
    if (this.#over) return;
    const call = this.#call;
    if (call === undefined) {
      this.destroy();
      return;
    }
    if (!call.headed) {
      this.fail(closedError(call.answered));
      return;
    }
    this.#keepAlive = false;
    try {
      this.#reader.finish();
    } catch (error) {
      this.fail(readError(error));
    }
  }

  #onClose(error: NetError | undefined): void {
    if (this.#over) return;
    this.fail(error ?? closedError(this.#call?.answered ?? false));
  }
}

function closedError(answered: boolean): NetError {
  return new NetError(
    answered
      ? "The server closed the connection in the middle of its answer"
      : "The server closed the connection without an answer",
    { code: "ECONNRESET", retryable: true },
  );
}

function readError(error: unknown): NetError {
  return error instanceof NetError ? error : new NetError(
    `Cannot take the response: ${
      error instanceof Error ? error.message : error
    }`,
    { code: "ERR_INTERNAL", phase: "response", cause: error },
  );
}
