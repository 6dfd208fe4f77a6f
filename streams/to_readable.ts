import { setOrigin } from "./_origin.ts";
import { from } from "./from.ts";
import type { MaybePromise, Source } from "./types.ts";

const encoder = new TextEncoder();

/** The bytes of one message. */
export function encode(message: unknown): Uint8Array {
  if (typeof message === "string") return encoder.encode(message);
  if (message instanceof Uint8Array) return message;
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  if (ArrayBuffer.isView(message)) {
    const { buffer, byteOffset, byteLength } = message;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }
  throw new TypeError(
    `Cannot make bytes of a message: not a string and no bytes: ${
      message === null ? "null" : typeof message
    }`,
  );
}

/** The stream of bytes that a body is by itself. */
function streamOf(body: unknown): ReadableStream<Uint8Array> | undefined {
  if (body instanceof Blob) {
    return body.stream() as ReadableStream<Uint8Array>;
  }
  if (body instanceof FormData) return streamOf(new Response(body));
  if (body instanceof Response || body instanceof Request) {
    if (body.bodyUsed) {
      throw new TypeError("Cannot make a readable: the body was used already");
    }
    return body.body ?? undefined;
  }
  return body instanceof ReadableStream && isByteStream(body)
    ? body
    : undefined;
}

/** Only a stream of bytes, which holds nothing else, has such a reader. */
function isByteStream(stream: ReadableStream<unknown>): boolean {
  try {
    stream.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}

/** What gives a body's messages; bytes and strings are one message. */
export function sourceOf(body: unknown): Source<unknown> {
  if (body === null || body === undefined) return from([]);
  if (
    typeof body === "string" || body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body)
  ) return from([body]);
  if (body instanceof URLSearchParams) return from([body.toString()]);
  const stream = streamOf(body);
  if (stream !== undefined) return from(stream);
  if (body instanceof Response || body instanceof Request) return from([]);
  return from(body as Iterable<unknown>);
}

/**
 * A Web Stream of bytes over a string, bytes, a `Blob`, `FormData`,
 * `URLSearchParams`, a `Request` or `Response`, a `ReadableStream`, an (async)
 * iterable or a source; strings in it are UTF-8 encoded. One message is one
 * chunk, pulled only when the reader wants it; cancelling the stream reaches
 * the producer. What is a stream of bytes already is given back as it is.
 *
 * @example
 * ```ts
 * import { toReadable } from "@sluice/net/streams";
 *
 * const response = new Response(toReadable(["one ", "two"]));
 * console.log(await response.text());
 * ```
 */
export function toReadable(body: unknown): ReadableStream<Uint8Array> {
  const stream = streamOf(body);
  if (stream !== undefined) return stream;
  const source = sourceOf(body) as Source<unknown> & {
    destroy?(reason?: unknown): void;
  };
  const give = (
    controller: ReadableStreamDefaultController<Uint8Array>,
    message: unknown,
  ) => {
    if (message === undefined) {
      controller.close();
      return;
    }
    let chunk;
    try {
      chunk = encode(message);
    } catch (error) {
      source.destroy?.(error);
      throw error;
    }
    controller.enqueue(chunk);
  };
  const readable = new ReadableStream<Uint8Array>({
    pull(controller): MaybePromise<void> {
      origin.touched = true;
      const message = source.receive();
      if (message instanceof Promise) {
        return message.then((message) => give(controller, message));
      }
      give(controller, message);
    },
    cancel(reason): void {
      origin.touched = true;
      source.destroy?.(reason);
    },
  }, { highWaterMark: 0 });
  const origin = setOrigin(readable, source);
  return readable;
}

/** All the bytes of a body, in one piece. */
export async function collect(body: unknown): Promise<Uint8Array> {
  if (
    body instanceof Blob || body instanceof Response || body instanceof Request
  ) return new Uint8Array(await body.arrayBuffer());
  const source = sourceOf(body) as Source<unknown> & {
    destroy?(reason?: unknown): void;
  };
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const received = source.receive();
    const message = received instanceof Promise ? await received : received;
    if (message === undefined) break;
    try {
      const chunk = encode(message);
      chunks.push(chunk);
      size += chunk.byteLength;
    } catch (error) {
      source.destroy?.(error);
      throw error;
    }
  }
  // A single chunk may be the caller's own: what is given back never is.
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}
