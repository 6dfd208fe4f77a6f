import type { NetError } from "./errors.ts";

/** A value, or a promise of it: the synchronous fast path needs no promise. */
export type MaybePromise<T> = T | Promise<T>;

/** What can be sent as bytes. Strings are encoded as UTF-8. */
export type Bytes = Uint8Array | ArrayBuffer | ArrayBufferView | string;

/** Where time comes from: by default, and mostly, from the runtime. */
export interface Clock {
  /** Milliseconds since some moment; never less than the last time. */
  now(): number;
  /** Calls a function once `ms` have passed; gives what `clearTimeout` takes. */
  setTimeout(fn: () => void, ms: number): unknown;
  /** Takes that back. */
  clearTimeout(timer: unknown): void;
}

/** How long to wait for one `receive` or `send`. */
export interface Wait {
  /** Gives the wait up when it aborts; the call rejects with its reason. */
  signal?: AbortSignal;
  /** Milliseconds; the call rejects with a `TimeoutError` past it. */
  timeout?: number;
  /** What measures `timeout`; a `MockClock` in tests. */
  clock?: Clock;
}

/** How a stream came to its end. */
export interface CloseInfo {
  /** `true` when both sides finished in order and nothing was cut off. */
  readonly clean: boolean;
  /** Why it was cut off, when it was. */
  readonly error?: NetError;
}

/** Where a socket is: host and port, or the path of a Unix socket. */
export type Address =
  | {
    readonly transport: "tcp" | "udp";
    readonly hostname: string;
    readonly port: number;
  }
  | { readonly transport: "unix"; readonly path: string };

/**
 * The reading half: messages come one at a time, in batches, or as a Web
 * Stream. A source has one consumer at a time.
 */
export interface Source<T> extends AsyncIterable<T> {
  /**
   * The next message: at once when one is queued, a promise otherwise.
   * `undefined` is the clean end. Rejects when the source failed. A wait that
   * is given up (signal, timeout) loses no message.
   */
  receive(options?: Wait): MaybePromise<T | undefined>;
  /** All that is queued at a time, with one `await` a batch: the fast path. */
  batches(): AsyncIterable<readonly T[]>;
  /** The same messages as a Web Stream, made on first use. */
  readonly readable: ReadableStream<T>;
}

/** The writing half. The result of `send` is the backpressure. */
export interface Sink<T> {
  /**
   * `true`: accepted. `false`: the sink is closed. A promise: it is full;
   * wait before sending more. Rejects only for the caller's own signal or
   * timeout, and for a message that can never be sent.
   */
  send(message: T, options?: Wait): MaybePromise<boolean>;
  /** The same sink as a Web Stream, made on first use. */
  readonly writable: WritableStream<T>;
  /** What is queued and not yet handed on (bytes, or messages in a channel). */
  readonly buffered: number;
}

/** Both halves of a connection, and its end. */
export interface Duplex<In, Out = In, Info extends CloseInfo = CloseInfo>
  extends Source<In>, Sink<Out>, AsyncDisposable {
  /** Resolves when all is over; never rejects. */
  readonly closed: Promise<Info>;
  /** Flushes what is queued, says goodbye, waits (bounded) for the peer. */
  close(...args: never[]): Promise<void>;
  /** Ends it now: queued messages are dropped, pending receives reject. */
  destroy(reason?: unknown): void;
}

/** What a full queue does with one more message. */
export type Overflow = "wait" | "drop-oldest" | "drop-newest" | "close";

/**
 * A step that gives on the messages it is given, whatever they are: the type
 * is that of the source.
 */
export interface Passing {
  /** The source with this step after it; it becomes its only consumer. */
  <T>(source: Source<T>): Source<T>;
  /** A fresh `TransformStream`, for `pipeThrough`. */
  transform<T>(): TransformStream<T, T>;
}

/**
 * A step between a source and whoever receives: `op(args)(source)` is a source
 * again, and `op(args).transform()` the same step for Web Streams. Destroying
 * or cancelling what comes out reaches the source that goes in; an error, also
 * one that is thrown by the step itself, ends what comes out with that error.
 */
export interface Operator<In, Out> {
  /** The source with this step after it; it becomes its only consumer. */
  (source: Source<In>): Source<Out>;
  /** A fresh `TransformStream`, for `pipeThrough`. */
  transform(): TransformStream<In, Out>;
}
