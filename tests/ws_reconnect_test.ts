import { after, before, beforeEach, describe, test } from "node:test";
import { serve } from "../http/mod.ts";
import type { HttpServer } from "../http/mod.ts";
import { HandshakeError, reconnect, upgrade } from "../ws/mod.ts";
import type {
  Down,
  Message,
  ReconnectingSocket,
  ReconnectOptions,
  Socket,
} from "../ws/mod.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { summary } from "./_ws_support.ts";
import { until, within } from "./_support.ts";

const local = { port: 0, hostname: "127.0.0.1" };
const quick: ReconnectOptions = { minDelay: 1, maxDelay: 20 };

describe("reconnect()", () => {
  let server: HttpServer;
  let sockets: Socket[] = [];
  /** What the server has received, on all connections. */
  let received: Message[] = [];
  /** Requests that are refused before the next one is let in. */
  let refusals: Response[] = [];
  const open: ReconnectingSocket[] = [];

  function start(options: ReconnectOptions = {}): ReconnectingSocket {
    const socket = reconnect(server.url, { ...quick, ...options });
    open.push(socket);
    return socket;
  }

  before(async () => {
    server = await serve((request) =>
      refusals.shift() ??
        upgrade(request, {
          open: (socket) => sockets.push(socket),
          message(socket, data) {
            received.push(data);
            if (data === "cut me") socket.destroy();
            else if (data === "restart") void socket.close(1012, "restart");
            else if (data === "enough") void socket.close(1000, "enough");
            else return socket.send(data);
          },
        }), local);
  });
  beforeEach(() => {
    for (const socket of open.splice(0)) socket.destroy();
    sockets = [];
    received = [];
    refusals = [];
  });
  after(async () => {
    for (const socket of open.splice(0)) socket.destroy();
    await within(server.close({ timeout: 0 }));
  });

  test("keeps the duplex over connections that are lost", async () => {
    const downs: Down[] = [];
    const opened: Socket[] = [];
    const socket = start({
      onOpen: (connection) => opened.push(connection),
      onDown: (down) => downs.push(down),
    });
    assertEquals(socket.connection, undefined);
    const echoes: Message[] = [];
    for (const text of ["a", "cut me", "b", "restart", "c"]) {
      assertEquals(await within(Promise.resolve(socket.send(text))), true);
      if (text.length > 1) {
        const { connections } = socket;
        await until(() => socket.connections > connections, "another");
      } else echoes.push((await within(Promise.resolve(socket.receive())))!);
    }
    assertEquals(echoes, ["a", "b", "c"]);
    assertEquals(socket.connections, 3);
    assertEquals(opened.length, 3);
    assert(socket.connection === opened[2]);
    assert(await within(socket.ping()) >= 0);
    assertEquals(downs.map((down) => down.info?.code), [1006, 1012]);
    assert(downs.every(({ delay }) => delay >= 0 && delay <= 20));
    await within(socket.close(4000, "done"));
    assertEquals(summary(await socket.closed), "clean 4000 done");
    assertEquals(summary(await within(sockets[2].closed)), "clean 4000 done");
    assertEquals(socket.send("late"), false);
    assertEquals(await socket.receive(), undefined);
  });

  test("queues what is sent without a connection, in order", async () => {
    refusals = [1, 2, 3].map(() => new Response("busy", { status: 503 }));
    const socket = start();
    const sent = ["a", "b", "c"].map((text) => socket.send(text));
    assert(sent.every((one) => one instanceof Promise));
    const bytes = Uint8Array.of(1, 2);
    const last = socket.send(bytes);
    bytes[0] = 9;
    assert(socket.buffered > 0);
    assertEquals(await within(Promise.all([...sent, last])), [
      true,
      true,
      true,
      true,
    ]);
    await until(() => received.length === 4, "all four");
    assertEquals(received, ["a", "b", "c", Uint8Array.of(1, 2)]);
  });

  test("lets onOpen speak first, and drops the connection if it fails", async () => {
    let count = 0;
    const socket = start({
      async onOpen(connection) {
        if (++count === 1) throw new Error("Cannot log in");
        await connection.send("login");
      },
    });
    assertEquals(await within(Promise.resolve(socket.send("first"))), true);
    await until(() => received.length === 2, "both");
    assertEquals(received, ["login", "first"]);
    assertEquals(count, 2);
  });

  test("sends no message twice, and loses none that was not accepted", async () => {
    const socket = start();
    const all: string[] = [];
    for (let i = 0; i < 60; i++) {
      all.push(`${i}`);
      assertEquals(await within(Promise.resolve(socket.send(`${i}`))), true);
      if (i % 20 === 10) {
        // All that was accepted so far has arrived: nothing can be lost.
        await until(() => received.length === all.length, "what was sent");
        const { connections } = socket;
        sockets[sockets.length - 1].destroy();
        await until(() => socket.connections > connections, "another");
      }
    }
    await until(() => received.length >= all.length, "all");
    assertEquals(received, all);
  });

  test("gives up after so many attempts", async () => {
    const downs: Down[] = [];
    const gone = await serve(() => new Response(), local);
    await within(gone.close());
    const socket = reconnect(gone.url, {
      ...quick,
      attempts: 3,
      onDown: (down) => downs.push(down),
    });
    const waiting = socket.send("never");
    const { clean, code, error } = await within(socket.closed);
    assertEquals([clean, code], [false, 1006]);
    assertEquals((error as { code?: string }).code, "ECONNREFUSED");
    assertEquals(await waiting, false);
    assertEquals(downs.map(({ failures }) => failures), [1, 2, 3]);
    await assertRejects(() => within(Promise.resolve(socket.receive())));
    await assertRejects(() => within(socket.ping()));
  });

  test("ends when it is not wanted, and after a clean 1000", async () => {
    refusals = [new Response("no", { status: 403 })];
    const refused = start();
    const { error } = await within(refused.closed);
    assert(error instanceof HandshakeError);
    assertEquals(error.status, 403);

    const done = start();
    assertEquals(await within(Promise.resolve(done.send("enough"))), true);
    assertEquals(summary(await within(done.closed)), "clean 1000 enough");
    assertEquals(await done.receive(), undefined);

    const causes: unknown[] = [];
    const asked = start({
      retry(cause) {
        causes.push(cause);
        return causes.length < 2;
      },
    });
    await asked.send("enough");
    await until(() => causes.length === 1, "the first end");
    await asked.send("enough");
    await within(asked.closed);
    assertEquals(causes.length, 2);
  });

  test("waits as long as the server says", async () => {
    const headers = { "retry-after": "1" };
    refusals = [new Response("later", { status: 503, headers })];
    const downs: Down[] = [];
    const socket = start({
      maxDelay: 5000,
      onDown: (down) => downs.push(down),
    });
    await until(() => downs.length === 1, "the refusal");
    assertEquals(downs[0].delay, 1000);
    assert(downs[0].error instanceof HandshakeError);
    await within(socket.close());
  });

  test("ends at once while there is no connection", async () => {
    const slow = { ...quick, minDelay: 60_000, maxDelay: 60_000 };
    const cause = new Error("enough");
    for (const way of ["close", "destroy", "signal"] as const) {
      refusals = [new Response("busy", { status: 503 })];
      const controller = new AbortController();
      let down = false;
      const socket = start({
        ...slow,
        signal: controller.signal,
        onDown: () => down = true,
      });
      const waiting = socket.send("never");
      await until(() => down, "the refusal");
      if (way === "close") await within(socket.close());
      else if (way === "destroy") socket.destroy(cause);
      else controller.abort(cause);
      const { clean, error } = await within(socket.closed);
      assertEquals(clean, false);
      if (way !== "close") {
        assert(error?.cause === cause);
        await assertRejects(
          () => within(Promise.resolve(socket.receive())),
          Error,
          "enough",
        );
      }
      assertEquals(await waiting, false);
    }
    const aborted = start({ signal: AbortSignal.abort(cause) });
    await within(aborted.closed);
  });

  test("stops the server when nobody receives", async () => {
    const socket = start({ highWaterMark: 1000 });
    await within(Promise.resolve(socket.send("x")));
    const big = new Uint8Array(8 * 1024 * 1024);
    await until(() => sockets.length === 1, "the connection");
    const pushing = Promise.resolve(sockets[0].send(big)).then(async () => {
      for (let i = 0; i < 3; i++) await sockets[0].send(big);
    });
    let done = false;
    void pushing.then(() => done = true);
    await until(() => sockets[0].buffered > 0, "a full kernel");
    assertEquals(done, false);
    let bytes = 0;
    while (bytes < 4 * big.length) {
      const message = await within(Promise.resolve(socket.receive()));
      if (message !== "x") bytes += message!.length;
    }
    await within(pushing);
  });

  test("refuses options that make no sense", () => {
    for (
      const options of [{ minDelay: -1 }, { maxDelay: NaN }, { attempts: -1 }]
    ) assertThrows(() => reconnect("ws://a/", options), RangeError);
    assertThrows(() => reconnect("ftp://a/"), TypeError);
    assertThrows(
      () =>
        reconnect("ws://a/", { retry: true } as unknown as ReconnectOptions),
      TypeError,
    );
  });

  test("ends with what connect says of its options", async () => {
    const socket = start({ wrong: 1 } as ReconnectOptions);
    const { error } = await within(socket.closed);
    assert(error?.cause instanceof TypeError);
  });
});
