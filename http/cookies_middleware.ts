import { carryJar } from "./_client_jar.ts";
import type { ClientMiddleware } from "./_client_types.ts";
import { CookieJar } from "./cookie_jar.ts";

/**
 * Middleware for `use` of a `Client`: what goes through it has the cookies of
 * a jar, at each redirect those of where it leads, and the jar keeps what the
 * answers set. The same as `cookies` of a client, for requests that come this
 * far. It throws a `TypeError` when it is given no jar.
 *
 * @example
 * ```ts
 * import { Client, CookieJar, cookies } from "@sluice/net/http";
 *
 * const client = new Client({ use: [cookies(new CookieJar())] });
 * await client.close();
 * ```
 */
export function cookies(jar: CookieJar): ClientMiddleware {
  if (!(jar instanceof CookieJar)) {
    throw new TypeError("Cannot keep cookies: give a CookieJar");
  }
  return (request, next) => {
    carryJar(request, jar);
    return next(request);
  };
}
