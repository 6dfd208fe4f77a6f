import { describe, test } from "node:test";
import { assertEquals } from "./assert.ts";
import { cuts, read } from "./_h1.ts";
import type { Reading, ReadOptions } from "./_h1.ts";
import type { ResponseHead } from "../http/_h1_types.ts";

type Check = (messages: Reading["messages"], reading: Reading) => void;
type Case = [
  name: string,
  input: string,
  expected: "fine" | "bad" | "cut" | Check,
  ReadOptions?,
];

function head(reading: Reading["messages"], index = 0): ResponseHead {
  return reading[index].head as ResponseHead;
}

function check(cases: Case[]): void {
  for (const [name, input, expected, given] of cases) {
    test(name, () => {
      const options = { methods: ["GET"], ...given, fin: true };
      const first = read(input, options);
      const outcome = first.error === undefined
        ? "fine"
        : first.error === "cut"
        ? "cut"
        : "bad";
      assertEquals(
        outcome,
        typeof expected === "function" ? "fine" : expected,
      );
      if (typeof expected === "function") expected(first.messages, first);
      for (const [where, cut] of cuts(input.length)) {
        for (const halting of [false, true]) {
          const again = read(input, { ...options, cut, halting });
          assertEquals(again, first, `cut ${where}, halting: ${halting}`);
        }
      }
    });
  }
}

const line = (text: string) => `${text}\r\nContent-Length: 0\r\n\r\n`;
const ok = (fields: string, body = "") =>
  `HTTP/1.1 200 OK\r\n${fields}\r\n\r\n${body}`;
const body = (value: string, trailers?: string[]): Check => (messages) => {
  assertEquals(messages[0].body, value);
  assertEquals(messages[0].ended, true);
  assertEquals(messages[0].trailers, trailers);
};
const keeps = (value: boolean): Check => (messages) => {
  assertEquals(head(messages).keepAlive, value);
  assertEquals(messages[0].ended, true);
};

describe("status line (RFC 9112, 4)", () =>
  check([
    ["is read", line("HTTP/1.1 200 OK"), (messages, reading) => {
      assertEquals(head(messages), {
        status: 200,
        reason: "OK",
        minor: 1,
        fields: ["content-length", "0"],
        framing: { kind: "length", length: 0 },
        keepAlive: true,
      });
      assertEquals(reading.phase, "start");
    }],
    ["may have an empty reason", line("HTTP/1.1 404 "), (messages) => {
      assertEquals(head(messages).reason, "");
    }],
    ["may lack the space, too", line("HTTP/1.1 404"), (messages) => {
      assertEquals(head(messages).status, 404);
      assertEquals(head(messages).reason, "");
    }],
    ["may have a long reason", line("HTTP/1.1 599 A b\tc \xe9"), (messages) => {
      assertEquals(head(messages).reason, "A b\tc \xe9");
    }],
    ["may be of HTTP/1.0", line("HTTP/1.0 200 OK"), keeps(false)],
    ["may be of HTTP/1.9", line("HTTP/1.9 200 OK"), keeps(true)],
    ["refuses HTTP/2.0", line("HTTP/2.0 200 OK"), "bad"],
    ["refuses HTTP/1", line("HTTP/1 200 OK"), "bad"],
    ["refuses HTTP/1.10", line("HTTP/1.10 200 OK"), "bad"],
    ["refuses http/1.1", line("http/1.1 200 OK"), "bad"],
    ["refuses ICY", line("ICY 200 OK"), "bad"],
    ["refuses HTTP/0.9", "<html>", "bad"],
    ["refuses two spaces", line("HTTP/1.1  200 OK"), "bad"],
    ["refuses a code of two digits", line("HTTP/1.1 20 OK"), "bad"],
    ["refuses a code of four digits", line("HTTP/1.1 2000 OK"), "bad"],
    ["refuses a code of letters", line("HTTP/1.1 OK OK"), "bad"],
    ["refuses a negative code", line("HTTP/1.1 -20 OK"), "bad"],
    ["refuses 099", line("HTTP/1.1 099 OK"), "bad"],
    ["takes 999 as a status", line("HTTP/1.1 999 OK"), (messages) => {
      assertEquals(head(messages).status, 999);
    }],
    ["refuses a NUL in the reason", line("HTTP/1.1 200 O\0K"), "bad"],
    ["refuses a bare CR in the reason", line("HTTP/1.1 200 O\rK"), "bad"],
    ["refuses a bare LF", "HTTP/1.1 200 OK\nA: b\r\n\r\n", "bad"],
    ["refuses an endless reason", `HTTP/1.1 200 ${"a".repeat(1025)}`, "bad"],
    [
      "refuses an empty line before it",
      `\r\n${line("HTTP/1.1 200 OK")}`,
      "bad",
    ],
    ["is cut in the version", "HTTP/1", "cut"],
    ["is cut in the code", "HTTP/1.1 2", "cut"],
    ["is cut in the reason", "HTTP/1.1 200 O", "cut"],
    ["is cut before LF", "HTTP/1.1 200 OK\r", "cut"],
    ["refuses what nobody asked for", line("HTTP/1.1 200 OK"), "bad", {
      methods: [],
    }],
    [
      "refuses a second that nobody asked for",
      line("HTTP/1.1 200 OK").repeat(2),
      "bad",
    ],
  ]));

