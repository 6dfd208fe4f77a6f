import { NetError, PoolError } from "../streams/errors.ts";
import { dial } from "../tcp/_dial.ts";
import type { DialMarks } from "../tcp/_dial.ts";
import type { Transport } from "../tcp/_transport.ts";
import { tapped } from "../tcp/_wiretap.ts";
import type { Lookup } from "../tcp/_lookup.ts";
import type { ProxyPlan } from "../tcp/_proxy.ts";
import type { TlsClientOptions, Wiretap } from "../tcp/types.ts";
import { Deadlines } from "./_client_timers.ts";
import { H1Connection } from "./_client_connection.ts";
import { H2ClientConnection } from "./_h2_client.ts";
import type { Call } from "./_client_call.ts";
import type { CallQueue, Carrier, CarrierSource } from "./_client_carrier.ts";
import type { ClientStats, HostStats } from "./_client_stats.ts";

/** Where the connections of a host go to. */
export interface Route {
  readonly key: string;
  readonly hostname: string;
  readonly port: number;
  readonly path: string | undefined;
  readonly localAddress: string | undefined;
  /** Only over TLS. */
  readonly tls: TlsClientOptions | undefined;
  readonly lookup: Lookup | undefined;
  readonly proxy: ProxyPlan | undefined;
  /** Whether the proxy is handed the requests: no tunnel. */
  readonly forward: boolean;
  /** Whether HTTP/2 is spoken without asking. */
  readonly prior: boolean;
}

/** A connection as its pool knows it. */
export interface PoolConnection {
  /** Whether it was unused for too long while no timer could fire. */
  readonly stale: boolean;
  /** What carries one request. */
  carrier(): Carrier;
  /** Nobody uses it: it neither keeps the process alive nor lives for ever. */
  sleep(): void;
  wake(): void;
  /** Ends it; requests on it hear nothing. */
  destroy(): void;
  /** Ends it with an error for its requests. */
  fail(error: NetError): void;
}

/** Bounds of a pool. */
export interface PoolLimits {
  readonly perHost: number;
  readonly total: number;
  readonly queue: number;
  readonly idleTimeout: number;
  readonly maxLifetime: number;
  /** Windows of streams of HTTP/2. */
  readonly initialWindow: number;
  readonly maxWindow: number;
}

/** Streams at a time until the server says how many (RFC 9113, 6.5.2). */
const EARLY_STREAMS = 100;

/** A connection being made, on behalf of whoever waits. */
interface Dial {
  /** Who gives up with it. */
  call: Call | undefined;
  readonly controller: AbortController;
}

/** All connections of a client. */
export class Pool implements CarrierSource {
  readonly limits: PoolLimits;
  readonly wiretap: Wiretap | undefined;
  readonly deadlines: Deadlines = new Deadlines();
  readonly #hosts = new Map<string, Host>();
  /** Hosts that could not dial because of `total`, in order. */
  readonly #starving = new Set<Host>();
  #open = 0;
  #queued = 0;
  #turns = 0;
  #closed = false;
  readonly #onIdle: (() => void)[] = [];

  constructor(limits: PoolLimits, wiretap?: Wiretap) {
    this.limits = limits;
    this.wiretap = wiretap;
  }

  get closed(): boolean {
    return this.#closed;
  }

  acquire(call: Call, fresh: boolean): void {
    const { route } = call.plan;
    let host = this.#hosts.get(route.key);
    if (host === undefined) {
      host = new Host(this, route);
      this.#hosts.set(route.key, host);
    }
    host.acquire(call, fresh);
  }

  /** Makes room for one more, at the cost of an idle one elsewhere. */
  admit(host: Host): boolean {
    while (this.#open >= this.limits.total) {
      if (this.#evict()) continue;
      this.#starving.add(host);
      return false;
    }
    this.#open++;
    return true;
  }

  #evict(): boolean {
    for (const host of this.#hosts.values()) if (host.evict()) return true;
    return false;
  }

  /** A connection is over. */
  left(host: Host): void {
    this.#open--;
    this.forget(host);
    this.#settleIdle();
    while (this.#open < this.limits.total) {
      const next = this.#neediest();
      if (next === undefined) return;
      this.#starving.delete(next);
      next.dialMore();
    }
  }

  /** Of those that could not dial, one with the fewest connections. */
  #neediest(but?: Host): Host | undefined {
    let neediest: Host | undefined;
    for (const host of this.#starving) {
      if (host === but) continue;
      if (host.open === 0) return host;
      if (neediest === undefined || host.open < neediest.open) neediest = host;
    }
    return neediest;
  }

