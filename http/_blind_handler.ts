import type { HandlerFunction } from "./_serve_options.ts";

/**
 * Whether the function is written `() => …`: an arrow that names no parameter
 * has no way to see what it is called with, so nothing need be made for it.
 * All others may: `function () {}` has its `arguments`.
 */
export function isBlind(handler: HandlerFunction): boolean {
  return handler.length === 0 &&
    /^(?:async\s*)?\(\)\s*=>/.test(Function.prototype.toString.call(handler));
}
