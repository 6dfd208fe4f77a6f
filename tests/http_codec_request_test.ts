import { describe, test } from "node:test";
import { assertEquals } from "./assert.ts";
import { cuts, read } from "./_h1.ts";
import type { Reading, ReadOptions } from "./_h1.ts";
import type { RequestHead } from "../http/_h1_types.ts";

type Expected =
  | number
  | "cut"
  | ((messages: Reading["messages"], reading: Reading) => void);

type Case = [name: string, input: string, expected: Expected, ReadOptions?];

const HOST = "Host: a.example\r\n";
const FINE: Expected = 0;

function head(reading: Reading["messages"], index = 0): RequestHead {
  return reading[index].head as RequestHead;
}

/** Reads it in every way of cutting; all have to agree. */
function check(cases: Case[]): void {
  for (const [name, input, expected, options] of cases) {
    test(name, () => {
      const first = read(input, { ...options, fin: true });
      if (typeof expected === "function") {
        assertEquals(first.error, undefined);
        expected(first.messages, first);
      } else {
        assertEquals(first.error, expected === FINE ? undefined : expected);
      }
      for (const [where, cut] of cuts(input.length)) {
        for (const halting of [false, true]) {
          const again = read(input, { ...options, cut, halting, fin: true });
          assertEquals(again, first, `cut ${where}, halting: ${halting}`);
        }
      }
    });
  }
}

const line = (text: string) => `${text}\r\n${HOST}\r\n`;
const field = (text: string) => `GET / HTTP/1.1\r\n${HOST}${text}\r\n\r\n`;
const post = (fields: string, body: string) =>
  `POST / HTTP/1.1\r\n${HOST}${fields}\r\n\r\n${body}`;
const chunked = (body: string) => post("Transfer-Encoding: chunked", body);
const host = (text: string) => `GET / HTTP/1.1\r\nHost:${text}\r\n\r\n`;

const target = (value: string) => (messages: Reading["messages"]) =>
  assertEquals(head(messages).target, value);
const hostIs = (value: string) => (messages: Reading["messages"]) => {
  assertEquals(head(messages).host, value);
  assertEquals(messages[0].ended || head(messages).method === "CONNECT", true);
};
const body = (value: string) => (messages: Reading["messages"]) => {
  assertEquals(messages[0].body, value);
  assertEquals(messages[0].ended, true);
};

