import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import { answer, bodyOf, nodeServer, scripted } from "./_http_servers.ts";
import type { TestServer } from "./_http_servers.ts";
import { within } from "./_support.ts";
import { Client } from "../http/client.ts";
import type { ClientInit, ClientOptions } from "../http/client.ts";
import * as http from "../http/fetch.ts";
import { StatusError } from "../http/errors.ts";

/** Tells what it was asked, as JSON. */
function echo(): Promise<TestServer> {
  return nodeServer(async (request, response) => {
    const body = await bodyOf(request);
    response.setHeader("content-type", "application/json");
    response.setHeader("x-method", request.method!);
    response.end(JSON.stringify({
      method: request.method,
      url: request.url,
      headers: request.headers,
      body,
    }));
  });
}

interface Echo {
  method: string;
  url: string;
  headers: Record<string, string | undefined>;
  body: string;
}

async function withClient(
  run: (client: Client, server: TestServer) => Promise<void>,
  options?: ClientOptions,
  server: Promise<TestServer> = echo(),
): Promise<void> {
  const there = await server;
  const client = new Client(options);
  try {
    await within(run(client, there), 10_000);
  } finally {
    await client.close({ timeout: 0 });
    await there.close();
  }
}

describe("Client", () => {
  test("Client.fetch() gets a response that is a Response", () =>
    withClient(async (client, server) => {
      const response = await client.fetch(server.url);
      assertInstanceOf(response, Response);
      assertEquals(response.status, 200);
      assertEquals(response.ok, true);
      assertEquals(response.statusText, "OK");
      assertEquals(response.url, server.url);
      assertEquals(response.redirected, false);
      assertEquals(response.redirects, []);
      assertEquals(response.httpVersion, "1.1");
      assertEquals(response.type, "basic");
      assertEquals(response.headers.get("Content-Type"), "application/json");
      assertEquals(response.bodyUsed, false);
      assertEquals((await response.json()).method, "GET");
      assertEquals(response.bodyUsed, true);
      assertEquals(response.request.url, server.url);
      assertEquals(response.request.method, "GET");
      const { timings } = response;
      assert(timings.start <= timings.connected);
      assert(timings.connected <= timings.response);
      assert(timings.response <= timings.end!);
      assertEquals(timings.reused, false);
      assert(timings.start <= timings.dial!);
      assert(timings.dial! <= timings.connect!);
      assert(timings.connect! <= timings.connected);
      assert(timings.connected <= timings.sent!);
      assert(timings.sent! <= timings.response);
      assertEquals([timings.lookup, timings.tls], [undefined, undefined]);
      const again = (await client.fetch(server.url)).timings;
      assertEquals(again.reused, true);
      assertEquals([again.dial, again.connect], [undefined, undefined]);
    }));

  test("Client has a method for each common one", () =>
    withClient(async (client, server) => {
      for (
        const method of [
          ...["get", "post", "put", "patch", "delete", "options"] as const,
        ]
      ) {
        const { method: sent } = await client[method](server.url)
          .json<Echo>();
        assertEquals(sent, method.toUpperCase());
        const again = await client[method](server.url, { query: { a: 1 } })
          .json<Echo>();
        assertEquals(again.method, method.toUpperCase());
      }
      const head = await client.head(server.url);
      assertEquals(head.headers.get("x-method"), "HEAD");
      assertEquals(head.body, null);
      assertEquals(await head.text(), "");
    }));

  test("the module has a function for each, over one client", async () => {
    const server = await echo();
    try {
      for (
        const name of [
          ...["get", "post", "put", "patch", "del", "delete", "options"],
        ] as const
      ) {
        const { method } = await http[name](server.url).json<Echo>();
        assertEquals(method, name === "del" ? "DELETE" : name.toUpperCase());
      }
      assertEquals((await http.head(server.url)).status, 200);
      assertEquals((await http.fetch(server.url)).status, 200);
      assertEquals(server.accepted, 1);
    } finally {
      await server.close();
    }
  });

  test("ResponsePromise gives the body in every form", () =>
    withClient(async (client, server) => {
      const { url } = server;
      assertStringIncludes(await client.get(url).text(), '"GET"');
      assertEquals((await client.get(url).json<Echo>()).method, "GET");
      assertInstanceOf(await client.get(url).bytes(), Uint8Array);
      assertInstanceOf(await client.get(url).arrayBuffer(), ArrayBuffer);
      const blob = await client.get(url).blob();
      // Bun adds a charset of its own.
      assert(blob.type.startsWith("application/json"));
      const pending = client.get(url);
      assertInstanceOf(pending, Promise);
      await pending.finally(() => {});
      await client.get(url).then((response) => response.text());
    }));

  test("Client.fetch() takes a URL and a Request", () =>
    withClient(async (client, server) => {
      const a = await client.fetch(new URL("/a?b#c", server.url));
      assertEquals((await a.json() as Echo).url, "/a?b");
      assertEquals(a.url, new URL("/a?b", server.url).href);
      const request = new Request(server.url, {
        method: "POST",
        headers: { "x-a": "b" },
        body: "hello",
      });
      const response = await client.fetch(request);
      assertEquals(response.request, request);
      const sent = await response.json() as Echo;
      assertEquals(sent.method, "POST");
      assertEquals(sent.body, "hello");
      assertEquals(sent.headers["x-a"], "b");
      // It is in one piece, so its length is known.
      assertEquals(sent.headers["content-length"], "5");
      assertEquals(
        sent.headers["content-type"],
        request.headers.get("content-type") ?? undefined,
      );
      assertEquals(request.bodyUsed, true);
      await assertRejects(() => client.fetch(request), TypeError);
      const put = new Request(server.url, { method: "PUT" });
      const over = await client.fetch(put, { method: "POST", body: "x" });
      assertEquals((await over.json() as Echo).body, "x");
    }));

  test("Client.fetch() sends what a server needs, and no more than once", () =>
    withClient(async (client, server) => {
      const { headers } = await client.get(server.url).json<Echo>();
      assertEquals(headers, {
        host: `127.0.0.1:${server.port}`,
        accept: "*/*",
        "user-agent": "sluice",
        "accept-encoding": "gzip, deflate, br",
      });
      const other = await client.get(server.url, {
        headers: { Accept: "text/html", "USER-AGENT": "me", Range: "bytes=0-" },
      }).json<Echo>();
      assertEquals(other.headers, {
        host: `127.0.0.1:${server.port}`,
        accept: "text/html",
        "user-agent": "me",
        range: "bytes=0-",
        "accept-encoding": "identity",
      });
      const plain = await client.get(server.url, { decompress: false })
        .json<Echo>();
      assertEquals(plain.headers["accept-encoding"], undefined);
    }));

  test("Client takes headers in every form, and its own below", () =>
    withClient(async (client, server) => {
      const forms: HeadersInit[] = [
        { "X-A": "1", "x-b": "2" },
        [["x-a", "1"], ["X-B", "2"]],
        new Headers({ "x-a": "1", "x-b": "2" }),
      ];
      for (const headers of forms) {
        const sent = await client.get(server.url, { headers }).json<Echo>();
        assertEquals(sent.headers["x-a"], "1");
        assertEquals(sent.headers["x-b"], "2");
        assertEquals(sent.headers["x-c"], "client");
      }
      const sent = await client.get(server.url).json<Echo>();
      assertEquals(sent.headers["x-a"], "client");
      const stripped = await client.get(server.url, {
        headers: { "x-a": " \t a b \r\n" },
      }).json<Echo>();
      assertEquals(stripped.headers["x-a"], "a b");
    }, { headers: { "X-A": "client", "X-C": "client" } }));

  test("Client leaves the framing of a message to the codec", () =>
    withClient(async (client, server) => {
      const { headers } = await client.post(server.url, {
        body: "ab",
        headers: {
          ...{ Connection: "keep-alive, x", "Keep-Alive": "timeout=5" },
          ...{ "Transfer-Encoding": "chunked", "Content-Length": "2" },
          ...{ Upgrade: "h2c", Expect: "100-continue", Host: "other.example" },
        },
      }).json<Echo>();
      assertEquals(headers["transfer-encoding"], undefined);
      assertEquals(headers["keep-alive"], undefined);
      assertEquals(headers["upgrade"], undefined);
      assertEquals(headers["expect"], undefined);
      assertEquals(headers["content-length"], "2");
      assertEquals(headers["host"], "other.example");
      for (const length of ["3", "x", "-2", "2, 2"]) {
        await assertRejects(
          () =>
            client.post(server.url, {
              body: "ab",
              headers: { "content-length": length },
            }),
          TypeError,
          "content-length",
        );
      }
    }));

  test("Client.fetch() honours Connection: close", () =>
    withClient(async (client, server) => {
      for (let i = 0; i < 2; i++) {
        await client.get(server.url, { headers: { connection: "close" } })
          .text();
      }
      assertEquals(server.accepted, 2);
      assertEquals(client.stats().open, 0);
    }));

  test("Client refuses fields that could break a head", () =>
    withClient(async (client, server) => {
      const bad: [string, string][] = [
        ["a\r\nb", "c"],
        ["a b", "c"],
        ["", "c"],
        ["a:", "c"],
        ["a", "b\r\nc: d"],
        ["a", "b\nc"],
        ["a", "b\0c"],
        ["a", "\u0100"],
        ["host", "a\r\nb: c"],
        ["content-length", "1\r\nb: c"],
      ];
      for (const [name, value] of bad) {
        await assertRejects(
          () => client.get(server.url, { headers: [[name, value]] }),
          TypeError,
        );
      }
      for (
        const method of ["G T", "GET\r\n", "", "CONNECT", "TRACE", "track"]
      ) {
        await assertRejects(
          () => client.fetch(server.url, { method }),
          TypeError,
        );
      }
      await assertRejects(
        () => client.get(server.url, { auth: { bearer: "secret\r\nx: y" } }),
        TypeError,
      );
      const error = await assertRejects(
        () => client.get(server.url, { headers: { a: "secret\n!" } }),
        TypeError,
      );
      assert(!error.message.includes("secret"));
      assertEquals(server.accepted, 0);
    }));

  test("Client keeps the method's case as fetch does", () =>
    withClient(async (client, server) => {
      const { method } = await client.fetch(server.url, { method: "post" })
        .json<Echo>();
      assertEquals(method, "POST");
    }));

  test("Client.fetch() goes by the URL rules of fetch", () =>
    withClient(async (client, server) => {
      for (
        const url of [
          "/a",
          "ftp://a/",
          "file:///a",
          "data:,a",
          "http://",
          "a b",
        ]
      ) {
        await assertRejects(() => client.fetch(url), TypeError);
      }
      await assertRejects(
        () => client.fetch(`http://user:secret@127.0.0.1:${server.port}/`),
        TypeError,
        "auth option",
      );
      await assertRejects(() => client.fetch("https://127.0.0.1/"), TypeError);
      const { url } = await client.get(`${server.url}ä/../b c?ü=1`)
        .json<Echo>();
      assertEquals(url, "/b%20c?%C3%BC=1");
    }));

  test("Client resolves against base", () =>
    withClient(async (client, server) => {
      const base = `${server.url}v1/`;
      assertEquals((await client.get("a", { base }).json<Echo>()).url, "/v1/a");
      assertEquals(
        (await client.get("/a", { base: new URL(base) }).json<Echo>()).url,
        "/a",
      );
    }));

  test("Client adds a query in four styles", () =>
    withClient(async (client, server) => {
      const query = {
        a: [1, "x y"],
        b: { c: true, d: ["é"] },
        e: null,
        f: undefined,
      };
      const expected: [ClientInit["queryStyle"], string][] = [
        ["repeat", "a=1&a=x%20y&b%5Bc%5D=true&b%5Bd%5D=%C3%A9&e="],
        [
          "brackets",
          "a%5B%5D=1&a%5B%5D=x%20y&b%5Bc%5D=true&b%5Bd%5D%5B%5D=%C3%A9&e=",
        ],
        [
          "indices",
          "a%5B0%5D=1&a%5B1%5D=x%20y&b%5Bc%5D=true&b%5Bd%5D%5B0%5D=%C3%A9&e=",
        ],
        ["comma", "a=1,x%20y&b%5Bc%5D=true&b%5Bd%5D=%C3%A9&e="],
      ];
      for (const [queryStyle, text] of expected) {
        const { url } = await client.get(server.url, { query, queryStyle })
          .json<Echo>();
        assertEquals(url, `/?${text}`);
      }
      const { url } = await client.get(`${server.url}?x=1#f`, {
        query: new URLSearchParams({ y: "2" }),
      }).json<Echo>();
      assertEquals(url, "/?x=1&y=2");
      const date = new Date(0);
      assertEquals(
        (await client.get(server.url, { query: { date } }).json<Echo>()).url,
        "/?date=1970-01-01T00%3A00%3A00.000Z",
      );
    }));

  test("Client sends json, form and auth", () =>
    withClient(async (client, server) => {
      const json = await client.post(server.url, { json: { a: ["é"] } })
        .json<Echo>();
      assertEquals(json.body, '{"a":["é"]}');
      assertEquals(json.headers["content-type"], "application/json");
      const form = await client.post(server.url, { form: { a: "b c", d: "&" } })
        .json<Echo>();
      assertEquals(form.body, "a=b%20c&d=%26");
      assertStringIncludes(form.headers["content-type"]!, "urlencoded");
      const basic = await client.get(server.url, {
        auth: { basic: ["üser", "pass:word"] },
      }).json<Echo>();
      assertEquals(basic.headers.authorization, "Basic w7xzZXI6cGFzczp3b3Jk");
      const bearer = await client.get(server.url, { auth: { bearer: "t" } })
        .json<Echo>();
      assertEquals(bearer.headers.authorization, "Bearer t");
      await assertRejects(
        () => client.get(server.url, { auth: { basic: ["a:b", "c"] } }),
        TypeError,
        "colon",
      );
      await assertRejects(
        () => client.post(server.url, { json: 1, body: "x" }),
        TypeError,
      );
      await assertRejects(() => client.get(server.url, { json: 1 }), TypeError);
      await assertRejects(
        () => client.post(server.url, { json: () => {} }),
        TypeError,
      );
    }));

  test("Client rejects with a StatusError where asked to", () =>
    withClient(
      async (client, server) => {
        const error = await assertRejects(
          () => client.get(server.url, { throwOnStatus: true }),
          StatusError,
        );
        assertEquals(error.code, "ERR_STATUS");
        assertEquals(error.response.status, 503);
        assertEquals(error.retryable, true);
        assertEquals(await error.response.text(), "busy");
        assertEquals((await client.get(server.url)).status, 503);
      },
      {},
      nodeServer((_, response) => {
        response.statusCode = 503;
        response.end("busy");
      }),
    ));

  test("Client refuses options that it does not know", async () => {
    const client = new Client();
    for (
      const init of [
        ...[{ proxy: "a" }, { agent: 1 }, { dispatcher: 1 }],
        ...[{ tls: {} }, { protocols: ["h3"] }, { cookies: {} }],
        ...[{ cache: "force-cache" }, { duplex: "full" }, { redirect: "x" }],
        ...[{ queryStyle: "x" }, { timeout: { dns: 1 } }],
      ]
    ) {
      await assertRejects(
        () => client.fetch("http://127.0.0.1:1/", init as ClientInit),
        TypeError,
      );
    }
    for (
      const init of [
        ...[{ timeout: -1 }, { timeout: NaN }, { timeout: { idle: "1" } }],
        ...[{ maxRedirects: -1 }, { maxResponseSize: -1 }],
      ]
    ) {
      await assertRejects(
        () => client.fetch("http://127.0.0.1:1/", init as ClientInit),
        RangeError,
      );
    }
    for (
      const options of [
        ...[{ proxy: "a" }, { pool: { size: 1 } }, { use: ["x"] }],
        ...[{ lookup: {} }, { json: 1 }],
      ]
    ) {
      assertThrows(() => new Client(options as ClientOptions), TypeError);
    }
    assertThrows(() => new Client({ pool: { perHost: 0 } }), RangeError);
    await client.close();
  });

  test("Client takes what fetch takes and has no meaning here", () =>
    withClient(async (client, server) => {
      const response = await client.fetch(server.url, {
        ...{ mode: "cors", credentials: "include", cache: "no-store" },
        ...{ keepalive: true, referrer: "about:client", signal: null },
        ...{ referrerPolicy: "no-referrer", priority: "high", window: null },
      });
      assertEquals(response.status, 200);
    }));

  test("Client.close() waits for what is under way, then refuses", async () => {
    let finish: (() => void) | undefined;
    const server = await scripted(({ socket }) => {
      finish = () => socket.write(answer("late"));
    });
    const client = new Client();
    try {
      const pending = client.get(server.url).text();
      while (finish === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      const closing = client.close();
      const refused = await assertRejects(
        () => client.get(server.url),
        TypeError,
      );
      assertStringIncludes(refused.message, "closed");
      finish();
      assertEquals(await within(pending), "late");
      await within(closing);
      assertEquals(client.stats().open, 0);
    } finally {
      await server.close();
    }
  });

  test("Client.close() ends what is left at its timeout", async () => {
    const server = await scripted(() => {});
    const client = new Client({ pool: { perHost: 1 } });
    try {
      const all = [client.get(server.url), client.get(server.url)];
      const settled = Promise.allSettled(all);
      await within(client.close({ timeout: 20 }));
      for (const result of await within(settled)) {
        assertEquals(result.status, "rejected");
      }
      assertEquals(client.stats(), { open: 0, idle: 0, queued: 0, hosts: {} });
    } finally {
      await server.close();
    }
  });

  test("Client goes over a Unix socket", async () => {
    const { createServer } = await import("node:http");
    const { mkdtemp, rm } = await import("node:fs/promises");
    const folder = await mkdtemp("/tmp/sluice-client-");
    const path = `${folder}/s`;
    const server = createServer((request, response) => {
      response.end(`${request.headers.host} ${request.url}`);
    });
    await new Promise<void>((resolve) => server.listen(path, () => resolve()));
    const client = new Client({ unix: path });
    try {
      assertEquals(
        await within(client.get("http://a.example/b").text()),
        "a.example /b",
      );
    } finally {
      await client.close({ timeout: 0 });
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true });
    }
  });
});
