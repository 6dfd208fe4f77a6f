import { DnsError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import type { HostAddress } from "./_eyeballs.ts";
import { familyOf } from "./_ip.ts";

/** What a `Lookup` is told besides the name. */
export interface LookupOptions {
  /** The only family of use: 4 or 6. Both are, when it is absent. */
  readonly family?: 4 | 6;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** One address of a name. */
export interface LookupAddress {
  /** IPv4 or IPv6 address. */
  readonly address: string;
  /** 4 or 6. */
  readonly family: number;
}

/**
 * Says which addresses a name has, in place of the system's resolver. They
 * are tried as RFC 8305 says: both families in turn, the next one beside the
 * last after 250 ms. Whatever it throws, a list that is empty and a text in
 * it that is no IP address become a `DnsError` with the phase `"lookup"`.
 *
 * It is asked for IP addresses, too: nothing is connected to that it did not
 * give. So it can refuse addresses, whoever wrote the name.
 *
 * @example Never connects to this machine's own network (SSRF)
 * ```ts
 * import { lookup as resolve } from "node:dns/promises";
 * import { BlockList } from "node:net";
 * import { connect } from "@sluice/net/tcp";
 * import type { Lookup } from "@sluice/net/tcp";
 *
 * const inside = new BlockList();
 * inside.addSubnet("127.0.0.0", 8, "ipv4");
 * inside.addSubnet("10.0.0.0", 8, "ipv4");
 * inside.addSubnet("::1", 128, "ipv6");
 *
 * const lookup: Lookup = async (hostname, { family = 0 }) => {
 *   const found = await resolve(hostname, { all: true, family });
 *   const outside = found.filter(({ address, family }) =>
 *     !inside.check(address, family === 4 ? "ipv4" : "ipv6")
 *   );
 *   if (outside.length === 0) throw new Error("It is of our own network");
 *   return outside;
 * };
 *
 * try {
 *   await connect({ hostname: "localhost", port: 80, lookup });
 * } catch (error) {
 *   console.log((error as Error).message);
 * }
 * ```
 */
export type Lookup = (
  hostname: string,
  options: LookupOptions,
) => MaybePromise<readonly (string | LookupAddress)[]>;

/** Refuses a hook that is none. */
export function checkLookup(lookup: unknown, what: string): void {
  if (lookup === undefined || typeof lookup === "function") return;
  throw new TypeError(`Cannot ${what}: lookup must be a function`);
}

/** The promise, or the signal's reason as soon as it aborts. */
export function orAbort<T>(
  promise: PromiseLike<T>,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    const settle = () => signal.removeEventListener("abort", abort);
    promise.then((value) => {
      settle();
      resolve(value);
    }, (error) => {
      settle();
      reject(error);
    });
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** The system's resolver, as a hook. */
export async function systemLookup(
  hostname: string,
  options: LookupOptions,
): Promise<readonly LookupAddress[]> {
  const { lookupAll } = await import("./_node.ts");
  return await lookupAll(hostname, options.family);
}

/** Asks the hook; what it gives is checked, what it throws is a `DnsError`. */
export async function askLookup(
  lookup: Lookup,
  hostname: string,
  options: LookupOptions,
): Promise<readonly HostAddress[]> {
  const { signal, family } = options;
  signal.throwIfAborted();
  let given: unknown;
  try {
    given = await orAbort(
      Promise.resolve(lookup(hostname, options)),
      signal,
    );
  } catch (error) {
    signal.throwIfAborted();
    throw lookupError(hostname, error);
  }
  if (!Array.isArray(given)) {
    throw badAnswer(hostname, "it gave no list");
  }
  const found: HostAddress[] = [];
  for (const entry of given as unknown[]) {
    const address = checked(hostname, entry);
    if (family === undefined || address.family === family) found.push(address);
  }
  if (found.length > 0) return found;
  throw new DnsError(
    `Cannot look up ${hostname}: it has no ${
      family === undefined ? "" : `IPv${family} `
    }address`,
  );
}

function checked(hostname: string, entry: unknown): HostAddress {
  const { address, family } = typeof entry === "string"
    ? { address: entry, family: undefined }
    : (entry ?? {}) as { address?: unknown; family?: unknown };
  const known = typeof address === "string" ? familyOf(address) : 0;
  if (known === 0) {
    throw badAnswer(hostname, "it gave what is no IP address");
  }
  if (typeof entry !== "string" && family !== known) {
    throw badAnswer(hostname, `it gave ${address} the family ${family}`);
  }
  return { address: address as string, family: known };
}

function badAnswer(hostname: string, why: string): DnsError {
  return new DnsError(
    `Cannot look up ${hostname}: the lookup option is at fault: ${why}`,
    { code: "ERR_LOOKUP" },
  );
}

function lookupError(hostname: string, cause: unknown): DnsError {
  if (cause instanceof DnsError && cause.phase === "lookup") return cause;
  const { code, message } = (cause ?? {}) as {
    code?: unknown;
    message?: unknown;
  };
  const known = typeof code === "string" && /^E[A-Z_\d]+$/.test(code);
  return new DnsError(
    `Cannot look up ${hostname}: ${
      code === "ENOTFOUND" ? "no such host" : message ?? String(cause)
    }`,
    {
      code: known ? code : "ERR_LOOKUP",
      retryable: code === "EAI_AGAIN" || code === "ETIMEOUT",
      cause,
    },
  );
}
