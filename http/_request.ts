import { exchangeKey } from "./_exchange.ts";
import type { Exchange } from "./_exchange.ts";
import type { Fields, HeadMemo } from "./_h1_types.ts";
import { RequestBody } from "./_request_body.ts";

const Native = globalThis.Request;
const NativeResponse = globalThis.Response;

/** What a request is made of, by the engine that read it. */
export interface RequestSource extends Exchange {
  readonly method: string;
  /** As `URL` writes it. */
  readonly url: string;
  /** Names in lower case, values as they came. */
  readonly fields: Fields;
  /** `undefined` when there is none. */
  readonly body: RequestBody | undefined;
  /** Made when asked for; aborts when the client is gone. */
  readonly signal: AbortSignal;
  /** Of a head that has come before. */
  readonly memo?: HeadMemo | undefined;
}

const onBun = (globalThis as { Bun?: unknown }).Bun !== undefined;

/** Methods that it knows in upper case only, and would change. */
const NORMALIZED = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]);

/** Methods that it refuses to have. */
const FORBIDDEN = new Set(["CONNECT", "TRACE", "TRACK"]);

/** Whether a `Request` cannot say it: `get` would become `GET`. */
export function isUnsayableMethod(method: string): boolean {
  let lower = false;
  for (let i = 0; i < method.length; i++) {
    if (method.charCodeAt(i) >= 0x61) lower = true;
  }
  if (!lower) return false;
  const upper = method.toUpperCase();
  return upper !== method && (NORMALIZED.has(upper) || FORBIDDEN.has(upper));
}

const sayable = new Map<string, boolean>();

/** Whether a `Request` of this runtime can have the method. */
function canHave(method: string): boolean {
  if (method === "GET" || method === "POST" || NORMALIZED.has(method)) {
    return true;
  }
  let can = sayable.get(method);
  if (can === undefined) {
    try {
      // Bun takes every method that it does not know for GET.
      can = new Native("http://localhost", { method }).method === method;
    } catch {
      can = false;
    }
    if (sayable.size >= 64) sayable.clear();
    sayable.set(method, can);
  }
  return can;
}

export function headersOf(fields: Fields): Headers {
  const headers = new Headers();
  fillHeaders(headers, fields);
  return headers;
}

interface RequestInitWithDuplex extends RequestInit {
  duplex?: "half";
}

const realKey: unique symbol = Symbol("sluice.request");
const headersKey: unique symbol = Symbol("sluice.headers");
const decoder = new TextDecoder();

/**
 * A request that costs nothing until it is asked. What it cannot tell from
 * the bytes that came it asks of a real `Request`, made then. Where a runtime
 * keeps a request's state in symbols this passes for one everywhere, `new
 * Request(it)` and `fetch(it)` too; where not, it is not used.
 */
class LightRequest {
  [exchangeKey]: RequestSource;
  [realKey]: Request | undefined;
  [headersKey]: Headers | undefined;

  constructor(source: RequestSource) {
    this[exchangeKey] = source;
    this[realKey] = undefined;
    this[headersKey] = undefined;
  }

  get method(): string {
    return this[exchangeKey].method;
  }

  get url(): string {
    return this[exchangeKey].url;
  }

  get headers(): Headers {
    return this[headersKey] ??= this[realKey]?.headers ??
      headersOf(this[exchangeKey].fields);
  }

  get signal(): AbortSignal {
    return this[exchangeKey].signal;
  }

  get bodyUsed(): boolean {
    const { body } = this[exchangeKey];
    if (body === undefined) return false;
    return this[realKey]?.bodyUsed ?? body.disturbed;
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    const { body } = this[exchangeKey];
    if (body === undefined) return null;
    const real = this[realKey];
    if (real !== undefined && !body.replaced) return real.body;
    return body.stream() as ReadableStream<Uint8Array<ArrayBuffer>>;
  }

  text(): Promise<string> {
    return this[realKey]?.text() ?? collectLight(this, decodeText);
  }

  json(): Promise<unknown> {
    return this[realKey]?.json() ?? collectLight(this, decodeJson);
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const real = this[realKey];
    if (real === undefined) return collectLight(this, ownedBytes);
    // Node 20's class has none.
    return real.arrayBuffer().then((buffer) => new Uint8Array(buffer));
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this[realKey]?.arrayBuffer() ?? collectLight(this, bufferOf);
  }

