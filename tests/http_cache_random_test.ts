import { describe, test } from "node:test";
import { cache, Client, FetchError, MemoryStore } from "../http/mod.ts";
import { assert, assertEquals } from "./assert.ts";
import { date, START } from "./_cache_support.ts";
import { within } from "./_support.ts";

/** Numbers that are the same each time. */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

const VALUES: Record<string, string[]> = {
  "cache-control": [
    ...["max-age=5", "max-age=0", "no-cache", "no-store", "private", "public"],
    ...["max-age=5, must-revalidate", "max-age=1, stale-while-revalidate=5"],
    ...["max-age=1, stale-if-error=9", "max-age=x", 'a="', ",,", "max-age=3;"],
  ],
  "expires": ["0", date(3), date(-3), "soon"],
  "date": [date(0), date(-9), date(9), "now"],
  "age": ["0", "3", "-1", "99999999999999999999"],
  "etag": ['"a"', 'W/"b"', '"c"', "d", ""],
  "last-modified": [date(-100), date(100), "then"],
  "vary": ["x-a", "*", "x-a, x-b", "cookie", "a b", ","],
};

const ASKED: Record<string, string[]> = {
  "cache-control": [
    ...["no-cache", "no-store", "max-age=2", "min-fresh=2", "max-stale=2"],
    ...["max-stale", "only-if-cached", "stale-if-error=5", "max-age=", "x"],
  ],
  "x-a": ["1", "2"],
  "x-b": ["1"],
  "cookie": ["a=1", "a=2"],
  "authorization": ["a", "b"],
  "if-none-match": ['"a"'],
  "range": ["bytes=0-0"],
};

const MODES = [
  ...["default", "default", "default", "no-store", "reload", "no-cache"],
  ...["force-cache", "only-if-cached"],
] as RequestCache[];

describe("cache()", () => {
  for (const seed of [1, 2, 3]) {
    test(`keeps its word whatever comes, in any order: ${seed}`, async () => {
      const next = chance(seed);
      const some = (from: Record<string, string[]>, one: number) => {
        const fields: Record<string, string> = {};
        for (const [name, values] of Object.entries(from)) {
          if (next(one) === 0) fields[name] = values[next(values.length)];
        }
        return fields;
      };
      let now = START;
      const store = new MemoryStore({ maxSize: 20_000 });
      const methods = ["GET", "GET", "GET", "GET", "GET", "HEAD", "PUT"];
      const client = new Client({
        base: "http://test/",
        use: [cache(store, { now: () => now })],
        transport: async (request) => {
          if (next(4) === 0) await new Promise((done) => setTimeout(done, 0));
          const path = new URL(request.url).pathname;
          const conditional = request.headers.has("if-none-match");
          const status = conditional && next(2) === 0
            ? 304
            : [200, 200, 200, 404, 500, 503, 204][next(7)];
          const empty = status === 304 || status === 204;
          const headers = some(VALUES, 3);
          // Whose answer it is: nobody else may get it.
          headers["x-who"] = JSON.stringify([
            path,
            request.headers.get("authorization"),
            request.headers.get("cookie"),
          ]);
          const body = empty ? null : "x".repeat(next(2000));
          return new Response(body, { status, headers });
        },
      });
      let hits = 0;
      const one = async () => {
        const path = "abc"[next(3)];
        const headers = some(ASKED, 8);
        const method = methods[next(methods.length)];
        const mode = MODES[next(MODES.length)];
        let response;
        try {
          response = await client.fetch(path, { method, headers, cache: mode });
        } catch (error) {
          assert(error instanceof FetchError, String(error));
          assertEquals(error.code, "ERR_NOT_CACHED");
          return;
        }
        if (next(5) === 0) await response.body?.cancel();
        else await response.text();
        const told = response.headers.get("cache-status");
        if (told?.includes("hit")) hits++;
        if (told?.includes("only-if-cached")) return;
        assertEquals(
          response.headers.get("x-who"),
          JSON.stringify([
            `/${path}`,
            headers.authorization ?? null,
            headers.cookie ?? null,
          ]),
        );
        // What asks for it is never answered from what is there.
        if (mode === "no-store" || mode === "reload") {
          assertEquals(told?.includes("hit") ?? false, false);
        }
      };
      for (let round = 0; round < 50; round++) {
        await within(Promise.all(Array.from({ length: 10 }, one)));
        now += next(3000);
        assert(store.size <= 20_000 && store.size >= 0);
      }
      assert(hits > 0);
      await client.close({ timeout: 0 });
      store.clear();
      assertEquals(store.size, 0);
    });
  }
});
