import { ClosedError } from "./errors.ts";
import { Inbox } from "./_inbox.ts";
import { from } from "./from.ts";
import { Channel } from "./channel.ts";
import type { MaybePromise, Operator, Source, Wait } from "./types.ts";

/**
 * One step of a chain, while it runs. `push` takes a message and pushes what
 * comes of it into the next step; a promise says that it is not done, and that
 * nothing may be pushed before it is. `true` says that no more is wanted: this
 * step has flushed those after it. `flush` ends this step, then the next.
 */
export interface Step<In> {
  push(message: In): MaybePromise<boolean | void>;
  flush(): MaybePromise<void>;
}

/** Makes a step, given the one after it. */
export type MakeStep<In, Out> = (next: Step<Out>) => Step<In>;

/** What a source may have besides. */
export interface Ending {
  send?: unknown;
  destroy?(reason?: unknown): void;
}

/** Messages that wait in a chain, past which its steps wait, too. */
const HIGH = 1024;

/**
 * No more is wanted of a source: it ends. A duplex does not, for one may still
 * want to send; it is closed by whoever opened it.
 */
export function leave(source: Source<unknown> & Ending): void {
  if (source.send !== undefined && !(source instanceof Channel)) return;
  source.destroy?.(new ClosedError("Nobody receives any more"));
}

/** A source with steps after it; nothing runs before it is received from. */
export class Derived<In, Out> implements Source<Out>, AsyncDisposable {
  readonly #source: Source<In> & Ending;
  readonly #make: MakeStep<In, Out>;
  readonly #inbox: Inbox<Out>;
  #step: Step<In> | undefined;
  #batches: AsyncIterator<readonly In[]> | undefined;
  /** A message is under way: from the source, or in a step that waits. */
  #busy = false;
  #onRoom: ((ended: boolean) => void) | undefined;
  /** The source has ended, or no step wants more of it. */
  #over = false;

