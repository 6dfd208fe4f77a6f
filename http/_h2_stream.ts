import type { Fields } from "./_h1_types.ts";
import {
  DATA,
  END_STREAM,
  H2StreamError,
  PROTOCOL_ERROR,
} from "./_h2_frames.ts";
import { NO_PRIORITY } from "./_h2_priority.ts";
import type { Priority, Scheduled } from "./_h2_priority.ts";
import type { H2Session } from "./_h2_session.ts";

/** Bytes that wait on a stream before its source is held. */
const HIGH_WATER_MARK = 64 * 1024;

/** What a stream tells the one it is for. */
export interface StreamListener {
  /**
   * A section of fields: a head or trailers, in the terms of the protocol.
   * `undefined`: it was longer than it may be. May throw an `H2StreamError`.
   */
  fields(fields: Fields | undefined, ended: boolean): void;
  /** Bytes came; they count as unread until they are `consume`d. */
  data(chunk: Uint8Array): void;
  /** The peer is done; not told when fields said so. */
  end(): void;
  /** There is room again, after `full` was true. */
  drain(): void;
  /** All that is to be sent has been written. */
  sent(): void;
  /** It is over before its time; comes once, and nothing after it. */
  cut(error: unknown): void;
  /** Looks at its deadlines; called every so often. */
  check(now: number): void;
}

/** One stream of a connection (RFC 9113, 5). */
export class H2Stream implements Scheduled {
  readonly id: number;
  readonly session: H2Session;
  readonly listener: StreamListener;
  /** To be changed by the session alone. */
  priority: Priority = NO_PRIORITY;
  /** Bytes that the peer may send, and we may. */
  receiveWindow: number;
  sendWindow: number;
  /** Length of what comes, when its head tells (RFC 9113, 8.1.1). */
  expected: number | undefined;
  /** Nothing more comes. */
  remoteEnded = false;
  /** Nothing more goes. */
  localEnded = false;
  /** It is out of the session. */
  over = false;
  /** Bytes told and not consumed. */
  held = 0;
  /** Bytes consumed that the peer has not been told of. */
  unacked = 0;
  /** What comes is dropped. */
  discarding = false;
  /** Bytes that wait to be sent. */
  queued = 0;
  /** Bytes that may wait when there is room again. */
  lowWaterMark = HIGH_WATER_MARK / 2;
  /** Something of it was sent since this was last looked at. */
  moved = false;
  #hearing = false;
  #received = 0;
  #chunks: Uint8Array[] = [];
  #ending = false;
  #trailers: Fields | undefined;
  #waiting = false;

  constructor(
    session: H2Session,
    id: number,
    windows: { receive: number; send: number },
    listen: (stream: H2Stream) => StreamListener,
  ) {
    this.session = session;
    this.id = id;
    this.receiveWindow = windows.receive;
    this.sendWindow = windows.send;
    this.listener = listen(this);
  }

  // What comes; called by the session.

  /** Counts bytes against the length that was told. */
  count(size: number): void {
    this.#received += size;
    if (this.expected !== undefined && this.#received > this.expected) {
      throw this.#wrongLength();
    }
  }

  /** The peer is done. */
  endRemote(): void {
    this.remoteEnded = true;
    if (this.expected !== undefined && this.#received < this.expected) {
      throw this.#wrongLength();
    }
  }

