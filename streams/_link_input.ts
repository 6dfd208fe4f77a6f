import type { Backplane, BackplaneLoss } from "./backplane.ts";
import { NetError, ProtocolError, SizeLimitError } from "./errors.ts";
import { unseal } from "./_envelope.ts";
import type { Envelope } from "./_envelope.ts";
import type { MaybePromise } from "./types.ts";

export interface LinkInputOptions<T> {
  /** Whose messages are echoes. */
  name: string;
  prefix: string;
  maxMessageSize: number;
  decode?: (data: string | Uint8Array) => T;
  lose: (loss: BackplaneLoss) => void;
  tell: (error: unknown) => void;
  /** Gives it to the subscribers; says how many of them had no room. */
  deliver: (topic: string, message: T) => number;
}

/** Processes whose messages of one topic are counted. */
const MAX_SENDERS = 4096;
/** ms until a subscription that was refused is tried again, at first. */
const RETRY = 200;
const MAX_RETRY = 10_000;

/** A topic that has subscribers here, or had them a moment ago. */
interface Topic {
  wanted: boolean;
  /** Ends what the engine has. */
  stop?: () => MaybePromise<unknown>;
  /** The engine is being asked. */
  asking?: Promise<void>;
  retry: number;
  timer?: ReturnType<typeof setTimeout>;
  /** The last that came from each process. */
  readonly seen: Map<string, { run: number; count: number }>;
}

/** What others publish: engine's subscriptions that follow those of a bus. */
export class LinkInput<T> {
  readonly #engine: Backplane;
  readonly #options: LinkInputOptions<T>;
  readonly #topics = new Map<string, Topic>();
  readonly #onDown = new Set<() => void>();
  #closed = false;

  constructor(engine: Backplane, options: LinkInputOptions<T>) {
    this.#engine = engine;
    this.#options = options;
  }

  want(name: string, wanted: boolean): void {
    let topic = this.#topics.get(name);
    if (topic === undefined) {
      if (!wanted) return;
      topic = { wanted: false, retry: RETRY, seen: new Map() };
      this.#topics.set(name, topic);
    }
    // What came while nobody wanted it was not lost.
    if (wanted && !topic.wanted) topic.seen.clear();
    topic.wanted = wanted;
    this.#ask(name, topic);
  }

  /** The engine has come back, or gone. */
  look(): void {
    if (!this.#engine.connected) {
      for (const goDown of this.#onDown) goDown();
      return;
    }
    for (const [name, topic] of this.#topics) {
      if (topic.timer === undefined) continue;
      clearTimeout(topic.timer);
      topic.timer = undefined;
      this.#ask(name, topic);
    }
  }

  /** Nobody waits for a broker that is down: it may be down for long. */
  async settled(): Promise<void> {
    let goDown!: () => void;
    const down = new Promise<void>((resolve) => {
      goDown = resolve;
    });
    this.#onDown.add(goDown);
    while (this.#engine.connected) {
      const asking = [...this.#topics.values()].flatMap(
        ({ asking }) => asking ?? [],
      );
      if (asking.length === 0) break;
      await Promise.race([Promise.all(asking), down]);
    }
    this.#onDown.delete(goDown);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const [name] of this.#topics) this.want(name, false);
    await this.settled();
  }

  #ask(name: string, topic: Topic): void {
    if (topic.asking !== undefined || topic.timer !== undefined) {
      if (topic.wanted) return;
      clearTimeout(topic.timer);
      topic.timer = undefined;
      if (topic.asking !== undefined) return;
    }
    topic.asking = this.#follow(name, topic).then(() => {
      topic.asking = undefined;
      // It was changed while the last answer was on its way here.
      if (topic.wanted !== (topic.stop !== undefined)) {
        if (topic.timer === undefined) this.#ask(name, topic);
      } else if (!topic.wanted && this.#topics.get(name) === topic) {
        this.#topics.delete(name);
      }
    });
  }

  /** Asks the engine until it has what is wanted; one question at a time. */
  async #follow(name: string, topic: Topic): Promise<void> {
    try {
      while (topic.wanted !== (topic.stop !== undefined)) {
        if (topic.stop !== undefined) {
          const { stop } = topic;
          topic.stop = undefined;
          await stop();
        } else {
          topic.stop = await this.#engine.subscribe(
            this.#options.prefix + name,
            (data) => this.#take(name, topic, data),
          );
          topic.retry = RETRY;
        }
      }
    } catch (error) {
      this.#options.tell(error);
      if (!topic.wanted || this.#closed) return;
      topic.timer = setTimeout(() => {
        topic.timer = undefined;
        this.#ask(name, topic);
      }, topic.retry);
      topic.retry = Math.min(topic.retry * 2, MAX_RETRY);
    }
  }

  #take(name: string, topic: Topic, data: string | Uint8Array): void {
    if (!topic.wanted || this.#closed) return;
    const { maxMessageSize, tell } = this.#options;
    // A first line has less than 100 bytes, base64 makes four of three.
    if (data.length > maxMessageSize * 4 / 3 + 100) {
      this.#lose(
        name,
        1,
        new SizeLimitError(
          `Message was dropped: it has ${data.length} bytes; maxMessageSize is ${maxMessageSize}`,
          { limit: maxMessageSize },
        ),
      );
      return;
    }
    let envelope: Envelope;
    try {
      envelope = unseal(data);
    } catch (error) {
      tell(error);
      return;
    }
    if (envelope.from === this.#options.name) return;
    if (!this.#isNext(name, topic, envelope)) return;
    let message: T;
    try {
      message = this.#decode(envelope);
    } catch (cause) {
      this.#lose(
        name,
        1,
        new ProtocolError("Message was dropped: it cannot be decoded", {
          cause,
        }),
      );
      return;
    }
    const shed = this.#options.deliver(name, message);
    if (shed > 0) {
      this.#lose(
        name,
        shed,
        new NetError("Message was dropped: a subscriber is too slow for it", {
          code: "ERR_LOST",
        }),
      );
    }
  }

  /** Whether it is news; tells of what should have come before it. */
  #isNext(
    name: string,
    { seen }: Topic,
    { from, run, count }: Envelope,
  ): boolean {
    const last = seen.get(from);
    if (last !== undefined) {
      const later = run > last.run;
      if (!later && (run < last.run || count <= last.count)) return false;
      const missed = count - 1 - (later ? 0 : last.count);
      if (missed > 0) {
        this.#lose(
          name,
          missed,
          new NetError(
            `Messages were missed: ${missed} have not arrived here`,
            { code: "ERR_LOST" },
          ),
        );
      }
      // Kept in the order in which they were last heard of.
      seen.delete(from);
    } else if (seen.size >= MAX_SENDERS) {
      seen.delete(seen.keys().next().value!);
    }
    seen.set(from, { run, count });
    return true;
  }

  #decode({ kind, body }: Envelope): T {
    const { decode } = this.#options;
    const message = decode !== undefined
      ? decode(body)
      : kind === "j"
      ? JSON.parse(body as string)
      : body;
    if (message === undefined) {
      throw new TypeError("Cannot give undefined on: it is the end");
    }
    return message as T;
  }

  #lose(topic: string, count: number, error: NetError): void {
    this.#options.lose({ topic, count, direction: "in", error });
  }
}
