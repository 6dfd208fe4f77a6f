import { describe, test } from "node:test";
import { FrameReader } from "../ws/_frame_reader.ts";
import {
  BINARY,
  encodeFrame,
  encodeText,
  PING,
  TEXT,
  textRoom,
  writeText,
} from "../ws/_frame_writer.ts";
import { applyMask } from "../ws/_mask.ts";
import { closePayload } from "../ws/_codes.ts";
import { sha1 } from "../ws/_sha1.ts";
import { decodeUtf8, Utf8Pieces } from "../ws/_utf8.ts";
import { acceptKey } from "../ws/_handshake.ts";
import { build, hex, rows, toHex } from "./_ws_frames.ts";
import type { Row } from "./_ws_frames.ts";
import { assert, assertEquals, assertThrows } from "./assert.ts";

function readerOf(
  row: Pick<Row, "expected" | "maxMessageSize" | "maxFragments">,
  masked: boolean,
  told: string[],
): FrameReader {
  const short = row.expected.some((event) => event.includes("#"));
  return new FrameReader({
    masked,
    maxMessageSize: row.maxMessageSize ?? 1 << 20,
    maxFragments: row.maxFragments,
  }, {
    message(data) {
      if (typeof data === "string") {
        told.push(
          short && data.length > 9 ? `text#${data.length}` : `text:${data}`,
        );
      } else {
        told.push(
          short ? `bin#${data.length}` : `bin:${toHex(data)}`,
        );
      }
    },
    ping: (data) => told.push(`ping:${toHex(data)}`),
    pong: (data) => told.push(`pong:${toHex(data)}`),
    closing: (code, reason) => told.push(`close:${code}:${reason}`),
    fail: (code) => told.push(`fail:${code}`),
  });
}

/** Feeds copies, since the reader unmasks in place; lent ones are spoilt. */
function read(
  row: Row,
  bytes: Uint8Array,
  masked: boolean,
  cuts: number[],
  lent = false,
) {
  const told: string[] = [];
  const reader = readerOf(row, masked, told);
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    const piece = bytes.slice(from, cut);
    reader.push(piece, lent);
    if (lent) piece.fill(0x21);
    from = cut;
  }
  return told;
}

