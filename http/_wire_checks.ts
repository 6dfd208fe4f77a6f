import { SizeLimitError, TimeoutError } from "../streams/errors.ts";
import { H1Error } from "./_h1_error.ts";
import type { RequestHead } from "./_h1_types.ts";
import { dateLine, encodeHead, statusLine } from "./_h1_writer.ts";
import { isUnsayableMethod } from "./_request.ts";
import type { Outgoing } from "./_response_parts.ts";
import type { WireServer } from "./_wire_server.ts";

/** Checks what the reader does not know of; gives the origin it is for. */
export function originOf(server: WireServer, head: RequestHead): string {
  const origin = server.origins.of(head.host);
  if (origin === undefined) {
    throw new H1Error(400, "Cannot take a request: its Host is no host");
  }
  if (isUnsayableMethod(head.method)) {
    throw new H1Error(
      501,
      "Cannot take a request: its method is in lower case",
    );
  }
  const { framing } = head;
  if (
    framing.kind === "length" && framing.length > server.config.limits.body
  ) {
    throw bodyTooLong();
  }
  return origin;
}

/** Whether the request has a body that the handler can be given. */
export function hasBody({ framing, method }: RequestHead): boolean {
  return (framing.kind === "chunked" ||
    (framing.kind === "length" && framing.length > 0)) &&
    method !== "GET" && method !== "HEAD";
}

export function bodyTooLong(): H1Error {
  return new H1Error(413, "Cannot take a body: it is too long");
}

/** The answer to what is no request: nothing but a status, and the end. */
export function refusal(status: number): Uint8Array {
  return encodeHead(
    `${
      statusLine(status)
    }${dateLine()}content-length: 0\r\nconnection: close\r\n\r\n`,
  );
}

/** Throws unless the request asked for what takes the connection over. */
export function checkTakeover(
  { method, minor, upgrade }: RequestHead,
  { status }: Outgoing,
): void {
  if (status < 200 ? upgrade === undefined : minor === 0) {
    throw new TypeError(
      `Cannot take the connection over: the request did not ask for it: ${method}`,
    );
  }
}

/** What the reader of a body hears when it is longer than allowed. */
export function longBody(limit: number): SizeLimitError {
  return new SizeLimitError(`Cannot take a body: more than ${limit} bytes`, {
    limit,
    phase: "body",
  });
}

/** What the reader of a body hears when it does not come on. */
export function slowBody(ms: number): TimeoutError {
  return new TimeoutError(`Cannot read the body: nothing came for ${ms} ms`, {
    phase: "body",
  });
}

/** What the source of a response hears when the client does not read it. */
export function deafClient(ms: number): TimeoutError {
  return new TimeoutError(
    `Cannot send the response: the client took nothing for ${ms} ms`,
    { phase: "idle" },
  );
}
