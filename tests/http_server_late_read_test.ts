/** Bodies that are read late, by half or not at all, and what becomes of them. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "./assert.ts";
import { rawClient, withServer } from "./_http_raw.ts";
import { until, within } from "./_support.ts";
import type { Mode } from "./_support.ts";

/** Both speak through our own codecs: the native servers keep to their own. */
const modes: readonly Mode[] = ["wire", "h2"];

function post(length: number, body: string): string {
  return `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n${body}`;
}

const NEXT = "GET /next HTTP/1.1\r\nhost: x\r\n\r\n";

const readers: Record<string, (request: Request) => Promise<unknown>> = {
  "text()": (request) => request.text(),
  "arrayBuffer()": (request) => request.arrayBuffer(),
  "a reader": async (request) => {
    const reader = request.body!.getReader();
    while (!(await reader.read()).done);
  },
  "a copy": (request) => new Request(request).text(),
  "a Response": (request) => new Response(request.body).text(),
};

for (const engine of modes) {
  for (const [name, read] of Object.entries(readers)) {
    test(`serve (${engine}): ${name} that begins when the request is answered rejects, it finds no empty body`, async () => {
      let begin = () => {};
      const begun = new Promise<void>((resolve) => begin = resolve);
      let outcome = "";
      await withServer(
        (request, context) => {
          const late = begun.then(() => read(request)).then(
            (value) => `read ${JSON.stringify(value)}`,
            (error) => String(error),
          ).then((said) => {
            outcome = said;
          });
          context.waitUntil(late);
          return new Response("answered");
        },
        { engine },
        async (server) => {
          const client = await rawClient(server);
          client.send(post(10, "hello"));
          await client.until("answered");
          begin();
          // By now it has had all the time to find nothing.
          await until(() => outcome !== "", "The outcome");
          assertMatch(outcome, /Cannot read the body|The response is over/);
          client.destroy();
        },
      );
    });

    test(`serve (${engine}): ${name} that has begun before goes on behind the answer`, async () => {
      let outcome = "";
      await withServer(
        (request, context) => {
          const reading = read(request).then(
            () => "whole",
            (error) => String(error),
          ).then((said) => {
            outcome = said;
          });
          context.waitUntil(reading);
          return new Response("answered");
        },
        { engine },
        async (server) => {
          const client = await rawClient(server);
          client.send(post(10, "hello"));
          await client.until("answered");
          assertEquals(outcome, "");
          client.send("world");
          await until(() => outcome !== "", "The outcome");
          assertEquals(outcome, "whole");
          client.destroy();
        },
      );
    });
  }
}

test("serve() goes on to the next request when a handler has read a part of a body and let go", async () => {
  const size = 200_000;
  await withServer(
    async (request) => {
      if (request.body === null) return new Response("the next");
      const reader = request.body.getReader();
      await reader.read();
      reader.releaseLock();
      return new Response("of a part");
    },
    { timeouts: { body: 0, idle: 0 } },
    async (server) => {
      const client = await rawClient(server);
      client.send(post(size, "x".repeat(size)) + NEXT);
      await client.until("the next");
      assert(!client.text.includes("connection: close"));
      client.destroy();
    },
  );
});

test("serve() says that it closes when more of such a body is to come than it reads on", async () => {
  await withServer(
    async (request) => {
      const reader = request.body!.getReader();
      await reader.read();
      reader.releaseLock();
      return new Response("of a part");
    },
    { timeouts: { body: 0, idle: 0 } },
    async (server) => {
      const client = await rawClient(server);
      client.send(post(10_000_000, "x".repeat(1000)));
      const text = await within(client.untilEnd());
      assertMatch(text, /connection: close\r\n/);
      client.destroy();
    },
  );
});
