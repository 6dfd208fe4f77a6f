import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { connect, serve } from "../tcp/mod.ts";
import type {
  CloseInfo,
  Connection,
  Server,
  TcpServeOptions,
} from "../tcp/mod.ts";
import {
  ClosedError,
  ConnectError,
  NetError,
  SizeLimitError,
  TimeoutError,
} from "../streams/errors.ts";

/** A server on a free port of the loopback, and how to connect to it. */
async function open(
  handler: (connection: Connection) => unknown,
  options: Partial<TcpServeOptions> = {},
): Promise<{ server: Server; port: number }> {
  const server = await serve(handler, {
    hostname: "127.0.0.1",
    port: 0,
    ...options,
  });
  assert(server.address.transport === "tcp");
  return { server, port: server.address.port };
}

const hostname = "127.0.0.1";

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.send(chunk);
}

test("`serve()` and `connect()` echo, and end cleanly on both sides", async () => {
  const infos: unknown[] = [];
  const { server, port } = await open(async (connection) => {
    connection.closed.then((info) => infos.push(info));
    await echo(connection);
  });
  const connection = await connect({ hostname, port });
  assertEquals(await connection.send("hello"), true);
  assertEquals(
    new TextDecoder().decode(await within(connection.read(5))),
    "hello",
  );
  await within(connection.close());
  assertEquals(await connection.closed, { clean: true });
  await within(server.close());
  assertEquals(infos, [{ clean: true }]);
  assertEquals(server.stats().connections, 0);
  assertEquals(server.stats().accepted, 1);
  assertEquals(server.stats().bytesRead, 5);
});

test("`closeWrite()` half-closes: the answer still comes", async () => {
  const { server, port } = await open(async (connection) => {
    let size = 0;
    for await (const chunk of connection) size += chunk.byteLength;
    await connection.send(`got ${size}`);
  });
  const connection = await connect({ hostname, port });
  await connection.send(new Uint8Array(300_000));
  await within(connection.closeWrite());
  assertEquals(await connection.send("late"), false);
  const chunks: string[] = [];
  for await (const chunk of connection) {
    chunks.push(new TextDecoder().decode(chunk));
  }
  assertEquals(chunks.join(""), "got 300000");
  await within(connection.close());
  assertEquals((await connection.closed).clean, true);
  await within(server.close());
});

test("`send()` gives a promise once the peer does not read", async () => {
  const { server, port } = await open((connection) => connection.closed);
  const connection = await connect({ hostname, port });
  const chunk = new Uint8Array(65_536);
  let accepted = 0;
  let result: boolean | Promise<boolean> = true;
  while (result === true || accepted < 1) {
    result = connection.send(chunk);
    if (result === true) {
      accepted++;
      await new Promise((resolve) => setTimeout(resolve, 0));
    } else {
      // Full for now: the kernel may still take more.
      const more = await Promise.race([
        result,
        new Promise<"full">((r) => setTimeout(() => r("full"), 300)),
      ]);
      if (more === "full") break;
      accepted++;
      result = true;
    }
    assert(accepted < 1000, "the kernel never said it was full");
  }
  assert(connection.buffered > 0);
  connection.destroy();
  assertEquals(await result, false);
  assertEquals(await connection.send("x"), false);
  await within(server.close({ timeout: 0 }));
});

test("`send()` that ignores its promise is stopped at `maxBuffered`", async () => {
  const { server, port } = await open((connection) => connection.closed);
  const connection = await connect({ hostname, port, maxBuffered: 1 << 20 });
  const chunk = new Uint8Array(1 << 18);
  let last: boolean | Promise<boolean> = true;
  for (let i = 0; i < 200 && last !== false; i++) last = connection.send(chunk);
  assertEquals(last, false);
  const { clean, error } = await within(connection.closed);
  assertEquals(clean, false);
  assertInstanceOf(error, SizeLimitError);
  assertEquals(error.limit, 1 << 20);
  await within(server.close({ timeout: 0 }));
});

test("`send()` copies: the caller may change its buffer at once", async () => {
  const { server, port } = await open(echo);
  const connection = await connect({ hostname, port });
  const big = new Uint8Array(100_000).fill(1);
  connection.send(big);
  big.fill(2);
  const back = await within(connection.read(100_000));
  assert(back!.every((byte) => byte === 1));
  await within(connection.close());
  await within(server.close());
});

