import type { SocketOptions } from "./types.ts";

/** The limits of a socket, all of them set. */
export interface SocketLimits {
  readonly maxMessageSize: number;
  readonly highWaterMark: number;
  readonly maxBuffered: number;
  /** 0 is off. */
  readonly heartbeat: number;
  /** 0 is off. */
  readonly idleTimeout: number;
  readonly closeTimeout: number;
}

const MIB = 1024 * 1024;

const DEFAULTS: SocketLimits = {
  maxMessageSize: 16 * MIB,
  highWaterMark: 64 * 1024,
  maxBuffered: 16 * MIB,
  heartbeat: 0,
  idleTimeout: 0,
  closeTimeout: 15_000,
};

/** Options that are promised: refused unless they are off. */
const NOT_YET = ["compress", "proxy", "lookup"];

/** Longest delay a timer takes. */
const MAX_DELAY = 2 ** 31 - 1;

/**
 * Checks the options that sockets of either side have in common. `others`
 * are the names of the rest: an unknown one is refused, never ignored.
 */
export function limitsOf(
  options: SocketOptions,
  others: readonly string[],
  action: string,
): SocketLimits {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || name in DEFAULTS || others.includes(name)) {
      continue;
    }
    const promised = NOT_YET.includes(name);
    if (promised && value === false) continue;
    throw new TypeError(
      `Cannot ${action}: ${
        promised ? "not supported yet" : "no such option"
      }: ${name}`,
    );
  }
  const check = (name: keyof SocketLimits, least: number, most: number) => {
    const value = options[name];
    if (value === undefined) return DEFAULTS[name];
    if (typeof value !== "number" || !(value >= least && value <= most)) {
      throw new RangeError(
        `Cannot ${action}: ${name} must be a number from ${least} to ${most}: ${value}`,
      );
    }
    return value;
  };
  return {
    maxMessageSize: check("maxMessageSize", 0, 2 ** 31 - 1),
    highWaterMark: check("highWaterMark", 1, 2 ** 31 - 1),
    maxBuffered: check("maxBuffered", 0, Infinity),
    heartbeat: check("heartbeat", 0, MAX_DELAY),
    idleTimeout: check("idleTimeout", 0, MAX_DELAY),
    closeTimeout: check("closeTimeout", 0, MAX_DELAY),
  };
}
