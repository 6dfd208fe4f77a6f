import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { parseCacheControl, parseSeconds } from "../http/_cache_control.ts";
import {
  cache,
  Client,
  CookieJar,
  FetchError,
  MemoryStore,
} from "../http/mod.ts";
import type {
  CacheOptions,
  CacheStore,
  ClientOptions,
  StoredResponse,
} from "../http/mod.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { CacheStage, play, START } from "./_cache_support.ts";
import type { Step } from "./_cache_support.ts";
import { deferred, withClient } from "./_client_support.ts";
import { nodeServer } from "./_http_servers.ts";
import { until, within } from "./_support.ts";

const FRESH = { "cache-control": "max-age=60" };

/** A server that counts, with these fields, and a client with a cache. */
function counting(fields: Record<string, string | string[]> = FRESH) {
  const seen: string[] = [];
  const server = nodeServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    response.writeHead(200, fields);
    response.end(`${request.url} ${seen.length}`);
  });
  return { server, seen };
}

function using(store?: CacheStore, options?: CacheOptions): ClientOptions {
  return { use: [cache(store, options)] };
}

function entry(size: number, url = "http://x/"): StoredResponse {
  return {
    ...{ url, status: 200, statusText: "", headers: [], vary: [] },
    body: new Uint8Array(size),
    partition: "",
    ...{ requestTime: 0, responseTime: 0 },
  };
}

