import { memberForBoth, realIfLight, useLightRequests } from "./_request.ts";

const Native = globalThis.Request;

/** Where the class can be expensive, and made to know light requests. */
const heavy = typeof (globalThis as { Deno?: unknown }).Deno === "undefined" &&
  typeof (globalThis as { Bun?: unknown }).Bun === "undefined";

const Knowing = new Proxy(Native, {
  construct(target, given: unknown[], newTarget): Request {
    if (given.length > 0) given[0] = realIfLight(given[0]);
    return Reflect.construct(target, given, newTarget) as Request;
  },
});

/**
 * The request class that `installRequest` makes the global one: on Node the
 * native class, which takes a light request as well; on Deno and Bun the
 * native class.
 *
 * @example
 * ```ts
 * import { Request } from "@sluice/net/http";
 *
 * const request = new Request("http://localhost/", { method: "POST" });
 * console.log(request.method, request instanceof globalThis.Request);
 * ```
 */
export const Request: typeof globalThis.Request = heavy ? Knowing : Native;

let installed = false;

/**
 * Has servers give handlers light requests on Node 24 and later, as they do on
 * Node 22 without it: each property is made when it is first read. There
 * making the native `Request` takes a third of the work for a small request,
 * and the native class and `fetch` accept no other. So these are replaced: the
 * global `Request` by `http.Request`, and the global `fetch` by a function
 * that calls it. Both make a native request of a light one that they are
 * given, and hand all else on as it is; the members of `Request.prototype` do
 * the same, so that they can be called on a light request. `instanceof
 * Request` is true for native and light requests, whichever class is asked.
 *
 * Call it once, first thing in the program. Code that keeps the native
 * `Request` or `fetch` of before gets a `TypeError` when it hands them a light
 * request. `structuredClone` makes an empty object of one, where it refuses a
 * native one. To call it again changes nothing; on Deno and Bun it does
 * nothing.
 *
 * @example
 * ```ts
 * import { installRequest, installResponse, serve } from "@sluice/net/http";
 *
 * installRequest();
 * installResponse();
 * const server = await serve((request) => new Response(request.url), {
 *   port: 0,
 * });
 * console.log(await (await fetch(server.url)).text());
 * await server.close();
 * ```
 */
export function installRequest(): void {
  if (!heavy || installed) return;
  installed = true;
  const { prototype } = Native;
  for (const key of Object.getOwnPropertyNames(prototype)) {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, key)!;
    if (key === "constructor" || !descriptor.configurable) continue;
    Object.defineProperty(prototype, key, memberForBoth(key, descriptor));
  }
  Object.defineProperty(prototype, "constructor", { value: Request });
  useLightRequests(Request);
  globalThis.Request = Request;
  globalThis.fetch = new Proxy(globalThis.fetch, {
    apply(target, self, given: unknown[]): Promise<Response> {
      try {
        if (given.length > 0) given[0] = realIfLight(given[0]);
      } catch (error) {
        return Promise.reject(error);
      }
      return Reflect.apply(target, self, given) as Promise<Response>;
    },
  });
}
