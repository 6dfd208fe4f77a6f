/** A route, taken to pieces. */
export interface FakeRoute {
  /** As it was written. */
  readonly text: string;
  /** `undefined`: any. */
  readonly method: string | undefined;
  /** `undefined`: any. */
  readonly origin: string | undefined;
  readonly segments: readonly string[];
  readonly query: URLSearchParams;
}

/** Takes a route to pieces; throws a TypeError when it is none. */
export function parseRoute(text: string): FakeRoute {
  const match = /^(?:([A-Za-z-]+|\*) +)?(\S+)$/.exec(text);
  const refuse = (why: string): never => {
    throw new TypeError(
      `Cannot make a fake: ${why}: ${
        JSON.stringify(text)
      }: write a route as "GET /path"`,
    );
  };
  if (match === null) return refuse("no route");
  const [, method, place] = match;
  let origin: string | undefined;
  let path = place;
  if (/^https?:\/\//i.test(place)) {
    const slash = place.indexOf("/", place.indexOf("//") + 2);
    path = slash === -1 ? "/" : place.slice(slash);
    try {
      origin = new URL(slash === -1 ? place : place.slice(0, slash)).origin;
    } catch {
      return refuse("no origin");
    }
  }
  if (path === "*") path = "/*";
  if (!path.startsWith("/")) return refuse("the path begins without a slash");
  const mark = path.indexOf("?");
  const segments = (mark === -1 ? path : path.slice(0, mark)).slice(1)
    .split("/");
  if (segments.includes(":")) return refuse("a parameter without a name");
  return {
    text,
    method: method === undefined || method === "*"
      ? undefined
      : method.toUpperCase(),
    origin,
    segments,
    query: new URLSearchParams(mark === -1 ? "" : path.slice(mark)),
  };
}

/** What the parameters of the route are; `undefined` when it is another. */
export function matchRoute(
  route: FakeRoute,
  method: string,
  url: URL,
): Record<string, string> | undefined {
  if (route.method !== undefined && route.method !== method.toUpperCase()) {
    return undefined;
  }
  if (route.origin !== undefined && route.origin !== url.origin) {
    return undefined;
  }
  for (const [name, value] of route.query) {
    if (!url.searchParams.getAll(name).includes(value)) return undefined;
  }
  return matchPath(route.segments, url.pathname.slice(1).split("/"));
}

function matchPath(
  wanted: readonly string[],
  path: readonly string[],
): Record<string, string> | undefined {
  const params: [string, string][] = [];
  const rest = wanted[wanted.length - 1] === "*";
  if (rest ? path.length < wanted.length : path.length !== wanted.length) {
    return undefined;
  }
  for (const [at, segment] of wanted.entries()) {
    if (rest && at === wanted.length - 1) {
      params.push(["*", path.slice(at).map(decode).join("/")]);
    } else if (segment === "*") {
      params.push(["*", decode(path[at])]);
    } else if (segment.startsWith(":")) {
      if (path[at] === "") return undefined;
      params.push([segment.slice(1), decode(path[at])]);
    } else if (decode(segment) !== decode(path[at])) {
      return undefined;
    }
  }
  // So that a parameter called __proto__ is one like others.
  return Object.fromEntries(params);
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
