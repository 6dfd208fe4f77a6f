import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "./assert.ts";
import { deferred, withClient } from "./_client_support.ts";
import { nodeServer } from "./_http_servers.ts";
import { needs, until, within } from "./_support.ts";
import { Client, multipart, serve } from "../http/mod.ts";
import type { HttpServer, MultipartInit, MultipartPart } from "../http/mod.ts";
import { from, pair } from "../streams/mod.ts";

const encoder = new TextEncoder();

interface Seen {
  type: string;
  length: string | null;
  raw: string;
  boundary: string;
}

/** What comes, as it is: the body in UTF-8, its boundary as `B`. */
const raw = () =>
  nodeServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const text = new TextDecoder().decode(
      new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer()),
    );
    const type = request.headers["content-type"] ?? "";
    const boundary = type.slice(type.indexOf("boundary=") + 9);
    response.end(JSON.stringify({
      type,
      length: request.headers["content-length"] ?? null,
      raw: text.replaceAll(boundary, "B"),
      boundary,
    }));
  });

type Told = [
  name: string,
  filename: string | null,
  type: string,
  text: string,
][];

/** Our own reader of forms. */
function teller(): Promise<HttpServer> {
  return serve(async (request) => {
    const seen: Told = [];
    for await (const part of multipart(request)) {
      const { name, filename, type } = part;
      seen.push([name, filename ?? null, type, await part.text()]);
    }
    return Response.json({
      seen,
      length: request.headers.get("content-length"),
    });
  }, { hostname: "127.0.0.1", port: 0 });
}

interface Answer {
  seen: Told;
  length: string | null;
}

async function post(init: MultipartInit): Promise<Answer> {
  const server = await teller();
  const client = new Client();
  try {
    return await within(
      client.post(server.url, { multipart: init }).json<Answer>(),
      10_000,
      "The form",
    );
  } finally {
    await client.close({ timeout: 0 });
    await server.close();
  }
}

async function* numbers(count: number): AsyncGenerator<string> {
  for (let i = 0; i < count; i++) {
    await Promise.resolve();
    yield `${i},`;
  }
}

/** Every kind of body, and what becomes of it. */
const kinds: [
  what: string,
  make: () => MultipartPart["body"],
  filename: string | null,
  type: string,
  text: string,
  known: boolean,
][] = [
  ["text", () => "hé\r\nllo\n", null, "text/plain", "hé\r\nllo\n", true],
  ["empty text", () => "", null, "text/plain", "", true],
  ["null", () => null, null, "text/plain", "", true],
  ["bytes", () => encoder.encode("hé"), null, "text/plain", "hé", true],
  [
    "an ArrayBuffer",
    () => encoder.encode("hé").slice().buffer,
    null,
    "text/plain",
    "hé",
    true,
  ],
  [
    "a Blob",
    () => new Blob(["x"], { type: "image/png" }),
    "blob",
    "image/png",
    "x",
    true,
  ],
  [
    "a File",
    () => new File(["x"], "a é.bin"),
    "a é.bin",
    "application/octet-stream",
    "x",
    true,
  ],
  [
    "URLSearchParams",
    () => new URLSearchParams({ a: "b c" }),
    null,
    "application/x-www-form-urlencoded;charset=UTF-8",
    "a=b+c",
    true,
  ],
  ["a list", () => ["a", encoder.encode("b")], null, "text/plain", "ab", false],
  [
    "an async iterable",
    () => numbers(3),
    null,
    "text/plain",
    "0,1,2,",
    false,
  ],
  ["a source", () => from(["a", "b"]), null, "text/plain", "ab", false],
  [
    "a stream",
    () => new Blob(["stream"]).stream(),
    null,
    "text/plain",
    "stream",
    false,
  ],
  [
    "a Response",
    () => new Response("answer", { headers: { "content-type": "text/x" } }),
    null,
    "text/x",
    "answer",
    false,
  ],
  [
    "a Request",
    () =>
      new Request("http://x/", {
        method: "POST",
        body: "asked",
        headers: { "content-type": "text/y" },
      }),
    null,
    "text/y",
    "asked",
    false,
  ],
];

