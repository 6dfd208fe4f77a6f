import type { DialMarks } from "../tcp/_dial.ts";
import type { NetError } from "../streams/errors.ts";
import type { RequestBody } from "./_client_body.ts";
import type { Call } from "./_client_call.ts";
import type { Route } from "./_client_pool.ts";
import type { ClientStats } from "./_client_stats.ts";
import type { Deadlines } from "./_client_timers.ts";
import type { Target } from "./_client_url.ts";
import type { Fields } from "./_h1_types.ts";

/** One request as it goes out; a redirect makes another. */
export interface Plan {
  readonly method: string;
  readonly target: Target;
  readonly fields: Fields;
  /** The same with cookies, and what else goes out. */
  readonly sent: Fields;
  /** `Host`, or `:authority`. */
  readonly host: string;
  readonly body: RequestBody | undefined;
  /** Request line and fields, but for framing and the empty line. */
  readonly head: string;
  /** All that goes out, encoded: of a request without a body made often. */
  wire?: Uint8Array;
  /** Whether the connection is not to be used again. */
  readonly close: boolean;
  /** Milliseconds that the body waits for a 100; `undefined`: it does not. */
  readonly expect: number | undefined;
  readonly route: Route;
}

/**
 * What carries an exchange from its request to the end of its answer: a
 * connection, or a share in one. It tells the call what happens.
 */
export interface Carrier {
  /** Whether it has served a request before this one. */
  readonly reused: boolean;
  /** How it was reached, when it is new. */
  readonly marks: DialMarks | undefined;
  /** Whether others share the connection: to end an exchange costs nothing. */
  readonly shared: boolean;
  /** Sends the request of a call. */
  start(call: Call): void;
  /** No more for now: the reader of the body is slow. */
  pause(): void;
  resume(): void;
  /** Ends the exchange. The call hears nothing. */
  destroy(reason?: unknown): void;
  /** Ends it with an error for its call. */
  fail(error: NetError): void;
  /** The server says how long it keeps it, in `Keep-Alive`. */
  keep(value: string): void;
}

/** Where calls wait for a carrier. */
export interface CallQueue {
  /** Takes a call out that gives up. */
  withdraw(call: Call): void;
}

/** What gives calls their carriers: a pool of connections, or what stands in. */
export interface CarrierSource {
  readonly deadlines: Deadlines;
  /** Gives the call a carrier, now or as soon as there is one. */
  acquire(call: Call, fresh: boolean): void;
  /** No more requests; what is unused goes now. */
  close(): void;
  /** Resolves once nothing is open and nobody waits. */
  idle(): Promise<void>;
  /** Ends what is left. */
  destroy(): void;
  stats(): ClientStats;
}
