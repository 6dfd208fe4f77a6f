import type { Backplane } from "./backplane.ts";
import { ClosedError, NetError } from "./errors.ts";

/** What `natsBackplane` uses of a message. */
export interface NatsMessage {
  /** What was published. */
  readonly data: Uint8Array;
}

/** What `natsBackplane` uses of a subscription. */
export interface NatsSubscription {
  /** Ends it at once. */
  unsubscribe(): void;
}

/**
 * What `natsBackplane` uses of a connection: those of
 * `@nats-io/transport-node`, `@nats-io/transport-deno`, `wsconnect` of
 * `@nats-io/nats-core`, and of the older `nats` have it all.
 */
export interface NatsConnection {
  /** Sends to all who have subscribed. */
  publish(subject: string, payload: string | Uint8Array): void;
  /** Begins to receive from a subject. */
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: NatsMessage) => void },
  ): NatsSubscription;
  /** Resolves once the server has seen all that was sent before. */
  flush(): Promise<void>;
  /** What happens to the connection. */
  status(): AsyncIterable<{ readonly type: string }>;
  /** Whether it is over for good. */
  isClosed(): boolean;
}

/** A control line of NATS has at most 4096 bytes by default. */
const MAX_SUBJECT = 2048;
const encoder = new TextEncoder();

/**
 * A topic as a subject that means itself: whatever NATS gives a meaning to
 * (wildcards, spaces, empty parts, what begins with `$`) is written as `%xx`.
 */
function subjectOf(channel: string): string {
  const subject = channel.replace(
    /[^A-Za-z0-9_\-/:.]|^\.|\.$|\.(?=\.)/gu,
    (char) =>
      Array.from(
        encoder.encode(char),
        (byte) => "%" + byte.toString(16).toUpperCase().padStart(2, "0"),
      ).join(""),
  );
  if (subject !== "" && subject.length <= MAX_SUBJECT) return subject;
  throw new RangeError(
    `Cannot use this topic with NATS: its subject has ${subject.length} characters; it must have 1 to ${MAX_SUBJECT}`,
  );
}

class NatsEngine implements Backplane {
  readonly binary = true;
  readonly #connection: NatsConnection;
  readonly #listeners = new Set<() => void>();
  #up = true;
  #status: { stop?(): void } | undefined;
  /** The flush that what is published now waits for. */
  #next: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  get connected(): boolean {
    return this.#up && !this.#connection.isClosed();
  }

  publish(channel: string, data: string | Uint8Array): Promise<void> {
    const subject = subjectOf(channel);
    if (this.#connection.isClosed()) throw closed();
    this.#connection.publish(subject, data);
    return this.#flushed();
  }

  async subscribe(
    channel: string,
    receive: (data: Uint8Array) => void,
  ): Promise<() => void> {
    let refuse!: (error: Error) => void;
    const refused = new Promise<never>((_, reject) => {
      refuse = reject;
    });
    refused.catch(() => {});
    const subscription = this.#connection.subscribe(subjectOf(channel), {
      callback: (error, message) => {
        if (error) refuse(error);
        else receive(message.data);
      },
    });
    try {
      // NATS answers no subscription; it answers what comes after it. One
      // that is made while the server is down is sent when it is back.
      await Promise.race([
        this.#flushed().catch((error) => {
          if (this.#connection.isClosed()) throw error;
        }),
        refused,
      ]);
    } catch (error) {
      if (!this.#connection.isClosed()) subscription.unsubscribe();
      throw error;
    }
    return () => {
      if (!this.#connection.isClosed()) subscription.unsubscribe();
    };
  }

  /** One question for all that is published until it is asked. */
  #flushed(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const flushed = this.#last.catch(() => {}).then(() => {
      this.#next = undefined;
      return this.#connection.flush();
    }).catch((cause: unknown) => {
      throw new NetError("Cannot reach the NATS server: the connection broke", {
        code: "ECONNRESET",
        retryable: !this.#connection.isClosed(),
        cause,
      });
    });
    this.#next = this.#last = flushed;
    return flushed;
  }

  watch(listener: () => void): () => void {
    // One of its own for everybody who watches, were it the same function.
    const own = () => listener();
    this.#listeners.add(own);
    if (this.#status === undefined) void this.#follow();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size > 0) return;
      this.#status?.stop?.();
      this.#status = undefined;
    };
  }

  async #follow(): Promise<void> {
    const status = this.#connection.status() as
      & AsyncIterable<{ type: string }>
      & { stop?(): void };
    this.#status = status;
    try {
      for await (const { type } of status) {
        if (this.#status !== status) return;
        if (type === "disconnect") this.#up = false;
        else if (type === "reconnect") this.#up = true;
        else if (type !== "close") continue;
        this.#tell();
      }
    } catch {
      // It ends with the connection; how is the owner's to hear.
    }
    if (this.#status === status) this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

function closed(): ClosedError {
  return new ClosedError("Cannot publish: the NATS connection is closed");
}

/**
 * The topics of a bus as subjects of a NATS server. The connection reconnects
 * and subscribes again by itself; it stays open when the backplane is closed.
 * Topics mean themselves: `*` and `>` in them are no wildcards.
 *
 * @example
 * ```ts
 * import { backplane, Bus, natsBackplane } from "@sluice/net/streams";
 * import type { NatsConnection } from "@sluice/net/streams";
 *
 * async function join(bus: Bus<string>, connection: NatsConnection) {
 *   // `connection` is what `connect()` of @nats-io/transport-node gives.
 *   return await backplane(bus, natsBackplane(connection));
 * }
 * ```
 */
export function natsBackplane(connection: NatsConnection): Backplane {
  if (
    typeof connection?.publish !== "function" ||
    typeof connection.subscribe !== "function" ||
    typeof connection.flush !== "function"
  ) {
    throw new TypeError(
      "Cannot make a backplane: this is no NATS connection; await what connect() gives",
    );
  }
  return new NatsEngine(connection);
}
