import { isIPv4 } from "./_address.ts";
import type { Overflow } from "../streams/types.ts";
import type { BindOptions, MulticastOptions } from "./types.ts";

const OVERFLOWS: readonly string[] = [
  "wait",
  "drop-oldest",
  "drop-newest",
  "close",
] satisfies Overflow[];

const KNOWN: ReadonlySet<string> = new Set<keyof BindOptions>([
  "port",
  "hostname",
  "remote",
  "broadcast",
  "multicast",
  "reuseAddress",
  "ttl",
  "capacity",
  "overflow",
  "signal",
  "onError",
]);

const KNOWN_MULTICAST: ReadonlySet<string> = new Set<keyof MulticastOptions>([
  "interface",
  "ttl",
  "loopback",
]);

/** Refuses options that make no sense, before anything is opened. */
export function checkOptions(options: BindOptions): void {
  checkObject(options, "options");
  checkKnown(options, KNOWN, "");
  const { port, remote, multicast, capacity, overflow, onError } = options;
  if (port !== undefined) checkPort(port, 0, "Cannot bind");
  if (options.hostname !== undefined) {
    checkHostname(options.hostname, "Cannot bind");
  }
  if (remote !== undefined) {
    checkObject(remote, "remote");
    if (remote.transport !== "udp") {
      throw new TypeError(
        `Cannot bind: remote must be an address of "udp": ${remote.transport}`,
      );
    }
    checkHostname(remote.hostname, "Cannot bind to a remote");
    checkPort(remote.port, 1, "Cannot bind to a remote");
  }
  checkTTL(options.ttl, "ttl");
  checkFlag(options.broadcast, "broadcast");
  checkFlag(options.reuseAddress, "reuseAddress");
  if (multicast !== undefined) {
    checkObject(multicast, "multicast");
    checkKnown(multicast, KNOWN_MULTICAST, "multicast.");
    checkTTL(multicast.ttl, "multicast.ttl");
    checkFlag(multicast.loopback, "multicast.loopback");
  }
  if (onError !== undefined && typeof onError !== "function") {
    throw new TypeError(
      `Cannot bind: onError must be a function: ${String(onError)}`,
    );
  }
  checkNumber(capacity, "capacity");
  if (capacity !== undefined && !(Number.isInteger(capacity) && capacity > 0)) {
    throw new RangeError(
      `Cannot bind: capacity must be a whole number above 0: ${capacity}`,
    );
  }
  if (overflow !== undefined && !OVERFLOWS.includes(overflow)) {
    throw new TypeError(`Cannot bind: overflow is unknown: ${overflow}`);
  }
}

/** Refuses options that nothing here honours, rather than ignore them. */
function checkKnown(
  options: object,
  known: ReadonlySet<string>,
  within: string,
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.has(name)) {
      throw new TypeError(`Cannot bind: no such option: ${within}${name}`);
    }
  }
}

/** Refuses what is no port, or 0 where one is needed. */
export function checkPort(port: unknown, least: 0 | 1, what: string): void {
  if (typeof port !== "number") {
    throw new TypeError(`${what}: port must be a number: ${String(port)}`);
  }
  if (!(Number.isInteger(port) && port >= least && port <= 65535)) {
    throw new RangeError(`${what}: port must be ${least} to 65535: ${port}`);
  }
}

/** Refuses what can be neither an address nor a name. */
export function checkHostname(hostname: unknown, what: string): void {
  if (
    typeof hostname !== "string" || hostname === "" ||
    // deno-lint-ignore no-control-regex -- a NUL would cut the name short
    /[\x00-\x20\x7f]/.test(hostname)
  ) {
    throw new TypeError(
      `${what}: hostname must be an address or a name: ${
        JSON.stringify(hostname)
      }`,
    );
  }
}

/** Refuses what names no interface of the family. */
export function checkInterface(
  name: unknown,
  family: 4 | 6,
  what: string,
): asserts name is string {
  checkHostname(name, `${what} an interface`);
  if (family === 4 && !isIPv4(name as string)) {
    throw new TypeError(
      `${what}: an IPv4 interface goes by its address: ${name}`,
    );
  }
}

function checkTTL(ttl: unknown, name: string): void {
  checkNumber(ttl, name);
  if (
    ttl === undefined || (Number.isInteger(ttl) && ttl >= 1 && ttl <= 255)
  ) return;
  throw new RangeError(`Cannot bind: ${name} must be 1 to 255: ${ttl}`);
}

function checkNumber(
  value: unknown,
  name: string,
): asserts value is number | undefined {
  if (value === undefined || typeof value === "number") return;
  throw new TypeError(
    `Cannot bind: ${name} must be a number: ${String(value)}`,
  );
}

function checkFlag(value: unknown, name: string): void {
  if (value === undefined || typeof value === "boolean") return;
  throw new TypeError(
    `Cannot bind: ${name} must be true or false: ${String(value)}`,
  );
}

function checkObject(value: unknown, name: string): void {
  if (typeof value === "object" && value !== null) return;
  throw new TypeError(
    `Cannot bind: ${name} must be an object: ${String(value)}`,
  );
}
