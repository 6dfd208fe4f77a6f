import { ClosedError } from "../streams/errors.ts";
import { PulledSource } from "../streams/from.ts";
import { collect } from "../streams/to_readable.ts";
import type { Source } from "../streams/types.ts";
import { boundaryOf, parsePartHead } from "./_multipart_head.ts";
import type { PartHead } from "./_multipart_head.ts";
import { malformed, MultipartReader } from "./_multipart_reader.ts";
import type { MultipartBounds } from "./_multipart_reader.ts";
import { MultipartLimitError } from "./errors.ts";

/** Bounds on a multipart body. What is more rejects with a 413. */
export interface MultipartLimits {
  /** Parts. @default {1000} */
  parts?: number;
  /** Bytes of the body of a part. @default {134217728} */
  partSize?: number;
  /** Bytes of it all. @default {134217728} */
  total?: number;
  /** Bytes of a name, and of a file name. @default {1024} */
  name?: number;
  /** Bytes of the header of a part. @default {8192} */
  header?: number;
}

/**
 * One part of a form. Its body is read once, by one of `body`, `text`, `bytes`
 * and `save`, and before the next part is asked for; what is not read by then
 * is skipped.
 */
export interface Part {
  /** Name of the field. */
  readonly name: string;
  /**
   * Name of the file, for a field that is one, as the client gave it: it may
   * hold slashes and dots, and is no path to write to.
   */
  readonly filename?: string;
  /** Its content type. @default {"text/plain"} */
  readonly type: string;
  /** All of its header. */
  readonly headers: Headers;
  /** Its bytes, as they come. */
  readonly body: Source<Uint8Array>;
  /** All of it, decoded as UTF-8. */
  text(): Promise<string>;
  /** All of it. */
  bytes(): Promise<Uint8Array>;
  /**
   * Writes it to a file and resolves with its size. A file that is there is
   * replaced, once the part has come whole: until then it is written beside
   * it, and removed when the part or the writing fails.
   */
  save(path: string | URL): Promise<number>;
}

const DEFAULTS: MultipartBounds = {
  parts: 1000,
  partSize: 128 * 1024 * 1024,
  total: 128 * 1024 * 1024,
  name: 1024,
  header: 8 * 1024,
};

/**
 * The parts of a `multipart/form-data` body (RFC 7578), one after the other,
 * as they come: nothing is kept in memory or on disk. It is for one loop;
 * leaving it early drops the rest of the body.
 *
 * A body that breaks the rules rejects with a `MultipartError`, one that
 * breaks a limit with a `MultipartLimitError`: a handler that does not catch
 * them is answered for with 400, 413, or 415 for another content type.
 *
 * @example
 * ```ts
 * import { multipart, serve } from "@sluice/net/http";
 *
 * const server = await serve(async (request) => {
 *   const seen: string[] = [];
 *   for await (const part of multipart(request, { parts: 10 })) {
 *     const { length } = await part.bytes();
 *     seen.push(`${part.name} ${part.filename ?? ""} ${length}`);
 *   }
 *   return Response.json(seen);
 * }, { hostname: "127.0.0.1", port: 0 });
 *
 * const form = new FormData();
 * form.set("greeting", "hello");
 * form.set("file", new File(["content"], "a.txt"));
 * const answer = await fetch(server.url, { method: "POST", body: form });
 * console.log(await answer.json());
 * await server.close();
 * ```
 *
 * @param request A request, or a response, whose body was not read yet.
 * @param limits Bounds; those of the server (`limits.body`) hold besides.
 */
export function multipart(
  request: Request | Response,
  limits: MultipartLimits = {},
): AsyncIterable<Part> {
  const bounds = { ...DEFAULTS };
  for (const [key, value] of Object.entries(limits)) {
    if (!Object.hasOwn(DEFAULTS, key)) {
      throw new TypeError(
        `Cannot read a multipart body: no such limit: ${key}`,
      );
    }
    if (value === undefined) continue;
    if (!(value >= 0)) {
      throw new RangeError(
        `Cannot read a multipart body: the limit ${key} must be a number of 0 or more: ${value}`,
      );
    }
    bounds[key as keyof MultipartBounds] = value;
  }
  if (request.bodyUsed) {
    throw new TypeError("Cannot read a multipart body: it was read before");
  }
  return parts(request, bounds);
}

async function* parts(
  request: Request | Response,
  bounds: MultipartBounds,
): AsyncGenerator<Part, void, undefined> {
  const boundary = boundaryOf(request.headers.get("content-type"));
  if (request.body === null) throw malformed("it is empty");
  const reader = new MultipartReader(request.body, boundary, bounds);
  let count = 0;
  try {
    await reader.begin();
    for (;;) {
      const head = await reader.next();
      if (head === undefined) return;
      if (++count > bounds.parts) {
        throw new MultipartLimitError("the number of parts", bounds.parts);
      }
      const part = new BodyPart(reader, parsePartHead(head, bounds));
      yield part;
      await part.leave();
    }
  } catch (error) {
    reader.stop(error);
    throw error;
  } finally {
    reader.release();
  }
}

class BodyPart implements Part {
  readonly name: string;
  readonly filename?: string;
  readonly type: string;
  readonly headers: Headers;
  readonly body: PulledSource<Uint8Array>;
  readonly #reader: MultipartReader;
  #left = false;
  #read = false;

  constructor(reader: MultipartReader, head: PartHead) {
    this.name = head.name;
    if (head.filename !== undefined) this.filename = head.filename;
    this.type = head.type;
    this.headers = head.headers;
    this.#reader = reader;
    this.body = new PulledSource<Uint8Array>({
      next: () => this.#next(),
      // What is left is skipped when the next part is asked for.
      stop: () => {},
    });
  }

  async #next(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#read = true;
    if (this.#left) throw leftError();
    const value = await this.#reader.chunk();
    return value === undefined ? { done: true, value } : { done: false, value };
  }

  /** Whoever reads it still is told; the rest is skipped. */
  async leave(): Promise<void> {
    this.#left = true;
    this.body.destroy(leftError());
    await this.#reader.skip();
  }

  #use(): void {
    if (this.#read) {
      throw new TypeError(
        `Cannot read the part: it was read before: ${
          JSON.stringify(this.name)
        }`,
      );
    }
    this.#read = true;
  }

  async bytes(): Promise<Uint8Array> {
    this.#use();
    return await collect(this.body);
  }

  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }

  async save(path: string | URL): Promise<number> {
    this.#use();
    const { saveFile } = await import("./_node_save.ts");
    return await saveFile(path, async () => await this.body.receive());
  }
}

function leftError(): ClosedError {
  return new ClosedError(
    "Cannot read the part: the next one was asked for, or the loop was left",
  );
}
