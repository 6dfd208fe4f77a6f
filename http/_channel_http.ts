import { PulledSource } from "../streams/from.ts";
import type { Puller } from "../streams/from.ts";
import type { MaybePromise } from "../streams/types.ts";
import type { Attachment, Entry, Session } from "./_channel_session.ts";
import type { ChannelMessage } from "./channel.ts";
import { eventStream } from "./event_stream.ts";
import type { ServerSentEvent } from "./event_stream.ts";

const JSON_FIELDS = {
  "content-type": "application/json",
  "cache-control": "no-store",
};

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const END: IteratorResult<ServerSentEvent> = { value: undefined, done: true };

/** Streams a session's messages as events. */
export function sseResponse(session: Session, resumed: boolean): Response {
  const { heartbeat, retry } = session.bounds;
  return eventStream(new PulledSource(new Events(session, resumed)), {
    heartbeat,
    retry: Math.trunc(retry),
  });
}

class Events implements Attachment, Puller<ServerSentEvent> {
  readonly #session: Session;
  readonly #resumed: boolean;
  #begun = false;
  #over = false;
  #waiting: ((result: IteratorResult<ServerSentEvent>) => void) | undefined;

  constructor(session: Session, resumed: boolean) {
    this.#session = session;
    this.#resumed = resumed;
  }

  next(): MaybePromise<IteratorResult<ServerSentEvent>> {
    return this.#take() ?? new Promise((resolve) => this.#waiting = resolve);
  }

  #take(): IteratorResult<ServerSentEvent> | undefined {
    const session = this.#session;
    if (this.#over) return END;
    if (!this.#begun) {
      this.#begun = true;
      session.attach(this);
      return this.#event(session.cursor, {
        event: "channel",
        data: {
          channel: session.id,
          ...(this.#resumed ? { resumed: true } : {}),
        },
      });
    }
    const entry = session.take();
    if (entry !== undefined) return this.#event(entry.id, { data: entry.text });
    if (!session.closing) return undefined;
    const data = session.farewell;
    this.#over = true;
    session.detach(this);
    session.told();
    return { value: { event: "close", data }, done: false };
  }

  #event(
    number: number,
    event: ServerSentEvent,
  ): IteratorResult<ServerSentEvent> {
    const id = `${this.#session.id}/${number}`;
    return { value: { ...event, id }, done: false };
  }

  wake(): void {
    if (this.#waiting === undefined) return;
    const result = this.#take();
    if (result === undefined) return;
    this.#waiting(result);
    this.#waiting = undefined;
  }

  replaced(): void {
    this.#over = true;
    this.#waiting?.(END);
    this.#waiting = undefined;
  }

  stop(): void {
    this.#over = true;
    this.#session.detach(this);
  }
}

/**
 * Answers a poll with the messages behind a cursor. The first one of a session
 * is answered at once.
 */
export function pollResponse(session: Session, cursor?: number): Response {
  return jsonResponse(new Poll(session, cursor));
}

/** What gives its answer when it has it. */
interface Answerer {
  answer(): Promise<string>;
  /** Nobody waits for it any more. */
  abandon(): void;
}

function jsonResponse(answerer: Answerer): Response {
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller): Promise<void> {
      const text = await answerer.answer();
      controller.enqueue(encoder.encode(`${text}\n`));
      controller.close();
    },
    cancel: () => answerer.abandon(),
  }, { highWaterMark: 0 });
  return new Response(body, { headers: JSON_FIELDS });
}

class Poll implements Attachment, Answerer {
  readonly #session: Session;
  readonly #cursor: number;
  readonly #first: boolean;
  #resolve!: (text: string) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #scheduled = false;
  #over = false;

  constructor(session: Session, cursor: number | undefined) {
    this.#session = session;
    this.#cursor = cursor ?? 0;
    this.#first = cursor === undefined;
  }

  answer(): Promise<string> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      const session = this.#session;
      session.attach(this);
      if (this.#first || session.hasMessages || session.closing) this.#answer();
      else {
        const { poll } = session.bounds;
        this.#timer = setTimeout(() => this.#answer(), poll);
      }
    });
  }

  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // What is sent in one go is given in one go.
    queueMicrotask(() => this.#answer());
  }

  #answer(): void {
    if (this.#over) return;
    const session = this.#session;
    const entries = session.takeAll();
    const ended = session.closing && !session.hasMore;
    const end = ended ? `,"closed":${JSON.stringify(session.farewell)}` : "";
    this.#say(entries, end);
    session.detach(this);
    if (ended) session.told();
  }

  replaced(): void {
    this.#say([], `,"replaced":true`);
  }

  #say(entries: readonly Entry[], more: string): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    const cursor = entries.at(-1)?.id ?? this.#cursor;
    const messages = entries.map((entry) => entry.text).join();
    this.#resolve(
      `{"channel":"${this.#session.id}","cursor":${cursor},"messages":[${messages}]${more}}`,
    );
  }

  abandon(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#session.detach(this);
  }
}

/** Takes the body as a message, and answers when the handler is done with it. */
export function postResponse(
  session: Session,
  request: Request,
  seq: number | undefined,
): Response {
  const { maxMessageSize } = session.bounds;
  const wrong = session.receive(() => read(request, maxMessageSize), seq);
  // It is told to who waits for the answer.
  wrong.catch(() => {});
  return jsonResponse({
    async answer(): Promise<string> {
      const error = await wrong;
      return JSON.stringify(
        error === undefined ? { ok: true } : { ok: false, error },
      );
    },
    abandon() {},
  });
}

/** The body, as long as it is no longer than that. */
async function read(
  request: Request,
  most: number,
): Promise<ChannelMessage | { error: string }> {
  const type = request.headers.get("content-type") ?? "";
  const isBytes = /^application\/octet-stream *(;|$)/i.test(type);
  let bytes: Uint8Array | undefined;
  try {
    bytes = await readUpTo(request.body, most);
  } catch {
    return { error: "cut" };
  }
  if (bytes === undefined) return { error: "too large" };
  if (isBytes) return bytes;
  try {
    return strict.decode(bytes);
  } catch {
    return { error: "no UTF-8" };
  }
}

async function readUpTo(
  body: ReadableStream<Uint8Array> | null,
  most: number,
): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (body !== null) {
    // Leaving the loop cancels the rest.
    for await (const chunk of body) {
      length += chunk.byteLength;
      if (length > most) return undefined;
      chunks.push(chunk);
    }
  }
  if (chunks.length === 1) return chunks[0];
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
