import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
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
import { modes, until, within } from "./_support.ts";
import { fetch as ownFetch } from "../http/fetch.ts";
import type { ClientInit } from "../http/client.ts";
import { serve } from "../http/serve.ts";
import { Response as LightResponse } from "../http/response.ts";
import type { Handler, ServeOptions, ServerContext } from "../http/types.ts";

for (const engine of modes) {
  // The runtimes' own do not speak HTTP/2 without TLS.
  const fetch = engine === "h2"
    ? (url: string, init?: ClientInit): Promise<Response> =>
      ownFetch(url, { protocols: ["h2"], ...init })
    : globalThis.fetch;

  describe(`serve() on the ${engine} engine`, () => {
    test("serve() answers from a function, a promise and an object's fetch", async () => {
      const app = {
        word: "object",
        fetch() {
          return new Response(this.word);
        },
      };
      const answers: [Handler | { fetch: Handler }, string][] = [
        [() => new Response("function"), "function"],
        [() => Promise.resolve(new Response("promise")), "promise"],
        [app, "object"],
        [() => new LightResponse("light"), "light"],
      ];
      for (const [handler, expected] of answers) {
        await withServer(handler, { engine }, async (server) => {
          const response = await fetch(server.url);
          assertEquals(response.status, 200);
          assertEquals(await response.text(), expected);
          assertMatch(
            response.headers.get("content-type") ?? "",
            /^text\/plain;\s*charset=utf-8$/i,
          );
          assertEquals(
            response.headers.get("content-length"),
            `${expected.length}`,
          );
          assert(!Number.isNaN(Date.parse(response.headers.get("date") ?? "")));
        });
      }
    });

    test("serve() gives the request to every function that could see it", async () => {
      const tell = (all: unknown[]) => {
        const [{ url }, { receivedAt }] = all as [Request, ServerContext];
        return Response.json([new URL(url).pathname, typeof receivedAt]);
      };
      // None of them names one that must be given.
      const handlers: Handler[] = [
        (...all: unknown[]) => tell(all),
        function () {
          return tell([...arguments]);
        },
        (request?: Request, context?: ServerContext) =>
          tell([request, context]),
        (request = {} as Request, context = {} as ServerContext) =>
          tell([request, context]),
      ];
      for (const handler of handlers) {
        await withServer(handler, { engine }, async (server) => {
          const response = await fetch(`${server.url}seen`);
          assertEquals(await response.json(), ["/seen", "number"]);
        });
      }
    });

    test("serve() tells onError of the request that a handler took no part of", async () => {
      let told = "";
      await withServer(() => {
        throw new Error("No");
      }, {
        engine,
        onError: (_error, request) => {
          told = request.url;
          return new Response("sorry", { status: 500 });
        },
      }, async (server) => {
        const response = await fetch(`${server.url}told`, {
          method: "POST",
          body: "with a body",
        });
        assertEquals([response.status, await response.text()], [500, "sorry"]);
        assertStringIncludes(told, "/told");
      });
    });

    test("serve() keeps a connection open for the next request", async () => {
      await withServer(
        (request) => new Response(request.url),
        { engine },
        async (server) => {
          const client = await rawClient(server);
          client.send(getOn("/one"));
          await client.until("/one");
          client.send(getOn("/two"));
          await client.until("/two");
          client.send(get("/three"));
          await client.untilEnd();
          assertStringIncludes(client.text, "/three");
          client.destroy();
        },
      );
    });

    test("serve() gives the request as it came", async () => {
      await withServer(
        async (request) => {
          return Response.json({
            method: request.method,
            path: new URL(request.url).pathname,
            query: new URL(request.url).search,
            custom: request.headers.get("x-custom"),
            cookie: request.headers.get("cookie"),
            body: await request.text(),
            used: request.bodyUsed,
          });
        },
        { engine },
        async (server) => {
          for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
            const response = await fetch(`${server.url}a/b%20c?d=e&f`, {
              method,
              headers: { "x-custom": "yes", cookie: "a=b; c=d" },
              body: "héllo",
            });
            assertEquals(await response.json(), {
              method,
              path: "/a/b%20c",
              query: "?d=e&f",
              custom: "yes",
              cookie: "a=b; c=d",
              body: "héllo",
              used: true,
            });
          }
        },
      );
    });

    test("serve() sends the status and fields of the response", async () => {
      await withServer(
        () => {
          const headers = new Headers({ "x-one": "1", "content-type": "a/b" });
          headers.append("set-cookie", "a=1");
          headers.append("set-cookie", "b=2");
          return new Response("x", { status: 418, headers });
        },
        { engine },
        async (server) => {
          const text = await exchange(server, get());
          assertEquals(statusOf(text), 418);
          assertMatch(text, /\r\nx-one: 1\r\n/i);
          assertMatch(text, /\r\ncontent-type: a\/b\r\n/i);
          assertMatch(text, /\r\nset-cookie: a=1\r\n/i);
          assertMatch(text, /\r\nset-cookie: b=2\r\n/i);
        },
      );
    });

    test("serve() sends no body to HEAD, and none with 204 and 304", async () => {
      await withServer(
        (request) => {
          const path = new URL(request.url).pathname;
          if (path === "/text") return new Response("hello");
          if (path === "/stream") {
            return new Response(
              new ReadableStream({
                start(controller) {
                  controller.enqueue(new Uint8Array(3));
                  controller.close();
                },
              }),
            );
          }
          return new Response(null, { status: Number(path.slice(1)) });
        },
        { engine },
        async (server) => {
          for (const path of ["/text", "/stream"]) {
            const text = await exchange(
              server,
              `HEAD ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
            );
            assertEquals(statusOf(text), 200);
            assertEquals(bodyOf(text), "");
          }
          for (const status of [204, 304]) {
            const text = await exchange(server, get(`/${status}`));
            assertEquals(statusOf(text), status);
            assertEquals(bodyOf(text), "");
            assert(!/content-length: [^0]|transfer-encoding/i.test(text), text);
          }
        },
      );
    });

    test("serve() answers a handler that throws with a bare 500 and tells onError", async () => {
      const told: unknown[] = [];
      for (
        const handler of [
          () => {
            throw new Error("secret");
          },
          () => Promise.reject(new Error("secret")),
        ]
      ) {
        await withServer(handler, { engine }, async (server) => {
          const text = await exchange(server, get());
          assertEquals(statusOf(text), 500);
          assertEquals(bodyOf(text), "");
          assert(!text.includes("secret"));
        });
        await withServer(handler, {
          engine,
          onError(error, request) {
            told.push((error as Error).message, request.method);
            return new Response("sorry", { status: 503 });
          },
        }, async (server) => {
          const response = await fetch(server.url);
          assertEquals(response.status, 503);
          assertEquals(await response.text(), "sorry");
        });
      }
      assertEquals(told, ["secret", "GET", "secret", "GET"]);
    });

    test("serve() gives a bare 500 when onError fails too", async () => {
      const options: ServeOptions[] = [
        {
          onError() {
            throw new Error("worse");
          },
        },
        { onError: () => Promise.reject(new Error("worse")) },
        { onError: () => undefined as unknown as Response },
      ];
      for (const option of options) {
        await withServer(
          () => {
            throw new Error("bad");
          },
          { engine, ...option },
          async (server) => {
            const text = await exchange(server, get());
            assertEquals(statusOf(text), 500);
            assertEquals(bodyOf(text), "");
          },
        );
      }
    });

    test("serve() refuses to send what is no good Response", async () => {
      const kept = new Response("once");
      const bad: [string, () => unknown][] = [
        ["undefined", () => undefined],
        ["null", () => null],
        ["text", () => "text"],
        ["an object", () => ({ status: 200 })],
        ["an error response", () => Response.error()],
        ["a read body", async () => {
          const response = new Response("x");
          await response.text();
          return response;
        }],
        ["a locked body", () => {
          const response = new Response("x");
          response.body!.getReader();
          return response;
        }],
      ];
      for (const [name, handler] of bad) {
        // Deno sends what it has in hand, which is the same.
        if (engine === "native" && name === "a locked body") continue;
        const errors: unknown[] = [];
        await withServer(handler as Handler, {
          engine,
          onError(error) {
            errors.push(error);
            return new Response("refused", { status: 500 });
          },
        }, async (server) => {
          const text = await exchange(server, get());
          assertEquals(statusOf(text), 500, name);
          if (engine === "wire") {
            assertEquals(bodyOf(text), "refused", name);
            assert(errors[0] instanceof TypeError, name);
          }
        });
      }
      if (engine !== "wire") return;
      await withServer(() => kept, { engine }, async (server) => {
        assertEquals(statusOf(await exchange(server, get())), 200);
        assertEquals(statusOf(await exchange(server, get())), 500);
      });
    });

    test("serve() sends the same answer as often as it is given, and no other", async () => {
      const answers: (() => Response)[] = [
        () => new Response("one"),
        () => new Response("two"),
        () => new Response("one", { status: 201, statusText: "Fine" }),
        () => new Response("one", { headers: { "x-a": "1" } }),
        () => new Response("one", { headers: { "x-a": "2" } }),
        () => new Response("\u20ac"),
        () => new Response(""),
        () => new Response(null, { status: 404 }),
        () => Response.json("one"),
      ];
      const handler = (request: Request) =>
        answers[Number(new URL(request.url).pathname.slice(1))]();
      await withServer(handler, { engine }, async (server) => {
        const seen = async (at: number) => {
          const response = await fetch(`${server.url}${at}`);
          const { status, statusText, headers } = response;
          const fields = ["content-type", "content-length", "x-a"];
          return [
            status,
            statusText,
            ...fields.map((name) => headers.get(name)),
            await response.text(),
          ];
        };
        const first: unknown[] = [];
        for (const at of answers.keys()) first.push(await seen(at));
        assertEquals(
          first.map((answer) => (answer as unknown[]).at(-1)),
          ["one", "two", "one", "one", "one", "\u20ac", "", "", '"one"'],
        );
        assertEquals(
          first.map((answer) => (answer as unknown[])[0]),
          [200, 200, 201, 200, 200, 200, 200, 404, 200],
        );
        for (const at of [...answers.keys(), ...answers.keys()].reverse()) {
          assertEquals(await seen(at), first[at]);
        }
      });
    });

    test("serve() tells the handler about the connection", async () => {
      await withServer(
        (request, context) => {
          const { remoteAddress, localAddress, clientAddress, receivedAt } =
            context;
          return Response.json({
            remoteAddress,
            localAddress,
            clientAddress,
            age: performance.now() - receivedAt,
            raw: typeof context.raw,
            url: request.url,
          });
        },
        { engine },
        async (server) => {
          assert(server.address.transport === "tcp");
          const response = await fetch(`${server.url}x`);
          const told = await response.json();
          assertEquals(told.localAddress, server.address);
          assertEquals(told.remoteAddress.hostname, "127.0.0.1");
          assert(told.remoteAddress.port > 0);
          assertEquals(told.clientAddress, "127.0.0.1");
          assert(told.age >= 0 && told.age < 5000);
          assertEquals(told.raw, "object");
          assertEquals(told.url, `${server.url}x`);
          assertEquals(
            server.url,
            `http://127.0.0.1:${server.address.port}/`,
          );
        },
      );
    });

    if (engine !== "h2") {
      test("serve() listens on a Unix socket", async () => {
        const path = `/tmp/sluice-http-${crypto.randomUUID()}.sock`;
        const server = await serve(() => new Response("unix"), {
          engine,
          path,
        });
        try {
          assertEquals(server.address, { transport: "unix", path });
          const text = await exchange(server, get());
          assertEquals(bodyOf(text), "unix");
        } finally {
          await within(server.close());
        }
      });
    }

    if (engine !== "h2") {
      test("serve() rejects when the port is taken, and with its code", async () => {
        await withServer(() => new Response(), { engine }, async (server) => {
          assert(server.address.transport === "tcp");
          const { port } = server.address;
          const error = await assertRejects(
            () =>
              serve(() => new Response(), {
                engine,
                port,
                hostname: "127.0.0.1",
              }),
          );
          assertEquals((error as { code?: string }).code, "EADDRINUSE");
        });
      });
    }

    test("serve() calls onListen with the address", async () => {
      let address: unknown;
      await withServer(() => new Response(), {
        engine,
        onListen(given) {
          address = given;
        },
      }, (server) => {
        assertEquals(address, server.address);
        return Promise.resolve();
      });
    });

    test("serve() closes when its signal aborts", async () => {
      const controller = new AbortController();
      await withServer(() => new Response(), {
        engine,
        signal: controller.signal,
      }, async (server) => {
        await fetch(server.url).then((response) => response.text());
        controller.abort();
        await within(server.closed);
      });
      await assertRejects(() =>
        serve(() => new Response(), {
          ...(engine === "h2" ? { protocols: ["h2"] } : { engine }),
          port: 0,
          signal: controller.signal,
        })
      );
    });

    test("serve() hands a request to fetch() without a socket", async () => {
      await withServer(
        (request, context) => {
          if (request.url.endsWith("/bad")) throw new Error("bad");
          return new Response(`${request.url} ${context.protocol}`);
        },
        { engine },
        async (server) => {
          const response = await server.fetch(new Request("http://a.test/x"));
          assertEquals(await response.text(), "http://a.test/x http/1.1");
          const bad = await server.fetch(new Request("http://a.test/bad"));
          assertEquals(bad.status, 500);
        },
      );
    });

    test("serve() answers many clients at a time", async () => {
      await withServer(
        async (request) => {
          await new Promise((resolve) => setTimeout(resolve, 1));
          return new Response(await request.text());
        },
        { engine },
        async (server) => {
          const answers = await Promise.all(
            Array.from({ length: 100 }, async (_, i) => {
              const body = `${i} `.repeat(i * 50);
              const response = await fetch(server.url, {
                method: "POST",
                body,
              });
              return await response.text() === body;
            }),
          );
          assert(answers.every(Boolean));
        },
      );
    });

    test("request.signal does not abort when all went well", async () => {
      const signals: AbortSignal[] = [];
      await withServer(
        async (request) => {
          signals.push(request.signal);
          await Promise.resolve();
          return request.url.endsWith("/stream")
            ? new Response(
              new ReadableStream({
                pull(controller) {
                  controller.enqueue(new Uint8Array(10));
                  controller.close();
                },
              }),
            )
            : new Response("fine");
        },
        { engine },
        async (server) => {
          for (const path of ["", "stream"]) {
            await (await fetch(server.url + path)).bytes?.();
            await exchange(server, get(`/${path}`));
          }
          await new Promise((resolve) => setTimeout(resolve, 20));
          assertEquals(signals.map((signal) => signal.aborted), [
            false,
            false,
            false,
            false,
          ]);
        },
      );
    });

    test("request.signal aborts when the client leaves before the response", async () => {
      let signal: AbortSignal | undefined;
      let aborted = false;
      await withServer(
        (request) => {
          signal = request.signal;
          return new Promise((resolve) => {
            signal!.addEventListener("abort", () => {
              aborted = true;
              resolve(new Response("late"));
            });
          });
        },
        { engine },
        async (server) => {
          const client = await rawClient(server);
          client.send(getOn());
          await until(() => signal !== undefined);
          client.destroy();
          await until(() => aborted, "The abort");
          assert(signal!.aborted);
        },
      );
    });
  });
}

