import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP, Socket } from "node:net";
import { Duplex } from "node:stream";
import { setImmediate } from "node:timers";
import * as tls from "node:tls";
import { ClosedError, TimeoutError, TlsError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { show, tlsError } from "./_errors.ts";
import { NodeTransport, runtime } from "./_node.ts";
import type {
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import { checkServerTls } from "./_tls_options.ts";
import type { TlsInfo, Transport } from "./_transport.ts";
import type { TlsClientOptions, TlsServerOptions } from "./types.ts";

/** How long a client may take for its handshake, in ms. */
const HANDSHAKE_TIMEOUT = 10_000;
/** How long the alert of a failed handshake may take, in ms. */
const ALERT_TIMEOUT = 500;
/** Servers kept for the handshakes to come. */
const MAX_IDLE = 32;

/**
 * Any transport as a Node stream, for node:tls to run over. It passes
 * backpressure on by itself, because node:tls of Deno has none.
 */
class TransportStream extends Duplex {
  readonly transport: Transport;
  #written: (() => void) | undefined;
  #held = false;
  shaking = true;
  /** Everything is with the kernel. */
  onIdle: () => void = () => {};
  /** The peer's FIN has come. */
  onEnd: () => void = () => {};

  constructor(transport: Transport) {
    super({ allowHalfOpen: true });
    this.transport = transport;
    transport.attach({
      data: (chunk) => {
        if (!this.push(chunk)) transport.pause();
      },
      end: () => {
        this.push(null);
        this.onEnd();
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

function infoOf(
  socket: tls.TLSSocket,
  serverName: string | undefined,
): TlsInfo {
  const { subject, raw } = socket.getPeerCertificate() ?? {};
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
class TlsTransport extends NodeTransport {
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

const globals = globalThis as { Deno?: unknown; Bun?: unknown };

/** What node:tls runs over: the socket itself where its TLS can pause. */
function streamOf(transport: Transport): Socket | TransportStream {
  return globals.Deno === undefined && transport instanceof NodeTransport &&
      transport.raw instanceof Socket && !transport.attached
    ? transport.raw
    : new TransportStream(transport);
}

/** What a handshake is told beyond the options. */
export interface SecurePlan {
  /** The host that was asked for. */
  hostname: string;
  /** The same, for messages. */
  address: Address;
  signal?: AbortSignal;
  /** Goes on when the server does not know ALPN at all. */
  alpnOptional?: boolean;
}

/** The client's side of TLS over a transport that nobody has attached to. */
export function secureClient(
  below: Transport,
  options: TlsClientOptions,
  plan: SecurePlan,
): Promise<Transport> {
  const { address, signal, alpnOptional = false } = plan;
  const name = options.serverName ?? plan.hostname;
  if (signal?.aborted) {
    below.destroy();
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const stream = streamOf(below);
    let socket: tls.TLSSocket;
    const settle = () => {
      signal?.removeEventListener("abort", abort);
      socket?.removeListener("secureConnect", accept);
    };
    const refuse = (error: unknown) => {
      settle();
      socket?.destroy();
      below.destroy();
      reject(tlsError(error, address, socket?.getPeerCertificate?.()));
    };
    const abort = () => {
      settle();
      socket.destroy();
      below.destroy();
      reject(signal!.reason);
    };
    const accept = () => {
      settle();
      if (
        options.alpn !== undefined && !alpnOptional &&
        typeof socket.alpnProtocol !== "string"
      ) {
        socket.destroy();
        below.destroy();
        reject(
          new TlsError(
            `Cannot agree on a protocol with ${show(address)}: it knows ` +
              `none of ${options.alpn.join(", ")}`,
            { code: "ERR_TLS_ALPN", address },
          ),
        );
        return;
      }
      socket.removeListener("error", refuse);
      socket.removeListener("close", gone);
      resolve(
        new TlsTransport(
          socket,
          below,
          stream instanceof TransportStream ? stream : undefined,
          infoOf(socket, isIP(name) === 0 ? name : undefined),
        ),
      );
    };
    const gone = () => refuse(cutShort());
    try {
      socket = tls.connect({
        socket: stream,
        host: name,
        servername: isIP(name) === 0 ? name : "",
        ca: options.ca,
        cert: options.cert,
        key: options.key,
        ALPNProtocols: options.alpn,
        rejectUnauthorized: options.insecure !== true,
        minVersion: "TLSv1.2",
      });
    } catch (error) {
      refuse(error);
      return;
    }
    signal?.addEventListener("abort", abort, { once: true });
    socket.once("error", refuse);
    socket.once("close", gone);
    socket.once("secureConnect", accept);
    // An error that comes after another one has nobody to tell.
    socket.on("error", () => {});
  });
}

/** Alerts that go out before anything is encrypted (RFC 8446 §6). */
const ALERTS: Readonly<Record<string, number>> = {
  ERR_TLS_ALPN: 120,
  ERR_TLS_VERSION: 70,
  ERR_TLS_NOT_TLS: 50,
};

/** Sends the alert that node:tls of Deno leaves out over a stream. */
function alert(below: Transport, code: string): void {
  const number = ALERTS[code];
  if (number === undefined) return;
  below.write(new Uint8Array([21, 3, 3, 0, 2, 2, number]));
}

/** Ends a connection, after what is still on its way, in bounded time. */
function dismiss(below: Transport): void {
  if (below.pending === 0) {
    below.destroy();
    return;
  }
  below.end();
  setTimeout(() => below.destroy(), ALERT_TIMEOUT);
}

function cutShort(): ClosedError {
  return new ClosedError("The connection ended within the handshake", {
    code: "ECONNRESET",
  });
}

/** The server's side of TLS, for any number of transports. */
export class TlsAcceptor {
  /**
   * A server that nobody listens on tells whose handshake is done only while
   * it has one at a time: so there are as many as handshakes at a time.
   */
  #idle: tls.Server[] = [];
  #options: tls.TlsOptions;
  readonly #clientAuth: "none" | "request" | "require";

  /** Throws a `TlsError` when certificate and key are of no use. */
  constructor(options: TlsServerOptions) {
    this.#clientAuth = options.clientAuth ?? "none";
    this.#options = this.#translate(options);
    this.#idle.push(this.#make());
  }

  /** From now on handshakes use these. */
  update(options: TlsServerOptions): void {
    checkServerTls(options, "update TLS");
    const before = this.#options;
    this.#options = this.#translate(options);
    try {
      this.#idle = [this.#make()];
    } catch (error) {
      this.#options = before;
      throw error;
    }
  }

  #translate(options: TlsServerOptions): tls.TlsOptions {
    const { clientAuth = this.#clientAuth } = options;
    return {
      cert: options.cert,
      key: options.key,
      ca: options.ca,
      requestCert: clientAuth !== "none",
      rejectUnauthorized: clientAuth === "require",
      ALPNProtocols: options.alpn,
      minVersion: "TLSv1.2",
      allowHalfOpen: true,
      pauseOnConnect: true,
    };
  }

  #make(): tls.Server {
    try {
      const { cert, key } = this.#options;
      // Deno would only find out with the first client.
      const own = new X509Certificate(cert as string);
      if (!own.checkPrivateKey(createPrivateKey(key as string))) {
        throw new TypeError("they do not belong together");
      }
      return tls.createServer(this.#options);
    } catch (error) {
      throw new TlsError(
        "Cannot serve: tls.cert and tls.key are of no use: " +
          (error as Error).message,
        { code: "ERR_TLS_CERTIFICATE", cause: error },
      );
    }
  }

  /** The handshake with one client; rejects with a `TlsError`. */
  accept(
    below: Transport,
    timeout: number = HANDSHAKE_TIMEOUT,
  ): Promise<Transport> {
    const stream = streamOf(below);
    const options = this.#options;
    const server = this.#idle.pop() ?? this.#make();
    const address = below.remoteAddress;
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        server.removeAllListeners("secureConnection");
        server.removeAllListeners("tlsClientError");
        if (stream instanceof TransportStream) stream.onEnd = () => {};
      };
      const reuse = () => {
        if (options === this.#options && this.#idle.length < MAX_IDLE) {
          this.#idle.push(server);
        }
      };
      const refuse = (error: NetError) => {
        settle();
        below.destroy();
        reject(error);
      };
      const timer = setTimeout(() => {
        refuse(
          new TimeoutError(
            `Cannot agree on TLS with ${show(address)} within ${timeout} ms`,
            { phase: "tls", address },
          ),
        );
      }, timeout);
      server.once("secureConnection", (socket) => {
        settle();
        reuse();
        socket.allowHalfOpen = stream.allowHalfOpen = true;
        const name = (socket as { servername?: string | false }).servername;
        resolve(
          new TlsTransport(
            socket,
            below,
            stream instanceof TransportStream ? stream : undefined,
            infoOf(socket, name || undefined),
          ),
        );
      });
      server.once("tlsClientError", (error, socket) => {
        reuse();
        socket.on("error", () => {});
        settle();
        const reason = tlsError(error, address);
        if (stream instanceof TransportStream) alert(below, reason.code);
        reject(reason);
        dismiss(below);
        socket.destroy();
      });
      // Until the handshake is done a client that says FIN has left.
      if (stream instanceof TransportStream) {
        stream.onEnd = () => refuse(tlsError(cutShort(), address));
      } else stream.allowHalfOpen = false;
      server.emit("connection", stream);
    });
  }
}

/** Listens for TLS, over the sockets of `plain`. */
export async function listenTls(
  options: ListenOptions,
  tlsOptions: TlsServerOptions,
  events: ListenEvents,
  plain: TcpRuntime,
): Promise<RuntimeServer> {
  const acceptor = new TlsAcceptor(tlsOptions);
  const shaking = new Set<Transport>();
  // node:tls takes sockets of node:net as they are, but on Deno; and Bun's
  // node:net passes reusePort over.
  const direct = globals.Deno === undefined &&
    !(globals.Bun !== undefined && options.reusePort);
  const { listen } = direct ? runtime : plain;
  const server = await listen(options, {
    connection(below) {
      shaking.add(below);
      acceptor.accept(below).then(
        (transport) => events.connection(transport),
        (error) => events.error(error),
      ).finally(() => shaking.delete(below));
    },
    error: (error) => events.error(error),
  });
  return {
    address: server.address,
    raw: server.raw,
    close() {
      for (const below of shaking) below.destroy();
      return server.close();
    },
    updateTls: (options) => acceptor.update(options),
    ref: () => server.ref(),
    unref: () => server.unref(),
  };
}
