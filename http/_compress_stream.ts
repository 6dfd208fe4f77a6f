import { createEncoder, flushKind } from "./_node_zlib.ts";
import type { Coding, Encoder } from "./_node_zlib.ts";
import { concat } from "./_request_body.ts";

/** Microtasks that are waited for the end of a body. */
const HOPS = 12;
/** Bytes given to the encoder in one go. */
const PIECE = 64 * 1024;

const { setImmediate } = globalThis as {
  setImmediate?: (callback: () => void) => void;
};

/** Once all that is ready had its turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (setImmediate !== undefined) setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}

/** How to compress a body. */
export interface EncodedOptions {
  readonly coding: Coding;
  readonly level: number;
  /** Each chunk is to arrive before the next, whatever it costs. */
  readonly eager: boolean;
}

/** A body that is there, as a stream of pieces. */
export function piecesOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let start = 0;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(bytes.subarray(start, start + PIECE));
      start += PIECE;
      if (start >= bytes.byteLength) controller.close();
    },
  }, { highWaterMark: 0 });
}

/** A body that somebody has begun to read. */
export class BegunBody {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #reading: Promise<ReadableStreamReadResult<Uint8Array>> | undefined;

  /** Throws when it is locked. */
  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader();
  }

  /**
   * All of it, when it is there already, as where it was made of a string and
   * the runtime does not let us have that; rejects as it does.
   */
  async whole(limit: number): Promise<Uint8Array | undefined> {
    let hops = HOPS;
    while (this.#size <= limit) {
      let result: ReadableStreamReadResult<Uint8Array> | undefined;
      let failure: { error: unknown } | undefined;
      const reading = this.#reading = this.#reader.read();
      reading.then((given) => {
        result = given;
      }, (error) => {
        failure = { error };
      });
      while (result === undefined && failure === undefined) {
        if (hops-- === 0) return undefined;
        await undefined;
      }
      if (failure !== undefined) throw failure.error;
      const { done, value } = result!;
      if (done) return concat(this.#chunks);
      this.#reading = undefined;
      this.#chunks.push(checkChunk(value));
      this.#size += value.byteLength;
    }
    return undefined;
  }

  read(): Promise<ReadableStreamReadResult<Uint8Array>> {
    const value = this.#chunks.shift();
    if (value !== undefined) return Promise.resolve({ done: false, value });
    const reading = this.#reading ?? this.#reader.read();
    this.#reading = undefined;
    return reading;
  }

  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }
}

function checkChunk(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new TypeError(
    `Cannot send a body: a chunk is no Uint8Array: ${typeof value}`,
  );
}

/** The body, compressed as far as somebody reads. */
export function encoded(
  body: BegunBody,
  options: EncodedOptions,
): ReadableStream<Uint8Array> {
  return new EncodedBody(body, options).readable;
}

/**
 * One body on its way through an encoder. The source is read while somebody
 * waits for more; when it has nothing ready, what the encoder holds is flushed.
 */
class EncodedBody {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #body: BegunBody;
  readonly #options: EncodedOptions;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  /** Made when somebody begins to read. */
  #encoder: Encoder | undefined;
  /** Somebody waits for more. */
  #pulled: (() => void) | undefined;
  /** The feeding waits for that. */
  #demanded: (() => void) | undefined;
  #over = false;

  constructor(body: BegunBody, options: EncodedOptions) {
    this.#options = options;
    this.#body = body;
    this.readable = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#pull(),
      cancel: (reason) => {
        this.#end();
        return this.#body.cancel(reason);
      },
    }, { highWaterMark: 0 });
  }

  #pull(): Promise<void> {
    const given = new Promise<void>((resolve) => {
      this.#pulled = resolve;
    });
    if (this.#encoder === undefined) this.#begin();
    else this.#demanded?.();
    return given;
  }

  #begin(): void {
    const { coding, level, eager } = this.#options;
    let encoder: Encoder;
    try {
      encoder = createEncoder(coding, level, eager);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#encoder = encoder;
    encoder.on("data", ({ buffer, byteOffset, byteLength }: Uint8Array) => {
      if (this.#over) return;
      this.#controller.enqueue(
        new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength),
      );
      this.#satisfy();
    });
    encoder.on("end", () => {
      if (this.#over) return;
      this.#controller.close();
      this.#end();
    });
    encoder.on("error", (error: Error) => this.#fail(error));
    this.#feed(encoder).catch((error) => this.#fail(error));
  }

  async #feed(encoder: Encoder): Promise<void> {
    let held = false;
    for (;;) {
      const reading = this.#body.read();
      if (held && !(await isSoon(reading))) {
        if (this.#over) return;
        await this.#flush(encoder);
        held = false;
      }
      const { done, value: chunk } = await reading;
      if (this.#over) return;
      if (done) {
        encoder.end();
        return;
      }
      const value = checkChunk(chunk);
      for (let start = 0; start < value.byteLength; start += PIECE) {
        await write(encoder, value.subarray(start, start + PIECE));
        if (this.#over) return;
        held = !this.#options.eager;
        if (this.#pulled === undefined) await this.#demand();
        if (this.#over) return;
      }
    }
  }

  #flush(encoder: Encoder): Promise<void> {
    return new Promise((resolve) => {
      encoder.flush(flushKind(this.#options.coding), resolve);
    });
  }

  /** Waits until somebody wants more. */
  #demand(): Promise<void> {
    return new Promise((resolve) => {
      this.#demanded = () => {
        this.#demanded = undefined;
        resolve();
      };
    });
  }

  #satisfy(): void {
    this.#pulled?.();
    this.#pulled = undefined;
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#controller.error(error);
    this.#end();
    this.#body.cancel(error).catch(() => {});
  }

  #end(): void {
    this.#over = true;
    this.#encoder?.destroy();
    this.#satisfy();
    this.#demanded?.();
  }
}

function write(encoder: Encoder, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    encoder.write(bytes, resolve);
  });
}

/** Whether it is settled before all else had its turn. */
function isSoon(reading: Promise<unknown>): Promise<boolean> {
  const yes = () => true;
  return Promise.race([reading.then(yes, yes), turn().then(() => false)]);
}
