/** What handlers give that is no promise, and no Response either. */
import { test } from "node:test";
import { assertEquals } from "./assert.ts";
import { bodyOf, exchange, get, statusOf, withServer } from "./_http_raw.ts";
import { engines } from "./_support.ts";
import type { Handler, ServeOptions } from "../http/types.ts";

type Then = (resolve: (value: unknown) => void) => void;

function thenable(then: Then | number): unknown {
  return { then };
}

/** What is given, and the answer that is to come of it. */
const rows: Record<string, [() => unknown, number, string]> = {
  "a thenable that resolves": [
    () => thenable((resolve) => resolve(new Response("fine"))),
    200,
    "fine",
  ],
  "a function with then": [
    () =>
      Object.assign(() => {}, {
        then: (resolve: (value: unknown) => void) =>
          resolve(new Response("fine")),
      }),
    200,
    "fine",
  ],
  "a thenable that resolves twice, and throws": [
    () =>
      thenable((resolve) => {
        resolve(new Response("fine"));
        resolve(new Response("another"));
        throw new Error("Too late");
      }),
    200,
    "fine",
  ],
  "a thenable that throws": [
    () =>
      thenable(() => {
        throw new Error("No");
      }),
    500,
    "",
  ],
  "a then that throws when it is looked at": [
    () => ({
      get then(): never {
        throw new Error("No");
      },
    }),
    500,
    "",
  ],
  "a then that is no function": [() => thenable(5), 500, ""],
  "a proxy that tells nothing": [
    () =>
      new Proxy({}, {
        get() {
          throw new Error("No");
        },
        has() {
          throw new Error("No");
        },
      }),
    500,
    "",
  ],
};

for (const engine of engines) {
  for (const [what, [make, status, body]] of Object.entries(rows)) {
    test(`serve (${engine}) takes ${what} as await does`, async () => {
      const handler = make as Handler;
      await withServer(handler, { engine }, async (server) => {
        const answer = await exchange(server, get());
        assertEquals([statusOf(answer), bodyOf(answer)], [status, body]);
        assertEquals(answer.split("HTTP/1.1 ").length, 2);
        const direct = await server.fetch(new Request(server.url));
        assertEquals([direct.status, await direct.text()], [status, body]);
      });
    });

    test(`serve (${engine}) takes ${what} of onError as await does`, async () => {
      const onError = make as NonNullable<ServeOptions["onError"]>;
      const handler = () => {
        throw new Error("Failed");
      };
      await withServer(handler, { engine, onError }, async (server) => {
        const answer = await exchange(server, get());
        assertEquals([statusOf(answer), bodyOf(answer)], [status, body]);
        assertEquals(answer.split("HTTP/1.1 ").length, 2);
      });
    });
  }

  test(`serve (${engine}) gives 503 for an onOverload that gives a promise`, async () => {
    const told: unknown[] = [];
    await withServer(() => new Promise(() => {}), {
      engine,
      limits: { requests: 0 },
      onOverload: (() => Promise.reject(new Error("No"))) as unknown as () =>
        Response,
      onError: (error) => {
        told.push(error);
        return new Response();
      },
    }, async (server) => {
      const answer = await exchange(server, get());
      assertEquals(statusOf(answer), 503);
      assertEquals(told.map((error) => error instanceof TypeError), [true]);
    });
  });
}

test("serve() takes what onExpect gives as await does", async () => {
  for (const [make, status, body] of Object.values(rows)) {
    const onExpect = make as NonNullable<ServeOptions["onExpect"]>;
    await withServer(() => new Response(), { onExpect }, async (server) => {
      const answer = await exchange(
        server,
        "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n" +
          "content-length: 1\r\n\r\n",
      );
      assertEquals([statusOf(answer), bodyOf(answer)], [status, body]);
      assertEquals(answer.split("HTTP/1.1 ").length, 2);
    });
  }
});

test("serve() refuses a status that is no integer", async () => {
  const handler = () =>
    ({
      [Symbol.toStringTag]: "Response",
      status: 200.5,
      statusText: "",
      headers: new Headers(),
      body: null,
      bodyUsed: false,
    }) as unknown as Response;
  await withServer(handler, {}, async (server) => {
    assertEquals(statusOf(await exchange(server, get())), 500);
  });
});

/** What may have been done to a response before it is given. */
const spoilers: Record<string, (response: Response) => Promise<unknown>> = {
  "read whole": (response) => response.text(),
  "read in part": async (response) => {
    const reader = response.body!.getReader();
    await reader.read();
    reader.releaseLock();
  },
  "cancelled": (response) => response.body!.cancel(),
};

for (const engine of engines) {
  for (const [what, spoil] of Object.entries(spoilers)) {
    test(`serve (${engine}) sends no response whose body was ${what}`, async () => {
      const handler = async () => {
        const response = new Response("hello");
        await spoil(response);
        return response;
      };
      await withServer(handler, { engine }, async (server) => {
        assertEquals(statusOf(await exchange(server, get())), 500);
        const direct = await server.fetch(new Request(server.url));
        assertEquals([direct.status, await direct.text()], [500, ""]);
      });
    });
  }
}
