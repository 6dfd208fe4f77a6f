/** What a handler cannot see is not made for it, and nothing else changes. */
import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import { bodyOf, exchange, get, statusOf, withServer } from "./_http_raw.ts";
import { engines } from "./_support.ts";
import { parametersOf } from "../http/_parameters.ts";
import type { Handler } from "../http/types.ts";

const response = (): Response => new Response("fine");

test("parametersOf tells what a handler can see", () => {
  const none: Handler[] = [
    () => response(),
    async () => await Promise.resolve(response()),
    (): Response => response(),
  ];
  const one: Handler[] = [
    (request) => new Response(request.method),
    async (request: Request) => new Response(await request.text()),
    (_) => response(),
    ($1a) => new Response($1a.url),
  ];
  const all: Handler[] = [
    (_request, _context) => response(),
    (...given) => new Response(String(given.length)),
    ({ url }) => new Response(url),
    (request = new Request("http://localhost")) => new Response(request.url),
    (_request, _context = undefined as never) => response(),
    function () {
      return new Response(String(arguments.length));
    },
    function (request) {
      return new Response(request.url + arguments.length);
    },
    { fetch: () => response() }.fetch.bind(undefined),
    {
      fetch(): Response {
        return new Response(String(arguments.length));
      },
    }.fetch,
    new Proxy(() => response(), {}),
  ];
  for (const handler of none) assertEquals(parametersOf(handler), 0);
  for (const handler of one) assertEquals(parametersOf(handler), 1);
  for (const handler of all) assertEquals(parametersOf(handler), 2);
});

function post(body: string): string {
  return `POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`;
}

for (const engine of engines) {
  test(`serve (${engine}) gives what is seen, by each way to see it`, async () => {
    const handlers: Handler[] = [
      (request) => new Response(request.method),
      (...given) => new Response(given[0].method),
      (request, context) =>
        new Response(context.receivedAt > 0 ? request.method : "never"),
      function () {
        return new Response((arguments[0] as Request).method);
      },
      ({ method }) => new Response(method),
    ];
    for (const handler of handlers) {
      await withServer(handler, { engine }, async (server) => {
        assertEquals(bodyOf(await exchange(server, post("a"))), "POST");
      });
    }
  });

  test(`serve (${engine}) serves a handler that sees nothing`, async () => {
    const stream = () =>
      new ReadableStream<Uint8Array<ArrayBuffer>>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("streamed"));
          controller.close();
        },
      });
    const cases: [Handler, number, string][] = [
      [() => new Response("text"), 200, "text"],
      [async () => await Promise.resolve(new Response("later")), 200, "later"],
      [() => Response.json(1), 200, "1"],
      [() => new Response(null, { status: 204 }), 204, ""],
      [() => new Response(stream(), { status: 201 }), 201, "streamed"],
      [
        () => {
          throw new Error("It fails");
        },
        500,
        "",
      ],
      [() => Promise.reject(new Error("It fails later")), 500, ""],
      [() => "no response" as unknown as Response, 500, ""],
      [
        (() => Promise.resolve(undefined)) as unknown as Handler,
        500,
        "",
      ],
    ];
    for (const [handler, status, body] of cases) {
      await withServer(handler, { engine }, async (server) => {
        for (const request of [get(), post("not looked at")]) {
          const answer = await exchange(server, request);
          assertEquals(statusOf(answer), status);
          assert(answer.includes(body), answer);
        }
      });
    }
  });

  test(`serve (${engine}) holds one that sees nothing to what was asked`, async () => {
    await withServer(
      () => new Response("fine"),
      { engine, limits: { body: 4 } },
      async (server) => {
        assertEquals(statusOf(await exchange(server, post("12345"))), 413);
        assertEquals(statusOf(await exchange(server, post("1234"))), 200);
      },
    );
    const told: [unknown, string][] = [];
    const options = {
      engine,
      onError: (error: unknown, { method }: Request) => {
        told.push([error, method]);
        return new Response("told", { status: 502 });
      },
    };
    const error = new Error("It fails");
    await withServer(() => Promise.reject(error), options, async (server) => {
      assertEquals(statusOf(await exchange(server, post("1"))), 502);
      assertEquals(told, [[error, "POST"]]);
    });
    let release!: (response: Response) => void;
    const held = new Promise<Response>((resolve) => {
      release = resolve;
    });
    let calls = 0;
    let begun!: () => void;
    const first = new Promise<void>((resolve) => {
      begun = resolve;
    });
    await withServer(
      () => {
        calls++;
        begun();
        return held;
      },
      { engine, limits: { requests: 1 } },
      async (server) => {
        const one = exchange(server, get());
        await first;
        const other = await exchange(server, get());
        assertEquals(statusOf(other), 503);
        assert(/retry-after: 1/i.test(other), other);
        release(new Response("held"));
        assertEquals(bodyOf(await one), "held");
        assertEquals(calls, 1);
      },
    );
  });
}
