import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "./assert.ts";
import {
  bodyOf,
  exchange,
  get,
  getOn,
  rawClient,
  statusOf,
  unchunk,
  withServer,
} from "./_http_raw.ts";
import { runtime, until } from "./_support.ts";
import { getCookies } from "../http/cookies.ts";
import { withTrailers } from "../http/with_trailers.ts";
import type { ServerContext } from "../http/types.ts";

/** Answers with what it was asked, after a turn or at once. */
async function tell(request: Request): Promise<Response> {
  const url = new URL(request.url);
  if (url.searchParams.has("slow")) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const body = await request.text();
  return new Response(`<${request.method} ${url.pathname} ${body}>`);
}

function atOnce(request: Request): Response {
  return new Response(`<${request.method} ${new URL(request.url).pathname} >`);
}

const PIPELINE = getOn("/1") +
  "POST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello" +
  "POST /3?slow HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" +
  "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n" +
  get("/4?slow");

function answersOf(text: string): string[] {
  return [...text.matchAll(/<[^>]*>/g)].map(([answer]) => answer);
}

test("serve() answers pipelined requests in order", async () => {
  await withServer(tell, {}, async (server) => {
    const text = await exchange(server, PIPELINE);
    assertEquals(answersOf(text), [
      "<GET /1 >",
      "<POST /2 hello>",
      "<POST /3 abcdefg>",
      "<GET /4 >",
    ]);
  });
});

test("serve() answers the same however the bytes are cut", async () => {
  await withServer(tell, {}, async (server) => {
    const work = async (cut: number) => {
      const client = await rawClient(server);
      client.send(PIPELINE.slice(0, cut));
      await new Promise((resolve) => setTimeout(resolve, 3));
      client.send(PIPELINE.slice(cut));
      const text = await client.untilEnd();
      client.destroy();
      assertEquals(answersOf(text).length, 4, `cut at ${cut}`);
      assertEquals(text.split("HTTP/1.1 200 OK").length, 5);
    };
    for (let cut = 1; cut < PIPELINE.length; cut += 32) {
      await Promise.all(
        Array.from(
          { length: Math.min(32, PIPELINE.length - cut) },
          (_, i) => work(cut + i),
        ),
      );
    }
  });
});

