import { WORTH_FREEING } from "../streams/_free.ts";
import { ClosedError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";
import { Deliveries } from "./_deliveries.ts";
import { H1Error, RequestReader } from "./_h1_reader.ts";
import type { Fields, H1Events, RequestHead } from "./_h1_types.ts";
import { encodeHead } from "./_h1_writer.ts";
import type { RequestBody } from "./_request_body.ts";
import type { Outgoing } from "./_response_parts.ts";
import type { Takeover } from "./_takeover.ts";
import { answerBare, takeRequest } from "./_wire_answer.ts";
import { WireExchange } from "./_wire_exchange.ts";
import type { Carrier, ResponseOutput } from "./_wire_carrier.ts";
import {
  bodyTooLong,
  checkTakeover,
  deafClient,
  hasBody,
  longBody,
  originOf,
  refusal,
  slowBody,
} from "./_wire_checks.ts";
import { h1Output, takeoverHead } from "./_wire_response.ts";
import type { WireServer } from "./_wire_server.ts";
import { TakenTransport } from "./_wire_taken.ts";
import { BodyWriter } from "./_wire_writer.ts";

/** Bytes of following requests that wait for the one being answered. */
const MAX_BACKLOG = 64 * 1024;
/** Bytes of a body that nobody read, read on to save the connection. */
const MAX_DISCARD = 256 * 1024;
/** How long the peer may take to see the end, in ms: RFC 9112, 9.6. */
const LINGER = 2000;
/** Bytes thrown away meanwhile: the kernels may hold 10 MiB already. */
const MAX_LINGER = 16 * 1024 * 1024;

/** What the deadline of a connection is for. */
type Waiting =
  | "request"
  | "head"
  | "body"
  | "answer"
  | "room"
  | "end"
  | "nothing";

/**
 * A connection of the wire engine: reads one request after the other, has
 * each answered before the next is looked at, and ends in order.
 */
export class WireConnection
  implements Carrier, TransportEvents, H1Events<RequestHead> {
  readonly server: WireServer;
  readonly transport: Transport;
  readonly borrows = true;
  readonly output: ResponseOutput = h1Output;
  readonly #reader: RequestReader;
  readonly #writer: BodyWriter;
  /** The request being answered. */
  #exchange: WireExchange | undefined;
  /** Its handler is to be called once all that came at once is read. */
  #called = true;
  /** All are answered, but the client does not read: no more are looked at. */
  #held = false;
  /** The response begun says that it is the last one. */
  #last = false;
  /** Nothing is read any more but the peer's end. */
  #leaving = false;
  #lingered = 0;
  #peerEnded = false;
  #over = false;
  #taken = false;
  #takeover: { takeover: Takeover; exchange: WireExchange } | undefined;
  #paused = false;
  #backlog = 0;
  /** Whose bytes are in the chunk that is read; `null`: of several. */
  #fed: RequestBody | null | undefined;
  /** What was read last that its body has, and nobody else. */
  #loan: { chunk: Uint8Array; body: RequestBody } | undefined;
  #waiting: Waiting = "request";
  #deadline: number;
  /** What was left to write when the deadline was set. */
  #unsent = 0;
  readonly #deliveries: Deliveries;

  constructor(server: WireServer, transport: Transport) {
    this.server = server;
    this.transport = transport;
    this.#writer = new BodyWriter(transport);
    this.#deliveries = new Deliveries(this.#writer);
    this.#reader = new RequestReader(this, server.readerLimits);
    this.#deadline = server.now + server.config.timeouts.idle;
  }

  // What the transport tells.

  data(chunk: Uint8Array, lent = false): void {
    this.server.bytesRead += chunk.byteLength;
    if (this.#leaving) {
      this.#lingered += chunk.byteLength;
      if (this.#lingered > MAX_LINGER) this.transport.destroy();
      return;
    }
    if (this.#reader.stopped) {
      this.#backlog += chunk.byteLength;
      if (this.#backlog > MAX_BACKLOG) this.#pause();
    }
    const outer = this.#fed;
    this.#fed = undefined;
    this.#writer.hold(); // All answers to what came at once leave at once.
    this.#feed(chunk, lent);
    this.#writer.release();
    const fed = this.#fed as RequestBody | null | undefined;
    this.#fed = outer;
    if (
      chunk.byteLength < WORTH_FREEING || fed === null || lent ||
      this.#taken || this.#reader.keeps
    ) return;
    if (fed?.free !== false) this.transport.recycle?.(chunk);
    else this.#loan = { chunk, body: fed };
  }

  /** Nobody looks at what came of this body any more. */
  spent(body: RequestBody): void {
    const loan = this.#loan;
    if (loan?.body !== body) return;
    this.#loan = undefined;
    this.transport.recycle?.(loan.chunk);
  }

  end(): void {
    this.#peerEnded = true;
    const exchange = this.#exchange;
    if (this.#leaving) {
      this.#checkLeft();
      return;
    }
    // Most likely it is gone, and if not it can still be answered.
    exchange?.leave();
    if (exchange?.stream !== undefined) {
      this.destroy(new ClosedError("The client is gone"));
      return;
    }
    try {
      this.#reader.finish();
    } catch (error) {
      this.#refuse(error);
    }
    if (this.#exchange === undefined) {
      if (!this.#held) this.#leave();
    } else if (this.#waiting === "nothing") {
      // Half a connection is not kept for ever for a handler's sake.
      this.#waiting = "answer";
      this.#deadline = this.server.after(this.server.config.timeouts.idle);
    }
  }

  drain(): void {
    this.#writer.drained();
    if (!this.full) {
      if (this.#waiting === "room") this.#stopWaiting();
      this.#exchange?.stream?.drained();
      if (this.#held) this.#goOn();
    }
    if (this.#writer.idle) this.#flushed();
  }

  close(error?: NetError): void {
    this.#over = true;
    this.#writer.drop();
    const reason = error ?? new ClosedError("The client is gone");
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#deliveries.lose(reason);
    exchange?.lose(reason);
    this.#takeover?.takeover.abandon(reason);
    this.#takeover = undefined;
    this.server.remove(this);
  }

  // What the reader tells.

  head(head: RequestHead): void {
    const origin = originOf(this.server, head);
    this.#exchange = new WireExchange(this, head, origin, hasBody(head));
    this.#exchange.memo = this.#reader.memo;
    this.#called = false;
    this.#stopWaiting();
    // What follows is for the tunnel.
    if (head.method === "CONNECT") this.#exchange.arrive(undefined);
  }

  content(chunk: Uint8Array): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    exchange.received += chunk.byteLength;
    const { body } = exchange;
    if (exchange.received > this.server.config.limits.body) {
      throw bodyTooLong();
    }
    if (body === undefined || body.discarded) {
      this.#checkDiscarded(exchange);
      return;
    }
    this.#fed = this.#fed === undefined || this.#fed === body ? body : null;
    if (!body.push(chunk)) this.#pause();
    this.#awaitBody(exchange);
  }

  messageEnd(trailers: Fields | undefined): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    this.#stopWaiting();
    exchange.arrive(trailers);
    if (!this.#called) this.#call(exchange);
    if (this.#over) return;
    if (exchange.finished) this.#next();
    else this.#reader.stop();
    if (this.#takeover?.exchange === exchange) this.#handOver();
  }

  // Requests.

  #feed(chunk: Uint8Array, lent: boolean): void {
    try {
      this.#reader.feed(chunk, lent);
    } catch (error) {
      this.#refuse(error);
    }
    const exchange = this.#exchange;
    if (exchange === undefined) {
      if (this.#waiting === "request" && this.#reader.phase === "head") {
        this.#waiting = "head";
        this.#deadline = this.server.after(this.server.config.timeouts.header);
      }
    } else if (!this.#called) {
      // Its body is still to come.
      this.#awaitBody(exchange);
      this.#call(exchange);
    }
  }

  #call(exchange: WireExchange): void {
    this.#called = true;
    takeRequest(exchange);
  }

  /** The request, or what comes as one, breaks the rules or a limit. */
  #refuse(error: unknown): void {
    if (this.#over || this.#leaving) return;
    const status = error instanceof H1Error ? error.status : 500;
    const exchange = this.#exchange;
    const reason = status === 413
      ? longBody(this.server.config.limits.body)
      : error;
    this.#refuseWith(exchange, status, reason);
    if (!(error instanceof H1Error)) throw error;
  }

  #refuseWith(
    exchange: WireExchange | undefined,
    status: number,
    reason: unknown,
  ): void {
    this.#last = true;
    if (exchange === undefined) {
      this.give(refusal(status));
      this.#leave();
      return;
    }
    const unanswered = !exchange.answered;
    this.#called = true;
    this.#stopWaiting();
    exchange.breakOff(reason);
    if (unanswered) answerBare(exchange, status);
    else if (exchange.finished) this.#leave();
    // Else the response goes on, and is the last one.
  }

  // Responses.

  /** Whether another request may follow; the head that is written says so. */
  decidePersistence(exchange: WireExchange, outgoing: Outgoing): boolean {
    if (
      outgoing.close || !exchange.head.keepAlive || this.server.closing ||
      !this.#mayDiscard(exchange)
    ) this.#last = true;
    return !this.#last;
  }

  /** Whether what is left of the request can be waited for. */
  #mayDiscard(exchange: WireExchange): boolean {
    if (exchange.arrived) return true;
    // Unless it was asked for it may never come (RFC 9110, 10.1.1).
    if (exchange.expecting || exchange.broken !== undefined) return false;
    if (exchange.body?.taken && !exchange.body.discarded) return true;
    const { framing } = exchange.head;
    return framing.kind !== "length" ||
      framing.length - exchange.received <= MAX_DISCARD;
  }

  /** All of the response is written. */
  responseOver(exchange: WireExchange): void {
    exchange.finished = true;
    exchange.stream = undefined;
    exchange.release();
    if (exchange.watched) this.whenFlushed(exchange);
    // The reader is still at it: it goes on, or stops, when it is back.
    if (exchange.arrived) {
      if (this.#reader.stopped || this.#last) this.#next();
      return;
    }
    if (this.#last) {
      exchange.breakOff(new ClosedError("The response is over"));
      this.#exchange = undefined;
      this.#leave();
      return;
    }
    const { body } = exchange;
    if (body === undefined || !body.taken || body.discarded) {
      body?.abandon();
      exchange.received = 0;
    }
    this.#awaitBody(exchange);
  }

  #checkDiscarded(exchange: WireExchange): void {
    // Answered, it has as long for all of the rest as else for a piece of it.
    if (!exchange.finished) this.#awaitBody(exchange);
    else if (exchange.received > MAX_DISCARD) this.#leave();
  }

  /** The request is answered: on to what has come behind it. */
  #next(): void {
    this.#exchange = this.#loan = undefined;
    if (this.#last) {
      this.#leave();
      return;
    }
    this.#waiting = "request";
    this.#deadline = this.server.after(this.server.config.timeouts.idle);
    this.#unsent = this.#writer.buffered;
    if (this.full) {
      // Who does not read the answers need not ask on.
      this.#held = true;
      this.#reader.stop();
    } else if (this.#reader.stopped) this.#goOn();
    // Nobody reads the body any more that it was held for.
    else this.makeRoom();
    if (this.server.closing) this.server.rests(this);
  }

  /** On to the requests that have come meanwhile. */
  #goOn(): void {
    this.#held = false;
    this.#backlog = 0;
    this.makeRoom();
    try {
      this.#reader.resume();
    } catch (error) {
      this.#refuse(error);
    }
    const exchange = this.#exchange as WireExchange | undefined;
    if (exchange !== undefined) this.#writer.expectMore();
    if (exchange !== undefined && !this.#called) {
      this.#awaitBody(exchange);
      this.#call(exchange);
    } else if (exchange === undefined && !this.#leaving && !this.#held) {
      if (this.#peerEnded) this.#leave();
      else if (this.#reader.phase === "head") {
        this.#waiting = "head";
        this.#deadline = this.server.after(this.server.config.timeouts.header);
      }
    }
  }

  /** The response cannot be finished: it must not look as if it were. */
  abort(exchange: WireExchange, error: unknown): void {
    this.#exchange = undefined;
    exchange.report(error);
    exchange.fail(error);
    this.#writer.drop();
    this.transport.reset();
  }

  sayContinue(): void {
    this.writeText("HTTP/1.1 100 Continue\r\n\r\n");
  }

  writeText(text: string): void {
    this.give(encodeHead(text));
  }

  /** Sends bytes that are the handler's, and may be changed by it later. */
  write(bytes: Uint8Array): void {
    this.server.bytesWritten += bytes.byteLength;
    this.#writer.writeLarge(bytes);
  }

  /** The same as a part of a body, which may be one of chunks. */
  writePart(bytes: Uint8Array, chunked: boolean): void {
    this.server.bytesWritten += this.#writer.writePart(bytes, chunked);
  }

  /** Sends bytes that are ours. */
  give(bytes: Uint8Array): void {
    this.server.bytesWritten += bytes.byteLength;
    this.#writer.give(bytes);
  }

  /** Whether to wait for the client to take what it was sent. */
  get full(): boolean {
    if (!this.#writer.full) return false;
    // Only the kernel's word counts: then a drain is sure to come.
    this.#writer.flush();
    return this.#writer.full;
  }

  whenFlushed(exchange: WireExchange): void {
    this.#deliveries.watch(exchange);
  }

  #flushed(): void {
    this.#deliveries.done();
    if (this.#takeover !== undefined) this.#handOver();
    if (this.#leaving) this.#checkLeft();
  }

  // The way out.

  /** FIN, and then the peer's: what it still sends must not draw a RST. */
  #leave(): void {
    if (this.#leaving || this.#over) return;
    this.#leaving = true;
    this.#exchange = undefined;
    this.#waiting = "end";
    this.#deadline = this.server.after(this.server.config.timeouts.idle);
    this.#reader.rest();
    this.#writer.end();
    this.#unsent = this.#writer.buffered;
    this.makeRoom();
    this.#checkLeft();
  }

  #checkLeft(): void {
    if (!this.#writer.idle || this.#over) return;
    if (this.#peerEnded) this.transport.destroy();
    else this.#deadline = this.server.after(LINGER);
  }

  /** The end, now. */
  destroy(reason: NetError): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    // At once: its source may leave no turn for the transport to tell.
    exchange?.lose(reason);
    this.transport.destroy();
  }

  get resting(): boolean {
    return !this.#taken && !this.#leaving && this.#exchange === undefined &&
      this.#reader.phase === "start";
  }

  /** The server closes: what rests ends now, the rest when it is answered. */
  shutDown(): void {
    if (this.#taken || this.#leaving || this.#exchange !== undefined) return;
    if (this.#reader.phase !== "start") this.#last = true;
    else if (this.#writer.idle) this.transport.destroy();
    else this.#leave();
  }

  // Takeovers.

  beginTakeover(
    exchange: WireExchange,
    outgoing: Outgoing,
    takeover: Takeover,
  ): void {
    checkTakeover(exchange.head, outgoing);
    exchange.answered = true;
    this.writeText(takeoverHead(outgoing));
    this.#takeover = { takeover, exchange };
    this.#writer.flush();
    this.#handOver();
  }

  #handOver(): void {
    const { takeover, exchange } = this.#takeover!;
    // It switches behind the request (RFC 9110, 7.8), and behind our head.
    if (!exchange.arrived) {
      exchange.body?.abandon();
      return;
    }
    if (this.#writer.buffered > this.transport.pending) return;
    this.#takeover = undefined;
    this.#taken = true;
    exchange.finished = true;
    exchange.release();
    this.#exchange = undefined;
    this.#stopWaiting();
    const rest = this.#reader.rest();
    if (exchange.watched) exchange.delivered();
    const taken = new TakenTransport(
      this.transport,
      this.#peerEnded,
      this.server,
    );
    this.server.handOver(this, taken);
    takeover.start(taken, rest);
    this.makeRoom();
  }

  // Waiting.

  #pause(): void {
    this.#paused = true;
    this.transport.pause();
    if (this.#waiting === "body" && !this.#exchange?.finished) {
      this.#stopWaiting();
    }
  }

  /** Reads on, when it was held. */
  makeRoom(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.transport.resume();
    if (this.#exchange !== undefined) this.#awaitBody(this.#exchange);
  }

  #awaitBody(exchange: WireExchange): void {
    if (exchange.arrived || (this.#paused && !exchange.finished)) return;
    this.#waiting = "body";
    this.#deadline = this.server.after(this.server.config.timeouts.body);
  }

  #stopWaiting(): void {
    this.#waiting = "nothing";
    this.#deadline = Infinity;
  }

  /** Looks at the deadlines; called every so often. */
  check(now: number): void {
    if (this.#over || this.#taken) return;
    const exchange = this.#exchange;
    if (exchange !== undefined && now >= exchange.deadline) {
      exchange.deadline = Infinity;
      if (!exchange.answered) {
        this.#last = true;
        answerBare(exchange, 503);
        if (this.#over) return;
      }
    }
    if (exchange?.stream?.waiting && this.#waiting === "nothing") {
      this.#waiting = "room";
      this.#deadline = this.server.after(this.server.config.timeouts.idle);
      this.#unsent = this.#writer.buffered;
    }
    if (now >= this.#deadline) this.#expire(exchange);
  }

  #expire(exchange: WireExchange | undefined): void {
    const waiting = this.#waiting;
    this.#stopWaiting();
    switch (waiting) {
      case "request":
      case "room":
      case "end": {
        const { idle } = this.server.config.timeouts;
        // As long as the client takes something it is not idle.
        const unsent = this.#writer.buffered;
        if (unsent > 0 && unsent < this.#unsent) {
          this.#unsent = unsent;
          this.#waiting = waiting;
          this.#deadline = this.server.after(idle);
        } else this.destroy(deafClient(idle));
        break;
      }
      case "answer":
        this.destroy(new ClosedError("The client is gone"));
        break;
      case "head":
        this.#refuseWith(undefined, 408, undefined);
        break;
      case "body": {
        const { body } = this.server.config.timeouts;
        if (exchange === undefined || exchange.finished) {
          this.transport.destroy();
          break;
        }
        this.#refuseWith(exchange, 408, slowBody(body));
      }
    }
  }
}
