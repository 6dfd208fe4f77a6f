// Sequences of WebSocket frames and what must come of them. Written by hand
// from RFC 6455, with a builder of its own, so that it shares no mistake with
// the library's writer.

/** One row: the bytes of the peer, and what the reader must tell. */
export interface Row {
  name: string;
  frames: Frame[];
  /**
   * `text:…`, `bin:HEX`, `text#LENGTH`, `bin#LENGTH`, `ping:HEX`, `pong:HEX`,
   * `close:CODE:REASON`, `fail:CODE`.
   */
  expected: string[];
  maxMessageSize?: number;
  maxFragments?: number;
}

export interface Frame {
  /** First byte: FIN, reserved bits, opcode. */
  first: number;
  payload: Uint8Array;
  /** Turns the mask bit round: as the peer must not send it. */
  wrongMask?: boolean;
  /** Bytes of the length field: 0 (7 bits), 2 or 8. @default the shortest */
  lengthBytes?: 0 | 2 | 8;
  /** The length that is declared. @default the real one */
  declared?: bigint;
  /** Bytes as they are, in place of a frame. */
  raw?: Uint8Array;
}

export function hex(text: string): Uint8Array {
  const digits = text.replace(/\s/g, "");
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = parseInt(digits.slice(i * 2, i * 2 + 2), 16);
  }
  return bytes;
}

export function toHex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of a row; a key that differs by frame when `masked`. */
export function build(frames: Frame[], masked: boolean): Uint8Array {
  const bytes: number[] = [];
  let seed = 0x12345678;
  for (const frame of frames) {
    if (frame.raw !== undefined) {
      for (const byte of frame.raw) bytes.push(byte);
      continue;
    }
    const { payload } = frame;
    const length = frame.declared ?? BigInt(payload.length);
    const lengthBytes = frame.lengthBytes ??
      (length < 126n ? 0 : length < 65536n ? 2 : 8);
    const mask = masked !== (frame.wrongMask ?? false);
    bytes.push(frame.first);
    bytes.push(
      (mask ? 0x80 : 0) |
        (lengthBytes === 0 ? Number(length) : lengthBytes === 2 ? 126 : 127),
    );
    for (let i = lengthBytes - 1; i >= 0; i--) {
      bytes.push(Number(length >> BigInt(8 * i) & 0xffn));
    }
    const key = [0, 0, 0, 0];
    if (mask) {
      for (let i = 0; i < 4; i++) {
        seed = seed * 1103515245 + 12345 & 0x7fffffff;
        key[i] = seed >> 16 & 0xff;
        bytes.push(key[i]);
      }
    }
    for (let i = 0; i < payload.length; i++) {
      bytes.push(payload[i] ^ key[i & 3]);
    }
  }
  return Uint8Array.from(bytes);
}

const utf8 = new TextEncoder();
const FIN = 0x80;

function data(payload: string | Uint8Array): Uint8Array {
  return typeof payload === "string" ? utf8.encode(payload) : payload;
}
function text(payload: string | Uint8Array, fin = true): Frame {
  return { first: (fin ? FIN : 0) | 1, payload: data(payload) };
}
function bin(payload: string | Uint8Array, fin = true): Frame {
  return { first: (fin ? FIN : 0) | 2, payload: data(payload) };
}
function more(payload: string | Uint8Array, fin = false): Frame {
  return { first: fin ? FIN : 0, payload: data(payload) };
}
function last(payload: string | Uint8Array): Frame {
  return more(payload, true);
}
function ping(payload: string | Uint8Array = ""): Frame {
  return { first: FIN | 9, payload: data(payload) };
}
function pong(payload: string | Uint8Array = ""): Frame {
  return { first: FIN | 10, payload: data(payload) };
}
function close(code?: number, reason: string | Uint8Array = ""): Frame {
  const tail = data(reason);
  const payload = code === undefined
    ? tail
    : Uint8Array.from([code >> 8, code & 0xff, ...tail]);
  return { first: FIN | 8, payload };
}
function first(byte: number, payload: string | Uint8Array = ""): Frame {
  return { first: byte, payload: data(payload) };
}
function raw(bytes: Uint8Array): Frame {
  return { first: 0, payload: new Uint8Array(0), raw: bytes };
}
function size(length: number, byte = 0x61): Uint8Array {
  return new Uint8Array(length).fill(byte);
}

export const rows: Row[] = [];

