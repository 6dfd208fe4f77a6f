import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { all, settled, unhandled } from "./_streams_support.ts";
import {
  bytes,
  Channel,
  ClosedError,
  ConnectError,
  DnsError,
  from,
  hexDump,
  NetError,
  PoolError,
  ProtocolError,
  ProxyError,
  SizeLimitError,
  text,
  TimeoutError,
  TlsError,
  toReadable,
} from "../streams/mod.ts";
import { takeOrigin } from "../streams/_origin.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

test("`from()` awaits promises among the values, as `for await` does", async () => {
  let returned = false;
  const values = {
    *[Symbol.iterator]() {
      try {
        yield 1;
        yield Promise.resolve(2);
        yield 3;
        yield Promise.reject(new Error("fourth"));
      } finally {
        returned = true;
      }
    },
  };
  const source = from(values as Iterable<number>);
  assertEquals(source.receive(), 1);
  // Several wait: one message for each, in order.
  const waiting = [source.receive(), source.receive()];
  assertEquals(await within(Promise.all(waiting)), [2, 3]);
  await assertRejects(async () => await source.receive(), Error, "fourth");
  assertEquals(returned, true);
});

test("`from()` serves receivers that wait together, in order", async () => {
  const source = from((async function* () {
    for (const n of [1, 2, 3]) yield await Promise.resolve(n);
  })());
  const waiting = [1, 2, 3, 4].map(() => source.receive());
  assertEquals(await within(Promise.all(waiting)), [1, 2, 3, undefined]);
});

test("`from()` takes thenables for what they are", async () => {
  let n = 0;
  const source = from<number>({
    [Symbol.asyncIterator]: () => ({
      next: () => ({
        then: (resolve: (result: IteratorResult<number>) => void) =>
          resolve(
            n < 2 ? { value: n++, done: false } : { value: 0, done: true },
          ),
      }),
    }),
  } as unknown as AsyncIterable<number>);
  assertEquals(await within(all(source)), [0, 1]);
});

test("`from()` refuses `undefined` among the messages, and stops there", async () => {
  let stopped = false;
  const source = from((function* () {
    try {
      yield 1;
      yield undefined;
      yield 2;
    } finally {
      stopped = true;
    }
  })());
  assertEquals(source.receive(), 1);
  await assertRejects(async () => await source.receive(), TypeError);
  assertEquals(stopped, true);
});

test("`from()` read by a stream loses nothing to a wait given up", async () => {
  let give!: (n: number) => void;
  const source = from(
    new ReadableStream<number>({
      pull: (controller) =>
        new Promise<void>((resolve) => {
          give = (n) => {
            controller.enqueue(n);
            resolve();
          };
        }),
    }, { highWaterMark: 0 }),
  );
  const controller = new AbortController();
  const waiting = source.receive({ signal: controller.signal });
  controller.abort(new Error("enough"));
  await assertRejects(async () => await waiting, Error, "enough");
  give(7);
  assertEquals(await within(Promise.resolve(source.receive())), 7);
});

test("`from()` destroyed drops what it has and stops its producer", async () => {
  const reasons = await unhandled(async () => {
    const stops: string[] = [];
    const sources = [
      from((function* () {
        try {
          for (;;) yield 1;
        } finally {
          stops.push("generator");
        }
      })()),
      from((async function* () {
        try {
          for (;;) yield 1;
        } finally {
          stops.push("async generator");
        }
      })()),
      from(
        new ReadableStream<number>({
          pull: (controller) => controller.enqueue(1),
          cancel: () => void stops.push("stream"),
        }),
      ),
      from<number>({
        [Symbol.iterator]: () => ({
          next: () => ({ value: 1, done: false }),
          return: () => {
            stops.push("iterator");
            throw new Error("it will not");
          },
        }),
      }),
      from<number>({
        [Symbol.asyncIterator]: () => ({
          next: () => Promise.resolve({ value: 1, done: false }),
          return: () => {
            stops.push("async iterator");
            return Promise.reject(new Error("it will not"));
          },
        }),
      }),
    ];
    for (const source of sources) {
      const ended = source as typeof source & {
        destroy(reason?: unknown): void;
      };
      assertEquals(await ended.receive(), 1);
      ended.destroy(new Error("why"));
      await assertRejects(async () => await ended.receive(), Error, "why");
      ended.destroy(new Error("again"));
    }
    await until(() => stops.length === 5, "The end of all producers");
  });
  assertEquals(reasons, []);
});

