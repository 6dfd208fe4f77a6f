import { NetError } from "../streams/errors.ts";
import type { MaybePromise } from "../streams/types.ts";
import { isResponse } from "./_response_parts.ts";
import { matchRoute, parseRoute } from "./_fake_route.ts";
import type { FakeRoute } from "./_fake_route.ts";
import { TEXT_TYPE } from "./_text_type.ts";

/**
 * What a route of `fake` answers with: a `Response`, an `Error` to fail with,
 * text as `text/plain`, bytes, and anything else as JSON.
 */
export type FakeAnswer =
  | Response
  | Error
  | Uint8Array
  | string
  | number
  | boolean
  | null
  | readonly unknown[]
  | { readonly [key: string]: unknown };

/** Makes the answer of a route; `params` is what `:name` and `*` matched. */
export type FakeHandler = (
  request: Request,
  params: Record<string, string>,
) => MaybePromise<FakeAnswer>;

/** Answers by method and path, e.g. `"GET /users/:id"`. */
export type FakeRoutes = Readonly<Record<string, FakeAnswer | FakeHandler>>;

/** A transport for tests that keeps what it was asked. */
export interface FakeTransport {
  /** Answers a request by the first route that matches. */
  (request: Request): Promise<Response>;
  /** All requests so far, in order; their bodies can be read. */
  readonly requests: readonly Request[];
  /** Forgets the requests. */
  clear(): void;
}

/**
 * A transport for tests: it answers by routes and opens no connection.
 *
 * A route is a path, with a method and a space before it or for all methods.
 * It may begin with an origin (`"GET https://api.test/users"`), and end with a
 * query whose pairs have to be among those of the request. In the path `:name`
 * is one segment, and `*` is one, too, or all that is left at the end; what
 * they matched is in `params`, decoded, `*` as `params["*"]`. `"*"` alone is
 * any path. The first route that matches counts; HEAD is answered by a route
 * for GET where there is none for HEAD.
 *
 * A request without a route rejects with an error (`ERR_NO_ROUTE`) that lists
 * the routes. A route that is none throws a TypeError at once.
 *
 * @example
 * ```ts
 * import { Client, fake } from "@sluice/net/http";
 *
 * const transport = fake({
 *   "GET /users/:id": (_request, { id }) => ({ id, name: "Ada" }),
 *   "POST /users": new Response(null, { status: 201 }),
 *   "/health": "fine",
 * });
 * const client = new Client({ base: "https://api.test", transport });
 * console.log(await client.get("/users/7").json()); // { id: "7", name: "Ada" }
 * await client.post("/users", { json: { name: "Grace" } });
 * console.log(await transport.requests[1].json()); // { name: "Grace" }
 * await client.close();
 * ```
 */
export function fake(routes: FakeRoutes): FakeTransport {
  const list: [FakeRoute, FakeAnswer | FakeHandler][] = [];
  for (const [text, answer] of Object.entries(routes)) {
    list.push([parseRoute(text), answer]);
  }
  const requests: Request[] = [];
  const transport = async (request: Request): Promise<Response> => {
    // The handler reads one of the two, whoever asks later the other.
    requests.push(request.clone());
    const url = new URL(request.url);
    const methods = request.method === "HEAD"
      ? ["HEAD", "GET"]
      : [request.method];
    for (const method of methods) {
      for (const [route, answer] of list) {
        const params = matchRoute(route, method, url);
        if (params === undefined) continue;
        const given = typeof answer === "function"
          ? await answer(request, params)
          : isResponse(answer)
          ? answer.clone()
          : answer;
        await spend(request);
        return responseOf(given, route.text);
      }
    }
    throw new NetError(
      `the fake has no route for it; its routes are: ${
        Object.keys(routes).join(", ") || "none"
      }`,
      { code: "ERR_NO_ROUTE", phase: "response" },
    );
  };
  return Object.assign(transport, {
    requests,
    clear: () => void requests.splice(0),
  });
}

/** What the handler did not read is read for the copy, if it has an end. */
async function spend(request: Request): Promise<void> {
  if (request.body === null || request.bodyUsed || request.body.locked) return;
  const read = request.arrayBuffer().then(() => {}, () => {});
  if (request.headers.has("content-length")) await read;
}

function responseOf(answer: FakeAnswer, route: string): Response {
  if (isResponse(answer)) return answer;
  if (answer instanceof Error) throw answer;
  if (typeof answer === "string") {
    return new Response(answer, { headers: { "content-type": TEXT_TYPE } });
  }
  if (answer instanceof Uint8Array) return new Response(answer as BodyInit);
  if (answer === undefined) {
    throw new TypeError(`Cannot fetch: the route gave no answer: ${route}`);
  }
  return new Response(JSON.stringify(answer), {
    headers: { "content-type": "application/json" },
  });
}
