import { describe, test } from "node:test";
import { existsSync, readdirSync } from "node:fs";
import process from "node:process";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { until, within } from "./_support.ts";
import { connect, NetError, serve } from "../tcp/mod.ts";
import type { Connection, Server } from "../tcp/mod.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const FDS = "/proc/self/fd";

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.send(chunk);
}

function dial({ address }: Server): Promise<Connection> {
  assert(address.transport === "tcp");
  return connect({ ...LOCAL, port: address.port, timeout: 30_000 });
}

async function exchange(connection: Connection): Promise<void> {
  await connection.send("0123456789");
  assertEquals((await connection.read(10))!.byteLength, 10);
}

describe("tcp", () => {
  test("ten thousand connections leave no file open", {
    skip: !existsSync(FDS) && `no ${FDS} here`,
  }, async () => {
    const server = await serve(echo, LOCAL);
    const one = async () => {
      const connection = await dial(server);
      await exchange(connection);
      await connection.close();
    };
    try {
      await within(Promise.all(Array.from({ length: 10 }, one)), 30_000);
      await until(() => server.stats().connections === 0, "the closes", 30_000);
      const before = readdirSync(FDS).length;
      for (let i = 0; i < 100; i++) {
        await within(Promise.all(Array.from({ length: 100 }, one)), 60_000);
      }
      await until(() => server.stats().connections === 0, "the closes", 30_000);
      // Some room for what the runtime itself has opened meanwhile.
      await until(
        () => readdirSync(FDS).length <= before + 16,
        "the files",
        30_000,
      );
      assertEquals(server.stats().accepted, 10_010);
    } finally {
      await within(server.close());
    }
  });

  test("a thousand connections are held at once", async () => {
    const server = await serve(echo, { ...LOCAL, backlog: 1024 });
    const held: Connection[] = [];
    try {
      for (let i = 0; i < 10; i++) {
        const some = Array.from({ length: 100 }, () => dial(server));
        held.push(...await within(Promise.all(some), 60_000));
      }
      await within(Promise.all(held.map(exchange)), 60_000);
      assertEquals(server.stats().connections, 1000);
      await within(
        Promise.all(held.map((connection) => connection.close())),
        60_000,
      );
      await until(() => server.stats().connections === 0, "the closes", 30_000);
    } finally {
      for (const connection of held) connection.destroy();
      await within(server.close());
    }
  });

  test("`path` may be an abstract name, which leaves no file", {
    skip: process.platform !== "linux" && "Linux alone has them",
  }, async () => {
    const path = `\0sluice-${process.pid}-${Math.random()}`;
    const server = await serve(echo, { path });
    try {
      assertEquals(server.address, { transport: "unix", path });
      const connection = await connect({ path });
      await within(exchange(connection));
      await within(connection.close());
      const error = await assertRejects(() => serve(echo, { path }), NetError);
      assertEquals(error.code, "EADDRINUSE");
    } finally {
      await within(server.close());
    }
    const again = await serve(echo, { path });
    await within(again.close());
    const gone = await assertRejects(() => connect({ path }), NetError);
    assertEquals(gone.code, "ECONNREFUSED");
  });

  test("`path` with a NUL inside is refused, not cut short", async () => {
    for (const path of ["/tmp/sluice\0x", "\0a\0b", "\0"]) {
      await assertRejects(() => serve(echo, { path }), TypeError, "NUL");
      await assertRejects(() => connect({ path }), TypeError, "NUL");
    }
  });
});
