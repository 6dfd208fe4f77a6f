import { DnsError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import { COPY_LIMIT } from "./_copy.ts";
import { sendError } from "./_errors.ts";
import type {
  Endpoint,
  OpenOptions,
  Outgoing,
  RuntimeSocket,
  SocketEvents,
  UdpRuntime,
} from "./_runtime.ts";

type Callback = (error?: Error | null) => void;

/** The options of a socket, called the same by Bun's own. */
export interface Configurable {
  setBroadcast(on: boolean): void;
  setTTL(ttl: number): void;
  setMulticastTTL(ttl: number): void;
  setMulticastLoopback(on: boolean): void;
  setMulticastInterface(address: string): void;
}

/** As much of `dgram.Socket` as is used here. */
interface DgramSocket extends Configurable {
  bind(options: { port: number; address: string }): void;
  connect(port: number, address: string, callback: Callback): void;
  send(data: Uint8Array, callback: Callback): void;
  send(
    data: Uint8Array,
    port: number,
    address: string,
    callback?: Callback,
  ): void;
  getSendQueueCount(): number;
  address(): { address: string; port: number };
  close(callback?: () => void): void;
  addMembership(group: string, through?: string): void;
  dropMembership(group: string, through?: string): void;
  on(event: "message", f: (data: Uint8Array, from: From) => void): void;
  on(event: "error", f: (error: Error) => void): void;
  on(event: "close" | "listening", f: () => void): void;
}

interface From {
  address: string;
  port: number;
}

interface DgramModule {
  createSocket(options: {
    type: "udp4" | "udp6";
    reuseAddr: boolean;
    lookup(
      hostname: string,
      family: unknown,
      callback: (error: null, address: string, family: unknown) => void,
    ): void;
  }): DgramSocket;
}

/** Datagrams in a row that go out without asking what became of them. */
const MAX_UNHEARD = 31;

/** Where datagrams are put that the system mostly takes at once. */
let scratch = new Uint8Array(COPY_LIMIT);
let part = scratch;

/** A copy of so small a datagram, good until the next call. */
function briefly(data: Uint8Array): Uint8Array {
  const size = data.byteLength;
  if (part.byteLength !== size) part = scratch.subarray(0, size);
  part.set(data);
  return part;
}

/** The system still needs the last copy. */
function keep(): void {
  part = scratch = new Uint8Array(COPY_LIMIT);
}

/** How the runtimes want an interface named: IPv6 ones by a zone. */
export function interfaceName(name: string, family: 4 | 6): string {
  return family === 6 && !name.includes("%") ? `::%${name}` : name;
}

class DgramRuntimeSocket implements RuntimeSocket {
  readonly raw: DgramSocket;
  readonly address: Endpoint;
  readonly immediate = false;
  readonly #events: SocketEvents;
  readonly #family: 4 | 6;
  readonly #connected: boolean;
  readonly #quiet: boolean;
  #unheard = 0;
  /** Whether the system has not taken all at once. */
  #clogged = false;
  #closed = false;

  constructor(
    socket: DgramSocket,
    family: 4 | 6,
    events: SocketEvents,
    connected: boolean,
    quiet: boolean,
  ) {
    this.raw = socket;
    this.#events = events;
    this.#family = family;
    this.#connected = connected;
    this.#quiet = quiet;
    const { address, port } = socket.address();
    this.address = { hostname: address, port };
    socket.on("close", () => {
      if (this.#closed) return;
      this.#closed = true;
      events.close();
    });
  }

  attempt(data: Uint8Array, address: string, port: number): boolean {
    if (
      !this.#quiet || this.#unheard === MAX_UNHEARD ||
      data.byteLength > COPY_LIMIT || this.#waits()
    ) return false;
    this.#unheard++;
    try {
      // A callback would cost a tenth of the whole.
      this.raw.send(briefly(data), port, address);
    } catch {
      return false;
    }
    this.#clogged = this.raw.getSendQueueCount() > 0;
    if (this.#clogged) keep();
    return true;
  }

  /** Whether something that nobody is told of waits for the system. */
  #waits(): boolean {
    return this.#clogged &&
      (this.#clogged = this.raw.getSendQueueCount() > 0);
  }

  send(datagram: Outgoing): void {
    this.#unheard = 0;
    this.#transmit(datagram, (first) => {
      if (first == null) return datagram.settle();
      // What the system answers a send with may be about an earlier datagram
      // (a pending ICMP error), and this one did not go out then: the second
      // answer is its own.
      this.#transmit(datagram, (second) => {
        const { address, port } = datagram;
        if (second != null) {
          datagram.settle(sendError(second, address, port));
        } else {
          datagram.settle();
          this.#events.error(first);
        }
      });
    });
  }

  #transmit({ data, address, port }: Outgoing, callback: Callback): void {
    try {
      if (this.#connected) this.raw.send(data, callback);
      else this.raw.send(data, port, address, callback);
    } catch (error) {
      callback(error as Error);
    }
  }

  join(group: string, through?: string): void {
    this.raw.addMembership(
      group,
      through && interfaceName(through, this.#family),
    );
  }

  leave(group: string, through?: string): void {
    this.raw.dropMembership(
      group,
      through && interfaceName(through, this.#family),
    );
  }

  close(): MaybePromise<void> {
    if (this.#closed) return;
    this.#closed = true;
    return new Promise((resolve) => {
      try {
        this.raw.close(resolve);
      } catch {
        // Somebody closed the raw socket.
        resolve();
      }
    });
  }
}

/** What a runtime's `node:dgram` can do. */
interface DgramTraits {
  /** Connect for real. */
  connect: boolean;
  /** Tell how much waits for the kernel, so that not all need a callback. */
  quiet: boolean;
}

/**
 * Opens a socket of `node:dgram`, for the other runtimes too. `node:process`
 * comes first: without it Deno never runs what the others leave to the next
 * tick, such as most callbacks.
 */
export async function openDgram(
  options: OpenOptions,
  events: SocketEvents,
  { connect, quiet }: DgramTraits,
): Promise<RuntimeSocket> {
  await import("node:process");
  const dgram = await import("node:dgram") as unknown as DgramModule;
  const { family, hostname, port, remote } = options;
  const socket = dgram.createSocket({
    type: family === 4 ? "udp4" : "udp6",
    reuseAddr: options.reuseAddress,
    // Only addresses come here: without this every send would wait a turn.
    lookup: (address, family, callback) => callback(null, address, family),
  });
  socket.on("message", (data, from) => {
    events.message(own(data), from.address, from.port);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      let bound = false;
      socket.on("error", (error) => {
        if (bound) events.error(error);
        else reject(error);
      });
      socket.on("listening", () => {
        bound = true;
        resolve();
      });
      socket.bind({ port, address: hostname });
    });
    configure(socket, options);
    const connected = connect && remote !== undefined;
    if (connected) {
      await new Promise<void>((resolve, reject) => {
        socket.connect(remote.port, remote.hostname, (error) => {
          if (error) reject(error);
          else resolve();
        });
      });
    }
    return new DgramRuntimeSocket(
      socket,
      family,
      events,
      connected,
      // A connected socket has pending errors to listen for.
      quiet && !connected,
    );
  } catch (error) {
    try {
      socket.close();
    } catch {
      // It never came to stand.
    }
    throw error;
  }
}

/** Sets what was asked for, on a socket that is bound. */
export function configure(socket: Configurable, options: OpenOptions): void {
  const { broadcast, family, ttl, multicast } = options;
  if (broadcast) socket.setBroadcast(true);
  if (ttl !== undefined) socket.setTTL(ttl);
  if (multicast?.ttl !== undefined) socket.setMulticastTTL(multicast.ttl);
  if (multicast?.loopback !== undefined) {
    socket.setMulticastLoopback(multicast.loopback);
  }
  if (multicast?.interface !== undefined) {
    socket.setMulticastInterface(interfaceName(multicast.interface, family));
  }
}

/** Plain bytes, and never a few of them that hold a large buffer (Deno's). */
function own(data: Uint8Array): Uint8Array {
  const { buffer, byteOffset, byteLength } = data;
  return byteLength * 2 < buffer.byteLength
    ? new Uint8Array(data)
    : new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** Looks a name up the way the system does, `/etc/hosts` included. */
export async function lookup(name: string, family: 4 | 6): Promise<string> {
  await import("node:process");
  const dns = await import("node:dns");
  return new Promise((resolve, reject) => {
    dns.lookup(name, { family }, (cause, address) => {
      if (cause === null && typeof address === "string") {
        resolve(address);
        return;
      }
      const why = (cause as { code?: string } | null)?.code;
      reject(
        new DnsError(`Cannot look up an IPv${family} address: ${name}`, {
          // EPERM is Deno's: the name is not allowed.
          ...(why === "EPERM" && { code: "EACCES" }),
          retryable: why === "EAI_AGAIN",
          cause,
        }),
      );
    });
  });
}

/** UDP on Node. */
export const runtime: UdpRuntime = {
  open: (options, events) =>
    openDgram(options, events, { connect: true, quiet: true }),
  lookup,
};
