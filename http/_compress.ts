import type { MaybePromise } from "../streams/types.ts";
import { BegunBody, encoded, piecesOf } from "./_compress_stream.ts";
import { acceptedOf, varyOf } from "./_file_types.ts";
import { compressWhole, hasCoding } from "./_node_zlib.ts";
import type { Coding } from "./_node_zlib.ts";
import { isResponse, takeApart } from "./_response_parts.ts";
import type { OutgoingBody } from "./_response_parts.ts";
import { makeResponse, plainOf, takePlain } from "./response.ts";
import type { PlainResponse } from "./response.ts";
import { takeoverOf } from "./_takeover.ts";
import { hidesType, TEXT_TYPE } from "./_text_type.ts";
import { setTrailers, trailersOf } from "./_trailers.ts";
import type { CompressOptions } from "./compress.ts";
import type { Handler } from "./types.ts";

/** Options of compression, checked and with their defaults. */
export interface CompressConfig {
  /** What this runtime has of what is wanted, the best first. */
  readonly codings: readonly Coding[];
  readonly threshold: number;
  readonly levels: Readonly<Record<Coding, number>>;
  readonly filter: CompressOptions["filter"];
}

const CODINGS: readonly Coding[] = ["br", "zstd", "gzip", "deflate"];

/** Levels that are worth their time for what is made on the way. */
const LEVELS: Readonly<Record<Coding, number>> = {
  br: 4,
  zstd: 3,
  gzip: 6,
  deflate: 6,
};

const RANGES: Readonly<Record<Coding, readonly [number, number]>> = {
  br: [0, 11],
  zstd: [1, 19],
  gzip: [1, 9],
  deflate: [1, 9],
};

/** Above these a body is never compressed while everything else waits. */
const QUICK: Readonly<Record<Coding, number>> = {
  br: 6,
  zstd: 9,
  gzip: 9,
  deflate: 9,
};

/** Bytes that are compressed at once at most: some tenths of a millisecond. */
const SMALL = 32 * 1024;

const KNOWN = ["codings", "threshold", "levels", "filter"];
const encoder = new TextEncoder();

/** Checks what was given; `undefined` is off. */
export function compressOf(
  options: boolean | CompressOptions | undefined,
  action: string,
): CompressConfig | undefined {
  if (options === undefined || options === false) return undefined;
  const given: CompressOptions = options === true ? {} : options;
  const fail = (what: string) => `Cannot ${action}: ${what}`;
  if (typeof given !== "object" || given === null) {
    throw new TypeError(
      fail(`compress is true, false or options: ${String(options)}`),
    );
  }
  for (const name of Object.keys(given)) {
    if (!KNOWN.includes(name)) {
      throw new TypeError(fail(`no such option: compress.${name}`));
    }
  }
  const { codings = CODINGS, threshold = 1024, levels = {}, filter } = given;
  if (
    !Array.isArray(codings) || new Set(codings).size !== codings.length ||
    !codings.every((coding) => CODINGS.includes(coding))
  ) {
    throw new TypeError(
      fail(
        `compress.codings must be a list of "br", "zstd", "gzip" and "deflate", each once: ${
          JSON.stringify(codings)
        }`,
      ),
    );
  }
  if (typeof threshold !== "number" || !(threshold >= 0)) {
    throw new RangeError(
      fail(`compress.threshold must be a number of bytes: ${threshold}`),
    );
  }
  if (typeof levels !== "object" || levels === null) {
    throw new TypeError(fail("compress.levels must be an object"));
  }
  if (filter !== undefined && typeof filter !== "function") {
    throw new TypeError(fail("compress.filter must be a function"));
  }
  const chosen = { ...LEVELS };
  for (const [name, level] of Object.entries(levels)) {
    if (!Object.hasOwn(LEVELS, name)) {
      throw new TypeError(fail(`no such option: compress.levels.${name}`));
    }
    if (level === undefined) continue;
    const [least, most] = RANGES[name as Coding];
    if (!Number.isInteger(level) || level < least || level > most) {
      throw new RangeError(
        fail(
          `compress.levels.${name} must be a whole number from ${least} to ${most}: ${level}`,
        ),
      );
    }
    chosen[name as Coding] = level;
  }
  return {
    codings: codings.filter(hasCoding),
    threshold,
    levels: chosen,
    filter,
  };
}

