import { describe, test } from "node:test";
import { assertEquals } from "./assert.ts";
import { ask, Crowd } from "./_crowd.ts";
import { withServer } from "./_http_raw.ts";
import { fleeting, idle, pipelined, slowloris } from "./soak/_http_crowds.ts";
import { engines, until, within } from "./_support.ts";
import { serve } from "../http/serve.ts";

const timeout = 120_000;

// The soak test does the same with many more.
describe("http.serve and a crowd", () => {
  for (const engine of engines) {
    test(`many idle connections do not keep busy ones waiting, ${engine}`, {
      timeout,
    }, async () => {
      await idle(engine, { idle: 500, busy: 100, times: 10 });
    });

    test(
      `requests of a client that reads no answers are not stored, ${engine}`,
      {
        timeout,
      },
      async () => {
        await pipelined(engine, { connections: 2, times: 5000 });
      },
    );

    test(`connections that are reset leave nothing, ${engine}`, {
      timeout,
    }, async () => {
      await fleeting(engine, { times: 300 });
    });

    test(`close() lets a thousand requests in flight finish, ${engine}`, {
      timeout,
    }, async () => {
      let called = 0;
      let open!: () => void;
      const opened = new Promise<void>((resolve) => open = resolve);
      const server = await serve(async () => {
        called++;
        await opened;
        return new Response("fine");
      }, { hostname: "127.0.0.1", port: 0, engine });
      const crowd = new Crowd(Number(new URL(server.url).port));
      try {
        await within(crowd.open(1000, ask("/")), 60_000, "The connections");
        await until(() => called === 1000, "All at work", 60_000);
        const closed = server.close({ timeout: 60_000 });
        open();
        await within(closed, 60_000, "close()");
        await crowd.answered();
        assertEquals(crowd.answers, 1000);
      } finally {
        crowd.leave();
        await within(server.close({ timeout: 0 }));
      }
    });
  }

  test("clients with slow requests are cut, and nobody else suffers", {
    timeout,
  }, async () => {
    const timeouts = { header: 500, body: 500 };
    await slowloris(["head", "body"], { slow: 200, timeouts });
  });

  test("clients that do not read are cut, and nobody else suffers", {
    timeout,
  }, async () => {
    const timeouts = { idle: 1500 };
    await slowloris(["whole", "endless"], { slow: 20, timeouts });
  });

  test("requests that came before the answers could be read are answered", async () => {
    // More than fits in the kernel, so that it stops in the middle.
    const size = 100_000;
    const times = 150;
    await withServer(
      () => new Response("x".repeat(size)),
      {},
      async (server) => {
        const crowd = new Crowd(Number(new URL(server.url).port));
        try {
          await crowd.open(1, "", true);
          crowd.send(ask("/").repeat(times));
          // It has answered some, and then no more.
          let sent = -1;
          await until(
            async () => {
              const before = sent;
              await new Promise((resolve) => setTimeout(resolve, 100));
              sent = server.stats().bytesWritten;
              return sent > size && sent === before;
            },
            "The server's pause",
            10_000,
          );
          assertEquals(sent < size * times, true, `${sent}`);
          // A half-closed connection still wants them.
          crowd.end();
          assertEquals(await crowd.drain() > size * times, true);
        } finally {
          crowd.leave();
        }
      },
    );
  });
});
