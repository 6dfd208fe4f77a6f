import { copyOf } from "./_copies.ts";
import { isFieldValue, isToken } from "./_field_syntax.ts";

const Native = globalThis.Response;

const { Deno: deno, Bun: bun } = globalThis as {
  Deno?: unknown;
  Bun?: unknown;
};
const onBun = bun !== undefined;

/** What a light response was made of, before anything standard exists. */
export interface PlainResponse {
  readonly status: number;
  /** Field lines, flat: name in lower case, value, name, value … */
  readonly fields: readonly string[];
  /** The whole body; `null` for none. */
  readonly body: string | Uint8Array | null;
  /** Whether its bytes are a copy that nobody else has. */
  readonly owned?: boolean;
}

type PlainBody = string | Uint8Array | null;

const TEXT_TYPE = "text/plain;charset=UTF-8";

/** Statuses that have no body (Fetch, "null body status"). */
function isNullBodyStatus(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

/** A copy of the bytes, as the standard wants; `undefined` for other bodies. */
function plainBody(body: unknown): PlainBody | undefined {
  if (typeof body === "string") return body;
  if (body === null || body === undefined) return null;
  if (body instanceof Uint8Array) return copyOf(body);
  if (body instanceof ArrayBuffer) return copyOf(new Uint8Array(body));
  return undefined;
}

/** The field lines of an init; `undefined` when the native class must look. */
function plainFields(init: HeadersInit | undefined): string[] | undefined {
  const fields: string[] = [];
  if (init === undefined) return fields;
  if (init === null || typeof init !== "object") return undefined;
  if (init instanceof Headers) {
    for (const [name, value] of init) fields.push(name, value);
    return fields;
  }
  if (Symbol.iterator in init) return undefined;
  for (const key of Object.keys(init)) {
    const value: unknown = (init as Record<string, unknown>)[key];
    if (typeof value !== "string" || !isToken(key)) return undefined;
    const name = key.toLowerCase();
    const trimmed = value.trim();
    // Names that differ in case only are joined, errors told, by the standard.
    if (!isFieldValue(trimmed) || hasField(fields, name)) return undefined;
    fields.push(name, trimmed);
  }
  return fields;
}

/** The fields of a body of text without any of its own. */
const TEXT_FIELDS: readonly string[] = ["content-type", TEXT_TYPE];
const JSON_FIELDS: readonly string[] = ["content-type", "application/json"];

const state: unique symbol = Symbol("sluice.response");

interface State {
  plain: PlainResponse | undefined;
  statusText: string;
  /** An engine has sent it: its body is used up. */
  sent: boolean;
  real: Response | undefined;
}

/**
 * A `Response` that is only written down when made, and becomes a real one
 * when something is asked of it that only a real one can tell. What it cannot
 * hold lightly it is never light for: then it is a real one from the start.
 */
class LightResponse {
  [state]: State;

  constructor(body?: BodyInit | null, init?: ResponseInit) {
    const plain = lighten(body, init);
    this[state] = plain === undefined
      ? { plain, statusText: "", sent: false, real: new Native(body, init) }
      : {
        plain,
        statusText: init?.statusText ?? "",
        sent: false,
        real: undefined,
      };
  }

  /** Native ones are Responses too, when this is the global class. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return this === LightResponse
      ? value instanceof Native
      : Function.prototype[Symbol.hasInstance].call(this, value);
  }

  static error(): Response {
    return Native.error();
  }

  static redirect(url: string | URL, status?: number): Response {
    return Native.redirect(url, status);
  }

  static json(data: unknown, init?: ResponseInit): Response {
    const text = JSON.stringify(data);
    // The native class has the right error for what JSON cannot say.
    if (text === undefined) return Native.json(data, init);
    if (init === undefined) {
      return lightOf({ status: 200, fields: JSON_FIELDS, body: text }, "");
    }
    if (init?.headers === undefined) {
      const headers = { "content-type": "application/json" };
      return new Light(text, { ...init, headers });
    }
    const headers = new Headers(init.headers);
    if (!headers.has("content-type")) {
      headers.set("content-type", "application/json");
    }
    return new Light(text, { ...init, headers });
  }

  get status(): number {
    const { plain, real } = this[state];
    return plain === undefined ? real!.status : plain.status;
  }

  get ok(): boolean {
    const { status } = this;
    return status >= 200 && status <= 299;
  }

  get statusText(): string {
    const { plain, real, statusText } = this[state];
    return plain === undefined ? real!.statusText : statusText;
  }

  get headers(): Headers {
    return materialize(this).headers;
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    return materialize(this).body;
  }

  get bodyUsed(): boolean {
    const { real, sent, plain } = this[state];
    return real?.bodyUsed ?? (sent && plain!.body !== null);
  }

  get redirected(): boolean {
    return false;
  }

  get type(): ResponseType {
    return this[state].real?.type ?? "default";
  }

  get url(): string {
    return "";
  }

  text(): Promise<string> {
    return materialize(this).text();
  }

  json(): Promise<unknown> {
    return materialize(this).json();
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const real = materialize(this);
    return typeof real.bytes === "function"
      ? real.bytes()
      : real.arrayBuffer().then((buffer) => new Uint8Array(buffer));
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return materialize(this).arrayBuffer();
  }

  blob(): Promise<Blob> {
    return materialize(this).blob();
  }

  formData(): Promise<FormData> {
    return materialize(this).formData();
  }

  clone(): Response {
    return materialize(this).clone();
  }

  get [Symbol.toStringTag](): string {
    return "Response";
  }
}

const Light = LightResponse as unknown as typeof globalThis.Response;

// What this runtime's class has besides is asked of the real one.
for (const key of Object.getOwnPropertyNames(Native.prototype)) {
  if (Object.hasOwn(LightResponse.prototype, key)) continue;
  Object.defineProperty(LightResponse.prototype, key, {
    configurable: true,
    get(this: LightResponse): unknown {
      const real = materialize(this) as unknown as Record<string, unknown>;
      const value = real[key];
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
}
Object.setPrototypeOf(LightResponse.prototype, Native.prototype);
if (onBun) {
  // Shown as the native one is.
  Object.defineProperty(
    LightResponse.prototype,
    Symbol.for("nodejs.util.inspect.custom"),
    {
      value(this: LightResponse): Response {
        return materialize(this);
      },
    },
  );
}
Object.setPrototypeOf(LightResponse, Native);

/** Writes a response down, if nothing in it needs the real class. */
function lighten(
  body: BodyInit | null | undefined,
  init: ResponseInit | undefined,
): PlainResponse | undefined {
  const plain = plainBody(body);
  if (plain === undefined) return undefined;
  if (init === undefined) {
    return {
      status: 200,
      fields: typeof plain === "string" ? TEXT_FIELDS : [],
      body: plain,
      owned: true,
    };
  }
  if (init === null || typeof init !== "object") return undefined;
  const { status = 200, statusText = "", headers } = init;
  if (
    !Number.isInteger(status) || status < 200 || status > 599 ||
    typeof statusText !== "string" || !isFieldValue(statusText) ||
    (plain !== null && isNullBodyStatus(status))
  ) return undefined;
  const fields = plainFields(headers);
  if (fields === undefined) return undefined;
  if (typeof plain === "string" && !hasField(fields, "content-type")) {
    fields.push("content-type", TEXT_TYPE);
  }
  return { status, fields, body: plain, owned: true };
}

function hasField(fields: string[], name: string): boolean {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name) return true;
  }
  return false;
}

