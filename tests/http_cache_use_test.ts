import { describe, test } from "node:test";
import { NetError } from "../streams/mod.ts";
import { date, play } from "./_cache_support.ts";
import type { Reply, Step } from "./_cache_support.ts";

const fresh = (seconds: number, more: Record<string, string> = {}): Reply => ({
  headers: { "cache-control": `max-age=${seconds}`, ...more },
  body: "one",
});
const two: Reply = { headers: { "cache-control": "max-age=60" }, body: "two" };
const down = new NetError("down", { code: "ECONNREFUSED", retryable: true });
const MISS = "fwd=uri-miss; fwd-status=200";
const STORED = `${MISS}; stored`;

const cc = (value: string, more: Record<string, string> = {}): Reply => ({
  headers: { "cache-control": value, ...more },
  body: "one",
});

const TABLE: Record<string, [name: string, steps: Step[]][]> = {
  "heeds of a request": [
    ["no-cache", [
      { at: 0, reply: fresh(60, { etag: '"a"' }) },
      {
        at: 1,
        init: { headers: { "cache-control": "no-cache" } },
        reply: { status: 304 },
        sent: { "if-none-match": '"a"' },
        body: "one",
        told: "fwd=request; fwd-status=304",
      },
    ]],
    ["Pragma: no-cache", [
      { at: 0, reply: fresh(60) },
      {
        at: 1,
        init: { headers: { pragma: "no-cache" } },
        reply: two,
        body: "two",
      },
    ]],
    ["Cache-Control, not Pragma, when it has both", [
      { at: 0, reply: fresh(60) },
      {
        at: 1,
        init: { headers: { pragma: "no-cache", "cache-control": "max-age=9" } },
        body: "one",
      },
    ]],
    ["max-age", [
      { at: 0, reply: fresh(60) },
      {
        at: 5,
        init: { headers: { "cache-control": "max-age=5" } },
        body: "one",
      },
      {
        at: 6,
        init: { headers: { "cache-control": "max-age=5" } },
        reply: two,
        told: "fwd=request; fwd-status=200; stored",
      },
    ]],
    ["max-age=0, also for what came this second", [
      { at: 0, reply: fresh(60, { etag: '"a"' }) },
      {
        at: 0,
        init: { headers: { "cache-control": "max-age=0" } },
        reply: { status: 304 },
        sent: { "if-none-match": '"a"' },
        body: "one",
      },
      {
        at: 0,
        init: { headers: { "cache-control": "max-age=0, max-stale" } },
        body: "one",
      },
    ]],
    ["max-age that is no number, as 0", [
      { at: 0, reply: fresh(60) },
      {
        at: 5,
        init: { headers: { "cache-control": "max-age=x" } },
        reply: two,
      },
    ]],
    ["min-fresh", [
      { at: 0, reply: fresh(60) },
      {
        at: 50,
        init: { headers: { "cache-control": "min-fresh=10" } },
        body: "one",
      },
      {
        at: 51,
        init: { headers: { "cache-control": "min-fresh=10" } },
        reply: two,
      },
    ]],
    ["max-stale", [
      { at: 0, reply: fresh(60) },
      {
        at: 70,
        init: { headers: { "cache-control": "max-stale=10" } },
        body: "one",
        told: "hit; ttl=-10",
        age: "70",
      },
      {
        at: 1000,
        init: { headers: { "cache-control": "max-stale" } },
        body: "one",
      },
      {
        at: 71,
        init: { headers: { "cache-control": "max-stale=10" } },
        reply: two,
      },
    ]],
    ["max-stale, but not against must-revalidate", [
      { at: 0, reply: cc("max-age=60, must-revalidate") },
      { at: 59 },
      {
        at: 61,
        init: { headers: { "cache-control": "max-stale" } },
        reply: two,
      },
    ]],
    ["max-stale, but not against no-cache", [
      { at: 0, reply: cc("max-age=60, no-cache", { etag: '"a"' }) },
      {
        at: 1,
        init: { headers: { "cache-control": "max-stale" } },
        reply: two,
      },
    ]],
    ["only-if-cached", [
      {
        at: 0,
        init: { headers: { "cache-control": "only-if-cached" } },
        status: 504,
        body: "",
        told: 'detail="only-if-cached"',
      },
      { at: 0, reply: fresh(60) },
      {
        at: 1,
        init: { headers: { "cache-control": "only-if-cached" } },
        body: "one",
      },
      {
        at: 61,
        init: { headers: { "cache-control": "only-if-cached" } },
        status: 504,
      },
      {
        at: 61,
        init: { headers: { "cache-control": "only-if-cached, max-stale" } },
        body: "one",
      },
      {
        at: 61,
        init: {
          headers: { "cache-control": "only-if-cached", range: "bytes=0-1" },
        },
        status: 504,
      },
    ]],
    ["Cache-Control that is malformed, by asking", [
      { at: 0, reply: fresh(60) },
      {
        at: 1,
        init: { headers: { "cache-control": "max-age=1;" } },
        reply: two,
        told: null,
      },
    ]],
    ["Range, by letting it pass", [
      { at: 0, reply: fresh(60) },
      {
        at: 1,
        init: { headers: { range: "bytes=0-1" } },
        reply: { status: 206 },
        status: 206,
        told: null,
      },
      { at: 2, body: "one" },
    ]],
    ["conditions, by letting them pass", [
      { at: 0, reply: fresh(60) },
      {
        at: 1,
        init: { headers: { "if-none-match": '"x"' } },
        reply: { status: 304 },
        status: 304,
        told: null,
      },
      { at: 2, body: "one" },
    ]],
  ],
  "validates": [
    ["with ETag and Last-Modified", [
      {
        at: 0,
        reply: fresh(60, {
          etag: 'W/"a"',
          "last-modified": date(-5),
          "x-a": "1",
          age: "0",
        }),
      },
      {
        at: 60,
        reply: {
          status: 304,
          headers: {
            "cache-control": "max-age=10",
            etag: 'W/"a"',
            "x-a": "2",
            "x-b": "3",
          },
        },
        sent: { "if-none-match": 'W/"a"', "if-modified-since": date(-5) },
        body: "one",
        told: "fwd=stale; fwd-status=304",
        headers: {
          "x-a": "2",
          "x-b": "3",
          etag: 'W/"a"',
          "cache-control": "max-age=10",
        },
        age: "0",
      },
      {
        at: 69,
        told: "hit; ttl=1",
        body: "one",
        headers: { "x-a": "2" },
        age: "9",
      },
      {
        at: 70,
        reply: { status: 304 },
        sent: { "if-none-match": 'W/"a"' },
        told: "fwd=stale; fwd-status=304",
      },
      { at: 79, told: "hit; ttl=1" },
    ]],
    ["no-cache each time", [
      { at: 0, reply: cc("no-cache", { etag: '"a"' }) },
      {
        at: 1,
        reply: { status: 304 },
        body: "one",
        told: "fwd=stale; fwd-status=304",
      },
      {
        at: 2,
        reply: { status: 304, headers: { "cache-control": "max-age=9" } },
        body: "one",
      },
      { at: 3, body: "one" },
    ]],
    ["no-cache of one field as no-cache", [
      { at: 0, reply: cc('max-age=60, no-cache="x-a"', { etag: '"a"' }) },
      { at: 1, reply: { status: 304 }, body: "one" },
    ]],
    ["and takes a new answer in its place", [
      { at: 0, reply: fresh(1, { etag: '"a"' }) },
      {
        at: 2,
        reply: { ...two, headers: { ...two.headers, etag: '"b"' } },
        body: "two",
      },
      { at: 3, body: "two", headers: { etag: '"b"' } },
    ]],
    ["and forgets what has become no-store", [
      { at: 0, reply: fresh(1, { etag: '"a"' }) },
      { at: 2, reply: cc("no-store"), told: "fwd=stale; fwd-status=200" },
      { at: 3, reply: two, sent: { "if-none-match": null }, told: STORED },
    ]],
    ["and keeps it when the server fails", [
      { at: 0, reply: fresh(1, { etag: '"a"' }) },
      { at: 2, reply: { status: 503 }, status: 503 },
      {
        at: 3,
        reply: { status: 304 },
        sent: { "if-none-match": '"a"' },
        body: "one",
      },
    ]],
    ["not length and coding", [
      { at: 0, reply: fresh(1, { etag: '"a"', "content-language": "de" }) },
      {
        at: 2,
        reply: {
          status: 304,
          headers: {
            "content-length": "77",
            "content-encoding": "x",
            "content-language": "en",
          },
        },
        headers: { "content-encoding": null, "content-language": "en" },
        body: "one",
      },
    ]],
    ["and takes a Date that is missing for now", [
      { at: 0, reply: fresh(10, { etag: '"a"', date: date(0) }) },
      { at: 50, reply: { status: 304 }, body: "one", age: "0" },
      { at: 59, told: "hit; ttl=1", body: "one", age: "9" },
    ]],
    ["and heeds a Vary that came later", [
      {
        at: 0,
        reply: fresh(1, { etag: '"a"', vary: "x-a" }),
        init: { headers: { "x-b": "1" } },
      },
      {
        at: 5,
        reply: {
          status: 304,
          headers: { "cache-control": "max-age=60", vary: "x-a, x-b" },
        },
        init: { headers: { "x-b": "1" } },
        body: "one",
      },
      {
        at: 6,
        init: { headers: { "x-b": "1" } },
        body: "one",
      },
      {
        at: 7,
        reply: two,
        init: { headers: { "x-b": "2" } },
        sent: { "if-none-match": null },
        body: "two",
      },
    ]],
    ["the request alone: its own fields are as they were", [
      {
        at: 0,
        reply: cc("no-cache", { etag: '"a"' }),
        init: { headers: { "x-a": "1" } },
      },
      {
        at: 1,
        reply: { status: 304 },
        init: { headers: { "x-a": "1" } },
        sent: { "x-a": "1" },
      },
    ]],
  ],
  "tells apart by Vary": [
    ["fields of requests", [
      {
        at: 0,
        init: { headers: { "x-a": "1" } },
        reply: fresh(60, { vary: "X-A, x-b" }),
      },
      {
        at: 1,
        init: { headers: { "x-a": "2" } },
        reply: { ...two, headers: { ...two.headers, vary: "x-a" } },
        told: "fwd=vary-miss; fwd-status=200; stored",
      },
      { at: 2, init: { headers: { "x-a": "1" } }, body: "one" },
      { at: 2, init: { headers: { "x-a": "2" } }, body: "two" },
      {
        at: 2,
        init: { headers: { "x-a": "1", "x-b": "1" } },
        reply: two,
        body: "two",
      },
    ]],
    ["one that is there from one that is not", [
      { at: 0, reply: fresh(60, { vary: "accept-language" }) },
      { at: 1, init: { headers: { "accept-language": "de" } }, reply: two },
      { at: 2, body: "two" },
    ]],
    ["and not by white space", [
      {
        at: 0,
        init: { headers: { "x-a": "a,b" } },
        reply: fresh(60, { vary: "x-a" }),
      },
      { at: 1, init: { headers: { "x-a": "a,  b" } }, body: "one" },
    ]],
    ["whose Authorization it was, also without Vary", [
      { at: 0, init: { auth: { bearer: "a" } }, reply: fresh(60) },
      { at: 1, init: { auth: { bearer: "b" } }, reply: two, body: "two" },
      { at: 1, reply: two, body: "two" },
      { at: 2, init: { auth: { bearer: "a" } }, body: "one" },
    ]],
    ["whose Cookie it was, also without Vary", [
      { at: 0, init: { headers: { cookie: "id=1" } }, reply: fresh(60) },
      { at: 1, init: { headers: { cookie: "id=2" } }, reply: two, body: "two" },
      { at: 2, init: { headers: { cookie: "id=1" } }, body: "one" },
    ]],
  ],
  "makes invalid": [
    ...["POST", "PUT", "DELETE", "PATCH", "FOO"].map((
      method,
    ): [string, Step[]] => [`what ${method} changed`, [
      { at: 0, reply: fresh(60) },
      { at: 1, init: { method }, reply: { status: 200 }, told: null },
      { at: 2, reply: two, body: "two" },
    ]]),
    ["what a redirected POST changed", [
      { at: 0, reply: fresh(60) },
      {
        at: 1,
        init: { method: "POST", redirect: "manual" },
        reply: { status: 303, headers: { location: "/b" } },
        status: 303,
      },
      { at: 2, reply: two },
    ]],
    ["nothing when it failed", [
      { at: 0, reply: fresh(60) },
      { at: 1, init: { method: "POST" }, reply: { status: 404 }, status: 404 },
      { at: 1, init: { method: "POST" }, reply: { status: 500 }, status: 500 },
      { at: 2, body: "one" },
    ]],
    ["nothing by OPTIONS", [
      { at: 0, reply: fresh(60) },
      { at: 1, init: { method: "OPTIONS" }, reply: {} },
      { at: 2, body: "one" },
    ]],
    ["Location and Content-Location of the same origin", [
      { at: 0, reply: fresh(60) },
      { at: 0, path: "b", reply: fresh(60) },
      { at: 0, path: "c", reply: fresh(60) },
      {
        at: 1,
        path: "d",
        init: { method: "POST" },
        reply: {
          status: 201,
          headers: { location: "/a", "content-location": "http://test/b" },
        },
        status: 201,
      },
      { at: 2, reply: two },
      { at: 2, path: "b", reply: two },
      { at: 2, path: "c", body: "one" },
    ]],
    ["no Location of another origin, or that is none", [
      { at: 0, path: "http://other/a", reply: fresh(60) },
      {
        at: 1,
        path: "d",
        init: { method: "POST" },
        reply: {
          headers: {
            location: "http://other/a",
            "content-location": "http://:x/",
          },
        },
      },
      { at: 2, path: "http://other/a", body: "one" },
    ]],
    ["all variants, of all users", [
      {
        at: 0,
        init: { headers: { "x-a": "1" } },
        reply: fresh(60, { vary: "x-a" }),
      },
      {
        at: 0,
        init: { headers: { "x-a": "2", cookie: "b" } },
        reply: fresh(60, { vary: "x-a" }),
      },
      { at: 1, init: { method: "PUT" }, reply: {} },
      { at: 2, init: { headers: { "x-a": "1" } }, reply: two },
      { at: 2, init: { headers: { "x-a": "2", cookie: "b" } }, reply: two },
    ]],
  ],
  "gives stale answers": [
    ["when the server fails, with stale-if-error", [
      { at: 0, reply: cc("max-age=10, stale-if-error=10") },
      {
        at: 20,
        reply: { status: 503 },
        body: "one",
        told: 'fwd=stale; fwd-status=503; detail="stale-if-error"',
        age: "20",
      },
      {
        at: 20,
        reply: { error: down },
        body: "one",
        told: 'fwd=stale; detail="stale-if-error"',
      },
      { at: 20, reply: { status: 404 }, status: 404 },
    ]],
    ["but not when it has failed too long", [
      { at: 0, reply: cc("max-age=10, stale-if-error=10") },
      { at: 21, reply: { status: 500 }, status: 500 },
    ]],
    ["nor when it must be validated", [
      { at: 0, reply: cc("max-age=10, stale-if-error=10, must-revalidate") },
      { at: 15, reply: { status: 500 }, status: 500 },
    ]],
    ["when the request wants it so", [
      { at: 0, reply: fresh(10) },
      {
        at: 15,
        init: { headers: { "cache-control": "stale-if-error=5" } },
        reply: { status: 502 },
        body: "one",
      },
      {
        at: 16,
        init: { headers: { "cache-control": "stale-if-error=5" } },
        reply: { status: 502 },
        status: 502,
      },
    ]],
  ],
  "goes by the mode": [
    ["no-store", [
      { at: 0, init: { cache: "no-store" }, reply: fresh(60), told: null },
      { at: 0, reply: fresh(60), told: STORED },
      {
        at: 1,
        init: { cache: "no-store" },
        reply: two,
        body: "two",
        told: null,
      },
      { at: 2, body: "one" },
    ]],
    ["reload", [
      { at: 0, reply: fresh(60, { etag: '"a"' }) },
      {
        at: 1,
        init: { cache: "reload" },
        reply: two,
        body: "two",
        sent: {
          "if-none-match": null,
          "cache-control": "no-cache",
          pragma: "no-cache",
        },
        told: "fwd=request; fwd-status=200; stored",
      },
      { at: 2, body: "two" },
    ]],
    ["no-cache", [
      { at: 0, reply: fresh(60, { etag: '"a"' }) },
      {
        at: 1,
        init: { cache: "no-cache" },
        reply: { status: 304 },
        body: "one",
        sent: { "if-none-match": '"a"', "cache-control": "max-age=0" },
        told: "fwd=request; fwd-status=304",
      },
    ]],
    ["force-cache", [
      { at: 0, init: { cache: "force-cache" }, reply: fresh(1), told: STORED },
      {
        at: 100,
        init: { cache: "force-cache" },
        body: "one",
        told: "hit; ttl=-99",
      },
    ]],
    ["only-if-cached", [
      { at: 0, reply: fresh(1) },
      { at: 100, init: { cache: "only-if-cached" }, body: "one" },
    ]],
    ["default", [
      { at: 0, init: { cache: "default" }, reply: fresh(10) },
      { at: 9, init: { cache: "default" }, body: "one" },
    ]],
  ],
};

for (const [what, rows] of Object.entries(TABLE)) {
  describe(`cache() ${what}`, () => {
    for (const [name, steps] of rows) {
      test(name, () => play(steps));
    }
  });
}