  /**
   * Whether a host that has more to send is to end a connection all the same,
   * for the sake of one with fewer. One with none gets one by turns.
   */
  yields(host: Host): boolean {
    if (this.#starving.size === 0) return false;
    const other = this.#neediest(host);
    if (other === undefined) return false;
    return other.open + 1 < host.open ||
      (other.open === 0 && other.turn < host.turn);
  }

  /** Nobody waits at a host any more. */
  sated(host: Host): void {
    this.#starving.delete(host);
  }

  /** Drops a host that nothing is left of. */
  forget(host: Host): void {
    if (!host.unused) return;
    this.#hosts.delete(host.route.key);
    this.#starving.delete(host);
  }

  /** Whether somebody waits for a connection to go. */
  get starving(): boolean {
    return this.#starving.size > 0;
  }

  /** Counts a waiting call, and says its turn; refuses one too many. */
  enqueue(): number {
    if (this.#queued >= this.limits.queue) {
      throw new PoolError(
        `Cannot wait for a connection: ${this.#queued} requests do already`,
        { code: "ERR_POOL_QUEUE" },
      );
    }
    this.#queued++;
    return ++this.#turns;
  }

  dequeue(): void {
    this.#queued--;
    this.#settleIdle();
  }

  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
      this.#settleIdle();
    });
  }

  #settleIdle(): void {
    if (this.#open > 0 || this.#queued > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  stats(): ClientStats {
    const hosts: Record<string, HostStats> = {};
    let idle = 0;
    for (const host of this.#hosts.values()) {
      const stats = host.stats();
      idle += stats.idle;
      hosts[host.route.key] = stats;
    }
    return { open: this.#open, idle, queued: this.#queued, hosts };
  }

  /** No more requests; idle connections go now. */
  close(): void {
    this.#closed = true;
    for (const host of [...this.#hosts.values()]) host.closeIdle();
  }

  /** Ends what is left. */
  destroy(): void {
    this.#closed = true;
    for (const host of [...this.#hosts.values()]) host.destroy();
    this.deadlines.clear();
  }
}

/** The connections to one place, and who waits for one. */
export class Host implements CallQueue {
  readonly pool: Pool;
  readonly route: Route;
  readonly #idle: PoolConnection[] = [];
  readonly #all = new Set<PoolConnection>();
  /** Those that many requests share. */
  readonly #shared = new Set<H2ClientConnection>();
  /** Requests that a shared one takes at a time, as far as is known. */
  streams = EARLY_STREAMS;
  /** What it was found to speak. */
  #speaks: "h1" | "h2" | undefined;
  /** It wants HTTP/1.1, though it offers HTTP/2. */
  #demoted = false;
  readonly #dials = new Set<Dial>();
  #first: Call | undefined;
  #last: Call | undefined;
  #queued = 0;

  constructor(pool: Pool, route: Route) {
    this.pool = pool;
    this.route = route;
  }

  /** Whether nothing is here to be kept. */
  get unused(): boolean {
    return this.#all.size === 0 && this.#dials.size === 0 &&
      this.#queued === 0;
  }

  /** Connections, those being made included. */
  get open(): number {
    return this.#all.size + this.#dials.size;
  }

  /** That of who waits longest. */
  get turn(): number {
    return this.#first?.turn ?? Infinity;
  }

  stats(): HostStats {
    return {
      open: this.open,
      idle: this.#idle.length,
      queued: this.#queued,
    };
  }

  /** Gives the call a connection, now or as soon as there is one. */
  acquire(call: Call, fresh: boolean): void {
    const connection = this.#free(fresh);
    if (connection !== undefined) {
      call.run(connection.carrier());
      return;
    }
    if (this.pool.closed) {
      call.refuse(
        new PoolError("Cannot fetch: the client is closed", {
          code: "ERR_CLOSED",
          retryable: false,
        }),
      );
      return;
    }
    if (fresh && this.#full) this.evict();
    try {
      call.turn = this.pool.enqueue();
    } catch (error) {
      call.refuse(error as PoolError);
      return;
    }
    call.previous = this.#last;
    if (this.#last === undefined) this.#first = call;
    else this.#last.next = call;
    this.#last = call;
    call.waiting = this;
    this.#queued++;
    if (!this.#dial(call)) call.queued();
  }

  /** A connection that takes a request now. */
  #free(fresh: boolean): PoolConnection | undefined {
    for (const connection of this.#shared) {
      if (!connection.room) continue;
      if (connection.stale) {
        connection.destroy();
        continue;
      }
      this.#rouse(connection);
      return connection;
    }
    let connection = fresh ? undefined : this.#idle.pop();
    while (connection?.stale) {
      connection.destroy();
      connection = this.#idle.pop();
    }
    connection?.wake();
    return connection;
  }

  /** It is not idle any more. */
  #rouse(connection: PoolConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at === -1) return;
    this.#idle.splice(at, 1);
    connection.wake();
  }

  /**
   * Whether a connection may be shared: then there is one at first, and no
   * other is made meanwhile.
   */
  get #shares(): boolean {
    const { tls, prior } = this.route;
    if (this.#demoted || this.#speaks === "h1") return false;
    return prior || tls?.alpn?.includes("h2") === true;
  }

  /** The server wants HTTP/1.1 (RFC 9113, 7: HTTP_1_1_REQUIRED). */
  demote(): void {
    if (this.route.tls?.alpn?.includes("http/1.1")) this.#demoted = true;
  }

  /** Whether a connection is coming that may do for all that wait. */
  get #isComing(): boolean {
    for (const { session } of this.#shared) if (!session.ready) return true;
    for (const { controller } of this.#dials) {
      if (!controller.signal.aborted) return true;
    }
    return false;
  }

  get #full(): boolean {
    return this.open >= this.pool.limits.perHost;
  }

  /** Takes a waiting call out, and gives up what was done for it alone. */
  withdraw(call: Call): void {
    if (call.waiting !== this) return;
    this.#unlink(call);
    for (const dial of this.#dials) {
      if (dial.call !== call) continue;
      const heir = this.#undialed();
      dial.call = heir;
      if (heir === undefined) dial.controller.abort();
    }
    this.pool.forget(this);
  }

  #unlink(call: Call): void {
    const { previous, next } = call;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    call.previous = call.next = call.waiting = undefined;
    if (--this.#queued === 0) this.pool.sated(this);
    this.pool.dequeue();
  }

  /** The first call that waits without a dial of its own. */
  #undialed(): Call | undefined {
    const dialing = new Set<Call | undefined>();
    for (const dial of this.#dials) dialing.add(dial.call);
    for (let call = this.#first; call !== undefined; call = call.next) {
      if (!dialing.has(call)) return call;
    }
    return undefined;
  }

  /** Dials for those that wait, as far as the bounds allow. */
  dialMore(): void {
    while (this.#dials.size < this.#queued) {
      const call = this.#undialed();
      if (call === undefined || !this.#dial(call)) return;
    }
  }

  #dial(call: Call): boolean {
    const { pool, route } = this;
    for (const dial of this.#dials) {
      if (dial.call !== undefined || dial.controller.signal.aborted) continue;
      // Made for one who does not need it any more.
      dial.call = call;
      call.dialing();
      return true;
    }
    if (this.#shares && this.#isComing) return false;
    if (this.#full || !pool.admit(this)) return false;
    const { tls } = route;
    const marks: DialMarks = { start: performance.now() };
    const dial_: Dial = { call, controller: new AbortController() };
    this.#dials.add(dial_);
    call.dialing();
    dial({
      ...(route.path === undefined
        ? { hostname: route.hostname, port: route.port }
        : { path: route.path }),
      localAddress: route.localAddress,
      lookup: route.lookup,
      proxy: route.proxy,
      forward: route.forward,
      tls: this.#demoted && tls ? { ...tls, alpn: ["http/1.1"] } : tls,
      // Old servers know no ALPN, and speak HTTP/1.1.
      alpnOptional: tls?.alpn?.includes("http/1.1"),
      timeout: call.settled.timeouts.connect,
      tlsTimeout: call.settled.timeouts.tls,
      lookupTimeout: call.settled.timeouts.lookup,
      signal: dial_.controller.signal,
      marks,
    }).then((transport) => {
      this.#dials.delete(dial_);
      if (pool.closed && this.#queued === 0) {
        transport.destroy();
        pool.left(this);
        return;
      }
      this.#dialed(transport, marks);
    }, (error: unknown) => {
      this.#dials.delete(dial_);
      const caller = dial_.call;
      const shared = this.#shares && !dial_.controller.signal.aborted;
      if (caller?.waiting === this) {
        this.#unlink(caller);
        caller.refuse(error);
      }
      // Who waited for the same connection shares its fate.
      if (shared && this.#all.size === 0) this.#refuseAll(error);
      pool.left(this);
      this.dialMore();
    });
    return true;
  }

  /** A connection is there. */
  #dialed(below: Transport, marks: DialMarks): void {
    const { route, pool } = this;
    const transport = tapped(below, pool.wiretap);
    if (route.tls === undefined ? route.prior : below.tls?.alpn === "h2") {
      this.#speaks = "h2";
      const connection = new H2ClientConnection(this, transport, marks);
      this.#all.add(connection);
      this.#shared.add(connection);
      this.serve(connection);
      if (connection.unused) this.rest(connection);
      this.dialMore();
      return;
    }
    this.#speaks = "h1";
    const connection = new H1Connection(this, transport, marks);
    this.#all.add(connection);
    this.release(connection, true);
    this.dialMore();
  }

  #refuseAll(error: unknown): void {
    for (let call = this.#first; call !== undefined; call = this.#first) {
      this.#unlink(call);
      call.refuse(error);
    }
  }

  /** A shared connection has room for those that wait. */
  serve(connection: H2ClientConnection): void {
    while (connection.room && this.#first !== undefined) {
      const call = this.#first;
      this.#unlink(call);
      this.#inherit(call);
      this.#rouse(connection);
      call.run(connection.carrier());
    }
  }

  /** A shared connection has nothing to do. */
  rest(connection: H2ClientConnection): void {
    this.serve(connection);
    if (!connection.unused || this.#idle.includes(connection)) return;
    if (this.pool.closed || this.pool.starving || !connection.room) {
      connection.destroy();
      return;
    }
    this.#idle.push(connection);
    connection.sleep();
  }

  /** A connection can serve again: the next call's, or idle. */
  release(connection: H1Connection, fresh = false): void {
    const call = fresh ? this.#first : this.#unwary();
    if (call !== undefined) {
      if (!fresh && this.pool.yields(this)) {
        connection.destroy();
        return;
      }
      this.#unlink(call);
      this.#inherit(call);
      call.run(connection);
      return;
    }
    const { pool } = this;
    if (
      pool.closed || pool.starving ||
      this.#idle.length + this.#dials.size >= pool.limits.perHost
    ) {
      connection.destroy();
      return;
    }
    this.#idle.push(connection);
    connection.sleep();
  }

  /** Who waits longest and takes what was used before. */
  #unwary(): Call | undefined {
    let call = this.#first;
    while (call?.wary && this.#isDialing(call)) call = call.next;
    return call;
  }

  #isDialing(call: Call): boolean {
    for (const dial of this.#dials) if (dial.call === call) return true;
    return false;
  }

  /** The call got a connection while its own was being made. */
  #inherit(call: Call): void {
    for (const dial of this.#dials) {
      if (dial.call === call) dial.call = this.#undialed();
    }
  }

  /** A connection is over. */
  remove(connection: PoolConnection): void {
    if (!this.#all.delete(connection)) return;
    this.#shared.delete(connection as H2ClientConnection);
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    this.pool.left(this);
    this.dialMore();
  }

  /** Ends the connection that has been idle longest. */
  evict(): boolean {
    const connection = this.#idle.shift();
    connection?.destroy();
    return connection !== undefined;
  }

  closeIdle(): void {
    while (this.evict()) { /* until there is none */ }
  }

  destroy(): void {
    for (const dial of this.#dials) dial.controller.abort();
    const error = new NetError("The client was closed", {
      code: "ERR_CLOSED",
      phase: "pool",
    });
    this.#refuseAll(error);
    for (const connection of [...this.#all]) connection.fail(error);
  }
}
