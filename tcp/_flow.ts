import type { Giver, Intake } from "../streams/_flow.ts";
import type { Inbox } from "../streams/_inbox.ts";
import { Ring } from "../streams/_ring.ts";
import type { MaybePromise, Wait } from "../streams/types.ts";
import type { Transport } from "./_transport.ts";
import { COPY_LIMIT } from "./_writer.ts";
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
  /** Counts bytes that are written; gives how many there have been. */
  count(size: number): number;
}

/** A chunk that the kernel does not have yet. */
interface Kept {
  /** What the owner has counted behind it. */
  readonly mark: number;
  readonly chunk: Uint8Array;
  readonly giver: Giver<Uint8Array>;
}

/** The intake of a connection: what comes goes to the kernel at once. */
export class Inflow implements Intake<Uint8Array> {
  readonly #writer: Writer;
  readonly #owner: Owner;
  readonly #kept = new Ring<Kept>();
  /** Who gave it, and has to wait until there is room. */
  #waiting: Giver<Uint8Array> | undefined;
  #others: Set<Giver<Uint8Array>> | undefined;

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
    const mark = owner.count(chunk.byteLength);
    if (lent || (writer.blocked && chunk.byteLength <= COPY_LIMIT)) {
      writer.copy(chunk);
      writer.flush();
      if (!lent) giver.recycle(chunk);
    } else {
      writer.pass(chunk);
      if (writer.blocked) this.#kept.push({ mark, chunk, giver });
      else giver.recycle(chunk);
    }
    if (!writer.full) return true;
    if (this.#waiting === undefined) this.#waiting = giver;
    else if (this.#waiting !== giver) (this.#others ??= new Set()).add(giver);
    return false;
  }

  /** So many bytes, of all that were counted, are with the kernel. */
  sent(count: number): void {
    for (let it = this.#kept.peek(); it; it = this.#kept.peek()) {
      if (it.mark > count) break;
      this.#kept.shift();
      it.giver.recycle(it.chunk);
    }
  }

  /** To be called when there may be room. */
  roomy(): void {
    const first = this.#waiting;
    if (first === undefined || this.#writer.full || this.#owner.busy()) return;
    const others = this.#others;
    this.#waiting = this.#others = undefined;
    first.resume();
    if (others !== undefined) { for (const other of others) other.resume(); }
  }

  /** The connection is over: nobody waits here any longer. */
  drop(): void {
    this.#waiting = this.#others = undefined;
    this.#kept.clear();
  }
}
