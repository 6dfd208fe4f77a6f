import { headersOf } from "../http/_request.ts";
import { proxiesOf, proxyFor } from "../http/_client_proxy.ts";
import { H1Error, ResponseReader } from "../http/_h1_reader.ts";
import type { Fields, ResponseHead } from "../http/_h1_types.ts";
import { openTunnel } from "../http/_h2_tunnel.ts";
import type { H2ResponseHead } from "../http/_h2_fields.ts";
import { noProxyOf } from "../http/_no_proxy.ts";
import { ConnectError, TimeoutError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import { dial } from "../tcp/_dial.ts";
import type { DialPlan } from "../tcp/_dial.ts";
import { checkLookup } from "../tcp/_lookup.ts";
import type { ProxyPlan } from "../tcp/_proxy.ts";
import { checkFlag, checkFunction } from "../tcp/_options.ts";
import type { Transport } from "../tcp/_transport.ts";
import { tapped } from "../tcp/_wiretap.ts";
import { affordable, Deflate } from "./_deflate.ts";
import { checkDeflate, offerDeflate } from "./_extensions.ts";
import type { Agreement } from "./_extensions.ts";
import { HandshakeError } from "./handshake_error.ts";
import { acceptKey, extraHeaders, hasToken, randomKey } from "./_handshake.ts";
import { isToken } from "./_token.ts";
import { compressOf, limitsOf } from "./_options.ts";
import type { CompressSettings } from "./_options.ts";
import { parseTarget } from "./_target.ts";
import type { Target } from "./_target.ts";
import type { ConnectOptions, Socket } from "./types.ts";
import { WireSocket } from "./_wire_socket.ts";

/** Longest delay a timer takes. */
const MAX_DELAY = 2 ** 31 - 1;
/** Bounds of the server's answer. */
const NOTHING = new Uint8Array(0);
const LIMITS = { header: 16 * 1024, target: 0, fields: 256, trailer: 0 };

/** Options besides those of every socket. */
const KNOWN = [
  ...["headers", "protocols", "tls", "unix", "timeout", "signal"],
  ...["lookup", "proxy", "noProxy", "wiretap", "http2"],
];

/** What was asked for, and what the answer must agree with. */
interface Offer {
  readonly target: Target;
  readonly key: string;
  readonly protocols: readonly string[];
  readonly compress: CompressSettings | undefined;
  /** Fields of the request, but for those of an upgrade. */
  readonly fields: Fields;
}

/** What the answer came to, and what came behind it. */
interface Chosen {
  readonly protocol: string;
  readonly agreed: Agreement | undefined;
  readonly rest: Uint8Array;
}

/**
 * Connects to a WebSocket server. The codec is this library's own on every
 * runtime: with backpressure, pings and limits everywhere. Redirects are
 * refused.
 *
 * @example
 * ```ts
 * import { http, ws } from "@sluice/net";
 *
 * await using server = await http.serve((request) =>
 *   ws.upgrade(request, (socket) => socket.send("Welcome")), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 *
 * const socket = await ws.connect(server.url, {
 *   headers: { authorization: "Bearer token" },
 *   timeout: 5000,
 * });
 * for await (const message of socket) console.log(message);
 * console.log((await socket.closed).code);
 * ```
 *
 * @param url `ws:` or `wss:`; `http:` and `https:` count as these.
 * @param options Headers, subprotocols, limits.
 * @returns The socket, after the handshake. Rejects with a `HandshakeError`
 * when the server answers something else, with another `ConnectError` when
 * there is no connection, with a `DnsError`, `ProxyError`, `TlsError` or
 * `TimeoutError`, or with the signal's reason.
 */
export async function connect(
  url: string | URL,
  options: ConnectOptions = {},
): Promise<Socket> {
  const target = parseTarget(url);
  const limits = limitsOf(options, KNOWN, "connect");
  const { timeout = 10_000, signal } = options;
  if (!(timeout >= 0)) {
    throw new RangeError(
      `Cannot connect: timeout must be 0 or more: ${timeout}`,
    );
  }
  if (options.tls !== undefined && !target.secure) {
    throw new TypeError(`Cannot connect: tls goes with wss: only: ${url}`);
  }
  checkFunction(options.wiretap, "wiretap", "connect");
  const offer = offerOf(target, options);
  const started = performance.now();
  const dialed = await dial({
    ...reach(target, options),
    timeout,
    signal,
  });
  const transport = tapped(dialed, options.wiretap);
  const left = Math.max(0, timeout - (performance.now() - started));
  const init = { timeout, left, signal, http2: options.http2 === true };
  return await shake(transport, offer, init, (carrier, chosen) => {
    const socket = new WireSocket(carrier, true, {
      limits,
      protocol: chosen.protocol,
      extensions: chosen.agreed?.extensions,
      deflate: chosen.agreed &&
        new Deflate(chosen.agreed, offer.compress!, true),
      url: target.url,
      report: () => {},
    });
    socket.start(undefined, chosen.rest);
    return socket;
  });
}

/** Where to, and how safely. */
function reach(target: Target, options: ConnectOptions): DialPlan {
  const { hostname, port, secure } = target;
  const { unix, tls, lookup, http2 = false } = options;
  checkFlag(http2, "http2", "connect");
  return {
    ...(unix === undefined ? { hostname, port } : { path: unix }),
    lookup,
    proxy: proxyOf(target, options),
    ...(secure
      ? {
        tls: {
          serverName: hostname,
          alpn: [http2 ? "h2" : "http/1.1"],
          ...(tls === true ? {} : tls),
        },
        alpnOptional: !http2,
      }
      : {}),
  };
}

/** The proxy that this goes through; always by a tunnel. */
function proxyOf(
  target: Target,
  { unix, lookup, proxy, noProxy }: ConnectOptions,
): ProxyPlan | undefined {
  checkLookup(lookup, "connect");
  if (unix !== undefined && (lookup !== undefined || proxy !== undefined)) {
    throw new TypeError("Cannot connect: unix goes without lookup and proxy");
  }
  const direct = noProxy === undefined
    ? undefined
    : noProxyOf(noProxy, "connect");
  if (proxy === undefined) return undefined;
  return proxyFor(proxiesOf(proxy, "connect"), direct, target);
}

function offerOf(target: Target, options: ConnectOptions): Offer {
  const headers = extraHeaders(options.headers, "connect");
  const { protocols: wanted = [] } = options;
  const protocols = typeof wanted === "string" ? [wanted] : [...wanted];
  for (const [at, name] of protocols.entries()) {
    if (!isToken(name) || protocols.indexOf(name) !== at) {
      throw new TypeError(
        `Cannot connect: malformed or repeated protocol: ${name}`,
      );
    }
  }
  if (target.authorization !== undefined && !headers.has("authorization")) {
    headers.set("authorization", target.authorization);
  }
  const asked = compressOf(options.compress, "connect");
  const compress = asked && affordable(asked);
  const fields = ["sec-websocket-version", "13"];
  if (protocols.length > 0) {
    fields.push("sec-websocket-protocol", protocols.join(", "));
  }
  if (compress !== undefined) {
    fields.push("sec-websocket-extensions", offerDeflate(compress));
  }
  for (const [name, value] of headers) fields.push(name, value);
  return { target, key: randomKey(), protocols, compress, fields };
}

/** The request of HTTP/1.1 (RFC 6455, 4.1). */
function requestOf({ target, key, fields }: Offer): Uint8Array {
  const lines = [
    `GET ${target.path} HTTP/1.1`,
    `host: ${target.host}`,
    "upgrade: websocket",
    "connection: Upgrade",
    `sec-websocket-key: ${key}`,
  ];
  // `Headers` has refused CR, LF and whatever is not Latin-1.
  for (let i = 0; i < fields.length; i += 2) {
    lines.push(`${fields[i]}: ${fields[i + 1]}`);
  }
  const text = `${lines.join("\r\n")}\r\n\r\n`;
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** The request of HTTP/2 (RFC 8441, 5). */
function tunnelRequest({ target, fields }: Offer): Fields {
  return [
    ...[":method", "CONNECT"],
    ...[":protocol", "websocket"],
    ...[":scheme", target.secure ? "https" : "http"],
    ...[":authority", target.host],
    ...[":path", target.path],
    ...fields,
  ];
}

/**
 * The opening handshake (RFC 6455, 4.1). What comes behind the answer goes to
 * `take`, which attaches at once: nothing can be lost in between.
 */
function shake(
  transport: Transport,
  offer: Offer,
  limits: {
    timeout: number;
    left: number;
    signal: AbortSignal | undefined;
    http2: boolean;
  },
  take: (carrier: Transport, chosen: Chosen) => Socket,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { url } = offer.target;
    const { timeout, left, signal, http2 } = limits;
    let done = false;
    const finish = () => {
      done = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    const fail = (error: unknown) => {
      if (done) return;
      finish();
      transport.destroy();
      reject(error);
    };
    const abort = () => fail(signal!.reason);
    const timer = left > MAX_DELAY ? undefined : setTimeout(
      () =>
        fail(
          new TimeoutError(`Cannot connect to ${url} within ${timeout} ms`, {
            phase: "handshake",
          }),
        ),
      left,
    );
    const cut = (cause?: NetError) =>
      fail(
        new ConnectError(
          `Cannot connect to ${url}: the connection ended in the handshake`,
          { code: cause?.code ?? "ECONNRESET", phase: "handshake", cause },
        ),
      );
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    if (http2) {
      openTunnel(transport, tunnelRequest(offer), {
        answered({ head, transport: tunnel }) {
          if (done) return;
          try {
            const chosen = checkTunnel(head, offer);
            finish();
            resolve(take(tunnel!, { ...chosen, rest: NOTHING }));
          } catch (error) {
            fail(error);
          }
        },
        failed(error) {
          // Not the connection, then, but what was said on it.
          if (!/^ERR_H(ANDSHAKE|TTP2_)/.test(error.code)) return cut(error);
          const said = error.message[0].toLowerCase() + error.message.slice(1);
          fail(
            new ConnectError(`Cannot connect to ${url}: ${said}`, {
              code: error.code,
              phase: "handshake",
              retryable: false,
              cause: error,
            }),
          );
        },
      });
      return;
    }
    let chosen: Omit<Chosen, "rest"> | undefined;
    const reader = new ResponseReader({
      head(head) {
        try {
          chosen = check(head, offer);
        } catch (error) {
          fail(error);
        }
      },
      content() {},
      messageEnd() {},
    }, LIMITS);
    reader.expect("GET");
    transport.attach({
      data(chunk) {
        if (done) return;
        try {
          reader.feed(chunk);
        } catch (error) {
          fail(
            error instanceof H1Error
              ? new ConnectError(
                `Cannot connect to ${url}: the answer is not HTTP`,
                {
                  code: "ERR_HANDSHAKE",
                  phase: "handshake",
                  retryable: false,
                  cause: error,
                },
              )
              : error,
          );
        }
        if (done || chosen === undefined) return;
        finish();
        resolve(take(transport, { ...chosen, rest: reader.rest() }));
      },
      end: () => cut(),
      drain() {},
      close: cut,
    });
    transport.write(requestOf(offer));
  });
}

/** Checks the answer; gives what was chosen, the protocol `""` for none. */
function check(head: ResponseHead, offer: Offer): Omit<Chosen, "rest"> {
  const headers = headersOf(head.fields);
  const refuse = refusalOf(head, headers, offer);
  if (head.status >= 300 && head.status < 400) {
    throw refuse(
      `the server redirects to ${
        headers.get("location")
      } (${head.status}), which is not followed`,
    );
  }
  if (head.status !== 101) {
    throw refuse(
      `the server answered ${`${head.status} ${head.reason}`.trim()}`,
    );
  }
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    throw refuse("the answer has no Upgrade: websocket");
  }
  if (!hasToken(headers.get("connection"), "upgrade")) {
    throw refuse("the answer has no Connection: Upgrade");
  }
  if (headers.get("sec-websocket-accept") !== acceptKey(offer.key)) {
    throw refuse("the answer does not match the key");
  }
  return chosenOf(headers, offer, refuse);
}

