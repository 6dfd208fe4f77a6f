import {
  ClosedError,
  NetError,
  SizeLimitError,
  TimeoutError,
} from "../streams/errors.ts";
import { goesAgain, isFarewell } from "./_client_again.ts";
import { IncomingContent } from "./_client_content.ts";
import type { ContentOwner } from "./_client_content.ts";
import { CallRecord } from "./_client_answer.ts";
import type {
  CallQueue,
  Carrier,
  CarrierSource,
  Plan,
} from "./_client_carrier.ts";
import { keepCookies } from "./_client_jar.ts";
import { codingsOf, decode } from "./_client_decode.ts";
import type { Settled } from "./_client_options.ts";
import { asResponse, headersOf, LightResponse } from "./_client_response.ts";
import type { ClientResponse } from "./_client_response.ts";
import type { Deadline } from "./_client_timers.ts";
import type { Fields, ResponseHead } from "./_h1_types.ts";
import { FetchError, StatusError } from "./errors.ts";

/** Bytes of a body nobody wants that are read to keep the connection. */
const DRAIN_LIMIT = 64 * 1024;
/** And how long for. */
const DRAIN_TIME = 1000;

/** Makes the plan that follows a redirect; throws when it cannot. */
export type Follow = (
  call: Call,
  head: ResponseHead,
  location: string,
) => Plan;

/** What a call is made with. */
export interface CallInit {
  source: CarrierSource;
  plan: Plan;
  settled: Settled;
  signal: AbortSignal | undefined;
  follow: Follow;
  /** The `Request` the caller gave, if it was one. */
  given: Request | undefined;
  promise: Settle;
  /** Called when nothing is left of it. */
  onOver: (() => void) | undefined;
}

/** Settles the promise of a fetch. */
export interface Settle {
  resolve(response: ClientResponse): void;
  reject(error: unknown): void;
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

const registry = new FinalizationRegistry<Call>((call) => call.forget());

/**
 * One fetch, from the call to the end of the response's body: it waits in
 * the pool, goes over a connection (over another one when that was dead),
 * follows redirects and keeps the time.
 */
export class Call extends CallRecord implements ContentOwner {
  readonly settled: Settled;
  // Links of the queue in which it waits.
  previous: Call | undefined;
  next: Call | undefined;
  waiting: CallQueue | undefined;
  /** When its turn is, compared to others that wait. */
  turn = 0;
  /** Whether a byte of an answer has come. */
  answered = false;
  /** Whether the head of the answer has come. */
  headed = false;
  /** Whether its body has been opened: a stream is then not to be had again. */
  begun = false;

  readonly #source: CarrierSource;
  readonly #signal: AbortSignal | undefined;
  readonly #follow: Follow;
  #promise: Settle | undefined;
  #connection: Carrier | undefined;
  #content: IncomingContent | undefined;
  #response: LightResponse | undefined;
  /** Events have no end to be waited for. */
  #endless = false;
  #discarding = false;
  #paused = false;
  /** What is left to do once a redirect's body is gone. */
  #afterwards: (() => void) | undefined;
  #received = 0;
  #length: number | undefined;
  #onAbort: (() => void) | undefined;
  readonly #onOver: (() => void) | undefined;
  #phaseTimer: Deadline | undefined;
  #total: Deadline | undefined;

  constructor(init: CallInit) {
    super(init.plan, init.given);
    this.#signal = init.signal;
    this.#follow = init.follow;
    this.#promise = init.promise;
    this.#onOver = init.onOver;
    this.#source = init.source;
    this.settled = init.settled;
  }

  /** Sets out. */
  begin(): void {
    const signal = this.#signal;
    const { total } = this.settled.timeouts;
    if (signal !== undefined) {
      if (signal.aborted) {
        this.#abort(signal.reason);
        return;
      }
      this.#onAbort = () => this.#abort(signal.reason);
      signal.addEventListener("abort", this.#onAbort);
    }
    if (total !== undefined) {
      this.#total = this.#source.deadlines.set(total, () => {
        this.#expire("total", total);
      });
    }
    this.#acquire(false);
  }

