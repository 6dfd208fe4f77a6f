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
/** When a client that has half-closed is first asked again, in ms. */
const LOOK = 500;
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
  /** The client wants no more than it has begun (RFC 9113, 6.8). */
  #parting = false;
  /** Once the client has half-closed: who sends nothing can still read. */
  #half: HalfClosed | undefined;
  #lingered = 0;
  #over = false;
  #paused = false;
  #farewell: "none" | "first" | "last" = "none";
  /** When what has begun to come must be whole: a head, a frame of data. */
  #restDeadline: number;
  /** What it is, by what came before it. */
  #awaited = 0;
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
      tally: server,
    }, this);
    this.#restDeadline = server.after(timeouts.header);
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
    this.#awaitRest();
    if (this.#writer.buffered > MAX_UNREAD && !this.#paused) {
      this.#paused = true;
      this.transport.pause();
    }
  }

  end(): void {
    if (this.#half !== undefined) return;
    const { timeouts } = this.server.config;
    this.#half = {
      left: this.#session.sender.window,
      deadline: this.server.after(timeouts.idle),
      wait: LOOK,
      look: this.server.after(LOOK),
    };
    if (this.#leaving) {
      this.#checkLeft();
      return;
    }
    this.#restDeadline = Infinity;
    const gone = new ClosedError("The client is gone");
    for (const stream of [...this.#session.streams.values()]) {
      (stream.listener as H2ServerStream).clientEnded(gone);
    }
    // Whoever is gone altogether answers to this with RST.
    if (this.#session.streams.size > 0) this.#session.ping();
    else this.#leave();
  }

  /** Whether the client can tell nothing any more, not even of its windows. */
  get halfClosed(): boolean {
    return this.#half !== undefined;
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
    this.#parting = true;
    this.#checkOver();
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
    if (this.#leaving) this.#checkLeft();
  }

  // The way out.

  /** What begins to come has so long to come whole. */
  #awaitRest(): void {
    const { within, units } = this.#session;
    if (within === undefined) this.#restDeadline = Infinity;
    else if (this.#restDeadline === Infinity || units !== this.#awaited) {
      const { header, body } = this.server.config.timeouts;
      this.#awaited = units;
      this.#restDeadline = this.server.after(
        within === "data" ? Math.max(header, body) : header,
      );
    }
  }

  /** It has its own way to part. */
  get resting(): boolean {
    return false;
  }

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

  /** Whether no request is left, and none to come. */
  get #done(): boolean {
    return this.#session.streams.size === 0 &&
      (this.#farewell === "last" || this.#parting || this.halfClosed);
  }

  #checkOver(): void {
    if (!this.#done) return;
    // Not from within what a stream is at, nor before all that came is read.
    queueMicrotask(() => {
      if (this.#done) this.#sayGoodbye();
    });
  }

  #sayGoodbye(): void {
    if (this.#leaving || this.#over) return;
    if (this.#farewell !== "last") this.#session.goAway(this.#session.lastPeer);
    this.#leave();
  }

  #leave(): void {
    if (this.#leaving || this.#over) return;
    this.#leaving = true;
    this.#writer.end();
    this.#idleDeadline = this.server.after(this.server.config.timeouts.idle);
    if (this.#paused) this.transport.resume();
    this.#checkLeft();
  }

  #checkLeft(): void {
    if (!this.#writer.idle || this.#over) return;
    if (this.halfClosed) this.transport.destroy();
    else this.#idleDeadline = this.server.after(LINGER);
  }

  /** Whether a client that only half-closed is still there, and reads. */
  #checkHalf(half: HalfClosed, now: number): void {
    const { window } = this.#session.sender;
    if (window < half.left) {
      half.left = window;
      half.deadline = this.server.after(this.server.config.timeouts.idle);
    } else if (now >= half.deadline) {
      this.destroy(new ClosedError("The client is gone"));
    }
    if (now < half.look || !this.#writer.idle) return;
    // It takes two writes to hear of a RST where nothing is read any more.
    half.wait *= 2;
    half.look = this.server.after(half.wait);
    this.#session.ping();
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
    } else if (this.#half !== undefined) {
      this.#checkHalf(this.#half, now);
    } else if (this.#farewell === "first" && now >= this.#farewellDeadline) {
      this.#sayLast();
    } else if (now >= this.#restDeadline) {
      this.#session.fail(
        new H2Error(
          ENHANCE_YOUR_CALM,
          "Cannot wait any longer for the rest of a frame or head",
        ),
      );
    } else if (now >= this.#idleDeadline && streams.size === 0) {
      this.#sayGoodbye();
    }
  }
}

/** What is known of a client that has half-closed. */
interface HalfClosed {
  /** Its window: it does not grow any more. */
  left: number;
  /** When something must have gone. */
  deadline: number;
  /** When to ask whether it is there, and how long to wait before. */
  look: number;
  wait: number;
}
