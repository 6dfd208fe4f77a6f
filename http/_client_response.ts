import { ClosedError } from "../streams/errors.ts";
import { StreamContent } from "./_client_content.ts";
import type { Content, IncomingContent } from "./_client_content.ts";
import type { Fields } from "./_h1_types.ts";

/**
 * When things happened to a request, in milliseconds of `performance.now()`,
 * in order. What did not happen is `undefined`: `dial` to `tls` on a
 * connection that had served before. After a redirect they are those of the
 * last request, but for `start`.
 */
export interface ClientTimings {
  /** The request was made; until `dial` or `connected` it waited in the pool. */
  readonly start: number;
  /** A connection began to be made. */
  readonly dial: number | undefined;
  /** The addresses were known, where `lookup` or `timeout.lookup` is given. */
  readonly lookup: number | undefined;
  /** The server, or its proxy's tunnel, was reached. */
  readonly connect: number | undefined;
  /** The TLS handshake was done. */
  readonly tls: number | undefined;
  /** A connection was there. */
  readonly connected: number;
  /** Whether that connection had served before. */
  readonly reused: boolean;
  /** The request was with the transport, its body too. */
  readonly sent: number | undefined;
  /** The head of the response had come. */
  readonly response: number;
  /** The body had come, all of it; `undefined` until then. */
  readonly end: number | undefined;
}

/** A `Response` with what HTTP knows besides. */
export interface ClientResponse extends Response {
  /** Trailers, once the body has come; rejects when it breaks off. */
  readonly trailers: Promise<Headers>;
  /** When things happened. */
  readonly timings: ClientTimings;
  /** The request that was answered, after redirects, without its body. */
  readonly request: Request;
  /** `"1.0"`, `"1.1"` or `"2.0"`. */
  readonly httpVersion: string;
  /** The URLs that redirected, in order; the last one led to `url`. */
  readonly redirects: string[];
  /** The body as bytes. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
}

/** What a response knows of the exchange it came by. */
export interface Answer {
  readonly href: string;
  readonly redirects: string[];
  readonly timings: ClientTimings;
  makeRequest(): Request;
  trailers(): Promise<Fields | undefined>;
}

/** Header fields of a response: they cannot be changed (Fetch, 2.2.2). */
class FrozenHeaders extends Headers {
  static {
    for (const name of ["append", "delete", "set"] as const) {
      Object.defineProperty(this.prototype, name, {
        value: () => {
          throw new TypeError(
            `Cannot ${name} a field: the headers of a response are immutable`,
          );
        },
      });
    }
  }
}

/** Fields as headers that cannot be changed. */
export function headersOf(fields: Fields): Headers {
  const pairs: [string, string][] = [];
  for (let i = 0; i < fields.length; i += 2) {
    pairs.push([fields[i], fields[i + 1]]);
  }
  return new FrozenHeaders(pairs);
}

const decoder = new TextDecoder();

/** One value of a field; the first. */
export function fieldValue(fields: Fields, name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name) return fields[i + 1];
  }
  return undefined;
}

/** The parts of a response. */
export interface ResponseParts {
  status: number;
  statusText: string;
  fields: Fields;
  httpVersion: string;
  answer: Answer;
}

/**
 * A response that is made lazily: it behaves as the standard says and passes
 * `instanceof Response`, but headers and stream exist once they are asked for.
 */
export class LightResponse {
  readonly status: number;
  readonly statusText: string;
  readonly httpVersion: string;
  readonly #parts: ResponseParts;
  /** As it comes from the connection; `undefined` when there is no body. */
  readonly #raw: IncomingContent | undefined;
  /** The same while it is what is read: not decoded, not cloned. */
  #incoming: IncomingContent | undefined;
  /** What is read. */
  #content: Content | undefined;
  #headers: Headers | undefined;
  #stream: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #used = false;
  #trailers: Promise<Headers> | undefined;
  #request: Request | undefined;

  constructor(
    parts: ResponseParts,
    incoming: IncomingContent | undefined,
    decoded: Content | undefined,
  ) {
    this.status = parts.status;
    this.statusText = parts.statusText;
    this.httpVersion = parts.httpVersion;
    this.#parts = parts;
    this.#raw = incoming;
    this.#incoming = decoded === undefined ? incoming : undefined;
    this.#content = decoded ?? incoming;
  }

