import { execFile } from "node:child_process";
import * as http from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Writable } from "node:stream";
import { describe, test } from "node:test";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { compose, fromNodeListener, get } from "../http/mod.ts";
import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import {
  bodyOf,
  exchange,
  get as getText,
  rawClient,
  statusOf,
  unchunk,
  withServer,
} from "./_http_raw.ts";
import { engines, needs, until, within } from "./_support.ts";

type Listener = (req: IncomingMessage, res: ServerResponse) => unknown;

const decoder = new TextDecoder();

/** All of a request's body. */
async function read(req: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of req) {
    text += decoder.decode(chunk, { stream: true });
  }
  return text;
}

function post(body: string, fields = "", path = "/"): string {
  return `POST ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n` +
    `content-length: ${body.length}\r\n${fields}\r\n${body}`;
}

for (const engine of engines) {
  const serving = (
    listener: Listener,
    run: Parameters<typeof withServer>[2],
    options: object = {},
  ) => withServer(fromNodeListener(listener), { engine, ...options }, run);

  describe(`fromNodeListener() on the ${engine} engine`, () => {
    test("gives a request as node:http does", () =>
      serving(async (req, res) => {
        const { socket } = req;
        const seen = {
          is: [
            req instanceof http.IncomingMessage,
            req instanceof Readable,
            res instanceof http.ServerResponse,
            res.req === req,
          ],
          method: req.method,
          url: req.url,
          version: [
            req.httpVersion,
            req.httpVersionMajor,
            req.httpVersionMinor,
          ],
          one: req.headers["x-one"],
          cookie: req.headers.cookie,
          distinct: req.headersDistinct["x-one"]?.join(", "),
          raw: req.rawHeaders.includes("x-one"),
          address: socket.remoteAddress,
          port: typeof socket.remotePort,
          encrypted: (socket as { encrypted?: boolean }).encrypted ?? null,
          before: req.complete,
          text: await read(req),
          after: req.complete,
          aborted: req.aborted,
        };
        res.setHeader("content-type", "application/json");
        res.end(JSON.stringify(seen));
      }, async (server) => {
        const text = await exchange(
          server,
          post(
            "hello",
            "X-One: 1\r\nX-One: 2\r\nCookie: a=1\r\n",
            "/a/b?c=%20",
          ),
        );
        const seen = JSON.parse(bodyOf(text));
        assert(seen.before === false || seen.before === true);
        delete seen.before;
        assertEquals(seen, {
          is: [true, true, true, true],
          method: "POST",
          url: "/a/b?c=%20",
          version: ["1.1", 1, 1],
          one: "1, 2",
          cookie: "a=1",
          distinct: "1, 2",
          raw: true,
          address: "127.0.0.1",
          port: "number",
          encrypted: null,
          text: "hello",
          after: true,
          aborted: false,
        });
      }));

    test("sends what is written, head and all", () =>
      serving((_req, res) => {
        assertEquals(res.headersSent, false);
        res.setHeader("X-One", 1);
        res.setHeader("X-Gone", "1");
        res.removeHeader("x-gone");
        res.appendHeader("Set-Cookie", "a=1");
        res.appendHeader("Set-Cookie", ["b=2"]);
        assertEquals(res.getHeader("x-one"), 1);
        assertEquals(res.hasHeader("X-ONE"), true);
        assertEquals(res.getHeaderNames(), ["x-one", "set-cookie"]);
        assertEquals({ ...res.getHeaders() }, {
          "x-one": 1,
          "set-cookie": ["a=1", "b=2"],
        });
        res.writeHead(201, "Made", { "x-two": "2", "X-One": "one" });
        assert(res.headersSent);
        for (
          const late of [
            () => res.setHeader("a", "b"),
            () => res.removeHeader("a"),
            () => res.writeHead(200),
          ]
        ) {
          const error = assertThrows(late) as Error & { code: string };
          assertEquals(error.code, "ERR_HTTP_HEADERS_SENT");
        }
        res.end("done");
        assert(res.writableEnded);
      }, async (server) => {
        const text = await exchange(server, getText());
        assert(/^HTTP\/1\.1 201 (Made|Created)\r\n/.test(text), text);
        assertEquals(text.match(/\r\nset-cookie: [ab]=\d/gi)?.length, 2);
        assert(/\r\nx-one: one\r\n/i.test(text), text);
        assert(/\r\nx-two: 2\r\n/i.test(text), text);
        assert(/\r\ncontent-length: 4\r\n/i.test(text), text);
        assertEquals(bodyOf(text), "done");
      }));

    test("refuses fields that would split a response", () =>
      serving((_req, res) => {
        const codes = [
          () => res.setHeader("a\r\nb", "1"),
          () => res.setHeader("a", "1\r\nb: 2"),
          () => res.setHeader("a", undefined as never),
          () => res.writeHead(99),
          () => res.writeHead(200, "x\r\ny"),
        ].map((bad) => (assertThrows(bad) as Error & { code: string }).code);
        res.end(codes.join());
      }, async (server) => {
        assertEquals(
          bodyOf(await exchange(server, getText())),
          "ERR_INVALID_HTTP_TOKEN,ERR_INVALID_CHAR,ERR_HTTP_INVALID_HEADER_VALUE,ERR_HTTP_INVALID_STATUS_CODE,ERR_INVALID_CHAR",
        );
      }));

    test("streams both ways", () =>
      serving((req, res) => {
        res.writeHead(200, { "content-type": "text/plain" });
        req.pipe(res);
      }, async (server) => {
        const body = "0123456789".repeat(100_000);
        const response = await within(
          fetch(server.url, { method: "POST", body }),
        );
        assertEquals(await within(response.text()), body);
      }));

    test("tells when to go on writing", async () => {
      const seen = { full: 0, drains: 0, finished: false, closed: false };
      await serving(async (_req, res) => {
        res.on("finish", () => seen.finished = true);
        res.on("close", () => seen.closed = true);
        const chunk = new Uint8Array(16 * 1024).fill(97);
        for (let i = 0; i < 200; i++) {
          if (res.write(chunk)) continue;
          seen.full++;
          await new Promise<void>((resolve) => res.once("drain", resolve));
          seen.drains++;
        }
        res.end();
      }, async (server) => {
        const response = await within(get(server.url));
        assertEquals((await within(response.bytes())).length, 200 * 16 * 1024);
        assert(seen.full > 10, `${seen.full}`);
        assertEquals(seen.drains, seen.full);
        await until(() => seen.closed);
        assert(seen.finished);
      });
    });

    test("sends a slow writer's words one by one", async () => {
      let res!: ServerResponse;
      await serving((_req, given) => {
        res = given;
        res.setHeader("content-type", "text/plain");
        res.flushHeaders();
        res.write("one");
      }, async (server) => {
        const client = await rawClient(server);
        client.send(getText());
        await client.until("one");
        await new Promise<void>((resolve, reject) =>
          res.write("two", (error) => error ? reject(error) : resolve())
        );
        await client.until("two");
        res.cork();
        res.write("th");
        res.write("ree");
        res.uncork();
        await client.until("three");
        res.end("four", "utf8");
        assertEquals(
          unchunk(bodyOf(await client.untilEnd())),
          "onetwothreefour",
        );
        client.destroy();
      });
    });

    test("takes a pipeline from any stream", () =>
      serving(async (_req, res) => {
        await pipeline(Readable.from(["a", "b", "c"]), res);
      }, async (server) => {
        const response = await within(fetch(server.url));
        assertEquals(await within(response.text()), "abc");
      }));

    test("gives 500 for what fails before the head", async () => {
      const errors: unknown[] = [];
      await serving((req, res) => {
        if (req.url === "/async") return Promise.reject(new Error("later"));
        if (req.url === "/destroy") return res.destroy(new Error("cut"));
        if (req.url === "/status") return res.writeHead(700).end();
        throw new Error("now");
      }, async (server) => {
        for (const path of ["/", "/async", "/destroy", "/status"]) {
          const text = await exchange(server, getText(path));
          // Who destroys it wants no answer: only a native engine gives one.
          const cut = path === "/destroy" && engine === "wire";
          assertEquals(statusOf(text), cut ? 0 : 500);
        }
        assertEquals(
          errors.slice(0, 3).map((error) => (error as Error).message),
          ["now", "later", "cut"],
        );
        assert(errors[3] instanceof RangeError);
      }, {
        onError(error: unknown) {
          errors.push(error);
          return new Response(null, { status: 500 });
        },
      });
    });

    test("cuts off what fails behind the head", async () => {
      let fail!: () => void;
      await serving(async (req, res) => {
        res.write("half");
        await new Promise<void>((resolve) => fail = resolve);
        if (req.url === "/destroy") res.destroy();
        else throw new Error("broken");
      }, async (server) => {
        for (const path of ["/", "/destroy"]) {
          const client = await rawClient(server);
          client.send(getText(path));
          await client.until("half");
          fail();
          const text = await client.untilEnd();
          assertEquals(statusOf(text), 200);
          assertEquals(unchunk(bodyOf(text)), undefined);
          client.destroy();
        }
      }, { onError: () => new Response(null, { status: 500 }) });
    });

    test("tells that the client is gone", async () => {
      const told: string[] = [];
      let half = false;
      await serving((req, res) => {
        req.on("aborted", () => told.push("aborted"));
        req.on(
          "error",
          (error: Error & { code?: string }) =>
            told.push(`error ${error.code}`),
        );
        req.on("close", () => told.push("req"));
        res.on("close", () => told.push(`res ${res.writableFinished}`));
        req.socket.on("close", () => told.push("socket"));
        req.on("data", () => half = true);
      }, async (server) => {
        const client = await rawClient(server);
        client.send(
          "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf",
        );
        await until(() => half);
        client.destroy();
        await until(
          () => told.includes("res false") && told.includes("req"),
          "closed",
          10_000,
        );
        assert(told.includes("aborted"), told.join());
        assert(told.includes("error ECONNRESET"), told.join());
        await until(() => told.includes("socket"));
      });
    });

    for (const begun of [false, true]) {
      const what = begun ? "within the response" : "before the response";
      test(`tells a request without a body that its client is gone ${what}`, async () => {
        const told: string[] = [];
        let here = false;
        await serving((req, res) => {
          req.on("aborted", () => told.push("aborted"));
          req.on("close", () => told.push("req"));
          res.on("close", () => told.push("res"));
          if (begun) res.write("half");
          here = true;
        }, async (server) => {
          const client = await rawClient(server);
          client.send(getText());
          if (begun) await client.until("half");
          await until(() => here);
          assertEquals(told, []);
          client.destroy();
          await until(() => told.length === 3, "all of them", 10_000);
          assertEquals(told.sort(), ["aborted", "req", "res"]);
        });
      });
    }

    test("stops a source whose client is gone", async () => {
      let closed = false;
      let destroyed = false;
      await serving((_req, res) => {
        const source = new Readable({
          read() {
            this.push(new Uint8Array(64 * 1024));
          },
          destroy(error, callback) {
            destroyed = true;
            callback(error);
          },
        });
        res.on("close", () => closed = true);
        pipeline(source, res).catch(() => {});
      }, async (server) => {
        const client = await rawClient(server);
        client.send(getText());
        await client.until("\r\n\r\n");
        client.destroy();
        await until(() => closed && destroyed, "The end of the source", 10_000);
      });
    });

    test("sends no body where there is none", () =>
      serving((req, res) => {
        if (req.url === "/304") res.statusCode = 304;
        else if (req.url === "/204") res.statusCode = 204;
        else res.setHeader("content-length", "5");
        res.write("he");
        res.end("llo");
      }, async (server) => {
        const head = await exchange(
          server,
          getText().replace("GET", "HEAD"),
        );
        assertEquals(statusOf(head), 200);
        assertEquals(bodyOf(head), "");
        assert(/content-length: 5\r\n/i.test(head), head);
        for (const status of [204, 304]) {
          const text = await exchange(server, getText(`/${status}`));
          assertEquals(statusOf(text), status);
          assertEquals(bodyOf(text), "");
        }
      }));

    test("does without the body that nobody read", () =>
      serving((_req, res) => res.end("no, thanks"), async (server) => {
        const client = await rawClient(server);
        const body = "x".repeat(200_000);
        client.send(
          `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        );
        await client.until("no, thanks");
        client.destroy();
      }));

    test("times a silent exchange out", async () => {
      let timeouts = 0;
      await serving((_req, res) => {
        res.setTimeout(20, () => {
          timeouts++;
          res.statusCode = 503;
          res.end("late");
        });
      }, async (server) => {
        const text = await exchange(server, getText());
        assertEquals(statusOf(text), 503);
        assertEquals(timeouts, 1);
      });
    });

    test("refuses CONNECT, and writing to the socket", () =>
      serving((req, res) => {
        assertThrows(() => req.socket.write("x"), TypeError, "socket");
        res.end("ok");
      }, async (server) => {
        assert((await exchange(server, getText())).endsWith("ok"));
        if (engine === "native") return;
        const text = await exchange(
          server,
          "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n",
        );
        assertEquals(statusOf(text), 405);
      }));
  });
}

describe("fromNodeListener()", () => {
  const serving = (
    listener: Listener,
    run: Parameters<typeof withServer>[2],
    options: object = {},
  ) => withServer(fromNodeListener(listener), options, run);

  test("sends trailers and gives those of the request", () =>
    serving(async (req, res) => {
      const text = await read(req);
      res.setHeader("trailer", "x-sum");
      res.write(text);
      assertThrows(() => res.addTrailers({ "content-length": "1" }), TypeError);
      res.addTrailers({ "X-Sum": req.trailers["x-in"] ?? "none" });
      assertEquals(req.rawTrailers, ["x-in", "7"]);
      res.end();
    }, async (server) => {
      const text = await exchange(
        server,
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n" +
          "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-in: 7\r\n\r\n",
      );
      assertStringIncludes(text, "\r\ntrailer: x-sum\r\n");
      assert(text.endsWith("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), text);
    }));

  test("sends hints and asks for a body that waits", () =>
    serving(async (req, res) => {
      res.writeEarlyHints({ link: ["</a>; rel=preload", "</b>; rel=preload"] });
      res.writeProcessing();
      res.writeContinue();
      res.end(await read(req));
    }, async (server) => {
      const client = await rawClient(server);
      client.send(
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n",
      );
      await client.until("HTTP/1.1 100 Continue\r\n\r\n");
      client.send("hi");
      const text = await client.untilEnd();
      assertStringIncludes(text, "HTTP/1.1 103 Early Hints\r\nlink: </a>");
      assertStringIncludes(text, "HTTP/1.1 102 Processing\r\n");
      assert(text.endsWith("\r\n\r\nhi"), text);
      client.destroy();
    }));

  test(
    "gives an answer to HTTP/2",
    { skip: needs("curl") },
    () =>
      serving(async (req, res) => {
        res.setHeader("x-seen", `${req.httpVersion} ${req.headers.host}`);
        res.write(`${req.method} ${req.url} `);
        res.end(await read(req));
      }, async (server) => {
        const out = await within(
          new Promise<string>((resolve, reject) => {
            execFile("curl", [
              "-sSi",
              "--http2-prior-knowledge",
              "-d",
              "hello",
              `${server.url}a`,
            ], (error, stdout) => error ? reject(error) : resolve(stdout));
          }),
          10_000,
        );
        assert(out.startsWith("HTTP/2 200"), out);
        assert(/\nx-seen: 2\.0 127\.0\.0\.1:\d+\r\n/.test(out), out);
        assert(out.endsWith("POST /a hello"), out);
      }, { protocols: ["h2", "http/1.1"] }),
  );

  test("gives an answer to HTTP/1.0", () =>
    serving((req, res) => {
      res.write(req.httpVersion);
      res.end("!");
    }, async (server) => {
      const text = await exchange(server, "GET / HTTP/1.0\r\n\r\n");
      assertEquals(bodyOf(text), "1.0!");
    }));

  test("refuses a body over the limit with 413", () =>
    serving(async (req, res) => {
      res.end(String((await read(req)).length));
    }, async (server) => {
      const over = await exchange(server, post("x".repeat(101)));
      assertEquals(statusOf(over), 413);
      const chunked = await exchange(
        server,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" +
          `80\r\n${"x".repeat(128)}\r\n0\r\n\r\n`,
      );
      assertEquals(statusOf(chunked), 413);
      assertEquals(bodyOf(await exchange(server, post("abc"))), "3");
    }, { limits: { body: 100 } }));

  test("sees the request that a layer put in its place", () =>
    withServer(
      compose((request, _context, next) =>
        next(
          new Request(request, {
            headers: { "x-a": "changed", host: "other" },
          }),
        )
      )(fromNodeListener(async (req: IncomingMessage, res: ServerResponse) => {
        res.end(`${req.headers["x-a"]} ${await read(req)}`);
      })),
      {},
      async (server) => {
        const text = await exchange(server, post("body", "X-A: given\r\n"));
        assertEquals(bodyOf(text), "changed body");
      },
    ));

  test("finishes what has no body, too", async () => {
    const told: string[] = [];
    await serving((req, res) => {
      res.on("finish", () => told.push("finish"));
      res.on("close", () => told.push("close"));
      req.on("close", () => told.push("req"));
      res.write("he");
      res.end("llo");
    }, async (server) => {
      const head = getText().replace("GET", "HEAD");
      assertEquals(bodyOf(await exchange(server, head)), "");
      await until(() => told.length === 3);
      assertEquals(told.sort(), ["close", "finish", "req"]);
    });
  });

  test("takes a write whose memory is used again", () =>
    serving(async (_req, res) => {
      const buffer = new Uint8Array(4);
      for (let i = 0; i < 26; i++) {
        buffer.fill(97 + i);
        await new Promise<void>((resolve) =>
          res.write(buffer, () => resolve())
        );
      }
      res.end();
    }, async (server) => {
      const letters = "abcdefghijklmnopqrstuvwxyz";
      const wanted = [...letters].map((letter) => letter.repeat(4)).join("");
      assertEquals(await within(get(server.url).text()), wanted);
    }));

  test("hears of what is written behind the end", () => {
    const errors: string[] = [];
    return serving((_req, res) => {
      res.on(
        "error",
        (error: Error & { code?: string }) =>
          errors.push(error.code ?? error.message),
      );
      res.end("one");
      res.write("two");
      res.end("three");
    }, async (server) => {
      const text = await exchange(server, getText());
      assertEquals(bodyOf(text), "one");
      await until(() => errors.length > 1);
      assertEquals(errors, Array(2).fill("ERR_STREAM_WRITE_AFTER_END"));
    });
  });

  test("is a Writable for those who look", () =>
    serving((_req, res) => {
      // As Express does.
      Object.setPrototypeOf(res, Object.create(http.ServerResponse.prototype));
      assert(res instanceof http.ServerResponse);
      assertEquals(res.writableEnded, false);
      assertEquals(typeof res.writableHighWaterMark, "number");
      new Readable({
        read() {
          this.push("piped");
          this.push(null);
        },
      }).pipe(res as unknown as Writable);
    }, async (server) => {
      assertEquals(await within(get(server.url).text()), "piped");
    }));

  test("refuses what is no function", () => {
    for (const bad of [undefined, null, {}, "app"]) {
      assertThrows(() => fromNodeListener(bad as never), TypeError, "listener");
    }
  });
});
