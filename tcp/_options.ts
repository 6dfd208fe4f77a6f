/** Refuses a port that is none. */
export function checkPort(port: unknown, what: string, least = 0): void {
  if (port === undefined) return;
  const number = port as number;
  if (!Number.isInteger(port) || number < least || number > 65535) {
    throw new RangeError(
      `Cannot ${what}: port must be ${least} to 65535: ${port}`,
    );
  }
}

/** Refuses a host that is no text. */
export function checkHost(hostname: unknown, what: string): void {
  if (hostname === undefined) return;
  // Brackets are of URLs: some runtimes take them for an unknown name.
  if (
    typeof hostname !== "string" || hostname === "" ||
    hostname.startsWith("[") || hostname.includes("\0")
  ) {
    throw new TypeError(
      `Cannot ${what}: hostname must be a name or an address: ${hostname}`,
    );
  }
}

/** Refuses an address of this machine that is no IP address. */
export function checkIp(address: unknown, name: string, what: string): void {
  if (address === undefined) return;
  if (
    typeof address !== "string" ||
    !(/^\d+(\.\d+){3}$/.test(address) ||
      /^[\da-f:]+:[\da-f:.]*$/i.test(address))
  ) {
    throw new TypeError(
      `Cannot ${what}: ${name} must be an IP address: ${address}`,
    );
  }
}

/** Bytes of a Unix socket's path at most: what a Linux address holds. */
const MAX_PATH = 107;

/** Refuses a path that is none, or that the kernel would cut short. */
export function checkPath(path: unknown, what: string): void {
  if (path === undefined) return;
  if (typeof path !== "string" || path === "") {
    throw new TypeError(`Cannot ${what}: path must be a string: ${path}`);
  }
  // A NUL at its beginning is an abstract name (Linux); others would end it.
  if (path === "\0" || path.indexOf("\0", 1) > 0) {
    throw new TypeError(
      `Cannot ${what}: path has a NUL in it: ${JSON.stringify(path)}`,
    );
  }
  // Node 22 would cut it and use another file than was asked for.
  const size = new TextEncoder().encode(path).byteLength;
  if (size > MAX_PATH) {
    throw new RangeError(
      `Cannot ${what}: path must be of at most ${MAX_PATH} bytes: ${path}`,
    );
  }
}

/** Refuses a size, count or time that is no number of 0 or more. */
export function checkAmount(value: unknown, name: string, what: string): void {
  if (value === undefined) return;
  if (typeof value !== "number" || !(value >= 0)) {
    throw new RangeError(
      `Cannot ${what}: ${name} must be a number of 0 or more: ${value}`,
    );
  }
}

/** Refuses a switch that is neither on nor off. */
export function checkFlag(value: unknown, name: string, what: string): void {
  if (value === undefined || typeof value === "boolean") return;
  throw new TypeError(
    `Cannot ${what}: ${name} must be true or false: ${value}`,
  );
}

/** Refuses a signal that is none. */
export function checkSignal(signal: unknown, what: string): void {
  if (signal === undefined || signal === null) return;
  const { throwIfAborted } = signal as Partial<AbortSignal>;
  if (typeof throwIfAborted === "function") return;
  throw new TypeError(`Cannot ${what}: signal must be an AbortSignal`);
}

/** Refuses a callback that cannot be called. */
export function checkFunction(
  value: unknown,
  name: string,
  what: string,
): void {
  if (value === undefined || typeof value === "function") return;
  throw new TypeError(`Cannot ${what}: ${name} must be a function: ${value}`);
}

/** Refuses options that nothing here honours, rather than ignore them. */
export function checkKnown(
  options: unknown,
  known: ReadonlySet<string>,
  what: string,
): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot ${what}: options must be given: ${options}`);
  }
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.has(name)) {
      throw new TypeError(`Cannot ${what}: no such option: ${name}`);
    }
  }
}
