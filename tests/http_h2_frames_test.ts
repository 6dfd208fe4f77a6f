import { describe, test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import {
  ACK,
  block,
  bytesOf,
  CANCEL,
  CONTINUATION,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  frame,
  FRAME_SIZE_ERROR,
  get,
  GET_ROOT,
  GOAWAY,
  HEADERS,
  headers,
  PADDED,
  PING,
  ping,
  post,
  PREFACE,
  PRIORITIZED,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  REFUSED_STREAM,
  RST_STREAM,
  rstStream,
  SETTINGS,
  settings,
  STREAM_CLOSED,
  u32,
  WINDOW_UPDATE,
  windowUpdate,
  withH2,
} from "./_h2_raw.ts";
import { exchange, withServer } from "./_http_raw.ts";
import { answered, read, rowHandler, testRows } from "./_h2_rows.ts";
import type { Row, Want } from "./_h2_rows.ts";

const MAX = 2 ** 31 - 1;
const RESERVED = 0x80000000;

const OPEN: Want = { open: true };
const OK: Want = { answer: 200, on: 1, body: "ok" };
const PROTOCOL: Want = { goaway: PROTOCOL_ERROR };
const SIZE: Want = { goaway: FRAME_SIZE_ERROR };
const CLOSED: Want = { goaway: STREAM_CLOSED };

function reset(code: number, on = 1): Want {
  return { reset: code, on };
}

function any(...wants: Want[]): Want {
  return { any: wants };
}

/** Bytes of a whole GET, in frames of one block cut at these places. */
function cut(...places: number[]): Uint8Array {
  const whole = block(GET_ROOT);
  const cuts = [0, ...places, whole.length];
  return bytesOf(
    ...cuts.slice(0, -1).map((at, i) =>
      frame(
        i === 0 ? HEADERS : CONTINUATION,
        (i === 0 ? END_STREAM : 0) | (i === cuts.length - 2 ? END_HEADERS : 0),
        1,
        whole.subarray(at, cuts[i + 1]),
      )
    ),
  );
}

/** HEADERS of a GET that are not the whole block. */
const BEGUN = headers(1, GET_ROOT, END_STREAM);
const WAIT = get(1, "/wait");
const PRIORITY_OF_0 = [...u32(0), 15];

const PREFACES: Row[] = [
  [
    "3.4: all that a client says first may come at once, and be answered",
    [],
    OK,
    { greeting: bytesOf(PREFACE, settings(), get(1)) },
  ],
  [
    "3.4: PING before SETTINGS is an error",
    [],
    PROTOCOL,
    { greeting: bytesOf(PREFACE, ping(), settings()) },
  ],
  [
    "3.4: HEADERS before SETTINGS are an error",
    [],
    PROTOCOL,
    { greeting: bytesOf(PREFACE, get(1), settings()) },
  ],
  [
    "3.4: an acknowledgment in place of SETTINGS is an error",
    [],
    PROTOCOL,
    { greeting: bytesOf(PREFACE, frame(SETTINGS, ACK, 0), settings()) },
  ],
  [
    "3.4: a frame of an unknown type before SETTINGS is an error",
    [],
    PROTOCOL,
    { greeting: bytesOf(PREFACE, frame(0xfa, 0, 0, "x"), settings()) },
  ],
  [
    "3.4: WINDOW_UPDATE before SETTINGS is an error",
    [],
    PROTOCOL,
    { greeting: bytesOf(PREFACE, windowUpdate(0, 1), settings()) },
  ],
  [
    "3.4: a preface with a wrong end closes the connection",
    [],
    any(PROTOCOL, { closed: true }),
    { greeting: bytesOf("PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", settings()) },
  ],
  [
    "3.4: a preface with a wrong last byte closes the connection",
    [],
    any(PROTOCOL, { closed: true }),
    { greeting: bytesOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", settings()) },
  ],
  [
    "3.4: a preface of HTTP/3.0 closes the connection",
    [],
    any(PROTOCOL, { closed: true }),
    { greeting: bytesOf("PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n", settings()) },
  ],
  [
    "3.4: frames without a preface close the connection",
    [],
    any(PROTOCOL, { closed: true }),
    { greeting: bytesOf(settings(), get(1)) },
  ],
  [
    "3.4: a second preface is a frame, and too long",
    [PREFACE],
    any(SIZE, PROTOCOL),
  ],
  [
    "6.5: SETTINGS of 5 bytes as the first frame are an error",
    [],
    SIZE,
    { greeting: bytesOf(PREFACE, frame(SETTINGS, 0, 0, "12345")) },
  ],
  [
    "6.5: SETTINGS on a stream as the first frame are an error",
    [],
    PROTOCOL,
    { greeting: bytesOf(PREFACE, frame(SETTINGS, 0, 1)) },
  ],
  [
    "3.4: settings are in force with the first request",
    [],
    { answer: 204 },
    {
      greeting: bytesOf(
        PREFACE,
        settings([1, 0], [2, 0], [3, 0], [4, 0], [5, 0xffffff], [6, 1 << 20]),
        get(1, "/empty"),
      ),
    },
  ],
];

const FRAMES: Row[] = [
  ["4.1: an unknown type is ignored", [frame(0xfa, 0, 0, "12345678")], OPEN],
  ["4.1: an unknown type with all flags", [frame(0x16, 0xff, 0, "x")], OPEN],
  ["5.5: an unknown type on an idle stream", [frame(0xfa, 0, 5, "x")], OPEN],
  [
    "5.5: an unknown type on an open stream",
    [post(1), frame(0xfa, 9, 1, "x"), data(1, "hello", END_STREAM)],
    { answer: 200, body: "hello" },
  ],
  [
    "5.5: an unknown type on a closed stream",
    [get(1), answered(1), frame(0xfa, 0, 1, "x")],
    OPEN,
  ],
  ["5.5: an unknown type without payload", [frame(0xff, 0, 0)], OPEN],
  [
    "5.5: an unknown type within a header block is an error",
    [BEGUN, frame(0xfa, 0, 1, "x"), frame(CONTINUATION, END_HEADERS, 1)],
    PROTOCOL,
  ],
  [
    "4.1: undefined flags of PING are ignored",
    [frame(PING, 0xfe, 0, "12345678")],
    OPEN,
  ],
  [
    "4.1: undefined flags of HEADERS are ignored",
    [headers(1, GET_ROOT, 0xd2 | END_HEADERS | END_STREAM)],
    OK,
  ],
  [
    "4.1: undefined flags of DATA are ignored",
    [post(1), data(1, "hello", 0xf6 | END_STREAM)],
    { answer: 200, body: "hello" },
  ],
  [
    "4.1: undefined flags of SETTINGS are ignored",
    [frame(SETTINGS, 0xfe, 0)],
    OPEN,
  ],
  [
    "4.1: undefined flags of WINDOW_UPDATE are ignored",
    [frame(WINDOW_UPDATE, 0xff, 0, u32(1))],
    OPEN,
  ],
  [
    "4.1: undefined flags of RST_STREAM are ignored",
    [WAIT, frame(RST_STREAM, 0xff, 1, u32(CANCEL))],
    OPEN,
  ],
  [
    "4.1: undefined flags of PRIORITY are ignored",
    [frame(PRIORITY, 0xff, 1, PRIORITY_OF_0), get(1)],
    OK,
  ],
  [
    "4.1: the reserved bit of a stream is ignored",
    [headers(RESERVED + 1, GET_ROOT)],
    OK,
  ],
  [
    "4.1: the reserved bit of PING and SETTINGS is ignored",
    [
      frame(PING, 0, RESERVED, "12345678"),
      frame(SETTINGS, 0, RESERVED),
      frame(WINDOW_UPDATE, 0, RESERVED, u32(RESERVED + 1)),
    ],
    OPEN,
  ],
  [
    "4.2: DATA of 16384 bytes are taken",
    [post(1), data(1, new Uint8Array(16384).fill(65), END_STREAM)],
    { answer: 200, body: "A".repeat(16384) },
  ],
  [
    "4.2: DATA of 16385 bytes are an error",
    [post(1), data(1, new Uint8Array(16385), END_STREAM)],
    any(SIZE, reset(FRAME_SIZE_ERROR)),
  ],
  [
    "4.2: HEADERS of 16385 bytes are an error",
    [headers(1, GET_ROOT + "|a " + "b".repeat(16385))],
    SIZE,
  ],
  [
    "4.2: CONTINUATION of 16385 bytes is an error",
    [BEGUN, frame(CONTINUATION, END_HEADERS, 1, new Uint8Array(16385))],
    SIZE,
  ],
  [
    "4.2: SETTINGS of 16386 bytes are an error",
    [frame(SETTINGS, 0, 0, new Uint8Array(16386))],
    SIZE,
  ],
  [
    "4.2: an unknown type of 16385 bytes is an error",
    [frame(0xfa, 0, 0, new Uint8Array(16385))],
    SIZE,
  ],
  [
    "4.2: a frame of 16 MiB is an error before it has come",
    [frame(DATA, 0, 0, "x", 0xffffff)],
    any(SIZE, PROTOCOL),
  ],
  ["4.3: a block in HEADERS and CONTINUATION", [cut(10)], OK],
  ["4.3: a block in nine frames", [cut(1, 2, 3, 9, 20, 30, 40, 41)], OK],
  ["4.3: a block whose HEADERS are empty", [cut(0)], OK],
  ["4.3: a block whose last CONTINUATION is empty", [
    BEGUN,
    frame(CONTINUATION, 0, 1),
    frame(CONTINUATION, END_HEADERS, 1),
  ], OK],
  [
    "4.3: PRIORITY within a header block is an error",
    [BEGUN, frame(PRIORITY, 0, 1, PRIORITY_OF_0)],
    PROTOCOL,
  ],
  ["4.3: DATA within a header block are an error", [
    BEGUN,
    data(1, "x"),
  ], PROTOCOL],
  [
    "4.3: PING within a header block is an error",
    [BEGUN, ping()],
    PROTOCOL,
  ],
  [
    "4.3: SETTINGS within a header block are an error",
    [BEGUN, settings()],
    PROTOCOL,
  ],
  [
    "4.3: RST_STREAM within a header block is an error",
    [BEGUN, rstStream(1)],
    PROTOCOL,
  ],
  [
    "4.3: HEADERS of another stream within a header block are an error",
    [BEGUN, get(3)],
    PROTOCOL,
  ],
  [
    "4.3: HEADERS of the same stream within a header block are an error",
    [BEGUN, get(1)],
    PROTOCOL,
  ],
  [
    "6.10: CONTINUATION of another stream is an error",
    [BEGUN, frame(CONTINUATION, END_HEADERS, 3)],
    PROTOCOL,
  ],
  [
    "6.10: CONTINUATION on stream 0 is an error",
    [frame(CONTINUATION, END_HEADERS, 0, block(GET_ROOT))],
    PROTOCOL,
  ],
  [
    "6.10: CONTINUATION on stream 0 within a header block is an error",
    [BEGUN, frame(CONTINUATION, END_HEADERS, 0)],
    PROTOCOL,
  ],
  [
    "6.10: CONTINUATION behind END_HEADERS is an error",
    [get(1, "/wait"), frame(CONTINUATION, END_HEADERS, 1, block("a b"))],
    PROTOCOL,
  ],
  [
    "6.10: CONTINUATION behind the last CONTINUATION is an error",
    [cut(10), frame(CONTINUATION, END_HEADERS, 1, block("a b"))],
    any(PROTOCOL, CLOSED),
  ],
  [
    "6.10: CONTINUATION behind DATA is an error",
    [post(1), data(1, "x"), frame(CONTINUATION, END_HEADERS, 1)],
    PROTOCOL,
  ],
];

const STATES: Row[] = [
  ["5.1: DATA on an idle stream are an error", [data(1, "x")], PROTOCOL],
  [
    "5.1: RST_STREAM on an idle stream is an error",
    [rstStream(1)],
    PROTOCOL,
  ],
  [
    "5.1: WINDOW_UPDATE on an idle stream is an error",
    [windowUpdate(1, 100)],
    PROTOCOL,
  ],
  [
    "5.1: CONTINUATION on an idle stream is an error",
    [frame(CONTINUATION, END_HEADERS, 1, block(GET_ROOT))],
    PROTOCOL,
  ],
  [
    "5.1: PRIORITY on an idle stream is allowed",
    [frame(PRIORITY, 0, 1, PRIORITY_OF_0), get(1)],
    OK,
  ],
  [
    "5.1: PRIORITY on an idle stream does not begin those before it",
    [frame(PRIORITY, 0, 7, PRIORITY_OF_0), get(1)],
    OK,
  ],
  [
    "5.1: RST_STREAM on a stream of the server's, which is idle, is an error",
    [rstStream(2)],
    PROTOCOL,
  ],
  [
    "5.1: WINDOW_UPDATE on a stream of the server's, which is idle",
    [windowUpdate(2, 1)],
    PROTOCOL,
  ],
  [
    "5.1: DATA on a stream of the server's, which is idle, are an error",
    [data(2, "x")],
    PROTOCOL,
  ],
  [
    "5.1: DATA on a half-closed stream are an error of the stream",
    [WAIT, data(1, "x")],
    any(reset(STREAM_CLOSED), CLOSED),
  ],
  [
    "5.1: HEADERS on a half-closed stream are an error of the stream",
    [WAIT, get(1)],
    any(reset(STREAM_CLOSED), CLOSED),
  ],
  [
    "5.1: WINDOW_UPDATE on a half-closed stream is allowed",
    [WAIT, windowUpdate(1, 1)],
    OPEN,
  ],
  [
    "5.1: PRIORITY on a half-closed stream is allowed",
    [WAIT, frame(PRIORITY, 0, 1, PRIORITY_OF_0)],
    OPEN,
  ],
  [
    "5.1: RST_STREAM on a half-closed stream is allowed",
    [WAIT, rstStream(1)],
    OPEN,
  ],
  [
    "5.1: DATA on a stream that both ended are an error",
    [get(1), answered(1), data(1, "x")],
    any(CLOSED, reset(STREAM_CLOSED)),
  ],
  [
    "5.1: HEADERS on a stream that both ended are an error",
    [get(1), answered(1), get(1)],
    any(CLOSED, PROTOCOL),
  ],
  [
    "5.1: CONTINUATION on a stream that both ended is an error",
    [get(1), answered(1), frame(CONTINUATION, END_HEADERS, 1)],
    any(PROTOCOL, CLOSED),
  ],
  [
    "5.1: WINDOW_UPDATE on a stream that both ended is ignored",
    [get(1), answered(1), windowUpdate(1, 1)],
    OPEN,
  ],
  [
    "5.1: RST_STREAM on a stream that both ended is ignored",
    [get(1), answered(1), rstStream(1)],
    OPEN,
  ],
  [
    "5.1: PRIORITY on a stream that both ended is ignored",
    [get(1), answered(1), frame(PRIORITY, 0, 1, PRIORITY_OF_0)],
    OPEN,
  ],
  [
    "5.1: DATA on a stream that the client has reset are an error",
    [post(1, "/wait"), rstStream(1), data(1, "x")],
    any(CLOSED, reset(STREAM_CLOSED)),
  ],
  [
    "5.1: HEADERS on a stream that the client has reset are an error",
    [post(1, "/wait"), rstStream(1), headers(1, "a b")],
    any(CLOSED, PROTOCOL, reset(STREAM_CLOSED)),
  ],
  [
    "5.1: RST_STREAM twice does no harm",
    [post(1, "/wait"), rstStream(1), rstStream(1)],
    OPEN,
  ],
  [
    "5.1: frames on a stream that the server has reset are ignored",
    [
      headers(1, ":method GET", END_HEADERS),
      data(1, "x"),
      windowUpdate(1, 1),
      headers(1, "a b"),
    ],
    reset(PROTOCOL_ERROR),
  ],
  [
    "5.1.1: a request on an even stream is an error",
    [get(2)],
    PROTOCOL,
  ],
  [
    "5.1.1: a stream below one that was begun is an error",
    [get(5, "/wait"), get(3)],
    PROTOCOL,
  ],
  [
    "5.1.1: the same when the one above is over",
    [get(5), answered(5), get(3)],
    PROTOCOL,
  ],
  [
    "5.1.1: streams may be left out",
    [get(1), get(101), get(1001)],
    { answer: 200, on: 1001 },
  ],
  [
    "5.1.1: DATA on a stream that was left out are an error",
    [get(5), data(3, "x")],
    any(PROTOCOL, CLOSED, reset(STREAM_CLOSED, 3)),
  ],
  ["6.2: HEADERS on stream 0 are an error", [get(0)], PROTOCOL],
  [
    "6.2: HEADERS with a priority",
    [
      headers(
        1,
        bytesOf(u32(0), [255], block(GET_ROOT)),
        PRIORITIZED | END_HEADERS | END_STREAM,
      ),
    ],
    OK,
  ],
  [
    "6.2: HEADERS with an exclusive priority of a stream to come",
    [
      headers(
        1,
        bytesOf(u32(RESERVED + 9), [0], block(GET_ROOT)),
        PRIORITIZED | END_HEADERS | END_STREAM,
      ),
    ],
    OK,
  ],
  [
    "6.2: HEADERS with a priority that is cut are an error",
    [headers(1, bytesOf([0, 0, 0, 0]), PRIORITIZED | END_HEADERS)],
    any(SIZE, PROTOCOL),
  ],
  [
    "5.3.1 of RFC 7540: HEADERS of a stream that depends on itself",
    [
      headers(
        1,
        bytesOf(u32(1), [15], block(GET_ROOT)),
        PRIORITIZED | END_HEADERS | END_STREAM,
      ),
    ],
    any(reset(PROTOCOL_ERROR), PROTOCOL),
  ],
  [
    "5.3.1 of RFC 7540: PRIORITY of a stream that depends on itself",
    [WAIT, frame(PRIORITY, 0, 1, [...u32(1), 15])],
    any(reset(PROTOCOL_ERROR), PROTOCOL),
  ],
  [
    "6.2: HEADERS with padding",
    [
      headers(
        1,
        bytesOf([7], block(GET_ROOT), new Uint8Array(7)),
        PADDED | END_HEADERS | END_STREAM,
      ),
    ],
    OK,
  ],
  [
    "6.2: HEADERS with padding of no byte",
    [
      headers(
        1,
        bytesOf([0], block(GET_ROOT)),
        PADDED | END_HEADERS | END_STREAM,
      ),
    ],
    OK,
  ],
  [
    "6.2: HEADERS with padding and a priority",
    [
      headers(
        1,
        bytesOf([3], u32(0), [1], block(GET_ROOT), [0, 0, 0]),
        PADDED | PRIORITIZED | END_HEADERS | END_STREAM,
      ),
    ],
    OK,
  ],
  [
    "6.2: HEADERS with more padding than there is are an error",
    [headers(1, bytesOf([255], block(GET_ROOT)), PADDED | 5)],
    PROTOCOL,
  ],
  [
    "6.2: HEADERS with padding as long as the frame are an error",
    [headers(1, bytesOf([5, 1, 2, 3, 4]), PADDED | 5)],
    PROTOCOL,
  ],
  [
    "6.2: HEADERS with padding that leaves too little for a priority",
    [headers(1, bytesOf([3, 0, 0, 0, 0, 0, 0]), PADDED | PRIORITIZED | 5)],
    any(PROTOCOL, SIZE),
  ],
  [
    "6.2: HEADERS with padding, and without a byte, are an error",
    [headers(1, bytesOf(), PADDED | 5)],
    any(SIZE, PROTOCOL),
  ],
];

const DATA_ROWS: Row[] = [
  ["6.1: DATA on stream 0 are an error", [data(0, "x")], PROTOCOL],
  [
    "6.1: DATA in pieces",
    [
      post(1),
      data(1, "he"),
      data(1, ""),
      data(1, "llo"),
      data(1, "", END_STREAM),
    ],
    { answer: 200, body: "hello" },
  ],
  [
    "6.1: DATA with padding",
    [post(1), data(1, bytesOf([4], "hello", "\0\0\0\0"), PADDED | END_STREAM)],
    { answer: 200, body: "hello" },
  ],
  [
    "6.1: DATA that are padding only",
    [
      post(1),
      data(1, bytesOf([255], new Uint8Array(255)), PADDED),
      data(1, bytesOf([0]), PADDED),
      data(1, bytesOf([0], "hello"), PADDED | END_STREAM),
    ],
    { answer: 200, body: "hello" },
  ],
  [
    "6.1: DATA with padding as long as the frame are an error",
    [post(1), data(1, bytesOf([6], "hello"), PADDED | END_STREAM)],
    PROTOCOL,
  ],
  [
    "6.1: DATA with more padding than there is are an error",
    [post(1), data(1, bytesOf([255], "hello"), PADDED | END_STREAM)],
    PROTOCOL,
  ],
  [
    "6.1: DATA with padding, and without a byte, are an error",
    [post(1), data(1, "", PADDED | END_STREAM)],
    any(SIZE, PROTOCOL, reset(FRAME_SIZE_ERROR)),
  ],
];

const CONTROL: Row[] = [
  [
    "6.3: PRIORITY on stream 0 is an error",
    [frame(PRIORITY, 0, 0, PRIORITY_OF_0)],
    PROTOCOL,
  ],
  [
    "6.3: PRIORITY of 4 bytes is an error of the stream",
    [WAIT, frame(PRIORITY, 0, 1, u32(0))],
    any(reset(FRAME_SIZE_ERROR), SIZE),
  ],
  [
    "6.3: PRIORITY of 6 bytes is an error of the stream",
    [WAIT, frame(PRIORITY, 0, 1, "123456")],
    any(reset(FRAME_SIZE_ERROR), SIZE),
  ],
  [
    "6.3: PRIORITY with the weights 1 and 256",
    [
      frame(PRIORITY, 0, 1, [...u32(0), 0]),
      frame(PRIORITY, 0, 1, [...u32(0), 255]),
      frame(PRIORITY, 0, 1, [...u32(RESERVED + 99), 255]),
      get(1),
    ],
    OK,
  ],
  [
    "6.4: RST_STREAM on stream 0 is an error",
    [rstStream(0)],
    PROTOCOL,
  ],
  [
    "6.4: RST_STREAM of 3 bytes is an error",
    [WAIT, frame(RST_STREAM, 0, 1, "123")],
    SIZE,
  ],
  [
    "6.4: RST_STREAM of 5 bytes is an error",
    [WAIT, frame(RST_STREAM, 0, 1, "12345")],
    SIZE,
  ],
  [
    "7: RST_STREAM with an unknown code",
    [WAIT, rstStream(1, 0xff), get(3)],
    { answer: 200, on: 3 },
  ],
  [
    "6.5: an acknowledgment with a payload is an error",
    [frame(SETTINGS, ACK, 0, [0, 1, 0, 0, 0, 0])],
    SIZE,
  ],
  ["6.5: SETTINGS on a stream are an error", [
    frame(SETTINGS, 0, 1),
  ], PROTOCOL],
  [
    "6.5: SETTINGS on an open stream are an error",
    [WAIT, frame(SETTINGS, 0, 1, [0, 3, 0, 0, 0, 9])],
    PROTOCOL,
  ],
  [
    "6.5: an acknowledgment on a stream is an error",
    [frame(SETTINGS, ACK, 1)],
    PROTOCOL,
  ],
  ["6.5: SETTINGS of 1 byte are an error", [frame(SETTINGS, 0, 0, "x")], SIZE],
  [
    "6.5: SETTINGS of 7 bytes are an error",
    [frame(SETTINGS, 0, 0, "1234567")],
    SIZE,
  ],
  ["6.5.2: unknown settings are ignored", [
    settings([0xff, MAX], [0, 0], [0xffff, 2 ** 32 - 1], [7, 7]),
  ], OPEN],
  ["6.5.2: SETTINGS_ENABLE_PUSH 0", [settings([2, 0])], OPEN],
  ["6.5.2: SETTINGS_ENABLE_PUSH 1", [settings([2, 1])], OPEN],
  ["6.5.2: SETTINGS_ENABLE_PUSH 2 is an error", [settings([2, 2])], PROTOCOL],
  [
    "6.5.2: SETTINGS_INITIAL_WINDOW_SIZE 2^31-1",
    [settings([4, MAX])],
    OPEN,
  ],
  [
    "6.5.2: SETTINGS_INITIAL_WINDOW_SIZE 2^31 is an error",
    [settings([4, 2 ** 31])],
    { goaway: FLOW_CONTROL_ERROR },
  ],
  [
    "6.5.2: SETTINGS_INITIAL_WINDOW_SIZE 2^32-1 is an error",
    [settings([4, 2 ** 32 - 1])],
    { goaway: FLOW_CONTROL_ERROR },
  ],
  [
    "6.5.2: SETTINGS_MAX_FRAME_SIZE 16384",
    [settings([5, 16384])],
    OPEN,
  ],
  [
    "6.5.2: SETTINGS_MAX_FRAME_SIZE 2^24-1",
    [settings([5, 2 ** 24 - 1])],
    OPEN,
  ],
  [
    "6.5.2: SETTINGS_MAX_FRAME_SIZE 16383 is an error",
    [settings([5, 16383])],
    PROTOCOL,
  ],
  [
    "6.5.2: SETTINGS_MAX_FRAME_SIZE 2^24 is an error",
    [settings([5, 2 ** 24])],
    PROTOCOL,
  ],
  [
    "6.5.2: SETTINGS_MAX_FRAME_SIZE 0 is an error",
    [settings([5, 0])],
    PROTOCOL,
  ],
  [
    "6.5.2: SETTINGS_MAX_CONCURRENT_STREAMS 0 is for pushes",
    [settings([3, 0]), get(1)],
    OK,
  ],
  [
    "6.5.3: the last value of a setting counts",
    [settings([4, 0], [4, 65535]), get(1)],
    OK,
  ],
  [
    "8.4: PUSH_PROMISE of a client is an error",
    [
      post(1, "/wait"),
      frame(PUSH_PROMISE, END_HEADERS, 1, bytesOf(u32(2), block(GET_ROOT))),
    ],
    PROTOCOL,
  ],
  [
    "8.4: PUSH_PROMISE on stream 0 is an error",
    [frame(PUSH_PROMISE, END_HEADERS, 0, bytesOf(u32(2), block(GET_ROOT)))],
    PROTOCOL,
  ],
  ["6.7: PING on a stream is an error", [
    frame(PING, 0, 1, "12345678"),
  ], PROTOCOL],
  ["6.7: PING of 7 bytes is an error", [frame(PING, 0, 0, "1234567")], SIZE],
  ["6.7: PING of 9 bytes is an error", [frame(PING, 0, 0, "123456789")], SIZE],
  ["6.7: PING without payload is an error", [frame(PING, 0, 0)], SIZE],
  [
    "6.7: an answer to PING of 7 bytes is an error",
    [ping("1234567", ACK)],
    SIZE,
  ],
  [
    "6.7: an answer to a PING that never was is ignored",
    [ping("12345678", ACK), ping("\x01\0\0\0\0\0\0\0", ACK)],
    OPEN,
  ],
  [
    "6.8: GOAWAY on a stream is an error",
    [WAIT, frame(GOAWAY, 0, 1, [...u32(0), ...u32(0)])],
    PROTOCOL,
  ],
  [
    "6.8: GOAWAY of 7 bytes is an error",
    [frame(GOAWAY, 0, 0, "1234567")],
    SIZE,
  ],
  [
    "6.9: WINDOW_UPDATE of 0 on the connection is an error",
    [windowUpdate(0, 0)],
    PROTOCOL,
  ],
  [
    "6.9: WINDOW_UPDATE of 0 on a stream is an error of the stream",
    [WAIT, windowUpdate(1, 0)],
    any(reset(PROTOCOL_ERROR), PROTOCOL),
  ],
  [
    "6.9: WINDOW_UPDATE of 0 besides the reserved bit is an error",
    [windowUpdate(0, RESERVED)],
    PROTOCOL,
  ],
  [
    "6.9: WINDOW_UPDATE of 3 bytes is an error",
    [frame(WINDOW_UPDATE, 0, 0, "123")],
    SIZE,
  ],
  [
    "6.9: WINDOW_UPDATE of 5 bytes is an error",
    [frame(WINDOW_UPDATE, 0, 0, "12345")],
    SIZE,
  ],
  [
    "6.9: WINDOW_UPDATE of 3 bytes on a stream is an error",
    [WAIT, frame(WINDOW_UPDATE, 0, 1, "123")],
    SIZE,
  ],
  [
    "6.9.1: a window of the connection of 2^31-1",
    [windowUpdate(0, MAX - 65535)],
    OPEN,
  ],
  [
    "6.9.1: a window of the connection of 2^31 is an error",
    [windowUpdate(0, MAX - 65535), windowUpdate(0, 1)],
    { goaway: FLOW_CONTROL_ERROR },
  ],
  [
    "6.9.1: a window of a stream of 2^31-1",
    [WAIT, windowUpdate(1, MAX - 65535)],
    OPEN,
  ],
  [
    "6.9.1: a window of a stream of 2^31 is an error of the stream",
    [WAIT, windowUpdate(1, MAX - 65535), windowUpdate(1, 1)],
    reset(FLOW_CONTROL_ERROR),
  ],
  [
    "6.9.2: settings that make a window of 2^31 are an error",
    [WAIT, windowUpdate(1, MAX - 65535), settings([4, 65536])],
    { goaway: FLOW_CONTROL_ERROR },
  ],
];

describe("serve() over HTTP/2: the preface", () => testRows(PREFACES));
describe("serve() over HTTP/2: frames", () => testRows(FRAMES));
describe("serve() over HTTP/2: streams", () => testRows(STATES));
describe("serve() over HTTP/2: DATA", () => testRows(DATA_ROWS));
describe("serve() over HTTP/2: control", () => testRows(CONTROL));

describe("serve() over HTTP/2: what it says", () => {
  test("serve() begins with SETTINGS, and acknowledges ours (3.4, 6.5.3)", async () => {
    await withH2(rowHandler, async (peer) => {
      const first = await peer.next();
      assertEquals([first?.type, first!.flags & ACK], [SETTINGS, 0]);
      await peer.until(
        (f) => f.type === SETTINGS && (f.flags & ACK) !== 0,
        "an acknowledgment",
      );
      // No server may say that it takes pushes (6.5.2).
      assert((peer.settings.get(2) ?? 0) === 0);
    });
  });

  test("serve() takes a preface byte by byte (3.4)", async () => {
    await withH2(rowHandler, async (peer) => {
      const all = bytesOf(PREFACE, settings(), get(1));
      for (let i = 1; i < all.length; i++) {
        await peer.sendAll(all.subarray(i, i + 1));
        if (i % 8 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
      assertEquals((await peer.response(1)).body, "ok");
    }, { greeting: PREFACE.subarray(0, 1), acknowledge: false });
  });

  test("serve() still answers HTTP/1.1 on the same port", async () => {
    await withServer(
      rowHandler,
      { protocols: ["h2", "http/1.1"] },
      async (server) => {
        for (const method of ["GET", "POST", "PRINT", "PRI"]) {
          const text = await exchange(
            server,
            `${method} / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n` +
              "connection: close\r\n\r\n",
          );
          assert(text.startsWith("HTTP/1.1 200 "), text);
        }
      },
    );
  });

  test("serve() does not answer HTTP/1.1 where only HTTP/2 is spoken", async () => {
    await withServer(rowHandler, { protocols: ["h2"] }, async (server) => {
      const text = await exchange(server, "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
      assert(!text.includes("200 OK"), text);
    });
  });

  test("serve() tells with GOAWAY which streams it has taken (6.8)", async () => {
    await withH2(rowHandler, async (peer) => {
      peer.send(get(1), get(7));
      await peer.response(7);
      peer.send(frame(PING, 0, 0, "short"));
      const { payload } = await peer.goAway(FRAME_SIZE_ERROR);
      assertEquals([...payload.subarray(0, 4)], u32(7));
      await peer.closed();
    });
  });

  test("serve() answers PING with the same bytes, and first (6.7)", async () => {
    await withH2(rowHandler, async (peer) => {
      peer.send(get(1), ping("\0\xff\x01abcde"));
      const pong = await peer.until((f) => f.type === PING, "PING");
      assertEquals(pong.flags & ACK, ACK);
      assertEquals([...pong.payload], [...bytesOf("\0\xff\x01abcde")]);
    });
  });

  test("serve() acknowledges each SETTINGS (6.5.3)", async () => {
    await withH2(rowHandler, async (peer) => {
      peer.send(settings([3, 100]), settings(), settings([0x99, 1]));
      await peer.pinged();
      const acks = peer.frames.filter((f) =>
        f.type === SETTINGS && (f.flags & ACK) !== 0
      );
      assertEquals(acks.length, 4);
    });
  });

  test("serve() refuses streams past SETTINGS_MAX_CONCURRENT_STREAMS (5.1.2)", async () => {
    await withH2(rowHandler, async (peer) => {
      await peer.pinged();
      const most = peer.settings.get(3);
      assert(most !== undefined && most >= 100, `${most}`);
      for (let i = 0; i <= most; i++) peer.send(get(2 * i + 1, "/wait"));
      const over = 2 * most + 1;
      await peer.reset(over, REFUSED_STREAM);
      // One less, and there is room again.
      peer.send(rstStream(1), get(over + 2));
      assertEquals((await peer.response(over + 2)).status, 200);
    });
  });

  test("serve() sends no frame larger than 16384 unless allowed (4.2)", async () => {
    await withH2(
      () =>
        new Response("x".repeat(100_000), {
          headers: { a: "b".repeat(40_000) },
        }),
      async (peer) => {
        peer.send(windowUpdate(0, 1 << 20), windowUpdate(0, 1));
        peer.send(settings([4, 1 << 20]), get(1));
        const { status, body, fields } = await peer.response(1);
        assertEquals([status, body.length], [200, 100_000]);
        assertEquals(fields[fields.indexOf("a") + 1].length, 40_000);
        assert(peer.frames.every((f) => f.payload.length <= 16384));
        const at = peer.frames.findIndex((f) => f.type === HEADERS);
        assertEquals(peer.frames[at + 1].type, CONTINUATION);
      },
    );
  });
});

describe("serve() over HTTP/2: flow control", () => {
  /** Bytes of DATA on a stream so far. */
  function sent(
    frames: readonly { type: number; stream: number; payload: Uint8Array }[],
    stream: number,
  ): number {
    return frames.filter((f) => f.type === DATA && f.stream === stream)
      .reduce((n, f) => n + f.payload.length, 0);
  }

  test("serve() sends no more than the window of a stream (6.9.1)", async () => {
    await withH2(rowHandler, async (peer) => {
      peer.send(settings([4, 1]), get(1, "/large"));
      await peer.until((f) => f.type === DATA, "DATA");
      await peer.pinged();
      assertEquals(sent(peer.frames, 1), 1);
      peer.send(windowUpdate(1, 9));
      await peer.until((f) => f.type === DATA, "DATA");
      await peer.pinged("ping-two");
      assertEquals(sent(peer.frames, 1), 10);
    });
  });

  test("serve() sends nothing with a window of 0, but the head (6.9.2)", async () => {
    await withH2(rowHandler, async (peer) => {
      peer.send(settings([4, 0]), get(1, "/large"), get(3, "/empty"));
      await peer.until((f) => f.fields !== undefined, "HEADERS");
      await peer.until((f) => f.fields !== undefined, "HEADERS");
      await peer.pinged();
      assertEquals(sent(peer.frames, 1), 0);
      // Settings open the windows of streams that are there.
      peer.send(settings([4, 10]));
      await peer.until((f) => f.type === DATA, "DATA");
      await peer.pinged("ping-two");
      assertEquals(sent(peer.frames, 1), 10);
    });
  });

  test("serve() keeps track of a window below 0 (6.9.2)", async () => {
    await withH2(rowHandler, async (peer) => {
      peer.send(settings([4, 100]), get(1, "/large"));
      await peer.until((f) => f.type === DATA, "DATA");
      // 100 are sent: the window is -90 now.
      peer.send(settings([4, 10]), windowUpdate(1, 90));
      await peer.pinged();
      assertEquals(sent(peer.frames, 1), 100);
      peer.send(windowUpdate(1, 7));
      await peer.until((f) => f.type === DATA, "DATA");
      await peer.pinged("ping-two");
      assertEquals(sent(peer.frames, 1), 107);
    });
  });

  test("serve() sends no more than the window of the connection (6.9.1)", async () => {
    await withH2(rowHandler, async (peer) => {
      peer.send(settings([4, MAX]), get(1, "/large"), get(3, "/large"));
      const all = () => sent(peer.frames, 1) + sent(peer.frames, 3);
      while (all() < 65535) await peer.more();
      await peer.pinged();
      assertEquals(all(), 65535);
      peer.send(windowUpdate(0, 1000));
      while (all() < 66535) await peer.more();
      await peer.pinged("ping-two");
      assertEquals(all(), 66535);
      // A stream that is reset gives way to the other one.
      const gone = sent(peer.frames, 1);
      peer.send(rstStream(1), windowUpdate(0, 300_000));
      while (sent(peer.frames, 3) < 200_000) await peer.more();
      await peer.pinged("pingthre");
      assert(sent(peer.frames, 1) - gone <= 16384);
    });
  });

  test("serve() refuses DATA beyond the window of a stream (6.9.1)", async () => {
    await withH2(rowHandler, async (peer) => {
      await peer.pinged();
      const window = peer.settings.get(4) ?? 65535;
      const connection = 65535 +
        peer.frames.filter((f) => f.type === WINDOW_UPDATE && f.stream === 0)
          .reduce((n, f) => n + f.number, 0);
      peer.send(post(1, "/wait"));
      const most = Math.min(window, connection);
      for (let at = 0; at < most; at += 16384) {
        await peer.sendAll(data(1, new Uint8Array(Math.min(16384, most - at))));
      }
      // As much as is allowed is allowed, though nobody reads.
      await peer.pinged();
      assert(!peer.frames.some((f) => f.type === RST_STREAM), `${peer}`);
      peer.send(data(1, new Uint8Array(16384)));
      const error = await peer.until(
        (f) => f.type === RST_STREAM || f.type === GOAWAY,
        "an error",
      );
      assertEquals(error.number, FLOW_CONTROL_ERROR);
    });
  });

  test("serve() gives back the window of bodies that nobody reads (6.9)", async () => {
    await withH2(rowHandler, async (peer) => {
      await peer.pinged();
      let window = 65535;
      let seen = 0;
      const count = () => {
        for (; seen < peer.frames.length; seen++) {
          const f = peer.frames[seen];
          if (f.type === WINDOW_UPDATE && f.stream === 0) window += f.number;
        }
        return window;
      };
      const began = count();
      const chunk = new Uint8Array(16000);
      let total = 0;
      for (let stream = 1; total < began + 500_000; stream += 2) {
        await peer.sendAll(post(stream, "/"), data(stream, chunk));
        await peer.sendAll(
          data(stream, bytesOf([255], new Uint8Array(255)), PADDED),
        );
        // What comes behind the answer, or behind RST_STREAM, counts as well.
        await peer.pinged(`p${String(stream).padStart(7, "0")}`);
        await peer.sendAll(rstStream(stream));
        total += 16256;
        window -= 16256;
        assert(count() > 16256, `${window} of ${began} left: ${total} sent`);
      }
    });
  });

  test("serve() takes a body larger than its windows when it is read (6.9)", async () => {
    await withH2(
      async (request) =>
        new Response(String((await request.arrayBuffer()).byteLength)),
      async (peer) => {
        await peer.pinged();
        peer.send(post(1));
        let connection = 65535;
        let stream = peer.settings.get(4) ?? 65535;
        let seen = 0;
        let left = 1_000_000;
        while (left > 0) {
          for (; seen < peer.frames.length; seen++) {
            const f = peer.frames[seen];
            if (f.type !== WINDOW_UPDATE) continue;
            if (f.stream === 0) connection += f.number;
            else stream += f.number;
          }
          const size = Math.min(16384, left, connection, stream);
          if (size === 0) {
            await peer.more();
            continue;
          }
          left -= size;
          connection -= size;
          stream -= size;
          await peer.sendAll(
            data(1, new Uint8Array(size), left === 0 ? END_STREAM : 0),
          );
        }
        assertEquals((await peer.response(1)).body, "1000000");
      },
    );
  });
});

/** So many times. */
function times(count: number, make: (i: number) => Uint8Array): Uint8Array {
  return bytesOf(...Array.from({ length: count }, (_, i) => make(i)));
}

const CALM: Want = { goaway: ENHANCE_YOUR_CALM };

const FLOODS: Row[] = [
  [
    "10.5: streams that are reset at once are a flood (rapid reset)",
    [times(
      5000,
      (i) => bytesOf(get(2 * i + 1, "/wait"), rstStream(2 * i + 1)),
    )],
    CALM,
  ],
  [
    "10.5: requests that make the server reset streams are a flood",
    [times(5000, (i) => headers(2 * i + 1, ":method GET"))],
    CALM,
  ],
  [
    "10.5: streams made to be reset by WINDOW_UPDATE of 0 are a flood",
    [
      times(
        5000,
        (i) => bytesOf(get(2 * i + 1, "/wait"), windowUpdate(2 * i + 1, 0)),
      ),
    ],
    any(CALM, PROTOCOL),
  ],
  [
    "10.5: empty CONTINUATION without an end is a flood",
    [BEGUN, times(5000, () => frame(CONTINUATION, 0, 1))],
    any(CALM, PROTOCOL),
  ],
  [
    "10.5.1: a header block without an end is a flood",
    [BEGUN, times(40, () => frame(CONTINUATION, 0, 1, new Uint8Array(16384)))],
    any(CALM, PROTOCOL, { goaway: FRAME_SIZE_ERROR }),
  ],
  ["10.5: SETTINGS are a flood", [times(20_000, () => settings())], CALM],
  ["10.5: PING is a flood", [times(20_000, () => ping())], CALM],
  [
    "10.5: empty DATA are a flood",
    [post(1, "/wait"), times(20_000, () => data(1, ""))],
    CALM,
  ],
  [
    "10.5: DATA of padding only are a flood",
    [post(1, "/wait"), times(20_000, () => data(1, [0], PADDED))],
    CALM,
  ],
  [
    "10.5: empty DATA on a stream that was reset are a flood",
    [headers(1, ":method GET"), times(20_000, () => data(1, ""))],
    CALM,
  ],
  [
    "10.5: streams past the limit are a flood",
    [times(5000, (i) => get(2 * i + 1, "/wait"))],
    CALM,
  ],
  [
    "10.5: PRIORITY is a flood",
    [times(20_000, (i) => frame(PRIORITY, 0, 2 * i + 1, PRIORITY_OF_0))],
    any(CALM, OPEN),
  ],
  [
    "10.5: frames of unknown types are a flood",
    [times(20_000, () => frame(0xfa, 0, 0))],
    any(CALM, OPEN),
  ],
  [
    "10.5: RST_STREAM of closed streams is a flood",
    [get(1), answered(1), times(20_000, () => rstStream(1))],
    any(CALM, OPEN),
  ],
  [
    "10.5: WINDOW_UPDATE by single bytes does no harm",
    [post(1, "/wait"), times(20_000, (i) => windowUpdate(i % 2, 1)), read],
    any(CALM, OPEN),
  ],
];

describe("serve() over HTTP/2: floods", () => {
  testRows(FLOODS);

  test("serve() outlives a client that makes it answer, and does not read", async () => {
    await withH2(rowHandler, async (peer, server) => {
      const flood = times(1000, () => ping());
      for (let i = 0; i < 50; i++) peer.send(flood);
      await peer.goAway(ENHANCE_YOUR_CALM);
      await peer.closed();
      const response = await fetchRoot(server.url);
      assertEquals(response, "ok");
    });
  });
});

async function fetchRoot(url: string): Promise<string> {
  return await (await fetch(url)).text();
}
