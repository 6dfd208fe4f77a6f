import * as net from "node:net";
import { describe, test } from "node:test";
import {
  Client,
  events,
  eventStream,
  FetchError,
  ProtocolError,
  SizeLimitError,
  StatusError,
} from "../http/mod.ts";
import type {
  EventsOptions,
  EventsReconnectInfo,
  ReceivedEvent,
} from "../http/mod.ts";
import { MockClock } from "../streams/mod.ts";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import { deferred, withClient } from "./_client_support.ts";
import { listen, nodeServer } from "./_http_servers.ts";
import type { TestServer } from "./_http_servers.ts";
import { withServer } from "./_http_raw.ts";
import { until, within } from "./_support.ts";

const encoder = new TextEncoder();

function bytesOf(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? encoder.encode(text) : text;
}

/** A response whose body comes in these pieces. */
function responseOf(
  pieces: readonly (string | Uint8Array)[],
  init: ResponseInit = { headers: { "content-type": "text/event-stream" } },
): Response {
  let at = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at === pieces.length) controller.close();
      else controller.enqueue(bytesOf(pieces[at++]));
    },
  });
  return new Response(body as BodyInit, init);
}

async function all(
  input: Parameters<typeof events>[0],
  options?: EventsOptions,
): Promise<ReceivedEvent[]> {
  const list: ReceivedEvent[] = [];
  for await (const event of events(input, options)) list.push(event);
  return list;
}

const message = (data: string, id = "", event = "message") => ({
  data,
  event,
  id,
});

/** Texts, and what a client is told: the standard's examples and its rules. */
const STREAMS: [name: string, text: string | Uint8Array, told: unknown[]][] = [
  ["nothing", "", []],
  ["an event", "data: a\n\n", [message("a")]],
  [
    "lines of data",
    "data: YHOO\ndata: +2\ndata: 10\n\n",
    [message("YHOO\n+2\n10")],
  ],
  [
    "the standard's example of ids",
    ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
    [
      message("first event", "1"),
      message("second event"),
      message(" third event"),
    ],
  ],
  [
    "the standard's example of empty data",
    "data\n\ndata\ndata\n\ndata:",
    [message(""), message("\n")],
  ],
  ["the standard's example of spaces", "data:test\n\ndata: test\n\n", [
    message("test"),
    message("test"),
  ]],
  ["CRLF", "data: a\r\ndata: b\r\n\r\n", [message("a\nb")]],
  ["CR", "data: a\rdata: b\r\r", [message("a\nb")]],
  ["ends of all kinds", "data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\r", [
    ...["a", "b", "c", "d"].map((data) => message(data)),
  ]],
  ["a BOM", "\ufeffdata: a\n\n", [message("a")]],
  ["two BOMs", "\ufeff\ufeffdata: a\n\ndata: b\n\n", [message("b")]],
  ["a BOM in the middle", "data: \ufeffa\n\n\ufeffdata: b\n\n", [
    message("\ufeffa"),
  ]],
  ["half a BOM", Uint8Array.of(0xef, 0xbb, 0x0a, ...bytesOf("data: a\n\n")), [
    message("a"),
  ]],
  ["no event that is not complete", "data: a\n\ndata: b\n", [message("a")]],
  ["no event without data", "event: x\nid: 1\n\ndata: a\n\n", [
    message("a", "1"),
  ]],
  ["types", "event: x\ndata: a\n\ndata: b\n\nevent:\ndata: c\n\n", [
    message("a", "", "x"),
    message("b"),
    message("c"),
  ]],
  ["the last of two types", "event: x\nevent: y\ndata: a\n\n", [
    message("a", "", "y"),
  ]],
  ["comments", ":\n: x\n:data: x\ndata: a\n:\n\n:\n\n", [message("a")]],
  [
    "unknown fields",
    "dat: x\nDATA: x\n data: x\ndata : x\nfoo\n\ndata: a\n\n",
    [
      message("a"),
    ],
  ],
  ["one space and no tab", "data:\ta\n\ndata:  b\n\ndata: \n\n", [
    message("\ta"),
    message(" b"),
    message(""),
  ]],
  ["colons in values", "data:a:b\n\ndata::\n\n", [
    message("a:b"),
    message(":"),
  ]],
  ["ids with NUL as none", "id: 1\nid: 2\0\ndata: a\n\n", [message("a", "1")]],
  ["ids that go on", "id: 1\ndata: a\n\ndata: b\n\nid:\ndata: c\n\n", [
    message("a", "1"),
    message("b", "1"),
    message("c"),
  ]],
  ["NUL in data", "data: \0\n\n", [message("\0")]],
  ["text of all sizes", "data: aß€😀\nevent: é\nid: ü\n\n", [
    message("aß€😀", "ü", "é"),
  ]],
  [
    "bytes that are no UTF-8",
    Uint8Array.of(...bytesOf("data: "), 0xe2, 0x82, 0x0a, 0x0a),
    [message("\ufffd")],
  ],
];

