import { describe, test } from "node:test";
import { assertEquals } from "./assert.ts";
import { cuts, latin1, read, unLatin1 } from "./_h1.ts";

const GET = "GET /a?b=c HTTP/1.1\r\nHost: a.example:8000\r\n" +
  "User-Agent: one/1.0\r\nAccept: */*\r\n\r\n";
const POST = "POST /p HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n";
const CHUNKED = "POST /p HTTP/1.1\r\nHost: a.example\r\n" +
  "Transfer-Encoding: chunked\r\n\r\n";
const CLOSING =
  "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
const ABSOLUTE = "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n";

/** What a reader tells of messages that come one after the other. */
function alone(inputs: string[]) {
  return inputs.flatMap((input) => read(input).messages);
}

describe("RequestReader", () => {
  test("RequestReader reads a head that comes again as it did the first time", () => {
    const rows: string[][] = [
      Array(8).fill(GET),
      Array(8).fill(ABSOLUTE),
      Array(6).fill(CLOSING),
      Array(6).fill(`${POST}hello`),
      [`${POST}hello`, `${POST}world`, `${POST}GET /`, `${POST}again`],
      Array(6).fill(`${CHUNKED}5\r\nhello\r\n0\r\nx-a: b\r\n\r\n`),
      [GET, GET, GET, `${POST}hello`, GET, GET, `${POST}hello`, GET],
      [GET, GET, `\r\n${GET}`, `\r\n\r\n${GET}`, GET],
      [GET, GET, GET, ABSOLUTE, CLOSING, ABSOLUTE, CLOSING, GET, GET, GET],
    ];
    for (const row of rows) {
      const input = row.join("");
      const whole = read(input);
      assertEquals(whole.error, undefined);
      assertEquals(whole.messages, alone(row));
      for (const [where, cut] of cuts(input.length)) {
        for (const halting of [false, true]) {
          assertEquals(read(input, { cut, halting }), whole, where);
        }
      }
    }
  });

  test("RequestReader reads a head that differs in a byte from the last as a new one", () => {
    const before = [GET, GET, GET];
    const told = alone(before);
    const bytes = latin1(GET);
    const strange = [0x00, 0x09, 0x0a, 0x0d, 0x20, 0x3a, 0x41, 0x61, 0xff];
    const check = (input: string) => {
      const own = read(input, { fin: true });
      const behind = read(before.join("") + input, { fin: true });
      assertEquals(behind.messages.slice(0, 3), told);
      assertEquals(
        { ...behind, messages: behind.messages.slice(3) },
        own,
        JSON.stringify(input),
      );
    };
    for (let i = 0; i < bytes.length; i++) {
      for (const byte of strange) {
        const changed = bytes.slice();
        changed[i] = byte;
        check(unLatin1(changed));
        check(GET.slice(0, i) + String.fromCharCode(byte) + GET.slice(i));
      }
      check(GET.slice(0, i) + GET.slice(i + 1));
      check(GET.slice(0, i));
      check(GET.slice(0, i) + GET);
    }
  });

  test("RequestReader stops behind a CONNECT however often it was told", () => {
    const connect = "CONNECT a.example:1 HTTP/1.1\r\nHost: a.example:1\r\n\r\n";
    const reading = read(GET + GET + GET + connect + GET);
    assertEquals(reading.messages.length, 4);
    assertEquals(reading.rest, GET);
  });
});
