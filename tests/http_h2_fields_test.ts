import { describe, test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import {
  block,
  bytesOf,
  CANCEL,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  fieldsFor,
  frame,
  get,
  GET_ROOT,
  HEADERS,
  headers,
  INTERNAL_ERROR,
  PADDED,
  post,
  PROTOCOL_ERROR,
  settings,
  STREAM_CLOSED,
  u32,
  withH2,
} from "./_h2_raw.ts";
import type { Raw } from "./_h2_raw.ts";
import { HpackDecoder } from "../http/_hpack_decoder.ts";
import { answered, read, testRows } from "./_h2_rows.ts";
import type { Row, Want } from "./_h2_rows.ts";

const OK: Want = { answer: 200, on: 1, body: "ok" };
const MALFORMED: Want = { reset: PROTOCOL_ERROR, on: 1 };
const COMPRESSION: Want = { goaway: COMPRESSION_ERROR };

function any(...wants: Want[]): Want {
  return { any: wants };
}

/** A request of these fields that is malformed (8.1.1). */
function malformed(name: string, fields: string | string[]): Row {
  return [`${name} is malformed`, [headers(1, fields)], MALFORMED];
}

/** A request of these fields that is answered. */
function fine(name: string, fields: string | string[], want = OK): Row {
  return [`${name} is answered`, [headers(1, fields)], want];
}

/** A GET with more fields. */
function plus(name: string, value: string): string[] {
  return [...GET_ROOT.split(/[ |]/), name, value];
}

const PSEUDO: Row[] = [
  fine("8.3.1: a GET", GET_ROOT),
  fine("8.3.1: HEAD", fieldsFor("/", "HEAD"), { answer: 200, body: "" }),
  fine(
    "8.3.1: pseudo-fields in any order",
    ":authority localhost|:path /|:scheme http|:method GET",
  ),
  fine("8.3.1: https without TLS", GET_ROOT.replace("http", "https"), {
    any: [OK, { answer: 400 }, MALFORMED],
  }),
  fine("8.3.1: a path with a query", fieldsFor("/?a=b&c=%20")),
  fine("8.3.1: host in place of :authority", [
    ...":method|GET|:scheme|http|:path|/|host|localhost".split("|"),
  ]),
  fine("8.3.1: host besides the same :authority", plus("host", "localhost")),
  fine("8.3.1: OPTIONS *", fieldsFor("*", "OPTIONS")),
  fine("8.3.1: a method that nobody knows", fieldsFor("/", "BREW")),
  malformed("8.3.1: a host that is not :authority", plus("host", "other")),
  malformed("8.3.1: two hosts", [
    ...plus("host", "localhost"),
    "host",
    "localhost",
  ]),
  malformed(
    "8.3.1: a request without :method",
    ":scheme http|:path /|:authority localhost",
  ),
  malformed(
    "8.3.1: a request without :scheme",
    ":method GET|:path /|:authority localhost",
  ),
  malformed(
    "8.3.1: a request without :path",
    ":method GET|:scheme http|:authority localhost",
  ),
  malformed("8.3.1: a request without pseudo-fields", "a b"),
  malformed("8.3.1: a request without fields", ""),
  malformed("8.3.1: an empty :path", fieldsFor("")),
  malformed("8.3.1: a :path without a slash", fieldsFor("index.html")),
  malformed("8.3.1: a :path of * for GET", fieldsFor("*")),
  malformed("8.3.1: a :path with a URL", fieldsFor("http://localhost/")),
  malformed(
    "8.3.1: a :path with a space",
    plus("x", "y").map((field) => field === "/" ? "/a b" : field),
  ),
  malformed("8.3.1: a :path with CR and LF", fieldsFor("/\r\na:")),
  malformed("8.3.1: a :path with NUL", fieldsFor("/\0")),
  malformed("8.3.1: an empty :method", ":method |" + GET_ROOT.slice(12)),
  malformed("8.3.1: a :method with a space", [
    ":method",
    "GET / HTTP/1.1",
    ...GET_ROOT.split(/[ |]/).slice(2),
  ]),
  malformed("8.3.1: an empty :scheme", GET_ROOT.replace("http", "")),
  malformed(
    "8.3.1: a :scheme that is none",
    GET_ROOT.replace("http", "ht/tp"),
  ),
  malformed(
    "8.3.1: an :authority with user information",
    GET_ROOT.replace("localhost", "user@localhost"),
  ),
  malformed(
    "8.3.1: an :authority with a path",
    GET_ROOT.replace("localhost", "localhost/x"),
  ),
  malformed("8.3.1: an :authority with LF", [
    ...GET_ROOT.split(/[ |]/).slice(0, -1),
    "localhost\n",
  ]),
  malformed(
    "8.3.1: :method twice",
    ":method GET|" + GET_ROOT,
  ),
  malformed(
    "8.3.1: :scheme twice",
    ":scheme http|" + GET_ROOT,
  ),
  malformed("8.3.1: :path twice", ":path /|" + GET_ROOT),
  malformed("8.3.1: :authority twice", ":authority localhost|" + GET_ROOT),
  malformed("8.3: an unknown pseudo-field", ":test x|" + GET_ROOT),
  malformed("8.3: :status in a request", ":status 200|" + GET_ROOT),
  malformed("8.3: a pseudo-field without a name", ": x|" + GET_ROOT),
  malformed("8.3: a pseudo-field in upper case", ":Method GET|" + GET_ROOT),
  malformed(
    "8.3: a pseudo-field behind a field",
    ":method GET|:scheme http|:authority localhost|a b|:path /",
  ),
  malformed(
    "8.3: a pseudo-field behind fields, once more",
    GET_ROOT + "|a b|:path /",
  ),
];

const REGULAR: Row[] = [
  malformed("8.2.1: a name in upper case", plus("X-Test", "a")),
  malformed("8.2.1: a name with one letter in upper case", plus("x-tEst", "")),
  malformed("8.2.1: an empty name", plus("", "a")),
  malformed("8.2.1: a name with a space", plus("a b", "c")),
  malformed("8.2.1: a name with a colon", plus("a:b", "c")),
  malformed("8.2.1: a name with LF", plus("a\n", "c")),
  malformed("8.2.1: a name with NUL", plus("a\0", "c")),
  malformed("8.2.1: a name with DEL", plus("a\x7f", "c")),
  malformed("8.2.1: a name that is not ASCII", plus("\xe9", "c")),
  malformed("8.2.1: a value with LF", plus("a", "b\nc: d")),
  malformed("8.2.1: a value with CR", plus("a", "b\rc: d")),
  malformed("8.2.1: a value with NUL", plus("a", "b\0")),
  malformed("8.2.1: a value with a space before it", plus("a", " b")),
  malformed("8.2.1: a value with a space behind it", plus("a", "b ")),
  malformed("8.2.1: a value with a tab before it", plus("a", "\tb")),
  malformed("8.2.1: a value with a tab behind it", plus("a", "b\t")),
  fine("8.2.1: an empty value", plus("a", "")),
  fine("8.2.1: a value with a space and a tab within", plus("a", "b c\td")),
  fine("8.2.1: a value of Latin-1", plus("a", "b\xe9\xff")),
  fine("8.2.1: all that a name may have", plus("a-z09!#$%&'*+-.^_`|~", "b")),
  malformed("8.2.2: connection", plus("connection", "close")),
  malformed("8.2.2: connection: keep-alive", plus("connection", "keep-alive")),
  malformed("8.2.2: keep-alive", plus("keep-alive", "timeout=5")),
  malformed("8.2.2: proxy-connection", plus("proxy-connection", "close")),
  malformed("8.2.2: upgrade", plus("upgrade", "h2c")),
  malformed(
    "8.2.2: transfer-encoding",
    plus("transfer-encoding", "chunked"),
  ),
  malformed("8.2.2: te: gzip", plus("te", "gzip")),
  malformed("8.2.2: te: trailers, deflate", plus("te", "trailers, deflate")),
  fine("8.2.2: te: trailers", plus("te", "trailers")),
  [
    "8.2.3: crumbs of cookies are one field",
    [headers(1, fieldsFor("/fields", "GET", "cookie a=b|cookie c=d"))],
    {
      answer: 200,
      body: '[["cookie","a=b; c=d"],["host","localhost"]]',
    },
  ],
];

const LENGTHS: Row[] = [
  [
    "8.1.1: content-length and as many DATA",
    [post(1, "/echo", "content-length 5"), data(1, "hello", END_STREAM)],
    { answer: 200, body: "hello" },
  ],
  [
    "8.1.1: content-length does not count padding",
    [
      post(1, "/echo", "content-length 5"),
      data(1, bytesOf([3], "hel", "\0\0\0"), PADDED),
      data(1, bytesOf([0], "lo"), PADDED),
      data(1, "", END_STREAM),
    ],
    { answer: 200, body: "hello" },
  ],
  [
    "8.1.1: less DATA than content-length are malformed",
    [post(1, "/echo", "content-length 5"), data(1, "hell", END_STREAM)],
    MALFORMED,
  ],
  [
    "8.1.1: more DATA than content-length are malformed",
    [post(1, "/echo", "content-length 5"), data(1, "hello!", END_STREAM)],
    MALFORMED,
  ],
  [
    "8.1.1: more DATA than content-length are malformed before the end",
    [post(1, "/echo", "content-length 5"), data(1, "hello"), data(1, "!")],
    MALFORMED,
  ],
  [
    "8.1.1: less DATA than content-length in pieces are malformed",
    [
      post(1, "/echo", "content-length 5"),
      data(1, "he"),
      data(1, "ll"),
      data(1, "", END_STREAM),
    ],
    MALFORMED,
  ],
  [
    "8.1.1: content-length without DATA is malformed",
    [post(1, "/echo", "content-length 1"), data(1, "", END_STREAM)],
    MALFORMED,
  ],
  [
    "8.1.1: content-length of a request that ends with HEADERS",
    [headers(1, fieldsFor("/echo", "POST", "content-length 1"))],
    MALFORMED,
  ],
  [
    "8.1.1: content-length 0 of a request that ends with HEADERS",
    [headers(1, fieldsFor("/echo", "POST", "content-length 0"))],
    { answer: 200, body: "" },
  ],
  [
    "8.1.1: content-length 0 and DATA are malformed",
    [post(1, "/echo", "content-length 0"), data(1, "x", END_STREAM)],
    MALFORMED,
  ],
  [
    "8.1.1: content-length and trailers that come too early are malformed",
    [
      post(1, "/echo", "content-length 5"),
      data(1, "hell"),
      headers(1, "a b"),
    ],
    MALFORMED,
  ],
  malformed(
    "8.1.1: two values of content-length",
    fieldsFor("/", "GET", "content-length 0|content-length 1"),
  ),
  ...["-1", "+1", "0x1", "1.0", "1 1", "", "1e1", "99999999999999999999"].map(
    (value) =>
      malformed(`8.1.1: content-length ${JSON.stringify(value)}`, [
        ...fieldsFor("/echo", "POST").split(/[ |]/),
        "content-length",
        value,
      ]),
  ),
];

const MESSAGES: Row[] = [
  [
    "8.1: trailers",
    [
      post(1, "/trailers"),
      data(1, "x"),
      headers(1, "x-sum 1|x-more 2"),
    ],
    { answer: 200, body: '[["x-more","2"],["x-sum","1"]]' },
  ],
  [
    "8.1: trailers without DATA",
    [post(1, "/trailers"), headers(1, "x-sum 1")],
    { answer: 200, body: '[["x-sum","1"]]' },
  ],
  [
    "8.1: trailers in CONTINUATION",
    [
      post(1, "/trailers"),
      headers(1, bytesOf(), END_STREAM),
      frame(CONTINUATION, END_HEADERS, 1, block("x-sum 1")),
    ],
    { answer: 200, body: '[["x-sum","1"]]' },
  ],
  [
    "8.1: trailers that do not end the stream are malformed",
    [post(1, "/wait"), data(1, "x"), headers(1, "a b", END_HEADERS)],
    MALFORMED,
  ],
  [
    "8.1: DATA behind trailers are an error",
    [post(1, "/wait"), headers(1, "a b"), data(1, "x")],
    any({ reset: STREAM_CLOSED, on: 1 }, { goaway: STREAM_CLOSED }),
  ],
  [
    "8.1: trailers behind trailers are an error",
    [post(1, "/wait"), headers(1, "a b"), headers(1, "a b")],
    any({ reset: STREAM_CLOSED, on: 1 }, { goaway: STREAM_CLOSED }),
  ],
  ...[":method GET", ":path /", ":status 200", ":test x"].map((field): Row => [
    `8.1: trailers with ${field.split(" ")[0]} are malformed`,
    [post(1, "/wait"), data(1, "x"), headers(1, field)],
    MALFORMED,
  ]),
  ["8.2.1: trailers in upper case are malformed", [
    post(1, "/wait"),
    headers(1, "X-Sum 1"),
  ], MALFORMED],
  ["8.2.2: trailers with connection are malformed", [
    post(1, "/wait"),
    headers(1, "connection close"),
  ], MALFORMED],
  ["8.2.1: trailers with LF are malformed", [
    post(1, "/wait"),
    headers(1, ["a", "b\nc"]),
  ], MALFORMED],
  [
    "8.1: GET with a body is answered",
    [headers(1, GET_ROOT, END_HEADERS), data(1, "body", END_STREAM)],
    OK,
  ],
  [
    "8.1: HEADERS in the place of trailers that are a request",
    [post(1, "/wait"), get(1)],
    MALFORMED,
  ],
];

const CONNECT: Row[] = [
  [
    "8.5: CONNECT with :authority alone",
    [headers(1, ":method CONNECT|:authority localhost:80", END_HEADERS)],
    any({ answer: "any" }, { open: true }),
  ],
  malformed(
    "8.5: CONNECT with :scheme",
    ":method CONNECT|:authority localhost:80|:scheme http",
  ),
  malformed(
    "8.5: CONNECT with :path",
    ":method CONNECT|:authority localhost:80|:path /",
  ),
  malformed("8.5: CONNECT without :authority", ":method CONNECT"),
  malformed(
    "8.5: CONNECT with an empty :authority",
    ":method CONNECT|:authority ",
  ),
  // RFC 9110, 9.3.6: it MUST be rejected, typically with a 400.
  ...["localhost", "localhost:", "[::1]", "localhost:70000"].map((to): Row => [
    `8.5: CONNECT to ${to}, which has no port to go to`,
    [headers(1, `:method CONNECT|:authority ${to}`, END_HEADERS)],
    any({ answer: 400 }, MALFORMED),
  ]),
  malformed(
    "RFC 8441: :protocol without :path and :scheme",
    ":method CONNECT|:protocol websocket|:authority localhost",
  ),
  malformed(
    "RFC 8441: :protocol of GET",
    ":protocol websocket|" + GET_ROOT,
  ),
  malformed(
    "RFC 8441: :protocol twice",
    ":method CONNECT|:protocol websocket|:protocol websocket|:scheme http|" +
      ":path /|:authority localhost",
  ),
];

/** HEADERS of a GET and what comes behind it in the block. */
function getAnd(...more: Raw[]): Uint8Array {
  return headers(1, bytesOf(block(GET_ROOT), ...more));
}

/** The block of a GET out of the static table. */
const INDEXED = bytesOf([0x82, 0x86, 0x84, 0x41, 9], "localhost");

const HPACK: Row[] = [
  ["RFC 7541, 6.1: indexed fields", [headers(1, INDEXED)], OK],
  [
    "RFC 7541, 6.2.1: literals with indexing, and their entries",
    [
      headers(1, bytesOf(INDEXED, [0x40, 3], "x-a", [1], "b")),
      answered(1),
      headers(
        3,
        bytesOf([0x82, 0x86, 0xbf, 0x04, 7], "/fields", [0xbe]),
      ),
    ],
    {
      answer: 200,
      on: 3,
      body: '[["host","localhost"],["x-a","b"]]',
    },
  ],
  [
    "RFC 7541, 6.2.3: literals that are never indexed",
    [getAnd([0x10, 3], "x-a", [1], "b", [0x1f, 4, 1], "x")],
    OK,
  ],
  [
    "RFC 7541, 5.2: Huffman-coded strings",
    [
      headers(
        1,
        bytesOf([0x82, 0x86, 0x84, 0x41, 0x86], [
          ...[0xa0, 0xe4, 0x1d, 0x13, 0x9d, 0x09],
        ]),
      ),
    ],
    OK,
  ],
  [
    "RFC 7541, 4.2: size updates at the start",
    [headers(1, bytesOf([0x20, 0x3f, 0xe1, 0x1f], INDEXED)), answered(1)],
    { open: true },
  ],
  [
    "RFC 7541, 2.3.3: an index beyond the tables",
    [getAnd([0xff, 0x00])],
    COMPRESSION,
  ],
  [
    "RFC 7541, 2.3.3: a name whose index is beyond the tables",
    [getAnd([0x7e, 1], "x")],
    COMPRESSION,
  ],
  ["RFC 7541, 6.1: index 0", [getAnd([0x80])], COMPRESSION],
  [
    "RFC 7541, 4.2: a size update at the end",
    [getAnd([0x20])],
    COMPRESSION,
  ],
  [
    "RFC 7541, 6.3: a size update above what is advertised",
    [headers(1, bytesOf([0x3f, 0xe2, 0xff, 0xff, 0x07], INDEXED))],
    COMPRESSION,
  ],
  [
    "RFC 7541, 5.1: an integer without end",
    [getAnd([0xff, ...new Array(20).fill(0xff)])],
    COMPRESSION,
  ],
  [
    "RFC 7541, 5.2: Huffman-coded EOS",
    [getAnd([0x00, 1], "a", [0x84, 0xff, 0xff, 0xff, 0xff])],
    COMPRESSION,
  ],
  [
    "RFC 7541, 5.2: padding of 8 bits",
    [getAnd([0x00, 1], "a", [0x82, 0x1f, 0xff])],
    COMPRESSION,
  ],
  [
    "RFC 7541, 5.2: padding of zeros",
    [getAnd([0x00, 1], "a", [0x81, 0x18])],
    COMPRESSION,
  ],
  [
    "4.3: a block that is cut within a field",
    [getAnd([0x00, 5], "abc")],
    COMPRESSION,
  ],
  [
    "4.3: a broken block of trailers",
    [post(1, "/wait"), headers(1, bytesOf([0x80]))],
    COMPRESSION,
  ],
  [
    "4.3: a broken block on a stream that the server has reset",
    [headers(1, ":method GET", END_HEADERS), headers(1, bytesOf([0x80]))],
    COMPRESSION,
  ],
  [
    "4.3: the block of a malformed request counts for the table",
    [
      headers(1, bytesOf([0x82, 0x40, 3], "x-a", [1], "b")),
      headers(3, bytesOf(block(fieldsFor("/fields")), [0xbe])),
      answered(3),
    ],
    { reset: PROTOCOL_ERROR, on: 1 },
  ],
  [
    "4.3: the block of trailers that nobody reads counts for the table",
    [
      post(1, "/"),
      read,
      headers(1, bytesOf([0x40, 3], "x-a", [1], "b")),
      headers(3, bytesOf(block(fieldsFor("/fields")), [0xbe])),
    ],
    { answer: 200, on: 3, body: '[["host","localhost"],["x-a","b"]]' },
  ],
];

const LARGE: Row[] = [
  [
    "10.5.1: fields of 20 KB are too large",
    [
      headers(1, block(GET_ROOT), END_STREAM),
      ...[0, 1].map((i) =>
        frame(
          CONTINUATION,
          i * END_HEADERS,
          1,
          block([`x-${i}`, "y".repeat(10_000)]),
        )
      ),
    ],
    any({ answer: 431 }, MALFORMED),
  ],
  [
    "10.5.1: an HPACK bomb is too large",
    [
      headers(
        1,
        bytesOf(
          INDEXED,
          [0x40, 1],
          "a",
          [0x7f, 0xa1, 0x1e],
          "b".repeat(4000),
          new Uint8Array(12_000).fill(0xbe),
        ),
      ),
    ],
    any({ answer: 431 }, MALFORMED),
  ],
  [
    "10.5.1: the block of what is too large counts for the table",
    [
      headers(
        1,
        bytesOf(
          INDEXED,
          [0x40, 1],
          "a",
          [0x7f, 0xa1, 0x1e],
          "b".repeat(4000),
          new Uint8Array(12_000).fill(0xbe),
          [0x40, 3],
          "x-a",
          [1],
          "b",
        ),
      ),
      headers(3, bytesOf(block(fieldsFor("/fields")), [0xbe])),
    ],
    { answer: 200, on: 3, body: '[["host","localhost"],["x-a","b"]]' },
  ],
  [
    "10.5.1: a path of 12 KB is too long",
    [headers(1, fieldsFor("/" + "x".repeat(12_000)))],
    any({ answer: 414 }, { answer: 431 }),
  ],
  [
    "10.5.1: trailers of 20 KB are too large",
    [
      post(1, "/wait"),
      headers(1, bytesOf(), END_STREAM),
      ...[0, 1].map((i) =>
        frame(
          CONTINUATION,
          i * END_HEADERS,
          1,
          block([`x-${i}`, "y".repeat(10_000)]),
        )
      ),
    ],
    any({ answer: 431 }, { reset: CANCEL, on: 1 }, MALFORMED),
  ],
];

describe("serve() over HTTP/2: pseudo-fields", () => testRows(PSEUDO));
describe("serve() over HTTP/2: fields", () => testRows(REGULAR));
describe("serve() over HTTP/2: content-length", () => testRows(LENGTHS));
describe("serve() over HTTP/2: messages", () => testRows(MESSAGES));
describe("serve() over HTTP/2: CONNECT", () => testRows(CONNECT));
describe("serve() over HTTP/2: HPACK", () => testRows(HPACK));
describe("serve() over HTTP/2: large fields", () => testRows(LARGE));

describe("serve() over HTTP/2: responses", () => {
  test("serve() sends no fields of a connection (8.2.2)", async () => {
    await withH2(
      () =>
        new Response("ok", {
          headers: { "connection": "close", "keep-alive": "1", "X-Test": "a" },
        }),
      async (peer) => {
        peer.send(get(1));
        const { status, fields, body } = await peer.response(1);
        if (status === 200) assertEquals(body, "ok");
        const names = fields.filter((_, i) => i % 2 === 0);
        for (const name of names) {
          assertEquals(name, name.toLowerCase());
          assert(
            !/^(connection|keep-alive|transfer-encoding|upgrade)$/.test(name),
          );
        }
        assertEquals(names.indexOf(":status"), 0);
        assertEquals(names.filter((name) => name[0] === ":").length, 1);
      },
    );
  });

  test("serve() sends no DATA for HEAD, 204 and 304 (8.1)", async () => {
    await withH2(
      (request) => {
        const { pathname } = new URL(request.url);
        return pathname === "/"
          ? new Response("body")
          : new Response(null, { status: Number(pathname.slice(1)) });
      },
      async (peer) => {
        peer.send(headers(1, fieldsFor("/", "HEAD")), get(3, "/204"));
        peer.send(get(5, "/304"));
        const head = await peer.response(1);
        assertEquals(head.status, 200);
        const at = head.fields.indexOf("content-length");
        if (at >= 0) assertEquals(head.fields[at + 1], "4");
        await peer.pinged();
        const lengths = peer.frames.filter((f) => f.type === DATA)
          .map((f) => f.payload.length);
        assert(lengths.every((length) => length === 0), `${lengths}`);
      },
    );
  });

  test("serve() resets the stream of a body that fails (8.1)", async () => {
    let fail!: () => void;
    const begun = new Promise<void>((resolve) => fail = resolve);
    await withH2(
      () =>
        new Response(
          new ReadableStream({
            start: (controller) => controller.enqueue(new Uint8Array(10)),
            pull: async (controller) => {
              await begun;
              controller.error(new Error("The source broke"));
            },
          }),
        ),
      async (peer) => {
        peer.send(get(1));
        await peer.until((f) => f.type === DATA, "DATA");
        fail();
        await peer.reset(1, INTERNAL_ERROR);
        await peer.pinged();
      },
      { serve: { onError: () => new Response("", { status: 500 }) } },
    );
  });

  test("serve() tells the handler of a reset by its signal (5.4.2)", async () => {
    let aborted = 0;
    await withH2(
      async (request) => {
        await new Promise<void>((resolve) => {
          request.signal.addEventListener("abort", () => {
            aborted++;
            resolve();
          });
        });
        return new Response("late");
      },
      async (peer) => {
        peer.send(get(1), get(3));
        await peer.pinged();
        peer.send(frame(3, 0, 1, u32(CANCEL)));
        await peer.pinged("ping-two");
        assertEquals(aborted, 1);
        peer.send(frame(3, 0, 3, u32(CANCEL)));
        await peer.pinged("pingthre");
        assertEquals(aborted, 2);
        assert(!peer.frames.some((f) => f.stream > 0), `${peer}`);
      },
    );
  });

  test("serve() says 100 before it reads, when asked to (8.1)", async () => {
    await withH2(
      async (request) => new Response(await request.text()),
      async (peer) => {
        peer.send(post(1, "/", "expect 100-continue|content-length 2"));
        const first = await peer.until((f) => f.fields !== undefined, "100");
        assertEquals(first.fields![1], "100");
        assertEquals(first.flags & END_STREAM, 0);
        peer.send(data(1, "hi", END_STREAM));
        assertEquals((await peer.response(1)).body, "hi");
      },
    );
  });

  test("serve() keeps no table where the client has none (RFC 7541, 4.2)", async () => {
    await withH2(
      () => new Response("ok", { headers: { "x-a": "b", "server": "c" } }),
      async (peer) => {
        // The first is in the table that the client takes away.
        peer.send(get(1));
        await peer.response(1);
        peer.send(settings([1, 0]));
        for (const stream of [3, 5, 7]) {
          peer.send(get(stream));
          await peer.response(stream);
        }
        const blocks = peer.frames.filter((f) => f.type === HEADERS);
        // The update comes once, first of all.
        assertEquals(
          blocks.map((f) => f.payload[0] === 0x20),
          [false, true, false, false],
        );
        const decoder = new HpackDecoder({ maxTableSize: 0 });
        for (const { payload } of blocks.slice(1)) {
          const fields = decoder.decode(payload, Infinity)!;
          assertEquals(fields[fields.indexOf("x-a") + 1], "b");
        }
      },
    );
  });

  test("serve() heeds each change of the client's table (RFC 7541, 4.2)", async () => {
    await withH2(
      (request) =>
        new Response("ok", {
          headers: { "x-path": new URL(request.url).pathname },
        }),
      async (peer) => {
        let stream = 1;
        for (const size of [100, 0, 4096, 65536, 1, 33, 4095, 2 ** 32 - 1]) {
          peer.send(settings([1, size]));
          for (const path of ["/a", "/a", "/b", "/a"]) {
            peer.send(get(stream, path));
            const { fields } = await peer.response(stream);
            assertEquals(fields[fields.indexOf("x-path") + 1], path);
            stream += 2;
          }
        }
        // Down and up again between two blocks.
        peer.send(settings([1, 0]), settings([1, 4096]), get(stream));
        await peer.response(stream);
        const last = peer.frames.filter((f) => f.type === HEADERS).pop()!;
        assertEquals([...last.payload.subarray(0, 4)], [
          0x20,
          0x3f,
          0xe1,
          0x1f,
        ]);
      },
    );
  });

  test("serve() answers many streams at once, and none waits for another", async () => {
    let release!: () => void;
    const gate = new Promise<void>((resolve) => release = resolve);
    await withH2(
      async (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/1") await gate;
        return new Response(pathname);
      },
      async (peer) => {
        for (let i = 1; i < 100; i += 2) peer.send(get(i, `/${i}`));
        assertEquals((await peer.response(99)).body, "/99");
        assert(!peer.frames.some((f) => f.stream === 1));
        release();
        assertEquals((await peer.response(1)).body, "/1");
      },
    );
  });
});
