import { describe, test } from "node:test";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { latin1 } from "./_h1.ts";
import { HpackDecoder, HpackError } from "../http/_hpack_decoder.ts";
import { HpackEncoder } from "../http/_hpack_encoder.ts";
import {
  decodeHuffman,
  encodeHuffman,
  huffmanLength,
} from "../http/_hpack_huffman.ts";
import { STATIC_NAMES, STATIC_VALUES } from "../http/_hpack_table.ts";

const NO_LIMIT = Infinity;

function hex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, "");
  return Uint8Array.from(
    { length: digits.length / 2 },
    (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

function unHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

function concat(...parts: (Uint8Array | string | number[])[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) => [...typeof part === "string" ? hex(part) : part]),
  );
}

/** The dynamic table of a decoder, newest first, as `name: value`. */
function tableOf(decoder: HpackDecoder): string[] {
  const entries: string[] = [];
  for (let index = 62;; index++) {
    const block = index < 127
      ? [0x80 | index]
      : [0xff, (index - 127) & 0x7f | 0x80, (index - 127) >> 7];
    try {
      const [name, value] = decoder.decode(Uint8Array.from(block), NO_LIMIT)!;
      entries.push(`${name}: ${value}`);
    } catch {
      return entries;
    }
  }
}

function refused(block: Uint8Array | string, why: string, size = 4096): void {
  const bytes = typeof block === "string" ? hex(block) : block;
  const decoder = new HpackDecoder({ maxTableSize: size });
  assertThrows(() => decoder.decode(bytes, NO_LIMIT), HpackError, why);
}

/** A generator of numbers below `n`, the same ones each time. */
function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % n;
  };
}

/** A connection of RFC 7541, appendix C: blocks, fields, and the table after. */
interface Example {
  name: string;
  size?: number;
  blocks: { hex: string; fields: string[]; table: string[] }[];
}

const REQUEST_FIELDS = [
  ":method GET|:scheme http|:path /|:authority www.example.com",
  ":method GET|:scheme http|:path /|:authority www.example.com|" +
  "cache-control no-cache",
  ":method GET|:scheme https|:path /index.html|:authority www.example.com|" +
  "custom-key custom-value",
];
const REQUEST_TABLES = [
  [":authority: www.example.com"],
  ["cache-control: no-cache", ":authority: www.example.com"],
  [
    "custom-key: custom-value",
    "cache-control: no-cache",
    ":authority: www.example.com",
  ],
];
const RESPONSE_FIELDS = [
  ":status 302|cache-control private|date Mon, 21 Oct 2013 20:13:21 GMT|" +
  "location https://www.example.com",
  ":status 307|cache-control private|date Mon, 21 Oct 2013 20:13:21 GMT|" +
  "location https://www.example.com",
  ":status 200|cache-control private|date Mon, 21 Oct 2013 20:13:22 GMT|" +
  "location https://www.example.com|content-encoding gzip|set-cookie " +
  "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
];
const RESPONSE_TABLES = [
  [
    "location: https://www.example.com",
    "date: Mon, 21 Oct 2013 20:13:21 GMT",
    "cache-control: private",
    ":status: 302",
  ],
  [
    ":status: 307",
    "location: https://www.example.com",
    "date: Mon, 21 Oct 2013 20:13:21 GMT",
    "cache-control: private",
  ],
  [
    "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    "content-encoding: gzip",
    "date: Mon, 21 Oct 2013 20:13:22 GMT",
  ],
];

function blocks(
  hexes: string[],
  fields: string[],
  tables: string[][],
): Example["blocks"] {
  return hexes.map((hex, i) => ({
    hex,
    fields: fields[i].split("|").flatMap((field) => {
      const space = field.indexOf(" ");
      return [field.slice(0, space), field.slice(space + 1)];
    }),
    table: tables[i],
  }));
}

