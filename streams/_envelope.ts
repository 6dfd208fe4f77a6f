import { ProtocolError } from "./errors.ts";

/** What a message is, once it has left its process. */
export interface Envelope {
  /** Which process it comes from. */
  readonly from: string;
  /** Which count of its `count` belongs to: a later one starts afresh. */
  readonly run: number;
  /** The how-manyeth it is of this topic from there, from 1. */
  readonly count: number;
  /** `t`: text, `j`: JSON, `b`: bytes. */
  readonly kind: "t" | "j" | "b";
  readonly body: string | Uint8Array;
}

/** Longest first line: its parts have a bounded length each. */
const MAX_HEAD = 80;
const HEAD =
  /^sluice1 ([tjbx]) ([0-9a-zA-Z_-]{1,32}) ([0-9a-z]{1,10}) ([0-9a-z]{1,10})$/;

const encoder = new TextEncoder();
const ascii = new TextDecoder("latin1");
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as text, for engines that carry text alone. */
function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(text);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

/**
 * One line of ASCII, then the message: text and JSON as they are, bytes as
 * they are where the engine takes them and in base64 (`x`) where it does not.
 */
export function seal(
  { from, run, count, kind, body }: Envelope,
  binary: boolean,
): string | Uint8Array {
  const inText = kind === "b" && !binary;
  const head = `sluice1 ${inText ? "x" : kind} ${from} ` +
    `${run.toString(36)} ${count.toString(36)}\n`;
  if (typeof body === "string") return head + body;
  if (inText) return head + toBase64(body);
  const sealed = new Uint8Array(head.length + body.length);
  encoder.encodeInto(head, sealed);
  sealed.set(body, head.length);
  return sealed;
}

/** The reverse; throws a `ProtocolError` for what `seal` has not made. */
export function unseal(sealed: string | Uint8Array): Envelope {
  const text = typeof sealed === "string";
  const end = text
    ? sealed.slice(0, MAX_HEAD).indexOf("\n")
    : sealed.subarray(0, MAX_HEAD).indexOf(10);
  const head = text
    ? sealed.slice(0, end)
    : ascii.decode(sealed.subarray(0, Math.max(0, end)));
  const found = end < 0 ? null : HEAD.exec(head);
  if (found === null) {
    throw new ProtocolError(
      "Cannot read a message of the backplane: no backplane has sent it",
    );
  }
  const [, kind, from, run, count] = found;
  try {
    return {
      from,
      run: parseInt(run, 36),
      count: parseInt(count, 36),
      kind: kind === "x" ? "b" : kind as Envelope["kind"],
      body: open(
        kind,
        text ? sealed.slice(end + 1) : sealed.subarray(end + 1),
      ),
    };
  } catch (cause) {
    throw new ProtocolError(
      "Cannot read a message of the backplane: it was changed on its way",
      { cause },
    );
  }
}

function open(kind: string, body: string | Uint8Array): string | Uint8Array {
  if (kind === "b") {
    if (typeof body === "string") throw new TypeError("Bytes came as text");
    // A copy, for the engine may use its memory again; and never a Buffer.
    return new Uint8Array(body);
  }
  const text = typeof body === "string" ? body : strict.decode(body);
  return kind === "x" ? fromBase64(text) : text;
}
