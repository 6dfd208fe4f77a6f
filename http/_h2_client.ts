import { ClosedError, NetError } from "../streams/errors.ts";
import type { DialMarks } from "../tcp/_dial.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";
import { Writer } from "../tcp/_writer.ts";
import type { Carrier } from "./_client_carrier.ts";
import type { Host, PoolConnection } from "./_client_pool.ts";
import type { Deadline, Deadlines } from "./_client_timers.ts";
import { H2ClientStream } from "./_h2_client_stream.ts";
import { H2StreamError, REFUSED_STREAM } from "./_h2_frames.ts";
import { H2Session } from "./_h2_session.ts";
import { FLOOD } from "./_h2_types.ts";
import type { SessionOwner } from "./_h2_types.ts";

/** Bytes that wait for the kernel before streams are held. */
const HIGH_WATER_MARK = 64 * 1024;
/** Bytes of a section of fields. */
const MAX_FIELDS = 64 * 1024;
/** Milliseconds until the server must have said its settings. */
const GREETING = 10_000;

/** A connection of HTTP/2 to a server, shared by many requests. */
export class H2ClientConnection
  implements PoolConnection, SessionOwner, TransportEvents {
  readonly marks: DialMarks;
  readonly session: H2Session;
  readonly #host: Host;
  readonly #transport: Transport;
  readonly #writer: Writer;
  #uses = 0;
  #over = false;
  /** No more requests: it ends with those that it has. */
  #draining = false;
  #idle: Deadline | undefined;
  #life: Deadline | undefined;
  /** Until the server's settings have come. */
  #greeting: Deadline | undefined;
  /** Whose answers have grown by what came at once. */
  #fed: H2ClientStream[] = [];

  constructor(host: Host, transport: Transport, marks: DialMarks) {
    this.marks = marks;
    this.#host = host;
    this.#transport = transport;
    this.#writer = new Writer(transport, HIGH_WATER_MARK);
    const { maxLifetime, initialWindow, maxWindow } = host.pool.limits;
    this.session = new H2Session(this.#writer, {
      role: "client",
      streams: 0,
      header: MAX_FIELDS,
      window: initialWindow,
      maxWindow,
      // Each of them ends a request of ours: there are no more than those.
      maxResets: Infinity,
      maxControls: FLOOD,
    }, this);
    if (maxLifetime !== Infinity) {
      this.#life = this.deadlines.set(maxLifetime, () => this.#drainOut());
    }
    this.#greeting = this.deadlines.set(
      GREETING,
      () => this.fail(closedError("The server does not speak HTTP/2")),
    );
    this.session.start();
    transport.attach(this);
  }

  get deadlines(): Deadlines {
    return this.#host.pool.deadlines;
  }

  // What the pool asks.

  /** Whether it takes one more request. */
  get room(): boolean {
    const { session } = this;
    const most = session.ready ? session.peer.maxStreams : this.#host.streams;
    return !this.#over && !this.#draining && !session.exhausted &&
      session.error === undefined && session.streams.size < most;
  }

  /** Whether no request is on it. */
  get unused(): boolean {
    return this.session.streams.size === 0;
  }

  /** Whether it was unused for too long while no timer could fire. */
  get stale(): boolean {
    return this.#idle !== undefined && performance.now() > this.#idle.at;
  }

  /** What carries one request. */
  carrier(): Carrier {
    return new H2ClientStream(this, this.#uses++ > 0);
  }

  /** Nobody uses it: it neither keeps the process alive nor lives for ever. */
  sleep(): void {
    this.#transport.unref();
    this.#idle = this.deadlines.set(
      this.#host.pool.limits.idleTimeout,
      () => this.destroy(),
    );
  }

  wake(): void {
    this.#transport.ref();
    this.#idle?.cancel();
    this.#idle = undefined;
  }

  /** Ends it; requests on it hear nothing. */
  destroy(): void {
    if (this.#over) return;
    this.session.goAway(0);
    this.#writer.flush();
    this.#end();
    this.session.abandon(new ClosedError("The request is over"));
    this.#transport.destroy();
  }

  /** Ends it with an error for its requests. */
  fail(error: NetError): void {
    if (this.#over) return;
    this.#end();
    this.session.abandon(error);
    this.#transport.destroy();
  }

  /** The server wants HTTP/1.1 for this (RFC 9113, 7). */
  demote(): void {
    this.#host.demote();
  }

  #end(): void {
    this.#over = true;
    this.#idle?.cancel();
    this.#life?.cancel();
    this.#greeting?.cancel();
    this.#host.remove(this);
  }

  #drainOut(): void {
    this.#draining = true;
    if (this.session.streams.size === 0) this.destroy();
  }

  /** An answer has grown; it is told once all that came is read. */
  feeds(stream: H2ClientStream): void {
    if (this.#fed[this.#fed.length - 1] !== stream) this.#fed.push(stream);
  }

  // What the transport tells.

  data(chunk: Uint8Array): void {
    this.#writer.hold();
    this.session.data(chunk);
    if (this.#fed.length > 0) {
      const fed = this.#fed;
      this.#fed = [];
      for (const stream of fed) stream.fed();
    }
    this.#writer.release();
  }

  end(): void {
    this.fail(closedError());
  }

  drain(): void {
    this.#writer.drained();
    this.session.drained();
  }

  close(error?: NetError): void {
    this.#writer.drop();
    this.fail(error ?? closedError());
  }

  // What the session tells.

  open(): undefined {
    // A server opens none: PUSH_PROMISE is refused before.
    return undefined;
  }

  settled(): void {
    this.#greeting?.cancel();
    this.#greeting = undefined;
    this.#host.streams = this.session.peer.maxStreams;
    this.#host.serve(this);
    this.#host.dialMore();
  }

  goingAway(last: number): void {
    this.#draining = true;
    const refused = new H2StreamError(
      REFUSED_STREAM,
      "The server is going away",
      true,
    );
    for (const stream of [...this.session.streams.values()]) {
      if (stream.id <= last) continue;
      this.session.drop(stream);
      stream.listener.cut(refused);
    }
    if (this.session.streams.size === 0) this.destroy();
    else this.#host.dialMore();
  }

  ponged(): void {
    // Nothing waits for it.
  }

  left(): void {
    if (this.#over || this.session.error !== undefined) return;
    if (this.session.streams.size > 0) this.#host.serve(this);
    else if (this.#draining) queueMicrotask(() => this.destroy());
    else this.#host.rest(this);
  }

  failed(): void {
    this.#writer.flush();
    this.#end();
    this.#transport.destroy();
  }
}

function closedError(
  message = "The server closed the connection",
): NetError {
  return new NetError(message, { code: "ECONNRESET", retryable: true });
}
