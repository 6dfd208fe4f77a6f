import { NetError } from "../streams/errors.ts";
import type { TlsClientOptions } from "../tcp/types.ts";
import type { RequestBody } from "./_client_body.ts";
import { checkLength } from "./_client_body.ts";
import type { Call } from "./_client_call.ts";
import type { Plan } from "./_client_carrier.ts";
import {
  isForwarded,
  keyOfWay,
  proxyFor,
  proxyLines,
} from "./_client_proxy.ts";
import { withCookies } from "./_client_jar.ts";
import { hasField, overlay, without } from "./_client_options.ts";
import type { GivenFields, Settled } from "./_client_options.ts";
import type { Route } from "./_client_pool.ts";
import { resolveTarget } from "./_client_url.ts";
import type { Target } from "./_client_url.ts";
import type { Fields, ResponseHead } from "./_h1_types.ts";
import { showText } from "./_h1_error.ts";
import { fieldLine } from "./_h1_writer.ts";
import { RedirectError } from "./errors.ts";

/** What a plan is made of. */
export interface PlanInit {
  readonly method: string;
  readonly target: Target;
  readonly given: GivenFields;
  readonly body: RequestBody | undefined;
  readonly settled: Settled;
  readonly localAddress: string | undefined;
}

const COMMON: Fields = ["accept", "*/*", "user-agent", "sluice"];
const DECODING: Fields = ["accept-encoding", "gzip, deflate, br"];
const WHOLE: Fields = ["accept-encoding", "identity"];

/** The fields that go with every request, unless it says otherwise. */
export function usualFields(decompress: boolean): Fields {
  return decompress ? [...COMMON, ...DECODING] : COMMON;
}

/** Fields as text, each line checked. */
export function fieldText(fields: Fields): string {
  let text = "";
  for (let i = 0; i < fields.length; i += 2) {
    text += fieldLine(fields[i], fields[i + 1]);
  }
  return text;
}

/** Makes the plan of a request; throws for what cannot be sent. */
export function makePlan(init: PlanInit): Plan {
  const { method, target, given, settled, localAddress } = init;
  let { body } = init;
  if (body !== undefined && (method === "GET" || method === "HEAD")) {
    throw new TypeError(`Cannot fetch: ${method} cannot have a body`);
  }
  body = withLength(body, given.length);
  // A part of a coded body is of no use (Fetch, 4.6).
  const usual = hasField(given.fields, "range")
    ? overlay(WHOLE, usualFields(settled.decompress))
    : usualFields(settled.decompress);
  let fields = overlay(given.fields, usual);
  if (body?.type !== undefined && !hasField(fields, "content-type")) {
    fields = [...fields, "content-type", body.type];
  }
  const route = routeOf(target, settled, localAddress);
  const sent = withCookies(fields, settled.cookies, target.href);
  const host = given.host ?? target.host;
  return {
    method,
    target,
    fields,
    sent,
    host,
    body,
    close: given.close,
    expect: settled.expect,
    head: headText(
      method,
      target,
      host,
      wayText(route, fields) + fieldText(sent) +
        (given.close ? "connection: close\r\n" : ""),
      route,
    ),
    route,
  };
}

/** Request line, Host (RFC 9112, 3.2: first) and fields. */
export function headText(
  method: string,
  target: Target,
  host: string,
  fields: string,
  route: Route,
): string {
  // A proxy is told all of the URL (RFC 9112, 3.2.2).
  const place = route.forward ? target.href : target.path;
  return `${method} ${place} HTTP/1.1\r\nhost: ${host}\r\n${fields}`;
}

/** Fields for the proxy that a request is handed to. */
export function wayText(route: Route, fields: Fields): string {
  const { proxy, forward } = route;
  if (proxy === undefined) return "";
  if (forward) return proxyLines(proxy, fields);
  if (hasField(fields, "proxy-authorization")) {
    throw new TypeError(
      "Cannot fetch: through a tunnel proxy-authorization would go to the " +
        "origin: say it in the proxy's URL or headers",
    );
  }
  return "";
}

/** Content-Length as the caller says it has to agree with the body. */
function withLength(
  body: RequestBody | undefined,
  given: string | undefined,
): RequestBody | undefined {
  if (given === undefined) return body;
  if (body === undefined) {
    checkLength(given, 0);
    return undefined;
  }
  if (body.whole !== undefined || body.length !== undefined) {
    const { whole, length } = body;
    checkLength(
      given,
      length ??
        (typeof whole === "string"
          ? new TextEncoder().encode(whole).byteLength
          : whole!.byteLength),
    );
    return body;
  }
  checkLength(given, Number(given));
  return { ...body, length: Number(given), open: () => body.open() };
}

