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
  aborted: boolean;
  complete: boolean;
  trailers: Record<string, string>;
  rawTrailers: string[];
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
    leave: () => void;
  },
): Incoming {
  const exchange = exchangeOf(request) as { fields?: Fields } | undefined;
  const fields = exchange?.fields ?? fieldsOf(request.headers);
  const { pathname, search } = new URL(request.url);
  const version = versionOf(context);
  const reader = request.body?.getReader();

  const finish = async () => {
    let trailers: string[] = [];
    try {
      trailers = fieldsOf(await context.trailers);
    } catch {
      // A native engine has none to tell.
    }
    define(incoming, {
      trailers: grouped(trailers),
      trailersDistinct: distinct(trailers),
      rawTrailers: trailers,
    });
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
      if (error instanceof SizeLimitError) incoming.destroy(withStatus(error));
      else leave();
    }
  };
  const incoming = new Readable({
    read() {
      if (reader === undefined) incoming.push(null);
      else pump();
    },
    destroy(error, callback) {
      if (!incoming.complete) reader?.cancel(error).catch(() => {});
      // As node:http: an error that nobody listens for is none.
      callback(incoming.listenerCount("error") === 0 ? null : error);
    },
  }) as Incoming;
  Object.setPrototypeOf(incoming, IncomingMessage.prototype);
  define(incoming, {
    method: request.method,
    url: pathname + search,
    headers: grouped(fields),
    headersDistinct: distinct(fields),
    rawHeaders: [...fields],
    httpVersion: version,
    httpVersionMajor: Number(version[0]),
    httpVersionMinor: Number(version[2]),
    socket,
    connection: socket,
    client: socket,
    statusCode: null,
    statusMessage: null,
    upgrade: false,
    aborted: false,
    complete: reader === undefined,
    trailers: {},
    trailersDistinct: {},
    rawTrailers: [],
    setTimeout(ms: number, listener?: () => void) {
      socket.setTimeout(ms, listener);
      return incoming;
    },
    _dump() {
      discard(incoming);
    },
  });
  return incoming;
}

/** The client is gone. */
export function abortIncoming(incoming: Incoming): void {
  if (incoming.complete || incoming.destroyed) return;
  incoming.aborted = true;
  incoming.emit("aborted");
  incoming.destroy(goneError());
}

/** The response is out: what nobody has begun to read nobody will. */
export function discard(incoming: Incoming): void {
  if (incoming.readableDidRead || incoming.readableFlowing !== null) return;
  incoming.destroy();
}

/** Own properties: they outlive the prototype that Express sets. */
function define(incoming: object, values: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(incoming, name, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
}
