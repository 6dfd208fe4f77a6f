/** Refuses an option that is not what it should be. */
export function checkPort(port: unknown, what: string): void {
  if (port === undefined) return;
  if (
    !Number.isInteger(port) || (port as number) < 0 || (port as number) > 65535
  ) {
    throw new RangeError(`Cannot ${what}: port must be 0 to 65535: ${port}`);
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

/** Refuses options that nothing here honours, rather than ignore them. */
export function checkKnown(
  options: object,
  known: ReadonlySet<string>,
  what: string,
): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.has(name)) {
      throw new TypeError(`Cannot ${what}: no such option: ${name}`);
    }
  }
}
