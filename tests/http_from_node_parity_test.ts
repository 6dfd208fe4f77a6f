import type { IncomingMessage, ServerResponse } from "node:http";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, test } from "node:test";
import { Client, fromNodeListener } from "../http/mod.ts";
import { toReadable } from "../streams/mod.ts";
import { assert, assertEquals } from "./assert.ts";
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
import { engines, runtime, until, within } from "./_support.ts";

type Listener = (req: IncomingMessage, res: ServerResponse) => unknown;
type Log = (event: string) => void;

/** A server as the tests need it. */
type Server = Parameters<typeof exchange>[0];

function post(body: string): string {
  return `POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`;
}

/** The content of a response, whichever way it came; else `undefined`. */
function contentOf(text: string): string | undefined {
  return /\r\ntransfer-encoding: chunked\r\n/i.test(text)
    ? unchunk(bodyOf(text))
    : bodyOf(text);
}

/** Writes down what `req` and `res` tell. */
function watch(req: IncomingMessage, res: ServerResponse, log: Log): void {
  for (const event of ["aborted", "end", "close"]) {
    req.on(event, () => log(`req ${event}`));
  }
  req.on(
    "error",
    (error: Error & { code?: string }) =>
      log(`req error ${error.code ?? error.message}`),
  );
  for (const event of ["prefinish", "finish", "close"]) {
    res.on(event, () => log(`res ${event}`));
  }
  res.on(
    "error",
    (error: Error & { code?: string }) =>
      log(`res error ${error.code ?? error.message}`),
  );
}

/** The code of the error that it throws. */
function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}

const OVER = ["res prefinish", "res finish", "res close"];
const GONE = ["req aborted", "res close", "req error ECONNRESET", "req close"];

interface Story {
  readonly name: string;
  readonly listener: (
    req: IncomingMessage,
    res: ServerResponse,
    log: Log,
  ) => unknown;
  /** What the client does; by default a GET, read to the end. */
  readonly client?: (server: Server, begun: Promise<void>) => Promise<unknown>;
  /** What is told, in order. */
  readonly events: string[];
  /** Whether a native engine can tell it so. */
  readonly native?: false;
}

const stories: Story[] = [
  {
    name: "a response at once",
    listener: (_req, res) => res.end("hi"),
    events: [...OVER, "req end", "req close"],
  },
  {
    name: "a response in pieces",
    listener: (_req, res) => {
      res.write("a");
      setTimeout(() => res.end("b"), 1);
    },
    events: [...OVER, "req end", "req close"],
  },
  {
    name: "a request that nobody reads",
    listener: (_req, res) => res.end("hi"),
    client: (server) => exchange(server, post("hello")),
    events: [...OVER, "req end", "req close"],
  },
  {
    name: "a client that leaves",
    listener: () => {},
    client: async (server, begun) => {
      const client = await rawClient(server);
      client.send(getOn());
      await begun;
      client.destroy();
    },
    events: GONE,
  },
  {
    name: "a client that leaves in the middle",
    listener: (_req, res) => void res.write("a"),
    client: async (server, begun) => {
      const client = await rawClient(server);
      client.send(getOn());
      await begun;
      await client.until("a");
      client.destroy();
    },
    events: GONE,
  },
  {
    name: "a response that is destroyed",
    listener: (_req, res) => void res.destroy(new Error("mine")),
    events: GONE,
  },
  {
    name: "a response that is destroyed in the middle",
    listener: (_req, res) => {
      res.write("a");
      setTimeout(() => res.destroy(new Error("mine")), 1);
    },
    events: GONE,
  },
  {
    name: "a source that fails",
    listener: (_req, res) => {
      async function* source() {
        yield "a";
        await new Promise((resolve) => setTimeout(resolve, 1));
        throw new Error("mine");
      }
      pipeline(Readable.from(source()), res).catch(() => {});
    },
    events: GONE,
  },
  {
    name: "what is written behind the end",
    listener: (_req, res, log) => {
      res.write("a");
      res.end("b");
      res.write(
        "c",
        (error) => log(`told ${(error as Error & { code: string }).code}`),
      );
      res.end("d");
    },
    events: [
      "res prefinish",
      "told ERR_STREAM_WRITE_AFTER_END",
      "res error ERR_STREAM_WRITE_AFTER_END",
      "res error ERR_STREAM_WRITE_AFTER_END",
      "res finish",
      "res close",
      "req end",
      "req close",
    ],
  },
];

