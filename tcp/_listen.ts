import { loadRuntime } from "./_load.ts";
import type {
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import { checkServerTls } from "./_tls_options.ts";
import type { TlsServerOptions } from "./types.ts";

/**
 * Listens, with TLS where it is asked for: for the floors above. Connections
 * are reported after their handshake; one that fails is an error event.
 */
export async function listen(
  options: ListenOptions & { tls?: TlsServerOptions },
  events: ListenEvents,
): Promise<RuntimeServer> {
  const { tls, ...plain } = options;
  const runtime = await runtimeFor(options);
  if (tls === undefined) return await runtime.listen(plain, events);
  checkServerTls(tls);
  const { listenTls } = await import("./_node_tls.ts");
  return await listenTls(plain, tls, events, runtime);
}

/** The runtime's sockets, as they are or behind a proxy. */
async function runtimeFor(options: ListenOptions): Promise<TcpRuntime> {
  const runtime = await loadRuntime();
  if (!options.proxyProtocol) return runtime;
  const { listenProxied } = await import("./_proxied.ts");
  return {
    connect: runtime.connect,
    listen: (options, events) => listenProxied(runtime, options, events),
  };
}