test("`from()` locks a stream, and gives its error", async () => {
  const stream = new ReadableStream<number>({
    start: (controller) => controller.error(new Error("dry")),
  });
  const source = from(stream);
  assertEquals(stream.locked, true);
  await assertRejects(async () => await source.receive(), Error, "dry");
  assertThrows(() => from(stream), TypeError);
});

test("`toReadable()` gives a stream of bytes back as it is", async () => {
  const stream = new ReadableStream<Uint8Array>({
    type: "bytes",
    pull(controller) {
      controller.enqueue(encoder.encode("x"));
      controller.close();
    },
  });
  assertStrictEquals(toReadable(stream), stream);
  assertEquals(stream.locked, false);
  assertEquals(await text(stream), "x");
  const response = new Response("resp");
  assertStrictEquals(toReadable(response), response.body);
  assertEquals(await response.text(), "resp");
  await assertRejects(async () => await text(response), TypeError);
  assertThrows(() => toReadable(response), TypeError, "used");
});

test("`toReadable()` encodes the strings of another stream", async () => {
  const stream = new ReadableStream<string>({
    start(controller) {
      controller.enqueue("hé");
      controller.enqueue("llo");
      controller.close();
    },
  });
  assertEquals(await text(toReadable(stream)), "héllo");
});

test("`toReadable()` takes every kind of bytes", async () => {
  const { buffer } = new Uint8Array([0, 0x41, 0x42, 0]);
  for (
    const view of [
      new Uint8Array(buffer, 1, 2),
      new DataView(buffer, 1, 2),
      new Int8Array(buffer, 1, 2),
      buffer.slice(1, 3),
    ]
  ) {
    assertEquals(await text(toReadable(view)), "AB");
    assertEquals(await text([view]), "AB");
  }
  assertEquals(await text(new Uint16Array([0x4142]).buffer), "BA");
  assertEquals(
    await text(new Request("http://a/", { method: "POST", body: "q" })),
    "q",
  );
  assertEquals(await bytes(new Response(null)), new Uint8Array());
  assertEquals(await text(new Blob(["a", "b"])), "ab");
  assertEquals(await text(undefined), "");
  const form = new FormData();
  form.set("name", "value");
  const encoded = await text(form);
  assert(encoded.includes('name="name"') && encoded.includes("value"));
});

test("`toReadable()` gives one chunk a message, when it is asked for", async () => {
  const channel = new Channel<string>({ capacity: 2 });
  const reader = toReadable(channel).getReader();
  await settled();
  channel.send("one");
  channel.send("two");
  await settled();
  assertEquals(channel.buffered, 2);
  assertEquals(decoder.decode((await reader.read()).value), "one");
  assertEquals(channel.buffered, 1);
  assertEquals(decoder.decode((await reader.read()).value), "two");
  const waiting = reader.read();
  channel.close();
  assertEquals((await waiting).done, true);
});

test("`toReadable()` passes failures both ways", async () => {
  const channel = new Channel<string>();
  const reader = toReadable(channel).getReader();
  const reading = reader.read();
  channel.destroy(new Error("broken"));
  await assertRejects(() => reading, Error, "broken");

  const other = new Channel<unknown>();
  other.send(5);
  await assertRejects(() => toReadable(other).getReader().read(), TypeError);
  assertEquals((await within(other.closed)).clean, false);

  const last = new Channel<string>();
  const reason = new Error("enough");
  await toReadable(last).cancel(reason);
  assertStrictEquals((await last.closed).error?.cause, reason);
  const collected = new Channel<unknown>();
  collected.send(Symbol("no bytes"));
  await assertRejects(() => bytes(collected), TypeError);
  assertEquals((await within(collected.closed)).clean, false);
});