const EXAMPLES: Example[] = [
  {
    name: "C.2.1, a literal with indexing",
    blocks: blocks(
      ["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"],
      ["custom-key custom-header"],
      [["custom-key: custom-header"]],
    ),
  },
  {
    name: "C.2.2, a literal without indexing",
    blocks: blocks(
      ["040c 2f73 616d 706c 652f 7061 7468"],
      [":path /sample/path"],
      [[]],
    ),
  },
  {
    name: "C.2.3, a literal that is never indexed",
    blocks: blocks(
      ["1008 7061 7373 776f 7264 0673 6563 7265 74"],
      ["password secret"],
      [[]],
    ),
  },
  {
    name: "C.2.4, an indexed field",
    blocks: blocks(["82"], [":method GET"], [[]]),
  },
  {
    name: "C.3, requests without Huffman coding",
    blocks: blocks(
      [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661" +
        "6c75 65",
      ],
      REQUEST_FIELDS,
      REQUEST_TABLES,
    ),
  },
  {
    name: "C.4, requests with Huffman coding",
    blocks: blocks(
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ],
      REQUEST_FIELDS,
      REQUEST_TABLES,
    ),
  },
  {
    name: "C.5, responses without Huffman coding",
    size: 256,
    blocks: blocks(
      [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63" +
        "7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073" +
        "3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133" +
        "3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48" +
        "514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178" +
        "2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
      ],
      RESPONSE_FIELDS,
      RESPONSE_TABLES,
    ),
  },
  {
    name: "C.6, responses with Huffman coding",
    size: 256,
    blocks: blocks(
      [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504" +
        "0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae" +
        "43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff" +
        "c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af" +
        "2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50" +
        "07",
      ],
      RESPONSE_FIELDS,
      RESPONSE_TABLES,
    ),
  },
];

describe("HpackDecoder: RFC 7541, appendix C", () => {
  for (const example of EXAMPLES) {
    test(`HpackDecoder reads ${example.name}`, () => {
      const decoder = new HpackDecoder({ maxTableSize: example.size ?? 4096 });
      for (const block of example.blocks) {
        assertEquals(decoder.decode(hex(block.hex), NO_LIMIT), block.fields);
        assertEquals(tableOf(decoder), block.table);
      }
    });
  }

  test("HpackDecoder reads the integers of C.1", () => {
    // 5 bits for it: size updates to 10 and to 1337.
    const decoder = new HpackDecoder({ maxTableSize: 1337 });
    assertEquals(decoder.decode(hex("2a"), NO_LIMIT), []);
    assertEquals(decoder.decode(hex("3f9a0a"), NO_LIMIT), []);
    refused("3f9a0a", "1337", 1336);
    // 7 bits for it: a string of 42 bytes.
    const block = concat([0x04, 42], latin1("/".repeat(42)));
    assertEquals(decoder.decode(block, NO_LIMIT), [":path", "/".repeat(42)]);
  });

  test("HpackEncoder writes the requests of C.4", () => {
    const encoder = new HpackEncoder();
    const example = EXAMPLES.find((e) => e.name.startsWith("C.4"))!;
    for (const block of example.blocks) {
      assertEquals(
        unHex(encoder.encode(block.fields)),
        unHex(hex(block.hex)),
      );
    }
  });
});

describe("HpackDecoder: the static table", () => {
  test("HpackDecoder knows all 61 entries of appendix A", () => {
    const decoder = new HpackDecoder();
    for (let index = 1; index <= 61; index++) {
      assertEquals(
        decoder.decode(Uint8Array.of(0x80 | index), NO_LIMIT),
        [STATIC_NAMES[index], STATIC_VALUES[index]],
      );
    }
    assertEquals(
      [1, 2, 8, 14, 15, 16, 17, 23, 32, 33, 38, 54, 58, 61].map((i) =>
        STATIC_NAMES[i]
      ),
      [
        ":authority",
        ":method",
        ":status",
        ":status",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cookie",
        "date",
        "host",
        "server",
        "user-agent",
        "www-authenticate",
      ],
    );
    assertEquals(
      [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16].map((i) =>
        STATIC_VALUES[i]
      ),
      "GET|POST|/|/index.html|http|https|200|204|206|304|400|404|500|gzip, deflate"
        .split("|"),
    );
    assertEquals(STATIC_VALUES.filter((value) => value !== "").length, 14);
  });
});

