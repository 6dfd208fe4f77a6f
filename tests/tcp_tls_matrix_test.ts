import { describe, test } from "node:test";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import * as net from "node:net";
import { fileURLToPath } from "node:url";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "./assert.ts";
import { needs, runtime, tool, until, within } from "./_support.ts";
import { ca, pair, text, tlsRig } from "./_tls_support.ts";
import { connect, NetError, TlsError } from "../tcp/mod.ts";
import type { Connection } from "../tcp/mod.ts";

const file = (name: string) =>
  fileURLToPath(new URL(`./certs/${name}`, import.meta.url));

const versions = [["-tls1_2", "TLSv1.2"], ["-tls1_3", "TLSv1.3"]] as const;

interface Openssl {
  readonly child: ChildProcess;
  /** All that it has printed. */
  readonly output: string;
  readonly over: boolean;
}

function openssl(...args: string[]): Openssl {
  const child = spawn(tool("openssl")!, args, { stdio: "pipe" });
  const state = { child, output: "", over: false };
  for (const stream of [child.stdout, child.stderr]) {
    stream!.on("data", (chunk) => state.output += chunk);
  }
  child.stdin!.on("error", () => {});
  child.on("close", () => state.over = true);
  return state;
}

function sClient(port: number, ...args: string[]): Openssl {
  return openssl(
    "s_client",
    "-connect",
    `127.0.0.1:${port}`,
    "-CAfile",
    file("ca.pem"),
    "-verify_return_error",
    ...args,
    // Behind -quiet, which means the contrary.
    "-no_ign_eof",
  );
}

/** `s_server`, which turns lines round, and the port that it has. */
async function sServer(
  args: string[],
  work: (port: number, server: Openssl) => Promise<void>,
): Promise<void> {
  const server = openssl(
    "s_server",
    "-accept",
    "127.0.0.1:0",
    "-cert",
    file("server.pem"),
    "-key",
    file("server.key"),
    "-rev",
    ...args,
  );
  const found = /ACCEPT 127\.0\.0\.1:(\d+)/;
  try {
    await until(() => found.test(server.output), "its port", 10_000);
    await work(Number(found.exec(server.output)![1]), server);
  } finally {
    server.child.kill("SIGKILL");
    await until(() => server.over, "its end");
  }
}

/** Sends a line to `s_server -rev` and has it back. */
async function turned(connection: Connection): Promise<void> {
  await connection.send("olleh\n");
  assertEquals(text(await within(connection.read(6))), "hello\n");
}

