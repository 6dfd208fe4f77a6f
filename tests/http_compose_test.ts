import { describe, test } from "node:test";
import { compose, fromCallback } from "../http/mod.ts";
import * as ws from "../ws/mod.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { exchange, get, statusOf, withServer } from "./_http_raw.ts";
import { modes, within } from "./_support.ts";
import type { Middleware, ServerContext } from "../http/mod.ts";

const context = {} as ServerContext;
const request = () => new Request("http://localhost/");

describe("fromCallback()", () => {
  for (const engine of modes) {
    test(`answers now, later and by raising on the ${engine} engine`, async () => {
      const errors: unknown[] = [];
      const handler = fromCallback((request, respond, raise) => {
        switch (new URL(request.url).pathname) {
          case "/now":
            return respond(new Response("now"));
          case "/later":
            setTimeout(() => respond(new Response("later")), 1);
            return;
          case "/raise":
            setTimeout(() => raise(new Error("raised")), 1);
            return;
        }
        throw new Error("thrown");
      });
      await withServer(handler, {
        engine,
        onError(error) {
          errors.push((error as Error).message);
          return new Response("failed", { status: 500 });
        },
      }, async (server) => {
        assert((await exchange(server, get("/now"))).endsWith("now"));
        assert((await exchange(server, get("/later"))).endsWith("later"));
        assertEquals(statusOf(await exchange(server, get("/raise"))), 500);
        assertEquals(statusOf(await exchange(server, get("/throw"))), 500);
        assertEquals(errors, ["raised", "thrown"]);
      });
    });
  }

  test("takes the first answer and cancels the body of a second", async () => {
    let cancelled = false;
    const late = new Response(
      new ReadableStream({
        cancel() {
          cancelled = true;
        },
      }),
    );
    const response = await fromCallback((_, respond, raise) => {
      respond(new Response("first"));
      respond(late);
      raise(new Error("too late"));
    })(request(), context);
    assertEquals(await response.text(), "first");
    assert(cancelled);
  });

  test("hears of the failure of an async function", async () => {
    const handler = fromCallback(async () => {
      await Promise.resolve();
      throw new Error("no");
    });
    await assertRejects(() => Promise.resolve(handler(request(), context)));
    // One that has answered before is nobody's error.
    const answered = fromCallback(async (_, respond) => {
      respond(new Response("yes"));
      await Promise.resolve();
      throw new Error("no");
    });
    const response = await answered(request(), context);
    assertEquals(await response.text(), "yes");
  });

  test("refuses what is no function", () => {
    assertThrows(() => fromCallback(undefined as never), TypeError);
  });
});

describe("compose()", () => {
  const layer =
    (name: string, log: string[]): Middleware =>
    async (_request, _context, next) => {
      log.push(`>${name}`);
      const response = await next();
      log.push(`<${name}`);
      return response;
    };

  test("calls the layers from the outside in", async () => {
    const log: string[] = [];
    const handler = compose(layer("a", log), layer("b", log))(() => {
      log.push("handler");
      return new Response("hello");
    });
    assertEquals(await (await handler(request(), context)).text(), "hello");
    assertEquals(log, [">a", ">b", "handler", "<b", "<a"]);
    // And again: nothing is kept from one request to the next.
    await handler(request(), context);
    assertEquals(log.length, 10);
  });

  test("is the handler alone without a layer", async () => {
    const handler = compose()({ fetch: () => new Response("fetched") });
    assertEquals(await (await handler(request(), context)).text(), "fetched");
  });

  test("lets a layer answer, replace the request, and catch", async () => {
    const handler = compose(
      async (_request, _context, next) => {
        try {
          return await next();
        } catch (error) {
          return new Response((error as Error).message, { status: 418 });
        }
      },
      (request, _context, next) =>
        request.url.endsWith("/own")
          ? new Response("own")
          : next(new Request("http://localhost/replaced")),
    )((request) => {
      throw new Error(new URL(request.url).pathname);
    });
    const own = await handler(new Request("http://localhost/own"), context);
    assertEquals(await own.text(), "own");
    const other = await handler(request(), context);
    assertEquals([other.status, await other.text()], [418, "/replaced"]);
  });

  test("refuses a second next(), and is not hurt by one not awaited", async () => {
    const handler = compose(async (_request, _context, next) => {
      await next();
      return await next();
    })(() => new Response());
    await assertRejects(
      () => Promise.resolve(handler(request(), context)),
      TypeError,
      "called already",
    );
    const careless = compose((_request, _context, next) => {
      next();
      return new Response("mine");
    })(() => {
      throw new Error("nobody hears");
    });
    assertEquals(await (await careless(request(), context)).text(), "mine");
  });

  test("refuses layers and handlers that are no functions", () => {
    assertThrows(() => compose(1 as never), TypeError, "a layer");
    assertThrows(() => compose()(null as never), TypeError, "the handler");
    assertThrows(() => compose()({} as never), TypeError, "the handler");
  });

  for (const engine of modes) {
    if (engine !== "h2") {
      test(`keeps a replaced request upgradable on the ${engine} engine`, async () => {
        const handler = compose((request, _context, next) =>
          next(new Request(request, { headers: request.headers }))
        )((request) =>
          ws.upgrade(request, async (socket) => {
            for await (const message of socket) await socket.send(message);
          })
        );
        await withServer(handler, { engine }, async (server) => {
          const socket = await ws.connect(server.url);
          await socket.send("hello");
          assertEquals(
            await within(Promise.resolve(socket.receive())),
            "hello",
          );
          await socket.close();
        });
      });
    }
  }
});
