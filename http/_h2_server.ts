import { ClosedError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";
import { Writer } from "../tcp/_writer.ts";
import { Deliveries } from "./_deliveries.ts";
import { ENHANCE_YOUR_CALM, H2Error } from "./_h2_frames.ts";
import { H2ServerStream } from "./_h2_server_stream.ts";
import { H2Session } from "./_h2_session.ts";
import type { SessionOwner } from "./_h2_types.ts";
import type { H2Stream, StreamListener } from "./_h2_stream.ts";
import { takeRequest } from "./_wire_answer.ts";
import type { WireExchange } from "./_wire_exchange.ts";
import type { ServedConnection, WireServer } from "./_wire_server.ts";

/** Bytes that wait for the kernel before streams are held. */
const HIGH_WATER_MARK = 64 * 1024;
/** And before nothing is read any more: who does not read is not answered. */
const MAX_UNREAD = 256 * 1024;
/** How long the peer may take to see the end, in ms. */
const LINGER = 2000;
/** How long a ping may take before the second GOAWAY, in ms. */
const FAREWELL = 1000;
/** Bytes thrown away meanwhile. */
const MAX_LINGER = 1024 * 1024;
/** Streams past this number are not for us (RFC 9113, 6.8). */
const LAST_STREAM = 2 ** 31 - 1;

/** A connection of the wire engine that speaks HTTP/2. */
export class H2Connection
  implements ServedConnection, SessionOwner, TransportEvents {
  readonly server: WireServer;
  readonly transport: Transport;
  readonly #writer: Writer;
  readonly #deliveries: Deliveries;
  readonly #session: H2Session;
  /** Requests whose handler is to be called once all that came is read. */
  #called: WireExchange[] = [];
  #leaving = false;
  #lingered = 0;
  #over = false;
  #paused = false;
  #farewell: "none" | "first" | "last" = "none";
  /** When a head, or the preface, must have come whole. */
  #headDeadline: number;
  #idleDeadline: number;
  #farewellDeadline = Infinity;

  constructor(server: WireServer, transport: Transport) {
    this.server = server;
    this.transport = transport;
    this.#writer = new Writer(transport, HIGH_WATER_MARK);
    this.#deliveries = new Deliveries(this.#writer);
    const { limits, timeouts, h2 } = server.config;
    this.#session = new H2Session(this.#writer, {
      role: "server",
      streams: h2.maxConcurrentStreams,
      header: limits.header,
      window: h2.initialWindow,
      maxWindow: h2.maxWindow,
      maxResets: h2.maxResets,
      maxControls: h2.maxControls,
    }, this);
    this.#headDeadline = server.after(timeouts.header);
    this.#idleDeadline = server.after(timeouts.idle);
    this.#session.start();
  }

  // What the transport tells.

  data(chunk: Uint8Array): void {
    this.server.bytesRead += chunk.byteLength;
    if (this.#leaving) {
      this.#lingered += chunk.byteLength;
      if (this.#lingered > MAX_LINGER) this.transport.destroy();
      return;
    }
    this.#writer.hold(); // All answers to what came at once leave at once.
    this.#session.data(chunk);
    if (this.#called.length > 0) {
      const called = this.#called;
      this.#called = [];
      for (const exchange of called) {
        if (exchange.lost === undefined && !exchange.answered) {
          takeRequest(exchange);
        }
      }
    }
    this.#writer.release();
    if (!this.#session.within) this.#headDeadline = Infinity;
    else if (this.#headDeadline === Infinity) {
      this.#headDeadline = this.server.after(
        this.server.config.timeouts.header,
      );
    }
    if (this.#writer.buffered > MAX_UNREAD && !this.#paused) {
      this.#paused = true;
      this.transport.pause();
    }
  }

  end(): void {
    // A client that can still read has no reason to say that.
    if (this.#leaving && !this.#writer.idle) return;
    this.destroy(new ClosedError("The client is gone"));
  }

  drain(): void {
    this.#writer.drained();
    this.#session.drained();
    if (this.#paused && this.#writer.buffered <= MAX_UNREAD / 2) {
      this.#paused = false;
      this.transport.resume();
    }
    if (this.#writer.idle) this.#flushed();
  }

  close(error?: NetError): void {
    this.#over = true;
    this.#writer.drop();
    const reason = error ?? new ClosedError("The client is gone");
    this.#deliveries.lose(reason);
    this.#session.abandon(reason);
    this.server.remove(this);
  }

  // What the session tells.

  open(): (stream: H2Stream) => StreamListener {
    return (stream) => new H2ServerStream(this, stream);
  }

  settled(): void {
    // What it allows, the session knows.
  }

  goingAway(): void {
    // What it has begun it will still read.
  }

  ponged(): void {
    if (this.#farewell === "first") this.#sayLast();
  }

  left(): void {
    if (this.#leaving || this.#session.streams.size > 0) return;
    this.#idleDeadline = this.server.after(this.server.config.timeouts.idle);
    this.#checkOver();
  }

  failed(_error: H2Error): void {
    this.#leave();
  }

  // What the streams ask for.

  /** Has the request answered, once all that came at once is read. */
  call(exchange: WireExchange): void {
    this.#called.push(exchange);
  }

  whenFlushed(exchange: WireExchange): void {
    this.#deliveries.watch(exchange);
  }

  #flushed(): void {
    this.#deliveries.done();
    if (this.#leaving) this.#idleDeadline = this.server.after(LINGER);
  }

  // The way out.

  /** RFC 9113, 6.8: first none is refused, so that none is lost on its way. */
  shutDown(): void {
    if (this.#leaving || this.#farewell !== "none") return;
    this.#farewell = "first";
    this.#session.goAway(LAST_STREAM);
    this.#session.ping();
    this.#farewellDeadline = this.server.after(FAREWELL);
  }

  #sayLast(): void {
    this.#farewell = "last";
    this.#session.goAway(this.#session.lastPeer);
    this.#checkOver();
  }

  #checkOver(): void {
    if (this.#farewell !== "last" || this.#session.streams.size > 0) return;
    // Not from within what a stream is at.
    queueMicrotask(() => this.#leave());
  }

  #leave(): void {
    if (this.#leaving || this.#over) return;
    this.#leaving = true;
    this.#writer.end();
    this.#idleDeadline = this.server.after(
      this.#writer.idle ? LINGER : this.server.config.timeouts.idle,
    );
    if (this.#paused) this.transport.resume();
  }

  destroy(reason: NetError): void {
    this.#session.abandon(reason);
    this.transport.destroy();
  }

  /** Looks at the deadlines; called every so often. */
  check(now: number): void {
    if (this.#over) return;
    const { streams } = this.#session;
    for (const stream of [...streams.values()]) stream.listener.check(now);
    if (this.#leaving) {
      if (now >= this.#idleDeadline) this.transport.destroy();
    } else if (this.#farewell === "first" && now >= this.#farewellDeadline) {
      this.#sayLast();
    } else if (now >= this.#headDeadline) {
      this.#session.fail(
        new H2Error(
          ENHANCE_YOUR_CALM,
          "Cannot wait any longer for the rest of a head",
        ),
      );
    } else if (now >= this.#idleDeadline && streams.size === 0) {
      this.#session.goAway(this.#session.lastPeer);
      this.#leave();
    }
  }
}