/** Where a request goes to, and what its connection may be shared for. */
export function routeOf(
  target: Target,
  settled: Settled,
  localAddress: string | undefined,
): Route {
  const { unix, lookup, proxies, noProxy } = settled;
  const proxy = unix === undefined && proxies !== undefined
    ? proxyFor(proxies, noProxy, target)
    : undefined;
  const { protocols } = settled;
  const tls: TlsClientOptions | undefined = target.secure
    ? { alpn: protocols ?? BOTH, ...settled.tls }
    : undefined;
  // The path of a socket is nobody's name.
  if (tls !== undefined && unix !== undefined) {
    tls.serverName ??= target.hostname;
  }
  const forward = proxy !== undefined && isForwarded(proxy, target.secure);
  // Without TLS one has to know (RFC 9113, 3.3).
  const prior = !target.secure && !forward && protocols?.length === 1 &&
    protocols[0] === "h2";
  const identity = tls === undefined ? 0 : identityOf(tls);
  const key = unix === undefined && localAddress === undefined &&
      identity === 0 && protocols === undefined
    ? target.origin
    : [target.origin, unix, localAddress, identity, protocols].join(" ");
  return {
    key: proxy === undefined && lookup === undefined
      ? key
      : key + keyOfWay(proxy, lookup),
    hostname: target.hostname,
    port: target.port,
    path: unix,
    localAddress,
    tls,
    lookup,
    proxy,
    forward,
    prior,
  };
}

/** What `https:` is spoken in, unless somebody says otherwise. */
const BOTH = ["h2", "http/1.1"];

const MAX_IDENTITIES = 256;
const identities = new Map<string, number>();
let lastIdentity = 0;

/** A number for what is trusted and shown: the same for the same; 0: usual. */
function identityOf(tls: TlsClientOptions): number {
  const { ca, cert, key, serverName, insecure, alpn } = tls;
  if (
    ca === undefined && cert === undefined && serverName === undefined &&
    !insecure && alpn === BOTH
  ) return 0;
  const text = JSON.stringify([ca, cert, key, serverName, insecure, alpn]);
  let identity = identities.get(text);
  if (identity === undefined) {
    if (identities.size >= MAX_IDENTITIES) identities.clear();
    identity = ++lastIdentity;
    identities.set(text, identity);
  }
  return identity;
}

const SECRETS = new Set([
  ...["authorization", "cookie", "cookie2", "proxy-authorization"],
]);
const OF_BODY = new Set([
  ...["content-encoding", "content-language", "content-length"],
  ...["content-location", "content-type"],
]);

/** The plan behind a redirect (Fetch, 4.4). */
export function followRedirect(
  call: Call,
  { status, fields: said }: ResponseHead,
  location: string,
): Plan {
  const { plan, settled } = call;
  if (settled.redirect === "error") {
    throw new RedirectError("It redirects, which was not wanted");
  }
  if (call.redirects.length >= settled.maxRedirects) {
    throw new RedirectError(
      `It redirects more than ${settled.maxRedirects} times`,
    );
  }
  // Whichever was taken, another reader might take the other (Fetch, 2.2.2).
  for (let i = 0; i < said.length; i += 2) {
    if (said[i] === "location" && said[i + 1] !== location) {
      throw new RedirectError("It redirects to more than one place");
    }
  }
  const target = targetAt(location, plan.target);
  let { method, body } = plan;
  let fields = plan.fields;
  if (
    ((status === 301 || status === 302) && method === "POST") ||
    (status === 303 && method !== "GET" && method !== "HEAD")
  ) {
    method = "GET";
    body = undefined;
    fields = without(fields, OF_BODY);
  } else if (body !== undefined && !body.replayable && call.begun) {
    throw new RedirectError(
      "It redirects, and the body can be sent but once",
    );
  }
  if (target.origin !== plan.target.origin) fields = without(fields, SECRETS);
  const route = routeOf(target, settled, plan.route.localAddress);
  const sent = withCookies(fields, settled.cookies, target.href);
  return {
    ...plan,
    method,
    target,
    fields,
    sent,
    // A Host of the caller's was for the first one.
    host: target.host,
    body,
    head: headText(
      method,
      target,
      target.host,
      wayText(route, fields) + fieldText(sent) +
        (plan.close ? "connection: close\r\n" : ""),
      route,
    ),
    wire: undefined,
    route,
  };
}

function targetAt(location: string, from: Target): Target {
  try {
    return resolveTarget(decodeUtf8(location), from.href);
  } catch (cause) {
    if (cause instanceof NetError) throw cause;
    throw new RedirectError(
      `It redirects to what cannot be fetched: ${showText(location)}`,
      { cause },
    );
  }
}

/** Servers do send Location in UTF-8; the reader gives Latin-1. */
function decodeUtf8(text: string): string {
  let ascii = true;
  const bytes = Uint8Array.from(text, (char) => {
    const code = char.charCodeAt(0);
    if (code > 0x7f) ascii = false;
    return code;
  });
  if (ascii) return text;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return text;
  }
}
