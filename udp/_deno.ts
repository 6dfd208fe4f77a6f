import { NetError } from "../streams/errors.ts";
import { isIPv4, unmapped } from "./_address.ts";
import { sendError } from "./_errors.ts";
import type {
  Endpoint,
  OpenOptions,
  Outgoing,
  RuntimeSocket,
  SocketEvents,
  UdpRuntime,
} from "./_runtime.ts";

interface DenoAddress extends Endpoint {
  transport: "udp";
}

interface Membership {
  leave(): Promise<void>;
}

/** As much of `Deno.DatagramConn` as is used here. */
interface DatagramConn {
  readonly addr: DenoAddress;
  receive(buffer: Uint8Array): Promise<[Uint8Array, DenoAddress]>;
  send(data: Uint8Array, to: DenoAddress): Promise<number>;
  joinMulticastV4(group: string, through: string): Promise<Membership>;
  joinMulticastV6(group: string, through: number): Promise<Membership>;
  close(): void;
}

interface NetworkInterface {
  name: string;
  family: string;
  address: string;
  netmask: string;
  scopeid: number | null;
}

interface DenoGlobal {
  /** There with `--unstable-net` only. */
  listenDatagram?(options: {
    transport: "udp";
    hostname: string;
    port: number;
    reuseAddress: boolean;
  }): DatagramConn;
  networkInterfaces(): NetworkInterface[];
  permissions: {
    querySync(of: { name: string; kind: string }): { state: string };
  };
}

const { Deno } = globalThis as unknown as { Deno: DenoGlobal };

/** Any datagram fits. */
const BUFFER_SIZE = 65_536;
/** Errors in a row after which reading is hopeless. */
const MAX_FAILURES = 16;
/** How long (ms) the list of interfaces is believed. */
const INTERFACES_TTL = 1000;
/** Addresses remembered as no broadcast addresses. */
const MAX_CLEARED = 1024;

class DenoRuntimeSocket implements RuntimeSocket {
  readonly raw: DatagramConn;
  readonly address: Endpoint;
  readonly immediate = false;
  readonly #events: SocketEvents;
  readonly #reading: Promise<void>;
  readonly #memberships = new Map<string, Membership>();
  #closed = false;

  constructor(conn: DatagramConn, events: SocketEvents) {
    this.raw = conn;
    this.#events = events;
    const { hostname, port } = conn.addr;
    this.address = { hostname, port };
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    // One buffer for all, and a copy of what came: what Deno allocates for
    // every datagram is 64 KiB.
    const buffer = new Uint8Array(BUFFER_SIZE);
    for (let failures = 0; !this.#closed;) {
      let data: Uint8Array;
      let from: Endpoint;
      try {
        [data, from] = await this.raw.receive(buffer);
      } catch (error) {
        if (this.#closed) return;
        if (isOver(error) || ++failures === MAX_FAILURES) {
          this.close();
          this.#events.close(error);
          return;
        }
        this.#events.error(error);
        continue;
      }
      if (this.#closed) return;
      failures = 0;
      this.#events.message(data.slice(), from.hostname, from.port);
    }
  }

  attempt(): boolean {
    // Every send has a promise here, which somebody must look after.
    return false;
  }

  send(datagram: Outgoing): void {
    const { data, address: hostname, port } = datagram;
    this.raw.send(data, { transport: "udp", hostname, port }).then(
      () => datagram.settle(),
      (error) => datagram.settle(sendError(error, hostname, port)),
    );
  }

  async join(group: string, through?: string): Promise<void> {
    const membership = isIPv4(group)
      ? await this.raw.joinMulticastV4(group, through ?? "0.0.0.0")
      : await this.raw.joinMulticastV6(group, interfaceIndex(through));
    this.#memberships.set(`${group} ${through}`, membership);
  }

  async leave(group: string, through?: string): Promise<void> {
    const key = `${group} ${through}`;
    await this.#memberships.get(key)?.leave();
    this.#memberships.delete(key);
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      try {
        this.raw.close();
      } catch {
        // Somebody closed the raw socket.
      }
    }
    // The pending receive holds the port until it has heard of it.
    return this.#reading;
  }
}

function isOver(error: unknown): boolean {
  const { name } = error as { name?: unknown };
  return name === "BadResource" || name === "Interrupted";
}

let listed: { until: number; interfaces: NetworkInterface[] } | undefined;

/** The interfaces; none where Deno was not allowed to see them. */
function interfaces(): NetworkInterface[] {
  const now = performance.now();
  if (listed === undefined || listed.until < now) {
    // Asking without the permission would prompt the user.
    const { state } = Deno.permissions.querySync({
      name: "sys",
      kind: "networkInterfaces",
    });
    listed = {
      until: now + INTERFACES_TTL,
      interfaces: state === "granted" ? Deno.networkInterfaces() : [],
    };
  }
  return listed.interfaces;
}

/** The number that Deno wants for an IPv6 interface; 0 is any. */
function interfaceIndex(name: string | undefined): number {
  if (name === undefined) return 0;
  const zone = name.slice(name.indexOf("%") + 1);
  if (/^\d+$/.test(zone)) return Number(zone);
  const found = interfaces().find((one) => one.name === zone && one.scopeid);
  if (found?.scopeid) return found.scopeid;
  throw new NetError(`Cannot find the network interface: ${name}`, {
    code: "ENODEV",
    phase: "join",
  });
}

function isBroadcast(address: string): boolean {
  if (address === "255.255.255.255") return true;
  if (!isIPv4(address)) return false;
  return interfaces().some((one) => {
    if (one.family !== "IPv4") return false;
    const wild = ~toNumber(one.netmask);
    // RFC 3021: links of one or two addresses have no broadcast address.
    return wild !== 0 && wild !== 1 &&
      (toNumber(one.address) | wild) === (toNumber(address) | 0);
  });
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, octet) => sum << 8 | +octet, 0);
}

/**
 * Keeps broadcasts in that were not asked for: Deno's own sockets always
 * allow them, and its `node:dgram` gives no reason when it refuses.
 */
function withoutBroadcast(socket: RuntimeSocket): RuntimeSocket {
  const send = socket.send.bind(socket);
  const cleared = new Set<string>();
  socket.send = (datagram) => {
    const { address, port } = datagram;
    if (!cleared.has(address)) {
      if (isBroadcast(unmapped(address))) {
        return datagram.settle(sendError({ code: "EACCES" }, address, port));
      }
      if (cleared.size === MAX_CLEARED) cleared.clear();
      cleared.add(address);
    }
    send(datagram);
  };
  return socket;
}

async function open(
  options: OpenOptions,
  events: SocketEvents,
): Promise<RuntimeSocket> {
  const { hostname, port, reuseAddress } = options;
  let socket: RuntimeSocket;
  if (
    Deno.listenDatagram !== undefined &&
    // Its own sockets have none of these.
    options.ttl === undefined && options.multicast === undefined
  ) {
    const conn = Deno.listenDatagram({
      transport: "udp",
      hostname,
      port,
      reuseAddress,
    });
    socket = new DenoRuntimeSocket(conn, events);
  } else {
    const { openDgram } = await import("./_node.ts");
    // Connecting is only emulated there, so that we can as well do it here.
    socket = await openDgram(options, events, { connect: false, quiet: false });
  }
  return options.broadcast ? socket : withoutBroadcast(socket);
}

/** UDP on Deno. */
export const runtime: UdpRuntime = {
  open,
  lookup: async (name, family) => {
    const { lookup } = await import("./_node.ts");
    return lookup(name, family);
  },
};
