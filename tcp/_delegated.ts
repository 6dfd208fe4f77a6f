import type { Address } from "../streams/types.ts";
import type { TlsInfo, Transport, TransportEvents } from "./_transport.ts";

/** A transport that leaves all to the one below, but for what it overrides. */
export class DelegatedTransport implements Transport {
  protected readonly below: Transport;

  constructor(below: Transport) {
    this.below = below;
  }

  get remoteAddress(): Address {
    return this.below.remoteAddress;
  }

  get localAddress(): Address {
    return this.below.localAddress;
  }

  get tls(): TlsInfo | undefined {
    return this.below.tls;
  }

  get raw(): unknown {
    return this.below.raw;
  }

  get pending(): number {
    return this.below.pending;
  }

  attach(events: TransportEvents): void {
    this.below.attach(events);
  }

  write(bytes: Uint8Array): boolean {
    return this.below.write(bytes);
  }

  recycle(chunk: Uint8Array): void {
    this.below.recycle?.(chunk);
  }

  end(): void {
    this.below.end();
  }

  destroy(): void {
    this.below.destroy();
  }

  reset(): void {
    this.below.reset();
  }

  pause(): void {
    this.below.pause();
  }

  resume(): void {
    this.below.resume();
  }

  setNoDelay(on: boolean): void {
    this.below.setNoDelay(on);
  }

  setKeepAlive(on: boolean, delay?: number): void {
    this.below.setKeepAlive(on, delay);
  }

  ref(): void {
    this.below.ref();
  }

  unref(): void {
    this.below.unref();
  }
}
