import type { CompressSettings } from "./_options.ts";
import { isToken } from "./_token.ts";

const NAME = "permessage-deflate";
/** RFC 7692, 7.1.2: 8 to 15, without leading zeros. */
const BITS = /^(?:[89]|1[0-5])$/;

type Params = Map<string, string | undefined>;

/** An extension as a field names it; a parameter twice makes it `undefined`. */
interface Extension {
  readonly name: string;
  readonly params: Params | undefined;
}

/** What one direction of a connection compresses with. */
export interface Direction {
  /** log2 of the window. */
  readonly bits: number;
  /** Whether a message may refer to those before it. */
  readonly takeover: boolean;
}

/** What both sides agreed on. */
export interface Agreement {
  /** As the server said it. */
  readonly extensions: string;
  readonly server: Direction;
  readonly client: Direction;
}

/**
 * Reads a `Sec-WebSocket-Extensions` (RFC 6455, 9.1); `undefined` when it is
 * malformed. A list may have empty elements (RFC 9110, 5.6.1.2).
 */
export function parseExtensions(field: string): Extension[] | undefined {
  const extensions: Extension[] = [];
  let name = "";
  let params: Params = new Map();
  let twice = false;
  let at = 0;
  const space = () => {
    while (field[at] === " " || field[at] === "\t") at++;
  };
  /** A token; empty when there is none. */
  const token = () => {
    const start = at;
    while (at < field.length && !' \t,;="'.includes(field[at])) at++;
    const text = field.slice(start, at);
    return isToken(text) ? text : "";
  };
  /** A quoted string, which must be a token inside. */
  const quoted = () => {
    let text = "";
    for (at++; at < field.length && field[at] !== '"'; at++) {
      if (field[at] === "\\") at++;
      text += field[at] ?? "";
    }
    return field[at++] === '"' && isToken(text) ? text : "";
  };
  for (;;) {
    space();
    if (name === "") {
      while (field[at] === ",") {
        at++;
        space();
      }
      if (at === field.length && extensions.length > 0) return extensions;
    }
    const word = token();
    if (word === "") return undefined;
    space();
    if (name === "") {
      name = word;
    } else {
      let value: string | undefined;
      if (field[at] === "=") {
        at++;
        space();
        value = field[at] === '"' ? quoted() : token();
        if (value === "") return undefined;
        space();
      }
      if (params.has(word)) twice = true;
      params.set(word, value);
    }
    const next = field[at++];
    if (next === ";") continue;
    if (next !== undefined && next !== ",") return undefined;
    extensions.push({ name, params: twice ? undefined : params });
    if (next === undefined) return extensions;
    name = "";
    params = new Map();
    twice = false;
  }
}

/** The parameters of permessage-deflate (RFC 7692, 7.1). */
interface DeflateParams {
  serverNoContextTakeover: boolean;
  clientNoContextTakeover: boolean;
  serverMaxWindowBits: number | undefined;
  /** `true` is the parameter without a value, which only an offer has. */
  clientMaxWindowBits: number | true | undefined;
}

/** `undefined` when a parameter is unknown, repeated or has a bad value. */
function deflateParams(
  given: Params | undefined,
  offer: boolean,
): DeflateParams | undefined {
  if (given === undefined) return undefined;
  const params: DeflateParams = {
    serverNoContextTakeover: false,
    clientNoContextTakeover: false,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  };
  for (const [name, value] of given) {
    const bits = value !== undefined && BITS.test(value)
      ? Number(value)
      : undefined;
    if (name === "server_no_context_takeover" && value === undefined) {
      params.serverNoContextTakeover = true;
    } else if (name === "client_no_context_takeover" && value === undefined) {
      params.clientNoContextTakeover = true;
    } else if (name === "server_max_window_bits" && bits !== undefined) {
      params.serverMaxWindowBits = bits;
    } else if (name === "client_max_window_bits" && bits !== undefined) {
      params.clientMaxWindowBits = bits;
    } else if (
      name === "client_max_window_bits" && value === undefined && offer
    ) {
      params.clientMaxWindowBits = true;
    } else {
      return undefined;
    }
  }
  return params;
}

