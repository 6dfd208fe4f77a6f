import { describe, test } from "node:test";
import { execFile } from "node:child_process";
import { once } from "node:events";
import * as http from "node:http";
import {
  compose,
  compress,
  eventStream,
  get,
  Response as LightResponse,
  withTrailers,
} from "../http/mod.ts";
import { acceptedOf } from "../http/_file_types.ts";
import { connect, upgrade } from "../ws/mod.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { ask, codings, decoder } from "./_http_compress.ts";
import { rawClient, withServer } from "./_http_raw.ts";
import { engines, needs, until, within } from "./_support.ts";
import type { CompressOptions, HttpServer } from "../http/mod.ts";

const long = "The quick brown fox jumps over the lazy dog. ".repeat(100);
const offered = ["br", "zstd", "gzip", "deflate"];

/** A long text with these fields. */
function text(fields: Record<string, string> = {}, body: BodyInit = long) {
  return new Response(body, {
    headers: { "content-type": "text/plain", ...fields },
  });
}

/** A stream with its strings given by hand. */
function byHand() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  let cancelled: unknown;
  let gone = false;
  const body = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
    },
    cancel(reason) {
      gone = true;
      cancelled = reason;
    },
  });
  const encoder = new TextEncoder();
  return {
    body,
    send: (text: string) => controller.enqueue(encoder.encode(text)),
    close: () => controller.close(),
    fail: (error: unknown) => controller.error(error),
    get gone() {
      return gone;
    },
    get reason() {
      return cancelled;
    },
  };
}

/** The decoded text of a response as it comes. */
async function reading(server: HttpServer, accept: string, path = "/") {
  const { port } = server.address as { port: number };
  const request = http.get({
    host: "127.0.0.1",
    port,
    path,
    headers: { "accept-encoding": accept },
    agent: false,
  });
  const [response] = await within(once(request, "response"));
  assertEquals(response.headers["content-encoding"], accept);
  const stream = decoder(accept);
  let text = "";
  let ended = false;
  let error: unknown;
  const failed = (cause: unknown) => error ??= cause;
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => text += chunk);
  stream.on("end", () => ended = true);
  stream.on("error", failed);
  response.on("error", failed);
  request.on("error", failed);
  response.pipe(stream);
  return {
    request,
    response,
    get text() {
      return text;
    },
    get ended() {
      return ended;
    },
    get error() {
      return error;
    },
    until: (wanted: string) =>
      until(() => text.includes(wanted), `${wanted} in ${text}`),
  };
}

/** What curl shows of a response that it decodes. */
function curl(...args: string[]): Promise<string> {
  return within(
    new Promise((resolve, reject) => {
      execFile(
        "curl",
        ["-sS", "--compressed", "-D-", ...args],
        (error, stdout) => error ? reject(error) : resolve(stdout),
      );
    }),
    10_000,
  );
}

describe("acceptedOf()", () => {
  const rows: [string | null, string, boolean][] = [
    [null, "", true],
    ["", "", true],
    ["*", "br zstd gzip deflate", true],
    ["gzip", "gzip", true],
    ["x-gzip", "gzip", true],
    ["GZIP, Br", "br gzip", true],
    ["gzip, deflate, br, zstd", "br zstd gzip deflate", true],
    ["gzip;q=1.0, br;q=0.9", "gzip br", true],
    ["gzip;q=0.5,br;q=0.5 , deflate", "deflate br gzip", true],
    ["gzip;q=0", "", true],
    ["*;q=0", "", false],
    ["*;q=0, gzip", "gzip", false],
    ["identity;q=0, gzip;q=0.1", "gzip", false],
    ["identity;q=0", "", false],
    ["identity, gzip;q=0.5", "", true],
    ["identity;q=0.5, gzip;q=0.5", "gzip", true],
    ["*, br;q=0", "zstd gzip deflate", true],
    ["compress, exi", "", true],
    ["gzip;q=2", "", true],
    ["gzip;q=-1", "", true],
    ["gzip;q=0.0001", "", true],
    ["gzip;q=0.001", "gzip", true],
    ["gzip;level=9;q=0.1, br;q=0.2", "br gzip", true],
    [",, gzip ,,", "gzip", true],
  ];
  for (const [accept, wanted, identity] of rows) {
    test(`reads ${JSON.stringify(accept)}`, () => {
      const found = acceptedOf(accept, offered);
      assertEquals(found.codings.join(" "), wanted);
      assertEquals(found.identity, identity);
    });
  }
});