function row(
  name: string,
  frames: Frame[],
  expected: string[],
  limits: { maxMessageSize?: number; maxFragments?: number } = {},
): void {
  rows.push({ name, frames, expected, ...limits });
}

// Whole messages.
row("nothing", [], []);
row("a text", [text("Hello")], ["text:Hello"]);
row("an empty text", [text("")], ["text:"]);
row("a text of one character", [text("x")], ["text:x"]);
row("a text in several alphabets", [text("naïve Ω漢字😀")], [
  "text:naïve Ω漢字😀",
]);
row("a text with a byte order mark", [text(hex("efbbbf61"))], ["text:\ufeffa"]);
row("a text with NUL", [text("a\0b")], ["text:a\0b"]);
row("a binary", [bin(hex("00ff10"))], ["bin:00ff10"]);
row("an empty binary", [bin("")], ["bin:"]);
row("a binary that would be bad UTF-8", [bin(hex("ff"))], ["bin:ff"]);
row("two texts", [text("a"), text("b")], ["text:a", "text:b"]);
row("text, binary, text", [text("a"), bin("b"), text("c")], [
  "text:a",
  "bin:62",
  "text:c",
]);
row("empty messages in a row", [text(""), bin(""), text("")], [
  "text:",
  "bin:",
  "text:",
]);
row(
  "many small messages",
  Array.from({ length: 40 }, (_, i) => text(`${i}`)),
  Array.from({ length: 40 }, (_, i) => `text:${i}`),
);
for (const length of [23, 24, 25, 47, 48, 49, 95, 96, 97, 98, 99, 100]) {
  row(`a text of ${length} bytes`, [text(size(length))], [
    `text:${"a".repeat(length)}`,
  ]);
}
for (const length of [124, 125, 126, 127, 128, 255, 256, 1000, 4095, 4096]) {
  row(`a binary of ${length} bytes`, [bin(size(length))], [`bin#${length}`]);
}
for (const length of [65535, 65536, 65537, 70001]) {
  row(`a binary of ${length} bytes`, [bin(size(length)), text("z")], [
    `bin#${length}`,
    "text:z",
  ]);
  row(`a text of ${length} bytes`, [text(size(length)), text("z")], [
    `text#${length}`,
    "text:z",
  ]);
}

// Fragments.
row("two fragments of text", [text("Hel", false), last("lo")], ["text:Hello"]);
row("two fragments of binary", [bin("ab", false), last("cd")], [
  "bin:61626364",
]);
row("five fragments", [
  text("a", false),
  more("b"),
  more("c"),
  more("d"),
  last("e"),
], ["text:abcde"]);
row("fragments, all empty", [text("", false), more(""), last("")], ["text:"]);
row("binary fragments, all empty", [bin("", false), more(""), last("")], [
  "bin:",
]);
row("empty fragments around one", [
  text("", false),
  more("abc"),
  more(""),
  last(""),
], ["text:abc"]);
row("all in the last fragment", [bin("", false), last("abc")], ["bin:616263"]);
row("all in the last fragment of a text", [text("", false), last("abc")], [
  "text:abc",
]);
row("all in the first fragment", [bin("abc", false), last("")], ["bin:616263"]);
row("fragmented twice", [
  text("a", false),
  last("b"),
  bin("c", false),
  last("d"),
], ["text:ab", "bin:6364"]);
row("a whole one after a fragmented one", [
  text("a", false),
  last("b"),
  text("c"),
], ["text:ab", "text:c"]);
row("fragments of many sizes", [
  bin(size(200), false),
  more(size(1)),
  more(size(4096)),
  last(size(3)),
], ["bin#4300"]);
row("100 fragments", [
  text("0", false),
  ...Array.from({ length: 98 }, () => more("1")),
  last("2"),
], [`text:0${"1".repeat(98)}2`]);
row("a message without an end", [text("abc", false), more("d")], []);
row("a head without its payload", [raw(hex("82"))], []);

