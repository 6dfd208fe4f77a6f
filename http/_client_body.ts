import { NetError } from "../streams/errors.ts";
import type { Source } from "../streams/types.ts";
import { showText } from "./_h1_error.ts";

/** A file or any other blob, with a name or not. */
type Part = readonly [head: Uint8Array, value: Blob | Uint8Array];

/** What can be sent as the body of a request. */
export type ClientBody =
  | string
  | Uint8Array
  | ArrayBuffer
  | ArrayBufferView
  | Blob
  | FormData
  | URLSearchParams
  | ReadableStream<Uint8Array | string>
  | Iterable<Uint8Array | string>
  | AsyncIterable<Uint8Array | string>
  | Source<Uint8Array | string>;

/** Pieces of a body, one at a time. */
export interface Puller {
  /** The next piece; `undefined` at the end. */
  next(): Promise<Uint8Array | undefined>;
  /** Nobody will pull any more. */
  cancel(reason: unknown): void;
}

/** A body in one of the two forms that it can be sent in. */
export interface RequestBody {
  /** Content-Type, when the caller gives none. */
  readonly type: string | undefined;
  /** All of it, when it is in memory: text goes as UTF-8. */
  readonly whole: string | Uint8Array | undefined;
  /** Bytes, when that is known; of `whole` it is not asked. */
  readonly length: number | undefined;
  /** Whether it can be sent again. */
  readonly replayable: boolean;
  /** Begins to read what is not in memory. */
  open(): Puller;
}

const PIECE = 64 * 1024;
const encoder = new TextEncoder();

/** Bytes of a body, when that is known. */
export function bodyLength({ whole, length }: RequestBody): number | undefined {
  if (whole === undefined) return length;
  return typeof whole === "string"
    ? encoder.encode(whole).byteLength
    : whole.byteLength;
}

/** Pieces of bytes in memory. */
export function pieces(bytes: Uint8Array): Puller {
  let offset = 0;
  return {
    next() {
      if (offset >= bytes.length) return Promise.resolve(undefined);
      const piece = bytes.subarray(offset, offset + PIECE);
      offset += PIECE;
      return Promise.resolve(piece);
    },
    cancel() {},
  };
}

/** A body in memory. */
export function wholeBody(
  whole: string | Uint8Array,
  type: string | undefined,
): RequestBody {
  return {
    type,
    whole,
    length: undefined,
    replayable: true,
    open: () =>
      pieces(typeof whole === "string" ? encoder.encode(whole) : whole),
  };
}

/** A body of whatever kind a caller gave. */
export function bodyOf(body: ClientBody): RequestBody {
  if (typeof body === "string") {
    return wholeBody(body, "text/plain;charset=UTF-8");
  }
  // By the rules of fetch it is taken as it is now.
  if (body instanceof Uint8Array) {
    return wholeBody(new Uint8Array(body), undefined);
  }
  if (body instanceof ArrayBuffer) {
    return wholeBody(new Uint8Array(body.slice(0)), undefined);
  }
  if (ArrayBuffer.isView(body)) {
    const { buffer, byteOffset, byteLength } = body;
    const view = new Uint8Array(buffer, byteOffset, byteLength);
    return wholeBody(view.slice(), undefined);
  }
  if (body instanceof URLSearchParams) {
    return wholeBody(
      body.toString(),
      "application/x-www-form-urlencoded;charset=UTF-8",
    );
  }
  if (body instanceof Blob) return blobBody(body);
  if (body instanceof FormData) return formBody(body);
  if (body instanceof ReadableStream) return streamBody(body);
  if (typeof body === "object" && body !== null) {
    if (Symbol.asyncIterator in body) {
      return onceBody(() => fromIterator(body[Symbol.asyncIterator](), body));
    }
    if (Symbol.iterator in body) {
      return onceBody(() => fromIterator(body[Symbol.iterator]()));
    }
  }
  throw new TypeError(
    `Cannot send a body: not one of the kinds that can be sent: ${typeof body}`,
  );
}

/** A body that can be read but once. */
export function onceBody(
  open: () => Puller,
  type?: string,
  length?: number,
): RequestBody {
  return { type, whole: undefined, length, replayable: false, open };
}

/** A body that a stream gives. */
export function streamBody(
  stream: ReadableStream<Uint8Array | string>,
): RequestBody {
  if (stream.locked) {
    throw new TypeError("Cannot send a body: its stream is locked");
  }
  return onceBody(() => {
    const reader = stream.getReader();
    return {
      next: () =>
        reader.read().then((result) =>
          result.done ? undefined : toBytes(result.value)
        ),
      cancel: (reason) => void reader.cancel(reason).catch(() => {}),
    };
  });
}