describe("request line (RFC 9112, 3)", () =>
  check([
    ["takes a plain GET", line("GET / HTTP/1.1"), (messages, reading) => {
      assertEquals(head(messages), {
        method: "GET",
        target: "/",
        minor: 1,
        fields: ["host", "a.example"],
        framing: { kind: "none" },
        host: "a.example",
        keepAlive: true,
        expectContinue: false,
        upgrade: undefined,
      });
      assertEquals(messages[0].ended, true);
      assertEquals(reading.phase, "start");
    }],
    ["takes any token as a method", line("M-SEARCH! / HTTP/1.1"), FINE],
    ["keeps the case of a method", line("get / HTTP/1.1"), (messages) => {
      assertEquals(head(messages).method, "get");
    }],
    ["knows PATCH from PATCZ", line("PATCZ / HTTP/1.1"), (messages) => {
      assertEquals(head(messages).method, "PATCZ");
    }],
    ["refuses a method with a slash", line("GE/T / HTTP/1.1"), 400],
    ["refuses a method with a colon", line("GET: / HTTP/1.1"), 400],
    ["refuses an empty method", line(" / HTTP/1.1"), 400],
    ["refuses a NUL in a method", line("G\0T / HTTP/1.1"), 400],
    ["refuses a TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", 400],
    ["refuses a method of 33 bytes", line(`${"A".repeat(33)} / HTTP/1.1`), 501],
    ["takes one of 32 bytes", line(`${"A".repeat(32)} / HTTP/1.1`), FINE],
    ["refuses two spaces", line("GET  / HTTP/1.1"), 400],
    ["refuses a tab for a space", line("GET\t/ HTTP/1.1"), 400],
    ["refuses two spaces at the end", line("GET /  HTTP/1.1"), 400],
    ["refuses a space behind the line", line("GET / HTTP/1.1 "), 400],
    ["refuses a target with a space", line("GET /a b HTTP/1.1"), 400],
    ["refuses HTTP/0.9", "GET /\r\n\r\n", 400],
    ["ignores an empty line before it", `\r\n${line("GET / HTTP/1.1")}`, FINE],
    ["refuses many empty lines", "\r\n".repeat(6), 400],
    ["refuses a bare LF before it", `\n${line("GET / HTTP/1.1")}`, 400],
    ["refuses a bare CR before it", `\rGET / HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["refuses white space before it", ` ${line("GET / HTTP/1.1")}`, 400],
    ["refuses a bare LF behind it", `GET / HTTP/1.1\n${HOST}\r\n`, 400],
    ["refuses a bare CR behind it", `GET / HTTP/1.1\r${HOST}\r\n`, 400],
    ["refuses HTTP/2.0", line("GET / HTTP/2.0"), 505],
    ["refuses HTTP/3.0", line("GET / HTTP/3.0"), 505],
    ["refuses HTTP/0.9 in full", line("GET / HTTP/0.9"), 505],
    ["refuses the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505],
    // RFC 9110, 2.5: as the highest minor version that is known.
    ["takes HTTP/1.2 for 1.1", line("GET / HTTP/1.2"), (messages) => {
      assertEquals(head(messages).minor, 1);
    }],
    ["refuses http/1.1", line("GET / http/1.1"), 400],
    ["refuses HTTP/1", line("GET / HTTP/1"), 400],
    ["refuses HTTP/1.10", line("GET / HTTP/1.10"), 400],
    ["refuses HTTP/1,1", line("GET / HTTP/1,1"), 400],
    ["refuses HTTP/11.1", line("GET / HTTP/11.1"), 400],
    ["refuses HTTPS/1.1", line("GET / HTTPS/1.1"), 400],
    ["refuses a version without number", line("GET / HTTP"), 400],
    ["is cut in its method", "GE", "cut"],
    ["is cut in its target", "GET /", "cut"],
    ["is cut in its version", "GET / HTTP/1.", "cut"],
    ["may be missing", "", (messages) => assertEquals(messages, [])],
    ["may be missing behind an empty line", "\r\n", FINE],
  ]));

describe("request target (RFC 9112, 3.2)", () =>
  check([
    [
      "takes a path and a query",
      line("GET /a%20b?c=d&e HTTP/1.1"),
      target(
        "/a%20b?c=d&e",
      ),
    ],
    [
      "takes what browsers leave bare",
      line('GET /|{}^`"<>?|{}\\ HTTP/1.1'),
      target(
        '/|{}^`"<>?|{}\\',
      ),
    ],
    [
      "takes two slashes as a path",
      line("GET //evil/ HTTP/1.1"),
      hostIs(
        "a.example",
      ),
    ],
    ["refuses a backslash in the path", line("GET /a\\b HTTP/1.1"), 400],
    ["refuses one before the query", line("GET /a\\b?\\ HTTP/1.1"), 400],
    ["refuses a fragment", line("GET /#a HTTP/1.1"), 400],
    ["refuses a control character", line("GET /\x01 HTTP/1.1"), 400],
    ["refuses DEL", line("GET /\x7f HTTP/1.1"), 400],
    ["refuses what is not ASCII", line("GET /\xe9 HTTP/1.1"), 400],
    ["refuses a path without a slash", line("GET a HTTP/1.1"), 400],
    ["takes the absolute form", line("GET http://b.example/p HTTP/1.1"), (
      messages,
    ) => {
      // RFC 9112, 3.2.2: the Host field is ignored.
      assertEquals(head(messages).host, "b.example");
      assertEquals(head(messages).fields, ["host", "b.example"]);
      assertEquals(head(messages).target, "http://b.example/p");
    }],
    ["takes it without a path", line("GET HTTPS://b.example:8443?q HTTP/1.1"), (
      messages,
    ) => assertEquals(head(messages).host, "b.example:8443")],
    [
      "refuses a bad Host beside it",
      "GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n",
      400,
    ],
    ["refuses a missing Host beside it", "GET http://b/ HTTP/1.1\r\n\r\n", 400],
    ["refuses user information", line("GET http://u:p@b/ HTTP/1.1"), 400],
    ["refuses an empty authority", line("GET http:///p HTTP/1.1"), 400],
    ["refuses a bad authority", line("GET http://b:x/ HTTP/1.1"), 400],
    ["refuses an at sign", line("GET http://@b/ HTTP/1.1"), 400],
    ["refuses a backslash in it", line("GET http://b\\c/ HTTP/1.1"), 400],
    ["refuses other schemes", line("GET ftp://b/ HTTP/1.1"), 400],
    ["refuses a scheme without slashes", line("GET http:b HTTP/1.1"), 400],
    ["takes the asterisk of OPTIONS", line("OPTIONS * HTTP/1.1"), target("*")],
    ["refuses it with GET", line("GET * HTTP/1.1"), 400],
    ["refuses more than an asterisk", line("OPTIONS ** HTTP/1.1"), 400],
    [
      "takes the authority of CONNECT",
      "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\nxyz",
      (
        messages,
        reading,
      ) => {
        assertEquals(head(messages).host, "b:443");
        assertEquals(head(messages).keepAlive, false);
        assertEquals(head(messages).fields, ["host", "b:443"]);
        assertEquals(messages[0].ended, false);
        assertEquals(reading.rest, "xyz");
      },
    ],
    [
      "takes one with IPv6",
      line("CONNECT [::1]:443 HTTP/1.1"),
      hostIs(
        "[::1]:443",
      ),
    ],
    ["refuses CONNECT without a port", line("CONNECT b HTTP/1.1"), 400],
    ["refuses it with IPv6, too", line("CONNECT [::1] HTTP/1.1"), 400],
    ["refuses an empty port of CONNECT", line("CONNECT b: HTTP/1.1"), 400],
    ["refuses a large port of CONNECT", line("CONNECT b:65536 HTTP/1.1"), 400],
    ["refuses CONNECT with a path", line("CONNECT /a HTTP/1.1"), 400],
    ["refuses CONNECT with a URI", line("CONNECT http://b/ HTTP/1.1"), 400],
    ["refuses the authority with GET", line("GET b:80 HTTP/1.1"), 400],
    [
      "takes a target of the limit",
      line(`GET /${"a".repeat(63)} HTTP/1.1`),
      FINE,
      {
        limits: { target: 64 },
      },
    ],
    ["refuses a longer one", line(`GET /${"a".repeat(64)} HTTP/1.1`), 414, {
      limits: { target: 64 },
    }],
    ["refuses a longer one that never ends", `GET /${"a".repeat(99)}`, 414, {
      limits: { target: 64 },
    }],
  ]));