// Control frames.
row("a ping", [ping()], ["ping:"]);
row("a ping with data", [ping("hi")], ["ping:6869"]);
row("a ping of 125 bytes", [ping(size(125))], [`ping:${"61".repeat(125)}`]);
row("a pong", [pong()], ["pong:"]);
row("a pong with data", [pong(hex("00ff"))], ["pong:00ff"]);
row("ping, pong, ping", [ping("1"), pong("2"), ping("3")], [
  "ping:31",
  "pong:32",
  "ping:33",
]);
row("a ping between messages", [text("a"), ping("p"), text("b")], [
  "text:a",
  "ping:70",
  "text:b",
]);
row("a ping between fragments", [text("a", false), ping("p"), last("b")], [
  "ping:70",
  "text:ab",
]);
row("a pong between fragments", [bin("a", false), pong("p"), last("b")], [
  "pong:70",
  "bin:6162",
]);
row("pings between all fragments", [
  text("a", false),
  ping("1"),
  more("b"),
  ping("2"),
  ping("3"),
  last("c"),
  ping("4"),
], ["ping:31", "ping:32", "ping:33", "text:abc", "ping:34"]);
row("a ping within a character", [
  text(hex("e6bc"), false),
  ping("p"),
  last(hex("a2")),
], ["ping:70", "text:漢"]);
row("a close between fragments", [text("a", false), close(1001)], [
  "close:1001:",
]);
row("a ping of 126 bytes", [ping(size(126))], ["fail:1002"]);
row("a pong of 126 bytes", [pong(size(126))], ["fail:1002"]);
row("a ping of 70000 bytes", [ping(size(70000))], ["fail:1002"]);
row("a close of 126 bytes", [close(1000, size(124))], ["fail:1002"]);
row("a ping with a long form of a short length", [
  { ...ping("a"), lengthBytes: 2 },
], ["fail:1002"]);
row("a fragmented ping", [first(9, "a"), last("b")], ["fail:1002"]);
row("a fragmented pong", [first(10, "a")], ["fail:1002"]);
row("a fragmented close", [first(8, hex("03e8"))], ["fail:1002"]);
row("a message, then a fragmented ping", [text("a"), first(9)], [
  "text:a",
  "fail:1002",
]);

// Order of opcodes.
row("a continuation first", [last("a")], ["fail:1002"]);
row("a continuation first, not the last", [more("a")], ["fail:1002"]);
row("an empty continuation first", [last("")], ["fail:1002"]);
row("a continuation after a whole message", [text("a"), last("b")], [
  "text:a",
  "fail:1002",
]);
row("a continuation after the last", [
  text("a", false),
  last("b"),
  last("c"),
], ["text:ab", "fail:1002"]);
row("a text within a text", [text("a", false), text("b")], ["fail:1002"]);
row("a binary within a text", [text("a", false), bin("b")], ["fail:1002"]);
row("a text within a binary", [bin("a", false), text("b")], ["fail:1002"]);
row("a fragment within a message", [text("a", false), text("b", false)], [
  "fail:1002",
]);
row("a text within a text after a ping", [
  text("a", false),
  ping(),
  text("b"),
], ["ping:", "fail:1002"]);

// Reserved bits and opcodes.
for (const bit of [0x40, 0x20, 0x10, 0x70]) {
  const name = bit.toString(16);
  row(`reserved bits ${name} on a text`, [first(FIN | bit | 1, "a")], [
    "fail:1002",
  ]);
  row(`reserved bits ${name} on a ping`, [first(FIN | bit | 9)], ["fail:1002"]);
}
row("a reserved bit on a continuation", [text("a", false), first(0xc0, "b")], [
  "fail:1002",
]);
row("a reserved bit on a close", [first(FIN | 0x40 | 8, hex("03e8"))], [
  "fail:1002",
]);
row("a reserved bit on the second message", [text("a"), first(0xc1, "b")], [
  "text:a",
  "fail:1002",
]);
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  row(`opcode ${opcode}`, [first(FIN | opcode)], ["fail:1002"]);
}
row("opcode 3, not the last", [first(3, "a")], ["fail:1002"]);
row("opcode 11 with data", [first(FIN | 11, "abc")], ["fail:1002"]);
row("opcode 5 within a message", [text("a", false), first(FIN | 5)], [
  "fail:1002",
]);

// Masking.
row("a text masked the wrong way", [{ ...text("a"), wrongMask: true }], [
  "fail:1002",
]);
row("an empty text masked the wrong way", [{ ...text(""), wrongMask: true }], [
  "fail:1002",
]);
row("a ping masked the wrong way", [{ ...ping(), wrongMask: true }], [
  "fail:1002",
]);
row("a close masked the wrong way", [{ ...close(1000), wrongMask: true }], [
  "fail:1002",
]);
row("the second message masked the wrong way", [
  text("a"),
  { ...text("b"), wrongMask: true },
], ["text:a", "fail:1002"]);
row("a continuation masked the wrong way", [
  text("a", false),
  { ...last("b"), wrongMask: true },
], ["fail:1002"]);

