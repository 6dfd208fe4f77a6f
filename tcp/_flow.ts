import type { Giver, Intake } from "../streams/_flow.ts";
import { WORTH_FREEING } from "../streams/_free.ts";
import type { Inbox } from "../streams/_inbox.ts";
import type { MaybePromise, Wait } from "../streams/types.ts";
import type { Transport } from "./_transport.ts";
import type { Writer } from "./_writer.ts";

/** The bytes of a transport on their way past the inbox, into an intake. */
export class Outflow implements Giver<Uint8Array> {
  readonly #transport: Transport;
  readonly #inbox: Inbox<Uint8Array>;
  #into: Intake<Uint8Array> | undefined;
  #held = false;

  constructor(transport: Transport, inbox: Inbox<Uint8Array>) {
    this.#transport = transport;
    this.#inbox = inbox;
  }

  /** Whether bytes may go past the inbox just now. */
  get open(): boolean {
    return this.#into !== undefined && this.#inbox.flowing;
  }

  /** What `flow` of a source is. */
  run(
    into: Intake<Uint8Array>,
    wait?: Wait,
  ): MaybePromise<Uint8Array | undefined> {
    const received = this.#inbox.flow(this.#onOver, wait);
    if (this.#inbox.flowing) this.#into ??= into;
    return received;
  }

  /** Hands a chunk on; `false`: it is the inbox's. */
  pass(chunk: Uint8Array, lent: boolean): boolean {
    if (!this.open) return false;
    const more = this.#into!.take(chunk, lent, this);
    if (more === undefined) return false;
    if (!more) {
      this.#held = true;
      this.#transport.pause();
    }
    return true;
  }

  resume(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#transport.resume();
  }

  recycle(chunk: Uint8Array): void {
    this.#transport.recycle?.(chunk);
  }

  readonly #onOver = (): void => {
    this.#into = undefined;
    this.resume();
  };
}

/** What an intake asks of the connection that it is of. */
interface Owner {
  /** Whether it has not ended. */
  open(): boolean;
  /** Whether somebody waits to send. */
  busy(): boolean;
  /** Counts bytes that are written. */
  count(size: number): void;
  /** Calls back once all that is written by now is with the kernel. */
  whenSent(done: (sent: boolean) => void): void;
}

/** The intake of a connection: what comes goes to the kernel at once. */
export class Inflow implements Intake<Uint8Array> {
  readonly #writer: Writer;
  readonly #owner: Owner;
  /** Who gave it and has to wait until there is room. */
  readonly #waiting = new Set<Giver<Uint8Array>>();

  constructor(writer: Writer, owner: Owner) {
    this.#writer = writer;
    this.#owner = owner;
  }

  get open(): boolean {
    return this.#owner.open();
  }

  take(
    chunk: Uint8Array,
    lent: boolean,
    giver: Giver<Uint8Array>,
  ): boolean | undefined {
    const writer = this.#writer;
    const owner = this.#owner;
    if (!owner.open() || owner.busy() || writer.full) return undefined;
    const size = chunk.byteLength;
    owner.count(size);
    if (lent) writer.copy(chunk);
    else writer.give(chunk);
    writer.flush();
    if (!lent && size >= WORTH_FREEING) {
      if (!writer.blocked) giver.recycle(chunk);
      else {
        owner.whenSent((sent) => {
          if (sent) giver.recycle(chunk);
        });
      }
    }
    if (!writer.full) return true;
    this.#waiting.add(giver);
    return false;
  }

  /** To be called when there may be room. */
  roomy(): void {
    if (this.#waiting.size === 0) return;
    if (this.#writer.full || this.#owner.busy()) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const giver of waiting) giver.resume();
  }

  /** Nobody waits here any longer. */
  drop(): void {
    this.#waiting.clear();
  }
}
