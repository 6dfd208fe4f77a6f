import { describe, test } from "node:test";
import { assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { bodyOf, nodeServer } from "./_http_servers.ts";
import { FetchError } from "../http/errors.ts";
import { retry } from "../http/retry.ts";
import type { RetryOptions } from "../http/retry.ts";

/** Answers with each of these; 0 ends the connection. Then with 200. */
function failing(statuses: number[], fields: Record<string, string> = {}) {
  const seen: string[] = [];
  const server = nodeServer(async (request, response) => {
    seen.push(`${request.method} ${await bodyOf(request)}`);
    const status = statuses.shift() ?? 200;
    if (status === 0) {
      response.destroy();
      return;
    }
    response.writeHead(status, fields);
    response.end("done");
  });
  return { server, seen };
}

const use = (options?: RetryOptions) => ({
  use: [retry({ delay: 0, ...options })],
});

describe("retry", () => {
  test("sends again after a status, body and all", () => {
    const { server, seen } = failing([503, 429]);
    return withClient(server, async (client, { url }) => {
      const response = await client.put(url, { body: "x" });
      assertEquals([response.status, await response.text()], [200, "done"]);
      assertEquals(seen, ["PUT x", "PUT x", "PUT x"]);
    }, use());
  });

  test("gives the last answer, or error", () => {
    const { server, seen } = failing([
      ...[503, 503, 503],
      // The client itself tries a kept connection once more.
      ...[0, 0, 0, 0, 0, 0],
    ]);
    return withClient(server, async (client, { url }) => {
      assertEquals((await client.get(url)).status, 503);
      assertEquals(seen.length, 3);
      await assertRejects(() => client.get(url), FetchError);
    }, use());
  });

  test("sends again after an error that is retryable", () => {
    const { server, seen } = failing([0]);
    return withClient(server, async (client, { url }) => {
      assertEquals(await client.get(url).text(), "done");
      assertEquals(seen.length, 2);
    }, use());
  });

  test("leaves POST, other statuses and streams alone", () => {
    const { server, seen } = failing([503, 404, 503]);
    return withClient(server, async (client, { url }) => {
      assertEquals((await client.post(url, { body: "x" })).status, 503);
      assertEquals((await client.get(url)).status, 404);
      const body = new Blob(["hello"]).stream();
      assertEquals((await client.put(url, { body })).status, 503);
      assertEquals(seen, ["POST x", "GET ", "PUT hello"]);
    }, use());
  });

  test("waits as Retry-After says, but not longer than it is told to", () => {
    const { server, seen } = failing([503], { "retry-after": "61" });
    return withClient(server, async (client, { url }) => {
      assertEquals((await client.get(url)).status, 503);
      assertEquals(seen.length, 1);
    }, use());
  });

  test("takes a date in the past for now", () => {
    const { server } = failing([503], {
      "retry-after": "Wed, 09 Jun 2021 10:18:14 GMT",
    });
    return withClient(server, async (client, { url }) => {
      assertEquals((await client.get(url)).status, 200);
    }, use({ delay: 1e9, maxDelay: 1e9 }));
  });

  test("is ended by an abort while it waits", () => {
    const { server, seen } = failing([503], { "retry-after": "50" });
    const controller = new AbortController();
    const reason = new Error("Enough");
    return withClient(server, async (client, { url }) => {
      const error = await assertRejects(
        () => client.get(url, { signal: controller.signal }),
        Error,
      );
      assertEquals(error.message, reason.message);
      assertEquals(seen.length, 1);
    }, {
      use: [retry(), async (request, next) => {
        const response = await next(request);
        setTimeout(() => controller.abort(reason), 0);
        return response;
      }],
    });
  });

  test("keeps to its budget", () => {
    const { server, seen } = failing([503, 503, 503, 503]);
    return withClient(server, async (client, { url }) => {
      assertEquals((await client.get(url)).status, 503);
      assertEquals(seen.length, 2);
      assertEquals((await client.get(url)).status, 503);
      assertEquals(seen.length, 3);
    }, use({ attempts: 9, budget: { ratio: 0, burst: 1 } }));
  });

  test("refuses options that make no sense", () => {
    for (const options of [{ attempts: 0 }, { delay: -1 }, { maxDelay: NaN }]) {
      assertThrows(() => retry(options), RangeError);
    }
  });
});