describe("HpackDecoder: what it refuses", () => {
  test("HpackDecoder refuses index 0 (6.1)", () => {
    refused("80", "index 0");
    refused("8280", "index 0");
  });

  test("HpackDecoder refuses an index beyond the tables (2.3.3)", () => {
    refused("be", "index 62");
    refused("ff00", "index 127");
    refused("ffffffff07", "is not in the tables");
    // The same for a name: 6.2.1, 6.2.2, 6.2.3.
    refused("7e0161", "index 62");
    refused("0f2f0161", "index 62");
    refused("1f2f0161", "index 62");
    const decoder = new HpackDecoder();
    decoder.decode(hex("4001610162"), NO_LIMIT);
    assertEquals(decoder.decode(hex("be"), NO_LIMIT), ["a", "b"]);
    assertThrows(() => decoder.decode(hex("bf"), NO_LIMIT), HpackError, "63");
  });

  test("HpackDecoder refuses a size update after a field (4.2)", () => {
    refused("8220", "size update comes after a field");
    refused("208220", "size update comes after a field");
    refused("04012f3f00", "size update comes after a field");
  });

  test("HpackDecoder refuses a size update above what we advertise (6.3)", () => {
    refused("3fe21f", "4097");
    refused("3fffffff0f", "size update");
    refused("21", "1 is more than 0", 0);
    const decoder = new HpackDecoder();
    assertEquals(decoder.decode(hex("3fe11f"), NO_LIMIT), []);
    const large = new HpackDecoder({ maxTableSize: 65536 });
    assertEquals(large.decode(hex("3fe1ff03"), NO_LIMIT), []);
    assertThrows(() => large.decode(hex("3fe2ff03"), NO_LIMIT), HpackError);
  });

  test("HpackDecoder refuses integers that are too long or large (5.1)", () => {
    for (const first of ["ff", "7f", "0f", "1f", "3f", "047f", "04ff"]) {
      refused(first + "8080808080808080808000", "5 bytes");
      refused(first + "ffffffffffffffffff7f", "5 bytes");
      refused(first + "ffffffffff", "5 bytes");
      refused(first + "80".repeat(10000) + "00", "5 bytes");
    }
    // Zeros that say nothing are allowed while there are few.
    const decoder = new HpackDecoder();
    decoder.decode(hex("3fe19f8000"), NO_LIMIT);
  });

  test("HpackDecoder refuses Huffman-coded EOS (5.2)", () => {
    refused("0484ffffffff", "EOS");
    refused("00 84ffffffff 00", "EOS");
    // Behind five bits of "a".
    refused("0485 1fffffff ff", "EOS");
    // In the middle: 30 bits of 1, then "aaa" and padding.
    refused("0487 fffffffc 6318 ff", "EOS");
  });

  test("HpackDecoder refuses padding of more than 7 bits (5.2)", () => {
    refused("0481ff", "at most 7 bits");
    refused("04821fff", "at most 7 bits");
    refused("0482ffff", "at most 7 bits");
    refused("0483ffffff", "at most 7 bits");
    refused("048e f1e3c2e5f23a6ba0ab90f4ff ffff", "at most 7 bits");
  });

  test("HpackDecoder refuses padding that is not of EOS (5.2)", () => {
    // "a" is 00011.
    assertEquals(new HpackDecoder().decode(hex("04811f"), NO_LIMIT), [
      ":path",
      "a",
    ]);
    for (let pad = 0; pad < 7; pad++) {
      refused(Uint8Array.of(0x04, 0x81, 0x18 | pad), "at most 7 bits");
    }
    refused("048100", "at most 7 bits");
  });

  test("HpackDecoder refuses a block that ends within a field (4.1 of RFC 9113)", () => {
    const encoder = new HpackEncoder();
    const fields = [
      ":method",
      "PATCH",
      ":path",
      "/x".repeat(200),
      "user-agent",
      "x/1.0",
      "authorization",
      "Bearer ~~~~~",
      "x-bytes",
      "\xff\x00\xfe",
    ];
    const block = encoder.encode(fields).slice();
    const whole = new HpackDecoder().decode(block, NO_LIMIT);
    assertEquals(whole, fields);
    for (let cut = 0; cut < block.length; cut++) {
      // Either it is refused, or it ends between two fields.
      let part: string[] | undefined;
      try {
        part = new HpackDecoder().decode(block.subarray(0, cut), NO_LIMIT);
      } catch (error) {
        assert(error instanceof HpackError);
        continue;
      }
      assertEquals(part, fields.slice(0, part!.length));
    }
    for (
      const cut of [
        "40",
        "4001",
        "400161",
        "40016101",
        "41",
        "4103",
        "3f",
        "ff",
      ]
    ) {
      refused(cut, "it ends within a field");
    }
    refused("047f", "it ends within a field");
    refused("04ff80", "it ends within a field");
    refused("04ffffffff7f", "it ends within a field");
  });
});

