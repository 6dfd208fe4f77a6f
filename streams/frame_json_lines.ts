import { map } from "./map.ts";
import { encode } from "./to_readable.ts";
import type { Operator } from "./types.ts";

/**
 * The opposite of `jsonLines`: each message as JSON with an LF after it. What
 * JSON cannot say fails with a `TypeError`.
 *
 * @example
 * ```ts
 * import { frameJsonLines, from, text } from "@sluice/net/streams";
 *
 * console.log(await text(frameJsonLines()(from([{ n: 1 }, [2]]))));
 * ```
 */
export function frameJsonLines(): Operator<unknown, Uint8Array> {
  return map((message) => {
    const json: string | undefined = JSON.stringify(message);
    if (json === undefined) {
      throw new TypeError(
        `Cannot frame as JSON: nothing says a ${typeof message} in it`,
      );
    }
    return encode(`${json}\n`);
  });
}
