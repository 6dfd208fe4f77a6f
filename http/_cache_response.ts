import { append } from "./_append.ts";
import type { Tail } from "./_append.ts";
import type { Content } from "./_client_content.ts";
import { join } from "./_client_content.ts";
import { asResponse, LightResponse } from "./_client_response.ts";
import type { Answer, ClientResponse } from "./_client_response.ts";
import type { Fields } from "./_h1_types.ts";
import type { StoredResponse } from "./cache_store.ts";

/** Takes a body that has come to its end; never rejects. */
export type OnWhole = (bytes: Uint8Array) => Promise<void>;

/** A body that is there already. Each reader has bytes of its own. */
class KeptContent implements Content {
  #bytes: Uint8Array | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  collect(): Promise<Uint8Array> {
    return Promise.resolve(this.receive() ?? new Uint8Array(0));
  }

  receive(): Uint8Array | undefined {
    const bytes = this.#bytes;
    this.#bytes = undefined;
    return bytes?.byteLength ? bytes.slice() : undefined;
  }

  cancel(): void {
    this.#bytes = undefined;
  }
}

/** The body of another response, gathered for who wants it, up to a bound. */
class PassedContent implements Content {
  readonly #response: Response;
  readonly #max: number;
  #onWhole: OnWhole | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #pieces: Uint8Array[] = [];
  #tail: Tail | undefined;
  #size = 0;

  constructor(response: Response, max: number, onWhole: OnWhole | undefined) {
    this.#response = response;
    this.#max = max;
    this.#onWhole = onWhole;
  }

  async collect(): Promise<Uint8Array> {
    const bytes = new Uint8Array(await this.#response.arrayBuffer());
    if (bytes.byteLength <= this.#max) await this.#onWhole?.(bytes.slice());
    return bytes;
  }

  async receive(): Promise<Uint8Array | undefined> {
    this.#reader ??= this.#response.body!.getReader();
    const { done, value } = await this.#reader.read();
    if (done) {
      const pieces = this.#pieces;
      this.#pieces = [];
      await this.#onWhole?.(join(pieces));
      return undefined;
    }
    if (this.#onWhole !== undefined) {
      this.#size += value.byteLength;
      if (this.#size > this.#max) this.#drop();
      // Whoever reads it may use its memory.
      else this.#tail = append(this.#pieces, value.slice(), this.#tail);
    }
    return value;
  }

  cancel(reason: unknown): void {
    this.#drop();
    const source = this.#reader ?? this.#response.body;
    source?.cancel(reason).catch(() => {});
  }

  #drop(): void {
    this.#onWhole = undefined;
    this.#pieces = [];
    this.#tail = undefined;
  }
}

function fieldsOf(headers: Headers | undefined): Fields {
  const fields: Fields = [];
  headers?.forEach((value, name) => void fields.push(name, value));
  return fields;
}

/** The response with one more field, and its body told of. */
export function passed(
  response: ClientResponse,
  status: string,
  capture?: { max: number; onWhole: OnWhole },
): ClientResponse {
  const answer: Answer = {
    href: response.url,
    redirects: response.redirects ?? [],
    get timings() {
      return response.timings;
    },
    makeRequest: () => response.request,
    trailers: async () => fieldsOf(await response.trailers),
  };
  const content = LightResponse.hasBody(response)
    ? new PassedContent(response, capture?.max ?? 0, capture?.onWhole)
    : undefined;
  return asResponse(
    new LightResponse(
      {
        status: response.status,
        statusText: response.statusText,
        fields: [...fieldsOf(response.headers), "cache-status", status],
        httpVersion: response.httpVersion ?? "1.1",
        answer,
      },
      undefined,
      content,
    ),
  );
}

/** A stored response as the answer to a request. */
export function served(
  stored: StoredResponse,
  age: number,
  status: string,
  request: Request,
): ClientResponse {
  const fields: Fields = [];
  for (const [name, value] of stored.headers) {
    if (name !== "age") fields.push(name, value);
  }
  // RFC 9111, 4: it is told how old it is.
  fields.push("age", String(age), "cache-status", status);
  const bodiless = stored.body === undefined || request.method === "HEAD";
  return made(stored, fields, request, bodiless ? undefined : stored.body);
}

/** What is said when nothing is stored, and nobody may be asked. */
export function notCached(request: Request, status: string): ClientResponse {
  return made(
    { url: request.url, status: 504, statusText: "Gateway Timeout" },
    ["cache-status", status],
    request,
    new Uint8Array(0),
  );
}

function made(
  head: Pick<StoredResponse, "url" | "status" | "statusText">,
  fields: Fields,
  request: Request,
  body: Uint8Array | undefined,
): ClientResponse {
  const now = performance.now();
  const timings = {
    ...{ dial: undefined, lookup: undefined, connect: undefined },
    ...{ tls: undefined, sent: undefined, reused: false },
    ...{ start: now, connected: now, response: now, end: now },
  };
  return asResponse(
    new LightResponse(
      {
        status: head.status,
        statusText: head.statusText,
        fields,
        httpVersion: "1.1",
        answer: {
          href: head.url,
          redirects: [],
          timings,
          makeRequest: () => request,
          trailers: () => Promise.resolve(undefined),
        },
      },
      undefined,
      body === undefined ? undefined : new KeptContent(body),
    ),
  );
}
