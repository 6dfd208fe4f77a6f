import { EventEmitter } from "node:events";
import type { Address } from "../streams/types.ts";
import type { ServerContext } from "./types.ts";

/**
 * What a listener of node:http is given as `socket`: it tells of the
 * connection, times and ends the exchange, and nothing goes through it.
 */
export class NodeSocket extends EventEmitter {
  readonly #context: ServerContext;
  readonly #secure: boolean;
  /** Ends the exchange. */
  onDestroy: ((error: Error | undefined) => void) | undefined;
  destroyed = false;
  timeout = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(context: ServerContext, secure: boolean) {
    super();
    this.#context = context;
    this.#secure = secure;
  }

  get encrypted(): true | undefined {
    return this.#secure ? true : undefined;
  }

  get authorized(): boolean {
    return this.#secure && this.#context.tls?.authorized === true;
  }

  get alpnProtocol(): string | false {
    return this.#secure && (this.#context.tls?.alpn ?? false);
  }

  get servername(): string | false {
    return this.#secure && (this.#context.tls?.serverName ?? false);
  }

  getProtocol(): string | null {
    return this.#secure ? this.#context.tls?.protocol ?? null : null;
  }

  get remoteAddress(): string | undefined {
    return hostOf(this.#context.remoteAddress);
  }

  get remotePort(): number | undefined {
    return portOf(this.#context.remoteAddress);
  }

  get remoteFamily(): string | undefined {
    return familyOf(this.#context.remoteAddress);
  }

  get localAddress(): string | undefined {
    return hostOf(this.#context.localAddress);
  }

  get localPort(): number | undefined {
    return portOf(this.#context.localAddress);
  }

  get localFamily(): string | undefined {
    return familyOf(this.#context.localAddress);
  }

  address(): object {
    const { localAddress: address, localPort: port, localFamily: family } =
      this;
    return address === undefined ? {} : { address, port, family };
  }

  get readable(): boolean {
    return !this.destroyed;
  }

  get writable(): boolean {
    return !this.destroyed;
  }

  get connecting(): boolean {
    return false;
  }

  get pending(): boolean {
    return false;
  }

  get readyState(): string {
    return this.destroyed ? "closed" : "open";
  }

  setTimeout(ms: number, listener?: () => void): this {
    this.timeout = ms;
    if (listener !== undefined) {
      if (ms === 0) this.removeListener("timeout", listener);
      else this.once("timeout", listener);
    }
    this.touch();
    return this;
  }

  /** Something happened: the time begins anew. */
  touch(): void {
    clearTimeout(this.#timer);
    if (this.timeout === 0 || this.destroyed) return;
    this.#timer = setTimeout(() => this.emit("timeout"), this.timeout);
    (this.#timer as { unref?(): void }).unref?.();
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  cork(): void {}

  uncork(): void {}

  pause(): this {
    return this;
  }

  resume(): this {
    return this;
  }

  write(): never {
    throw new TypeError(
      "Cannot write to the socket: it belongs to the server, write to the response or use context.tunnel()",
    );
  }

  end(): this {
    return this.destroy();
  }

  destroySoon(): void {
    this.destroy();
  }

  resetAndDestroy(): this {
    return this.destroy();
  }

  destroy(error?: Error): this {
    if (this.destroyed) return this;
    this.over(error !== undefined);
    this.onDestroy?.(error);
    return this;
  }

  /** The exchange is over, and for its listener the connection. */
  over(failed: boolean): void {
    if (this.destroyed) return;
    this.destroyed = true;
    clearTimeout(this.#timer);
    queueMicrotask(() => this.emit("close", failed));
  }
}

function hostOf(address: Address): string | undefined {
  return address.transport === "unix" ? undefined : address.hostname;
}

function portOf(address: Address): number | undefined {
  return address.transport === "unix" ? undefined : address.port;
}

function familyOf(address: Address): string | undefined {
  if (address.transport === "unix") return undefined;
  return address.hostname.includes(":") ? "IPv6" : "IPv4";
}
