import { DnsError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { lookUp, reach } from "./_attempt.ts";
import type { Attempt } from "./_attempt.ts";
import { interleave } from "./_eyeballs.ts";
import { familyOf } from "./_ip.ts";
import { systemLookup } from "./_lookup.ts";
import type { ProxyPlan } from "./_proxy.ts";
import { openTunnel, proxyError, refusedTarget } from "./_tunnel.ts";
import type { TunnelTarget } from "./_tunnel.ts";
import type { Transport } from "./_transport.ts";

/** A connection to the proxy itself, with TLS to it where its URL says so. */
async function reachProxy(
  attempt: Attempt,
  proxy: ProxyPlan,
): Promise<Transport> {
  const { hostname, port, tls } = proxy;
  // The address of a proxy was chosen by whoever configured it.
  const lookup = familyOf(hostname) === 0 ? attempt.plan.lookup : undefined;
  const secure = tls !== undefined;
  const transport = await reach(attempt, { hostname, port, secure }, lookup);
  if (tls === undefined) return transport;
  const address: Address = { transport: "tcp", hostname, port };
  const { secureClient } = await import("./_node_secure.ts");
  return await secureClient(
    transport,
    { alpn: ["http/1.1"], ...tls },
    {
      hostname,
      address,
      alpnOptional: true,
      signal: attempt.clock.signal,
    },
  );
}

/** What a proxy is told of the target: its name, or addresses found here. */
async function placesOf(
  attempt: Attempt,
  { scheme }: ProxyPlan,
  hostname: string,
): Promise<readonly string[]> {
  const { lookup } = attempt.plan;
  if (
    (scheme !== "socks4:" && scheme !== "socks5:") ||
    (lookup === undefined && familyOf(hostname) !== 0)
  ) return [hostname];
  const found = await lookUp(
    attempt,
    lookup ?? systemLookup,
    hostname,
    scheme === "socks4:" ? 4 : undefined,
  );
  // A zone is of this machine: it means nothing to a proxy.
  const places = interleave(found).filter((place) => !place.includes("%"));
  if (places.length > 0) return places;
  throw new DnsError(
    `Cannot look up ${hostname}: a proxy cannot reach link-local addresses`,
  );
}

/**
 * A connection through a proxy: a tunnel to the target, or with `forward` the
 * connection to the proxy. Rejects with a `ProxyError` for what is between us
 * and the proxy, and for what it refuses.
 */
export async function dialThrough(
  attempt: Attempt,
  proxy: ProxyPlan,
): Promise<Transport> {
  const { plan, clock } = attempt;
  const { hostname = "localhost", port = 0, forward = false } = plan;
  const target = forward ? undefined : { hostname, port };
  const places = forward ? [] : await placesOf(attempt, proxy, hostname);
  const stop = clock.limit(proxy.connectTimeout);
  try {
    return target === undefined
      ? await reachProxy(attempt, proxy)
      : await tunnel(attempt, proxy, { places, port });
  } catch (error) {
    clock.signal.throwIfAborted();
    throw proxyError(error, proxy, target);
  } finally {
    stop();
  }
}

/** A tunnel to the first place that the proxy can reach, one by one. */
async function tunnel(
  attempt: Attempt,
  proxy: ProxyPlan,
  target: { places: readonly string[]; port: number },
): Promise<Transport> {
  const { places, port } = target;
  let failure: unknown;
  for (const hostname of places) {
    const transport = await reachProxy(attempt, proxy);
    const place: TunnelTarget = { hostname, port };
    try {
      return await openTunnel(transport, proxy, place, attempt.clock.signal);
    } catch (error) {
      if (!refusedTarget(error)) throw error;
      failure ??= error;
    }
  }
  throw failure;
}
