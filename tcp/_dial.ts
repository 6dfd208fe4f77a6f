import { TimeoutError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { show } from "./_errors.ts";
import { loadRuntime } from "./_load.ts";
import type { Transport } from "./_transport.ts";

const CONNECT_TIMEOUT = 10_000;

/** What `dial` takes: how to reach a peer, without what is done with it. */
export interface DialPlan {
  hostname?: string;
  port?: number;
  path?: string;
  localAddress?: string;
  timeout?: number;
  signal?: AbortSignal;
}

/** A connected transport within the time given: for the floors above. */
export async function dial(plan: DialPlan): Promise<Transport> {
  const { timeout = CONNECT_TIMEOUT, signal, ...where } = plan;
  signal?.throwIfAborted();
  const { connect } = await loadRuntime();
  const controller = new AbortController();
  const address: Address = where.path !== undefined
    ? { transport: "unix", path: where.path }
    : {
      transport: "tcp",
      hostname: where.hostname ?? "localhost",
      port: where.port ?? 0,
    };
  const timer = timeout <= 2 ** 31 - 1
    ? setTimeout(() => {
      controller.abort(
        new TimeoutError(
          `Cannot connect to ${show(address)} within ${timeout} ms`,
          { phase: "connect", address },
        ),
      );
    }, timeout)
    : undefined;
  const onAbort = () => controller.abort(signal!.reason);
  signal?.throwIfAborted();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await connect({
      hostname: "localhost",
      ...where,
      signal: controller.signal,
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
