import { NetError, ProtocolError, SizeLimitError } from "../streams/errors.ts";
import type { NetErrorDetails } from "../streams/errors.ts";

/**
 * What `fetch` rejects with, by the rules of fetch a `TypeError`. What went
 * wrong underneath is in `cause`.
 *
 * @example
 * ```ts
 * import { FetchError, get } from "@sluice/net/http";
 *
 * try {
 *   await get("http://127.0.0.1:1/");
 * } catch (error) {
 *   if (!(error instanceof FetchError)) throw error;
 *   console.log(error.code, error.phase, error.retryable);
 * }
 * ```
 */
export class FetchError extends TypeError {
  static {
    this.prototype.name = "FetchError";
  }

  /** POSIX name where one exists, `ERR_*` otherwise. */
  readonly code: string;
  /**
   * `"pool"`, `"lookup"`, `"connect"`, `"proxy"`, `"tls"`, `"request"`,
   * `"response"`, `"redirect"`, `"body"` or `"total"`.
   */
  readonly phase: string;
  /** Whether the same request may succeed when it is made again. */
  readonly retryable: boolean;
  /** What went wrong underneath. */
  declare readonly cause: NetError;

  /** Wraps what went wrong; its code and phase are taken over. */
  constructor(message: string, cause: NetError, phase?: string) {
    super(message, { cause });
    this.code = cause.code;
    this.phase = phase ?? cause.phase ?? "request";
    this.retryable = cause.retryable;
  }
}

/** A redirect that cannot be followed; `cause` of a `FetchError`. */
export class RedirectError extends ProtocolError {
  static {
    this.prototype.name = "RedirectError";
  }

  /** `code` is `ERR_REDIRECT`. */
  constructor(message: string, options: NetErrorDetails = {}) {
    super(message, { code: "ERR_REDIRECT", phase: "redirect", ...options });
  }
}

/** A response whose status is not 2xx, with `throwOnStatus`. */
export class StatusError extends NetError {
  static {
    this.prototype.name = "StatusError";
  }

  /** The response; its body can still be read. */
  readonly response: Response;

  /** `code` is `ERR_STATUS`; retryable for 408, 425, 429 and 5xx but 501. */
  constructor(message: string, response: Response) {
    const { status } = response;
    super(message, {
      code: "ERR_STATUS",
      phase: "response",
      retryable: status === 408 || status === 425 || status === 429 ||
        (status >= 500 && status !== 501),
    });
    this.response = response;
  }
}

/**
 * A multipart body that is not what it must be. A handler that lets it pass is
 * answered for with its status.
 */
export class MultipartError extends ProtocolError {
  static {
    this.prototype.name = "MultipartError";
  }

  /** 400, or 415 when the request has no multipart body at all. */
  readonly status: 400 | 415;

  /** `code` is `ERR_MULTIPART`. */
  constructor(message: string, status: 400 | 415 = 400) {
    super(message, { code: "ERR_MULTIPART", phase: "body" });
    this.status = status;
  }
}

/**
 * A multipart body with more of something than its limit. A handler that lets
 * it pass is answered for with its status.
 */
export class MultipartLimitError extends SizeLimitError {
  static {
    this.prototype.name = "MultipartLimitError";
  }

  /** What to answer with. */
  readonly status = 413;

  /** `what` was more than `limit`. `code` is `ERR_SIZE_LIMIT`. */
  constructor(what: string, limit: number) {
    super(
      `Cannot read the multipart body: too much for ${what}: over ${limit}`,
      {
        limit,
        phase: "body",
      },
    );
  }
}