test("serve() answers what comes byte by byte", async () => {
  await withServer(tell, {}, async (server) => {
    const client = await rawClient(server);
    for (const byte of PIPELINE) {
      client.send(byte);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    assertEquals(answersOf(await client.untilEnd()).length, 4);
    client.destroy();
  });
});

test("serve() answers a thousand pipelined requests, at once and later", async () => {
  for (const handler of [atOnce, tell]) {
    await withServer(handler, {}, async (server) => {
      const text = await exchange(
        server,
        Array.from({ length: 1000 }, (_, i) => getOn(`/${i}`)).join("") +
          get("/last"),
      );
      const answers = answersOf(text);
      assertEquals(answers.length, 1001);
      assertEquals(answers[500], "<GET /500 >");
      assertEquals(answers[1000], "<GET /last >");
    });
  }
});

test("serve() bounds what it takes in behind a request that is not answered", async () => {
  let answer!: () => void;
  const wait = new Promise<void>((resolve) => answer = resolve);
  await withServer(
    async (request) => {
      if (request.url.endsWith("/first")) await wait;
      return atOnce(request);
    },
    {},
    async (server) => {
      const client = await rawClient(server);
      client.send(getOn("/first"));
      await until(() => server.stats().bytesRead > 0);
      const more = getOn("/more").repeat(2000);
      const total = 16 * 1024 * 1024;
      let sent = 0;
      while (sent < total) {
        client.send(more);
        sent += more.length;
      }
      // The kernel holds some megabytes, we hold next to nothing.
      await new Promise((resolve) => setTimeout(resolve, 200));
      const { bytesRead } = server.stats();
      assert(bytesRead < 1024 * 1024, `${bytesRead}`);
      assertEquals(client.text, "");
      client.destroy();
      answer();
    },
  );
});

test("serve() goes on after FIN until all is answered", async () => {
  await withServer(tell, {}, async (server) => {
    const client = await rawClient(server);
    client.send(getOn("/1?slow") + getOn("/2?slow"));
    client.end();
    assertEquals(answersOf(await client.untilEnd()).length, 2);
  });
});

test("serve() speaks HTTP/1.0", async () => {
  await withServer(
    (request, context) => {
      if (request.url.endsWith("/stream")) {
        return new Response(
          new ReadableStream({
            async start(controller) {
              controller.enqueue(new TextEncoder().encode("some"));
              await new Promise((resolve) => setTimeout(resolve, 5));
              controller.enqueue(new TextEncoder().encode("thing"));
              controller.close();
            },
          }),
        );
      }
      return new Response(context.protocol);
    },
    {},
    async (server) => {
      let text = await exchange(server, "GET / HTTP/1.0\r\n\r\n");
      assertEquals(bodyOf(text), "http/1.0");
      assertStringIncludes(text, "connection: close");
      text = await exchange(server, "GET /stream HTTP/1.0\r\n\r\n");
      assert(!text.includes("chunked"));
      assertEquals(bodyOf(text), "something");
      const client = await rawClient(server);
      client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
      await client.until("http/1.0");
      assertStringIncludes(client.text, "connection: keep-alive");
      client.send("GET / HTTP/1.0\r\n\r\n");
      await client.untilEnd();
      assertEquals(client.text.split("200 OK").length, 3);
      client.destroy();
    },
  );
});

test("serve() refuses what breaks the rules, with a status that can be read", async () => {
  let called = 0;
  const bad: [string, number][] = [
    ["GET / HTTP/1.1\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\nhost: 1.2.3.4.5\r\n\r\n", 400],
    ["GET / HTTP/1.1\nhost: x\n\n", 400],
    ["GET  / HTTP/1.1\r\nhost: x\r\n\r\n", 400],
    ["GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505],
    ["get / HTTP/1.1\r\nhost: x\r\n\r\n", 501],
    ["GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\nhost: x\r\na : b\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n", 400],
    [
      "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
      400,
    ],
    ["POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400],
    [
      "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
      400,
    ],
    ["POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501],
    ["GET / HTTP/1.1\r\nhost: x\r\nexpect: the moon\r\n\r\n", 417],
    ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400],
  ];
  await withServer(
    () => {
      called++;
      return new Response();
    },
    {},
    async (server) => {
      for (const [request, status] of bad) {
        const text = await exchange(server, request);
        assertEquals(statusOf(text), status, JSON.stringify(request));
        assertStringIncludes(text, "connection: close");
        assertEquals(bodyOf(text), "");
      }
      assertEquals(called, 0);
      await until(() => server.stats().connections === 0);
    },
  );
});

test("serve() lets a refused client read the answer while it still sends", async () => {
  await withServer(
    () => new Response(),
    { limits: { body: 1000 } },
    async (server) => {
      const client = await rawClient(server);
      client.send(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n" +
          "x".repeat(100_000),
      );
      await client.until("413");
      client.send("x".repeat(200_000));
      await client.untilEnd();
      assertEquals(client.error, undefined);
      assertEquals(statusOf(client.text), 413);
      client.destroy();
    },
  );
});

test("serve() refuses a body that is too long, however it comes", async () => {
  let called = 0;
  const failures: unknown[] = [];
  await withServer(
    async (request) => {
      called++;
      try {
        return new Response(`${(await request.text()).length}`);
      } catch (error) {
        failures.push((error as { code?: string }).code);
        throw error;
      }
    },
    { limits: { body: 10 } },
    async (server) => {
      const post = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
      let text = await exchange(server, `${post}content-length: 11\r\n\r\n`);
      assertEquals(statusOf(text), 413);
      assertEquals(called, 0);
      text = await exchange(
        server,
        `${post}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`,
      );
      assertEquals(statusOf(text), 413);
      const client = await rawClient(server);
      client.send(`${post}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n`);
      await until(() => called === 1);
      client.send("6\r\n world\r\n0\r\n\r\n");
      await client.untilEnd();
      assertEquals(statusOf(client.text), 413);
      client.destroy();
      assertEquals(failures, ["ERR_SIZE_LIMIT"]);
      text = await exchange(
        server,
        `${post}content-length: 10\r\n\r\n0123456789`,
      );
      assertEquals(bodyOf(text), "10");
    },
  );
});

test("serve() bounds the header block, the target and the number of fields", async () => {
  await withServer(() => new Response("fine"), {
    limits: { header: 500, target: 100 },
  }, async (server) => {
    const long = "x".repeat(600);
    assertEquals(statusOf(await exchange(server, get(`/${long}`))), 414);
    assertEquals(
      statusOf(await exchange(server, get("/", `a: ${long}\r\n`))),
      431,
    );
    assertEquals(
      statusOf(await exchange(server, get("/", "a: b\r\n".repeat(100)))),
      431,
    );
    assertEquals(statusOf(await exchange(server, get())), 200);
  });
  await withServer(() => new Response("fine"), {}, async (server) => {
    assertEquals(
      statusOf(await exchange(server, get("/", "a: b\r\n".repeat(300)))),
      431,
    );
    assertEquals(
      statusOf(
        await exchange(server, get("/", `a: ${"x".repeat(16_000)}\r\n`)),
      ),
      200,
    );
    assertEquals(
      statusOf(
        await exchange(server, get("/", `a: ${"x".repeat(17_000)}\r\n`)),
      ),
      431,
    );
  });
});

test("serve() closes connections past its limit, and counts them", async () => {
  await withServer(() => new Response("fine"), {
    limits: { connections: 2 },
  }, async (server) => {
    const clients = [await rawClient(server), await rawClient(server)];
    for (const client of clients) {
      client.send(getOn());
      await client.until("fine");
    }
    const third = await rawClient(server);
    third.send(getOn());
    await until(() => third.ended || third.closed);
    assertEquals(third.text, "");
    assertEquals(server.stats().refused, 1);
    assertEquals(server.stats().accepted, 2);
    assertEquals(server.stats().connections, 2);
    clients[0].destroy();
    await until(() => server.stats().connections === 1);
    assertEquals(bodyOf(await exchange(server, get())), "fine");
    clients[1].destroy();
    third.destroy();
  });
});

test("serve() says 100 Continue when the handler first reads", async () => {
  let read!: () => void;
  const wait = new Promise<void>((resolve) => read = resolve);
  await withServer(
    async (request) => {
      if (request.url.endsWith("/no")) {
        return new Response("no", { status: 401 });
      }
      await wait;
      return new Response(await request.text());
    },
    {},
    async (server) => {
      const head = (path: string) =>
        `POST ${path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n`;
      const client = await rawClient(server);
      client.send(head("/"));
      await new Promise((resolve) => setTimeout(resolve, 20));
      assertEquals(client.text, "");
      read();
      await client.until("HTTP/1.1 100 Continue\r\n\r\n");
      client.send("hello");
      await client.until("\r\n\r\nhello");
      client.destroy();
      const text = await exchange(server, head("/no"));
      assertEquals(statusOf(text), 401);
      assertStringIncludes(text, "connection: close");
    },
  );
});

test("serve() writes nothing after a finished response", async () => {
  await withServer(
    (request) => {
      return request.url.endsWith("/cut")
        ? new Response("short", { headers: { connection: "close" } })
        : new Response("short");
    },
    {},
    async (server) => {
      // What follows the last response is not looked at.
      const text = await exchange(server, getOn("/cut") + getOn("/next"));
      assertEquals(text.split("HTTP/1.1").length, 2);
      assertEquals(bodyOf(text), "short");
      // Garbage behind a good request draws one refusal.
      const other = await exchange(server, getOn("/ok") + "\0\0\0\0");
      assertEquals(other.split("HTTP/1.1").length, 3);
      assertStringIncludes(other, "HTTP/1.1 400");
    },
  );
});

test("serve() says how long a response is, whatever the handler says", async () => {
  await withServer(
    (request) => {
      const url = new URL(request.url);
      const headers = {
        "content-length": url.searchParams.get("length") ?? "7",
        "transfer-encoding": "chunked",
      };
      return new Response(url.pathname === "/none" ? null : "hello", {
        headers,
      });
    },
    {},
    async (server) => {
      const client = await rawClient(server);
      for (const path of ["/?length=3", "/?length=99", "/?length=x", "/"]) {
        client.text = "";
        client.send(getOn(path));
        await client.until("hello");
        assertStringIncludes(client.text, "content-length: 5\r\n");
        assert(!client.text.includes("transfer-encoding"));
      }
      client.destroy();
      const text = await exchange(server, get("/none"));
      assertStringIncludes(text, "content-length: 0\r\n");
    },
  );
});

test("serve() drops a body that nobody read, and goes on", async () => {
  await withServer(
    (request) => new Response(request.method),
    {},
    async (server) => {
      const client = await rawClient(server);
      client.send(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
      );
      await client.until("\r\n\r\nPOST");
      client.send("x".repeat(100_000) + getOn());
      await client.until("\r\n\r\nGET");
      client.send(
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
      );
      await client.until("\r\n\r\nPOST", 2);
      client.send("0\r\n\r\n" + get());
      await client.untilEnd();
      assertEquals(client.text.split("200 OK").length, 5);
      client.destroy();
      // One that is too long to be worth it ends the connection.
      const text = await exchange(
        server,
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\n",
      );
      assertStringIncludes(text, "connection: close");
    },
  );
});

test("serve() ignores the body of GET, but not its framing", async () => {
  await withServer(
    async (request) => {
      return new Response(`${request.body} ${await request.text()}`);
    },
    {},
    async (server) => {
      const text = await exchange(
        server,
        "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello" + get(),
      );
      assertEquals(text.split("200 OK").length, 3);
      assertEquals(bodyOf(text).slice(0, 5), "null ");
    },
  );
});

test("serve() reads the target in each of its forms", async () => {
  const targets: [string, string][] = [
    [
      "GET /a/../b?c=%20 HTTP/1.1\r\nhost: h.test:81",
      "http://h.test:81/b?c=%20",
    ],
    ["GET /a/%2e%2e/b HTTP/1.1\r\nhost: H.TEST", "http://h.test/b"],
    ["GET /a|b?c|d' HTTP/1.1\r\nhost: h.test:80", "http://h.test/a|b?c|d%27"],
    [
      "GET //evil.test/x HTTP/1.1\r\nhost: h.test",
      "http://h.test//evil.test/x",
    ],
    [
      "GET http://other.test/x?y HTTP/1.1\r\nhost: h.test",
      "http://other.test/x?y",
    ],
    ["GET https://other.test HTTP/1.1\r\nhost: h.test", "http://other.test/"],
    ["OPTIONS * HTTP/1.1\r\nhost: h.test", "http://h.test/"],
    ["CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443", "http://a.test:443/"],
  ];
  await withServer(
    (request) => {
      assertEquals(new URL(request.url).href, request.url);
      return new Response(`${request.method} ${request.url}`);
    },
    {},
    async (server) => {
      for (const [head, url] of targets) {
        const text = await exchange(
          server,
          `${head}\r\nconnection: close\r\n\r\n`,
        );
        assertEquals(bodyOf(text), `${head.split(" ")[0]} ${url}`);
      }
    },
  );
});

test("serve() gives the methods that no Request may have to the handler", async () => {
  await withServer(
    async (request) => {
      let cloned = "yes";
      try {
        request.clone();
      } catch (error) {
        cloned = (error as Error).name;
      }
      return new Response(
        `${request.method} ${
          request instanceof Request
        } ${cloned} ${await request.text()}`,
      );
    },
    {},
    async (server) => {
      const text = await exchange(
        server,
        "TRACE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
      );
      // The standard's Request refuses it; Bun's does not.
      const traced = runtime === "bun" ? "yes" : "TypeError";
      assertEquals(bodyOf(text), `TRACE true ${traced} `);
      const custom = await exchange(
        server,
        "BREW / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
      );
      // Bun's Request knows no such method, and says so.
      const cloned = runtime === "bun" ? "TypeError" : "yes";
      assertEquals(bodyOf(custom), `BREW true ${cloned} x`);
    },
  );
});

test("context.trailers gives what came behind a chunked body", async () => {
  let trailers: [string, string][] = [];
  await withServer(
    async (request, context) => {
      const body = await request.text();
      trailers = [...await context.trailers];
      return new Response(body);
    },
    {},
    async (server) => {
      const text = await exchange(
        server,
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n" +
          "2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n",
      );
      assertEquals(bodyOf(text), "hi");
      assertEquals(trailers, [["x-sum", "42"]]);
      await exchange(server, get());
      assertEquals(trailers, []);
    },
  );
});

test("context.inform() sends early hints, and refuses later", async () => {
  const errors: string[] = [];
  let context!: ServerContext;
  await withServer(
    (_, given) => {
      context = given;
      given.inform(103, { link: "</a.css>; rel=preload" });
      given.inform(102);
      try {
        given.inform(103, { "x-a": "a\r\nb: c" });
      } catch (error) {
        errors.push((error as Error).name);
      }
      try {
        given.inform(200 as 103);
      } catch (error) {
        errors.push((error as Error).name);
      }
      return new Response("done");
    },
    {},
    async (server) => {
      const text = await exchange(server, get());
      assert(
        text.startsWith(
          "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n" +
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n",
        ),
        text,
      );
      assertEquals(errors, ["TypeError", "RangeError"]);
      try {
        context.inform(103);
      } catch (error) {
        errors.push((error as Error).message);
      }
      assertStringIncludes(errors[2], "the response has begun");
      const old = await exchange(server, "GET / HTTP/1.0\r\n\r\n");
      assert(old.startsWith("HTTP/1.1 200 OK"));
    },
  );
});

test("serve() counts connections and bytes", async () => {
  await withServer(() => new Response("x"), {}, async (server) => {
    const request = get();
    const text = await exchange(server, request);
    await until(() => server.stats().connections === 0);
    assertEquals(server.stats(), {
      connections: 0,
      accepted: 1,
      refused: 0,
      bytesRead: request.length,
      bytesWritten: text.length,
    });
  });
});

test("serve() sends a stream in chunks, and ends it", async () => {
  await withServer(
    () =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            for (const part of ["a", "bc", "x".repeat(9000)]) {
              controller.enqueue(new TextEncoder().encode(part));
              await new Promise((resolve) => setTimeout(resolve, 2));
            }
            controller.close();
          },
        }),
      ),
    {},
    async (server) => {
      const text = await exchange(server, get());
      assertStringIncludes(text, "transfer-encoding: chunked\r\n");
      assertEquals(unchunk(bodyOf(text)), `abc${"x".repeat(9000)}`);
    },
  );
});

