import { ClosedError, NetError } from "./errors.ts";
import { back } from "./_flow.ts";
import { Inbox } from "./_inbox.ts";
import type { InboxOptions } from "./_inbox.ts";
import { Outbox } from "./_outbox.ts";
import type { OutboxOptions } from "./_outbox.ts";
import type { CloseInfo, Duplex, MaybePromise, Wait } from "./types.ts";

/** A `NetError` for whatever reason a stream was ended with. */
export function toNetError(reason: unknown, message: string): NetError {
  return reason instanceof NetError
    ? reason
    : new ClosedError(message, reason === undefined ? {} : { cause: reason });
}

/** What pending receives reject with: the caller's own error when it is one. */
export function toError(reason: unknown, message: string): Error {
  return reason instanceof Error ? reason : toNetError(reason, message);
}

/** A Web Stream over a sink's `send`; it fails when the sink does. */
export function writableOf<T>(
  sink: {
    send(message: T): MaybePromise<boolean>;
    readonly closed: Promise<CloseInfo>;
  },
  close: () => MaybePromise<void>,
  abort: (reason: unknown) => void,
): WritableStream<T> {
  const refuse = (accepted: boolean) => {
    if (!accepted) throw new ClosedError("Cannot write: the sink is closed");
  };
  return new WritableStream<T>({
    start(controller): void {
      sink.closed.then(({ error }) => {
        if (error !== undefined) controller.error(error);
      });
    },
    write(message): Promise<void> | void {
      const accepted = sink.send(message);
      if (accepted instanceof Promise) return accepted.then(refuse);
      refuse(accepted);
    },
    close: () => close(),
    abort,
  });
}

/** What is asked of few connections before they end. */
class Ends<Out, Info> {
  closed: Promise<Info> | undefined;
  settle: ((info: Info) => void) | undefined;
  info: Info | undefined;
  writable: WritableStream<Out> | undefined;
}

/**
 * What every connection is made of: an inbox, an outbox, and one end. The
 * subclass feeds the inbox, empties the outbox and calls `settle` once.
 */
export abstract class BaseDuplex<In, Out, Info extends CloseInfo>
  implements Duplex<In, Out, Info> {
  // Made when they are asked for: many a connection is used by callbacks, and
  // there may be very many of them.
  #inbox: Inbox<In> | undefined;
  #outbox: Outbox<Out> | undefined;
  /** None when `makeInbox` is the subclass's own. */
  readonly #inboxOptions: InboxOptions<In> | undefined;
  #ends: Ends<Out, Info> | undefined;

  /** None of them: the subclass makes both, by `makeInbox`, `makeOutbox`. */
  constructor(inbox?: InboxOptions<In>, outbox?: OutboxOptions<Out>) {
    this.#inboxOptions = inbox === undefined || inbox.onCancel !== undefined
      ? inbox
      : { onCancel: (reason) => this.destroy(reason), ...inbox };
    if (outbox !== undefined) this.#outbox = new Outbox<Out>(outbox);
  }

  protected makeInbox(): Inbox<In> {
    return new Inbox<In>(this.#inboxOptions!);
  }

  protected makeOutbox(): Outbox<Out> {
    throw new Error("Cannot send: nothing takes the messages");
  }

  protected get inbox(): Inbox<In> {
    return this.#inbox ??= this.makeInbox();
  }

  protected get outbox(): Outbox<Out> {
    return this.#outbox ??= this.makeOutbox();
  }

  /** Whether anybody has asked for the outbox. */
  protected get hasOutbox(): boolean {
    return this.#outbox !== undefined;
  }

  /** Whether anybody has asked for the inbox. */
  protected get hasInbox(): boolean {
    return this.#inbox !== undefined;
  }

  get closed(): Promise<Info> {
    const ends = this.#ends ??= new Ends();
    return ends.closed ??= ends.info !== undefined
      ? Promise.resolve(ends.info)
      : new Promise((resolve) => {
        ends.settle = resolve;
      });
  }

  abstract readonly buffered: number;
  abstract close(...args: never[]): Promise<void>;
  abstract destroy(reason?: unknown): void;
  /** What closing the Web Stream does; a half-close where there is one. */
  protected abstract finish(): MaybePromise<void>;

  /** The end: resolves `closed`. Later calls change nothing. */
  protected settle(info: Info): void {
    const ends = this.#ends ??= new Ends();
    if (ends.info !== undefined) return;
    ends.info = info;
    ends.settle?.(info);
  }

  receive(options?: Wait): MaybePromise<In | undefined> {
    return this.inbox.receive(options);
  }

  [back](message: In): void {
    this.inbox.unshift(message);
  }

  batches(): AsyncIterable<readonly In[]> {
    return this.inbox.batches();
  }

  [Symbol.asyncIterator](): AsyncIterator<In> {
    return this.inbox[Symbol.asyncIterator]();
  }

  get readable(): ReadableStream<In> {
    return this.inbox.readable;
  }

  send(message: Out, options?: Wait): MaybePromise<boolean> {
    return this.outbox.send(message, options);
  }

  get writable(): WritableStream<Out> {
    const ends = this.#ends ??= new Ends();
    return ends.writable ??= writableOf<Out>(
      this,
      () => this.finish(),
      (reason) => this.destroy(reason),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
