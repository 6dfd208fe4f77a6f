import * as fs from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "./assert.ts";
import {
  bodyOf,
  exchange,
  get,
  rawClient,
  statusOf,
  withServer,
} from "./_http_raw.ts";
import { modes, until } from "./_support.ts";
import { directory } from "../http/directory.ts";
import { file } from "../http/file.ts";
import type { FileOptions } from "../http/file.ts";

const DIGITS = "0123456789";
const OLD = new Date("2020-01-02T03:04:05.678Z");

async function withFolder(run: (root: string) => Promise<unknown>) {
  const root = await mkdtemp(join(tmpdir(), "sluice-file-"));
  try {
    fs.writeFileSync(join(root, "digits.txt"), DIGITS);
    fs.utimesSync(join(root, "digits.txt"), OLD, OLD);
    await run(root);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

function asked(headers: HeadersInit = {}, method = "GET"): Request {
  return new Request("http://localhost/digits.txt", { headers, method });
}

function ask(root: string, headers?: HeadersInit, options?: FileOptions) {
  return file(asked(headers), join(root, "digits.txt"), options);
}

/** Which of our handles are open on files of a folder; none where unknown. */
function openIn(root: string): string[] {
  if (!fs.existsSync("/proc/self/fd")) return [];
  return fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const path = fs.readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(root) ? [path] : [];
    } catch {
      return [];
    }
  });
}

test("file gives the whole with its fields", () =>
  withFolder(async (root) => {
    const response = await ask(root, {}, { cacheControl: "no-cache" });
    assertEquals(response.status, 200);
    assertEquals(
      response.headers.get("content-type"),
      "text/plain; charset=utf-8",
    );
    assertEquals(response.headers.get("content-length"), "10");
    assertEquals(response.headers.get("accept-ranges"), "bytes");
    assertEquals(response.headers.get("cache-control"), "no-cache");
    assertEquals(
      response.headers.get("last-modified"),
      "Thu, 02 Jan 2020 03:04:05 GMT",
    );
    assertEquals(await response.text(), DIGITS);
  }));

