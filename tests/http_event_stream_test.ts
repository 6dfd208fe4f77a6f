import { spawn } from "node:child_process";
import { describe, test } from "node:test";
import { eventStream, serve } from "../http/mod.ts";
import type { ServerSentEvent } from "../http/mod.ts";
import { Channel } from "../streams/mod.ts";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import { chromium, openPage } from "./_chromium.ts";
import { get, getOn, rawClient, statusOf, withServer } from "./_http_raw.ts";
import { modes, needs, until, within } from "./_support.ts";

/** All that is sent for these events. */
function textOf(...events: (string | ServerSentEvent)[]): Promise<string> {
  return eventStream(events).text();
}

const never = new Promise<never>(() => {});

describe("eventStream()", () => {
  test("writes events as the standard reads them", async () => {
    assertEquals(await textOf("hello"), "data: hello\n\n");
    assertEquals(
      await textOf("one\ntwo\r\nthree\rfour\n"),
      "data: one\ndata: two\ndata: three\ndata: four\ndata: \n\n",
    );
    assertEquals(await textOf("", " x"), "data: \n\ndata:  x\n\n");
    assertEquals(
      await textOf({
        comment: "two\nlines",
        event: "tick",
        id: "7",
        retry: 100,
        data: "d",
      }),
      ": two\n: lines\nevent: tick\nid: 7\nretry: 100\ndata: d\n\n",
    );
    assertEquals(await textOf({ data: { a: [1] } }), 'data: {"a":[1]}\n\n');
    assertEquals(await textOf({ data: 0 }, { id: "" }), "data: 0\n\nid: \n\n");
    assertEquals(await textOf({ data: "naïve 😀" }), "data: naïve 😀\n\n");
  });

  test("has the fields of an event stream, and those it is given", () => {
    const response = eventStream([], {
      headers: { "cache-control": "private", "x-a": "1" },
    });
    assertEquals(response.status, 200);
    assertEquals(response.headers.get("content-type"), "text/event-stream");
    assertEquals(response.headers.get("cache-control"), "private");
    assertEquals(response.headers.get("x-a"), "1");
  });

  test("sends retry first", async () => {
    const response = eventStream(["a"], { retry: 3000 });
    assertEquals(await response.text(), "retry: 3000\n\ndata: a\n\n");
  });

  const bad: [string, unknown][] = [
    ["an event with LF", { event: "a\nb", data: "" }],
    ["an event with CR", { event: "a\rb", data: "" }],
    ["an event with NUL", { event: "a\0", data: "" }],
    ["an id with LF", { id: "1\ndata: x" }],
    ["an id with CR", { id: "1\r" }],
    ["an id with NUL", { id: "1\0" }],
    ["an id that is a number", { id: 1 }],
    ["a retry that is negative", { retry: -1, data: "" }],
    ["a retry that is no number", { retry: "1\n", data: "" }],
    ["bytes", new Uint8Array(1)],
    ["bytes as data", { data: new Uint8Array(1) }],
    ["data that JSON does not have", { data: () => {} }],
    ["a number", 1],
    ["null", null],
    ["an empty object", {}],
  ];
  for (const [what, event] of bad) {
    test(`refuses ${what}`, async () => {
      let ended = false;
      const response = eventStream((function* () {
        try {
          yield "good";
          yield event as string;
        } finally {
          ended = true;
        }
      })());
      const reader = response.body!.getReader();
      assertEquals(
        new TextDecoder().decode((await reader.read()).value),
        "data: good\n\n",
      );
      const error = await assertRejects(() => reader.read());
      assertStringIncludes((error as Error).message, "Cannot send an event");
      assert(ended);
    });
  }

  test("refuses options that it does not know, or cannot use", () => {
    assertThrows(() => eventStream([], { ping: 1 } as never), TypeError);
    assertThrows(() => eventStream([], { heartbeat: -1 }), RangeError);
    assertThrows(() => eventStream([], { retry: 0.5 }), RangeError);
    assertThrows(() => eventStream(7 as never), TypeError);
  });

  test("gives the last event's id to a source function", async () => {
    const seen: unknown[] = [];
    const source = (last: string | undefined) => {
      seen.push(last);
      return [];
    };
    const request = (id: string) =>
      new Request("http://localhost/", { headers: { "last-event-id": id } });
    // "é" as UTF-8, as browsers send it.
    for (const id of ["41", "\u00c3\u00a9", "\u00e9"]) {
      await eventStream(source, { request: request(id) }).text();
    }
    await eventStream(source, { request: new Request("http://localhost/") })
      .text();
    await eventStream(source).text();
    assertEquals(seen, ["41", "é", "é", undefined, undefined]);
  });

  test("pulls an event only when one is wanted", async () => {
    let pulled = 0;
    const response = eventStream((async function* () {
      for (;;) yield String(++pulled);
    })());
    const reader = response.body!.getReader();
    await reader.read();
    await reader.read();
    await Promise.resolve();
    assertEquals(pulled, 2);
    await reader.cancel();
  });

  test("keeps an event that comes while nobody pulls", async () => {
    const channel = new Channel<string>();
    const response = eventStream(channel, { heartbeat: 5 });
    const reader = response.body!.getReader();
    const text = async () =>
      new TextDecoder().decode((await reader.read()).value);
    assertEquals(await text(), ":\n\n");
    // The wait of the first read goes on.
    await channel.send("kept");
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(await text(), "data: kept\n\n");
    assertEquals(await text(), ":\n\n");
    channel.close();
    let last = await reader.read();
    while (!last.done) last = await reader.read();
  });

  for (const engine of modes) {
    if (engine !== "h2") {
      test(`sends the head, then what comes, on the ${engine} engine`, () => {
        const channel = new Channel<string>();
        return withServer(
          (request) => eventStream(channel, { request }),
          { engine },
          async (server) => {
            const client = await rawClient(server);
            client.send(getOn());
            await client.until("\r\n\r\n");
            assertEquals(statusOf(client.text), 200);
            assert(!client.text.includes("data:"));
            await channel.send("now");
            await client.until("data: now\n\n");
            channel.close();
            await client.until("0\r\n\r\n");
            client.destroy();
          },
        );
      });
    }

    test(`sends comments in the silence on the ${engine} engine`, () =>
      withServer(
        (request) =>
          eventStream(
            (async function* () {
              yield "one";
              await never;
            })(),
            { request, heartbeat: 10 },
          ),
        { engine },
        async (server) => {
          const client = await rawClient(server);
          client.send(getOn());
          await client.until(":\n\n", 3);
          client.destroy();
        },
      ));

    test(`ends the source when the client leaves on the ${engine} engine`, async () => {
      const seen: string[] = [];
      await withServer(
        (request) =>
          eventStream(async function* (_, signal) {
            try {
              yield "one";
              await new Promise((resolve) =>
                signal.addEventListener("abort", resolve)
              );
            } finally {
              seen.push("finally");
            }
          }, { request, heartbeat: 0 }),
        { engine },
        async (server) => {
          const client = await rawClient(server);
          client.send(getOn());
          await client.until("data: one\n\n");
          client.destroy();
          await until(() => seen.length > 0, "finally");
        },
      );
      assertEquals(seen, ["finally"]);
    });

    test(`stops the source while the client does not read on the ${engine} engine`, async () => {
      let count = 0;
      let ended = false;
      const block = "x".repeat(64 * 1024);
      await withServer(
        (request) =>
          eventStream(
            (async function* () {
              try {
                for (;; count++) {
                  yield block;
                  await new Promise((resolve) => setTimeout(resolve));
                }
              } finally {
                ended = true;
              }
            })(),
            { request },
          ),
        { engine },
        async (server) => {
          const client = await rawClient(server);
          client.socket.pause();
          client.send(getOn());
          let last = -1;
          let same = 0;
          // It has stopped once nothing came for a while.
          await until(
            async () => {
              await new Promise((resolve) => setTimeout(resolve, 50));
              same = count === last && count > 0 ? same + 1 : 0;
              last = count;
              return same === 6;
            },
            "A stop",
            12_000,
          );
          assert(count < 2000, `${count}`);
          client.destroy();
          await until(() => ended, "The end of the source");
        },
      );
    });

    if (engine !== "h2") {
      test(`ends when the server closes on the ${engine} engine`, () =>
        withServer(
          (request) =>
            eventStream(
              (async function* () {
                yield "one";
                await never;
              })(),
              { request },
            ),
          { engine },
          async (server) => {
            const client = await rawClient(server);
            client.send(get());
            await client.until("data: one\n\n");
            const closed = server.close({ timeout: 10_000 });
            await client.until("0\r\n\r\n");
            client.destroy();
            await within(closed, 5000, "close()");
          },
        ));
    }

    test(`aborts the connection when the source fails on the ${engine} engine`, () =>
      withServer(
        (request) =>
          eventStream(
            (async function* () {
              yield "one";
              await new Promise((resolve) => setTimeout(resolve));
              throw new Error("broken");
            })(),
            { request },
          ),
        { engine, onError: () => new Response(null, { status: 500 }) },
        async (server) => {
          const client = await rawClient(server);
          client.send(getOn());
          const text = await client.untilEnd();
          assert(!text.includes("0\r\n\r\n"), text);
          client.destroy();
        },
      ));

    if (engine !== "h2") {
      test(`is read by EventSource in Chromium on the ${engine} engine`, {
        skip: chromium === undefined && "not installed: chromium",
        timeout: 60_000,
      }, async () => {
        const ids: unknown[] = [];
        let left = 0;
        const handler = (request: Request) => {
          if (new URL(request.url).pathname !== "/events") {
            return new Response("<!doctype html>", {
              headers: { "content-type": "text/html" },
            });
          }
          return eventStream(async function* (last, signal) {
            ids.push(last);
            try {
              if (last === undefined) {
                yield { comment: "a comment", data: "plain" };
                yield { event: "odd é", id: "né 1", data: " two\n\nlines" };
                // The connection ends here: it comes back and goes on.
                return;
              }
              yield { data: { last } };
              await new Promise((resolve) =>
                signal.addEventListener("abort", resolve)
              );
            } finally {
              left++;
            }
          }, { request, retry: 10 });
        };
        const server = await serve(handler, {
          port: 0,
          hostname: "127.0.0.1",
          engine,
        });
        const page = await openPage(server.url);
        try {
          await page.until(
            "location.protocol === 'http:' && document.readyState === 'complete'",
          );
          const events = await page.evaluate(`new Promise((resolve) => {
          const seen = [];
          const events = new EventSource("/events");
          const tell = ({ type, data, lastEventId }) => {
            seen.push([type, data, lastEventId]);
            if (seen.length < 3) return;
            events.close();
            resolve(seen);
          };
          events.onmessage = tell;
          events.addEventListener("odd é", tell);
        })`);
          assertEquals(events, [
            ["message", "plain", ""],
            ["odd é", " two\n\nlines", "né 1"],
            ["message", '{"last":"né 1"}', "né 1"],
          ]);
          assertEquals(ids, [undefined, "né 1"]);
          await until(
            () => left === 2,
            "The page left",
            10_000,
          );
        } finally {
          await page.close();
          await server.close({ timeout: 0 });
        }
      });
    }
  }

  test("is shown by curl as it comes", { skip: needs("curl") }, () => {
    const channel = new Channel<string>();
    return withServer(
      (request) => eventStream(channel, { request }),
      {},
      async (server) => {
        const child = spawn("curl", ["-sSN", server.url]);
        const exit = new Promise((resolve) => child.on("close", resolve));
        let text = "";
        child.stdout.on("data", (chunk) => text += chunk);
        await channel.send("one");
        await until(() => text === "data: one\n\n", "The first event");
        await channel.send("two");
        await until(() => text.endsWith("data: two\n\n"), "The second event");
        channel.close();
        assertEquals(await within(exit), 0);
      },
    );
  });
});
