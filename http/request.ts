import { memberForBoth, realIfLight, useLightRequests } from "./_request.ts";

const Native = globalThis.Request;

/** Where the native class does not know light requests by itself. */
const needed = typeof (globalThis as { Deno?: unknown }).Deno === "undefined";

const Knowing = new Proxy(Native, {
  construct(target, given: unknown[], newTarget): Request {
    const [input, init] = given;
    const real = realIfLight(input);
    if (real === input) {
      return Reflect.construct(target, given, newTarget) as Request;
    }
    const replaced = (init as RequestInit | undefined)?.body != null;
    if (!replaced) refuseUsed(real as Request);
    given[0] = real;
    const request = Reflect.construct(target, given, newTarget) as Request;
    if (!replaced) useUp(real as Request);
    return request;
  },
});

// Fetch, 5.4, steps 38 to 42: Bun takes a copy of a body, and of a used one
// nothing.

function refuseUsed(request: Request): void {
  if (!request.bodyUsed && request.body?.locked !== true) return;
  throw new TypeError("Cannot copy the request: its body was read before");
}

function useUp({ bodyUsed, body }: Request): void {
  if (!bodyUsed) body?.cancel().catch(() => {});
}

/**
 * The request class that `installRequest` makes the global one: on Node and
 * Bun the native class, which takes a light request as well; on Deno the
 * native class, which does so by itself.
 *
 * @example
 * ```ts
 * import { Request } from "@sluice/net/http";
 *
 * const request = new Request("http://localhost/", { method: "POST" });
 * console.log(request.method, request instanceof globalThis.Request);
 * ```
 */
export const Request: typeof globalThis.Request = needed ? Knowing : Native;

let installed = false;

/**
 * Has servers of the wire engine give handlers light requests on Bun and on
 * Node 24 and later, as they do on Deno and Node 22 without it: each property
 * is made when it is first read. Making the native `Request` takes a third of
 * the work for a small request there, and the native class and `fetch` take no
 * other. So these are replaced: the global `Request` by `http.Request`, and
 * the global `fetch` by a function that calls it. Both make a native request
 * of a light one that they are given, and hand all else on as it is; on Node
 * the members of `Request.prototype` do the same, so that they can be called
 * on a light request. `instanceof Request` is true for native and light
 * requests, whichever class is asked.
 *
 * Call it once, first thing in the program. Code that keeps the native
 * `Request` or `fetch` of before must not hand them a light request: Node
 * throws a `TypeError`, Bun's class copies it, but to a GET when it is given
 * changes. So it is on Bun with what takes native requests only: members
 * called from `Request.prototype`, `Bun.write`. `structuredClone` makes an
 * empty object of a light one, where it refuses a native one. To call it again
 * changes nothing; on Deno it does nothing.
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
  if (!needed || installed) return;
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
