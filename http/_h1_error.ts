import { ProtocolError } from "../streams/errors.ts";

/**
 * The peer broke HTTP/1.1. `status` is what a server answers before it closes
 * (a client has no use for it).
 */
export class H1Error extends ProtocolError {
  static {
    this.prototype.name = "ProtocolError";
  }

  readonly status: number;

  constructor(status: number, message: string, code?: string) {
    super(message, code === undefined ? {} : { code });
    this.status = status;
  }
}

/** A byte for an error message. */
export function showByte(byte: number): string {
  return byte > 0x20 && byte < 0x7f
    ? `"${String.fromCharCode(byte)}"`
    : `0x${byte.toString(16).padStart(2, "0")}`;
}

/** Text of the peer for an error message: bounded, nothing unprintable. */
export function showText(text: string): string {
  const short = text.length > 64 ? `${text.slice(0, 64)}…` : text;
  return JSON.stringify(short);
}

/** A CR that no LF follows (RFC 9112, 2.2). */
export function bareCr(): H1Error {
  return new H1Error(400, "Cannot read the message: it holds a bare CR");
}