for (const engine of engines) {
  const on = { engine, compress: true } as const;

  describe(`serve() with compress on the ${engine} engine`, () => {
    test("sends each coding that is asked for, and says so", () =>
      withServer(() => text(), on, async (server) => {
        for (const coding of codings) {
          const found = await ask(server, coding);
          assertEquals(found.headers["content-encoding"], coding);
          assertEquals(found.headers["content-length"], String(found.size));
          assertEquals(found.headers.vary, "accept-encoding");
          assertEquals(found.text, long);
          assert(found.size < 400, `${coding}: ${found.size}`);
        }
        for (const accept of [undefined, "", "identity", "gzip;q=0"]) {
          const found = await ask(server, accept);
          assertEquals(found.headers["content-encoding"], undefined);
          assertEquals(found.headers.vary, "accept-encoding");
          assertEquals(found.text, long);
        }
      }));

    test("does nothing when it is off", () =>
      withServer(() => text(), { engine }, async (server) => {
        const found = await ask(server, "gzip, br");
        assertEquals(found.headers["content-encoding"], undefined);
        assertEquals(found.headers.vary, undefined);
        assertEquals(found.text, long);
      }));

    const kinds: Record<string, () => Response> = {
      "a string": () => new Response(long),
      "a string of a light response": () => new LightResponse(long),
      "a string with fields": () => text({ "x-a": "1" }),
      "a string with a reason": () =>
        new Response(long, {
          statusText: "Fine",
          headers: { "content-type": "text/html" },
        }),
      "bytes": () => text({}, new TextEncoder().encode(long)),
      "bytes of a light response": () =>
        new LightResponse(new TextEncoder().encode(long), {
          headers: { "content-type": "image/svg+xml" },
        }),
      "a Blob": () => new Response(new Blob([long], { type: "text/css" })),
      "a stream": () => text({}, new Blob([long]).stream()),
      "a stream with its length": () =>
        text({ "content-length": `${long.length}` }, new Blob([long]).stream()),
      "a tee": () => text({}, text().clone().body!),
      "a longer string": () => text({}, long.repeat(30)),
      "JSON": () => Response.json({ long }),
      "light JSON": () => LightResponse.json({ long }),
    };
    for (const [kind, make] of Object.entries(kinds)) {
      test(`compresses ${kind}`, () =>
        withServer(make, on, async (server) => {
          const whole = await make().text();
          for (const coding of codings) {
            const found = await ask(server, coding);
            assertEquals(found.headers["content-encoding"], coding);
            assertEquals(found.headers.vary, "accept-encoding");
            assert(found.headers["content-type"], "no type");
            assertEquals(found.text, whole);
            assert(found.size < whole.length / 4);
          }
          const plain = await ask(server, undefined);
          assertEquals(plain.text, whole);
          assertEquals(plain.headers.vary, "accept-encoding");
        }));
    }

    const left: Record<string, [() => Response, vary?: string]> = {
      "what is encoded": [() => text({ "content-encoding": "x" })],
      "identity that is said": [() => text({ "content-encoding": "identity" })],
      "no-transform": [
        () => text({ "cache-control": "public, No-Transform" }),
      ],
      "a part": [() =>
        new Response(long, {
          status: 206,
          headers: { "content-range": `bytes 0-${long.length - 1}/9999` },
        })],
      "what tells its range": [() => text({ "content-range": "bytes */9" })],
      "what has a digest": [() => text({ "repr-digest": "sha-256=:YQ==:" })],
      "images": [() => text({ "content-type": "image/png" })],
      "a type like one": [() => text({ "content-type": "textual/plain" })],
      "what has no type": [() => {
        const response = new Response(new Uint8Array([255, 254, 255]));
        return response;
      }],
      "short bodies": [() => text({}, "x".repeat(1023)), "accept-encoding"],
      "short bodies of streams that say so": [
        () => text({ "content-length": "3" }, new Blob(["abc"]).stream()),
        "accept-encoding",
      ],
      "what gets no shorter": [
        () => text({}, crypto.getRandomValues(new Uint8Array(2000))),
        "accept-encoding",
      ],
      "no body": [() => new Response(null, { status: 204 })],
      "a redirection": [() => Response.redirect("http://localhost/", 302)],
    };
    for (const [kind, [make, vary]] of Object.entries(left)) {
      test(`leaves ${kind}`, () =>
        withServer(make, on, async (server) => {
          const { port } = server.address as { port: number };
          const request = http.get({
            host: "127.0.0.1",
            port,
            headers: { "accept-encoding": "gzip, br" },
            agent: false,
          });
          const [response] = await within(once(request, "response"));
          response.resume();
          await within(once(response, "end"));
          const wanted = make();
          assertEquals(response.statusCode, wanted.status);
          assertEquals(
            response.headers["content-encoding"] ?? null,
            wanted.headers.get("content-encoding"),
          );
          assertEquals(response.headers.vary, vary);
        }));
    }

    test("adds to Vary once, and not to *", () =>
      withServer(
        (request) => {
          const vary = new URL(request.url).searchParams.get("vary")!;
          return text({ vary });
        },
        on,
        async (server) => {
          const rows = [
            ["origin", "origin, accept-encoding"],
            ["Accept-Encoding", "Accept-Encoding"],
            ["origin, ACCEPT-ENCODING", "origin, ACCEPT-ENCODING"],
            ["*", "*"],
            ["x-accept-encoding", "x-accept-encoding, accept-encoding"],
          ];
          for (const [given, wanted] of rows) {
            for (const accept of ["gzip", undefined]) {
              const { headers } = await ask(server, accept, {
                path: `/?vary=${encodeURIComponent(given)}`,
              });
              assertEquals(headers.vary, wanted);
            }
          }
        },
      ));

    test("keeps every field, cookies one by one", () =>
      withServer(
        () => {
          const response = text({ "x-one": "1" });
          response.headers.append("set-cookie", "a=1");
          response.headers.append("set-cookie", "b=2");
          return response;
        },
        on,
        async (server) => {
          const { headers } = await ask(server, "gzip");
          assertEquals(headers["set-cookie"], ["a=1", "b=2"]);
          assertEquals(headers["x-one"], "1");
        },
      ));

    test("weakens a strong tag and takes back Accept-Ranges", () =>
      withServer(
        () => text({ etag: '"a"', "accept-ranges": "bytes" }),
        on,
        async (server) => {
          const packed = await ask(server, "gzip");
          assertEquals(packed.headers.etag, 'W/"a"');
          assertEquals(packed.headers["accept-ranges"], undefined);
          const plain = await ask(server, undefined);
          assertEquals(plain.headers.etag, '"a"');
          assertEquals(plain.headers["accept-ranges"], "bytes");
        },
      ));

    test("confirms the tag by which the client knows it", () =>
      withServer(
        () => new Response(null, { status: 304, headers: { etag: '"a"' } }),
        on,
        async (server) => {
          for (const [known, etag] of [['W/"a"', 'W/"a"'], ['"a"', '"a"']]) {
            const { status, headers } = await ask(server, "gzip", {
              headers: { "if-none-match": known },
            });
            assertEquals(status, 304);
            assertEquals(headers.etag, etag);
          }
        },
      ));

    test("gives HEAD the fields of GET", () =>
      withServer(
        (request) => {
          const stream = request.url.endsWith("/stream");
          return text(
            { etag: '"a"' },
            stream ? new Blob([long]).stream() : long,
          );
        },
        on,
        async (server) => {
          for (const path of ["/", "/stream"]) {
            const head = await ask(server, "gzip", { path, method: "HEAD" });
            const get = await ask(server, "gzip", { path });
            assertEquals(head.text, "");
            for (
              const name of ["content-encoding", "vary", "etag", "content-type"]
            ) {
              assertEquals(head.headers[name], get.headers[name]);
            }
            const length = head.headers["content-length"];
            // A stream's is 0 to Deno.serve.
            if (engine === "native" && path === "/stream") continue;
            assert(length === undefined || length === String(get.size), length);
          }
        },
      ));

    test("encodes what is short for who takes nothing else", () =>
      withServer(() => text({}, "hi"), on, async (server) => {
        for (const accept of ["gzip, identity;q=0", "gzip, *;q=0"]) {
          const found = await ask(server, accept);
          assertEquals(found.headers["content-encoding"], "gzip");
          assertEquals(found.text, "hi");
        }
      }));

    for (const coding of codings) {
      test(`lets no chunk wait for the next with ${coding}`, async () => {
        const source = byHand();
        await withServer(() => text({}, source.body), on, async (server) => {
          source.send("one ");
          const client = await reading(server, coding);
          await client.until("one ");
          for (const word of ["two ", "three ", "four "]) {
            source.send(word);
            await client.until(word);
          }
          source.close();
          await until(() => client.ended);
          assertEquals(client.text, "one two three four ");
        });
      });

      test(`lets no event wait for the next with ${coding}`, async () => {
        let next!: (value: string) => void;
        async function* events() {
          for (let n = 0; n < 3; n++) {
            yield await new Promise<string>((resolve) => next = resolve);
          }
        }
        await withServer(() => eventStream(events()), on, async (server) => {
          const opened = reading(server, coding);
          await until(() => next !== undefined);
          next("one");
          const client = await opened;
          await client.until("data: one\n\n");
          next("two");
          await client.until("data: two\n\n");
          next("three");
          await client.until("data: three\n\n");
          await until(() => client.ended);
        });
      });
    }

    test("tells the source that the client is gone", async () => {
      const source = byHand();
      await withServer(() => text({}, source.body), on, async (server) => {
        source.send(long);
        const client = await reading(server, "gzip");
        await client.until("fox");
        client.request.destroy();
        await until(() => {
          if (!source.gone && engine === "native") source.send(long);
          return source.gone;
        });
      });
    });

    test("lets a body that breaks look broken", async () => {
      const source = byHand();
      const errors: unknown[] = [];
      await withServer(() => text({}, source.body), {
        ...on,
        onError(error) {
          errors.push(error);
          return new Response(null, { status: 500 });
        },
      }, async (server) => {
        source.send(long);
        const client = await reading(server, "gzip");
        await client.until("fox");
        const cause = new Error("broken");
        source.fail(cause);
        await until(() =>
          client.error !== undefined || client.response.destroyed
        );
        assert(!client.ended);
        if (engine === "wire") assertEquals(errors, [cause]);
      });
    });

    test("reads no more of the source than the client takes", async () => {
      let pulled = 0;
      const block = () => crypto.getRandomValues(new Uint8Array(64 * 1024));
      const source = () =>
        new ReadableStream<Uint8Array>({
          pull(controller) {
            pulled++;
            controller.enqueue(block());
          },
        });
      await withServer(() => text({}, source()), on, async (server) => {
        const client = await rawClient(server);
        client.socket.pause();
        client.send(
          "GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n",
        );
        let last = -1;
        await until(
          async () => {
            last = pulled;
            await new Promise((resolve) => setTimeout(resolve, 250));
            return last > 0 && pulled === last;
          },
          "The source is left alone",
          10_000,
        );
        assert(pulled < 2000, `${pulled} blocks`);
        client.destroy();
      });
    });

    test("is undone by our client and by fetch", () =>
      withServer(() => text({}, long.repeat(20)), on, async (server) => {
        const ours = await within(get(server.url));
        assertEquals(await within(ours.text()), long.repeat(20));
        const theirs = await within(fetch(server.url));
        assertEquals(await within(theirs.text()), long.repeat(20));
        assert(theirs.headers.get("vary")?.includes("accept-encoding"));
      }));

    test(
      "is undone by curl",
      { skip: needs("curl") },
      () =>
        withServer(
          (request) => {
            const path = new URL(request.url).pathname;
            return text(
              {},
              path === "/stream" ? new Blob([long]).stream() : long,
            );
          },
          on,
          async (server) => {
            for (const path of ["", "stream"]) {
              const out = await curl(server.url + path);
              assert(/content-encoding: (br|zstd|gzip)\r\n/i.test(out), out);
              assert(out.endsWith(long));
            }
          },
        ),
    );

    test("upgrades to a WebSocket all the same", () =>
      withServer(
        (request) =>
          upgrade(request, async (socket) => {
            for await (const message of socket) await socket.send(message);
          }),
        on,
        async (server) => {
          const socket = await within(connect(server.url));
          await socket.send(long);
          assertEquals(await within(Promise.resolve(socket.receive())), long);
          await within(socket.close());
        },
      ));

    test("takes a response of fetch, whose fields cannot be changed", () =>
      withServer(
        () => text({ "x-a": "1" }),
        { engine },
        (origin) =>
          withServer(() => fetch(origin.url), on, async (server) => {
            for (const accept of ["gzip", undefined]) {
              const found = await ask(server, accept);
              assertEquals(found.headers["content-encoding"], accept);
              assertEquals(found.headers.vary, "accept-encoding");
              assertEquals(found.text, long);
            }
          }),
      ));

    test("refuses a body that was read", () => {
      const errors: unknown[] = [];
      return withServer(async () => {
        const response = text();
        await response.text();
        return response;
      }, {
        ...on,
        onError(error) {
          errors.push(error);
          return new Response("no", { status: 500 });
        },
      }, async (server) => {
        assertEquals((await ask(server, "gzip")).status, 500);
        assert(errors[0] instanceof TypeError);
      });
    });
  });
}

