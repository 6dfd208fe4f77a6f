import type { MaybePromise } from "./types.ts";

/** What a message weighs, or why it can never be sent. */
export function weigh<T>(
  size: ((message: T) => number) | undefined,
  message: T,
): number | Promise<never> {
  if (message === undefined) {
    return Promise.reject(
      new TypeError("Cannot send: undefined is the end, not a message"),
    );
  }
  if (size === undefined) return 1;
  try {
    const weight = size(message);
    if (Number.isFinite(weight) && weight >= 0) return weight;
    return Promise.reject(
      new RangeError(
        `Cannot send: size must give a number of 0 or more: ${weight}`,
      ),
    );
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Refuses a capacity that makes no sense. */
export function checkCapacity(capacity: unknown, what: string): void {
  if (typeof capacity === "number" && capacity >= 0) return;
  throw new RangeError(
    `Cannot make a ${what}: capacity must be 0 or more: ${capacity}`,
  );
}

/** Whether it must be awaited. */
export function isThenable<T>(value: MaybePromise<T> | T): value is Promise<T> {
  return typeof value === "object" && value !== null &&
    typeof (value as PromiseLike<T>).then === "function";
}

/** Refuses a number of messages that makes no sense. */
export function checkCount(count: unknown, what: string): void {
  if (count === Infinity || (Number.isInteger(count) && count as number >= 0)) {
    return;
  }
  throw new RangeError(
    `Cannot ${what}: it takes an integer of 0 or more: ${count}`,
  );
}

/** Refuses a number that must be above 0. */
export function checkPositive(value: unknown, what: string): void {
  if (typeof value === "number" && value > 0) return;
  throw new RangeError(`Cannot ${what}: it must be above 0: ${value}`);
}
