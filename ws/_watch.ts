import type { SocketLimits } from "./_options.ts";

/** In how many parts silence is counted: it ends up to one part late. */
const PARTS = 4;

export interface WatchEvents {
  /** Whether this side has stopped reading: silence proves nothing then. */
  held(): boolean;
  /** Quiet for a while: ask whether the peer is there. */
  ping(): void;
  /** It is not. */
  dead(): void;
  /** No message for too long. */
  idle(): void;
}

/** Notices dead peers (`heartbeat`) and unused sockets (`idleTimeout`). */
export class Watch {
  /** To be set whenever bytes came. */
  heard = true;
  /** To be set whenever a message went either way. */
  used = true;
  readonly #timers: ReturnType<typeof setInterval>[] = [];

  constructor(limits: SocketLimits, events: WatchEvents) {
    if (limits.heartbeat > 0) {
      let asked = false;
      this.#timers.push(setInterval(() => {
        if (this.heard || events.held()) {
          this.heard = false;
          asked = false;
        } else if (asked) {
          events.dead();
        } else {
          asked = true;
          events.ping();
        }
      }, limits.heartbeat));
    }
    if (limits.idleTimeout > 0) {
      let quiet = 0;
      this.#timers.push(setInterval(() => {
        quiet = this.used || events.held() ? 0 : quiet + 1;
        this.used = false;
        if (quiet === PARTS) events.idle();
      }, Math.max(1, limits.idleTimeout / PARTS)));
    }
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }
}
