import * as nodeTls from "node:tls";
import { describe, test } from "node:test";
import { assertEquals, assertRejects } from "./assert.ts";
import { runtime, until, within } from "./_support.ts";
import { ca, pair, tlsRig } from "./_tls_support.ts";
import type { TlsRig } from "./_tls_support.ts";
import { TlsError } from "../tcp/mod.ts";

/** What both ends say that was asked for. */
async function asked(
  kit: TlsRig,
  serverName: string,
  insecure?: boolean,
): Promise<(string | undefined)[]> {
  const connection = await kit.connect(
    insecure ? { insecure, serverName } : { ca, serverName },
  );
  await until(() => kit.ends.length === 1, "the server's end");
  const there = kit.ends.pop()!;
  connection.destroy();
  return [connection.tls!.serverName, there.tls!.serverName];
}

describe("The name of a TLS server", () => {
  const names: [string, string][] = [
    ["LOCALHOST", "localhost"],
    ["localhost.", "localhost"],
    ["A.Sluice.Test.", "a.sluice.test"],
    ["a_b.sluice.test", "a_b.sluice.test"],
    ["bücher.sluice.test", "xn--bcher-kva.sluice.test"],
  ];
  for (const [given, sent] of names) {
    test(`is asked for as servers know it: ${given}`, async () => {
      const kit = await tlsRig();
      try {
        assertEquals(await asked(kit, given), [sent, sent]);
      } finally {
        await kit.close();
      }
    });
  }

  test("is not asked for when it is none, but checked", async () => {
    const kit = await tlsRig();
    try {
      for (const name of ["a b", "a..sluice.test", "x".repeat(300), "[::1]"]) {
        const error = await assertRejects(
          () => kit.connect({ ca, serverName: name }),
          TlsError,
        );
        assertEquals(error.code, "ERR_TLS_WRONG_HOST");
        assertEquals(await asked(kit, name, true), [undefined, undefined]);
      }
    } finally {
      await kit.close();
    }
  });

  test("may be an address, of either kind", async () => {
    const kit = await tlsRig();
    try {
      for (const address of ["127.0.0.1", "::1", "0:0:0:0:0:0:0:1"]) {
        assertEquals(await asked(kit, address), [undefined, undefined]);
      }
      for (const address of ["127.0.0.2", "::2"]) {
        const error = await assertRejects(
          () => kit.connect({ ca, serverName: address }),
          TlsError,
        );
        assertEquals(error.code, "ERR_TLS_WRONG_HOST");
      }
    } finally {
      await kit.close();
    }
  });

  test("is found in `sni` with the dot of the root, too", async () => {
    const kit = await tlsRig({ sni: { "a.sluice.test": pair("second") } });
    try {
      for (const servername of ["a.sluice.test", "A.sluice.test."]) {
        const shown = await within(
          new Promise((resolve, reject) => {
            const socket = nodeTls.connect({
              port: kit.port,
              host: "127.0.0.1",
              servername,
              ca,
            }, () => {
              resolve(socket.getPeerCertificate().subject.CN);
              socket.destroy();
            });
            socket.on("error", reject);
          }),
        );
        assertEquals([runtime, servername, shown], [
          runtime,
          servername,
          "second",
        ]);
      }
    } finally {
      await kit.close();
    }
  });
});
