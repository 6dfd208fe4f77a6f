import process from "node:process";
import { describe, test } from "node:test";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "./assert.ts";
import { runtime, tool, until, within } from "./_support.ts";
import { collect, runProgram, settle } from "./_tcp_support.ts";
import { connect, NetError, serve } from "../tcp/mod.ts";
import type { Connection, Server, TcpServeOptions } from "../tcp/mod.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

function portOf(server: Server): number {
  const { address } = server;
  return address.transport === "unix" ? 0 : address.port;
}

function dial(server: Server): net.Socket {
  const peer = net.connect({
    host: "127.0.0.1",
    port: portOf(server),
    allowHalfOpen: true,
  });
  peer.on("error", () => {});
  return peer;
}

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.send(chunk);
}

async function withFolder(
  run: (path: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  try {
    await run(join(folder, "socket"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("tcp.serve()", () => {
  test("`serve()` echoes, and closes when the handler is done", async () => {
    const server = await serve(echo, LOCAL);
    try {
      const peer = dial(server);
      const got = collect(peer);
      peer.end("hello");
      await until(() => got.closed || got.ended, "the end");
      assertEquals(got.text, "hello");
      await until(() => server.stats().connections === 0, "the close");
      assertEquals(server.stats(), {
        connections: 0,
        accepted: 1,
        refused: 0,
        bytesRead: 5,
        bytesWritten: 5,
      });
    } finally {
      await within(server.close());
    }
  });

  test("`serve()` destroys when the handler rejects, and tells", async () => {
    const told: [unknown, unknown][] = [];
    const connections: Connection[] = [];
    const wrong = new Error("wrong");
    for (const sync of [true, false]) {
      const server = await serve((connection) => {
        connections.push(connection);
        if (sync) throw wrong;
        return Promise.reject(wrong);
      }, {
        ...LOCAL,
        onError: (...all) => told.push(all as [unknown, unknown]),
      });
      try {
        const peer = dial(server);
        const got = collect(peer);
        await until(() => got.ended || got.error, "the end");
        const connection = connections.pop()!;
        const info = await within(connection.closed);
        assertEquals(info.clean, false);
        assertStrictEquals(info.error!.cause, wrong);
        assertEquals(told.length, 1);
        assertStrictEquals(told[0][0], wrong);
        assertStrictEquals(told.pop()![1], connection);
        peer.destroy();
      } finally {
        await within(server.close());
      }
    }
  });

  test("`serve()` goes on when `onError` throws", async () => {
    const server = await serve(() => {
      throw new Error("wrong");
    }, {
      ...LOCAL,
      onError() {
        throw new Error("this, too");
      },
    });
    try {
      for (let i = 0; i < 2; i++) {
        const got = collect(dial(server));
        await until(() => got.ended || got.error, "the end");
      }
      assertEquals(server.stats().accepted, 2);
    } finally {
      await within(server.close());
    }
  });

  test("`serve()` does not tell of connections that break", async () => {
    const told: unknown[] = [];
    const server = await serve(echo, {
      ...LOCAL,
      onError: (error) => told.push(error),
    });
    try {
      const peer = dial(server);
      peer.write("x");
      await until(() => server.stats().bytesRead === 1, "the byte");
      peer.resetAndDestroy();
      await until(() => server.stats().connections === 0, "the close");
      await settle(10);
      assertEquals(told, []);
    } finally {
      await within(server.close());
    }
  });

  test("`serve()` refuses more than `maxConnections`", async () => {
    const server = await serve(echo, { ...LOCAL, maxConnections: 2 });
    const peers: net.Socket[] = [];
    try {
      for (let i = 0; i < 2; i++) {
        const peer = dial(server);
        peers.push(peer);
        const got = collect(peer);
        peer.write("x");
        await until(() => got.text === "x", "the echo");
      }
      const third = dial(server);
      const got = collect(third);
      await until(() => got.ended || got.error, "the refusal");
      assertEquals(got.bytes, 0);
      third.destroy();
      assertEquals(server.stats().refused, 1);
      peers[0].end();
      await until(() => server.stats().connections === 1, "a place");
      const fourth = dial(server);
      peers.push(fourth);
      const answer = collect(fourth);
      fourth.write("y");
      await until(() => answer.text === "y", "the echo");
      const { connections, accepted, refused } = server.stats();
      assertEquals([connections, accepted, refused], [2, 3, 1]);
    } finally {
      for (const peer of peers) peer.destroy();
      await within(server.close());
    }
  });

  test("`close()` waits for handlers, and accepts no more", async () => {
    let finish!: () => void;
    const server = await serve(async (connection) => {
      await new Promise<void>((resolve) => finish = resolve);
      await connection.send("done");
    }, LOCAL);
    const peer = dial(server);
    const got = collect(peer);
    await until(() => finish !== undefined, "the handler");
    let over = false;
    const closing = server.close().then(() => over = true);
    await until(async () => {
      const late = dial(server);
      const refused = await new Promise((resolve) => {
        late.once("connect", () => resolve(false));
        late.once("error", () => resolve(true));
      });
      late.destroy();
      return refused;
    }, "a refused connection");
    assert(!over);
    finish();
    await until(() => got.ended, "the end");
    assertEquals(got.text, "done");
    peer.end();
    await within(closing);
    await server.closed;
  });

  test("`close()` destroys what is left at the timeout", async () => {
    const server = await serve(echo, LOCAL);
    const peer = dial(server);
    const got = collect(peer);
    peer.write("x");
    await until(() => got.text === "x", "the echo");
    const start = performance.now();
    await within(server.close({ timeout: 60 }));
    assert(performance.now() - start > 50);
    await until(() => got.ended || got.error, "the end");
    peer.destroy();
  });

  test("`close()` of 0 ms destroys at once; a later call may hurry", async () => {
    const server = await serve(echo, LOCAL);
    const peer = dial(server);
    const got = collect(peer);
    peer.write("x");
    await until(() => got.text === "x", "the echo");
    const slow = server.close({ timeout: Infinity });
    await settle(10);
    await within(server.close({ timeout: 0 }), 1000);
    await within(slow, 1000);
    await until(() => got.ended || got.error, "the end");
    peer.destroy();
    await assertRejects(() => server.close({ timeout: NaN }), RangeError);
  });

  test("`close()` frees the port", async () => {
    const first = await serve(echo, LOCAL);
    const port = portOf(first);
    await first.close();
    const second = await serve(echo, { ...LOCAL, port });
    await second[Symbol.asyncDispose]();
  });

  test("`signal` closes the server", async () => {
    const controller = new AbortController();
    const server = await serve(echo, { ...LOCAL, signal: controller.signal });
    controller.abort();
    await within(server.closed);
    const reason = new Error("mine");
    const error = await assertRejects(() =>
      serve(echo, { ...LOCAL, signal: AbortSignal.abort(reason) })
    );
    assertStrictEquals(error, reason);
  });

  test("`serve()` rejects with the same codes everywhere", async () => {
    const taken = await serve(echo, LOCAL);
    try {
      const cases: [TcpServeOptions, string, RegExp][] = [
        [{ ...LOCAL, port: portOf(taken) }, "EADDRINUSE", /in use/],
        [{ hostname: "192.0.2.1", port: 0 }, "EADDRNOTAVAIL", /192\.0\.2\.1:0/],
        [{ hostname: "nohost.invalid", port: 0 }, "ENOTFOUND", /nohost/],
        [{ path: "/nonexistent/folder/socket" }, "ENOENT", /folder\/socket/],
      ];
      for (const [options, code, message] of cases) {
        const error = await assertRejects(
          () => within(serve(echo, options)),
          NetError,
          "Cannot listen on",
        );
        assertEquals(error.code, code, error.message);
        assertMatch(error.message, message);
        assertEquals(error.phase, "listen");
      }
    } finally {
      await taken.close();
    }
  });

  test("`serve()` refuses options that make no sense", async () => {
    const cases: [unknown, new () => Error][] = [
      [{}, TypeError],
      [{ port: 0, path: "/tmp/x" }, TypeError],
      [{ path: "" }, TypeError],
      [{ path: `/tmp/${"x".repeat(103)}` }, RangeError],
      [{ port: -1 }, RangeError],
      [{ port: 65536 }, RangeError],
      [{ port: 1.5 }, RangeError],
      [{ port: "80" }, RangeError],
      [{ port: 0, maxConnections: -1 }, RangeError],
      [{ port: 0, highWaterMark: NaN }, RangeError],
      [{ port: 0, idleTimeout: "1" }, RangeError],
      [{ port: 0, tsl: {} }, TypeError],
      [undefined, TypeError],
    ];
    for (const [options, type] of cases) {
      await assertRejects(
        () => serve(echo, options as TcpServeOptions),
        type,
        "Cannot serve",
      );
    }
    await assertRejects(
      () => serve("x" as unknown as () => void, LOCAL),
      TypeError,
      "handler must be a function",
    );
  });

  test("`updateTls()` says that there is no TLS", async () => {
    const server = await serve(echo, LOCAL);
    assertThrows(
      () => server.updateTls({ cert: "", key: "" }),
      TypeError,
      "has none",
    );
    await server.close();
  });

  test("`serve()` listens on IPv6", async () => {
    const server = await serve(echo, { hostname: "::1", port: 0 });
    try {
      const { address } = server;
      assert(address.transport === "tcp" && address.hostname === "::1");
      const connection = await connect({ ...address });
      await connection.send("six");
      assertEquals((await connection.receive())!.byteLength, 3);
      assertEquals(connection.remoteAddress, address);
      await connection.close();
    } finally {
      await within(server.close());
    }
  });

  test("`serve()` listens on a Unix socket, and removes it", () =>
    withFolder(async (path) => {
      const server = await serve(echo, { path });
      assertEquals(server.address, { transport: "unix", path });
      const connection = await connect({ path });
      await connection.send("unix");
      assertEquals((await connection.receive())!.byteLength, 4);
      await connection.close();
      await within(server.close());
      assert(!existsSync(path));
    }));

  test("`serve()` replaces a dead server's socket file only", () =>
    withFolder(async (path) => {
      await runProgram(
        `
        import * as net from "node:net";
        net.createServer().listen(${JSON.stringify(path)}, () =>
          process.kill(process.pid, "SIGKILL"));
      `,
        "node",
      );
      assert(existsSync(path), "no stale file was left");
      const server = await serve(echo, { path });
      const error = await assertRejects(
        () => serve(echo, { path }),
        NetError,
      );
      assertEquals(error.code, "EADDRINUSE");
      const connection = await connect({ path });
      connection.destroy();
      await within(server.close());
      writeFileSync(path, "precious");
      const other = await assertRejects(() => serve(echo, { path }), NetError);
      assertEquals(other.code, "EADDRINUSE");
      assertEquals(readFileSync(path, "utf8"), "precious");
    }));

  test("`reusePort` lets two servers share a port, or is refused", async () => {
    if (process.versions.node.startsWith("20.")) {
      const wanted = { ...LOCAL, reusePort: true };
      await assertRejects(() => serve(echo, wanted), TypeError, "from 22.12");
      return;
    }
    const first = await serve(echo, { ...LOCAL, reusePort: true });
    try {
      const second = await serve(echo, {
        ...LOCAL,
        port: portOf(first),
        reusePort: true,
      });
      await second.close();
    } finally {
      await within(first.close());
    }
  });

  test("`backlog` is taken", async () => {
    const server = await serve(echo, { ...LOCAL, backlog: 3 });
    try {
      const connection = await connect({ ...LOCAL, port: portOf(server) });
      await connection.send("x");
      assertEquals((await connection.receive())!.byteLength, 1);
      await connection.close();
    } finally {
      await within(server.close());
    }
  });

  test("`unref()` lets the process end, `ref()` keeps it", async () => {
    const program = (then: string) => `
      import { serve } from ${
      JSON.stringify(
        new URL("../tcp/mod.ts", import.meta.url).href,
      )
    };
      const server = await serve(() => {}, { hostname: "127.0.0.1", port: 0 });
      console.log("listening");
      ${then}
    `;
    const gone = await runProgram(program("server.unref();"));
    assertEquals([gone.output, gone.code], ["listening\n", 0]);
    const kept = await runProgram(
      program(`
        server.unref();
        server.ref();
        setTimeout(() => { console.log("still"); server.close(); }, 200).unref?.();
        if (typeof Deno !== "undefined") setTimeout(() => {}, 300);
      `),
    );
    assertEquals(kept.output, "listening\nstill\n");
    const closed = await runProgram(program("await server.close();"));
    assertEquals([closed.output, closed.code], ["listening\n", 0]);
  });

  test("`serve()` goes on after it ran out of files", {
    skip: tool("sh") === undefined && "not installed: sh",
  }, async () => {
    const result = await runProgram(
      `
      import { serve } from ${
        JSON.stringify(
          new URL("../tcp/mod.ts", import.meta.url).href,
        )
      };
      const server = await serve(async (c) => {
        for await (const chunk of c) await c.send(chunk);
      }, { hostname: "127.0.0.1", port: 0 });
      console.log(server.address.port);
      process.stdin.on("data", () => server.close({ timeout: 0 })
        .then(() => process.exit()));
    `,
      runtime,
      {
        files: 96,
        async during(line, stdin) {
          const peers: net.Socket[] = [];
          const open = (port: number) => {
            const peer = net.connect({ host: "127.0.0.1", port });
            peer.on("error", () => {});
            peers.push(peer);
            return peer;
          };
          const port = Number(line);
          for (let i = 0; i < 120; i++) open(port);
          await settle(200);
          for (const peer of peers) peer.destroy();
          await settle(200);
          const peer = open(port);
          const got = collect(peer);
          peer.write("alive");
          await until(() => got.text === "alive", "the echo", 20_000);
          peer.destroy();
          stdin.end("over\n");
        },
        timeout: 40_000,
      },
    );
    assertEquals(result.code, 0, result.errors);
  });

  test("a thousand connections come and go", async () => {
    const server = await serve(echo, LOCAL);
    try {
      const one = async () => {
        const connection = await connect({ ...LOCAL, port: portOf(server) });
        await connection.send("0123456789");
        const bytes = await connection.read(10);
        assertInstanceOf(bytes, Uint8Array);
        await connection.close();
        assertEquals(await connection.closed, { clean: true });
      };
      for (let i = 0; i < 10; i++) {
        await within(Promise.all(Array.from({ length: 100 }, one)), 20_000);
      }
      await until(() => server.stats().connections === 0, "the closes");
      const { accepted, bytesRead, bytesWritten } = server.stats();
      assertEquals([accepted, bytesRead, bytesWritten], [1000, 10_000, 10_000]);
    } finally {
      await within(server.close());
    }
  });
});
