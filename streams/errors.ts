import type { Address } from "./types.ts";

/** What a `NetError` carries besides its message. */
export interface NetErrorOptions {
  /** POSIX name where one exists, `ERR_*` otherwise. */
  code: string;
  /** What was going on, e.g. `"connect"`, `"header"`, `"body"`. */
  phase?: string;
  /** Whether the same operation may succeed when tried again. @default {false} */
  retryable?: boolean;
  /** The other end. */
  address?: Address;
  /** What was underneath. */
  cause?: unknown;
}

/**
 * The error of this library. `code` is the same on every runtime.
 *
 * @example
 * ```ts
 * import { NetError } from "@sluice/net/streams";
 *
 * const error = new NetError("Cannot connect: refused", {
 *   code: "ECONNREFUSED",
 *   retryable: true,
 * });
 * console.log(error.code);
 * ```
 */
export class NetError extends Error {
  static {
    this.prototype.name = "NetError";
  }

  /** POSIX name where one exists, `ERR_*` otherwise. */
  readonly code: string;
  /** What was going on when it happened. */
  readonly phase?: string;
  /** Whether the same operation may succeed when tried again. */
  readonly retryable: boolean;
  /** The other end, when known. */
  readonly address?: Address;

  /** Makes one from a message and its particulars. */
  constructor(message: string, options: NetErrorOptions) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = options.code;
    if (options.phase !== undefined) this.phase = options.phase;
    this.retryable = options.retryable ?? false;
    if (options.address !== undefined) this.address = options.address;
  }
}

/** The particulars of an error whose class already knows its code. */
export type NetErrorDetails = Partial<NetErrorOptions>;

/** A wait was longer than its limit. `phase` says which one. */
export class TimeoutError extends NetError {
  static {
    this.prototype.name = "TimeoutError";
  }

  /** The phase that took too long, e.g. `"receive"`, `"connect"`, `"header"`. */
  declare readonly phase: string;

  /** `code` is `ETIMEDOUT`. */
  constructor(message: string, options: NetErrorDetails & { phase: string }) {
    super(message, { code: "ETIMEDOUT", retryable: true, ...options });
  }
}

/** No connection could be made. */
export class ConnectError extends NetError {
  static {
    this.prototype.name = "ConnectError";
  }

  /** `phase` is `"connect"` and it is retryable unless said otherwise. */
  constructor(message: string, options: NetErrorOptions) {
    super(message, { phase: "connect", retryable: true, ...options });
  }
}

/** TLS could not be agreed on, or a certificate was refused. */
export class TlsError extends NetError {
  static {
    this.prototype.name = "TlsError";
  }

  /** `code` is `ERR_TLS` unless a more exact one is known. */
  constructor(message: string, options: NetErrorDetails = {}) {
    super(message, { code: "ERR_TLS", phase: "tls", ...options });
  }
}

/** A name could not be looked up. */
export class DnsError extends NetError {
  static {
    this.prototype.name = "DnsError";
  }

  /** `code` is `ENOTFOUND` unless a more exact one is known. */
  constructor(message: string, options: NetErrorDetails = {}) {
    super(message, { code: "ENOTFOUND", phase: "lookup", ...options });
  }
}

/** A proxy refused or broke the way out. */
export class ProxyError extends NetError {
  static {
    this.prototype.name = "ProxyError";
  }

  /** `code` is `ERR_PROXY` unless a more exact one is known. */
  constructor(message: string, options: NetErrorDetails = {}) {
    super(message, { code: "ERR_PROXY", phase: "proxy", ...options });
  }
}

/** The peer broke the rules of the protocol. */
export class ProtocolError extends NetError {
  static {
    this.prototype.name = "ProtocolError";
  }

  /** `code` is `ERR_PROTOCOL` unless a more exact one is known. */
  constructor(message: string, options: NetErrorDetails = {}) {
    super(message, { code: "ERR_PROTOCOL", ...options });
  }
}

/** Something was larger than its limit. */
export class SizeLimitError extends NetError {
  static {
    this.prototype.name = "SizeLimitError";
  }

  /** The limit that was passed, in bytes or messages. */
  readonly limit: number;

  /** `code` is `ERR_SIZE_LIMIT`. */
  constructor(message: string, options: NetErrorDetails & { limit: number }) {
    super(message, { code: "ERR_SIZE_LIMIT", ...options });
    this.limit = options.limit;
  }
}

/** A connection pool had no place, or is closed. */
export class PoolError extends NetError {
  static {
    this.prototype.name = "PoolError";
  }

  /** `code` is `ERR_POOL` unless a more exact one is known. */
  constructor(message: string, options: NetErrorDetails = {}) {
    super(message, {
      code: "ERR_POOL",
      phase: "pool",
      retryable: true,
      ...options,
    });
  }
}

/** It was closed before the operation could finish. */
export class ClosedError extends NetError {
  static {
    this.prototype.name = "ClosedError";
  }

  /** `code` is `ERR_CLOSED` unless a more exact one is known. */
  constructor(message: string, options: NetErrorDetails = {}) {
    super(message, { code: "ERR_CLOSED", ...options });
  }
}
