import { ClosedError } from "../streams/errors.ts";
import type { Transport } from "../tcp/_transport.ts";
import { append } from "./_append.ts";
import type { Tail } from "./_append.ts";
import type { Fields, RequestHead } from "./_h1_types.ts";
import { requestHead, trailerSection } from "./_h2_fields.ts";
import type { H2RequestHead } from "./_h2_fields.ts";
import {
  CANCEL,
  H2StreamError,
  INTERNAL_ERROR,
  NO_ERROR,
  PROTOCOL_ERROR,
} from "./_h2_frames.ts";
import { h2Output, headOf } from "./_h2_output.ts";
import type { H2Connection } from "./_h2_server.ts";
import type { H2Stream, StreamListener } from "./_h2_stream.ts";
import { StreamTransport } from "./_h2_transport.ts";
import { dateText } from "./_h1_writer.ts";
import { isTunnelTarget } from "./_h1_tables.ts";
import { isUnsayableMethod } from "./_request.ts";
import type { Outgoing } from "./_response_parts.ts";
import type { Takeover } from "./_takeover.ts";
import { answerBare } from "./_wire_answer.ts";
import {
  checkTakeover,
  deafClient,
  longBody,
  slowBody,
} from "./_wire_checks.ts";
import type { Carrier, ResponseOutput } from "./_wire_carrier.ts";
import { WireExchange } from "./_wire_exchange.ts";
import type { WireServer } from "./_wire_server.ts";

const EMPTY = new Uint8Array(0);
/** Milliseconds between a response and the reset behind it. */
const LINGER = 1000;

/** A stream of a server's connection: one request, and its response. */
export class H2ServerStream implements Carrier, StreamListener {
  readonly stream: H2Stream;
  readonly #connection: H2Connection;
  #exchange: WireExchange | undefined;
  #tunnel: StreamTransport | undefined;
  /** The handler is not to be given more for now. */
  #paused = false;
  /** When more of the body must have come. */
  #bodyDeadline = Infinity;
  /** When something of the response must have gone. */
  #sendDeadline = Infinity;
  /** When the peer must have seen that its body is not wanted. */
  #resetAt = Infinity;
  #sent = false;
  #flushing = false;

  constructor(connection: H2Connection, stream: H2Stream) {
    this.#connection = connection;
    this.stream = stream;
  }

  get server(): WireServer {
    return this.#connection.server;
  }

  get transport(): Transport {
    return this.#connection.transport;
  }

  get output(): ResponseOutput {
    return h2Output;
  }

  get full(): boolean {
    return this.stream.full;
  }

  // What the stream tells.

  fields(fields: Fields | undefined, ended: boolean): void {
    // It is answered for: what follows a refused head is no other request.
    if (this.stream.discarding) return;
    if (this.#exchange !== undefined) {
      this.#onTrailers(fields, ended);
    } else if (fields === undefined) {
      this.#refuse(431);
    } else {
      this.#onHead(requestHead(fields), ended);
    }
  }

