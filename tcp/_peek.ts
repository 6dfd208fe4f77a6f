import type { MaybePromise } from "../streams/types.ts";
import { HelloReader } from "./_client_hello.ts";
import type { Transport } from "./_transport.ts";

/** What a client asked for, and all that it has sent so far. */
export interface Peeked<T> {
  readonly head: readonly Uint8Array[];
  readonly result: T | undefined;
}

export interface PeekPlan<T> {
  choose(name: string): MaybePromise<T | undefined>;
  /** The error for a transport that ends before. */
  cut(): Error;
  /** What was read already. */
  before?: readonly Uint8Array[];
}

/**
 * Reads the name that a TLS client asks for off a transport, and has `choose`
 * think about it, with the transport paused; then somebody else must attach
 * to it at once. Rejects with what `choose` threw; with what `cut` makes when
 * the transport ends before.
 */
export function peekName<T>(
  below: Transport,
  { choose, cut, before = [] }: PeekPlan<T>,
): Promise<Peeked<T>> {
  const reader = new HelloReader();
  const head: Uint8Array[] = [];
  let asked = false;
  return new Promise((resolve, reject) => {
    const ask = async () => {
      asked = true;
      below.pause();
      const { name } = reader;
      try {
        resolve({
          head,
          result: name === undefined ? undefined : await choose(name),
        });
      } catch (error) {
        reject(error);
      }
    };
    const take = (chunk: Uint8Array) => {
      head.push(chunk);
      if (!asked && reader.push(chunk)) ask();
    };
    for (const chunk of before) take(chunk);
    below.attach({
      data: take,
      end: () => reject(cut()),
      drain() {},
      close: () => reject(cut()),
    });
  });
}
