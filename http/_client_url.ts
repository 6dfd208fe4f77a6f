/** A URL in the pieces that a request is made of. */
export interface Target {
  /** Without fragment. */
  readonly href: string;
  readonly secure: boolean;
  /** For the runtime's socket: no brackets around IPv6. */
  readonly hostname: string;
  readonly port: number;
  /** Scheme, host and port: what a connection can be shared for. */
  readonly origin: string;
  /** Path and query: the request target. */
  readonly path: string;
  /** Value of Host. */
  readonly host: string;
}

const MAX_KNOWN = 1024;
const MAX_LENGTH = 1024;
const known = new Map<string, Target>();

/** Takes an absolute URL to pieces; remembers the last ones. */
export function targetOf(href: string): Target {
  let target = known.get(href);
  if (target === undefined) {
    target = split(parse(href));
    if (href.length <= MAX_LENGTH) {
      if (known.size >= MAX_KNOWN) known.clear();
      known.set(href, target);
    }
  }
  return target;
}

/** The same for a URL that is no string, or is relative to a base. */
export function resolveTarget(
  input: string | URL,
  base: string | URL | undefined,
): Target {
  if (base === undefined) return targetOf(String(input));
  return split(parse(String(input), String(base)));
}

function parse(input: string, base?: string): URL {
  try {
    return base === undefined ? new URL(input) : new URL(input, base);
  } catch (cause) {
    throw new TypeError(
      base === undefined
        ? `Cannot fetch: not an absolute URL: ${input}`
        : `Cannot fetch: not a URL: ${input} (base ${base})`,
      { cause },
    );
  }
}

/** Refuses what cannot be fetched. */
function split(url: URL): Target {
  const secure = url.protocol === "https:";
  if (!secure && url.protocol !== "http:") {
    throw new TypeError(
      `Cannot fetch: only http: and https: URLs: ${url.protocol}`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new TypeError(
      "Cannot fetch: a URL with user name or password: use the auth option",
    );
  }
  const hash = url.href.indexOf("#");
  return {
    href: hash === -1 ? url.href : url.href.slice(0, hash),
    secure,
    hostname: url.hostname.startsWith("[")
      ? url.hostname.slice(1, -1)
      : url.hostname,
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    origin: url.origin,
    path: url.pathname + url.search,
    host: url.host,
  };
}

/** How lists in a query are written. */
export type QueryStyle = "repeat" | "brackets" | "indices" | "comma";

/** What `query` takes: text, pairs, or an object, nested as deep as one likes. */
export type QueryInit =
  | string
  | URLSearchParams
  | Readonly<Record<string, unknown>>;

/** A URL with the query added to what it has. */
export function addQuery(
  href: string,
  query: QueryInit,
  style: QueryStyle,
): string {
  const text = encodeQuery(query, style);
  if (text === "") return href;
  const hash = href.indexOf("#");
  const url = hash === -1 ? href : href.slice(0, hash);
  const fragment = hash === -1 ? "" : href.slice(hash);
  const glue = !url.includes("?") ? "?" : /[?&]$/.test(url) ? "" : "&";
  return url + glue + text + fragment;
}

/** A query as text, without the question mark. */
export function encodeQuery(query: QueryInit, style: QueryStyle): string {
  if (typeof query === "string") return query.replace(/^\?/, "");
  if (query instanceof URLSearchParams) return query.toString();
  const pairs: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    append(pairs, encodeURIComponent(name), value, style, 0);
  }
  return pairs.join("&");
}

const MAX_DEPTH = 32;

function append(
  pairs: string[],
  name: string,
  value: unknown,
  style: QueryStyle,
  depth: number,
): void {
  if (depth > MAX_DEPTH) {
    throw new TypeError(`Cannot encode a query: deeper than ${MAX_DEPTH}`);
  }
  if (value === undefined) return;
  if (Array.isArray(value)) {
    if (style === "comma" && value.length > 0) {
      const members = value.map((member) => encodeURIComponent(plain(member)));
      pairs.push(`${name}=${members.join(",")}`);
      return;
    }
    value.forEach((member, i) => {
      const key = style === "indices"
        ? `${name}%5B${i}%5D`
        : style === "brackets"
        ? `${name}%5B%5D`
        : name;
      append(pairs, key, member, style, depth + 1);
    });
  } else if (
    typeof value === "object" && value !== null && !(value instanceof Date)
  ) {
    for (const [key, member] of Object.entries(value)) {
      const path = `${name}%5B${encodeURIComponent(key)}%5D`;
      append(pairs, path, member, style, depth + 1);
    }
  } else {
    pairs.push(`${name}=${encodeURIComponent(plain(value))}`);
  }
}

function plain(value: unknown): string {
  if (value === null || value === undefined) return "";
  return value instanceof Date ? value.toISOString() : String(value);
}