test("`takeOrigin()` finds the source behind an untouched stream, once", async () => {
  const channel = new Channel<string>();
  const stream = toReadable(channel);
  assertStrictEquals(takeOrigin(stream), channel);
  assertEquals(stream.locked, true);
  assertEquals(takeOrigin(stream), undefined);

  const read = toReadable(from(["a", "b"]));
  const reader = read.getReader();
  assertEquals(takeOrigin(read), undefined);
  await reader.read();
  reader.releaseLock();
  assertEquals(takeOrigin(read), undefined);
  const cancelled = toReadable(from(["a"]));
  await cancelled.cancel();
  assertEquals(takeOrigin(cancelled), undefined);
  assertEquals(takeOrigin(new ReadableStream()), undefined);
});

test("`bytes()` gives memory of its own", async () => {
  const own = new Uint8Array([1, 2, 3]);
  for (const body of [own, own.buffer, [own], from([own])]) {
    const copy = await bytes(body);
    assertNotStrictEquals(copy.buffer, own.buffer);
    assertEquals(copy, own);
  }
});

test("`text()` decodes as `Response.text` does", async () => {
  const euro = encoder.encode("€");
  assertEquals(
    await text([euro.subarray(0, 1), euro.subarray(1)]),
    "€",
  );
  assertEquals(await text(new Uint8Array([0xff, 0x41])), "\ufffdA");
  assertEquals(await text([new Uint8Array([0xef, 0xbb, 0xbf, 0x41])]), "A");
  assertEquals(await text("as it is"), "as it is");
  await assertRejects(() => text(5), TypeError);
});

test("`hexDump()` of nothing is nothing", () => {
  assertEquals(hexDump(new Uint8Array()), "");
  assertEquals(
    hexDump(new Uint8Array([0, 0x7f, 0x80, 0x20, 0x7e])),
    "00000000  00 7f 80 20 7e                                    |... ~|",
  );
});

test("every error of the family has its name, code and class", () => {
  const cause = new Error("underneath");
  const address = { transport: "tcp", hostname: "::1", port: 1 } as const;
  const table: [NetError, string, string, string | undefined, boolean][] = [
    [
      new NetError("A", { code: "EPIPE" }),
      "NetError",
      "EPIPE",
      undefined,
      false,
    ],
    [
      new TimeoutError("A", { phase: "x" }),
      "TimeoutError",
      "ETIMEDOUT",
      "x",
      true,
    ],
    [
      new ConnectError("A", { code: "ECONNREFUSED" }),
      "ConnectError",
      "ECONNREFUSED",
      "connect",
      true,
    ],
    [new TlsError("A"), "TlsError", "ERR_TLS", "tls", false],
    [new DnsError("A"), "DnsError", "ENOTFOUND", "lookup", false],
    [new ProxyError("A"), "ProxyError", "ERR_PROXY", "proxy", false],
    [new ProtocolError("A"), "ProtocolError", "ERR_PROTOCOL", undefined, false],
    [
      new SizeLimitError("A", { limit: 5 }),
      "SizeLimitError",
      "ERR_SIZE_LIMIT",
      undefined,
      false,
    ],
    [new PoolError("A"), "PoolError", "ERR_POOL", "pool", true],
    [new ClosedError("A"), "ClosedError", "ERR_CLOSED", undefined, false],
  ];
  for (const [error, name, code, phase, retryable] of table) {
    assertEquals(
      [error.name, error.code, error.phase, error.retryable],
      [name, code, phase, retryable],
    );
    assertInstanceOf(error, NetError);
    assertInstanceOf(error, Error);
    assertEquals(`${error}`, `${name}: A`);
    assertEquals("cause" in error, false);
    assertEquals("address" in error && error.address !== undefined, false);
    assertStrictEquals(Object.getPrototypeOf(error).name, name);
    assertEquals(Object.hasOwn(error, "name"), false);
  }
  const full = new ClosedError("A", {
    code: "ECONNRESET",
    phase: "body",
    retryable: true,
    address,
    cause,
  });
  assertEquals(
    [full.code, full.phase, full.retryable, full.address],
    ["ECONNRESET", "body", true, address],
  );
  assertStrictEquals(full.cause, cause);
  assertEquals((table[7][0] as SizeLimitError).limit, 5);
});
