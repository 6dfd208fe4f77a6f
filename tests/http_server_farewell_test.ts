// A server that closes loses no request that was on its way to it.

import { test } from "node:test";
import type { ServeOptions } from "../http/mod.ts";
import { assert, assertEquals, assertStringIncludes } from "./assert.ts";
import { getOn, rawClient, withServer } from "./_http_raw.ts";
import { until, within } from "./_support.ts";

const variants: [string, ServeOptions][] = [
  ["HTTP/1.1", {}],
  ["HTTP/1.1 where HTTP/2 is spoken, too", { protocols: ["h2", "http/1.1"] }],
];

for (const [name, options] of variants) {
  test(`close() answers what was sent as it began, and says that it is the last: ${name}`, () =>
    withServer(
      async (request) => new Response(await request.text()),
      options,
      async (server) => {
        const used = await rawClient(server);
        const idle = await rawClient(server);
        for (const client of [used, idle]) {
          client.send(getOn());
          await client.until("\r\n\r\n");
          client.text = "";
        }
        const fresh = await rawClient(server);
        await until(() => server.stats().connections === 3);
        const closed = server.close();
        const body = "not lost";
        for (const client of [used, fresh]) {
          client.send(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n" + body,
          );
        }
        for (const client of [used, fresh]) {
          const text = await client.untilEnd();
          assertEquals(client.error, undefined);
          assertStringIncludes(text, "200 OK");
          assertStringIncludes(text, "connection: close");
          assertStringIncludes(text, body);
          client.destroy();
        }
        // Who says nothing does not hold it up.
        assertEquals(await idle.untilEnd(), "");
        idle.destroy();
        await within(closed);
      },
    ));
}

test("close() answers who was told before that the connection stays, once more", async () => {
  let open = () => {};
  const wait = new Promise<void>((resolve) => open = resolve);
  await withServer(
    () =>
      new Response(
        new ReadableStream({
          async start(controller) {
            controller.enqueue(new Uint8Array(5));
            await wait;
            controller.close();
          },
        }),
      ),
    {},
    async (server) => {
      const [asks, rests, ahead] = await Promise.all(
        [1, 2, 3].map(() => rawClient(server)),
      );
      for (const client of [asks, rests, ahead]) {
        client.send(getOn());
        await client.until("5\r\n");
        assert(!client.text.includes("connection: close"));
      }
      ahead.send(getOn());
      const closed = server.close();
      open();
      await asks.until("\r\n0\r\n\r\n");
      asks.send(getOn());
      for (const client of [asks, ahead]) {
        const text = await client.untilEnd();
        assertEquals(client.error, undefined);
        assertEquals(text.split("200 OK").length, 3);
        assertStringIncludes(text, "connection: close");
        client.destroy();
      }
      assertEquals((await rests.untilEnd()).split("200 OK").length, 2);
      rests.destroy();
      await within(closed);
    },
  );
});

test("close() under load loses no request of connections that are kept", () =>
  withServer(() => new Response("fine"), {}, async (server) => {
    let answered = 0;
    let begun = () => {};
    const busy = new Promise<void>((resolve) => begun = resolve);
    const clients = await Promise.all(
      Array.from({ length: 16 }, () => rawClient(server)),
    );
    await until(() => server.stats().connections === clients.length);
    const loops = clients.map(async (client) => {
      for (;;) {
        client.text = "";
        client.send(getOn());
        await new Promise<void>((resolve, reject) => {
          const look = () => {
            if (client.text.endsWith("fine")) resolve();
            else if (client.ended || client.closed) {
              reject(new Error(`Lost: ${client.text} ${client.error}`));
            } else return;
            client.socket.off("data", look).off("close", look);
          };
          client.socket.on("data", look).on("close", look);
        });
        if (++answered === 400) begun();
        if (client.text.includes("connection: close")) return client.destroy();
      }
    });
    await within(busy);
    const closed = server.close();
    await within(Promise.all(loops));
    await within(closed);
  }));
