import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { deferred, withClient } from "./_client_support.ts";
import { answer, scripted } from "./_http_servers.ts";
import type { TestServer } from "./_http_servers.ts";
import { until, within } from "./_support.ts";
import { Client } from "../http/client.ts";
import { keepAliveTime } from "../http/_client_keep_alive.ts";

/** Answers at once. */
const quick = (fields = "") =>
  scripted(({ socket, connection }) => {
    socket.write(answer(`${connection}`, fields));
  });

/** Runs a test with servers on as many ports, and ends them all. */
async function withServers(
  count: number,
  run: (servers: TestServer[]) => Promise<unknown>,
): Promise<void> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => quick()),
  );
  try {
    await within(run(servers), 20_000, "The test");
  } finally {
    for (const server of servers) await server.close();
  }
}

describe("pool.total", () => {
  test("is shared by origins that all have much to send", () =>
    withServers(3, async (servers) => {
      for (const total of [1, 2, 3, 4, 7]) {
        const client = new Client({ pool: { total, perHost: 4 } });
        const order: number[] = [];
        // All of the first one's requests wait before any other's.
        const all = servers.flatMap(({ url }, which) =>
          Array.from(
            { length: 20 },
            () => client.get(url).text().then(() => order.push(which)),
          )
        );
        let most = 0;
        const watch = setInterval(() => {
          most = Math.max(most, client.stats().open);
        }, 1);
        await Promise.all(all);
        clearInterval(watch);
        assertEquals(order.length, 60);
        assert(most <= total);
        if (total > 2) {
          // Nobody was served only after another was done.
          const last = (which: number) => order.lastIndexOf(which);
          for (const which of [1, 2]) {
            assert(order.indexOf(which) < last(0), `${total}: ${order}`);
          }
        }
        await client.close({ timeout: 0 });
      }
    }));

  test("lets an origin in that comes late, however much another sends", () =>
    withServers(2, async ([busy, late]) => {
      for (const total of [1, 2]) {
        const client = new Client({ pool: { total } });
        let stop = false;
        let sent = 0;
        const stream = async () => {
          while (!stop) {
            await client.get(busy.url).text();
            sent++;
          }
        };
        const streams = Array.from({ length: 8 }, stream);
        await until(() => sent > 20);
        for (let i = 0; i < 3; i++) {
          assert(Number(await client.get(late.url).text()) > 0);
        }
        stop = true;
        await Promise.all(streams);
        await client.close({ timeout: 0 });
      }
    }));

  test("passes a place on when who wanted it gave up", () =>
    withServers(2, async ([one, two]) => {
      const client = new Client({ pool: { total: 1 } });
      const held = deferred();
      const server = await scripted(async ({ socket }) => {
        await held.promise;
        socket.write(answer("held"));
      });
      const first = client.get(server.url).text();
      await until(() => server.accepted === 1);
      const controller = new AbortController();
      const second = client.get(one.url, { signal: controller.signal });
      const third = client.get(two.url).text();
      controller.abort("enough");
      assertEquals(await second.catch((reason) => reason), "enough");
      held.resolve();
      assertEquals(await first, "held");
      assertEquals(await third, "1");
      assertEquals(one.accepted, 0);
      await client.close({ timeout: 0 });
      await server.close();
    }));
});

describe("pool.maxLifetime", () => {
  test("ends a connection that is unused", () =>
    withClient(quick(), async (client, server) => {
      await client.get(server.url).text();
      await until(() => client.stats().open === 0);
    }, { pool: { maxLifetime: 50 } }));

  test("lets a request finish, and takes another connection for the next", () => {
    const held = deferred();
    const began = deferred();
    const server = scripted(async ({ socket, head, connection }) => {
      if (head.includes("/held")) {
        began.resolve();
        await held.promise;
      }
      socket.write(answer(`${connection}`));
    });
    return withClient(server, async (client, { url }) => {
      const pending = client.get(`${url}held`).text();
      await began.promise;
      await new Promise((resolve) => setTimeout(resolve, 100));
      held.resolve();
      assertEquals(await pending, "1");
      assertEquals(await client.get(url).text(), "2");
    }, { pool: { maxLifetime: 50 } });
  });

  test("lets young ones be used again", () =>
    withClient(quick(), async (client, { url }) => {
      for (let i = 0; i < 5; i++) {
        assertEquals(await client.get(url).text(), "1");
      }
    }, { pool: { maxLifetime: 60_000 } }));

  test("refuses what is no time", async () => {
    for (const maxLifetime of [-1, NaN]) {
      await assertRejects(
        // deno-lint-ignore require-await
        async () => new Client({ pool: { maxLifetime } }),
        RangeError,
        "pool.maxLifetime",
      );
    }
  });
});

describe("Keep-Alive", () => {
  test("says how long a connection is kept, less a margin", () => {
    const times: [string, number | undefined][] = [
      ["timeout=5", 4000],
      ["timeout=60, max=100", 59_000],
      ["max=100, Timeout=5", 4000],
      ["max=100 ,timeout = 5", 4000],
      ['timeout="5"', 4000],
      ["timeout=2", 1000],
      ["timeout=1", 500],
      ["timeout=0", 0],
      ["timeout=999999999", 999_999_998_000],
      ["timeout=9999999999", undefined],
      ["timeout=-5", undefined],
      ["timeout=5s", undefined],
      ["timeout=", undefined],
      ["xtimeout=5", undefined],
      ["max=5", undefined],
      ["", undefined],
    ];
    for (const [value, ms] of times) assertEquals(keepAliveTime(value), ms);
  });

  test("makes a client leave before its server does", () =>
    withClient(quick("Keep-Alive: timeout=1\r\n"), async (client, server) => {
      assertEquals(await client.get(server.url).text(), "1");
      await until(() => client.stats().open === 0);
    }));

  test("is heeded where no timer could fire in time", () =>
    withClient(quick("Keep-Alive: timeout=1\r\n"), async (client, { url }) => {
      assertEquals(await client.get(url).text(), "1");
      const end = performance.now() + 600;
      while (performance.now() < end) { /* busy */ }
      // Not even POST is sent on it: it could not be sent again.
      assertEquals(await client.post(url).text(), "2");
    }));

  test("never makes it longer than idleTimeout", () =>
    withClient(quick("Keep-Alive: timeout=60\r\n"), async (client, server) => {
      await client.get(server.url).text();
      await until(() => client.stats().open === 0);
    }, { pool: { idleTimeout: 50 } }));
});
