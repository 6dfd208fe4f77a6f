import type { Address } from "../streams/types.ts";
import { Clock, reach } from "./_attempt.ts";
import type { Attempt } from "./_attempt.ts";
import type { Lookup } from "./_lookup.ts";
import type { ProxyPlan } from "./_proxy.ts";
import { checkClientTls } from "./_tls_options.ts";
import type { Transport } from "./_transport.ts";
import type { TlsClientOptions } from "./types.ts";

const CONNECT_TIMEOUT = 10_000;

/** When the steps of a dial were done, in the time of `performance.now()`. */
export interface DialMarks {
  /** It began. */
  start: number;
  /** The hook, or what stands in for it, had said the addresses. */
  lookup?: number;
  /** The bytes could flow, through the proxy if there is one. */
  connect?: number;
  /** The TLS handshake was done. */
  tls?: number;
}

/** What `dial` takes: how to reach a peer, without what is done with it. */
export interface DialPlan {
  /** @default "localhost" */
  hostname?: string;
  port?: number;
  path?: string;
  localAddress?: string;
  /** Looks names up. @default the runtime's own */
  lookup?: Lookup;
  /** Goes through it; a Unix socket never does. */
  proxy?: ProxyPlan;
  /** To an HTTP proxy itself, which is to be handed plain requests. */
  forward?: boolean;
  /** TLS, once connected; `true` stands for its defaults. */
  tls?: boolean | TlsClientOptions;
  /** Takes a TLS server that does not know ALPN at all. @default {false} */
  alpnOptional?: boolean;
  /** Milliseconds for all of it; the error's phase says where it was. */
  timeout?: number;
  /** Milliseconds for TLS alone; `timeout` is for the rest then. */
  tlsTimeout?: number;
  /** Milliseconds for the hook `lookup`, within `timeout`. */
  lookupTimeout?: number;
  signal?: AbortSignal;
  /** Written down as the dial goes on. */
  marks?: DialMarks;
}

/** The transport that TLS, or the caller, then has. */
async function open(attempt: Attempt, hostname: string): Promise<Transport> {
  const { port, path, proxy, lookup } = attempt.plan;
  if (proxy === undefined || path !== undefined) {
    const secure = Boolean(attempt.plan.tls);
    return await reach(attempt, { hostname, port, path, secure }, lookup);
  }
  attempt.clock.phase = "proxy";
  const { dialThrough } = await import("./_dial_proxy.ts");
  return await dialThrough(attempt, proxy);
}

/** A connected transport within the time given: for the floors above. */
export async function dial(plan: DialPlan): Promise<Transport> {
  const { timeout = CONNECT_TIMEOUT, tlsTimeout, signal, tls } = plan;
  signal?.throwIfAborted();
  const options = tls === true ? {} : tls;
  if (options) checkClientTls(options);
  const { hostname = "localhost" } = plan;
  const address: Address = plan.path !== undefined
    ? { transport: "unix", path: plan.path }
    : { transport: "tcp", hostname, port: plan.port ?? 0 };
  const clock = new Clock(address, signal);
  let stop = clock.limit(timeout);
  try {
    const transport = await open({ plan, clock }, hostname);
    if (plan.marks !== undefined) plan.marks.connect = performance.now();
    if (!options) return transport;
    clock.phase = "tls";
    if (tlsTimeout !== undefined) {
      stop();
      stop = clock.limit(tlsTimeout);
    }
    const { secureClient, whyUntrusted } = await import(
      "./_node_secure.ts"
    );
    const secure = {
      hostname,
      address,
      alpnOptional: plan.alpnOptional,
      signal: clock.signal,
    };
    try {
      const secured = await secureClient(transport, options, secure);
      if (plan.marks !== undefined) plan.marks.tls = performance.now();
      return secured;
    } catch (error) {
      throw await whyUntrusted(error, options, {
        ...secure,
        open: () => open({ plan, clock }, hostname),
      });
    }
  } finally {
    stop();
    clock.stop();
  }
}
