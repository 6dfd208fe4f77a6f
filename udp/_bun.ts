import { Ring } from "../streams/_ring.ts";
import { sendError } from "./_errors.ts";
import { configure, interfaceName, lookup, openDgram } from "./_node.ts";
import type { Configurable } from "./_node.ts";
import type {
  Endpoint,
  OpenOptions,
  Outgoing,
  RuntimeSocket,
  SocketEvents,
  UdpRuntime,
} from "./_runtime.ts";

/** As much of Bun's UDP socket as is used here. */
interface BunSocket extends Configurable {
  readonly address: { address: string; port: number };
  readonly closed: boolean;
  send(data: Uint8Array, port?: number, address?: string): boolean;
  close(): void;
  addMembership(group: string, through?: string): void;
  dropMembership(group: string, through?: string): void;
}

interface BunOptions {
  hostname: string;
  port: number;
  connect?: Endpoint;
  binaryType: "uint8array";
  socket: {
    data(
      socket: BunSocket,
      data: Uint8Array,
      port: number,
      address: string,
    ): void;
    drain(): void;
    error(error: unknown): void;
  };
}

interface BunGlobal {
  udpSocket(options: BunOptions): Promise<BunSocket>;
}

/**
 * Its `sendMany` would save a seventh of the CPU time of a burst, and take from
 * every datagram its own answer: one that fails stops those behind it.
 */
class BunRuntimeSocket implements RuntimeSocket {
  readonly raw: BunSocket;
  readonly immediate = true;
  readonly #options: OpenOptions;
  readonly #events: SocketEvents;
  /** What the kernel had no room for. */
  readonly #held = new Ring<Outgoing>();
  #closed = false;

  constructor(socket: BunSocket, options: OpenOptions, events: SocketEvents) {
    this.raw = socket;
    this.#options = options;
    this.#events = events;
  }

  get address(): Endpoint {
    const { address, port } = this.raw.address;
    return { hostname: address, port };
  }

  attempt(data: Uint8Array, address: string, port: number): boolean {
    if (this.#held.length > 0) return false;
    try {
      return this.#options.remote === undefined
        ? this.raw.send(data, port, address)
        : this.raw.send(data);
    } catch {
      return false;
    }
  }

  send(datagram: Outgoing): void {
    if (this.#held.length > 0 || !this.#transmit(datagram)) {
      this.#held.push(datagram);
    }
  }

  /** `false` when the kernel has no room. */
  #transmit(datagram: Outgoing): boolean {
    const { data, address, port } = datagram;
    const connected = this.#options.remote !== undefined;
    let pending: unknown;
    for (let tries = 1;; tries++) {
      try {
        const sent = connected
          ? this.raw.send(data)
          : this.raw.send(data, port, address);
        if (sent) datagram.settle();
        if (pending !== undefined && connected) this.#events.error(pending);
        return sent;
      } catch (error) {
        // It may be about an earlier datagram (a pending ICMP error), and
        // this one did not go out then: the second answer is its own.
        if (tries === 1) {
          pending = error;
          continue;
        }
        datagram.settle(sendError(error, address, port));
        if (this.raw.closed) this.#events.close(error);
        return true;
      }
    }
  }

  /** There is room again. */
  flush(): void {
    for (
      let first = this.#held.peek();
      first !== undefined && !this.#closed && this.#transmit(first);
      first = this.#held.peek()
    ) this.#held.shift();
  }

  join(group: string, through?: string): void {
    this.raw.addMembership(group, ...this.#through(through));
  }

  leave(group: string, through?: string): void {
    this.raw.dropMembership(group, ...this.#through(through));
  }

  #through(name: string | undefined): [] | [string] {
    return name === undefined
      ? []
      : [interfaceName(name, this.#options.family)];
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#held.clear();
    this.raw.close();
  }
}

async function open(
  options: OpenOptions,
  events: SocketEvents,
): Promise<RuntimeSocket> {
  const { Bun } = globalThis as unknown as { Bun: BunGlobal };
  const { hostname, port, remote } = options;
  let opened: BunRuntimeSocket | undefined;
  const socket = await Bun.udpSocket({
    hostname,
    port,
    ...(remote && { connect: remote }),
    binaryType: "uint8array",
    socket: {
      data: (_, data, port, address) => events.message(data, address, port),
      drain: () => opened?.flush(),
      // Without a handler an ICMP error would end the process. A socket that
      // is not connected hears of them here only, and not about whom.
      error: (error) => {
        if (remote !== undefined) events.error(error);
      },
    },
  });
  try {
    configure(socket, options);
  } catch (error) {
    socket.close();
    throw error;
  }
  return opened = new BunRuntimeSocket(socket, options, events);
}

/** UDP on Bun. Only `node:dgram` can share a port there. */
export const runtime: UdpRuntime = {
  open: (options, events) =>
    options.reuseAddress
      ? openDgram(options, events, { connect: true, quiet: false })
      : open(options, events),
  lookup,
};
