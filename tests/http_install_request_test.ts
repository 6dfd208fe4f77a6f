import { test } from "node:test";
import { inspect } from "node:util";
import { Hono } from "hono";
import { assert, assertEquals, assertMatch, assertRejects } from "./assert.ts";
import { bodyOf, exchange, get, withServer } from "./_http_raw.ts";
import { engines, modes, runtime } from "./_support.ts";
import type { Mode } from "./_support.ts";
import * as http from "../http/mod.ts";

const NativeRequest = globalThis.Request;
const NativeResponse = globalThis.Response;
const nativeFetch = globalThis.fetch;
/** Deno's own class takes light requests as it is. */
const installs = runtime !== "deno";

/** A test of what is installed. */
function testInstalled(name: string, run: () => Promise<void>): void {
  if (installs) test(name, run);
}

http.installRequest();

// What is asked of every request of a handler is asked of those as well.
if (installs) await import("./http_server_request_test.ts");

const FIELDS = "content-type: text/plain\r\nx-one: 1\r\n";
const POST = `POST /path?query HTTP/1.1\r\nhost: x.test\r\n${FIELDS}` +
  "connection: close\r\ncontent-length: 4\r\n\r\nbody";
const URL_OF = "http://x.test/path?query";

/** Runs with the request that a handler was given. */
async function withRequest(
  run: (request: Request) => unknown,
  { raw = POST, engine = "wire" as Mode } = {},
): Promise<void> {
  let failed: { error: unknown } | undefined;
  const handler = async (request: Request) => {
    try {
      await run(request);
    } catch (error) {
      failed = { error };
    }
    return new Response("done");
  };
  await withServer(handler, { engine }, async (server) => {
    assertEquals(bodyOf(await exchange(server, raw)), "done");
  });
  if (failed !== undefined) throw failed.error;
}

/** The request that the runtime makes of the same. */
function nativeOne(): Request {
  return new NativeRequest(URL_OF, {
    method: "POST",
    headers: { "content-type": "text/plain", "x-one": "1" },
    body: "body",
  });
}

async function outcomeOf(run: () => unknown): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    return (error as Error).name;
  }
}

function saysOf(request: Request): Promise<unknown[]> {
  return request.text().then((text) => [
    request.method,
    request.url,
    request.headers.get("x-one"),
    text,
  ]);
}

test("installRequest() leaves the global Request and fetch on Deno alone", () => {
  assertEquals(globalThis.Request === NativeRequest, !installs);
  assertEquals(globalThis.fetch === nativeFetch, !installs);
  assertEquals(http.Request === NativeRequest, !installs);
});

test("installRequest() makes http.Request the global one, once", () => {
  const { Request, fetch } = globalThis;
  const text = Object.getOwnPropertyDescriptor(Request.prototype, "text");
  http.installRequest();
  assertEquals(Request, http.Request);
  assertEquals(globalThis.Request, Request);
  assertEquals(globalThis.fetch, fetch);
  assertEquals(
    Object.getOwnPropertyDescriptor(Request.prototype, "text"),
    text,
  );
});

test("http.Request is what the native class is", async () => {
  assertEquals(Request.name, NativeRequest.name);
  assertEquals(Request.length, NativeRequest.length);
  assertEquals(Reflect.ownKeys(Request), Reflect.ownKeys(NativeRequest));
  assertEquals(Request.prototype, NativeRequest.prototype);
  assertEquals(Request.prototype.constructor, Request);
  assertEquals(Request.prototype.text.name, "text");
  assertEquals(Request.prototype.text.length, 0);
  assertEquals(fetch.name, nativeFetch.name);
  assertEquals(fetch.length, nativeFetch.length);
  const inits: RequestInit[] = [
    {},
    { method: "put", body: "text" },
    { method: "POST", body: new Uint8Array([97]), headers: [["x-a", "b"]] },
    { redirect: "manual", headers: new Headers({ a: "b" }) },
    { method: "POST", body: new URLSearchParams({ a: "b" }) },
  ];
  for (const init of inits) {
    const [ours, native] = [Request, NativeRequest].map((class_) =>
      new class_("http://x.test/a b?c#d", init)
    );
    assert(ours instanceof Request && ours instanceof NativeRequest);
    assert(native instanceof Request);
    assertEquals(Object.getPrototypeOf(ours), Request.prototype);
    assertEquals(Object.prototype.toString.call(ours), "[object Request]");
    for (const key of ["method", "url", "redirect", "bodyUsed"] as const) {
      assertEquals(ours[key], native[key], key);
    }
    assertEquals([...ours.headers], [...native.headers]);
    assertEquals(await ours.text(), await native.text());
    assertEquals(ours.bodyUsed, native.bodyUsed);
  }
});

