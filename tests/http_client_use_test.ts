import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { deferred, withClient } from "./_client_support.ts";
import { bodyOf, nodeServer } from "./_http_servers.ts";
import { counted } from "./_streams_support.ts";
import { runArgs, until, within } from "./_support.ts";
import { Client } from "../http/client.ts";
import type { ClientMiddleware } from "../http/client.ts";
import { FetchError, StatusError } from "../http/errors.ts";

interface Got {
  method: string;
  url: string;
  headers: Record<string, string | undefined>;
  body: string;
}

let failures = 0;

/** Tells what it got; fails as often as it is told to. */
const echo = () =>
  nodeServer(async (request, response) => {
    const body = await bodyOf(request);
    if (failures > 0) {
      failures--;
      response.statusCode = 503;
    }
    response.end(JSON.stringify({
      method: request.method,
      url: request.url,
      headers: request.headers,
      body,
    }));
  });

describe("middleware", () => {
  test("is around every request, the first outermost", () => {
    const order: string[] = [];
    const layer = (name: string): ClientMiddleware => async (request, next) => {
      order.push(`${name}>`);
      const response = await next(request);
      order.push(`<${name}`);
      return response;
    };
    return withClient(echo(), async (client, { url }) => {
      const response = await client.get(url);
      assertEquals(response.status, 200);
      assertEquals(order, ["a>", "b>", "<b", "<a"]);
      assertEquals(response.request.url, url);
    }, { use: [layer("a"), layer("b")] });
  });

  test("sees a Request, and its changes count", () => {
    const state = { id: 1 };
    const sign: ClientMiddleware = (request, next, given) => {
      assertInstanceOf(request, Request);
      assertEquals(request.method, "POST");
      assertEquals(request.headers.get("x-a"), "b");
      assertEquals(request.headers.get("content-type"), "application/json");
      assertStrictEquals(given, state);
      request.headers.set("x-a", "c");
      request.headers.set("x-signature", "d");
      return next(request);
    };
    return withClient(echo(), async (client, { url }) => {
      const got = await client.post(url, {
        json: { a: 1 },
        headers: { "x-a": "b", host: "other.example" },
        state,
      }).json<Got>();
      assertEquals(got.headers["x-a"], "c");
      assertEquals(got.headers["x-signature"], "d");
      assertEquals(got.headers.host, "other.example");
      assertEquals(got.headers["content-length"], "7");
      assertEquals(got.body, '{"a":1}');
    }, { use: [sign] });
  });

  test("may read the body, and send another request", () => {
    const peek: ClientMiddleware = async (request, next) => {
      const text = await request.clone().text();
      return await next(
        new Request(`${request.url}other`, {
          method: "PUT",
          headers: { "x-length": `${text.length}` },
          body: text.toUpperCase(),
        }),
      );
    };
    return withClient(echo(), async (client, { url }) => {
      const got = await client.post(url, { body: "hello" }).json<Got>();
      assertEquals(got.method, "PUT");
      assertEquals(got.url, "/other");
      assertEquals(got.body, "HELLO");
      assertEquals(got.headers["x-length"], "5");
    }, { use: [peek] });
  });

  test("keeps streams as they are, unless it reads them", () => {
    let read = false;
    const look: ClientMiddleware = async (request, next) => {
      assert(request.body !== null);
      if (read) await request.text();
      return await next(request);
    };
    return withClient(echo(), async (client, { url }) => {
      const body = () => new Blob(["hello"]).stream();
      const got = await client.post(url, { body: body() }).json<Got>();
      assertEquals(got.body, "hello");
      assertEquals(got.headers["transfer-encoding"], "chunked");
      read = true;
      await assertRejects(
        () => client.post(url, { body: body() }),
        TypeError,
        "was read",
      );
      assertEquals(
        (await client.post(url, { body: "hi" }).json<Got>()).body,
        "hi",
      );
    }, { use: [look] });
  });

  test("may try again, and answer by itself", () => {
    const retry: ClientMiddleware = async (request, next) => {
      for (let left = 2;; left--) {
        const response = await next(request);
        if (response.status !== 503 || left === 0) return response;
        await response.body?.cancel();
      }
    };
    return withClient(echo(), async (client, { url }) => {
      failures = 2;
      const init = { throwOnStatus: true };
      assertEquals(
        (await client.put(url, { ...init, body: "x" }).json<Got>()).body,
        "x",
      );
      failures = 3;
      const error = await assertRejects(
        () => client.get(url, init),
        StatusError,
      );
      assertEquals(error.response.status, 503);
      assertEquals(failures, 0);
    }, { use: [retry] });
  });

  test("may fail, and hears of failures", () => {
    const heard: unknown[] = [];
    const listen: ClientMiddleware = async (request, next) => {
      if (request.url.endsWith("no")) throw new RangeError("No");
      try {
        return await next(request);
      } catch (error) {
        heard.push(error);
        throw error;
      }
    };
    return withClient(
      nodeServer((_, response) => response.destroy()),
      async (client, { url }) => {
        await assertRejects(() => client.get(`${url}no`), RangeError);
        const error = await assertRejects(() => client.get(url), FetchError);
        assertStrictEquals(heard[0], error);
      },
      { use: [listen] },
    );
  });

  test("passes the signal on", () => {
    const came = deferred();
    return withClient(
      nodeServer(() => came.resolve()),
      async (client, { url }) => {
        const controller = new AbortController();
        const pending = client.get(url, { signal: controller.signal });
        await came.promise;
        controller.abort("enough");
        await pending.then(
          () => assert(false),
          (error) => assertEquals(error, "enough"),
        );
        assertEquals(client.stats().open, 0);
      },
      { use: [(request, next) => next(request)] },
    );
  });
});

