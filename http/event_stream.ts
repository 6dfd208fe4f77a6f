import { from } from "../streams/from.ts";
import type { MaybePromise, Source } from "../streams/types.ts";
import {
  eventText,
  HEARTBEAT,
  lastEventIdOf,
  retryLine,
} from "./_event_text.ts";
import { exchangeOf } from "./_exchange.ts";

/** One event for an `EventSource` (HTML, 9.2). */
export interface ServerSentEvent {
  /**
   * What it tells: text, of any number of lines, or what is sent as JSON. An
   * event without data is not dispatched by clients.
   */
  data?: unknown;
  /** Its type, one line. @default {"message"} */
  event?: string;
  /** Where a client goes on that connects again, one line without NUL. */
  id?: string;
  /** Milliseconds a client waits before it connects again. */
  retry?: number;
  /** Text that clients ignore, sent before the rest. */
  comment?: string;
}

/** What events come from: strings are their data. */
export type EventSourceInput =
  | Iterable<string | ServerSentEvent>
  | AsyncIterable<string | ServerSentEvent>
  | ReadableStream<string | ServerSentEvent>
  | Source<string | ServerSentEvent>;

/** How to send events. */
export interface EventStreamOptions {
  /**
   * The request that is answered. Its `Last-Event-ID` is given to a source
   * function, and the stream ends when the server begins to close.
   */
  request?: Request;
  /**
   * Milliseconds of silence after which a comment is sent, so that nobody on
   * the way takes the connection for dead; 0 for never.
   *
   * @default {15000}
   */
  heartbeat?: number;
  /** Sent first: milliseconds a client waits before it connects again. */
  retry?: number;
  /** More fields of the response; they win over those made here. */
  headers?: HeadersInit;
}

const KNOWN: readonly string[] = ["request", "heartbeat", "retry", "headers"];
/** Timers cannot be longer. */
const LONGEST = 2 ** 31 - 1;

/** Bun's own server ends the head when the body begins, not before. */
const onBun = typeof (globalThis as { Bun?: unknown }).Bun !== "undefined";

const encoder = new TextEncoder();

/**
 * A response of server-sent events, as `EventSource` reads them. An event is
 * pulled only when the client has taken the one before. When the client leaves
 * the source is ended at once: a generator that waits at a `yield` runs its
 * `finally`; one that waits for something else can be told by the signal that a
 * source function is given. A source that fails aborts the connection.
 *
 * An event name or id with CR, LF or NUL in it is refused with a TypeError,
 * which fails the stream: the client never sees half an event.
 *
 * @example
 * ```ts
 * import { eventStream, serve } from "@sluice/net/http";
 *
 * async function* count(from: number) {
 *   for (let n = from; n < 10; n++) yield { id: String(n), data: { n } };
 * }
 *
 * const server = await serve(
 *   (request) =>
 *     eventStream((last) => count(Number(last ?? -1) + 1), { request }),
 *   { hostname: "127.0.0.1", port: 0 },
 * );
 * await server.close();
 * ```
 *
 * @param source Events, or a function that gives them: it is called at once
 * with the id of the last event that the client had, and a signal that aborts
 * when nobody wants more.
 * @param options Heartbeat, retry, more headers.
 */
export function eventStream(
  source:
    | EventSourceInput
    | ((
      lastEventId: string | undefined,
      signal: AbortSignal,
    ) => EventSourceInput),
  options: EventStreamOptions = {},
): Response {
  for (const key of Object.keys(options)) {
    if (!KNOWN.includes(key)) {
      throw new TypeError(`Cannot stream events: no such option: ${key}`);
    }
  }
  const { request, heartbeat = 15_000, retry } = options;
  if (!(heartbeat >= 0)) {
    throw new RangeError(
      `Cannot stream events: heartbeat must be milliseconds: ${heartbeat}`,
    );
  }
  const headers = new Headers({
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    // nginx would hold them back.
    "x-accel-buffering": "no",
  });
  for (const [name, value] of new Headers(options.headers)) {
    if (name === "set-cookie") headers.append(name, value);
    else headers.set(name, value);
  }
  const first = retry === undefined ? "" : `${retryLine(retry)}\n`;
  const controller = new AbortController();
  const given = typeof source === "function"
    ? source(lastEventIdOf(request), controller.signal)
    : source;
  const exchange = request && exchangeOf(request);
  const feed = new EventFeed(from<unknown>(given), {
    first,
    begun: exchange === undefined ? !onBun : exchange.engine !== "bun",
    heartbeat: Math.min(heartbeat, LONGEST),
    onEnd: () => controller.abort(),
  });
  if (exchange !== undefined) feed.endWith(exchange.onShutdown.bind(exchange));
  return new Response(feed.readable, { headers });
}

