/**
 * The time of a turn of the event loop: when it began, or later. Whatever is
 * handled in it had come by then. On Deno, where many sockets are heard of in
 * one turn and the clocks cost more than what is done with them, they are
 * asked once for all; elsewhere each time.
 */
const crowded = (globalThis as { Deno?: unknown }).Deno !== undefined;
const resolved = Promise.resolve();
let known = false;
let steady = 0;
let wall = 0;

function look(): void {
  known = true;
  steady = performance.now();
  wall = Date.now();
  // Behind all that the turn has begun with.
  resolved.then(forget);
}

function forget(): void {
  known = false;
}

/** That of `performance.now()`, in ms. */
export function steadyTime(): number {
  if (!crowded) return performance.now();
  if (!known) look();
  return steady;
}

/** That of `Date.now()`, in ms. */
export function wallTime(): number {
  if (!crowded) return Date.now();
  if (!known) look();
  return wall;
}
