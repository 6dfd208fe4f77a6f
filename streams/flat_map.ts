import { isThenable } from "./_checks.ts";
import { operator, pulledTransform } from "./_operator.ts";
import type { Step } from "./_operator.ts";
import type { MaybePromise, Operator } from "./types.ts";

class FlatMapStep<In, Out> implements Step<In> {
  readonly #next: Step<Out>;
  readonly #fn: (message: In) => MaybePromise<Some<Out>>;

  constructor(next: Step<Out>, fn: (message: In) => MaybePromise<Some<Out>>) {
    this.#next = next;
    this.#fn = fn;
  }

  push(message: In): MaybePromise<boolean> {
    const some = this.#fn(message);
    return isThenable(some)
      ? Promise.resolve(some).then((some) => this.#pushSome(some))
      : this.#pushSome(some);
  }

  flush(): MaybePromise<void> {
    return this.#next.flush();
  }

  #pushSome(some: Some<Out>): MaybePromise<boolean> {
    if (!(Symbol.iterator in some)) return this.#pushAsync(some);
    const iterator = some[Symbol.iterator]();
    for (let it = iterator.next(); !it.done; it = iterator.next()) {
      const pushed = this.#next.push(it.value);
      if (pushed instanceof Promise) return this.#pushRest(pushed, iterator);
      if (pushed) return this.#stop(iterator);
    }
    return false;
  }

  async #pushRest(
    pushed: Promise<boolean | void>,
    iterator: Iterator<Out>,
  ): Promise<boolean> {
    if (await pushed) return this.#stop(iterator);
    for (let it = iterator.next(); !it.done; it = iterator.next()) {
      const pushed = this.#next.push(it.value);
      const enough = pushed instanceof Promise ? await pushed : pushed;
      if (enough) return this.#stop(iterator);
    }
    return false;
  }

  async #pushAsync(some: AsyncIterable<Out>): Promise<boolean> {
    for await (const message of some) {
      if (await this.#next.push(message)) return true;
    }
    return false;
  }

  #stop(iterator: Iterator<Out>): true {
    iterator.return?.();
    return true;
  }
}

type Some<T> = Iterable<T> | AsyncIterable<T>;

/**
 * What is in the list, the iterable or the source that a function makes of
 * each message, one after the other.
 *
 * @example
 * ```ts
 * import { flatMap, from } from "@sluice/net/streams";
 *
 * const words = flatMap((line: string) => line.split(" "));
 * for await (const word of words(from(["a b", "c"]))) console.log(word);
 * ```
 */
export function flatMap<In, Out>(
  fn: (message: In) => MaybePromise<Iterable<Out> | AsyncIterable<Out>>,
): Operator<In, Out> {
  const made = operator<In, Out>((next) => new FlatMapStep(next, fn));
  made.transform = () => pulledTransform(made);
  return made;
}
