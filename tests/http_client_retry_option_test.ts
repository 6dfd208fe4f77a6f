import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { within } from "./_support.ts";
import { Client, fake, FetchError, StatusError } from "../http/mod.ts";
import { NetError } from "../streams/errors.ts";
import type { ClientOptions, RetryOptions } from "../http/mod.ts";

/** Answers with each of these, 0: as if the connection broke; then with 200. */
async function failing(
  statuses: number[],
  options: ClientOptions,
  run: (client: Client, sent: () => number) => Promise<unknown>,
  headers: HeadersInit = {},
): Promise<void> {
  const transport = fake({
    "*": () => {
      const status = statuses.shift() ?? 200;
      if (status === 0) {
        throw new NetError("Broken", { code: "ECONNRESET", retryable: true });
      }
      return new Response("done", { status, headers });
    },
  });
  const client = new Client({ base: "http://a.test", ...options, transport });
  try {
    const sent = () => {
      const { length } = transport.requests;
      transport.clear();
      return length;
    };
    await within(run(client, sent), 10_000, "The test");
  } finally {
    await client.close({ timeout: 0 });
  }
}

const soon = (options: RetryOptions = {}) => ({
  retry: { delay: 0, ...options },
});

describe("retry of a client", () => {
  test("sends again, as often as it says", () =>
    failing([503, 0, 503, 503, 503, 503], soon(), async (client, sent) => {
      assertEquals(await client.put("/", { body: "x" }).text(), "done");
      assertEquals(sent(), 3);
      const error = await assertRejects(
        () => client.get("/", { throwOnStatus: true }),
        StatusError,
      );
      assertEquals(error.response.status, 503);
      assertEquals(sent(), 3);
    }));

  test("takes a number for the times that it is sent again", () =>
    failing([0, 0], { retry: 1 }, async (client, sent) => {
      await assertRejects(() => client.get("/"), FetchError, "Broken");
      assertEquals(sent(), 2);
      assertEquals(await client.get("/", { retry: 0 }).text(), "done");
    }));

  test("may be said for a request, and not", () =>
    failing([503, 503, 503, 503, 503], {}, async (client, sent) => {
      assertEquals((await client.get("/")).status, 503);
      assertEquals(sent(), 1);
      assertEquals((await client.get("/", { retry: false })).status, 503);
      assertEquals(sent(), 1);
      assertEquals((await client.get("/", { retry: 1 })).status, 503);
      assertEquals(sent(), 2);
      assertEquals(
        (await client.post("/", {
          json: 1,
          retry: { methods: ["POST"], delay: 0 },
        })).status,
        200,
      );
      assertEquals(sent(), 2);
    }));

  test("is that of the client for a request with true", () =>
    failing(
      [503, 503, 503, 503],
      soon({ attempts: 5 }),
      async (client, sent) => {
        assertEquals((await client.get("/", { retry: true })).status, 200);
        assertEquals(sent(), 5);
      },
    ));

  test("is around the middleware", () => {
    let times = 0;
    return failing([503], {
      ...soon(),
      use: [(request, next) => {
        times++;
        return next(request);
      }],
    }, async (client) => {
      assertEquals((await client.get("/")).status, 200);
      assertEquals(times, 2);
    });
  });

  test("gives each attempt its whole time, a signal one for all", async () => {
    const stop = new AbortController();
    const signals: AbortSignal[] = [];
    const client = new Client({
      transport: (_request, { signal }) => {
        signals.push(signal);
        if (signals.length === 3) return new Response("done");
        if (signals.length === 5) stop.abort(new Error("enough"));
        return new Promise<Response>(() => {});
      },
      ...soon(),
    });
    try {
      const timeout = { total: 300 };
      const start = performance.now();
      const text = client.get("http://a.test/", { timeout }).text();
      assertEquals(await within(text), "done");
      // Two that took all of it, and one that had it anew.
      assert(performance.now() - start > 590);
      assertEquals(signals.map(({ aborted }) => aborted), [true, true, false]);
      const error = await assertRejects(() =>
        within(
          client.get("http://a.test/", { timeout, signal: stop.signal }).text(),
        )
      );
      assertEquals((error as Error).message, "enough");
      assertEquals(signals.length, 5);
    } finally {
      await client.close({ timeout: 0 });
    }
  });

  test("has one budget for all requests", () =>
    failing(
      Array(20).fill(503),
      soon({ attempts: 9, budget: { ratio: 0, burst: 3 } }),
      async (client, sent) => {
        await client.get("/");
        assertEquals(sent(), 4);
        await client.get("/", { retry: { attempts: 4, delay: 0 } });
        await client.get("/", { retry: 3 });
        assertEquals(sent(), 2);
        const own = { budget: { ratio: 0, burst: 1 }, delay: 0 };
        await client.get("/", { retry: own });
        await client.get("/", { retry: own });
        assertEquals(sent(), 3);
      },
    ));

  test("takes dates of Retry-After by the standard only", async () => {
    const bad = new Date(Date.now() + 1e9).toString();
    await failing([503], soon(), async (client) => {
      assertEquals((await client.get("/")).status, 200);
    }, { "retry-after": bad });
    const later = new Date(Date.now() + 1e9).toUTCString();
    await failing([503], soon(), async (client) => {
      assertEquals((await client.get("/")).status, 503);
    }, { "retry-after": later });
    const past = "Sunday, 06-Nov-94 08:49:37 GMT";
    await failing(
      [503],
      soon({ delay: 1e9, maxDelay: 1e9 }),
      async (client) => {
        assertEquals((await client.get("/")).status, 200);
      },
      { "retry-after": past },
    );
  });

  test("refuses what makes no sense", async () => {
    for (const retry of [-1, NaN, { attempts: 0 }, { delay: -1 }]) {
      assertThrows(() => new Client({ retry }), RangeError, "Cannot retry");
    }
    for (const retry of ["yes", null, { times: 3 }]) {
      const given = retry as unknown as number;
      assertThrows(() => new Client({ retry: given }), TypeError, "retry");
    }
    await failing([], {}, async (client, sent) => {
      await assertRejects(() => client.get("/", { retry: -1 }), RangeError);
      assertEquals(sent(), 0);
      assert((await client.get("/", { retry: true })).ok);
    });
  });
});
