import { TimeoutError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import { Deadlines } from "./_client_timers.ts";

/** How many times as long a store is left alone that has not answered. */
const REST = 10;

/** Waits for a store, but not for ever, and not for one request after another. */
export class Patience {
  readonly #deadlines = new Deadlines({ keepAlive: true });
  readonly #time: number;
  /** Until then nobody asks it. */
  #rests = 0;

  /** Milliseconds for each call. */
  constructor(time: number) {
    this.#time = time;
  }

  /**
   * What it gives; rejects when that takes too long, or just did, and when the
   * one who made the request has given up.
   */
  async ask<T>(call: () => MaybePromise<T>, request?: Request): Promise<T> {
    if (performance.now() < this.#rests) throw this.#late();
    return await this.#wait(call(), request);
  }

  /** The same for what it has to know: it is told in any case. */
  async tell(call: () => MaybePromise<unknown>): Promise<void> {
    const resting = performance.now() < this.#rests;
    const given = Promise.resolve(call());
    if (resting) given.catch(() => {});
    else await this.#wait(given);
  }

  #wait<T>(given: MaybePromise<T>, request?: Request): MaybePromise<T> {
    if (typeof (given as PromiseLike<T> | null)?.then !== "function") {
      return given;
    }
    const signal = request?.signal;
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        over();
        reject(error);
      };
      const onAbort = () => fail(signal!.reason);
      const deadline = this.#deadlines.set(this.#time, () => {
        this.#rests = performance.now() + REST * this.#time;
        fail(this.#late());
      });
      const over = () => {
        deadline?.cancel();
        signal?.removeEventListener("abort", onAbort);
      };
      if (signal?.aborted) onAbort();
      else signal?.addEventListener("abort", onAbort);
      Promise.resolve(given).then((value) => {
        over();
        resolve(value);
      }, fail);
    });
  }

  #late(): TimeoutError {
    return new TimeoutError(
      `Cannot use the store: it has not answered within ${this.#time} ms`,
      { phase: "store" },
    );
  }
}
