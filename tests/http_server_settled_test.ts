/** Promises of a handler that are settled when it gives them back. */
import { test } from "node:test";
import { assertEquals } from "./assert.ts";
import { bodyOf, exchange, get, statusOf, withServer } from "./_http_raw.ts";
import { engines } from "./_support.ts";
import type { Handler } from "../http/types.ts";

for (const engine of engines) {
  test(`serve (${engine}) sends what a settled promise holds`, async () => {
    const handlers: Handler[] = [
      () => Promise.resolve(new Response("fine")),
      // deno-lint-ignore require-await
      async () => new Response("fine"),
      async () => await Promise.resolve(new Response("fine")),
    ];
    for (const handler of handlers) {
      await withServer(handler, { engine }, async (server) => {
        const answer = await exchange(server, get());
        assertEquals([statusOf(answer), bodyOf(answer)], [200, "fine"]);
      });
    }
  });

  test(`serve (${engine}) fails by a promise that is rejected already`, async () => {
    const error = new Response("thrown, not given");
    const handlers: Handler[] = [
      () => Promise.reject(error),
      // deno-lint-ignore require-await
      async () => {
        throw error;
      },
    ];
    for (const handler of handlers) {
      const told: [unknown, string][] = [];
      await withServer(handler, {
        engine,
        onError: (error, { method }) => {
          told.push([error, method]);
          return new Response("told", { status: 502 });
        },
      }, async (server) => {
        const answer = await exchange(server, get());
        assertEquals([statusOf(answer), bodyOf(answer)], [502, "told"]);
        assertEquals(told, [[error, "GET"]]);
      });
      await withServer(handler, { engine }, async (server) => {
        const answer = await exchange(server, get());
        assertEquals([statusOf(answer), bodyOf(answer)], [500, ""]);
      });
    }
  });

  test(`serve (${engine}) refuses a promise that holds no response`, async () => {
    const handler = (() => Promise.resolve("text")) as unknown as Handler;
    await withServer(handler, { engine }, async (server) => {
      const answer = await exchange(server, get());
      assertEquals([statusOf(answer), bodyOf(answer)], [500, ""]);
    });
  });
}
