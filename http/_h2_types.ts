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
  /** Streams that may be reset, by the peer or because of it, at once. */
  readonly maxResets: number;
  /** Frames of the peer that ask for an answer, at once. */
  readonly maxControls: number;
  /** Where the bytes that are written are counted. */
  readonly tally?: { bytesWritten: number };
}

/** What both bounds are unless somebody says otherwise. */
export const FLOOD = 1000;

/** Throws a `RangeError` for windows that there cannot be (RFC 9113, 6.9). */
export function checkWindows(windows: readonly number[], what: string): void {
  for (const window of windows) {
    if (!(window >= 65_535 && window <= 2 ** 31 - 1)) {
      throw new RangeError(
        `Cannot ${what}: a window of http2 must be from 65535 to 2147483647 bytes: ${window}`,
      );
    }
  }
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