test("http.Request refuses what the native class refuses", () => {
  const refused: [unknown[], string][] = [
    [[], "none"],
    [[undefined], "undefined"],
    [["/relative"], "relative"],
    [["http://user:secret@x.test/"], "credentials"],
    [["http://x.test/", { method: "TRACE" }], "TRACE"],
    [["http://x.test/", { body: "with GET" }], "body"],
    [["http://x.test/", { headers: { "a b": "c" } }], "name"],
  ];
  const errorOf = (class_: typeof Request, given: unknown[]): string => {
    try {
      Reflect.construct(class_, given);
      return "none";
    } catch (error) {
      return String(error);
    }
  };
  for (const [given, what] of refused) {
    assertEquals(
      errorOf(Request, given),
      errorOf(NativeRequest, given),
      what,
    );
  }
  let message = "";
  try {
    (Request as unknown as () => void)();
  } catch (error) {
    message = String(error);
  }
  assert(message.startsWith("TypeError"), message);
});

test("http.Request can be extended", () =>
  withRequest(async (request) => {
    class Own extends Request {
      get path(): string {
        return new URL(this.url).pathname;
      }
    }
    const plain = new Own("http://x.test/own", { method: "PUT" });
    assert(plain instanceof Own && plain instanceof Request);
    assertEquals([plain.path, plain.method], ["/own", "PUT"]);
    const own = new Own(request, { headers: { "x-one": "own" } });
    assert(own instanceof Own && own instanceof NativeRequest);
    assertEquals(own.path, "/path");
    assertEquals(await saysOf(own), ["POST", URL_OF, "own", "body"]);
  }));

/** Bun's members of the class cannot be replaced, nor called on others. */
const onBun = runtime === "bun";

/**
 * What the standard says where Bun's class says something else: a request is
 * used up by a copy of it (Fetch, 5.4, steps 38 to 42).
 */
const standard: Record<string, unknown> = {
  "a copy that leaves the body used": [
    true,
    ["POST", URL_OF, "1", "body"],
    "TypeError",
    "TypeError",
    "TypeError",
  ],
  "a copy of a request that was read": [
    "body",
    "TypeError",
    "TypeError",
    "new",
  ],
  "a copy of a request that is being read": ["TypeError", "body", true],
  "members called from the prototype": "TypeError",
};