describe("FrameReader", () => {
  test("is tried with at least 150 sequences of frames", () => {
    assert(rows.length >= 150, `${rows.length}`);
    assertEquals(new Set(rows.map((row) => row.name)).size, rows.length);
  });

  test("copies what comes in many small fragments a few times, not once a fragment", () => {
    const FRAGMENTS = 4096;
    const SIZE = 64;
    let got: string | Uint8Array = "";
    const reader = new FrameReader({ masked: true, maxMessageSize: 1 << 20 }, {
      message: (data) => got = data,
      ping: () => {},
      pong: () => {},
      closing: () => {},
      fail: (_code, error) => {
        throw error;
      },
    });
    const frames = Array.from(
      { length: FRAGMENTS },
      (_, i) => ({
        op: i === 0 ? BINARY & 15 : 0,
        fin: i === FRAGMENTS - 1,
        data: new Uint8Array(SIZE).fill(i),
      }),
    );
    const chunks = frames.map(({ op, fin, data }) =>
      Uint8Array.of(fin ? 128 | op : op, 128 | SIZE, 0, 0, 0, 0, ...data)
    );
    const { set } = Uint8Array.prototype;
    let copied = 0;
    Uint8Array.prototype.set = function (source, at): void {
      copied += source.length;
      set.call(this, source, at);
    };
    try {
      for (const chunk of chunks) reader.push(chunk);
    } finally {
      Uint8Array.prototype.set = set;
    }
    const all = FRAGMENTS * SIZE;
    assertEquals(got.length, all);
    assert(
      frames.every(({ data }, i) =>
        (got as Uint8Array)[i * SIZE] === data[0] &&
        (got as Uint8Array)[i * SIZE + SIZE - 1] === data[0]
      ),
    );
    assert(copied <= 4 * all, `${copied} bytes for ${all}`);
  });

  for (const masked of [true, false]) {
    const role = masked ? "server" : "client";
    test(`of a ${role} tells what the table says, however it is cut`, () => {
      for (const row of rows) {
        const bytes = build(row.frames, masked);
        assertEquals(
          read(row, bytes, masked, []),
          row.expected,
          `${row.name}, whole`,
        );
        const step = bytes.length > 1000 ? Math.ceil(bytes.length / 97) : 1;
        for (let cut = 1; cut < bytes.length; cut += step) {
          assertEquals(
            read(row, bytes, masked, [cut]),
            row.expected,
            `${row.name}, cut at ${cut}`,
          );
        }
        const all = Array.from({ length: bytes.length }, (_, i) => i);
        assertEquals(
          read(row, bytes, masked, all),
          row.expected,
          `${row.name}, byte by byte`,
        );
        assertEquals(
          read(row, bytes, masked, [bytes.length >> 1], true),
          row.expected,
          `${row.name}, in two pieces that are lent`,
        );
      }
    });
  }

  const plain = { expected: [] };

  test("tells nothing after stop(), within a chunk", () => {
    const told: string[] = [];
    const reader: FrameReader = new FrameReader(
      { masked: false, maxMessageSize: 10 },
      {
        message(data) {
          told.push(data as string);
          reader.stop();
        },
        ping() {},
        pong() {},
        closing() {},
        fail() {},
      },
    );
    reader.push(hex("8101618101628101 63"));
    assertEquals(told, ["a"]);
    assert(reader.over);
  });

  test("gives a large binary as a view, a small one as a copy", () => {
    const got: Uint8Array[] = [];
    const reader = new FrameReader({ masked: false, maxMessageSize: 1 << 20 }, {
      message: (data) => got.push(data as Uint8Array),
      ping() {},
      pong() {},
      closing() {},
      fail() {},
    });
    const chunk = new Uint8Array([
      ...encodeFrame(BINARY, new Uint8Array(5000), false),
      ...encodeFrame(BINARY, new Uint8Array(50), false),
    ]);
    reader.push(chunk);
    assert(got[0].buffer === chunk.buffer);
    assertEquals(got[1].buffer.byteLength, 50);
    reader.push(chunk, true);
    assert(got[2].buffer !== chunk.buffer);
    assertEquals(got[2].byteLength, 5000);
  });

  test("reserves no memory for a length that is only declared", () => {
    const told: string[] = [];
    const before = globalThis.Uint8Array;
    const sizes: number[] = [];
    class Counting extends before {
      constructor(...args: unknown[]) {
        super(...args as [number]);
        if (typeof args[0] === "number") sizes.push(args[0]);
      }
    }
    const reader = readerOf(
      { ...plain, maxMessageSize: 1 << 24 },
      false,
      told,
    );
    (globalThis as { Uint8Array: unknown }).Uint8Array = Counting;
    try {
      reader.push(before.from(hex("827f0000000000ffffff")));
      for (let i = 0; i < 20; i++) reader.push(new before(1000));
    } finally {
      (globalThis as { Uint8Array: unknown }).Uint8Array = before;
    }
    assert(Math.max(...sizes) <= 64 * 1024, `${sizes}`);
  });

  test("reads random frames cut at random as it does whole", () => {
    let seed = 42;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      return (seed >> 8) % below;
    };
    for (let round = 0; round < 200; round++) {
      const parts: Uint8Array[] = [];
      const expected: string[] = [];
      for (let n = random(6) + 1; n > 0; n--) {
        const payload = new Uint8Array(random(300));
        for (let i = 0; i < payload.length; i++) payload[i] = random(256);
        const kind = random(3);
        if (kind === 0) {
          parts.push(encodeFrame(BINARY, payload, true));
          expected.push(`bin:${toHex(payload)}`);
        } else if (kind === 1) {
          const text = [...payload].map((byte) =>
            String.fromCodePoint(byte * 37 + 32)
          ).join("").replace(/[\ud800-\udfff]/g, "?");
          parts.push(encodeText(text, true));
          expected.push(`text:${text}`);
        } else {
          const data = payload.subarray(0, 125);
          parts.push(encodeFrame(PING, data, true));
          expected.push(`ping:${toHex(data)}`);
        }
      }
      const bytes = Uint8Array.from(parts.flatMap((part) => [...part]));
      const told: string[] = [];
      const reader = readerOf(plain, true, told);
      for (let at = 0; at < bytes.length;) {
        const next = at + 1 + random(40);
        reader.push(bytes.slice(at, next));
        at = next;
      }
      assertEquals(told, expected);
    }
  });
});

