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

/** `fetch` with the method GET. */
export function get(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().get(url, init);
}

/** `fetch` with the method HEAD. */
export function head(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().head(url, init);
}

/** `fetch` with the method POST. */
export function post(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().post(url, init);
}

/** `fetch` with the method PUT. */
export function put(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().put(url, init);
}

/** `fetch` with the method PATCH. */
export function patch(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().patch(url, init);
}

/** `fetch` with the method DELETE; also exported as `delete`. */
export function del(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().delete(url, init);
}

/** `fetch` with the method OPTIONS. */
export function options(url: string | URL, init?: ClientInit): ResponsePromise {
  return client().options(url, init);
}

export { del as delete };
