import { Client } from "./client.ts";
import type { ClientInit, ResponsePromise } from "./client.ts";

let shared: Client | undefined;

/** The client behind the functions here: made on first use, never closed. */
function client(): Client {
  return shared ??= new Client();
}

/**
 * Sends a request by the default client, which keeps no process alive.
 *
 * @example
 * ```ts
 * import { fetch, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => new Response("hello"), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const response = await fetch(server.url);
 * console.log(response.status, await response.text());
 * await server.close();
 * ```
 */
export function fetch(
  input: string | URL | Request,
  init?: ClientInit,
): ResponsePromise {
  return client().fetch(input, init);
}

/**
 * `fetch` with the method GET.
 *
 * @example
 * ```ts
 * import { get, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => Response.json({}), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const user = await get(new URL("/user", server.url)).json();
 * console.log(user);
 * await server.close();
 * ```
 */
export function get(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().get(url, init);
}

/**
 * `fetch` with the method HEAD.
 *
 * @example
 * ```ts
 * import { head, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => Response.json({}), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const { headers } = await head(server.url);
 * console.log(headers.get("content-type"));
 * await server.close();
 * ```
 */
export function head(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().head(url, init);
}

/**
 * `fetch` with the method POST.
 *
 * @example
 * ```ts
 * import { post, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => Response.json({}), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const response = await post(server.url, { json: { name: "Ada" } });
 * console.log(response.status);
 * await server.close();
 * ```
 */
export function post(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().post(url, init);
}

/**
 * `fetch` with the method PUT.
 *
 * @example
 * ```ts
 * import { put, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => Response.json({}), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const response = await put(server.url, { body: "all of it" });
 * console.log(response.status);
 * await server.close();
 * ```
 */
export function put(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().put(url, init);
}

/**
 * `fetch` with the method PATCH.
 *
 * @example
 * ```ts
 * import { patch, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => Response.json({}), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const response = await patch(server.url, { json: { name: "Ada" } });
 * console.log(response.status);
 * await server.close();
 * ```
 */
export function patch(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().patch(url, init);
}

/**
 * `fetch` with the method DELETE; also exported as `delete`.
 *
 * @example
 * ```ts
 * import { del, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => Response.json({}), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const response = await del(server.url, { query: { id: 7 } });
 * console.log(response.status);
 * await server.close();
 * ```
 */
export function del(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().delete(url, init);
}

/**
 * `fetch` with the method OPTIONS.
 *
 * @example
 * ```ts
 * import { options, serve } from "@sluice/net/http";
 *
 * const server = await serve(() => Response.json({}), {
 *   hostname: "127.0.0.1",
 *   port: 0,
 * });
 * const { headers } = await options(server.url);
 * console.log(headers.get("allow"));
 * await server.close();
 * ```
 */
export function options(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().options(url, init);
}

export {
  /** `del`, under the name that only an import can give it. */
  del as delete,
};
