import type { DialMarks } from "../tcp/_dial.ts";
import type { Attempt } from "./_client_again.ts";
import type { Carrier, Plan } from "./_client_carrier.ts";
import type { Settled } from "./_client_options.ts";
import type { ClientProgress } from "./_client_types.ts";
import type { Answer, ClientTimings } from "./_client_response.ts";
import type { Fields } from "./_h1_types.ts";

/** What a call writes down for its response to tell. */
export abstract class CallRecord implements Answer {
  abstract readonly settled: Settled;
  plan: Plan;
  readonly redirects: string[] = [];
  /** Nothing more happens to it. */
  protected over = false;
  protected failure: unknown;
  protected connected = 0;
  protected headAt = 0;
  protected endAt: number | undefined;
  protected reused = false;
  /** It wants a connection that nobody has used: one that was failed it. */
  wary = false;
  /** How often it was sent again. */
  protected times = 0;
  /** How a connection of its own was reached. */
  protected marks: DialMarks | undefined;
  protected sentAt: number | undefined;
  protected lastFields: Fields | undefined;
  readonly #start = performance.now();
  /** The `Request` the caller gave, if it was one. */
  readonly #given: Request | undefined;
  #ends: (() => void)[] | undefined;
  #uploaded = 0;

  constructor(plan: Plan, given: Request | undefined) {
    this.plan = plan;
    this.#given = given;
  }

  /** What it came to on a connection. */
  protected attempt(connection: Carrier | undefined): Attempt {
    const { method } = this.plan;
    return { method, reused: connection?.reused, times: this.times };
  }

  get href(): string {
    return this.plan.target.href;
  }

  /** Method and URL for messages; a query may hold secrets. */
  protected get what(): string {
    const { href } = this.plan.target;
    const query = href.indexOf("?");
    return `${this.plan.method} ${query === -1 ? href : href.slice(0, query)}`;
  }

  get timings(): ClientTimings {
    const { start, lookup, connect, tls } = this.marks ??
      {} as Partial<DialMarks>;
    return {
      start: this.#start,
      dial: start,
      lookup,
      connect,
      tls,
      connected: this.connected,
      reused: this.reused,
      sent: this.sentAt,
      response: this.headAt,
      end: this.endAt,
    };
  }

  /** It is given up, for a reason of the caller's. */
  protected abstract breakOff(reason: unknown): void;

  /** Its body goes anew. */
  protected beginUpload(): void {
    this.#uploaded = 0;
  }

  /** So many bytes more of its body are with the transport. */
  onUploaded(bytes: number, total: number | undefined): void {
    const { onUploadProgress } = this.settled;
    if (onUploadProgress === undefined) return;
    this.#uploaded += bytes;
    this.tell(onUploadProgress, this.#uploaded, total);
  }

  /** Tells of progress; what that throws is what the request fails with. */
  protected tell(
    callback: (progress: ClientProgress) => void,
    loaded: number,
    total: number | undefined,
  ): void {
    if (this.over) return;
    try {
      callback(total === undefined ? { loaded } : { loaded, total });
    } catch (error) {
      this.breakOff(error);
    }
  }

  makeRequest(): Request {
    const given = this.#given;
    if (given !== undefined && this.redirects.length === 0) return given;
    const { method, target, fields } = this.plan;
    const headers = new Headers();
    for (let i = 0; i < fields.length; i += 2) {
      headers.append(fields[i], fields[i + 1]);
    }
    return new Request(target.href, { method, headers });
  }

  async trailers(): Promise<Fields | undefined> {
    if (!this.over) {
      await new Promise<void>((resolve) => {
        (this.#ends ??= []).push(resolve);
      });
    }
    if (this.failure !== undefined) throw this.failure;
    return this.lastFields;
  }

  /** Whoever waits for the trailers may go on. */
  protected tellEnd(): void {
    const ends = this.#ends;
    this.#ends = undefined;
    if (ends !== undefined) { for (const end of ends) end(); }
  }
}
