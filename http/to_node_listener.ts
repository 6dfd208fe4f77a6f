import type { MaybePromise } from "../streams/types.ts";
import { trustOf } from "./_client_address.ts";
import { NodeExchange } from "./_node_message.ts";
import type { NodeRequest, NodeResponse } from "./_node_message.ts";
import type { Fields } from "./_h1_types.ts";
import { cancelBody, cancelResponse, typeOf } from "./_body_cancel.ts";
import { afterQuickEnd } from "./_body_end.ts";
import { takeApart } from "./_response_parts.ts";
import type { OutgoingBody } from "./_response_parts.ts";
import { takeoverOf } from "./_takeover.ts";
import { hidesType, isText, isUntyped, TEXT_TYPE } from "./_text_type.ts";
import { trailersOf } from "./_trailers.ts";
import { concat } from "./_request_body.ts";
import { isLength } from "./_wire_response.ts";
import type { Handler, ServeOptions } from "./types.ts";

/** Options of `toNodeListener`, as `serve` has them. */
export interface NodeListenerOptions {
  /** Makes the answer for a handler that threw; by default a bare 500. */
  onError?(error: unknown, request: Request): MaybePromise<Response>;
  /** Which proxies are believed about the client. @default {false} */
  trustProxy?: ServeOptions["trustProxy"];
}

/**
 * A listener for `node:http`, `node:https` or Express that answers by a
 * handler: the way to move an application over step by step. The response has
 * backpressure, a client that leaves aborts `request.signal`, and a body that
 * fails cuts the connection. What node:http itself has in hand is not the
 * handler's: there are no tunnels or upgrades, `waitUntil` delays no close, and
 * the limits are those of that server. Throws a TypeError when the handler is
 * neither a function nor has a `fetch`.
 *
 * @example
 * ```ts
 * import { createServer } from "node:http";
 * import { toNodeListener } from "@sluice/net/http";
 *
 * const server = createServer(toNodeListener(() => new Response("hello")));
 * server.listen(0, "127.0.0.1", () => server.close());
 * ```
 *
 * @param handler What answers.
 * @param options What to do with errors, and whom to believe.
 * @returns A listener of `"request"` events, or a middleware of Express.
 */
export function toNodeListener(
  handler: Handler | { fetch: Handler },
  options: NodeListenerOptions = {},
): (request: object, response: object) => void {
  const call: Handler | undefined = typeof handler === "function"
    ? handler
    : typeof handler?.fetch === "function"
    ? (request, context) => handler.fetch(request, context)
    : undefined;
  if (call === undefined) {
    throw new TypeError(
      "Cannot make a listener: the handler is neither a function nor has it a fetch",
    );
  }
  const trust = trustOf(options.trustProxy);
  const report = (error: unknown, request: Request) => {
    try {
      const told = options.onError?.(error, request);
      if (told instanceof Promise) told.catch(() => {});
    } catch {
      // It was told; what it makes of it is not ours.
    }
  };
  return (incoming, outgoing) => {
    const response = outgoing as NodeResponse;
    let exchange: NodeExchange;
    try {
      exchange = new NodeExchange(
        incoming as NodeRequest,
        response,
        trust,
        report,
      );
    } catch {
      // RFC 9112, 3.2: its Host is none.
      response.writeHead(400);
      response.end();
      return;
    }
    void answer(exchange, call, options);
  };
}

async function answer(
  exchange: NodeExchange,
  handler: Handler,
  { onError }: NodeListenerOptions,
): Promise<void> {
  const { outgoing } = exchange;
  try {
    await send(exchange, await handler(exchange.request, exchange.context));
    return;
  } catch (error) {
    if (outgoing.headersSent) {
      // It must not look complete.
      exchange.report(error);
      outgoing.destroy();
      return;
    }
    if (exchange.lost !== undefined) return;
    try {
      if (onError !== undefined) {
        await send(exchange, await onError(error, exchange.request));
        return;
      }
    } catch {
      if (outgoing.headersSent) {
        outgoing.destroy();
        return;
      }
    }
  }
  outgoing.writeHead(500);
  outgoing.end();
}

async function send(exchange: NodeExchange, response: Response): Promise<void> {
  const { outgoing, method } = exchange;
  if (exchange.lost !== undefined) {
    cancelResponse(response, exchange.lost);
    return;
  }
  if (response?.status === 101 || takeoverOf(response) !== undefined) {
    throw new TypeError(
      "Cannot send a response: node:http has the connection, it cannot be taken over here",
    );
  }
  if (trailersOf(response) !== undefined) {
    throw new TypeError(
      "Cannot send trailers: a listener of node:http does not, use serve()",
    );
  }
  const { status, reason, fields, body, length, close, typed } = takeApart(
    response,
    "fields",
  );
  const head: Head = {
    status,
    reason,
    fields: fields.slice(),
    close,
    typed: typed || !hidesType || isUntyped(response),
  };
  const bodiless = method === "HEAD" || status === 204 || status === 304;
  const declared = isLength(length) ? length : undefined;
  if (body instanceof ReadableStream && !bodiless) {
    await pipe(exchange, { head, body, declared });
    return;
  }
  if (body instanceof ReadableStream) {
    cancelBody(body.getReader(), typeOf(head), undefined);
  }
  // Of HEAD and 304 the handler may know what would have come.
  const size = body instanceof ReadableStream || (bodiless && body === null)
    ? declared
    : status === 304
    ? declared
    : String(sizeOf(body));
  begin(exchange, head, status === 204 ? undefined : size);
  if (bodiless || body === null || body instanceof ReadableStream) {
    outgoing.end();
  } else outgoing.end(body);
}