describe("cache() over connections", () => {
  test("answers as the server did, without the server", () => {
    const { server, seen } = counting({ ...FRESH, "x-a": "b" });
    return withClient(server, async (client, { url }) => {
      const first = await client.get(`${url}a?b`);
      assertEquals(await first.text(), "/a?b 1");
      const second = await client.get(`${url}a?b`);
      assertEquals(second.status, 200);
      assertEquals(second.statusText, first.statusText);
      assertEquals(second.url, first.url);
      assertEquals(second.redirected, false);
      assertEquals(second.redirects, []);
      assertEquals(second.headers.get("x-a"), "b");
      assertEquals(second.request.url, `${url}a?b`);
      assertEquals(second.timings.end! >= second.timings.start, true);
      assertEquals([...await second.trailers], []);
      const clone = second.clone();
      assertEquals(await second.text(), "/a?b 1");
      assertEquals(await clone.text(), "/a?b 1");
      const bytes = await client.get(`${url}a?b`).bytes();
      bytes.fill(0);
      assertEquals(await client.get(`${url}a?b`).text(), "/a?b 1");
      assertEquals(seen.length, 1);
    }, using());
  });

  test("stores what is read as a stream, cloned, or as a whole", async () => {
    for (const how of ["stream", "clone", "bytes", "blob"]) {
      const { server, seen } = counting();
      await withClient(server, async (client, { url }) => {
        const response = await client.get(url);
        if (how === "clone") await response.clone().text();
        if (how === "bytes") await response.bytes();
        if (how === "blob") await response.blob();
        if (how === "stream") {
          const pieces: Uint8Array[] = [];
          for await (const piece of response.body!) {
            pieces.push(piece);
            // Whose memory it is now may use it.
            piece.fill(0);
          }
          assert(pieces.length > 0);
        }
        await response.body?.cancel().catch(() => {});
        assertEquals(await client.get(url).text(), "/ 1");
        assertEquals(seen.length, 1);
      }, using());
    }
  });

  test("does not store what was cancelled, not read, broken off or too large", () => {
    let calls = 0;
    const server = nodeServer((request, response) => {
      calls++;
      if (request.url === "/broken") {
        response.writeHead(200, { ...FRESH, "content-length": "10" });
        response.write("12345", () => response.destroy());
        return;
      }
      response.writeHead(200, FRESH);
      response.write("x".repeat(600));
      if (request.url !== "/endless") response.end("x".repeat(600));
    });
    return withClient(server, async (client, { url }) => {
      for (const path of ["endless", "broken", "large"]) {
        calls = 0;
        for (let n = 1; n <= 2; n++) {
          const response = await client.get(url + path);
          const reader = response.body!.getReader();
          if (path === "large") {
            while (!(await reader.read()).done);
          } else if (path === "endless") {
            await reader.read();
            await reader.cancel();
          } else {
            await assertRejects(async () => {
              while (!(await reader.read()).done);
            });
          }
          assertEquals(calls, n, path);
        }
      }
      await (await client.get(`${url}unread`)).body!.cancel();
      calls = 0;
      await client.get(`${url}unread`).text();
      assertEquals(calls, 1);
    }, using(new MemoryStore(), { maxEntrySize: 1000 }));
  });

  test("stores what comes in many small pieces", async () => {
    const pieces = Array.from(
      { length: 5000 },
      (_, n) => new Uint8Array(n % 1500 === 0 ? 2000 : 3).fill(n),
    );
    let calls = 0;
    const client = new Client({
      ...using(),
      transport: () => {
        calls++;
        const left = pieces.map((piece) => piece.slice());
        const body = new ReadableStream({
          pull(controller) {
            const piece = left.shift();
            if (piece === undefined) controller.close();
            else controller.enqueue(piece);
          },
        });
        return new Response(body, { headers: FRESH });
      },
    });
    const first: number[] = [];
    for await (const piece of (await client.get("http://test/")).body!) {
      first.push(...piece);
      piece.fill(0);
    }
    const again = await client.get("http://test/").bytes();
    assertEquals(first.length, 3 * 4996 + 4 * 2000);
    assertEquals([...again], first);
    assertEquals(calls, 1);
    await client.close();
  });

  test("keeps bodies decoded, and apart from those that are not", () => {
    let calls = 0;
    const server = nodeServer((_request, response) => {
      calls++;
      response.writeHead(200, { ...FRESH, "content-encoding": "gzip" });
      response.end(gzipSync("hello"));
    });
    return withClient(server, async (client, { url }) => {
      for (let n = 0; n < 2; n++) {
        assertEquals(await client.get(url).text(), "hello");
        const raw = await client.get(url, { decompress: false }).bytes();
        assertEquals(raw[0], 0x1f);
      }
      assertEquals(calls, 2);
      await client.put(url).text();
      await client.get(url).text();
      await client.get(url, { decompress: false }).bytes();
      assertEquals(calls, 5);
    }, using());
  });

  test("tells hosts and cookies of a jar apart", () => {
    const seen: string[] = [];
    const server = nodeServer((request, response) => {
      seen.push(`${request.headers.host} ${request.headers.cookie}`);
      response.writeHead(200, { ...FRESH, vary: "cookie" });
      response.end(String(seen.length));
    });
    const jar = new CookieJar();
    return withClient(server, async (client, { url }) => {
      const get = (init = {}) => client.get(url, init).text();
      assertEquals(await get(), "1");
      jar.set("id=1", url);
      assertEquals(await get(), "2");
      assertEquals(await get(), "2");
      jar.set("id=2", url);
      assertEquals(await get(), "3");
      jar.set("id=1", url);
      assertEquals(await get(), "2");
      assertEquals(await get({ headers: { host: "other" } }), "4");
      assertEquals(await get({ headers: { host: "other" } }), "4");
      assertEquals(await get(), "2");
      assertEquals(await get({ cookies: new CookieJar() }), "1");
    }, { ...using(), cookies: jar });
  });

  test("takes cookies of a jar for no difference without Vary, but those of a request", () => {
    const { server, seen } = counting();
    const jar = new CookieJar();
    return withClient(server, async (client, { url }) => {
      await client.get(url).text();
      jar.set("id=1", url);
      assertEquals(await client.get(url).text(), "/ 1");
      const other = new CookieJar();
      other.set("id=2", url);
      assertEquals(await client.get(url, { cookies: other }).text(), "/ 2");
      assertEquals(seen.length, 2);
    }, { ...using(), cookies: jar });
  });

  test("does not store what an unsafe request overtook", () => {
    const held = deferred();
    let calls = 0;
    const server = nodeServer(async (request, response) => {
      calls++;
      response.writeHead(200, FRESH);
      if (request.method === "GET" && calls === 1) {
        response.write("o");
        await held.promise;
      }
      response.end("ld");
    });
    return withClient(server, async (client, { url }) => {
      const response = await client.get(url);
      const text = response.text();
      await client.put(url).text();
      held.resolve();
      assertEquals(await text, "old");
      await client.get(url).text();
      assertEquals(calls, 3);
      await client.get(url).text();
      assertEquals(calls, 3);
    }, using());
  });

  test("rejects what is only wanted if cached, and refuses that without a cache", () => {
    const { server } = counting();
    return withClient(server, async (client, { url }) => {
      const init = { cache: "only-if-cached" } as const;
      const error = await assertRejects(
        () => client.get(`${url}?secret`, init),
        FetchError,
      );
      assertEquals(error.code, "ERR_NOT_CACHED");
      assertEquals(error.message.includes("secret"), false);
      assertEquals(error.retryable, false);
      const plain = new Client();
      await assertRejects(() => plain.get(url, init), TypeError);
      await assertRejects(
        () => plain.get(url, { cache: "foo" as "default" }),
        TypeError,
      );
      await plain.get(url, { cache: "no-cache" }).text();
      await plain.close();
    }, using());
  });
});

