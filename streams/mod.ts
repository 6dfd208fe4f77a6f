/**
 * The one stream contract of this library, in memory: sources, sinks and
 * duplexes with honest backpressure, what joins them, and the errors.
 *
 * @example
 * ```ts
 * import { Channel, connect, from } from "@sluice/net/streams";
 *
 * const channel = new Channel<string>({ capacity: 4 });
 * const done = connect(from(["a", "b"]), channel);
 * for await (const message of channel) console.log(message);
 * await done;
 * ```
 *
 * @module
 */
export * from "./backplane.ts";
export * from "./batch.ts";
export * from "./buffer.ts";
export { Bus } from "./bus.ts";
export type { SubscribeOptions, Subscription } from "./bus.ts";
export * from "./bytes.ts";
export * from "./channel.ts";
export * from "./concat.ts";
export * from "./connect.ts";
export * from "./consume.ts";
export * from "./dedupe.ts";
export * from "./delimited.ts";
export * from "./drop.ts";
export * from "./errors.ts";
export * from "./every.ts";
export * from "./filter.ts";
export * from "./flat_map.ts";
export * from "./frame_delimited.ts";
export * from "./frame_json_lines.ts";
export * from "./frame_length_prefixed.ts";
export * from "./frame_lines.ts";
export { from } from "./from.ts";
export * from "./group_runs.ts";
export * from "./hex_dump.ts";
export * from "./json_lines.ts";
export type { LengthPrefix } from "./length_prefixed.ts";
export { lengthPrefixed } from "./length_prefixed.ts";
export * from "./lines.ts";
export * from "./map.ts";
export * from "./merge.ts";
export * from "./mock_clock.ts";
export * from "./nats_backplane.ts";
export * from "./pair.ts";
export * from "./redis_backplane.ts";
export * from "./reduce.ts";
export * from "./scan.ts";
export * from "./splice.ts";
export * from "./take.ts";
export * from "./take_while.ts";
export * from "./text.ts";
export * from "./throttle.ts";
export { toReadable } from "./to_readable.ts";
export * from "./zip.ts";
export type { FramingOptions } from "./_framing.ts";
export type * from "./types.ts";