/** What is done with a request, and what a native one gives then. */
const uses: Record<string, (request: Request) => unknown> = {
  "members called from the prototype": async (request) => {
    const { prototype } = Request;
    const get = (key: string) =>
      Object.getOwnPropertyDescriptor(prototype, key)!.get!.call(request);
    return [
      get("method"),
      get("url"),
      get("bodyUsed"),
      get("redirect"),
      get("headers").get("x-one"),
      await prototype.clone.call(request).text(),
      await prototype.text.call(request),
      get("bodyUsed"),
    ];
  },
  "a copy that leaves the body used": async (request) => {
    const copy = new Request(request);
    return [
      request.bodyUsed,
      await saysOf(copy),
      await outcomeOf(() => request.text()),
      await outcomeOf(() => request.clone()),
      await outcomeOf(() => new Request(request)),
    ];
  },
  "a copy with another body": async (request) => {
    const copy = new Request(request, { body: "other" });
    return [request.bodyUsed, await saysOf(copy), await request.text()];
  },
  "a copy with another method and signal": async (request) => {
    const controller = new AbortController();
    const copy = new Request(request, {
      method: "PUT",
      signal: controller.signal,
    });
    controller.abort();
    return [
      copy.method,
      copy.signal.aborted,
      request.signal.aborted,
      await outcomeOf(() => copy.text()),
    ];
  },
  "a copy of a request that was read": async (request) => [
    await request.text(),
    await outcomeOf(() => new Request(request)),
    await outcomeOf(() => fetch(request)),
    await outcomeOf(() => new Request(request, { body: "new" }).text()),
  ],
  "a copy of a request that is being read": async (request) => {
    const reader = request.body!.getReader();
    const outcome = await outcomeOf(() => new Request(request));
    const { value } = await reader.read();
    return [outcome, new TextDecoder().decode(value), request.bodyUsed];
  },
  "a copy whose body is read first": async (request) => {
    const { body } = request;
    const copy = new Request(request);
    return [request.body === body, await saysOf(copy)];
  },
  "a copy of a clone": async (request) => {
    const clone = request.clone();
    return [
      await saysOf(new Request(clone)),
      await saysOf(new Request(request)),
    ];
  },
  "a request of itself as init": async (request) => {
    const copy = new Request("http://y.test/", request as RequestInit);
    return [copy.url, copy.mode, copy.redirect, await copy.text()];
  },
  "a copy made by its constructor": (request) =>
    saysOf(new (request.constructor as typeof Request)(request)),
  "a response of its body": (request) => new Response(request.body).text(),
  "headers of its headers": (request) =>
    [...new Headers(request.headers)].filter(([name]) => name === "x-one"),
  "its kind": (request) => [
    request instanceof Request,
    request instanceof NativeRequest,
    Object.prototype.toString.call(request),
    String(request),
    Object.keys(request),
    request.constructor === Request,
    "url" in request,
  ],
  "the names in it": (request) => {
    const names: string[] = [];
    for (const name in request) names.push(name);
    return names.sort();
  },
  "its form that is none": (request) => outcomeOf(() => request.formData()),
};

for (const [name, use] of Object.entries(uses)) {
  testInstalled(
    `a light request gives what a native one does: ${name}`,
    () =>
      withRequest(async (request) => {
        const expected = onBun && name in standard
          ? standard[name]
          : await use(nativeOne());
        assertEquals(await outcomeOf(() => use(request)), expected);
      }),
  );
}