describe("encodeFrame()", () => {
  test("writes the shortest head", () => {
    for (
      const [length, head] of [
        [0, "8200"],
        [125, "827d"],
        [126, "827e007e"],
        [65535, "827effff"],
        [65536, "827f0000000000010000"],
        [70000, "827f0000000000011170"],
      ] as const
    ) {
      const frame = encodeFrame(BINARY, new Uint8Array(length), false);
      assertEquals(toHex(frame.subarray(0, head.length / 2)), head);
      assertEquals(frame.length, head.length / 2 + length);
    }
  });

  test("masks with a fresh key and leaves the caller's bytes alone", () => {
    const payload = new Uint8Array(200).fill(7);
    const one = encodeFrame(BINARY, payload, true);
    const two = encodeFrame(BINARY, payload, true);
    assertEquals(one[1], 0x80 | 126);
    assert(toHex(one.subarray(4, 8)) !== toHex(two.subarray(4, 8)));
    assertEquals(payload, new Uint8Array(200).fill(7));
  });
});

/** Texts of every size and width that matters, lone surrogates among them. */
function texts(): string[] {
  const samples = ["", "a", "é", "漢", "😀", "\ud800", "a\udc00b"];
  const counts = [
    1,
    15,
    16,
    17,
    24,
    41,
    42,
    47,
    48,
    49,
    62,
    63,
    125,
    126,
    4096,
  ];
  for (const unit of ["a", "é", "漢", "😀", "\udc00"]) {
    for (const count of [...counts, 4097]) {
      samples.push(unit.repeat(count), "a".repeat(40) + unit.repeat(count));
    }
  }
  samples.push("漢".repeat(21845), "漢".repeat(21846));
  // Neither the first character nor many others tell.
  samples.push(`${"a".repeat(22_000)}é`, "a".repeat(65_536));
  return samples;
}

describe("writeText()", () => {
  test("writes what TextEncoder does where there is room, nothing past it", () => {
    for (const text of texts()) {
      const bytes = new TextEncoder().encode(text);
      const frame = new Uint8Array(encodeFrame(TEXT, bytes, false));
      const size = frame.byteLength;
      for (const room of [size - 1, size, size + 1, textRoom(text)]) {
        const target = new Uint8Array(7 + room + 3).fill(0xee);
        const end = writeText(target.subarray(0, 7 + room), 7, text, false);
        assertEquals(target.subarray(7 + room), new Uint8Array(3).fill(0xee));
        assertEquals(target.subarray(0, 7), new Uint8Array(7).fill(0xee));
        if (room === textRoom(text)) assertEquals(end, 7 + size);
        if (room < size) assertEquals(end, -1);
        if (end < 0) continue;
        assertEquals(target.subarray(7, end), frame);
      }
    }
  });
});

describe("encodeText()", () => {
  test("writes what TextEncoder does, at every size", () => {
    for (const text of texts()) {
      const plain = encodeFrame(TEXT, new TextEncoder().encode(text), false);
      assertEquals(encodeText(text, false), plain);
      const masked = encodeText(text, true);
      const head = masked.length - (plain.length -
        (plain[1] < 126 ? 2 : plain[1] === 126 ? 4 : 10));
      applyMask(
        masked,
        head,
        masked.length,
        masked.slice(head - 4, head),
        0,
      );
      assertEquals(
        masked.subarray(head),
        encodeText(text, false).subarray(head - 4),
      );
    }
  });
});

