/** What a Set-Cookie says, by RFC 6265bis, 5.6. */
export interface ParsedCookie {
  name: string;
  value: string;
  /** As it was given, without a leading dot, in lower case. */
  domain: string | undefined;
  path: string | undefined;
  secure: boolean;
  httpOnly: boolean;
  sameSite: "strict" | "lax" | "none" | undefined;
  /** Milliseconds since 1970; -Infinity: at once; undefined: not said. */
  expires: number | undefined;
}

const MAX_PAIR = 4096;
const MAX_ATTRIBUTE = 1024;
/** Longest a cookie lives, in milliseconds: 400 days (5.5). */
export const MAX_AGE = 400 * 24 * 60 * 60 * 1000;

/** Takes a Set-Cookie to pieces; undefined when it is to be ignored. */
export function parseSetCookie(
  text: string,
  now: number,
): ParsedCookie | undefined {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // Controls but for the tab; and what no field can carry.
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) {
      return undefined;
    }
  }
  const parts = text.split(";");
  const pair = parts[0];
  const equals = pair.indexOf("=");
  const name = trim(equals === -1 ? "" : pair.slice(0, equals));
  const value = trim(pair.slice(equals + 1));
  const size = name.length + value.length;
  if (size === 0 || size > MAX_PAIR) return undefined;
  const cookie: ParsedCookie = {
    name,
    value,
    domain: undefined,
    path: undefined,
    secure: false,
    httpOnly: false,
    sameSite: undefined,
    expires: undefined,
  };
  let maxAge: number | undefined;
  for (let i = 1; i < parts.length; i++) {
    const part = parts[i];
    const at = part.indexOf("=");
    const attribute = trim(at === -1 ? part : part.slice(0, at));
    const given = at === -1 ? "" : trim(part.slice(at + 1));
    if (given.length > MAX_ATTRIBUTE) continue;
    switch (attribute.toLowerCase()) {
      case "expires": {
        const date = parseCookieDate(given);
        if (date !== undefined) cookie.expires = Math.min(date, now + MAX_AGE);
        break;
      }
      case "max-age":
        if (/^-?[0-9]+$/.test(given)) {
          const seconds = Number(given);
          maxAge = seconds <= 0
            ? -Infinity
            : now + Math.min(seconds * 1000, MAX_AGE);
        }
        break;
      case "domain":
        cookie.domain = (given.startsWith(".") ? given.slice(1) : given)
          .toLowerCase();
        break;
      case "path":
        cookie.path = given.startsWith("/") ? given : undefined;
        break;
      case "secure":
        cookie.secure = true;
        break;
      case "httponly":
        cookie.httpOnly = true;
        break;
      case "samesite":
        cookie.sameSite = siteOf(given);
    }
  }
  if (maxAge !== undefined) cookie.expires = maxAge;
  return cookie;
}

function siteOf(given: string): ParsedCookie["sameSite"] {
  const lower = given.toLowerCase();
  return lower === "strict" || lower === "lax" || lower === "none"
    ? lower
    : undefined;
}

/** Without spaces and tabs around it. */
function trim(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

const MONTHS = [
  ...["jan", "feb", "mar", "apr", "may", "jun"],
  ...["jul", "aug", "sep", "oct", "nov", "dec"],
];
const DELIMITERS = /[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+/;

/** A date as servers write them: loose, by the steps of 5.1.1. */
export function parseCookieDate(text: string): number | undefined {
  let time: number[] | undefined;
  let day: number | undefined;
  let month: number | undefined;
  let year: number | undefined;
  for (const token of text.split(DELIMITERS)) {
    if (token === "") continue;
    let match: RegExpExecArray | null;
    if (
      time === undefined &&
      (match = /^(\d{1,2}):(\d{1,2}):(\d{1,2})(?!\d)/.exec(token)) !== null
    ) {
      time = [Number(match[1]), Number(match[2]), Number(match[3])];
      continue;
    }
    if (
      day === undefined &&
      (match = /^\d{1,2}(?!\d)/.exec(token)) !== null
    ) {
      day = Number(match[0]);
      continue;
    }
    if (month === undefined) {
      const at = MONTHS.indexOf(token.slice(0, 3).toLowerCase());
      if (at !== -1) {
        month = at;
        continue;
      }
    }
    if (
      year === undefined &&
      (match = /^\d{2,4}(?!\d)/.exec(token)) !== null
    ) {
      year = Number(match[0]);
    }
  }
  if (
    time === undefined || day === undefined || month === undefined ||
    year === undefined
  ) return undefined;
  if (year >= 70 && year <= 99) year += 1900;
  else if (year <= 69) year += 2000;
  const [hour, minute, second] = time;
  if (year < 1601 || hour > 23 || minute > 59 || second > 59) {
    return undefined;
  }
  const date = new Date(Date.UTC(year, month, day, hour, minute, second));
  return day >= 1 && date.getUTCDate() === day ? date.getTime() : undefined;
}