  blob(): Promise<Blob> {
    return this[realKey]?.blob() ??
      collectLight(this, blobOf);
  }

  formData(): Promise<FormData> {
    return this[realKey]?.formData() ??
      collectLight(this, formOf);
  }

  get [Symbol.toStringTag](): string {
    return "Request";
  }
}

/** Reads forms and blobs as the runtime does. */
function responseOf(headers: Headers, bytes: Uint8Array): Response {
  const type = headers.get("content-type");
  return new NativeResponse(bytes as Uint8Array<ArrayBuffer>, {
    headers: type === null ? {} : { "content-type": type },
  });
}

function blobOf(bytes: Uint8Array, headers: Headers): Promise<Blob> {
  return responseOf(headers, bytes).blob();
}

function formOf(bytes: Uint8Array, headers: Headers): Promise<FormData> {
  return responseOf(headers, bytes).formData();
}

function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

function decodeJson(bytes: Uint8Array): unknown {
  return JSON.parse(decoder.decode(bytes));
}

/** Bytes that share their memory with nothing else. */
function ownedBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return (bytes.byteLength === bytes.buffer.byteLength
    ? bytes
    : bytes.slice()) as Uint8Array<ArrayBuffer>;
}

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes;
  // To slice the buffer costs less than to slice the view of it.
  return (byteLength === buffer.byteLength
    ? buffer
    : buffer.slice(byteOffset, byteOffset + byteLength)) as ArrayBuffer;
}

const EMPTY = new Uint8Array(0);

type Convert<T> = (bytes: Uint8Array, headers: Headers) => T | Promise<T>;

/** Those that leave nothing of the bytes in use, unless they give them on. */
const copying = new Set<unknown>([
  decodeText,
  decodeJson,
  ownedBytes,
  bufferOf,
]);

/** Collects the body past its stream, if somebody has asked for that. */
function collectLight<T>(
  request: LightRequest,
  convert: Convert<T>,
): Promise<T> {
  const { body } = request[exchangeKey];
  if (body?.streamed && (body.disturbed || !body.lock())) {
    return Promise.reject(
      new TypeError("Cannot read the body: it was read before"),
    );
  }
  return collect(request, convert);
}

function collect<T>(
  request: { readonly headers: Headers; [exchangeKey]: RequestSource },
  convert: Convert<T>,
): Promise<T> {
  try {
    const { body } = request[exchangeKey];
    if (body === undefined) {
      return Promise.resolve(convert(EMPTY, request.headers));
    }
    if (body.used) {
      throw new TypeError("Cannot read the body: it was read before");
    }
    const collected = body.collect();
    return collected instanceof Promise
      ? collected.then((bytes) => converted(request, bytes, convert))
      : Promise.resolve(converted(request, collected, convert));
  } catch (error) {
    return Promise.reject(error);
  }
}

function converted<T>(
  request: { readonly headers: Headers; [exchangeKey]: RequestSource },
  bytes: Uint8Array,
  convert: Convert<T>,
): T | Promise<T> {
  if (!copying.has(convert)) return convert(bytes, request.headers);
  const result = (convert as (bytes: Uint8Array) => T)(bytes);
  if (result !== bytes && result !== bytes.buffer) {
    request[exchangeKey].body!.release();
  }
  return result;
}

/** The real request behind a light one, made when first needed. */
function realOf(request: LightRequest): Request {
  const own = request[headersKey];
  let real = request[realKey];
  if (real === undefined) {
    const source = request[exchangeKey];
    if (!canHave(source.method)) {
      throw new TypeError(
        `Cannot copy the request: no Request of this runtime can have its method: ${source.method}`,
      );
    }
    const { body } = source;
    if (body?.closedOff) body.replaced = true;
    real = new Native(source.url, initOf(source, own));
    if (body?.replaced) void real.text();
    request[realKey] = real;
  } else if (own !== undefined && own !== real.headers) {
    copyHeaders(own, real.headers);
  }
  return real;
}

/** What a real request is to be made of, with the body or without. */
function initOf(
  source: RequestSource,
  headers: Headers | undefined,
): RequestInit {
  const { method, fields, body, signal } = source;
  return {
    method,
    headers: headers ?? headersOf(fields),
    signal,
    ...(body === undefined ? {} : body.closedOff ? { body: "" } : bodyOf(body)),
  };
}

/** The body as it is handed over: whole when it has come, else a stream. */
function bodyOf(body: RequestBody): RequestInitWithDuplex {
  const content = body.takeWhole() ?? body.stream();
  return { body: content as BodyInit, duplex: "half" };
}