describe("applyMask()", () => {
  test("is the XOR of the RFC at every alignment, size and phase", () => {
    const key = hex("37fa213d");
    for (let offset = 0; offset < 8; offset++) {
      for (const size of [0, 1, 3, 31, 95, 96, 97, 131, 200]) {
        for (let phase = 0; phase < 4; phase++) {
          const bytes = new Uint8Array(new ArrayBuffer(300), offset, 220);
          for (let i = 0; i < bytes.length; i++) bytes[i] = i * 7;
          const expected = bytes.slice();
          for (let i = 0; i < size; i++) {
            expected[5 + i] ^= key[(phase + i) & 3];
          }
          applyMask(bytes, 5, 5 + size, key, phase);
          assertEquals(toHex(bytes), toHex(expected));
        }
      }
    }
  });
});

describe("Utf8Pieces", () => {
  test("joins pieces of any size in order", () => {
    const text = "aé漢😀".repeat(500);
    const bytes = new TextEncoder().encode(text);
    for (const step of [1, 2, 3, 7, 100, 10_000]) {
      const pieces = new Utf8Pieces();
      for (let at = 0; at < bytes.length; at += step) {
        pieces.push(bytes.subarray(at, at + step));
      }
      assertEquals(pieces.finish(), text);
    }
  });
});

describe("decodeUtf8()", () => {
  test("lets U+FFFD through when it was sent", () => {
    const text = "a\ufffdb";
    const bytes = new TextEncoder().encode(text);
    assertEquals(decodeUtf8(bytes), text);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const pieces = new Utf8Pieces();
      pieces.push(bytes.subarray(0, cut));
      pieces.push(bytes.subarray(cut));
      assertEquals(pieces.finish(), text);
    }
  });

  test("agrees with TextDecoder on every sequence of three bytes that matters", () => {
    const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const edges = [
      ...[0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1],
      ...[0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3],
      ...[0xf4, 0xf5, 0xf8, 0xff],
    ];
    const outcome = (decode: () => string) => {
      try {
        return decode();
      } catch {
        return undefined;
      }
    };
    for (const a of edges) {
      for (const b of edges) {
        for (const c of edges) {
          for (const bytes of [[a, b, c], [a, b, c, 0x80], [a, b]]) {
            const all = Uint8Array.from(bytes);
            const expected = outcome(() => strict.decode(all));
            const pieces = new Utf8Pieces();
            const got = outcome(() => {
              for (const byte of bytes) pieces.push(Uint8Array.of(byte));
              return pieces.finish();
            });
            if (got !== expected) assertEquals(got, expected, `${bytes}`);
          }
        }
      }
    }
  });
});

describe("closePayload()", () => {
  test("refuses codes and reasons that may not be sent", () => {
    for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 1.5, NaN]) {
      assertThrows(() => closePayload(code, ""), RangeError);
    }
    assertThrows(() => closePayload(1000, "é".repeat(62)), RangeError);
    assertEquals(closePayload(1000, "é".repeat(61)).length, 124);
    assertEquals(toHex(closePayload(4999, "a")), "138761");
  });
});

describe("acceptKey()", () => {
  test("gives the answer of the RFC's example", () => {
    assertEquals(
      acceptKey("dGhlIHNhbXBsZSBub25jZQ=="),
      "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    );
  });

  test("is built on SHA-1 at every block boundary", () => {
    assertEquals(toHex(sha1("")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assertEquals(
      toHex(sha1("abc")),
      "a9993e364706816aba3e25717850c26c9cd0d89d",
    );
    assertEquals(
      toHex(sha1("a".repeat(55))),
      "c1c8bbdc22796e28c0e15163d20899b65621d65a",
    );
    assertEquals(
      toHex(sha1("a".repeat(56))),
      "c2db330f6083854c99d4b5bfb6e8f29f201be699",
    );
    assertEquals(
      toHex(sha1("a".repeat(64))),
      "0098ba824b5c16427bd7a1122a5a442a25ec644d",
    );
  });
});
