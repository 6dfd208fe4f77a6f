import { trim } from "./_h1_tables.ts";

/** How urgent a response is (RFC 9218, 4). */
export interface Priority {
  /** 0, the most urgent, to 7. */
  readonly urgency: number;
  /** Whether a part of it is of use, so that it shares with others. */
  readonly incremental: boolean;
}

/**
 * Of those who say nothing: they share, so that none of them waits for
 * another one's end.
 */
export const NO_PRIORITY: Priority = { urgency: 3, incremental: true };

/** Longest field that is looked at. */
const MAX_LENGTH = 256;

/**
 * Reads a Priority field (RFC 9218, 5; a dictionary of RFC 8941): `u` and
 * `i`, of which the last counts. What is malformed is as if it were absent.
 */
export function parsePriority(text: string | undefined): Priority {
  if (text === undefined || text.length > MAX_LENGTH) return NO_PRIORITY;
  let urgency = 3;
  let incremental = false;
  for (const piece of text.split(",")) {
    // Parameters of a member mean nothing here.
    const member = trim(piece.split(";")[0]);
    const equals = member.indexOf("=");
    const key = equals === -1 ? member : member.slice(0, equals);
    const value = equals === -1 ? "?1" : member.slice(equals + 1);
    if (key === "u") {
      urgency = /^[0-7]$/.test(value) ? Number(value) : 3;
    } else if (key === "i") {
      incremental = value === "?1";
    } else if (!/^[a-z*][a-z0-9_.*-]*$/.test(key)) {
      return NO_PRIORITY;
    }
  }
  return { urgency, incremental };
}

/** What waits for its turn to send. */
export interface Scheduled {
  priority: Priority;
}

/**
 * Whose turn it is (RFC 9218, 10): the most urgent first; of those that are
 * equally urgent the incremental ones share, frame by frame, and others send
 * to their end, or until they have nothing to send.
 */
export class Scheduler<T extends Scheduled> {
  readonly #levels: (Set<T> | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    const level = this.#levels[item.priority.urgency] ??= new Set();
    const { size } = level;
    level.add(item);
    this.#size += level.size - size;
  }

  remove(item: T): void {
    if (this.#levels[item.priority.urgency]?.delete(item)) this.#size--;
  }

  /** Changes the priority of an item, wherever it is. */
  move(item: T, priority: Priority): void {
    const waiting = this.#levels[item.priority.urgency]?.has(item) === true;
    if (waiting) this.remove(item);
    item.priority = priority;
    if (waiting) this.add(item);
  }

  /** The next one, which stays; an incremental one goes behind the others. */
  next(): T | undefined {
    if (this.#size === 0) return undefined;
    for (const level of this.#levels) {
      if (level === undefined || level.size === 0) continue;
      for (const item of level) {
        if (item.priority.incremental && level.size > 1) {
          level.delete(item);
          level.add(item);
        }
        return item;
      }
    }
    return undefined;
  }
}