test("serve() gives the cookies of several fields as one", async () => {
  const cookies = (request: Request) =>
    Response.json([request.headers.get("cookie"), getCookies(request)]);
  await withServer(cookies, {}, async (server) => {
    const text = await exchange(
      server,
      "GET / HTTP/1.1\r\nhost: x\r\nCookie: a=1\r\nx: y\r\ncookie: b=2; c=3\r\n" +
        "COOKIE: d=4\r\nconnection: close\r\n\r\n",
    );
    assertEquals(JSON.parse(bodyOf(text)), [
      "a=1; b=2; c=3; d=4",
      { a: "1", b: "2", c: "3", d: "4" },
    ]);
  });
});

test("serve() answers 500 for a status text that is none, and reports it", async () => {
  // Bun's Response takes it; others refuse, then the handler throws.
  for (const body of ["text", null, "stream"]) {
    const errors: unknown[] = [];
    const handler = () =>
      new Response(
        body === "stream"
          ? new ReadableStream({ start: (controller) => controller.close() })
          : body,
        { statusText: "a\r\nset-cookie: b=c" },
      );
    const onError = (error: unknown) => {
      errors.push(error);
      return new Response("refused", { status: 500 });
    };
    await withServer(handler, { onError }, async (server) => {
      const text = await exchange(server, get());
      assertEquals(statusOf(text), 500);
      assertEquals(bodyOf(text), "refused");
      assert(!text.includes("b=c"));
      assertEquals(errors.length, 1);
    });
  }
});

