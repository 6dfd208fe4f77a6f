import { setImmediate } from "node:timers";
import { ProtocolError, TimeoutError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { show } from "./_errors.ts";
import { ProxyHeader } from "./_proxy_header.ts";
import type { ProxiedAddresses } from "./_proxy_header.ts";
import type {
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import { turnAway } from "./_transport.ts";
import type { TlsInfo, Transport, TransportEvents } from "./_transport.ts";

/** How long a proxy may take for its header, in ms. */
const HEADER_TIMEOUT = 10_000;

/**
 * A transport whose first bytes, the header of a proxy, have been taken: with
 * the addresses that were in it, and what came behind it first.
 */
class ProxiedTransport implements Transport {
  readonly remoteAddress: Address;
  readonly localAddress: Address;
  readonly #below: Transport;
  #events: TransportEvents | undefined;
  #rest: Uint8Array[] = [];
  #paused = false;
  #ended = false;
  #closed = false;
  #over = false;
  /** Whoever listens here listens below. */
  #through = false;
  #error: NetError | undefined;

  constructor(below: Transport, addresses: ProxiedAddresses, rest: Uint8Array) {
    this.#below = below;
    this.remoteAddress = addresses.remoteAddress ?? below.remoteAddress;
    this.localAddress = addresses.localAddress ?? below.localAddress;
    if (rest.byteLength > 0) this.#rest.push(rest);
    below.pause();
    below.attach({
      data: (chunk) => void this.#rest.push(chunk),
      end: () => {
        this.#ended = true;
      },
      drain: () => this.#events?.drain(),
      close: (error) => {
        this.#closed = true;
        this.#error = error;
        this.#deliver();
      },
    });
  }

  get tls(): TlsInfo | undefined {
    return this.#below.tls;
  }

  get raw(): unknown {
    return this.#below.raw;
  }

  get pending(): number {
    return this.#below.pending;
  }

  attach(events: TransportEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    if (this.#through) this.#below.attach(events);
    // What is there at once node:tls of Node would take twice.
    else if (first) setImmediate(() => this.#deliver());
  }

  /** What came before there was a listener; then it is the one below. */
  #deliver(): void {
    if (this.#events === undefined || this.#through) return;
    while (this.#rest.length > 0 && !this.#over) {
      if (this.#paused) return;
      this.#events.data(this.#rest.shift()!);
    }
    if (this.#through) return;
    this.#through = true;
    if (this.#ended && !this.#over) this.#events.end();
    if (this.#closed) {
      queueMicrotask(() => this.#events!.close(this.#error));
      return;
    }
    this.#below.attach(this.#events);
    if (!this.#paused) this.#below.resume();
  }

  write(bytes: Uint8Array): boolean {
    return this.#below.write(bytes);
  }

  end(): void {
    this.#below.end();
  }

  destroy(): void {
    this.#over = true;
    this.#below.destroy();
  }

  reset(): void {
    this.#over = true;
    this.#below.reset();
  }

  pause(): void {
    this.#paused = true;
    this.#below.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#through) this.#below.resume();
    else if (this.#events !== undefined) queueMicrotask(() => this.#deliver());
  }

  setNoDelay(on: boolean): void {
    this.#below.setNoDelay(on);
  }

  setKeepAlive(on: boolean, delay?: number): void {
    this.#below.setKeepAlive(on, delay);
  }

  ref(): void {
    this.#below.ref();
  }

  unref(): void {
    this.#below.unref();
  }
}

/** Takes the header off a connection; rejects, and ends it, when it is none. */
function takeHeader(below: Transport, timeout: number): Promise<Transport> {
  const address = below.remoteAddress;
  return new Promise((resolve, reject) => {
    const header = new ProxyHeader();
    let settled = false;
    const refuse = (error: NetError) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      reject(error);
      below.destroy();
    };
    const cut = (cause?: NetError) => {
      refuse(
        new ProtocolError(
          `Refused ${show(address)}: it ended ${
            header.empty ? "before" : "within"
          } the PROXY header`,
          { code: "ERR_PROXY_HEADER", phase: "proxy", address, cause },
        ),
      );
    };
    const timer = setTimeout(() => {
      refuse(
        new TimeoutError(
          `Refused ${show(address)}: no PROXY header within ${timeout} ms`,
          { phase: "proxy", address },
        ),
      );
    }, timeout);
    below.attach({
      data(chunk) {
        if (settled) return;
        let size: number | undefined;
        try {
          size = header.push(chunk);
        } catch (error) {
          const { message, code } = error as ProtocolError;
          refuse(
            new ProtocolError(`Refused ${show(address)}: ${message}`, {
              code,
              phase: "proxy",
              address,
              cause: error,
            }),
          );
          return;
        }
        if (size === undefined) return;
        settled = true;
        clearTimeout(timer);
        resolve(
          new ProxiedTransport(below, header.addresses, chunk.subarray(size)),
        );
      },
      end: () => cut(),
      drain() {},
      close: (error) => cut(error),
    });
  });
}

/**
 * Listens for connections from proxies that say in the PROXY protocol whom
 * they speak for. They are reported when that is known.
 */
export async function listenProxied(
  runtime: TcpRuntime,
  options: ListenOptions,
  events: ListenEvents,
  timeout: number = HEADER_TIMEOUT,
): Promise<RuntimeServer> {
  const early = new Set<Transport>();
  let closing = false;
  const server = await runtime.listen(options, {
    connection(below) {
      if (events.admits?.(early.size) === false) {
        turnAway(below);
        return;
      }
      early.add(below);
      takeHeader(below, timeout).then((transport) => {
        early.delete(below);
        events.connection(transport);
      }, (error) => {
        early.delete(below);
        if (!closing) events.error(error);
      });
    },
    error: (error) => events.error(error),
  });
  return {
    address: server.address,
    raw: server.raw,
    close() {
      closing = true;
      for (const below of early) below.destroy();
      return server.close();
    },
    updateTls: (options) => server.updateTls(options),
    ref: () => server.ref(),
    unref: () => server.unref(),
  };
}