testInstalled(
  "a light request is shown as a native one",
  () =>
    withRequest(async (request) => {
      const { Bun: bun } = globalThis as { Bun?: { inspect: typeof inspect } };
      const shown = (bun?.inspect ?? inspect)(request);
      assert(shown.startsWith("Request "), shown);
      assertMatch(shown, /url: ['"]http:..x.test.path.query['"]/);
      assertEquals(await saysOf(request), ["POST", URL_OF, "1", "body"]);
    }),
);

testInstalled(
  "a light request is no Request to those who kept the native class",
  () =>
    withRequest(async (request) => {
      if (onBun) {
        // It takes what it finds in it, except that changes cost it its method.
        const copy = new NativeRequest(request, { headers: {} });
        assertEquals(copy.method, "GET");
        return;
      }
      const { version } = await import("node:process");
      if (Number.parseInt(version.slice(1)) < 24) return;
      assertEquals(
        await outcomeOf(() => new NativeRequest(request)),
        "TypeError",
      );
      assertEquals(await outcomeOf(() => nativeFetch(request)), "TypeError");
      assertEquals(structuredClone(request as unknown), {});
      assertEquals(await saysOf(request), ["POST", URL_OF, "1", "body"]);
    }),
);

testInstalled(
  "fetch() takes light requests, and rejects for what no Request can be",
  async () => {
    await withServer(
      async (request) =>
        new Response(`${request.method} ${await request.text()}`),
      {},
      async ({ url }) => {
        assertEquals(await (await fetch(url)).text(), "GET ");
        assertEquals(await (await fetch(new URL(url))).text(), "GET ");
        const init = { method: "PUT", body: "init" };
        assertEquals(await (await fetch(url, init)).text(), "PUT init");
        assertEquals(
          await (await fetch(new NativeRequest(url, init))).text(),
          "PUT init",
        );
        const host = url.slice("http://".length, -1);
        const raw = POST.replace("x.test", host).replace("connection", "x-c");
        for (const [extra, expected] of [[undefined, "body"], [init, "init"]]) {
          await withRequest(async (request) => {
            request.headers.delete("content-length");
            const there = fetch(request, extra as RequestInit | undefined);
            const { method } = extra as RequestInit ?? { method: "POST" };
            assertEquals(await (await there).text(), `${method} ${expected}`);
            assertEquals(request.bodyUsed, extra === undefined);
          }, { raw: raw.replace("x-c: close\r\n", "connection: close\r\n") });
        }
      },
    );
    // Bun sends it.
    if (onBun) return;
    const raw = get("/").replace("GET", "TRACE");
    await withRequest(async (request) => {
      assertEquals(request.method, "TRACE");
      await assertRejects(() => fetch(request), TypeError, "method");
    }, { raw });
  },
);

for (const engine of modes) {
  test(`http.Client takes a handler's request, ${engine}`, () =>
    withServer(
      async (request) => new Response(JSON.stringify(await saysOf(request))),
      {},
      (origin) =>
        withRequest(async (request) => {
          const copy = new Request(origin.url, request as RequestInit);
          for (const name of ["connection", "host"]) copy.headers.delete(name);
          const answer = await http.fetch(copy);
          assertEquals(
            await answer.json(),
            ["POST", origin.url, "1", "body"],
          );
        }, { engine }),
    ));

  test(`a handler's request goes through hono, ${engine}`, () => {
    const app = new Hono();
    let same: boolean | undefined;
    app.post("/path", async (c) => {
      same = c.req.raw.headers.get("x-one") === c.req.header("x-one");
      const again = await c.req.raw.clone().text();
      return c.text(`${c.req.method} ${c.req.query("query")} ${again}`);
    });
    app.mount("/mounted", (request) => new Response(request.url));
    const post = POST.replace("/path?query", "/path?query=1");
    return withServer(
      (request) => app.fetch(request),
      { engine },
      async (server) => {
        assertEquals(bodyOf(await exchange(server, post)), "POST 1 body");
        assertEquals(same, true);
        assertEquals(
          bodyOf(await exchange(server, get("/mounted/a"))),
          "http://localhost/a",
        );
      },
    );
  });
}

test("http.fetch() sends a light request where it says", () =>
  withServer(
    async (request) => {
      if (request.headers.get("x-hop") === "1") {
        return new Response(JSON.stringify(await saysOf(request)));
      }
      request.headers.set("x-hop", "1");
      const answer = await http.fetch(request);
      return new Response(await answer.text());
    },
    {},
    async ({ url }) => {
      const answer = await http.post(url, {
        body: "body",
        headers: { "x-one": "1" },
      });
      assertEquals(await answer.json(), ["POST", url, "1", "body"]);
    },
  ));

test("installResponse() leaves native responses Responses", async () => {
  http.installResponse();
  try {
    assertEquals(globalThis.Response, http.Response);
    class Own extends Response {}
    const [light, native, own] = [
      new Response("light"),
      new NativeResponse("native"),
      new Own("own"),
    ];
    for (const response of [light, native, own]) {
      assert(response instanceof Response);
      assert(response instanceof NativeResponse);
    }
    assert(own instanceof Own && !(light instanceof Own));
    assert(!(new Request("http://x.test/") as unknown instanceof Response));
    for (const engine of engines) {
      const handler = () =>
        new Response("served", { status: 201, headers: { "x-one": "1" } });
      await withServer(handler, { engine }, async (server) => {
        for (const get of [fetch, http.fetch]) {
          const answer = await get(server.url);
          assert(answer instanceof Response);
          assertEquals(answer.status, 201);
          assertEquals(answer.headers.get("x-one"), "1");
          assertEquals(await answer.text(), "served");
        }
      });
    }
  } finally {
    globalThis.Response = NativeResponse;
  }
});
