import { bodyLength, bodyOf, streamBody, wholeBody } from "./_client_body.ts";
import type { ClientBody, Puller, RequestBody } from "./_client_body.ts";
import { showText } from "./_h1_error.ts";
import { checkName, checkValue } from "./_h1_writer.ts";

/** What a part of a form is made of: what a request can have, and bodies. */
export type MultipartBody = ClientBody | Request | Response | null | undefined;

/** One part of a form that is sent. */
export interface MultipartPart {
  /** Name of the field. Quotes in it are sent as `%22`. */
  name: string;
  /**
   * What is sent, as it is. Streams, iterables and sources are read when their
   * turn comes, as fast as the server takes them, and but once.
   */
  body: MultipartBody;
  /**
   * Makes the field a file. A name and no path is meant; quotes are sent as
   * `%22`. @default the name of a File, `"blob"` for another Blob, or none
   */
  filename?: string;
  /**
   * Content-Type of the part.
   *
   * @default that of a Blob, FormData, URLSearchParams, Request or Response;
   * for a file `"application/octet-stream"`; else none, which means text
   */
  type?: string;
  /** More fields of the part; most readers ignore them (RFC 7578, 4.8). */
  headers?: HeadersInit;
}

/** A value of a record of parts: a body, or all that a part is but its name. */
export type MultipartValue =
  | MultipartBody
  | number
  | boolean
  | bigint
  | Omit<MultipartPart, "name">;

/**
 * What `multipart` takes: parts in their order, or a record of them by name,
 * where a list is several parts of that name.
 */
export type MultipartInit =
  | Iterable<MultipartPart>
  | Readonly<Record<string, MultipartValue | readonly MultipartValue[]>>;

/** A part whose header is written. */
interface Written {
  readonly head: Uint8Array;
  readonly body: RequestBody;
}

/** Forms up to this size are put together in memory, and leave in one write. */
const TOGETHER = 64 * 1024;
/** Fields that are for the other members of a part to say. */
const OWN = new Set(["content-disposition", "content-type", "content-length"]);
const PART = new Set(["name", "body", "filename", "type", "headers"]);

const encoder = new TextEncoder();

/** A form as multipart/form-data (RFC 7578). */
export function multipartBody(init: MultipartInit): RequestBody {
  if (typeof init !== "object" || init === null) {
    throw new TypeError(
      `Cannot send multipart: give parts or a record of them: ${
        init === null ? "null" : typeof init
      }`,
    );
  }
  const given = Symbol.iterator in init
    ? init as Iterable<MultipartPart>
    : partsOf(init);
  // As good as random: no body holds it by chance or by design.
  const boundary = `----sluice${crypto.randomUUID().replaceAll("-", "")}`;
  const parts: Written[] = [];
  let lead = "";
  let length: number | undefined = 0;
  let replayable = true;
  let inMemory = true;
  for (const part of given) {
    const { head, body } = written(part);
    const bytes = encoder.encode(`${lead}--${boundary}\r\n${head}\r\n`);
    lead = "\r\n";
    const size = bodyLength(body);
    length = size === undefined || length === undefined
      ? undefined
      : length + bytes.length + size;
    replayable &&= body.replayable;
    inMemory &&= body.whole !== undefined;
    parts.push({ head: bytes, body });
  }
  const tail = encoder.encode(`${lead}--${boundary}--\r\n`);
  if (length !== undefined) length += tail.length;
  const type = `multipart/form-data; boundary=${boundary}`;
  if (inMemory && length! <= TOGETHER) {
    return wholeBody(together(parts, tail, length!), type);
  }
  return {
    type,
    whole: undefined,
    length,
    replayable,
    open: () => pull(parts, tail),
  };
}

function* partsOf(
  record: Readonly<Record<string, MultipartValue | readonly MultipartValue[]>>,
): Generator<MultipartPart> {
  for (const [name, given] of Object.entries(record)) {
    const values: readonly MultipartValue[] = Array.isArray(given)
      ? given
      : [given as MultipartValue];
    for (const value of values) {
      if (isPlain(value) && "body" in value) {
        yield { ...value as Omit<MultipartPart, "name">, name };
      } else if (
        typeof value === "number" || typeof value === "boolean" ||
        typeof value === "bigint"
      ) {
        yield { name, body: String(value) };
      } else {
        yield { name, body: value as MultipartBody };
      }
    }
  }
}