/** How each story is told by what serves the listener. */
async function tell(
  story: Story,
  serving: (
    listener: Listener,
    run: (server: Server) => Promise<unknown>,
  ) => Promise<unknown>,
): Promise<string[]> {
  const events: string[] = [];
  const begun: { tell?: () => void } = {};
  const began = new Promise<void>((resolve) => begun.tell = resolve);
  const log = (event: string) => void events.push(event);
  await serving((req, res) => {
    watch(req, res, log);
    story.listener(req, res, log);
    begun.tell!();
  }, async (server) => {
    const client = story.client ?? ((to) => exchange(to, get()));
    await within(client(server, began));
    await until(() => events.length >= story.events.length);
  });
  return events;
}

/** What is no matter of order: both are told in the same turn. */
function sorted(events: string[]): string[] {
  return [...events].sort();
}

for (const engine of engines) {
  const serving = (
    listener: Listener,
    run: (server: Server) => Promise<unknown>,
    options: object = {},
  ) => withServer(fromNodeListener(listener), { engine, ...options }, run);
  const onWire = engine === "wire";

  describe(`fromNodeListener() beside node:http, ${engine} engine`, () => {
    for (const story of stories) {
      test(`tells the same of ${story.name}`, async () => {
        const events = await tell(story, serving);
        if (story.events === GONE) assertEquals(events, GONE);
        else assertEquals(sorted(events), sorted(story.events));
        const told = (list: string[]) =>
          list.filter((event) => event.startsWith("re"));
        if (!story.events.includes("res error ERR_STREAM_WRITE_AFTER_END")) {
          assertEquals(told(events), told(story.events));
        }
      });
    }

    test("sends what follows an empty write", () =>
      serving((_req, res) => {
        res.write("");
        assert(res.headersSent);
        res.write(new Uint8Array(0), () => {
          res.write("a");
          res.write("");
          res.end("b");
        });
      }, async (server) => {
        assertEquals(contentOf(await exchange(server, get())), "ab");
      }));

    test("may name trailers that never come", () =>
      serving((_req, res) => {
        res.setHeader("trailer", "x-sum");
        res.write("a");
        res.end("b");
      }, async (server) => {
        const text = await exchange(server, get());
        assertEquals(statusOf(text), 200);
        assertEquals(contentOf(text), "ab");
      }));

    test("takes null for no encoding and no callback", () =>
      serving((req, res) => {
        // As Fastify ends what it sends.
        const loose = res as unknown as {
          write(...args: unknown[]): void;
          end(...args: unknown[]): void;
        };
        if (req.url === "/pieces") loose.write("a", null, null);
        loose.end("b", null, null);
      }, async (server) => {
        assertEquals(contentOf(await exchange(server, get())), "b");
        const pieces = await exchange(server, get("/pieces"));
        assertEquals(contentOf(pieces), "ab");
      }));

    test("takes what was written before the end for sent", () =>
      serving((req, res) => {
        if (req.url === "/pieces") res.write("a");
        res.end("b");
        if (req.url === "/request") req.destroy();
        else if (req.url === "/socket") req.socket.destroy();
        else res.destroy();
      }, async (server) => {
        for (const path of ["/", "/pieces", "/request", "/socket"]) {
          const text = await exchange(server, get(path));
          assertEquals(contentOf(text), path === "/pieces" ? "ab" : "b", path);
        }
      }));

    test("closes without an answer what is destroyed before its head", () =>
      serving((req, res) => {
        if (req.url === "/request") req.destroy();
        else if (req.url === "/socket") req.socket.destroy();
        else if (req.url === "/time") res.setTimeout(5);
        else res.destroy();
      }, async (server) => {
        for (const path of ["/", "/request", "/socket", "/time"]) {
          const text = await exchange(server, get(path));
          // A native engine has to answer.
          assertEquals(statusOf(text), onWire ? 0 : 500, path);
        }
      }, { onError: () => new Response(null, { status: 500 }) }));

    test("answers who stops reading a request", () =>
      serving(async (req, res) => {
        for await (const _chunk of req) break;
        res.end("enough");
      }, async (server) => {
        const text = await exchange(server, post("hello"));
        assertEquals(bodyOf(text), "enough");
      }));

    test("refuses what is no chunk, and goes on", () =>
      serving((_req, res) => {
        const codes = [null, undefined, 5, {}, new DataView(new ArrayBuffer(1))]
          .map((chunk) => codeOf(() => res.write(chunk)));
        assert(!res.headersSent);
        assertEquals(codeOf(() => res.end(5)), "ERR_INVALID_ARG_TYPE");
        res.end(JSON.stringify(codes));
      }, async (server) => {
        assertEquals(
          JSON.parse(contentOf(await exchange(server, get()))!),
          ["ERR_STREAM_NULL_VALUES", ...Array(4).fill("ERR_INVALID_ARG_TYPE")],
        );
      }));

    test("throws as node:http does", () =>
      serving((_req, res) => {
        const loose = res as unknown as Record<
          string,
          (...args: unknown[]) => unknown
        >;
        const codes = [
          () => loose.getHeader(5),
          () => loose.hasHeader(),
          () => loose.removeHeader(null),
          () => loose.setHeaders({ a: "b" }),
          () => loose.setHeaders([["a", "b"]]),
          () => loose.writeHead(200, "a\r\nb"),
          () => loose.writeHead(200, { "x-a": undefined }),
          () => loose.setHeader("x-a", "a\nb"),
          () => loose.setHeader("x a", "b"),
        ].map(codeOf);
        res.writeHead(200, { "x-b": "1" });
        const late = [
          () => loose.setHeaders(new Map()),
          () => loose.appendHeader("a", "b"),
          () => loose.removeHeader("a"),
          () => loose.writeEarlyHints({ link: "</a>; rel=preload" }),
        ].map(codeOf);
        res.end(JSON.stringify([...codes, ...late]));
      }, async (server) => {
        assertEquals(
          JSON.parse(contentOf(await exchange(server, get()))!),
          [
            ...Array(5).fill("ERR_INVALID_ARG_TYPE"),
            "ERR_INVALID_CHAR",
            "ERR_HTTP_INVALID_HEADER_VALUE",
            "ERR_INVALID_CHAR",
            "ERR_INVALID_HTTP_TOKEN",
            ...Array(4).fill("ERR_HTTP_HEADERS_SENT"),
          ],
        );
      }));

    test("holds those to their length who want that", () =>
      serving((_req, res) => {
        res.strictContentLength = true;
        res.setHeader("content-length", 4);
        res.write("ab");
        const codes = [
          codeOf(() => res.write("cde")),
          codeOf(() => res.end("c")),
        ];
        assertEquals(
          codes,
          Array(2).fill("ERR_HTTP_CONTENT_LENGTH_MISMATCH"),
        );
        res.end("é");
      }, async (server) => {
        const text = await exchange(server, get());
        assertEquals(bodyOf(text), "ab\u00c3\u00a9");
      }));

    test("makes up no type", () =>
      serving((req, res) => {
        if (req.url === "/pieces") res.write("a");
        res.end("b");
      }, async (server) => {
        // Bun.serve says something of every body.
        if (runtime === "bun" && !onWire) return;
        for (const path of ["/", "/pieces"]) {
          const text = await exchange(server, get(path));
          assert(!/content-type/i.test(text), text);
        }
      }));

    if (onWire) {
      test("closes when it shall not be kept alive", () =>
        serving((_req, res) => {
          res.shouldKeepAlive = false;
          res.end("bye");
        }, async (server) => {
          const text = await exchange(server, getOn());
          assert(/\r\nconnection: close\r\n/i.test(text), text);
        }));
    }
  });
}