describe("Host (RFC 9112, 3.2)", () =>
  check([
    ["is required", "GET / HTTP/1.1\r\n\r\n", 400],
    ["is not, on HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", hostIs("")],
    ["may be empty", host(" "), hostIs("")],
    ["comes once", host(" a\r\nHost: a"), 400],
    [
      "comes once on HTTP/1.0, too",
      "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n",
      400,
    ],
    ["takes a port", host(" a:8080"), hostIs("a:8080")],
    ["takes an empty port", host(" a:"), hostIs("a:")],
    ["takes IPv6", host(" [::1]:80"), hostIs("[::1]:80")],
    ["takes an underscore", host(" my_host"), hostIs("my_host")],
    ["refuses a space", host(" a b"), 400],
    ["refuses a list", host(" a, b"), 400],
    ["refuses a slash", host(" a/b"), 400],
    ["refuses a question mark", host(" a?b"), 400],
    ["refuses an at sign", host(" u@a"), 400],
    ["refuses a backslash", host(" a\\b"), 400],
    ["refuses a percent sign", host(" a%41"), 400],
    ["refuses what is not ASCII", host(" \xe9"), 400],
    ["refuses a port of letters", host(" a:http"), 400],
    ["refuses a signed port", host(" a:+80"), 400],
    ["refuses a port out of range", host(" a:70000"), 400],
    ["refuses two ports", host(" a:80:80"), 400],
    ["refuses a port alone", host(" :80"), 400],
    ["refuses an open bracket", host(" [::1"), 400],
    ["refuses what is no address", host(" [::g]"), 400],
    ["refuses a bad number", host(" 1.2.3.256"), 400],
    ["refuses text behind a bracket", host(" [::1]a"), 400],
  ]));

