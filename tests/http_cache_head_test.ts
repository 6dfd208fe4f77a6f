import { describe, test } from "node:test";
import { date, play } from "./_cache_support.ts";
import type { Reply, Step } from "./_cache_support.ts";

const HEAD = { method: "HEAD" };

const kept = (more: Record<string, string> = {}): Reply => ({
  headers: { "cache-control": "max-age=5", ...more },
  body: "one",
});
/** What a HEAD is told, ten seconds after `kept` was fresh. */
const now = (more: Record<string, string> = {}): Reply => ({
  headers: { "cache-control": "max-age=60", ...more },
});
const two: Reply = { headers: { "cache-control": "max-age=60" }, body: "two" };

/** It was stored, then a HEAD said this, and so it is given on. */
const right = (first: Reply, head: Reply, last: Partial<Step> = {}): Step[] => [
  { at: 0, reply: first, body: "one" },
  { at: 10, init: HEAD, reply: head, body: "" },
  { at: 20, body: "one", age: "10", told: "hit; ttl=50", ...last },
];
const wrong = (first: Reply, head: Reply): Step[] => [
  { at: 0, reply: first, body: "one" },
  { at: 10, init: HEAD, reply: head, body: "" },
  { at: 11, reply: two, body: "two", sent: { "if-none-match": null } },
];

const A = { etag: '"a"' };
const M = { "last-modified": date(-1000) };

const TABLE: Record<string, [name: string, steps: Step[]][]> = {
  "makes fresh": [
    ["what has the same tag", right(kept(A), now(A))],
    [
      "what has the same tag, weak once",
      right(kept(A), now({ etag: 'W/"a"' })),
    ],
    ["what has the same date", right(kept(M), now(M))],
    [
      "what has the same length",
      right(
        kept({ "content-length": "3" }),
        now({ "content-length": "3" }),
      ),
    ],
    [
      "what came without a length that is the same",
      right(kept(), now({ "content-length": "3" })),
    ],
    [
      "what was stored coded, by its tag",
      right(
        kept({ ...A, "content-encoding": "x-none" }),
        now({ ...A, "content-length": "999" }),
      ),
    ],
    ["with a Vary that came later", [
      { at: 0, reply: kept({ ...A, vary: "x-a" }), body: "one" },
      { at: 10, init: HEAD, reply: now({ ...A, vary: "x-a, x-b" }), body: "" },
      { at: 11, body: "one", age: "1" },
      { at: 12, init: { headers: { "x-b": "1" } }, reply: two, body: "two" },
    ]],
    [
      "its fields, but those of its body",
      right(
        kept({ ...A, "x-a": "1", "x-b": "2" }),
        now({ ...A, "x-a": "3", "content-encoding": "x-none" }),
        { headers: { "x-a": "3", "x-b": "2", "content-encoding": null } },
      ),
    ],
  ],
  "forgets": [
    ["what has another tag", wrong(kept(A), now({ etag: '"b"' }))],
    ["what has a tag by now", wrong(kept(M), now({ ...M, ...A }))],
    [
      "what has another date",
      wrong(
        kept({ ...A, ...M }),
        now({ ...A, "last-modified": date(-999) }),
      ),
    ],
    [
      "what has another length",
      wrong(
        kept({ ...A, "content-length": "3" }),
        now({ ...A, "content-length": "4" }),
      ),
    ],
    [
      "what must not be stored any more",
      wrong(
        kept(A),
        { headers: { ...A, "cache-control": "no-store" } },
      ),
    ],
    ["what is not found no more", [
      { at: 0, reply: { ...kept(A), status: 404 }, status: 404 },
      { at: 10, init: HEAD, reply: now(A) },
      { at: 11, reply: two, body: "two" },
    ]],
  ],
  "leaves alone": [
    ["what it says nothing of", [
      { at: 0, reply: kept(A) },
      { at: 10, init: HEAD, reply: now() },
      {
        at: 11,
        reply: { status: 304, headers: A },
        sent: { "if-none-match": '"a"' },
        body: "one",
      },
    ]],
    ["what is there when it fails", [
      { at: 0, reply: kept(A) },
      { at: 10, init: HEAD, reply: { ...now(), status: 404 }, status: 404 },
      { at: 10, init: HEAD, reply: { ...now(), status: 500 }, status: 500 },
      { at: 11, reply: { status: 304 }, body: "one" },
    ]],
    ["another variant, and that of another user", [
      {
        at: 0,
        init: { headers: { "x-a": "1" } },
        reply: kept({ ...A, vary: "x-a" }),
      },
      {
        at: 0,
        init: { headers: { "x-a": "1" }, auth: { bearer: "x" } },
        reply: kept({ ...A, vary: "x-a" }),
      },
      {
        at: 10,
        init: { headers: { "x-a": "2" }, ...HEAD },
        reply: now({ etag: '"b"', vary: "x-a" }),
      },
      {
        at: 11,
        init: { headers: { "x-a": "1" } },
        reply: { status: 304 },
        body: "one",
      },
      {
        at: 11,
        init: { headers: { "x-a": "1" }, auth: { bearer: "x" } },
        reply: { status: 304 },
        body: "one",
      },
    ]],
  ],
};

for (const [what, cases] of Object.entries(TABLE)) {
  describe(`cache() when a HEAD is answered ${what}`, () => {
    for (const [name, steps] of cases) test(name, () => play(steps));
  });
}
