import type { FramingOptions } from "./_framing.ts";
import { compose } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import { ProtocolError } from "./errors.ts";
import { lines } from "./lines.ts";
import type { Bytes, MaybePromise, Operator } from "./types.ts";

/** Parses lines; empty ones are passed over. */
class JsonStep<T> implements Step<string> {
  readonly #next: Step<T>;

  constructor(next: Step<T>) {
    this.#next = next;
  }

  push(line: string): MaybePromise<boolean | void> {
    if (line.trim() === "") return undefined;
    return this.#next.push(parse(line));
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }
}

function parse<T>(line: string): T {
  try {
    return JSON.parse(line);
  } catch (cause) {
    const shown = line.length > 60 ? `${line.slice(0, 60)}…` : line;
    throw new ProtocolError(`Cannot read a line as JSON: ${shown}`, {
      code: "ERR_JSON",
      cause,
    });
  }
}

/**
 * The values of a source of bytes in which every line is JSON; empty lines are
 * passed over. A line that is not JSON fails with a `ProtocolError`.
 *
 * @example
 * ```ts
 * import { from, jsonLines } from "@sluice/net/streams";
 *
 * const source = from(['{"n":1}\n{"n"', ":2}\n"]);
 * for await (const { n } of jsonLines<{ n: number }>()(source)) {
 *   console.log(n);
 * }
 * ```
 */
export function jsonLines<T = unknown>(
  options?: FramingOptions,
): Operator<Bytes, T> {
  return compose(lines(options), (next: Step<T>) => new JsonStep(next));
}
