// A peer that speaks HTTP/2 as badly as it is told, over plain TCP.

import { HpackDecoder } from "../http/_hpack_decoder.ts";
import type { Handler, HttpServer, ServeOptions } from "../http/types.ts";
import { connect } from "../tcp/mod.ts";
import type { Connection } from "../tcp/mod.ts";
import { latin1, unLatin1 } from "./_h1.ts";
import { withServer } from "./_http_raw.ts";
import { within } from "./_support.ts";

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

const TYPES = [
  "DATA",
  "HEADERS",
  "PRIORITY",
  "RST_STREAM",
  "SETTINGS",
  "PUSH_PROMISE",
  "PING",
  "GOAWAY",
  "WINDOW_UPDATE",
  "CONTINUATION",
];

export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;
export const PRIORITIZED = 0x20;

export const NO_ERROR = 0;
export const PROTOCOL_ERROR = 1;
export const INTERNAL_ERROR = 2;
export const FLOW_CONTROL_ERROR = 3;
export const SETTINGS_TIMEOUT = 4;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6;
export const REFUSED_STREAM = 7;
export const CANCEL = 8;
export const COMPRESSION_ERROR = 9;
export const CONNECT_ERROR = 10;
export const ENHANCE_YOUR_CALM = 11;

const CODES = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
];

/** Name of an error code. */
export function codeName(code: number): string {
  return CODES[code] ?? `0x${code.toString(16)}`;
}

export const PREFACE: Uint8Array = latin1("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** Bytes: as they are, Latin-1, or numbers. */
export type Raw = Uint8Array | string | readonly number[];

export function bytesOf(...parts: Raw[]): Uint8Array {
  const arrays = parts.map((part) =>
    typeof part === "string"
      ? latin1(part)
      : part instanceof Uint8Array
      ? part
      : Uint8Array.from(part)
  );
  const all = new Uint8Array(arrays.reduce((n, a) => n + a.length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}

/** Four bytes of a number. */
export function u32(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => value >>> shift & 0xff);
}

/** Any frame; its length may be a lie. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Raw = [],
  length?: number,
): Uint8Array {
  const body = bytesOf(payload);
  const size = length ?? body.length;
  return bytesOf(
    [size >>> 16 & 0xff, size >>> 8 & 0xff, size & 0xff, type, flags],
    u32(stream),
    body,
  );
}

export function data(stream: number, payload: Raw, flags = 0): Uint8Array {
  return frame(DATA, flags, stream, payload);
}

export function settings(...pairs: [number, number][]): Uint8Array {
  return frame(
    SETTINGS,
    0,
    0,
    pairs.flatMap(([id, value]) => [id >> 8, id & 0xff, ...u32(value)]),
  );
}

export function windowUpdate(stream: number, more: number): Uint8Array {
  return frame(WINDOW_UPDATE, 0, stream, u32(more));
}

export function rstStream(stream: number, code = CANCEL): Uint8Array {
  return frame(RST_STREAM, 0, stream, u32(code));
}

export function ping(payload: Raw = "12345678", flags = 0): Uint8Array {
  return frame(PING, flags, 0, payload);
}

/**
 * A header block that depends on no table: literals, not indexed, as they
 * are. `"name value|name value"`, or flat.
 */
export function block(fields: string | readonly string[]): Uint8Array {
  const flat = typeof fields === "string" ? fieldsOf(fields) : fields;
  const text = (value: string) => {
    const length: number[] = [];
    let rest = value.length - 127;
    if (rest < 0) length.push(value.length);
    else {
      length.push(127);
      for (; rest >= 128; rest >>>= 7) length.push(rest & 127 | 128);
      length.push(rest);
    }
    return bytesOf(length, value);
  };
  const parts: Uint8Array[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    parts.push(bytesOf([0]), text(flat[i]), text(flat[i + 1]));
  }
  return bytesOf(...parts);
}

/** `"name value|name value"` as flat fields. */
export function fieldsOf(text: string): string[] {
  if (text === "") return [];
  return text.split("|").flatMap((field) => {
    const space = field.indexOf(" ");
    return space < 0
      ? [field, ""]
      : [field.slice(0, space), field.slice(space + 1)];
  });
}

/** HEADERS, by default a whole block that ends the stream. */
export function headers(
  stream: number,
  fields: string | readonly string[] | Uint8Array,
  flags = END_HEADERS | END_STREAM,
): Uint8Array {
  return frame(
    HEADERS,
    flags,
    stream,
    fields instanceof Uint8Array ? fields : block(fields),
  );
}

export const GET_ROOT = ":method GET|:scheme http|:path /|:authority localhost";

/** The fields of a request for a path. */
export function fieldsFor(path: string, method = "GET", more = ""): string {
  return `:method ${method}|:scheme http|:path ${path}|:authority localhost` +
    (more === "" ? "" : `|${more}`);
}

/** A GET. */
export function get(stream: number, path = "/"): Uint8Array {
  return headers(stream, fieldsFor(path));
}

/** The head of a POST whose body is to come. */
export function post(stream: number, path = "/echo", more = ""): Uint8Array {
  return headers(stream, fieldsFor(path, "POST", more), END_HEADERS);
}

/** A frame that came. */
export interface H2Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array;
  /** Of HEADERS and CONTINUATION that end a block. */
  readonly fields: string[] | undefined;
  /** Error code of RST_STREAM and GOAWAY, increment of WINDOW_UPDATE. */
  readonly number: number;
}

/** A frame for a message. */
export function show(frame: H2Frame): string {
  const { type, flags, stream, payload, number, fields } = frame;
  const name = TYPES[type] ?? `type ${type}`;
  const on = stream === 0 ? "" : ` ${stream}`;
  switch (type) {
    case RST_STREAM:
      return `${name}${on} ${codeName(number)}`;
    case GOAWAY:
      return `${name} ${codeName(number)} ${
        JSON.stringify(unLatin1(payload.subarray(8)))
      }`;
    case WINDOW_UPDATE:
      return `${name}${on} +${number}`;
    case SETTINGS:
    case PING:
      return (flags & ACK) !== 0 ? `${name} ACK` : name;
    case HEADERS:
    case CONTINUATION:
      return `${name}${on} ${fields?.slice(0, 2).join(" ") ?? "…"}${
        end(flags)
      }`;
    default:
      return `${name}${on} #${payload.length}${end(flags)}`;
  }
}

function end(flags: number): string {
  return (flags & END_STREAM) !== 0 ? " END" : "";
}

function number32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
}

