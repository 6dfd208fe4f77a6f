import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { engines, runtime, until, within } from "./_support.ts";
import { runProgram } from "./_tcp_support.ts";
import { connect } from "../tcp/connect.ts";
import { NetError } from "../streams/errors.ts";
import { serve } from "../http/serve.ts";
import type { ServeOptions } from "../http/types.ts";

const handler = () => new Response();

for (const engine of engines) {
  test(`serve() listens no more when onListen throws, ${engine}`, async () => {
    let port = 0;
    const boom = new Error("boom");
    const error = await assertRejects(() =>
      within(serve(handler, {
        engine,
        port: 0,
        hostname: "127.0.0.1",
        onListen(address) {
          if (address.transport === "tcp") port = address.port;
          throw boom;
        },
      }))
    );
    assertEquals(error, boom);
    await until(() =>
      connect({ hostname: "127.0.0.1", port, timeout: 5000 }).then(
        (connection) => connection.destroy(),
        (error) => error.code === "ECONNREFUSED",
      )
    );
  });

  test(`serve() refuses where nobody can listen, ${engine}`, async () => {
    const bad: [object, string][] = [
      [{ hostname: "" }, "hostname"],
      [{ hostname: 5 }, "hostname"],
      [{ hostname: "[::1]" }, "hostname"],
      [{ path: "" }, "path"],
      [{ path: 5 }, "path"],
      [{ path: "/tmp/a\0b" }, "path"],
      [{ path: `/tmp/${"x".repeat(120)}` }, "path"],
      [{ port: 0, reusePort: "yes" }, "reusePort"],
      [{ port: 0, signal: {} }, "signal must be"],
      [{ port: 0, tls: {} }, "tls.cert"],
      [{ port: 0, tls: { cert: "a", key: "b" } }, "tls.cert"],
    ];
    for (const [options, name] of bad) {
      const error = await assertRejects(
        () => within(serve(handler, { engine, ...options } as ServeOptions)),
        Error,
        name,
      );
      assert(error instanceof TypeError || error instanceof RangeError, name);
    }
  });

  test(`serve() says which host it does not know, ${engine}`, async () => {
    const error = await assertRejects(
      () => serve(handler, { engine, port: 0, hostname: "nobody.invalid" }),
      NetError,
      "no such host",
    );
    assertEquals(error.code, "ENOTFOUND");
  });

  test(`serve() replaces a dead server's socket file only, ${engine}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    const path = join(folder, "socket");
    try {
      await runProgram(
        `
        import * as net from "node:net";
        net.createServer().listen(${JSON.stringify(path)}, () =>
          process.kill(process.pid, "SIGKILL"));
      `,
        "node",
      );
      assert(existsSync(path), "no stale file was left");
      const server = await within(serve(handler, { engine, path }));
      const taken = await assertRejects(
        () => within(serve(handler, { engine, path })),
        NetError,
      );
      assertEquals(taken.code, "EADDRINUSE");
      const connection = await connect({ path });
      connection.destroy();
      await within(server.close());
      writeFileSync(path, "precious");
      const other = await assertRejects(
        () => within(serve(handler, { engine, path })),
        NetError,
      );
      assertEquals(other.code, "EADDRINUSE");
      assertEquals(readFileSync(path, "utf8"), "precious");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test(`timeouts.handler keeps no process that has nothing to do, ${engine}`, async () => {
    const { code, output } = await runProgram(
      `
      import { serve } from ${
        JSON.stringify(new URL("../http/mod.ts", import.meta.url).href)
      };
      const handler = () => new Response();
      const options = {
        engine: ${JSON.stringify(engine)},
        port: 0,
        hostname: "127.0.0.1",
        timeouts: { handler: 60_000 },
      };
      const server = await serve(handler, options);
      server.unref();
      const { port } = server.address;
      await serve(handler, { ...options, port })
        .catch(({ code }) => console.log(code));
    `,
      runtime,
    );
    assertEquals([code, output.trim()], [0, "EADDRINUSE"]);
  });
}
