import * as zlib from "node:zlib";
import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import { deferred, withClient } from "./_client_support.ts";
import { answer, bodyOf, nodeServer, scripted } from "./_http_servers.ts";
import { until } from "./_support.ts";
import type { ClientBody } from "../http/client.ts";
import { FetchError } from "../http/errors.ts";
import { SizeLimitError } from "../streams/errors.ts";
import { from } from "../streams/mod.ts";

const encoder = new TextEncoder();

/** Tells what it got: type, length or coding, and the body in Latin-1. */
const echo = () =>
  nodeServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const text = chunks.map((chunk) => new TextDecoder().decode(chunk)).join(
      "",
    );
    response.end(JSON.stringify({
      type: request.headers["content-type"],
      length: request.headers["content-length"],
      coding: request.headers["transfer-encoding"],
      text,
    }));
  });

interface Got {
  type?: string;
  length?: string;
  coding?: string;
  text: string;
}

async function* twice(): AsyncGenerator<Uint8Array | string> {
  yield "hel";
  await Promise.resolve();
  yield encoder.encode("lo é");
}

describe("the body of a request", () => {
  const view = encoder.encode("xhello éx");
  const kinds: [string, () => ClientBody, Got][] = [
    ["a string", () => "hello é", {
      type: "text/plain;charset=UTF-8",
      length: "8",
      text: "hello é",
    }],
    ["bytes", () => encoder.encode("hello é"), {
      length: "8",
      text: "hello é",
    }],
    ["a view of bytes", () => view.subarray(1, 9), {
      length: "8",
      text: "hello é",
    }],
    ["an ArrayBuffer", () => view.buffer.slice(1, 9), {
      length: "8",
      text: "hello é",
    }],
    ["a DataView", () => new DataView(view.buffer, 1, 8), {
      length: "8",
      text: "hello é",
    }],
    ["nothing", () => "", {
      type: "text/plain;charset=UTF-8",
      length: "0",
      text: "",
    }],
    ["URLSearchParams", () => new URLSearchParams({ a: "é" }), {
      type: "application/x-www-form-urlencoded;charset=UTF-8",
      length: "8",
      text: "a=%C3%A9",
    }],
    ["a Blob", () => new Blob(["hello", " é"], { type: "text/x" }), {
      type: "text/x",
      length: "8",
      text: "hello é",
    }],
    ["a stream", () => new Blob(["hello é"]).stream(), {
      coding: "chunked",
      text: "hello é",
    }],
    ["an async iterable", () => twice(), {
      coding: "chunked",
      text: "hello é",
    }],
    ["an iterable", () => ["hel", encoder.encode("lo é")], {
      coding: "chunked",
      text: "hello é",
    }],
    ["a source", () => from(["hel", "lo é"]), {
      coding: "chunked",
      text: "hello é",
    }],
    ["an empty stream", () => new Blob([]).stream(), {
      coding: "chunked",
      text: "",
    }],
  ];
  for (const [name, make, expected] of kinds) {
    test(`may be ${name}`, () =>
      withClient(echo(), async (client, { url }) => {
        for (let i = 0; i < 2; i++) {
          const got = await client.post(url, { body: make() }).json<Got>();
          // Bun writes types of Blobs in its own way.
          if (name === "a Blob") got.type = got.type?.split(";")[0];
          assertEquals(got, expected);
        }
        assertEquals(client.stats().open, 1);
      }));
  }

  test("may be a form with files", () =>
    withClient(echo(), async (client, { url }) => {
      const form = new FormData();
      form.append('a\r\nb: "c"', "1\n2");
      form.append("é", new Blob(["content"], { type: "text/x" }), 'n"\r\n.txt');
      const got = await client.post(url, { body: form }).json<Got>();
      const boundary = got.type!.slice(got.type!.indexOf("=") + 1);
      const type = (form.get("é") as File).type;
      assertEquals(
        got.text,
        `--${boundary}\r\n` +
          'Content-Disposition: form-data; name="a%0D%0Ab: %22c%22"\r\n\r\n' +
          `1\r\n2\r\n--${boundary}\r\n` +
          'Content-Disposition: form-data; name="é"; filename="n%22%0D%0A.txt"' +
          `\r\nContent-Type: ${type}\r\n\r\ncontent\r\n--${boundary}--\r\n`,
      );
      assertEquals(got.length, `${encoder.encode(got.text).length}`);
      const simple = new FormData();
      simple.append("a", "1");
      simple.append("b", new Blob(["content"]), "n.txt");
      const sent = await client.post(url, { body: simple }).json<Got>();
      const back = await new Response(sent.text, {
        headers: { "content-type": sent.type! },
      }).formData();
      assertEquals(back.get("a"), "1");
      assertEquals(await (back.get("b") as File).text(), "content");
      const empty = await client.post(url, { body: new FormData() }).json<
        Got
      >();
      assertStringIncludes(empty.text, "----sluice");
    }));

  test("keeps the type that the caller gives", () =>
    withClient(echo(), async (client, { url }) => {
      const got = await client.post(url, {
        body: "{}",
        headers: { "Content-Type": "application/x" },
      }).json<Got>();
      assertEquals(got.type, "application/x");
    }));

  test("is as long as Content-Length says", () =>
    withClient(echo(), async (client, { url }) => {
      const post = (body: ClientBody, length: number) =>
        client.post(url, { body, headers: { "content-length": `${length}` } });
      assertEquals(await post(new Blob(["abc"]).stream(), 3).json<Got>(), {
        length: "3",
        text: "abc",
      });
      const long = await assertRejects(() => post(twice(), 3), FetchError);
      assertEquals(long.code, "ERR_BODY");
      assertEquals(long.phase, "request");
      await assertRejects(() => post(twice(), 99), FetchError, "early");
      assertEquals(client.stats().open, 0);
    }));

  test("may be large: it goes as the server takes it", () =>
    withClient(
      nodeServer(async (request, response) => {
        let size = 0;
        for await (const chunk of request) size += (chunk as Uint8Array).length;
        response.end(`${size}`);
      }),
      async (client, { url }) => {
        const bytes = new Uint8Array(5_000_000);
        const text = (body: ClientBody) => client.post(url, { body }).text();
        assertEquals(await text(bytes), "5000000");
        assertEquals(await text("x".repeat(5_000_000)), "5000000");
        assertEquals(await text(new Blob([bytes])), "5000000");
        assertEquals(await text(new Blob([bytes]).stream()), "5000000");
        assertEquals(client.stats().open, 1);
      },
    ));

  test("is taken as it is when the call is made", () =>
    withClient(echo(), async (client, { url }) => {
      const body = encoder.encode("before");
      const pending = client.post(url, { body }).json<Got>();
      body.fill(0);
      assertEquals((await pending).text, "before");
    }));

  test("fails the request when its source fails", () =>
    withClient(echo(), async (client, { url }) => {
      const failing = async function* () {
        yield "a";
        await Promise.resolve();
        throw new RangeError("No more");
      };
      const error = await assertRejects(
        () => client.post(url, { body: failing() }),
        FetchError,
        "No more",
      );
      assertEquals(error.code, "ERR_BODY");
      assertInstanceOf(error.cause.cause, RangeError);
      const odd = [1, 2] as unknown as ClientBody;
      await assertRejects(() => client.post(url, { body: odd }), FetchError);
      for (const body of [1, {}, true, Symbol("a")]) {
        await assertRejects(
          () => client.post(url, { body: body as unknown as ClientBody }),
          TypeError,
        );
      }
      const locked = new Blob(["x"]).stream();
      locked.getReader();
      await assertRejects(() => client.post(url, { body: locked }), TypeError);
    }));

  test("may go on while the answer comes", () => {
    const more = deferred();
    return withClient(
      nodeServer((request, response) => void request.pipe(response)),
      async (client, { url }) => {
        const response = await client.post(url, {
          duplex: "half",
          body: (async function* () {
            yield "one";
            await more.promise;
            yield "two";
          })(),
        });
        const reader = response.body!.getReader();
        const read = async () =>
          new TextDecoder().decode((await reader.read()).value);
        assertEquals(await read(), "one");
        more.resolve();
        assertEquals(await read(), "two");
        assertEquals((await reader.read()).done, true);
        await until(() => client.stats().idle === 1);
      },
    );
  });

  test("is cancelled when the answer is whole before it", () => {
    const cancelled = deferred<unknown>();
    return withClient(
      scripted(({ socket }) => socket.write(answer("no", "", "413 Too Large"))),
      async (client, { url }) => {
        const response = await client.post(url, {
          body: new ReadableStream({
            pull: () => new Promise(() => {}),
            cancel: cancelled.resolve,
          }, { highWaterMark: 0 }),
        });
        assertEquals(response.status, 413);
        assertEquals(await response.text(), "no");
        await cancelled.promise;
        assertEquals(client.stats().open, 0);
      },
    );
  });

  test("runs the finally of its generator when the server leaves", () => {
    const left = deferred();
    return withClient(
      scripted(async ({ socket, until }) => {
        await until("one");
        socket.destroy();
      }),
      async (client, { url }) => {
        const body = (async function* () {
          try {
            for (;;) {
              yield "one";
              await new Promise((resolve) => setTimeout(resolve, 5));
            }
          } finally {
            left.resolve();
          }
        })();
        await assertRejects(() => client.post(url, { body }), FetchError);
        await left.promise;
      },
    );
  });
});

