import { COPY_LIMIT } from "../tcp/_writer.ts";
import { statusOfError } from "./_error_status.ts";
import type { Fields } from "./_h1_types.ts";
import type { Outgoing } from "./_response_parts.ts";
import { cancelBody, cancelResponse, typeOf } from "./_body_cancel.ts";
import { takeApart } from "./_response_parts.ts";
import { takeoverOf } from "./_takeover.ts";
import { isThenable } from "./_thenable.ts";
import { trailersOf } from "./_trailers.ts";
import type { ServeOptions } from "./types.ts";
import type { WireExchange } from "./_wire_exchange.ts";
import { ResponseStream } from "./_wire_stream.ts";

/** Has the request answered: by the handler, unless there is no room for it. */
export function takeRequest(exchange: WireExchange): void {
  const { server } = exchange.connection;
  if (!server.admit(exchange)) answerOverload(exchange);
  else if (exchange.expecting && server.config.onExpect !== undefined) {
    askExpect(exchange, server.config.onExpect);
  } else callHandler(exchange);
}

/** Calls the handler and sends what it gives. */
function callHandler(exchange: WireExchange): void {
  const { handler } = exchange.connection.server.config;
  let response: unknown;
  try {
    response = handler(exchange.request, exchange.context);
    if (!(response instanceof Promise) && isThenable(response)) {
      response = Promise.resolve(response);
    }
  } catch (error) {
    handlerFailed(exchange, error);
    exchange.settle();
    return;
  }
  if (response instanceof Promise) {
    limitTime(exchange);
    response.then(
      (given) => {
        answer(exchange, given as Response);
        exchange.settle();
      },
      (error) => {
        handlerFailed(exchange, error);
        exchange.settle();
      },
    );
  } else {
    answer(exchange, response as Response);
    exchange.settle();
  }
}

function limitTime(exchange: WireExchange): void {
  const { server } = exchange.connection;
  const { handler } = server.config.timeouts;
  if (handler !== Infinity) exchange.deadline = server.after(handler);
}

/** Whether the client is to send its body at all (RFC 9110, 10.1.1). */
function askExpect(
  exchange: WireExchange,
  onExpect: NonNullable<ServeOptions["onExpect"]>,
): void {
  const refuse = (error: unknown) => {
    handlerFailed(exchange, error);
    exchange.settle();
  };
  const decide = (decision: unknown) => {
    if (decision === true) {
      exchange.wanted();
      callHandler(exchange);
      return;
    }
    if (decision === false) answerBare(exchange, 417);
    else answer(exchange, decision as Response);
    exchange.settle();
  };
  try {
    const decision = onExpect(exchange.request);
    if (isThenable(decision)) {
      limitTime(exchange);
      Promise.resolve(decision).then(decide, refuse);
    } else decide(decision);
  } catch (error) {
    refuse(error);
  }
}

/** Too many are being answered already. */
function answerOverload(exchange: WireExchange): void {
  const { onOverload } = exchange.connection.server.config;
  if (onOverload !== undefined) {
    try {
      const response: unknown = onOverload(exchange.request);
      // What is no Response is an error, and that it rejects no second one.
      if (isThenable(response)) Promise.resolve(response).catch(() => {});
      send(exchange, response as Response);
      return;
    } catch (error) {
      exchange.report(error);
    }
  }
  answerBare(exchange, 503, ["retry-after", "1"]);
}

function answer(exchange: WireExchange, response: Response): void {
  try {
    send(exchange, response);
  } catch (error) {
    handlerFailed(exchange, error);
  }
}

