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
 * second. What still comes is answered, and told that it is the last. The same
 * goes for those that come to rest later, without having told that.
 */
export class Farewell {
  readonly #connections: ReadonlySet<Resting>;
  /** Those listened to, and how often they were looked at. */
  readonly #looks = new Map<Resting, number>();
  #quiet = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(connections: ReadonlySet<Resting>) {
    this.#connections = connections;
  }

  begin(): void {
    for (const connection of [...this.#connections]) {
      if (connection.resting) this.rest(connection);
      else connection.shutDown();
    }
  }

  /** This one rests from now on. */
  rest(connection: Resting): void {
    this.#looks.set(connection, 0);
    this.#timer ??= setTimeout(() => this.#look(), STEP);
  }

  #look(): void {
    this.#timer = undefined;
    this.#quiet++;
    for (const connection of this.#looks.keys()) {
      if (connection.resting && this.#connections.has(connection)) continue;
      this.#looks.delete(connection);
      this.#quiet = 0;
    }
    for (const [connection, before] of [...this.#looks]) {
      const looks = before + 1;
      this.#looks.set(connection, looks);
      // A loop that was held up looks before it reads: once is not enough.
      if (looks < MOST && Math.min(looks, this.#quiet) < QUIET) continue;
      this.#looks.delete(connection);
      connection.shutDown();
    }
    if (this.#looks.size > 0) {
      this.#timer ??= setTimeout(() => this.#look(), STEP);
    }
  }

  /** Nobody is left to wait for. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#looks.clear();
  }
}
