import type { MaybePromise, Wait } from "./types.ts";

/** Where a sink takes messages that nobody has waited for and nobody sends. */
export const intake: unique symbol = Symbol("sluice.intake");

/** How a source lets its messages go straight into the intake of a sink. */
export const flow: unique symbol = Symbol("sluice.flow");

/** How a source takes a message back that was received, and not sent on. */
export const back: unique symbol = Symbol("sluice.back");

/** Who gives messages to an intake. */
export interface Giver<T> {
  /** There is room again, after a `take` that gave `false`. */
  resume(): void;
  /** The message is with whom it was for: its memory may be used again. */
  recycle(message: T): void;
}

/** The door of a sink for messages that come by callbacks. */
export interface Intake<T> {
  /** Whether it takes anything at all: it has not ended, and is not about to. */
  readonly open: boolean;
  /**
   * Takes a message at once. `false`: and no other one until the giver's
   * `resume`. `undefined`: it was not taken, but has to be sent like any
   * other. One that is `lent` is the giver's again when this returns, any
   * other one once it is recycled.
   */
  take(message: T, lent: boolean, giver: Giver<T>): boolean | undefined;
}

/** What a sink has that messages can flow into. */
export interface Inflowing<T> {
  readonly [intake]?: Intake<T>;
}

/** What a source has that messages can flow out of. */
export interface Outflowing<T> {
  /**
   * Like `receive`; but what comes while it waits goes into the intake, as
   * long as that takes it, in order and without a promise. So it mostly gives
   * what was queued already, and then the end.
   */
  [flow]?(into: Intake<T>, wait?: Wait): MaybePromise<T | undefined>;
  /** The next one to receive gets this message. */
  [back]?(message: T): void;
}