test("file refuses methods, and files that are none", () =>
  withFolder(async (root) => {
    const post = await file(asked({}, "POST"), join(root, "digits.txt"));
    assertEquals([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
    assertEquals((await file(asked(), root)).status, 404);
    assertEquals((await file(asked(), join(root, "none"))).status, 404);
    assertEquals((await file(asked(), `${root}/digits.txt\0`)).status, 404);
  }));

test("file answers a range as RFC 9110 has it", () =>
  withFolder(async (root) => {
    const rows: [string, number, string | null, string][] = [
      ["bytes=0-3", 206, "bytes 0-3/10", "0123"],
      ["bytes=7-", 206, "bytes 7-9/10", "789"],
      ["bytes=-2", 206, "bytes 8-9/10", "89"],
      ["bytes=-99", 206, "bytes 0-9/10", DIGITS],
      ["bytes=8-99999999999999999999", 206, "bytes 8-9/10", "89"],
      ["Bytes=1-1", 206, "bytes 1-1/10", "1"],
      ["bytes=20-30, 1-2", 206, "bytes 1-2/10", "12"],
      ["bytes=10-", 416, "bytes */10", "Range Not Satisfiable\n"],
      ["bytes=-0", 416, "bytes */10", "Range Not Satisfiable\n"],
      ["bytes=3-1", 200, null, DIGITS],
      ["bytes=a-b", 200, null, DIGITS],
      ["bytes=-", 200, null, DIGITS],
      ["bytes=", 200, null, DIGITS],
      ["lines=0-1", 200, null, DIGITS],
      ["bytes=0-9,0-9", 200, null, DIGITS],
      [`bytes=${"0-0,".repeat(17)}`, 200, null, DIGITS],
    ];
    for (const [range, status, field, body] of rows) {
      const response = await ask(root, { range });
      assertEquals(
        [
          range,
          response.status,
          response.headers.get("content-range"),
          await response.text(),
        ],
        [range, status, field, body],
      );
    }
  }));

test("file tells of no time that is yet to come", () =>
  withFolder(async (root) => {
    const ahead = new Date(Date.now() + 3_600_000);
    fs.utimesSync(join(root, "digits.txt"), ahead, ahead);
    const response = await ask(root);
    const told = Date.parse(response.headers.get("last-modified")!);
    assert(told <= Date.now(), `${told}`);
    // The time that was told is not that of the file.
    const since = response.headers.get("last-modified")!;
    assertEquals((await ask(root, { "if-modified-since": since })).status, 200);
    const tag = response.headers.get("etag")!;
    assertEquals((await ask(root, { "if-none-match": tag })).status, 304);
  }));

test("file sends more fields as they are given", () =>
  withFolder(async (root) => {
    const headers: [string, string][] = [
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
      ["vary", "origin"],
      ["last-modified", "never"],
    ];
    const plain = await ask(root, {}, { headers });
    assertEquals(plain.headers.getSetCookie(), ["a=1", "b=2"]);
    assertEquals(plain.headers.get("vary"), "origin");
    assertEquals(plain.headers.get("last-modified"), "never");
    // With a file compressed beforehand it depends on what is accepted, too.
    fs.writeFileSync(join(root, "digits.txt.gz"), gzipSync(DIGITS));
    const tag = plain.headers.get("etag")!;
    for (const known of ["none", tag]) {
      const sent = { "if-none-match": known };
      const { headers: fields } = await ask(root, sent, { headers });
      assertEquals(fields.get("vary"), "origin, accept-encoding");
    }
    const all = await ask(root, {}, { headers: { vary: "*" } });
    assertEquals(all.headers.get("vary"), "*");
  }));

test("file sends several ranges in parts", () =>
  withFolder(async (root) => {
    const response = await ask(root, { range: "bytes=0-1,-2" });
    assertEquals(response.status, 206);
    assertEquals(response.headers.get("content-range"), null);
    const boundary = /^multipart\/byteranges; boundary=(.+)$/
      .exec(response.headers.get("content-type")!)![1];
    const body = await response.text();
    assertEquals(response.headers.get("content-length"), String(body.length));
    const part = (range: string, text: string) =>
      `\r\n--${boundary}\r\ncontent-type: text/plain; charset=utf-8\r\n` +
      `content-range: bytes ${range}/10\r\n\r\n${text}`;
    assertEquals(
      body,
      `${part("0-1", "01")}${part("8-9", "89")}\r\n--${boundary}--\r\n`,
    );
  }));

test("file keeps the order of conditions", () =>
  withFolder(async (root) => {
    const tag = (await ask(root)).headers.get("etag")!;
    const at = "Thu, 02 Jan 2020 03:04:05 GMT";
    const before = "Wed, 01 Jan 2020 00:00:00 GMT";
    const range = "bytes=0-0";
    const rows: [Record<string, string>, number][] = [
      [{ "if-none-match": tag }, 304],
      [{ "if-none-match": `"x", W/${tag}` }, 304],
      [{ "if-none-match": "*" }, 304],
      [{ "if-none-match": '"x"' }, 200],
      [{ "if-none-match": '"x"', "if-modified-since": at }, 200],
      [{ "if-modified-since": at }, 304],
      [{ "if-modified-since": "Thursday, 02-Jan-20 03:04:05 GMT" }, 304],
      [{ "if-modified-since": "Thu Jan  2 03:04:05 2020" }, 304],
      [{ "if-modified-since": before }, 200],
      [{ "if-modified-since": "yesterday" }, 200],
      [{ "if-match": tag }, 200],
      [{ "if-match": "*" }, 200],
      [{ "if-match": `W/${tag}` }, 412],
      [{ "if-match": '"x"', "if-none-match": tag }, 412],
      [{ "if-match": tag, "if-unmodified-since": before }, 200],
      [{ "if-unmodified-since": before }, 412],
      [{ "if-unmodified-since": at }, 200],
      [{ range, "if-range": tag }, 206],
      [{ range, "if-range": `W/${tag}` }, 200],
      [{ range, "if-range": at }, 206],
      [{ range, "if-range": before }, 200],
      [{ range, "if-none-match": tag }, 304],
    ];
    for (const [headers, status] of rows) {
      const response = await ask(root, headers);
      assertEquals([headers, response.status], [headers, status]);
      if (status === 304) assertEquals(response.headers.get("etag"), tag);
      await response.text();
    }
  }));

test("file sends what was compressed beforehand to those who accept it", () =>
  withFolder(async (root) => {
    fs.writeFileSync(join(root, "digits.txt.gz"), gzipSync(DIGITS));
    fs.writeFileSync(join(root, "digits.txt.br"), "br");
    const rows: [string | undefined, string | null][] = [
      [undefined, null],
      ["gzip", "gzip"],
      ["gzip, br", "br"],
      ["gzip;q=1, br;q=0.5", "gzip"],
      ["br;q=0, *", "gzip"],
      ["gzip;q=0.5, identity", null],
      ["gzip;q=x", null],
    ];
    for (const [accept, coding] of rows) {
      const response = await ask(
        root,
        accept === undefined ? {} : { "accept-encoding": accept },
      );
      assertEquals([accept, response.headers.get("content-encoding")], [
        accept,
        coding,
      ]);
      assertEquals(response.headers.get("vary"), "accept-encoding");
      assertStringIncludes(response.headers.get("content-type")!, "text/plain");
      await response.arrayBuffer();
    }
    const part = await ask(root, {
      range: "bytes=0-0",
      "accept-encoding": "gzip",
    });
    assertEquals([part.status, await part.text()], [206, "0"]);
  }));

test("file has the same tag on every runtime: of what all of them know of its time", () =>
  withFolder(async (root) => {
    const { headers } = await ask(root);
    const path = join(root, "digits.txt");
    const { mtimeMs } = fs.statSync(path, { bigint: true });
    assertEquals(headers.get("etag"), `"a-${mtimeMs.toString(36)}"`);
  }));

test("file gives an empty file to who asks for its end", () =>
  withFolder(async (root) => {
    const path = join(root, "empty.txt");
    fs.writeFileSync(path, "");
    const status = async (range: string) =>
      (await file(asked({ range }), path)).status;
    assertEquals(await status("bytes=-5"), 200);
    assertEquals(await status("bytes=-0"), 416);
    assertEquals(await status("bytes=0-"), 416);
  }));

test("file offers a download under any name", () =>
  withFolder(async (root) => {
    const of = async (download: string | boolean) =>
      (await ask(root, {}, { download })).headers.get("content-disposition");
    assertEquals(await of(true), 'attachment; filename="digits.txt"');
    assertEquals(
      await of('a"\r\né.txt'),
      `attachment; filename="a____.txt"; filename*=UTF-8''a%22%0D%0A%C3%A9.txt`,
    );
  }));

test("directory refuses what is not in the folder", () =>
  withFolder(async (root) => {
    const inner = join(root, "www");
    fs.mkdirSync(join(inner, "sub"), { recursive: true });
    fs.writeFileSync(join(inner, "sub", "index.html"), "index");
    fs.writeFileSync(join(inner, ".env"), "secret");
    fs.writeFileSync(join(inner, "a b.txt"), "spaced");
    fs.symlinkSync(join(root, "digits.txt"), join(inner, "out.txt"));
    fs.symlinkSync(join(inner, "a b.txt"), join(inner, "in.txt"));
    fs.writeFileSync(join(root, "www-next"), "beside");
    fs.symlinkSync(root, join(inner, "up"));
    const rows: [string, number][] = [
      ["/a%20b.txt", 200],
      ["/in.txt", 200],
      ["/sub/", 200],
      ["/sub", 308],
      ["/", 404],
      ["/out.txt", 404],
      ["/up", 404],
      ["/up/", 404],
      ["/up/digits.txt", 404],
      ["/.env", 404],
      ["/%2eenv", 404],
      ["/../digits.txt", 404],
      ["/%2e%2e/digits.txt", 404],
      ["/..%2fdigits.txt", 404],
      ["/..%5cdigits.txt", 404],
      ["/sub/..%2f..%2fdigits.txt", 404],
      ["/..%2fwww-next", 404],
      ["/a%20b.txt/", 404],
      ["/a%20b.txt%00", 404],
      ["/%ff", 404],
      ["//sub", 404],
      ["//evil.example/..", 404],
      ["/%2fetc%2fpasswd", 404],
    ];
    for (const [path, status] of rows) {
      const response = await directory(
        new Request(`http://localhost${path}`),
        inner,
      );
      assertEquals([path, response.status], [path, status]);
      await response.text();
    }
    const moved = await directory(
      new Request("http://localhost/s/sub?q=1"),
      inner,
      { prefix: "/s" },
    );
    assertEquals(moved.headers.get("location"), "/s/sub/?q=1");
    for (
      const [path, prefix] of [
        ["/f%C3%B6%20o/digits.txt", "/fö o"],
        ["/f%C3%B6/digits.txt", "/fö/"],
        ["/digits.txt", "/"],
      ]
    ) {
      const request = new Request(`http://localhost${path}`);
      assertEquals((await directory(request, root, { prefix })).status, 200);
    }
    await assertRejects(
      () => directory(asked(), root, { prefix: "s" }),
      TypeError,
      "prefix must begin with a slash: s",
    );
    const out = await directory(
      new Request("http://localhost/out.txt"),
      inner,
      { followSymlinks: true },
    );
    assertEquals(await out.text(), DIGITS);
  }));

for (const engine of modes) {
  if (engine !== "h2") {
    test(`file goes over the wire whole, and leaves nothing open, ${engine}`, () =>
      withFolder(async (root) => {
        const path = join(root, "large.bin");
        const size = 8 * 1024 * 1024;
        fs.writeFileSync(path, new Uint8Array(size).fill(120));
        await withServer(
          (request) => file(request, path),
          { engine },
          async (server) => {
            const response = await fetch(server.url);
            assertEquals((await response.arrayBuffer()).byteLength, size);
            const head = await exchange(server, get().replace("GET", "HEAD"));
            assertEquals([statusOf(head), bodyOf(head)], [200, ""]);
            assertStringIncludes(head.toLowerCase(), `content-length: ${size}`);
            const part = await fetch(server.url, {
              headers: { range: "bytes=1-200000" },
            });
            assertEquals([part.status, (await part.arrayBuffer()).byteLength], [
              206,
              200_000,
            ]);
            // A client that leaves in the middle of more than any buffer holds.
            fs.truncateSync(path, 256 * 1024 * 1024);
            const client = await rawClient(server);
            client.send(get());
            await client.until("\r\n\r\n");
            client.socket.pause();
            const counted = fs.existsSync("/proc/self/fd");
            if (counted) {
              await until(() => openIn(root).length === 1, "A handle");
            }
            client.socket.resetAndDestroy();
            await until(() => openIn(root).length === 0, "Its end");
          },
        );
      }));
  }
}

test("file opens at the first read, and closes when the reader leaves or the file shrinks", () =>
  withFolder(async (root) => {
    const path = join(root, "large.bin");
    const counted = fs.existsSync("/proc/self/fd");
    for (const shrinks of [false, true]) {
      fs.writeFileSync(path, new Uint8Array(1024 * 1024));
      const response = await file(asked(), path);
      assertEquals(openIn(root), []);
      const reader = response.body!.getReader();
      assertEquals((await reader.read()).done, false);
      if (counted) assertEquals(openIn(root).length, 1);
      if (shrinks) {
        fs.truncateSync(path, 300_000);
        let total = 0;
        const failure = await (async () => {
          for (;;) {
            const { done, value } = await reader.read();
            if (done) return undefined;
            total += value.length;
          }
        })().catch((error: Error) => error);
        assertStringIncludes(String(failure), "changed while it was sent");
        assert(total < 1024 * 1024);
      } else {
        await reader.cancel();
      }
      await until(() => openIn(root).length === 0);
    }
  }));
