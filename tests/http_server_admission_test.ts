import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { bodyOf, exchange, get, getOn, rawClient } from "./_http_raw.ts";
import { statusOf, withServer } from "./_http_raw.ts";
import { modes, until } from "./_support.ts";
import { serve } from "../http/serve.ts";
import type { HttpServer, ServeOptions } from "../http/types.ts";

/** Asks again and again until the answer has this status. */
async function untilStatus(server: HttpServer, status: number): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (statusOf(await exchange(server, get())) === status) return;
  }
  throw new Error(`No answer had the status ${status}`);
}

/** A promise, and the function that resolves it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => open = resolve);
  return { opened, open };
}

for (const engine of modes) {
  const options = { engine, limits: { requests: 2 } };

  test(`limits.requests: one more is 503, and later there is room (${engine})`, async () => {
    const { opened, open } = gate();
    let working = 0;
    await withServer(
      async (request) => {
        working++;
        if (request.url.endsWith("/slow")) await opened;
        return new Response("done");
      },
      options,
      async (server) => {
        const slow = [await rawClient(server), await rawClient(server)];
        for (const client of slow) client.send(get("/slow"));
        await until(() => working === 2, "Both at work");
        const text = await exchange(server, get("/"));
        assertEquals([statusOf(text), bodyOf(text)], [503, ""]);
        assert(/\r\nretry-after: 1\r\n/i.test(text), text);
        assertEquals(working, 2);
        open();
        for (const client of slow) {
          assertEquals(bodyOf(await client.untilEnd()), "done");
          client.destroy();
        }
        assertEquals(bodyOf(await exchange(server, get("/"))), "done");
      },
    );
  });

  test(`onOverload makes the answer, and onError hears when it fails (${engine})`, async () => {
    const { opened, open } = gate();
    let working = 0;
    const errors: unknown[] = [];
    const broken = new Error("overload");
    await withServer(
      async () => {
        working++;
        await opened;
        return new Response("done");
      },
      {
        engine,
        limits: { requests: 1 },
        onOverload(request) {
          const { pathname } = new URL(request.url);
          if (pathname === "/throw") throw broken;
          if (pathname === "/none") return undefined as unknown as Response;
          return new Response(`no room for ${pathname}`, { status: 429 });
        },
        onError(error) {
          errors.push(error);
          return new Response();
        },
      },
      async (server) => {
        const slow = await rawClient(server);
        slow.send(get("/slow"));
        await until(() => working === 1, "One at work");
        const text = await exchange(server, get("/a"));
        assertEquals([statusOf(text), bodyOf(text)], [429, "no room for /a"]);
        for (const path of ["/throw", "/none"]) {
          const bare = await exchange(server, get(path));
          assertEquals([statusOf(bare), bodyOf(bare)], [503, ""]);
        }
        assertEquals(errors.length, 2);
        assertEquals(errors[0], broken);
        assert(errors[1] instanceof TypeError, String(errors[1]));
        open();
        assertEquals(bodyOf(await slow.untilEnd()), "done");
        slow.destroy();
      },
    );
  });
}

test("limits.requests counts a handler whose client is gone, and a body that is sent", async () => {
  const { opened, open } = gate();
  let started = 0;
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  await withServer(
    async (request) => {
      started++;
      if (request.url.endsWith("/wait")) await opened;
      if (request.url.endsWith("/body")) {
        return new Response(
          new ReadableStream({ start: (c) => controller = c }),
        );
      }
      return new Response("done");
    },
    { limits: { requests: 1 } },
    async (server) => {
      const gone = await rawClient(server);
      gone.send(getOn("/wait"));
      await until(() => started === 1);
      gone.socket.resetAndDestroy();
      await until(() => server.stats().connections === 0, "The end of it");
      assertEquals(statusOf(await exchange(server, get())), 503);
      open();
      await untilStatus(server, 200);
      const client = await rawClient(server);
      client.send(getOn("/body"));
      await until(() => controller !== undefined);
      controller.enqueue(new TextEncoder().encode("half"));
      await client.until("half");
      assertEquals(statusOf(await exchange(server, get())), 503);
      controller.close();
      await client.until("\r\n0\r\n\r\n");
      client.destroy();
      assertEquals(statusOf(await exchange(server, get())), 200);
    },
  );
});

test("limits.requests answers pipelined requests past it in order", async () => {
  const { opened, open } = gate();
  await withServer(
    async (request) => {
      if (request.url.endsWith("/hold")) await opened;
      return new Response(request.url);
    },
    { limits: { requests: 1 } },
    async (server) => {
      const holder = await rawClient(server);
      holder.send(getOn("/hold"));
      await untilStatus(server, 503);
      const text = await exchange(
        server,
        getOn("/1") + getOn("/2") + get("/3"),
      );
      assertEquals(text.split("HTTP/1.1 503").length, 4);
      open();
      await holder.until("/hold");
      holder.destroy();
    },
  );
});

const POST =
  "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

test("onExpect: true asks for the body before the handler is called", async () => {
  for (const later of [false, true]) {
    const { opened, open } = gate();
    await withServer(
      async (request) => {
        await opened;
        return new Response(`got ${await request.text()}`);
      },
      { onExpect: () => later ? Promise.resolve(true) : true },
      async (server) => {
        const client = await rawClient(server);
        client.send(POST);
        // RFC 9110, 10.1.1: the handler has read nothing yet.
        await client.until(CONTINUE);
        client.send("body");
        open();
        await client.until("got body");
        assertEquals(client.text.split(CONTINUE).length, 2);
        client.destroy();
      },
    );
  }
});

test("onExpect: false is 417, a Response is the answer, and both close", async () => {
  let called = 0;
  await withServer(
    () => {
      called++;
      return new Response("handler");
    },
    {
      onExpect: (request) =>
        request.headers.has("x-async")
          ? Promise.resolve(new Response("not you", { status: 401 }))
          : false,
    },
    async (server) => {
      const refused = await exchange(server, POST);
      assertEquals(statusOf(refused), 417);
      const answered = await exchange(
        server,
        POST.replace("\r\n\r\n", "\r\nx-async: 1\r\n\r\n"),
      );
      assertEquals([statusOf(answered), bodyOf(answered)], [401, "not you"]);
      for (const text of [refused, answered]) {
        assert(text.includes("connection: close"), text);
        assert(!text.includes("100 Continue"), text);
      }
      assertEquals(called, 0);
      // It is asked about nothing else.
      assertEquals(bodyOf(await exchange(server, get())), "handler");
    },
  );
});

test("onExpect that fails is the handler's failure", async () => {
  for (
    const onExpect of [
      () => {
        throw new Error("secret");
      },
      () => Promise.reject(new Error("secret")),
      () => "yes" as unknown as boolean,
    ] as ServeOptions["onExpect"][]
  ) {
    await withServer(
      () => new Response("handler"),
      { onExpect },
      async (server) => {
        const text = await exchange(server, POST);
        assertEquals([statusOf(text), bodyOf(text)], [500, ""]);
      },
    );
  }
});

test("onExpect of a client that leaves calls no handler", async () => {
  const { opened, open } = gate();
  let asked = false;
  let called = false;
  await withServer(
    () => {
      called = true;
      return new Response();
    },
    {
      limits: { requests: 1 },
      async onExpect() {
        asked = true;
        await opened;
        return true;
      },
    },
    async (server) => {
      const client = await rawClient(server);
      client.send(POST);
      await until(() => asked);
      client.socket.resetAndDestroy();
      await until(() => server.stats().connections === 0);
      open();
      // Its place is free again.
      await untilStatus(server, 200);
      assert(called);
    },
  );
});

for (const engine of modes.filter((name) => name === "native")) {
  test("onExpect is refused by the runtimes' own servers", async () => {
    const onExpect = () => true;
    await assertRejects(
      () => serve(() => new Response(), { engine, port: 0, onExpect }),
      TypeError,
      "onExpect",
    );
  });
}
