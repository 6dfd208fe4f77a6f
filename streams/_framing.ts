import { SizeLimitError } from "./errors.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise } from "./types.ts";

/** What bounds the messages that are found in a stream of bytes. */
export interface FramingOptions {
  /**
   * Bytes a message may have, without what separates it from others; past it
   * the stream fails with a `SizeLimitError`.
   * @default {1_048_576}
   */
  maxLength?: number;
}

export function limitOf(options: FramingOptions | undefined): number {
  const { maxLength = 1_048_576 } = options ?? {};
  if (typeof maxLength === "number" && maxLength >= 0) return maxLength;
  throw new RangeError(
    `Cannot frame: maxLength must be 0 or more: ${maxLength}`,
  );
}

export function tooLong(what: string, limit: number): SizeLimitError {
  return new SizeLimitError(
    `Cannot read a ${what} of more than ${limit} bytes: raise maxLength`,
    { limit },
  );
}

/** Pushes several messages, one after the other; `true` when it is enough. */
export function pushAll<T>(
  next: Step<T>,
  messages: readonly T[],
): MaybePromise<boolean> {
  for (let i = 0; i < messages.length; i++) {
    const pushed = next.push(messages[i]);
    if (pushed instanceof Promise) return pushRest(pushed, next, messages, i);
    if (pushed) return true;
  }
  return false;
}

async function pushRest<T>(
  pushed: Promise<boolean | void>,
  next: Step<T>,
  messages: readonly T[],
  at: number,
): Promise<boolean> {
  if (await pushed) return true;
  for (let i = at + 1; i < messages.length; i++) {
    const pushed = next.push(messages[i]);
    if (pushed instanceof Promise ? await pushed : pushed) return true;
  }
  return false;
}

/** Pushes messages, then fails if there is a failure after them. */
export function deliver<T>(
  next: Step<T>,
  messages: readonly T[],
  failure: Error | undefined,
): MaybePromise<boolean> {
  const pushed = pushAll(next, messages);
  if (failure === undefined) return pushed;
  const fail = (enough: boolean): boolean => {
    if (enough) return true;
    throw failure;
  };
  return pushed instanceof Promise ? pushed.then(fail) : fail(pushed);
}

/** Pushes the last messages, then ends what follows. */
export function finish<T>(
  next: Step<T>,
  messages: readonly T[],
): MaybePromise<void> {
  const pushed = pushAll(next, messages);
  if (pushed instanceof Promise) {
    return pushed.then((enough) => enough ? undefined : next.flush());
  }
  return pushed ? undefined : next.flush();
}

/** Where the delimiter is for the first time; -1 when it is not there. */
export function find(
  bytes: Uint8Array,
  delimiter: Uint8Array,
  from = 0,
): number {
  const last = bytes.byteLength - delimiter.byteLength;
  for (
    let at = bytes.indexOf(delimiter[0], from);
    at >= 0 && at <= last;
    at = bytes.indexOf(delimiter[0], at + 1)
  ) {
    let i = 1;
    while (i < delimiter.byteLength && bytes[at + i] === delimiter[i]) i++;
    if (i === delimiter.byteLength) return at;
  }
  return -1;
}
