import { dateText, utf8Length } from "./_h1_writer.ts";
import type { Fields } from "./_h1_types.ts";
import { OF_CONNECTION } from "./_h2_fields.ts";
import type { H2ServerStream } from "./_h2_server_stream.ts";
import type { Outgoing } from "./_response_parts.ts";
import type { ResponseOutput } from "./_wire_carrier.ts";
import type { WireExchange } from "./_wire_exchange.ts";
import { isBodiless, isLength, isUnframed } from "./_wire_response.ts";

const encoder = new TextEncoder();

/** How a stream of HTTP/2 has its response written (RFC 9113, 8.3.2). */
export const h2Output: ResponseOutput = {
  form: "fields",
  inform(exchange, status, headers) {
    const fields = [":status", String(status)];
    for (const [name, value] of headers) fields.push(name, value);
    streamOf(exchange).sendFields(fields, false);
  },
  whole(exchange, outgoing, body) {
    exchange.answered = true;
    const { status } = outgoing;
    if (isBodiless(exchange, status)) {
      // What the body would have been long, as far as anybody knows.
      let length: string | undefined;
      if (status !== 204) {
        if (body !== null && status !== 304) {
          length = String(
            typeof body === "string" ? utf8Length(body) : body.byteLength,
          );
        } else if (isLength(outgoing.length)) length = outgoing.length;
      }
      streamOf(exchange).sendFields(headOf(outgoing, length), true);
      return;
    }
    const bytes = typeof body === "string" ? encoder.encode(body) : body;
    const size = bytes === null ? 0 : bytes.byteLength;
    const fields = headOf(
      outgoing,
      isUnframed(exchange, status) ? undefined : String(size),
    );
    const stream = streamOf(exchange);
    stream.sendFields(fields, size === 0);
    if (size > 0) stream.sendLast(bytes!);
  },
  head(exchange, outgoing, length, trailers) {
    const fields = headOf(
      outgoing,
      length === undefined || isUnframed(exchange, outgoing.status)
        ? undefined
        : String(length),
    );
    if (
      trailers !== undefined && trailers.names.length > 0 &&
      !fields.includes("trailer")
    ) fields.push("trailer", trailers.names.join(", "));
    streamOf(exchange).sendFields(fields, false);
  },
  data(exchange, chunk) {
    streamOf(exchange).send(chunk);
  },
  last(exchange, trailers) {
    streamOf(exchange).end(trailers);
  },
};

function streamOf(exchange: WireExchange): H2ServerStream["stream"] {
  return (exchange.connection as H2ServerStream).stream;
}

/** The head of a response; `upgrade` and the like have no place in it. */
export function headOf(
  { status, fields, dated }: Outgoing,
  length?: string,
): Fields {
  const head = [":status", String(status)];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i];
    if (!OF_CONNECTION.has(name)) head.push(name, fields[i + 1]);
  }
  if (length !== undefined) head.push("content-length", length);
  if (!dated) head.push("date", dateText());
  return head;
}
