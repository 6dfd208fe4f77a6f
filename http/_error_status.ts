import { MultipartError, MultipartLimitError } from "./errors.ts";

/** What told the reader of a request's body that it is too long. */
export const tooLong: WeakSet<object> = new WeakSet();

/** The status of the bare answer when a handler failed with this. */
export function statusOfError(error: unknown): number {
  if (tooLong.has(error as object)) return 413;
  return error instanceof MultipartError || error instanceof MultipartLimitError
    ? error.status
    : 500;
}