describe("HpackDecoder: the dynamic table", () => {
  /** A literal with indexing, of names and values that are short. */
  function add(name: string, value: string): Uint8Array {
    return concat(
      [0x40, name.length],
      latin1(name),
      value.length < 127
        ? [value.length]
        : [127, (value.length - 127) & 0x7f | 0x80, (value.length - 127) >> 7],
      latin1(value),
    );
  }

  test("HpackDecoder evicts the oldest first (4.4)", () => {
    const decoder = new HpackDecoder({ maxTableSize: 3 * 34 });
    for (const name of "abcd") decoder.decode(add(name, "x"), NO_LIMIT);
    assertEquals(tableOf(decoder), ["d: x", "c: x", "b: x"]);
  });

  test("HpackDecoder empties the table for an entry larger than it (4.4)", () => {
    const decoder = new HpackDecoder({ maxTableSize: 128 });
    decoder.decode(add("a", "x"), NO_LIMIT);
    const value = "y".repeat(128);
    assertEquals(decoder.decode(add("b", value), NO_LIMIT), ["b", value]);
    assertEquals(tableOf(decoder), []);
    // One that fits exactly stays: 1 + 95 + 32.
    decoder.decode(add("c", "z".repeat(95)), NO_LIMIT);
    assertEquals(tableOf(decoder).length, 1);
    decoder.decode(add("c", "z".repeat(96)), NO_LIMIT);
    assertEquals(tableOf(decoder).length, 0);
  });

  test("HpackDecoder takes a name from the entry that it evicts (4.4)", () => {
    const decoder = new HpackDecoder({ maxTableSize: 64 });
    decoder.decode(add("name", "v".repeat(20)), NO_LIMIT);
    assertEquals(
      decoder.decode(concat([0x7e, 21], latin1("w".repeat(21))), NO_LIMIT),
      ["name", "w".repeat(21)],
    );
    assertEquals(tableOf(decoder), ["name: " + "w".repeat(21)]);
    // The same when nothing is left of it.
    assertEquals(
      decoder.decode(concat([0x7e, 60], latin1("w".repeat(60))), NO_LIMIT),
      ["name", "w".repeat(60)],
    );
    assertEquals(tableOf(decoder), []);
  });

  test("HpackDecoder evicts for a size update (4.3)", () => {
    const decoder = new HpackDecoder();
    for (const name of "abcd") decoder.decode(add(name, "x"), NO_LIMIT);
    decoder.decode(concat([0x3f, 68 - 31], [0x82]), NO_LIMIT);
    assertEquals(tableOf(decoder), ["d: x", "c: x"]);
    // To nothing and back: all are gone.
    decoder.decode(hex("20 3fe11f"), NO_LIMIT);
    assertEquals(tableOf(decoder), []);
    decoder.decode(add("e", "x"), NO_LIMIT);
    assertEquals(tableOf(decoder), ["e: x"]);
  });

  test("HpackDecoder keeps duplicate entries (2.3.2)", () => {
    const decoder = new HpackDecoder();
    decoder.decode(concat(add("a", "x"), add("a", "x")), NO_LIMIT);
    assertEquals(tableOf(decoder), ["a: x", "a: x"]);
  });

  test("HpackDecoder starts with 4096 however much we advertise (4.2)", () => {
    const decoder = new HpackDecoder({ maxTableSize: 65536 });
    for (let i = 0; i < 5; i++) {
      decoder.decode(add("a", `${i}`.repeat(1000)), NO_LIMIT);
    }
    assertEquals(tableOf(decoder).length, 3);
    decoder.decode(hex("3fe1ff03"), NO_LIMIT);
    for (let i = 0; i < 70; i++) {
      decoder.decode(add("a", `${i % 10}`.repeat(1000)), NO_LIMIT);
    }
    assertEquals(tableOf(decoder).length, Math.floor(65536 / 1033));
  });

  test("HpackDecoder holds the most entries that there can be", () => {
    const decoder = new HpackDecoder({ maxTableSize: 4096 });
    // Empty names and values: 32 bytes each.
    for (let i = 0; i < 1000; i++) decoder.decode(add("", ""), NO_LIMIT);
    assertEquals(tableOf(decoder).length, 128);
  });
});

