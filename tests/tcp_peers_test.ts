// Peers that are not ours: nc, socat, and node:net of another process, which
// cut the connection at every phase.

import { describe, test } from "node:test";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, assertEquals } from "./assert.ts";
import { needs, tool, until, within } from "./_support.ts";
import { peerProcess, settle } from "./_tcp_support.ts";
import { connect, serve } from "../tcp/mod.ts";
import type { Connection, Server } from "../tcp/mod.ts";

function portOf(server: Server): number {
  const { address } = server;
  return address.transport === "unix" ? 0 : address.port;
}

async function echo(connection: Connection): Promise<void> {
  for await (const chunk of connection) await connection.send(chunk);
}

/** Runs a tool with an input; what it printed, to its end. */
async function pipe(
  name: string,
  args: string[],
  input: string,
): Promise<string> {
  const child = spawn(tool(name)!, args, { stdio: ["pipe", "pipe", "ignore"] });
  let output = "";
  child.stdout!.on("data", (chunk) => output += chunk);
  const over = new Promise((resolve) => child.once("close", resolve));
  child.stdin!.end(input);
  try {
    await within(over, 10_000, name);
  } finally {
    child.kill("SIGKILL");
  }
  return output;
}

describe("other peers", () => {
  test("nc gets its echo, over TCP and a Unix socket", {
    skip: needs("nc"),
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    const path = join(folder, "socket");
    const servers = [
      await serve(echo, { hostname: "127.0.0.1", port: 0 }),
      await serve(echo, { path }),
    ];
    try {
      const text = "a line\n".repeat(20_000);
      assertEquals(
        await pipe("nc", ["-N", "127.0.0.1", `${portOf(servers[0])}`], text),
        text,
      );
      assertEquals(await pipe("nc", ["-N", "-U", path], text), text);
      for (const server of servers) {
        await until(() => server.stats().connections === 0, "the close");
        assertEquals(server.stats().bytesRead, text.length);
      }
    } finally {
      for (const server of servers) await within(server.close({ timeout: 0 }));
      rmSync(folder, { recursive: true });
    }
  });

  test("socat gets its echo after its half-close", {
    skip: needs("socat"),
  }, async () => {
    const server = await serve(async (connection) => {
      let size = 0;
      for await (const chunk of connection) size += chunk.byteLength;
      await connection.send(`${size} bytes\n`);
    }, { hostname: "127.0.0.1", port: 0 });
    try {
      const where = `TCP:127.0.0.1:${portOf(server)}`;
      assertEquals(
        await pipe("socat", ["-t", "5", "-", where], "x".repeat(300_000)),
        "300000 bytes\n",
      );
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  });

  test("`connect()` talks with a program behind socat", {
    skip: needs("socat"),
  }, async () => {
    const child = spawn(tool("socat")!, [
      "-d",
      "-d",
      "-t",
      "5",
      "TCP-LISTEN:0,bind=127.0.0.1",
      "EXEC:tr a-z A-Z",
    ], { stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    child.stderr!.on("data", (chunk) => log += chunk);
    try {
      await until(() => /listening on .*:\d+/.test(log), "its port");
      const port = Number(/listening on .*:(\d+)/.exec(log)![1]);
      const connection = await connect({ hostname: "127.0.0.1", port });
      await connection.send("shout");
      await connection.closeWrite();
      let text = "";
      for await (const chunk of connection) {
        text += new TextDecoder().decode(chunk);
      }
      assertEquals(text, "SHOUT");
      assertEquals(await within(connection.closed), { clean: true });
    } finally {
      child.kill("SIGKILL");
    }
  });

  for (const bytes of [0, 1, 100_000, 8 << 20]) {
    for (const ending of ["fin", "rst"] as const) {
      test(`a peer that says ${bytes} bytes and ${ending}, to a reader`, {
        skip: needs("node"),
      }, async () => {
        let seen:
          | { read: number; error?: unknown; clean?: boolean }
          | undefined;
        const server = await serve(async (connection) => {
          let read = 0;
          if (ending === "rst") connection.send("!");
          try {
            for await (const chunk of connection) read += chunk.byteLength;
          } catch (error) {
            seen = { read, error };
            return;
          } finally {
            connection.close();
          }
          seen = { read, clean: (await connection.closed).clean };
        }, { hostname: "127.0.0.1", port: 0 });
        const peer = await peerProcess(portOf(server), bytes, ending);
        try {
          await until(() => seen !== undefined, "the end");
          if (ending === "fin") {
            assertEquals(seen, { read: bytes, clean: true });
            assertEquals((await within(peer.seen)).ended, true);
          } else {
            // A RST throws away what has not been read.
            assert(seen!.read <= bytes);
            assertEquals((seen!.error as { code: string }).code, "ECONNRESET");
          }
          await until(() => server.stats().connections === 0, "the close");
        } finally {
          peer.kill();
          await within(server.close({ timeout: 0 }));
        }
      });
    }
  }

  test("a sender whose peer keeps up lets the others have their turn", {
    skip: needs("node"),
  }, async () => {
    const peer = await peerProcess("listen", 0, "hold");
    try {
      const connection = await connect({
        hostname: "127.0.0.1",
        port: peer.port,
      });
      for (const size of [10, 10_000, 100_000]) {
        let over = false;
        setTimeout(() => over = true, 50);
        const block = new Uint8Array(size);
        const start = performance.now();
        while (!over && performance.now() - start < 4000) {
          const sent = connection.send(block);
          assertEquals(sent instanceof Promise ? await sent : sent, true);
        }
        assert(over, `The timer did not fire while ${size} bytes were sent`);
      }
      connection.destroy();
    } finally {
      peer.kill();
    }
  });

  test("a peer that dies in the middle of all it is sent", {
    skip: needs("node"),
  }, async () => {
    let gone: { refused: boolean; code?: string } | undefined;
    const server = await serve(async (connection) => {
      const block = new Uint8Array(100_000);
      while (await connection.send(block));
      const { error } = await connection.closed;
      gone = { refused: connection.send("x") === false, code: error?.code };
    }, { hostname: "127.0.0.1", port: 0 });
    try {
      for (const reading of ["read", "deaf"] as const) {
        const peer = await peerProcess(portOf(server), 0, "hold", reading);
        await settle(100);
        peer.kill();
        await until(() => gone !== undefined, "the end");
        assertEquals(gone!.refused, true);
        assert(["ECONNRESET", "EPIPE"].includes(gone!.code!), gone!.code);
        gone = undefined;
      }
      await until(() => server.stats().connections === 0, "the closes");
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  });
});