describe("response fields (RFC 9112, 5)", () =>
  check([
    [
      "are told in order",
      ok("B: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0"),
      (messages) => {
        assertEquals(head(messages).fields, [
          ...["b", "1", "set-cookie", "a", "set-cookie", "b"],
          ...["content-length", "0"],
        ]);
      },
    ],
    ["may be none", "HTTP/1.1 200 OK\r\n\r\n", body("")],
    // A user agent replaces obs-fold by space (RFC 9112, 5.2).
    [
      "may be folded",
      ok("A: b\r\n c\r\n\t d \r\nB: e\r\nContent-Length: 0"),
      (messages) => {
        assertEquals(head(messages).fields.slice(0, 4), [
          "a",
          "b c d",
          "b",
          "e",
        ]);
      },
    ],
    [
      "may be folded to nothing",
      ok("A:\r\n \r\nContent-Length: 0"),
      (messages) => {
        assertEquals(head(messages).fields.slice(0, 2), ["a", ""]);
      },
    ],
    ["refuse a folded first line", "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", "bad"],
    ["refuse a space before the colon", ok("A : b"), "bad"],
    ["refuse a bad name", ok("A\0: b"), "bad"],
    ["refuse an empty name", ok(": b"), "bad"],
    ["refuse a NUL", ok("A: \0"), "bad"],
    ["refuse a bare CR", ok("A: b\rc"), "bad"],
    ["refuse a bare LF", ok("A: b\nC: d"), "bad"],
    ["pass their limit", ok(`A: ${"b".repeat(64)}`), "bad", {
      limits: { header: 64 },
    }],
    ["are too many", ok("A: b\r\nA: b\r\nA: b"), "bad", {
      limits: { fields: 2 },
    }],
    ["are cut", "HTTP/1.1 200 OK\r\nA: b\r\n", "cut"],
  ]));

