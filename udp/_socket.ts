import { BaseDuplex, toError, toNetError } from "../streams/_duplex.ts";
import { refuseWait, Waiter } from "../streams/_waiters.ts";
import {
  ClosedError,
  NetError,
  SizeLimitError,
  TimeoutError,
} from "../streams/errors.ts";
import type {
  Address,
  CloseInfo,
  MaybePromise,
  Overflow,
  Wait,
} from "../streams/types.ts";
import {
  isMulticast,
  parseIP,
  sameAddress,
  show,
  toSystem,
  unmapped,
} from "./_address.ts";
import { codeOf, udpError } from "./_errors.ts";
import { Names } from "./_names.ts";
import { Packet, Route, toBytes } from "./_packet.ts";
import { checkHostname, checkInterface, checkPort } from "./_options.ts";
import type {
  Endpoint,
  RuntimeSocket,
  SocketEvents,
  UdpRuntime,
} from "./_runtime.ts";
import type {
  Datagram,
  JoinOptions,
  OutgoingDatagram,
  Socket,
} from "./types.ts";

/** Bytes that may wait for the reader. */
const MAX_QUEUED = 16 * 1024 * 1024;
/** Bytes that may wait for the kernel while senders ignore their promises. */
const MAX_PENDING = 16 * 1024 * 1024;
/** Sends that may wait for names to be looked up. */
const MAX_SENDERS = 65_536;
/** Datagrams handed over that the runtime has not answered for. */
const MAX_IN_FLIGHT = 64;
/** How many must leave in order before more may be in flight. */
const PROBATION = 64;
/** Addresses remembered. */
const MAX_ROUTES = 1024;
/** Longest delay a timer takes. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** What `bind` found out. */
export interface Settings {
  family: 4 | 6;
  /** An IP address, IPv4 in its own form. */
  remote: Endpoint | undefined;
  /** What the caller calls the remote. */
  remoteName: string | undefined;
  capacity: number;
  overflow: Overflow;
  /** Interface to join on, when the caller names none. */
  through: string | undefined;
  onError: ((error: NetError) => void) | undefined;
}