describe("HpackDecoder: limits", () => {
  test("HpackDecoder counts names, values and 32 a field (RFC 9113, 6.5.2)", () => {
    const decoder = new HpackDecoder();
    // :method GET is 7 + 3 + 32.
    assertEquals(decoder.decode(hex("82"), 42), [":method", "GET"]);
    assertEquals(decoder.decode(hex("82"), 41), undefined);
    assertEquals(decoder.decode(hex("8282"), 83), undefined);
    assertEquals(decoder.decode(hex("8282"), 84)!.length, 4);
    assertEquals(decoder.decode(hex(""), 0), []);
  });

  test("HpackDecoder stays in step when a list is too large", () => {
    const decoder = new HpackDecoder();
    assertEquals(
      decoder.decode(hex("8282 4001610162 4001630164"), 50),
      undefined,
    );
    assertEquals(decoder.decode(hex("bebf"), 100), ["c", "d", "a", "b"]);
    // What is wrong behind the limit is wrong all the same.
    assertThrows(() => decoder.decode(hex("828280"), 50), HpackError);
  });

  test("HpackDecoder bounds an HPACK bomb", () => {
    const decoder = new HpackDecoder();
    const value = "b".repeat(4000);
    decoder.decode(
      concat([0x40, 1], latin1("a"), [0x7f, 0xa1, 0x1e], latin1(value)),
      NO_LIMIT,
    );
    assertEquals(decoder.decode(hex("be"), NO_LIMIT), ["a", value]);
    // 1 MiB of references to 4 KB each.
    const bomb = new Uint8Array(1024 * 1024).fill(0xbe);
    assertEquals(decoder.decode(bomb, 64 * 1024), undefined);
    assertEquals(decoder.decode(hex("be"), NO_LIMIT), ["a", value]);
  });

  test("HpackDecoder and random bytes: fields or an HpackError", () => {
    const next = random(7541);
    for (let round = 0; round < 20000; round++) {
      const decoder = new HpackDecoder();
      for (let i = 0; i < 2; i++) {
        const block = Uint8Array.from(
          { length: next(60) },
          () => next(4) === 0 ? next(256) : [0x82, 0x40, 1, 3, 0x81, 0x1f][i],
        );
        try {
          const fields = decoder.decode(block, 1000);
          assert(fields === undefined || fields.length % 2 === 0);
        } catch (error) {
          assert(error instanceof HpackError, `${error}`);
          break;
        }
      }
    }
  });

  test("HpackDecoder and a valid block with one byte changed", () => {
    const block = new HpackEncoder().encode([
      ":method",
      "GET",
      ":path",
      "/a/b?c=d",
      "user-agent",
      "Mozilla/5.0 (X11; Linux x86_64)",
      "cookie",
      "a=b; c=d; e=f; g=h; i=j",
    ]).slice();
    for (let at = 0; at < block.length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        const changed = block.slice();
        changed[at] = byte;
        try {
          new HpackDecoder().decode(changed, 4096);
        } catch (error) {
          assert(error instanceof HpackError, `${error}`);
        }
      }
    }
  });
});