describe("events() of a response", () => {
  for (const [name, text, told] of STREAMS) {
    test(`reads ${name}, whole and cut anywhere`, async () => {
      const bytes = bytesOf(text);
      assertEquals(await all(responseOf([bytes])), told as ReceivedEvent[]);
      const single = [...bytes].map((byte) => Uint8Array.of(byte));
      assertEquals(await all(responseOf(single)), told as ReceivedEvent[]);
      for (let at = 1; at < bytes.length; at++) {
        const pieces = [bytes.slice(0, at), bytes.slice(at)];
        assertEquals(await all(responseOf(pieces)), told as ReceivedEvent[]);
      }
    });
  }

  test("takes a promise, and the content type in any case", async () => {
    const response = responseOf(["data: a\n\n"], {
      status: 201,
      headers: { "content-type": "Text/Event-Stream; charset=utf-8" },
    });
    assertEquals(await all(Promise.resolve(response)), [message("a")]);
  });

  test("reads what eventStream() writes", async () => {
    const sent = [
      { data: "one\ntwo\r\nthree", id: "7", event: "tick" },
      { data: { n: 1 }, comment: "x", retry: 5 },
      "plain",
      { data: "" },
    ];
    assertEquals(await all(eventStream(sent)), [
      message("one\ntwo\nthree", "7", "tick"),
      message('{"n":1}', "7"),
      message("plain", "7"),
      message("", "7"),
    ]);
  });

  test("gives the events before one that is too large", async () => {
    for (
      const large of [
        `data: ${"x".repeat(100)}\n\n`,
        `data: ${"x".repeat(101)}`,
        `: ${"x".repeat(101)}`,
        `foo${"x".repeat(101)}`,
        "data: xxxx\n".repeat(20),
        "data\n".repeat(101),
      ]
    ) {
      const reader = events(responseOf(["data: a\n\n", large]), {
        maxEventSize: 100,
      });
      assertEquals(await reader.next(), { done: false, value: message("a") });
      const error = await assertRejects(() => reader.next(), SizeLimitError);
      assertEquals(error.limit, 100);
      assertEquals(await reader.next(), { done: true, value: undefined });
    }
  });

  test("counts bytes, not characters", async () => {
    // With "data: " each is 100 bytes.
    for (const char of ["x", "é", "€", "😀"]) {
      const width = bytesOf(char).length;
      const fill = "x".repeat(94 % width);
      const text = fill + char.repeat(Math.floor(94 / width));
      const options = { maxEventSize: 100 };
      const one = [`data: ${text}\n\n`];
      assertEquals((await all(responseOf(one), options))[0].data, text);
      await assertRejects(
        () => all(responseOf([`data: x${text}\n\n`]), options),
        SizeLimitError,
      );
    }
  });

  test("takes any number of events and comments under its limit", async () => {
    const text = `: ${"x".repeat(90)}\n`.repeat(10) +
      `data: ${"x".repeat(80)}\n\n`.repeat(3);
    const list = await all(responseOf([text]), { maxEventSize: 100 });
    assertEquals(list.length, 3);
  });

  test("refuses another status or type", async () => {
    const error = await assertRejects(
      () => all(new Response("x", { status: 404 })),
      StatusError,
    );
    assertEquals(await error.response.text(), "x");
    const wrong = await assertRejects(
      () => all(Response.json({})),
      ProtocolError,
    );
    assertEquals(wrong.code, "ERR_EVENT_STREAM");
    assertStringIncludes(wrong.message, "application/json");
    assertEquals(await all(new Response(null, { status: 204 })), []);
    const used = responseOf(["data: a\n\n"]);
    await used.text();
    await assertRejects(() => all(used), TypeError);
  });

  test("cancels the body when the loop is left", async () => {
    const cancelled = deferred();
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(bytesOf("data: a\n\n")),
      cancel: () => cancelled.resolve(),
    });
    const response = new Response(body, {
      headers: { "content-type": "text/event-stream" },
    });
    for await (const event of events(response)) {
      assertEquals(event.data, "a");
      break;
    }
    await within(cancelled.promise);
  });

  test("rejects with what the body fails with, and with the promise's error", async () => {
    const fault = new Error("broken");
    const body = new ReadableStream({
      start: (controller) => controller.error(fault),
    });
    const response = new Response(body, {
      headers: { "content-type": "text/event-stream" },
    });
    assertEquals(await assertRejects(() => all(response)), fault);
    assertEquals(
      await assertRejects(() => all(Promise.reject(fault))),
      fault,
    );
    // One that nobody asks for ends nothing.
    events(Promise.reject(fault));
  });

  test("refuses options that make no sense", () => {
    const response = responseOf([]);
    assertThrows(() => events(response, { reconnect: true }), TypeError);
    assertThrows(() => events(response, { lastEventId: "1" }), TypeError);
    assertThrows(() => events(response, { client: new Client() }), TypeError);
    const bad: unknown[] = [
      { foo: 1 },
      { maxEventSize: 0 },
      { maxEventSize: "1" },
      { idleTimeout: -1 },
      { reconnect: 1 },
      { reconnect: { delay: -1 } },
      { reconnect: { attempts: NaN } },
      { lastEventId: "a\nb" },
      { onOpen: 1 },
      { clock: {} },
    ];
    for (const options of bad) {
      assertThrows(() => events("http://x/", options as EventsOptions));
    }
    assertThrows(() => events(1 as never), TypeError);
    assertThrows(() => events(null as never), TypeError);
  });
});