  #acquire(fresh: boolean): void {
    this.answered = false;
    this.headed = false;
    this.wary = fresh;
    this.beginUpload();
    this.#source.acquire(this, fresh);
  }

  // Told by the pool.

  /** It waits for a place. */
  queued(): void {
    const { pool } = this.settled.timeouts;
    if (pool !== undefined) this.#limit("pool", pool);
  }

  /** A connection is being made for it. */
  dialing(): void {
    this.#disarm();
  }

  /** It has a connection. */
  run(connection: Carrier): void {
    this.#disarm();
    this.#connection = connection;
    this.connected = performance.now();
    connection.start(this);
    this.reused = connection.reused;
    this.marks = this.reused ? undefined : connection.marks;
  }

  /** There will be no connection. */
  refuse(error: unknown): void {
    this.#settle(
      error instanceof NetError ? this.#wrap(error) : error,
      false,
    );
  }

  // Told by the connection.

  /** The request is with the transport, its body too. */
  onSent(): void {
    this.sentAt ??= performance.now();
    const { response } = this.settled.timeouts;
    if (this.over || this.headed) return;
    this.#disarm();
    if (response !== undefined) this.#limit("response", response);
  }

  /** The peer takes nothing for now. */
  onStalled(): void {
    this.#touch();
  }

  /** It goes on. */
  onProgress(): void {
    if (!this.headed) this.#disarm();
  }

  /** Something that is not yet the answer. */
  onInform({ status, fields }: ResponseHead): void {
    const { onInform } = this.settled;
    if (onInform === undefined) return;
    try {
      onInform(status, headersOf(fields));
    } catch (error) {
      this.#abort(error);
    }
  }

  onHead(head: ResponseHead): void {
    this.headed = true;
    this.headAt = performance.now();
    this.#disarm();
    const { fields, status, framing } = head;
    const { cookies } = this.settled;
    if (cookies !== undefined) {
      try {
        keepCookies(fields, cookies, this.plan.target.href);
      } catch (error) {
        // A hook of the jar's failed.
        this.#abort(error);
        return;
      }
    }
    let coding: string | undefined;
    let location: string | undefined;
    for (let i = 0; i < fields.length; i += 2) {
      switch (fields[i]) {
        case "content-encoding":
          coding = coding === undefined
            ? fields[i + 1]
            : `${coding}, ${fields[i + 1]}`;
          break;
        case "content-type":
          this.#endless = fields[i + 1].startsWith("text/event-stream");
          break;
        case "location":
          location ??= fields[i + 1];
          break;
        case "keep-alive":
          this.#connection?.keep(fields[i + 1]);
      }
    }
    this.#length = framing.kind === "length" ? framing.length : undefined;
    if (
      location !== undefined && this.settled.redirect !== "manual" &&
      REDIRECTS.has(status)
    ) {
      this.#redirect(head, location);
      return;
    }
    if (status === 417 && this.plan.expect !== undefined && this.#sendable) {
      // RFC 9110, 15.5.18: it may well do without the question.
      const plan = { ...this.plan, expect: undefined };
      this.#leave(head, () => this.#goOn(plan));
      return;
    }
    if (
      status === 408 && this.#sendable &&
      isFarewell(head, this.attempt(this.#connection))
    ) {
      this.#leave(head, () => this.#again());
      return;
    }
    // A 205 has none, whatever comes with it (Fetch, 2.2.3).
    const bodiless = framing.kind === "none" || status === 205;
    const content = bodiless ? undefined : new IncomingContent(this);
    this.#content = content;
    const codings = content === undefined || coding === undefined ||
        !this.settled.decompress
      ? undefined
      : codingsOf(coding);
    const response = new LightResponse(
      {
        status,
        statusText: head.reason,
        fields,
        httpVersion: head.version === "h2"
          ? "2.0"
          : head.minor === 0
          ? "1.0"
          : "1.1",
        answer: this,
      },
      content,
      content !== undefined && codings !== undefined
        ? decode(
          content,
          codings,
          this.settled.maxResponseSize,
          (error) => this.#wrap(error),
        )
        : undefined,
    );
    this.#response = response;
    const { resolve, reject } = this.#promise!;
    // From now on its promise must not hold on to the response.
    this.#promise = undefined;
    if (this.settled.throwOnStatus && (status < 200 || status > 299)) {
      reject(
        new StatusError(
          `Cannot use the answer to ${this.what}: its status is ${status}`,
          asResponse(response),
        ),
      );
    } else {
      resolve(asResponse(response));
    }
    if (status === 205 && framing.kind !== "none") {
      this.cancelContent(undefined);
    } else this.#touch();
  }

  onData(chunk: Uint8Array): void {
    this.#received += chunk.byteLength;
    if (this.#discarding) {
      if (this.#received > DRAIN_LIMIT) this.#giveUpBody();
      return;
    }
    const { maxResponseSize, onDownloadProgress } = this.settled;
    if (this.#received > maxResponseSize) {
      this.#connection?.fail(
        new SizeLimitError(
          `Cannot read the body: more than ${maxResponseSize} bytes`,
          { limit: maxResponseSize, phase: "body" },
        ),
      );
      return;
    }
    this.#touch();
    this.#content?.push(chunk);
    if (onDownloadProgress !== undefined) {
      this.tell(onDownloadProgress, this.#received, this.#length);
    }
  }

  /** All that came in one piece is read. */
  onFed(): void {
    const response = this.#response;
    if (response === undefined) return;
    // The body goes on: if the response is forgotten, it has to end, too.
    this.#response = undefined;
    registry.register(response, this, this);
  }

  onEnd(trailers: Fields | undefined): void {
    // All of it was there: who is slow to read it holds nobody up.
    if (this.#paused) this.#connection?.resume();
    this.#paused = false;
    this.#connection = undefined;
    this.#response = undefined;
    this.lastFields = trailers;
    this.endAt = performance.now();
    this.#disarm();
    const afterwards = this.#afterwards;
    if (afterwards !== undefined) {
      this.#afterwards = undefined;
      // The connection is free once this event is over.
      queueMicrotask(afterwards);
      return;
    }
    this.#finish();
    this.#content?.end();
  }

  /** It broke for another reason than the network's. */
  onBreak(error: unknown): void {
    this.#connection = undefined;
    this.#afterwards = undefined;
    this.#settle(error, false);
  }

  onFail(error: NetError): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#disarm();
    if (this.over) return;
    const afterwards = this.#afterwards;
    if (afterwards !== undefined) {
      this.#afterwards = undefined;
      afterwards();
      return;
    }
    const attempt = this.attempt(connection);
    if (!this.answered && this.#sendable && goesAgain(error, attempt)) {
      this.#again();
    } else this.#settle(this.#wrap(error), false);
  }

  /** On another connection. */
  #again(): void {
    this.times++;
    this.#discarding = false;
    this.#received = 0;
    this.#acquire(true);
  }

  /** Whether the body, if there is one, can be sent now. */
  get #sendable(): boolean {
    return this.plan.body?.replayable !== false || !this.begun;
  }

  /** A stream that nobody has read yet is not going to be. */
  #dropBody(reason?: unknown): void {
    const { body } = this.plan;
    if (body === undefined || body.replayable || this.begun) return;
    this.begun = true;
    try {
      body.open().cancel(reason ?? new ClosedError("The request is over"));
    } catch {
      // Somebody else has it.
    }
  }

  // Told by the body's reader.

  pauseContent(): void {
    this.#paused = true;
    this.#disarm();
    this.#connection?.pause();
  }

  resumeContent(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#connection?.resume();
    this.#touch();
  }

  cancelContent(reason: unknown): void {
    const connection = this.#connection;
    if (this.over || connection === undefined) return;
    this.#discard();
    if (connection.shared || this.#endless || !this.#drainable) {
      connection.destroy(reason);
    } else this.#drain();
    this.#finish();
  }

  /** Nobody holds the response any more. */
  forget(): void {
    if (this.#content?.held || this.#content?.ended) return;
    this.#content?.cancel(undefined);
  }

  // Redirects.

  #redirect(head: ResponseHead, location: string): void {
    let follow: () => void;
    try {
      const plan = this.#follow(this, head, location);
      follow = () => {
        this.redirects.push(this.plan.target.href);
        if (plan.body === undefined) this.#dropBody();
        this.#goOn(plan);
      };
    } catch (error) {
      follow = () =>
        this.#settle(
          error instanceof NetError ? this.#wrap(error) : error,
          false,
        );
    }
    this.#leave(head, follow);
  }

  /** Lets this answer be, and does something else. */
  #leave(head: ResponseHead, afterwards: () => void): void {
    this.#afterwards = () => {
      if (!this.over) afterwards();
    };
    this.#discard();
    if (this.#drainable && head.keepAlive && !this.#connection?.shared) {
      this.#drain();
    } else this.#giveUpBody();
  }

  #goOn(plan: Plan): void {
    this.plan = plan;
    this.times = 0;
    this.#discarding = false;
    this.#received = 0;
    this.#acquire(false);
  }

  get #drainable(): boolean {
    return this.#length === undefined ||
      this.#length - this.#received <= DRAIN_LIMIT;
  }

  /** What still comes is for nobody. */
  #discard(): void {
    this.#discarding = true;
    this.#received = 0;
    this.#response = undefined;
    registry.unregister(this);
    if (this.#paused) this.resumeContent();
  }

  #drain(): void {
    const connection = this.#connection;
    this.#disarm();
    this.#phaseTimer = this.#source.deadlines.set(DRAIN_TIME, () => {
      if (this.#connection === connection) this.#giveUpBody();
    });
  }

  #giveUpBody(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#disarm();
    this.#connection = undefined;
    connection.destroy();
    const afterwards = this.#afterwards;
    this.#afterwards = undefined;
    afterwards?.();
  }

  // Time.

  #limit(phase: string, ms: number): void {
    this.#phaseTimer = this.#source.deadlines.set(
      ms,
      () => this.#expire(phase, ms),
    );
  }

  /** The time between two pieces begins anew. */
  #touch(): void {
    const { idle } = this.settled.timeouts;
    if (idle === undefined || this.#paused || this.over) return;
    this.#disarm();
    this.#limit("idle", idle);
  }

  #disarm(): void {
    this.#phaseTimer?.cancel();
    this.#phaseTimer = undefined;
  }

  #expire(phase: string, ms: number): void {
    const error = new TimeoutError(
      phase === "total"
        ? `It took more than ${ms} ms`
        : `Nothing came of it within ${ms} ms (${phase})`,
      { phase },
    );
    this.#stop(error);
    this.#dropBody(error);
    this.#settle(this.#wrap(error), true);
  }

  // Ends.

  protected override breakOff(reason: unknown): void {
    this.#abort(reason);
  }

  #abort(reason: unknown): void {
    this.#stop(reason);
    this.#dropBody(reason);
    this.#settle(reason, true);
  }

  /** Leaves the queue, or ends the connection. */
  #stop(reason: unknown): void {
    this.#afterwards = undefined;
    this.waiting?.withdraw(this);
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.destroy(reason);
  }

  /** It failed: for who waits for the response, or who reads its body. */
  #settle(error: unknown, now: boolean): void {
    if (this.over) return;
    this.failure = error;
    this.#finish();
    // Nothing when the response is there already.
    this.#promise?.reject(error);
    this.#promise = undefined;
    this.#content?.fail(error, now);
  }

  #finish(): void {
    if (this.over) return;
    this.over = true;
    if (this.headed) this.#dropBody();
    if (!this.#discarding) this.#disarm();
    this.#total?.cancel();
    if (this.#onAbort !== undefined) {
      this.#signal!.removeEventListener("abort", this.#onAbort);
    }
    this.tellEnd();
    this.#onOver?.();
  }

  #wrap(error: NetError): FetchError {
    return new FetchError(
      `Cannot fetch ${this.what}: ${error.message}`,
      error,
      error.phase ?? (this.headed ? "body" : "response"),
    );
  }
}
