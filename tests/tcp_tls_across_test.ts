import { describe, test } from "node:test";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { assert, assertEquals } from "./assert.ts";
import { runtime, until, within } from "./_support.ts";
import { ca, pair, text, tlsRig } from "./_tls_support.ts";
import { connect } from "../tcp/mod.ts";
import type { Connection } from "../tcp/mod.ts";

/** Binaries of the other runtimes, as the runner of these tests knows them. */
const { SLUICE_DENO, SLUICE_BUN, SLUICE_NODE22, SLUICE_NODE24, SLUICE_NODE26 } =
  process.env;
const binaries = {
  deno: SLUICE_DENO,
  bun: SLUICE_BUN,
  node: SLUICE_NODE24 ?? SLUICE_NODE22 ?? SLUICE_NODE26,
};
const others = (["deno", "bun", "node"] as const).filter((name) =>
  name !== runtime
);

const common = `
  import process from "node:process";
  import { connect, serve } from ${
  JSON.stringify(new URL("../tcp/mod.ts", import.meta.url).href)
};
  const { ca, server, second, client, port } = JSON.parse(process.argv[2]);
  async function echo(connection) {
    for await (const chunk of connection) await connection.send(chunk);
  }
  process.stdin.on("end", () => process.exit()).resume();
`;

/** Runs a module on another runtime until the work is done. */
async function onOther(
  other: "deno" | "bun" | "node",
  source: string,
  { port = 0, work }: {
    port?: number;
    work(output: () => string): Promise<void>;
  },
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  const path = join(folder, "program.mjs");
  writeFileSync(path, common + source);
  const child = spawn(binaries[other]!, [
    ...(other === "deno" ? ["run", "-A", "--no-lock", "--no-check"] : []),
    path,
    JSON.stringify({
      ca,
      server: pair("server"),
      second: pair("second"),
      client: pair("client"),
      port,
    }),
  ]);
  let output = "";
  let over = false;
  child.stdout.on("data", (chunk) => output += chunk);
  child.stderr.on("data", (chunk) => output += chunk);
  child.on("close", () => over = true);
  try {
    await until(() => over || output.includes("\n"), "its line", 20_000);
    await work(() => output);
  } finally {
    child.kill("SIGKILL");
    await until(() => over, "its end");
    rmSync(folder, { recursive: true });
  }
}

async function exchange(connection: Connection): Promise<void> {
  const block = new Uint8Array(300_000).map((_, i) => i);
  const sent = connection.send(block);
  assertEquals(await within(connection.read(block.length)), block);
  assertEquals(await sent, true);
}

describe("TLS across runtimes:", () => {
  for (const other of others) {
    const skip = binaries[other] === undefined && `${other} is not known here`;

    test(`our client, a server on ${other}`, { skip }, async () => {
      await onOther(
        other,
        `
        const listening = await serve(async (connection) => {
          if (connection.tls?.alpn === "start") {
            await connection.read(3);
            await connection.send("go!");
            await echo(await connection.startTls({ ...server, server: true }));
          } else await echo(connection);
        }, {
          hostname: "127.0.0.1",
          port: 0,
          tls: {
            ...server,
            ca,
            clientAuth: "request",
            alpn: ["echo", "start"],
            sni: (name) => name === "b.sluice.test" ? second : undefined,
          },
        });
        console.log(listening.address.port);
      `,
        {
          async work(output) {
            const port = Number(output());
            assert(port > 0, output());
            const connection = await within(connect({
              hostname: "localhost",
              port,
              tls: {
                ca,
                ...pair("client"),
                alpn: ["echo"],
                serverName: "b.sluice.test",
              },
            }));
            const { peerCertificate, ...tls } = connection.tls!;
            assertEquals(tls, {
              protocol: "TLSv1.3",
              authorized: true,
              alpn: "echo",
              serverName: "b.sluice.test",
            });
            assertEquals(
              peerCertificate!.subject,
              "O=Sluice tests, CN=second",
            );
            await exchange(connection);
            await within(connection.close());
            assertEquals(await connection.closed, { clean: true });
            const outer = await within(connect({
              hostname: "localhost",
              port,
              tls: { ca, alpn: ["start"] },
            }));
            await outer.send("go?");
            assertEquals(text(await within(outer.read(3))), "go!");
            const inner = await within(outer.startTls({ ca }));
            await exchange(inner);
            await within(inner.close());
            assertEquals(await outer.closed, { clean: true });
          },
        },
      );
    });

    test(`our server, a client on ${other}`, { skip }, async () => {
      const kit = await tlsRig({
        ca,
        clientAuth: "require",
        alpn: ["echo"],
        sni: (name) =>
          Promise.resolve(
            name === "b.sluice.test" ? pair("second") : undefined,
          ),
      });
      try {
        await onOther(
          other,
          `
          const connection = await connect({
            hostname: "localhost",
            port,
            tls: { ca, ...client, alpn: ["echo"], serverName: "b.sluice.test" },
          });
          await connection.send("hello");
          const word = new TextDecoder().decode(await connection.read(5));
          await connection.close();
          const { clean } = await connection.closed;
          const refused = await connect({ hostname: "localhost", port, tls: true })
            .catch(({ code }) => code);
          console.log(JSON.stringify([word, clean, connection.tls.alpn, refused]));
        `,
          {
            port: kit.port,
            async work(output) {
              assert(output().startsWith("["), output());
              assertEquals(JSON.parse(output().split("\n")[0]), [
                "hello",
                true,
                "echo",
                "ERR_TLS_UNKNOWN_CA",
              ]);
              const { peerCertificate, ...tls } = kit.ends[0].tls!;
              assertEquals(tls, {
                protocol: "TLSv1.3",
                authorized: true,
                alpn: "echo",
                serverName: "b.sluice.test",
              });
              assertEquals(
                peerCertificate!.subject,
                "O=Sluice tests, CN=client",
              );
              assertEquals(await within(kit.ends[0].closed), { clean: true });
            },
          },
        );
      } finally {
        await kit.close();
      }
    });
  }
});
