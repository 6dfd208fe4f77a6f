/** How often is looked, in ms, and how often nothing must have moved. */
const STEP = 10;
const QUIET = 3;
/** Looks at most. */
const MOST = 50;

/** A connection between two requests, perhaps. */
export interface Resting {
  /** Whether nothing is under way on it, as far as one knows. */
  readonly resting: boolean;
  /** Ends it, if nothing is under way. */
  shutDown(): void;
}

/**
 * How a server parts from connections that rest. A request may be on its way,
 * or with the kernel, when the server begins to close, and would be lost (RFC
 * 9112, 9.5); under load that is so for most of them. So they are listened to
 * for a little longer: as long as some of them are heard of, within half a
 * second. What still comes is answered, and told that it is the last.
 */
export class Farewell {
  readonly #connections: ReadonlySet<Resting>;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(connections: ReadonlySet<Resting>) {
    this.#connections = connections;
  }

  begin(): void {
    let left = 0;
    for (const connection of [...this.#connections]) {
      if (connection.resting) left++;
      else connection.shutDown();
    }
    let quiet = 0;
    let looks = 0;
    const look = () => {
      this.#timer = undefined;
      let now = 0;
      for (const connection of this.#connections) {
        if (connection.resting) now++;
      }
      // A loop that was held up looks before it reads: once is not enough.
      quiet = now === left ? quiet + 1 : 0;
      left = now;
      if (left === 0) return;
      if (quiet < QUIET && ++looks < MOST) {
        this.#timer = setTimeout(look, STEP);
        return;
      }
      for (const connection of [...this.#connections]) {
        if (connection.resting) connection.shutDown();
      }
    };
    if (left > 0) this.#timer = setTimeout(look, STEP);
  }

  /** Nobody is left to wait for. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
