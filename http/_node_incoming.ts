import { Buffer } from "node:buffer";
import { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { SizeLimitError } from "../streams/errors.ts";
import { exchangeOf } from "./_exchange.ts";
import type { Fields } from "./_h1_types.ts";
import type { NodeSocket } from "./_node_socket.ts";
import type { ServerContext } from "./types.ts";

/** What a listener is given as `req`. */
export interface Incoming extends Readable {
  method: string;
  url: string;
  headers: Record<string, string | string[]>;
  headersDistinct: Record<string, string[]>;
  rawHeaders: string[];
  httpVersion: string;
  httpVersionMajor: number;
  httpVersionMinor: number;
  socket: NodeSocket;
  connection: NodeSocket;
  client: NodeSocket;
  statusCode: null;
  statusMessage: null;
  upgrade: boolean;
  aborted: boolean;
  complete: boolean;
  trailers: Record<string, string>;
  trailersDistinct: Record<string, string[]>;
  rawTrailers: string[];
  setTimeout: typeof setTimer;
  /** By these `node:stream` knows a request, and spares its connection. */
  _consuming: boolean;
  _dumped: boolean;
  _dump: typeof dump;
}

/** Of these fields node:http takes the first of several. */
const FIRST = new Set(
  "age,authorization,content-length,content-type,etag,expires,from,host,if-modified-since,if-unmodified-since,last-modified,location,max-forwards,proxy-authorization,referer,retry-after,server,user-agent"
    .split(","),
);

/** Fields as `req.headers` has them. */
function grouped(fields: Fields): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i];
    const value = fields[i + 1];
    const known = headers[name];
    if (name === "set-cookie") {
      if (known === undefined) headers[name] = [value];
      else (known as string[]).push(value);
    } else if (known === undefined) headers[name] = value;
    else if (!FIRST.has(name)) {
      headers[name] = `${known}${name === "cookie" ? "; " : ", "}${value}`;
    }
  }
  return headers;
}

function distinct(fields: Fields): Record<string, string[]> {
  const headers: Record<string, string[]> = Object.create(null);
  for (let i = 0; i < fields.length; i += 2) {
    (headers[fields[i]] ??= []).push(fields[i + 1]);
  }
  return headers;
}

function fieldsOf(headers: Headers): string[] {
  const fields: string[] = [];
  for (const [name, value] of headers) fields.push(name, value);
  return fields;
}

/** The version; a native engine does not tell. */
export function versionOf(context: ServerContext): string {
  try {
    switch (context.protocol) {
      case "http/1.0":
        return "1.0";
      case "h2":
        return "2.0";
      case "h3":
        return "3.0";
    }
  } catch {
    // As most are.
  }
  return "1.1";
}

/** The error that node:http has for a client that is gone. */
export function goneError(): Error {
  return Object.assign(new Error("aborted"), { code: "ECONNRESET" });
}

/** Lets Express and its like answer with the status that is meant. */
function withStatus(error: SizeLimitError): Error {
  return Object.defineProperty(error, "status", {
    value: 413,
    configurable: true,
  });
}