describe("the body of a response", () => {
  const hello = () => scripted(({ socket }) => socket.write(answer("hello")));

  test("is read once, in whatever form", () =>
    withClient(hello(), async (client, { url }) => {
      for (
        const form of ["text", "bytes", "arrayBuffer", "blob"] as const
      ) {
        const response = await client.get(url);
        await response[form]();
        assertEquals(response.bodyUsed, true);
        await assertRejects(() => response.text(), TypeError);
        await assertRejects(() => response.json(), TypeError);
        assertThrows(() => response.clone(), TypeError);
        assertEquals(response.body!.locked, false);
      }
      const bytes = await client.get(url).bytes();
      assertEquals(bytes.buffer.byteLength, 5);
      assertEquals((await client.get(url).arrayBuffer()).byteLength, 5);
    }));

  test("is a stream that is made when it is asked for", () =>
    withClient(hello(), async (client, { url }) => {
      const response = await client.get(url);
      const { body } = response;
      assertInstanceOf(body, ReadableStream);
      assertEquals(response.body, body);
      assertEquals(response.bodyUsed, false);
      const reader = body!.getReader();
      await assertRejects(() => response.text(), TypeError, "locked");
      assertEquals(
        new TextDecoder().decode((await reader.read()).value),
        "hello",
      );
      assertEquals(response.bodyUsed, true);
      assertEquals((await reader.read()).done, true);
      reader.releaseLock();
      await assertRejects(() => response.text(), TypeError, "was read");
      const looked = await client.get(url);
      assert(looked.body !== null);
      assertEquals(await looked.text(), "hello");
    }));

  test("is there twice after clone()", () =>
    withClient(
      scripted(({ socket }) =>
        socket.write(answer("x".repeat(200_000), "A: b\r\n"))
      ),
      async (client, { url }) => {
        const response = await client.get(url);
        const copy = response.clone();
        assertInstanceOf(copy, Response);
        assertEquals(copy.headers.get("a"), "b");
        assertEquals(copy.url, response.url);
        const [a, b] = await Promise.all([response.text(), copy.text()]);
        assertEquals(a.length, 200_000);
        assertEquals(a, b);
        assertEquals(response.bodyUsed && copy.bodyUsed, true);
        const other = await client.get(url);
        const third = other.clone().clone();
        assertEquals((await third.bytes()).length, 200_000);
        assertEquals(other.bodyUsed, false);
        assertEquals((await other.bytes()).length, 200_000);
        const none = (await client.head(url)).clone();
        assertEquals(none.body, null);
      },
    ));

  test("goes into a standard Response", () =>
    withClient(hello(), async (client, { url }) => {
      const response = await client.get(url);
      const copy = new Response(response.body, response);
      assertEquals(copy.status, 200);
      assertEquals(copy.headers.get("content-length"), "5");
      assertEquals(await copy.text(), "hello");
    }));

  test("is parsed as JSON and as a form", () =>
    withClient(
      scripted(({ socket, head }) => {
        socket.write(
          head.startsWith("GET /form")
            ? answer(
              "a=b+c",
              "Content-Type: application/x-www-form-urlencoded\r\n",
            )
            : answer("\xef\xbb\xbf{"),
        );
      }),
      async (client, { url }) => {
        const form = await client.get(`${url}form`).formData();
        assertEquals(form.get("a"), "b c");
        await assertRejects(() => client.get(url).json(), SyntaxError);
      },
    ));

  test("stops the server while nobody reads", () => {
    const encoded = new Uint8Array(64 * 1024);
    let written = 0;
    return withClient(
      nodeServer((_, response) => {
        const write = () => {
          while (!response.destroyed) {
            written += encoded.length;
            if (!response.write(encoded)) break;
          }
        };
        response.on("drain", write);
        write();
      }),
      async (client, { url }) => {
        const response = await client.get(url);
        let last = -1;
        await until(async () => {
          const still = written === last;
          last = written;
          await new Promise((resolve) => setTimeout(resolve, 100));
          return still && written === last;
        });
        // Buffers of the kernels, and 64 KiB of ours.
        assert(written < 16 * 1024 * 1024, `${written} bytes`);
        const reader = response.body!.getReader();
        for (let read = 0; read < 32 * 1024 * 1024;) {
          read += (await reader.read()).value!.byteLength;
        }
        assert(written > 32 * 1024 * 1024);
        await reader.cancel();
        await until(() => client.stats().open === 0);
      },
    );
  });

  test("of 64 MiB comes whole, as a stream and at once", () => {
    const size = 64 * 1024 * 1024;
    return withClient(
      nodeServer((_, response) => {
        response.setHeader("content-length", size);
        const chunk = new Uint8Array(256 * 1024);
        let left = size;
        const write = () => {
          while (left > 0) {
            left -= chunk.length;
            if (!response.write(chunk)) return;
          }
          response.end();
        };
        response.on("drain", write);
        write();
      }),
      async (client, { url }) => {
        let read = 0;
        for await (const chunk of (await client.get(url)).body!) {
          read += chunk.byteLength;
        }
        assertEquals(read, size);
        assertEquals((await client.get(url).bytes()).byteLength, size);
        assertEquals(client.stats().open, 1);
      },
    );
  });
});

