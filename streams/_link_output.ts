import type { Backplane, BackplaneLoss } from "./backplane.ts";
import { ClosedError, NetError, SizeLimitError } from "./errors.ts";

/** A message on its way to the broker. */
export interface Outgoing {
  readonly topic: string;
  readonly channel: string;
  readonly data: string | Uint8Array;
  /** Bytes. */
  readonly size: number;
}

interface Queued extends Outgoing {
  state: "waiting" | "sent" | "failed" | "done";
  tries: number;
  error?: NetError;
}

export interface LinkOutputOptions {
  capacity: number;
  maxBuffered: number;
  lose: (loss: BackplaneLoss) => void;
}

/** How often one is tried whose broker says that it is there, but fails. */
const MAX_TRIES = 5;
/** ms before it is tried again. */
const RETRY = 100;

/**
 * What is published here, in order, until the broker has it. Messages are
 * sent without waiting for those before; when one fails, it and all after it
 * are sent again, once none is under way. Those who receive drop doubles.
 */
export class LinkOutput {
  readonly #engine: Backplane;
  readonly #options: LinkOutputOptions;
  #queue: Queued[] = [];
  #size = 0;
  /** How many of the queue have been handed over: all before this one. */
  #sent = 0;
  #underway = 0;
  #failed = false;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #held: { promise: Promise<void>; resolve: () => void } | undefined;
  /** Numbers of the messages: of the next, and of the oldest in the queue. */
  #pushed = 0;
  #settled = 0;
  #lost = 0;
  /** Who waits until those before a number are settled, in order. */
  #flushes: { upTo: number; done: () => void }[] = [];

  constructor(engine: Backplane, options: LinkOutputOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  get length(): number {
    return this.#queue.length;
  }

  /** Takes a message; the promise is there when the broker falls behind. */
  push(message: Outgoing): Promise<void> | undefined {
    const { capacity, maxBuffered } = this.#options;
    while (
      this.#queue.length >= capacity ||
      this.#size + message.size > maxBuffered && this.#queue.length > 0
    ) {
      // What is under way may have arrived: the oldest that is not goes.
      const dropped = this.#queue[this.#sent];
      this.#lose(
        dropped ?? message,
        new SizeLimitError(
          "Message was dropped: too many wait for the broker",
          { limit: capacity },
        ),
      );
      if (dropped === undefined) return this.#hold();
      this.#queue.splice(this.#sent, 1);
      this.#size -= dropped.size;
      this.#settled++;
    }
    this.#queue.push({ ...message, state: "waiting", tries: 0 });
    this.#pushed++;
    this.#size += message.size;
    this.#send();
    return this.#crowded ? this.#hold() : undefined;
  }

  get #crowded(): boolean {
    const { capacity, maxBuffered } = this.#options;
    return this.#queue.length > capacity / 2 || this.#size > maxBuffered / 2;
  }

  /** Nobody waits for a broker that is down: it may be down for long. */
  #hold(): Promise<void> | undefined {
    if (this.#closed || !this.#engine.connected) return undefined;
    if (this.#held === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      this.#held = { promise, resolve };
    }
    return this.#held.promise;
  }

  /** The engine has come or gone. */
  look(): void {
    this.#send();
    this.#tell();
  }

  /** Resolves once nothing waits of what is here now; `false`: some is lost. */
  flush(): Promise<boolean> {
    const upTo = this.#pushed;
    if (this.#settled >= upTo) return Promise.resolve(true);
    const lost = this.#lost;
    return new Promise((resolve) => {
      this.#flushes.push({ upTo, done: () => resolve(this.#lost === lost) });
    });
  }

  /** What is left is lost. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    const error = new ClosedError(
      "Message was dropped: the broker had not taken it by the end",
    );
    for (const message of this.#queue) {
      if (message.state !== "done") this.#lose(message, error);
    }
    this.#queue = [];
    this.#size = this.#sent = 0;
    this.#settled = this.#pushed;
    this.#tell();
  }

  #tell(): void {
    if (!this.#crowded || !this.#engine.connected || this.#closed) {
      this.#held?.resolve();
      this.#held = undefined;
    }
    while (this.#flushes.length > 0 && this.#flushes[0].upTo <= this.#settled) {
      this.#flushes.shift()!.done();
    }
  }

  #send(): void {
    while (
      !this.#closed && !this.#failed && this.#engine.connected &&
      this.#sent < this.#queue.length
    ) {
      const message = this.#queue[this.#sent++];
      message.state = "sent";
      message.tries++;
      this.#underway++;
      this.#publish(message).then(
        () => this.#settle(message),
        (error: unknown) => this.#settle(message, error),
      );
    }
  }

  async #publish(message: Queued): Promise<void> {
    await this.#engine.publish(message.channel, message.data);
  }

  #settle(message: Queued, error?: unknown): void {
    this.#underway--;
    if (this.#closed) return;
    message.state = "done";
    if (error !== undefined) {
      const reason = error instanceof NetError ? error : new NetError(
        "Cannot publish: the broker refused the message",
        { code: "ERR_BROKER", cause: error },
      );
      if (reason.retryable && this.#mayRetry(message)) {
        message.state = "failed";
        this.#failed = true;
      } else {
        this.#lose(message, reason);
      }
    }
    this.#shift();
    if (this.#failed && this.#underway === 0) this.#restart();
    this.#tell();
  }

  #mayRetry(message: Queued): boolean {
    // A broker that is down takes as long as it takes.
    if (!this.#engine.connected) message.tries = 0;
    return message.tries < MAX_TRIES;
  }

  #shift(): void {
    let done = 0;
    while (done < this.#sent && this.#queue[done].state === "done") {
      this.#size -= this.#queue[done++].size;
    }
    if (done === 0) return;
    this.#queue.splice(0, done);
    this.#sent -= done;
    this.#settled += done;
  }

  /** From the first that failed, all over again: their order is kept. */
  #restart(): void {
    for (const message of this.#queue) message.state = "waiting";
    this.#sent = 0;
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#failed = false;
      this.#send();
    }, RETRY);
  }

  #lose({ topic }: Outgoing, error: NetError): void {
    this.#lost++;
    this.#options.lose({ topic, count: 1, direction: "out", error });
  }
}
