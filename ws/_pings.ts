import { ClosedError, NetError } from "../streams/errors.ts";
import { refuseWait, Waiter } from "../streams/_waiters.ts";
import type { Message } from "./types.ts";
import type { Wait } from "../streams/types.ts";
import { MAX_CONTROL } from "./_codes.ts";

/** Pings without an answer past which another one is refused. */
const MAX_PINGS = 1024;
/** How long a ping waits unless told otherwise. */
const TIMEOUT = 30_000;

interface Ping {
  readonly key: string;
  readonly started: number;
}

const encoder = new TextEncoder();
let count = 0;

/** The pings of one socket that wait for their pong. */
export class Pings {
  #waiting: Waiter<number, Ping>[] = [];

  /** Sends a ping by `transmit`; resolves with the milliseconds it took. */
  add(
    data: Message | undefined,
    options: Wait | undefined,
    transmit: (payload: Uint8Array) => void,
  ): Promise<number> {
    const refused = refuseWait(options);
    if (refused !== undefined) return refused;
    const payload = data === undefined
      ? encoder.encode(`${++count}`)
      : typeof data === "string"
      ? encoder.encode(data)
      : data;
    if (!(payload instanceof Uint8Array)) {
      return Promise.reject(
        new TypeError(`Cannot ping: neither a string nor bytes: ${data}`),
      );
    }
    if (payload.byteLength > MAX_CONTROL) {
      return Promise.reject(
        new RangeError(
          `Cannot ping: a ping has at most ${MAX_CONTROL} bytes: ${payload.byteLength}`,
        ),
      );
    }
    if (this.#waiting.length >= MAX_PINGS) {
      return Promise.reject(
        new NetError(`Cannot ping: ${MAX_PINGS} pings wait already`, {
          code: "ERR_TOO_MANY_WAITERS",
        }),
      );
    }
    const ping = new Waiter<number, Ping>({
      key: keyOf(payload),
      started: performance.now(),
    });
    this.#waiting.push(ping);
    ping.limit({ timeout: TIMEOUT, ...options }, "ping", (given) => {
      const at = this.#waiting.indexOf(given);
      if (at >= 0) this.#waiting.splice(at, 1);
    });
    transmit(payload);
    return ping.promise;
  }

  /**
   * A pong came. It answers the pings before its own too: a peer may answer
   * only the last of several (RFC 6455, 5.5.3).
   */
  answer(data: Uint8Array): void {
    const key = keyOf(data);
    const at = this.#waiting.findIndex((ping) => ping.value.key === key);
    if (at < 0) return;
    const now = performance.now();
    for (const ping of this.#waiting.splice(0, at + 1)) {
      ping.resolve(now - ping.value.started);
    }
  }

  /** No pong will come any more. */
  end(cause: unknown): void {
    for (const ping of this.#waiting.splice(0)) {
      ping.reject(
        new ClosedError("Cannot ping: the WebSocket was closed", { cause }),
      );
    }
  }
}

function keyOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
