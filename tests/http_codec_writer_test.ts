import { describe, test } from "node:test";
import { assertEquals, assertMatch, assertThrows } from "./assert.ts";
import { latin1, unLatin1 } from "./_h1.ts";
import {
  allocate,
  checkName,
  chunkHead,
  dateLine,
  encodeChunk,
  encodeHead,
  encodeMessage,
  encodeTrailers,
  fieldLine,
  headStart,
  LAST_CHUNK,
  statusLine,
} from "../http/_h1_writer.ts";

describe("writer", () => {
  test("encodeHead() writes ASCII and Latin-1 with a body behind", () => {
    assertEquals(unLatin1(encodeHead("a: b\r\n\r\n")), "a: b\r\n\r\n");
    assertEquals(unLatin1(encodeHead("a: \xe9\xff\r\n")), "a: \xe9\xff\r\n");
    assertEquals(
      unLatin1(encodeHead("\xe9\xe9\xe9\xe9", latin1("body"))),
      "\xe9\xe9\xe9\xe9body",
    );
  });

  const start = (lines = "a: b\r\n", date = "date: now\r\n") =>
    headStart("HTTP/1.1 200 OK\r\n", lines, date)!;
  const utf8 = (text: string) => unLatin1(new TextEncoder().encode(text));

  test("encodeMessage() writes head, length and body, whatever the length", () => {
    const head = "HTTP/1.1 200 OK\r\na: b\r\ndate: now\r\ncontent-length: ";
    for (const size of [0, 1, 9, 10, 32, 33, 99, 100, 1000, 4096]) {
      for (const unit of ["x", "\x7f", "\xe9", "€"]) {
        const body = unit.repeat(size);
        const bytes = new TextEncoder().encode(body);
        const expected = `${head}${bytes.length}\r\nc: d\r\n\r\n${utf8(body)}`;
        const end = "c: d\r\n\r\n";
        assertEquals(unLatin1(encodeMessage(start(), end, body)), expected);
        assertEquals(unLatin1(encodeMessage(start(), end, bytes)), expected);
      }
    }
    for (const body of ["a\u{1f600}b", "\ud800", "x".repeat(40) + "\udc00"]) {
      const size = new TextEncoder().encode(body).length;
      assertEquals(
        unLatin1(encodeMessage(start(), "\r\n", body)),
        `${head}${size}\r\n\r\n${utf8(body)}`,
      );
    }
    assertEquals(
      unLatin1(encodeMessage(start(), "\r\n", null)),
      `${head}0\r\n\r\n`,
    );
  });

  test("encodeMessage() gives no bytes twice, also when it had to begin anew", () => {
    const bodies = Array.from(
      { length: 600 },
      (_, i) => i % 2 === 0 ? `${i}` : `é${i}`.repeat(1 + i % 30),
    );
    const messages = bodies.map((body) => encodeMessage(start(), "\r\n", body));
    messages.forEach((message, i) => {
      assertEquals(unLatin1(message).endsWith(utf8(bodies[i])), true);
    });
  });

  test("encodeMessage() gives the same bytes for the very same message only", () => {
    const first = encodeMessage(start(), "\r\n", "one");
    assertEquals(encodeMessage(start(), "\r\n", "one") === first, true);
    const tail = (message: Uint8Array) => unLatin1(message).split("now\r\n")[1];
    for (
      const [end, body, expected] of [
        ["\r\n", "two", "content-length: 3\r\n\r\ntwo"],
        ["a: b\r\n\r\n", "two", "content-length: 3\r\na: b\r\n\r\ntwo"],
        ["\r\n", "", "content-length: 0\r\n\r\n"],
        ["\r\n", "one", "content-length: 3\r\n\r\none"],
      ]
    ) {
      assertEquals(tail(encodeMessage(start(), end, body)), expected);
      assertEquals(tail(encodeMessage(start(), end, body)), expected);
    }
    // Another head, and the first one again.
    start("a: c\r\n");
    assertEquals(tail(first), "content-length: 3\r\n\r\none");
    assertMatch(
      unLatin1(encodeMessage(start("a: c\r\n"), "\r\n", "one")),
      /^HTTP\/1\.1 200 OK\r\na: c\r\n/,
    );
    assertMatch(
      unLatin1(encodeMessage(start(undefined, "date: 2\r\n"), "\r\n", "one")),
      /date: 2\r\n/,
    );
  });

  test("headStart() keeps no head for another, nor one that is long", () => {
    const text = (lines: string, date?: string) =>
      unLatin1(start(lines, date).bytes).slice(17);
    for (let i = 0; i < 40; i++) {
      const value = "v".repeat(i % 20);
      assertEquals(
        text(`a: ${value}\r\n`),
        `a: ${value}\r\ndate: now\r\ncontent-length: `,
      );
      assertEquals(
        text(`a: ${value}\r\n`, "date: 2\r\n"),
        `a: ${value}\r\ndate: 2\r\ncontent-length: `,
      );
    }
    assertEquals(text("a: 1\r\n", ""), "a: 1\r\ncontent-length: ");
    assertEquals(text("a: 2\r\n", ""), "a: 2\r\ncontent-length: ");
    assertEquals(text("a: \xe9\r\n", ""), "a: \xe9\r\ncontent-length: ");
    assertEquals(
      unLatin1(
        headStart("HTTP/1.1 404 Not Found\r\n", "a: 2\r\n", "")!.bytes,
      ),
      "HTTP/1.1 404 Not Found\r\na: 2\r\ncontent-length: ",
    );
    assertEquals(headStart("", `a: ${"x".repeat(2000)}\r\n`, ""), undefined);
  });

  test("allocate() never gives the same bytes twice", () => {
    const parts = Array.from({ length: 3000 }, (_, i) => {
      const part = allocate(1 + i % 40);
      part.fill(i & 0xff);
      return part;
    });
    parts.forEach((part, i) => {
      assertEquals(part.length, 1 + i % 40);
      assertEquals(part.every((byte) => byte === (i & 0xff)), true);
    });
    assertEquals(allocate(100_000).length, 100_000);
  });

  test("encodeChunk() frames its data", () => {
    assertEquals(unLatin1(encodeChunk(latin1("hello"))), "5\r\nhello\r\n");
    assertEquals(
      unLatin1(encodeChunk(new Uint8Array(300))).slice(0, 5),
      "12c\r\n",
    );
    assertEquals(unLatin1(chunkHead(65536)), "10000\r\n");
    assertEquals(unLatin1(LAST_CHUNK), "0\r\n\r\n");
  });

  test("encodeTrailers() writes them and refuses the forbidden", () => {
    assertEquals(unLatin1(encodeTrailers([])), "0\r\n\r\n");
    assertEquals(
      unLatin1(encodeTrailers(["a", "b", "c", "d"])),
      "0\r\na: b\r\nc: d\r\n\r\n",
    );
    for (const name of ["Content-Length", "host", "set-cookie"]) {
      assertThrows(() => encodeTrailers([name, "1"]), TypeError);
    }
  });

  test("fieldLine() refuses whatever could break a head", () => {
    assertEquals(fieldLine("x-a", "b\tc \xe9"), "x-a: b\tc \xe9\r\n");
    const names = ["", "a b", "a:", "a\r\n", "a\0", "é", "a(", "a\u0100"];
    for (const name of names) {
      assertThrows(() => fieldLine(name, "x"), TypeError, "bad name");
    }
    const values = ["\r", "\n", "a\r\nb: c", "\0", "\x7f", "\x1f", "\u0100"];
    for (const value of [...values, "\u{1f600}", "a\u010ab", "a\u010db"]) {
      assertThrows(() => fieldLine("a", value), TypeError, "bad value");
    }
    for (let i = 0; i < 1200; i++) checkName(`x-${i}`);
  });

  test("statusLine() knows reasons and refuses a split", () => {
    assertEquals(statusLine(200), "HTTP/1.1 200 OK\r\n");
    assertEquals(statusLine(404), "HTTP/1.1 404 Not Found\r\n");
    assertEquals(statusLine(299), "HTTP/1.1 299 \r\n");
    assertEquals(statusLine(200, "Fine"), "HTTP/1.1 200 Fine\r\n");
    assertThrows(() => statusLine(200, "a\r\nb: c"), TypeError);
  });

  test("dateLine() is an IMF-fixdate of now", () => {
    const line = dateLine();
    assertMatch(
      line,
      /^date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n$/,
    );
    const age = Date.now() - Date.parse(line.slice(6));
    assertEquals(age >= 0 && age < 3000, true);
  });
});
