import { describe, test } from "node:test";
import { date, play } from "./_cache_support.ts";
import type { Reply, Step } from "./_cache_support.ts";

const fresh = (seconds: number, more: Record<string, string> = {}): Reply => ({
  headers: { "cache-control": `max-age=${seconds}`, ...more },
  body: "one",
});
const two: Reply = { headers: { "cache-control": "max-age=60" }, body: "two" };
const MISS = "fwd=uri-miss; fwd-status=200";
const STORED = `${MISS}; stored`;

/** A first request, and whether the second one is answered without asking. */
function kept(reply: Reply, second: Partial<Step> = {}): Step[] {
  const { status } = reply;
  return [
    { at: 0, reply, status, body: reply.body ?? undefined },
    { at: 1, status, body: reply.body ?? undefined, ...second },
  ];
}

function notKept(reply: Reply, second: Partial<Step> = {}): Step[] {
  const { status } = reply;
  return [
    { at: 0, reply, status },
    { at: 1, reply: two, body: "two", ...second },
  ];
}

const cc = (value: string, more: Record<string, string> = {}): Reply => ({
  headers: { "cache-control": value, ...more },
  body: "one",
});

const TABLE: Record<string, [name: string, steps: Step[]][]> = {
  "stores": [
    ["what has max-age, and tells of it", [
      { at: 0, reply: fresh(60), told: STORED, body: "one", age: null },
      { at: 10, told: "hit; ttl=50", body: "one", age: "10" },
      { at: 59, told: "hit; ttl=1", body: "one", age: "59" },
      {
        at: 60,
        reply: two,
        body: "two",
        told: "fwd=stale; fwd-status=200; stored",
      },
      { at: 61, told: "hit; ttl=59", body: "two" },
    ]],
    ["what has Expires", [
      { at: 0, reply: { headers: { date: date(0), expires: date(30) } } },
      { at: 29, told: "hit; ttl=1" },
      { at: 30, reply: two, body: "two" },
    ]],
    ["what is private", kept(cc("private, max-age=5"))],
    ["what is private for one field", kept(cc('private="x-a", max-age=5'))],
    ["an empty body", kept({ ...fresh(5), body: "" })],
    ["an empty body of a known length", [
      { at: 0, reply: { ...fresh(5, { "content-length": "0" }), body: "" } },
      { at: 1, init: { method: "HEAD" }, told: "hit; ttl=4" },
    ]],
    ["204", kept({ ...fresh(5), status: 204, body: null })],
    ["404, with a lifetime", kept({ ...fresh(5), status: 404 })],
    ["500, with a lifetime", kept({ ...fresh(5), status: 500 })],
    ["an unknown status, with a lifetime", kept({ ...fresh(5), status: 299 })],
    [
      "301 that is not followed",
      kept({
        ...fresh(5, { location: "/b" }),
        status: 301,
      }, { init: { redirect: "manual" } }).map((step) => ({
        ...step,
        init: { redirect: "manual" as const },
      })),
    ],
    [
      "in spite of no-store what must be understood, and is",
      kept(cc("max-age=5, no-store, must-understand")),
    ],
    [
      "in spite of unknown directives",
      kept(cc('foo, bar=baz, x="a, b", max-age=5')),
    ],
    ["a quoted number", kept(cc('max-age="5"'))],
    ["names in any case", kept(cc("MAX-AGE=5"))],
    [
      "what has max-age, whatever Expires says",
      kept(cc("max-age=5", { expires: date(-10) })),
    ],
    ["what has Authorization", [
      { at: 0, reply: fresh(60), init: { auth: { bearer: "x" } } },
      { at: 1, init: { auth: { bearer: "x" } }, body: "one" },
    ]],
    ["HEAD from GET", [
      { at: 0, reply: fresh(60, { "x-a": "b" }) },
      {
        at: 1,
        init: { method: "HEAD" },
        body: "",
        headers: { "x-a": "b" },
        told: "hit; ttl=59",
      },
    ]],
    ["the URL with its query, without its fragment", [
      { at: 0, path: "a?b#c", reply: fresh(60) },
      { at: 1, path: "a?b#d", body: "one" },
      { at: 1, path: "a?c", reply: two, body: "two" },
      { at: 1, path: "a", reply: two, body: "two" },
    ]],
    ["fields, but those of the connection", [
      {
        at: 0,
        reply: fresh(60, {
          "x-a": "1",
          "x-b": "2",
          connection: "x-b",
          "keep-alive": "timeout=5",
          "proxy-authenticate": "Basic",
        }),
      },
      {
        at: 1,
        headers: {
          "x-a": "1",
          "x-b": null,
          connection: null,
          "keep-alive": null,
          "proxy-authenticate": null,
        },
      },
    ]],
  ],
  "does not store": [
    ["no-store", notKept(cc("no-store, max-age=60"))],
    [
      "a status that it must understand, and does not",
      notKept({ ...cc("max-age=60, must-understand"), status: 299 }),
    ],
    ["206", notKept({ ...fresh(60), status: 206 })],
    ["Vary: *", notKept(fresh(60, { vary: "*" }))],
    ["Vary: * among others", notKept(fresh(60, { vary: "accept, *" }))],
    ["Vary that is malformed", notKept(fresh(60, { vary: "a b" }))],
    ["what says nothing", notKept({ body: "one" })],
    [
      "302 that says nothing",
      notKept({
        status: 302,
        headers: { "last-modified": date(-1000), location: "/b" },
      }, { init: { redirect: "manual" } }).map((step) => ({
        ...step,
        init: { redirect: "manual" as const },
      })),
    ],
    [
      "500 that says nothing",
      notKept({
        status: 500,
        headers: { "last-modified": date(-1000) },
      }),
    ],
    ["POST", [
      { at: 0, init: { method: "POST" }, reply: fresh(60), told: null },
      { at: 1, reply: two, body: "two", told: STORED },
    ]],
    ["HEAD", [
      { at: 0, init: { method: "HEAD" }, reply: fresh(60), told: MISS },
      { at: 1, reply: two, body: "two" },
    ]],
    ["OPTIONS", [
      { at: 0, init: { method: "OPTIONS" }, reply: fresh(60), told: null },
      { at: 1, reply: two, body: "two" },
    ]],
    ["what a request says no-store for", [
      {
        at: 0,
        init: { headers: { "cache-control": "no-store" } },
        reply: fresh(60),
        told: null,
      },
      { at: 1, reply: two, body: "two" },
    ]],
    ["malformed Cache-Control", notKept(cc("max-age=60; public"))],
    ["Cache-Control with an open quote", notKept(cc('max-age=60, x="'))],
    ["no-cache without a validator", notKept(cc("no-cache"))],
    ["what has nothing but an s-maxage", notKept(cc("s-maxage=60"))],
  ],
  "reckons as RFC 9111 says:": [
    ["s-maxage is of no account", [
      { at: 0, reply: cc("s-maxage=1000, max-age=5") },
      { at: 4 },
      { at: 5, reply: two },
    ]],
    ["max-age that is no number is stale", notKept(cc("max-age=1.5"))],
    ["negative max-age is stale", notKept(cc("max-age=-1"))],
    ["two values of max-age are stale", notKept(cc("max-age=60, max-age=61"))],
    ["max-age twice alike is as once", kept(cc("max-age=60, max-age=60"))],
    ["max-age=0 is stale", notKept(cc("max-age=0"))],
    ["a max-age beyond all counting is long", [
      { at: 0, reply: cc(`max-age=${"9".repeat(40)}`) },
      { at: 1e9, body: "one" },
    ]],
    ["Expires: 0 is stale", notKept({ headers: { expires: "0" } })],
    [
      "Expires twice is stale",
      notKept({
        more: [["expires", date(60)], ["expires", date(70)]],
      }),
    ],
    ["Expires counts from Date", [
      { at: 0, reply: { headers: { date: date(-100), expires: date(-50) } } },
      { at: 1, reply: two, body: "two" },
    ]],
    ["Expires in old forms is known", [
      {
        at: 0,
        reply: { headers: { expires: "Thursday, 15-Jan-26 12:01:00 GMT" } },
      },
      { at: 30 },
      { at: 61, reply: two },
    ]],
    ["Age counts", [
      { at: 0, reply: fresh(60, { age: "50" }) },
      { at: 9, age: "59", told: "hit; ttl=1" },
      { at: 10, reply: two },
    ]],
    ["the first of two Ages counts", [
      { at: 0, reply: fresh(60, { age: "50, 1" }) },
      { at: 9, age: "59" },
      { at: 10, reply: two },
    ]],
    ["Age that is no number does not count", [
      { at: 0, reply: fresh(60, { age: "old" }) },
      { at: 9, age: "9" },
    ]],
    ["the time since Date counts", [
      { at: 0, reply: fresh(60, { date: date(-50) }) },
      { at: 9, age: "59" },
      { at: 10, reply: two },
    ]],
    ["a Date in the future does not", [
      { at: 0, reply: fresh(60, { date: date(50) }) },
      { at: 59, age: "59" },
      { at: 60, reply: two },
    ]],
    ["the time that the answer took counts", [
      { at: 0, reply: { ...fresh(60, { age: "10" }), takes: 20 } },
      { at: 20, age: "30" },
      { at: 49, age: "59" },
      { at: 50, reply: two },
    ]],
    ["a tenth of the time since Last-Modified", [
      {
        at: 0,
        reply: { headers: { "last-modified": date(-1000) }, body: "one" },
      },
      { at: 99, body: "one", told: "hit; ttl=1" },
      { at: 100, reply: { status: 304 }, body: "one" },
    ]],
    ["but a day at most", [
      { at: 0, reply: { headers: { "last-modified": date(-1e8) } } },
      { at: 86_399 },
      { at: 86_400, reply: two },
    ]],
    ["and nothing of what is public, or in the future", [
      {
        at: 0,
        reply: {
          status: 299,
          headers: { "last-modified": date(100), "cache-control": "public" },
        },
        status: 299,
      },
      { at: 1, reply: two },
    ]],
    ["a tenth as well of another status that is public", [
      {
        at: 0,
        reply: {
          status: 299,
          headers: { "last-modified": date(-100), "cache-control": "public" },
        },
        status: 299,
      },
      { at: 9, status: 299 },
      { at: 10, reply: two },
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
