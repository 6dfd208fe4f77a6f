import type { H2Error } from "./_h2_frames.ts";
import type { H2Stream, StreamListener } from "./_h2_stream.ts";

/** What a session goes by. */
export interface SessionOptions {
  readonly role: "client" | "server";
  /** Streams that the peer may have open at a time. */
  readonly streams: number;
  /** Bytes of a section of fields, counted as RFC 9113, 6.5.2, says. */
  readonly header: number;
  /** Bytes of the window of a stream at first, and at most. */
  readonly window: number;
  readonly maxWindow: number;
}

/** Who the session is for. */
export interface SessionOwner {
  /** The peer opens a stream: who is it for? `undefined` refuses it. */
  open(): ((stream: H2Stream) => StreamListener) | undefined;
  /** The peer's settings have come, the first time or again. */
  settled(): void;
  /** The peer wants no streams past this one. */
  goingAway(last: number, code: number): void;
  /** A ping of ours was answered. */
  ponged(): void;
  /** A stream is over. */
  left(): void;
  /** The session is over: GOAWAY is written, and nothing is read any more. */
  failed(error: H2Error): void;
}