  #onHead(request: H2RequestHead, ended: boolean): void {
    const { stream } = this;
    const { limits } = this.server.config;
    const { length = 0, path } = request;
    if (ended && length > 0) {
      throw new H2StreamError(
        PROTOCOL_ERROR,
        `Cannot take a request: its content-length is ${length}, and it has no body`,
      );
    }
    if (request.method !== "CONNECT") stream.expected = request.length;
    else if (
      request.protocol === undefined && !isTunnelTarget(request.authority)
    ) {
      // RFC 9110, 9.3.6
      return this.#refuse(400);
    }
    if (path.length > limits.target) return this.#refuse(414);
    const origin = this.server.origins.of(request.authority);
    if (origin === undefined) return this.#refuse(400);
    if (isUnsayableMethod(request.method)) return this.#refuse(501);
    const head = plainHead(request, ended);
    const { method } = head;
    for (let i = 0; i < head.fields.length; i += 2) {
      if (head.fields[i] === "priority") {
        stream.session.prioritize(stream, head.fields[i + 1]);
      }
    }
    const body = !ended && request.method !== "CONNECT" &&
      method !== "GET" && method !== "HEAD";
    const exchange = new WireExchange(this, head, origin, body);
    this.#exchange = exchange;
    if (ended || request.method === "CONNECT") exchange.arrive(undefined);
    if (length > limits.body) {
      answerBare(exchange, 413);
      return;
    }
    this.#awaitBody();
    this.#connection.call(exchange);
  }

  /** A response to what never becomes a request. */
  #refuse(status: number): void {
    this.stream.sendFields(
      [":status", String(status), "content-length", "0", "date", dateText()],
      true,
    );
  }

  #onTrailers(fields: Fields | undefined, ended: boolean): void {
    if (!ended) {
      throw new H2StreamError(
        PROTOCOL_ERROR,
        "Cannot take trailers: they do not end the stream",
      );
    }
    if (fields === undefined) {
      throw new H2StreamError(
        CANCEL,
        "Cannot take trailers: they are longer than they may be",
      );
    }
    const trailers = trailerSection(fields);
    this.stream.endRemote();
    if (this.#tunnel !== undefined) this.#tunnel.ending();
    else this.#arrive(trailers);
  }

  data(chunk: Uint8Array): void {
    if (this.#tunnel !== undefined) {
      this.#tunnel.data(chunk);
      return;
    }
    const exchange = this.#exchange;
    if (exchange === undefined || this.#resetAt !== Infinity) return;
    const size = chunk.byteLength;
    if (exchange.arrived) {
      // It is for the tunnel that is yet to be.
      this.#tail = append(this.#early, chunk, this.#tail);
      return;
    }
    exchange.received += size;
    const { body } = exchange;
    const { limits } = this.server.config;
    if (exchange.received > limits.body) {
      this.#breakOff(413, longBody(limits.body));
      return;
    }
    if (body === undefined || body.discarded || body.push(chunk)) {
      if (!this.#paused) this.stream.consume(size);
    } else this.#paused = true;
    this.#awaitBody();
  }

  /** What came for a tunnel before there was one; bounded by the window. */
  readonly #early: Uint8Array[] = [];
  #tail: Tail | undefined;

  end(): void {
    if (this.#tunnel !== undefined) this.#tunnel.ending();
    else this.#arrive(undefined);
  }

  #arrive(trailers: Fields | undefined): void {
    this.#bodyDeadline = Infinity;
    const exchange = this.#exchange;
    if (exchange !== undefined && !exchange.arrived) exchange.arrive(trailers);
  }

  drain(): void {
    if (this.#tunnel !== undefined) this.#tunnel.drain();
    else this.#exchange?.stream?.drained();
  }

  sent(): void {
    this.#sent = true;
    this.#sendDeadline = Infinity;
    if (this.#tunnel !== undefined) {
      this.#tunnel.sent();
      return;
    }
    if (this.#flushing) this.#connection.whenFlushed(this.#exchange!);
    const { stream } = this;
    if (stream.remoteEnded) return;
    const body = this.#exchange?.body;
    if (body?.taken && !body.discarded) return;
    this.#exchange?.breakOff(new ClosedError("The response is over"));
    this.#letGo();
  }

  /**
   * Nobody wants the rest of the request (RFC 9113, 8.1). Not at once: there
   * are clients that lose the response to a reset right behind it.
   */
  #letGo(): void {
    this.#exchange?.body?.discard();
    this.stream.discard();
    this.#bodyDeadline = Infinity;
    this.#resetAt = this.server.after(LINGER);
  }

  cut(error: unknown): void {
    this.#bodyDeadline = this.#sendDeadline = Infinity;
    if (this.#tunnel !== undefined) {
      this.#tunnel.cut(error);
      return;
    }
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    const reason = error instanceof ClosedError
      ? error
      : new ClosedError("The client is gone", { cause: error });
    if (exchange.finished && this.#sent) exchange.breakOff(reason);
    else exchange.lose(reason);
  }

  /** The client sends nothing more on any stream; it may well still read. */
  clientEnded(gone: ClosedError): void {
    const { stream } = this;
    if (stream.remoteEnded) {
      this.#exchange?.leave();
      return;
    }
    stream.reset(stream.localEnded ? NO_ERROR : CANCEL);
    this.cut(gone);
  }

  // What the exchange asks for.

  sayContinue(): void {
    this.stream.sendFields([":status", "100"], false);
  }

  makeRoom(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.stream.consume(this.stream.held);
    this.#awaitBody();
  }

  responseOver(exchange: WireExchange): void {
    exchange.finished = true;
    exchange.stream = undefined;
    exchange.release();
    if (exchange.watched) this.whenFlushed(exchange);
    if (this.#sent || this.stream.over) return;
    this.#sendDeadline = this.server.after(this.server.config.timeouts.idle);
  }

  whenFlushed(exchange: WireExchange): void {
    if (this.#sent || this.stream.over) this.#connection.whenFlushed(exchange);
    else this.#flushing = true;
  }

  abort(exchange: WireExchange, error: unknown): void {
    exchange.report(error);
    exchange.fail(error);
    this.stream.reset(INTERNAL_ERROR);
  }

  beginTakeover(
    exchange: WireExchange,
    outgoing: Outgoing,
    takeover: Takeover,
  ): void {
    checkTakeover(exchange.head, outgoing);
    exchange.answered = true;
    // There is no protocol to switch to (RFC 8441, 5).
    const status = outgoing.status < 200 ? 200 : outgoing.status;
    this.stream.sendFields(headOf({ ...outgoing, status }), false);
    exchange.finished = true;
    exchange.release();
    if (exchange.watched) exchange.delivered();
    const tunnel = new StreamTransport(this.stream, this.transport);
    this.#tunnel = tunnel;
    for (const chunk of this.#early) tunnel.data(chunk);
    takeover.start(tunnel, EMPTY);
  }

  // Waiting.

  #awaitBody(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || exchange.arrived || this.#paused) {
      this.#bodyDeadline = Infinity;
    } else {
      const { body } = this.server.config.timeouts;
      this.#bodyDeadline = this.server.after(body);
    }
  }

  /** The rest of the body is not wanted. */
  #breakOff(status: number, reason: unknown): void {
    const exchange = this.#exchange!;
    this.#bodyDeadline = Infinity;
    const unanswered = !exchange.answered;
    exchange.breakOff(reason);
    exchange.body?.discard();
    if (unanswered) answerBare(exchange, status);
    else if (exchange.finished) this.#letGo();
  }

  /** Looks at the deadlines; called every so often. */
  check(now: number): void {
    const exchange = this.#exchange;
    if (this.#tunnel !== undefined) return;
    if (exchange !== undefined && now >= exchange.deadline) {
      exchange.deadline = Infinity;
      if (!exchange.answered) {
        // Nor does its body go on, for who is late.
        this.#breakOff(503, new ClosedError("The response is over"));
      }
    }
    if (now >= this.#resetAt) this.stream.reset(NO_ERROR);
    if (this.#bodyDeadline !== Infinity && this.stream.session.windows.dry) {
      // It cannot send while the bodies of others fill the connection.
      this.#awaitBody();
    } else if (now >= this.#bodyDeadline) {
      const { body } = this.server.config.timeouts;
      this.#breakOff(408, slowBody(body));
    }
    this.#checkSending(now);
  }

  /** Whether it needs a window that nobody can give any more. */
  get #starves(): boolean {
    const { sendWindow, session } = this.stream;
    return this.#connection.halfClosed &&
      (sendWindow <= 0 || session.sender.window <= 0);
  }

  /** A client that gives no window must not keep a response for ever. */
  #checkSending(now: number): void {
    const { stream } = this;
    if (stream.queued === 0 || stream.moved) {
      stream.moved = false;
      this.#sendDeadline = Infinity;
    } else if (this.#sendDeadline === Infinity) {
      this.#sendDeadline = this.server.after(this.server.config.timeouts.idle);
    } else if (now >= this.#sendDeadline || this.#starves) {
      stream.reset(CANCEL);
      this.#exchange?.lose(deafClient(this.server.config.timeouts.idle));
    }
  }
}

/** The head as that of any other version. */
function plainHead(request: H2RequestHead, ended: boolean): RequestHead {
  const { method, path, authority, protocol, fields } = request;
  let expect = false;
  for (let i = 0; i < fields.length; i += 2) {
    if (
      fields[i] === "expect" && fields[i + 1].toLowerCase() === "100-continue"
    ) {
      expect = true;
    }
  }
  const head = {
    method,
    target: path === "" ? authority : path,
    minor: 1 as const,
    version: "h2" as const,
    fields,
    framing: { kind: "none" as const },
    host: authority,
    keepAlive: true,
    expectContinue: expect && !ended,
    upgrade: undefined,
  };
  if (protocol === undefined) return head;
  // What HTTP/1.1 says with GET and Upgrade (RFC 8441, 5): so one handler
  // does for both.
  fields.push("upgrade", protocol, "connection", "upgrade");
  return { ...head, method: "GET", upgrade: protocol };
}