describe("the default client", () => {
  test("keeps no process alive, but sees its requests through", async () => {
    const { spawn } = await import("node:child_process");
    const process = (await import("node:process")).default;
    const server = await nodeServer((_, response) => {
      setTimeout(() => response.end("there"), 50);
    });
    try {
      const { href } = new URL("./_client_exit.ts", import.meta.url);
      const child = spawn(process.execPath, [
        ...runArgs,
        new URL(href).pathname,
        server.url,
      ], { stdio: ["ignore", "pipe", "inherit"] });
      let output = "";
      child.stdout.on("data", (chunk: Uint8Array) => {
        output += new TextDecoder().decode(chunk);
      });
      const code = await within(
        new Promise((resolve) => child.on("exit", resolve)),
        10_000,
        "The process",
      );
      assertEquals(code, 0);
      await until(() => output.includes("\n"));
      assertEquals(output.trim(), "there there");
    } finally {
      await server.close();
    }
  });
});

describe("a signal given to a client with middleware", () => {
  test("ends the wait for a layer that does not look at it", async () => {
    const gate = deferred();
    const began = deferred();
    let cancelled = false;
    const slow: ClientMiddleware = async (request, next) => {
      const response = await next(request);
      began.resolve();
      await gate.promise;
      return response;
    };
    const client = new Client({
      use: [slow],
      transport: () =>
        new Response(
          new ReadableStream({ cancel: () => void (cancelled = true) }),
        ),
    });
    const { controller, signal, listeners } = counted();
    const failed = assertRejects(() => client.get("http://x/", { signal }));
    await within(began.promise);
    const reason = new Error("enough");
    controller.abort(reason);
    assertStrictEquals(await within(failed), reason);
    // What comes late is for nobody.
    gate.resolve();
    await until(() => cancelled && listeners() === 0);
    await client.close({ timeout: 0 });
  });

  test("has no listener left once the body is over", async () => {
    const { signal, listeners } = counted();
    await withClient(echo(), async (client, { url }) => {
      const again: ClientMiddleware = (request, next) =>
        next(new Request(request));
      for (const use of [[], [again]]) {
        const other = new Client({ use, retry: 1 });
        const response = await other.get(url, { signal });
        await response.text();
        await until(() => listeners() === 0);
        await assertRejects(
          () => other.get("http://127.0.0.1:1/", { signal, retry: 0 }),
          FetchError,
        );
        await until(() => listeners() === 0);
        await other.close({ timeout: 0 });
      }
      assertEquals(client.stats().open, 0);
    });
  });

  test("ends the body, whichever request was sent", () => {
    const server = nodeServer((_, response) => {
      response.write("the beginning");
    });
    return withClient(server, async (client, { url }) => {
      const { controller, signal, listeners } = counted();
      const response = await client.get(url, { signal });
      const reader = response.body!.getReader();
      await reader.read();
      const rest = reader.read();
      controller.abort(new RangeError("Enough"));
      await assertRejects(() => rest, RangeError, "Enough");
      await until(() => listeners() === 0);
      assertEquals(client.stats().open, 0);
    }, {
      use: [(request, next) => next(new Request(request))],
    });
  });
});