describe("cache() and signals", () => {
  test("gives nothing to who has given up", async () => {
    const stage = new CacheStage();
    await stage.step({ reply: { headers: FRESH } });
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    assertEquals(
      await assertRejects(() => stage.client.get("a", { signal })),
      reason,
    );
    await stage.step({});
    await stage.client.close({ timeout: 0 });
  });
});

describe("cache() with stale-while-revalidate", () => {
  const stale = {
    headers: {
      "cache-control": "max-age=10, stale-while-revalidate=20",
      etag: '"a"',
    },
    body: "one",
  };

  test("answers at once, and validates behind it, once", async () => {
    const stage = new CacheStage();
    try {
      await stage.step({ at: 0, reply: stale });
      stage.now = START + 15_000;
      stage.reply = { ...stale, body: "two" };
      const both = await Promise.all([
        stage.client.get("a").text(),
        stage.client.get("a").text(),
      ]);
      assertEquals(both, ["one", "one"]);
      await until(async () => await stage.client.get("a").text() === "two");
      assertEquals(stage.asked.length, 2);
      assertEquals(stage.asked[1].headers.get("if-none-match"), '"a"');
      // Validated by a 304.
      stage.now = START + 30_000;
      stage.reply = { status: 304 };
      assertEquals(await stage.client.get("a").text(), "two");
      await until(async () => {
        const { headers } = await stage.client.get("a");
        return headers.get("cache-status") === "sluice; hit; ttl=10";
      });
      assertEquals(stage.asked.length, 3);
    } finally {
      await stage.client.close({ timeout: 0 });
    }
  });

  test("waits when it is too old for that, or must not be stale", () =>
    play([
      { at: 0, reply: stale },
      { at: 31, reply: { ...stale, body: "two" }, body: "two" },
      {
        at: 50,
        init: { headers: { "cache-control": "max-age=5" } },
        reply: { ...stale, body: "three" },
        body: "three",
      },
    ]));

  test("survives that the server fails behind it", async () => {
    const stage = new CacheStage();
    try {
      await stage.step({ at: 0, reply: stale });
      stage.now = START + 15_000;
      stage.reply = { error: new Error("no") };
      assertEquals(await stage.client.get("a").text(), "one");
      await until(() => stage.asked.length === 2);
      stage.reply = { status: 500 };
      await until(async () => {
        assertEquals(await stage.client.get("a").text(), "one");
        return stage.asked.length >= 3;
      });
      stage.reply = { ...stale, body: "two" };
      await until(async () => await stage.client.get("a").text() === "two");
    } finally {
      await stage.client.close({ timeout: 0 });
    }
  });
});