/** The one socket of all runtimes, over what `_runtime.ts` describes. */
export class UdpSocket extends BaseDuplex<Datagram, Packet, CloseInfo>
  implements Socket, AsyncDisposable {
  /** What a datagram weighs in the queue at the least. */
  readonly #unit: number;
  /** What all in the queue may weigh. */
  readonly #high: number;
  readonly #settings: Settings;
  readonly #names: Names;
  readonly #routes = new Map<string, Route>();
  readonly #groups = new Set<string>();
  /** Sends whose outcome is not known yet. */
  readonly #undecided = new Set<Waiter<boolean, undefined>>();
  #handle: RuntimeSocket | undefined;
  #address!: Address;
  #state: "open" | "closing" | "closed" = "open";
  /**
   * How many may be in flight. Deno sends those that had to wait for the
   * kernel in any order: hence one on a new socket and when the order broke,
   * and more again as it holds.
   */
  #window = 1;
  #transmitted = 0;
  #lastSettled = 0;
  #inOrder = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  /** Bytes of datagrams whose receiver's name is being looked up. */
  #unnamedBytes = 0;
  #dropped = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #release: (() => void) | undefined;

  constructor(settings: Settings, runtime: UdpRuntime) {
    // A large datagram counts for several when the capacity is large.
    const unit = Math.max(1, Math.floor(MAX_QUEUED / settings.capacity));
    const high = Math.min(unit * settings.capacity, MAX_QUEUED);
    super({
      size: ({ data }) => Math.max(unit, data.byteLength),
      high,
    }, {
      full: () => this.#inFlight >= this.#window,
      accept: (packet) => this.#transmit(packet),
      size: (packet) => packet.size,
      maxPending: () => MAX_PENDING,
      onOverflow: () => this.#overflow(),
    });
    this.#unit = unit;
    this.#high = high;
    this.#settings = settings;
    this.#names = new Names(runtime, settings.family);
  }

  /** What the runtime reports to. */
  readonly events: SocketEvents = {
    message: (data, hostname, port) => this.#arrived(data, hostname, port),
    error: (error) => this.#failed(error),
    close: (error) =>
      this.destroy(error ?? new ClosedError("The raw socket was closed")),
  };

  /** Gives it the runtime's socket, once, and what ends it from outside. */
  attach(handle: RuntimeSocket, signal?: AbortSignal): void {
    this.#handle = handle;
    const { hostname, port } = handle.address;
    this.#address = { transport: "udp", hostname: unmapped(hostname), port };
    if (signal?.aborted) this.destroy(signal.reason);
    // What came before may have ended it already.
    if (this.#state === "closed") return void handle.close();
    if (signal === undefined) return;
    const onAbort = () => this.destroy(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#release = () => signal.removeEventListener("abort", onAbort);
  }

  get address(): Address {
    return this.#address;
  }

  get dropped(): number {
    return this.#dropped;
  }

  get raw(): unknown {
    return this.#handle?.raw;
  }

  get buffered(): number {
    if (this.#state === "closed") return 0;
    return this.#unnamedBytes + this.outbox.pending + this.#inFlightBytes;
  }

  #arrived(data: Uint8Array, hostname: string, port: number): void {
    // Nobody can answer port 0 (RFC 768 allows it to those who want none);
    // whoever echoes would be rejected, by a stranger's doing.
    if (this.#state !== "open" || port === 0) return;
    const { family, remote, overflow, capacity } = this.#settings;
    const from = family === 6 ? unmapped(hostname) : hostname;
    // The kernel's own filter begins with the connecting, or is not there.
    if (
      remote !== undefined &&
      (port !== remote.port || !sameAddress(from, remote.hostname))
    ) return;
    const { inbox } = this;
    const weight = Math.max(this.#unit, data.byteLength);
    while (inbox.fill + weight > this.#high) {
      this.#dropped++;
      if (overflow === "close") {
        this.destroy(
          new SizeLimitError(
            `Cannot queue more datagrams: ${capacity} wait for the reader`,
            { limit: capacity },
          ),
        );
        return;
      }
      if (overflow !== "drop-oldest") return;
      inbox.drop();
    }
    inbox.push({ data, hostname: from, port }, weight);
  }

  /** The system told of trouble with a datagram that was sent earlier. */
  #failed(error: unknown): void {
    const { remote } = this.#settings;
    const code = codeOf(error);
    this.#report(
      error instanceof NetError ? error : new NetError(
        remote === undefined
          ? `Cannot receive: ${code}`
          : `Cannot reach ${show(remote.hostname, remote.port)}: ${code}`,
        {
          code,
          phase: remote === undefined ? "receive" : "send",
          retryable: true,
          ...(remote && { address: { transport: "udp", ...remote } }),
          cause: error,
        },
      ),
    );
  }

  #report(error: NetError): void {
    if (this.#state === "closed") return;
    try {
      this.#settings.onError?.(error);
    } catch (thrown) {
      this.destroy(thrown);
    }
  }

  override send(
    message: OutgoingDatagram,
    options?: Wait,
  ): MaybePromise<boolean> {
    if (options === undefined && this.#attempt(message)) return true;
    const refused = refuseWait(options);
    if (refused !== undefined) return refused;
    if (this.#state !== "open") return false;
    let packet: Packet;
    let sent: MaybePromise<boolean>;
    try {
      packet = this.#pack(message);
      sent = packet.route === undefined
        ? this.#find(packet)
        : this.#hand(packet);
    } catch (error) {
      return Promise.reject(error);
    }
    return sent instanceof Promise ? this.#limit(sent, packet, options) : sent;
  }

  /** What most sends are: nothing waits, and the system has taken its like. */
  #attempt(message: OutgoingDatagram): boolean {
    if (
      this.#state !== "open" || this.#inFlight > 0 || this.outbox.waiting > 0 ||
      !(message?.data instanceof Uint8Array)
    ) return false;
    const { data } = message;
    let { hostname, port } = message;
    const { remote } = this.#settings;
    if (remote !== undefined) {
      if (hostname !== undefined && hostname !== remote.hostname) return false;
      if (port !== undefined && port !== remote.port) return false;
      ({ hostname, port } = remote);
    }
    const route = this.#routes.get(hostname as string);
    return route !== undefined && data.byteLength <= route.proven &&
      Number.isInteger(port) && port! > 0 && port! < 65_536 &&
      this.#handle!.attempt(data, route.address, port!);
  }

  #pack(message: OutgoingDatagram): Packet {
    // Whoever has no types may give anything.
    const data = toBytes((message as OutgoingDatagram | null)?.data);
    const { hostname, port } = this.#receiver(message);
    const packet = new Packet(this, data, hostname, port);
    packet.route = this.#routes.get(hostname) ?? this.#routeOf(hostname);
    packet.check();
    return packet;
  }

  #receiver({ hostname, port }: OutgoingDatagram): Endpoint {
    const { remote } = this.#settings;
    if (remote === undefined) {
      if (hostname === undefined || port === undefined) {
        throw new TypeError(
          "Cannot send: the datagram needs a hostname and a port, " +
            "for the socket has no remote",
        );
      }
      checkHostname(hostname, "Cannot send");
      checkPort(port, 1, "Cannot send");
      return { hostname, port };
    }
    if (
      (hostname !== undefined && hostname !== this.#settings.remoteName &&
        !sameAddress(hostname, remote.hostname)) ||
      (port !== undefined && port !== remote.port)
    ) {
      throw new TypeError(
        `Cannot send to others than the remote ${
          show(remote.hostname, remote.port)
        }: ${show(hostname ?? remote.hostname, port ?? remote.port)}`,
      );
    }
    return remote;
  }

  /** The way to an address; `undefined` for a name. */
  #routeOf(hostname: string): Route | undefined {
    const ip = parseIP(hostname);
    if (ip === undefined) return undefined;
    const { family } = this.#settings;
    if (family === 4 && ip.family === 6) {
      throw new NetError(`Cannot send to IPv6 from IPv4: ${hostname}`, {
        code: "EAFNOSUPPORT",
        phase: "send",
      });
    }
    if (this.#routes.size >= MAX_ROUTES) this.#routes.clear();
    const route = new Route(toSystem(ip.address, family), ip.family);
    this.#routes.set(hostname, route);
    return route;
  }

  /** Looks the name up first. */
  #find(packet: Packet): MaybePromise<boolean> {
    const { hostname, size } = packet;
    const found = (address: string): MaybePromise<boolean> => {
      packet.route = this.#routes.get(address) ?? this.#routeOf(address);
      packet.check();
      return this.#hand(packet);
    };
    const address = this.#names.lookup(hostname);
    if (!(address instanceof Promise)) return found(address);
    if (this.#undecided.size >= MAX_SENDERS) {
      throw new NetError(`Cannot send: ${MAX_SENDERS} calls wait already`, {
        code: "ERR_TOO_MANY_WAITERS",
      });
    }
    if (this.buffered + size > MAX_PENDING) {
      this.#overflow();
      return false;
    }
    this.#unnamedBytes += size;
    return address.finally(() => this.#unnamedBytes -= size).then(found);
  }

  /** The senders did not care for their promises. */
  #overflow(): void {
    this.destroy(
      new SizeLimitError(
        `Cannot keep more datagrams to send: ${MAX_PENDING} bytes wait`,
        { limit: MAX_PENDING },
      ),
    );
  }

  #hand(packet: Packet): MaybePromise<boolean> {
    const accepted = this.outbox.send(packet);
    return accepted instanceof Promise
      ? accepted.then((taken) => taken && this.#outcome(packet))
      : accepted && this.#outcome(packet);
  }

  /** Gives it to the runtime; called when there is room. */
  #transmit(packet: Packet): void {
    if (packet.withdrawn) return;
    this.#inFlight++;
    this.#inFlightBytes += packet.size;
    packet.number = ++this.#transmitted;
    if (!this.#handle!.immediate) packet.hurry();
    this.#handle!.send(packet);
  }

  /** A packet was settled. */
  left(packet: Packet): void {
    this.#inFlight--;
    this.#inFlightBytes -= packet.size;
    this.#pace(packet.number);
    // There is no sender any more who could be told.
    if (packet.fast && packet.error !== undefined) this.#report(packet.error);
    this.#advance();
  }

  #pace(number: number): void {
    if (number < this.#lastSettled) {
      this.#window = 1;
      this.#inOrder = 0;
      return;
    }
    this.#lastSettled = number;
    if (number === 1) {
      this.#window = MAX_IN_FLIGHT;
    } else if (this.#window < MAX_IN_FLIGHT && ++this.#inOrder === PROBATION) {
      this.#window *= 2;
      this.#inOrder = 0;
    }
  }

  #outcome(packet: Packet): MaybePromise<boolean> {
    if (packet.fast) return true;
    if (packet.settled) return this.#judge(packet);
    return packet.wait().then(() => this.#judge(packet));
  }

  /** Throws for what can never be sent; the network's doing is reported. */
  #judge({ error }: Packet): boolean {
    if (error === undefined) return true;
    if (this.#state === "closed") return false;
    if (error.code === "EMSGSIZE" || error.code === "EACCES") throw error;
    this.#report(error);
    return true;
  }

  /** The sender's own limits, and `false` should the socket go first. */
  #limit(
    sent: Promise<boolean>,
    packet: Packet,
    options: Wait | undefined,
  ): Promise<boolean> {
    const waiter = new Waiter<boolean, undefined>(undefined);
    this.#undecided.add(waiter);
    const decided = () => {
      if (!this.#undecided.delete(waiter)) return false;
      this.#advance();
      return true;
    };
    if (options !== undefined) {
      waiter.limit(options, "send", () => {
        packet.withdrawn = true;
        decided();
      });
    }
    sent.then(
      (taken) => decided() && waiter.resolve(taken),
      (error) => decided() && waiter.reject(error),
    );
    return waiter.promise;
  }

  /** Something left: others may follow, or the closing is done. */
  #advance(): void {
    this.outbox.admit();
    if (this.#state === "closing" && this.#flushed) {
      this.#over({ clean: true });
    }
  }

  get #flushed(): boolean {
    return this.#inFlight === 0 && this.outbox.waiting === 0 &&
      this.#undecided.size === 0;
  }

  join(group: string, options: JoinOptions = {}): Promise<void> {
    return this.#member(group, options, "join");
  }

  leave(group: string, options: JoinOptions = {}): Promise<void> {
    return this.#member(group, options, "leave");
  }

  async #member(
    group: string,
    options: JoinOptions,
    what: "join" | "leave",
  ): Promise<void> {
    if (this.#state !== "open") {
      throw new ClosedError(`Cannot ${what} a group: the socket is closed`);
    }
    const { family } = this.#settings;
    const ip = typeof group === "string" ? parseIP(group) : undefined;
    if (ip?.family !== family || !isMulticast(ip.address)) {
      throw new TypeError(
        `Cannot ${what}: not an IPv${family} multicast address: ${group}`,
      );
    }
    const through = options.interface ?? this.#settings.through;
    if (through !== undefined) {
      checkInterface(through, family, `Cannot ${what}`);
    }
    const key = `${ip.address} ${through}`;
    const member = this.#groups.has(key);
    if (member && what === "join") return;
    try {
      if (!member && what === "leave") throw { code: "EADDRNOTAVAIL" };
      if (what === "join") this.#groups.add(key);
      else this.#groups.delete(key);
      await this.#handle![what](ip.address, through);
    } catch (error) {
      if (!member) this.#groups.delete(key);
      const where = through === undefined ? "" : ` on ${through}`;
      throw udpError(error, what, `${what} ${group}${where}`);
    }
  }

  protected override finish(): Promise<void> {
    return this.close();
  }

  override async close(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = 15_000 } = options;
    if (!(timeout >= 0)) {
      throw new RangeError(
        `Cannot close: timeout must be 0 or more: ${timeout}`,
      );
    }
    if (this.#state === "open") {
      this.#state = "closing";
      this.inbox.end();
      if (this.#flushed) {
        this.#over({ clean: true });
      } else if (timeout <= MAX_TIMEOUT) {
        this.#timer = setTimeout(() => {
          this.destroy(
            new TimeoutError(`Cannot close within ${timeout} ms`, {
              phase: "close",
            }),
          );
        }, timeout);
      }
    }
    await this.closed;
  }

  override destroy(reason?: unknown): void {
    if (this.#state === "closed") return;
    const message = "The socket was destroyed";
    this.inbox.destroy(toError(reason, message));
    this.#over({ clean: false, error: toNetError(reason, message) });
  }

  #over(info: CloseInfo): void {
    this.#state = "closed";
    clearTimeout(this.#timer);
    this.#release?.();
    this.outbox.close();
    for (const waiter of this.#undecided) waiter.resolve(false);
    this.#undecided.clear();
    const freed = this.#handle?.close();
    if (freed instanceof Promise) freed.then(() => this.settle(info));
    else this.settle(info);
  }
}