describe(
  "TLS matrix, our server and s_client:",
  { skip: needs("openssl") },
  () => {
    const sni = {
      "elsewhere.test": pair("other-host"),
      "*.sluice.test": pair("second"),
    };

    for (const [flag, version] of versions) {
      test(`${version}: SNI, ALPN, the client's certificate, close_notify`, async () => {
        const kit = await tlsRig({
          sni,
          ca,
          clientAuth: "request",
          alpn: ["one", "two"],
        });
        try {
          const client = sClient(
            kit.port,
            flag,
            "-servername",
            "a.sluice.test",
            "-verify_hostname",
            "a.sluice.test",
            "-alpn",
            "three,two",
            "-cert",
            file("client.pem"),
            "-key",
            file("client.key"),
            "-quiet",
          );
          client.child.stdin!.write("hello\n");
          await until(() => client.output.includes("\nhello\n"), "the echo");
          assert(
            client.output.includes("CN = second") ||
              client.output.includes("CN=second"),
            client.output,
          );
          const { peerCertificate, ...tls } = kit.ends[0].tls!;
          assertEquals(tls, {
            protocol: version,
            authorized: true,
            alpn: "two",
            serverName: "a.sluice.test",
          });
          assertEquals(peerCertificate!.subject, "O=Sluice tests, CN=client");
          client.child.stdin!.end();
          assertEquals(await within(kit.ends[0].closed), { clean: true });
          await until(() => client.over, "its end");
          assertEquals(kit.told, []);
        } finally {
          await kit.close();
        }
      });

      test(`${version}: our close is a close_notify`, async () => {
        const kit = await tlsRig({}, {}, (c) => c.send("bye\n"));
        try {
          const client = sClient(kit.port, flag, "-servername", "localhost");
          await until(() => client.over, "its end");
          assert(client.output.includes("bye\n"), client.output);
          // What it says of a TCP end without one.
          assert(!/unexpected eof/i.test(client.output), client.output);
          client.child.stdin!.end();
        } finally {
          await kit.close();
        }
      });

      test(`${version}: a certificate that is required and missing`, async () => {
        const kit = await tlsRig({ sni, ca, clientAuth: "require" });
        try {
          const client = sClient(
            kit.port,
            flag,
            "-servername",
            "elsewhere.test",
          );
          await until(() => kit.told.length === 1, "the error");
          assertEquals(kit.told[0].code, "ERR_TLS_CLIENT_CERTIFICATE");
          assertEquals(kit.ends, []);
          client.child.stdin!.end();
          await until(() => client.over, "its end");
        } finally {
          await kit.close();
        }
      });

      test(`${version}: no protocol in common is refused with its alert`, async () => {
        const kit = await tlsRig({ alpn: ["one"] });
        try {
          const client = sClient(kit.port, flag, "-alpn", "other");
          await until(() => client.over, "its end");
          assert(/no application protocol/i.test(client.output), client.output);
          assertEquals(kit.told[0]?.code, "ERR_TLS_ALPN");
          assertEquals(kit.ends, []);
        } finally {
          await kit.close();
        }
      });

      test(`${version}: sessions that are resumed are as good`, async () => {
        const kit = await tlsRig({ ca, clientAuth: "request", sni });
        try {
          const client = sClient(
            kit.port,
            flag,
            "-servername",
            "elsewhere.test",
            "-reconnect",
          );
          // It connects once, and five times more with the session.
          await until(() => kit.ends.length >= 5, "its connections", 10_000);
          for (const end of kit.ends) {
            // Node does not tell the name again when TLS 1.2 is resumed.
            if (version === "TLSv1.2" && runtime === "node") continue;
            assertEquals(end.tls!.serverName, "elsewhere.test");
          }
          client.child.stdin!.end();
          client.child.kill("SIGKILL");
          await until(() => client.over, "its end");
        } finally {
          await kit.close();
        }
      });
    }

    test("a client that knows only TLS 1.1 is refused", async () => {
      const kit = await tlsRig();
      try {
        const client = sClient(
          kit.port,
          "-tls1_1",
          "-cipher",
          "DEFAULT:@SECLEVEL=0",
        );
        await until(() => client.over, "its end");
        assertEquals(kit.ends, []);
        if (kit.told.length > 0) assertInstanceOf(kit.told[0], TlsError);
      } finally {
        await kit.close();
      }
    });
  },
);

describe(
  "TLS matrix, our client and s_server:",
  { skip: needs("openssl") },
  () => {
    for (const [flag, version] of versions) {
      test(`${version}: SNI, our certificate, our close`, async () => {
        await sServer([
          flag,
          "-servername",
          "elsewhere.test",
          "-cert2",
          file("other-host.pem"),
          "-key2",
          file("other-host.key"),
          "-Verify",
          "1",
          "-verify_return_error",
          "-CAfile",
          file("ca.pem"),
        ], async (port, server) => {
          const connection = await within(connect({
            port,
            tls: {
              ca,
              ...pair("client"),
              serverName: "elsewhere.test",
            },
          }));
          const { peerCertificate, ...tls } = connection.tls!;
          assertEquals(tls, {
            protocol: version,
            authorized: true,
            serverName: "elsewhere.test",
          });
          assertEquals(
            peerCertificate!.subject,
            "O=Sluice tests, CN=elsewhere.test",
          );
          await turned(connection);
          await until(() => /CN ?= ?client/.test(server.output), "our name");
          await within(connection.close());
          assertEquals(await connection.closed, { clean: true });
          await until(
            () => server.output.includes("CONNECTION CLOSED"),
            "its end",
          );
        });
      });

      test(`${version}: ALPN, or none`, async () => {
        await sServer([flag, "-alpn", "two"], async (port) => {
          const connection = await within(
            connect({ port, tls: { ca, alpn: ["one", "two"] } }),
          );
          assertEquals(connection.tls!.alpn, "two");
          await turned(connection);
          connection.destroy();
          const error = await connect({ port, tls: { ca, alpn: ["one"] } })
            .then(() => undefined, (error) => error);
          assertInstanceOf(error, TlsError);
          assertEquals(error.code, "ERR_TLS_ALPN");
        });
      });

      test(`${version}: without the certificate it wants we are refused`, async () => {
        await sServer([
          flag,
          "-Verify",
          "1",
          "-verify_return_error",
          "-CAfile",
          file("ca.pem"),
        ], async (port) => {
          let error: unknown;
          try {
            // In TLS 1.3 the refusal comes when we are done already.
            const connection = await within(connect({ port, tls: { ca } }));
            const got = connection.receive();
            error = (await within(connection.closed)).error;
            await assertRejects(() => Promise.resolve(got), TlsError);
          } catch (refused) {
            error = refused;
          }
          assertInstanceOf(error, TlsError);
          if (flag === "-tls1_3") {
            assertEquals(error.code, "ERR_TLS_CLIENT_CERTIFICATE");
            assert(error.message.includes("has shown no certificate"));
          }
        });
      });

      test(`${version}: a server that dies is no clean end`, async () => {
        await sServer([flag], async (port, server) => {
          const connection = await within(connect({ port, tls: { ca } }));
          await turned(connection);
          // The kernel says FIN for it, or RST: never that all has come.
          server.child.kill("SIGKILL");
          await within(Promise.resolve(connection.receive())).catch(() => {});
          connection.destroy();
          assertEquals((await connection.closed).clean, false);
        });
      });
    }
  },
);