describe("cache() and its store", () => {
  test("works with one that is slow, and keeps plain data", async () => {
    const kept = new Map<string, string>();
    const later = () => new Promise((resolve) => setTimeout(resolve, 1));
    const store: CacheStore = {
      async get(key) {
        await later();
        const text = kept.get(key);
        return text === undefined ? undefined : JSON.parse(
          text,
          (name, value) => name === "body" ? Uint8Array.from(value) : value,
        );
      },
      async put(key, responses) {
        await later();
        kept.set(
          key,
          JSON.stringify(
            responses,
            (name, value) => name === "body" ? [...value] : value,
          ),
        );
      },
      async delete(key) {
        await later();
        kept.delete(key);
      },
    };
    const stage = new CacheStage({}, store);
    const vary = { ...FRESH, vary: "x-a" };
    const steps: Step[] = [
      {
        reply: { headers: vary, body: "1" },
        init: { headers: { "x-a": "1" } },
      },
      {
        reply: { headers: vary, body: "2" },
        init: { headers: { "x-a": "2" } },
      },
      { body: "1", init: { headers: { "x-a": "1" } } },
      { body: "2", init: { headers: { "x-a": "2" } } },
    ];
    for (const step of steps) await within(stage.step(step));
    assertEquals(kept.size, 1);
    assert(![...kept.values()][0].includes("undefined"));
    await stage.step({ init: { method: "DELETE" }, reply: {} });
    assertEquals(kept.size, 0);
    await stage.client.close({ timeout: 0 });
  });

  test("keeps secrets out of it", async () => {
    const store = new MemoryStore();
    const stage = new CacheStage({}, store);
    const headers = { authorization: "Bearer geheim", cookie: "id=geheim" };
    const reply = { headers: { ...FRESH, vary: "authorization, cookie" } };
    await stage.step({ init: { headers }, reply });
    await stage.step({ init: { headers } });
    const kept = store.get("http://test/a");
    assertEquals(kept?.length, 1);
    assertEquals(JSON.stringify(kept).includes("geheim"), false);
    await stage.client.close({ timeout: 0 });
  });

  test("asks the server when it fails or gives what it was not given", async () => {
    const faults: unknown[] = [];
    const fail = () => {
      throw new Error("no store");
    };
    const stores: CacheStore[] = [
      { get: fail, put: fail, delete: fail },
      {
        get: () => Promise.reject(new Error("no store")),
        put: () => Promise.reject(new Error("no store")),
        delete: fail,
      },
      {
        get: () => [{ foo: 1 }, null, 1] as unknown as StoredResponse[],
        put: fail,
        delete: fail,
      },
      {
        get: () => "foo" as unknown as StoredResponse[],
        put: fail,
        delete: fail,
      },
    ];
    for (const store of stores) {
      const onError = (error: unknown) => faults.push(error);
      const stage = new CacheStage({ onError }, store);
      await stage.step({ reply: { headers: FRESH, body: "1" }, body: "1" });
      await stage.step({ reply: { headers: FRESH, body: "2" }, body: "2" });
      await stage.step({ init: { method: "PUT" }, reply: {} });
      await stage.client.close({ timeout: 0 });
    }
    assert(faults.length > 8);
  });

  test("keeps partitions apart as it is told", async () => {
    const stage = new CacheStage({
      partition: (request) => request.headers.get("x-user") ?? "",
    });
    const as = (user: string) => ({
      headers: { "x-user": user, cookie: user },
    });
    await stage.step({ init: as("a"), reply: { headers: FRESH, body: "a" } });
    await stage.step({ init: as("b"), reply: { headers: FRESH, body: "b" } });
    await stage.step({ init: as("a"), body: "a" });
    await stage.step({ init: as("b"), body: "b" });
    await stage.client.close({ timeout: 0 });
  });

  test("never keeps more than 32 variants of one URL", async () => {
    const store = new MemoryStore();
    const stage = new CacheStage({}, store);
    const reply = { headers: { ...FRESH, vary: "x-a" } };
    for (let n = 0; n < 40; n++) {
      await stage.step({ init: { headers: { "x-a": String(n) } }, reply });
    }
    assertEquals(store.get("http://test/a")?.length, 32);
    await stage.step({ init: { headers: { "x-a": "39" } } });
    await stage.step({ init: { headers: { "x-a": "0" } }, reply });
    await stage.client.close({ timeout: 0 });
  });

  test("goes without heuristics, or with others", async () => {
    const date = new Date(START - 1_000_000).toUTCString();
    const reply = { headers: { "last-modified": date } };
    await play([
      { at: 0, reply },
      { at: 0, reply: { status: 304 } },
    ], { heuristic: false });
    await play([
      { at: 0, reply },
      { at: 499 },
      { at: 500, reply: { status: 304 } },
    ], { heuristic: { fraction: 0.5 } });
    await play([
      { at: 0, reply },
      { at: 6 },
      { at: 7, reply: { status: 304 } },
    ], { heuristic: { max: 7 } });
  });

  test("refuses options that make no sense", () => {
    assertThrows(() => cache({} as CacheStore), TypeError);
    assertThrows(() => cache(null as unknown as CacheStore), TypeError);
    const bad: unknown[] = [
      { maxEntrySize: -1 },
      { heuristic: { fraction: -1 } },
      { heuristic: { max: NaN } },
      { now: 1 },
      { partition: "x" },
      { onError: 1 },
      { foo: 1 },
    ];
    for (const options of bad) {
      assertThrows(() => cache(new MemoryStore(), options as CacheOptions));
    }
  });
});

