/** What node:http takes for the value of a field. */
export type HeaderValue = number | string | readonly string[];

/** Fields as `writeHead` and `addTrailers` take them. */
export type HeaderInit =
  | Readonly<Record<string, HeaderValue | undefined>>
  | readonly HeaderValue[]
  | readonly (readonly [string, HeaderValue])[];

/** An error as those of Node. */
export function coded<T extends Error>(error: T, code: string): T {
  return Object.assign(error, { code });
}

export function sentError(what: string): Error {
  return coded(
    new Error(`Cannot ${what} headers after they are sent to the client`),
    "ERR_HTTP_HEADERS_SENT",
  );
}

/** Names and their values. */
export function* pairsOf(init: HeaderInit): Generator<[string, HeaderValue]> {
  if (!Array.isArray(init)) {
    for (const [name, value] of Object.entries(init)) {
      yield [name, value as HeaderValue];
    }
  } else if (Array.isArray(init[0])) {
    yield* init as [string, HeaderValue][];
  } else {
    if (init.length % 2 !== 0) {
      throw coded(
        new TypeError("Cannot write a head: a name is without its value"),
        "ERR_INVALID_ARG_VALUE",
      );
    }
    for (let i = 0; i < init.length; i += 2) {
      yield [String(init[i]), init[i + 1] as HeaderValue];
    }
  }
}
