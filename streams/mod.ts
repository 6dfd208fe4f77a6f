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
export * from "./bus.ts";
export * from "./bytes.ts";
export * from "./channel.ts";
export * from "./connect.ts";
export * from "./consume.ts";
export * from "./delimited.ts";
export * from "./errors.ts";
export * from "./frame_delimited.ts";
export * from "./frame_json_lines.ts";
export * from "./frame_length_prefixed.ts";
export * from "./frame_lines.ts";
export { from } from "./from.ts";
export * from "./hex_dump.ts";
export * from "./json_lines.ts";
export { lengthPrefixed } from "./length_prefixed.ts";
export type { LengthPrefix } from "./length_prefixed.ts";
export * from "./lines.ts";
export * from "./map.ts";
export * from "./pair.ts";
export * from "./splice.ts";
export * from "./text.ts";
export { toReadable } from "./to_readable.ts";
export type { FramingOptions } from "./_framing.ts";
export type * from "./types.ts";
