import { showText } from "./_h1_error.ts";
import {
  isAuthority,
  isToken,
  NOT_IN_TRAILERS,
  TARGET,
  TOKEN,
  VALUE,
} from "./_h1_tables.ts";
import type { Fields } from "./_h1_types.ts";
import { H2StreamError, PROTOCOL_ERROR } from "./_h2_frames.ts";

/** The head of a request on a stream, checked (RFC 9113, 8.3.1). */
export interface H2RequestHead {
  readonly method: string;
  /** `""` for CONNECT. */
  readonly path: string;
  readonly authority: string;
  readonly scheme: string;
  /** `:protocol` of an extended CONNECT (RFC 8441, 4). */
  readonly protocol: string | undefined;
  /** Without pseudo-fields, and with `host`. */
  readonly fields: Fields;
  /** `content-length`, when there is one. */
  readonly length: number | undefined;
}

/** The head of a response on a stream, checked (RFC 9113, 8.3.2). */
export interface H2ResponseHead {
  readonly status: number;
  readonly fields: Fields;
  readonly length: number | undefined;
}

/** Fields of a connection, which a stream has not (RFC 9113, 8.2.2). */
export const OF_CONNECTION: ReadonlySet<string> = new Set([
  ...["connection", "proxy-connection", "keep-alive", "transfer-encoding"],
  "upgrade",
]);

/** Malformed (RFC 9113, 8.1.1). */
function malformed(message: string): H2StreamError {
  return new H2StreamError(PROTOCOL_ERROR, `Cannot take a message: ${message}`);
}

/** Names that were found valid; bounded. */
const goodNames = new Set<string>();

/** RFC 9113, 8.2.1: a token in lower case. */
function checkName(name: string): void {
  if (goodNames.has(name)) return;
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    // The table gives the lower case of a letter, and 0 for what is refused.
    if (c === 0 || c > 0x7f || TOKEN[c] !== c) {
      throw malformed(`bad field name ${showText(name)}`);
    }
  }
  if (name === "") throw malformed("a field without a name");
  if (OF_CONNECTION.has(name)) {
    throw malformed(`${name} is not for a stream (RFC 9113, 8.2.2)`);
  }
  if (goodNames.size >= 512) goodNames.clear();
  if (name.length <= 64) goodNames.add(name);
}

/** RFC 9113, 8.2.1, and RFC 9110, 5.5. */
function checkValue(name: string, value: string): void {
  const { length } = value;
  for (let i = 0; i < length; i++) {
    const c = value.charCodeAt(i);
    if (c > 0xff || VALUE[c] === 0) throw malformed(`bad value of ${name}`);
  }
  if (length === 0) return;
  const first = value.charCodeAt(0);
  const last = value.charCodeAt(length - 1);
  if (first === 0x20 || first === 0x09 || last === 0x20 || last === 0x09) {
    throw malformed(`white space around the value of ${name}`);
  }
}

/** What every section of fields is checked for. */
class Section {
  readonly pseudo: Record<string, string | undefined> = {};
  readonly fields: Fields = [];
  length: number | undefined;
  #cookie = -1;

  constructor(fields: Fields, known: readonly string[]) {
    let regular = false;
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i];
      const value = fields[i + 1];
      if (name.charCodeAt(0) !== 0x3a) {
        regular = true;
        this.#take(name, value);
        continue;
      }
      if (regular) throw malformed(`${showText(name)} behind other fields`);
      if (!known.includes(name)) {
        throw malformed(`unknown pseudo-field ${showText(name)}`);
      }
      if (this.pseudo[name] !== undefined) {
        throw malformed(`${name} came twice`);
      }
      checkValue(name, value);
      this.pseudo[name] = value;
    }
  }

  #take(name: string, value: string): void {
    checkName(name);
    checkValue(name, value);
    switch (name) {
      case "te":
        if (value.toLowerCase() !== "trailers") {
          throw malformed("te may say nothing but trailers");
        }
        break;
      case "content-length":
        if (this.length !== undefined) {
          throw malformed("content-length came twice");
        }
        this.length = lengthOf(value);
        break;
      case "cookie":
        // Its crumbs are put together again (RFC 9113, 8.2.3).
        if (this.#cookie !== -1) {
          this.fields[this.#cookie] += `; ${value}`;
          return;
        }
        this.#cookie = this.fields.length + 1;
    }
    this.fields.push(name, value);
  }
}

function lengthOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) {
    throw malformed(`bad content-length ${showText(text)}`);
  }
  return Number(text);
}

const OF_REQUEST = [
  ...[":method", ":scheme", ":path", ":authority", ":protocol"],
];

/** Checks the fields of a request; throws an `H2StreamError`. */
export function requestHead(all: Fields): H2RequestHead {
  const section = new Section(all, OF_REQUEST);
  const { pseudo, fields, length } = section;
  const {
    ":method": method,
    ":scheme": scheme,
    ":path": path,
    ":protocol": protocol,
  } = pseudo;
  if (method === undefined || !isToken(method)) throw malformed("bad :method");
  const plainConnect = method === "CONNECT" && protocol === undefined;
  if (plainConnect) {
    // RFC 9113, 8.5.
    if (scheme !== undefined || path !== undefined) {
      throw malformed("CONNECT has neither :scheme nor :path");
    }
  } else {
    if (scheme !== "http" && scheme !== "https") throw malformed("bad :scheme");
    checkPath(path, method);
    if (protocol !== undefined && method !== "CONNECT") {
      throw malformed(":protocol is for CONNECT");
    }
  }
  const host = hostOf(fields);
  const authority = pseudo[":authority"] ?? (plainConnect ? undefined : host);
  if (authority === undefined || !isAuthority(authority)) {
    throw malformed("bad :authority");
  }
  // Never two readings of where a request goes (RFC 9113, 8.3.1).
  if (host !== undefined && host.toLowerCase() !== authority.toLowerCase()) {
    throw malformed("host is not :authority");
  }
  if (host === undefined) fields.push("host", authority);
  return {
    method,
    path: path ?? "",
    authority,
    scheme: scheme ?? "",
    protocol,
    fields,
    length,
  };
}

function checkPath(path: string | undefined, method: string): void {
  if (path === undefined || path === "") throw malformed("bad :path");
  if (path === "*" && method === "OPTIONS") return;
  if (path.charCodeAt(0) !== 0x2f) throw malformed("bad :path");
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    if (c > 0x7f || TARGET[c] === 0) throw malformed("bad :path");
  }
}

function hostOf(fields: Fields): string | undefined {
  let host: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== "host") continue;
    if (host !== undefined) throw malformed("host came twice");
    host = fields[i + 1];
  }
  return host;
}

const OF_RESPONSE = [":status"];

/** Checks the fields of a response; throws an `H2StreamError`. */
export function responseHead(all: Fields): H2ResponseHead {
  const { pseudo, fields, length } = new Section(all, OF_RESPONSE);
  const status = pseudo[":status"];
  if (status === undefined || !/^[1-9]\d\d$/.test(status)) {
    throw malformed("bad :status");
  }
  // RFC 9113, 8.6: there is nothing to switch to.
  if (status === "101") throw malformed("101 is not for HTTP/2");
  return { status: Number(status), fields, length };
}

/** Checks trailers; throws an `H2StreamError`. */
export function trailerSection(all: Fields): Fields {
  const { fields } = new Section(all, []);
  for (let i = 0; i < fields.length; i += 2) {
    if (NOT_IN_TRAILERS.has(fields[i])) {
      throw malformed(`${fields[i]} is not allowed in trailers`);
    }
  }
  return fields;
}
