import { ConnectError } from "../streams/errors.ts";
import type { NetErrorDetails } from "../streams/errors.ts";

/**
 * A server answered the opening handshake of a WebSocket with something else
 * than a proper agreement: `status` and `headers` say with what.
 *
 * @example
 * ```ts
 * import { http, ws } from "@sluice/net";
 *
 * await using server = await http.serve(
 *   () => new Response("Who are you?", { status: 401 }),
 *   { hostname: "127.0.0.1", port: 0 },
 * );
 *
 * try {
 *   await ws.connect(server.url);
 * } catch (error) {
 *   if (error instanceof ws.HandshakeError) console.log(error.status);
 * }
 * ```
 */
export class HandshakeError extends ConnectError {
  static {
    this.prototype.name = "HandshakeError";
  }

  /** Status of the answer. */
  readonly status: number;
  /** Header fields of the answer. */
  readonly headers: Headers;

  /**
   * `code` is `ERR_HANDSHAKE`; retryable for the statuses that are: 408, 425,
   * 429 and 5xx.
   */
  constructor(
    message: string,
    options: NetErrorDetails & { status: number; headers: Headers },
  ) {
    const { status, headers } = options;
    super(message, {
      code: "ERR_HANDSHAKE",
      phase: "handshake",
      retryable: status >= 500 || [408, 425, 429].includes(status),
      ...options,
    });
    this.status = status;
    this.headers = headers;
  }
}
