/**
 * Whether `await` would wait for it. Its `then` may do anything, so it is to be
 * called by `Promise.resolve` alone; one that cannot even be looked at counts:
 * the promise tells why.
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value === null) return false;
  if (typeof value !== "object" && typeof value !== "function") return false;
  try {
    return typeof (value as { then?: unknown }).then === "function";
  } catch {
    return true;
  }
}
