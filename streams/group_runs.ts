import { SizeLimitError } from "./errors.ts";
import { operator } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import { finish } from "./_framing.ts";
import type { MaybePromise, Operator } from "./types.ts";

/** What bounds a run. */
export interface GroupRunsOptions {
  /**
   * Messages a run may have; past it the source fails with a `SizeLimitError`.
   * @default {65_536}
   */
  maxLength?: number;
}

class GroupRunsStep<T> implements Step<T> {
  readonly #next: Step<T[]>;
  readonly #key: (message: T) => unknown;
  readonly #limit: number;
  #run: T[] = [];
  #last: unknown;

  constructor(
    next: Step<T[]>,
    key: (message: T) => unknown,
    limit: number,
  ) {
    this.#next = next;
    this.#key = key;
    this.#limit = limit;
  }

  push(message: T): MaybePromise<boolean | void> {
    const key = this.#key(message);
    const run = this.#run;
    if (run.length === 0 || Object.is(key, this.#last)) {
      if (run.length >= this.#limit) {
        throw new SizeLimitError(
          `Cannot group a run of more than ${this.#limit} messages: raise maxLength`,
          { limit: this.#limit },
        );
      }
      run.push(message);
      this.#last = key;
      return undefined;
    }
    this.#run = [message];
    this.#last = key;
    return this.#next.push(run);
  }

  flush(): MaybePromise<void> {
    return finish(this.#next, this.#run.length === 0 ? [] : [this.#run]);
  }
}

/**
 * Messages that follow each other and have the same key, as lists.
 *
 * @example
 * ```ts
 * import { from, groupRuns } from "@sluice/net/streams";
 *
 * const runs = groupRuns((n: number) => n % 2)(from([1, 3, 2, 5]));
 * for await (const run of runs) console.log(run);
 * ```
 */
export function groupRuns<T>(
  key: (message: T) => unknown,
  options: GroupRunsOptions = {},
): Operator<T, T[]> {
  const { maxLength = 65_536 } = options;
  if (!(maxLength >= 1)) {
    throw new RangeError(
      `Cannot group: maxLength must be 1 or more: ${maxLength}`,
    );
  }
  return operator((next) => new GroupRunsStep(next, key, maxLength));
}
