import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { get as fetchGet, Response, withTrailers } from "../http/mod.ts";
import { toReadable } from "../streams/mod.ts";
import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import {
  bodyOf,
  exchange,
  get,
  getOn,
  rawClient,
  statusOf,
  withServer,
} from "./_http_raw.ts";
import { engines, needs, within } from "./_support.ts";

const bodies: [string, () => BodyInit | null, string][] = [
  ["a string", () => "hello", "5\r\nhello\r\n"],
  ["bytes", () => new Uint8Array([104, 105]), "2\r\nhi\r\n"],
  ["nothing", () => null, ""],
  [
    "a stream",
    () => toReadable(["one", "two"]) as BodyInit,
    "3\r\none\r\n3\r\ntwo\r\n",
  ],
];

describe("withTrailers()", () => {
  for (const [what, body, chunks] of bodies) {
    for (
      const [kind, Class] of Object.entries({
        Response,
        global: globalThis.Response,
      })
    ) {
      test(`sends them behind ${what} of a ${kind}`, () =>
        withServer(
          () => withTrailers(new Class(body()), { "X-Sum": "1", "x-b": "c" }),
          {},
          async (server) => {
            const text = await exchange(server, get());
            assertStringIncludes(text, "\r\ntrailer: x-b, x-sum\r\n");
            assertStringIncludes(text, "\r\ntransfer-encoding: chunked\r\n");
            assert(!/content-length/i.test(text), text);
            assertEquals(
              bodyOf(text),
              `${chunks}0\r\nx-b: c\r\nx-sum: 1\r\n\r\n`,
            );
          },
        ));
    }
  }

  test("waits for a promise of them, and keeps the connection", () => {
    let done!: (trailers: HeadersInit) => void;
    let count = 0;
    return withServer(
      () => {
        const trailers = new Promise<HeadersInit>((resolve) => done = resolve);
        const number = ++count;
        return withTrailers(
          new Response(`${number}`, {
            headers: { trailer: "x-late", "content-length": "1" },
          }),
          trailers,
        );
      },
      {},
      async (server) => {
        const client = await rawClient(server);
        client.send(getOn());
        await client.until("1\r\n1\r\n");
        assert(!client.text.includes("0\r\n"), client.text);
        assertEquals(client.text.split("trailer:").length, 2);
        done({ "x-late": "yes" });
        await client.until("0\r\nx-late: yes\r\n\r\n");
        client.send(getOn());
        await client.until("1\r\n2\r\n");
        done([]);
        assert((await client.until("0\r\n\r\n")).endsWith("2\r\n0\r\n\r\n"));
        client.destroy();
      },
    );
  });

  const failing: [string, () => Promise<HeadersInit>][] = [
    ["rejects", () => Promise.reject(new Error("no sum"))],
    ["gives a forbidden field", () => Promise.resolve({ "set-cookie": "a=1" })],
    ["gives no headers", () => Promise.resolve({ "a b": "1" })],
  ];
  for (const [what, trailers] of failing) {
    test(`aborts the connection when the promise ${what}`, async () => {
      const errors: unknown[] = [];
      await withServer(() => withTrailers(new Response("hello"), trailers()), {
        onError(error) {
          errors.push(error);
          return new Response(null, { status: 500 });
        },
      }, async (server) => {
        const client = await rawClient(server);
        client.send(getOn());
        await client.untilEnd();
        assert(!client.text.includes("0\r\n\r\n"), client.text);
        assertEquals(errors.length, 1);
        client.destroy();
      });
    });
  }

  const forbidden = [
    "content-length",
    "Transfer-Encoding",
    "host",
    "trailer",
    "te",
    "content-type",
    "content-encoding",
    "content-range",
    "set-cookie",
    "authorization",
    "cache-control",
    "connection",
    "date",
    "location",
  ];
  for (const name of forbidden) {
    test(`refuses ${name}`, () => {
      assertThrows(
        () => withTrailers(new Response(""), { [name]: "1" }),
        TypeError,
        "RFC 9110",
      );
    });
  }

  test("refuses what is no response", () => {
    assertThrows(() => withTrailers({} as Response, {}), TypeError);
  });

  test("sends none where there is no body, nor for HTTP/1.0", () => {
    const fail = () => Promise.reject(new Error("nobody asks"));
    return withServer(
      (request) => {
        const empty = new URL(request.url).pathname === "/204";
        return withTrailers(
          empty ? new Response(null, { status: 204 }) : new Response("hello"),
          fail(),
        );
      },
      {},
      async (server) => {
        const none = await exchange(server, get("/204"));
        assertEquals([statusOf(none), bodyOf(none)], [204, ""]);
        const head = await exchange(server, get().replace("GET", "HEAD"));
        assertEquals([statusOf(head), bodyOf(head)], [200, ""]);
        const old = await exchange(server, "GET / HTTP/1.0\r\n\r\n");
        assertEquals(bodyOf(old), "hello");
        assertStringIncludes(old, "content-length: 5\r\n");
      },
    );
  });

  test("checks a length that the handler gave", () =>
    withServer(
      () =>
        withTrailers(
          new Response(toReadable(["too long"]) as BodyInit, {
            headers: { "content-length": "3" },
          }),
          {},
        ),
      {},
      async (server) => {
        const text = await exchange(server, getOn());
        assert(!text.includes("0\r\n\r\n"), text);
      },
    ));

  test("is understood by our own client", () =>
    withServer(
      () => withTrailers(new Response("hello"), { "x-sum": "1" }),
      {},
      async (server) => {
        const response = await fetchGet(server.url);
        assertEquals(await response.text(), "hello");
        assertEquals((await within(response.trailers)).get("x-sum"), "1");
      },
    ));

  test("is understood by curl", { skip: needs("curl") }, () =>
    withServer(
      () => withTrailers(new Response("hello\n"), { "x-sum": "1" }),
      {},
      async (server) => {
        const text = await within(
          new Promise<string>((resolve, reject) =>
            execFile(
              "curl",
              ["-sS", "-i", server.url],
              (error, stdout) => error ? reject(error) : resolve(stdout),
            )
          ),
        );
        assert(text.trimEnd().endsWith("hello\nx-sum: 1"), text);
      },
    ));

  for (const engine of engines) {
    if (engine === "wire") continue;
    test("is a clear error on the native engine", async () => {
      const errors: string[] = [];
      await withServer(
        () => withTrailers(new Response("hello"), { "x-sum": "1" }),
        {
          engine,
          onError(error) {
            errors.push((error as Error).message);
            return new Response("failed", { status: 500 });
          },
        },
        async (server) => {
          assertEquals(statusOf(await exchange(server, get())), 500);
          assertEquals(errors.length, 1);
          assertStringIncludes(errors[0], "Cannot send trailers");
        },
      );
    });
  }
});