function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The header of a part, and its body. */
function written(part: MultipartPart): { head: string; body: RequestBody } {
  if (typeof part !== "object" || part === null) {
    throw new TypeError(
      `Cannot send multipart: a part is no object: ${typeof part}`,
    );
  }
  const { name, body: given, headers } = part;
  if (typeof name !== "string") {
    throw new TypeError(
      `Cannot send multipart: a part has no name: ${typeof name}`,
    );
  }
  for (const [key, value] of Object.entries(part)) {
    if (value !== undefined && !PART.has(key)) {
      throw new TypeError(
        `Cannot send the part ${showText(name)}: no such option: ${key}`,
      );
    }
  }
  const body = partBody(given, name);
  const filename = part.filename ?? filenameOf(given);
  const type = typeOf(part, body, filename);
  let head = `Content-Disposition: form-data; name="${escape(name, "name")}"`;
  if (filename !== undefined) {
    head += `; filename="${escape(filename, "file name")}"`;
  }
  head += "\r\n";
  if (type !== undefined) head += `Content-Type: ${type}\r\n`;
  for (const [key, value] of headers === undefined ? [] : pairsOf(headers)) {
    const field = key.toLowerCase();
    checkName(field);
    checkValue(field, value);
    if (OWN.has(field)) {
      throw new TypeError(
        `Cannot send the part ${
          showText(name)
        }: headers cannot hold ${field}: name, filename and type say it`,
      );
    }
    head += `${key}: ${value}\r\n`;
  }
  return { head, body };
}

function pairsOf(init: HeadersInit): Iterable<readonly [string, string]> {
  return Symbol.iterator in init
    ? init as Iterable<readonly [string, string]>
    : Object.entries(init);
}

function partBody(given: MultipartBody, name: string): RequestBody {
  if (given === null || given === undefined) return wholeBody("", undefined);
  if (given instanceof Request || given instanceof Response) {
    if (given.bodyUsed) {
      throw new TypeError(
        `Cannot send the part ${showText(name)}: its body was read before`,
      );
    }
    const type = given.headers.get("content-type") ?? undefined;
    return given.body === null
      ? wholeBody("", type)
      : { ...streamBody(given.body), type };
  }
  try {
    return bodyOf(given);
  } catch (cause) {
    throw new TypeError(
      `Cannot send the part ${showText(name)}: ${(cause as Error).message}`,
      { cause },
    );
  }
}

function filenameOf(body: MultipartBody): string | undefined {
  if (!(body instanceof Blob)) return undefined;
  const { name } = body as { name?: unknown };
  return typeof name === "string" ? name : "blob";
}

function typeOf(
  { name, body, type }: MultipartPart,
  { type: own }: RequestBody,
  filename: string | undefined,
): string | undefined {
  if (type !== undefined) {
    // A field of the header must be ASCII here: all read it alike.
    if (typeof type !== "string" || !/^[\x20-\x7e]+$/.test(type)) {
      throw new TypeError(
        `Cannot send the part ${showText(name)}: bad type: ${
          showText(String(type))
        }`,
      );
    }
    return type;
  }
  // Text is text without being told (RFC 7578, 4.4).
  const usual = typeof body === "string" ? undefined : own;
  if (usual !== undefined && /^[\x20-\x7e]+$/.test(usual)) return usual;
  return filename === undefined ? undefined : "application/octet-stream";
}

/**
 * A name within its quotes (HTML, 4.10.21.8). Nothing in it can end its line:
 * controls are refused, and not percent-encoded, as few undo that. The same
 * goes for a backslash before the closing quote, which some readers take for
 * a quote that goes on.
 */
function escape(name: string, what: string): string {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) {
      throw new TypeError(
        `Cannot send the part: its ${what} holds a control character: ${
          showText(name)
        }`,
      );
    }
  }
  if (name.endsWith("\\")) {
    throw new TypeError(
      `Cannot send the part: its ${what} ends with a backslash: ${
        showText(name)
      }`,
    );
  }
  return name.replaceAll('"', "%22");
}

function together(
  parts: readonly Written[],
  tail: Uint8Array,
  length: number,
): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  const add = (piece: Uint8Array) => {
    bytes.set(piece, at);
    at += piece.length;
  };
  for (const { head, body } of parts) {
    add(head);
    const whole = body.whole!;
    add(typeof whole === "string" ? encoder.encode(whole) : whole);
  }
  add(tail);
  return bytes;
}

/** One part after the other; each is opened when its turn comes. */
function pull(parts: readonly Written[], tail: Uint8Array): Puller {
  let at = 0;
  let current: Puller | undefined;
  let over = false;
  return {
    async next() {
      for (;;) {
        if (over) return undefined;
        if (current !== undefined) {
          const piece = await current.next();
          if (piece !== undefined) return piece;
          current = undefined;
          continue;
        }
        if (at === parts.length) {
          over = true;
          return tail;
        }
        const { head, body } = parts[at++];
        current = body.open();
        return head;
      }
    },
    cancel(reason) {
      if (over) return;
      over = true;
      current?.cancel(reason);
      current = undefined;
      // Who makes the others has to hear of it, too.
      for (; at < parts.length; at++) {
        const { body } = parts[at];
        if (body.replayable) continue;
        try {
          body.open().cancel(reason);
        } catch {
          // Somebody else reads it by now.
        }
      }
    },
  };
}
