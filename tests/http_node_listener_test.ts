import * as nodeHttp from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { exchange, get, getOn, rawClient } from "./_http_raw.ts";
import { statusOf } from "./_http_raw.ts";
import { until, within } from "./_support.ts";
import { toNodeListener } from "../http/mod.ts";
import type { Handler } from "../http/mod.ts";
import type { NodeListenerOptions } from "../http/to_node_listener.ts";

interface Listening {
  readonly url: string;
  readonly address: { transport: "tcp"; hostname: string; port: number };
}

/** Runs a test with a server of node:http that answers by the handler. */
async function serving(
  handler: Handler | { fetch: Handler },
  run: (server: Listening) => Promise<unknown>,
  options?: NodeListenerOptions,
): Promise<void> {
  const server = nodeHttp.createServer(toNodeListener(handler, options));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await within(
      run({
        url: `http://127.0.0.1:${port}/`,
        address: { transport: "tcp", hostname: "127.0.0.1", port },
      }),
      15_000,
      "The test",
    );
  } finally {
    server.closeAllConnections();
    await within(new Promise((resolve) => server.close(resolve)));
  }
}

test("toNodeListener() gives the handler the request that came", async () => {
  await serving(
    async (request, context) =>
      Response.json({
        is: request instanceof Request,
        method: request.method,
        url: request.url.replace(/:\d+/, ""),
        field: request.headers.get("x-a"),
        text: await request.text(),
        protocol: context.protocol,
        remote: context.clientAddress,
        raw: typeof context.raw,
      }),
    async ({ url }) => {
      const response = await fetch(`${url}a//b?c=d`, {
        method: "POST",
        headers: { "X-A": "1, 2" },
        body: "é".repeat(100_000),
      });
      assertEquals(await response.json(), {
        is: true,
        method: "POST",
        url: "http://127.0.0.1/a//b?c=d",
        field: "1, 2",
        text: "é".repeat(100_000),
        protocol: "http/1.1",
        remote: "127.0.0.1",
        raw: "object",
      });
    },
  );
});

test("toNodeListener() sends status, fields and every kind of body", async () => {
  const bodies: Record<string, () => BodyInit | null> = {
    null: () => null,
    text: () => "text é",
    bytes: () => new Uint8Array([1, 2, 3]),
    stream: () => new Blob(["x".repeat(300_000)]).stream(),
    form: () => new URLSearchParams("a=b"),
  };
  await serving(
    (request) =>
      new Response(bodies[new URL(request.url).pathname.slice(1)](), {
        status: 201,
        headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-y", "z"]],
      }),
    async ({ url }) => {
      for (const [name, body] of Object.entries(bodies)) {
        const expected = await new Response(body()).text();
        const response = await fetch(url + name);
        assertEquals(response.status, 201);
        assertEquals(response.headers.getSetCookie(), ["a=1", "b=2"]);
        assertEquals(response.headers.get("x-y"), "z");
        assertEquals(await response.text(), expected, name);
        const head = await fetch(url + name, { method: "HEAD" });
        assertEquals(await head.text(), "");
      }
    },
  );
});

test("toNodeListener() gives what is there its length, and the right one", async () => {
  const streamOf = (...chunks: unknown[]) =>
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk);
        controller.close();
      },
    });
  const bytes = new TextEncoder().encode("hello");
  const wrong = { headers: { "content-length": "9" } };
  const errors: unknown[] = [];
  await serving(
    (request) => {
      const { method, url } = request;
      if (method === "HEAD") return new Response(null, wrong);
      switch (new URL(url).pathname) {
        case "/stream":
          return new Response(streamOf(bytes));
        case "/wrong":
          return new Response(streamOf(bytes), wrong);
        case "/strings":
          return new Response(streamOf("hello"), { headers: { "x-a": "1" } });
      }
      return new Response("hello");
    },
    async (server) => {
      for (const path of ["/", "/stream", "/wrong"]) {
        const text = await exchange(server, get(path));
        assert(text.includes("\r\ncontent-length: 5\r\n"), text);
        if (path === "/") assert(text.includes(": text/plain;"), text);
        assert(text.endsWith("\r\n\r\nhello"), text);
      }
      const head = await exchange(server, get().replace("GET", "HEAD"));
      assert(head.includes("\r\ncontent-length: 9\r\n"), head);
      const text = await exchange(server, get("/strings"));
      assertEquals(statusOf(text), 500);
      assert(!text.includes("x-a"), text);
      assertEquals(errors.length, 1);
    },
    {
      onError(error) {
        errors.push(error);
        return new Response(null, { status: 500 });
      },
    },
  );
});

test("toNodeListener() goes by the host of an absolute target", () =>
  serving(
    ({ url, headers }) => new Response(`${url} ${headers.get("host")}`),
    async (server) => {
      const text = await exchange(server, get("http://other.example/x?y"));
      assert(
        text.endsWith("\r\n\r\nhttp://other.example/x?y other.example"),
        text,
      );
    },
  ));

test("toNodeListener() takes any target and Host for what they are", async () => {
  await serving(
    (request) => new Response(new URL(request.url).href.replace(/:\d+/, "")),
    async (server) => {
      const text = await exchange(server, get("//evil.example/x"));
      assert(text.includes("\r\nhttp://localhost//evil.example/x"), text);
      const bad = await exchange(
        server,
        "GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n",
      );
      assertEquals(statusOf(bad), 400);
    },
  );
});

