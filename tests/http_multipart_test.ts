import { describe, test } from "node:test";
import { multipart, MultipartError, MultipartLimitError } from "../http/mod.ts";
import type { MultipartLimits, Part } from "../http/mod.ts";
import { ProtocolError, SizeLimitError } from "../streams/mod.ts";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "./assert.ts";

const encoder = new TextEncoder();

/** A request whose body comes in these pieces. */
function requestOf(
  pieces: Iterable<Uint8Array | string>,
  type = "multipart/form-data; boundary=b",
): Response {
  const iterator = pieces[Symbol.iterator]();
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      const { done, value } = iterator.next();
      if (done) controller.close();
      else {
        controller.enqueue(
          (typeof value === "string"
            ? encoder.encode(value)
            : value) as Uint8Array<ArrayBuffer>,
        );
      }
    },
  }, { highWaterMark: 0 });
  return new Response(stream, { headers: { "content-type": type } });
}

async function read(
  request: Request | Response,
  limits?: MultipartLimits,
): Promise<[string, string | undefined, string, string][]> {
  const parts: [string, string | undefined, string, string][] = [];
  for await (const part of multipart(request, limits)) {
    const { name, filename, type } = part;
    parts.push([name, filename, type, await part.text()]);
  }
  return parts;
}

/** A part with this header and body. */
function part(body: string, header = 'form-data; name="a"'): string {
  return `--b\r\nContent-Disposition: ${header}\r\n\r\n${body}\r\n`;
}

const SAMPLE = "preamble\r\n--not it\r\n--b \t\r\n" +
  'content-disposition: form-data; name="one"\r\n\r\n' +
  "first\r\n--not\r\n-\r\r\n--\r\n--c\r\n" +
  '--b\r\nContent-Type: text/html\r\nContent-Disposition: form-data; name=two; filename="ü.txt"\r\n\r\n' +
  "\r\n\r\n" +
  '--b\r\ncontent-disposition: form-data; name="empty"\r\n\r\n\r\n' +
  '--b\r\ncontent-disposition: form-data; name="none"\r\n\r\n' +
  "--b--\t\r\nepilogue\r\n--b\r\n";
const PARTS = [
  ["one", undefined, "text/plain", "first\r\n--not\r\n-\r\r\n--\r\n--c"],
  ["two", "ü.txt", "text/html", "\r\n"],
  ["empty", undefined, "text/plain", ""],
  ["none", undefined, "text/plain", ""],
];

