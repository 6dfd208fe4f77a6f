import { checkName, checkReason, checkValue } from "./_h1_writer.ts";
import { takePlain } from "./response.ts";
import type { Fields } from "./_h1_types.ts";
import { isUntyped, TEXT_TYPE } from "./_text_type.ts";

const Native = globalThis.Response;

/** What is to be sent as a body: whole, or as it comes. */
export type OutgoingBody =
  | string
  | Uint8Array
  | ReadableStream<Uint8Array>
  | null;

/** As field lines of HTTP/1.1, or one by one. */
export type OutgoingForm = "lines" | "fields";

/** A response taken apart, as far as who sends it has to know. */
export interface Outgoing {
  status: number;
  reason: string;
  body: OutgoingBody;
  /** Whether nobody else has the bytes of the body: they go with it. */
  owned: boolean;
  /** Field lines with their CR LF, without those that frame the message. */
  lines: string;
  /** In their place, when that is the form: names and values, flat. */
  fields: Fields;
  /** `content-length` as the handler wrote it. */
  length: string | undefined;
  /** Whether it asks for the end of the connection. */
  close: boolean;
  /** Whether it has a `date` of its own. */
  dated: boolean;
  /** Whether it has a content type. */
  typed: boolean;
  /** `upgrade`, which needs `connection: upgrade` beside it. */
  upgrade: boolean;
}

/** One at a time is taken apart and sent: always the same object. */
const outgoing: Outgoing = {
  status: 200,
  reason: "",
  body: null,
  owned: false,
  lines: "",
  fields: [],
  length: undefined,
  close: false,
  dated: false,
  typed: false,
  upgrade: false,
};

/** Whether fields are wanted one by one. */
let listing = false;

function begin(status: number, reason: string): void {
  if (!(status >= 101 && status <= 599 && Number.isInteger(status))) {
    throw new TypeError(`Cannot send a response: its status is ${status}`);
  }
  // Bun's Response takes any; found while it is written it is found too late.
  if (reason !== "") checkReason(reason);
  outgoing.status = status;
  outgoing.reason = reason;
  outgoing.body = null;
  outgoing.owned = false;
  outgoing.lines = "";
  if (listing) outgoing.fields = [];
  outgoing.length = undefined;
  outgoing.close = false;
  outgoing.dated = false;
  outgoing.typed = false;
  outgoing.upgrade = false;
}

/** What a field means to whoever sends the response. */
type Role =
  | "length"
  | "connection"
  | "framing"
  | "date"
  | "type"
  | "upgrade"
  | "other";

const ROLES: ReadonlyMap<string, Role> = new Map<string, Role>([
  ["content-length", "length"],
  ["connection", "connection"],
  ["transfer-encoding", "framing"],
  ["keep-alive", "framing"],
  ["proxy-connection", "framing"],
  // A client's only; in HTTP/2 it would be an error (RFC 9113, 8.2.2).
  ["te", "framing"],
  ["date", "date"],
  ["content-type", "type"],
  ["upgrade", "upgrade"],
]);

/** Refuses what is no status to inform with. */
export function checkInforming(status: number): void {
  if (status !== 102 && status !== 103) {
    throw new RangeError(
      `Cannot inform: the status must be 102 or 103: ${status}`,
    );
  }
}

/**
 * The fields of an informational response, found valid: none that is for a
 * connection or a body (RFC 9110, 8.6; RFC 9112, 6.1).
 */
export function informingFields(given: HeadersInit | undefined): Headers {
  const headers = new Headers(given);
  for (const [name, role] of ROLES) {
    if (role !== "date" && role !== "type") headers.delete(name);
  }
  headers.forEach((value, name) => checkValue(name, value));
  return headers;
}

/** A field as it was sent before: most often it is the same again. */
interface KnownField {
  /** In lower case, and found valid. */
  readonly name: string;
  readonly role: Role;
  /** Found valid, too, with its line. */
  value: string;
  line: string;
}

/** By their names as they were given; bounded. */
const known = new Map<string, KnownField>();
const MAX_KNOWN = 256;
/** Longer names and values are not kept. */
const MAX_VALUE = 256;

function learn(given: string): KnownField {
  const name = given.toLowerCase();
  const role = ROLES.get(name) ?? "other";
  checkName(name);
  const field = { name, role, value: "", line: `${name}: \r\n` };
  if (given.length > MAX_VALUE) return field;
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(given, field);
  return field;
}

/** The one that was taken in last, which is the next one as often as not. */
let lastGiven: string | undefined;
let lastField: KnownField;

