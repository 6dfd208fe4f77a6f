import { describe, test } from "node:test";
import { assert, assertEquals, assertInstanceOf } from "./assert.ts";
import {
  ACK,
  block,
  bytesOf,
  CANCEL,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  data,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  frame,
  FRAME_SIZE_ERROR,
  GOAWAY,
  HEADERS,
  headers,
  NO_ERROR,
  PADDED,
  PING,
  ping,
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
} from "./_h2_raw.ts";
import type { H2Peer, H2PeerOptions, Raw } from "./_h2_raw.ts";
import { answer, head, withH2Server } from "./_h2_server.ts";
import { unLatin1 } from "./_h1.ts";
import { FetchError } from "../http/errors.ts";

const MAX = 2 ** 31 - 1;

type Want =
  /** The response is good, and the connection is used again. */
  | { body: string; status?: number }
  /** The response fails, the stream is reset, the connection is used again. */
  | { reset: number }
  /** The response fails, with the connection. */
  | { goaway: number }
  /** The response fails, whatever becomes of the connection. */
  | { fails: true };

type Row = readonly [
  name: string,
  /** What the server sends when it has read a request on stream 1. */
  sends: readonly Raw[],
  want: Want | readonly Want[],
  peer?: H2PeerOptions,
];

const OK: Want = { body: "ok" };
const MALFORMED: Want = { reset: PROTOCOL_ERROR };
const PROTOCOL: Want = { goaway: PROTOCOL_ERROR };
const SIZE: Want = { goaway: FRAME_SIZE_ERROR };

function malformed(name: string, fields: string | string[]): Row {
  return [`${name} is malformed`, [headers(1, fields)], MALFORMED];
}

const GOOD: Row[] = [
  ["6.1: DATA in pieces", [
    head(1),
    data(1, "o"),
    data(1, ""),
    data(1, "k"),
    data(1, "", END_STREAM),
  ], OK],
  ["6.1: DATA with padding", [
    head(1, "content-length 2"),
    data(1, bytesOf([3], "ok", "\0\0\0"), PADDED),
    data(1, bytesOf([1, 0]), PADDED | END_STREAM),
  ], OK],
  ["8.1: no DATA at all", [head(1, "", 5)], { body: "" }],
  ["8.1: 204", [headers(1, ":status 204")], { body: "", status: 204 }],
  ["8.1: 304 with content-length", [
    headers(1, ":status 304|content-length 5"),
  ], { body: "", status: 304 }],
  ["8.1: informational responses before it", [
    headers(1, ":status 100", END_HEADERS),
    headers(1, ":status 103|link </a>", END_HEADERS),
    headers(1, ":status 102", END_HEADERS),
    answer(1),
  ], OK],
  ["8.1: trailers", [
    head(1),
    data(1, "ok"),
    headers(1, "x-sum 1"),
  ], OK],
  ["4.3: a block in CONTINUATION", [
    headers(1, ":status 200", 0),
    frame(CONTINUATION, 0, 1, block("a b")),
    frame(CONTINUATION, END_HEADERS, 1),
    data(1, "ok", END_STREAM),
  ], OK],
  ["5.5: frames of unknown types", [
    frame(0xfa, 0xff, 0, "x"),
    frame(0xfa, 0, 1, "x"),
    answer(1),
  ], OK],
  ["6.3: PRIORITY", [frame(PRIORITY, 0, 1, [0, 0, 0, 0, 1]), answer(1)], OK],
  ["6.5.2: unknown settings", [
    settings([0xff, 1], [0x10, MAX]),
    answer(1),
  ], OK],
  ["6.5.2: all settings", [
    settings([1, 0], [2, 0], [3, 100], [4, MAX], [5, 2 ** 24 - 1], [6, MAX]),
    answer(1),
  ], OK],
  ["6.9: WINDOW_UPDATE", [
    windowUpdate(0, 100),
    windowUpdate(1, 100),
    answer(1),
  ], OK],
  ["8.2.1: an empty value", [head(1, "a "), data(1, "ok", END_STREAM)], OK],
  ["6.2: HEADERS with padding and a priority", [
    headers(
      1,
      bytesOf([2], u32(0), [1], block(":status 200"), [0, 0]),
      PADDED | 0x20 | END_HEADERS,
    ),
    data(1, "ok", END_STREAM),
  ], OK],
];