describe("multipart of ClientInit", () => {
  for (const [what, make, filename, type, text, known] of kinds) {
    test(`takes ${what}`, async () => {
      const { seen, length } = await post([
        { name: "before", body: "1" },
        { name: "it", body: make() },
        { name: "after", body: "2" },
      ]);
      assertEquals(seen, [
        ["before", null, "text/plain", "1"],
        ["it", filename, type, text],
        ["after", null, "text/plain", "2"],
      ]);
      assertEquals(length !== null, known);
    });
  }

  test("takes a form within a form", async () => {
    const form = new FormData();
    form.set("inner", "value");
    const { seen, length } = await post({ outer: form });
    assertStringIncludes(seen[0][2], "multipart/form-data; boundary=");
    assertStringIncludes(seen[0][3], 'name="inner"\r\n\r\nvalue');
    assert(length !== null);
  });

  test("takes a record: lists, numbers, and parts without a name", async () => {
    const { seen } = await post({
      text: "a",
      number: 7,
      big: 8n,
      truth: false,
      none: undefined,
      list: ["x", 1, { body: "y", filename: "y.txt" }],
      file: { body: numbers(2), filename: "n.csv", type: "text/csv" },
    });
    assertEquals(seen, [
      ["text", null, "text/plain", "a"],
      ["number", null, "text/plain", "7"],
      ["big", null, "text/plain", "8"],
      ["truth", null, "text/plain", "false"],
      ["none", null, "text/plain", ""],
      ["list", null, "text/plain", "x"],
      ["list", null, "text/plain", "1"],
      ["list", "y.txt", "application/octet-stream", "y"],
      ["file", "n.csv", "text/csv", "0,1,"],
    ]);
  });

  test("sends each part as RFC 7578 says", () =>
    withClient(raw(), async (client, { url }) => {
      const boundaries = new Set<string>();
      for (const big of ["", "x".repeat(100_000)]) {
        const seen = await client.post(url, {
          multipart: [
            { name: 'na"me', body: "é" },
            {
              name: "f",
              filename: 'a"ü.txt',
              type: "text/plain",
              headers: { "X-More": "yes" },
              body: new Uint8Array([104, 105]),
            },
            ...big === "" ? [] : [{ name: "big", body: big }],
          ],
        }).json<Seen>();
        const expected = '--B\r\nContent-Disposition: form-data; name="na%22' +
          'me"\r\n\r\né\r\n--B\r\nContent-Disposition: form-data; name="f"; ' +
          'filename="a%22ü.txt"\r\nContent-Type: text/plain\r\nX-More: yes' +
          "\r\n\r\nhi\r\n" +
          (big === "" ? "" : '--B\r\nContent-Disposition: form-data; name="' +
            `big"\r\n\r\n${big}\r\n`) +
          "--B--\r\n";
        assertEquals(seen.raw, expected);
        const { boundary } = seen;
        assert(/^[-0-9A-Za-z]{30,70}$/.test(boundary), boundary);
        boundaries.add(boundary);
        const delimiters = expected.split("--B").length - 1;
        assertEquals(
          Number(seen.length),
          encoder.encode(expected).length + delimiters * (boundary.length - 1),
        );
      }
      assertEquals(boundaries.size, 2);
    }));

  test("sends what FormData does, read by the runtime", () =>
    withClient(raw(), async (client, { url }) => {
      const file = new File(["content"], "a.txt", { type: "text/x" });
      const seen = await client.post(url, {
        multipart: { "a b": "ä", file, more: ["1", "2"] },
      }).json<Seen>();
      const form = await new Response(seen.raw, {
        headers: { "content-type": "multipart/form-data; boundary=B" },
      }).formData();
      assertEquals([...form.keys()], ["a b", "file", "more", "more"]);
      assertEquals(form.get("a b"), "ä");
      const got = form.get("file") as File;
      assertEquals([got.name, await got.text()], ["a.txt", "content"]);
    }));

  test(
    "sends what curl sends",
    { skip: needs("curl") },
    () =>
      withClient(raw(), async (client, { url }) => {
        const folder = await mkdtemp(join(tmpdir(), "sluice-multipart-"));
        try {
          const path = join(folder, "file.bin");
          await writeFile(path, "content\r\n--x");
          const out = await within(
            new Promise<string>((resolve, reject) =>
              execFile("curl", [
                ...["-sS", "--max-time", "10", "-F", 'a"b=one two'],
                ...["-F", `file=@${path};type=text/x;filename=ü"n.bin`],
                ...["-F", "empty=", url],
              ], (error, stdout) => error ? reject(error) : resolve(stdout))
            ),
            12_000,
          );
          const theirs = JSON.parse(out) as Seen;
          const ours = await client.post(url, {
            multipart: [
              { name: 'a"b', body: "one two" },
              {
                name: "file",
                body: new Blob(["content\r\n--x"]),
                type: "text/x",
                filename: 'ü"n.bin',
              },
              { name: "empty", body: "" },
            ],
          }).json<Seen>();
          assertEquals(ours.raw, theirs.raw.replaceAll('\\"', "%22"));
          assert(ours.length !== null);
        } finally {
          await rm(folder, { recursive: true, force: true });
        }
      }),
  );

  test("refuses what cannot be sent, before anything is", () =>
    withClient(raw(), async (client, server) => {
      const { url } = server;
      const bad: [MultipartInit, string][] = [];
      for (const char of ["\r", "\n", "\r\n", "\0", "\x1b", "\x7f"]) {
        bad.push(
          [[{ name: `a${char}b`, body: "" }], "name holds a control"],
          [{ [`a${char}b`]: "" }, "name holds a control"],
          [[{ name: "a", filename: `${char}`, body: "" }], "file name holds"],
          [{ a: new File([], `x${char}y`) }, "file name holds a control"],
          [[{ name: "a", type: `a/b${char}`, body: "" }], "bad type"],
          [
            [{ name: "a", headers: { x: `1${char}2` }, body: "" }],
            "bad value",
          ],
        );
      }
      bad.push(
        [[{ name: "a\\", body: "" }], "ends with a backslash"],
        [[{ name: "a", type: "", body: "" }], "bad type"],
        [[{ name: "a", headers: { "a b": "1" }, body: "" }], "bad name"],
        [
          [{ name: "a", headers: { "Content-Type": "a/b" }, body: "" }],
          "type say it",
        ],
        [[{ name: "a", body: 1 }] as unknown as MultipartInit, "not one of"],
        [
          [{ name: "a", body: "", fileName: "x" }] as MultipartInit,
          "no such option: fileName",
        ],
        [[{ body: "" }] as unknown as MultipartInit, "has no name"],
        [["a"] as unknown as MultipartInit, "no object"],
        ["a" as unknown as MultipartInit, "give parts"],
        [null as unknown as MultipartInit, "give parts"],
      );
      const read = new Response("x");
      await read.text();
      bad.push([{ a: read }, "read before"]);
      for (const [multipart, message] of bad) {
        const error = await assertRejects(
          () => client.post(url, { multipart }),
          TypeError,
        );
        assertStringIncludes(error.message, message);
      }
      for (const init of [{ body: "" }, { json: 1 }, { form: {} }]) {
        await assertRejects(
          () => client.post(url, { ...init, multipart: [] }),
          TypeError,
          "give one of",
        );
      }
      await assertRejects(
        () =>
          client.post(url, {
            multipart: [],
            headers: { "Content-Type": "multipart/form-data" },
          }),
        TypeError,
        "content-type",
      );
      await assertRejects(
        () => client.get(url, { multipart: [] }),
        TypeError,
        "GET cannot have a body",
      );
      assertEquals(server.accepted, 0);
    }));

  test("goes with its own type, whatever the client's headers are", () =>
    withClient(raw(), async (client, { url }) => {
      const { type, raw } = await client.post(url, { multipart: [] })
        .json<Seen>();
      assertStringIncludes(type, "multipart/form-data; boundary=");
      assertEquals(raw, "--B--\r\n");
    }, { headers: { "content-type": "application/json" } }));

  test("reads a part only as fast as the server takes it", async () => {
    const go = deferred();
    const piece = new Uint8Array(64 * 1024);
    const count = 512;
    let made = 0;
    let received = 0;
    function* pieces() {
      for (; made < count; made++) yield piece;
    }
    const server = nodeServer(async (request, response) => {
      await go.promise;
      for await (const chunk of request) received += chunk.length;
      response.end("done");
    });
    await withClient(server, async (client, { url }) => {
      const answer = client.post(url, {
        multipart: { first: pieces(), second: "2" },
      }).text();
      let last = -1;
      await until(() => {
        // It stands still once all that lies between is full.
        const still = made > 0 && made === last;
        last = made;
        return still;
      });
      assert(made < count, `${made} pieces were made of ${count}`);
      go.resolve();
      assertEquals(await answer, "done");
      assertEquals(made, count);
      assert(received > count * piece.length);
    });
  });

  test("is sent again after a redirect, unless a part can be read but once", () =>
    withClient(
      nodeServer(async (request, response) => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of request) chunks.push(chunk as Uint8Array);
        if (request.url === "/") {
          response.writeHead(307, { location: "/there" }).end();
        } else {
          const bytes = await new Blob(chunks as BlobPart[]).text();
          response.end(`${request.url} ${bytes.length}`);
        }
      }),
      async (client, { url }) => {
        const big = new Blob(["x".repeat(200_000)]);
        const answer = await client.post(url, {
          multipart: { a: "1", big, bytes: new Uint8Array(3) },
        }).text();
        const [path, length] = answer.split(" ");
        assertEquals(path, "/there");
        assert(Number(length) > 200_000);
        const error = await assertRejects(
          () => client.post(url, { multipart: { a: "1", once: numbers(3) } }),
          TypeError,
        );
        assertStringIncludes(error.message, "can be sent but once");
      },
    ));

  test("is sent again by retry, unless a part can be read but once", async () => {
    let count = 0;
    const server = nodeServer((request, response) => {
      request.resume();
      request.on("end", () => {
        response.statusCode = ++count % 2 === 1 ? 503 : 200;
        response.end();
      });
    });
    await withClient(server, async (client, { url }) => {
      const replayed = await client.put(url, {
        multipart: { a: "1", blob: new Blob(["x".repeat(100_000)]) },
      });
      assertEquals([replayed.status, count], [200, 2]);
      const once = await client.put(url, {
        multipart: { a: from(["x"]) },
      });
      assertEquals([once.status, count], [503, 3]);
    }, { retry: { delay: 0 } });
  });

  test("rejects with what a part fails with, and cancels the others", () =>
    withClient(
      nodeServer((request) => {
        request.resume();
      }),
      async (client, server) => {
        async function* failing() {
          await Promise.resolve();
          yield "x";
          throw new RangeError("Out of data");
        }
        let cancelled: unknown;
        const other = new ReadableStream<Uint8Array>({
          cancel(reason) {
            cancelled = reason;
          },
        });
        const error = await assertRejects(
          () =>
            client.post(server.url, {
              multipart: [
                { name: "a", body: failing() },
                { name: "b", body: other },
              ],
            }),
          TypeError,
        );
        const { cause } = (error as { cause: { cause: unknown } }).cause;
        assertInstanceOf(cause, RangeError);
        await until(() => cancelled !== undefined);
        await until(() => server.open === 0);
      },
    ));

  test("lets go of every part when the request is aborted", () =>
    withClient(
      nodeServer((request) => {
        request.resume();
      }),
      async (client, { url }) => {
        const abort = new AbortController();
        const [mine, theirs] = pair<Uint8Array>();
        let returned = false;
        async function* endless() {
          try {
            for (;;) {
              yield "x";
              abort.abort(new RangeError("Enough"));
              await new Promise((resolve) => setTimeout(resolve, 1));
            }
          } finally {
            returned = true;
          }
        }
        await assertRejects(
          () =>
            client.post(url, {
              multipart: [
                { name: "a", body: endless() },
                { name: "b", body: theirs },
              ],
              signal: abort.signal,
            }),
          RangeError,
          "Enough",
        );
        await until(() => returned);
        await within(mine.closed, 5000, "The end of the other part");
      },
    ));
});
