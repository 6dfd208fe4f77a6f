import { SizeLimitError } from "../streams/errors.ts";
import { COPY_LIMIT } from "../tcp/_writer.ts";
import type { Fields } from "./_h1_types.ts";
import { concat } from "./_request_body.ts";
import type { BodyReader } from "./_request_body.ts";
import { cancelBody, typeOf } from "./_body_cancel.ts";
import { afterQuickEnd } from "./_body_end.ts";
import { addField } from "./_response_parts.ts";
import type { Outgoing } from "./_response_parts.ts";
import { hasEnded } from "./_node_ended.ts";
import { handlerFailed } from "./_wire_answer.ts";
import { isBodiless, isLength, isUnframed } from "./_wire_response.ts";
import { hidesType, isText, TEXT_TYPE } from "./_text_type.ts";
import type { OutgoingTrailers } from "./_trailers.ts";
import type { WireExchange } from "./_wire_exchange.ts";

/** Bytes, in more than one chunk, that wait for the end at most. */
const HELD = 256 * 1024;

/**
 * Bytes and chunks sent in one go: a source that never waits must not keep
 * the news away that the client is gone, nor the other clients. Shorter goes
 * cost more, with the kernel most of all; on Deno they do not.
 */
const GO_BYTES =
  ((globalThis as { Deno?: unknown }).Deno === undefined ? 4 : 1) * 1024 * 1024;
const GO_CHUNKS = 256;

const { setImmediate } = globalThis as {
  setImmediate?: (callback: () => void) => void;
};

/** Calls back once whatever else there is to do had its turn. */
function later(callback: () => void): void {
  if (setImmediate !== undefined) setImmediate(callback);
  else setTimeout(callback, 0);
}

/** Sends a body as it comes, as fast as the client takes it. */
export class ResponseStream {
  readonly #exchange: WireExchange;
  readonly #outgoing: Outgoing;
  readonly #reader: BodyReader;
  readonly #stream: ReadableStream<Uint8Array>;
  /** Whether nobody else has the chunks, nor made them of a text. */
  readonly #ours: boolean;
  readonly #declared: number | undefined;
  /** Only where they can be sent. */
  readonly #trailers: OutgoingTrailers | undefined;
  #chunks: Uint8Array[] = [];
  #size = 0;
  /** Only how long it is is asked for, and only if that is there to be told. */
  #headOnly = false;
  #committed = false;
  #waiting = false;
  #over = false;
  #goBytes = 0;
  #goChunks = 0;

  /** Throws when the stream is locked. */
  constructor(
    exchange: WireExchange,
    outgoing: Outgoing,
    stream: ReadableStream<Uint8Array>,
    trailers?: OutgoingTrailers,
  ) {
    this.#exchange = exchange;
    this.#outgoing = { ...outgoing };
    if (
      exchange.head.minor === 1 && !isUnframed(exchange, outgoing.status)
    ) this.#trailers = trailers;
    // The request's own body, as it came, needs no stream in between.
    const spliced = exchange.body?.splice(stream);
    this.#ours = spliced !== undefined;
    this.#reader = spliced ?? stream.getReader();
    this.#stream = stream;
    const { length } = outgoing;
    this.#declared = isLength(length) ? Number(length) : undefined;
  }

