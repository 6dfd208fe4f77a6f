/** Ports that no WebSocket is at (Fetch standard, "port blocking"). */
const BAD_PORTS = new Set(
  ("0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 " +
    "103 104 109 110 111 113 115 117 119 123 135 137 139 143 161 179 389 " +
    "427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 " +
    "636 989 990 993 995 1719 1720 1723 2049 3659 4045 4190 4191 5060 5061 " +
    "6000 6566 6665 6666 6667 6668 6669 6679 6697 10080").split(" "),
);

const SCHEMES: Record<string, string> = {
  "ws:": "ws:",
  "http:": "ws:",
  "wss:": "wss:",
  "https:": "wss:",
};

/** What a WebSocket URL says. */
export interface Target {
  /** The URL, with the scheme of a WebSocket and without credentials. */
  readonly url: string;
  readonly secure: boolean;
  readonly hostname: string;
  readonly port: number;
  /** For the Host field. */
  readonly host: string;
  /** For the request line. */
  readonly path: string;
  /** For the Authorization field, when the URL has credentials. */
  readonly authorization: string | undefined;
}

/** Reads the URL of a WebSocket (RFC 6455, section 3); http(s) counts too. */
export function parseTarget(input: string | URL): Target {
  let url: URL;
  try {
    url = new URL(input);
  } catch (cause) {
    throw new TypeError(`Cannot connect: not a URL: ${input}`, { cause });
  }
  const scheme = SCHEMES[url.protocol];
  if (scheme === undefined) {
    throw new TypeError(
      `Cannot connect: the scheme must be ws: or wss:: ${url.protocol}`,
    );
  }
  if (url.href.includes("#")) {
    throw new TypeError(
      `Cannot connect: a WebSocket's URL has no fragment: ${input}`,
    );
  }
  if (BAD_PORTS.has(url.port)) {
    throw new TypeError(`Cannot connect: this port is blocked: ${url.port}`);
  }
  const secure = scheme === "wss:";
  const path = url.pathname + url.search;
  return {
    url: `${scheme}//${url.host}${path}`,
    secure,
    // An IPv6 address is in brackets.
    hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    host: url.host,
    path,
    authorization: url.username === "" && url.password === ""
      ? undefined
      : basic(url.username, url.password),
  };
}

function basic(user: string, password: string): string {
  const text = `${decodeURIComponent(user)}:${decodeURIComponent(password)}`;
  return `Basic ${
    btoa(String.fromCharCode(...new TextEncoder().encode(text)))
  }`;
}
