import { clockOf } from "../streams/_clock.ts";
import { Sleep } from "../streams/_sleep.ts";
import { ProtocolError } from "../streams/errors.ts";
import type { Clock } from "../streams/types.ts";
import type { Client } from "./client.ts";
import { EventParser } from "./_event_parser.ts";
import type { EventState, ParsedEvent } from "./_event_parser.ts";
import { FetchError, StatusError } from "./errors.ts";
import type { ServerSentEvent } from "./event_stream.ts";
import { fetch } from "./fetch.ts";
import { isFieldValue } from "./_field_syntax.ts";

/** An event as a client is told of it. */
export interface ReceivedEvent extends ServerSentEvent {
  /** Its text; lines are parted by LF. */
  data: string;
  /** Its type; `"message"` when the server names none. */
  event: string;
  /** The last id that the server has given, `""` before there is one. */
  id: string;
}

/** How to connect again. */
export interface EventsReconnectOptions {
  /**
   * Milliseconds waited before, until the server says others with `retry`. It
   * is twice as much for each connection that failed since the last event.
   * Half as much again is added by chance. @default {1000}
   */
  delay?: number;
  /** Milliseconds this grows to, unless the server wants more. @default 30 s */
  maxDelay?: number;
  /**
   * Times that it tries again, one after the other, when nothing comes of it:
   * no event and no comment. What went wrong last is the reader's then.
   * @default {Infinity}
   */
  attempts?: number;
  /**
   * Statuses after which it is tried again, besides 200; `Retry-After` is not
   * looked at. @default none
   */
  statuses?: readonly number[];
}

/** How to read events. */
export interface EventsOptions {
  /** What the requests go through. @default the module's own client */
  client?: Pick<Client, "fetch">;
  /** Fields of the requests, besides `Accept` and `Last-Event-ID`. */
  headers?: HeadersInit;
  /** Where to go on: the id of the last event that one has had. */
  lastEventId?: string;
  /**
   * Whether and how to connect again when a connection fails or ends.
   * @default {true}
   */
  reconnect?: boolean | EventsReconnectOptions;
  /** Bytes that an event, or any line, may have. @default 1 MiB */
  maxEventSize?: number;
  /**
   * Milliseconds without a byte after which a connection is taken for dead;
   * what the server sends as heartbeat counts. @default no limit
   */
  idleTimeout?: number;
  /** Ends it at any moment: `next` rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Called with the head of each response that brings events. */
  onOpen?: (response: Response) => void;
  /** Called before each wait; the error is `undefined` after a clean end. */
  onReconnect?: (info: EventsReconnectInfo) => void;
  /** What measures the waits. */
  clock?: Clock;
}

/** Why, and when, it will connect again. */
export interface EventsReconnectInfo {
  /** Connections that failed since the last event or comment; 1 or more. */
  attempt: number;
  /** Milliseconds until then. */
  delay: number;
  /** What went wrong, if anything did. */
  error: unknown;
}

const KNOWN: readonly string[] = [
  ...["client", "headers", "lastEventId", "reconnect", "maxEventSize"],
  ...["idleTimeout", "signal", "onOpen", "onReconnect", "clock"],
];
/** They say how to make requests: there are none for a response. */
const OF_REQUESTS = [
  ...["client", "headers", "lastEventId", "reconnect", "idleTimeout"],
] as const;
/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_DELAY = 2 ** 31 - 1;
/** Milliseconds, at the least, after a connection that brought no event. */
const LEAST_DELAY = 100;

