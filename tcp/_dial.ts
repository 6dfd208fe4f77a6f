import { TimeoutError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { show } from "./_errors.ts";
import { loadRuntime } from "./_load.ts";
import { checkClientTls } from "./_tls_options.ts";
import type { Transport } from "./_transport.ts";
import type { TlsClientOptions } from "./types.ts";

const CONNECT_TIMEOUT = 10_000;
/** Longest delay a timer takes; past it runtimes fire at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** What `dial` takes: how to reach a peer, without what is done with it. */
export interface DialPlan {
  /** @default "localhost" */
  hostname?: string;
  port?: number;
  path?: string;
  localAddress?: string;
  /** TLS, once connected; `true` stands for its defaults. */
  tls?: boolean | TlsClientOptions;
  /** Takes a TLS server that does not know ALPN at all. @default {false} */
  alpnOptional?: boolean;
  /** Milliseconds for all of it; the error's phase says where it was. */
  timeout?: number;
  /** Milliseconds for TLS alone; `timeout` is for the rest then. */
  tlsTimeout?: number;
  signal?: AbortSignal;
}

/** A connected transport within the time given: for the floors above. */
export async function dial(plan: DialPlan): Promise<Transport> {
  const {
    timeout = CONNECT_TIMEOUT,
    tlsTimeout,
    signal,
    tls,
    alpnOptional,
    ...where
  } = plan;
  signal?.throwIfAborted();
  const options = tls === true ? {} : tls;
  if (options) checkClientTls(options);
  const { connect } = await loadRuntime();
  signal?.throwIfAborted();
  const { hostname = "localhost" } = where;
  const address: Address = where.path !== undefined
    ? { transport: "unix", path: where.path }
    : { transport: "tcp", hostname, port: where.port ?? 0 };
  const controller = new AbortController();
  let phase = "connect";
  const limit = (ms: number) =>
    ms > MAX_TIMEOUT ? undefined : setTimeout(() => {
      const what = phase === "connect" ? "connect to" : "agree on TLS with";
      controller.abort(
        new TimeoutError(
          `Cannot ${what} ${show(address)} within ${ms} ms`,
          { phase, address },
        ),
      );
    }, ms);
  let timer = limit(timeout);
  const onAbort = () => controller.abort(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const transport = await connect({
      ...where,
      hostname,
      signal: controller.signal,
    });
    if (!options) return transport;
    phase = "tls";
    if (tlsTimeout !== undefined) {
      clearTimeout(timer);
      timer = limit(tlsTimeout);
    }
    const { secureClient } = await import("./_node_tls.ts");
    return await secureClient(transport, options, {
      hostname,
      address,
      alpnOptional,
      signal: controller.signal,
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