// Lengths.
row("16 bits for 0", [{ ...text(""), lengthBytes: 2 }], ["fail:1002"]);
row("16 bits for 125", [{ ...bin(size(125)), lengthBytes: 2 }], ["fail:1002"]);
row("64 bits for 0", [{ ...text(""), lengthBytes: 8 }], ["fail:1002"]);
row("64 bits for 125", [{ ...bin(size(125)), lengthBytes: 8 }], ["fail:1002"]);
row("64 bits for 126", [{ ...bin(size(126)), lengthBytes: 8 }], ["fail:1002"]);
row("64 bits for 65535", [{ ...bin(size(65535)), lengthBytes: 8 }], [
  "fail:1002",
]);
row("64 bits with the highest one set", [
  { ...bin("a"), declared: 1n << 63n, lengthBytes: 8 },
], ["fail:1002"]);
row("64 bits, all set", [
  { ...bin("a"), declared: (1n << 64n) - 1n, lengthBytes: 8 },
], ["fail:1002"]);
row("2⁶³ − 1 bytes", [
  { ...bin("a"), declared: (1n << 63n) - 1n, lengthBytes: 8 },
], ["fail:1009"]);
row("2⁵³ bytes", [{ ...bin("a"), declared: 1n << 53n, lengthBytes: 8 }], [
  "fail:1009",
]);
row("2³² bytes", [{ ...text("a"), declared: 1n << 32n, lengthBytes: 8 }], [
  "fail:1009",
]);

// Limits.
const ten = { maxMessageSize: 10 };
row("a message as large as the limit", [bin(size(10))], ["bin#10"], ten);
row("a message over the limit", [bin(size(11))], ["fail:1009"], ten);
row("a text over the limit", [text(size(11))], ["fail:1009"], ten);
row(
  "over the limit by its head alone",
  [
    { ...bin(""), declared: 11n, lengthBytes: 0 },
  ],
  ["fail:1009"],
  ten,
);
row("fragments up to the limit", [bin(size(5), false), last(size(5))], [
  "bin#10",
], ten);
row("fragments over the limit", [bin(size(5), false), last(size(6))], [
  "fail:1009",
], ten);
row(
  "empty fragments at the limit",
  [
    bin(size(10), false),
    more(""),
    last(""),
  ],
  ["bin#10"],
  ten,
);
row(
  "the third fragment over the limit",
  [
    bin(size(5), false),
    more(size(5)),
    more(size(1)),
  ],
  ["fail:1009"],
  ten,
);
row("the limit begins anew", [bin(size(10)), bin(size(10))], [
  "bin#10",
  "bin#10",
], ten);
row(
  "a ping is no message",
  [ping(size(125))],
  [`ping:${"61".repeat(125)}`],
  ten,
);
row("characters count as bytes", [text("漢字漢字")], ["fail:1009"], ten);
row("no message but empty ones", [text(""), bin("a")], [
  "text:",
  "fail:1009",
], { maxMessageSize: 0 });
const three = { maxFragments: 3 };
row(
  "as many fragments as the limit",
  [
    bin("a", false),
    more("b"),
    last("c"),
  ],
  ["bin:616263"],
  three,
);
row(
  "more fragments than the limit",
  [
    bin("a", false),
    more("b"),
    more("c"),
    last("d"),
  ],
  ["fail:1009"],
  three,
);
row(
  "more empty fragments than the limit",
  [
    bin("", false),
    more(""),
    more(""),
    more(""),
  ],
  ["fail:1009"],
  three,
);
row(
  "pings are no fragments",
  [
    bin("a", false),
    ping(),
    ping(),
    ping(),
    more("b"),
    last("c"),
  ],
  ["ping:", "ping:", "ping:", "bin:616263"],
  three,
);
row(
  "the fragments are counted anew",
  [
    bin("a", false),
    more("b"),
    last("c"),
    bin("a", false),
    more("b"),
    last("c"),
  ],
  ["bin:616263", "bin:616263"],
  three,
);

