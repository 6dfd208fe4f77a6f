import type { NetError } from "../streams/errors.ts";
import { DelegatedTransport } from "./_delegated.ts";
import type { Transport, TransportEvents } from "./_transport.ts";
import type { Wiretap, WiretapEvent } from "./types.ts";

/** A transport that tells of all that goes through it. */
class TappedTransport extends DelegatedTransport {
  readonly #tell: Wiretap;
  #events: TransportEvents | undefined;
  #over = false;

  constructor(below: Transport, tell: Wiretap) {
    super(below);
    this.#tell = tell;
    this.#say({ type: "open" });
  }

  override attach(events: TransportEvents): void {
    const first = this.#events === undefined;
    this.#events = events;
    if (!first) return;
    this.below.attach({
      data: (chunk) => {
        this.#say({ type: "read", bytes: chunk });
        this.#events!.data(chunk);
      },
      end: () => {
        this.#say({ type: "end" });
        this.#events!.end();
      },
      drain: () => this.#events!.drain(),
      close: (error) => {
        if (error !== undefined) this.#say({ type: "error", error });
        this.#say({ type: "close" });
        this.#events!.close(error);
      },
    });
  }

  override write(bytes: Uint8Array): boolean {
    if (!this.#over) this.#say({ type: "write", bytes });
    return this.below.write(bytes);
  }

  /** Who was told of the bytes may have kept them. */
  override recycle(_chunk: Uint8Array): void {}

  override destroy(): void {
    this.#over = true;
    this.below.destroy();
  }

  override reset(): void {
    this.#over = true;
    this.below.reset();
  }

  #say(
    what:
      | { type: "open" | "end" | "close" }
      | { type: "read" | "write"; bytes: Uint8Array }
      | { type: "error"; error: NetError },
  ): void {
    const { remoteAddress, localAddress } = this.below;
    const event: WiretapEvent = { ...what, remoteAddress, localAddress };
    try {
      const told: unknown = this.#tell(event);
      // It may be async all the same.
      if (told instanceof Promise) told.catch(() => {});
    } catch {
      // It only listens: what it makes of it is not ours.
    }
  }
}

/** The transport, with its traffic told where that is asked for. */
export function tapped(transport: Transport, tell?: Wiretap): Transport {
  return tell === undefined ? transport : new TappedTransport(transport, tell);
}