test("inform() sends nothing that is for a body or the connection", async () => {
  await withServer(
    (_request: Request, context: ServerContext) => {
      context.inform(103, {
        "content-length": "5",
        "transfer-encoding": "chunked",
        "connection": "close",
        "keep-alive": "timeout=1",
        "upgrade": "a",
        "link": "</a>",
      });
      return new Response("fine");
    },
    {},
    async (server) => {
      const text = await exchange(server, get());
      assertEquals(
        text.slice(0, text.indexOf("\r\n\r\n")),
        "HTTP/1.1 103 Early Hints\r\nlink: </a>",
      );
      assert(text.endsWith("fine"));
    },
  );
});

test("serve() frames no response of 2xx to CONNECT", async () => {
  // RFC 9110, 9.3.6: no Content-Length, no Transfer-Encoding.
  const parts: (() => Response)[] = [
    () => new Response("fine"),
    () => new Response("fine".repeat(2000)),
    () => new Response(new TextEncoder().encode("fine")),
    () => new Response(new Blob(["fine"]).stream()),
    () => withTrailers(new Response("fine"), { "x-a": "b" }),
    () => new Response(null),
  ];
  for (const make of parts) {
    await withServer(make, {}, async (server) => {
      const text = await exchange(
        server,
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
      );
      assertEquals(statusOf(text), 200);
      assertEquals(bodyOf(text), await make().text());
      const head = text.slice(0, text.indexOf("\r\n\r\n")).toLowerCase();
      assert(!head.includes("content-length"), head);
      assert(!head.includes("transfer-encoding"), head);
      assertStringIncludes(head, "connection: close");
    });
  }
  await withServer(
    () => new Response("no", { status: 405 }),
    {},
    async (server) => {
      const text = await exchange(
        server,
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
      );
      assertEquals(statusOf(text), 405);
      assertStringIncludes(text, "content-length: 2");
    },
  );
});
