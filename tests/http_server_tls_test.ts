import * as nodeTls from "node:tls";
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { withServer } from "./_http_raw.ts";
import { engines, runtime, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import { Client } from "../http/client.ts";
import { serve } from "../http/serve.ts";

const tls = { cert: pem("server.pem"), key: pem("server.key") };
const ca = pem("ca.pem");

for (const engine of engines) {
  test(`serve() serves HTTPS, ${engine}`, async () => {
    await withServer(
      async (request) => {
        const { protocol } = new URL(request.url);
        return new Response(`${protocol} ${await request.text()}`);
      },
      { engine, tls },
      async (server) => {
        assert(server.url.startsWith("https://127.0.0.1:"));
        const client = new Client({ tls: { ca } });
        const url = server.url.replace("127.0.0.1", "localhost");
        const body = "x".repeat(300_000);
        for (const text of ["hello", body]) {
          const response = client.post(url, { body: text });
          assertEquals(await within(response.text()), `https: ${text}`);
        }
        await client.close({ timeout: 0 });
      },
    );
  });
}

/** Speaks TLS with this ALPN, and gives what was agreed on. */
function agree(port: number, protocols: string[]): Promise<string | false> {
  return within(
    new Promise((resolve, reject) => {
      const socket = nodeTls.connect({
        host: "127.0.0.1",
        port,
        servername: "localhost",
        ca,
        ALPNProtocols: protocols,
      }, () => {
        resolve(socket.alpnProtocol || "");
        socket.destroy();
      });
      socket.on("error", reject);
    }),
  );
}

test("serve() agrees on what is listed and on nothing else", async () => {
  await withServer(
    (_, context) => new Response(JSON.stringify(context.tls?.protocol)),
    { tls, protocols: ["http/1.1"] },
    async (server) => {
      assert(server.address.transport === "tcp");
      const { port } = server.address;
      assertEquals(await agree(port, ["h2", "http/1.1"]), "http/1.1");
      // Bun's node:tls client does not tell that nothing was agreed on.
      if (runtime !== "bun") await assertRejects(() => agree(port, ["h2"]));
      const client = new Client({ tls: { ca } });
      const url = server.url.replace("127.0.0.1", "localhost");
      assertEquals(await client.get(url).json(), "TLSv1.3");
      await client.close({ timeout: 0 });
    },
  );
  await assertRejects(
    () =>
      serve(() => new Response(), { port: 0, tls: { ...tls, alpn: ["h3"] } }),
    TypeError,
    "h3",
  );
});

test("serve() on the native engine refuses what of TLS it cannot do", async () => {
  if (!engines.includes("native")) return;
  const bad = runtime === "deno"
    ? [{ alpn: ["h2"] }, { ca }, { ca, clientAuth: "require" as const }]
    : [{ alpn: ["h2"] }];
  for (const more of bad) {
    await assertRejects(
      () =>
        serve(() => new Response(), {
          port: 0,
          engine: "native",
          tls: { ...tls, ...more },
        }),
      TypeError,
      'engine: "wire"',
    );
  }
});