/** Takes one field in; what frames the message is ours to say. */
function takeField(value: string, given: string): void {
  if (given !== lastGiven) {
    lastField = known.get(given) ?? learn(given);
    lastGiven = given;
  }
  const field = lastField;
  switch (field.role) {
    case "other":
      break;
    case "type":
      outgoing.typed = true;
      break;
    case "date":
      outgoing.dated = true;
      break;
    case "upgrade":
      outgoing.upgrade = true;
      break;
    case "length":
      outgoing.length = value;
      return;
    case "connection":
      if (/(^|[\s,])close($|[\s,])/i.test(value)) outgoing.close = true;
      return;
    default:
      return;
  }
  const { name } = field;
  if (field.value !== value) {
    checkValue(name, value);
    const line = `${name}: ${value}\r\n`;
    if (value.length <= MAX_VALUE) {
      field.value = value;
      field.line = line;
    }
    if (!listing) outgoing.lines += line;
  } else if (!listing) outgoing.lines += field.line;
  if (listing) outgoing.fields.push(name, value);
}

/** Adds a field that the handler did not write. */
export function addField(
  outgoing: Outgoing,
  { name, value }: { name: string; value: string },
  form: OutgoingForm,
): void {
  if (form === "fields") outgoing.fields.push(name, value);
  else outgoing.lines += `${name}: ${value}\r\n`;
}

/** Whether it is a Response, also one of another realm or library. */
export function isResponse(value: unknown): value is Response {
  return value instanceof Native ||
    (typeof value === "object" && value !== null &&
      Object.prototype.toString.call(value) === "[object Response]");
}

export const UNUSABLE: string =
  "Cannot send the response: its body was read before";

/**
 * Takes a response apart, and its body out of it. The result is good until
 * the next call. Throws a TypeError for one that cannot be sent.
 */
export function takeApart(
  response: Response,
  form: OutgoingForm = "lines",
): Outgoing {
  takeInside ??= findInside();
  listing = form === "fields";
  if (!isResponse(response)) {
    throw new TypeError(
      `Cannot send what the handler gave: it is no Response: ${
        response === null ? "null" : typeof response
      }`,
    );
  }
  const plain = takePlain(response);
  if (plain !== undefined) {
    begin(plain.status, response.statusText);
    const { fields } = plain;
    for (let i = 0; i < fields.length; i += 2) {
      takeField(fields[i + 1], fields[i]);
    }
    outgoing.body = plain.body;
    outgoing.owned = plain.owned === true;
    return outgoing;
  }
  if (!takeInside(response)) takeOutside(response);
  return outgoing;
}

/** By what every Response has: its body is a stream then. */
function takeOutside(response: Response): void {
  begin(response.status, response.statusText);
  // Before the body: Bun forgets the type of a Blob once its stream is made.
  response.headers.forEach(takeField);
  outgoing.body = usableBody(response);
}

/**
 * By what this runtime's own Response keeps inside, when the body is there:
 * making a stream of it costs more than all the rest. `false`: not done.
 */
type TakeInside = (response: Response) => boolean;

let takeInside: TakeInside | undefined;

/** A body that a response has whole, taken out of it; else `undefined`. */
export type BodyInside = (
  response: Response,
) => Uint8Array | ReadableStream<Uint8Array> | undefined;

/** The way that is not to be found from here: that of Bun. */
export function useInside(
  bodyInside: BodyInside | undefined,
  isText: (bytes: Uint8Array) => boolean,
): void {
  if (bodyInside === undefined) return;
  takeInside = (response) => {
    begin(response.status, response.statusText);
    // Before the body, for there it forgets the type.
    response.headers.forEach(takeField);
    if (!outgoing.typed && isUntyped(response)) outgoing.typed = true;
    const body = outgoing.body = bodyInside(response) ?? null;
    if (body === null) {
      outgoing.body = usableBody(response);
    } else if (body instanceof Uint8Array) {
      // What `bytes` gave is nobody else's.
      outgoing.owned = true;
      if (!outgoing.typed && isText(body)) {
        takeField(TEXT_TYPE, "content-type");
      }
    }
    return true;
  };
}

function usableBody(response: Response): ReadableStream<Uint8Array> | null {
  if (response.bodyUsed) throw new TypeError(UNUSABLE);
  const { body } = response;
  if (body !== null && body.locked) throw new TypeError(UNUSABLE);
  return body;
}

/** The first way in that gives what the standard way gives. */
function findInside(): TakeInside {
  listing = false;
  const samples: (() => Response)[] = [
    () => new Native("text"),
    () => new Native("", { status: 404 }),
    () => new Native("text", { headers: { "content-type": "text/html" } }),
    () => new Native("text", { headers: new Headers({ "x-a": "1" }) }),
    () => new Native(new Uint8Array([1, 255]), { headers: { "x-a": "é" } }),
    () => new Native(new URLSearchParams("a=b"), { statusText: "Fine" }),
    () => Native.json({ a: 1 }),
    () => {
      const response = new Native("text");
      response.headers.append("set-cookie", "a=1");
      response.headers.append("set-cookie", "b=2");
      response.headers.delete("content-type");
      return response;
    },
  ];
  for (
    const way of [symbolsWithText, symbolsWithStatic, symbolsWithSource]
  ) {
    try {
      const take = way();
      const same = samples.every((sample) => {
        const response = sample();
        const reference = sample();
        if (!take(response) || outgoing.body instanceof ReadableStream) {
          return false;
        }
        const { status, reason, lines } = outgoing;
        begin(reference.status, reference.statusText);
        reference.headers.forEach(takeField);
        // It is used up, and the next one is not taken for it.
        return status === outgoing.status && reason === outgoing.reason &&
          sortLines(lines) === sortLines(outgoing.lines) &&
          refuses(take, response);
      });
      if (same) return take;
    } catch {
      // Not this runtime's way.
    }
  }
  return () => false;
}

