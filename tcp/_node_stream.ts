import { Socket } from "node:net";
import { Duplex } from "node:stream";
import { setImmediate } from "node:timers";
import type * as tls from "node:tls";
import { ClosedError } from "../streams/errors.ts";
import { NodeTransport } from "./_node_socket.ts";
import type { TlsInfo, Transport, TransportEvents } from "./_transport.ts";

/** How long the alert of a failed handshake may take, in ms. */
const ALERT_TIMEOUT = 500;

/** Ends a connection, after what is still on its way, in bounded time. */
export function dismiss(below: Transport): void {
  if (below.pending === 0) {
    below.destroy();
    return;
  }
  below.end();
  setTimeout(() => below.destroy(), ALERT_TIMEOUT);
}

/**
 * Any transport as a Node stream, for node:tls to run over. It passes
 * backpressure on by itself, because node:tls of Deno has none.
 */
export class TransportStream extends Duplex {
  readonly transport: Transport;
  #written: (() => void) | undefined;
  #held = false;
  /** What was read before, until it is given on. */
  #head: readonly Uint8Array[];
  shaking = true;
  /** Everything is with the kernel. */
  onIdle: () => void = () => {};
  /** The peer's FIN has come. */
  onEnd: () => void = () => {};

  constructor(transport: Transport, head: readonly Uint8Array[] = []) {
    super({ allowHalfOpen: true });
    this.transport = transport;
    this.#head = head;
    if (head.length > 0) {
      // What is there at once node:tls of Node takes twice.
      this.hold();
      setImmediate(() => {
        this.#giveHead();
        this.release();
      });
    }
    transport.attach({
      data: (chunk) => {
        this.#giveHead();
        if (!this.push(chunk)) transport.pause();
      },
      end: () => {
        this.#giveHead();
        this.push(null);
        // An alert that came just before has the word first.
        setImmediate(() => this.onEnd());
      },
      drain: () => {
        const written = this.#written;
        this.#written = undefined;
        written?.();
        if (transport.pending === 0) this.onIdle();
      },
      close: (error) => {
        const cause = error?.cause;
        // What came just before, say an alert, is still to be read.
        setImmediate(() =>
          this.destroy(cause instanceof Error ? cause : error)
        );
      },
    });
  }

  #giveHead(): void {
    const head = this.#head;
    this.#head = [];
    for (const chunk of head) this.push(chunk);
  }

  /** Bytes that are not with the kernel. */
  get pending(): number {
    return this.writableLength + this.transport.pending;
  }

  /** No bytes from below until `release`. */
  hold(): void {
    this.#held = true;
    this.transport.pause();
  }

  release(): void {
    this.#held = false;
    this.transport.resume();
  }

  override _read(): void {
    if (!this.#held) this.transport.resume();
  }

  override _write(
    chunk: Uint8Array,
    _encoding: string,
    done: () => void,
  ): void {
    if (this.transport.write(chunk)) done();
    else this.#written = done;
  }

  override _final(done: () => void): void {
    this.transport.end();
    done();
  }

  override _destroy(
    error: Error | null,
    done: (error: Error | null) => void,
  ): void {
    // A farewell that is still on its way goes first; while shaking hands
    // whoever does it has the last word.
    if (!this.shaking) dismiss(this.transport);
    done(error);
  }
}

/** The subject of a certificate as a line. */
function lineOf(subject: Record<string, string | string[]> = {}): string {
  return Object.entries(subject).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => `${name}=${one}`)
  ).join(", ");
}

/** What Deno cannot read, though it let it pass, counts as nothing shown. */
function peerOf(socket: tls.TLSSocket): Partial<tls.PeerCertificate> {
  try {
    return socket.getPeerCertificate() ?? {};
  } catch {
    return {};
  }
}

