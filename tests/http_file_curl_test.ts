// `file` and `directory` as curl sees them: ranges, conditions, resumed
// downloads, files compressed beforehand.

import { execFile } from "node:child_process";
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { assert, assertEquals, assertStringIncludes } from "./assert.ts";
import { withServer } from "./_http_raw.ts";
import { engines, needs, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import { directory } from "../http/directory.ts";
import type { ServeOptions } from "../http/types.ts";

const DIGITS = "0123456789";
const OLD = new Date("2020-01-02T03:04:05.678Z");
/** Larger than what is read at once, and not the same anywhere. */
const BIG = Array.from({ length: 40_000 }, (_, i) => `line ${i}\n`).join("");
const PACKED = {
  br: brotliCompressSync(BIG, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 1 },
  }),
  gz: gzipSync(BIG),
};
const skip = needs("curl");

interface Shown {
  /** How curl ended. */
  readonly code: number;
  /** Status line and fields, in lower case. */
  readonly head: string;
  readonly status: number;
  readonly body: string;
}

/** Runs curl once for all of these requests, each with arguments of its own. */
async function curls(folder: string, requests: string[][]): Promise<Shown[]> {
  const out = mkdtempSync(join(tmpdir(), "sluice-curled-"));
  const args = requests.flatMap((own, i) => [
    ...(i === 0 ? [] : ["--next"]),
    "-sS",
    "-D",
    join(out, `head${i}`),
    ...(own.includes("-o") ? [] : ["-o", join(out, `body${i}`)]),
    ...own,
  ]);
  const read = (name: string) => {
    try {
      return readFileSync(join(out, name), "latin1");
    } catch {
      return "";
    }
  };
  try {
    const code = await within(
      new Promise<number>((resolve) => {
        execFile(
          "curl",
          args,
          { timeout: 30_000, cwd: folder },
          (error) => resolve(Number(error?.code ?? (error ? -1 : 0))),
        );
      }),
      35_000,
    );
    return requests.map((_, i) => {
      const head = read(`head${i}`).toLowerCase();
      return {
        code,
        head,
        status: Number(head.split(" ")[1]),
        body: read(`body${i}`),
      };
    });
  } finally {
    rmSync(out, { recursive: true });
  }
}

