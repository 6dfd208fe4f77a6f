import type { NetError } from "../streams/errors.ts";

/** Once it is sent, doing it twice is like doing it once (RFC 9110, 9.2.2). */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
/** A server that leaves may leave several connections behind, all dying. */
const MOST = 5;

/** How a request went that got no answer. */
export interface Attempt {
  readonly method: string;
  /** Whether its connection had served another one before. */
  readonly reused: boolean | undefined;
  /** How often it was sent again already. */
  readonly times: number;
}

/** Whether a request goes out once more, for which nothing at all has come. */
export function goesAgain(error: NetError, attempt: Attempt): boolean {
  const { method, reused, times } = attempt;
  switch (error.code) {
    case "ERR_HTTP2_REFUSED_STREAM":
      // Nobody has seen it (RFC 9113, 8.7).
      return times === 0;
    case "ETIMEDOUT":
    case "ERR_BODY":
    case "ERR_CLOSED":
      return false;
    default:
      // It was dying as the request was sent (RFC 9112, 9.3.1).
      return reused === true && times < MOST && IDEMPOTENT.has(method);
  }
}

/**
 * Whether an answer is none: the server had given up a connection that rested
 * when the request came. It has not read it, so any method may go out again
 * (RFC 9110, 15.5.9).
 */
export function isFarewell(
  answer: { readonly status: number; readonly keepAlive: boolean },
  { reused, times }: Attempt,
): boolean {
  return answer.status === 408 && !answer.keepAlive && reused === true &&
    times < MOST;
}
