import { describe, test } from "node:test";
import { setExchange } from "../http/_exchange.ts";
import type { Exchange } from "../http/_exchange.ts";
import { takeoverOf } from "../http/_takeover.ts";
import type { ServerContext } from "../http/types.ts";
import { WireSocket } from "../ws/_wire_socket.ts";
import { isUpgrade, upgrade } from "../ws/mod.ts";
import type { Listener, Socket, UpgradeOptions } from "../ws/mod.ts";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { build, hex } from "./_ws_frames.ts";
import { initOf, memoryTransports, summary, turn } from "./_ws_support.ts";
import { within } from "./_support.ts";

const FIELDS = {
  host: "localhost",
  upgrade: "websocket",
  connection: "Upgrade",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

interface Fake {
  request: Request;
  tasks: Promise<unknown>[];
  reported: unknown[];
  shutdown: Set<() => void>;
}

/** A request as the wire engine would give it to a handler. */
function asked(
  headers: Record<string, string | undefined> = {},
  init: { method?: string; protocol?: ServerContext["protocol"] } = {},
): Fake {
  const all = Object.entries({ ...FIELDS, ...headers })
    .filter((entry): entry is [string, string] => entry[1] !== undefined);
  const request = new Request("http://localhost/chat?a=1", {
    method: init.method ?? "GET",
    headers: all,
  });
  const fake: Fake = {
    request,
    tasks: [],
    reported: [],
    shutdown: new Set(),
  };
  const exchange: Exchange = {
    engine: "wire",
    context: {
      protocol: init.protocol ?? "http/1.1",
      remoteAddress: { transport: "tcp", hostname: "10.0.0.1", port: 5 },
      waitUntil: (task: Promise<unknown>) => void fake.tasks.push(task),
    } as unknown as ServerContext,
    onShutdown(callback) {
      fake.shutdown.add(callback);
      return () => void fake.shutdown.delete(callback);
    },
    report: (error) => void fake.reported.push(error),
  };
  setExchange(request, exchange);
  return fake;
}

const idle = async (socket: Socket) => {
  for await (const _ of socket);
};

function answer(
  headers: Record<string, string | undefined> = {},
  options: UpgradeOptions = {},
): Response {
  return upgrade(asked(headers).request, idle, options);
}

describe("isUpgrade()", () => {
  test("knows the tokens in any case and among others", () => {
    assert(isUpgrade(asked().request));
    assert(isUpgrade(
      asked({ upgrade: "WebSocket", connection: "keep-alive, UPGRADE" })
        .request,
    ));
    assert(isUpgrade(asked({ upgrade: "h2c, websocket" }).request));
    assert(!isUpgrade(asked({ upgrade: undefined }).request));
    assert(!isUpgrade(asked({ connection: "keep-alive" }).request));
    assert(!isUpgrade(asked({ upgrade: "websockets" }).request));
    assert(!isUpgrade(asked({}, { method: "POST" }).request));
  });
});

describe("upgrade()", () => {
  test("answers a proper handshake with 101", () => {
    const response = answer();
    assertEquals(response.status, 101);
    assertEquals(Object.fromEntries(response.headers), {
      connection: "Upgrade",
      "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
      upgrade: "websocket",
    });
    assert(takeoverOf(response) !== undefined);
  });

  const refused: [string, Record<string, string | undefined>, number][] = [
    ["no Upgrade", { upgrade: undefined }, 426],
    ["another Upgrade", { upgrade: "h2c" }, 400],
    ["no Connection", { connection: undefined }, 400],
    ["another Connection", { connection: "close" }, 400],
    ["no version", { "sec-websocket-version": undefined }, 426],
    ["version 8", { "sec-websocket-version": "8" }, 426],
    ["version 13 twice", { "sec-websocket-version": "13, 13" }, 426],
    ["no key", { "sec-websocket-key": undefined }, 400],
    ["a short key", { "sec-websocket-key": "AAAA" }, 400],
    ["a long key", { "sec-websocket-key": "A".repeat(24) + "==" }, 400],
    ["a key not in base64", {
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25j$Q==",
    }, 400],
    ["two keys", {
      "sec-websocket-key": `${FIELDS["sec-websocket-key"]}, ${
        FIELDS["sec-websocket-key"]
      }`,
    }, 400],
    ["a body", { "content-length": "5" }, 400],
    ["a chunked body", { "transfer-encoding": "chunked" }, 400],
    ["empty protocols only", { "sec-websocket-protocol": ", ," }, 400],
    ["a protocol twice", { "sec-websocket-protocol": "a, a" }, 400],
    ["a protocol with a space", { "sec-websocket-protocol": "a b" }, 400],
  ];
  for (const [name, headers, status] of refused) {
    test(`refuses ${name} with ${status}`, async () => {
      let run = false;
      const response = upgrade(asked(headers).request, () => void (run = true));
      assertEquals(response.status, status);
      assertEquals(takeoverOf(response), undefined);
      assert((await response.text()).length > 10);
      assert(!run);
    });
  }

  test("names its version where another was asked for", () => {
    const response = answer({ "sec-websocket-version": "7" });
    assertEquals(response.headers.get("sec-websocket-version"), "13");
    assertEquals(response.headers.get("upgrade"), "websocket");
    assertEquals(response.headers.get("connection"), "upgrade");
  });

  test("refuses other methods and other versions of HTTP", () => {
    const post = upgrade(asked({}, { method: "POST" }).request, idle);
    assertEquals(post.status, 405);
    assertEquals(post.headers.get("allow"), "GET");
    const old = upgrade(asked({}, { protocol: "http/1.0" }).request, idle);
    assertEquals(old.status, 400);
  });

  test("lets in the origins of the list only, and who has none", () => {
    const options = { origins: ["https://a.example", "http://b.example:81"] };
    const status = (origin?: string) => answer({ origin }, options).status;
    assertEquals(status("https://a.example"), 101);
    assertEquals(status("HTTPS://A.example"), 101);
    assertEquals(status("http://b.example:81"), 101);
    assertEquals(status(undefined), 101);
    assertEquals(status("http://a.example"), 403);
    assertEquals(status("https://a.example.evil"), 403);
    assertEquals(status("null"), 403);
  });

  test("asks the function of origins", () => {
    const seen: (string | null)[] = [];
    const options: UpgradeOptions = {
      origins: (origin, request) => {
        assert(request.url.includes("/chat"));
        seen.push(origin);
        return origin === "x";
      },
    };
    assertEquals(answer({ origin: "x" }, options).status, 101);
    assertEquals(answer({}, options).status, 403);
    assertEquals(seen, ["x", null]);
  });

  test("takes the first protocol of the client's that it speaks", () => {
    const chosen = (offer: string | undefined, protocols?: string[]) =>
      answer({ "sec-websocket-protocol": offer }, { protocols })
        .headers.get("sec-websocket-protocol");
    assertEquals(chosen("a, b, c", ["c", "b"]), "b");
    assertEquals(chosen("a", ["b"]), null);
    // RFC 9110, 5.6.1.2
    assertEquals(chosen(", a,, b,", ["b"]), "b");
    assertEquals(chosen("a", undefined), null);
    assertEquals(chosen(undefined, ["b"]), null);
  });

  test("lets a function choose the protocol, among those offered", () => {
    const header = (choose: UpgradeOptions["protocols"]) =>
      answer({ "sec-websocket-protocol": "a, b" }, { protocols: choose })
        .headers.get("sec-websocket-protocol");
    assertEquals(header((offered) => offered[1]), "b");
    assertEquals(header(() => undefined), null);
    assertThrows(() => header(() => "c"), TypeError, "not offered");
  });

  test("adds headers, but not those of the handshake", () => {
    const response = answer({}, { headers: { "set-cookie": "a=1", x: "y" } });
    assertEquals(response.headers.get("x"), "y");
    assertEquals(response.headers.get("set-cookie"), "a=1");
    for (
      const name of [
        "Upgrade",
        "connection",
        "Sec-WebSocket-Extensions",
        "host",
      ]
    ) {
      assertThrows(
        () => answer({}, { headers: { [name]: "x" } }),
        TypeError,
        "handshake",
      );
    }
  });

  test("refuses a request that was made or copied elsewhere", () => {
    const { request } = asked();
    for (
      const other of [
        new Request("http://a/", { headers: FIELDS }),
        request.clone(),
        new Request(request),
      ]
    ) assertThrows(() => upgrade(other, idle), TypeError, "Cannot upgrade");
  });

  test("refuses options that make no sense", () => {
    for (
      const options of [
        { maxMessageSize: -1 },
        { highWaterMark: 0 },
        { heartbeat: "1 s" },
        { idleTimeout: NaN },
        { compress: { level: 0 } },
        { compress: { serverMaxWindowBits: 7 } },
        { compress: { clientMaxWindowBits: 16 } },
      ]
    ) assertThrows(() => answer({}, options as UpgradeOptions), RangeError);
    for (
      const options of [{ compress: "yes" }, { compress: { window: 1 } }, {
        masxMessageSize: 1,
      }]
    ) {
      assertThrows(() => answer({}, options as UpgradeOptions), TypeError);
    }
    assertEquals(answer({}, { compress: false } as UpgradeOptions).status, 101);
    for (const handler of [undefined, null, "x"]) {
      assertThrows(
        () => upgrade(asked().request, handler as unknown as Listener),
        TypeError,
      );
    }
  });

  test("hands the connection to the handler, with what it knows", async () => {
    const fake = asked({ "sec-websocket-protocol": "p" });
    let socket!: Socket;
    const response = upgrade(fake.request, (given) => {
      socket = given;
      return idle(given);
    }, { protocols: ["p"] });
    const [serverEnd, clientEnd] = memoryTransports();
    const client = new WireSocket(clientEnd, true, initOf());
    client.start(undefined, new Uint8Array(0));
    takeoverOf(response)!.start(serverEnd, new Uint8Array(0));
    assertEquals(socket.protocol, "p");
    assertEquals(socket.extensions, "");
    assertEquals(socket.url, "ws://localhost/chat?a=1");
    assertEquals(socket.remoteAddress, serverEnd.remoteAddress);
    assertEquals(socket.raw, "memory");
    assertEquals(fake.tasks.length, 1);
    await within(client.close());
    await within(fake.tasks[0]);
    assertEquals(fake.shutdown.size, 0);
  });

  test("delivers frames that came in the segment of the handshake", async () => {
    const told: string[] = [];
    const fake = asked();
    const response = upgrade(fake.request, {
      open: () => told.push("open"),
      message: (_, data) => told.push(`${data}`),
      close: (_, info) => told.push(summary(info)),
    });
    const [serverEnd, clientEnd] = memoryTransports();
    clientEnd.attach({ data() {}, end() {}, drain() {}, close() {} });
    takeoverOf(response)!.start(
      serverEnd,
      build([
        { first: 0x81, payload: hex("61") },
        { first: 0x81, payload: hex("62") },
        { first: 0x88, payload: hex("03e9") },
      ], true),
    );
    clientEnd.end();
    await within(fake.tasks[0]);
    assertEquals(told, ["open", "a", "b", "clean 1001"]);
  });

  test("closes with 1001 when the server shuts down", async () => {
    const fake = asked();
    const response = upgrade(fake.request, idle);
    const [serverEnd, clientEnd] = memoryTransports();
    const client = new WireSocket(clientEnd, true, initOf());
    client.start(undefined, new Uint8Array(0));
    takeoverOf(response)!.start(serverEnd, new Uint8Array(0));
    await turn();
    for (const callback of fake.shutdown) callback();
    assertEquals(summary(await within(client.closed)), "clean 1001");
  });

  test("tells the server what the handler threw", async () => {
    const fake = asked();
    const failure = new Error("oops");
    const response = upgrade(fake.request, () => Promise.reject(failure));
    const [serverEnd, clientEnd] = memoryTransports();
    const client = new WireSocket(clientEnd, true, initOf());
    client.start(undefined, new Uint8Array(0));
    takeoverOf(response)!.start(serverEnd, new Uint8Array(0));
    assertEquals(summary(await within(client.closed)), "clean 1011");
    assertEquals(fake.reported, [failure]);
  });
});
