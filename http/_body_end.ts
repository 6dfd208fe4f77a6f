/**
 * Microtasks that a head waits for the end of its body: a stream made of what
 * is there anyway ends within a few, and then has a length.
 */
const TURNS = 12;

/** Node makes an object of its own for every `queueMicrotask`. */
const resolved = Promise.resolve();

/** Calls back when a body that is there would have ended, unless it did. */
export function afterQuickEnd(
  ended: () => boolean,
  callback: () => void,
): void {
  let left = TURNS;
  const turn = () => {
    if (ended()) return;
    if (left-- === 0) callback();
    else resolved.then(turn);
  };
  resolved.then(turn);
}
