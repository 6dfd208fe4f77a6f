import { ClosedError, NetError } from "../streams/errors.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";
import { Writer } from "../tcp/_writer.ts";
import type { Fields } from "./_h1_types.ts";
import { responseHead } from "./_h2_fields.ts";
import type { H2ResponseHead } from "./_h2_fields.ts";
import { H2StreamError, PROTOCOL_ERROR } from "./_h2_frames.ts";
import type { H2Error } from "./_h2_frames.ts";
import { H2Session } from "./_h2_session.ts";
import type { H2Stream, StreamListener } from "./_h2_stream.ts";
import { StreamTransport } from "./_h2_transport.ts";
import { FLOOD } from "./_h2_types.ts";
import type { SessionOwner } from "./_h2_types.ts";

const HIGH_WATER_MARK = 64 * 1024;
/** Bytes of the head of the answer. */
const MAX_FIELDS = 16 * 1024;
const WINDOW = 256 * 1024;
const MAX_WINDOW = 16 * 1024 * 1024;

/** The answer to a CONNECT. */
export interface TunnelAnswer {
  readonly head: H2ResponseHead;
  /** The tunnel, when the status is 2xx; it is to be attached to at once. */
  readonly transport: Transport | undefined;
}

/** Who waits for the answer; called once, in the turn in which it comes. */
export interface TunnelOwner {
  answered(answer: TunnelAnswer): void;
  failed(error: NetError): void;
}

/**
 * Opens a tunnel over HTTP/2 on a connection of its own: what an extended
 * CONNECT asks for (RFC 8441, 4). `fields` are those of the request,
 * `:protocol` among them. Gives what ends it all.
 */
export function openTunnel(
  transport: Transport,
  fields: Fields,
  owner: TunnelOwner,
): () => void {
  const tunnel = new TunnelConnection(transport, fields, owner);
  return () => tunnel.destroy();
}

/** A connection to a server that carries one tunnel. */
class TunnelConnection implements SessionOwner, TransportEvents {
  readonly transport: Transport;
  readonly #writer: Writer;
  readonly #session: H2Session;
  readonly #fields: Fields;
  readonly #owner: TunnelOwner;
  #asked = false;
  #stream: H2Stream | undefined;
  #answered = false;
  #over = false;

  constructor(transport: Transport, fields: Fields, owner: TunnelOwner) {
    this.transport = transport;
    this.#fields = fields;
    this.#owner = owner;
    this.#writer = new Writer(transport, HIGH_WATER_MARK);
    this.#session = new H2Session(this.#writer, {
      role: "client",
      streams: 0,
      header: MAX_FIELDS,
      window: WINDOW,
      maxWindow: MAX_WINDOW,
      maxResets: Infinity,
      maxControls: FLOOD,
    }, this);
    this.#session.start();
    transport.attach(this);
  }

  /** The end, now. */
  destroy(): void {
    if (this.#over) return;
    this.#over = true;
    this.#writer.flush();
    this.transport.destroy();
  }

  answered(answer: TunnelAnswer): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#owner.answered(answer);
  }

  /** It comes to nothing, or breaks. */
  fail(error: NetError): void {
    this.destroy();
    if (this.#answered) return;
    this.#answered = true;
    this.#owner.failed(error);
  }

  // What the transport tells.

  data(chunk: Uint8Array): void {
    this.#writer.hold();
    this.#session.data(chunk);
    this.#writer.release();
  }

  end(): void {
    const error = new ClosedError("The server closed the connection");
    this.#session.abandon(error);
    this.fail(error);
  }

  drain(): void {
    this.#writer.drained();
    this.#session.drained();
  }

  close(error?: NetError): void {
    this.#writer.drop();
    const reason = error ?? new ClosedError("The server closed the connection");
    this.#session.abandon(reason);
    this.fail(reason);
  }

  // What the session tells.

  open(): undefined {
    return undefined;
  }

  settled(): void {
    if (this.#asked) return;
    this.#asked = true;
    if (!this.#session.peer.extendedConnect) {
      this.fail(
        new NetError(
          "The server takes no WebSockets over HTTP/2 (RFC 8441), connect without http2",
          { code: "ERR_HANDSHAKE", phase: "handshake" },
        ),
      );
      return;
    }
    this.#stream = this.#session.request(
      this.#fields,
      false,
      (stream) => new TunnelStream(this, stream),
    );
  }

  goingAway(last: number): void {
    // What has begun may end.
    if (this.#stream !== undefined && this.#stream.id <= last) return;
    const error = new NetError("The server refused the request unseen", {
      code: "ERR_HTTP2_REFUSED_STREAM",
      phase: "handshake",
      retryable: true,
    });
    this.#session.abandon(error);
    this.fail(error);
  }

  ponged(): void {
    // Nothing waits for it.
  }

  left(): void {
    if (this.#session.error !== undefined) return;
    this.#session.goAway(0);
    // Not from within what the stream is at.
    queueMicrotask(() => this.destroy());
  }

  failed(error: H2Error): void {
    this.fail(error);
  }
}

/** Its only stream. */
class TunnelStream implements StreamListener {
  readonly #connection: TunnelConnection;
  readonly #stream: H2Stream;
  #transport: StreamTransport | undefined;

  constructor(connection: TunnelConnection, stream: H2Stream) {
    this.#connection = connection;
    this.#stream = stream;
  }

  fields(fields: Fields | undefined, ended: boolean): void {
    if (this.#transport !== undefined) {
      // Trailers, of which a tunnel has none to tell.
      if (ended) this.#transport.ending();
      return;
    }
    if (fields === undefined) {
      throw new H2StreamError(
        PROTOCOL_ERROR,
        "Cannot take the answer: its fields are longer than they may be",
      );
    }
    const head = responseHead(fields);
    const { status } = head;
    if (status < 200) return;
    if (status > 299 || ended) {
      this.#connection.answered({ head, transport: undefined });
      this.#connection.destroy();
      return;
    }
    const transport = new StreamTransport(
      this.#stream,
      this.#connection.transport,
    );
    this.#transport = transport;
    this.#connection.answered({ head, transport });
  }

  data(chunk: Uint8Array): void {
    this.#transport?.data(chunk);
  }

  end(): void {
    this.#transport?.ending();
  }

  drain(): void {
    this.#transport?.drain();
  }

  sent(): void {
    this.#transport?.sent();
  }

  cut(error: unknown): void {
    this.#transport?.cut(error);
    this.#connection.fail(error as NetError);
  }

  check(): void {
    // Whoever uses the tunnel keeps the time.
  }
}
