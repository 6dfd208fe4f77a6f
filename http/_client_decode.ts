import { NetError, ProtocolError, SizeLimitError } from "../streams/errors.ts";
import { listOf } from "./_h1_tables.ts";
import { join } from "./_client_content.ts";
import type { Content } from "./_client_content.ts";

/** What is used of the transforms of node:zlib. */
interface Transform {
  write(bytes: Uint8Array): boolean;
  end(): void;
  pause(): void;
  resume(): void;
  destroy(): void;
  on(event: string, listener: (value: never) => void): void;
  once(event: string, listener: (value: never) => void): void;
}

interface Zlib {
  createGunzip(): Transform;
  createInflate(): Transform;
  createInflateRaw(): Transform;
  createBrotliDecompress(): Transform;
  createZstdDecompress?(): Transform;
}

const KNOWN = new Set(["gzip", "x-gzip", "deflate", "br", "zstd"]);
/** Codings on top of each other; more is an attack. */
const MAX_CODINGS = 4;

/**
 * The codings to undo, the last applied first; `undefined` when there are
 * none, or one of them is not known: then the body is left as it is.
 */
export function codingsOf(field: string): string[] | undefined {
  const codings = listOf(field).filter((coding) => coding !== "identity");
  if (codings.length === 0 || !codings.every((c) => KNOWN.has(c))) {
    return undefined;
  }
  if (codings.length > MAX_CODINGS) {
    throw new ProtocolError(
      `Cannot decode a body: ${codings.length} codings on top of each other`,
      { phase: "body" },
    );
  }
  return codings.reverse();
}

/** Makes what the reader of a body sees of an error. */
export type Wrap = (error: NetError) => Error;

/** Undoes content codings (RFC 9110, 8.4) as far as the reader reads. */
export function decode(
  content: Content,
  codings: readonly string[],
  limit: number,
  wrap: Wrap,
): Content {
  return codings.reduce<Content>(
    (inner, coding) => new DecodedContent(inner, coding, limit, wrap),
    content,
  );
}

class DecodedContent implements Content {
  readonly #inner: Content;
  readonly #coding: string;
  readonly #limit: number;
  readonly #wrap: Wrap;
  #transform: Transform | undefined;
  #opening: Promise<void> | undefined;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(inner: Content, coding: string, limit: number, wrap: Wrap) {
    this.#inner = inner;
    this.#coding = coding;
    this.#limit = limit;
    this.#wrap = wrap;
  }

  async collect(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for (;;) {
      const chunk = await this.receive();
      if (chunk === undefined) return join(chunks);
      chunks.push(chunk);
    }
  }

  async receive(): Promise<Uint8Array | undefined> {
    await (this.#opening ??= this.#open());
    while (this.#chunks.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      this.#transform?.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#chunks.shift();
  }

  cancel(reason: unknown): void {
    this.#finish();
    this.#transform?.destroy();
    this.#inner.cancel(reason);
  }

  async #open(): Promise<void> {
    const first = await this.#inner.receive();
    // An empty body is none, whatever its coding (a HEAD-like answer).
    if (first === undefined) return this.#finish();
    let transform: Transform;
    try {
      transform = await create(this.#coding, first);
    } catch (error) {
      return this.#fail(error);
    }
    this.#transform = transform;
    transform.on("data", (chunk: Uint8Array) => this.#take(chunk));
    transform.on("end", () => this.#finish());
    transform.on("error", (cause: Error) => {
      this.#fail(
        new ProtocolError(
          `Cannot decode a body: it is not ${this.#coding}: ${cause.message}`,
          { code: "ERR_DECODE", phase: "body", cause },
        ),
      );
    });
    this.#feed(transform, first).catch((error) => this.#fail(error));
  }

  #take(chunk: Uint8Array): void {
    this.#size += chunk.byteLength;
    if (this.#size > this.#limit) {
      this.#fail(
        new SizeLimitError(
          `Cannot read a body: more than ${this.#limit} bytes when decoded`,
          { limit: this.#limit, phase: "body" },
        ),
      );
      return;
    }
    const { buffer, byteOffset, byteLength } = chunk;
    this.#chunks.push(new Uint8Array(buffer, byteOffset, byteLength));
    this.#transform?.pause();
    this.#wake?.();
  }

  async #feed(transform: Transform, first: Uint8Array): Promise<void> {
    let chunk: Uint8Array | undefined = first;
    while (chunk !== undefined && !this.#ended) {
      if (!transform.write(chunk)) {
        await new Promise<void>((resolve) => {
          transform.once("drain", () => resolve());
          transform.once("close", () => resolve());
        });
      }
      chunk = await this.#inner.receive();
    }
    if (!this.#ended) transform.end();
  }

  #finish(): void {
    this.#ended = true;
    this.#wake?.();
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#error = error instanceof NetError ? this.#wrap(error) : error;
    this.#chunks = [];
    this.#finish();
    this.#transform?.destroy();
    this.#inner.cancel(error);
  }
}

async function create(coding: string, first: Uint8Array): Promise<Transform> {
  const zlib = await import("node:zlib") as unknown as Zlib;
  switch (coding) {
    case "deflate":
      // Some send it without the zlib wrapper (RFC 9110, 8.4.1.2).
      return (first[0] & 0x0f) === 8
        ? zlib.createInflate()
        : zlib.createInflateRaw();
    case "br":
      return zlib.createBrotliDecompress();
    case "zstd":
      if (zlib.createZstdDecompress !== undefined) {
        return zlib.createZstdDecompress();
      }
      throw new ProtocolError("Cannot decode a body: no zstd on this runtime", {
        code: "ERR_DECODE",
        phase: "body",
      });
    default:
      return zlib.createGunzip();
  }
}
