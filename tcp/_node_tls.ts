import { Duplex } from "node:stream";
import { setImmediate } from "node:timers";
import * as tls from "node:tls";
import { TimeoutError, TlsError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { cleanAuthorities, cleanPair, useless } from "./_credentials.ts";
import { show, tlsError } from "./_errors.ts";
import { runtime } from "./_node.ts";
import {
  cutShort,
  dismiss,
  globals,
  isDirect,
  SecureTransport,
  streamOf,
  TransportStream,
} from "./_node_stream.ts";
import type {
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import { peekName } from "./_peek.ts";
import type { Peeked } from "./_peek.ts";
import { chooser, normalName } from "./_sni.ts";
import type { Chooser } from "./_sni.ts";
import { checkServerTls } from "./_tls_options.ts";
import { turnAway } from "./_transport.ts";
import type { Transport } from "./_transport.ts";
import type { TlsCertificate, TlsServerOptions } from "./types.ts";

/** How long a client may take for its handshake, in ms. */
const HANDSHAKE_TIMEOUT = 10_000;
/** Servers kept for the handshakes to come. */
const MAX_IDLE = 32;

/** Alerts that go out before anything is encrypted (RFC 8446 §6). */
const ALERTS: Readonly<Record<string, number>> = {
  ERR_TLS_ALPN: 120,
  ERR_TLS_VERSION: 70,
  ERR_TLS_NOT_TLS: 50,
  ERR_TLS_SNI: 80,
};

/** Sends the alert that node:tls of Deno leaves out over a stream. */
function alert(below: Transport, code: string): void {
  const number = ALERTS[code];
  if (number === undefined) return;
  below.write(new Uint8Array([21, 3, 3, 0, 2, 2, number]));
}

/** A server of node:tls that nobody listens on, for one handshake at a time. */
interface Slot {
  readonly server: tls.Server;
  /** Called when `sni` has failed. */
  onSniError: ((error: unknown, name: string) => void) | undefined;
}

type SniCallback = NonNullable<tls.TlsOptions["SNICallback"]>;

interface IdentityPlan extends TlsCertificate {
  /** All the rest. */
  readonly options: tls.TlsOptions;
  /** Which it is, for messages. */
  readonly what: string;
}

/** One certificate, with all that is made of it. */
class Identity {
  readonly #options: tls.TlsOptions;
  /**
   * A server that nobody listens on tells whose handshake is done only while
   * it has one at a time: so there are as many as handshakes at a time.
   */
  readonly #idle: Slot[] = [];
  readonly #choose: Chooser<Identity> | undefined;
  #context: tls.SecureContext | undefined;

  /** With `choose` its servers answer for others, too. */
  constructor(
    { options, what, ...pair }: IdentityPlan,
    choose?: Chooser<Identity>,
  ) {
    this.#choose = choose;
    try {
      this.#options = { ...options, ...cleanPair(pair) };
      this.give(this.take());
    } catch (error) {
      throw useless("serve", `${what}cert and key are`, error);
    }
  }

  /** For handshakes of others' servers: trusts the same, and nobody else. */
  get context(): tls.SecureContext {
    if (this.#context !== undefined) return this.#context;
    const { cert, key, ca, minVersion, ALPNProtocols } = this.#options;
    const context = tls.createSecureContext({ cert, key, ca, minVersion });
    if (ALPNProtocols !== undefined && globals.Bun === undefined) {
      // Node puts what chooses a protocol into the context that a socket is
      // made with, and some handshakes only choose when they have this one.
      const nobody = new Duplex({ read() {}, write() {} });
      const socket = new tls.TLSSocket(nobody, {
        isServer: true,
        secureContext: context,
        ALPNProtocols,
      });
      socket.on("error", () => {});
      socket.destroy();
    }
    return this.#context = context;
  }

  /** A server for one handshake. */
  take(): Slot {
    return this.#idle.pop() ?? this.#make();
  }

  /** It may be used again. */
  give(slot: Slot): void {
    if (this.#idle.length < MAX_IDLE) this.#idle.push(slot);
  }

  #make(): Slot {
    const choose = this.#choose;
    if (choose === undefined) {
      const server = tls.createServer(this.#options);
      return { server, onSniError: undefined };
    }
    const SNICallback: SniCallback = (name, done) =>
      answer(slot, choose, { name, done });
    const slot: Slot = {
      server: tls.createServer({ ...this.#options, SNICallback }),
      onSniError: undefined,
    };
    return slot;
  }
}

function trusted(ca: TlsServerOptions["ca"]): string[] | undefined {
  try {
    return cleanAuthorities(ca);
  } catch (error) {
    throw useless("serve", "tls.ca is", error);
  }
}

async function answer(
  slot: Slot,
  choose: Chooser<Identity>,
  { name, done }: { name: string; done: Parameters<SniCallback>[1] },
): Promise<void> {
  const { onSniError } = slot;
  let context: tls.SecureContext | undefined;
  try {
    const chosen = choose(name);
    context = (chosen instanceof Promise ? await chosen : chosen)?.context;
  } catch (error) {
    onSniError?.(error, name);
    return;
  }
  // Given up in the meantime: its socket is gone.
  if (slot.onSniError === onSniError) done(null, context);
}

/** Ends a handshake for which there is no certificate; gives the error. */
function refuseName(below: Transport, cause: unknown): TlsError {
  const address = below.remoteAddress;
  alert(below, "ERR_TLS_SNI");
  dismiss(below);
  return new TlsError(
    `Cannot agree on TLS with ${show(address)}: tls.sni gave no certificate: ` +
      (cause instanceof Error ? cause.message : String(cause)),
    { code: "ERR_TLS_SNI", address, cause },
  );
}

/** Made once for all the handshakes that use the same options. */
interface Setup {
  /** Who answers when nobody else does. */
  readonly own: Identity;
  readonly choose: Chooser<Identity> | undefined;
  /** Chooses by itself. */
  readonly choosing: Identity;
}

/** What stays when only certificates are swapped. */
type TlsRules = Pick<TlsServerOptions, "ca" | "clientAuth" | "alpn">;

/** Without its authorities a server would trust those of the runtime. */
function rulesOf(
  { ca, clientAuth, alpn }: TlsServerOptions,
  before: TlsRules = { clientAuth: "none" },
): TlsRules {
  return {
    ca: ca ?? before.ca,
    clientAuth: clientAuth ?? before.clientAuth,
    alpn: alpn ?? before.alpn,
  };
}

function translate(
  options: TlsServerOptions,
  { ca, clientAuth, alpn }: TlsRules,
): Setup {
  const common: tls.TlsOptions = {
    ca: trusted(ca),
    requestCert: clientAuth !== "none",
    rejectUnauthorized: clientAuth === "require",
    ALPNProtocols: alpn,
    minVersion: "TLSv1.2",
    allowHalfOpen: true,
    pauseOnConnect: true,
  };
  const { cert, key, sni } = options;
  const plan = { cert, key, options: common, what: "tls." };
  const own = new Identity(plan);
  if (sni === undefined) return { own, choosing: own, choose: undefined };
  const choose = chooser(
    sni,
    ({ cert, key }, name) =>
      new Identity({ ...plan, cert, key, what: `tls.sni: ${name}: ` }),
  );
  return { own, choose, choosing: new Identity(plan, choose) };
}

interface AcceptOptions {
  /** Milliseconds. @default 10 s */
  readonly timeout?: number;
  /** What was read already. */
  readonly head?: readonly Uint8Array[];
}

/** How one handshake is done. */
interface Shake extends AcceptOptions {
  readonly identity: Identity;
  readonly timeout: number;
}

/** The server's side of TLS, for any number of transports. */
export class TlsAcceptor {
  #setup: Setup;
  #rules: TlsRules;

  /** Throws a `TlsError` when certificate and key are of no use. */
  constructor(options: TlsServerOptions) {
    this.#rules = rulesOf(options);
    this.#setup = translate(options, this.#rules);
  }

  /** From now on handshakes use these. */
  update(options: TlsServerOptions): void {
    const rules = rulesOf(options, this.#rules);
    checkServerTls({ ...options, ...rules }, "update TLS");
    this.#setup = translate(options, rules);
    this.#rules = rules;
  }

  /** The handshake with one client; rejects with a `TlsError`. */
  async accept(
    below: Transport,
    { timeout = HANDSHAKE_TIMEOUT, head }: AcceptOptions = {},
  ): Promise<Transport> {
    const { own, choosing, choose } = this.#setup;
    if (choose === undefined || isDirect(below)) {
      return await this.#shake(below, { identity: choosing, timeout, head });
    }
    // Over a stream Bun asks nobody, and Deno waits for nobody's answer.
    const started = performance.now();
    const peeked = await this.#peek(below, { choose, timeout, head });
    return await this.#shake(below, {
      identity: peeked.result ?? own,
      timeout: Math.max(1, timeout - (performance.now() - started)),
      head: peeked.head,
    });
  }

  async #peek(
    below: Transport,
    { choose, timeout, head }: {
      choose: Chooser<Identity>;
      timeout: number;
      head?: readonly Uint8Array[];
    },
  ): Promise<Peeked<Identity>> {
    const address = below.remoteAddress;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        below.destroy();
        reject(tooLate(address, timeout));
      }, timeout);
    });
    const cut = () => {
      below.destroy();
      return tlsError(cutShort(), address);
    };
    const chosen = async (name: string) => {
      try {
        return await choose(name);
      } catch (error) {
        throw refuseName(below, error);
      }
    };
    const plan = { choose: chosen, cut, before: head };
    try {
      return await Promise.race([peekName(below, plan), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #shake(
    below: Transport,
    { identity, timeout, head }: Shake,
  ): Promise<Transport> {
    const stream = streamOf(below, head);
    const slot = identity.take();
    const { server } = slot;
    const address = below.remoteAddress;
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        slot.onSniError = undefined;
        server.removeAllListeners("secureConnection");
        server.removeAllListeners("tlsClientError");
        if (stream instanceof TransportStream) stream.onEnd = () => {};
      };
      const refuse = (error: NetError) => {
        settle();
        below.destroy();
        reject(error);
      };
      const timer = setTimeout(
        () => refuse(tooLate(address, timeout)),
        timeout,
      );
      slot.onSniError = (error) => {
        settle();
        reject(refuseName(below, error));
      };
      server.once("secureConnection", (socket) => {
        settle();
        identity.give(slot);
        socket.allowHalfOpen = stream.allowHalfOpen = true;
        const name = (socket as { servername?: string | false }).servername;
        const transport = new SecureTransport(
          socket,
          below,
          stream,
          name ? normalName(name) : undefined,
        );
        // Ended in this turn Node up to 24 leaves close_notify out.
        setImmediate(() => resolve(transport));
      });
      server.once("tlsClientError", (error, socket) => {
        identity.give(slot);
        socket.on("error", () => {});
        settle();
        // Where a certificate was refused the error is that it hung up.
        const { authorizationError: refused } = socket;
        if (refused) {
          const code = (refused as { code?: string }).code ?? refused;
          Object.assign(error, { code });
        }
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

function tooLate(address: Address, timeout: number): TimeoutError {
  return new TimeoutError(
    `Cannot agree on TLS with ${show(address)} within ` +
      `${Math.round(timeout)} ms`,
    { phase: "tls", address },
  );
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
  const admits = (arriving: number) =>
    events.admits?.(arriving + shaking.size) ?? true;
  // node:tls takes sockets of node:net as they are, but on Deno; and Bun's
  // node:net passes reusePort over.
  const direct = !options.proxyProtocol && globals.Deno === undefined &&
    !(globals.Bun !== undefined && options.reusePort);
  const { listen } = direct ? runtime : plain;
  const server = await listen({ ...options, secure: direct }, {
    connection(below) {
      // What is behind a proxy was asked for when it came.
      if (!options.proxyProtocol && !admits(0)) {
        turnAway(below);
        return;
      }
      shaking.add(below);
      acceptor.accept(below).then((transport) => {
        shaking.delete(below);
        events.connection(transport);
      }, (error) => {
        shaking.delete(below);
        events.error(error);
      });
    },
    error: (error) => events.error(error),
    admits,
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
