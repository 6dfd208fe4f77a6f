import { acceptDeflate } from "./_extensions.ts";
import type { Agreement } from "./_extensions.ts";
import type { CompressSettings } from "./_options.ts";
import { isToken } from "./_token.ts";
import { sha1 } from "./_sha1.ts";
import { decodeLatin1 } from "../http/_h1_tables.ts";
import type { UpgradeOptions } from "./types.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** 16 bytes in base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/;
/** Fields of the handshake that are not the caller's to set. */
const RESERVED = /^(connection|upgrade|host|sec-websocket-.*)$/;

/** What `Sec-WebSocket-Accept` answers to a key (RFC 6455, 4.2.2). */
export function acceptKey(key: string): string {
  return base64(sha1(key + GUID));
}

/** A fresh `Sec-WebSocket-Key`. */
export function randomKey(): string {
  return base64(crypto.getRandomValues(new Uint8Array(16)));
}

const BASE64 =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD = 0x3d;
/** Room for 20 bytes; used again, for there may be very many handshakes. */
const letters = new Uint8Array(28);

function base64(bytes: Uint8Array): string {
  let size = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const three = bytes[i] << 16 | bytes[i + 1] << 8 | bytes[i + 2];
    for (let shift = 18; shift >= 0; shift -= 6) {
      letters[size++] = BASE64.charCodeAt(three >> shift & 63);
    }
  }
  for (let pads = (3 - bytes.length % 3) % 3; pads > 0; pads--) {
    letters[size - pads] = PAD;
  }
  return decodeLatin1(letters, 0, size);
}

/** Whether a comma-separated field has a token, in any case. */
export function hasToken(field: string | null, token: string): boolean {
  if (field === null) return false;
  return field.toLowerCase() === token || lists(field, token);
}

function lists(field: string, token: string): boolean {
  return field.split(",").some((item) => item.trim().toLowerCase() === token);
}

/** Whether a request asks for a WebSocket, well or badly. */
export function asksUpgrade(request: Request): boolean {
  const { headers } = request;
  return request.method === "GET" &&
    hasToken(headers.get("upgrade"), "websocket") &&
    hasToken(headers.get("connection"), "upgrade");
}

const nothing: string[] = [];

/**
 * The names in a `Sec-WebSocket-Protocol`; `undefined` when it is malformed.
 * A list may have empty elements (RFC 9110, 5.6.1.2), but not only those.
 */
export function parseProtocols(field: string | null): string[] | undefined {
  if (field === null) return nothing;
  const names = field.split(",").map((name) => name.trim())
    .filter((name) => name !== "");
  return names.length > 0 && names.every(isToken) &&
      new Set(names).size === names.length
    ? names
    : undefined;
}

/** The caller's own fields, without those of the handshake. */
export function extraHeaders(
  init: HeadersInit | undefined,
  action: string,
): Headers {
  const headers = new Headers(init);
  for (const [name] of headers) {
    if (RESERVED.test(name)) {
      throw new TypeError(
        `Cannot ${action}: this header belongs to the handshake: ${name}`,
      );
    }
  }
  return headers;
}

/** What to answer to an upgrade request: the fields of the 101, or a refusal. */
export type Answer =
  | {
    /** Name, value, name, value … */
    readonly fields: readonly string[];
    readonly protocol: string;
    readonly agreed: Agreement | undefined;
  }
  | { readonly refusal: Response };

/** Checks a client's handshake (RFC 6455, 4.2.1) and makes the answer. */
export function answer(
  request: Request,
  version: string,
  options: UpgradeOptions,
  compress?: CompressSettings,
): Answer {
  const extra = options.headers === undefined
    ? undefined
    : extraHeaders(options.headers, "upgrade");
  const { headers } = request;
  if (request.method !== "GET") {
    return refuse(405, "A WebSocket is asked for with GET", { allow: "GET" });
  }
  const upgrade = headers.get("upgrade");
  if (upgrade === null) {
    return refuse(426, "This is a WebSocket", {
      connection: "upgrade",
      upgrade: "websocket",
    });
  }
  if (
    !hasToken(upgrade, "websocket") ||
    !hasToken(headers.get("connection"), "upgrade")
  ) {
    return refuse(400, "Upgrade: websocket and Connection: upgrade wanted");
  }
  if (version !== "http/1.1" && version !== "h2") {
    return refuse(400, "A WebSocket needs HTTP/1.1 or HTTP/2");
  }
  if (headers.get("sec-websocket-version") !== "13") {
    return refuse(426, "The version of a WebSocket is 13", {
      connection: "upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
    });
  }
  const given = headers.get("sec-websocket-key") ?? "";
  // HTTP/2 needs none (RFC 8441, 5): the WebSocket of Node 26.10 sends one over
  // it, and takes no answer that leaves it at that.
  const key = KEY.test(given) ? given : "";
  if (key === "" && version !== "h2") {
    return refuse(400, "Sec-WebSocket-Key is 16 bytes in base64");
  }
  // Bytes of a body could be taken for frames.
  if (
    headers.has("transfer-encoding") ||
    (headers.get("content-length") ?? "0") !== "0"
  ) {
    return refuse(400, "A WebSocket is asked for without a body");
  }
  const { origins, protocols } = options;
  if (origins !== undefined && !allows(origins, request)) {
    return refuse(403, "This origin may not connect");
  }
  const offered = parseProtocols(headers.get("sec-websocket-protocol"));
  if (offered === undefined) {
    return refuse(400, "Sec-WebSocket-Protocol is malformed");
  }
  const agreed = compress === undefined
    ? undefined
    : acceptDeflate(headers.get("sec-websocket-extensions"), compress);
  if (agreed === null) {
    return refuse(400, "Sec-WebSocket-Extensions is malformed");
  }
  const protocol = protocols === undefined
    ? undefined
    : choose(protocols, offered, request);
  const fields = key === ""
    ? ["upgrade", "websocket", "connection", "Upgrade"]
    : [
      "upgrade",
      "websocket",
      "connection",
      "Upgrade",
      "sec-websocket-accept",
      acceptKey(key),
    ];
  if (protocol !== undefined) fields.push("sec-websocket-protocol", protocol);
  if (agreed !== undefined) {
    fields.push("sec-websocket-extensions", agreed.extensions);
  }
  if (extra !== undefined) {
    for (const [name, value] of extra) fields.push(name, value);
  }
  return { fields, protocol: protocol ?? "", agreed };
}

function refuse(
  status: number,
  text: string,
  headers: HeadersInit = {},
): { refusal: Response } {
  return { refusal: new Response(`${text}\n`, { status, headers }) };
}

/** RFC 6455, 10.2: a page of another origin can be made to connect. */
function allows(
  origins: NonNullable<UpgradeOptions["origins"]>,
  request: Request,
): boolean {
  const origin = request.headers.get("origin");
  if (typeof origins === "function") return origins(origin, request) === true;
  return origin === null ||
    origins.some((allowed) => allowed.toLowerCase() === origin.toLowerCase());
}

function choose(
  protocols: NonNullable<UpgradeOptions["protocols"]>,
  offered: readonly string[],
  request: Request,
): string | undefined {
  if (typeof protocols !== "function") {
    return offered.find((name) => protocols.includes(name));
  }
  const protocol = protocols(offered, request);
  if (protocol !== undefined && !offered.includes(protocol)) {
    throw new TypeError(
      `Cannot upgrade: this protocol was not offered: ${protocol}`,
    );
  }
  return protocol;
}