test("serve() refuses what it does not know or cannot honour", async () => {
  const handler = () => new Response();
  const bad: [object, string][] = [
    [{ compress: 1 }, "compress"],
    [{ trustProxy: -1 }, "trustProxy"],
    [{ trustProxy: 1.5 }, "trustProxy"],
    [{ trustProxy: "loopback" }, "trustProxy"],
    [{ trustProxy: ["10.0.0.0/33"] }, "trustProxy"],
    [{ trustProxy: ["constructor"] }, "trustProxy"],
    [{ onExpect: true }, "onExpect"],
    [{ onOverload: 503 }, "onOverload"],
    [{ proxyProtocol: 1 }, "proxyProtocol"],
    [{ wiretap: true }, "wiretap"],
    [{ http2: { maxConcurrentStreams: 0 } }, "http2.maxConcurrentStreams"],
    [{ http2: { initialWindow: 65_534 } }, "http2"],
    [{ http2: { maxWindow: 2 ** 31 } }, "http2"],
    [{ http2: { push: true } }, "push"],
    [{ protocols: ["h3"] }, "protocols"],
    [{ protocols: [] }, "protocols"],
    [{ protocols: ["http/1.1", "http/1.1"] }, "protocols"],
    [{ protocols: ["spdy"] }, "protocols"],
    [{ protocols: "h2" }, "protocols"],
    [{ limits: { requests: -1 } }, "limits.requests"],
    [{ timeouts: { write: 1 } }, "write"],
    [{ port: 70_000 }, "port"],
    [{ limits: { body: -1 } }, "limits.body"],
    [{ timeouts: { idle: NaN } }, "timeouts.idle"],
    [{ engine: "other" }, "engine"],
    [{ path: "/tmp/x", port: 1 }, "path"],
    [{ onError: 1 }, "onError"],
  ];
  for (const [options, name] of bad) {
    const error = await assertRejects(
      () => serve(handler, { port: 0, ...options } as ServeOptions),
      Error,
      name,
    );
    assert(error instanceof TypeError || error instanceof RangeError, name);
  }
  for (const handler of [undefined, null, 1, {}, { fetch: 1 }]) {
    await assertRejects(
      () => serve(handler as unknown as Handler, { port: 0 }),
      TypeError,
      "handler",
    );
  }
});