interface FeedOptions {
  first: string;
  /** The head goes out without a body. */
  begun: boolean;
  heartbeat: number;
  onEnd(): void;
}

type Ended = { error?: unknown };

/** Events as text, one a pull, with comments where there are none. */
class EventFeed {
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly #source: Source<unknown> & { destroy?(reason?: unknown): void };
  readonly #options: FeedOptions;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  /** A message is waited for, maybe longer than the pull. */
  #receiving = false;
  /** It came while nobody pulled. */
  #ready: string | Ended | undefined;
  #pulled: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;
  #begun: boolean;
  #withdraw: (() => void) | undefined;

  constructor(source: Source<unknown>, options: FeedOptions) {
    this.#source = source;
    this.#options = options;
    this.#begun = options.begun || options.first !== "";
    this.readable = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        this.#controller = controller;
        if (options.first !== "") this.#enqueue(options.first);
      },
      pull: () => this.#pull(),
      cancel: (reason) => this.#end(reason),
    }, { highWaterMark: 0 });
  }

  /** Ends cleanly when the server begins to close. */
  endWith(onShutdown: (callback: () => void) => () => void): void {
    const withdraw = onShutdown(() => {
      if (this.#over) return;
      this.#end(undefined);
      this.#close({});
    });
    if (this.#over) withdraw();
    else this.#withdraw = withdraw;
  }

  #pull(): MaybePromise<void> {
    if (this.#ready !== undefined) {
      const ready = this.#ready;
      this.#ready = undefined;
      this.#give(ready);
      return;
    }
    if (!this.#receiving) {
      let message: MaybePromise<unknown>;
      try {
        message = this.#source.receive();
        if (!(message instanceof Promise)) {
          this.#give(this.#textOf(message));
          return;
        }
      } catch (error) {
        this.#give({ error });
        return;
      }
      this.#receiving = true;
      message.then(
        (message) => this.#arrive(this.#textOf(message)),
        (error: unknown) => this.#arrive({ error }),
      );
    }
    return new Promise((resolve) => {
      this.#pulled = resolve;
      const heartbeat = this.#begun ? this.#options.heartbeat : 1;
      if (heartbeat === 0) return;
      this.#timer = setTimeout(() => {
        this.#enqueue(HEARTBEAT);
        this.#settle();
      }, heartbeat);
    });
  }

  #textOf(message: unknown): string | Ended {
    if (message === undefined) return {};
    try {
      return eventText(message);
    } catch (error) {
      return { error };
    }
  }

  #arrive(result: string | Ended): void {
    this.#receiving = false;
    if (this.#over) return;
    if (this.#pulled === undefined) {
      this.#ready = result;
      return;
    }
    this.#give(result);
    this.#settle();
  }

  #give(result: string | Ended): void {
    if (typeof result === "string") {
      this.#enqueue(result);
    } else {
      // An event that cannot be sent ends its source too.
      this.#end(result.error);
      this.#close(result);
    }
  }

  #enqueue(text: string): void {
    this.#begun = true;
    this.#controller.enqueue(encoder.encode(text));
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pulled?.();
    this.#pulled = undefined;
  }

  #close(result: Ended): void {
    if ("error" in result) this.#controller.error(result.error);
    else this.#controller.close();
  }

  #end(reason: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#settle();
    this.#withdraw?.();
    this.#options.onEnd();
    stop(this.#source, reason);
  }
}

/** A source of ours has one of these; one of somebody else has its iterator. */
function stop(
  source: Source<unknown> & {
    destroy?(reason?: unknown): void;
    close?(): unknown;
  },
  reason: unknown,
): void {
  try {
    if (typeof source.destroy === "function") source.destroy(reason);
    else if (typeof source.close === "function") source.close();
  } catch {
    // It was told.
  }
}
