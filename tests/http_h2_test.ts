// HTTP/2 of our own on both sides: what a handler and a caller can see of it,
// by prior knowledge and over TLS. RFC 9113.

import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { withServer } from "./_http_raw.ts";
import { until, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import {
  Client,
  FetchError,
  Response as LightResponse,
  withTrailers,
} from "../http/mod.ts";
import type {
  ClientOptions,
  Handler,
  HttpServer,
  ServeOptions,
} from "../http/mod.ts";
import { Channel, NetError, toReadable } from "../streams/mod.ts";

const tls = { cert: pem("server.pem"), key: pem("server.key") };
const ca = pem("ca.pem");

interface Mode {
  name: string;
  server: ServeOptions;
  client: ClientOptions;
}

const modes: Mode[] = [
  {
    name: "prior knowledge",
    server: { protocols: ["h2", "http/1.1"] },
    client: { protocols: ["h2"] },
  },
  { name: "ALPN", server: { tls }, client: { tls: { ca } } },
];

/** A promise that the test settles. */
function gate(): { promise: Promise<void>; open: () => void } {
  let open!: () => void;
  const promise = new Promise<void>((resolve) => open = resolve);
  return { promise, open };
}

for (const mode of modes) {
  /** Runs a test with a server and a client of this mode. */
  const over = (
    handler: Handler,
    run: (client: Client, server: HttpServer) => Promise<unknown>,
    options: ServeOptions = {},
    clientOptions: ClientOptions = {},
  ): Promise<void> =>
    withServer(handler, { ...mode.server, ...options }, async (server) => {
      const client = new Client({
        base: server.url.replace("127.0.0.1", "localhost"),
        timeout: 12_000,
        ...mode.client,
        ...clientOptions,
      });
      try {
        await run(client, server);
      } finally {
        await within(client.close({ timeout: 0 }), 5000, "close()");
      }
    });

  describe(`HTTP/2 by ${mode.name}`, () => {
    test("a handler is told what came, a caller what was answered", () =>
      over((request, context) => {
        const { pathname, search } = new URL(request.url);
        const { headers } = request;
        return new LightResponse(
          JSON.stringify([
            ...[request.method, pathname, search, context.protocol],
            ...[headers.get("host"), headers.get("x-a"), headers.get("cookie")],
            ...[[...headers.keys()].some((name) => name.startsWith(":"))],
            request.body === null,
          ]),
          {
            status: 201,
            headers: [["x-b", "1"], ["set-cookie", "a=1"], ["set-cookie", "b"]],
          },
        );
      }, async (client, server) => {
        const response = await client.fetch("/a%20b?c=d", {
          method: "PURGE",
          headers: { "X-A": "ä", cookie: "e=f" },
        });
        assertEquals(response.httpVersion, "2.0");
        const { timings } = response;
        assert(timings.dial! <= timings.connect!);
        assertEquals(timings.tls === undefined, mode.name !== "ALPN");
        assert((timings.tls ?? timings.connect!) <= timings.connected);
        assert(timings.connected <= timings.sent!);
        assert(timings.sent! <= timings.response);
        assertEquals(response.status, 201);
        assertEquals(response.statusText, "");
        assertEquals(response.headers.get("x-b"), "1");
        assertEquals(response.headers.getSetCookie(), ["a=1", "b"]);
        assert(response.headers.get("date") !== null);
        const { port } = new URL(server.url);
        assertEquals(await response.json(), [
          ...["PURGE", "/a%20b", "?c=d", "h2", `localhost:${port}`, "ä"],
          ...["e=f", false, true],
        ]);
      }));

    test("bodies go both ways, whole and as streams", () =>
      over(async (request) => {
        const { pathname } = new URL(request.url);
        return pathname === "/whole"
          ? new LightResponse(await request.arrayBuffer())
          : new Response(request.body);
      }, async (client) => {
        for (const size of [0, 1, 16_384, 16_385, 65_536, 1_000_000]) {
          const body = new Uint8Array(size).map((_, i) => i * 7);
          for (const path of ["/whole", "/stream"]) {
            assertEquals(await client.post(path, { body }).bytes(), body);
            const stream = new ReadableStream<Uint8Array>({
              start(controller) {
                for (let at = 0; at < size; at += 30_000) {
                  controller.enqueue(body.slice(at, at + 30_000));
                }
                controller.close();
              },
            });
            const response = await client.post(path, { body: stream });
            assertEquals(await response.bytes(), body);
          }
        }
      }));

    test("a response goes on while its request still comes", () =>
      over((request) => new Response(request.body), async (client) => {
        const up = new Channel<Uint8Array>();
        const response = await client.post("/", { body: toReadable(up) });
        const reader = response.body!.getReader();
        for (let i = 0; i < 5; i++) {
          await up.send(new Uint8Array([i]));
          assertEquals(
            (await within(reader.read())).value,
            new Uint8Array([i]),
          );
        }
        up.close();
        assertEquals((await within(reader.read())).done, true);
      }));

    test("HEAD, 204 and 304 have no body", () =>
      over((request) => {
        const { pathname } = new URL(request.url);
        const status = Number(pathname.slice(1));
        return status === 200
          ? new LightResponse("12345")
          : new Response(null, { status });
      }, async (client) => {
        const head = await client.head("/200");
        assertEquals(head.headers.get("content-length"), "5");
        assertEquals(await head.text(), "");
        for (const status of [204, 304]) {
          const response = await client.get(`/${status}`);
          assertEquals(response.status, status);
          assertEquals(response.headers.get("content-length"), null);
          assertEquals(await response.text(), "");
        }
      }));

    test("trailers of a response arrive", () =>
      over(
        () => withTrailers(new Response("body"), { "x-sum": "7" }),
        async (client) => {
          const response = await client.get("/");
          assertEquals(await response.text(), "body");
          assertEquals([...await response.trailers], [["x-sum", "7"]]);
        },
      ));

    test("a thousand requests share a connection", async () => {
      const { promise, open } = gate();
      let waiting = 0;
      await over(async () => {
        if (++waiting === 1000) open();
        await promise;
        return new LightResponse("ok");
      }, async (client, server) => {
        const answers = await Promise.all(
          Array.from({ length: 1000 }, () => client.get("/").text()),
        );
        assertEquals(answers.every((text) => text === "ok"), true);
        assertEquals(server.stats().accepted, 1);
        assertEquals(client.stats().open, 1);
      });
    });

    test("past what the server allows another connection is made", async () => {
      const { promise, open } = gate();
      let waiting = 0;
      await over(
        async () => {
          if (++waiting === 6) open();
          await promise;
          return new LightResponse("ok");
        },
        async (client, server) => {
          await client.get("/warm", { signal: AbortSignal.timeout(1) })
            .text().catch(() => {});
          waiting = 0;
          const answers = await within(
            Promise.all(
              Array.from({ length: 6 }, () => client.get("/").text()),
            ),
            10_000,
          );
          assertEquals(answers.length, 6);
          assert(server.stats().accepted >= 3);
        },
        { http2: { maxConcurrentStreams: 2 } },
      );
    });

    test("who gives up is known to the handler, and only that one", async () => {
      const aborted: string[] = [];
      const arrived = new Channel<string>();
      const { promise: known, open: tell } = gate();
      await over(async (request) => {
        const { pathname } = new URL(request.url);
        await arrived.send(pathname);
        await new Promise<void>((resolve) => {
          if (pathname === "/stays") known.then(resolve);
          request.signal.addEventListener("abort", () => {
            aborted.push(pathname);
            resolve();
          });
        });
        return new LightResponse("ok");
      }, async (client, server) => {
        const controller = new AbortController();
        const goes = client.get("/goes", { signal: controller.signal }).text();
        const reason = new Error("enough");
        goes.catch(() => {});
        await arrived.receive();
        const stays = client.get("/stays").text();
        await arrived.receive();
        controller.abort(reason);
        assertEquals(
          await goes.then(() => undefined, (error) => error),
          reason,
        );
        await until(() => aborted.length === 1, "the abort");
        tell();
        assertEquals(await stays, "ok");
        assertEquals(aborted, ["/goes"]);
        assertEquals(server.stats().accepted, 1);
        assertEquals(server.stats().connections, 1);
      });
    });

    test("a body that nobody reads on is cancelled, the connection is not", async () => {
      let cancelled = 0;
      await over(() =>
        new Response(
          new ReadableStream<Uint8Array>({
            pull: (controller) => controller.enqueue(new Uint8Array(20_000)),
            cancel: () => void cancelled++,
          }),
        ), async (client, server) => {
        for (let i = 0; i < 3; i++) {
          const response = await client.get("/");
          const reader = response.body!.getReader();
          await reader.read();
          await reader.cancel();
          await until(() => cancelled === i + 1, "the cancellation");
        }
        assertEquals(server.stats().accepted, 1);
      });
    });

    test("a body that breaks off is no complete body", () =>
      over(() => {
        let sent = 0;
        return new Response(
          new ReadableStream<Uint8Array>({
            async pull(controller) {
              if (sent++ < 3) controller.enqueue(new Uint8Array(100_000));
              else {
                await Promise.resolve();
                controller.error(new Error("broke"));
              }
            },
          }),
        );
      }, async (client, server) => {
        const response = await client.get("/");
        const error = await assertRejects(() => response.bytes(), FetchError);
        assert(error.cause instanceof NetError);
        assertEquals(error.code, "ECONNRESET");
        // The others on the connection have nothing to do with it.
        assertEquals(server.stats().connections, 1);
      }, { onError: () => new Response(null, { status: 500 }) }));

    test("a handler that is slow is answered for", () =>
      over(() => new Promise<Response>(() => {}), async (client) => {
        assertEquals((await client.get("/")).status, 503);
      }, { timeouts: { handler: 200 } }));

    test("a handler that fails, or gets too much, is answered for", () =>
      over(
        async (request) => {
          const { pathname } = new URL(request.url);
          if (pathname === "/fails") throw new Error("secret");
          return new LightResponse(String((await request.bytes()).length));
        },
        async (client, server) => {
          const status = async (path: string, init = {}) => {
            const response = await client.post(path, init);
            await response.bytes();
            return response.status;
          };
          assertEquals(await status("/fails"), 500);
          assertEquals(
            await status("/", { body: new Uint8Array(100_001) }),
            413,
          );
          const stream = () =>
            new ReadableStream<Uint8Array>({
              pull: (controller) => controller.enqueue(new Uint8Array(10_000)),
            });
          assertEquals(await status("/", { body: stream() }), 413);
          assertEquals(await status(`/${"x".repeat(200)}`), 414);
          assertEquals(
            await status("/", { headers: { "x-long": "x".repeat(3000) } }),
            431,
          );
          assertEquals(await status("/", { body: new Uint8Array(9) }), 200);
          assertEquals(server.stats().accepted, 1);
        },
        { limits: { body: 100_000, target: 100, header: 2000 } },
      ));

    test("a body that stops coming is 408", () =>
      over(
        async (request) => {
          try {
            await request.bytes();
          } catch {
            // It is answered for.
          }
          return new LightResponse("late");
        },
        async (client) => {
          const up = new Channel<Uint8Array>();
          await up.send(new Uint8Array(10));
          const response = await client.post("/", { body: toReadable(up) });
          assertEquals(response.status, 408);
          up.destroy();
        },
        { timeouts: { body: 200 } },
      ));

    test("the server waits with 100 until the handler reads", async () => {
      const asked: string[] = [];
      await over(async (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/no") return new LightResponse("no", { status: 401 });
        return new LightResponse(await request.text());
      }, async (client) => {
        const body = (name: string) => {
          return new ReadableStream<Uint8Array>({
            pull(controller) {
              asked.push(name);
              controller.enqueue(new TextEncoder().encode(name));
              controller.close();
            },
          }, { highWaterMark: 0 });
        };
        const expectContinue = 10_000;
        const no = await client.post("/no", {
          body: body("no"),
          expectContinue,
        });
        assertEquals([no.status, await no.text()], [401, "no"]);
        assertEquals(asked, []);
        const yes = client.post("/yes", { body: body("yes"), expectContinue });
        assertEquals(await yes.text(), "yes");
      });
    });

    test("close() finishes what is under way, and takes nothing new", async () => {
      const { promise, open } = gate();
      const begun = new Channel<number>({ capacity: 8 });
      await over(async () => {
        await begun.send(1);
        await promise;
        return new LightResponse("done");
      }, async (client, server) => {
        const answers = Array.from(
          { length: 5 },
          () => client.get("/").text(),
        );
        for (let i = 0; i < 5; i++) await begun.receive();
        const closed = server.close({ timeout: 10_000 });
        await until(() => client.stats().idle === 0, "GOAWAY");
        open();
        assertEquals(
          await within(Promise.all(answers)),
          new Array(5).fill("done"),
        );
        await within(closed, 8000);
        await assertRejects(() => client.get("/"), FetchError);
      });
    });

    test("a client that is closed lets its requests end", async () => {
      const begun = gate();
      const { promise, open } = gate();
      await over(async () => {
        begun.open();
        await promise;
        return new LightResponse("ok");
      }, async (client, server) => {
        const answer = client.get("/").text();
        await within(begun.promise);
        const closed = client.close();
        open();
        await within(closed);
        assertEquals(await answer, "ok");
        await until(() => server.stats().connections === 0, "its end");
      });
    });

    test("a reader that is slow holds the handler's source", async () => {
      let pulled = 0;
      await over(() =>
        new Response(
          new ReadableStream<Uint8Array>({
            pull(controller) {
              pulled += 65_536;
              controller.enqueue(new Uint8Array(65_536));
            },
          }),
        ), async (client) => {
        const response = await client.get("/");
        const reader = response.body!.getReader();
        await reader.read();
        let before = -1;
        await until(async () => {
          const same = pulled === before;
          before = pulled;
          await new Promise((resolve) => setTimeout(resolve, 50));
          return same;
        }, "the source to rest");
        assert(pulled < 16 << 20, `${pulled} bytes`);
        // Other requests go on meanwhile.
        const other = await client.get("/");
        await other.body!.cancel();
        await reader.cancel();
      });
    });

    test("a handler that does not read holds the client's source", async () => {
      const { promise, open } = gate();
      let pulled = 0;
      await over(async (request) => {
        if (new URL(request.url).pathname === "/other") {
          return new LightResponse("other");
        }
        await promise;
        return new LightResponse(String((await request.bytes()).length));
      }, async (client) => {
        const total = 8 << 20;
        const body = new ReadableStream<Uint8Array>({
          pull(controller) {
            if (pulled >= total) controller.close();
            else {
              pulled += 65_536;
              controller.enqueue(new Uint8Array(65_536));
            }
          },
        });
        const answer = client.post("/", { body }).text();
        let before = -1;
        await until(async () => {
          const same = pulled > 0 && pulled === before;
          before = pulled;
          await new Promise((resolve) => setTimeout(resolve, 50));
          return same;
        }, "the source to rest");
        assert(pulled < 4 << 20, `${pulled} bytes`);
        assertEquals(await client.get("/other").text(), "other");
        open();
        assertEquals(await within(answer, 10_000), String(total));
      });
    });

    test("context.completed and waitUntil() know the end", async () => {
      const ends: string[] = [];
      await over((_, context) => {
        context.completed.then(
          () => ends.push("delivered"),
          () => ends.push("lost"),
        );
        return new LightResponse("x".repeat(100_000));
      }, async (client) => {
        await client.get("/").text();
        await until(() => ends.length === 1, "the end");
        assertEquals(ends, ["delivered"]);
      });
    });
  });
}

test("a client speaks what protocols says, and refuses what makes no sense", async () => {
  await withServer((_, context) => new Response(context.protocol), {
    tls,
  }, async (server) => {
    const url = server.url.replace("127.0.0.1", "localhost");
    const client = new Client({ tls: { ca } });
    assertEquals(await client.get(url).text(), "h2");
    const protocols = ["http/1.1"] as ["http/1.1"];
    assertEquals(await client.get(url, { protocols }).text(), "http/1.1");
    const order = ["http/1.1", "h2"] as ["http/1.1", "h2"];
    assert(["h2", "http/1.1"].includes(
      await client.get(url, { protocols: order }).text(),
    ));
    for (const http2 of [{ initialWindow: 1 }, { maxWindow: 2 ** 31 }]) {
      let error: unknown;
      try {
        new Client({ http2 });
      } catch (thrown) {
        error = thrown;
      }
      assert(error instanceof RangeError);
    }
    for (const bad of [[], ["h3"], ["h2", "h2"], "h2"]) {
      await assertRejects(
        () => client.get(url, { protocols: bad as ["h2"] }),
        TypeError,
        "protocols",
      );
    }
    await client.close({ timeout: 0 });
  });
  // HTTP/1.1 is all that is spoken there.
  await withServer(() => new Response(), {}, async (server) => {
    const client = new Client({ protocols: ["h2"], timeout: 5000 });
    await assertRejects(() => client.get(server.url), FetchError);
    await client.close({ timeout: 0 });
  });
});