describe("serve() with compress", () => {
  test("compresses for HTTP/2", { skip: needs("curl") }, () =>
    withServer(
      () => text({}, new Blob([long]).stream()),
      { compress: true, protocols: ["h2", "http/1.1"] },
      async (server) => {
        const out = await curl("--http2-prior-knowledge", server.url);
        assert(/^HTTP\/2 200/.test(out), out);
        assert(/\ncontent-encoding: (br|zstd|gzip)\r\n/i.test(out), out);
        assert(out.endsWith(long));
      },
    ));

  test("sends trailers behind what it compressed", () =>
    withServer(
      () => withTrailers(text({}, long), { "x-sum": "1" }),
      { compress: true },
      async (server) => {
        for (const accept of ["gzip", undefined]) {
          const found = await ask(server, accept);
          assertEquals(found.headers["content-encoding"], accept);
          assertEquals(found.trailers, { "x-sum": "1" });
          assertEquals(found.text, long);
        }
      },
    ));

  test("lets a tunnel through", () =>
    withServer(
      (_, context) =>
        context.tunnel(async (connection) => {
          for await (const bytes of connection) await connection.send(bytes);
        }),
      { compress: true },
      async (server) => {
        const client = await rawClient(server);
        client.send(
          "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\naccept-encoding: gzip\r\n\r\n",
        );
        await client.until("\r\n\r\n");
        client.send("ping");
        assert((await client.until("ping")).startsWith("HTTP/1.1 200"));
        client.destroy();
      },
    ));

  test("compresses for fetch of the server too", () =>
    withServer(() => text(), { compress: true }, async (server) => {
      const response = await server.fetch(
        new Request(server.url, { headers: { "accept-encoding": "gzip" } }),
      );
      assertEquals(response.headers.get("content-encoding"), "gzip");
    }));

  test("keeps to its options", () =>
    withServer(() => text({ "content-type": "image/bmp" }, "a".repeat(50)), {
      compress: {
        codings: ["deflate", "gzip"],
        threshold: 50,
        levels: { gzip: 1, deflate: 9 },
        filter: (response) =>
          response.headers.get("content-type") === "image/bmp",
      },
    }, async (server) => {
      const found = await ask(server, "br, gzip, deflate");
      assertEquals(found.headers["content-encoding"], "deflate");
      assertEquals(found.text, "a".repeat(50));
      assertEquals(
        (await ask(server, "br")).headers["content-encoding"],
        undefined,
      );
    }));

  test("compresses with the highest levels without being held up", () =>
    withServer(() => text({}, long.repeat(30)), {
      compress: { levels: { br: 11, zstd: 19, gzip: 9, deflate: 1 } },
    }, async (server) => {
      for (const coding of codings) {
        assertEquals((await ask(server, coding)).text, long.repeat(30));
      }
    }));
});

