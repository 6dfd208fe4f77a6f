import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { constants, deflateRawSync } from "node:zlib";
import { serve } from "../http/mod.ts";
import type { HttpServer } from "../http/mod.ts";
import { affordable, Deflate, Deflater, Inflater } from "../ws/_deflate.ts";
import {
  acceptDeflate,
  checkDeflate,
  offerDeflate,
  parseExtensions,
} from "../ws/_extensions.ts";
import { FrameReader } from "../ws/_frame_reader.ts";
import { acceptKey } from "../ws/_handshake.ts";
import { takesDictionary } from "../ws/_node_zlib.ts";
import { compressOf } from "../ws/_options.ts";
import type { CompressSettings } from "../ws/_options.ts";
import { connect, HandshakeError, upgrade } from "../ws/mod.ts";
import type { CompressOptions, Message, Socket } from "../ws/mod.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { build, hex } from "./_ws_frames.ts";
import type { Frame } from "./_ws_frames.ts";
import { WsClient, WsServer } from "./_ws_package.ts";
import { RawClient } from "./_ws_raw.ts";
import { summary } from "./_ws_support.ts";
import { engines, until, within } from "./_support.ts";

const local = { port: 0, hostname: "127.0.0.1" };
const encoder = new TextEncoder();

function settings(options: CompressOptions = {}): CompressSettings {
  return compressOf(options, "test")!;
}