const STREAMS: Row[] = [
  malformed("8.3.2: a response without :status", "a b"),
  malformed("8.3.2: :status twice", ":status 200|:status 200"),
  malformed("8.3.2: :status of two digits", ":status 20"),
  malformed("8.3.2: :status of letters", ":status abc"),
  malformed("8.3.2: an empty :status", ":status "),
  malformed("8.3: :status behind a field", "a b|:status 200"),
  malformed("8.3: an unknown pseudo-field", ":status 200|:x y"),
  malformed("8.3: a pseudo-field of requests", ":status 200|:path /"),
  malformed("8.6: 101", ":status 101"),
  malformed("8.2.1: a name in upper case", ":status 200|X-A b"),
  malformed("8.2.1: a name with a space", [":status", "200", "a b", "c"]),
  malformed("8.2.1: an empty name", [":status", "200", "", "c"]),
  malformed("8.2.1: a value with LF", [":status", "200", "a", "b\nc"]),
  malformed("8.2.1: a value with NUL", [":status", "200", "a", "b\0"]),
  malformed("8.2.2: connection", ":status 200|connection close"),
  malformed("8.2.2: transfer-encoding", ":status 200|transfer-encoding x"),
  malformed("8.2.2: keep-alive", ":status 200|keep-alive timeout=1"),
  malformed("8.1.1: a bad content-length", ":status 200|content-length x"),
  malformed(
    "8.1.1: content-length without DATA",
    ":status 200|content-length 1",
  ),
  [
    "8.1.1: less DATA than content-length are malformed",
    [head(1, "content-length 3"), data(1, "ok", END_STREAM)],
    MALFORMED,
  ],
  [
    "8.1.1: more DATA than content-length are malformed",
    [head(1, "content-length 1"), data(1, "ok", END_STREAM)],
    MALFORMED,
  ],
  [
    "8.1: DATA before HEADERS are malformed",
    [data(1, "ok"), head(1)],
    [MALFORMED, PROTOCOL],
  ],
  [
    "8.1: nothing but an end is malformed",
    [data(1, "", END_STREAM)],
    [MALFORMED, PROTOCOL],
  ],
  [
    "8.1: an informational response that ends the stream is malformed",
    [headers(1, ":status 103")],
    MALFORMED,
  ],
  [
    "8.1: trailers that do not end the stream are malformed",
    [head(1), data(1, "ok"), headers(1, "a b", END_HEADERS)],
    MALFORMED,
  ],
  [
    "8.1: trailers with a pseudo-field are malformed",
    [head(1), data(1, "ok"), headers(1, ":status 200")],
    MALFORMED,
  ],
  [
    "8.1: informational responses without end",
    [bytesOf(
      ...Array.from(
        { length: 500 },
        () => headers(1, ":status 103", END_HEADERS),
      ),
    )],
    [MALFORMED, { goaway: ENHANCE_YOUR_CALM }, { reset: ENHANCE_YOUR_CALM }],
  ],
  [
    "6.9: WINDOW_UPDATE of 0 on a stream",
    [windowUpdate(1, 0)],
    [MALFORMED, PROTOCOL],
  ],
  [
    "6.9.1: a window of a stream of 2^31",
    [windowUpdate(1, MAX)],
    { reset: FLOW_CONTROL_ERROR },
  ],
  ["6.4: RST_STREAM", [rstStream(1, CANCEL)], { fails: true }],
  ["6.4: RST_STREAM within the body", [
    head(1),
    data(1, "o"),
    rstStream(1, 2),
  ], { fails: true }],
  ["6.4: RST_STREAM with NO_ERROR within the body", [
    head(1),
    data(1, "o"),
    rstStream(1, NO_ERROR),
  ], { fails: true }],
];

