import type { CookieJar } from "./cookie_jar.ts";
import type { Fields } from "./_h1_types.ts";
import { hasField } from "./_client_options.ts";

const carried = new WeakMap<Request, CookieJar>();

/** Has a request of a client's middleware go with the cookies of a jar. */
export function carryJar(request: Request, jar: CookieJar): void {
  carried.set(request, jar);
}

/** What one layer handed on for a request has the same jar. */
export function inheritJar(from: Request, to: Request): void {
  const jar = carried.get(from);
  if (jar !== undefined && !carried.has(to)) carried.set(to, jar);
}

/** The jar that a request was given on its way. */
export function jarOf(request: Request): CookieJar | undefined {
  return carried.get(request);
}

/**
 * Fields with the cookies for a URL: a Cookie of the caller's stays, and hides
 * those of its names.
 */
export function withCookies(
  fields: Fields,
  jar: CookieJar | undefined,
  href: string,
): Fields {
  if (jar === undefined || jar.size === 0) return fields;
  if (!hasField(fields, "cookie")) {
    const header = jar.header(href);
    return header === undefined ? fields : [...fields, "cookie", header];
  }
  const pairs: string[] = [];
  const others: Fields = [];
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === "cookie") pairs.push(fields[i + 1]);
    else others.push(fields[i], fields[i + 1]);
  }
  const names = new Set(
    pairs.join(";").split(";").map((pair) => pair.split("=", 1)[0].trim()),
  );
  for (const { name, value } of jar.get(href)) {
    if (!names.has(name)) pairs.push(name === "" ? value : `${name}=${value}`);
  }
  return [...others, "cookie", pairs.join("; ")];
}

/** Keeps what a response sets. */
export function keepCookies(
  fields: Fields,
  jar: CookieJar,
  href: string,
): void {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === "set-cookie") jar.set(fields[i + 1], href);
  }
}
