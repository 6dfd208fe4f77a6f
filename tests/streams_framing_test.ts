import { test } from "node:test";
import {
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { within } from "./_support.ts";
import { all, randomly } from "./_streams_support.ts";
import {
  Channel,
  ClosedError,
  delimited,
  frameDelimited,
  frameJsonLines,
  frameLengthPrefixed,
  frameLines,
  from,
  jsonLines,
  lengthPrefixed,
  lines,
  ProtocolError,
  SizeLimitError,
  text,
} from "../streams/mod.ts";
import type { Bytes, Operator } from "../streams/mod.ts";

const encoder = new TextEncoder();

/** What comes out, and the error that came after it. */
async function outcome<T>(
  op: Operator<Bytes, T>,
  chunks: Bytes[],
): Promise<{ out: T[]; error?: unknown }> {
  const out: T[] = [];
  try {
    for await (const message of op(from(chunks))) out.push(message);
    return { out };
  } catch (error) {
    return { out, error };
  }
}

/** Every way to cut bytes in two, in three, and into single ones. */
function* cuts(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  for (let a = 0; a <= bytes.length; a++) {
    yield [bytes.slice(0, a), bytes.slice(a)];
    for (let b = a + 1; b < bytes.length; b++) {
      yield [bytes.slice(0, a), bytes.slice(a, b), bytes.slice(b)];
    }
  }
  yield Array.from(bytes, (byte) => new Uint8Array([byte]));
}

/** It must not matter how the bytes are cut. */
async function sameForAllCuts<T>(
  op: () => Operator<Bytes, T>,
  input: Bytes,
  expected: { out: T[]; error?: string },
): Promise<void> {
  const bytes = typeof input === "string"
    ? encoder.encode(input)
    : input as Uint8Array;
  for (const chunks of cuts(bytes)) {
    const { out, error } = await outcome(op(), chunks);
    const where = JSON.stringify(chunks.map((chunk) => [...chunk]));
    assertEquals(out, expected.out, where);
    assertEquals((error as Error | undefined)?.name, expected.error, where);
  }
}

test("`lines()` ends lines by LF and CRLF, however they are cut", async () => {
  const table: [string, string[]][] = [
    ["", []],
    ["\n", [""]],
    ["\r\n", [""]],
    ["one\ntwo\r\nthree", ["one", "two", "three"]],
    ["one\n\n\r\ntwo\n", ["one", "", "", "two"]],
    ["a\rb\r\r\nc\r", ["a\rb\r", "c\r"]],
    ["añ€😀\né\n", ["añ€😀", "é"]],
    ["\ufeffbom\n\ufeffkept\n", ["bom", "\ufeffkept"]],
    ["\ufeff", [""]],
  ];
  for (const [input, out] of table) {
    await sameForAllCuts(() => lines(), input, { out });
  }
});

test("`lines()` fails at the line that is too long, not before it", async () => {
  const op = () => lines({ maxLength: 4 });
  await sameForAllCuts(op, "abcd\nefgh\r\nij", { out: ["abcd", "efgh", "ij"] });
  await sameForAllCuts(op, "ab\nabcde\nx\n", {
    out: ["ab"],
    error: "SizeLimitError",
  });
  await sameForAllCuts(op, "ab\nabcde", {
    out: ["ab"],
    error: "SizeLimitError",
  });
  await sameForAllCuts(op, "é€\n", { out: [], error: "SizeLimitError" });
  await sameForAllCuts(op, "abcd\r", { out: [], error: "SizeLimitError" });
  const { error } = await outcome(op(), ["abcde"]);
  assertInstanceOf(error, SizeLimitError);
  assertEquals(error.limit, 4);
});

test("`lines()` holds no more than its limit of a line without an end", async () => {
  const channel = new Channel<Bytes>({ capacity: 1 });
  const received = Promise.resolve(lines()(channel).receive());
  received.catch(() => {});
  const chunk = new Uint8Array(65_536).fill(97);
  let sent = 0;
  while (await channel.send(chunk) && sent < 100) sent++;
  await assertRejects(() => within(received), SizeLimitError);
  assertLessOrEqual(sent, 20);
});

test("`delimited()` cuts at its delimiter, however that is cut", async () => {
  const enc = (list: string[]) => list.map((s) => encoder.encode(s));
  const table: [string, string, string[]][] = [
    ["\0", "one\0two\0", ["one", "two"]],
    ["\0", "one\0\0two", ["one", "", "two"]],
    ["\r\n\r\n", "a\r\n\r\nb\r\nc\r\n\r\n\r\n", ["a", "b\r\nc", "\r\n"]],
    ["aab", "aaabxaabaa", ["a", "x", "aa"]],
    ["--", "a-b--c-", ["a-b", "c-"]],
    ["--", "-----", ["", "", "-"]],
  ];
  for (const [delimiter, input, out] of table) {
    await sameForAllCuts(() => delimited(delimiter), input, { out: enc(out) });
  }
  const op = () => delimited("--", { maxLength: 3 });
  await sameForAllCuts(op, "abc--def--", { out: enc(["abc", "def"]) });
  await sameForAllCuts(op, "a--abcd--", {
    out: enc(["a"]),
    error: "SizeLimitError",
  });
  await sameForAllCuts(op, "a--abc-", {
    out: enc(["a"]),
    error: "SizeLimitError",
  });
  assertThrows(() => delimited(""), RangeError);
});

test("`lengthPrefixed()` reads lengths of every size and order", async () => {
  for (const bytes of [1, 2, 4, 8] as const) {
    for (const littleEndian of [false, true]) {
      const messages = ["", "a", "hello"].map((s) => encoder.encode(s));
      const input = await within(
        concat(frameLengthPrefixed({ bytes, littleEndian }), messages),
      );
      await sameForAllCuts(
        () => lengthPrefixed({ bytes, littleEndian }),
        input,
        { out: messages },
      );
      const early = input.subarray(0, -1);
      await sameForAllCuts(
        () => lengthPrefixed({ bytes, littleEndian }),
        early,
        { out: messages.slice(0, 2), error: "ClosedError" },
      );
    }
  }
  assertThrows(() => lengthPrefixed({ bytes: 3 as 4 }), RangeError);
});

test("`lengthPrefixed()` fails at the length, before anything is held", async () => {
  const op = () => lengthPrefixed({ bytes: 4 }, { maxLength: 3 });
  await sameForAllCuts(op, new Uint8Array([0, 0, 0, 1, 65, 0, 0, 0, 4]), {
    out: [new Uint8Array([65])],
    error: "SizeLimitError",
  });
  const { error } = await outcome(
    lengthPrefixed({ bytes: 8 }),
    [new Uint8Array(8).fill(255)],
  );
  assertInstanceOf(error, SizeLimitError);
  const { error: cut } = await outcome(
    lengthPrefixed({ bytes: 2 }),
    [new Uint8Array([0])],
  );
  assertInstanceOf(cut, ClosedError);
  assertEquals(cut.code, "ERR_UNEXPECTED_END");
});

test("`frameLengthPrefixed()` refuses what its length cannot say", async () => {
  const op = frameLengthPrefixed({ bytes: 1 });
  assertEquals(
    (await all(op(from<Bytes>([new Uint8Array(255)]))))[0].length,
    256,
  );
  await assertRejects(
    () => all(op(from<Bytes>([new Uint8Array(256)]))),
    SizeLimitError,
  );
});

test("`jsonLines()` gives the values of the lines", async () => {
  await sameForAllCuts(
    () => jsonLines(),
    '{"a":"é"}\n\n [1,2]\r\nnull\n  \n"x"',
    { out: [{ a: "é" }, [1, 2], null, "x"] },
  );
  await sameForAllCuts(() => jsonLines(), "1\n{\n2\n", {
    out: [1],
    error: "ProtocolError",
  });
  const { error } = await outcome(jsonLines(), ["nope\n"]);
  assertInstanceOf(error, ProtocolError);
  assertInstanceOf(error.cause, SyntaxError);
  const { error: long } = await outcome(jsonLines({ maxLength: 3 }), ["[1,2]"]);
  assertInstanceOf(long, SizeLimitError);
});

test("`frameLines()` and the others refuse what would be read as more", async () => {
  assertEquals(
    await text(frameLines()(from<Bytes>(["a", "", "b"]))),
    "a\n\nb\n",
  );
  assertEquals(
    await text(frameLines()(from<Bytes>([encoder.encode("a")]))),
    "a\n",
  );
  await assertRejects(
    () => all(frameLines()(from<Bytes>(["a\nb"]))),
    TypeError,
  );
  await assertRejects(
    () => all(frameLines()(from<Bytes>([new Uint8Array([10])]))),
    TypeError,
  );
  assertEquals(
    await text(frameJsonLines()(from([{ a: "\n" }, 1]))),
    '{"a":"\\n"}\n1\n',
  );
  await assertRejects(() => all(frameJsonLines()(from([() => 1]))), TypeError);
  assertEquals(
    await text(frameDelimited("--")(from<Bytes>(["a", "b"]))),
    "a--b--",
  );
  for (const message of ["a--b", "a-"]) {
    await assertRejects(
      () => all(frameDelimited("--")(from<Bytes>([message]))),
      TypeError,
    );
  }
});

test("framing and unframing give back what went in, at random", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomly(seed);
    const texts = Array.from(
      { length: random(20) },
      () =>
        Array.from(
          { length: random(30) },
          () => "abc €😀\r\t{}"[random(12)] ?? "",
        )
          .join("").replace(/[\ud800-\udfff]/g, "x").replace(/\r+$/, ""),
    );
    const values = texts.map((s, i) => ({ s, i }));
    const rounds: [Operator<Bytes, unknown>, Uint8Array, unknown[]][] = [
      [lines(), await concat(frameLines(), texts), texts],
      [jsonLines(), await concat(frameJsonLines(), values), values],
      [
        delimited("\0\0"),
        await concat(frameDelimited("\0\0"), texts),
        texts.map((s) => encoder.encode(s)),
      ],
      [
        lengthPrefixed({ bytes: 2 }),
        await concat(frameLengthPrefixed({ bytes: 2 }), texts),
        texts.map((s) => encoder.encode(s)),
      ],
    ];
    for (const [op, bytes, expected] of rounds) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length;) {
        const n = 1 + random(random(4) === 0 ? 100 : 5);
        chunks.push(bytes.slice(at, at + n));
        at += n;
      }
      assertEquals(
        await all(op(from<Bytes>(chunks))),
        expected,
        `seed ${seed}`,
      );
      // The same as a TransformStream.
      const streamed = from<Bytes>(chunks).readable.pipeThrough(op.transform());
      assertEquals(await all(from(streamed)), expected, `seed ${seed}`);
    }
  }
});

test("framing reads on after a wait was given up, and stops its producer", async () => {
  const channel = new Channel<Bytes>();
  const source = lines()(channel);
  channel.send("on");
  await assertRejects(async () => await source.receive({ timeout: 1 }));
  channel.send("e\ntwo\n");
  assertEquals(await within(Promise.resolve(source.receive())), "one");
  assertEquals(source.receive(), "two");
  const reader = source.readable.getReader();
  await reader.cancel(new Error("enough"));
  assertEquals((await within(channel.closed)).clean, false);
});

test("framing passes batches on", async () => {
  const channel = new Channel<Bytes>();
  channel.send("a\nb\nc");
  channel.send("\nd\n");
  channel.close();
  const batches: (readonly string[])[] = [];
  for await (const batch of lines()(channel).batches()) batches.push(batch);
  assertEquals(batches, [["a", "b", "c", "d"]]);
});

async function concat<T>(
  op: Operator<T, Uint8Array>,
  messages: T[],
): Promise<Uint8Array> {
  const parts = await all(op(from(messages)));
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
