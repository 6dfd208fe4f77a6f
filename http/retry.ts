import { retrying } from "./_client_retry.ts";
import type { ClientMiddleware } from "./_client_types.ts";

/** What `retry` goes by. */
export interface RetryOptions {
  /** Times that a request is sent, the first one counted. @default {3} */
  attempts?: number;
  /**
   * Methods that are sent again.
   * @default {["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]}
   */
  methods?: readonly string[];
  /** Answers that are tried again. @default {[408, 425, 429, 500, 502, 503, 504]} */
  statuses?: readonly number[];
  /**
   * Milliseconds waited at most before the second attempt; twice as much
   * before each further one. How long it is, is drawn anew each time from
   * what lies between 0 and that. @default {200}
   */
  delay?: number;
  /** Milliseconds that this grows to. @default 10 s */
  maxDelay?: number;
  /**
   * Milliseconds that a server may ask for with `Retry-After`; when it asks
   * for more, its answer is the last one. @default 60 s
   */
  maxRetryAfter?: number;
  /**
   * Of all requests through this middleware, how many attempts further than
   * the first one may be made: `ratio` for each request, saved up to `burst`.
   * It keeps clients from a server that is down. `false`: no such limit.
   * @default {{ ratio: 0.2, burst: 100 }}
   */
  budget?: false | { ratio?: number; burst?: number };
}

/**
 * Middleware for `use` of a `Client`: sends a request again after an error
 * that is `retryable` and after some statuses, with growing, random pauses,
 * or when `Retry-After` (RFC 9110, 10.2.3) says, in seconds or as a date. What is left in the end is
 * the last answer or error. A body that is a stream is sent but
 * once, and so is a Request of another layer's with a body. An
 * abort ends a pause. A `timeout` is for each attempt, its `total` too; for a limit
 * over all attempts and pauses give `signal: AbortSignal.timeout(ms)`. Throws a `RangeError`
 * for options that make no sense. The same as `retry` of a client, at its place
 * among the other middleware.
 *
 * @example
 * ```ts
 * import { Client, retry } from "@sluice/net/http";
 *
 * const client = new Client({ use: [retry({ attempts: 5 })] });
 * await client.close();
 * ```
 */
export function retry(options: RetryOptions = {}): ClientMiddleware {
  return retrying(options);
}