function fromIterator(
  iterator: Iterator<unknown> | AsyncIterator<unknown>,
  of?: object,
): Puller {
  let begun = false;
  return {
    async next() {
      begun = true;
      const result = await iterator.next();
      return result.done ? undefined : toBytes(result.value);
    },
    cancel(reason) {
      if (!begun && of !== undefined && "receive" in of && "destroy" in of) {
        // A source whose loop was never entered does not see it left.
        (of as { destroy(reason: unknown): void }).destroy(reason);
      }
      // Leaving the loop runs its `finally`; its error is for nobody.
      (async () => await iterator.return?.())().catch(() => {});
    },
  };
}

function toBytes(piece: unknown): Uint8Array {
  if (piece instanceof Uint8Array) return piece;
  if (typeof piece === "string") return encoder.encode(piece);
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece);
  if (ArrayBuffer.isView(piece)) {
    return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  }
  throw new TypeError(
    `Cannot send a body: a piece of it is no bytes: ${typeof piece}`,
  );
}

function blobBody(blob: Blob): RequestBody {
  return {
    type: blob.type === "" ? undefined : blob.type,
    whole: undefined,
    length: blob.size,
    replayable: true,
    open: () => fromParts([[new Uint8Array(0), blob]], new Uint8Array(0)),
  };
}

/** Blobs are read in slices: no runtime then holds all of one. */
function fromParts(parts: readonly Part[], tail: Uint8Array): Puller {
  const pending = read(parts, tail);
  return {
    next: () =>
      pending.next().then((result) => result.done ? undefined : result.value),
    cancel: (reason) => void pending.return(reason).catch(() => {}),
  };
}

async function* read(
  parts: readonly Part[],
  tail: Uint8Array,
): AsyncGenerator<Uint8Array> {
  for (const [head, value] of parts) {
    if (head.length > 0) yield head;
    if (value instanceof Uint8Array) {
      yield value;
      continue;
    }
    for (let at = 0; at < value.size; at += PIECE) {
      yield new Uint8Array(await value.slice(at, at + PIECE).arrayBuffer());
    }
  }
  if (tail.length > 0) yield tail;
}

/** A form as multipart/form-data (RFC 7578, and the HTML standard). */
function formBody(form: FormData): RequestBody {
  const boundary = `----sluice${crypto.randomUUID().replaceAll("-", "")}`;
  const parts: Part[] = [];
  let length = 0;
  let lead = "";
  for (const [name, value] of form) {
    let head = `${lead}--${boundary}\r\n` +
      `Content-Disposition: form-data; name="${escapeName(lines(name))}"`;
    lead = "\r\n";
    let content: Blob | Uint8Array;
    if (typeof value === "string") {
      content = encoder.encode(lines(value));
      length += content.length;
    } else {
      // A type that is no header value cannot get in here.
      const type = /^[\x20-\x7e]+$/.test(value.type)
        ? value.type
        : "application/octet-stream";
      head += `; filename="${escapeName(value.name)}"\r\nContent-Type: ${type}`;
      content = value;
      length += value.size;
    }
    const bytes = encoder.encode(`${head}\r\n\r\n`);
    length += bytes.length;
    parts.push([bytes, content]);
  }
  const tail = encoder.encode(`${lead}--${boundary}--\r\n`);
  return {
    type: `multipart/form-data; boundary=${boundary}`,
    whole: undefined,
    length: length + tail.length,
    replayable: true,
    open: () => fromParts(parts, tail),
  };
}

/** Line ends as a form has them. */
function lines(text: string): string {
  return text.replace(/\r\n|\r|\n/g, "\r\n");
}

/** Nothing in a name can end its line or its quotes. */
function escapeName(name: string): string {
  return name.replaceAll("\r", "%0D").replaceAll("\n", "%0A")
    .replaceAll('"', "%22");
}

/** Refuses a length that says something else than the body does. */
export function checkLength(given: string, length: number): void {
  if (!/^\d{1,16}$/.test(given) || Number(given) !== length) {
    throw new TypeError(
      `Cannot send a body of ${length} bytes as content-length ${
        showText(given)
      }`,
    );
  }
}

/** What a call fails with when its body does. */
export function sourceError(error: unknown): NetError {
  return new NetError(
    `Cannot send the body: its source failed: ${
      error instanceof Error ? error.message : String(error)
    }`,
    { code: "ERR_BODY", phase: "request", cause: error },
  );
}
