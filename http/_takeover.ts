import { makeSwitch } from "./response.ts";
import type { Transport } from "../tcp/_transport.ts";

/** Takes a connection over once a response head has been sent on it. */
export interface Takeover {
  /**
   * The head is written (queued before anything written from now on) and
   * the connection belongs to the callee: it must attach to the transport.
   * `head` holds the bytes that came behind the request, perhaps none.
   */
  start(transport: Transport, head: Uint8Array): void;
  /** The engine could not get there (client gone, response not used). */
  abandon(reason: unknown): void;
}

/** Where a response keeps its takeover. */
const key: unique symbol = Symbol("sluice.takeover");

/**
 * Makes a response that, returned from a handler, sends its head (status 101
 * for an upgrade, 2xx for CONNECT) without a body and hands the connection
 * over. `status` is what is sent and what `response.status` tells. A list of
 * fields, flat, is known to be right.
 */
export function takeoverResponse(
  status: number,
  headers: Headers | readonly string[],
  takeover: Takeover,
): Response {
  const fields = headers instanceof Headers ? [...headers].flat() : headers;
  const response = makeSwitch(status, fields);
  (response as { [key]?: Takeover })[key] = takeover;
  return response;
}

/** The takeover that a response asks for, if it does. */
export function takeoverOf(response: Response): Takeover | undefined {
  return (response as { [key]?: Takeover } | undefined)?.[key];
}