/** What stands before a body. */
interface Head {
  readonly status: number;
  readonly reason: string;
  readonly fields: Fields;
  readonly close: boolean;
  /** Whether its type is known, and nothing is to be added. */
  readonly typed: boolean;
}

/** Bun does not tell the type of a text: it is seen from what comes first. */
function addType(head: Head, chunks: Uint8Array[], whole: boolean): void {
  if (head.typed || chunks.length === 0 || !isText(chunks, whole)) return;
  head.fields.push("content-type", TEXT_TYPE);
}

/** Sends the head. */
function begin(
  { outgoing, incoming }: NodeExchange,
  { status, reason, fields, close }: Head,
  length: string | undefined,
): void {
  const all = grouped(fields);
  // HTTP/2 has neither, and Node would print a warning.
  const second = incoming.httpVersion === "2.0";
  if (close && !second) all.set("connection", ["close"]);
  if (length !== undefined) all.set("content-length", [length]);
  try {
    for (const [name, values] of all) {
      outgoing.setHeader(name, values.length === 1 ? values[0] : values);
    }
    if (reason === "" || second) outgoing.writeHead(status);
    else outgoing.writeHead(status, reason);
  } catch (error) {
    // None of them is for the answer that takes its place.
    if (!outgoing.headersSent) {
      for (const name of all.keys()) outgoing.removeHeader(name);
    }
    throw error;
  }
}

const encoder = new TextEncoder();

function sizeOf(body: OutgoingBody): number | undefined {
  if (body === null) return 0;
  if (typeof body === "string") return encoder.encode(body).byteLength;
  return body instanceof Uint8Array ? body.byteLength : undefined;
}

/** Names and their values, in order. */
function grouped(fields: Fields): Map<string, string[]> {
  const byName = new Map<string, string[]>();
  for (let i = 0; i < fields.length; i += 2) {
    const values = byName.get(fields[i]);
    if (values === undefined) byName.set(fields[i], [fields[i + 1]]);
    else values.push(fields[i + 1]);
  }
  return byName;
}

/** Bytes that wait for the end of a body at most. */
const HELD = 64 * 1024;

/** Writes a body as fast as the client takes it, and not faster. */
async function pipe(
  exchange: NodeExchange,
  { head, body, declared }: {
    head: Head;
    body: ReadableStream<Uint8Array>;
    declared: string | undefined;
  },
): Promise<void> {
  const { outgoing } = exchange;
  const reader = body.getReader();
  let drained: (() => void) | undefined;
  outgoing.on("drain", () => drained?.());
  exchange.onLost = (reason) => {
    cancelBody(reader, typeOf(head), reason);
    drained?.();
  };
  const held: Uint8Array[] = [];
  let sent = 0;
  let begun = false;
  let failed = false;
  // One that ends soon has a length, and can be wrong about it.
  const start = () => {
    if (begun || failed || exchange.lost !== undefined) return;
    begun = true;
    addType(head, held, false);
    begin(exchange, head, declared);
    for (const chunk of held) outgoing.write(chunk);
  };
  afterQuickEnd(() => begun, () => {
    try {
      start();
    } catch (error) {
      cancelBody(reader, typeOf(head), error);
      exchange.report(error);
      outgoing.destroy();
    }
  });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (exchange.lost !== undefined) return;
      if (done) break;
      if (!(value instanceof Uint8Array)) {
        throw new TypeError(
          `Cannot send a body: its chunk is no Uint8Array: ${typeof value}`,
        );
      }
      if (value.byteLength === 0) continue;
      sent += value.byteLength;
      if (!begun) {
        held.push(value);
        if (sent > HELD) start();
        continue;
      }
      if (declared !== undefined && sent > Number(declared)) break;
      if (!outgoing.write(value)) {
        await new Promise<void>((resolve) => drained = resolve);
        if (exchange.lost !== undefined) return;
      }
    }
    if (begun && declared !== undefined && sent !== Number(declared)) {
      throw new TypeError(
        `Cannot send a body: it is not as long as its content-length: ${declared}`,
      );
    }
  } catch (error) {
    failed = true;
    cancelBody(reader, typeOf(head), error);
    throw error;
  }
  if (begun) outgoing.end();
  else {
    begun = true;
    addType(head, held, true);
    begin(exchange, head, String(sent));
    outgoing.end(concat(held));
  }
}
