/** What went wrong between us and a proxy, without who and where. */
export class Refusal extends Error {
  readonly code: string;
  readonly retryable: boolean;
  /** Whether the proxy understood, and the target was what failed. */
  readonly target: boolean;

  constructor(
    message: string,
    code: string,
    options: { retryable?: boolean; target?: boolean } = {},
  ) {
    super(message);
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.target = options.target ?? false;
  }
}

/** An answer that is none by the rules of its protocol. */
export function malformed(why: string): Refusal {
  return new Refusal(`its answer is malformed: ${why}`, "ERR_PROTOCOL");
}

/** The talk with a proxy until there is a tunnel, without any I/O. */
export interface Dialogue {
  /** What is to be said first. */
  start(): Uint8Array;
  /**
   * Takes all that has come and was not taken yet. `undefined`: it wants
   * more. Else how much of it was taken, what is to be said then, and whether
   * the tunnel stands: the rest of the bytes come through it. Throws a
   * `Refusal`.
   */
  feed(bytes: Uint8Array): Step | undefined;
}

/** What a dialogue made of some bytes. */
export interface Step {
  readonly taken: number;
  readonly say?: Uint8Array;
  readonly done?: boolean;
}
