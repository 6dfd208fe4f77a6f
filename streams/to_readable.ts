import { from } from "./from.ts";
import type { MaybePromise, Source } from "./types.ts";

const encoder = new TextEncoder();

/** The bytes of one message. */
function encode(message: unknown): Uint8Array {
  if (typeof message === "string") return encoder.encode(message);
  if (message instanceof Uint8Array) return message;
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  if (ArrayBuffer.isView(message)) {
    const { buffer, byteOffset, byteLength } = message;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }
  throw new TypeError(
    `Cannot make a readable: not a string and no bytes: ${typeof message}`,
  );
}

/** What gives a body's messages; bytes and strings are one message. */
export function sourceOf(body: unknown): Source<unknown> {
  if (body === null || body === undefined) return from([]);
  if (
    typeof body === "string" || body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body)
  ) return from([body]);
  if (body instanceof Blob) return from(body.stream());
  if (body instanceof URLSearchParams) return from([body.toString()]);
  if (body instanceof Response || body instanceof Request) {
    return sourceOf(body.body);
  }
  return from(body as Iterable<unknown>);
}

/**
 * A Web Stream of bytes over a string, bytes, a `Blob`, `URLSearchParams`, a
 * `Request` or `Response`, a `ReadableStream`, an (async) iterable or a
 * source; strings in it are UTF-8 encoded. One message is one chunk, pulled
 * only when the reader wants it; cancelling the stream reaches the producer.
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
    try {
      controller.enqueue(encode(message));
    } catch (error) {
      source.destroy?.(error);
      throw error;
    }
  };
  return new ReadableStream<Uint8Array>({
    pull(controller): MaybePromise<void> {
      const message = source.receive();
      if (message instanceof Promise) {
        return message.then((message) => give(controller, message));
      }
      give(controller, message);
    },
    cancel(reason): void {
      source.destroy?.(reason);
    },
  }, { highWaterMark: 0 });
}

/** All the bytes of a body, in one piece. */
export async function collect(body: unknown): Promise<Uint8Array> {
  const source = sourceOf(body);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const received = source.receive();
    const message = received instanceof Promise ? await received : received;
    if (message === undefined) break;
    const chunk = encode(message);
    chunks.push(chunk);
    size += chunk.byteLength;
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