  #wrongLength(): H2StreamError {
    return new H2StreamError(
      PROTOCOL_ERROR,
      `Cannot take a body: it is not as long as its content-length: ${this.expected}`,
    );
  }

  /** Bytes came; that they were the last is told behind them. */
  hear(data: Uint8Array, last: boolean): void {
    this.#hearing = last;
    this.listener.data(data);
    this.#hearing = false;
  }

  /** Both sides are done, and know it. */
  get settled(): boolean {
    return this.localEnded && this.remoteEnded && !this.#hearing;
  }

  /** So many bytes are read: as many more may come. */
  consume(size: number): void {
    this.session.consume(this, size);
  }

  /** Nothing of what comes is wanted any more: its window is left to close. */
  discard(): void {
    this.discarding = true;
    this.session.consume(this, this.held);
  }

  // What goes.

  /** Whether to wait for `drain`. */
  get full(): boolean {
    if (this.queued < HIGH_WATER_MARK || this.over) return false;
    this.#waiting = true;
    return true;
  }

  /** Has `drain` called once `lowWaterMark` is reached. */
  hold(): void {
    this.#waiting = true;
  }

  /** Sends a head; before anything else, and once for each. */
  sendFields(fields: Fields, end: boolean): void {
    if (this.over || this.localEnded) return;
    if (end) this.#ending = true;
    this.session.sender.fields(this.id, fields, end);
    if (end) this.#endLocal();
  }

  /** Sends bytes; they must not be changed from now on. */
  send(bytes: Uint8Array): void {
    if (this.over || this.#ending || bytes.byteLength === 0) return;
    this.#chunks.push(bytes);
    this.queued += bytes.byteLength;
    this.session.sender.schedule(this);
  }

  /** Nothing more goes but trailers, if there are any. */
  end(trailers?: Fields): void {
    if (this.over || this.#ending) return;
    this.#ending = true;
    this.#trailers = trailers;
    if (this.queued === 0) this.#finish();
  }

  /** Bytes with which it ends: in one frame where that is possible. */
  sendLast(bytes: Uint8Array): void {
    if (this.over || this.#ending) return;
    if (bytes.byteLength === 0) {
      this.end();
      return;
    }
    this.#chunks.push(bytes);
    this.queued += bytes.byteLength;
    this.#ending = true;
    this.session.sender.schedule(this);
  }

  /**
   * Bytes for the next frame, at most so many; `queued` tells what is left.
   * For the session.
   */
  take(size: number): Uint8Array {
    const chunks = this.#chunks;
    const first = chunks[0];
    if (first.byteLength > size) {
      chunks[0] = first.subarray(size);
      this.queued -= size;
      return first.subarray(0, size);
    }
    if (chunks.length === 1 || first.byteLength === size) {
      chunks.shift();
      this.queued -= first.byteLength;
      return first;
    }
    // Small pieces go together.
    const whole = new Uint8Array(Math.min(size, this.queued));
    let used = 0;
    while (used < whole.byteLength) {
      const chunk = chunks[0];
      const room = whole.byteLength - used;
      if (chunk.byteLength > room) {
        whole.set(chunk.subarray(0, room), used);
        chunks[0] = chunk.subarray(room);
        used += room;
      } else {
        whole.set(chunk, used);
        chunks.shift();
        used += chunk.byteLength;
      }
    }
    this.queued -= used;
    return whole;
  }

  /** Whether the frame that empties the queue is the last one. */
  get endsWithData(): boolean {
    return this.#ending && this.#trailers === undefined;
  }

  /** A frame was written; called by the session. */
  wrote(ended: boolean): void {
    if (ended) this.#endLocal();
    else if (this.queued === 0 && this.#ending) this.#finish();
    else if (this.#waiting && this.queued <= this.lowWaterMark) {
      this.#waiting = false;
      this.listener.drain();
    }
  }

  #finish(): void {
    const trailers = this.#trailers;
    if (trailers === undefined || trailers.length === 0) {
      this.session.sender.frame(DATA, END_STREAM, this.id, undefined);
    } else this.session.sender.fields(this.id, trailers, true);
    this.#endLocal();
  }

  #endLocal(): void {
    this.localEnded = true;
    this.listener.sent();
    this.session.settle(this);
  }

  /** Ends it now, both ways (RFC 9113, 6.4). */
  reset(code: number): void {
    this.session.reset(this, code);
  }

  /** Drops what waits to be sent; called by the session. */
  drop(): void {
    this.over = true;
    this.#chunks = [];
    this.queued = 0;
  }
}
