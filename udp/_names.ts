import { DnsError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import type { IP } from "./_address.ts";
import type { UdpRuntime } from "./_runtime.ts";

/** How long (ms) an answer is used: not one lookup a datagram. */
const LIFE = 5000;
/** Names remembered. */
const MAX_NAMES = 256;

interface Answer {
  address: MaybePromise<string>;
  until: number;
}

/** An address of either family; IPv4 unless there is only IPv6. */
export async function lookupAny(
  runtime: UdpRuntime,
  name: string,
): Promise<IP> {
  try {
    return { family: 4, address: await runtime.lookup(name, 4) };
  } catch (error) {
    try {
      return { family: 6, address: await runtime.lookup(name, 6) };
    } catch {
      throw error instanceof DnsError
        ? new DnsError(`Cannot look up an address: ${name}`, {
          code: error.code,
          retryable: error.retryable,
          cause: error.cause,
        })
        : error;
    }
  }
}

/** Looks names up for one socket, each one at a time. */
export class Names {
  readonly #runtime: UdpRuntime;
  readonly #family: 4 | 6;
  readonly #answers = new Map<string, Answer>();

  constructor(runtime: UdpRuntime, family: 4 | 6) {
    this.#runtime = runtime;
    this.#family = family;
  }

  /** An address: IPv4 for an IPv4 socket, IPv6 for others where there is one. */
  lookup(name: string): MaybePromise<string> {
    const known = this.#answers.get(name);
    if (
      known !== undefined &&
      (known.address instanceof Promise || performance.now() < known.until)
    ) {
      return known.address;
    }
    if (this.#answers.size >= MAX_NAMES) this.#answers.clear();
    const answer: Answer = { address: this.#ask(name), until: 0 };
    this.#answers.set(name, answer);
    (answer.address as Promise<string>).then((address) => {
      answer.address = address;
      answer.until = performance.now() + LIFE;
    }, () => {
      if (this.#answers.get(name) === answer) this.#answers.delete(name);
    });
    return answer.address;
  }

  async #ask(name: string): Promise<string> {
    if (this.#family === 4) return await this.#runtime.lookup(name, 4);
    try {
      return await this.#runtime.lookup(name, 6);
    } catch {
      return await this.#runtime.lookup(name, 4);
    }
  }
}