// Closing.
row("a close without a code", [close()], ["close:1005:"]);
row("a close with a code", [close(1000)], ["close:1000:"]);
row("a close with a reason", [close(1000, "bye")], ["close:1000:bye"]);
row("a close with a reason in UTF-8", [close(1001, "адью😀")], [
  "close:1001:адью😀",
]);
row("a close with the longest reason", [close(1000, size(123))], [
  `close:1000:${"a".repeat(123)}`,
]);
row("a close of one byte", [close(undefined, hex("03"))], ["fail:1002"]);
row("data after a close", [close(1000), text("a"), ping()], ["close:1000:"]);
row("garbage after a close", [close(1000), raw(hex("ffffffffff"))], [
  "close:1000:",
]);
row("two closes", [close(1000), close(1001)], ["close:1000:"]);
row("a close after messages", [text("a"), close(3000, "x")], [
  "text:a",
  "close:3000:x",
]);
for (
  const code of [1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013]
) row(`close code ${code}`, [close(code)], [`close:${code}:`]);
for (const code of [1014, 3000, 3999, 4000, 4999]) {
  row(`close code ${code}`, [close(code)], [`close:${code}:`]);
}
for (
  const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999]
) row(`close code ${code}`, [close(code)], ["fail:1002"]);
for (const code of [5000, 65535]) {
  row(`close code ${code}`, [close(code)], ["fail:1002"]);
}
row("a reason that is not UTF-8", [close(1000, hex("ff"))], ["fail:1007"]);
row("a reason cut within a character", [close(1000, hex("e282"))], [
  "fail:1007",
]);

// UTF-8.
const good: [string, string][] = [
  ["the first of 2 bytes", "c280"],
  ["the last of 2 bytes", "dfbf"],
  ["the first of 3 bytes", "e0a080"],
  ["the last before the surrogates", "ed9fbf"],
  ["the first after the surrogates", "ee8080"],
  ["the last of 3 bytes", "efbfbf"],
  ["the first of 4 bytes", "f0908080"],
  ["the last there is", "f48fbfbf"],
  ["a noncharacter", "efb790"],
];
for (const [name, bytes] of good) {
  const decoded = new TextDecoder("utf-8", { ignoreBOM: true }).decode(
    hex(bytes),
  );
  row(`${name}`, [text(hex(bytes))], [`text:${decoded}`]);
  row(`${name}, a byte a fragment`, [
    text("", false),
    ...[...hex(bytes)].map((byte) => more(Uint8Array.of(byte))),
    last(""),
  ], [`text:${decoded}`]);
}
const bad: [string, string][] = [
  ["a lone continuation byte", "80"],
  ["2 bytes cut short", "c2"],
  ["3 bytes cut short", "e0a0"],
  ["4 bytes cut short", "f09080"],
  ["a lead byte before ASCII", "c241"],
  ["an overlong slash", "c0af"],
  ["an overlong NUL", "c080"],
  ["an overlong form of 3 bytes", "e09fbf"],
  ["an overlong form of 4 bytes", "f08fbfbf"],
  ["a high surrogate", "eda080"],
  ["a low surrogate", "edbfbf"],
  ["a pair of surrogates", "eda080edb080"],
  ["past the last there is", "f4908080"],
  ["a lead byte of 5", "f888808080"],
  ["a lead byte of 6", "fc8480808080"],
  ["byte fe", "fe"],
  ["byte ff", "ff"],
  ["good text before a bad byte", "48656c6c6fff"],
  ["a bad byte behind 40 good ones", "61".repeat(40) + "c0"],
];
for (const [name, bytes] of bad) {
  row(`${name}`, [text(hex(bytes))], ["fail:1007"]);
  row(`${name}, a byte a fragment`, [
    text("", false),
    ...[...hex(bytes)].map((byte) => more(Uint8Array.of(byte))),
    last(""),
  ], ["fail:1007"]);
}
row("a bad byte in a text that never ends", [text(hex("61ff"), false)], [
  "fail:1007",
]);
row("a bad byte in a frame that is not whole", [
  { ...text(hex("61ff62")), declared: 100n },
], ["fail:1007"]);
row("a surrogate found before the end", [
  text(hex("eda0"), false),
  ping(),
], ["fail:1007"]);
row("a bad text after good ones", [text("a"), text(hex("c3"))], [
  "text:a",
  "fail:1007",
]);
row("nothing is told after a failure", [text(hex("ff")), text("a"), close()], [
  "fail:1007",
]);
row("a large text, bad at its end", [
  text(Uint8Array.from([...size(5000), 0xc3])),
], ["fail:1007"]);
row("a large text of 3-byte characters", [text("漢".repeat(3000))], [
  "text#3000",
]);

// What is not WebSocket at all.
row("an HTTP request", [
  raw(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
], ["fail:1002"]);
row("zeros", [raw(new Uint8Array(64))], ["fail:1002"]);
row("ones", [raw(size(64, 0xff))], ["fail:1002"]);
