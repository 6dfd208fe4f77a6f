import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { answer, scripted } from "./_http_servers.ts";
import type { Exchange, TestServer } from "./_http_servers.ts";
import { until, within } from "./_support.ts";
import { Client } from "../http/client.ts";
import { FetchError } from "../http/errors.ts";
import { PoolError } from "../streams/errors.ts";

/** Holds every request until it is told to answer. */
function holding(): { server: Promise<TestServer>; held: Exchange[] } {
  const held: Exchange[] = [];
  return { server: scripted((exchange) => held.push(exchange)), held };
}

function path({ head }: Exchange): string {
  return head.slice(4, head.indexOf(" HTTP"));
}

describe("the pool", () => {
  test("uses a connection again and again", () =>
    withClient(
      scripted(({ socket, request }) => socket.write(answer(`${request}`))),
      async (client, server) => {
        for (let i = 1; i <= 50; i++) {
          assertEquals(await client.get(server.url).text(), `${i}`);
        }
        assertEquals(server.accepted, 1);
      },
    ));

  test("holds perHost, and serves who waits in order", () => {
    const { server, held } = holding();
    return withClient(server, async (client, { url, ...there }) => {
      const order: number[] = [];
      const all = Array.from(
        { length: 8 },
        (_, i) => client.get(`${url}${i}`).text().then(() => order.push(i)),
      );
      await until(() => held.length === 2);
      assertEquals(client.stats().open, 2);
      assertEquals(client.stats().queued, 6);
      assertEquals(client.stats().hosts[url.slice(0, -1)], {
        open: 2,
        idle: 0,
        queued: 6,
      });
      for (let i = 0; i < 8; i++) {
        await until(() => held.length > i);
        held[i].socket.write(answer(path(held[i])));
      }
      await Promise.all(all);
      assertEquals(order, [0, 1, 2, 3, 4, 5, 6, 7]);
      assertEquals(held.map(path), order.map((i) => `/${i}`));
      assert(there.accepted <= 2);
    }, { pool: { perHost: 2 } });
  });

  test("holds total, at the cost of who is idle elsewhere", async () => {
    const servers = await Promise.all(
      [1, 2, 3].map(() => scripted(({ socket }) => socket.write(answer("hi")))),
    );
    const client = new Client({ pool: { total: 2 } });
    try {
      for (let i = 0; i < 9; i++) {
        await within(client.get(servers[i % 3].url).text());
        assert(client.stats().open <= 2);
      }
      await within(Promise.all(
        Array.from(
          { length: 60 },
          (_, i) => client.get(servers[i % 3].url).text(),
        ),
      ));
      assert(client.stats().open <= 2);
      assertEquals(client.stats().queued, 0);
    } finally {
      await client.close({ timeout: 0 });
      for (const server of servers) await server.close();
    }
  });

  test("refuses who comes when the queue is full", () => {
    const { server, held } = holding();
    return withClient(server, async (client, { url }) => {
      const first = client.get(url);
      await until(() => held.length === 1);
      const second = client.get(url);
      const error = await assertRejects(() => client.get(url), FetchError);
      assertInstanceOf(error.cause, PoolError);
      assertEquals(error.code, "ERR_POOL_QUEUE");
      assertEquals(error.phase, "pool");
      held[0].socket.write(answer("a"));
      await (await first).text();
      await until(() => held.length === 2);
      held[1].socket.write(answer("b"));
      assertEquals(await (await second).text(), "b");
    }, { pool: { perHost: 1, queue: 1 } });
  });

  test("ends who is idle too long", () =>
    withClient(
      scripted(({ socket }) => socket.write(answer("hi"))),
      async (client, server) => {
        await Promise.all([1, 2, 3].map(() => client.get(server.url).text()));
        await until(() => client.stats().open === 0);
        await until(() => server.open === 0);
        await client.get(server.url).text();
      },
      { pool: { idleTimeout: 30 } },
    ));

  test("goes by what the server says of keeping", () =>
    withClient(
      scripted(({ socket }) =>
        socket.write(answer("hi", "Keep-Alive: timeout=1, max=5\r\n"))
      ),
      async (client, server) => {
        await client.get(server.url).text();
        await until(() => client.stats().open === 0);
        await client.get(server.url).text();
        assertEquals(server.accepted, 2);
      },
    ));

  test("gives a free connection to who waits, and keeps the new one", () => {
    const { server, held } = holding();
    return withClient(server, async (client, { url }) => {
      const first = client.get(url).text();
      await until(() => held.length === 1);
      const second = client.get(url).text();
      await until(() => held.length === 2);
      held[0].socket.write(answer("a"));
      held[1].socket.write(answer("b"));
      assertEquals(await Promise.all([first, second]), ["a", "b"]);
      assertEquals(client.stats().idle, 2);
    });
  });

  test("fails each of those whom nobody answers", async () => {
    const server = await scripted(() => {});
    await server.close();
    const client = new Client({ pool: { perHost: 2 } });
    const results = await within(Promise.allSettled(
      Array.from({ length: 7 }, () => client.get(server.url)),
    ));
    for (const result of results) {
      assertEquals(result.status, "rejected");
      const { reason } = result as PromiseRejectedResult;
      assertInstanceOf(reason, FetchError);
      assertEquals(reason.code, "ECONNREFUSED");
      assertEquals(reason.phase, "connect");
      assertEquals(reason.retryable, true);
    }
    assertEquals(client.stats(), { open: 0, idle: 0, queued: 0, hosts: {} });
    await client.close();
  });

  test("says what it cannot look up", async () => {
    const client = new Client();
    const error = await assertRejects(
      () => client.get("http://no-such-host.invalid/"),
      FetchError,
    );
    assert(["ENOTFOUND", "EAI_AGAIN"].includes(error.code), error.code);
    await client.close();
  });

  test("frees the connection of a body that is cancelled", () =>
    withClient(
      scripted(({ socket, head }) => {
        const rest = head.includes("/long") ? 10_000_000 : 10;
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${rest}\r\n\r\n`);
        if (rest === 10) setTimeout(() => socket.write("x".repeat(10)), 10);
        else socket.write("x".repeat(1000));
      }),
      async (client, server) => {
        const short = await client.get(server.url);
        await short.body!.cancel();
        await until(() => client.stats().idle === 1);
        const long = await client.get(`${server.url}long`);
        await long.body!.cancel("enough");
        await until(() => client.stats().open === 0);
        await until(() => server.open === 0);
        assertEquals(server.accepted, 1);
      },
    ));

  test("frees the connection of a short body that nobody reads", () =>
    withClient(
      scripted(({ socket }) => socket.write(answer("x".repeat(10_000)))),
      async (client, server) => {
        const response = await client.get(server.url);
        await until(() => client.stats().idle === 1);
        assertEquals((await response.text()).length, 10_000);
      },
    ));

  test("is closed by asyncDispose", async () => {
    const server = await scripted(({ socket }) => socket.write(answer("hi")));
    const client = new Client();
    await client.get(server.url).text();
    await client[Symbol.asyncDispose]();
    assertEquals(client.stats().open, 0);
    await until(() => server.open === 0);
    await server.close();
  });

  test("settles every promise, whatever happens", async () => {
    let n = 0;
    const server = await scripted(({ socket, until }) => {
      switch (n++ % 7) {
        case 0:
          return socket.destroy();
        case 1:
          return socket.resetAndDestroy();
        case 2:
          return socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
        case 3:
          return socket.end(answer("x".repeat(100)).slice(0, -9));
        case 4:
          return until("never");
        default:
          return socket.write(answer("x".repeat(20_000)));
      }
    });
    const client = new Client({
      pool: { perHost: 16 },
      timeout: { response: 60, idle: 60, total: 400 },
    });
    let listening = 0;
    const run = async (i: number) => {
      const controller = new AbortController();
      const { signal } = controller;
      const { addEventListener, removeEventListener } = signal;
      signal.addEventListener = (...args: unknown[]) => {
        listening++;
        return Reflect.apply(addEventListener, signal, args);
      };
      signal.removeEventListener = (...args: unknown[]) => {
        listening--;
        return Reflect.apply(removeEventListener, signal, args);
      };
      const timer = i % 5 === 0
        ? setTimeout(() => controller.abort(), i % 50)
        : undefined;
      try {
        const response = await client.get(server.url, { signal });
        if (i % 3 === 0) await response.body!.cancel();
        else await response.text();
      } catch {
        // It may well fail; it has to end.
      } finally {
        clearTimeout(timer);
      }
    };
    for (let round = 0; round < 5; round++) {
      await within(
        Promise.all(Array.from({ length: 100 }, (_, i) => run(i))),
        20_000,
      );
    }
    await until(() => client.stats().open === client.stats().idle);
    assertEquals(client.stats().queued, 0);
    assertEquals(listening, 0);
    await client.close();
    await until(() => server.open === 0);
    await server.close();
  });
});
