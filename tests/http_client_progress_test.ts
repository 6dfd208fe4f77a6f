import * as zlib from "node:zlib";
import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { answer, nodeServer, scripted } from "./_http_servers.ts";
import { until } from "./_support.ts";
import { Client } from "../http/client.ts";
import { serve } from "../http/serve.ts";
import type { ClientInit, ClientProgress } from "../http/client.ts";

const MIB = 1024 * 1024;

/** Reads a request to its end, and says how much it was. */
const counting = () =>
  nodeServer(async (request, response) => {
    let size = 0;
    for await (const chunk of request) size += chunk.length;
    if (request.url === "/moved") {
      response.writeHead(307, { location: "/" }).end("moved");
    } else {
      response.end(String(size));
    }
  });

/** Each one is more than the last; the total never changes. */
function checkRise(seen: readonly ClientProgress[], total?: number): void {
  let last = 0;
  for (const progress of seen) {
    assert(progress.loaded > last, `${progress.loaded} after ${last}`);
    last = progress.loaded;
    assertEquals(progress.total, total);
    assertEquals("total" in progress, total !== undefined);
  }
}

describe("onUploadProgress", () => {
  const kinds: [string, () => ClientInit["body"], number?][] = [
    ["short text", () => "é", 2],
    ["short bytes", () => new Uint8Array(1000), 1000],
    ["long text", () => "é".repeat(MIB / 2), MIB],
    ["long bytes", () => new Uint8Array(MIB), MIB],
    ["a Blob", () => new Blob([new Uint8Array(MIB)]), MIB],
    ["an iterable", () => ["ab", "", "c"]],
    ["a stream", () => new Blob([new Uint8Array(MIB)]).stream()],
  ];
  for (const [name, make, total] of kinds) {
    test(`tells of ${name}`, () =>
      withClient(counting(), async (client, { url }) => {
        const seen: ClientProgress[] = [];
        const size = await client.post(url, {
          body: make(),
          onUploadProgress: (progress) => void seen.push(progress),
        }).text();
        checkRise(seen, total);
        assertEquals(seen.at(-1)!.loaded, Number(size));
      }));
  }

  test("tells of multipart, json and form; of nothing without a body", () =>
    withClient(counting(), async (client, { url }) => {
      for (
        const init of [{ multipart: { a: "1" } }, { json: [1] }, {
          form: { a: 1 },
        }]
      ) {
        const seen: ClientProgress[] = [];
        const onUploadProgress = (p: ClientProgress) => void seen.push(p);
        const size = await client.post(url, { ...init, onUploadProgress })
          .text();
        assertEquals(seen, [{ loaded: Number(size), total: Number(size) }]);
      }
      const none: ClientProgress[] = [];
      await client.post(url, { onUploadProgress: (p) => void none.push(p) });
      assertEquals(none, []);
    }));

  test("begins again where a redirect leads", () =>
    withClient(counting(), async (client, { url }) => {
      const seen: ClientProgress[] = [];
      await client.post(`${url}moved`, {
        body: "hello",
        onUploadProgress: (progress) => void seen.push(progress),
      }).text();
      assertEquals(seen, [
        { loaded: 5, total: 5 },
        { loaded: 5, total: 5 },
      ]);
    }));

  test("rejects the request with what it throws", () =>
    withClient(counting(), async (client, server) => {
      const error = new RangeError("Enough");
      let cancelled: unknown;
      const endless = new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(new Uint8Array(1000)),
        cancel(reason) {
          cancelled = reason;
        },
      });
      for (const body of ["short", "x".repeat(MIB), endless]) {
        let calls = 0;
        const thrown = await assertRejects(() =>
          client.post(server.url, {
            body,
            onUploadProgress() {
              calls++;
              throw error;
            },
          })
        );
        assertStrictEquals(thrown, error);
        assertEquals(calls, 1);
      }
      assertStrictEquals(cancelled, error);
      await until(() => server.open === 0);
      assertEquals(client.stats().open, 0);
    }));

  test("tells of a body that goes over HTTP/2", async () => {
    const server = await serve(
      async (request) => new Response(String((await request.bytes()).length)),
      { hostname: "127.0.0.1", port: 0, protocols: ["h2"] },
    );
    const client = new Client({ protocols: ["h2"] });
    for (const [, make, total] of kinds) {
      const seen: ClientProgress[] = [];
      const size = await client.post(server.url, {
        body: make(),
        onUploadProgress: (progress) => void seen.push(progress),
      }).text();
      checkRise(seen, total);
      assertEquals(seen.at(-1)!.loaded, Number(size));
      const error = new RangeError("Enough");
      const thrown = await assertRejects(() =>
        client.post(server.url, {
          body: make(),
          onUploadProgress() {
            throw error;
          },
        })
      );
      assertStrictEquals(thrown, error);
    }
    await client.close({ timeout: 0 });
    await server.close({ timeout: 0 });
  });

  test("is told of what a transport reads", async () => {
    const client = new Client({
      transport: async (request) =>
        new Response(String((await request.text()).length)),
    });
    for (const body of ["hello", ["hel", "lo"]]) {
      const seen: number[] = [];
      const size = await client.post("http://x/", {
        body,
        onUploadProgress: ({ loaded }) => void seen.push(loaded),
      }).text();
      assertEquals(size, "5");
      assertEquals(seen, typeof body === "string" ? [5] : [3, 5]);
    }
    await client.close();
  });
});