/** Passes bytes on to a port until so many have come from one side. */
async function cutter(
  target: number,
  { side, after, how }: {
    side: "client" | "server";
    after: number;
    how: "end" | "resetAndDestroy";
  },
): Promise<{ port: number; readonly passed: number; close(): void }> {
  const sockets: net.Socket[] = [];
  const state = { passed: 0 };
  const server = net.createServer((client) => {
    const upstream = net.connect(target, "127.0.0.1");
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on("error", () => {});
    const pass = (from: net.Socket, to: net.Socket, counted: boolean) => {
      from.on("data", (chunk: Uint8Array) => {
        if (!counted) {
          to.write(chunk);
          return;
        }
        const rest = after - state.passed;
        if (rest <= 0) return;
        state.passed += Math.min(rest, chunk.byteLength);
        to.write(chunk.subarray(0, rest), () => {
          if (state.passed < after) return;
          client[how]();
          upstream[how]();
        });
      });
      from.on("close", () => to.end());
      from.on("end", () => to.end());
    };
    pass(client, upstream, side === "client");
    pass(upstream, client, side === "server");
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    port: (server.address() as net.AddressInfo).port,
    get passed() {
      return state.passed;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe("TLS matrix, cut within the handshake:", () => {
  // Within the hello, at its end, and within what follows it.
  const cuts = [
    ["client", 1],
    ["client", 5],
    ["client", 100],
    ["client", 200],
    ["server", 1],
    ["server", 5],
    ["server", 60],
    ["server", 127],
    ["server", 400],
  ] as const;
  for (const how of ["end", "resetAndDestroy"] as const) {
    test(`by ${how}, at each of its phases, both sides are told`, async () => {
      const kit = await tlsRig();
      try {
        for (const [side, after] of cuts) {
          const told = kit.told.length;
          const proxy = await cutter(kit.port, { side, after, how });
          let error: unknown;
          try {
            const connection = await within(connect({
              hostname: "localhost",
              port: proxy.port,
              tls: { ca },
            }));
            connection.destroy();
          } catch (failed) {
            error = failed;
          }
          const where = `${side} ${after}`;
          assertInstanceOf(error, TlsError, where);
          assertEquals([error.code, error.phase], ["ECONNRESET", "tls"], where);
          await until(() => kit.told.length > told, `the server, ${where}`);
          const ours = kit.told[told];
          // Reset before it was accepted it is no handshake yet, on Deno.
          assertInstanceOf(ours, NetError, where);
          assertEquals(ours.code, "ECONNRESET", where);
          proxy.close();
        }
        assertEquals(kit.ends, []);
        assertEquals(kit.told.length, cuts.length);
        const connection = await kit.connect({ ca });
        await connection.send("x");
        assertEquals(text(await within(connection.read(1))), "x");
        connection.destroy();
      } finally {
        await kit.close();
      }
    });
  }
});