test("`send()` rejects what is neither a string nor bytes", async () => {
  const { server, port } = await open(echo);
  const connection = await connect({ hostname, port });
  await assertRejects(
    async () => await connection.send(1 as unknown as string),
    TypeError,
    "Cannot send",
  );
  await within(connection.close());
  await within(server.close());
});

test("`read()` gives exactly n bytes, and an error when it ends in the middle", async () => {
  const { server, port } = await open(async (connection) => {
    await connection.send("abcdef");
    await connection.send("gh");
  });
  const connection = await connect({ hostname, port });
  const decoder = new TextDecoder();
  assertEquals(decoder.decode(await connection.read(2)), "ab");
  assertEquals(decoder.decode(await connection.read(3)), "cde");
  const error = await assertRejects(
    () => within(connection.read(10)),
    NetError,
    "ended after 3",
  );
  assertEquals(error.code, "ERR_UNEXPECTED_END");
  assertEquals(await connection.read(1), undefined);
  await within(connection.close());
  await within(server.close());
});

test("`destroy()` rejects pending receives with the reason", async () => {
  const { server, port } = await open((connection) => connection.closed);
  const connection = await connect({ hostname, port });
  const pending = connection.receive();
  const reason = new Error("enough");
  connection.destroy(reason);
  await assertRejects(async () => await pending, Error, "enough");
  const { clean, error } = await within(connection.closed);
  assertEquals(clean, false);
  assertInstanceOf(error, ClosedError);
  assertEquals(error.cause, reason);
  await within(server.close({ timeout: 0 }));
});

test("`reset()` is seen by the peer as an error, not as an end", async () => {
  const infos: CloseInfo[] = [];
  const { server, port } = await open(async (connection) => {
    connection.closed.then((info) => infos.push(info));
    for await (const _ of connection);
  });
  const connection = await connect({ hostname, port });
  await connection.send("x");
  await until(() => server.stats().bytesRead === 1);
  connection.reset();
  const { clean, error } = await within(connection.closed);
  assertEquals([clean, error?.code], [false, "ECONNRESET"]);
  await within(server.close({ timeout: 2000 }));
  assertEquals(infos[0].clean, false);
  assertEquals(infos[0].error?.code, "ECONNRESET");
});

test("`connect()` rejects when the port is closed", async () => {
  const { server, port } = await open(echo);
  await server.close();
  const error = await assertRejects(
    () => within(connect({ hostname, port })),
    ConnectError,
  );
  assertEquals(error.code, "ECONNREFUSED");
  assertEquals(error.phase, "connect");
  assertEquals(error.retryable, true);
});

test("`connect()` gives up at its timeout and at its signal", async () => {
  // 192.0.2.0/24 (RFC 5737) is nobody's, and loopback needs no handshake:
  // an aborted signal before and right after the call is what can be tested.
  const reason = new Error("not today");
  await assertRejects(
    () => connect({ hostname, port: 9, signal: AbortSignal.abort(reason) }),
    Error,
    "not today",
  );
  const { server, port } = await open(echo);
  const controller = new AbortController();
  const pending = connect({ hostname, port, signal: controller.signal });
  controller.abort(reason);
  await assertRejects(() => within(pending), Error, "not today");
  await within(server.close({ timeout: 1000 }));
});

test("`connect()` destroys its connection when the signal aborts later", async () => {
  const { server, port } = await open(echo);
  const controller = new AbortController();
  const connection = await connect({
    hostname,
    port,
    signal: controller.signal,
  });
  controller.abort(new Error("over"));
  await assertRejects(async () => await connection.receive(), Error, "over");
  assertEquals((await within(connection.closed)).clean, false);
  await within(server.close({ timeout: 1000 }));
});

test("`serve()` refuses options that it does not know or that make no sense", async () => {
  await assertRejects(
    () => serve(echo, { port: 70_000 }),
    RangeError,
    "port must be",
  );
  await assertRejects(
    () => serve(echo, { port: 0, colour: 1 } as TcpServeOptions),
    TypeError,
    "no such option: colour",
  );
  await assertRejects(
    () => serve(echo, {}),
    TypeError,
    "neither port nor path",
  );
  await assertRejects(
    () => connect({ port: 1, path: "/x" }),
    TypeError,
    "not both",
  );
});