/** What a handler did to the headers it saw holds for the copy too. */
function copyHeaders(from: Headers, to: Headers): void {
  const names = new Set([...to.keys()]);
  for (const name of names) to.delete(name);
  for (const [name, value] of from) to.append(name, value);
}

// All that a real request has besides, it is asked for.
for (const key of Reflect.ownKeys(Native.prototype)) {
  // Symbols on the prototype work on what the instance's symbols give.
  if (typeof key === "symbol") continue;
  const { enumerable } = Object.getOwnPropertyDescriptor(
    Native.prototype,
    key,
  )!;
  if (Object.hasOwn(LightRequest.prototype, key)) {
    Object.defineProperty(LightRequest.prototype, key, { enumerable });
    continue;
  }
  Object.defineProperty(LightRequest.prototype, key, {
    configurable: true,
    enumerable,
    get(this: LightRequest): unknown {
      const real = realOf(this) as unknown as Record<string, unknown>;
      const value = real[key];
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
}
for (
  const key of Object.getOwnPropertySymbols(new Native("http://localhost"))
) {
  Object.defineProperty(LightRequest.prototype, key, {
    configurable: true,
    get(this: LightRequest): unknown {
      return (realOf(this) as unknown as Record<symbol, unknown>)[key];
    },
    set(this: LightRequest, value: unknown) {
      (realOf(this) as unknown as Record<symbol, unknown>)[key] = value;
    },
  });
}
Object.setPrototypeOf(LightRequest.prototype, Native.prototype);
if (onBun) {
  // Shown as the native one is; the others look for what is found above.
  Object.defineProperty(
    LightRequest.prototype,
    Symbol.for("nodejs.util.inspect.custom"),
    {
      value(this: LightRequest): Request {
        return realOf(this);
      },
    },
  );
}
Object.defineProperty(LightRequest.prototype, "constructor", {
  configurable: true,
  writable: true,
  value: Native,
});

const nativeUsed = Object.getOwnPropertyDescriptor(
  Native.prototype,
  "bodyUsed",
)!.get as (this: Request) => boolean;

/**
 * A real request, on runtimes that recognise no other. Its signal is made when
 * asked for: following one costs more than all the rest. Its body is read past
 * the stream that it had to be made with.
 */
class ServedRequest extends Native {
  declare [exchangeKey]: RequestSource;

  constructor(
    input: RequestInfo,
    init: RequestInit | undefined,
    source: RequestSource,
  ) {
    super(input, init);
    this[exchangeKey] = source;
  }

  override get url(): string {
    return this[exchangeKey].url;
  }

  override get signal(): AbortSignal {
    return this[exchangeKey].signal;
  }

  override get bodyUsed(): boolean {
    return this[exchangeKey].body?.used || nativeUsed.call(this);
  }

  override clone(): Request {
    return new Native(super.clone(), { signal: this.signal });
  }
}
Object.defineProperty(ServedRequest.prototype, "constructor", {
  configurable: true,
  writable: true,
  value: Native,
});

type Reading =
  | "text"
  | "json"
  | "bytes"
  | "arrayBuffer"
  | "blob"
  | "formData";

const converters: Record<Reading, Convert<unknown>> = {
  text: decodeText,
  json: decodeJson,
  bytes: ownedBytes,
  arrayBuffer: bufferOf,
  blob: blobOf,
  formData: formOf,
};

for (const reading of Object.keys(converters) as Reading[]) {
  const native = Native.prototype[reading];
  if (native === undefined) continue;
  Object.defineProperty(ServedRequest.prototype, reading, {
    configurable: true,
    value(this: ServedRequest): Promise<unknown> {
      const { body } = this[exchangeKey];
      if (body === undefined || nativeUsed.call(this) || !body.lock()) {
        return native.call(this);
      }
      return collect(this, converters[reading]);
    },
  });
}

/** One that follows no signal, not even that of what it is made of. */
const ALONE: RequestInit = { signal: null };

function real(source: RequestSource): Request {
  const { memo, body } = source;
  if (memo !== undefined && !onBun) {
    const mold = memo.mold ??= moldOf(source);
    return new ServedRequest(
      mold,
      body === undefined ? ALONE : {
        signal: null,
        body: body.stream() as BodyInit,
        duplex: "half",
      } as RequestInitWithDuplex,
      source,
    );
  }
  const { method, url, fields } = source;
  // A GET needs no init, and appending is the cheapest way to fill headers.
  const request = new ServedRequest(
    url,
    method === "GET" ? undefined : body === undefined ? { method } : {
      method,
      body: body.stream() as BodyInit,
      duplex: "half",
    } as RequestInitWithDuplex,
    source,
  );
  fillHeaders(request.headers, fields);
  return request;
}

function fillHeaders(headers: Headers, fields: Fields): void {
  for (let i = 0; i < fields.length; i += 2) {
    headers.append(fields[i], fields[i + 1]);
  }
}

/** The molds that were made last: clients of a kind say the same. */
const molds: Mold[] = [];
const MOLDS = 16;

interface Mold {
  readonly fields: Fields;
  readonly request: Request;
}

/**
 * A request of the same head, without a body: to make another one of it costs
 * less than to read its URL and to fill its headers again.
 */
function moldOf({ method, url, fields }: RequestSource): Request {
  const found = molds.find(({ request, fields: its }) =>
    request.method === method && request.url === url &&
    its.length === fields.length && its.every((text, i) => text === fields[i])
  );
  if (found !== undefined) return found.request;
  const request = new Native(url, { method });
  fillHeaders(request.headers, fields);
  if (molds.length === MOLDS) molds.shift();
  molds.push({ fields, request });
  return request;
}

const light = (source: RequestSource): Request =>
  new LightRequest(source) as unknown as Request;

let make: ((source: RequestSource) => Request) | undefined;

/** From now on every handler is given a light one: what it meets is ready. */
export function useLightRequests(constructor: typeof Request): void {
  make = light;
  Object.defineProperty(LightRequest.prototype, "constructor", {
    value: constructor,
  });
}

/** A real request in place of a light one; anything else as it is. */
export function realIfLight(input: unknown): unknown {
  return input instanceof LightRequest ? realOf(input) : input;
}

/** A member of the native prototype that also works on a light request. */
export function memberForBoth(
  key: string,
  descriptor: PropertyDescriptor,
): PropertyDescriptor {
  const { get, value } = descriptor;
  const { prototype } = LightRequest;
  if (get !== undefined) {
    const both = function (this: unknown): unknown {
      return this instanceof LightRequest
        ? Reflect.get(prototype, key, this)
        : get.call(this);
    };
    return { ...descriptor, get: named(both, get.name) };
  }
  if (typeof value !== "function") return descriptor;
  const both = function (this: unknown, ...given: unknown[]): unknown {
    const method = this instanceof LightRequest
      ? Reflect.get(prototype, key, this)
      : value;
    return method.apply(this, given);
  };
  return { ...descriptor, value: named(both, value.name) };
}

function named<T>(callable: T, name: string): T {
  return Object.defineProperty(callable, "name", { value: name });
}

/** The request that a handler is given. */
export function makeRequest(source: RequestSource): Request {
  make ??= isLightRecognized() ? light : real;
  return make === light || canHave(source.method)
    ? make(source)
    : light(source);
}

/** Whether a light request passes for a real one here, whatever is done. */
function isLightRecognized(): boolean {
  try {
    const controller = new AbortController();
    const sample = (): Request => {
      const body = new RequestBody({ wanted() {}, room() {} });
      body.push(new Uint8Array([1]));
      return light({
        method: "POST",
        url: "http://localhost/a?b",
        fields: ["x-one", "1", "cookie", "c=d", "host", "localhost"],
        body,
        signal: controller.signal,
      } as unknown as RequestSource);
    };
    const says = (request: Request, method: string, url: string) =>
      request.method === method && request.url === url &&
      request.headers.get("x-one") === "1" &&
      request.headers.get("cookie") === "c=d" && request.body !== null;
    const { url } = sample();
    const input = sample();
    const copy = new Native(input);
    const changed = new Native(sample(), { headers: { "x-two": "2" } });
    const other = "http://localhost/other";
    const ok = input instanceof Native && says(copy, "POST", url) &&
      input.bodyUsed && changed.method === "POST" &&
      changed.headers.get("x-two") === "2" && changed.body !== null &&
      says(new Native(sample(), { method: "PUT" }), "PUT", url) &&
      says(new Native(other, sample() as RequestInit), "POST", other) &&
      says(sample().clone(), "POST", url);
    controller.abort();
    return ok && copy.signal.aborted;
  } catch {
    return false;
  }
}