  constructor(source: Source<In>, make: MakeStep<In, Out>) {
    this.#source = source;
    this.#make = make;
    this.#inbox = new Inbox<Out>({
      high: HIGH,
      low: HIGH / 2,
      onRoom: () => this.#tellRoom(),
      onWait: () => this.#pull(),
      onCancel: (reason) => this.destroy(reason),
    });
  }

  /** With one more step: as long as nothing runs it joins the others. */
  static extend<A, B>(source: Source<A>, make: MakeStep<A, B>): Source<B> {
    if (!(source instanceof Derived) || source.#step !== undefined) {
      return new Derived(source, make);
    }
    const first = source.#make as MakeStep<unknown, A>;
    return new Derived<unknown, B>(
      source.#source,
      (next) => first(make(next)),
    );
  }

  receive(options?: Wait): MaybePromise<Out | undefined> {
    return this.#inbox.receive(options);
  }

  /** Batches all along the chain: one promise a batch of the source. */
  batches(): AsyncIterable<readonly Out[]> {
    const batches = this.#inbox.batches();
    return {
      [Symbol.asyncIterator]: () => {
        this.#batches ??= this.#source.batches()[Symbol.asyncIterator]();
        return batches[Symbol.asyncIterator]();
      },
    };
  }

  [Symbol.asyncIterator](): AsyncIterator<Out> {
    return this.#inbox[Symbol.asyncIterator]();
  }

  get readable(): ReadableStream<Out> {
    return this.#inbox.readable;
  }

  destroy(reason?: unknown): void {
    const error = reason ?? new ClosedError("Source was destroyed");
    this.#inbox.destroy(error);
    this.#tellRoom();
    if (this.#over) return;
    this.#over = true;
    this.#source.destroy?.(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  #start(): Step<In> {
    return this.#step ??= this.#make({
      push: (message) => {
        if (message === undefined) throw noMessage();
        if (this.#inbox.push(message)) return false;
        return this.#inbox.ended || this.#room();
      },
      flush: () => this.#inbox.end(),
    });
  }

  /** One message may make many: then a step waits until they are received. */
  #room(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#onRoom = resolve;
    });
  }

  #tellRoom(): void {
    this.#onRoom?.(this.#inbox.ended);
    this.#onRoom = undefined;
  }

  /** Runs the source until a message has come out, or there is a wait. */
  #pull(): void {
    while (!this.#busy && !this.#over && this.#inbox.length === 0) {
      try {
        if (this.#batches !== undefined) {
          this.#wait(this.#takeBatch(this.#batches));
          return;
        }
        const message = this.#source.receive();
        if (message instanceof Promise) {
          this.#wait(message.then((message) => this.#take(message)));
          return;
        }
        const taken = this.#take(message);
        if (taken !== undefined) this.#wait(taken);
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  #wait(taken: Promise<void>): void {
    this.#busy = true;
    taken.then(() => {
      this.#busy = false;
      if (this.#inbox.awaited) this.#pull();
    }, (error) => {
      this.#busy = false;
      this.#fail(error);
    });
  }

  async #takeBatch(batches: AsyncIterator<readonly In[]>): Promise<void> {
    const { value, done } = await batches.next();
    if (done) return this.#take(undefined);
    for (const message of value) {
      const taken = this.#take(message);
      if (taken !== undefined) await taken;
      if (this.#over) return;
    }
  }

  #take(message: In | undefined): Promise<void> | undefined {
    if (this.#over) return undefined;
    const step = this.#step ?? this.#start();
    if (message === undefined) {
      this.#over = true;
      return step.flush() ?? undefined;
    }
    const pushed = step.push(message);
    if (pushed instanceof Promise) {
      return pushed.then((enough) => {
        if (enough) this.#leave();
      });
    }
    if (pushed) this.#leave();
    return undefined;
  }

  /** No step wants more. */
  #leave(): void {
    if (this.#over) return;
    this.#over = true;
    leave(this.#source);
  }

  #fail(error: unknown): void {
    const reason = error ?? new ClosedError("The source failed");
    this.#inbox.end(reason);
    if (this.#over) return;
    this.#over = true;
    this.#source.destroy?.(reason);
  }
}

function noMessage(): TypeError {
  return new TypeError(
    "Cannot give undefined on: it is the end, not a message",
  );
}

function transformOf<In, Out>(
  make: MakeStep<In, Out>,
): TransformStream<In, Out> {
  let step: Step<In>;
  return new TransformStream<In, Out>({
    start(controller): void {
      step = make({
        push(message): void {
          if (message === undefined) throw noMessage();
          controller.enqueue(message);
        },
        flush(): void {},
      });
    },
    transform(message, controller): Promise<void> | void {
      const pushed = step.push(message);
      if (pushed instanceof Promise) {
        return pushed.then((enough) => {
          if (enough) controller.terminate();
        });
      }
      if (pushed) controller.terminate();
    },
    flush: () => step.flush(),
  });
}

/** After the last message that a step wants: ends what follows it. */
export function endAfter<T>(
  next: Step<T>,
  pushed: MaybePromise<boolean | void>,
): MaybePromise<true> {
  if (pushed instanceof Promise) {
    return pushed.then((enough) => endAfter(next, enough));
  }
  const flushed = pushed ? undefined : next.flush();
  return flushed instanceof Promise ? flushed.then(() => true) : true;
}

const steps = new WeakMap<object, MakeStep<never, unknown>>();

/** An operator out of what makes its step; every use has a step of its own. */
export function operator<In, Out>(
  make: MakeStep<In, Out>,
): Operator<In, Out> {
  const apply = (source: Source<In>) => Derived.extend(from(source), make);
  const made = Object.assign(apply, { transform: () => transformOf(make) });
  steps.set(made, make as MakeStep<never, unknown>);
  return made;
}

/** An operator of ours, and a step after it, as one. */
export function compose<A, B, C>(
  first: Operator<A, B>,
  second: MakeStep<B, C>,
): Operator<A, C> {
  const make = steps.get(first) as unknown as MakeStep<A, B>;
  return operator((next) => make(second(next)));
}

/** An operator that is no chain of steps, but a source over another. */
export function sourceOperator<In, Out>(
  apply: (source: Source<In>) => Source<Out>,
): Operator<In, Out> {
  const applied = (source: Source<In>) => apply(from(source));
  return Object.assign(applied, {
    transform: () => transformThrough(apply),
  });
}

/**
 * For a step that may make endlessly many of one message: what a
 * `TransformStream` enqueues it must hold, for nothing tells it when its
 * reader wants more. Here the reader pulls, and the step waits for it.
 */
export function pulledTransform<In, Out>(
  apply: (source: Source<In>) => Source<Out>,
): TransformStream<In, Out> {
  const channel = new Channel<In>({ capacity: 1 });
  const { readable } = apply(channel);
  return Object.defineProperties(new TransformStream<In, Out>(), {
    readable: { value: readable },
    writable: { value: channel.writable },
  });
}

function transformThrough<In, Out>(
  apply: (source: Source<In>) => Source<Out>,
): TransformStream<In, Out> {
  const channel = new Channel<In>({ capacity: 1 });
  let given: Promise<void>;
  return new TransformStream<In, Out>({
    start(controller): void {
      given = (async () => {
        for await (const message of apply(channel)) controller.enqueue(message);
        controller.terminate();
      })();
      given.catch((error) => controller.error(error));
    },
    async transform(message): Promise<void> {
      await channel.send(message);
    },
    flush(): Promise<void> {
      channel.close();
      return given;
    },
  });
}