/** The same for HTTP/2, which has no key (RFC 8441, 5). */
function checkTunnel(
  head: H2ResponseHead,
  offer: Offer,
): Omit<Chosen, "rest"> {
  const headers = headersOf(head.fields);
  const refuse = refusalOf(head, headers, offer);
  if (head.status < 200 || head.status > 299) {
    throw refuse(`the server answered ${head.status}`);
  }
  return chosenOf(headers, offer, refuse);
}

type Refusal = (why: string) => HandshakeError;

function refusalOf(
  { status }: { status: number },
  headers: Headers,
  { target }: Offer,
): Refusal {
  return (why) =>
    new HandshakeError(`Cannot connect to ${target.url}: ${why}`, {
      status,
      headers,
    });
}

/** What the server has chosen of what was offered. */
function chosenOf(
  headers: Headers,
  offer: Offer,
  refuse: Refusal,
): Omit<Chosen, "rest"> {
  const extensions = headers.get("sec-websocket-extensions");
  const agreed = extensions === null
    ? undefined
    : checkDeflate(extensions, offer.compress);
  if (typeof agreed === "string") throw refuse(agreed);
  const protocol = headers.get("sec-websocket-protocol") ?? "";
  if (
    protocol === ""
      ? offer.protocols.length > 0
      : !offer.protocols.includes(protocol)
  ) {
    throw refuse(
      protocol === ""
        ? "the server speaks none of the protocols offered"
        : `the server chose a protocol that was not offered: ${protocol}`,
    );
  }
  return { protocol, agreed };
}
