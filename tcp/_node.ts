import { lookup } from "node:dns/promises";
import * as net from "node:net";
import process from "node:process";
import type { Address } from "../streams/types.ts";
import { connectError, listenError } from "./_errors.ts";
import { interleave, raceAddresses } from "./_eyeballs.ts";
import { acceptHandles, canAccept, transportOf } from "./_node_accept.ts";
import { tcpAddress } from "./_node_names.ts";
import { NodeTransport } from "./_node_socket.ts";
import { replacingStale } from "./_node_stale.ts";
import type {
  DialOptions,
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import type { Transport } from "./_transport.ts";

/** Before 22.12 Node does not read the option, and says nothing. */
function canReusePort(): boolean {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major > 22 || (major === 22 && minor >= 12);
}

async function listen(
  options: ListenOptions,
  events: ListenEvents,
): Promise<RuntimeServer> {
  const { hostname, port, path, backlog, reusePort, secure } = options;
  if (reusePort && !canReusePort()) {
    throw new TypeError(
      "Cannot listen with reusePort: Node has it from 22.12 on",
    );
  }
  const bare = !secure && await canAccept();
  const wanted: Address = path === undefined
    ? tcpAddress(hostname, port)
    : { transport: "unix", path };
  const server = net.createServer(
    { allowHalfOpen: true, pauseOnConnect: true, noDelay: true },
    (socket) => events.connection(new NodeTransport(socket, path)),
  );
  return await new Promise((resolve, reject) => {
    const refuse = (error: Error) => reject(listenError(error, wanted));
    server.once("error", refuse);
    const where = path === undefined ? { host: hostname, port } : { path };
    server.listen({ ...where, backlog, reusePort }, () => {
      server.removeListener("error", refuse);
      server.on("error", (error) => events.error(listenError(error, wanted)));
      if (bare) {
        acceptHandles(server, path, (below) => events.connection(below));
      }
      const bound = server.address();
      resolve({
        address: bound !== null && typeof bound === "object"
          ? tcpAddress(bound.address, bound.port)
          : wanted,
        raw: server,
        close() {
          // Its own promise waits for every connection; the port is free now.
          server.close();
          return Promise.resolve();
        },
        updateTls() {
          throw new TypeError("Cannot update TLS: this server has none");
        },
        ref: () => void server.ref(),
        unref: () => void server.unref(),
      });
    });
  });
}

/** What a connection is made of: its socket, and the path of a Unix one. */
type Wrap = (socket: net.Socket, path?: string) => Transport;

/** One attempt, at one address. */
function connectOnce(
  options: DialOptions,
  wrap: Wrap,
  signal: AbortSignal | undefined,
): Promise<Transport> {
  const { hostname, port, path, localAddress } = options;
  const address: Address = path === undefined
    ? tcpAddress(hostname, port)
    : { transport: "unix", path };
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const socket = net.connect({
      ...(path === undefined
        ? { host: hostname, port: port!, localAddress }
        : { path }),
      allowHalfOpen: true,
      noDelay: true,
    });
    socket.pause();
    const settle = () => {
      signal?.removeEventListener("abort", abort);
      socket.removeListener("error", refuse);
      socket.removeListener("connect", accept);
    };
    const abort = () => {
      settle();
      socket.on("error", () => {});
      socket.destroy();
      reject(signal!.reason);
    };
    const refuse = (error: Error) => {
      settle();
      reject(connectError(error, address));
    };
    const accept = () => {
      settle();
      resolve(wrap(socket, path));
    };
    signal?.addEventListener("abort", abort, { once: true });
    socket.once("error", refuse);
    socket.once("connect", accept);
  });
}

/** The promise, or the signal's reason as soon as it aborts. */
function orAbort<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() =>
      signal.removeEventListener("abort", abort)
    );
  });
}

function asNode(socket: net.Socket, path?: string): Transport {
  return new NodeTransport(socket, path);
}

/** Connects with node:net; what stands then is made a transport by `wrap`. */
export async function connectBy(
  options: DialOptions,
  wrap: Wrap = asNode,
): Promise<Transport> {
  const { hostname = "", path, signal } = options;
  if (path !== undefined || net.isIP(hostname) !== 0) {
    return await connectOnce(options, wrap, signal);
  }
  signal?.throwIfAborted();
  // Node's own way through the addresses of a name gives each only 250 ms.
  let found;
  try {
    found = await orAbort(lookup(hostname, { all: true }), signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw connectError(error, tcpAddress(hostname, options.port));
  }
  return await raceAddresses(
    interleave(found),
    (address, given) =>
      connectOnce({ ...options, hostname: address }, wrap, given),
    { signal, discard: (late) => late.destroy() },
  );
}

/** All addresses of a name, or those of one family, by the system's resolver. */
export async function lookupAll(
  hostname: string,
  family: 4 | 6 | undefined,
): Promise<{ address: string; family: number }[]> {
  return await lookup(hostname, { all: true, family: family ?? 0 });
}

/** The address to listen on for a name, with the error as of listening. */
export async function addressOf(
  hostname: string,
  port: number,
): Promise<string> {
  if (net.isIP(hostname) !== 0) return hostname;
  try {
    return (await lookup(hostname)).address;
  } catch (error) {
    throw listenError(error, tcpAddress(hostname, port));
  }
}

/** TCP on node:net. */
export const runtime: TcpRuntime = {
  listen: (options, events) =>
    replacingStale(options.path, () => listen(options, events)),
  async connect(options) {
    const bare = !options.secure && await canAccept();
    return await connectBy(options, bare ? transportOf : asNode);
  },
};