const CONNECTIONS: Row[] = [
  [
    "3.4: PING before SETTINGS",
    [],
    PROTOCOL,
    { greeting: ping() },
  ],
  [
    "3.4: an acknowledgment before SETTINGS",
    [],
    PROTOCOL,
    { greeting: frame(SETTINGS, ACK, 0) },
  ],
  [
    "3.4: an answer in HTTP/1.1",
    [],
    [SIZE, PROTOCOL],
    { greeting: bytesOf("HTTP/1.1 400 Bad Request\r\n\r\n") },
  ],
  ["8.4: PUSH_PROMISE", [
    frame(PUSH_PROMISE, END_HEADERS, 1, bytesOf(u32(2), block("a b"))),
  ], PROTOCOL],
  ["5.1.1: HEADERS on an even stream", [head(2)], PROTOCOL],
  ["5.1.1: HEADERS on a stream that is not begun", [head(5)], PROTOCOL],
  ["6.2: HEADERS on stream 0", [head(0)], PROTOCOL],
  ["5.1: DATA on an idle stream", [data(5, "x")], PROTOCOL],
  ["5.1: RST_STREAM on an idle stream", [rstStream(5)], PROTOCOL],
  ["5.1: WINDOW_UPDATE on an idle stream", [windowUpdate(5, 1)], PROTOCOL],
  ["5.1: DATA on stream 0", [data(0, "x")], PROTOCOL],
  ["6.5.2: SETTINGS_ENABLE_PUSH 1 of a server", [settings([2, 1])], PROTOCOL],
  ["6.5.2: SETTINGS_ENABLE_PUSH 2", [settings([2, 2])], PROTOCOL],
  ["6.5.2: SETTINGS_MAX_FRAME_SIZE 16383", [settings([5, 16383])], PROTOCOL],
  ["6.5.2: SETTINGS_INITIAL_WINDOW_SIZE 2^31", [settings([4, 2 ** 31])], {
    goaway: FLOW_CONTROL_ERROR,
  }],
  ["6.5: SETTINGS of 5 bytes", [frame(SETTINGS, 0, 0, "12345")], SIZE],
  ["6.5: SETTINGS on a stream", [frame(SETTINGS, 0, 1)], PROTOCOL],
  [
    "6.5: an acknowledgment of 6 bytes",
    [frame(SETTINGS, ACK, 0, "123456")],
    SIZE,
  ],
  ["6.7: PING of 7 bytes", [ping("1234567")], SIZE],
  ["6.7: PING on a stream", [frame(PING, 0, 1, "12345678")], PROTOCOL],
  ["6.8: GOAWAY on a stream", [frame(GOAWAY, 0, 1, "12345678")], PROTOCOL],
  ["6.8: GOAWAY of 7 bytes", [frame(GOAWAY, 0, 0, "1234567")], SIZE],
  ["6.9: WINDOW_UPDATE of 0", [windowUpdate(0, 0)], PROTOCOL],
  ["6.9: WINDOW_UPDATE of 5 bytes", [
    frame(WINDOW_UPDATE, 0, 0, "12345"),
  ], SIZE],
  ["6.9.1: a window of 2^31", [windowUpdate(0, MAX)], {
    goaway: FLOW_CONTROL_ERROR,
  }],
  ["4.2: DATA of 16385 bytes", [
    head(1),
    data(1, new Uint8Array(16385)),
  ], [SIZE, { reset: FRAME_SIZE_ERROR }]],
  ["4.2: HEADERS of 16385 bytes", [head(1, "a " + "b".repeat(16385))], SIZE],
  ["6.1: more padding than there is", [
    head(1),
    data(1, bytesOf([5], "ok"), PADDED),
  ], PROTOCOL],
  ["4.3: a header block that is interrupted", [
    headers(1, ":status 200", 0),
    data(1, "x"),
  ], PROTOCOL],
  ["6.10: CONTINUATION of nothing", [
    head(1),
    frame(CONTINUATION, END_HEADERS, 1, block("a b")),
  ], PROTOCOL],
  ["4.3: a broken header block", [headers(1, bytesOf([0x80]))], {
    goaway: COMPRESSION_ERROR,
  }],
  ["10.5.1: a header block without end", [
    headers(1, ":status 200", 0),
    bytesOf(
      ...Array.from(
        { length: 100 },
        () => frame(CONTINUATION, 0, 1, new Uint8Array(16384)),
      ),
    ),
  ], [{ goaway: ENHANCE_YOUR_CALM }, PROTOCOL]],
  ["10.5: empty CONTINUATION without end", [
    headers(1, ":status 200", 0),
    bytesOf(
      ...Array.from({ length: 5000 }, () => frame(CONTINUATION, 0, 1)),
    ),
  ], [{ goaway: ENHANCE_YOUR_CALM }, PROTOCOL]],
  ["10.5: PING is a flood", [
    bytesOf(...Array.from({ length: 20_000 }, () => ping())),
  ], { goaway: ENHANCE_YOUR_CALM }],
  ["10.5: SETTINGS are a flood", [
    bytesOf(...Array.from({ length: 20_000 }, () => settings())),
  ], { goaway: ENHANCE_YOUR_CALM }],
  ["10.5: empty DATA are a flood", [
    head(1),
    bytesOf(...Array.from({ length: 20_000 }, () => data(1, ""))),
  ], { goaway: ENHANCE_YOUR_CALM }],
  ["6.9.1: DATA beyond the window of the connection", [
    head(1),
    bytesOf(
      ...Array.from({ length: 2100 }, () => data(1, new Uint8Array(16384))),
    ),
  ], [{ goaway: FLOW_CONTROL_ERROR }, { reset: FLOW_CONTROL_ERROR }]],
];