describe("fields (RFC 9112, 5)", () =>
  check([
    ["are told in order, names in lower case", field("B: 1\r\nA:2\r\nB: 3"), (
      messages,
    ) => {
      assertEquals(head(messages).fields, [
        ...["host", "a.example", "b", "1", "a", "2", "b", "3"],
      ]);
    }],
    [
      "lose the white space around values",
      field("A: \t x y \t "),
      (messages) => {
        assertEquals(head(messages).fields.slice(2), ["a", "x y"]);
      },
    ],
    ["may be empty", field("A:\r\nB: \t"), (messages) => {
      assertEquals(head(messages).fields.slice(2), ["a", "", "b", ""]);
    }],
    ["know names in any case", field("ACCEPT-encoding: x"), (messages) => {
      assertEquals(head(messages).fields.slice(2), ["accept-encoding", "x"]);
    }],
    ["keep Latin-1", field("A: caf\xe9 \x80"), (messages) => {
      assertEquals(head(messages).fields[3], "caf\xe9 \x80");
    }],
    ["may hold colons and quotes", field('A: "b:c", \\d'), (messages) => {
      assertEquals(head(messages).fields[3], '"b:c", \\d');
    }],
    [
      "take every token character",
      field("!#$%&'*+-.^_`|~09aZ: x"),
      (messages) => {
        assertEquals(head(messages).fields[2], "!#$%&'*+-.^_`|~09az");
      },
    ],
    ["refuse a space before the colon", field("A : b"), 400],
    ["refuse a tab before the colon", field("A\t: b"), 400],
    ["refuse a space in a name", field("A b: c"), 400],
    ["refuse an empty name", field(": b"), 400],
    ["refuse a line without a colon", field("A"), 400],
    ["refuse a NUL in a name", field("A\0: b"), 400],
    ["refuse a name in Latin-1", field("\xe9: b"), 400],
    ["refuse a parenthesis in a name", field("A(: b"), 400],
    ["refuse a NUL in a value", field("A: b\0c"), 400],
    ["refuse a bell in a value", field("A: \x07"), 400],
    ["refuse DEL in a value", field("A: \x7f"), 400],
    ["refuse a bare CR in a value", field("A: b\rc"), 400],
    ["refuse a bare LF behind a value", field("A: b\nC: d"), 400],
    ["refuse CR CR LF", field("A: b\r"), 400],
    ["refuse obs-fold by space", field("A: b\r\n c"), 400],
    ["refuse obs-fold by tab", field("A: b\r\n\tc"), 400],
    [
      "refuse white space before the first",
      "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
      400,
    ],
    ["refuse a bare LF at the end", `GET / HTTP/1.1\r\n${HOST}\n`, 400],
    ["refuse a bare CR at the end", `GET / HTTP/1.1\r\n${HOST}\rx`, 400],
    ["are cut in a name", "GET / HTTP/1.1\r\nHo", "cut"],
    ["are cut in a value", "GET / HTTP/1.1\r\nHost: a", "cut"],
    ["are cut behind a line", `GET / HTTP/1.1\r\n${HOST}`, "cut"],
    ["are cut before the last LF", `GET / HTTP/1.1\r\n${HOST}\r`, "cut"],
    ["fit their limit", "GET / HTTP/1.0\r\nA: bcd\r\n\r\n", FINE, {
      limits: { header: 10 },
    }],
    ["pass their limit", "GET / HTTP/1.0\r\nA: bcde\r\n\r\n", 431, {
      limits: { header: 10 },
    }],
    [
      "pass it before they turn bad",
      `GET / HTTP/1.0\r\nA: ${"b".repeat(9)}\0\r\n\r\n`,
      431,
      {
        limits: { header: 10 },
      },
    ],
    [
      "turn bad before they pass it",
      `GET / HTTP/1.0\r\nA: \0${"b".repeat(9)}\r\n\r\n`,
      400,
      {
        limits: { header: 10 },
      },
    ],
    ["pass it in a name", `GET / HTTP/1.0\r\n${"a".repeat(11)}`, 431, {
      limits: { header: 10 },
    }],
    ["are as many as allowed", field("a: b"), FINE, { limits: { fields: 2 } }],
    ["are more than allowed", field("a: b\r\nc: d"), 431, {
      limits: { fields: 2 },
    }],
  ]));

