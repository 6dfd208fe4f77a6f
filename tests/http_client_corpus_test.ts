import { describe, test } from "node:test";
import * as net from "node:net";
import { assert, assertEquals, assertInstanceOf } from "./assert.ts";
import { listen } from "./_http_servers.ts";
import type { TestServer } from "./_http_servers.ts";
import { until, within } from "./_support.ts";
import { Client } from "../http/client.ts";
import { FetchError } from "../http/errors.ts";

/** What a server sends, then its FIN or not, and what is to be made of it. */
interface Sample {
  text: string;
  fin: boolean;
  /** The body; `undefined`: it has to be refused. */
  body: string | undefined;
  method: string;
}

const samples: Sample[] = [];
const add = (text: string, body: string | undefined, fin = false) => {
  samples.push({ text, fin, body, method: "GET" });
};
const OK = "HTTP/1.1 200 OK\r\n";
const FIVE = "Content-Length: 5\r\n\r\nhello";
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;
const HELLO = "5\r\nhello\r\n0\r\n\r\n";

// Status lines.
for (
  const line of [
    ...["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.0 200 OK"],
    ...["HTTP/1.1 201 Created", "HTTP/1.1 299 \x80\xff", "HTTP/1.1 400 a b c"],
    ...[
      "HTTP/1.1 451 x",
      "HTTP/1.1 500 \t",
      "HTTP/1.1 599 ~",
      "HTTP/1.1 600 x",
      "HTTP/1.1 999 x",
      "HTTP/1.5 200 OK",
    ],
  ]
) add(`${line}\r\n${FIVE}`, "hello");
for (
  const line of [
    ...["HTTP/1.1 099 x", "HTTP/1.1 000 x", "HTTP/1.1 20 x"],
    ...[
      "HTTP/1.1 2000 x",
      "HTTP/1.1 2x0 x",
      "HTTP/1.1  200 x",
      "HTTP/1.1 -20 x",
    ],
    ...["HTTP/1.1\t200 x", "HTTP/2 200 x", "HTTP/2.0 200 x", "HTTP/0.9 200 x"],
    ...[
      "HTTP/1.10 200 x",
      "HTTP/11 200 x",
      "http/1.1 200 x",
      "HTTPS/1.1 200 x",
    ],
    ...["HTTP /1.1 200 x", " HTTP/1.1 200 x", "ICY 200 OK", "GET / HTTP/1.1"],
    ...["HTTP/1.1 200 a\0b", "HTTP/1.1 200 a\rb", "HTTP/1.1 200 a\x1fb", "x"],
    ...["HTTP/1.1 200 OK\r", "HTTP/1.1", "HTTP/1.1 ", "\0", "HTTP/1.1 101 x"],
    `HTTP/1.1 200 ${"r".repeat(70_000)}`,
  ]
) add(`${line}\r\n${FIVE}`, undefined, true);

// Fields.
for (
  const field of [
    ...["A: b", "A:b", "A:\t b \t", "A:", "A: ", "a-_.!#$%&'*+^`|~9: b"],
    ...["A: \x80\xff", "A: b\tc", `A: ${"b".repeat(8000)}`, "A: b\r\nA: c"],
    ...["A: b\r\n c", "A: b\r\n\tc", "Set-Cookie: a=b\r\nSet-Cookie: c=d"],
    ...["Connection: close", "Connection: keep-alive", "Keep-Alive: timeout=5"],
    ...["Date: no date", "Content-Type: ???", "Content-Encoding: identity"],
    ...["Connection: ,close,", "Upgrade: h2c", "Trailer: x", "Location: /x"],
    ...["Content-Encoding: unknown", "Link: </a>", 'Alt-Svc: h3=":443"'],
  ]
) add(`${OK}${field}\r\n${FIVE}`, "hello");
for (
  const field of [
    ...["A", "A b", ": b", "A : b", "A\t: b", " A: b", "A: b\0", "A: \x01"],
    ...[
      "A: b\x7f",
      "A: b\rc",
      "A\0: b",
      "(A): b",
      "A,B: c",
      "A/B: c",
      "\x80: b",
    ],
    ...["A: b\n", "A: b\nB: c", `A: ${"b".repeat(70_000)}`, '"A": b', "[A]: b"],
    ...["a b: c", "A: b\r\n\r: c", `${"x: y\r\n".repeat(300)}x: y`],
  ]
) add(`${OK}${field}\r\n${FIVE}`, undefined, true);