/** The real response behind a light one, made when first needed. */
function materialize(response: LightResponse): Response {
  const own = response[state];
  if (own.real === undefined) {
    const { status, fields, body } = own.plain!;
    const { statusText, sent } = own;
    const headers = new Headers();
    for (let i = 0; i < fields.length; i += 2) {
      headers.append(fields[i], fields[i + 1]);
    }
    const init = { status, statusText, headers };
    own.real = status < 200
      ? switching(status, headers)
      : sent && body !== null
      ? spent(init)
      : new Native(body as BodyInit | null, init);
    own.plain = undefined;
  }
  return own.real;
}

/** A real response that switches protocols: the constructor refuses 1xx. */
function switching(status: number, headers: Headers): Response {
  const response = new Native(null, { headers });
  Object.defineProperty(response, "status", { value: status });
  Object.defineProperty(response, "ok", { value: status >= 200 });
  return response;
}

/** A response without a body, also of a status that has none: 101. */
export function makeSwitch(
  status: number,
  fields: readonly string[],
): Response {
  if (heavy) return lightOf({ status, fields, body: null }, "");
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) {
    headers.append(fields[i], fields[i + 1]);
  }
  return switching(status, headers);
}

/** A native response in place of a light one; any other as it is. */
export function nativeOf(response: Response): Response {
  return state in response
    ? materialize(response as unknown as LightResponse)
    : response;
}

