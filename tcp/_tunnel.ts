import { NetError, ProxyError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";
import { malformed, Refusal } from "./_dialogue.ts";
import type { Dialogue } from "./_dialogue.ts";
import { show } from "./_errors.ts";
import { HeldTransport } from "./_held.ts";
import { connectDialogue } from "./_http_tunnel.ts";
import { tunnelHost } from "./_proxy.ts";
import type { ProxyPlan } from "./_proxy.ts";
import { socks4Dialogue, socks5Dialogue } from "./_socks.ts";
import type { Transport } from "./_transport.ts";

/** What a proxy has connected to: below it is the connection to the proxy. */
class Tunnel extends HeldTransport {
  /** TLS below is with the proxy, and none of the target's. */
  override get tls(): undefined {
    return undefined;
  }
}

/** Whom a proxy is to connect to. */
export interface TunnelTarget {
  /** Name or address, as the proxy is to see it. */
  readonly hostname: string;
  readonly port: number;
}

function dialogueOf(proxy: ProxyPlan, target: TunnelTarget): Dialogue {
  const hostname = tunnelHost(target.hostname, "connect");
  const { port } = target;
  switch (proxy.scheme) {
    case "socks4:":
    case "socks4a:":
      return socks4Dialogue(proxy, hostname, port);
    case "socks5:":
    case "socks5h:":
      return socks5Dialogue(proxy, hostname, port);
    default:
      return connectDialogue(proxy, hostname, port);
  }
}

/** The error for what went wrong on the way through a proxy. */
export function proxyError(
  cause: unknown,
  proxy: ProxyPlan,
  target: TunnelTarget | undefined,
): unknown {
  if (cause instanceof ProxyError) return cause;
  const way = target === undefined
    ? `Cannot use proxy ${proxy.shown}`
    : `Cannot connect to ${
      show({ transport: "tcp", ...target })
    } through proxy ${proxy.shown}`;
  const address: Address = {
    transport: "tcp",
    hostname: proxy.hostname,
    port: proxy.port,
  };
  if (cause instanceof Refusal) {
    const { code, retryable, message } = cause;
    return new ProxyError(`${way}: ${message}`, { code, retryable, address });
  }
  if (cause instanceof NetError) {
    const { code, retryable, message } = cause;
    return new ProxyError(`${way}: ${message}`, {
      code,
      retryable,
      address,
      cause,
    });
  }
  return cause;
}

/** What the proxy said no to was the target, as one address of several. */
export function refusedTarget(error: unknown): boolean {
  return error instanceof Refusal && error.target;
}

/**
 * Has a proxy, to which the transport is connected and which nobody has
 * attached to, make a tunnel. What is given carries the target's bytes only.
 * Rejects with a `Refusal`, with the error that cut the transport, or with the
 * signal's reason; the transport is destroyed then.
 */
export function openTunnel(
  below: Transport,
  proxy: ProxyPlan,
  target: TunnelTarget,
  signal: AbortSignal,
): Promise<Transport> {
  return new Promise((resolve, reject) => {
    let over = false;
    const fail = (error: unknown) => {
      if (over) return;
      over = true;
      signal.removeEventListener("abort", abort);
      below.destroy();
      reject(error);
    };
    const abort = () => fail(signal.reason);
    if (signal.aborted) return abort();
    let dialogue: Dialogue;
    try {
      dialogue = dialogueOf(proxy, target);
    } catch (error) {
      return fail(error);
    }
    signal.addEventListener("abort", abort, { once: true });
    let held: Uint8Array = new Uint8Array(0);
    const take = (chunk: Uint8Array) => {
      if (held.byteLength === 0) held = chunk;
      else {
        const both = new Uint8Array(held.byteLength + chunk.byteLength);
        both.set(held);
        both.set(chunk, held.byteLength);
        held = both;
      }
      while (held.byteLength > 0) {
        const step = dialogue.feed(held);
        if (step === undefined) return;
        held = held.subarray(step.taken);
        if (step.done) {
          over = true;
          signal.removeEventListener("abort", abort);
          resolve(new Tunnel(below, held));
          return;
        }
        if (step.say !== undefined) {
          // What it says before it was asked is no answer.
          if (held.byteLength > 0) throw malformed("it spoke out of turn");
          below.write(step.say);
        }
      }
    };
    const cut = () =>
      new Refusal("it closed the connection before its answer", "ECONNRESET", {
        retryable: true,
      });
    below.attach({
      data(chunk) {
        if (over) return;
        try {
          take(chunk);
        } catch (error) {
          fail(error);
        }
      },
      end: () => fail(cut()),
      drain() {},
      close: (error) => fail(error ?? cut()),
    });
    below.write(dialogue.start());
  });
}