describe("Content-Length (RFC 9112, 6.3)", () =>
  check([
    ["frames a body", post("Content-Length: 5", "hello"), body("hello")],
    [
      "frames a body of GET",
      field("Content-Length: 2").concat("hi"),
      body("hi"),
    ],
    ["may be zero", post("Content-Length: 0", ""), (messages) => {
      assertEquals(head(messages).framing, { kind: "length", length: 0 });
      assertEquals(messages[0].ended, true);
    }],
    [
      "may have leading zeros",
      post("Content-Length: 005", "hello"),
      body("hello"),
    ],
    ["may be missing: no body", post("A: b", ""), body("")],
    ["is cut", post("Content-Length: 5", "hell"), "cut"],
    ["refuses a plus", post("Content-Length: +5", "hello"), 400],
    ["refuses a minus", post("Content-Length: -5", "hello"), 400],
    ["refuses hexadecimal", post("Content-Length: 0x5", "hello"), 400],
    ["refuses a fraction", post("Content-Length: 5.0", "hello"), 400],
    ["refuses an exponent", post("Content-Length: 5e0", "hello"), 400],
    ["refuses inner space", post("Content-Length: 5 5", "hello"), 400],
    ["refuses nothing", post("Content-Length:", ""), 400],
    ["refuses letters", post("Content-Length: five", "hello"), 400],
    ["refuses superscript", post("Content-Length: \xb2", "hi"), 400],
    ["refuses a list of equals", post("Content-Length: 5, 5", "hello"), 400],
    [
      "refuses equal ones",
      post("Content-Length: 5\r\nContent-Length: 5", "hello"),
      400,
    ],
    [
      "refuses different ones",
      post("Content-Length: 5\r\nContent-Length: 6", "hello"),
      400,
    ],
    [
      "refuses what is past 2^53",
      post("Content-Length: 9007199254740993", ""),
      413,
    ],
    [
      "refuses what is past 2^64",
      post("Content-Length: 18446744073709551617", "a"),
      413,
    ],
  ]));

