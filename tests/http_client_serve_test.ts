import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { deferred } from "./_client_support.ts";
import { nodeServer } from "./_http_servers.ts";
import { modes, until, within } from "./_support.ts";
import { Client } from "../http/client.ts";
import { FetchError } from "../http/errors.ts";
import { serve } from "../http/serve.ts";
import type { Handler } from "../http/types.ts";

const encoder = new TextEncoder();

for (const engine of modes) {
  const withBoth = async (
    handler: Handler,
    run: (client: Client) => Promise<unknown>,
  ) => {
    const server = await serve(handler, {
      hostname: "127.0.0.1",
      port: 0,
      ...(engine === "h2" ? { protocols: ["h2"] } : { engine }),
    });
    const client = new Client({
      base: server.url,
      ...(engine === "h2" && { protocols: ["h2"] }),
    });
    try {
      await within(run(client), 10_000, "The test");
    } finally {
      await client.close({ timeout: 0 });
      await server.close({ timeout: 0 });
    }
  };

  describe(`Client and serve() on ${engine}`, () => {
    test("understand each other in every method", () =>
      withBoth(
        async (request) => {
          const body = request.body === null ? null : await request.text();
          return Response.json({ method: request.method, body }, {
            headers: { "x-method": request.method },
          });
        },
        async (client) => {
          for (const method of ["GET", "DELETE", "OPTIONS"]) {
            assertEquals(
              (await client.fetch("/", { method }).json<{ method: string }>())
                .method,
              method,
            );
          }
          for (const method of ["POST", "PUT", "PATCH"]) {
            assertEquals(
              await client.fetch("/", { method, body: "hello" }).json(),
              { method, body: "hello" },
            );
          }
          const head = await client.head("/");
          assertEquals(head.headers.get("x-method"), "HEAD");
          assertEquals(client.stats().open, 1);
        },
      ));

    test("pass a body on as it comes", () => {
      const more = deferred();
      return withBoth(
        (request) => new Response(request.body),
        async (client) => {
          const body = (async function* () {
            yield "one";
            await more.promise;
            yield "two";
          })();
          const response = await client.post("/", { body });
          const reader = response.body!.getReader();
          const read = async () =>
            new TextDecoder().decode((await reader.read()).value);
          assertEquals(await read(), "one");
          more.resolve();
          assertEquals(await read(), "two");
          assertEquals((await reader.read()).done, true);
        },
      );
    });

    test("carry a million bytes both ways", () =>
      withBoth(
        async (request) => new Response(await request.bytes()),
        async (client) => {
          const bytes = new Uint8Array(1_000_000).map((_, i) => i & 0xff);
          for (const body of [bytes, new Blob([bytes]).stream()]) {
            assertEquals(await client.post("/", { body }).bytes(), bytes);
          }
          const form = new FormData();
          form.set("file", new Blob([bytes]), "a.bin");
          const back = await client.post("/", { body: form });
          assert((await back.bytes()).length > 1_000_000);
        },
      ));

    test("end a stream that the client cancels", () => {
      const cancelled = deferred();
      return withBoth(
        () =>
          new Response(
            new ReadableStream({
              async pull(controller) {
                await new Promise((resolve) => setTimeout(resolve, 1));
                controller.enqueue(encoder.encode("x".repeat(1000)));
              },
              cancel: () => cancelled.resolve(),
            }),
          ),
        async (client) => {
          const response = await client.get("/");
          const reader = response.body!.getReader();
          await reader.read();
          await reader.cancel();
          await cancelled.promise;
          // A stream of HTTP/2 ends without its connection.
          await until(() => client.stats().open === (engine === "h2" ? 1 : 0));
        },
      );
    });

    test("never take a broken body for a whole one", () =>
      withBoth(
        () => {
          let sent = false;
          return new Response(
            new ReadableStream({
              async pull(controller) {
                await new Promise((resolve) => setTimeout(resolve, 5));
                if (sent) throw new Error("Broken on purpose");
                sent = true;
                controller.enqueue(encoder.encode("hello"));
              },
            }),
          );
        },
        async (client) => {
          await assertRejects(() => client.get("/").text(), FetchError);
        },
      ));

    test("pass on what another client got", async () => {
      const origin = await nodeServer((_, response) => {
        response.setHeader("set-cookie", ["a=b", "c=d"]);
        response.statusCode = 201;
        response.write("hello ");
        response.end("world");
      });
      const inner = new Client();
      try {
        await withBoth(
          () => inner.get(origin.url),
          async (client) => {
            const response = await client.get("/");
            assertEquals(response.status, 201);
            assertEquals(response.headers.getSetCookie(), ["a=b", "c=d"]);
            assertEquals(await response.text(), "hello world");
          },
        );
      } finally {
        await inner.close({ timeout: 0 });
        await origin.close();
      }
    });

    test("hold a thousand requests at a time", () =>
      withBoth(
        (request) => new Response(new URL(request.url).search),
        async (client) => {
          await Promise.all(
            Array.from({ length: 1000 }, async (_, n) => {
              const text = await client.get("/", { query: { n } }).text();
              assertEquals(text, `?n=${n}`);
            }),
          );
          assert(client.stats().open <= 16);
        },
      ));
  });
}