describe("Huffman coding", () => {
  test("decodeHuffman() gives back what encodeHuffman() wrote", () => {
    const next = random(1);
    const all = String.fromCharCode(
      ...Array.from({ length: 256 }, (_, i) => i),
    );
    const texts = ["", all, ...all, ...[...all].map((c) => c.repeat(9))];
    for (let i = 0; i < 2000; i++) {
      texts.push(
        Array.from({ length: next(40) }, () => all[next(256)]).join(""),
      );
    }
    texts.push("long ".repeat(20000));
    for (const text of texts) {
      const length = huffmanLength(text);
      const bytes = new Uint8Array(length + 1);
      assertEquals(encodeHuffman(text, bytes, 0), length);
      assertEquals(bytes[length], 0);
      assertEquals(decodeHuffman(bytes, 0, length), text);
    }
  });

  test("encodeHuffman() writes the codes of appendix B", () => {
    // The first and the last code of each length, and EOS as padding.
    const codes: [number, string][] = [
      [0x30, "00000"],
      [0x74, "01001"],
      [0x20, "010100"],
      [0x75, "101101"],
      [0x3a, "1011100"],
      [0x7a, "1111011"],
      [0x26, "11111000"],
      [0x5a, "11111101"],
      [0x21, "1111111000"],
      [0x3f, "1111111100"],
      [0x27, "11111111010"],
      [0x7c, "11111111100"],
      [0x23, "111111111010"],
      [0x3e, "111111111011"],
      [0x00, "1111111111000"],
      [0x7e, "1111111111101"],
      [0x5e, "11111111111100"],
      [0x7d, "11111111111101"],
      [0x3c, "111111111111100"],
      [0x7b, "111111111111110"],
      [0x5c, "1111111111111110000"],
      [0xd0, "1111111111111110010"],
      [0x80, "11111111111111100110"],
      [0xe2, "11111111111111101101"],
      [0x81, "1111111111111111010010"],
      [0x01, "11111111111111111011000"],
      [0x09, "111111111111111111101010"],
      [0xc7, "1111111111111111111101100"],
      [0xc0, "11111111111111111111100000"],
      [0xcb, "111111111111111111111011110"],
      [0x02, "1111111111111111111111100010"],
      [0xfe, "111111111111111111111110000"],
      [0x0a, "111111111111111111111111111100"],
      [0x16, "111111111111111111111111111110"],
    ];
    for (const [byte, code] of codes) {
      const text = String.fromCharCode(byte);
      const bytes = new Uint8Array(4);
      const end = encodeHuffman(text, bytes, 0);
      const bits = [...bytes.subarray(0, end)]
        .map((b) => b.toString(2).padStart(8, "0")).join("");
      assertEquals(bits, code.padEnd(end * 8, "1"), `0x${byte.toString(16)}`);
    }
  });
});

