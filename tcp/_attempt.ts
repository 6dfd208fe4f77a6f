import { TimeoutError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import type { DialPlan } from "./_dial.ts";
import { show } from "./_errors.ts";
import { interleave, raceAddresses } from "./_eyeballs.ts";
import type { HostAddress } from "./_eyeballs.ts";
import { familyOf } from "./_ip.ts";
import { loadRuntime } from "./_load.ts";
import { askLookup, systemLookup } from "./_lookup.ts";
import type { Lookup } from "./_lookup.ts";
import type { Transport } from "./_transport.ts";

/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** Where an attempt is. */
export type Phase = "lookup" | "connect" | "proxy" | "tls";

const DOING: Readonly<Record<Phase, string>> = {
  lookup: "look up",
  connect: "connect to",
  proxy: "connect through a proxy to",
  tls: "agree on TLS with",
};

/** Limits of an attempt; its signal aborts all of it. */
export class Clock {
  readonly #controller = new AbortController();
  readonly #address: Address;
  readonly #outer: AbortSignal | undefined;
  /** Where it is; a `TimeoutError` says so. */
  phase: Phase = "connect";
  /** The name that is looked up. */
  name = "";

  constructor(address: Address, outer: AbortSignal | undefined) {
    this.#address = address;
    this.#outer = outer;
    outer?.addEventListener("abort", this.#onAbort, { once: true });
  }

  readonly #onAbort = (): void => this.#controller.abort(this.#outer!.reason);

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Begins to count; gives what ends it. */
  limit(ms: number | undefined): () => void {
    if (ms === undefined || ms > MAX_TIMEOUT) return () => {};
    const timer = setTimeout(() => {
      const { phase } = this;
      const whom = phase === "lookup" ? this.name : show(this.#address);
      this.#controller.abort(
        new TimeoutError(`Cannot ${DOING[phase]} ${whom} within ${ms} ms`, {
          phase,
          address: this.#address,
        }),
      );
    }, ms);
    return () => clearTimeout(timer);
  }

  /** Leaves the signal of the caller. */
  stop(): void {
    this.#outer?.removeEventListener("abort", this.#onAbort);
  }
}

/** One dial: what is wanted, and until when. */
export interface Attempt {
  readonly plan: DialPlan;
  readonly clock: Clock;
}

/** Asks the hook for the addresses of a name, in its time. */
export async function lookUp(
  { plan, clock }: Attempt,
  lookup: Lookup,
  name: string,
  family: 4 | 6 | undefined,
): Promise<readonly HostAddress[]> {
  const before = clock.phase;
  clock.phase = "lookup";
  clock.name = name;
  const stop = clock.limit(plan.lookupTimeout);
  try {
    const { signal } = clock;
    const found = await askLookup(
      lookup,
      name,
      family === undefined ? { signal } : { family, signal },
    );
    if (plan.marks !== undefined) plan.marks.lookup = performance.now();
    return found;
  } finally {
    stop();
    clock.phase = before;
  }
}

/** A plain connection; `lookup` is what has to be asked, if anything. */
export async function reach(
  attempt: Attempt,
  where: { hostname: string; port?: number; path?: string; secure: boolean },
  lookup: Lookup | undefined,
): Promise<Transport> {
  const { connect } = await loadRuntime();
  const { plan, clock } = attempt;
  const { signal } = clock;
  signal.throwIfAborted();
  const { localAddress, lookupTimeout } = plan;
  const { hostname, port, path, secure } = where;
  const hook = lookup ??
    // Only what is done here can have a limit of its own.
    (lookupTimeout !== undefined && familyOf(hostname) === 0
      ? systemLookup
      : undefined);
  if (hook === undefined || path !== undefined) {
    return await connect({ ...where, localAddress, signal });
  }
  const family = localAddress === undefined ? 0 : familyOf(localAddress);
  const found = await lookUp(attempt, hook, hostname, family || undefined);
  return await raceAddresses(
    interleave(found),
    (address, given) =>
      connect({
        hostname: address,
        port,
        localAddress,
        secure,
        signal: given,
      }),
    { signal, discard: (late) => late.destroy() },
  );
}