/** A message's payload as a sender compresses it. */
function pack(data: string | Uint8Array, bits = 15): Uint8Array {
  const out = deflateRawSync(data, {
    windowBits: bits,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  return new Uint8Array(out.subarray(0, out.length - 4));
}

/** Words that compress well, but not to nothing. */
function words(count: number, seed = 1): string {
  const list: string[] = [];
  let state = seed;
  for (let i = 0; i < count; i++) {
    state = (state * 48271) % 2147483647;
    list.push(
      ["alpha", "beta", "gamma", "delta", `${state % 1000}`][state % 5],
    );
  }
  return list.join(" ");
}

const noise = crypto.getRandomValues(new Uint8Array(20_000));
const MESSAGES: Message[] = [
  "",
  "small",
  words(300),
  words(300),
  words(8000, 7),
  "é漢😀".repeat(5000),
  new Uint8Array(0),
  new Uint8Array(100_000),
  noise,
  noise,
  encoder.encode(words(2000, 3)),
];

describe("parseExtensions()", () => {
  test("reads names, parameters and quoted values", () => {
    const read = (field: string) =>
      parseExtensions(field)?.map(({ name, params }) => [
        name,
        params && [...params],
      ]);
    assertEquals(read("a"), [["a", []]]);
    assertEquals(read(' a ; b ; c=1 ,\td; e = "2"'), [
      ["a", [["b", undefined], ["c", "1"]]],
      ["d", [["e", "2"]]],
    ]);
    assertEquals(read('a; b="\\1\\5"'), [["a", [["b", "15"]]]]);
    assertEquals(read("a; b; b"), [["a", undefined]]);
    // RFC 9110, 5.6.1.2
    assertEquals(read(", ,a,\t, b ; c,,"), [["a", []], ["b", [[
      "c",
      undefined,
    ]]]]);
  });

  test("refuses what is malformed", () => {
    for (
      const field of [
        "",
        ",",
        " , ,",
        "a;",
        "a;,b",
        "a; b,,;",
        "a;;b",
        "a; =1",
        "a; b=",
        'a; b="',
        'a; b="1',
        'a; b=""',
        'a; b="1 2"',
        'a; b="1"2',
        "a b",
        "a; b c",
        "a; b=1=2",
        "a=1",
        "é",
        "(a)",
      ]
    ) assertEquals(parseExtensions(field), undefined, field);
  });
});

describe("acceptDeflate()", () => {
  const plain = settings({
    serverNoContextTakeover: false,
    clientNoContextTakeover: false,
  });
  const rows: [
    offer: string,
    answer: string | undefined | null,
    own?: CompressSettings,
  ][] = [
    ["permessage-deflate", "permessage-deflate"],
    ["x, permessage-deflate", "permessage-deflate"],
    [
      "permessage-deflate; server_no_context_takeover",
      "permessage-deflate; server_no_context_takeover",
    ],
    [
      "permessage-deflate; client_no_context_takeover",
      "permessage-deflate; client_no_context_takeover",
    ],
    [
      "permessage-deflate; server_max_window_bits=9",
      "permessage-deflate; server_max_window_bits=9",
    ],
    [
      "permessage-deflate; server_max_window_bits=15",
      "permessage-deflate; server_max_window_bits=15",
    ],
    ["permessage-deflate; client_max_window_bits", "permessage-deflate"],
    [
      "permessage-deflate; client_max_window_bits=8",
      "permessage-deflate; client_max_window_bits=8",
    ],
    [
      'permessage-deflate; client_max_window_bits="10"',
      "permessage-deflate; client_max_window_bits=10",
    ],
    // One bad offer is passed over, and the next one is looked at.
    [
      "permessage-deflate; server_max_window_bits=7, permessage-deflate",
      "permessage-deflate",
    ],
    ["permessage-deflate; server_max_window_bits", undefined],
    ["permessage-deflate; server_max_window_bits=7", undefined],
    ["permessage-deflate; server_max_window_bits=16", undefined],
    ["permessage-deflate; server_max_window_bits=08", undefined],
    ["permessage-deflate; server_max_window_bits=1e1", undefined],
    ["permessage-deflate; client_max_window_bits=0", undefined],
    ["permessage-deflate; server_no_context_takeover=1", undefined],
    ["permessage-deflate; client_no_context_takeover=true", undefined],
    ["permessage-deflate; unknown", undefined],
    [
      "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
      undefined,
    ],
    ["x-webkit-deflate-frame", undefined],
    ["permessage-deflate;", null],
    ["", null],
    [
      "permessage-deflate",
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
      settings(),
    ],
    [
      "permessage-deflate",
      "permessage-deflate; server_max_window_bits=10",
      { ...plain, serverMaxWindowBits: 10 },
    ],
    [
      "permessage-deflate; server_max_window_bits=9",
      "permessage-deflate; server_max_window_bits=9",
      { ...plain, serverMaxWindowBits: 10 },
    ],
    // This client cannot be told to keep to a smaller window.
    ["permessage-deflate", undefined, { ...plain, clientMaxWindowBits: 10 }],
    [
      "permessage-deflate; client_max_window_bits",
      "permessage-deflate; client_max_window_bits=10",
      { ...plain, clientMaxWindowBits: 10 },
    ],
  ];
  for (const [offer, answer, own] of rows) {
    const name = answer === null
      ? "finds malformed"
      : answer === undefined
      ? "declines"
      : "accepts";
    test(`${name}: ${offer}${own === undefined ? "" : " (own limits)"}`, () => {
      const agreed = acceptDeflate(offer, own ?? plain);
      assertEquals(agreed && agreed.extensions, answer);
    });
  }

  test("gives nothing when nothing was offered", () => {
    assertEquals(acceptDeflate(null, plain), undefined);
  });
});

describe("checkDeflate()", () => {
  const own = settings({ serverMaxWindowBits: 12, clientMaxWindowBits: 11 });

  test("takes what keeps to the offer", () => {
    assertEquals(
      offerDeflate(own),
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=11",
    );
    assertEquals(
      checkDeflate(
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        own,
      ),
      {
        extensions:
          "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        server: { bits: 10, takeover: false },
        client: { bits: 11, takeover: false },
      },
    );
  });

  const bad = [
    "",
    "x",
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=13",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; a",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover; server_max_window_bits=12",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=12, x",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=12, permessage-deflate",
  ];
  for (const field of bad) {
    test(`refuses: ${field}`, () => {
      assertEquals(typeof checkDeflate(field, own), "string");
      assertEquals(typeof checkDeflate(field, undefined), "string");
    });
  }
});

/** What a reader with compression tells of some frames, cut at every byte. */
function read(frames: Frame[], options: {
  maxMessageSize?: number;
  takeover?: boolean;
  step?: number;
} = {}): string[] {
  const told: string[] = [];
  const reader = new FrameReader({
    masked: true,
    maxMessageSize: options.maxMessageSize ?? 1 << 20,
    inflater: new Inflater({ bits: 15, takeover: options.takeover ?? false }),
  }, {
    message: (data) =>
      told.push(
        typeof data === "string"
          ? data.length > 20 ? `text#${data.length}` : `text:${data}`
          : `bin#${data.length}`,
      ),
    ping: () => told.push("ping"),
    pong: () => told.push("pong"),
    closing: (code) => told.push(`close:${code}`),
    fail: (code) => told.push(`fail:${code}`),
  });
  const bytes = build(frames, true);
  const step = options.step ?? bytes.length;
  for (let at = 0; at < bytes.length; at += step) {
    reader.push(bytes.slice(at, at + step));
  }
  return told;
}

describe("FrameReader with compression", () => {
  const hello = hex("f2 48 cd c9 c9 07 00");
  const rows: [name: string, frames: Frame[], expected: string[]][] = [
    // The examples of RFC 7692, 7.2.3.
    ["one frame", [{ first: 0xc1, payload: hello }], ["text:Hello"]],
    [
      "two frames",
      [
        { first: 0x41, payload: hello.slice(0, 3) },
        { first: 0x80, payload: hello.slice(3) },
      ],
      ["text:Hello"],
    ],
    [
      "a block without compression",
      [{ first: 0xc1, payload: hex("00 05 00 fa ff 48 65 6c 6c 6f 00") }],
      ["text:Hello"],
    ],
    [
      "a final block",
      [{ first: 0xc1, payload: hex("f3 48 cd c9 c9 07 00 00") }],
      ["text:Hello"],
    ],
    [
      "two blocks",
      [{ first: 0xc1, payload: hex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00") }],
      ["text:Hello"],
    ],
    ["an empty message", [{ first: 0xc2, payload: hex("00") }], ["bin#0"]],
    [
      "a control frame between fragments",
      [
        { first: 0x41, payload: hello.slice(0, 3) },
        { first: 0x89, payload: hex("") },
        { first: 0x00, payload: hex("") },
        { first: 0x80, payload: hello.slice(3) },
      ],
      ["ping", "text:Hello"],
    ],
    [
      "plain and compressed messages in turn",
      [
        { first: 0x81, payload: encoder.encode("a") },
        { first: 0xc1, payload: hello },
        { first: 0x01, payload: encoder.encode("b") },
        { first: 0x80, payload: encoder.encode("c") },
        { first: 0xc1, payload: hello },
      ],
      ["text:a", "text:Hello", "text:bc", "text:Hello"],
    ],
    [
      "RSV1 on a continuation",
      [
        { first: 0x41, payload: hello.slice(0, 3) },
        { first: 0xc0, payload: hello.slice(3) },
      ],
      ["fail:1002"],
    ],
    ["RSV1 on a ping", [{ first: 0xc9, payload: hex("") }], ["fail:1002"]],
    ["RSV1 on a close", [{ first: 0xc8, payload: hex("") }], ["fail:1002"]],
    ["RSV2", [{ first: 0xa1, payload: hello }], ["fail:1002"]],
    ["RSV1 and RSV3", [{ first: 0xd1, payload: hello }], ["fail:1002"]],
    [
      "garbage",
      [{ first: 0xc1, payload: hex("07 07 07 07") }],
      ["fail:1007"],
    ],
    [
      "a message cut in the middle",
      [{ first: 0xc1, payload: hello.slice(0, 3) }],
      ["fail:1007"],
    ],
    ["no payload at all", [{ first: 0xc1, payload: hex("") }], ["fail:1007"]],
    [
      "a text that is not UTF-8 once inflated",
      [{ first: 0xc1, payload: pack(hex("61 ff 62")) }],
      ["fail:1007"],
    ],
    [
      "final blocks without end",
      [{
        first: 0xc2,
        payload: Uint8Array.from({ length: 400 }, (_, i) => i % 2 ? 0 : 3),
      }],
      ["fail:1007"],
    ],
    [
      "nothing after a broken message",
      [
        { first: 0xc1, payload: hex("07 07") },
        { first: 0xc1, payload: hello },
      ],
      ["fail:1007"],
    ],
  ];
  for (const [name, frames, expected] of rows) {
    test(name, () => {
      for (const step of [undefined, 1, 2, 3, 5]) {
        assertEquals(
          read(frames, step === undefined ? {} : { step }),
          expected,
        );
      }
    });
  }

  test("takes the context over only when that was agreed on", () => {
    // The second message refers to the first (RFC 7692, 7.2.3.2).
    const frames = [
      { first: 0xc1, payload: hello },
      { first: 0xc1, payload: hex("f2 00 11 00 00") },
    ];
    assertEquals(read(frames, { takeover: true }), [
      "text:Hello",
      "text:Hello",
    ]);
    assertEquals(read(frames), ["text:Hello", "fail:1007"]);
  });

  test("keeps the context past messages that are not compressed", () => {
    const frames = [
      { first: 0xc1, payload: hello },
      { first: 0x81, payload: encoder.encode("x".repeat(15)) },
      { first: 0xc1, payload: hex("f2 00 11 00 00") },
    ];
    assertEquals(read(frames, { takeover: true })[2], "text:Hello");
  });

  test("counts a message once it is inflated", () => {
    const frame = (size: number) => [{
      first: 0xc2,
      payload: pack(new Uint8Array(size)),
    }];
    assertEquals(read(frame(5000), { maxMessageSize: 5000 }), ["bin#5000"]);
    assertEquals(read(frame(5001), { maxMessageSize: 5000 }), ["fail:1009"]);
    assertEquals(read(frame(0), { maxMessageSize: 0 }), ["bin#0"]);
    assertEquals(read(frame(1), { maxMessageSize: 0 }), ["fail:1009"]);
    // Bytes that do not compress are a little larger when compressed.
    const { length } = noise;
    const whole = [{ first: 0xc2, payload: pack(noise) }];
    assertEquals(read(whole, { maxMessageSize: length }), [`bin#${length}`]);
  });

  test("finds a bomb before its end, and inflates no more than it may", () => {
    const bomb = pack(new Uint8Array(96 * 1024 * 1024));
    assert(bomb.length > 90_000);
    // FIN never comes.
    const frames = [
      { first: 0x42, payload: bomb.slice(0, 80_000) },
      { first: 0x00, payload: bomb.slice(80_000) },
    ];
    assertEquals(read(frames, { maxMessageSize: 1 << 20 }), ["fail:1009"]);
    assertEquals(
      read([{ first: 0xc2, payload: bomb }], { maxMessageSize: 1 << 20 }),
      ["fail:1009"],
    );
  });

  test("survives payloads that are damaged anywhere", () => {
    const good = pack(words(400));
    let state = 9;
    for (let round = 0; round < 200; round++) {
      const bad = good.slice();
      for (let i = 0; i < 3; i++) {
        state = (state * 48271) % 2147483647;
        bad[state % bad.length] ^= 1 + state % 255;
      }
      const told = read([{ first: 0xc2, payload: bad }], {
        takeover: round % 2 === 0,
        maxMessageSize: 100_000,
      });
      assertEquals(told.length, 1);
      assert(/^(bin#\d+|fail:100[79])$/.test(told[0]), told[0]);
    }
  });
});

describe("Deflater", () => {
  const plain = words(3000);

  function direction(bits: number, takeover: boolean): [Deflater, Inflater] {
    return [
      new Deflater({ bits, takeover }, settings({ threshold: 0 })),
      new Inflater({ bits, takeover }),
    ];
  }

  for (const takeover of [false, true]) {
    for (let bits = 8; bits <= 15; bits++) {
      const title = `a window of ${bits} bits ${
        takeover ? "with" : "without"
      } takeover`;
      test(`keeps to ${title}`, () => {
        const [deflater, inflater] = direction(bits, takeover);
        for (let i = 0; i < 6; i++) {
          const message = encoder.encode(words(50 + i * 700, 1 + i % 2));
          const packed = deflater.pack(message)!;
          assert(packed.length < message.length);
          assertEquals(farthest(packed) <= 2 ** bits, true);
          assertEquals(inflater.unpack(packed, 1 << 20), message);
        }
      });
    }
  }

  test("refers to earlier messages where it may and can", () => {
    const [alone] = direction(15, false);
    const [deflater] = direction(15, true);
    const first = deflater.pack(plain)!.length;
    const second = deflater.pack(plain)!.length;
    assertEquals(second < first / 4, takesDictionary());
    assertEquals(alone.pack(plain)!.length, alone.pack(plain)!.length);
  });

  test("leaves small messages and noise as they are", () => {
    const direction = { bits: 15, takeover: true };
    const deflater = new Deflater(direction, settings());
    assertEquals(deflater.pack("x".repeat(1023)), undefined);
    assertEquals(deflater.pack(new Uint8Array(1023)), undefined);
    assertEquals(deflater.pack(noise), undefined);
    assert(deflater.pack("x".repeat(1024)) !== undefined);
    // 1026 bytes of UTF-8.
    assert(deflater.pack("漢".repeat(342)) !== undefined);
    assertEquals(deflater.pack("漢".repeat(341)), undefined);
  });

  test("compresses what is sent to many once, unless it has changed", () => {
    const [one] = direction(15, false);
    const [two] = direction(15, false);
    assert(one.pack(plain) === two.pack(plain));
    const bytes = encoder.encode(plain);
    const before = one.pack(bytes)!;
    assert(two.pack(bytes) === before);
    bytes[100] ^= 1;
    const changed = two.pack(bytes)!;
    assert(changed !== before);
    assertEquals(
      new Inflater({ bits: 15, takeover: false }).unpack(changed, 1 << 20),
      bytes,
    );
  });

  test("a Buffer that changed after it was sent is not taken for the same message", () => {
    const [one] = direction(15, false);
    const [two] = direction(15, false);
    const bytes = Buffer.from(plain);
    const before = one.pack(bytes)!;
    bytes[100] ^= 1;
    const changed = two.pack(bytes)!;
    assert(changed !== before);
    assertEquals(
      new Inflater({ bits: 15, takeover: false }).unpack(changed, 1 << 20),
      new Uint8Array(bytes),
    );
  });

  test("a Buffer that changes after it was sent does not reach the context", () => {
    const [deflater, inflater] = direction(15, true);
    const bytes = Buffer.from(words(12_000));
    inflater.unpack(deflater.pack(bytes)!, 1 << 20);
    const next = new Uint8Array(2000).fill(97);
    bytes.fill(97);
    assertEquals(inflater.unpack(deflater.pack(next)!, 1 << 20), next);
  });
});

/** How far back the deflated bytes refer: an inflater made for this. */
function farthest(packed: Uint8Array): number {
  let at = 0;
  const bit = () => (packed[at >> 3] >> (at++ & 7)) & 1;
  const bits = (count: number) => {
    let value = 0;
    for (let i = 0; i < count; i++) value |= bit() << i;
    return value;
  };
  const tree = (lengths: number[]) => {
    const codes = new Map<number, number>();
    let code = 0;
    for (let size = 1; size <= 15; size++) {
      for (let i = 0; i < lengths.length; i++) {
        if (lengths[i] === size) codes.set(size << 16 | code++, i);
      }
      code <<= 1;
    }
    return () => {
      let word = 0;
      for (let size = 1; size <= 15; size++) {
        word = word << 1 | bit();
        const found = codes.get(size << 16 | word);
        if (found !== undefined) return found;
      }
      throw new Error("no such code");
    };
  };
  let most = 0;
  while (at < packed.length * 8) {
    bit();
    const type = bits(2);
    if (type === 0) {
      at = (at + 7) & ~7;
      if (at >= packed.length * 8) break;
      at += 32 + (packed[at >> 3] | packed[(at >> 3) + 1] << 8) * 8;
      continue;
    }
    let lengths: number[];
    let distances: number[];
    if (type === 1) {
      lengths = Array.from(
        { length: 288 },
        (_, i) => i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8,
      );
      distances = Array.from({ length: 30 }, () => 5);
    } else {
      const literals = bits(5) + 257;
      const far = bits(5) + 1;
      const count = bits(4) + 4;
      const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14];
      const sizes: number[] = Array.from({ length: 19 }, () => 0);
      for (let i = 0; i < count; i++) sizes[[...order, 1, 15][i]] = bits(3);
      const next = tree(sizes);
      const all: number[] = [];
      while (all.length < literals + far) {
        const symbol = next();
        if (symbol < 16) all.push(symbol);
        else {
          const value = symbol === 16 ? all[all.length - 1] : 0;
          const times = symbol === 16
            ? 3 + bits(2)
            : symbol === 17
            ? 3 + bits(3)
            : 11 + bits(7);
          for (let i = 0; i < times; i++) all.push(value);
        }
      }
      lengths = all.slice(0, literals);
      distances = all.slice(literals);
    }
    const literal = tree(lengths);
    const distance = tree(distances);
    for (;;) {
      const symbol = literal();
      if (symbol === 256) break;
      if (symbol < 256) continue;
      const length = symbol - 257;
      if (length >= 8 && length < 28) bits((length >> 2) - 1);
      const code = distance();
      const extra = code < 4 ? 0 : (code >> 1) - 1;
      const base = code < 4 ? code + 1 : ((2 | code & 1) << extra) + 1;
      most = Math.max(most, base + bits(extra));
    }
  }
  return most;
}

describe("affordable()", () => {
  test("agrees on no context takeover once the memory is used up", () => {
    const wanted = settings({
      serverNoContextTakeover: false,
      clientNoContextTakeover: false,
      maxMemory: 128 * 1024,
    });
    const held: Deflate[] = [];
    const open = () => {
      const own = affordable(wanted);
      const agreed = acceptDeflate("permessage-deflate", own)!;
      held.push(new Deflate(agreed, own, false));
      return agreed.server.takeover;
    };
    assertEquals([open(), open(), open()], [true, true, false]);
    for (const deflate of held) {
      deflate.release();
      deflate.release();
    }
    assertEquals(open(), true);
    held[3].release();
  });
});

/** All four parameters, each as it is by default or turned. */
const COMBINATIONS: CompressOptions[] = Array.from({ length: 16 }, (_, i) => ({
  threshold: 0,
  serverNoContextTakeover: (i & 1) === 0,
  clientNoContextTakeover: (i & 2) === 0,
  serverMaxWindowBits: (i & 4) === 0 ? 15 : 9 + i % 5,
  clientMaxWindowBits: (i & 8) === 0 ? 15 : 10 + i % 5,
}));

async function same(
  send: (message: Message) => unknown,
  receive: () => PromiseLike<Message | undefined> | Message | undefined,
): Promise<void> {
  for (const [at, message] of MESSAGES.entries()) {
    await send(message);
    const echo = await within(Promise.resolve(receive()));
    assert(
      typeof message === "string"
        ? echo === message
        : echo instanceof Uint8Array && echo.length === message.length &&
          echo.every((byte, i) => byte === message[i]),
      `message ${at} came back changed`,
    );
  }
}

describe("upgrade() and connect() with compress", () => {
  let server: HttpServer;
  let own: CompressOptions | boolean = true;
  const sockets: Socket[] = [];

  before(async () => {
    server = await serve((request) =>
      upgrade(request, async (socket) => {
        sockets.push(socket);
        for await (const message of socket) await socket.send(message);
      }, { compress: own, maxMessageSize: 1 << 20 }), local);
  });
  after(() => within(server.close({ timeout: 0 })));

  for (const options of COMBINATIONS) {
    test(`echo ${JSON.stringify(options)}`, async () => {
      own = {
        threshold: 0,
        serverNoContextTakeover: false,
        clientNoContextTakeover: false,
      };
      const socket = await within(connect(server.url, { compress: options }));
      assert(socket.extensions.startsWith("permessage-deflate"));
      await same((m) => socket.send(m), () => socket.receive());
      await within(socket.close());
      assertEquals(summary(await socket.closed), "clean 1000");
    });
  }

  test("agree only when both want it", async () => {
    for (const [here, there] of [[true, false], [false, true]]) {
      own = there;
      const socket = await within(connect(server.url, { compress: here }));
      assertEquals(socket.extensions, "");
      await same((m) => socket.send(m), () => socket.receive());
      await within(socket.close());
    }
  });

  test("are told of the same extensions on both sides", async () => {
    own = { serverMaxWindowBits: 11 };
    sockets.length = 0;
    const socket = await within(connect(server.url, { compress: true }));
    await socket.send("x");
    await within(Promise.resolve(socket.receive()));
    assertEquals(
      socket.extensions,
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
    );
    assertEquals(sockets[0].extensions, socket.extensions);
    await within(socket.close());
  });

  test("close a bomb with 1009, and corrupt data with 1007", async () => {
    own = true;
    for (
      const [payload, code] of [
        [pack(new Uint8Array(20 << 20)), 1009],
        [hex("07 07 07"), 1007],
      ] as const
    ) {
      sockets.length = 0;
      const client = new RawClient(server.url, {
        fields: { "sec-websocket-extensions": "permessage-deflate" },
      });
      assertEquals(await client.answered(), 101);
      client.send({ first: 0xc2, payload });
      await until(() => client.told.includes(`close:${code}`), `close ${code}`);
      client.socket.destroy();
      const info = await within(sockets[0].closed);
      assertEquals(info.code, code);
      await within(client.over);
    }
  });

  test("answer a malformed offer with 400", async () => {
    own = true;
    const client = new RawClient(server.url, {
      fields: { "sec-websocket-extensions": "permessage-deflate;" },
    });
    assertEquals(await client.answered(), 400);
    client.socket.destroy();
    await within(client.over);
  });

  test("fail when the server answers what was not offered", async () => {
    for (
      const answer of [
        "permessage-deflate; unknown",
        "permessage-deflate, permessage-deflate",
        "x-else",
        "permessage-deflate; client_no_context_takeover",
      ]
    ) {
      const liar = createServer().on("upgrade", (request, socket) => {
        const key = request.headers["sec-websocket-key"]!;
        socket.on("error", () => {});
        socket.end(
          "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
            `Sec-WebSocket-Accept: ${acceptKey(key)}\r\n` +
            `Sec-WebSocket-Extensions: ${answer}\r\n\r\n`,
        );
      });
      await new Promise<void>((resolve) =>
        liar.listen(0, "127.0.0.1", () => resolve())
      );
      const { port } = liar.address() as { port: number };
      try {
        const error = await assertRejects(
          () => within(connect(`ws://127.0.0.1:${port}/`, { compress: true })),
          HandshakeError,
        );
        assertEquals(error.status, 101);
      } finally {
        await within(new Promise((resolve) => liar.close(resolve)));
      }
    }
  });

  for (const engine of engines.filter((engine) => engine !== "wire")) {
    test(`are refused on the ${engine} engine`, async () => {
      let thrown: unknown;
      const other = await serve((request) => {
        try {
          return upgrade(request, () => {}, { compress: true });
        } catch (error) {
          thrown = error;
          return new Response("no", { status: 400 });
        }
      }, { ...local, engine });
      try {
        await assertRejects(() => within(connect(other.url)), HandshakeError);
        assert(thrown instanceof TypeError);
        assert(thrown.message.includes('engine: "wire"'));
      } finally {
        await within(other.close({ timeout: 0 }));
      }
    });
  }
});

describe("compress and the ws package", () => {
  for (const options of COMBINATIONS) {
    test(`its client against our server ${JSON.stringify(options)}`, async () => {
      const server = await serve(
        (request) =>
          upgrade(request, {
            message: (socket, data) => void socket.send(data),
          }, {
            compress: {
              threshold: 0,
              serverNoContextTakeover: false,
              clientNoContextTakeover: false,
            },
          }),
        local,
      );
      const client = new WsClient(server.url.replace("http", "ws"), [], {
        perMessageDeflate: options,
      });
      const received: Message[] = [];
      client.on("message", (data, binary) =>
        received.push(
          binary ? new Uint8Array(data) : new TextDecoder().decode(data),
        ));
      try {
        await within(
          new Promise<void>((resolve, reject) => {
            client.on("open", resolve);
            client.on("error", reject);
          }),
        );
        await same((message) => client.send(message), async () => {
          await until(() => received.length > 0, "the echo");
          return received.shift()!;
        });
      } finally {
        client.terminate();
        await within(server.close({ timeout: 0 }));
      }
    });

    test(`its server against our client ${JSON.stringify(options)}`, async () => {
      const server = new WsServer({
        port: 0,
        host: "127.0.0.1",
        perMessageDeflate: { threshold: 0 },
      });
      server.on("connection", (socket) => {
        socket.on("message", (data, binary) => socket.send(data, { binary }));
      });
      await new Promise<void>((resolve) => server.on("listening", resolve));
      try {
        const socket = await within(
          connect(`ws://127.0.0.1:${server.address().port}/`, {
            compress: options,
          }),
        );
        await same((m) => socket.send(m), () => socket.receive());
        await within(socket.close());
      } finally {
        for (const socket of server.clients) socket.terminate();
        await within(new Promise<void>((resolve) => server.close(resolve)));
      }
    });
  }
});