describe("multipart()", () => {
  test("reads the same wherever a body is cut in two", async () => {
    const bytes = encoder.encode(SAMPLE);
    for (let i = 0; i <= bytes.length; i++) {
      const pieces = [bytes.subarray(0, i), bytes.subarray(i)];
      assertEquals(await read(requestOf(pieces)), PARTS as never, `${i}`);
    }
  });

  test("reads the same in pieces of any size", async () => {
    const bytes = encoder.encode(SAMPLE);
    for (let size = 1; size <= 24; size++) {
      const pieces: Uint8Array[] = [];
      for (let i = 0; i < bytes.length; i += size) {
        pieces.push(bytes.subarray(i, i + size));
      }
      assertEquals(await read(requestOf(pieces)), PARTS as never, `${size}`);
    }
  });

  test("refuses a body that is cut off, wherever", async () => {
    const bytes = encoder.encode(SAMPLE);
    const whole = SAMPLE.indexOf("--b--") + 5;
    const end = encoder.encode(SAMPLE.slice(0, whole)).length;
    for (let i = 0; i < end; i++) {
      await assertRejects(
        () => read(requestOf([bytes.subarray(0, i)])),
        MultipartError,
        undefined,
        `${i}`,
      );
    }
  });

  test("finds every boundary in random bodies", async () => {
    let seed = 1;
    const random = (below: number) => {
      seed = (seed * 48271) % 2147483647;
      return seed % below;
    };
    const alphabet = [..."\r\n-bcb-\r\n"];
    for (let round = 0; round < 300; round++) {
      const bodies: string[] = [];
      let text = "";
      for (let n = random(4); n >= 0; n--) {
        let body = "";
        for (let i = random(60); i > 0; i--) {
          body += alphabet[random(alphabet.length)];
        }
        body = body.replaceAll("--bcb", "--bcc");
        bodies.push(body);
        text += part(body).replace("--b", "--bcb");
      }
      const bytes = encoder.encode(`${text}--bcb--`);
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < bytes.length;) {
        const size = 1 + random(30);
        pieces.push(bytes.subarray(at, at + size));
        at += size;
      }
      const parts = await read(
        requestOf(pieces, 'Multipart/Form-Data; charset=x; Boundary="bcb"'),
      );
      assertEquals(parts.map((part) => part[3]), bodies);
    }
  });

  const forms: [string, () => FormData][] = [
    ["nothing", () => new FormData()],
    ["fields", () => {
      const form = new FormData();
      form.append("a", "1");
      form.append("a", "2");
      form.append('quo"te\r\nline', "naïve 😀\n");
      form.append("", "");
      return form;
    }],
    ["files", () => {
      const form = new FormData();
      form.append(
        "file",
        new File(["content"], 'a"b%41ü\\c.txt', { type: "text/x-a" }),
      );
      form.append("file", new File([], "empty"));
      return form;
    }],
  ];
  for (const [what, form] of forms) {
    test(`reads FormData of ${what} as it was made`, async () => {
      const expected: unknown[] = [];
      // Line breaks of fields are sent as CR LF (HTML, 4.10.22.8).
      const sent = (text: string) => text.replace(/\r?\n/g, "\r\n");
      for (const [name, value] of form()) {
        expected.push(
          typeof value === "string"
            ? [sent(name), undefined, sent(value)]
            : [name, value.name, await value.text()],
        );
      }
      const parts = await read(new Response(form()));
      assertEquals(
        parts.map(([name, filename, , text]) => [name, filename, text]),
        expected as never,
      );
    });
  }

  const names: [string, string, string | undefined][] = [
    ['name="a b"', "a b", undefined],
    ["name=token", "token", undefined],
    ['NAME="a"', "a", undefined],
    ['name = "a"', "!", undefined],
    ['name="a;b=c"', "a;b=c", undefined],
    ['name="a%22b%0D%0ac%41"', 'a"b\r\nc%41', undefined],
    ['name="a\\"b"', 'a"b', undefined],
    ['name="a\\\\b"', "a\\b", undefined],
    ['name="C:\\dir\\a"', "C:\\dir\\a", undefined],
    ['name="a"; filename=""', "a", ""],
    ['name="a"; filename="x"; filename*=UTF-8\'\'evil', "a", "x"],
    ["name=\"a\"; filename*=UTF-8''evil", "a", undefined],
    ['name="a"; filename="../../x"', "a", "../../x"],
    ['name="a";', "a", undefined],
    ['name="a"; name="b"', "!", undefined],
    ['name="a"; filename="x"; filename="y"', "!", undefined],
    ['name="a" filename="x"', "!", undefined],
    ['name="a', "!", undefined],
    ['name="a\\"', "!", undefined],
    ["name=", "!", undefined],
    ["name", "!", undefined],
    ['filename="x"', "!", undefined],
    ['na me="a"', "!", undefined],
    ['name="a\0"', "!", undefined],
  ];
  for (const [header, name, filename] of names) {
    const verb = name === "!" ? "refuses" : "reads";
    test(`${verb} the parameters ${JSON.stringify(header)}`, async () => {
      const request = requestOf([part("", `form-data; ${header}`), "--b--"]);
      if (name === "!") {
        await assertRejects(() => read(request), MultipartError);
      } else {
        assertEquals(
          (await read(request)).map((part) => part.slice(0, 2)),
          [[name, filename]],
        );
      }
    });
  }

  const field = 'Content-Disposition: form-data; name="a"\r\n';
  const bad: [string, string][] = [
    ["nothing at all", ""],
    ["no boundary", "hello"],
    ["a boundary with something behind it", `--bc\r\n${field}\r\n\r\n--b--`],
    ["a boundary with LF alone", `--b\n${field}\r\n\r\n--b--`],
    ["a later boundary with something behind it", `${part("x")}--bx\r\n--b--`],
    ["a closing boundary with something behind it", `${part("x")}--b--x`],
    ["a boundary with one dash behind it", `${part("x")}--b-\r\n`],
    [
      "LF alone in the header",
      `--b\r\n${field.replace("\r", "")}\r\n\r\n--b--`,
    ],
    ["a folded header", `--b\r\n${field} x\r\n\r\n\r\n--b--`],
    ["a field without a colon", `--b\r\n${field}x\r\n\r\n\r\n--b--`],
    ["a field name with a space", `--b\r\n${field}x : 1\r\n\r\n\r\n--b--`],
    ["a control character", `--b\r\n${field}x: \x01\r\n\r\n\r\n--b--`],
    ["no header", "--b\r\n\r\nx\r\n--b--"],
    ["no disposition", "--b\r\nx: 1\r\n\r\nx\r\n--b--"],
    ["two dispositions", `--b\r\n${field}${field}\r\n\r\n--b--`],
    [
      "two types",
      `--b\r\n${field}content-type: a/b\r\ncontent-type: a/c\r\n\r\n\r\n--b--`,
    ],
    ["another disposition", part("", 'attachment; name="a"') + "--b--"],
    [
      "base64",
      `--b\r\n${field}content-transfer-encoding: base64\r\n\r\nx\r\n--b--`,
    ],
    ["much padding", `--b${" ".repeat(100)}\r\n${field}\r\n\r\n--b--`],
    ["a long preamble", `${"x".repeat(9000)}\r\n--b--`],
  ];
  for (const [what, body] of bad) {
    test(`refuses ${what} with a 400`, async () => {
      const error = await assertRejects(
        () => read(requestOf([body])),
        MultipartError,
      );
      assertEquals((error as MultipartError).status, 400);
      assertInstanceOf(error, ProtocolError);
    });
  }

  const types: [string, number | undefined][] = [
    ["multipart/form-data; boundary=b", undefined],
    ['multipart/form-data;boundary="b"', undefined],
    ["multipart/form-data; boundary=b; charset=utf-8", undefined],
    ["multipart/form-data", 400],
    ["multipart/form-data; boundary=", 400],
    ['multipart/form-data; boundary=""', 400],
    ['multipart/form-data; boundary="b "', 400],
    ["multipart/form-data; boundary=b; boundary=c", 400],
    [`multipart/form-data; boundary=${"b".repeat(71)}`, 400],
    ['multipart/form-data; boundary="b', 400],
    ['multipart/form-data; boundary="<b>"', 400],
    ["multipart/mixed; boundary=b", 415],
    ["multipart/form-dataset; boundary=b", 415],
    ["text/plain", 415],
  ];
  for (const [type, status] of types) {
    test(`${status ? `refuses (${status})` : "takes"} ${type}`, async () => {
      const request = requestOf([part("x"), "--b--"], type);
      if (status === undefined) {
        assertEquals((await read(request)).length, 1);
        return;
      }
      const error = await assertRejects(() => read(request), MultipartError);
      assertEquals((error as MultipartError).status, status);
    });
  }

  const two = `${part("12345")}${part("67890")}--b--`;
  const bounds: [string, MultipartLimits, boolean][] = [
    ["parts", { parts: 1 }, false],
    ["parts", { parts: 2 }, true],
    ["partSize", { partSize: 4 }, false],
    ["partSize", { partSize: 5 }, true],
    ["total", { total: two.length - 1 }, false],
    ["total", { total: two.length }, true],
    ["name", { name: 0 }, false],
    ["name", { name: 1 }, true],
    ["header", { header: 39 }, false],
    ["header", { header: 40 }, true],
  ];
  for (const [what, limits, good] of bounds) {
    const [value] = Object.values(limits);
    test(`${good ? "keeps to" : "refuses past"} ${what}: ${value}`, async () => {
      for (const size of [1, 7, two.length]) {
        const pieces: string[] = [];
        for (let i = 0; i < two.length; i += size) {
          pieces.push(two.slice(i, i + size));
        }
        if (good) {
          assertEquals((await read(requestOf(pieces), limits)).length, 2);
          continue;
        }
        const error = await assertRejects(
          () => read(requestOf(pieces), limits),
          MultipartLimitError,
        );
        assertEquals((error as MultipartLimitError).status, 413);
        assertEquals((error as MultipartLimitError).limit, value);
        assertInstanceOf(error, SizeLimitError);
      }
    });
  }

  test("stops at the limit of a part that nobody reads", async () => {
    let pulled = 0;
    const endless = (function* () {
      yield `--b\r\n${field}\r\n`;
      for (;;) {
        pulled++;
        yield "x".repeat(1000);
      }
    })();
    await assertRejects(async () => {
      const parts = multipart(requestOf(endless), { partSize: 10_000 });
      for await (const _ of parts);
    }, MultipartLimitError);
    assert(pulled < 20, `${pulled}`);
  });

  test("refuses limits that it does not know, or cannot use", () => {
    const request = requestOf([two]);
    assertThrows(() => multipart(request, { files: 1 } as never), TypeError);
    assertThrows(() => multipart(request, { parts: -1 }), RangeError);
    assertThrows(() => multipart(request, { parts: NaN }), RangeError);
  });

  test("refuses a body that was read before", async () => {
    const request = requestOf([two]);
    await request.arrayBuffer();
    assertThrows(() => multipart(request), TypeError);
  });

  test("skips what is not read, and ends a part that is left", async () => {
    const parts: Part[] = [];
    const request = requestOf(
      [part("x".repeat(100)), part("y"), "--b--"].join("").match(/[^]{1,9}/g)!,
    );
    for await (const part of multipart(request)) {
      if (parts.length === 0) {
        const first = await part.body.receive();
        assert(first!.byteLength < 100);
      }
      parts.push(part);
    }
    assertEquals(parts.map((part) => part.name), ["a", "a"]);
    await assertRejects(() => parts[0].bytes(), TypeError, "read before");
    await assertRejects(() => parts[1].bytes(), Error, "next one");
  });

  test("gives a part's body once", async () => {
    for await (const part of multipart(requestOf([two]))) {
      assertEquals((await part.bytes()).byteLength, 5);
      await assertRejects(() => part.text(), TypeError, "read before");
    }
  });

  test("cancels the body when the loop is left", async () => {
    let cancelled = false;
    const stream = new ReadableStream({
      start: (controller) => controller.enqueue(encoder.encode(two)),
      cancel() {
        cancelled = true;
      },
    });
    const request = new Response(stream, {
      headers: { "content-type": "multipart/form-data; boundary=b" },
    });
    for await (const part of multipart(request)) {
      assertEquals(part.name, "a");
      break;
    }
    assert(cancelled);
  });

  test("fails with its body", async () => {
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(encoder.encode(part("x").slice(0, -2)));
      },
      pull(controller) {
        controller.error(new Error("cut off"));
      },
    }, { highWaterMark: 0 });
    const request = new Response(stream, {
      headers: { "content-type": "multipart/form-data; boundary=b" },
    });
    await assertRejects(() => read(request), Error, "cut off");
  });
});