function send(exchange: WireExchange, response: Response): void {
  let takeover = takeoverOf(response);
  if (
    takeover !== undefined && response.status !== 101 &&
    exchange.method !== "CONNECT"
  ) takeover = undefined;
  if (exchange.answered) {
    // The client is gone, or had an answer already.
    if (takeover !== undefined) takeover.abandon(exchange.lost);
    else cancelResponse(response, exchange.lost);
    return;
  }
  const { output } = exchange.connection;
  const outgoing = takeApart(response, output.form);
  if (outgoing.status === 205) emptyOut(outgoing);
  if (takeover !== undefined) {
    // Whoever waits to send the request is told first (RFC 9110, 7.8).
    exchange.wanted();
    exchange.connection.beginTakeover(exchange, outgoing, takeover);
    return;
  }
  if (outgoing.status < 200) {
    throw new TypeError(
      `Cannot send a response: ${outgoing.status} is only for an upgrade`,
    );
  }
  const { head } = exchange;
  if (
    head.version === "h2" && head.upgrade !== undefined && outgoing.status < 300
  ) {
    // Where HTTP/1.1 says 101 it means that it is done (RFC 8441, 5).
    throw new TypeError(
      `Cannot answer an extended CONNECT with ${outgoing.status}: what it asks for was not done`,
    );
  }
  const { body } = outgoing;
  const trailers = trailersOf(response);
  if (trailers !== undefined) {
    exchange.stream = new ResponseStream(
      exchange,
      outgoing,
      body instanceof ReadableStream ? body : streamOf(body),
      trailers,
    );
    exchange.stream.start();
    return;
  }
  // A request's own body, sent back as it came: no stream is needed.
  const own = body instanceof ReadableStream
    ? exchange.body?.takeStream(body)
    : undefined;
  const whole = own ?? body;
  if (whole instanceof ReadableStream) {
    exchange.stream = new ResponseStream(exchange, outgoing, whole);
    exchange.stream.start();
    return;
  }
  output.whole(exchange, outgoing, whole);
  // So far it is copied.
  if (own !== undefined && own.byteLength <= COPY_LIMIT) {
    exchange.body!.release();
    exchange.connection.spent?.(exchange.body!);
  }
  exchange.connection.responseOver(exchange);
}

/** What resets a form has no content, whatever it was given (RFC 9110, 15.3.6). */
function emptyOut(outgoing: Outgoing): void {
  const { body } = outgoing;
  outgoing.body = null;
  outgoing.length = undefined;
  if (body instanceof ReadableStream) {
    cancelBody(body.getReader(), typeOf(outgoing), undefined);
  }
}

/** The handler gave no response that can be sent. */
export function handlerFailed(exchange: WireExchange, error: unknown): void {
  if (exchange.answered) {
    if (!exchange.isKnown(error)) exchange.report(error);
    return;
  }
  if (exchange.isKnown(error)) {
    answerBare(exchange, 500);
    return;
  }
  const { onError } = exchange.connection.server.config;
  if (onError === undefined) {
    answerBare(exchange, statusOfError(error));
    return;
  }
  const failed = () => answerBare(exchange, 500);
  const sendInstead = (response: Response) => {
    try {
      send(exchange, response);
    } catch {
      failed();
    }
  };
  try {
    const response = onError(error, exchange.request);
    if (isThenable(response)) {
      Promise.resolve(response).then(sendInstead, failed);
    } else sendInstead(response);
  } catch {
    failed();
  }
}

/** A response of the engine's own: nothing but a status. */
export function answerBare(
  exchange: WireExchange,
  status: number,
  fields: Fields = [],
): void {
  if (exchange.answered) return;
  exchange.stream?.stop(undefined);
  exchange.stream = undefined;
  exchange.connection.output.whole(
    exchange,
    bareResponse(status, fields),
    null,
  );
  exchange.connection.responseOver(exchange);
}

/** A body that is there, as a stream. */
function streamOf(
  body: string | Uint8Array | null,
): ReadableStream<Uint8Array> {
  const bytes = typeof body === "string"
    ? new TextEncoder().encode(body)
    : body;
  return new ReadableStream({
    start(controller) {
      if (bytes !== null) controller.enqueue(bytes);
      controller.close();
    },
  });
}

function bareResponse(status: number, fields: Fields): Outgoing {
  let lines = "";
  for (let i = 0; i < fields.length; i += 2) {
    lines += `${fields[i]}: ${fields[i + 1]}\r\n`;
  }
  return {
    status,
    reason: "",
    body: null,
    owned: false,
    lines,
    fields,
    length: undefined,
    close: false,
    dated: false,
    typed: false,
    upgrade: false,
  };
}