  /** The same with another body. */
  static over(response: LightResponse, content: Content): LightResponse {
    return new LightResponse(response.#parts, undefined, content);
  }

  /** Whether there is a body, without opening it. */
  static hasBody(response: Response): boolean {
    return #content in response
      ? response.#content !== undefined
      : response.body !== null;
  }

  static is(response: object): boolean {
    return #parts in response;
  }

  get type(): ResponseType {
    return "basic";
  }

  get ok(): boolean {
    return this.status >= 200 && this.status <= 299;
  }

  get url(): string {
    return this.#parts.answer.href;
  }

  get redirected(): boolean {
    return this.#parts.answer.redirects.length > 0;
  }

  get redirects(): string[] {
    return [...this.#parts.answer.redirects];
  }

  get timings(): ClientTimings {
    return this.#parts.answer.timings;
  }

  get request(): Request {
    return this.#request ??= this.#parts.answer.makeRequest();
  }

  get headers(): Headers {
    return this.#headers ??= headersOf(this.#parts.fields);
  }

  get trailers(): Promise<Headers> {
    if (this.#trailers === undefined) {
      this.#trailers = this.#parts.answer.trailers().then((fields) =>
        headersOf(fields ?? [])
      );
      // Who does not look at them shall not be ended by them.
      this.#trailers.catch(() => {});
    }
    return this.#trailers;
  }

  get bodyUsed(): boolean {
    return this.#used;
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    if (this.#content === undefined) return null;
    return this.#stream ??= this.#open(this.#content);
  }

  #open(content: Content): ReadableStream<Uint8Array<ArrayBuffer>> {
    if (this.#used) {
      // It was read as a whole: its stream is there, disturbed and over.
      const spent = new ReadableStream<Uint8Array<ArrayBuffer>>({
        start: (controller) => controller.close(),
      });
      return spent;
    }
    type Bytes = Uint8Array<ArrayBuffer>;
    const use = () => {
      // A clone reads this stream on behalf of both.
      if (this.#content === content) this.#used = true;
    };
    if (content === this.#incoming) {
      return this.#incoming.open(use) as ReadableStream<Bytes>;
    }
    const give = (
      controller: ReadableStreamDefaultController<Bytes>,
      piece: Uint8Array | undefined,
    ) => {
      if (piece !== undefined) controller.enqueue(piece as Bytes);
      else controller.close();
    };
    return new ReadableStream<Bytes>({
      pull: (controller): Promise<void> | void => {
        use();
        const piece = content.receive();
        if (piece instanceof Promise) {
          return piece.then((piece) => give(controller, piece));
        }
        give(controller, piece);
      },
      cancel: (reason) => {
        use();
        content.cancel(
          reason ?? new ClosedError("Reading the body was cancelled"),
        );
      },
    }, { highWaterMark: 0 });
  }

  #refuseUse(what: string): void {
    if (this.#used || this.#stream?.locked) {
      throw new TypeError(
        `Cannot ${what} the response: its body ${
          this.#used ? "was read" : "is locked"
        } already`,
      );
    }
  }

  #collect(): Promise<Uint8Array> {
    const content = this.#content;
    if (content === undefined) return Promise.resolve(new Uint8Array(0));
    this.#refuseUse("read");
    this.#used = true;
    this.#raw?.hold();
    // Somebody holds the stream, unread: it has to come to its end as well.
    if (this.#stream !== undefined) {
      return new StreamContent(this.#stream).collect();
    }
    return content.collect();
  }

  text(): Promise<string> {
    try {
      const incoming = this.#incoming;
      if (incoming !== undefined && this.#stream === undefined && !this.#used) {
        const bytes = incoming.take();
        if (bytes !== undefined) {
          this.#used = true;
          return Promise.resolve(decoder.decode(bytes));
        }
      }
      return this.#collect().then((bytes) => decoder.decode(bytes));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#collect() as Uint8Array<ArrayBuffer>;
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    const { buffer, byteLength } = await this.bytes();
    return buffer.byteLength === byteLength
      ? buffer
      : buffer.slice(0, byteLength);
  }

  async blob(): Promise<Blob> {
    const type = fieldValue(this.#parts.fields, "content-type") ?? "";
    return new Blob([await this.bytes()], { type });
  }

  async formData(): Promise<FormData> {
    const type = fieldValue(this.#parts.fields, "content-type") ?? "";
    const whole = new Response(await this.bytes(), {
      headers: { "content-type": type },
    });
    return await whole.formData();
  }

  clone(): ClientResponse {
    this.#refuseUse("clone");
    const content = this.#content;
    if (content === undefined) {
      return asResponse(new LightResponse(this.#parts, undefined, undefined));
    }
    const [mine, other] = this.body!.tee();
    this.#content = new StreamContent(mine);
    this.#incoming = undefined;
    this.#stream = undefined;
    const copy = new LightResponse(
      this.#parts,
      undefined,
      new StreamContent(other),
    );
    return asResponse(copy);
  }
}

Object.setPrototypeOf(LightResponse.prototype, Response.prototype);

/**
 * The response itself, or a standard one in place of a light one: what the
 * runtime's own server asks for.
 */
export function standardOf(response: Response): Response {
  return LightResponse.is(response)
    ? new Response(response.body, response)
    : response;
}

/** The response, with its body read, as if it had not been. */
export function rebuilt(
  response: ClientResponse,
  bytes: Uint8Array<ArrayBuffer>,
): ClientResponse {
  if (response.body === null) return response;
  return LightResponse.is(response)
    ? asResponse(
      LightResponse.over(
        response as unknown as LightResponse,
        new StreamContent(new Response(bytes).body!),
      ),
    )
    : new Response(bytes, response) as ClientResponse;
}

/** It is one, by its prototype. */
export function asResponse(response: LightResponse): ClientResponse {
  return response as unknown as ClientResponse;
}
