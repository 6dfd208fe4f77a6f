/** What the clients have in common, once it is said in the same words. */
export interface RedisClient {
  /** Whether commands reach the server at this moment. */
  readonly ready: boolean;
  watch(listener: () => void): () => void;
  subscribe(
    channel: string,
    receive: (data: string) => void,
  ): Promise<() => Promise<unknown>>;
}

/** What they have, some of them. */
interface Raw {
  /** ioredis. */
  readonly status?: string;
  /** redis. */
  readonly isReady?: boolean;
  /** Bun's. */
  readonly connected?: boolean;
  onconnect?: ((...args: unknown[]) => void) | null;
  onclose?: ((...args: unknown[]) => void) | null;
  connect?(): Promise<unknown>;
  on?(event: string, listener: (...args: never[]) => void): unknown;
  off?(event: string, listener: (...args: never[]) => void): unknown;
  subscribe(channel: string, listener?: Listener): Promise<unknown>;
  unsubscribe(channel: string, listener?: Listener): Promise<unknown>;
}

type Listener = (message: string, channel: string) => void;

/** The client, whichever it is. */
export function clientOf(client: unknown): RedisClient {
  const raw = client as Raw;
  if (typeof raw.on !== "function") return new BunClient(raw);
  return typeof raw.status === "string"
    ? new IoRedisClient(raw)
    : new NodeRedisClient(raw);
}

/** Calls the listener when any of the events comes. */
function watchEvents(
  raw: Raw,
  events: readonly string[],
  listener: () => void,
): () => void {
  // One of its own for everybody who watches, were it the same function.
  const own = () => listener();
  for (const event of events) raw.on!(event, own);
  return () => {
    for (const event of events) raw.off?.(event, own);
  };
}

/** `redis`: a listener a channel, and it subscribes again by itself. */
class NodeRedisClient implements RedisClient {
  readonly #raw: Raw;

  constructor(raw: Raw) {
    this.#raw = raw;
  }

  get ready(): boolean {
    return this.#raw.isReady ?? true;
  }

  watch(listener: () => void): () => void {
    const events = ["ready", "end", "error", "reconnecting"];
    return watchEvents(this.#raw, events, listener);
  }

  async subscribe(
    channel: string,
    receive: (data: string) => void,
  ): Promise<() => Promise<unknown>> {
    const listener: Listener = (message) => receive(message);
    await this.#raw.subscribe(channel, listener);
    return () => this.#raw.unsubscribe(channel, listener);
  }
}

/** Who listens to a channel of a client that tells it of all its channels. */
class Ears {
  readonly #ears = new Map<string, Set<(data: string) => void>>();

  get size(): number {
    return this.#ears.size;
  }

  get channels(): string[] {
    return [...this.#ears.keys()];
  }

  add(channel: string, receive: (data: string) => void): void {
    const ears = this.#ears.get(channel);
    if (ears === undefined) this.#ears.set(channel, new Set([receive]));
    else ears.add(receive);
  }

  /** Says whether it was the last. */
  delete(channel: string, receive: (data: string) => void): boolean {
    const ears = this.#ears.get(channel);
    if (ears === undefined || !ears.delete(receive)) return false;
    return ears.size === 0 && this.#ears.delete(channel);
  }

  tell(channel: string, message: string): void {
    for (const receive of this.#ears.get(channel) ?? []) receive(message);
  }
}

/** `ioredis`: one event for all channels, and it subscribes again by itself. */
class IoRedisClient implements RedisClient {
  readonly #raw: Raw;
  readonly #ears = new Ears();
  readonly #onMessage = (channel: string, message: string): void =>
    this.#ears.tell(channel, message);

  constructor(raw: Raw) {
    this.#raw = raw;
  }

  get ready(): boolean {
    // One that waits for its first command connects when it comes.
    return this.#raw.status === "ready" || this.#raw.status === "wait";
  }

  watch(listener: () => void): () => void {
    const events = ["ready", "close", "end", "error", "reconnecting"];
    return watchEvents(this.#raw, events, listener);
  }

  async subscribe(
    channel: string,
    receive: (data: string) => void,
  ): Promise<() => Promise<unknown>> {
    if (this.#ears.size === 0) this.#raw.on!("message", this.#onMessage);
    this.#ears.add(channel, receive);
    const stop = async () => {
      const last = this.#ears.delete(channel, receive);
      if (this.#ears.size === 0) this.#raw.off?.("message", this.#onMessage);
      if (last) await this.#raw.unsubscribe(channel);
    };
    try {
      await this.#raw.subscribe(channel);
    } catch (error) {
      this.#ears.delete(channel, receive);
      if (this.#ears.size === 0) this.#raw.off?.("message", this.#onMessage);
      throw error;
    }
    return stop;
  }
}

/**
 * Bun's own: it tells of its connection through two properties, and forgets
 * its subscriptions when it reconnects.
 */
class BunClient implements RedisClient {
  readonly #raw: Raw;
  readonly #ears = new Ears();
  readonly #listeners = new Set<() => void>();
  #hooked = false;
  /** Commands that change subscriptions: one after the other. */
  #line: Promise<unknown> = Promise.resolve();

  constructor(raw: Raw) {
    this.#raw = raw;
  }

  get ready(): boolean {
    return this.#raw.connected ?? true;
  }

  watch(listener: () => void): () => void {
    this.#hook();
    const own = () => listener();
    this.#listeners.add(own);
    // It connects with its first command, which would wait for that.
    if (!this.ready) this.#raw.connect?.().catch(() => {});
    return () => this.#listeners.delete(own);
  }

  async subscribe(
    channel: string,
    receive: (data: string) => void,
  ): Promise<() => Promise<unknown>> {
    this.#hook();
    const first = !this.#ears.channels.includes(channel);
    this.#ears.add(channel, receive);
    try {
      if (first) await this.#say(() => this.#listen(channel));
    } catch (error) {
      this.#ears.delete(channel, receive);
      throw error;
    }
    return async () => {
      if (!this.#ears.delete(channel, receive)) return;
      await this.#say(() => this.#raw.unsubscribe(channel));
    };
  }

  #listen(channel: string): Promise<unknown> {
    return this.#raw.subscribe(
      channel,
      (message) => this.#ears.tell(channel, message),
    );
  }

  #say(command: () => Promise<unknown>): Promise<unknown> {
    const said = this.#line.then(command);
    this.#line = said.catch(() => {});
    return said;
  }

  /** What the owner has put there is called as before. */
  #hook(): void {
    if (this.#hooked) return;
    this.#hooked = true;
    const raw = this.#raw;
    const { onconnect, onclose } = raw;
    raw.onconnect = (...args) => {
      onconnect?.apply(raw, args);
      this.#back();
      this.#tell();
    };
    raw.onclose = (...args) => {
      onclose?.apply(raw, args);
      this.#tell();
    };
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** A new connection knows nothing of the channels. */
  #back(): void {
    for (const channel of this.#ears.channels) {
      this.#say(async () => {
        // Else it would be told twice.
        await this.#raw.unsubscribe(channel);
        if (this.#ears.channels.includes(channel)) await this.#listen(channel);
      }).catch(() => {});
    }
  }
}