describe("compress()", () => {
  test("is a layer", async () => {
    const handler = compose(compress({ threshold: 100 }))(() =>
      text({}, "a".repeat(100))
    );
    await withServer(handler, {}, async (server) => {
      const found = await ask(server, "gzip");
      assertEquals(found.headers["content-encoding"], "gzip");
      assertEquals(found.text, "a".repeat(100));
    });
  });

  test("refuses options that make no sense", async () => {
    const bad: [unknown, typeof TypeError | typeof RangeError][] = [
      [{ codings: ["lzma"] }, TypeError],
      [{ codings: ["br", "br"] }, TypeError],
      [{ codings: "br" }, TypeError],
      [{ threshold: -1 }, RangeError],
      [{ threshold: NaN }, RangeError],
      [{ levels: { br: 12 } }, RangeError],
      [{ levels: { gzip: 0 } }, RangeError],
      [{ levels: { zstd: 1.5 } }, RangeError],
      [{ levels: { lzma: 1 } }, TypeError],
      [{ levels: 3 }, TypeError],
      [{ filter: "text" }, TypeError],
      [{ level: 3 }, TypeError],
      ["gzip", TypeError],
      [1, TypeError],
      [null, TypeError],
    ];
    for (const [options, Kind] of bad) {
      assertThrows(() => compress(options as CompressOptions), Kind, "ompress");
      await assertRejects(
        () =>
          withServer(
            () => text(),
            { compress: options as never },
            async () => {},
          ),
        Kind,
        "ompress",
      );
    }
  });
});
