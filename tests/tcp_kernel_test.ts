import { describe, test } from "node:test";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { spawnSync } from "node:child_process";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { assertEquals, assertStrictEquals } from "./assert.ts";
import { needs, tool, until, within } from "./_support.ts";
import { runProgram } from "./_tcp_support.ts";
import { connect, serve } from "../tcp/mod.ts";
import type { Connection, TcpConnectOptions } from "../tcp/mod.ts";

const LOCAL = "127.0.0.1";
const FDS = "/proc/self/fd";
const MODULE = JSON.stringify(new URL("../tcp/mod.ts", import.meta.url).href);

/** Sockets that this process has open; none where that cannot be seen. */
function sockets(): number {
  if (!existsSync(FDS)) return 0;
  return readdirSync(FDS).filter((fd) => {
    try {
      return readlinkSync(`${FDS}/${fd}`).startsWith("socket:");
    } catch {
      // It was that of the folder itself.
      return false;
    }
  }).length;
}

/** A server whose first bytes from a client are what a script waits for. */
async function deafServer(
  arrived: (what: "connection" | "bytes") => void,
): Promise<{ port: number; open: Set<net.Socket>; close(): void }> {
  const open = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
    socket.on("data", () => arrived("bytes"));
    arrived("connection");
  });
  await new Promise<void>((resolve) =>
    server.listen(0, LOCAL, () => resolve())
  );
  return {
    port: (server.address() as net.AddressInfo).port,
    open,
    close() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}

/** When a connect is given up, and what with: see `deafServer`. */
const phases: [
  string,
  "call" | "lookup" | "connection" | "bytes",
  (port: number) => Partial<TcpConnectOptions>,
][] = [
  ["at once", "call", () => ({})],
  ["in its lookup", "lookup", () => ({})],
  ["in the race of its addresses", "call", () => ({
    lookup: () => [LOCAL, LOCAL, LOCAL],
  })],
  ["at the connection", "connection", () => ({ tls: true })],
  ["in its TLS handshake", "bytes", () => ({ tls: true })],
  ["in an HTTP proxy's answer", "bytes", (port) => ({
    proxy: `http://${LOCAL}:${port}`,
  })],
  ["in a SOCKS proxy's answer", "bytes", (port) => ({
    proxy: `socks5://${LOCAL}:${port}`,
  })],
  ["in the TLS handshake with a proxy", "bytes", (port) => ({
    proxy: `https://${LOCAL}:${port}`,
  })],
];

/** Whether strace may look at other processes here. */
function traces(): boolean {
  const tried = spawnSync("strace", ["-f", "-o", "/dev/null", "true"]);
  return tried.status === 0;
}

describe("tcp and the kernel", () => {
  for (const [phase, moment, optionsOf] of phases) {
    test(`\`connect()\` given up ${phase} leaves no socket, on either side`, async () => {
      let controller = new AbortController();
      const reason = new Error("mine");
      const there = await deafServer((what) => {
        if (what === moment) controller.abort(reason);
      });
      const once = async () => {
        controller = new AbortController();
        const connecting = connect({
          hostname: "localhost",
          port: there.port,
          signal: controller.signal,
          ...(moment === "lookup"
            ? {
              // It answers, but only when nobody waits any more.
              lookup: () => {
                controller.abort(reason);
                return Promise.resolve([LOCAL]);
              },
            }
            : { lookup: () => [LOCAL] }),
          ...optionsOf(there.port),
        });
        if (moment === "call") controller.abort(reason);
        const given = await within(
          connecting.then(() => "connected", (error) => error),
        );
        assertStrictEquals(given, reason);
      };
      try {
        // What the runtime opens for itself is open then.
        await once();
        await until(() => there.open.size === 0, "the first to close");
        const before = sockets();
        for (let i = 0; i < 20; i++) await once();
        await until(() => sockets() <= before, "our sockets to close");
        await until(() => there.open.size === 0, "the server's to close");
      } finally {
        there.close();
      }
    });
  }

  // Node 20 cannot, and says so: tcp_server_test.ts.
  if (!process.versions.node.startsWith("20.")) {
    test("`reusePort` lets two processes share a port", async () => {
      const server = await serve(async (connection) => {
        await connection.send("here");
      }, { hostname: LOCAL, port: 0, reusePort: true });
      const { address } = server;
      const port = address.transport === "unix" ? 0 : address.port;
      const ask = async (): Promise<string> => {
        const connection = await connect({ hostname: LOCAL, port });
        try {
          const answer = await within(connection.read(4));
          return new TextDecoder().decode(answer);
        } finally {
          await connection.close();
        }
      };
      try {
        const there = await runProgram(
          `
        import { serve } from ${MODULE};
        const server = await serve(
          async (connection) => void await connection.send("away"),
          { hostname: "${LOCAL}", port: ${port}, reusePort: true },
        );
        console.log("listening");
        process.stdin.on("end", () => server.close()).resume();
        `,
          undefined,
          {
            during: async (line, stdin) => {
              assertEquals(line, "listening");
              const seen = new Set<string>();
              // Linux deals them out; others give all to one of the two.
              const wanted = process.platform === "linux" ? 2 : 1;
              await until(
                async () => {
                  seen.add(await ask());
                  return seen.size >= wanted;
                },
                "an answer of either",
                10_000,
              );
              stdin.end("");
            },
          },
        );
        assertEquals([there.code, there.errors], [0, ""]);
        // All come here again.
        for (let i = 0; i < 20; i++) assertEquals(await ask(), "here");
      } finally {
        await within(server.close());
      }
    });
  }

  test("`send()` of many in one turn is one system call", {
    skip: needs("strace") || !traces() && "strace may not trace here",
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    const calls = join(folder, "calls");
    const connections: Connection[] = [];
    const server = await serve(async (connection) => {
      connections.push(connection);
      for await (const _chunk of connection);
    }, { hostname: LOCAL, port: 0 });
    const { address } = server;
    const port = address.transport === "unix" ? 0 : address.port;
    try {
      const there = await runProgram(
        `
        import { connect } from ${MODULE};
        const connection = await connect(
          { hostname: "${LOCAL}", port: ${port} },
        );
        const bytes = new TextEncoder().encode("written;");
        for (let i = 0; i < 100; i++) {
          connection.send(bytes);
          connection.send("written;");
        }
        await connection.close();
        `,
        undefined,
        {
          under: [
            tool("strace")!,
            "-f",
            "-qq",
            "-s",
            "16",
            "-e",
            "trace=write,writev,sendto,sendmsg",
            "-o",
            calls,
          ],
          timeout: 60_000,
        },
      );
      assertEquals([there.code, there.errors], [0, ""]);
      assertEquals(connections.map((one) => one.bytesRead), [1600]);
      const made = readFileSync(calls, "utf8").split("\n")
        .filter((line) => line.includes('"written;'));
      assertEquals(made.length, 1, made.join("\n"));
    } finally {
      await within(server.close());
      rmSync(folder, { recursive: true });
    }
  });
});
