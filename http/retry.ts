import type { ClientResponse } from "./_client_response.ts";
import { isReplayable } from "./_client_replay.ts";
import type { ClientMiddleware } from "./_client_types.ts";
import { FetchError } from "./errors.ts";

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

const METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];
const STATUSES = [408, 425, 429, 500, 502, 503, 504];
/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_DELAY = 2 ** 31 - 1;

/**
 * Middleware for `use` of a `Client`: sends a request again after an error
 * that is `retryable` and after some statuses, with growing, random pauses,
 * or when `Retry-After` (RFC 9110, 10.2.3) says. What is left in the end is
 * the last answer or error. A body that is a stream is sent but
 * once, and so is a Request of another layer's with a body. An
 * abort ends a pause; a `timeout` is for each attempt. Throws a `RangeError`
 * for options that make no sense.
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
  const { attempts = 3, delay = 200, maxDelay = 10_000 } = options;
  const { maxRetryAfter = 60_000, budget = {} } = options;
  const { ratio = 0.2, burst = 100 } = budget === false ? {} : budget;
  const methods = new Set(options.methods ?? METHODS);
  const statuses = new Set(options.statuses ?? STATUSES);
  if (!(attempts >= 1)) refuse("attempts must be 1 or more", attempts);
  for (
    const [name, value] of Object.entries({
      ...{ delay, maxDelay, maxRetryAfter, ratio, burst },
    })
  ) if (!(value >= 0)) refuse(`${name} must be 0 or more`, value);
  let saved = burst;
  return async (request, next) => {
    saved = Math.min(burst, saved + ratio);
    for (let attempt = 1;; attempt++) {
      // The next one needs the request as it was.
      const again = attempt < attempts && methods.has(request.method) &&
        (request.body === null || isReplayable(request));
      let response: ClientResponse | undefined;
      let failure: unknown;
      try {
        response = await next(request);
        if (!again || !statuses.has(response.status)) return response;
      } catch (error) {
        if (
          !again || request.signal.aborted ||
          !(error instanceof FetchError) || !error.retryable
        ) throw error;
        failure = error;
      }
      const wanted = retryAfter(response?.headers.get("retry-after") ?? null);
      const enough = budget === false || saved >= 1;
      if (!enough || (wanted !== undefined && wanted > maxRetryAfter)) {
        if (response !== undefined) return response;
        throw failure;
      }
      saved--;
      await response?.body?.cancel().catch(() => {});
      const most = Math.min(maxDelay, delay * 2 ** (attempt - 1));
      await pause(wanted ?? Math.random() * most, request.signal);
    }
  };
}

function refuse(what: string, value: unknown): never {
  throw new RangeError(`Cannot retry: ${what}: ${value}`);
}

/** Milliseconds to wait: what it says in seconds, or as a date. */
function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^[0-9]+$/.test(value)) return Number(value) * 1000;
  // A date of HTTP begins with its day; Date.parse takes much besides.
  const date = /^[A-Z][a-z]{2}/.test(value) ? Date.parse(value) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, Math.min(ms, MAX_DELAY));
    signal.addEventListener("abort", stop);
  });
}
