/**
 * Header fields in order of arrival, flat: name, value, name, value …
 * Names are in lower case, values without surrounding white space. Bytes
 * above 0x7f are Latin-1, as `Headers` has them.
 */
export type Fields = string[];

/** How the end of a body is found (RFC 9112, section 6.3). */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "close" };

/** The head of a request, checked. */
export interface RequestHead {
  readonly method: string;
  readonly target: string;
  /** 0 for HTTP/1.0, 1 for HTTP/1.1 and what is above it. */
  readonly minor: 0 | 1;
  /** Of a request that did not come in HTTP/1. */
  readonly version?: "h2";
  readonly fields: Fields;
  readonly framing: Framing;
  /** Host as it counts (RFC 9112, 3.2): of the absolute form, or the field. */
  readonly host: string;
  /** Whether the connection may carry another request (RFC 9112, 9.3). */
  readonly keepAlive: boolean;
  /** `Expect: 100-continue` on an HTTP/1.1 request that has a body. */
  readonly expectContinue: boolean;
  /** Tokens of `Upgrade`, when `Connection: upgrade` goes with it. */
  readonly upgrade: string | undefined;
}

/** What is kept beside a head that comes again and again. */
export interface HeadMemo {
  /** What requests of this head are made of. */
  mold: Request | undefined;
}

/** The head of a response, checked. */
export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  /** Of a response that did not come in HTTP/1. */
  readonly version?: "h2";
  readonly fields: Fields;
  readonly framing: Framing;
  readonly keepAlive: boolean;
}

/** What a reader tells, in order: head, content …, messageEnd; then a head. */
export interface H1Events<Head> {
  head(head: Head): void;
  /** A piece of the body, decoded from its framing; a view of the input. */
  content(chunk: Uint8Array): void;
  /** The message is over. `trailers` only after a chunked body that had some. */
  messageEnd(trailers: Fields | undefined): void;
}

/** What a reader of responses tells. */
export interface H1ResponseEvents extends H1Events<ResponseHead> {
  /** An informational response (1xx but 101); the real one follows. */
  inform?(head: ResponseHead): void;
}

/** Bounds of a reader, in bytes. */
export interface H1Limits {
  /** The whole header block. */
  header: number;
  /** The request target. */
  target: number;
  /** Number of header fields. */
  fields: number;
  /** Trailers and chunk extensions, together, of one message. */
  trailer: number;
}
