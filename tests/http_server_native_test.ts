/** Each gap of the native engines is a clear error that names the other. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { bodyOf, exchange, get, statusOf, withServer } from "./_http_raw.ts";
import { engines, runtime, within } from "./_support.ts";
import { Client } from "../http/client.ts";
import { serve } from "../http/serve.ts";
import type { Handler, ServeOptions, ServerContext } from "../http/types.ts";

const native = engines.includes("native");
const NAMES_WIRE = 'engine: "wire"';

/** A test of an engine that Node has not. */
function nativeTest(name: string, run: () => Promise<void>): void {
  if (native) test(name, run);
}

nativeTest("the native engine refuses limits that it cannot keep", async () => {
  const refused: ServeOptions[] = [
    { http2: {} },
    { limits: { header: 100 } },
    { limits: { target: 100 } },
    { limits: { connections: 1 } },
    { timeouts: { header: 100 } },
    { timeouts: { body: 100 } },
  ];
  if (runtime === "deno") {
    refused.push({ timeouts: { idle: 100 } }, { reusePort: true });
  } else {
    refused.push({ timeouts: { idle: 300_000 } }, { backlog: 1 });
  }
  for (const options of refused) {
    await assertRejects(
      () =>
        serve(() => new Response(), {
          port: 0,
          engine: "native",
          ...options,
        }),
      Error,
      NAMES_WIRE,
    );
  }
});

nativeTest("the native engine says what its context cannot tell", async () => {
  let context!: ServerContext;
  await withServer(
    (_, given) => {
      context = given;
      for (
        const use of [
          () => given.trailers,
          () => given.inform(103),
          () => given.tunnel(() => {}),
          ...(runtime === "bun" ? [() => given.completed] : []),
        ]
      ) assertThrows(use, TypeError, NAMES_WIRE);
      return new Response("fine");
    },
    { engine: "native" },
    async (server) => {
      assertEquals(bodyOf(await exchange(server, get())), "fine");
      assertThrows(() => server.stats(), TypeError, NAMES_WIRE);
      assertThrows(
        () => server.updateTls({ cert: "", key: "" }),
        TypeError,
        NAMES_WIRE,
      );
      if (runtime === "deno") await context.completed;
    },
  );
});

nativeTest("the native engine keeps limits.body", async () => {
  let size = 0;
  await withServer(
    async (request) => {
      size = (await request.text()).length;
      return new Response(`${size}`);
    },
    { engine: "native", limits: { body: 10 } },
    async (server) => {
      const post = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
      const long = await exchange(
        server,
        `${post}content-length: 11\r\n\r\nhello world`,
      );
      assertEquals(statusOf(long), 413);
      const chunked = await exchange(
        server,
        `${post}transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n`,
      );
      assertEquals(statusOf(chunked), 413, chunked);
      assertEquals(size, 0);
      const fine = await exchange(
        server,
        `${post}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      );
      assert(fine.includes("5"), fine);
      assertEquals(size, 5);
    },
  );
});

nativeTest(
  "the native engine tells HEAD no length of a stream but the one given",
  async () => {
    // Bun tells none, not even one that is given.
    if (runtime !== "deno") return;
    const cancelled: string[] = [];
    await withServer(
      ({ url }) =>
        new Response(
          new ReadableStream({
            pull: (controller) => controller.enqueue(new Uint8Array(5)),
            cancel: () => void cancelled.push(new URL(url).pathname),
          }),
          url.endsWith("/told") ? { headers: { "content-length": "50" } } : {},
        ),
      { engine: "native" },
      async (server) => {
        const clients = runtime === "deno" ? ["http/1.1", "h2"] : ["http/1.1"];
        for (const protocol of clients) {
          const client = new Client({ protocols: [protocol as "h2"] });
          try {
            for (const [at, length] of [["", null], ["told", "50"]]) {
              const { status, headers } = await client.head(server.url + at);
              assertEquals(status, 200);
              assertEquals(headers.get("content-length"), length);
            }
          } finally {
            await client.close();
          }
        }
      },
    );
    if (runtime === "deno") {
      assertEquals(cancelled, ["/", "/told", "/", "/told"]);
    }
  },
);

for (const engine of engines) {
  test(`a request without a Host has a whole url, ${engine}`, async () => {
    const aborted: boolean[] = [];
    await withServer(
      async (request, { remoteAddress }) => {
        const { transport } = remoteAddress;
        aborted.push(request.signal.aborted);
        return new Response(
          `${request.url} ${await request.text()} ${transport}`,
        );
      },
      { engine },
      async (server) => {
        for (
          const [head, body] of [["GET /a?b", ""], ["POST //a", "body"]]
        ) {
          const text = await exchange(
            server,
            `${head} HTTP/1.0\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
          );
          assertMatch(text, /^HTTP\/1\.[01] 200 /);
          const target = head.split(" ")[1];
          assertEquals(
            bodyOf(text).replace("localhost", "127.0.0.1"),
            `${server.url}${target.slice(1)} ${body} tcp`,
          );
        }
      },
    );
    assertEquals(aborted, [false, false]);
  });
}