/** The handler, what it gives compressed; itself when that is off. */
export function compressing(
  handler: Handler,
  config: CompressConfig | undefined,
): Handler {
  if (config === undefined) return handler;
  return (request, context) => {
    const response: unknown = handler(request, context);
    return isThenable(response)
      ? response.then((given) => compressed(config, request, given))
      : compressed(config, request, response as Response);
  };
}

/** Fields of a response that must be sent as it is. */
const KEPT = [
  "content-encoding",
  "content-range",
  // What these are about would not be what is sent (RFC 9530).
  "content-digest",
  "repr-digest",
  "digest",
  "content-md5",
];

/** The response as this request is to have it. */
export function compressed(
  config: CompressConfig,
  request: Request,
  given: Response,
): MaybePromise<Response> {
  if (!isResponse(given)) return given;
  const { status } = given;
  if (status === 304) return revalidated(request, given);
  if (
    status < 200 || status === 204 || status === 205 || status === 206 ||
    takeoverOf(given) !== undefined
  ) return given;
  if (KEPT.some((name) => fieldOf(given, name) !== null)) return given;
  if (
    /(^|[\s,])no-transform($|[\s,;])/i.test(
      fieldOf(given, "cache-control") ?? "",
    )
  ) {
    return given;
  }
  const response = withType(given);
  const wanted = config.filter === undefined
    ? isCompressible(fieldOf(response, "content-type"))
    : config.filter(response, request);
  if (!wanted) return response;
  const { codings, identity } = acceptedOf(
    request.headers.get("accept-encoding"),
    config.codings,
  );
  if (codings.length === 0) return varied(response);
  const coding = codings[0] as Coding;
  return encode(response, {
    coding,
    level: config.levels[coding],
    // Who does not take it plain is given it encoded, however small.
    threshold: identity ? config.threshold : 0,
    identity,
    head: request.method === "HEAD",
  });
}

interface Encoding {
  readonly coding: Coding;
  readonly level: number;
  readonly threshold: number;
  readonly identity: boolean;
  readonly head: boolean;
}

function encode(response: Response, how: Encoding): MaybePromise<Response> {
  const { coding, level, threshold, identity, head } = how;
  const length = fieldOf(response, "content-length");
  if (length !== null && Number(length) < threshold) return varied(response);
  const plain = plainOf(response);
  if (plain?.body === null && !head) return varied(response);
  // Before the body is taken: Bun forgets fields with it.
  const { statusText } = response;
  const parts = { status: response.status, fields: fieldsOf(response) };
  const body: OutgoingBody = plain === undefined
    ? takeApart(response).body
    : takePlain(response)!.body;
  const remake = (fields: string[], body: OutgoingBody): Response =>
    carry(response, makeResponse({ ...parts, fields, body }, statusText));
  const plainly = (body: OutgoingBody) => remake(addVary(parts.fields), body);
  const packed = (body: OutgoingBody) =>
    remake(addVary(encodedFields(parts.fields, coding)), body);

  if (body === null) return head ? packed(null) : varied(response);
  const eager = isEvents(fieldOf(response, "content-type"));
  const stream = (body: BegunBody) =>
    packed(encoded(body, { coding, level, eager }));
  const whole = (bytes: Uint8Array): Response => {
    if (bytes.byteLength < threshold) return plainly(bytes);
    if (bytes.byteLength > SMALL || level > QUICK[coding]) {
      return stream(new BegunBody(piecesOf(bytes)));
    }
    const small = compressWhole(coding, bytes, level);
    return identity && small.byteLength >= bytes.byteLength
      ? plainly(bytes)
      : packed(small);
  };
  if (!(body instanceof ReadableStream)) {
    return whole(typeof body === "string" ? encoder.encode(body) : body);
  }
  const begun = new BegunBody(body);
  return eager
    ? stream(begun)
    : begun.whole(SMALL).then((bytes) =>
      bytes === undefined ? stream(begun) : whole(bytes)
    );
}

/**
 * A 304 for the weak tag that its body was sent with, compressed: that very
 * tag, or no cache would know what it is about (RFC 9111, 4.3.4).
 */
