import { NetError } from "../streams/errors.ts";
import { isLoopback, parseIP, show, toSystem } from "./_address.ts";
import type { IP } from "./_address.ts";
import { udpError } from "./_errors.ts";
import { lookupAny } from "./_names.ts";
import { checkInterface, checkOptions } from "./_options.ts";
import type { Endpoint, UdpRuntime } from "./_runtime.ts";
import { UdpSocket } from "./_socket.ts";
import type { BindOptions, Socket } from "./types.ts";

/**
 * Opens a UDP socket, to wait for datagrams on a port or to talk to a peer.
 *
 * Rejects with a `NetError` (`EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL` …), a
 * `DnsError`, the reason of the `signal`, and with a `TypeError` or
 * `RangeError` for options that make no sense.
 *
 * @example Ask and wait for the answer
 * ```ts
 * import { bind } from "@sluice/net/udp";
 *
 * await using server = await bind({ hostname: "127.0.0.1" });
 * await using client = await bind({ remote: server.address });
 * await client.send({ data: "Hello" });
 * const datagram = await server.receive({ timeout: 1000 });
 * if (datagram) await server.send({ ...datagram, data: "Hello to you" });
 * const answer = await client.receive({ timeout: 1000 });
 * console.log(new TextDecoder().decode(answer?.data));
 * ```
 */
export async function bind(options: BindOptions = {}): Promise<Socket> {
  checkOptions(options);
  const { signal } = options;
  signal?.throwIfAborted();
  const opening = open(options);
  if (signal === undefined) return await opening;
  return await new Promise((resolve, reject) => {
    // Should it open after all, `attach` ends it again.
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    opening.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", onAbort);
    });
  });
}

async function open(options: BindOptions): Promise<UdpSocket> {
  const { port = 0, multicast, ttl, broadcast, reuseAddress } = options;
  const runtime = await loadRuntime();
  const peer = await resolveRemote(runtime, options);
  const { family, address } = await resolveLocal(runtime, options, peer);
  if (multicast?.interface !== undefined) {
    checkInterface(multicast.interface, family, "Cannot bind");
  }
  const remote = peer && { hostname: peer.address, port: peer.port };
  const socket = new UdpSocket({
    family,
    remote,
    remoteName: (options.remote as Endpoint | undefined)?.hostname,
    capacity: options.capacity ?? 1024,
    overflow: options.overflow ?? "drop-oldest",
    through: multicast?.interface,
    onError: options.onError,
  }, runtime);
  try {
    const handle = await runtime.open({
      family,
      hostname: address,
      port,
      remote: remote &&
        { ...remote, hostname: toSystem(remote.hostname, family) },
      broadcast: broadcast ?? false,
      reuseAddress: reuseAddress ?? false,
      ttl,
      multicast,
    }, socket.events);
    socket.attach(handle, options.signal);
  } catch (error) {
    const endpoint = { hostname: address, port };
    throw udpError(error, "bind", `bind ${show(address, port)}`, endpoint);
  }
  return socket;
}

async function resolveRemote(
  runtime: UdpRuntime,
  { remote, hostname }: BindOptions,
): Promise<IP & { port: number } | undefined> {
  if (remote === undefined) return undefined;
  // Which `checkOptions` has made sure of.
  const { hostname: peer, port } = remote as Endpoint;
  const local = hostname === undefined ? undefined : parseIP(hostname);
  const ip = parseIP(peer) ??
    (local?.family === 4
      ? { family: 4, address: await runtime.lookup(peer, 4) }
      : await lookupAny(runtime, peer));
  return { ...ip, port };
}

async function resolveLocal(
  runtime: UdpRuntime,
  { hostname }: BindOptions,
  peer: IP | undefined,
): Promise<IP> {
  if (hostname === undefined) {
    const { family, address } = peer ?? { family: 4, address: "" };
    // Connecting gives a socket this address, where the runtime can do that.
    if (isLoopback(address)) {
      return { family, address: family === 4 ? "127.0.0.1" : "::1" };
    }
    return { family, address: family === 4 ? "0.0.0.0" : "::" };
  }
  const literal = parseIP(hostname);
  if (literal?.family === 4 && peer?.family === 6) {
    throw new NetError(
      `Cannot reach IPv6 from IPv4: ${peer.address} from ${hostname}`,
      { code: "EAFNOSUPPORT", phase: "bind" },
    );
  }
  if (literal !== undefined) return literal;
  if (peer === undefined) return await lookupAny(runtime, hostname);
  const { family } = peer;
  return { family, address: await runtime.lookup(hostname, family) };
}

async function loadRuntime(): Promise<UdpRuntime> {
  const { Deno, Bun } = globalThis as { Deno?: unknown; Bun?: unknown };
  const { runtime } = Deno !== undefined
    ? await import("./_deno.ts")
    : Bun !== undefined
    ? await import("./_bun.ts")
    : await import("./_node.ts");
  return runtime;
}
