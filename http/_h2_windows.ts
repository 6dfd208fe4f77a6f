import { DEFAULT_WINDOW, FRAME_SIZE, MAX_WINDOW } from "./_h2_frames.ts";

/** How many times the window of a stream that of the connection is. */
const FACTOR = 8;

/**
 * The windows that we give a peer (RFC 9113, 6.9): given back as what came is
 * read, and made larger where a round trip takes more than they let through.
 */
export class ReceiveWindows {
  /** Bytes of the window of a stream. */
  stream: number;
  /** Bytes of the window of the connection. */
  session: number;
  readonly #max: number;
  #left: number;
  #unacked = 0;
  #probed = 0;

  constructor(stream: number, max: number) {
    this.stream = stream;
    this.#max = Math.max(stream, max);
    this.session = sessionOf(stream);
    this.#left = this.session;
  }

  /** Data came; `false` when there was no room for it. */
  take(size: number): boolean {
    this.#left -= size;
    return this.#left >= 0;
  }

  /** Whether the peer can hardly send, whatever the windows of its streams. */
  get dry(): boolean {
    return this.#left < FRAME_SIZE;
  }

  /** Data was read: how much to tell the peer, or 0 for not yet. */
  giveBack(size: number): number {
    this.#unacked += size;
    // Little may be left because others hold much: it is not to run dry.
    if (this.#unacked < Math.min(this.session / 4, this.#left)) return 0;
    const more = this.#unacked;
    this.#unacked = 0;
    this.#left += more;
    return more;
  }

  /** Whether to measure a round trip, in which so many bytes have come. */
  beginProbe(bytes: number): boolean {
    this.#probed = bytes;
    return this.stream < this.#max;
  }

  /** How much larger they are now, when they are. */
  endProbe(bytes: number): { stream: number; session: number } | undefined {
    // Less than half of a window in a round trip: it is large enough.
    if (bytes - this.#probed < this.stream / 2) return undefined;
    const grown = Math.min(this.#max, this.stream * 2);
    const stream = grown - this.stream;
    this.stream = grown;
    const session = Math.max(0, sessionOf(grown) - this.session);
    this.session += session;
    this.#left += session;
    return stream === 0 ? undefined : { stream, session };
  }
}

function sessionOf(stream: number): number {
  return Math.min(
    MAX_WINDOW,
    Math.max(
      DEFAULT_WINDOW + 1,
      Math.min(stream * FACTOR, 16 * 1024 * 1024),
      stream,
    ),
  );
}
