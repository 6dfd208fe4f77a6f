import { checkKnown } from "./_client_options.ts";
import type { ClientResponse } from "./_client_response.ts";
import { isReplayable } from "./_client_replay.ts";
import type { ClientMiddleware } from "./_client_types.ts";
import { parseHttpDate } from "./_http_date.ts";
import { FetchError } from "./errors.ts";
import type { RetryOptions } from "./retry.ts";

const METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];
const STATUSES = [408, 425, 429, 500, 502, 503, 504];
const KNOWN = new Set([
  ...["attempts", "methods", "statuses", "delay", "maxDelay"],
  ...["maxRetryAfter", "budget"],
]);
/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_DELAY = 2 ** 31 - 1;

/** How many attempts may be made besides the first ones of all requests. */
export class RetryBudget {
  readonly #ratio: number;
  readonly #burst: number;
  #saved: number;

  constructor(given: RetryOptions["budget"]) {
    const { ratio = 0.2, burst = 100 } = given === false
      ? { ratio: 0, burst: Infinity }
      : given ?? {};
    checkAmounts({ ratio, burst });
    this.#ratio = ratio;
    this.#burst = burst;
    this.#saved = burst;
  }

  /** A request is made. */
  earn(): void {
    this.#saved = Math.min(this.#burst, this.#saved + this.#ratio);
  }

  /** Whether one may be made again. */
  take(): boolean {
    if (this.#saved < 1) return false;
    this.#saved--;
    return true;
  }
}

/** The middleware; it has a budget of its own unless it is given one. */
export function retrying(
  options: RetryOptions,
  budget: RetryBudget = new RetryBudget(options.budget),
): ClientMiddleware {
  checkKnown(options, KNOWN, "retry");
  const { attempts = 3, delay = 200, maxDelay = 10_000 } = options;
  const { maxRetryAfter = 60_000 } = options;
  const methods = new Set(options.methods ?? METHODS);
  const statuses = new Set(options.statuses ?? STATUSES);
  if (!(attempts >= 1)) refuse("attempts must be 1 or more", attempts);
  checkAmounts({ delay, maxDelay, maxRetryAfter });
  return async (request, next) => {
    budget.earn();
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
      const soon = wanted === undefined || wanted <= maxRetryAfter;
      if (!soon || !budget.take()) {
        if (response !== undefined) return response;
        throw failure;
      }
      await response?.body?.cancel().catch(() => {});
      const most = Math.min(maxDelay, delay * 2 ** (attempt - 1));
      await pause(wanted ?? Math.random() * most, request.signal);
    }
  };
}

/** What `retry` of a client and of its requests comes to. */
export class Retries {
  readonly #given: boolean | number | RetryOptions;
  /** For all that say nothing else of it. */
  readonly #budget: RetryBudget;
  readonly #numbers = new Map<number, ClientMiddleware>();
  readonly #objects = new WeakMap<RetryOptions, ClientMiddleware>();

  constructor(given: boolean | number | RetryOptions = false) {
    this.#given = given;
    this.#budget = new RetryBudget(
      typeof given === "object" && given !== null ? given.budget : undefined,
    );
    this.layer(undefined);
  }

  /** The middleware for a request; `undefined` when it is sent once. */
  layer(
    given: boolean | number | RetryOptions | undefined,
  ): ClientMiddleware | undefined {
    const wanted =
      given === undefined || given === true && this.#given !== false
        ? this.#given
        : given;
    if (wanted === false || wanted === 0) return undefined;
    if (wanted === true) return this.#times(2);
    if (typeof wanted === "number") return this.#times(wanted);
    if (typeof wanted !== "object" || wanted === null) {
      throw new TypeError(
        `Cannot retry: give true, a number or an object: ${wanted}`,
      );
    }
    let layer = this.#objects.get(wanted);
    if (layer === undefined) {
      const own = wanted !== this.#given && wanted.budget !== undefined;
      layer = retrying(wanted, own ? undefined : this.#budget);
      this.#objects.set(wanted, layer);
    }
    return layer;
  }

  #times(times: number): ClientMiddleware {
    let layer = this.#numbers.get(times);
    if (layer === undefined) {
      if (!(times >= 0)) refuse("a number must be 0 or more", times);
      layer = retrying({ attempts: times + 1 }, this.#budget);
      if (this.#numbers.size >= 64) this.#numbers.clear();
      this.#numbers.set(times, layer);
    }
    return layer;
  }
}

function checkAmounts(amounts: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(amounts)) {
    if (!(value >= 0)) refuse(`${name} must be 0 or more`, value);
  }
}

function refuse(what: string, value: unknown): never {
  throw new RangeError(`Cannot retry: ${what}: ${value}`);
}

/** Milliseconds to wait: what it says in seconds, or as a date. */
function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^[0-9]+$/.test(value)) return Number(value) * 1000;
  const date = parseHttpDate(value);
  return date === undefined ? undefined : Math.max(0, date - Date.now());
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, Math.min(ms, MAX_DELAY));
    signal.addEventListener("abort", stop);
  });
}