function formatParams(params: DeflateParams): string {
  const { serverMaxWindowBits: server, clientMaxWindowBits: client } = params;
  return [
    NAME,
    ...(params.serverNoContextTakeover ? ["server_no_context_takeover"] : []),
    ...(params.clientNoContextTakeover ? ["client_no_context_takeover"] : []),
    ...(server === undefined ? [] : [`server_max_window_bits=${server}`]),
    ...(client === undefined
      ? []
      : client === true
      ? ["client_max_window_bits"]
      : [`client_max_window_bits=${client}`]),
  ].join("; ");
}

/** What a client asks for. */
export function offerDeflate(settings: CompressSettings): string {
  const { serverMaxWindowBits, clientMaxWindowBits } = settings;
  return formatParams({
    ...settings,
    serverMaxWindowBits: serverMaxWindowBits < 15
      ? serverMaxWindowBits
      : undefined,
    clientMaxWindowBits: clientMaxWindowBits < 15 ? clientMaxWindowBits : true,
  });
}

/**
 * What a server takes of a client's offers: the first that it can keep,
 * `undefined` when there is none, `null` when the field is malformed.
 */
export function acceptDeflate(
  field: string | null,
  settings: CompressSettings,
): Agreement | undefined | null {
  if (field === null) return undefined;
  const offers = parseExtensions(field);
  if (offers === undefined) return null;
  for (const { name, params } of offers) {
    if (name !== NAME) continue;
    const offer = deflateParams(params, true);
    if (offer === undefined) continue;
    const { serverMaxWindowBits: server, clientMaxWindowBits: client } = offer;
    // A client that does not say it can has a window of 32 KiB.
    if (client === undefined && settings.clientMaxWindowBits < 15) continue;
    const serverBits = Math.min(server ?? 15, settings.serverMaxWindowBits);
    const clientBits = Math.min(
      client === undefined || client === true ? 15 : client,
      settings.clientMaxWindowBits,
    );
    return agreement({
      serverNoContextTakeover: offer.serverNoContextTakeover ||
        settings.serverNoContextTakeover,
      clientNoContextTakeover: offer.clientNoContextTakeover ||
        settings.clientNoContextTakeover,
      serverMaxWindowBits: server === undefined && serverBits === 15
        ? undefined
        : serverBits,
      clientMaxWindowBits: client === undefined || clientBits === 15
        ? undefined
        : clientBits,
    });
  }
  return undefined;
}

function agreement(params: DeflateParams): Agreement {
  const { serverMaxWindowBits, clientMaxWindowBits } = params;
  return {
    extensions: formatParams(params),
    server: {
      bits: serverMaxWindowBits ?? 15,
      takeover: !params.serverNoContextTakeover,
    },
    client: {
      bits: typeof clientMaxWindowBits === "number" ? clientMaxWindowBits : 15,
      takeover: !params.clientNoContextTakeover,
    },
  };
}

/**
 * Checks what the server answered to `offerDeflate(settings)`; a text says
 * what is wrong with it.
 */
export function checkDeflate(
  field: string,
  settings: CompressSettings | undefined,
): Agreement | string {
  const chosen = parseExtensions(field);
  if (chosen === undefined) return "Sec-WebSocket-Extensions is malformed";
  if (
    settings === undefined || chosen.length !== 1 || chosen[0].name !== NAME
  ) {
    return "the server uses an extension that was not offered";
  }
  const params = deflateParams(chosen[0].params, false);
  if (params === undefined) {
    return `the server answers with parameters that it may not: ${field}`;
  }
  const { serverMaxWindowBits: server, clientMaxWindowBits: client } = params;
  if (settings.serverNoContextTakeover && !params.serverNoContextTakeover) {
    return "the server does not answer to server_no_context_takeover";
  }
  if (
    settings.serverMaxWindowBits < 15 &&
    (server === undefined || server > settings.serverMaxWindowBits)
  ) {
    return `the server does not keep to server_max_window_bits: ${field}`;
  }
  if (typeof client === "number" && client > settings.clientMaxWindowBits) {
    return `the server wants a larger client_max_window_bits: ${field}`;
  }
  return {
    ...agreement({
      ...params,
      clientNoContextTakeover: params.clientNoContextTakeover ||
        settings.clientNoContextTakeover,
      clientMaxWindowBits: client ?? settings.clientMaxWindowBits,
    }),
    extensions: formatParams(params),
  };
}
