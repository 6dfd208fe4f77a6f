import { inNetwork, ipBytes, networkOf } from "../tcp/_ip.ts";
import type { Network } from "../tcp/_ip.ts";

/** Who is reached without a proxy. */
type Rule =
  | { readonly kind: "all"; readonly port?: number }
  | { readonly kind: "name"; readonly name: string; readonly port?: number }
  | { readonly kind: "suffix"; readonly name: string; readonly port?: number }
  | { readonly kind: "net"; readonly net: Network; readonly port?: number };

/** The hosts of a `noProxy` option. */
export interface NoProxy {
  readonly rules: readonly Rule[];
}

/** Whom a request is for. */
export interface Place {
  /** As URLs have it, without brackets. */
  readonly hostname: string;
  readonly port: number;
}

/** A name as hosts are compared: ASCII, lower case, no dot at its end. */
function plainName(text: string): string | undefined {
  let name = text;
  if (/[\u0080-\uffff]/.test(name)) {
    if (/[\s@:/?#\\[\]%]/.test(name)) return undefined;
    try {
      name = new URL(`http://${name}/`).hostname;
    } catch {
      return undefined;
    }
  }
  name = name.toLowerCase();
  if (name.endsWith(".")) name = name.slice(0, -1);
  return /^[\w-]+(?:\.[\w-]+)*$/.test(name) ? name : undefined;
}

function ruleOf(text: string): Rule | undefined {
  if (text === "*") return { kind: "all" };
  const whole = networkOf(text);
  if (whole !== undefined) return { kind: "net", net: whole };
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const [, six, other, digits] = match;
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined;
  if (six !== undefined) {
    const net = six.includes(":") ? networkOf(six) : undefined;
    return net && { kind: "net", net, port };
  }
  if (other === "*") return { kind: "all", port };
  const net = networkOf(other);
  if (net !== undefined) return { kind: "net", net, port };
  const suffix = other.startsWith("*.") ? other.slice(1) : other;
  const name = plainName(suffix.startsWith(".") ? suffix.slice(1) : suffix);
  if (name === undefined) return undefined;
  return { kind: suffix.startsWith(".") ? "suffix" : "name", name, port };
}

/**
 * Reads the hosts; what is none of them is refused, but skipped with
 * `lenient`: the environment is not the caller's to put right.
 */
export function noProxyOf(
  given: string | readonly string[],
  what: string,
  lenient = false,
): NoProxy {
  const list: unknown = typeof given === "string"
    ? given.split(/[\s,]+/).filter((entry) => entry !== "")
    : given;
  if (!Array.isArray(list)) {
    throw new TypeError(`Cannot ${what}: noProxy must be a list of hosts`);
  }
  const rules: Rule[] = [];
  for (const entry of list as unknown[]) {
    const rule = typeof entry === "string" ? ruleOf(entry) : undefined;
    if (rule !== undefined) rules.push(rule);
    else if (!lenient) {
      throw new TypeError(
        `Cannot ${what}: noProxy takes names, suffixes, addresses and ` +
          `networks: ${JSON.stringify(entry)}`,
      );
    }
  }
  return { rules };
}

/** Whether a host is reached without a proxy. */
export function isDirect({ rules }: NoProxy, place: Place): boolean {
  if (rules.length === 0) return false;
  const address = ipBytes(place.hostname);
  const name = address === undefined ? plainName(place.hostname) : undefined;
  return rules.some((rule) => {
    if (rule.port !== undefined && rule.port !== place.port) return false;
    switch (rule.kind) {
      case "all":
        return true;
      case "net":
        return address !== undefined && inNetwork(address, rule.net);
      case "name":
        return name === rule.name || name?.endsWith(`.${rule.name}`) === true;
      case "suffix":
        return name?.endsWith(`.${rule.name}`) === true;
    }
  });
}
