import type { Lookup } from "../tcp/_lookup.ts";
import { proxyPlan } from "../tcp/_proxy.ts";
import type { ProxyOptions, ProxyPlan } from "../tcp/_proxy.ts";
import { checkValue, fieldLine } from "./_h1_writer.ts";
import type { Fields } from "./_h1_types.ts";
import { isDirect, noProxyOf } from "./_no_proxy.ts";
import type { NoProxy, Place } from "./_no_proxy.ts";

/** What the `proxy` option takes. */
export type ProxySetting = string | URL | ProxyOptions | "env" | false;

/** The proxies that a setting names, by the scheme of what is fetched. */
export interface Proxies {
  readonly plain: ProxyPlan | undefined;
  readonly secure: ProxyPlan | undefined;
  /** What the environment excepts. */
  readonly except: NoProxy | undefined;
}

const NONE: Proxies = {
  plain: undefined,
  secure: undefined,
  except: undefined,
};

type Env = Readonly<Record<string, string | undefined>>;

/** Reads the option; messages show nothing that is secret in it. */
export function proxiesOf(setting: ProxySetting, what: string): Proxies {
  if (setting === false) return NONE;
  if (setting === "env") return proxiesOfEnv(environment(), what);
  const plan = proxyPlan(setting, what);
  return { plain: plan, secure: plan, except: undefined };
}

/** The environment: read only when a caller has asked for it. */
function environment(): Env {
  const { process: host } = globalThis as { process?: { env?: Env } };
  return host?.env ?? {};
}

/** The proxies that an environment names. */
export function proxiesOfEnv(env: Env, what: string): Proxies {
  const read = (...names: string[]): ProxyPlan | undefined => {
    for (const name of names) {
      const text = env[name]?.trim() ?? "";
      if (text === "") continue;
      try {
        return proxyPlan(text.includes("://") ? text : `http://${text}`, what);
      } catch (error) {
        const { message } = error as Error;
        throw new TypeError(`${message} (${name} of the environment)`);
      }
    }
    return undefined;
  };
  // A CGI program gets HTTP_PROXY from whoever sends it a field "Proxy".
  const upper = env.REQUEST_METHOD === undefined ? ["HTTP_PROXY"] : [];
  const all = ["all_proxy", "ALL_PROXY"];
  return {
    plain: read("http_proxy", ...upper, ...all),
    secure: read("https_proxy", "HTTPS_PROXY", ...all),
    except: noProxyOf(env.no_proxy ?? env.NO_PROXY ?? "", what, true),
  };
}

/** The proxy for a place, if there is one. */
export function proxyFor(
  proxies: Proxies | undefined,
  noProxy: NoProxy | undefined,
  place: Place & { readonly secure: boolean },
): ProxyPlan | undefined {
  const proxy = place.secure ? proxies?.secure : proxies?.plain;
  if (proxy === undefined) return undefined;
  const { except } = proxies!;
  return (noProxy !== undefined && isDirect(noProxy, place)) ||
      (except !== undefined && isDirect(except, place))
    ? undefined
    : proxy;
}

/** Whether requests are handed to the proxy rather than sent through it. */
export function isForwarded(proxy: ProxyPlan, secure: boolean): boolean {
  return !secure && !proxy.tunnel && !proxy.scheme.startsWith("socks");
}

/** Lines for a proxy that a request is handed to; the caller's go before. */
export function proxyLines(proxy: ProxyPlan, own: Fields): string {
  let text = "";
  for (let i = 0; i < proxy.fields.length; i += 2) {
    const [name, value] = [proxy.fields[i], proxy.fields[i + 1]];
    let hidden = false;
    for (let j = 0; j < own.length; j += 2) hidden ||= own[j] === name;
    if (hidden) continue;
    checkValue(name, value);
    text += fieldLine(name, value);
  }
  return text;
}

const MAX_KEYS = 256;
const keys = new Map<string, number>();
const lookups = new WeakMap<Lookup, number>();
let last = 0;

/** A way out in a pool's key: nothing secret is in it. */
export function keyOfWay(
  proxy: ProxyPlan | undefined,
  lookup: Lookup | undefined,
): string {
  let text = "";
  if (proxy !== undefined) {
    let number = keys.get(proxy.key);
    if (number === undefined) {
      if (keys.size >= MAX_KEYS) keys.clear();
      keys.set(proxy.key, number = ++last);
    }
    text = ` via ${proxy.shown} (${number})`;
  }
  if (lookup !== undefined) {
    let number = lookups.get(lookup);
    if (number === undefined) lookups.set(lookup, number = ++last);
    text += ` by lookup ${number}`;
  }
  return text;
}