/** Whether what the client did is what is wanted. */
function judge(
  want: Want,
  result: { body?: string; status?: number; error?: unknown },
  peer: H2Peer,
): boolean {
  const resets = peer.frames.filter((f) => f.type === RST_STREAM);
  const goaway = peer.frames.find((f) => f.type === GOAWAY && f.number !== 0);
  if ("body" in want) {
    return result.body === want.body &&
      result.status === (want.status ?? 200) &&
      resets.length === 0 && goaway === undefined;
  }
  if (result.error === undefined) return false;
  if ("goaway" in want) return goaway?.number === want.goaway;
  if (goaway !== undefined) return false;
  return !("reset" in want) ||
    resets.some((f) => f.stream === 1 && f.number === want.reset);
}

function testRows(rows: readonly Row[]): void {
  for (const [name, sends, want, options] of rows) {
    test(name, async () => {
      let first: H2Peer | undefined;
      const slow = name.includes("beyond the window");
      await withH2Server(async (peer, connection) => {
        if (connection > 0) {
          const { stream } = await peer.request();
          peer.send(answer(stream, "again"));
          return;
        }
        first = peer;
        if (options?.greeting === undefined) await peer.request();
        for (const bytes of sends) await peer.sendAll(bytes);
        for (;;) {
          const next = await peer.next();
          if (next === undefined) return;
          if (next.type === HEADERS) peer.send(answer(next.stream, "again"));
        }
      }, async (client, url) => {
        const result: { body?: string; status?: number; error?: unknown } = {};
        try {
          const response = await client.get(url);
          result.status = response.status;
          // Not read at once where windows are to fill.
          if (slow) {
            await first!.until(
              (f) => f.type === RST_STREAM || f.type === GOAWAY,
              "an error",
            );
          }
          result.body = await response.text();
        } catch (error) {
          result.error = error;
        }
        // The next one is answered, on this connection or on another one.
        assertEquals(await client.get(url).text(), "again");
        const wants = "length" in want ? want : [want];
        if (!wants.some((one) => judge(one, result, first!))) {
          throw new Error(
            `Not ${JSON.stringify(want)}, but ${
              JSON.stringify(result)
            } ${result.error} and ${first}`,
          );
        }
        if (result.error !== undefined && result.status === undefined) {
          assertInstanceOf(result.error, FetchError);
        }
      }, { peer: options });
    });
  }
}

