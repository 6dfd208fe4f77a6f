/** Answers without content: to HEAD, and those that reset a form. */
import { test } from "node:test";
import { assertEquals, assertMatch } from "./assert.ts";
import { exchange, get, rawClient, withServer } from "./_http_raw.ts";
import { until } from "./_support.ts";
import type { Mode } from "./_support.ts";
import { Response as LightResponse } from "../http/response.ts";

const modes: readonly Mode[] = ["wire", "h2"];

/** Answers the request, then a GET of the same. */
function pair(method: string): string {
  return `${method} / HTTP/1.1\r\nhost: x\r\n\r\n${get()}`;
}

function lengths(text: string): (string | undefined)[] {
  return text.split("HTTP/1.1 ").slice(1).map((answer) =>
    /content-length: (\d+)/.exec(answer.slice(0, answer.indexOf("\r\n\r\n")))
      ?.[1]
  );
}

const bodies: Record<string, () => Response> = {
  "a text": () => new Response("hello"),
  "a light text": () => new LightResponse("hello"),
  "bytes": () => new Response(new Uint8Array(5)),
  "a stream of what is there": () =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new Uint8Array(5));
          controller.close();
        },
      }),
    ),
};

for (const engine of modes) {
  for (const [name, make] of Object.entries(bodies)) {
    test(`serve (${engine}) tells HEAD how long ${name} is, as it does GET`, async () => {
      await withServer(make, { engine }, async (server) => {
        const client = await rawClient(server);
        client.send("HEAD / HTTP/1.1\r\nhost: x\r\n\r\n");
        await client.until("\r\n\r\n");
        assertMatch(client.text, /content-length: 5\r\n/);
        assertEquals(client.text.indexOf("\r\n\r\n"), client.text.length - 4);
        client.destroy();
      });
    });
  }

  test(`serve (${engine}) cancels a stream that HEAD is not to wait for`, async () => {
    let cancelled = 0;
    const endless = () =>
      new Response(
        new ReadableStream({
          pull: () => new Promise(() => {}),
          cancel() {
            cancelled++;
          },
        }),
      );
    await withServer(endless, { engine }, async (server) => {
      const client = await rawClient(server);
      client.send("HEAD / HTTP/1.1\r\nhost: x\r\n\r\n");
      await client.until("\r\n\r\n");
      await until(() => cancelled === 1, "cancel");
      assertEquals(/content-length|transfer-encoding/.test(client.text), false);
      client.destroy();
    });
  });

  test(`serve (${engine}) sends no content with 205, and says so`, async () => {
    let cancelled = 0;
    // As the constructors allow it that do not look.
    const handler = () =>
      ({
        [Symbol.toStringTag]: "Response",
        status: 205,
        statusText: "",
        headers: new Headers({ "content-length": "5" }),
        body: new ReadableStream({
          cancel() {
            cancelled++;
          },
        }),
        bodyUsed: false,
      }) as unknown as Response;
    await withServer(handler, { engine }, async (server) => {
      const client = await rawClient(server);
      client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
      await client.until("\r\n\r\n");
      assertMatch(client.text, /content-length: 0\r\n/);
      await until(() => cancelled === 1, "cancel");
      client.destroy();
    });
  });

  test(`serve (${engine}) lets go of a form that nobody is sent`, async () => {
    const form = () => {
      const form = new FormData();
      form.append("a", "1");
      form.append("b", new File(["x".repeat(100_000)], "b"));
      return new Response(form);
    };
    await withServer(
      async (request) => {
        const late = new URL(request.url).searchParams.has("late");
        if (late) {
          await new Promise<void>((resolve) => {
            request.signal.addEventListener("abort", () => resolve());
          });
        }
        return form();
      },
      { engine },
      async (server) => {
        for (const ask of ["HEAD /", "GET /", "GET /?late"]) {
          const client = await rawClient(server);
          client.send(`${ask} HTTP/1.1\r\nhost: x\r\n\r\n`);
          if (ask !== "GET /?late") await client.until("HTTP/1.1 200");
          else client.end();
          client.destroy();
        }
        // As long as it takes to write one: then it shows if one failed.
        await (await server.fetch(new Request(server.url))).arrayBuffer();
      },
    );
  });
}

test("serve() tells HEAD of 205 what it tells GET", async () => {
  const handler = () =>
    new Response(null, { status: 205, headers: { "content-length": "5" } });
  await withServer(handler, {}, async (server) => {
    const text = await exchange(server, pair("HEAD"));
    assertEquals(lengths(text), [undefined, "0"]);
  });
});