const chunked =
  "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";

describe("context.trailers", () => {
  test("is what came behind the request's body", () =>
    withServer(
      async (request, context) => {
        const body = await request.text();
        const trailers = await context.trailers;
        return Response.json([body, ...trailers]);
      },
      {},
      async (server) => {
        const client = await rawClient(server);
        client.send(`${chunked}2\r\nhi\r\n0\r\nX-Su`);
        client.send("m: 1\r\nx-b:  c \r\n\r\n");
        assertEquals(
          bodyOf(await client.untilEnd()),
          '["hi",["x-b","c"],["x-sum","1"]]',
        );
        client.destroy();
        const none = await exchange(server, `${chunked}2\r\nhi\r\n0\r\n\r\n`);
        assertEquals(bodyOf(none), '["hi"]');
        assertEquals(bodyOf(await exchange(server, get())), '[""]');
      },
    ));

  test("rejects when the client leaves before them", async () => {
    let rejected!: (error: unknown) => void;
    const rejection = new Promise((resolve) => rejected = resolve);
    await withServer(
      async (_request, context) => {
        await context.trailers.catch(rejected);
        return new Response("nobody");
      },
      {},
      async (server) => {
        const client = await rawClient(server);
        client.send(`${chunked}2\r\nhi\r\n`);
        client.destroy();
        assert(await within(rejection) instanceof Error);
      },
    );
  });

  test("refuses forbidden ones with a 400", () =>
    withServer(
      async (request) => new Response(await request.text()),
      {},
      async (server) => {
        const text = await exchange(
          server,
          `${chunked}2\r\nhi\r\n0\r\ncontent-length: 5\r\n\r\n`,
        );
        assertEquals(statusOf(text), 400);
      },
    ));
});
