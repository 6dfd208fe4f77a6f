const TYPES: Record<string, string> = {
  aac: "audio/aac",
  apng: "image/apng",
  atom: "application/atom+xml",
  avif: "image/avif",
  bmp: "image/bmp",
  cjs: "text/javascript",
  css: "text/css",
  csv: "text/csv",
  epub: "application/epub+zip",
  flac: "audio/flac",
  gif: "image/gif",
  gz: "application/gzip",
  htm: "text/html",
  html: "text/html",
  ico: "image/vnd.microsoft.icon",
  ics: "text/calendar",
  jpeg: "image/jpeg",
  jpg: "image/jpeg",
  js: "text/javascript",
  json: "application/json",
  jsonld: "application/ld+json",
  log: "text/plain",
  m3u8: "application/vnd.apple.mpegurl",
  m4a: "audio/mp4",
  m4v: "video/mp4",
  map: "application/json",
  md: "text/markdown",
  mjs: "text/javascript",
  mov: "video/quicktime",
  mp3: "audio/mpeg",
  mp4: "video/mp4",
  mpd: "application/dash+xml",
  oga: "audio/ogg",
  ogg: "audio/ogg",
  ogv: "video/ogg",
  opus: "audio/ogg",
  otf: "font/otf",
  pdf: "application/pdf",
  png: "image/png",
  rss: "application/rss+xml",
  rtf: "application/rtf",
  svg: "image/svg+xml",
  tar: "application/x-tar",
  tgz: "application/gzip",
  tif: "image/tiff",
  tiff: "image/tiff",
  ttf: "font/ttf",
  txt: "text/plain",
  vtt: "text/vtt",
  wasm: "application/wasm",
  wav: "audio/wav",
  webm: "video/webm",
  webmanifest: "application/manifest+json",
  webp: "image/webp",
  woff: "font/woff",
  woff2: "font/woff2",
  xhtml: "application/xhtml+xml",
  xml: "application/xml",
  yaml: "application/yaml",
  yml: "application/yaml",
  zip: "application/zip",
  zst: "application/zstd",
};

/** The media type of a file by the end of its name; text is UTF-8. */
export function typeOf(path: string): string {
  const end = /\.([A-Za-z0-9]{1,16})$/.exec(path)?.[1].toLowerCase() ?? "";
  const type = Object.hasOwn(TYPES, end)
    ? TYPES[end]
    : "application/octet-stream";
  return type.startsWith("text/") ? `${type}; charset=utf-8` : type;
}

/** The field of a download (RFC 6266), names beyond ASCII by RFC 8187. */
export function dispositionOf(name: string): string {
  const plain = name.toWellFormed?.() ?? name;
  const ascii = plain.replace(/[^\x20-\x7e]|["\\%]/g, "_");
  if (ascii === plain) return `attachment; filename="${ascii}"`;
  const encoded = encodeURIComponent(plain).replace(
    /['()*]/g,
    (char) => "%" + char.charCodeAt(0).toString(16).toUpperCase(),
  );
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}

const CODINGS = [["br", ".br"], ["zstd", ".zst"], ["gzip", ".gz"]] as const;

/** The codings a client takes better than none, the best first, and the end of their files. */
export function codingsFor(
  accept: string | null,
): (readonly [coding: string, end: string])[] {
  const { codings } = acceptedOf(accept, CODINGS.map(([name]) => name));
  return codings.map((name) => CODINGS.find(([coding]) => coding === name)!);
}

/** What a client says of codings (RFC 9110, 12.5.3). */
export interface Accepted {
  /** Those of the offered that it takes better than none, the best first. */
  readonly codings: readonly string[];
  /** Whether it takes what is not encoded. */
  readonly identity: boolean;
}

/** Among codings that it takes equally, the order offered decides. */
export function acceptedOf(
  accept: string | null,
  offered: readonly string[],
): Accepted {
  if (accept === null) return { codings: [], identity: true };
  const weights = new Map<string, number>();
  for (const item of accept.toLowerCase().split(",")) {
    const [name, ...parameters] = item.split(";").map((part) => part.trim());
    let weight = 1;
    for (const parameter of parameters) {
      if (!parameter.startsWith("q=")) continue;
      const text = parameter.slice(2);
      weight = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(text)
        ? Number(text)
        : 0;
    }
    weights.set(name === "x-gzip" ? "gzip" : name, weight);
  }
  const weightOf = (name: string) => weights.get(name) ?? weights.get("*") ?? 0;
  // Without a word of it, identity is acceptable, but asked for by nobody.
  const identity = weights.get("identity") ?? 0;
  return {
    codings: offered
      .filter((name) => weightOf(name) > 0 && weightOf(name) >= identity)
      .sort((one, other) => weightOf(other) - weightOf(one)),
    identity: (weights.get("identity") ?? weights.get("*") ?? 1) > 0,
  };
}

/**
 * The value of `Vary` with `accept-encoding`; `undefined` when it is there
 * already.
 */
export function varyOf(value: string | null): string | undefined {
  if (value === null || value.trim() === "") return "accept-encoding";
  const names = value.toLowerCase().split(",").map((name) => name.trim());
  if (names.includes("*") || names.includes("accept-encoding")) {
    return undefined;
  }
  return `${value}, accept-encoding`;
}
