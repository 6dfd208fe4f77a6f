// Rows of a table: what a peer of HTTP/2 sends, and what must become of it.

import { test } from "node:test";
import type { ServerContext } from "../http/types.ts";
import {
  codeName,
  END_STREAM,
  fieldsFor,
  GOAWAY,
  h2Peer,
  headers,
  PING,
  ping,
  RST_STREAM,
  WINDOW_UPDATE,
  withH2,
} from "./_h2_raw.ts";
import type { H2Frame, H2Peer, H2PeerOptions, Raw } from "./_h2_raw.ts";
import { unLatin1 } from "./_h1.ts";

/** What must become of a row. */
export type Want =
  /** A whole response on a stream (1 unless said otherwise). */
  | { answer: number | "any"; on?: number; body?: string }
  /** A stream error; the connection goes on. */
  | { reset: number; on: number }
  /** A connection error, and the end of the connection. */
  | { goaway: number }
  /** The end of the connection, with or without a word. */
  | { closed: true }
  /** Nothing: the connection goes on, and no stream is reset. */
  | { open: true }
  | { any: readonly Want[] };

/** Bytes to send, or something to wait for. */
export type Step = Raw | ((peer: H2Peer) => Promise<unknown>);

/** Name, with the section of RFC 9113; what is sent; what must become of it. */
export type Row = readonly [
  name: string,
  steps: readonly Step[],
  want: Want,
  options?: H2PeerOptions,
];

/** Waits for the whole response on a stream. */
export function answered(stream: number): Step {
  return (peer) => peer.response(stream);
}

/** Waits until all that was sent before is read. */
export const read: Step = (peer) => peer.pinged();

/** The server that rows are sent to. */
export async function rowHandler(
  request: Request,
  context: ServerContext,
): Promise<Response> {
  const path = URL.canParse(request.url) ? new URL(request.url).pathname : "";
  switch (path) {
    case "/echo":
      return new Response(await request.text());
    case "/trailers":
      await request.arrayBuffer();
      return Response.json([...await context.trailers]);
    case "/fields":
      return Response.json([...request.headers]);
    case "/empty":
      return new Response(null, { status: 204 });
    case "/large":
      return new Response("x".repeat(200_000));
    case "/wait":
      // Until the client gives up.
      await new Promise<void>((resolve) => {
        if (request.signal.aborted) resolve();
        request.signal.addEventListener("abort", () => resolve());
      });
      return new Response("too late");
    default:
      return new Response("ok");
  }
}

const MARK = "row-over";

/** What has come so far. */
class Outcome {
  readonly resets = new Map<number, number>();
  readonly answers = new Map<
    number,
    { status: number; body: string; ended: boolean }
  >();
  goaway: number | undefined;
  /** Everything that was sent has been read. */
  marked = false;
  closed = false;

  take(frame: H2Frame): void {
    const { type, stream } = frame;
    if (type === RST_STREAM) this.resets.set(stream, frame.number);
    else if (type === GOAWAY) this.goaway ??= frame.number;
    else if (type === PING) this.marked ||= unLatin1(frame.payload) === MARK;
    else if (stream > 0 && type !== WINDOW_UPDATE) this.#answer(frame);
  }

  #answer(frame: H2Frame): void {
    let answer = this.answers.get(frame.stream);
    if (answer === undefined) {
      answer = { status: 0, body: "", ended: false };
      this.answers.set(frame.stream, answer);
    }
    if (frame.fields === undefined) answer.body += unLatin1(frame.payload);
    else if (frame.fields[0] === ":status" && !/^1/.test(frame.fields[1])) {
      answer.status = Number(frame.fields[1]);
    }
    if ((frame.flags & END_STREAM) !== 0) answer.ended = true;
  }

  /** Whether it is as wanted; `undefined` when that is not sure yet. */
  is(want: Want): boolean | undefined {
    const over = this.closed || this.goaway !== undefined;
    if ("any" in want) {
      const all = want.any.map((one) => this.is(one));
      return all.includes(true)
        ? true
        : all.includes(undefined)
        ? undefined
        : false;
    }
    if ("goaway" in want) {
      if (this.goaway === undefined) return this.#not();
      if (this.goaway !== want.goaway) return false;
      return this.closed ? true : undefined;
    }
    if ("closed" in want) {
      return this.closed ? true : this.marked ? false : undefined;
    }
    if (over) return false;
    if ("reset" in want) {
      const code = this.resets.get(want.on);
      return code === undefined ? this.#not() : code === want.reset;
    }
    if ("answer" in want) {
      const { on = 1 } = want;
      const answer = this.answers.get(on);
      if (!answer?.ended) return this.resets.has(on) ? false : undefined;
      return (want.answer === "any" || want.answer === answer.status) &&
        (want.body === undefined || want.body === answer.body);
    }
    if (this.resets.size > 0) return false;
    return this.marked ? true : undefined;
  }

  /** What has not happened will not, once all is read. */
  #not(): false | undefined {
    return this.marked || this.closed ? false : undefined;
  }
}

function describe(want: Want): string {
  if ("any" in want) return want.any.map(describe).join(", or ");
  if ("goaway" in want) return `GOAWAY ${codeName(want.goaway)} and the end`;
  if ("reset" in want) {
    return `RST_STREAM ${want.on} ${codeName(want.reset)}, and it goes on`;
  }
  if ("answer" in want) {
    return `${want.answer} on stream ${want.on ?? 1} ${want.body ?? ""}`;
  }
  return "open" in want ? "nothing, and it goes on" : "the end";
}

/** The connection still answers, also when it has no window. */
async function goesOn(peer: H2Peer): Promise<void> {
  const stream = 0x2001;
  peer.send(headers(stream, fieldsFor("/empty")));
  const { status } = await peer.response(stream);
  if (status !== 204) throw new Error(`Not answered: ${peer}`);
}

/** Sends a row and judges it. */
export async function judge(
  peer: H2Peer,
  steps: readonly Step[],
  want: Want,
): Promise<void> {
  for (const step of steps) {
    if (typeof step === "function") await step(peer);
    else await peer.sendAll(step);
  }
  peer.send(ping(MARK));
  const outcome = new Outcome();
  let seen = 0;
  for (;;) {
    // Also what was read while waiting between steps.
    while (seen < peer.frames.length) outcome.take(peer.frames[seen++]);
    outcome.closed = peer.ended;
    const is = outcome.is(want);
    if (is === false) {
      throw new Error(`Not ${describe(want)}, but ${peer}`);
    }
    if (is === true) break;
    await peer.more();
  }
  if (outcome.closed || outcome.goaway !== undefined) return;
  await goesOn(peer);
}

/** A test of each row. */
export function testRows(rows: readonly Row[]): void {
  for (const [name, steps, want, options] of rows) {
    test(name, () =>
      withH2(
        rowHandler,
        async (peer, server) => {
          await judge(peer, steps, want);
          if (!peer.ended) return;
          // Others do not notice.
          const other = await h2Peer(server);
          try {
            await goesOn(other);
          } finally {
            other.destroy();
          }
        },
        options,
      ));
  }
}