describe("Transfer-Encoding (RFC 9112, 6.1)", () =>
  check([
    ["frames by chunks", chunked("5\r\nhello\r\n0\r\n\r\n"), body("hello")],
    [
      "is known in any case",
      post("Transfer-Encoding: CHUNKED", "0\r\n\r\n"),
      body(""),
    ],
    [
      "refuses a length beside it",
      post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
      400,
    ],
    [
      "refuses one behind it",
      post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
      400,
    ],
    [
      "refuses even a bad one beside it",
      post("Transfer-Encoding: chunked\r\nContent-Length: x", ""),
      400,
    ],
    [
      "refuses HTTP/1.0",
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    [
      "refuses to come twice",
      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", ""),
      400,
    ],
    [
      "refuses chunked twice",
      post("Transfer-Encoding: chunked, chunked", ""),
      400,
    ],
    ["does not know gzip", post("Transfer-Encoding: gzip, chunked", ""), 501],
    ["does not know gzip alone", post("Transfer-Encoding: gzip", ""), 501],
    ["does not know identity", post("Transfer-Encoding: identity", ""), 501],
    ["does not know xchunked", post("Transfer-Encoding: xchunked", ""), 501],
    [
      "refuses chunked that is not the last",
      post("Transfer-Encoding: chunked, gzip", ""),
      400,
    ],
    ["refuses parameters", post("Transfer-Encoding: chunked;q=1", ""), 400],
    ["refuses quotes", post('Transfer-Encoding: "chunked"', ""), 400],
    ["refuses an empty value", post("Transfer-Encoding:", ""), 400],
    ["refuses an empty member", post("Transfer-Encoding: ,chunked", ""), 400],
    [
      "refuses a control character",
      post("Transfer-Encoding: \x0bchunked", ""),
      400,
    ],
    [
      "refuses a space before the colon",
      post("Transfer-Encoding : chunked", ""),
      400,
    ],
  ]));

describe("chunks (RFC 9112, 7.1)", () =>
  check([
    [
      "may be many",
      chunked("1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n"),
      body("a0123456789"),
    ],
    ["may hold CR LF", chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n"), body("\r\n\r\n")],
    [
      "may have leading zeros",
      chunked("0005\r\nhello\r\n000\r\n\r\n"),
      body("hello"),
    ],
    [
      "may be in upper case",
      chunked("A\r\n0123456789\r\n0\r\n\r\n"),
      body("0123456789"),
    ],
    ["refuse a sign", chunked("+5\r\nhello\r\n0\r\n\r\n"), 400],
    ["refuse a minus", chunked("-5\r\nhello\r\n0\r\n\r\n"), 400],
    ["refuse 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n"), 400],
    ["refuse a leading space", chunked(" 5\r\nhello\r\n0\r\n\r\n"), 400],
    ["refuse a trailing space", chunked("5 \r\nhello\r\n0\r\n\r\n"), 400],
    ["refuse an underscore", chunked("1_0\r\n"), 400],
    ["refuse an empty size", chunked("\r\nhello\r\n"), 400],
    ["refuse letters", chunked("g\r\n"), 400],
    ["refuse a bare LF behind the size", chunked("5\nhello\r\n0\r\n\r\n"), 400],
    ["refuse a bare CR behind the size", chunked("5\rhello\r\n0\r\n\r\n"), 400],
    ["refuse a size of 17 digits", chunked("00000000000000005\r\n"), 413],
    ["refuse a size past 2^53", chunked("20000000000000\r\n"), 413],
    ["refuse a size past 2^64", chunked("FFFFFFFFFFFFFFFF\r\n"), 413],
    [
      "refuse data longer than the size",
      chunked("4\r\nhello\r\n0\r\n\r\n"),
      400,
    ],
    [
      "refuse data shorter than the size",
      chunked("6\r\nhello\r\n0\r\n\r\n"),
      400,
    ],
    ["refuse a bare LF behind data", chunked("5\r\nhello\n0\r\n\r\n"), 400],
    ["refuse a bare CR behind data", chunked("5\r\nhello\r0\r\n\r\n"), 400],
    ["are cut in a size", chunked("5"), "cut"],
    ["are cut in data", chunked("5\r\nhel"), "cut"],
    ["are cut behind data", chunked("5\r\nhello"), "cut"],
    ["are cut before the last", chunked("5\r\nhello\r\n"), "cut"],
    ["are cut before the end", chunked("5\r\nhello\r\n0\r\n"), "cut"],
    ["are cut before the very end", chunked("5\r\nhello\r\n0\r\n\r"), "cut"],
  ]));

describe("chunk extensions (RFC 9112, 7.1.1)", () =>
  check([
    ["are ignored", chunked("5;a;b=c\r\nhello\r\n0;d\r\n\r\n"), body("hello")],
    [
      "may be quoted",
      chunked('5;a="b;\\"\t\xe9"\r\nhello\r\n0\r\n\r\n'),
      body("hello"),
    ],
    [
      "may have white space",
      chunked("5 ;\ta = b ; c\r\nhello\r\n0\r\n\r\n"),
      body("hello"),
    ],
    ["need a name", chunked("5;\r\nhello\r\n0\r\n\r\n"), 400],
    ["need a value", chunked("5;a=\r\nhello\r\n0\r\n\r\n"), 400],
    ["need a semicolon", chunked("5 a\r\nhello\r\n0\r\n\r\n"), 400],
    ["need one behind quotes", chunked('5;a="b"c\r\nhello\r\n'), 400],
    ["refuse a bare LF", chunked("5;a\nhello\r\n0\r\n\r\n"), 400],
    ["refuse a bare LF in quotes", chunked('5;a="\n"\r\nhello\r\n'), 400],
    ["refuse CR in quotes", chunked('5;a="\r\n"\r\nhello\r\n'), 400],
    ["refuse an escaped CR", chunked('5;a="\\\r\n"\r\nhello\r\n'), 400],
    ["refuse a NUL", chunked("5;a\0\r\nhello\r\n"), 400],
    ["refuse a trailing space", chunked("5;a \r\nhello\r\n"), 400],
    ["pass their limit", chunked(`5;${"a".repeat(64)}\r\nhello\r\n`), 431, {
      limits: { trailer: 64 },
    }],
    ["pass it together", chunked("1;abcdef\r\na\r\n".repeat(10)), 431, {
      limits: { trailer: 64 },
    }],
  ]));

const trailed = (trailers: string) =>
  chunked(`1\r\na\r\n0\r\n${trailers}\r\n\r\n`);

describe("trailers (RFC 9110, 6.5)", () =>
  check([
    ["are told at the end", trailed("A: b\r\nX-Sum: c"), (messages) => {
      assertEquals(messages[0].trailers, ["a", "b", "x-sum", "c"]);
    }],
    [
      "are followed by the next request",
      trailed("A: b") + field("c: d"),
      (messages) => {
        assertEquals(messages.length, 2);
        assertEquals(head(messages, 1).fields.slice(2), ["c", "d"]);
      },
    ],
    ["refuse Content-Length", trailed("Content-Length: 5"), 400],
    ["refuse Transfer-Encoding", trailed("transfer-encoding: chunked"), 400],
    ["refuse Host", trailed("Host: evil"), 400],
    ["refuse Authorization", trailed("Authorization: Basic eA=="), 400],
    ["refuse Cookie", trailed("Cookie: a=b"), 400],
    ["refuse Content-Type", trailed("Content-Type: text/html"), 400],
    ["refuse X-Forwarded-For", trailed("X-Forwarded-For: 1.2.3.4"), 400],
    ["refuse obs-fold", trailed("A: b\r\n c"), 400],
    ["refuse a bad name", trailed("A b: c"), 400],
    ["refuse a bad value", trailed("A: \0"), 400],
    ["refuse a bare LF", trailed("A: b\nC: d"), 400],
    ["are cut", chunked("0\r\nA: b\r\n"), "cut"],
    ["pass their limit", trailed(`A: ${"b".repeat(64)}`), 431, {
      limits: { trailer: 64 },
    }],
    ["are more than allowed", trailed("A: b\r\nC: d\r\nE: f"), 431, {
      limits: { fields: 2 },
    }],
  ]));

const keeps = (value: boolean) => (messages: Reading["messages"]) =>
  assertEquals(head(messages).keepAlive, value);
const old = (fields: string) => `GET / HTTP/1.0\r\n${fields}\r\n\r\n`;

describe("connection (RFC 9112, 9)", () =>
  check([
    ["stays on HTTP/1.1", field("A: b"), keeps(true)],
    ["stays with keep-alive", field("Connection: keep-alive"), keeps(true)],
    ["ends with close", field("Connection: close"), keeps(false)],
    ["ends with Close", field("Connection: Close"), keeps(false)],
    ["ends with close in a list", field("Connection: a, ,close"), keeps(false)],
    [
      "ends with close in another line",
      field("Connection: a\r\nConnection: close"),
      keeps(false),
    ],
    [
      "ends when both are there",
      field("Connection: keep-alive, close"),
      keeps(false),
    ],
    ["ends on HTTP/1.0", old("A: b"), keeps(false)],
    [
      "stays on HTTP/1.0 with keep-alive",
      old("Connection: Keep-Alive"),
      keeps(true),
    ],
    [
      "asks for an upgrade",
      field("Connection: keep-alive, Upgrade\r\nUpgrade: websocket"),
      (messages) => {
        assertEquals(head(messages).upgrade, "websocket");
      },
    ],
    [
      "lists several",
      field("Connection: upgrade\r\nUpgrade: a/1\r\nUpgrade: b"),
      (messages) => {
        assertEquals(head(messages).upgrade, "a/1, b");
      },
    ],
    // RFC 9110, 7.8
    ["ignores Upgrade alone", field("Upgrade: websocket"), (messages) => {
      assertEquals(head(messages).upgrade, undefined);
    }],
    [
      "ignores Upgrade on HTTP/1.0",
      old("Connection: upgrade\r\nUpgrade: a"),
      (messages) => {
        assertEquals(head(messages).upgrade, undefined);
      },
    ],
    [
      "carries requests one after another",
      field("a: b") + post("Content-Length: 2", "hi") +
      chunked("1\r\na\r\n0\r\n\r\n") + field("c: d"),
      (messages) => {
        assertEquals(messages.map((message) => message.body), [
          ...["", "hi", "a", ""],
        ]);
        assertEquals(
          messages.every((message) => message.ended),
          true,
        );
      },
    ],
    [
      "takes an empty line between them",
      `${post("Content-Length: 2", "hi")}\r\n${field("c: d")}`,
      (messages) => {
        assertEquals(messages.length, 2);
      },
    ],
    ["refuses a second that is bad", field("a: b") + "x\n", 400],
    ["refuses a body that nobody framed", post("A: b", "hi\r\n\r\n"), 400],
  ]));

describe("Expect (RFC 9110, 10.1.1)", () =>
  check([
    [
      "is told",
      post("Expect: 100-Continue\r\nContent-Length: 1", "a"),
      (messages) => {
        assertEquals(head(messages).expectContinue, true);
      },
    ],
    [
      "means nothing without a body",
      field("Expect: 100-continue"),
      (messages) => {
        assertEquals(head(messages).expectContinue, false);
      },
    ],
    [
      "means nothing on HTTP/1.0",
      "POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 1\r\n\r\na",
      (messages) => {
        assertEquals(head(messages).expectContinue, false);
      },
    ],
    [
      "is refused when unknown",
      post("Expect: 200-ok\r\nContent-Length: 1", "a"),
      417,
    ],
    [
      "refuses a CONNECT with a body",
      "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\na",
      400,
    ],
  ]));