/** Makes the `req` of a request. */
export function makeIncoming(
  request: Request,
  { context, socket, leave }: {
    context: ServerContext;
    socket: NodeSocket;
    /** Called when its body breaks off. */
    leave: (reason: unknown) => void;
  },
): Incoming {
  const exchange = exchangeOf(request) as
    | { fields?: Fields; request?: Request }
    | undefined;
  // A middleware may have put another request in its place.
  const fields = exchange?.fields !== undefined && exchange.request === request
    ? exchange.fields
    : fieldsOf(request.headers);
  const version = versionOf(context);
  const { method, url } = request;
  const reader = method === "GET" || method === "HEAD"
    ? undefined
    : request.body?.getReader();

  const finish = async () => {
    let trailers: string[] = [];
    try {
      trailers = fieldsOf(await context.trailers);
    } catch {
      // A native engine has none to tell.
    }
    incoming.trailers = grouped(trailers) as Record<string, string>;
    incoming.trailersDistinct = distinct(trailers);
    incoming.rawTrailers = trailers;
    incoming.complete = true;
    incoming.push(null);
  };
  const pump = async () => {
    try {
      const { done, value } = await reader!.read();
      if (incoming.destroyed) return;
      socket.touch();
      if (done) await finish();
      else {
        const { buffer, byteOffset, byteLength } = value;
        incoming.push(Buffer.from(buffer, byteOffset, byteLength));
      }
    } catch (error) {
      // Too long, or the client is gone.
      if (incoming._dumped) incoming.push(null);
      else if (error instanceof SizeLimitError) {
        incoming._dumped = true;
        incoming.destroy(withStatus(error));
      } else leave(error);
    }
  };
  const incoming = new Readable({
    read() {
      if (reader === undefined) incoming.push(null);
      else pump();
    },
    destroy(error, callback) {
      if (!incoming.complete) reader?.cancel(error).catch(() => {});
      if (!incoming._dumped) {
        tellAborted(incoming);
        // Unless the streams of Node took it away, which need an answer yet.
        if (incoming.aborted && incoming.socket !== null) socket.destroy();
      }
      // As node:http: an error that nobody listens for is none.
      callback(incoming.listenerCount("error") === 0 ? null : error);
    },
  }) as Incoming;
  incoming.method = method;
  incoming.url = targetOf(url);
  incoming.headers = grouped(fields);
  incoming.headersDistinct = distinct(fields);
  if (reader !== undefined) tellBody(incoming);
  incoming.rawHeaders = fields.slice();
  incoming.httpVersion = version;
  incoming.httpVersionMajor = Number(version[0]);
  incoming.httpVersionMinor = Number(version[2]);
  incoming.socket = incoming.connection = incoming.client = socket;
  incoming.statusCode = incoming.statusMessage = null;
  incoming.upgrade = incoming.aborted = false;
  incoming.complete = reader === undefined;
  incoming.trailers = {};
  incoming.trailersDistinct = {};
  incoming.rawTrailers = [];
  incoming.setTimeout = setTimer;
  incoming._consuming = incoming._dumped = false;
  incoming._dump = dump;
  // Now: each of these is its own, and outlives what Express puts here.
  Object.setPrototypeOf(incoming, IncomingMessage.prototype);
  return incoming;
}

/**
 * A body of HTTP/2 needs no field that says that there is one; with node:http
 * it does, and parsers of bodies go by that.
 */
function tellBody({ headers, headersDistinct }: Incoming): void {
  if (
    headers["content-length"] !== undefined ||
    headers["transfer-encoding"] !== undefined
  ) return;
  headers["transfer-encoding"] = "chunked";
  headersDistinct["transfer-encoding"] = ["chunked"];
}

/** There will be no more of the request; as node:http also when it has no body. */
export function tellAborted(incoming: Incoming): void {
  if (incoming.aborted || incoming._dumped) return;
  if (incoming.complete && incoming.readableEnded) return;
  incoming.aborted = true;
  incoming.emit("aborted");
}

/** The response is out: what nobody has begun to read nobody will. */
export function discard(incoming: Incoming): void {
  if (incoming.readableDidRead || incoming.readableFlowing !== null) return;
  if (incoming.destroyed) return;
  // Who waits for its end is told of it.
  incoming._dumped = true;
  if (incoming.listenerCount("end") > 0) incoming.resume();
  else incoming.destroy();
}

function setTimer(
  this: Incoming,
  ms: number,
  listener?: () => void,
): Incoming {
  this.socket.setTimeout(ms, listener);
  return this;
}

function dump(this: Incoming): void {
  if (this._dumped) return;
  this._dumped = true;
  this.resume();
}

/** Path and query of a URL. */
function targetOf(url: string): string {
  const path = url.slice(url.indexOf("/", url.indexOf("://") + 3));
  const hash = path.indexOf("#");
  return hash === -1 ? path : path.slice(0, hash);
}