/** A server that does with each connection what it is told. */
function socketServer(
  onSocket: (socket: net.Socket) => void,
): Promise<TestServer> {
  return listen(net.createServer(), "http", onSocket);
}

const HEAD = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

describe("events() of a URL", () => {
  test("reads our server, and ends it at once when the loop is left", async () => {
    const left = deferred();
    async function* source(signal: AbortSignal) {
      signal.addEventListener("abort", () => left.resolve());
      for (let n = 0;; n++) {
        yield { id: String(n), data: n };
        if (n === 2) await left.promise;
      }
    }
    await withServer(
      (request) => eventStream((_last, signal) => source(signal), { request }),
      {},
      async (server) => {
        const list: string[] = [];
        for await (const { data, id } of events(server.url)) {
          list.push(`${id}:${data}`);
          if (list.length === 3) break;
        }
        assertEquals(list, ["0:0", "1:1", "2:2"]);
        await within(left.promise);
      },
    );
  });

  test("goes on with Last-Event-ID, in UTF-8, after the server's retry", async () => {
    const asked: (string | undefined)[] = [];
    await withServer(
      (request) =>
        eventStream((last) => {
          asked.push(last);
          return [{ id: `ü${asked.length}`, data: asked.length }];
        }, { request, retry: 1 }),
      {},
      async (server) => {
        const list: string[] = [];
        const reader = events(server.url, {
          lastEventId: "ü0",
          reconnect: { delay: 1e9 },
        });
        for await (const { data } of reader) {
          if (list.push(data) === 4) break;
        }
        assertEquals(list, ["1", "2", "3", "4"]);
        assertEquals(asked, ["ü0", "ü1", "ü2", "ü3"]);
      },
    );
  });

  test("reads what is cut at every byte, broken off and begun anew", async () => {
    const text = "\ufeffid: €\r\ndata: 😀\r\n\r\n";
    const bytes = bytesOf(text);
    let connections = 0;
    const server = socketServer((socket) => {
      socket.once("data", () => {
        // The first ones break off, one byte later each.
        const whole = connections++ >= bytes.length;
        socket.write(HEAD);
        const end = whole ? bytes.length : connections;
        for (let at = 0; at < end; at++) socket.write(bytes.slice(at, at + 1));
        if (whole) socket.end();
        else socket.destroySoon();
      });
    });
    await withClient(server, async (client, { url }) => {
      const clock = new MockClock();
      const reader = events(url, { client, clock });
      let event: IteratorResult<ReceivedEvent> | undefined;
      const next = reader.next().then((result) => event = result);
      await until(async () => {
        await clock.advance(60_000);
        return event;
      });
      await next;
      assertEquals(event!.value, message("😀", "€"));
      // All but the last LF is enough: a CR ends a line as well.
      assertEquals(connections, bytes.length - 1);
      await reader.return!();
      assertEquals(clock.pending, 0);
    });
  });

  test("sends Accept, Cache-Control and the fields it is given", () => {
    const server = nodeServer((request, response) => {
      const { accept, "cache-control": cache, "x-a": a } = request.headers;
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(
        `data: ${accept} ${cache} ${a} ${request.headers["last-event-id"]}\n\n`,
      );
    });
    return withClient(server, async (client, { url }) => {
      for await (
        const { data } of events(url, { client, headers: { "X-A": "b" } })
      ) {
        assertEquals(data, "text/event-stream no-store b undefined");
        break;
      }
    });
  });

  test("is over with 204", () => {
    let calls = 0;
    const server = nodeServer((_request, response) => {
      if (++calls > 2) response.writeHead(204).end();
      else {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.end(`retry: 0\ndata: ${calls}\n\n`);
      }
    });
    return withClient(server, async (client, { url }) => {
      assertEquals(
        (await all(url, { client })).map(({ data }) => data),
        ["1", "2"],
      );
      assertEquals(calls, 3);
    });
  });

  test("ends with an error for another status or type", () => {
    const server = nodeServer((request, response) => {
      if (request.url === "/html") {
        response.writeHead(200, { "content-type": "text/html" });
      } else response.writeHead(parseInt(request.url!.slice(1)));
      response.end("sorry");
    });
    return withClient(server, async (client, { url }) => {
      for (const status of [201, 206, 400, 404, 500, 503]) {
        const error = await assertRejects(
          () => all(`${url}${status}?secret`, { client }),
          StatusError,
        );
        assertEquals(error.response.status, status);
        assertEquals(await error.response.text(), "sorry");
        assertEquals(error.message.includes("secret"), false);
      }
      await assertRejects(() => all(`${url}html`, { client }), ProtocolError);
    });
  });

  test("tries again after the statuses it is told of", () => {
    let calls = 0;
    const server = nodeServer((_request, response) => {
      if (++calls < 3) response.writeHead(503).end();
      else {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.end("data: a\n\n");
      }
    });
    return withClient(server, async (client, { url }) => {
      const reader = events(url, {
        client,
        reconnect: { delay: 0, statuses: [503] },
      });
      assertEquals((await reader.next()).value, message("a"));
      await reader.return!();
      assertEquals(calls, 3);
    });
  });

  test("waits longer each time, by chance, up to a bound", async () => {
    const clock = new MockClock();
    const waits: EventsReconnectInfo[] = [];
    const reader = events("http://127.0.0.1:1/", {
      clock,
      reconnect: { delay: 1000, maxDelay: 5000, attempts: 6 },
      onReconnect: (info) => waits.push(info),
    });
    let failed: unknown;
    const next = reader.next().catch((error) => failed = error);
    await until(async () => {
      await clock.advance(10_000);
      return failed;
    });
    await next;
    assert(failed instanceof FetchError);
    assertEquals(failed.code, "ECONNREFUSED");
    assertEquals(waits.map(({ attempt }) => attempt), [1, 2, 3, 4, 5, 6]);
    const least = [1000, 2000, 4000, 5000, 5000, 5000];
    for (const [at, { delay, error }] of waits.entries()) {
      assert(delay >= least[at] && delay <= least[at] * 1.5, `${delay}`);
      assert(error instanceof FetchError);
    }
    assertEquals(clock.pending, 0);
    assertEquals(await reader.next(), { done: true, value: undefined });
  });

  test("honours retry, and ignores one that is no number", () => {
    const retries = ["50", "5x", "-1", "", "1.5", "٣", "0070", "9".repeat(400)];
    let calls = 0;
    const server = nodeServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(`retry: ${retries[calls++]}\ndata: x\n\n`);
    });
    return withClient(server, async (client, { url }) => {
      const clock = new MockClock();
      const waits: number[] = [];
      const reader = events(url, {
        client,
        clock,
        onReconnect: ({ delay }) => waits.push(delay),
      });
      for (let at = 0; at < retries.length; at++) {
        let result: unknown;
        const next = reader.next().then((value) => result = value);
        await until(async () => {
          await clock.advance(1000);
          return result;
        });
        await next;
      }
      const last = reader.next();
      await until(() => waits.length === retries.length);
      await reader.return!();
      assertEquals(await last, { done: true, value: undefined });
      const least = [50, 50, 50, 50, 50, 50, 70, 2 ** 31 - 1];
      for (const [at, delay] of waits.entries()) {
        assert(
          delay >= least[at] && delay <= Math.max(least[at] * 1.5),
          `${at}: ${delay}`,
        );
      }
    });
  });

  test("does not connect again without reconnect", () => {
    const server = socketServer((socket) => {
      socket.once("data", (data) => {
        socket.write(HEAD + "data: a\n\n");
        if (String(data).startsWith("GET /broken")) socket.resetAndDestroy();
        else socket.end();
      });
    });
    return withClient(server, async (client, handle) => {
      const options = { client, reconnect: false };
      assertEquals(await all(handle.url, options), [message("a")]);
      assertEquals(handle.accepted, 1);
    });
  });

  test("ends with the signal's reason, wherever it is", () => {
    const server = socketServer((socket) => {
      socket.once("data", (data) => {
        if (!String(data).startsWith("GET /silent")) socket.write(HEAD);
      });
    });
    return withClient(server, async (client, handle) => {
      const reason = new Error("enough");
      for (const path of ["silent", "open", "closed"]) {
        const controller = new AbortController();
        const open = deferred();
        const clock = new MockClock();
        const before = handle.accepted;
        const url = path === "closed"
          ? "http://127.0.0.1:1/"
          : handle.url + path;
        const reader = events(url, {
          client,
          clock,
          signal: controller.signal,
          onOpen: () => open.resolve(),
        });
        const next = assertRejects(() => reader.next());
        if (path === "silent") await until(() => handle.accepted > before);
        if (path === "open") await within(open.promise);
        if (path === "closed") await until(() => clock.pending === 1);
        controller.abort(reason);
        assertEquals(await within(next), reason);
        assertEquals(clock.pending, 0);
        assertEquals(await reader.next(), { done: true, value: undefined });
      }
      const reader = events(handle.url, {
        client,
        signal: AbortSignal.abort(reason),
      });
      const before = handle.accepted;
      assertEquals(await assertRejects(() => reader.next()), reason);
      assertEquals(handle.accepted, before);
      await until(() => handle.open === 0);
    });
  });

  test("ends the connection of a response at once when the loop is left", () => {
    const closed = deferred();
    const server = socketServer((socket) => {
      socket.once("data", () => socket.write(HEAD + "data: a\n\n"));
      socket.on("close", () => closed.resolve());
    });
    return withClient(server, async (client, { url }) => {
      for await (const { data } of events(client.get(url))) {
        assertEquals(data, "a");
        break;
      }
      // No wait for the rest of it, which might be short.
      assertEquals(client.stats().open, 0);
      await within(closed.promise);
    });
  });

  test("ends a next() that waits when return() is called", () => {
    const server = socketServer((socket) => {
      socket.once("data", () => socket.write(HEAD));
    });
    return withClient(server, async (client, handle) => {
      const open = deferred();
      const reader = events(handle.url, {
        client,
        onOpen: () => open.resolve(),
      });
      const waiting = [reader.next(), reader.next()];
      await within(open.promise);
      await reader.return!();
      for (const next of waiting) {
        assertEquals(await within(next), { done: true, value: undefined });
      }
      await until(() => handle.open === 0);
    });
  });

  test("gives each of several next() calls its own event", () => {
    const server = socketServer((socket) => {
      socket.once("data", () => {
        socket.write(HEAD + "data: a\n\ndata: b\n\n");
        socket.end("data: c\n\n");
      });
    });
    return withClient(server, async (client, handle) => {
      const reader = events(handle.url, { client });
      const three = await Promise.all([1, 2, 3].map(() => reader.next()));
      assertEquals(three.map(({ value }) => value?.data), ["a", "b", "c"]);
      await reader.return!();
    });
  });

  test("takes a silent connection for dead with idleTimeout", () => {
    let calls = 0;
    const server = socketServer((socket) => {
      socket.once("data", () => {
        socket.write(`${HEAD}retry: 0\ndata: ${++calls}\n\n`);
      });
    });
    return withClient(server, async (client, handle) => {
      const reader = events(handle.url, { client, idleTimeout: 30 });
      for (let n = 1; n <= 3; n++) {
        assertEquals((await reader.next()).value?.data, String(n));
      }
      await reader.return!();
      assertEquals(calls, 3);
    });
  });

  test("outlives the total timeout and size limit of its client", () => {
    const server = socketServer((socket) => {
      socket.once("data", () => {
        socket.write(`${HEAD}data: a\n\n`);
        setTimeout(() => socket.write("data: b\n\n"), 100);
      });
    });
    return withClient(server, async (client, handle) => {
      const reader = events(handle.url, { client });
      assertEquals((await reader.next()).value?.data, "a");
      assertEquals((await reader.next()).value?.data, "b");
      await reader.return!();
      assertEquals(handle.accepted, 1);
    }, { timeout: 50, maxResponseSize: 10, throwOnStatus: true });
  });

  test("keeps an id that no field can hold to itself", () => {
    const asked: unknown[] = [];
    const server = nodeServer((request, response) => {
      asked.push(request.headers["last-event-id"]);
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(`retry: 0\nid: a\x01b\ndata: x\n\n`);
    });
    return withClient(server, async (client, { url }) => {
      const reader = events(url, { client });
      assertEquals((await reader.next()).value, message("x", "a\x01b"));
      assertEquals((await reader.next()).value, message("x", "a\x01b"));
      await reader.return!();
      assertEquals(asked, [undefined, undefined]);
    });
  });

  test("rejects with what onOpen throws, and ends the request", () => {
    const server = socketServer((socket) => {
      socket.once("data", () => socket.write(HEAD));
    });
    return withClient(server, async (client, handle) => {
      const fault = new Error("no");
      const reader = events(handle.url, {
        client,
        onOpen: () => {
          throw fault;
        },
      });
      assertEquals(await assertRejects(() => reader.next()), fault);
      await until(() => handle.open === 0);
    });
  });

  test("stops the server when nobody reads", () => {
    const block = new Uint8Array(64 * 1024).fill(0x78);
    block.set(bytesOf("data: "));
    block.set(bytesOf("\n\n"), block.length - 2);
    let sent = 0;
    const server = socketServer((socket) => {
      socket.once("data", () => {
        socket.write(HEAD);
        const more = () => {
          while (!socket.destroyed && sent < 4096) {
            sent++;
            if (!socket.write(block)) return;
          }
        };
        socket.on("drain", more);
        more();
      });
    });
    return withClient(server, async (client, handle) => {
      const reader = events(handle.url, { client });
      await reader.next();
      let before = -1;
      await until(async () => {
        const same = before === sent;
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return same;
      });
      assert(sent < 4096, `${sent}`);
      await reader.return!();
    });
  });
});