describe("response body (RFC 9112, 6.3)", () =>
  check([
    ["has a length", ok("Content-Length: 5", "hello"), body("hello")],
    [
      "has chunks",
      ok("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
      body("hello"),
    ],
    [
      "has trailers",
      ok("Transfer-Encoding: chunked", "0\r\nX-Sum: 1\r\n\r\n"),
      body("", ["x-sum", "1"]),
    ],
    ["goes to the end of the connection", ok("A: b", "hello"), body("hello")],
    [
      "ends the connection then",
      ok("Connection: keep-alive", "hello"),
      keeps(false),
    ],
    ["is cut by length", ok("Content-Length: 5", "hell"), "cut"],
    ["is cut in chunks", ok("Transfer-Encoding: chunked", "5\r\nhell"), "cut"],
    [
      "is cut before the last chunk",
      ok("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
      "cut",
    ],
    [
      "is cut in trailers",
      ok("Transfer-Encoding: chunked", "0\r\nA: b\r\n"),
      "cut",
    ],
    ["is not more than its length", ok("Content-Length: 2", "hello"), "bad"],
    [
      "takes equal lengths for one",
      ok("Content-Length: 5\r\nContent-Length: 5", "hello"),
      body("hello"),
    ],
    [
      "takes a list of equal lengths",
      ok("Content-Length: 5, 5", "hello"),
      body("hello"),
    ],
    [
      "refuses different lengths",
      ok("Content-Length: 5\r\nContent-Length: 6", "hello"),
      "bad",
    ],
    [
      "refuses a list of different lengths",
      ok("Content-Length: 5, 6", "hello"),
      "bad",
    ],
    ["refuses a list with nothing", ok("Content-Length: 5,", "hello"), "bad"],
    ["refuses a signed length", ok("Content-Length: +5", "hello"), "bad"],
    [
      "refuses a huge length",
      ok("Content-Length: 18446744073709551617"),
      "bad",
    ],
    ["refuses an empty length", ok("Content-Length: "), "bad"],
    [
      "refuses length and chunks",
      ok("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
      "bad",
    ],
    ["refuses another coding", ok("Transfer-Encoding: gzip, chunked"), "bad"],
    ["refuses identity", ok("Transfer-Encoding: identity"), "bad"],
    [
      "refuses chunked twice",
      ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
      "bad",
    ],
    [
      "refuses chunks on HTTP/1.0",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "bad",
    ],
    ["refuses a bad size", ok("Transfer-Encoding: chunked", "x\r\n"), "bad"],
    [
      "refuses a sign in a size",
      ok("Transfer-Encoding: chunked", "-1\r\n"),
      "bad",
    ],
    [
      "refuses a huge size",
      ok("Transfer-Encoding: chunked", "ffffffffffffffff\r\n"),
      "bad",
    ],
    [
      "refuses data past its size",
      ok("Transfer-Encoding: chunked", "1\r\nab\r\n"),
      "bad",
    ],
    [
      "refuses a forbidden trailer",
      ok("Transfer-Encoding: chunked", "0\r\nContent-Length: 1\r\n\r\n"),
      "bad",
    ],
    ["is none for HEAD", ok("Content-Length: 5"), body(""), {
      methods: ["HEAD"],
    }],
    [
      "is none for HEAD with chunks",
      ok("Transfer-Encoding: chunked"),
      body(""),
      { methods: ["HEAD"] },
    ],
    ["is none for HEAD without a length", ok("A: b"), keeps(true), {
      methods: ["HEAD"],
    }],
    ["is none with 204", "HTTP/1.1 204 No Content\r\n\r\n", keeps(true)],
    [
      "is none with 204 and a length",
      "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
      body(""),
    ],
    [
      "is none with 304",
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
      keeps(true),
    ],
    [
      "answers several in order",
      ok("Content-Length: 2") + ok("Content-Length: 2", "hi") + ok("A: b", "x"),
      (messages) => {
        assertEquals(messages.map((message) => message.body), ["", "hi", "x"]);
      },
      { methods: ["HEAD", "GET", "GET"] },
    ],
  ]));

describe("response connection (RFC 9112, 9.3)", () =>
  check([
    ["stays", ok("Content-Length: 0"), keeps(true)],
    [
      "ends with close",
      ok("Content-Length: 0\r\nConnection: Close"),
      keeps(false),
    ],
    [
      "ends with close in a list",
      ok("Content-Length: 0\r\nConnection: keep-alive, close"),
      keeps(false),
    ],
    [
      "stays on HTTP/1.0 with keep-alive",
      "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
      keeps(true),
    ],
  ]));

describe("informational responses (RFC 9110, 15.2)", () =>
  check([
    [
      "are told apart",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" +
      ok("Content-Length: 2", "hi"),
      (messages, reading) => {
        assertEquals(reading.informed, [100, 103]);
        assertEquals(messages.length, 1);
        assertEquals(messages[0].body, "hi");
      },
    ],
    [
      "keep the method",
      "HTTP/1.1 102 Processing\r\n\r\n" + ok("Content-Length: 2"),
      (messages, reading) => {
        assertEquals(reading.informed, [102]);
        assertEquals(messages[0].body, "");
        assertEquals(messages[0].ended, true);
      },
      { methods: ["HEAD"] },
    ],
    ["may be cut off", "HTTP/1.1 100 Continue\r\n\r\n", (messages, reading) => {
      assertEquals(messages.length, 0);
      assertEquals(reading.phase, "start");
    }],
    [
      "stop for 101",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n\x00raw",
      (messages, reading) => {
        assertEquals(head(messages).status, 101);
        assertEquals(head(messages).keepAlive, false);
        assertEquals(messages[0].ended, false);
        assertEquals(reading.rest, "\x00raw");
      },
    ],
    [
      "stop for CONNECT",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nraw",
      (messages, reading) => {
        assertEquals(head(messages).framing, { kind: "none" });
        assertEquals(reading.rest, "raw");
      },
      { methods: ["CONNECT"] },
    ],
    [
      "do not stop for a refused CONNECT",
      "HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nraw",
      body("raw"),
      { methods: ["CONNECT"] },
    ],
  ]));
