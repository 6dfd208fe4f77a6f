import { NetError } from "../streams/errors.ts";
import { show } from "./_address.ts";
import { copy, COPY_LIMIT } from "./_copy.ts";
import type { Outgoing } from "./_runtime.ts";

/** Largest payload: 65,535 less the headers that count (RFC 791, RFC 8200). */
const MAX_PAYLOAD = { 4: 65_507, 6: 65_527 };

const encoder = new TextEncoder();

/** Where datagrams go. */
export class Route {
  /** As the system wants it. */
  readonly address: string;
  /** Largest payload that can go there. */
  readonly max: number;
  /** Size up to which the system has taken a datagram before. */
  proven = -1;

  constructor(address: string, family: 4 | 6) {
    this.address = address;
    this.max = MAX_PAYLOAD[family];
  }
}

/** A datagram on its way out. */
export class Packet implements Outgoing {
  data: Uint8Array;
  readonly hostname: string;
  readonly port: number;
  /** Missing while the name is looked up. */
  route: Route | undefined;
  /** Its sender gave up: it must not leave. */
  withdrawn = false;
  /** Its sender does not wait for the system's answer. */
  fast = false;
  /** Its place among those handed to the runtime, from 1. */
  number = 0;
  settled = false;
  /** The system's answer. */
  error: NetError | undefined;
  readonly #owner: { left(packet: Packet): void };
  #onSettled: (() => void) | undefined;

  constructor(
    owner: { left(packet: Packet): void },
    data: Uint8Array,
    hostname: string,
    port: number,
  ) {
    this.#owner = owner;
    this.data = data;
    this.hostname = hostname;
    this.port = port;
  }

  get size(): number {
    return this.data.byteLength;
  }

  get address(): string {
    return this.route!.address;
  }

  /** Throws when it is too large for its route, or for any. */
  check(): void {
    const max = this.route?.max ?? MAX_PAYLOAD[6];
    if (this.size <= max) return;
    const { hostname, port } = this;
    throw new NetError(
      `Cannot send more than ${max} bytes in a datagram to ${
        show(hostname, port)
      }: ${this.size}`,
      {
        code: "EMSGSIZE",
        phase: "send",
        address: { transport: "udp", hostname, port },
      },
    );
  }

  /**
   * What the system has taken once it takes again: then nobody need wait for
   * its answer, for which it may need bytes of its own.
   */
  hurry(): void {
    if (this.size > COPY_LIMIT || this.size > this.route!.proven) return;
    this.fast = true;
    this.data = copy(this.data);
  }

  settle(error?: NetError): void {
    this.settled = true;
    this.error = error;
    const route = this.route!;
    if (error === undefined && this.size > route.proven) {
      route.proven = this.size;
    }
    this.#onSettled?.();
    this.#owner.left(this);
  }

  /** Resolves when it is settled. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#onSettled = resolve;
    });
  }
}

/** What may be sent, as bytes. */
export function toBytes(data: unknown): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === "string") return encoder.encode(data);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  throw new TypeError(
    `Cannot send: data must be bytes or a string: ${typeof data}`,
  );
}
