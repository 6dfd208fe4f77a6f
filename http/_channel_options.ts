import { MAX_TIMEOUT } from "../streams/_waiters.ts";
import type { ChannelOptions } from "./channel.ts";

const DEFAULTS = {
  highWaterMark: 64 * 1024,
  maxBuffered: 16 * 1024 * 1024,
  maxMessageSize: 1024 * 1024,
  replay: 64 * 1024,
  poll: 25_000,
  grace: 30_000,
  heartbeat: 15_000,
  retry: 1000,
  maxSessions: 10_000,
  maxMemory: 256 * 1024 * 1024,
};

type Name = keyof typeof DEFAULTS;

/** Options with their defaults. */
export interface Bounds extends Readonly<Record<Name, number>> {
  readonly upgrade: ChannelOptions["upgrade"];
}

const STANDARD: Bounds = { ...DEFAULTS, upgrade: undefined };
const TIMES: readonly string[] = ["poll", "grace"];
/** The bounds of options that were seen before. */
const known = new WeakMap<ChannelOptions, Bounds>();

/** Checks options. */
export function boundsOf(options: ChannelOptions): Bounds {
  const seen = known.get(options);
  // The same object with other values is another one.
  if (seen !== undefined && same(options, seen)) return seen;
  const bounds: Record<string, unknown> = { ...STANDARD };
  for (const [name, value] of Object.entries(options)) {
    if (!(name in STANDARD)) {
      throw new TypeError(`Cannot make a channel: no such option: ${name}`);
    }
    if (value === undefined) continue;
    if (name === "upgrade") {
      if (typeof value !== "function") {
        throw new TypeError(
          `Cannot make a channel: upgrade must be a function, as ws.upgrade: ${value}`,
        );
      }
    } else if (typeof value !== "number" || !(value >= 0)) {
      throw new RangeError(
        `Cannot make a channel: ${name} must be a number of 0 or more: ${value}`,
      );
    } else if (name === "retry" && value > MAX_TIMEOUT) {
      // It is told to clients: none has a word for never.
      throw new RangeError(
        `Cannot make a channel: retry must be at most ${MAX_TIMEOUT} ms: ${value}`,
      );
    }
    bounds[name] = TIMES.includes(name)
      ? Math.min(value as number, MAX_TIMEOUT)
      : value;
  }
  const checked = bounds as unknown as Bounds;
  known.set(options, checked);
  return checked;
}

function same(options: ChannelOptions, bounds: Bounds): boolean {
  for (const name in options) {
    const value = (options as Record<string, unknown>)[name];
    const standard = (STANDARD as unknown as Record<string, unknown>)[name];
    const held = (bounds as unknown as Record<string, unknown>)[name];
    if (held !== (value ?? standard)) return false;
  }
  return true;
}