  start(): void {
    const { status } = this.#outgoing;
    if (isBodiless(this.#exchange, status)) {
      this.#headOnly = this.#exchange.method === "HEAD" && status !== 204 &&
        status !== 304 && this.#declared === undefined &&
        this.#trailers === undefined;
      if (!this.#headOnly) {
        this.#sendHead();
        return;
      }
    }
    this.#read();
    afterQuickEnd(
      () => this.#committed || this.#over,
      () => this.#commit(),
    );
  }

  /** Nothing of the body is sent. */
  #sendHead(): void {
    const { connection } = this.#exchange;
    this.#over = true;
    this.#cancel(undefined);
    connection.output.whole(this.#exchange, this.#outgoing, null);
    connection.responseOver(this.#exchange);
  }

  #read(): void {
    this.#reader.read().then(this.#onRead, this.#onError);
  }

  readonly #onRead = (
    { done, value }: ReadableStreamReadResult<Uint8Array>,
  ): void => {
    if (this.#over) return;
    if (done) {
      this.#finish();
      return;
    }
    if (!(value instanceof Uint8Array)) {
      this.#fail(
        new TypeError(
          `Cannot send a body: a chunk is no Uint8Array: ${typeof value}`,
        ),
      );
      return;
    }
    if (value.byteLength > 0 && !this.#take(value)) return;
    // A body that was there when it was given is one chunk and the end.
    if (!this.#committed && !this.#ours && hasEnded(this.#stream)) {
      this.#finish();
      return;
    }
    const { connection } = this.#exchange;
    this.#goBytes += value.byteLength;
    if (this.#committed && connection.full) {
      this.#waiting = true;
    } else if (
      this.#goBytes >= GO_BYTES || ++this.#goChunks >= GO_CHUNKS
    ) {
      this.#goBytes = this.#goChunks = 0;
      later(() => {
        if (!this.#over) this.#read();
      });
    } else {
      this.#read();
    }
  };

  #take(chunk: Uint8Array): boolean {
    this.#size += chunk.byteLength;
    if (this.#declared !== undefined && this.#size > this.#declared) {
      // Until the head is out the real length can still win.
      if (this.#committed) {
        this.#fail(
          new SizeLimitError(
            `Cannot send a body: it is longer than its content-length: ${this.#declared}`,
            { limit: this.#declared },
          ),
        );
        return false;
      }
    }
    if (this.#committed) {
      this.#write(chunk);
    } else {
      this.#chunks.push(chunk);
      if (this.#size > HELD && this.#chunks.length > 1) this.#commit();
    }
    return !this.#over;
  }

  /** The head goes out, with what has come. */
  #commit(): void {
    const exchange = this.#exchange;
    const outgoing = this.#outgoing;
    const chunks = this.#chunks;
    if (this.#headOnly) {
      this.#sendHead();
      return;
    }
    this.#committed = true;
    exchange.answered = true;
    if (this.#declared !== undefined && this.#size > this.#declared) {
      this.#fail(
        new SizeLimitError(
          `Cannot send a body: it is longer than its content-length: ${this.#declared}`,
          { limit: this.#declared },
        ),
      );
      return;
    }
    if (this.#size > 0) this.#addType(chunks, false);
    exchange.connection.output.head(
      exchange,
      outgoing,
      this.#declared,
      this.#trailers,
    );
    this.#chunks = [];
    for (const chunk of chunks) this.#write(chunk);
  }

  #addType(chunks: readonly Uint8Array[], whole: boolean): void {
    const outgoing = this.#outgoing;
    if (!hidesType || this.#ours || outgoing.typed) return;
    if (!isText(chunks, whole)) return;
    const { form } = this.#exchange.connection.output;
    addField(outgoing, { name: "content-type", value: TEXT_TYPE }, form);
  }

  #write(chunk: Uint8Array): void {
    this.#exchange.connection.output.data(this.#exchange, chunk);
  }

  #finish(): void {
    const exchange = this.#exchange;
    if (this.#trailers !== undefined && !this.#committed) {
      this.#commit();
      // Its length was wrong.
      if (this.#over) return;
    }
    if (!this.#committed) {
      this.#committed = true;
      const chunks = this.#chunks;
      const whole = concat(chunks);
      this.#outgoing.owned = this.#ours || chunks.length > 1;
      if (whole.byteLength > 0) this.#addType([whole], true);
      exchange.connection.output.whole(exchange, this.#outgoing, whole);
      // So far it is copied.
      if (this.#ours && whole.byteLength <= COPY_LIMIT) {
        exchange.connection.spent?.(exchange.body!);
      }
    } else if (this.#declared !== undefined && this.#size < this.#declared) {
      this.#fail(
        new TypeError(
          `Cannot send a body: it ended after ${this.#size} bytes, short of its content-length: ${this.#declared}`,
        ),
      );
      return;
    } else if (this.#trailers !== undefined) {
      this.#trailers.fields.then((fields) => {
        if (this.#over) return;
        this.#last(fields);
      }).catch(this.#onError);
      return;
    } else {
      this.#last(undefined);
      return;
    }
    this.#end();
  }

  #last(trailers: Fields | undefined): void {
    this.#exchange.connection.output.last(this.#exchange, trailers);
    this.#end();
  }

  #end(): void {
    const exchange = this.#exchange;
    this.#over = true;
    exchange.connection.responseOver(exchange);
  }

  readonly #onError = (error: unknown): void => {
    if (!this.#over) this.#fail(error);
  };

  /** The body broke: it must not look complete. */
  #fail(error: unknown): void {
    this.#over = true;
    this.#cancel(error);
    this.#exchange.stream = undefined;
    if (this.#committed) this.#exchange.connection.abort(this.#exchange, error);
    else handlerFailed(this.#exchange, error);
  }

  /** Whether it waits for the client to take what it was sent. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /** The client has taken what it had been sent. */
  drained(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#read();
  }

  /** Nobody wants it any more. */
  stop(reason: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancel(reason);
  }

  #cancel(reason: unknown): void {
    cancelBody(this.#reader, typeOf(this.#outgoing), reason);
  }
}
