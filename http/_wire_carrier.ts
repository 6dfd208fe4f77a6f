import type { Transport } from "../tcp/_transport.ts";
import type { Fields } from "./_h1_types.ts";
import type { Outgoing, OutgoingForm } from "./_response_parts.ts";
import type { RequestBody } from "./_request_body.ts";
import type { Takeover } from "./_takeover.ts";
import type { OutgoingTrailers } from "./_trailers.ts";
import type { WireExchange } from "./_wire_exchange.ts";
import type { WireServer } from "./_wire_server.ts";

/** What carries an exchange: a connection of HTTP/1.1, a stream of HTTP/2. */
export interface Carrier {
  readonly server: WireServer;
  /** The connection below: for its addresses, and what TLS agreed on. */
  readonly transport: Transport;
  /** How a response is written. */
  readonly output: ResponseOutput;
  /** Whether to wait for the client to take what it was sent. */
  readonly full: boolean;
  /** The client may send its body (RFC 9110, 15.2.1). */
  sayContinue(): void;
  /** Reads on, when it was held. */
  makeRoom(): void;
  /** Nobody looks at what came of this body any more. */
  spent?(body: RequestBody): void;
  /** All of the response is written. */
  responseOver(exchange: WireExchange): void;
  /** Tells the exchange once all that was written is with the kernel. */
  whenFlushed(exchange: WireExchange): void;
  /** The response cannot be finished: it must not look as if it were. */
  abort(exchange: WireExchange, error: unknown): void;
  /** The head goes out, and what is left of the connection to another. */
  beginTakeover(
    exchange: WireExchange,
    outgoing: Outgoing,
    takeover: Takeover,
  ): void;
}

/** How a response is written, in the terms of one version of HTTP. */
export interface ResponseOutput {
  /** In which form it wants the fields. */
  readonly form: OutgoingForm;
  /** An informational response. */
  inform(exchange: WireExchange, status: number, headers: Headers): void;
  /** A response whose body is known. */
  whole(
    exchange: WireExchange,
    outgoing: Outgoing,
    body: string | Uint8Array | null,
  ): void;
  /** The head of a response whose body comes by and by. */
  head(
    exchange: WireExchange,
    outgoing: Outgoing,
    length: number | undefined,
    trailers: OutgoingTrailers | undefined,
  ): void;
  /** A piece of that body, which may be changed by others later. */
  data(exchange: WireExchange, chunk: Uint8Array): void;
  /** The end of that body. */
  last(exchange: WireExchange, trailers: Fields | undefined): void;
}
