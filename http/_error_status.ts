import { MultipartError, MultipartLimitError } from "./errors.ts";

/** The status of the bare answer when a handler failed with this. */
export function statusOfError(error: unknown): number {
  return error instanceof MultipartError || error instanceof MultipartLimitError
    ? error.status
    : 500;
}
