import { Channel } from "./channel.ts";
import type { ChannelOptions } from "./channel.ts";
import { connect } from "./connect.ts";
import { PulledSource } from "./from.ts";
import { sourceOperator } from "./_operator.ts";
import type { Operator, Overflow, Passing } from "./types.ts";

/**
 * Room between a source and whoever receives: the source is read ahead, from
 * now on, and `overflow` says what happens when the room is used up.
 *
 * @example
 * ```ts
 * import { buffer, from } from "@sluice/net/streams";
 *
 * const latest = buffer({ capacity: 2, overflow: "drop-oldest" });
 * for await (const n of latest(from([1, 2, 3, 4]))) console.log(n);
 * ```
 */
export function buffer(
  options?: { capacity?: number; overflow?: Overflow },
): Passing;
/** The same, with what `size` measures for a capacity. */
export function buffer<T>(options?: ChannelOptions<T>): Operator<T, T>;
export function buffer<T>(options: ChannelOptions<T> = {}): Operator<T, T> {
  // Options that make no sense are refused here, not when it is used.
  new Channel<T>(options);
  return sourceOperator((source) => {
    const channel = new Channel<T>(options);
    let failed = false;
    let failure: unknown;
    connect(source, channel, { closeSink: false }).catch((error) => {
      failed = true;
      failure = error;
    }).then(() => channel.close());
    const result = (message: T | undefined): IteratorResult<T, unknown> => {
      if (message !== undefined) return { value: message, done: false };
      // What was read before the source broke came first.
      if (failed) throw failure;
      return { value: undefined, done: true };
    };
    return new PulledSource<T>({
      next: () => {
        const message = channel.receive();
        return message instanceof Promise
          ? message.then(result)
          : result(message);
      },
      stop: (reason) => channel.destroy(reason),
    });
  });
}
