import type { CompressOptions, SocketOptions } from "./types.ts";

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

/** How to compress, all of it said. */
export type CompressSettings = Required<CompressOptions>;

const MIB = 1024 * 1024;

const DEFAULTS: SocketLimits = {
  maxMessageSize: 16 * MIB,
  highWaterMark: 64 * 1024,
  maxBuffered: 16 * MIB,
  heartbeat: 0,
  idleTimeout: 0,
  closeTimeout: 15_000,
};

const COMPRESS: CompressSettings = {
  threshold: 1024,
  level: 3,
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: 15,
  clientMaxWindowBits: 15,
  maxMemory: 64 * MIB,
};

/** Least and most of the numbers among them. */
const COMPRESS_RANGES: Record<string, readonly [number, number]> = {
  threshold: [0, Infinity],
  level: [1, 9],
  serverMaxWindowBits: [8, 15],
  clientMaxWindowBits: [8, 15],
  maxMemory: [0, Infinity],
};

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
  const entries = Object.entries(options);
  if (entries.length === 0) return DEFAULTS;
  for (const [name, value] of entries) {
    if (
      value === undefined || name in DEFAULTS || name === "compress" ||
      others.includes(name)
    ) continue;
    throw new TypeError(`Cannot ${action}: no such option: ${name}`);
  }
  // Most have the defaults: they are one object for all.
  let own = false;
  const check = (name: keyof SocketLimits, least: number, most: number) => {
    const value = options[name];
    if (value === undefined) return DEFAULTS[name];
    if (typeof value !== "number" || !(value >= least && value <= most)) {
      throw new RangeError(
        `Cannot ${action}: ${name} must be a number from ${least} to ${most}: ${value}`,
      );
    }
    own = true;
    return value;
  };
  const limits = {
    maxMessageSize: check("maxMessageSize", 0, 2 ** 31 - 1),
    highWaterMark: check("highWaterMark", 1, 2 ** 31 - 1),
    maxBuffered: check("maxBuffered", 0, Infinity),
    heartbeat: check("heartbeat", 0, MAX_DELAY),
    idleTimeout: check("idleTimeout", 0, MAX_DELAY),
    closeTimeout: check("closeTimeout", 0, MAX_DELAY),
  };
  return own ? limits : DEFAULTS;
}

/** Checks `compress`; `undefined` is off. */
export function compressOf(
  compress: SocketOptions["compress"],
  action: string,
): CompressSettings | undefined {
  if (compress === undefined || compress === false) return undefined;
  if (compress === true) return COMPRESS;
  if (typeof compress !== "object" || compress === null) {
    throw new TypeError(
      `Cannot ${action}: compress is true, false or options: ${compress}`,
    );
  }
  for (const [name, value] of Object.entries(compress)) {
    if (value === undefined) continue;
    if (!(name in COMPRESS)) {
      throw new TypeError(
        `Cannot ${action}: no such option: compress.${name}`,
      );
    }
    const range = COMPRESS_RANGES[name];
    if (range === undefined) {
      if (typeof value === "boolean") continue;
      throw new TypeError(
        `Cannot ${action}: compress.${name} must be true or false: ${value}`,
      );
    }
    const [least, most] = range;
    const whole = least === 0 || Number.isInteger(value);
    if (!(whole && value >= least && value <= most)) {
      throw new RangeError(
        `Cannot ${action}: compress.${name} must be a number from ${least} to ${most}: ${value}`,
      );
    }
  }
  const given = Object.entries(compress).filter(([, value]) =>
    value !== undefined
  );
  return { ...COMPRESS, ...Object.fromEntries(given) };
}