// Lengths.
for (const length of ["5", "05", " 5 ", "0000000005"]) {
  add(`${OK}Content-Length:${length}\r\n\r\nhello`, "hello");
}
for (
  const length of [
    ...["", " ", "+5", "-5", "-0", "5.0", "5e0", "0x5", "5 5", "5;", "five"],
    ...[
      "5, 6",
      "6, 5",
      "5,",
      ",5",
      "\x0b5",
      "٥",
      "99999999999999999999",
      "5\t5",
    ],
  ]
) add(`${OK}Content-Length: ${length}\r\n\r\nhello`, undefined, true);
add(
  `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
  undefined,
  true,
);
add(`${OK}Content-Length: 6\r\n\r\nhello`, undefined, true);
add(`${OK}Content-Length: 0\r\n\r\n`, "");
add(`${OK}\r\nhello`, "hello", true);
add(`${OK}Connection: close\r\n\r\n`, "", true);
add("HTTP/1.0 200 OK\r\n\r\nhello", "hello", true);
add("HTTP/1.1 204 No\r\n\r\n", "");
add("HTTP/1.1 205 No\r\nContent-Length: 0\r\n\r\n", "");
add("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", "");
for (const text of [`${OK}Content-Length: 5\r\n\r\n`, CHUNKED, `${OK}\r\n`]) {
  samples.push({ text, fin: false, body: "", method: "HEAD" });
}

// Chunks.
for (
  const body of [
    ...[
      HELLO,
      "05\r\nhello\r\n000\r\n\r\n",
      "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
    ],
    ...["5;a\r\nhello\r\n0;b\r\n\r\n", '5;a="b;c"\r\nhello\r\n0\r\n\r\n'],
    ...[
      "5;a=b;c=d\r\nhello\r\n0\r\nX: y\r\n\r\n",
      "5\r\nhello\r\n0\r\nX:\r\n\r\n",
    ],
  ]
) add(CHUNKED + body, "hello");
add(`${CHUNKED}A\r\nhellohello\r\n0\r\n\r\n`, "hellohello");
add(`${CHUNKED}a\r\nhellohello\r\n0\r\n\r\n`, "hellohello");
add(`${CHUNKED}0\r\n\r\n`, "");
for (
  const body of [
    ...["", "5", "5\r\n", "5\r\nhell", "5\r\nhello", "5\r\nhello\r\n", "0\r\n"],
    ...["x\r\n", "-5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n"],
    ...[
      "0x5\r\nhello\r\n0\r\n\r\n",
      " 5\r\nhello\r\n0\r\n\r\n",
      "5\nhello\n0\n\n",
    ],
    ...[
      "5\r\nhello0\r\n\r\n",
      "5\r\nhelloXX0\r\n\r\n",
      "4\r\nhello\r\n0\r\n\r\n",
    ],
    ...["fffffffffffffffff\r\n", "5\rhello\r\n0\r\n\r\n", "\r\n5\r\nhello\r\n"],
    ...["5;\0\r\nhello\r\n0\r\n\r\n", `5;${"a".repeat(70_000)}\r\nhello\r\n`],
    ...[
      "5\r\nhello\r\n0\r\nA b\r\n\r\n",
      "5\r\nhello\r\n0\r\nContent-Length: 1\r\n\r\n",
    ],
    ...[
      "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
      `5\r\nhello\r\n0\r\nX: ${"y".repeat(70_000)}`,
    ],
  ]
) add(CHUNKED + body, undefined, true);
for (
  const coding of [
    ...["gzip", "identity", "chunked, chunked", "chunked, gzip", "xchunked"],
    ...["chunked;a=b", "", ",", "\x0bchunked", "chunked\r\nContent-Length: 5"],
  ]
) add(`${OK}Transfer-Encoding: ${coding}\r\n\r\n${HELLO}`, undefined, true);
add(
  `HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${HELLO}`,
  undefined,
  true,
);

// What comes before.
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
add(`${CONTINUE}${OK}${FIVE}`, "hello");
add(`HTTP/1.1 103 x\r\nLink: a\r\n\r\n${CONTINUE}${OK}${FIVE}`, "hello");
add(`HTTP/1.1 199 x\r\n\r\n${OK}${FIVE}`, "hello");
add(CONTINUE, undefined, true);
add(CONTINUE.repeat(100), undefined, true);
add(`HTTP/1.1 100 x\r\nA : b\r\n\r\n${OK}${FIVE}`, undefined, true);
add("", undefined, true);
add("\r\n", undefined, true);
add("<html></html>", undefined, true);

const sent = samples.map(({ text }) =>
  Uint8Array.from(text, (char) => char.charCodeAt(0))
);

/** Sends the sample of a path, cut as the query says. */
function corpus(): Promise<TestServer> {
  return listen(
    net.createServer({ allowHalfOpen: true }, (socket: net.Socket) => {
      socket.setNoDelay(true);
      let head = "";
      socket.on("end", () => socket.end());
      socket.on("data", async (chunk: Uint8Array) => {
        head += new TextDecoder().decode(chunk);
        const match = /^[A-Z]+ \/(\d+)\?cut=(\d+)&at=(\d+)[\s\S]*\r\n\r\n$/
          .exec(head);
        if (match === null) return;
        head = "";
        const [, which, cut, at] = match.map(Number);
        const { fin } = samples[which];
        const bytes = sent[which];
        const end = cut === 1 ? at : bytes.length;
        if (cut === 0 && at > 0) {
          // In two pieces.
          socket.write(bytes.slice(0, at));
          await new Promise((resolve) => setImmediate(resolve));
          socket.write(bytes.slice(at));
        } else {
          socket.write(bytes.slice(0, end));
        }
        if (fin || cut === 1) socket.end();
      });
    }),
  );
}

async function withCorpus(
  run: (client: Client) => Promise<unknown>,
): Promise<void> {
  const server = await corpus();
  const client = new Client({ base: server.url, redirect: "manual" });
  try {
    await within(run(client), 60_000, "The samples");
    await until(() => {
      const { open, idle } = client.stats();
      return open === idle;
    });
  } finally {
    await client.close({ timeout: 0 });
    await server.close();
  }
}

/** The body, or the error. */
async function outcome(
  client: Client,
  path: string,
  method: string,
): Promise<string | FetchError> {
  try {
    const timeout = 30_000;
    return await client.fetch(path, { method, timeout }).text();
  } catch (error) {
    assertInstanceOf(error, FetchError);
    return error;
  }
}

/** In groups, so that no connection waits for long. */
async function forEach<T>(
  list: readonly T[],
  run: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = list.values();
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (const item of iterator) await run(item);
  }));
}

function show({ text }: Sample): string {
  return JSON.stringify(text.slice(0, 120));
}

describe(`${samples.length} responses`, () => {
  test("are taken or refused, in one piece and in two", () =>
    withCorpus((client) =>
      forEach([...samples.entries()], async ([which, sample]) => {
        const { length } = sample.text;
        for (const at of [0, length >> 1]) {
          const path = `/${which}?cut=0&at=${at}`;
          const got = await outcome(client, path, sample.method);
          if (sample.body === undefined) {
            assert(got instanceof FetchError, `Taken: ${show(sample)}`);
            assert(got.code !== "ETIMEDOUT", `Hangs: ${show(sample)}`);
            assert(got.code !== "ERR_INTERNAL", `${got}: ${show(sample)}`);
          } else assertEquals(got, sample.body, show(sample));
        }
      })
    ));

  test("end a request when they are cut anywhere", () =>
    withCorpus((client) =>
      forEach([...samples.entries()], async ([which, sample]) => {
        const { text, method } = sample;
        const head = text.indexOf("\r\n\r\n") + 4;
        const cuts = [9, head + 2, text.length - 1];
        for (const at of new Set(cuts)) {
          if (at < 0 || at >= text.length) continue;
          const path = `/${which}?cut=1&at=${at}`;
          const got = await outcome(client, path, method);
          if (typeof got !== "string") {
            assert(got.code !== "ETIMEDOUT", `Hangs: ${at} ${show(sample)}`);
            assert(got.code !== "ERR_INTERNAL", `${got}: ${show(sample)}`);
          } else if (sample.body !== undefined && !sample.fin) {
            // Nothing that was announced is missing.
            assert(got === sample.body, `Taken at ${at}: ${show(sample)}`);
          }
        }
      })
    ));
});
