import { cancelBody } from "./_body_cancel.ts";
import { bodyOf, onceBody, wholeBody } from "./_client_body.ts";
import type { ClientBody, Puller, RequestBody } from "./_client_body.ts";
import { multipartBody } from "./_client_multipart.ts";
import type { GivenFields, Settled } from "./_client_options.ts";
import type { ClientInit } from "./_client_types.ts";
import { encodeQuery } from "./_client_url.ts";
import type { Target } from "./_client_url.ts";

/** One request, before it is a plan. */
export interface Draft {
  method: string;
  target: Target;
  given: GivenFields;
  body: RequestBody | undefined | Promise<RequestBody | undefined>;
  settled: Settled;
  signal: AbortSignal | undefined;
  /** The `Request` that the caller gave, if it was one. */
  request: Request | undefined;
  /** Called when nothing is left of the exchange. */
  onOver: (() => void) | undefined;
}

/** The body that an init or a `Request` asks for. */
export function bodyFrom(
  init: ClientInit | undefined,
  request: Request | undefined,
): RequestBody | undefined | Promise<RequestBody | undefined> {
  if (init?.json !== undefined) {
    const text = JSON.stringify(init.json);
    if (text === undefined) {
      throw new TypeError("Cannot send a body: json is no JSON value");
    }
    return wholeBody(text, "application/json");
  }
  if (init?.form !== undefined) {
    return wholeBody(
      encodeQuery(init.form, init.queryStyle ?? "repeat"),
      "application/x-www-form-urlencoded;charset=UTF-8",
    );
  }
  if (init?.multipart !== undefined) return multipartBody(init.multipart);
  if (init?.body !== undefined) {
    return init.body === null ? undefined : bodyOf(init.body as ClientBody);
  }
  if (request === undefined) return undefined;
  if (request.bodyUsed) {
    throw new TypeError("Cannot fetch: the body of the Request was read");
  }
  return request.body === null
    ? undefined
    : peek(request.body, request.headers.get("content-type"));
}

/**
 * The body of a `Request`. Most were made of text or bytes: then it comes in
 * one piece, and is sent with its length, and again if need be.
 */
async function peek(
  stream: ReadableStream<Uint8Array>,
  type: string | null,
): Promise<RequestBody> {
  const reader = stream.getReader();
  const first = await reader.read();
  if (first.done) return wholeBody(new Uint8Array(0), undefined);
  const second = reader.read();
  second.catch(() => {});
  let timer: ReturnType<typeof setTimeout> | undefined;
  const soon = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), 0);
  });
  const ended = await Promise.race([second, soon]);
  clearTimeout(timer);
  if (ended?.done) return wholeBody(first.value, undefined);
  const ahead = [Promise.resolve(first), second];
  return onceBody(() => ({
    next: async () => {
      const { done, value } = await (ahead.shift() ?? reader.read());
      return done ? undefined : value;
    },
    cancel: (reason) => cancelBody(reader, type, reason),
  }));
}

/** What middleware sees of a draft. */
export function toRequest(
  draft: Draft,
  body: RequestBody | undefined,
  signal: AbortSignal | undefined,
): Request {
  const { method, target, given, settled } = draft;
  const headers = new Headers();
  const { fields } = given;
  for (let i = 0; i < fields.length; i += 2) {
    headers.append(fields[i], fields[i + 1]);
  }
  if (body?.type !== undefined && !headers.has("content-type")) {
    headers.set("content-type", body.type);
  }
  const request = new Request(target.href, {
    method,
    headers,
    body: (body?.whole ?? (body && viewOf(body))) as BodyInit | undefined,
    signal,
    redirect: settled.redirect,
    duplex: "half",
  } as RequestInit);
  return withMethod(request, method);
}

/** Bun makes a GET of every method that it does not know. */
export function withMethod(request: Request, method: string): Request {
  return request.method === method
    ? request
    : Object.defineProperty(request, "method", { value: method });
}

/** A body as a stream; unless somebody reads it, nothing is opened. */
export function viewOf(body: RequestBody): ReadableStream<Uint8Array> {
  let puller: Puller | undefined;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = await (puller ??= body.open()).next();
      if (piece === undefined) controller.close();
      else controller.enqueue(piece);
    },
    cancel: (reason) => puller?.cancel(reason),
  }, { highWaterMark: 0 });
}
