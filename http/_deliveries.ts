import { ClosedError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import type { Writer } from "../tcp/_writer.ts";
import type { WireExchange } from "./_wire_exchange.ts";

/** Who of a connection waits to hear that a response is with the kernel. */
export class Deliveries {
  readonly #writer: Writer;
  #waiting: WireExchange[] | undefined;
  /** Why the connection is lost, once it is. */
  #lost: NetError | undefined;

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  /** Tells the exchange once all that was written is with the kernel. */
  watch(exchange: WireExchange): void {
    if (this.#lost !== undefined) {
      if (this.#lost instanceof ClosedError) exchange.delivered();
      else exchange.fail(this.#lost);
      return;
    }
    this.#writer.flush();
    if (this.#writer.idle) exchange.delivered();
    else (this.#waiting ??= []).push(exchange);
  }

  /** All that was written is with the kernel. */
  done(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    for (const exchange of waiting) exchange.delivered();
  }

  /** The connection is lost: nothing more will be delivered. */
  lose(reason: NetError): void {
    this.#lost = reason;
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    for (const exchange of waiting) exchange.lose(reason);
  }
}
