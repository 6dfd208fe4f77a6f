import type { Handler } from "./types.ts";

/** How much of its arguments a handler can see: none, the request, or all. */
export type Seen = 0 | 1 | 2;

/** An arrow function of one plain parameter. */
const ONE =
  /^(?:async\b)?\s*(?:[A-Za-z_$][\w$]*|\(\s*[A-Za-z_$][\w$]*\s*,?\s*\))\s*=>/;
/** One of none. */
const NONE = /^(?:async\b)?\s*\(\s*\)\s*=>/;
/** The longest beginning that is looked at. */
const LOOK = 200;

/**
 * What of its arguments a handler can see at all: what it cannot need not be
 * made. That is certain for arrow functions only, which have no `arguments`,
 * with one plain parameter or none; any other is said to see everything.
 */
export function parametersOf(handler: Handler): Seen {
  if (handler.length > 1) return 2;
  const text = Function.prototype.toString.call(handler).slice(0, LOOK);
  return NONE.test(text) ? 0 : ONE.test(text) ? 1 : 2;
}