describe("a coded body", () => {
  const text = "hello ".repeat(2000);
  const plain = encoder.encode(text);
  const codings: [string, (bytes: Uint8Array) => Uint8Array][] = [
    ["gzip", (bytes) => zlib.gzipSync(bytes)],
    ["x-gzip", (bytes) => zlib.gzipSync(bytes)],
    ["deflate", (bytes) => zlib.deflateSync(bytes)],
    ["Deflate", (bytes) => zlib.deflateRawSync(bytes)],
    ["br", (bytes) => zlib.brotliCompressSync(bytes)],
    ["gzip, br", (bytes) => zlib.brotliCompressSync(zlib.gzipSync(bytes))],
  ];
  const zstd = (zlib as { zstdCompressSync?(bytes: Uint8Array): Uint8Array })
    .zstdCompressSync;
  if (zstd !== undefined) codings.push(["zstd", zstd]);

  const coded = (coding: string, bytes: Uint8Array, piece = 1e9) =>
    nodeServer(async (request, response) => {
      response.setHeader("content-encoding", coding);
      if (request.url === "/length") {
        response.setHeader("content-length", bytes.length);
      }
      for (let at = 0; at < bytes.length; at += piece) {
        response.write(bytes.subarray(at, at + piece));
        if (piece < 100) await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    });

  for (const [coding, encode] of codings) {
    test(`in ${coding} is decoded`, () =>
      withClient(coded(coding, encode(plain)), async (client, { url }) => {
        const response = await client.get(url);
        assertEquals(response.headers.get("content-encoding"), coding);
        assertEquals(await response.text(), text);
        assertEquals(await client.get(`${url}length`).text(), text);
        const clone = (await client.get(url)).clone();
        assertEquals(await clone.text(), text);
        let streamed = "";
        for await (const chunk of (await client.get(url)).body!) {
          streamed += new TextDecoder().decode(chunk);
        }
        assertEquals(streamed, text);
        assertEquals((await client.head(url)).body, null);
        await until(() => client.stats().open === client.stats().idle);
      }));

    test(`in ${coding} is decoded byte by byte`, () => {
      const small = encoder.encode("hello");
      return withClient(
        coded(coding, encode(small), 1),
        async (client, { url }) => {
          assertEquals(await client.get(url).text(), "hello");
        },
      );
    });
  }

  test("is left as it is where nothing can, or shall, be decoded", () =>
    withClient(coded("snappy", plain), async (client, { url }) => {
      assertEquals(await client.get(url).text(), text);
      const gzip = await coded("gzip", zlib.gzipSync(plain));
      const bytes = await client.get(gzip.url, { decompress: false }).bytes();
      assertEquals(zlib.gunzipSync(bytes).length, plain.length);
      await gzip.close();
    }));

  test("may be empty", () =>
    withClient(coded("gzip", new Uint8Array(0)), async (client, { url }) => {
      assertEquals(await client.get(url).text(), "");
      assertEquals(await client.get(`${url}length`).text(), "");
    }));

  test("fails when it is not what it says, or is cut", () =>
    withClient(coded("gzip", plain), async (client, { url }) => {
      const error = await assertRejects(
        () => client.get(url).text(),
        FetchError,
      );
      assertEquals(error.code, "ERR_DECODE");
      assertEquals(error.phase, "body");
      const cut = await coded("gzip", zlib.gzipSync(plain).subarray(0, -9));
      await assertRejects(() => client.get(cut.url).text(), FetchError);
      await assertRejects(async () => {
        for await (const _ of (await client.get(cut.url)).body!);
      }, FetchError);
      await cut.close();
    }));

  test("is no bomb: maxResponseSize counts what is decoded, too", () => {
    const bomb = zlib.gzipSync(new Uint8Array(100_000_000));
    return withClient(coded("gzip", bomb), async (client, { url }) => {
      const init = { maxResponseSize: 1_000_000 };
      const error = await assertRejects(
        () => client.get(url, init).bytes(),
        FetchError,
      );
      assertInstanceOf(error.cause, SizeLimitError);
      const response = await client.get(url, init);
      await assertRejects(async () => {
        for await (const _ of response.body!);
      }, FetchError);
      const small = await assertRejects(
        () => client.get(url, { maxResponseSize: 100 }).bytes(),
        FetchError,
      );
      assertInstanceOf(small.cause, SizeLimitError);
      await until(() => client.stats().open === client.stats().idle);
    });
  });

  test("is decoded no further than it is read", () => {
    const bomb = zlib.gzipSync(new Uint8Array(50_000_000));
    return withClient(coded("gzip", bomb), async (client, { url }) => {
      const response = await client.get(url);
      const reader = response.body!.getReader();
      await reader.read();
      await reader.cancel();
      await until(() => client.stats().open === client.stats().idle);
    });
  });
});

test("fetch() lets go of a Request's form when it is aborted", async () => {
  const form = new FormData();
  for (let i = 0; i < 100; i++) {
    form.append(`f${i}`, new File(["x".repeat(100_000)], "f"));
  }
  const arrived = deferred<void>();
  // It reads nothing, and answers nothing.
  await withClient(nodeServer(() => arrived.resolve()), async (client, at) => {
    const controller = new AbortController();
    const { signal } = controller;
    const request = new Request(at.url, { method: "POST", body: form, signal });
    const answered = client.fetch(request);
    await Promise.race([arrived.promise, answered]);
    controller.abort();
    await assertRejects(async () => await answered);
    // As long as it takes to write one: then it shows if one failed.
    await new Response(form).arrayBuffer();
  });
});

describe("bodyOf", () => {
  test("reads what node:http gives", () =>
    withClient(
      nodeServer(async (request, response) => {
        response.end(await bodyOf(request));
      }),
      async (client, { url }) => {
        assertEquals(await client.post(url, { body: "é" }).text(), "é");
      },
    ));
});
