import { isToken } from "./_field_syntax.ts";

/** More is not looked at. */
const MAX_LENGTH = 8 * 1024;
const MAX_DIRECTIVES = 64;
/** Greatest number of seconds (RFC 9111, 1.2.2). */
export const MAX_SECONDS = 2 ** 31;

/** Directives by name, in lower case; `""` for one without a value. */
export type Directives = ReadonlyMap<string, string>;

const NONE: Directives = new Map();

/**
 * Reads `Cache-Control` (RFC 9111, 5.2); `undefined` when it is malformed or
 * longer than anybody needs. Of a directive that is there twice with two
 * values, the value is `"?"`, which is no number.
 */
export function parseCacheControl(text: string | null): Directives | undefined {
  if (text === null) return NONE;
  if (text.length > MAX_LENGTH) return undefined;
  const directives = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    const char = text[at];
    if (char === "," || char === " " || char === "\t") {
      at++;
      continue;
    }
    const from = at;
    while (at < text.length && isToken(text[at])) at++;
    const name = text.slice(from, at).toLowerCase();
    if (name === "" || directives.size === MAX_DIRECTIVES) return undefined;
    let value = "";
    if (text[at] === "=") {
      const end = ++at;
      if (text[at] === '"') {
        for (at++; at < text.length && text[at] !== '"'; at++) {
          if (text[at] === "\\") at++;
          value += text[at] ?? "";
        }
        if (at >= text.length) return undefined;
        at++;
      } else {
        while (at < text.length && isToken(text[at])) at++;
        if (at === end) return undefined;
        value = text.slice(end, at);
      }
    }
    while (text[at] === " " || text[at] === "\t") at++;
    if (at < text.length && text[at] !== ",") return undefined;
    const known = directives.get(name);
    directives.set(name, known === undefined || known === value ? value : "?");
  }
  return directives;
}

/** Seconds, no more than can be counted; `undefined` for what is no number. */
export function parseSeconds(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]+$/.test(text)
    ? Math.min(Number(text), MAX_SECONDS)
    : undefined;
}