function revalidated(request: Request, response: Response): Response {
  const tag = fieldOf(response, "etag");
  const known = request.headers.get("if-none-match");
  if (tag === null || known === null || !tag.startsWith('"')) return response;
  if (!known.includes(`W/${tag}`)) return response;
  const fields = fieldsOf(response).slice();
  fields[fields.indexOf("etag") + 1] = `W/${tag}`;
  const { status, statusText } = response;
  return makeResponse(
    { status, fields: addVary(fields), body: null },
    statusText,
  );
}

/** Bun tells the type of a text only when it is sent: here it is said. */
function withType(response: Response): Response {
  if (!hidesType || plainOf(response) !== undefined) return response;
  if (response.headers.get("content-type") !== null) return response;
  const { status, statusText } = response;
  const fields = fieldsOf(response);
  const { body, typed } = takeApart(response);
  // What is no text is as it was, and so is a stream, which is not taken.
  if (body === null || body instanceof ReadableStream) return response;
  if (typed) fields.push("content-type", TEXT_TYPE);
  return carry(response, makeResponse({ status, fields, body }, statusText));
}

/** The same response, which says that it depends on what is accepted. */
function varied(response: Response): Response {
  const plain = plainOf(response) as { fields: string[] } | undefined;
  if (plain !== undefined) {
    plain.fields = addVary(plain.fields);
    return response;
  }
  const value = varyOf(response.headers.get("vary"));
  if (value === undefined) return response;
  try {
    response.headers.set("vary", value);
    return response;
  } catch {
    // That of a fetch cannot be changed.
    const { status, statusText, body } = response;
    const fields = addVary(fieldsOf(response));
    return carry(response, makeResponse({ status, fields, body }, statusText));
  }
}

function carry(from: Response, to: Response): Response {
  const trailers = trailersOf(from);
  if (trailers !== undefined) setTrailers(to, trailers);
  return to;
}

function addVary(fields: readonly string[]): string[] {
  const value = varyOf(joined(fields, "vary"));
  if (value === undefined) return fields.slice();
  return [...without(fields, ["vary"]), "vary", value];
}

function encodedFields(fields: readonly string[], coding: Coding): string[] {
  // Ranges would be of the plain one (RFC 9110, 14.2).
  const kept = without(fields, ["content-length", "accept-ranges"]);
  for (let i = 0; i < kept.length; i += 2) {
    // It is not the same, byte by byte, as the plain one (RFC 9110, 8.8.1).
    if (kept[i] === "etag" && kept[i + 1].startsWith('"')) {
      kept[i + 1] = `W/${kept[i + 1]}`;
    }
  }
  kept.push("content-encoding", coding);
  return kept;
}

function without(fields: readonly string[], names: string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    if (!names.includes(fields[i])) kept.push(fields[i], fields[i + 1]);
  }
  return kept;
}

function joined(fields: readonly string[], name: string): string | null {
  let value: string | null = null;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== name) continue;
    value = value === null ? fields[i + 1] : `${value}, ${fields[i + 1]}`;
  }
  return value;
}

/** Without making a light response a real one. */
function fieldOf(response: Response, name: string): string | null {
  const plain = plainOf(response);
  return plain === undefined
    ? response.headers.get(name)
    : joined(plain.fields, name);
}

function fieldsOf(response: Response): string[] {
  const plain: PlainResponse | undefined = plainOf(response);
  if (plain !== undefined) return plain.fields.slice();
  const fields: string[] = [];
  response.headers.forEach((value, name) => fields.push(name, value));
  return fields;
}

/** Types beside `text/*`, `*+json` and `*+xml` that are worth it. */
const COMPRESSIBLE = new Set([
  "application/json",
  "application/x-ndjson",
  "application/ndjson",
  "application/jsonl",
  "application/json-seq",
  "application/javascript",
  "application/x-javascript",
  "application/ecmascript",
  "application/xml",
  "application/wasm",
]);

function isCompressible(type: string | null): boolean {
  if (type === null) return false;
  const semicolon = type.indexOf(";");
  const name = (semicolon === -1 ? type : type.slice(0, semicolon))
    .trim().toLowerCase();
  return name.startsWith("text/") || name.endsWith("+json") ||
    name.endsWith("+xml") || COMPRESSIBLE.has(name);
}

function isEvents(type: string | null): boolean {
  return type !== null && /^\s*text\/event-stream\s*(;|$)/i.test(type);
}

function isThenable(value: unknown): value is Promise<Response> {
  return typeof value === "object" && value !== null && "then" in value;
}