test("toNodeListener() answers 500 for a handler that fails, or what onError makes", async () => {
  const failing: Handler = () => {
    throw new Error("secret");
  };
  await serving(failing, async (server) => {
    const text = await exchange(server, get());
    assertEquals([statusOf(text), text.includes("secret")], [500, false]);
  });
  const options: NodeListenerOptions = {
    onError: (error, request) =>
      new Response(`${(error as Error).message} ${request.method}`, {
        status: 503,
      }),
  };
  await serving(failing, async (server) => {
    const text = await exchange(server, get());
    assertEquals(
      [statusOf(text), text.includes("\r\nsecret GET")],
      [503, true],
    );
  }, options);
  await serving(
    (() => "no response") as unknown as Handler,
    async (server) =>
      assertEquals(statusOf(await exchange(server, get())), 500),
  );
});

test("toNodeListener() cuts the connection when a body fails, or has another length", async () => {
  const errors: unknown[] = [];
  const broken = new Error("broken");
  // The head is out before it is known how they end.
  const late = (size: number, error?: unknown) => {
    let begun = false;
    return new ReadableStream({
      async pull(controller) {
        if (!begun) {
          begun = true;
          controller.enqueue(new Uint8Array(1));
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (error !== undefined) throw error;
        controller.enqueue(new Uint8Array(size - 1).fill(97));
        controller.close();
      },
    }, { highWaterMark: 0 });
  };
  const five = { headers: { "content-length": "5" } };
  const bodies: Record<string, () => Response> = {
    "/fails": () => new Response(late(10, broken)),
    "/short": () => new Response(late(3), five),
    "/long": () => new Response(late(7), five),
  };
  await serving(
    (request) => bodies[new URL(request.url).pathname](),
    async (server) => {
      for (const path of Object.keys(bodies)) {
        const client = await rawClient(server);
        client.send(getOn(path));
        await until(() => client.closed || client.ended, path);
        assert(!client.text.endsWith("0\r\n\r\n"), client.text);
        assert(!client.text.endsWith("aaaa"), client.text);
        client.destroy();
      }
      await until(() => errors.length === 3, "The errors");
      assert(errors.includes(broken));
    },
    {
      onError(error) {
        errors.push(error);
        return new Response();
      },
    },
  );
});

test("toNodeListener() holds the body's source while the client does not read, and ends it when it leaves", async () => {
  let pulled = 0;
  let cancelled = false;
  let signal: AbortSignal | undefined;
  await serving(
    (request) => {
      signal = request.signal;
      return new Response(
        new ReadableStream({
          pull(controller) {
            pulled++;
            controller.enqueue(new Uint8Array(64 * 1024));
          },
          cancel() {
            cancelled = true;
          },
        }, { highWaterMark: 0 }),
      );
    },
    async (server) => {
      const client = await rawClient(server);
      client.socket.pause();
      client.send(getOn());
      let last = -1;
      await until(async () => {
        const still = last === pulled && pulled > 0;
        last = pulled;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return still;
      }, "The source to be held");
      assert(pulled < 1000, `${pulled} pieces of 64 KiB`);
      client.socket.resetAndDestroy();
      await until(() => cancelled && signal!.aborted, "The end of the source");
    },
  );
});

test("toNodeListener() refuses what node:http cannot hand over", async () => {
  const told: string[] = [];
  await serving(
    (_, context) => context.tunnel(() => {}),
    async (server) => {
      const text = await exchange(server, get());
      assertEquals(statusOf(text), 500);
      assert(told[0].includes("Cannot tunnel"), told[0]);
    },
    {
      onError(error) {
        told.push(String(error));
        return new Response(null, { status: 500 });
      },
    },
  );
  for (const handler of [undefined, {}, 1]) {
    assertThrows(
      () => toNodeListener(handler as unknown as Handler),
      TypeError,
      "handler",
    );
  }
});

test("toNodeListener() tells that a client is gone that was sending", async () => {
  const told: string[] = [];
  let begun = false;
  await serving(
    async (request, context) => {
      begun = true;
      context.completed.catch(() => told.push("completed"));
      request.signal.addEventListener("abort", () => told.push("signal"));
      await request.text().catch(() => told.push("body"));
      return new Response("late");
    },
    async (server) => {
      const client = await rawClient(server);
      client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc");
      await until(() => begun);
      client.destroy();
      await until(() => told.length === 3, "All three");
      assertEquals(told.sort(), ["body", "completed", "signal"]);
    },
  );
});

test("toNodeListener() lets go of a form that HEAD is not sent, or a client that left", async () => {
  const form = new FormData();
  form.append("a", "1");
  form.append("b", new File(["x".repeat(100_000)], "b"));
  let over = () => {};
  const left = new Promise<void>((resolve) => over = resolve);
  await serving(async (request) => {
    if (request.method === "GET") {
      await new Promise<void>((resolve) => {
        request.signal.addEventListener("abort", () => resolve());
      });
      over();
    }
    return new Response(form);
  }, async (server) => {
    for (const ask of ["HEAD", "GET"]) {
      const client = await rawClient(server);
      client.send(`${ask} / HTTP/1.1\r\nhost: x\r\n\r\n`);
      if (ask === "HEAD") await client.until("HTTP/1.1 200");
      client.destroy();
    }
    await left;
    // As long as it takes to write one: then it shows if one failed.
    await new Response(form).arrayBuffer();
  });
});