describe("MemoryStore", () => {
  test("forgets what was not asked for the longest time", () => {
    const store = new MemoryStore({ maxSize: 10_000, maxEntrySize: 3000 });
    for (const key of ["a", "b", "c"]) store.put(key, [entry(2500)]);
    assertEquals(store.count, 3);
    assertEquals(store.get("a")?.length, 1);
    store.put("d", [entry(2500)]);
    assertEquals(store.get("b"), undefined);
    assertEquals([store.get("a"), store.get("c"), store.get("d")].length, 3);
    assert(store.size <= 10_000 && store.size > 7500, `${store.size}`);
    store.delete("a");
    store.delete("a");
    assertEquals(store.count, 2);
    store.clear();
    assertEquals([store.count, store.size], [0, 0]);
  });

  test("keeps nothing that is too large, and no more than there is room for", () => {
    const store = new MemoryStore({ maxSize: 4000, maxEntrySize: 2000 });
    store.put("a", [entry(2001)]);
    assertEquals(store.count, 0);
    store.put("a", [entry(1500), entry(1500), entry(1500)]);
    assertEquals(store.get("a")?.length, 1);
    store.put("a", [entry(2001)]);
    assertEquals([store.count, store.size], [0, 0]);
    assertEquals(new MemoryStore().maxEntrySize, 8 * 1024 * 1024);
    assertEquals(new MemoryStore({ maxSize: 800 }).maxEntrySize, 100);
    assertThrows(() => new MemoryStore({ maxSize: -1 }), RangeError);
    assertThrows(() => new MemoryStore({ maxEntrySize: NaN }), RangeError);
  });
});

describe("parseCacheControl()", () => {
  const read = (text: string) => {
    const found = parseCacheControl(text);
    return found && Object.fromEntries(found);
  };

  test("reads directives with and without values", () => {
    assertEquals(read(""), {});
    assertEquals(read(" , ,"), {});
    assertEquals(read("No-Store"), { "no-store": "" });
    assertEquals(read('a=b, c="d, \\"e", f ,g'), {
      ...{ a: "b", c: 'd, "e', f: "", g: "" },
    });
    assertEquals(read("a=1, a=1, b=1, b=2"), { a: "1", b: "?" });
    assertEquals(Object.fromEntries(parseCacheControl(null)!), {});
  });

  test("reads nothing of what is malformed or too much", () => {
    for (
      const text of [
        ...["a b", "a=", "a =b", "a= b", 'a="b', 'a="b\\', 'a="b"c', "=a", ";"],
        ...["a;b", "(a)", "é", "a=é", '"a"'],
        Array.from({ length: 65 }, (_, i) => `a${i}`).join(),
        `a="${"x".repeat(9000)}"`,
      ]
    ) assertEquals(read(text), undefined, text.slice(0, 50));
  });

  test("reads seconds up to a bound", () => {
    assertEquals(parseSeconds("0"), 0);
    assertEquals(parseSeconds("007"), 7);
    assertEquals(parseSeconds("9".repeat(500)), 2 ** 31);
    for (const text of ["", "-1", "1.5", "1e3", " 1", "٣", undefined]) {
      assertEquals(parseSeconds(text), undefined);
    }
  });
});