function sortLines(lines: string): string {
  return lines.split("\r\n").sort().join("\n");
}

function refuses(take: TakeInside, response: Response): boolean {
  try {
    return !take(response);
  } catch {
    return true;
  }
}

function symbolOf(object: object, description: string): symbol {
  const found = Object.getOwnPropertySymbols(object).find((symbol) =>
    symbol.description === description
  );
  if (found === undefined) throw new TypeError(`No symbol: ${description}`);
  return found;
}

type Inside = Record<symbol, unknown>;

/** Whether it is of the class itself: another's may tell anything. */
function isNative(response: Response): boolean {
  return Object.getPrototypeOf(response) === Native.prototype;
}

/**
 * Deno, whose responses of nothing but a text are not even `InnerResponse`s
 * yet. All others are taken as those are.
 */
function symbolsWithText(): TakeInside {
  const sample = new Native("");
  const textKey = symbolOf(sample, "lazy static body");
  const typeKey = symbolOf(sample, "lazy static content type");
  const usedKey = symbolOf(sample, "serve fast consumed");
  const take = symbolsWithStatic();
  (sample as unknown as Inside)[usedKey] = true;
  if (!sample.bodyUsed) throw new TypeError("It does not tell when it is used");
  return (response) => {
    const inside = response as unknown as Inside;
    const text = inside[textKey];
    if (typeof text !== "string" || !isNative(response)) return take(response);
    if (inside[usedKey] !== false) throw new TypeError(UNUSABLE);
    inside[usedKey] = true;
    // Without an init, and asking it takes long.
    begin(200, "");
    outgoing.body = text;
    const type = inside[typeKey];
    takeField(typeof type === "string" ? type : TEXT_TYPE, "content-type");
    return true;
  };
}

/** Deno: `InnerResponse`, whose body holds what it was made of. */
function symbolsWithStatic(): TakeInside {
  const sample = new Native("");
  const innerKey = symbolOf(sample, "response");
  const bodyKey = symbolOf(Native.prototype, "body");
  const typeKey = symbolOf(sample, "lazy static content type");
  const servedKey = symbolOf(sample, "serve native response");
  interface InnerBody {
    streamOrStatic:
      | { body?: string | Uint8Array; consumed?: boolean }
      | ReadableStream<Uint8Array>;
  }
  return (response) => {
    const inside = response as unknown as Inside;
    const inner = inside[innerKey] as
      | { headerList: [string, string][] }
      | undefined;
    if (inner === undefined) return false;
    // Not those inside: a switch of protocols says 101 for its own.
    begin(response.status, response.statusText);
    const body = inside[bodyKey] as InnerBody | null;
    // One made ready for Deno's own server is a burden until it is dropped.
    if (inside[servedKey] !== null) response.headers;
    if (body !== null) {
      const content = body.streamOrStatic;
      if (content instanceof ReadableStream) {
        outgoing.body = usableBody(response);
      } else {
        if (typeof content.body === "string") outgoing.body = content.body;
        else if (content.body instanceof Uint8Array) {
          outgoing.body = content.body;
        } else return false;
        // It was copied when the response was made, and is used up now.
        outgoing.owned = true;
        if (content.consumed !== false) throw new TypeError(UNUSABLE);
        content.consumed = true;
      }
    }
    for (const [name, value] of inner.headerList) takeField(value, name);
    const type = inside[typeKey];
    if (typeof type === "string") takeField(type, "content-type");
    return true;
  };
}

/** Node 20 and 22: undici's state, whose body remembers its source. */
function symbolsWithSource(): TakeInside {
  const stateKey = symbolOf(new Native(""), "state");
  const sent: unique symbol = Symbol("sluice.sent");
  interface State {
    body: { source: unknown; stream: ReadableStream } | null | undefined;
  }
  return (response) => {
    const inside = response as unknown as Inside;
    const state = inside[stateKey] as State | undefined;
    if (state === undefined) return false;
    begin(response.status, response.statusText);
    if (state.body != null) {
      const { source, stream } = state.body;
      if (inside[sent] || stream.locked || response.bodyUsed) {
        throw new TypeError(UNUSABLE);
      }
      if (typeof source === "string") outgoing.body = source;
      else if (source instanceof Uint8Array) outgoing.body = source;
      else if (source instanceof URLSearchParams) {
        outgoing.body = source.toString();
      } else return false;
      inside[sent] = true;
    }
    response.headers.forEach(takeField);
    return true;
  };
}