/** A real response whose body is used up. */
function spent(init: ResponseInit): Response {
  const response = new Native("", init);
  response.text().catch(() => {});
  return response;
}

/**
 * What a light response is made of, for an engine that can send it as it
 * stands; `undefined` once it is a real one or sent, and for every other
 * response. Taking it uses the body up.
 */
export function takePlain(response: Response): PlainResponse | undefined {
  const own = (response as unknown as Partial<LightResponse>)[state];
  if (own === undefined || own.sent) return undefined;
  if (own.plain !== undefined) own.sent = true;
  return own.plain;
}

/**
 * What a light response is made of, to look at; `undefined` for every other,
 * and for one that is sent.
 */
export function plainOf(response: Response): PlainResponse | undefined {
  const own = (response as unknown as Partial<LightResponse>)[state];
  return own === undefined || own.sent ? undefined : own.plain;
}

/** A light response of these very parts, which are not checked any more. */
function lightOf(plain: PlainResponse, statusText: string): Response {
  const response = Object.create(LightResponse.prototype) as LightResponse;
  response[state] = { plain, statusText, sent: false, real: undefined };
  return response as unknown as Response;
}

/**
 * Whether our own responses are light: on Node. On Bun somebody may hand them
 * to a server of its own, which takes native ones only.
 */
const heavy = deno === undefined && !onBun;

/** A response of parts that are known to be right; fields are flat. */
export function makeResponse(
  { status, fields, body }: {
    status: number;
    fields: readonly string[];
    body: string | Uint8Array | ReadableStream<Uint8Array> | null;
  },
  statusText: string,
): Response {
  if (heavy && !(body instanceof ReadableStream)) {
    return lightOf({ status, fields, body }, statusText);
  }
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) {
    headers.append(fields[i], fields[i + 1]);
  }
  return new Native(body as BodyInit | null, { status, statusText, headers });
}

/**
 * The response class to use in handlers: the runtime's own on Deno, where it
 * is cheap; on Node and Bun one that passes `instanceof Response`, behaves as
 * the standard says, and costs a tenth because it is built lazily. What is
 * given to `Bun.serve` itself must be a native one.
 *
 * @example
 * ```ts
 * import { Response } from "@sluice/net/http";
 *
 * const response = new Response("hello", { status: 201 });
 * console.log(response.status, await response.text());
 * ```
 */
export const Response: typeof globalThis.Response = deno === undefined
  ? Light
  : Native;

/**
 * Makes the light `Response` the global one on Node and Bun, for code that is
 * not ours to change. On Deno it does nothing. On Bun all that takes native
 * responses only, as `Bun.serve`, `Bun.write` and `HTMLRewriter` do, must not
 * be given one made by the global class from then on; both engines of
 * `http.serve` take either.
 *
 * @example
 * ```ts
 * import { installResponse } from "@sluice/net/http";
 *
 * installResponse();
 * ```
 */
export function installResponse(): void {
  globalThis.Response = Response;
}