describe("fromNodeListener() over HTTP/2", () => {
  test("tells of a body without a length, as parsers of bodies look for it", async () => {
    const client = new Client({ protocols: ["h2"] });
    async function* body() {
      yield "one";
      yield "two";
    }
    await withServer(
      fromNodeListener(async (req: IncomingMessage, res: ServerResponse) => {
        let text = "";
        for await (const chunk of req) text += String(chunk);
        res.end(`${req.headers["transfer-encoding"] ?? "none"} ${text}`);
      }),
      { protocols: ["h2"] },
      async (server) => {
        const sent = client.post(server.url, { body: toReadable(body()) });
        assertEquals(await within(sent.text()), "chunked onetwo");
        assertEquals(await within(client.get(server.url).text()), "none ");
      },
    ).finally(() => client.close());
  });

  test("sends no field that HTTP/2 has not", async () => {
    const client = new Client({ protocols: ["h2"] });
    const fields = [
      ...["connection", "keep-alive", "proxy-connection"],
      ...["transfer-encoding", "upgrade", "te"],
    ];
    await withServer(
      fromNodeListener((_req: IncomingMessage, res: ServerResponse) => {
        for (const field of fields) res.setHeader(field, "x");
        res.end("fine");
      }),
      { protocols: ["h2"] },
      async (server) => {
        const response = await within(client.get(server.url));
        assertEquals(await response.text(), "fine");
        const left = fields.filter((field) => response.headers.has(field));
        assertEquals(left, []);
      },
    ).finally(() => client.close());
  });
});

if (runtime === "node") {
  describe("node:http itself", () => {
    for (const story of stories) {
      test(`tells so of ${story.name}`, async () => {
        const events = await tell(story, async (listener, run) => {
          const server = http.createServer(listener);
          await new Promise<void>((resolve) =>
            server.listen(0, "127.0.0.1", resolve)
          );
          const { port } = server.address() as AddressInfo;
          try {
            await run({
              address: { transport: "tcp", hostname: "127.0.0.1", port },
            });
          } finally {
            server.closeAllConnections();
            await new Promise((resolve) => server.close(resolve));
          }
        });
        assertEquals(sorted(events), sorted(story.events));
      });
    }
  });
}
