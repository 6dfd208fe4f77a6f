import { H1Error, RequestReader, ResponseReader } from "../http/_h1_reader.ts";
import type { H1Limits, RequestHead, ResponseHead } from "../http/_h1_types.ts";

export const limits: H1Limits = {
  header: 16 * 1024,
  target: 8 * 1024,
  fields: 100,
  trailer: 4 * 1024,
};

/** Bytes of a string whose characters are all Latin-1. */
export function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** Latin-1 of bytes. */
export function unLatin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** All that a reader told of an input, in a form to compare. */
export interface Reading {
  messages: {
    head: RequestHead | ResponseHead;
    body: string;
    ended: boolean;
    trailers?: string[];
  }[];
  informed: number[];
  /** Status of the violation, or "cut", or undefined. */
  error?: number | "cut";
  phase: string;
  rest: string;
}

export type Cut = (input: Uint8Array) => Iterable<Uint8Array>;

export function whole(input: Uint8Array): Uint8Array[] {
  return [input];
}

export function* bytewise(input: Uint8Array): Iterable<Uint8Array> {
  for (let i = 0; i < input.length; i++) yield input.slice(i, i + 1);
}

export function at(offset: number): Cut {
  return (input) => [input.slice(0, offset), input.slice(offset)];
}

export interface ReadOptions {
  cut?: Cut;
  /** The connection ends behind the input. */
  fin?: boolean;
  limits?: Partial<H1Limits>;
  /** Reads responses, to requests of these methods. */
  methods?: string[];
  /** Stops and goes on in every event. */
  halting?: boolean;
  /** Every piece is lent, and overwritten when the reader is back. */
  lent?: boolean;
}

/** Feeds an input to a reader and writes down what it tells. */
export function read(input: string | Uint8Array, options: ReadOptions = {}) {
  const bytes = typeof input === "string" ? latin1(input) : input;
  const methods = [...options.methods ?? []];
  const reading: Reading = { messages: [], informed: [], phase: "", rest: "" };
  const bodies: Uint8Array[][] = [];
  const halt = () => {
    if (options.halting) reader.stop();
  };
  const events = {
    head(head: RequestHead | ResponseHead) {
      reading.messages.push({ head, body: "", ended: false });
      bodies.push([]);
      halt();
    },
    content(chunk: Uint8Array) {
      bodies[bodies.length - 1].push(chunk);
      halt();
    },
    messageEnd(trailers: string[] | undefined) {
      const message = reading.messages[reading.messages.length - 1];
      message.ended = true;
      if (trailers !== undefined) message.trailers = trailers;
      if (options.methods !== undefined) expectNext();
      halt();
    },
    inform(head: ResponseHead) {
      reading.informed.push(head.status);
      halt();
    },
  };
  const bounds = { ...limits, ...options.limits };
  const reader = options.methods === undefined
    ? new RequestReader(events, bounds)
    : new ResponseReader(events, bounds);
  let asked: string | undefined;
  const expectNext = () => {
    asked = methods.shift();
    if (asked !== undefined) (reader as ResponseReader).expect(asked);
  };
  if (options.methods !== undefined) expectNext();
  const tunnelled = () => {
    const last = reading.messages[reading.messages.length - 1];
    if (last === undefined || last.ended) return false;
    const { method, status } = last.head as Partial<RequestHead & ResponseHead>;
    return method === "CONNECT" || status === 101 ||
      (asked === "CONNECT" && status === 200);
  };
  try {
    for (const piece of (options.cut ?? whole)(bytes)) {
      if (options.lent) {
        reader.feed(piece, true);
        piece.fill(0x21);
      } else reader.feed(piece);
      while (options.halting && reader.stopped && !tunnelled()) {
        reader.resume();
      }
    }
    if (options.fin) reader.finish();
    reading.phase = reader.phase;
    reading.rest = unLatin1(reader.rest());
  } catch (error) {
    if (!(error instanceof H1Error)) throw error;
    reading.error = error.code === "ERR_TRUNCATED" ? "cut" : error.status;
  }
  // Not before: a reader must not tell parts of a chunk that it was lent.
  reading.messages.forEach((message, i) => {
    message.body = bodies[i].map(unLatin1).join("");
  });
  return reading;
}

/** Every way of cutting that is worth while for an input. */
export function* cuts(length: number): Iterable<[string, Cut]> {
  yield ["whole", whole];
  yield ["byte by byte", bytewise];
  const step = Math.max(1, Math.floor(length / 256));
  for (let i = 1; i < length; i += step) yield [`at ${i}`, at(i)];
}