export interface H2PeerOptions {
  /** What it says first. @default {PREFACE (of a client) and empty SETTINGS} */
  greeting?: Uint8Array;
  /** Whether it is the server. @default {false} */
  server?: boolean;
  /** Whether it acknowledges SETTINGS and answers PING. @default {true} */
  acknowledge?: boolean;
  /** How long it waits for a frame, in ms. @default {10000} */
  wait?: number;
}

/** A client, or a server, of HTTP/2 that sends bytes as it is told. */
export class H2Peer {
  readonly connection: Connection;
  /** All that came. */
  readonly frames: H2Frame[] = [];
  /** Nothing more comes: a clean end, or an error. */
  ended = false;
  /** Bytes of the last frame, which was cut, or that were no frame. */
  rest: Uint8Array = new Uint8Array();
  /** Settings of the other side. */
  readonly settings = new Map<number, number>();
  readonly #acknowledge: boolean;
  readonly #wait: number;
  readonly #decoder = new HpackDecoder();
  #chunks: Uint8Array[] = [];
  #block: Uint8Array[] = [];
  #seen = 0;
  /** Bytes of the client's preface that have come, at a server. */
  #greeted: number;
  #wake: (() => void) | undefined;

  constructor(connection: Connection, options: H2PeerOptions) {
    this.connection = connection;
    this.#acknowledge = options.acknowledge ?? true;
    this.#wait = options.wait ?? 10_000;
    this.#greeted = options.server ? 0 : PREFACE.length;
    this.send(
      options.greeting ??
        (options.server ? settings() : bytesOf(PREFACE, settings())),
    );
    this.#read();
  }

