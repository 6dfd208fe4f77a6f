import { ProtocolError, TimeoutError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { show } from "./_errors.ts";
import { HeldTransport } from "./_held.ts";
import { ProxyHeader } from "./_proxy_header.ts";
import type { ProxiedAddresses } from "./_proxy_header.ts";
import type {
  ListenEvents,
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "./_runtime.ts";
import { turnAway } from "./_transport.ts";
import type { Transport } from "./_transport.ts";

/** How long a proxy may take for its header, in ms. */
const HEADER_TIMEOUT = 10_000;

/** A connection from a proxy, with the addresses that its header told. */
class ProxiedTransport extends HeldTransport {
  readonly #addresses: ProxiedAddresses;

  constructor(below: Transport, addresses: ProxiedAddresses, rest: Uint8Array) {
    super(below, rest);
    this.#addresses = addresses;
  }

  override get remoteAddress(): Address {
    return this.#addresses.remoteAddress ?? super.remoteAddress;
  }

  override get localAddress(): Address {
    return this.#addresses.localAddress ?? super.localAddress;
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
