import type { Backplane } from "./backplane.ts";
import { NetError } from "./errors.ts";
import { clientOf } from "./_redis_clients.ts";
import type { RedisClient } from "./_redis_clients.ts";

/** What `redisBackplane` needs of the client that publishes. */
export interface RedisPublisher {
  /** Sends to all who have subscribed. */
  publish(channel: string, message: string): Promise<unknown>;
}

/** What `redisBackplane` needs of the client that subscribes. */
export interface RedisSubscriber {
  /** Begins to receive from a channel; each client takes its own arguments. */
  subscribe(channel: string, ...rest: never[]): Promise<unknown>;
  /** Ends that. */
  unsubscribe(channel: string, ...rest: never[]): Promise<unknown>;
}

/** Errors that the server has answered with: it would do so again. */
function isAnswer(error: unknown): boolean {
  const { name, code, message } = (error ?? {}) as Partial<
    Error & { code: unknown }
  >;
  return name === "ReplyError" || name === "SimpleError" ||
    name === "ErrorReply" || code === "ERR_REDIS_INVALID_RESPONSE" ||
    /^(?:NOAUTH|NOPERM|WRONGPASS|OOM|READONLY|ERR) /.test(message ?? "");
}

class RedisEngine implements Backplane {
  /** Not every client gives bytes back as they were. */
  readonly binary = false;
  readonly #publisher: RedisPublisher;
  readonly #clients: readonly RedisClient[];
  readonly #subscriber: RedisClient;

  constructor(publisher: RedisPublisher, subscriber: RedisSubscriber) {
    this.#publisher = publisher;
    this.#subscriber = clientOf(subscriber);
    this.#clients = [clientOf(publisher), this.#subscriber];
  }

  get connected(): boolean {
    return this.#clients.every((client) => client.ready);
  }

  async publish(channel: string, data: string | Uint8Array): Promise<void> {
    try {
      await this.#publisher.publish(channel, data as string);
    } catch (cause) {
      if (isAnswer(cause)) throw cause;
      throw new NetError(
        "Cannot reach the Redis server: the connection broke",
        {
          code: "ECONNRESET",
          retryable: true,
          cause,
        },
      );
    }
  }

  subscribe(
    channel: string,
    receive: (data: string) => void,
  ): Promise<() => Promise<unknown>> {
    return this.#subscriber.subscribe(channel, receive);
  }

  watch(listener: () => void): () => void {
    const stops = this.#clients.map((client) => client.watch(listener));
    return () => {
      for (const stop of stops) stop();
    };
  }
}

/**
 * The topics of a bus as channels of a Redis server. It takes two clients of
 * `redis`, of `ioredis`, or Bun's own, for one that subscribes can do nothing
 * else; both may be used for other things of their kind. They reconnect by
 * themselves, and stay open when the backplane is closed.
 *
 * Bytes travel in base64: not every client gives bytes back as they were. All
 * clients understand each other.
 *
 * @example
 * ```ts
 * import { backplane, Bus, redisBackplane } from "@sluice/net/streams";
 * import type { RedisPublisher, RedisSubscriber } from "@sluice/net/streams";
 *
 * async function join(
 *   bus: Bus<string>,
 *   client: RedisPublisher,
 *   duplicate: RedisSubscriber,
 * ) {
 *   // With redis, ioredis and Bun alike: two clients of the same server.
 *   return await backplane(bus, redisBackplane(client, duplicate));
 * }
 * ```
 */
export function redisBackplane(
  publisher: RedisPublisher,
  subscriber: RedisSubscriber,
): Backplane {
  if (
    typeof publisher?.publish !== "function" ||
    typeof subscriber?.subscribe !== "function" ||
    typeof subscriber.unsubscribe !== "function"
  ) {
    throw new TypeError(
      "Cannot make a backplane: it takes a Redis client that publishes and one that subscribes",
    );
  }
  if ((publisher as unknown) === subscriber) {
    throw new TypeError(
      "Cannot make a backplane: it takes two Redis clients, for one that subscribes cannot publish",
    );
  }
  return new RedisEngine(publisher, subscriber);
}