describe("Client over HTTP/2: good responses", () => testRows(GOOD));
describe("Client over HTTP/2: errors of streams", () => testRows(STREAMS));
describe("Client over HTTP/2: errors of connections", () =>
  testRows(CONNECTIONS));

describe("Client over HTTP/2: what it says", () => {
  test("fetch() sends a preface, SETTINGS and a request as RFC 9113 has it", async () => {
    await withH2Server(async (peer) => {
      const first = await peer.next();
      assertEquals([first?.type, first!.flags], [SETTINGS, 0]);
      const { stream, fields } = await peer.request();
      // No pushes (8.4).
      assertEquals(peer.settings.get(2), 0);
      assertEquals(stream, 1);
      const record = Object.fromEntries(
        fields.flatMap((name, i) => i % 2 === 0 ? [[name, fields[i + 1]]] : []),
      );
      assertEquals(record[":method"], "GET");
      assertEquals(record[":scheme"], "http");
      assertEquals(record[":path"], "/?a=b");
      assert(/^127\.0\.0\.1:\d+$/.test(record[":authority"]));
      assertEquals(record["x-test"], "Value");
      for (const name of Object.keys(record)) {
        assert(
          !/[A-Z]|^(host|connection|keep-alive|upgrade)$/.test(name),
          name,
        );
      }
      const pseudo = fields.filter((name, i) => i % 2 === 0 && name[0] === ":");
      assertEquals(pseudo, fields.filter((_, i) => i % 2 === 0).slice(0, 4));
      peer.send(answer(stream));
      await peer.pinged();
    }, async (client, url) => {
      const response = await client.get(`${url}?a=b`, {
        headers: { "X-Test": "Value" },
      });
      assertEquals(await response.text(), "ok");
      assert(/^2/.test(response.httpVersion));
    });
  });

  test("fetch() shares a connection, and keeps to the server's number of streams (5.1.2)", async () => {
    let most = 0;
    await withH2Server(async (peer) => {
      // With the first, so that the settings are known.
      peer.send(answer((await peer.request()).stream));
      const open = new Set<number>();
      for (let served = 0; served < 20;) {
        const f = await peer.next();
        if (f === undefined) return;
        if (f.type !== HEADERS) continue;
        open.add(f.stream);
        most = Math.max(most, open.size);
        // More come only once these are over.
        if (open.size < 3 && served + open.size < 20) continue;
        await peer.pinged(`p${f.stream}xxxxxxxx`.slice(0, 8));
        for (const stream of [...open]) {
          open.delete(stream);
          served++;
          peer.send(answer(stream, `${stream}`));
        }
      }
    }, async (client, url) => {
      assertEquals(await client.get(url).text(), "ok");
      const bodies = await Promise.all(
        Array.from({ length: 20 }, () => client.get(url).text()),
      );
      assertEquals(new Set(bodies).size, 20);
      assert(most <= 3, `${most}`);
    }, {
      peer: { greeting: settings([3, 3]) },
      client: { pool: { perHost: 1 } },
    });
  });

  test("fetch() keeps to the windows of the server (6.9)", async () => {
    await withH2Server(async (peer) => {
      // With the first, so that the settings are known.
      peer.send(answer((await peer.request()).stream));
      await peer.request();
      const sent = () =>
        peer.frames.filter((f) => f.type === DATA)
          .reduce((n, f) => n + f.payload.length, 0);
      while (sent() < 10) await peer.more();
      await peer.pinged();
      assertEquals(sent(), 10);
      peer.send(windowUpdate(3, 90));
      while (sent() < 100) await peer.more();
      await peer.pinged("ping-two");
      assertEquals(sent(), 100);
      // The window of the connection ends at 65535.
      peer.send(settings([4, MAX - 1000]));
      while (sent() < 65535) await peer.more();
      await peer.pinged("pingthre");
      assertEquals(sent(), 65535);
      peer.send(windowUpdate(0, MAX - 65535));
      while (sent() < 200_000) await peer.more();
      await peer.until((f) => f.type === DATA && (f.flags & 1) !== 0, "an end");
      assert(peer.frames.every((f) => f.payload.length <= 16384));
      peer.send(answer(3));
    }, async (client, url) => {
      assertEquals(await client.get(url).text(), "ok");
      const response = await client.post(url, { body: "x".repeat(200_000) });
      assertEquals(await response.text(), "ok");
    }, { peer: { greeting: settings([4, 10]) } });
  });

  test("fetch() resets the stream when it is given up (5.4.2)", async () => {
    const abort = new AbortController();
    await withH2Server(async (peer) => {
      await peer.request();
      abort.abort();
      await peer.reset(1, CANCEL);
      const { stream } = await peer.request();
      peer.send(answer(stream));
    }, async (client, url) => {
      let reason: unknown;
      await client.get(url, { signal: abort.signal }).catch((error) =>
        reason = error
      );
      assert(reason === abort.signal.reason);
      assertEquals(await client.get(url).text(), "ok");
    });
  });

  test("fetch() gives windows as the body is read, and no more (6.9)", async () => {
    const SIZE = 8 * 1024 * 1024;
    let stalled!: () => void;
    const full = new Promise<void>((resolve) => stalled = resolve);
    await withH2Server(async (peer) => {
      await peer.request();
      peer.send(head(1));
      // What the client allows for the connection, and for the stream.
      let connection = 65535;
      let stream = 0;
      let initial = 0;
      let seen = 0;
      const look = () => {
        for (; seen < peer.frames.length; seen++) {
          const { type, flags, payload, number, stream: on } =
            peer.frames[seen];
          if (type === WINDOW_UPDATE) {
            if (on === 0) connection += number;
            else stream += number;
          } else if (type === SETTINGS && (flags & ACK) === 0) {
            const view = new DataView(payload.buffer, payload.byteOffset);
            for (let at = 0; at < payload.length; at += 6) {
              if (view.getUint16(at) !== 4) continue;
              stream += view.getUint32(at + 2) - initial;
              initial = view.getUint32(at + 2);
            }
          }
        }
        return Math.min(16384, connection, stream);
      };
      for (let left = SIZE; left > 0;) {
        const size = Math.min(look(), left);
        if (size <= 0) {
          stalled();
          await peer.more();
          continue;
        }
        connection -= size;
        stream -= size;
        left -= size;
        await peer.sendAll(data(1, new Uint8Array(size), left === 0 ? 1 : 0));
      }
    }, async (client, url) => {
      const response = await client.get(url);
      // Nobody reads: the server comes to a halt.
      await full;
      assertEquals((await response.arrayBuffer()).byteLength, SIZE);
    });
  });

  test("fetch() goes elsewhere for what GOAWAY leaves out (6.8)", async () => {
    const streams: string[] = [];
    await withH2Server(async (peer, connection) => {
      if (connection === 0) {
        await peer.request();
        await peer.request();
        streams.push("two");
        // The first is answered still, the second was never seen.
        peer.send(frame(GOAWAY, 0, 0, [...u32(1), ...u32(NO_ERROR)]));
        peer.send(answer(1, "first"));
        return;
      }
      for (;;) {
        const f = await peer.next();
        if (f === undefined) return;
        if (f.type === HEADERS) peer.send(answer(f.stream, "second"));
      }
    }, async (client, url) => {
      const bodies = await Promise.all([
        client.get(url).text(),
        client.get(url).text(),
      ]);
      assertEquals(bodies, ["first", "second"]);
      assertEquals(streams, ["two"]);
      assertEquals(await client.get(url).text(), "second");
    });
  });

  test("fetch() tries again what REFUSED_STREAM says was not begun (8.7)", async () => {
    let refused = 0;
    await withH2Server(async (peer) => {
      for (;;) {
        const f = await peer.next();
        if (f === undefined) return;
        if (f.type !== HEADERS) continue;
        if (refused++ === 0) peer.send(rstStream(f.stream, REFUSED_STREAM));
        else peer.send(answer(f.stream));
      }
    }, async (client, url) => {
      let body: string;
      try {
        body = await client.get(url).text();
      } catch (error) {
        // Or it says that it may be tried again.
        assertInstanceOf(error, FetchError);
        assertEquals(error.retryable, true);
        body = await client.get(url).text();
      }
      assertEquals(body, "ok");
    });
  });

  test("fetch() takes an answer that comes before its body has gone (8.1)", async () => {
    await withH2Server(async (peer) => {
      await peer.request();
      peer.send(headers(1, ":status 413"), rstStream(1, NO_ERROR));
      const { stream } = await peer.request();
      peer.send(answer(stream));
    }, async (client, url) => {
      const response = await client.post(url, {
        body: new Uint8Array(200_000),
      });
      assertEquals(response.status, 413);
      assertEquals(await response.text(), "");
      assertEquals(await client.get(url).text(), "ok");
    });
  });

  test("fetch() gives trailers (8.1)", async () => {
    await withH2Server(async (peer) => {
      await peer.request();
      peer.send(head(1), data(1, "ok"), headers(1, "x-sum 1"));
      await peer.pinged();
    }, async (client, url) => {
      const response = await client.get(url);
      assertEquals(await response.text(), "ok");
      assertEquals((await response.trailers).get("x-sum"), "1");
    });
  });

  test("fetch() fails when the server goes in the middle", async () => {
    for (const how of ["end", "reset"]) {
      await withH2Server(async (peer) => {
        await peer.request();
        await peer.sendAll(head(1, "content-length 5"), data(1, "ok"));
        await peer.pinged();
        if (how === "end") await peer.connection.closeWrite();
        else peer.connection.reset();
      }, async (client, url) => {
        let failed: unknown;
        try {
          await client.get(url).text();
        } catch (error) {
          failed = error;
        }
        assertInstanceOf(failed, Error);
      });
    }
  });

  test("fetch() answers PING with the same bytes (6.7)", async () => {
    await withH2Server(async (peer) => {
      const { stream } = await peer.request();
      peer.send(ping("12ab\0\xffcd"));
      const pong = await peer.until((f) => f.type === PING, "PING");
      assertEquals([pong.flags, unLatin1(pong.payload)], [ACK, "12ab\0\xffcd"]);
      peer.send(answer(stream));
    }, async (client, url) => {
      assertEquals(await client.get(url).text(), "ok");
    });
  });

  test("fetch() takes what is on its way to streams it has reset, however many (5.1)", async () => {
    const abort = new AbortController();
    const many = 1500;
    await withH2Server(async (peer) => {
      const streams: number[] = [];
      while (streams.length < many) streams.push((await peer.request()).stream);
      abort.abort();
      for (let i = 0; i < many; i++) {
        await peer.until((f) => f.type === RST_STREAM, "a reset");
      }
      for (const stream of streams) peer.send(head(stream), data(stream, "x"));
      peer.send(answer((await peer.request()).stream, "still"));
    }, async (client, url) => {
      const { signal } = abort;
      const all = await Promise.allSettled(
        Array.from({ length: many }, () => client.get(url, { signal })),
      );
      assert(all.every((one) => one.status === "rejected"));
      assertEquals(await client.get(url).text(), "still");
      assertEquals(client.stats().open, 1);
    }, {
      peer: { greeting: settings([3, 2 * many]) },
      client: { pool: { perHost: 1, queue: 2 * many } },
    });
  });

  test("fetch() gives up a server that sends DATA on a stream that is over (5.1)", async () => {
    let given!: () => void;
    const up = new Promise<void>((resolve) => given = resolve);
    await withH2Server(async (peer, connection) => {
      const { stream } = await peer.request();
      peer.send(answer(stream));
      if (connection > 0) return;
      await peer.pinged();
      peer.send(data(stream, "more"));
      await peer.goAway(STREAM_CLOSED);
      given();
    }, async (client, url) => {
      assertEquals(await client.get(url).text(), "ok");
      await up;
      assertEquals(await client.get(url).text(), "ok");
    });
  });
});
