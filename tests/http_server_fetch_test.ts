import { test } from "node:test";
import { assertEquals, assertThrows } from "./assert.ts";
import { withServer } from "./_http_raw.ts";
import { engines } from "./_support.ts";
import { Response as LightResponse } from "../http/response.ts";

const encoder = new TextEncoder();

for (const engine of engines) {
  test(`fetch() of a server gives HEAD no body, and cancels it, ${engine}`, async () => {
    const cancelled: unknown[] = [];
    const bodies = [
      () => "text",
      () => encoder.encode("bytes"),
      () =>
        new ReadableStream<Uint8Array>({
          pull: (controller) => controller.enqueue(encoder.encode("on")),
          cancel: () => void cancelled.push("stream"),
        }),
    ];
    for (const Class of [Response, LightResponse]) {
      for (const body of bodies) {
        await withServer(
          () => {
            const response = new Class(body(), {
              status: 206,
              statusText: "Some",
              headers: { "x-a": "1" },
            });
            response.headers.append("set-cookie", "a=1");
            response.headers.append("set-cookie", "b=2");
            return response;
          },
          { engine },
          async (server) => {
            const response = await server.fetch(
              new Request(server.url, { method: "HEAD" }),
            );
            const { status, statusText, headers } = response;
            assertEquals([status, statusText, headers.get("x-a")], [
              206,
              "Some",
              "1",
            ]);
            assertEquals(headers.getSetCookie(), ["a=1", "b=2"]);
            assertEquals(response.body, null);
            assertEquals(await response.text(), "");
          },
        );
      }
    }
    assertEquals(cancelled, ["stream", "stream"]);
  });

  test(`fetch() of a server refuses what could not be sent, ${engine}`, async () => {
    const bad: (() => Response)[] = [
      () => Response.error(),
      () => {
        const response = new Response("x");
        response.body!.getReader();
        return response;
      },
    ];
    for (const handler of bad) {
      const told: unknown[] = [];
      await withServer(handler, {
        engine,
        onError(error) {
          told.push((error as Error).name);
          return new Response("instead", { status: 500 });
        },
      }, async (server) => {
        const response = await server.fetch(new Request(server.url));
        assertEquals([response.status, await response.text()], [
          500,
          "instead",
        ]);
      });
      assertEquals(told, ["TypeError"]);
    }
    await withServer(
      (_request, context) => {
        assertThrows(() => context.inform(200 as 102), RangeError, "200");
        context.inform(103, { link: "</a>" });
        return new Response("fine");
      },
      { engine },
      async (server) => {
        const response = await server.fetch(new Request(server.url));
        assertEquals(await response.text(), "fine");
      },
    );
  });
}
