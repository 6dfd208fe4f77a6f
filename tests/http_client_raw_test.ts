import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "./assert.ts";
import { deferred, withClient } from "./_client_support.ts";
import { answer, scripted } from "./_http_servers.ts";
import { until } from "./_support.ts";
import { FetchError } from "../http/errors.ts";
import { NetError, ProtocolError, SizeLimitError } from "../streams/errors.ts";

/** Answers every request with these bytes; then perhaps FIN or RST. */
function bytes(text: string, then: "stay" | "end" | "reset" = "stay") {
  return scripted(({ socket }) => {
    const chunk = Uint8Array.from(text, (char) => char.charCodeAt(0));
    if (then === "end") socket.end(chunk);
    else if (then === "reset") {
      socket.write(chunk, () => setTimeout(() => socket.resetAndDestroy(), 20));
    } else socket.write(chunk);
  });
}

const HEAD = "HTTP/1.1 200 OK\r\n";

describe("a response from a raw server", () => {
  const good: [name: string, text: string, body: string, keeps: boolean][] = [
    ["with a length", answer("hello"), "hello", true],
    ["with no body", answer(""), "", true],
    [
      "in chunks",
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      "hello",
      true,
    ],
    [
      "in chunks with extensions",
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n`,
      "hello",
      true,
    ],
    [
      "that says close",
      answer("hello", "Connection: close\r\n"),
      "hello",
      false,
    ],
    [
      "of HTTP/1.0",
      "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
      "hi",
      false,
    ],
    [
      "behind 100 and 103",
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n${
        answer("hi")
      }`,
      "hi",
      true,
    ],
    [
      "without a reason",
      "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
      "hi",
      true,
    ],
    ["with a status nobody knows", answer("hi", "", "299 Odd"), "hi", true],
    // Whatever it may mean, it is as good as a 5xx (RFC 9110, 15).
    ["with a status of 600", answer("hi", "", "600 Odd"), "hi", true],
    ["with a status of 999", answer("hi", "", "999 Denied"), "hi", true],
    ["with 204", "HTTP/1.1 204 No Content\r\n\r\n", "", true],
    [
      "with garbage behind it",
      `${answer("hi")}HTTP/1.1 200 OK\r\n`,
      "hi",
      false,
    ],
    ["with another answer behind it", answer("hi").repeat(2), "hi", false],
  ];
  for (const [name, text, body, keeps] of good) {
    test(`is read ${name}, whole or byte by byte`, async () => {
      for (const pieces of [[text], [...text]]) {
        await withClient(
          scripted(async ({ socket }) => {
            for (const piece of pieces) {
              socket.write(piece);
              await new Promise((resolve) => setImmediate(resolve));
            }
          }),
          async (client, server) => {
            const response = await client.get(server.url);
            assertEquals(await response.text(), body);
            if (!keeps) await until(() => client.stats().open === 0);
            else assertEquals(client.stats().idle, 1);
          },
        );
      }
    });
  }

  test("is read to the end of the connection", () =>
    withClient(bytes(`${HEAD}\r\nhello`, "end"), async (client, server) => {
      assertEquals(await client.get(server.url).text(), "hello");
      assertEquals(client.stats().open, 0);
    }));

  const bad: [name: string, text: string][] = [
    ["is no HTTP", "SSH-2.0-OpenSSH\r\n"],
    ["is of HTTP/2", "HTTP/2.0 200 OK\r\n\r\n"],
    ["has a bare LF", "HTTP/1.1 200 OK\nA: b\n\n"],
    ["has a space before the colon", `${HEAD}A : b\r\n\r\n`],
    ["has a NUL in a field", `${HEAD}A: \0\r\n\r\n`],
    [
      "has two lengths",
      `${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
    ],
    ["has a signed length", `${HEAD}Content-Length: +1\r\n\r\na`],
    [
      "has length and chunks",
      `${HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ["has an unknown coding", `${HEAD}Transfer-Encoding: gzip\r\n\r\n`],
    ["switches protocols unasked", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ["has endless fields", `${HEAD}A: ${"b".repeat(70_000)}`],
    ["has too many fields", `${HEAD}${"a: b\r\n".repeat(300)}\r\n`],
    ["informs for ever", "HTTP/1.1 102 Processing\r\n\r\n".repeat(100)],
    ["has a status of 99", "HTTP/1.1 099 No\r\n\r\n"],
    ["has a reason without end", `HTTP/1.1 200 ${"a".repeat(2000)}`],
    [
      "has too many codings",
      answer("x", "Content-Encoding: gzip, gzip, gzip, gzip, gzip\r\n"),
    ],
  ];
  for (const [name, text] of bad) {
    test(`that ${name} is refused, and the connection ended`, () =>
      withClient(bytes(text), async (client, server) => {
        const error = await assertRejects(
          () => client.get(server.url),
          FetchError,
        );
        assertInstanceOf(error.cause, NetError);
        assert(error.message.includes("GET http://127.0.0.1"), error.message);
        assertEquals(client.stats().open, 0);
        await until(() => server.open === 0);
      }));
  }

  const badBodies: [name: string, text: string][] = [
    [
      "has a bad chunk size",
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nx\r\n`,
    ],
    [
      "has chunks that lie",
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n0\r\n\r\n`,
    ],
    [
      "has a huge chunk",
      `${HEAD}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n`,
    ],
    [
      "has a forbidden trailer",
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\nHost: a\r\n\r\n`,
    ],
  ];
  for (const [name, text] of badBodies) {
    test(`whose body ${name} fails to be read`, () =>
      withClient(bytes(text), async (client, server) => {
        const response = await client.get(server.url);
        const error = await assertRejects(() => response.text(), FetchError);
        assertInstanceOf(error.cause, ProtocolError);
        assertEquals(client.stats().open, 0);
        const streamed = await client.get(server.url);
        await assertRejects(async () => {
          for await (const _ of streamed.body!);
        }, FetchError);
      }));
  }

  test("keeps its trailers apart", () =>
    withClient(
      bytes(
        `${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nx-b: c\r\n\r\n`,
      ),
      async (client, server) => {
        const response = await client.get(server.url);
        const { trailers } = response;
        assertEquals(await response.text(), "hi");
        assertEquals([...await trailers], [["x-b", "c"], ["x-sum", "1"]]);
        assertEquals(await response.trailers, await trailers);
        const none = await client.head(server.url);
        assertEquals([...await none.trailers], []);
      },
    ));

  test("keeps several cookies apart", () =>
    withClient(
      bytes(answer("", "Set-Cookie: a=b, c\r\nset-cookie: d=e\r\n")),
      async (client, server) => {
        const { headers } = await client.get(server.url);
        assertEquals(headers.getSetCookie(), ["a=b, c", "d=e"]);
      },
    ));

  test("has headers that cannot be changed", () =>
    withClient(bytes(answer("", "A: b\r\n")), async (client, server) => {
      const { headers } = await client.get(server.url);
      assertInstanceOf(headers, Headers);
      for (const name of ["set", "append"] as const) {
        try {
          headers[name]("a", "c");
          throw new Error("It was changed");
        } catch (error) {
          assertInstanceOf(error, TypeError);
        }
      }
      assertEquals(headers.get("a"), "b");
    }));
});

describe("a connection that breaks", () => {
  const text = answer("hello world", "A: b\r\n");
  const heads = text.indexOf("\r\n\r\n") + 4;
  for (const how of ["end", "reset"] as const) {
    test(`fails the request at every byte of the head (${how})`, async () => {
      for (let at = 0; at < heads; at += how === "end" ? 1 : 9) {
        await withClient(
          bytes(text.slice(0, at), how),
          async (client, server) => {
            const error = await assertRejects(
              () => client.get(server.url),
              FetchError,
            );
            assertEquals(error.code, "ECONNRESET");
            assertEquals(client.stats().open, 0);
          },
        );
      }
    });

    test(`fails the body at every byte of it (${how})`, async () => {
      for (let at = heads; at < text.length; at += how === "end" ? 1 : 4) {
        await withClient(
          bytes(text.slice(0, at), how),
          async (client, server) => {
            const response = await client.get(server.url);
            await assertRejects(() => response.text(), FetchError);
            await assertRejects(() => response.trailers, FetchError);
            assertEquals(client.stats().open, 0);
          },
        );
      }
    });
  }

  test("gives what came of a body before the error", () =>
    withClient(
      bytes(`${HEAD}Content-Length: 9\r\n\r\nhello`, "end"),
      async (client, server) => {
        const response = await client.get(server.url);
        let text = "";
        await assertRejects(async () => {
          for await (const chunk of response.body!) {
            text += new TextDecoder().decode(chunk);
          }
        }, FetchError);
        assertEquals(text, "hello");
      },
    ));

  test("fails a body in chunks without its last one", () =>
    withClient(
      bytes(`${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`, "end"),
      async (client, server) => {
        await assertRejects(() => client.get(server.url).text(), FetchError);
      },
    ));

  test("is tried again, once, when it was used before", () =>
    withClient(
      scripted(({ socket, connection, request }) => {
        if (request === 1) socket.write(answer(`${connection}`));
        else socket.destroy();
      }),
      async (client, server) => {
        assertEquals(await client.get(server.url).text(), "1");
        assertEquals(await client.get(server.url).text(), "2");
        assertEquals(
          await client.put(server.url, { body: "x" }).text(),
          "3",
        );
        assertEquals(server.accepted, 3);
      },
    ));

  test("is tried again but once", () =>
    withClient(
      scripted(({ socket, request, connection }) => {
        if (connection === 1 && request === 1) socket.write(answer("hi"));
        else socket.destroy();
      }),
      async (client, server) => {
        assertEquals(await client.get(server.url).text(), "hi");
        await assertRejects(() => client.get(server.url), FetchError);
        assertEquals(server.accepted, 2);
      },
    ));

  test("is not tried again for a POST or a body that is gone", () =>
    withClient(
      scripted(({ socket, request }) => {
        if (request % 2 === 1) socket.write(answer("hi"));
        else socket.destroy();
      }),
      async (client, server) => {
        assertEquals(await client.get(server.url).text(), "hi");
        await assertRejects(
          () => client.post(server.url, { body: "x" }),
          FetchError,
        );
        assertEquals(await client.get(server.url).text(), "hi");
        const body = new Blob(["x"]).stream();
        await assertRejects(() => client.put(server.url, { body }), FetchError);
        assertEquals(server.accepted, 2);
      },
    ));

  test("is not tried again when it is new, or has begun to answer", () =>
    withClient(
      scripted(({ socket, request }) => {
        if (request === 1) socket.write(answer("hi"));
        else socket.end("HTTP/1.1 2");
      }),
      async (client, server) => {
        assertEquals(await client.get(server.url).text(), "hi");
        await assertRejects(() => client.get(server.url), FetchError);
        assertEquals(server.accepted, 1);
      },
    ));

  test("is left when it ends or speaks while nobody uses it", () =>
    withClient(
      scripted(({ socket, request, connection }) => {
        socket.write(answer(`${connection}`));
        if (connection === 1) setTimeout(() => socket.end(), 20);
        if (connection === 2) setTimeout(() => socket.write("x"), 20);
        assertEquals(request, 1);
      }),
      async (client, server) => {
        for (const n of ["1", "2", "3"]) {
          assertEquals(await client.get(server.url).text(), n);
          if (n !== "3") await until(() => client.stats().open === 0);
        }
        await until(() => server.open === 1);
      },
    ));
});

describe("a response with 205", () => {
  test("has no body, whatever came with it", () =>
    withClient(
      bytes(answer("hello", "", "205 Reset Content")),
      async (client, { url }) => {
        const response = await client.get(url);
        assertEquals(response.body, null);
        // What takes its parts to make another does not stumble over it.
        assertEquals(new Response(response.body, response).status, 205);
        await until(() => client.stats().idle === 1);
      },
    ));

  test("has none that could go on for ever", () =>
    withClient(
      bytes(
        "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n" +
          "5\r\nhello\r\n",
      ),
      async (client, { url }) => {
        assertEquals(await client.get(url).text(), "");
        await until(() => client.stats().open === 0);
      },
    ));
});

describe("a connection that ends", () => {
  const cut: [where: string, text: string, phase: string][] = [
    ["before an answer", "", "response"],
    ["in the head of an answer", `${HEAD}A: b`, "response"],
    ["in the body of an answer", `${HEAD}Content-Length: 9\r\n\r\nhe`, "body"],
  ];
  for (const [where, text, phase] of cut) {
    test(`${where} is told with the phase "${phase}"`, () =>
      withClient(bytes(text, "end"), async (client, { url }) => {
        const error = await assertRejects(
          () => client.get(url).text(),
          FetchError,
        );
        assertEquals(error.phase, phase);
      }));
  }
});

describe("maxResponseSize", () => {
  test("ends a body that is longer, whatever it said", () =>
    withClient(
      bytes(
        `${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n`,
      ),
      async (client, server) => {
        const text = (maxResponseSize: number) =>
          client.get(server.url, { maxResponseSize }).text();
        assertEquals(await text(10), "helloworld");
        const error = await assertRejects(() => text(9), FetchError);
        assertInstanceOf(error.cause, SizeLimitError);
        assertEquals(error.cause.limit, 9);
        await until(() => server.open === 0);
      },
    ));
});

describe("an informational response", () => {
  test("does not make a request that waits for its body's place", () => {
    const sent = deferred<string>();
    return withClient(
      scripted(async ({ socket, until }) => {
        socket.write("HTTP/1.1 100 Continue\r\n\r\n");
        sent.resolve(await until("hello"));
        socket.write(answer("done"));
      }),
      async (client, server) => {
        assertEquals(
          await client.post(server.url, { body: "hello" }).text(),
          "done",
        );
        assertEquals(await sent.promise, "hello");
      },
    );
  });
});
