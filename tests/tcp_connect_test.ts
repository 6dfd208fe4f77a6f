import { describe, test } from "node:test";
import { readdirSync, readFileSync } from "node:fs";
import { spawn } from "node:child_process";
import * as net from "node:net";
import process from "node:process";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { needs, runtime, tool, until, within } from "./_support.ts";
import { settle } from "./_tcp_support.ts";
import {
  connect,
  ConnectError,
  DnsError,
  serve,
  TimeoutError,
} from "../tcp/mod.ts";
import type { Server, TcpConnectOptions } from "../tcp/mod.ts";
import { interleave, raceAddresses } from "../tcp/_eyeballs.ts";

const LOCAL = "127.0.0.1";

function portOf(server: Server): number {
  const { address } = server;
  return address.transport === "unix" ? 0 : address.port;
}

/** A port where nobody listens: it was free a moment ago. */
async function closedPort(): Promise<number> {
  const server = await serve(() => {}, { hostname: LOCAL, port: 0 });
  const port = portOf(server);
  await server.close();
  return port;
}

/** A port that answers no SYN: its process sleeps and its queue is full. */
async function deafPort(): Promise<{ port: number; close(): void }> {
  const child = spawn(tool("node")!, [
    "-e",
    `const s = require("net").createServer().listen(
      { port: 0, host: "${LOCAL}", backlog: 1 },
      () => console.log(s.address().port));`,
  ], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout!.on("data", (chunk) => output += chunk);
  await until(() => output.includes("\n"), "its port");
  process.kill(child.pid!, "SIGSTOP");
  const port = Number(output);
  const fillers: net.Socket[] = [];
  for (let i = 0; i < 6; i++) {
    const filler = net.connect({ host: LOCAL, port });
    filler.on("error", () => {});
    fillers.push(filler);
  }
  await settle(100);
  for (const filler of fillers) if (filler.connecting) filler.destroy();
  await settle(20);
  return {
    port,
    close() {
      for (const filler of fillers) filler.destroy();
      child.kill("SIGKILL");
    },
  };
}

/** How many sockets of this machine still wait for an answer from a port. */
function attempts(port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return readFileSync("/proc/net/tcp", "utf8").split("\n")
    .filter((line) => new RegExp(`:${hex} 02 `).test(line)).length;
}

/** How many files, of any kind, this process has open; Linux tells. */
function openFiles(): number {
  return process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0;
}

describe("tcp.connect()", () => {
  test("`connect()` rejects when the port is closed", async () => {
    const port = await closedPort();
    const error = await assertRejects(
      () => within(connect({ hostname: LOCAL, port })),
      ConnectError,
      `Cannot connect to ${LOCAL}:${port}: nobody listens there`,
    );
    assertEquals(error.code, "ECONNREFUSED");
    assertEquals(error.phase, "connect");
    assertEquals(error.retryable, true);
    assertEquals(error.address, { transport: "tcp", hostname: LOCAL, port });
    assertInstanceOf(error.cause, Error);
  });

  test("`connect()` rejects when the name or path is not there", async () => {
    const name = await assertRejects(
      () => within(connect({ hostname: "nohost.invalid", port: 1 })),
      DnsError,
      "Cannot connect to nohost.invalid:1",
    );
    assertEquals([name.code, name.phase], ["ENOTFOUND", "lookup"]);
    for (const hostname of ["a b", "a..b", "a".repeat(300)]) {
      const none = await assertRejects(
        () => within(connect({ hostname, port: 1 })),
        DnsError,
      );
      assertEquals([none.code, none.phase], ["ENOTFOUND", "lookup"]);
    }
    const path = await assertRejects(
      () => within(connect({ path: "/nonexistent/socket" })),
      ConnectError,
      "Cannot connect to /nonexistent/socket",
    );
    assertEquals(path.code, "ENOENT");
    const file = await assertRejects(
      () => within(connect({ path: "/etc/hostname" })),
      ConnectError,
    );
    assertEquals(file.code, "ECONNREFUSED");
  });

  test("`connect()` gives up after `timeout`, leaving no socket", {
    skip: needs("node"),
  }, async () => {
    const deaf = await deafPort();
    try {
      const start = performance.now();
      const error = await assertRejects(
        () =>
          within(connect({ hostname: LOCAL, port: deaf.port, timeout: 100 })),
        TimeoutError,
        `Cannot connect to ${LOCAL}:${deaf.port} within 100 ms`,
      );
      assert(performance.now() - start > 90);
      assertEquals([error.code, error.phase], ["ETIMEDOUT", "connect"]);
      if (process.platform === "linux") {
        await until(() => attempts(deaf.port) === 0, "no socket");
      }
    } finally {
      deaf.close();
    }
  });

  test("`connect()` is given up by its signal at any moment", {
    skip: needs("node"),
  }, async () => {
    const deaf = await deafPort();
    const reason = new Error("mine");
    let rounds = 0;
    try {
      for (const wait of [-1, 0, 1, 30, -1, 0, 1, 300]) {
        const controller = new AbortController();
        if (wait < 0) controller.abort(reason);
        const connecting = connect({
          hostname: LOCAL,
          port: deaf.port,
          signal: controller.signal,
          // The second time in a race of two.
          ...(rounds++ < 4 ? {} : { lookup: () => [LOCAL, LOCAL] }),
        });
        if (wait > 0) await settle(wait);
        controller.abort(reason);
        const error = await assertRejects(() => within(connecting));
        assertStrictEquals(error, reason);
      }
      if (process.platform === "linux") {
        await until(() => attempts(deaf.port) === 0, "no socket");
      }
    } finally {
      deaf.close();
    }
  });

  test("`connect()` aborted as it connects leaves nothing open", async () => {
    const server = await serve(async (connection) => {
      await connection.receive();
    }, { hostname: LOCAL, port: 0 });
    const reason = new Error("mine");
    try {
      for (let turns = 0; turns < 12; turns++) {
        const controller = new AbortController();
        const connecting = connect({
          hostname: LOCAL,
          port: portOf(server),
          signal: controller.signal,
        });
        for (let i = 0; i < turns; i++) {
          if (turns < 6) await Promise.resolve();
          else await new Promise((resolve) => setTimeout(resolve, 0));
        }
        controller.abort(reason);
        try {
          const connection = await within(connecting);
          const { error } = await within(connection.closed);
          assertStrictEquals(error!.cause, reason);
        } catch (error) {
          assertStrictEquals(error, reason);
        }
      }
      await until(() => server.stats().connections === 0, "all closed");
    } finally {
      await within(server.close());
    }
  });

  test("`connect()` given up hundreds of times leaves no socket", {
    skip: needs("node"),
  }, async () => {
    const deaf = await deafPort();
    const server = await serve(async (connection) => {
      await connection.receive();
    }, { hostname: LOCAL, port: 0 });
    const reason = new Error("mine");
    const giveUp = async (port: number, turns: number): Promise<void> => {
      const controller = new AbortController();
      const { signal } = controller;
      const connecting = connect({ hostname: LOCAL, port, signal });
      connecting.catch(() => {});
      for (let i = 0; i < turns; i++) {
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      controller.abort(reason);
      // It may stand already, or refuse because the queue is full.
      await within(connecting.then(({ closed }) => closed, () => {}));
    };
    try {
      await giveUp(portOf(server), 3);
      const before = openFiles();
      for (let round = 0; round < 6; round++) {
        await Promise.all(
          Array.from(
            { length: 64 },
            (_, i) => giveUp(i % 2 === 0 ? deaf.port : portOf(server), i % 8),
          ),
        );
      }
      await until(() => server.stats().connections === 0, "all closed");
      await until(() => openFiles() <= before, "no file left");
      if (process.platform === "linux") {
        await until(() => attempts(deaf.port) === 0, "no socket");
      }
    } finally {
      deaf.close();
      await within(server.close());
    }
  });

  const onBun = runtime === "bun" ? test : () => {};
  onBun("`connect()` on Bun gives a socket of Bun's own", async () => {
    const server = await serve((connection) => connection.send("hello"), {
      hostname: LOCAL,
      port: 0,
    });
    try {
      for (const from of [undefined, "127.0.0.5"]) {
        const connection = await within(connect({
          hostname: LOCAL,
          port: portOf(server),
          ...(from && { localAddress: from }),
        }));
        assert(!(connection.raw instanceof net.Socket));
        assertEquals((await within(connection.read(5)))!.byteLength, 5);
        await within(connection.close());
      }
    } finally {
      await within(server.close());
    }
  });

  test("`connect()` destroys the connection when its signal aborts", async () => {
    const server = await serve(async (connection) => {
      await connection.receive();
    }, { hostname: LOCAL, port: 0 });
    try {
      const controller = new AbortController();
      const connection = await connect({
        hostname: LOCAL,
        port: portOf(server),
        signal: controller.signal,
      });
      const receiving = Promise.resolve(connection.receive());
      const reason = new Error("mine");
      controller.abort(reason);
      assertStrictEquals(await assertRejects(() => within(receiving)), reason);
      assertStrictEquals((await connection.closed).error!.cause, reason);
    } finally {
      await within(server.close());
    }
  });

  test("`connect()` looks names up", async () => {
    const server = await serve(() => {}, { hostname: LOCAL, port: 0 });
    try {
      for (const where of [{ hostname: "localhost" }, {}]) {
        const connection = await within(
          connect({ ...where, port: portOf(server) }),
        );
        assertEquals(connection.remoteAddress, server.address);
        await within(connection.close());
      }
    } finally {
      await within(server.close());
    }
  });

  test("`connect()` comes from `localAddress`", async () => {
    let from = "";
    const server = await serve(({ remoteAddress }) => {
      if (remoteAddress.transport === "tcp") from = remoteAddress.hostname;
    }, { hostname: LOCAL, port: 0 });
    try {
      const connection = await within(connect({
        hostname: LOCAL,
        port: portOf(server),
        localAddress: "127.0.0.5",
      }));
      await within(connection.close());
      assertEquals(from, "127.0.0.5");
    } finally {
      await within(server.close());
    }
  });

  test("`connect()` takes `noDelay`, `keepAlive`, an `Address`", async () => {
    const server = await serve(async (connection) => {
      for await (const chunk of connection) await connection.send(chunk);
    }, { hostname: LOCAL, port: 0 });
    try {
      for (
        const options of [
          { noDelay: false },
          { keepAlive: true },
          { keepAlive: 1000 },
          { keepAlive: false, noDelay: true },
        ]
      ) {
        const connection = await within(
          connect({ ...server.address, ...options } as TcpConnectOptions),
        );
        await connection.send("x");
        assertEquals((await within(connection.read(1)))!.byteLength, 1);
        await within(connection.close());
      }
    } finally {
      await within(server.close());
    }
  });

  test("`connect()` refuses options that make no sense", async () => {
    const cases: [unknown, new () => Error][] = [
      [{}, TypeError],
      [undefined, TypeError],
      [{ hostname: "x" }, TypeError],
      [{ port: 1, path: "/tmp/x" }, TypeError],
      [{ port: 0 }, RangeError],
      [{ port: 70000 }, RangeError],
      [{ port: 1, hostname: "" }, TypeError],
      [{ port: 1, hostname: 7 }, TypeError],
      [{ port: 1, hostname: "[::1]" }, TypeError],
      [{ port: 1, hostname: "a\0b" }, TypeError],
      [{ port: 1, noDelay: 1 }, TypeError],
      [{ port: 1, signal: {} }, TypeError],
      [{ path: "/tmp/x", localAddress: LOCAL }, TypeError],
      [{ port: 1, localAddress: "here" }, TypeError],
      [{ port: 1, timeout: -1 }, RangeError],
      [{ port: 1, maxBuffered: "x" }, RangeError],
      [{ port: 1, keepAlive: -1 }, RangeError],
      [{ port: 1, nodelay: true }, TypeError],
      [{ path: `/tmp/${"x".repeat(103)}` }, RangeError],
    ];
    for (const [options, type] of cases) {
      await assertRejects(
        () => within(connect(options as TcpConnectOptions)),
        type,
        "Cannot connect",
      );
    }
  });
});

describe("raceAddresses()", () => {
  test("`interleave()` takes the families in turn", () => {
    const v6 = (address: string) => ({ address, family: 6 });
    const v4 = (address: string) => ({ address, family: 4 });
    assertEquals(
      interleave([v6("a"), v6("b"), v6("c"), v4("1"), v4("2")]),
      ["a", "1", "b", "2", "c"],
    );
    assertEquals(interleave([v4("1"), v4("2")]), ["1", "2"]);
    assertEquals(interleave([]), []);
  });

  test("the next address is tried when one fails", async () => {
    const tried: string[] = [];
    const won = await within(raceAddresses(["a", "b", "c"], (address) => {
      tried.push(address);
      return address === "b"
        ? Promise.resolve(address)
        : Promise.reject(new Error(address));
    }, { discard() {} }));
    assertEquals([won, tried], ["b", ["a", "b"]]);
  });

  test("the next address is tried beside one that is slow", async () => {
    const given: string[] = [];
    const won = await within(
      raceAddresses(["slow", "fast"], (address, signal) => {
        signal.addEventListener("abort", () => given.push(address));
        return address === "fast"
          ? Promise.resolve(address)
          : new Promise((_, reject) =>
            signal.addEventListener("abort", () => reject(signal.reason))
          );
      }, { discard() {} }),
    );
    assertEquals(won, "fast");
    assert(given.includes("slow"));
  });

  test("a connection that comes too late is discarded", async () => {
    let late!: (address: string) => void;
    const discarded: string[] = [];
    const won = await within(raceAddresses(
      ["slow", "fast"],
      (address) =>
        address === "fast"
          ? Promise.resolve(address)
          : new Promise<string>((resolve) => late = resolve),
      { discard: (address) => discarded.push(address) },
    ));
    assertEquals(won, "fast");
    late("slow");
    await settle(5);
    assertEquals(discarded, ["slow"]);
  });

  test("when all fail it rejects with the first's error", async () => {
    const error = await assertRejects(() =>
      within(raceAddresses(
        ["a", "b"],
        (address) => Promise.reject(new Error(address)),
        { discard() {} },
      ))
    );
    assertMatch((error as Error).message, /^a$/);
  });

  test("its signal gives every attempt up", async () => {
    const controller = new AbortController();
    let given = 0;
    const racing = raceAddresses(
      ["a"],
      (_, signal) =>
        new Promise((_, reject) =>
          signal.addEventListener("abort", () => {
            given++;
            reject(signal.reason);
          })
        ),
      { signal: controller.signal, discard() {} },
    );
    controller.abort(new Error("mine"));
    await assertRejects(() => within(racing), Error, "mine");
    assertEquals(given, 1);
  });
});