/**
 * Reads server-sent events, as the HTML standard says (9.2), from a URL or
 * from a response that is there or will be. Nothing is sent before the first
 * event is asked for, and no more is read than is asked for. Leaving the loop
 * ends the request at once.
 *
 * With a URL it connects again when the connection fails or ends, after the
 * time that the server asks for with `retry`, and says with `Last-Event-ID`
 * where to go on; of a `timeout` of the client's, `total` does not count. It
 * is over when the server answers with 204. It rejects with a `StatusError`
 * for any other status than 200, with a `ProtocolError` whose `code` is
 * `ERR_EVENT_STREAM` for another content type, with a `SizeLimitError` for an
 * event that is too large, with a `FetchError` that trying again would not
 * mend, and with the signal's reason. An event that is not complete when the
 * connection ends is dropped.
 *
 * A response is read to its end, and any status of 2xx will do: options that
 * are about requests throw a `TypeError`.
 *
 * @example
 * ```ts
 * import { events, eventStream, serve } from "@sluice/net/http";
 *
 * const server = await serve(
 *   () => eventStream([{ event: "tick", data: { n: 1 } }]),
 *   { hostname: "127.0.0.1", port: 0 },
 * );
 * for await (const { event, data } of events(server.url)) {
 *   console.log(event, JSON.parse(data));
 *   break;
 * }
 * await server.close();
 * ```
 */
export function events(
  input: string | URL | Response | PromiseLike<Response>,
  options: EventsOptions = {},
): AsyncIterableIterator<ReceivedEvent> {
  return new EventReader(input, options);
}

function refuse(what: string): TypeError {
  return new TypeError(`Cannot read events: ${what}`);
}

function amount(value: number, name: string, least = 0): number {
  if (typeof value === "number" && value >= least) return value;
  throw new RangeError(
    `Cannot read events: ${name} must be ${least} or more: ${value}`,
  );
}

function isThenable(input: object): input is PromiseLike<Response> {
  return typeof (input as { then?: unknown }).then === "function";
}

type Result = IteratorResult<ReceivedEvent, undefined>;

class EventReader implements AsyncIterableIterator<ReceivedEvent> {
  readonly #options: EventsOptions;
  readonly #url: string | URL | undefined;
  #given: Response | PromiseLike<Response> | undefined;
  readonly #reconnect: Required<EventsReconnectOptions> | undefined;
  readonly #max: number;
  readonly #state: EventState;
  readonly #controller = new AbortController();
  readonly #sleep: Sleep;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #parser: EventParser | undefined;
  #events: ParsedEvent[] = [];
  #at = 0;
  /** Thrown once the events before it are taken. */
  #failure: { error: unknown } | undefined;
  /** Connections that failed one after the other. */
  #failures = 0;
  /** Whether the connection has brought an event. */
  #eventful = false;
  /** Whether a response went to the caller, with an error. */
  #handedOut = false;
  #over = false;
  #tail: Promise<unknown> | undefined;
  #onAbort: (() => void) | undefined;