async function serving(
  options: ServeOptions,
  run: (url: string, folder: string) => Promise<unknown>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-curl-"));
  const put = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content);
    utimesSync(join(folder, name), OLD, OLD);
  };
  put("digits.txt", DIGITS);
  put("empty.txt", "");
  put("big.txt", BIG);
  put("big.txt.br", PACKED.br);
  put("big.txt.gz", PACKED.gz);
  put("a b\u00e9.html", "<p>named</p>");
  put("index.html", "<p>index</p>");
  try {
    await withServer(
      (request) => directory(request, folder),
      options,
      (server) => run(server.url.slice(0, -1), folder),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const tls = { cert: pem("server.pem"), key: pem("server.key") };

const modes: [string, ServeOptions, string[]][] = [
  ...engines.map((engine): [string, ServeOptions, string[]] => [
    `the ${engine} engine`,
    { engine },
    [],
  ]),
  ["HTTP/2", { tls }, ["-k", "--http2"]],
];

for (const [mode, options, flags] of modes) {
  const native = options.engine === "native";

  describe(`directory() seen by curl on ${mode}`, { skip }, () => {
    const all = (folder: string, requests: string[][]) =>
      curls(folder, requests.map((args) => [...flags, ...args]));

    test("is sent whole", () =>
      serving(options, async (url, folder) => {
        const rows: [string, string, string][] = [
          ["/digits.txt", DIGITS, "text/plain; charset=utf-8"],
          ["/empty.txt", "", "text/plain; charset=utf-8"],
          ["/big.txt", BIG, "text/plain; charset=utf-8"],
          ["/a%20b%C3%A9.html", "<p>named</p>", "text/html; charset=utf-8"],
          ["/", "<p>index</p>", "text/html; charset=utf-8"],
        ];
        const found = await all(folder, rows.map(([path]) => [url + path]));
        for (const [i, [path, body, type]] of rows.entries()) {
          const shown = found[i];
          assertEquals([shown.code, shown.status], [0, 200], path);
          assert(shown.body === body, path);
          assertStringIncludes(shown.head, `\r\ncontent-type: ${type}\r\n`);
          assertStringIncludes(shown.head, "\r\naccept-ranges: bytes\r\n");
          assertStringIncludes(
            shown.head,
            "\r\nlast-modified: thu, 02 jan 2020 03:04:05 gmt\r\n",
          );
          // Bun.serve sends a stream without its length.
          if (native && body === BIG) continue;
          assertStringIncludes(
            shown.head,
            `\r\ncontent-length: ${body.length}\r\n`,
          );
        }
      }));

    test("is told of by HEAD", () =>
      serving(options, async (url, folder) => {
        const found = await all(folder, [
          ["-I", `${url}/digits.txt`],
          ["-I", `${url}/big.txt`],
          // Ranges are for GET alone (RFC 9110, 14.2).
          ["-I", "-r", "1-2", `${url}/digits.txt`],
          ["-I", "-r", "1-2", `${url}/big.txt`],
        ]);
        for (const [i, { code, status, head }] of found.entries()) {
          assertEquals([code, status], [0, 200]);
          const { length } = i % 2 === 0 ? DIGITS : BIG;
          assertStringIncludes(head, `\r\ncontent-length: ${length}\r\n`);
          assertStringIncludes(head, "\r\netag: ");
        }
      }));

    test("gives ranges (-r)", () =>
      serving(options, async (url, folder) => {
        const size = BIG.length;
        const rows: [string, string, string, string][] = [
          ["/digits.txt", "0-0", "0", "bytes 0-0/10"],
          ["/digits.txt", "3-5", "345", "bytes 3-5/10"],
          ["/digits.txt", "7-", "789", "bytes 7-9/10"],
          ["/digits.txt", "-2", "89", "bytes 8-9/10"],
          ["/digits.txt", "-99", DIGITS, "bytes 0-9/10"],
          ["/digits.txt", "8-99", "89", "bytes 8-9/10"],
          [
            "/big.txt",
            "100-299999",
            BIG.slice(100, 300_000),
            `bytes 100-299999/${size}`,
          ],
          [
            "/big.txt",
            "-5",
            BIG.slice(-5),
            `bytes ${size - 5}-${size - 1}/${size}`,
          ],
        ];
        const none: [string, string, string][] = [
          ["/digits.txt", "10-", "10"],
          ["/digits.txt", "99-100", "10"],
          ["/digits.txt", "-0", "10"],
          ["/empty.txt", "0-0", "0"],
        ];
        const found = await all(
          folder,
          [...rows, ...none].map(([path, range]) => ["-r", range, url + path]),
        );
        for (const [i, [, range, body, told]] of rows.entries()) {
          const shown = found[i];
          assertEquals([shown.code, shown.status], [0, 206], range);
          assert(shown.body === body, range);
          assertStringIncludes(shown.head, `\r\ncontent-range: ${told}\r\n`);
        }
        for (const [i, [, range, size]] of none.entries()) {
          const shown = found[rows.length + i];
          assertEquals(shown.status, 416, range);
          assertStringIncludes(
            shown.head,
            `\r\ncontent-range: bytes */${size}\r\n`,
          );
        }
      }));

    test("gives many ranges as parts (-r 0-0,5-9)", () =>
      serving(options, async (url, folder) => {
        const [small, big] = await all(folder, [
          ["-r", "0-0,5-9", `${url}/digits.txt`],
          ["-r", "0-99,200000-299999", `${url}/big.txt`],
        ]);
        assertEquals(small.status, 206);
        const boundary = /multipart\/byteranges; boundary=(\S+)\r\n/
          .exec(small.head)?.[1];
        assert(boundary !== undefined, small.head);
        const part = (range: string, body: string) =>
          `\r\n--${boundary}\r\ncontent-type: text/plain; charset=utf-8\r\n` +
          `content-range: bytes ${range}/10\r\n\r\n${body}`;
        assertEquals(
          small.body.toLowerCase(),
          `${part("0-0", "0")}${part("5-9", "56789")}\r\n--${boundary}--\r\n`,
        );
        assert(!/\r\ncontent-range: /.test(small.head), small.head);
        assertEquals([big.code, big.status], [0, 206]);
        assert(big.body.includes(BIG.slice(200_000, 300_000)));
      }));

    test("is fetched only when it is newer (-z)", () =>
      serving(options, async (url, folder) => {
        const rows: [string, number][] = [
          ["Thu, 02 Jan 2020 03:04:05 GMT", 304],
          ["Thu, 02 Jan 2020 03:04:04 GMT", 200],
          ["Fri, 03 Jan 2020 00:00:00 GMT", 304],
          // If-Unmodified-Since.
          ["-Thu, 02 Jan 2020 03:04:06 GMT", 200],
          ["-Wed, 01 Jan 2020 00:00:00 GMT", 412],
        ];
        const found = await all(
          folder,
          rows.map(([time]) => ["-z", time, `${url}/digits.txt`]),
        );
        for (const [i, [time, status]] of rows.entries()) {
          const shown = found[i];
          assertEquals([shown.code, shown.status], [0, status], time);
          assertEquals(shown.body.includes(DIGITS), status === 200, time);
          if (status === 304) {
            assertStringIncludes(shown.head, "\r\netag: ");
            assert(!/\r\ncontent-length: [1-9]/.test(shown.head), shown.head);
          }
        }
      }));

    test("is fetched only when its tag is another (--etag-compare)", () =>
      serving(options, async (url, folder) => {
        const known = ["--etag-compare", "tag", `${url}/digits.txt`];
        const [first, again] = await all(folder, [
          ["--etag-save", "tag", `${url}/digits.txt`],
        ]).then(async ([first]) => [first, ...await all(folder, [known])]);
        assertEquals([first.status, first.body], [200, DIGITS]);
        assertEquals([again.status, again.body], [304, ""]);
        writeFileSync(join(folder, "digits.txt"), "changed");
        const [changed] = await all(folder, [known]);
        assertEquals([changed.status, changed.body], [200, "changed"]);
      }));

    test("is taken up where it was left (-C -)", () =>
      serving(options, async (url, folder) => {
        const parts: [number, number][] = [
          [0, 200],
          [1, 206],
          [300_000, 206],
          // All of it is there: the range is none, and no harm is done.
          [BIG.length, 416],
        ];
        for (const [have] of parts) {
          writeFileSync(join(folder, `out${have}`), BIG.slice(0, have));
        }
        const found = await all(
          folder,
          parts.map((
            [have],
          ) => ["-C", "-", "-o", `out${have}`, `${url}/big.txt`]),
        );
        for (const [i, [have, status]] of parts.entries()) {
          assertEquals(found[i].status, status);
          const whole = readFileSync(join(folder, `out${have}`), "latin1");
          assert(whole === BIG, `${have}`);
        }
      }));

    test("is taken up only while it is the same (If-Range)", () =>
      serving(options, async (url, folder) => {
        const [{ head }] = await all(folder, [["-I", `${url}/big.txt`]]);
        const tag = /\r\netag: (.*)\r\n/.exec(head)![1];
        const rows: [string, number][] = [
          [tag, 206],
          ['"other"', 200],
          [`W/${tag}`, 200],
          ["Thu, 02 Jan 2020 03:04:05 GMT", 206],
          ["Thu, 02 Jan 2020 03:04:06 GMT", 200],
        ];
        const found = await all(
          folder,
          rows.map(([condition]) => [
            "-r",
            "5-9",
            "-H",
            `If-Range: ${condition}`,
            `${url}/big.txt`,
          ]),
        );
        for (const [i, [condition, status]] of rows.entries()) {
          assertEquals(found[i].status, status, condition);
          const wanted = status === 206 ? BIG.slice(5, 10) : BIG;
          assert(found[i].body === wanted, condition);
        }
      }));

    test("is sent as it was compressed beforehand (--compressed)", () =>
      serving(options, async (url, folder) => {
        const big = `${url}/big.txt`;
        const [plain, packed, part, one, two] = await all(folder, [
          [big],
          ["--compressed", big],
          // A range is of the plain one.
          ["--compressed", "-r", "5-9", big],
          ["-H", "Accept-Encoding: gzip", big],
          ["-H", "Accept-Encoding: br;q=0.1, gzip;q=0.5", big],
        ]);
        assert(!/content-encoding/.test(plain.head), plain.head);
        assertStringIncludes(plain.head, "\r\nvary: accept-encoding\r\n");
        assertEquals([packed.code, packed.status], [0, 200]);
        assert(packed.body === BIG);
        const coding = /\r\ncontent-encoding: (br|gzip)\r\n/.exec(packed.head);
        assert(coding !== null, packed.head);
        const tagOf = (head: string) => /\r\netag: (.*)\r\n/.exec(head)![1];
        assert(
          tagOf(plain.head) !== tagOf(packed.head),
          "The tags are the same",
        );
        assertEquals([part.status, part.body], [206, BIG.slice(5, 10)]);
        assert(!/content-encoding/.test(part.head), part.head);
        for (const { head } of [one, two]) {
          assertStringIncludes(head, "\r\ncontent-encoding: gzip\r\n");
        }
      }));

    test("lets nobody out of the folder (--path-as-is)", () =>
      serving(options, async (url, folder) => {
        writeFileSync(join(folder, ".secret"), "root:");
        const paths = [
          "/../etc/passwd",
          "/..%2fetc/passwd",
          "/%2e%2e/%2e%2e/etc/passwd",
          "/.secret",
          "/digits.txt/",
          "/digits.txt%00.html",
          "//etc/passwd",
          "/a/../../etc/passwd",
          "/none",
        ];
        const found = await all(
          folder,
          paths.map((path) => ["--path-as-is", url + path]),
        );
        for (const [i, path] of paths.entries()) {
          const { status, body } = found[i];
          assert(
            status === 404 || (native && status === 400),
            `${path}: ${status}`,
          );
          assert(!body.includes("root:"), path);
        }
      }));

    test("refuses what is neither GET nor HEAD", () =>
      serving(options, async (url, folder) => {
        const found = await all(
          folder,
          [["-d", "a=1"], ["-X", "DELETE"], ["-X", "PUT"]].map((args) => [
            ...args,
            `${url}/digits.txt`,
          ]),
        );
        for (const shown of found) {
          assertEquals(shown.status, 405);
          assertStringIncludes(shown.head, "\r\nallow: get, head\r\n");
        }
      }));
  });
}