  /** Sends bytes as they are; not waited for. */
  send(...parts: Raw[]): void {
    const sent = this.connection.send(bytesOf(...parts));
    if (typeof sent !== "boolean") sent.catch(() => {});
  }

  /** Sends all of it, also if that takes time; gives up when it cannot. */
  async sendAll(...parts: Raw[]): Promise<void> {
    await within(
      Promise.resolve(this.connection.send(bytesOf(...parts))),
      this.#wait,
      "send()",
    ).catch(() => {});
  }

  /** Waits until something more has come than there is. */
  async more(): Promise<void> {
    if (this.ended) throw new Error(`Nothing more comes: ${this}`);
    const came = this.frames.length;
    while (this.frames.length === came && !this.ended) {
      await within(
        new Promise<void>((resolve) => this.#wake = resolve),
        this.#wait,
        `A frame behind ${this}`,
      );
    }
  }

  /** The next frame; `undefined` when none comes any more. */
  async next(): Promise<H2Frame | undefined> {
    if (this.#seen === this.frames.length) {
      if (this.ended) return undefined;
      await this.more();
      if (this.#seen === this.frames.length) return undefined;
    }
    return this.frames[this.#seen++];
  }

  /** The next frame that is like this; others are skipped. */
  async until(
    is: (frame: H2Frame) => boolean,
    what: string,
  ): Promise<H2Frame> {
    for (;;) {
      const frame = await this.next();
      if (frame === undefined) {
        throw new Error(`Closed before ${what}: ${this}`);
      }
      if (is(frame)) return frame;
    }
  }

  /** Waits for a GOAWAY of this code. */
  async goAway(code: number): Promise<H2Frame> {
    const frame = await this.until((f) => f.type === GOAWAY, "GOAWAY");
    if (frame.number !== code) {
      throw new Error(`Not ${codeName(code)}: ${this}`);
    }
    return frame;
  }

  /** Waits for an RST_STREAM of this code on a stream. */
  async reset(stream: number, code: number): Promise<H2Frame> {
    const frame = await this.until(
      (f) => f.type === RST_STREAM && f.stream === stream,
      `RST_STREAM ${stream}`,
    );
    if (frame.number !== code) {
      throw new Error(`Not ${codeName(code)}: ${this}`);
    }
    return frame;
  }

  /** Waits until nothing more can come. */
  async closed(): Promise<void> {
    while (await this.next() !== undefined);
  }

  /** Waits until all that was sent is read: a PING goes and comes. */
  async pinged(mark = "ping-end"): Promise<void> {
    this.send(ping(mark));
    await this.until(
      (f) => f.type === PING && unLatin1(f.payload) === mark,
      "the answer to PING",
    );
  }

  /** Waits for the head of a request. */
  async request(): Promise<{ stream: number; fields: string[] }> {
    const { stream, fields } = await this.until(
      (f) => f.fields !== undefined,
      "a request",
    );
    return { stream, fields: fields! };
  }

  /** Waits for the whole response on a stream; gives status, fields and body. */
  async response(stream: number): Promise<{
    status: number;
    fields: string[];
    body: string;
    trailers: string[] | undefined;
  }> {
    let fields: string[] | undefined;
    let trailers: string[] | undefined;
    let body = "";
    let over = false;
    while (!over) {
      const frame = await this.until(
        (f) => f.stream === stream && f.type !== WINDOW_UPDATE,
        `the end of stream ${stream}`,
      );
      over = (frame.flags & END_STREAM) !== 0 && frame.type !== CONTINUATION;
      if (frame.type === DATA) body += unLatin1(frame.payload);
      else if (frame.type === RST_STREAM) {
        throw new Error(`The stream was reset: ${this}`);
      } else if (frame.fields !== undefined) {
        if (fields !== undefined) trailers = frame.fields;
        else if (!/^1/.test(frame.fields[1])) fields = frame.fields;
      }
      // A block that goes on with CONTINUATION ends the stream afterwards.
      if (over && frame.type === HEADERS && frame.fields === undefined) {
        fields = (await this.until((f) =>
          f.fields !== undefined, "CONTINUATION"))
          .fields;
      }
    }
    const status = fields?.[fields.indexOf(":status") + 1];
    return { status: Number(status), fields: fields!, body, trailers };
  }

  toString(): string {
    return `[${this.frames.map(show).join(", ")}${this.ended ? ", end" : ""}]` +
      (this.rest.length > 0
        ? ` and ${JSON.stringify(unLatin1(this.rest).slice(0, 200))}`
        : "");
  }

  destroy(): void {
    this.connection.destroy();
  }

  async #read(): Promise<void> {
    try {
      for await (const chunk of this.connection) {
        this.#chunks.push(chunk.slice());
        this.#split();
      }
    } catch {
      // Reset: as over as after an end.
    }
    this.ended = true;
    this.connection.destroy();
    this.#wake?.();
  }

  #split(): void {
    let bytes = this.#chunks.length === 1
      ? this.#chunks[0]
      : bytesOf(...this.#chunks);
    while (this.#greeted < PREFACE.length && bytes.length > 0) {
      if (bytes[0] !== PREFACE[this.#greeted++]) throw new Error("No preface");
      bytes = bytes.subarray(1);
    }
    while (bytes.length >= 9) {
      const length = bytes[0] << 16 | bytes[1] << 8 | bytes[2];
      if (bytes.length < 9 + length) break;
      this.#take(
        bytes[3],
        bytes[4],
        number32(bytes, 5) & 0x7fffffff,
        bytes.subarray(9, 9 + length),
      );
      bytes = bytes.subarray(9 + length);
    }
    this.rest = bytes;
    this.#chunks = [bytes];
    this.#wake?.();
  }

  #take(
    type: number,
    flags: number,
    stream: number,
    payload: Uint8Array,
  ): void {
    let fields: string[] | undefined;
    let number = 0;
    if (type === HEADERS || type === CONTINUATION) {
      this.#block.push(payload);
      if ((flags & END_HEADERS) !== 0) {
        fields = this.#decoder.decode(bytesOf(...this.#block), Infinity);
        this.#block = [];
      }
    } else if (type === RST_STREAM || type === WINDOW_UPDATE) {
      number = number32(payload, 0);
    } else if (type === GOAWAY) {
      number = number32(payload, 4);
    } else if (type === SETTINGS && (flags & ACK) === 0) {
      for (let at = 0; at < payload.length; at += 6) {
        this.settings.set(
          payload[at] << 8 | payload[at + 1],
          number32(payload, at + 2),
        );
      }
      if (this.#acknowledge) this.send(frame(SETTINGS, ACK, 0));
    } else if (type === PING && (flags & ACK) === 0 && this.#acknowledge) {
      this.send(ping(payload, ACK));
    }
    this.frames.push({ type, flags, stream, payload, fields, number });
  }
}

/** Connects to a server. */
export async function h2Peer(
  server: { address: HttpServer["address"] },
  options: H2PeerOptions = {},
): Promise<H2Peer> {
  const { address } = server;
  if (address.transport === "unix") throw new TypeError("Not over TCP");
  const connection = await within(
    connect({ hostname: "127.0.0.1", port: address.port }),
  );
  return new H2Peer(connection, options);
}

/** Runs a test with a server of HTTP/2 without TLS, and one peer. */
export async function withH2(
  handler: Handler,
  run: (peer: H2Peer, server: HttpServer) => Promise<unknown>,
  options: H2PeerOptions & { serve?: ServeOptions } = {},
): Promise<void> {
  await withServer(
    handler,
    { protocols: ["h2", "http/1.1"], ...options.serve },
    async (server) => {
      const peer = await h2Peer(server, options);
      try {
        await run(peer, server);
      } finally {
        peer.destroy();
      }
    },
  );
}