  constructor(
    input: string | URL | Response | PromiseLike<Response>,
    options: EventsOptions,
  ) {
    for (const [name, value] of Object.entries(options)) {
      if (value !== undefined && !KNOWN.includes(name)) {
        throw refuse(`no such option: ${name}`);
      }
    }
    const { reconnect = true, maxEventSize = 1024 * 1024 } = options;
    const { lastEventId = "", idleTimeout = 0 } = options;
    if (typeof input === "string" || input instanceof URL) {
      this.#url = input;
    } else if (
      input instanceof Response ||
      (typeof input === "object" && input !== null && isThenable(input))
    ) {
      this.#given = input;
      for (const name of OF_REQUESTS) {
        if (options[name] !== undefined && options[name] !== false) {
          throw refuse(`${name} is for a URL, not for a response`);
        }
      }
      // Nobody may ask for it until it has failed.
      if (isThenable(input)) Promise.resolve(input).catch(() => {});
    } else throw refuse("give a URL or a response");
    if (typeof lastEventId !== "string" || /[\0\r\n]/.test(lastEventId)) {
      throw refuse("lastEventId must be text without CR, LF and NUL");
    }
    for (const name of ["onOpen", "onReconnect"] as const) {
      if (!["undefined", "function"].includes(typeof options[name])) {
        throw refuse(`${name} must be a function`);
      }
    }
    amount(idleTimeout, "idleTimeout");
    this.#max = amount(maxEventSize, "maxEventSize", 1);
    this.#sleep = new Sleep(clockOf(options.clock, "read events"));
    this.#options = options;
    this.#state = { lastEventId, retry: undefined };
    if (this.#url !== undefined && reconnect !== false) {
      this.#reconnect = settle(reconnect === true ? {} : reconnect);
    }
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Calls wait for each other: each has an event of its own. */
  next(): Promise<Result> {
    if (this.#tail === undefined && this.#at < this.#events.length) {
      if (!this.#over) return Promise.resolve(this.#shift());
    }
    const result = (this.#tail ?? Promise.resolve()).then(() => this.#next());
    const tail = result.then(() => {}, () => {}).then(() => {
      if (this.#tail === tail) this.#tail = undefined;
    });
    this.#tail = tail;
    return result;
  }

  return(): Promise<Result> {
    this.#finish();
    return Promise.resolve({ done: true, value: undefined });
  }

  #shift(): Result {
    const value = this.#events[this.#at++];
    if (this.#at === this.#events.length) {
      this.#events = [];
      this.#at = 0;
    }
    return { done: false, value };
  }

  async #next(): Promise<Result> {
    const { signal } = this.#options;
    if (signal !== undefined && this.#onAbort === undefined && !this.#over) {
      this.#onAbort = () => this.#stop(signal.reason);
      signal.addEventListener("abort", this.#onAbort);
    }
    for (;;) {
      if (signal?.aborted && !this.#over) {
        this.#finish();
        throw signal.reason;
      }
      if (this.#over) return { done: true, value: undefined };
      if (this.#at < this.#events.length) return this.#shift();
      if (this.#failure !== undefined) {
        const { error } = this.#failure;
        this.#finish();
        throw error;
      }
      try {
        if (this.#reader === undefined) await this.#open();
        else await this.#read(this.#reader);
      } catch (error) {
        this.#failure = { error };
      }
    }
  }

  async #open(): Promise<void> {
    let response: Response;
    try {
      response = this.#url === undefined ? await this.#given! : await this
        .#request(this.#url);
    } catch (error) {
      if (this.#controller.signal.aborted) return;
      if (this.#url === undefined || !mayPass(error)) throw error;
      await this.#again(error);
      return;
    }
    this.#given = undefined;
    if (this.#controller.signal.aborted) {
      drop(response.body);
      return;
    }
    const { status } = response;
    // The one that ends it without an error.
    if (status === 204) {
      this.#finish();
      return;
    }
    if (this.#url === undefined ? !response.ok : status !== 200) {
      const error = new StatusError(
        `Cannot read events of ${
          where(response, this.#url)
        }: the status is ${status}`,
        response,
      );
      if (!this.#reconnect?.statuses.includes(status)) {
        this.#handedOut = true;
        throw error;
      }
      drop(response.body);
      await this.#again(error);
      return;
    }
    const type = response.headers.get("content-type");
    if (essence(type) !== "text/event-stream") {
      drop(response.body);
      throw new ProtocolError(
        `Cannot read events of ${where(response, this.#url)}: its content ` +
          `type is not text/event-stream: ${type?.slice(0, 100)}`,
        { code: "ERR_EVENT_STREAM", phase: "response" },
      );
    }
    if (response.bodyUsed || response.body?.locked) {
      throw refuse("the body of the response was read or is locked already");
    }
    this.#reader = response.body?.getReader();
    this.#parser = new EventParser(this.#state, this.#max);
    this.#eventful = false;
    this.#options.onOpen?.(response);
    if (this.#reader === undefined) await this.#again(undefined);
  }

  async #request(url: string | URL): Promise<Response> {
    const { client, headers, idleTimeout } = this.#options;
    const fields: [string, string][] = [];
    const given = new Headers(headers);
    given.delete("last-event-id");
    if (!given.has("accept")) given.set("accept", "text/event-stream");
    // Caches are not asked (HTML, 9.2.2).
    if (!given.has("cache-control")) given.set("cache-control", "no-store");
    given.forEach((value, name) => fields.push([name, value]));
    const id = asField(this.#state.lastEventId);
    if (id !== "") fields.push(["last-event-id", id]);
    const init = {
      headers: fields,
      signal: this.#controller.signal,
      cache: "no-store" as const,
      throwOnStatus: false,
      maxResponseSize: Infinity,
      timeout: {
        total: Infinity,
        ...idleTimeout ? { idle: idleTimeout } : undefined,
      },
    };
    return await (client === undefined
      ? fetch(url, init)
      : client.fetch(url, init));
  }

  async #read(
    reader: ReadableStreamDefaultReader<Uint8Array>,
  ): Promise<void> {
    let result: ReadableStreamReadResult<Uint8Array>;
    try {
      result = await reader.read();
    } catch (error) {
      if (this.#controller.signal.aborted) return;
      if (!mayPass(error)) throw error;
      await this.#again(error);
      return;
    }
    if (this.#controller.signal.aborted) return;
    if (result.done) {
      await this.#again(undefined);
      return;
    }
    // It lives: a comment will do.
    this.#failures = 0;
    try {
      this.#parser!.push(result.value, this.#events);
    } finally {
      if (this.#events.length > 0) this.#eventful = true;
    }
  }

  /** Waits, unless this was the last connection. */
  async #again(error: unknown): Promise<void> {
    this.#reader = undefined;
    this.#parser = undefined;
    const reconnect = this.#reconnect;
    const attempt = ++this.#failures;
    if (reconnect === undefined || attempt > reconnect.attempts) {
      if (error !== undefined) throw error;
      this.#finish();
      return;
    }
    const first = Math.max(
      this.#state.retry ?? reconnect.delay,
      this.#eventful ? 0 : LEAST_DELAY,
    );
    this.#eventful = false;
    const grown = first * 2 ** Math.min(attempt - 1, 40);
    const least = Math.max(first, Math.min(grown, reconnect.maxDelay));
    const delay = Math.min(MAX_DELAY, least * (1 + Math.random() / 2));
    this.#options.onReconnect?.({ attempt, delay, error });
    // The function above may have ended it.
    if (!this.#controller.signal.aborted) await this.#sleep.for(delay);
  }

  /** Ends what is under way; the reader is told by `next`. */
  #stop(reason: unknown): void {
    if (!this.#handedOut) this.#controller.abort(reason);
    this.#sleep.wake();
    const reader = this.#reader;
    this.#reader = undefined;
    this.#events = [];
    this.#at = 0;
    reader?.cancel(reason).catch(() => {});
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#onAbort !== undefined) {
      this.#options.signal!.removeEventListener("abort", this.#onAbort);
    }
    this.#stop(undefined);
    const given = this.#given;
    this.#given = undefined;
    if (given instanceof Response) drop(given.body);
    else given?.then((response) => drop(response.body), () => {});
  }
}

function settle(
  options: EventsReconnectOptions,
): Required<EventsReconnectOptions> {
  if (typeof options !== "object" || options === null) {
    throw refuse("reconnect must be true, false or options");
  }
  const { delay = 1000, maxDelay = 30_000, attempts = Infinity } = options;
  return {
    delay: amount(delay, "reconnect.delay"),
    maxDelay: amount(maxDelay, "reconnect.maxDelay"),
    attempts: amount(attempts, "reconnect.attempts"),
    statuses: [...options.statuses ?? []],
  };
}

/** Whether it may go better the next time: a network that is not there yet. */
function mayPass(error: unknown): boolean {
  return error instanceof FetchError &&
    (error.retryable || error.code === "ENOTFOUND");
}

function drop(body: ReadableStream<Uint8Array> | null): void {
  if (body !== null && !body.locked) body.cancel().catch(() => {});
}

/** Whose events they are, for messages; a query may hold secrets. */
function where(response: Response, url: string | URL | undefined): string {
  return String(response.url || url || "a response").split("?", 1)[0];
}

function essence(type: string | null): string {
  return (type ?? "").split(";", 1)[0].trim().toLowerCase();
}

/**
 * The id as a field has it, in UTF-8 (HTML, 9.2.4). One with control
 * characters cannot be sent: then the server begins anew.
 */
function asField(id: string): string {
  let text = "";
  for (const byte of new TextEncoder().encode(id)) {
    text += String.fromCharCode(byte);
  }
  return isFieldValue(text) ? text : "";
}