export function infoOf(
  socket: tls.TLSSocket,
  serverName: string | undefined,
): TlsInfo {
  const { subject, raw } = peerOf(socket);
  const info: { -readonly [K in keyof TlsInfo]: TlsInfo[K] } = {
    protocol: socket.getProtocol() ?? "unknown",
    authorized: raw !== undefined && socket.authorized,
  };
  if (typeof socket.alpnProtocol === "string") info.alpn = socket.alpnProtocol;
  if (serverName !== undefined) info.serverName = serverName;
  if (raw !== undefined) {
    const names = subject as unknown as Record<string, string | string[]>;
    info.peerCertificate = {
      subject: lineOf(names),
      raw: new Uint8Array(raw),
    };
  }
  return info;
}

/** A TLS stream as a transport, over the transport below it. */
export class TlsTransport extends NodeTransport {
  override readonly tls: TlsInfo;
  readonly #below: Transport;
  readonly #stream: TransportStream | undefined;

  constructor(
    socket: tls.TLSSocket,
    below: Transport,
    stream: TransportStream | undefined,
    info: TlsInfo,
  ) {
    super(socket, below);
    this.tls = info;
    this.#below = below;
    this.#stream = stream;
    if (stream !== undefined) {
      stream.shaking = false;
      stream.hold();
      stream.onIdle = () => this.idled();
    }
  }

  protected override get unsent(): number {
    return super.unsent + (this.#stream?.pending ?? 0);
  }

  override destroy(): void {
    // What is queued below is dropped, too.
    if (this.#stream !== undefined) this.#below.destroy();
    super.destroy();
  }

  override reset(): void {
    this.#below.reset();
    this.destroy();
  }

  override pause(): void {
    this.#stream?.hold();
    super.pause();
  }

  override resume(): void {
    super.resume();
    if (this.attached) this.#stream?.release();
  }

  override attach(events: Parameters<Transport["attach"]>[0]): void {
    const first = !this.attached;
    super.attach(events);
    if (first && !this.paused) this.#stream?.release();
  }

  override setNoDelay(on: boolean): void {
    this.#below.setNoDelay(on);
  }

  override setKeepAlive(on: boolean, delay?: number): void {
    this.#below.setKeepAlive(on, delay);
  }

  override ref(): void {
    this.#below.ref();
  }

  override unref(): void {
    this.#below.unref();
  }
}

/** After the handshake, which the peer's end may have come with. */
export class SecureTransport extends TlsTransport {
  readonly #socket: tls.TLSSocket;
  #events: TransportEvents | undefined;

  constructor(
    socket: tls.TLSSocket,
    below: Transport,
    stream: Socket | TransportStream,
    name: string | undefined,
  ) {
    super(
      socket,
      below,
      stream instanceof TransportStream ? stream : undefined,
      infoOf(socket, name),
    );
    this.#socket = socket;
    // An alert is followed by an end, which is not a clean one.
    socket.on("error", () => this.destroy());
  }

  override attach(events: TransportEvents): void {
    const missed = !this.attached && this.#socket.readableEnded;
    this.#events = events;
    super.attach(events);
    if (!missed) return;
    queueMicrotask(() => {
      if (!this.#socket.destroyed) this.#events!.end();
    });
  }
}

export function cutShort(): ClosedError {
  return new ClosedError("The connection ended within the handshake", {
    code: "ECONNRESET",
  });
}

export const globals = globalThis as { Deno?: unknown; Bun?: unknown };

/** Whether node:tls takes the socket itself: where its TLS can pause. */
export function isDirect(
  transport: Transport,
): transport is NodeTransport & { readonly raw: Socket } {
  return globals.Deno === undefined && transport instanceof NodeTransport &&
    transport.raw instanceof Socket && !transport.attached;
}

/** What node:tls runs over; `head` is what was read of it already. */
export function streamOf(
  transport: Transport,
  head?: readonly Uint8Array[],
): Socket | TransportStream {
  return isDirect(transport)
    ? transport.raw
    : new TransportStream(transport, head);
}