describe("onDownloadProgress", () => {
  test("tells of each piece, and of Content-Length", () =>
    withClient(
      nodeServer((request, response) => {
        const body = new Uint8Array(MIB);
        if (request.url === "/known") {
          response.setHeader("content-length", MIB);
        }
        response.write(body.subarray(0, 1000));
        response.end(body.subarray(1000));
      }),
      async (client, { url }) => {
        for (const [path, total] of [["known", MIB], ["chunked"]] as const) {
          const seen: ClientProgress[] = [];
          const bytes = await client.get(url + path, {
            onDownloadProgress: (progress) => void seen.push(progress),
          }).bytes();
          assertEquals(bytes.length, MIB);
          checkRise(seen, total);
          assertEquals(seen.at(-1)!.loaded, MIB);
        }
      },
    ));

  test("counts a coded body as it comes", () => {
    const coded = zlib.gzipSync(new Uint8Array(MIB));
    return withClient(
      nodeServer((_, response) => {
        response.setHeader("content-encoding", "gzip");
        response.setHeader("content-length", coded.length);
        response.end(coded);
      }),
      async (client, { url }) => {
        const bytes = await client.get(url).bytes();
        assertEquals(bytes.length, MIB);
        assertEquals(seen.at(-1), {
          loaded: coded.length,
          total: coded.length,
        });
      },
      { onDownloadProgress: (progress) => void seen.push(progress) },
    );
  });
  const seen: ClientProgress[] = [];

  test("is not told of a redirect's body", () =>
    withClient(counting(), async (client, { url }) => {
      const seen: ClientProgress[] = [];
      await client.post(`${url}moved`, {
        body: "",
        onDownloadProgress: (progress) => void seen.push(progress),
      }).text();
      assertEquals(seen, [{ loaded: 1, total: 1 }]);
    }));

  test("fails the body with what it throws", () =>
    withClient(
      scripted(({ socket }) => socket.write(answer("hello"))),
      async (client, server) => {
        const error = new RangeError("Enough");
        const read = client.get(server.url, {
          onDownloadProgress() {
            throw error;
          },
        }).text();
        assertStrictEquals(await assertRejects(() => read), error);
        await until(() => server.open === 0);
        assertEquals(client.stats().open, 0);
      },
    ));

  test("must be a function", async () => {
    const wrong = { onDownloadProgress: 1 } as unknown as ClientInit;
    await assertRejects(() => new Client().get("http://x/", wrong), TypeError);
  });
});