test("`serve()` rejects when the port is taken", async () => {
  const { server, port } = await open(echo);
  const error = await assertRejects(
    () => serve(echo, { hostname, port }),
    NetError,
  );
  assertEquals(error.code, "EADDRINUSE");
  await within(server.close());
});

test("`serve()` refuses connections past `maxConnections` and counts them", async () => {
  const { server, port } = await open(echo, { maxConnections: 1 });
  const first = await connect({ hostname, port });
  await first.send("a");
  await within(first.read(1));
  const second = await connect({ hostname, port });
  try {
    assertEquals(await within(Promise.resolve(second.receive())), undefined);
  } catch (error) {
    assertInstanceOf(error, NetError);
  }
  assertEquals(server.stats().refused, 1);
  second.destroy();
  await within(first.close());
  await within(server.close());
});

test("`serve()` tells `onError` what a handler threw and destroys its connection", async () => {
  const errors: unknown[] = [];
  const { server, port } = await open(() => {
    throw new Error("bad handler");
  }, { onError: (error) => errors.push(error) });
  const connection = await connect({ hostname, port });
  assertEquals(await within(Promise.resolve(connection.receive())), undefined);
  await within(connection.close());
  await within(server.close({ timeout: 1000 }));
  assertEquals((errors[0] as Error).message, "bad handler");
});

test("`Server.close()` waits for handlers, and destroys them at its timeout", async () => {
  let release!: () => void;
  const held = new Promise<void>((resolve) => release = resolve);
  const { server, port } = await open(async (connection) => {
    await connection.send("in");
    await held;
    await connection.send("done");
  });
  const connection = await connect({ hostname, port });
  await within(connection.read(2));
  const closing = server.close();
  await assertRejects(() => connect({ hostname, port }), NetError);
  release();
  assertEquals(
    new TextDecoder().decode(await within(connection.read(4))),
    "done",
  );
  await connection.close();
  await within(closing);

  const { server: stuck, port: other } = await open((c) => c.closed);
  const waiting = await connect({ hostname, port: other });
  await within(stuck.close({ timeout: 50 }));
  assertEquals(await within(Promise.resolve(waiting.receive())), undefined);
  await within(waiting.close());
});

test("`serve()` closes gracefully when its signal aborts", async () => {
  const controller = new AbortController();
  const { server } = await open(echo, { signal: controller.signal });
  controller.abort();
  await within(server.closed);
});

test("`idleTimeout` destroys a silent connection", async () => {
  const infos: CloseInfo[] = [];
  const { server, port } = await open(async (connection) => {
    infos.push(await connection.closed);
  }, { idleTimeout: 50 });
  const connection = await connect({ hostname, port });
  assertEquals(await within(Promise.resolve(connection.receive())), undefined);
  await until(() => infos.length === 1);
  assertInstanceOf(infos[0].error, TimeoutError);
  assertEquals(infos[0].error.phase, "idle");
  await within(connection.close());
  await within(server.close());
});

test("`readable` and `writable` pipe an echo", async () => {
  const { server, port } = await open((connection) =>
    connection.readable.pipeTo(connection.writable)
  );
  const connection = await connect({ hostname, port });
  const writer = connection.writable.getWriter();
  await writer.write("one ");
  await writer.write("two");
  await writer.close();
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of connection.readable) {
    text += decoder.decode(chunk, { stream: true });
  }
  assertEquals(text, "one two");
  assertThrows(() => connection.receive(), TypeError, "Cannot receive");
  await within(connection.close());
  assertEquals(await connection.closed, { clean: true });
  await within(server.close());
});

test("`receive()` with a timeout loses nothing that comes later", async () => {
  const { server, port } = await open(echo);
  const connection = await connect({ hostname, port });
  await assertRejects(
    async () => await connection.receive({ timeout: 5 }),
    TimeoutError,
  );
  await connection.send("x");
  assertEquals(await within(connection.read(1)), new Uint8Array([120]));
  await within(connection.close());
  await within(server.close());
});
