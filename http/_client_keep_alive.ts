/** Taken off what a server says: it must not leave just as we send. */
const MARGIN = 1000;

/**
 * Milliseconds that a connection may be kept unused, by what its server says
 * in `Keep-Alive` (`timeout=5, max=100`), less a margin: a second, or half of
 * the time when that is short. `undefined` when it does not say.
 */
export function keepAliveTime(value: string): number | undefined {
  for (const part of value.split(",")) {
    const match = /^timeout\s*=\s*(\d{1,9}|"\d{1,9}")$/i.exec(part.trim());
    if (match === null) continue;
    const ms = Number(match[1].replaceAll('"', "")) * 1000;
    return Math.max(ms / 2, ms - MARGIN);
  }
  return undefined;
}