test("serve() with engine native says on Node that there is none", async () => {
  if (native) return;
  await assertRejects(
    () => serve(() => new Response(), { port: 0, engine: "native" }),
    TypeError,
    NAMES_WIRE,
  );
});

nativeTest("the native engine keeps limits.body on HTTP/2", async () => {
  if (runtime !== "deno") return;
  await withServer(
    async (request) => new Response(`${(await request.text()).length}`),
    { engine: "native", limits: { body: 10 } },
    async ({ url }) => {
      const client = new Client({ protocols: ["h2"] });
      try {
        const post = async (text: string) => {
          const body = new Blob([text]).stream();
          const response = await client.fetch(url, { method: "POST", body });
          return [response.status, await response.text()];
        };
        const [status] = await post("hello world");
        assertEquals(status, 413);
        assertEquals(await post("hello"), [200, "5"]);
      } finally {
        await client.close();
      }
    },
  );
});

nativeTest("the native engine tells when a request came", async () => {
  const times: number[][] = [];
  const late = async (_: Request, context: ServerContext) => {
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 20));
    times.push([context.receivedAt, start, context.receivedAt]);
    return new Response("fine");
  };
  const handlers: Handler[] = [
    late,
    (...given) => late(...given),
    function () {
      return late(...arguments as unknown as Parameters<typeof late>);
    },
  ];
  for (const handler of handlers) {
    await withServer(handler, { engine: "native" }, async (server) => {
      assertEquals(bodyOf(await exchange(server, get())), "fine");
    });
  }
  assertEquals(times.length, handlers.length);
  for (const [first, start, second] of times) {
    assert(first <= start, `${first} is after ${start}`);
    assertEquals(second, first);
  }
});

nativeTest("the native engine leaves the signals of others alone", async () => {
  const controller = new AbortController();
  const copies: Request[] = [];
  await withServer(
    (request) => {
      copies.push(new Request(request, { signal: controller.signal }));
      copies.push(new Request("http://localhost/"));
      copies.push(request);
      return new Response("fine");
    },
    { engine: "native" },
    async (server) => {
      assertEquals(bodyOf(await exchange(server, get())), "fine");
    },
  );
  const [copy, other, own] = copies;
  assertEquals(other.signal.aborted, false);
  assertEquals(own.signal.aborted, false);
  assertEquals(own.signal, own.signal);
  assertEquals(copy.signal.aborted, false);
  controller.abort();
  assertEquals(copy.signal.aborted, true);
  assertEquals(own.signal.aborted, false);
});

nativeTest(
  "the native engine lets go of a response that comes too late",
  async () => {
    let answer!: (response: Response) => void;
    let cancelled!: () => void;
    const gone = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    await withServer(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
      { engine: "native", timeouts: { handler: 50 } },
      async (server) => {
        assertEquals(statusOf(await exchange(server, get())), 503);
        answer(new Response(new ReadableStream({ cancel: cancelled })));
        await within(gone);
      },
    );
  },
);