describe("HpackEncoder", () => {
  const GET = [":method", "GET", ":scheme", "https", ":path", "/"];

  test("HpackEncoder writes what it has written before as one byte", () => {
    const encoder = new HpackEncoder();
    const fields = [
      ...GET,
      ":authority",
      "example.com",
      "user-agent",
      "curl/8.5.0",
      "accept",
      "*/*",
      "cookie",
      "session=0123456789abcdef",
    ];
    assert(encoder.encode(fields).length > 8);
    assertEquals(unHex(encoder.encode(fields)), "828784c1c0bfbe");
    assertEquals(unHex(encoder.encode(fields)), "828784c1c0bfbe");
  });

  test("HpackEncoder never has secrets indexed (7.1.3)", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder();
    const secrets: [string, string, string][] = [
      ["authorization", "Bearer 0123456789abcdef0123456789abcdef", "1f08"],
      ["proxy-authorization", "Basic x", "1f22"],
      ["cookie", "pin=1234", "1f11"],
      ["set-cookie", "pin=1234", "1f28"],
    ];
    for (let round = 0; round < 3; round++) {
      for (const [name, value, start] of secrets) {
        const block = encoder.encode([name, value]);
        assertEquals(unHex(block.subarray(0, 2)), start, name);
        assertEquals(decoder.decode(block, NO_LIMIT), [name, value]);
      }
      for (const name of ["x-key", "accept"]) {
        const block = encoder.encode([name, "secret"], new Set([name]));
        assertEquals(block[0] & 0xf0, 0x10);
        assertEquals(decoder.decode(block, NO_LIMIT), [name, "secret"]);
      }
    }
    assertEquals(tableOf(decoder), []);
    // It was indexed while it was none, and is not referred to when it is one.
    encoder.encode(["x-key", "secret"]);
    assertEquals(unHex(encoder.encode(["x-key", "secret"])), "be");
    const block = encoder.encode(["x-key", "secret"], new Set(["x-key"]));
    assertEquals(block[0] & 0xf0, 0x10);
  });

  test("HpackEncoder keeps out of the table what always changes", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder();
    for (let i = 0; i < 20; i++) {
      const fields = [
        ":status",
        "200",
        "date",
        `Mon, 21 Oct 2013 20:13:${20 + (i >> 1)} GMT`,
        "content-length",
        `${i >> 2}`,
        "etag",
        `"${i}"`,
        "traceparent",
        `00-${i}`,
        "set-cookie",
        `id=${i}; path=/; secure; httponly`,
      ];
      assertEquals(decoder.decode(encoder.encode(fields), NO_LIMIT), fields);
    }
    assertEquals(tableOf(decoder), []);
  });

  test("HpackEncoder gives up on a name whose values always change", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder();
    const send = (fields: string[]) => {
      const block = encoder.encode(fields);
      const length = block.length;
      assertEquals(decoder.decode(block, NO_LIMIT), fields);
      return length;
    };
    send(["accept", "*/*"]);
    for (let i = 0; i < 500; i++) {
      send([":path", `/items/${i}`, "x-correlation", `${i}-${i * i}`]);
    }
    assertEquals(tableOf(decoder).length, 17);
    assertEquals(send(["accept", "*/*"]), 1);
    // What comes twice running is indexed after all.
    send([":path", "/stays"]);
    send([":path", "/stays"]);
    assertEquals(send([":path", "/stays"]), 1);
  });

  test("HpackEncoder does not index what fills the table", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder();
    const fields = ["a", "b", "x-large", "l".repeat(3500), "c", "d"];
    for (let i = 0; i < 3; i++) {
      assertEquals(decoder.decode(encoder.encode(fields), NO_LIMIT), fields);
    }
    assertEquals(tableOf(decoder), ["c: d", "a: b"]);
  });

  test("HpackEncoder starts with a size update when it uses less (4.2)", () => {
    const encoder = new HpackEncoder({ maxTableSize: 256 });
    const decoder = new HpackDecoder();
    assertEquals(unHex(encoder.encode(GET)), "3fe101828784");
    assertEquals(unHex(encoder.encode(GET)), "828784");
    for (let i = 0; i < 20; i++) {
      decoder.decode(encoder.encode([`n${i}`, "v"]), NO_LIMIT);
    }
  });

  test("HpackEncoder.setPeerTableSize() is told in the next block (4.2)", () => {
    const encoder = new HpackEncoder();
    // Larger than what we use: nothing to say.
    encoder.setPeerTableSize(65536);
    assertEquals(unHex(encoder.encode(GET)), "828784");
    // It takes back what we never used.
    encoder.setPeerTableSize(8192);
    assertEquals(unHex(encoder.encode(GET)), "3fe11f828784");
    encoder.setPeerTableSize(100);
    assertEquals(unHex(encoder.encode(GET)), "3f45828784");
    assertEquals(unHex(encoder.encode(GET)), "828784");
    // Down and up: the smallest, and the last.
    encoder.setPeerTableSize(0);
    encoder.setPeerTableSize(50);
    encoder.setPeerTableSize(4096);
    assertEquals(unHex(encoder.encode(GET)), "203fe11f828784");
    // Up, down and up again, below where it was.
    encoder.setPeerTableSize(1000);
    encoder.setPeerTableSize(500);
    encoder.setPeerTableSize(2000);
    assertEquals(unHex(encoder.encode(GET)), "3fd5033fb10f828784");
    encoder.setPeerTableSize(0);
    assertEquals(unHex(encoder.encode(["a", "b"])), "2000" + "01610162");
    assertEquals(unHex(encoder.encode(["a", "b"])), "0001610162");
    assertThrows(() => encoder.setPeerTableSize(-1), RangeError);
    assertThrows(() => encoder.setPeerTableSize(NaN), RangeError);
  });

  test("HpackEncoder uses more than 4096 once the peer allows it", () => {
    const encoder = new HpackEncoder({ maxTableSize: 16384 });
    const decoder = new HpackDecoder({ maxTableSize: 65536 });
    decoder.decode(encoder.encode(GET), NO_LIMIT);
    encoder.setPeerTableSize(65536);
    const fields = Array.from({ length: 200 }, (_, i) => [`n${i}`, "v"]).flat();
    decoder.decode(encoder.encode(fields), NO_LIMIT);
    const block = encoder.encode(fields);
    assert(block.length < 2.2 * 200, `${block.length}`);
    assertEquals(decoder.decode(block, NO_LIMIT), fields);
  });

  test("HpackEncoder refuses what is not Latin-1, and stays in step", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder();
    decoder.decode(encoder.encode(["a", "b"]), NO_LIMIT);
    for (const bad of ["\u010a", "\ud83d\ude00", "long long long \u0100"]) {
      assertThrows(() => encoder.encode(["c", "d", "e", bad]), TypeError);
      assertThrows(() => encoder.encode(["c", "d", bad, "e"]), TypeError);
    }
    const fields = ["c", "d", "a", "b", "e", "\xff"];
    assertEquals(decoder.decode(encoder.encode(fields), NO_LIMIT), fields);
    assertEquals(tableOf(decoder), ["e: \xff", "a: b", "c: d"]);
    assertEquals(decoder.decode(encoder.encode(fields), NO_LIMIT), fields);
  });

  test("HpackEncoder and HpackDecoder: random fields come back", () => {
    const next = random(42);
    const names = [
      ...STATIC_NAMES.slice(1),
      "x-a",
      "x-b",
      "x-c",
      "traceparent",
      "\xe9",
    ];
    const value = () => {
      switch (next(6)) {
        case 0:
          return "";
        case 1:
          return `${next(5)}`;
        case 2:
          return STATIC_VALUES[1 + next(61)];
        case 3:
          return "~".repeat(next(400));
        default:
          return String.fromCharCode(
            ...Array.from({ length: next(30) }, () => next(256)),
          );
      }
    };
    for (const most of [0, 32, 64, 200, 1000, 4096, 65536]) {
      const encoder = new HpackEncoder({ maxTableSize: most });
      const decoder = new HpackDecoder({ maxTableSize: 65536 });
      for (let round = 0; round < 300; round++) {
        const fields: string[] = [];
        for (let n = next(20); n > 0; n--) {
          const name = next(20) === 0
            ? `r-${next(1000)}`
            : names[next(names.length)];
          fields.push(name, value());
        }
        if (next(10) === 0) encoder.setPeerTableSize(next(most * 2 + 1));
        if (next(20) === 0) encoder.setPeerTableSize(0);
        if (next(3) === 0) encoder.setPeerTableSize(65536);
        const sensitive = next(5) === 0 ? new Set(["x-a"]) : undefined;
        const block = encoder.encode(fields, sensitive);
        assertEquals(decoder.decode(block, NO_LIMIT), fields);
      }
    }
  });
});
