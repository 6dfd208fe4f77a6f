import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { assert, assertEquals } from "./assert.ts";
import { LOCAL } from "./_proxies.ts";
import { start } from "./_proxy_peers.ts";
import { needs, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import { Client } from "../http/mod.ts";

const certs = fileURLToPath(new URL("./certs/", import.meta.url));
const TEXT = "nginx says hello. ".repeat(20_000);

function config(port: number, folder: string): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder}/${name};`).join("\n");
  return `
daemon off; master_process off; pid ${folder}/pid; error_log /dev/null;
events { worker_connections 256; }
http {
  access_log off; ${paths}
  gzip on; gzip_min_length 1; gzip_types *;
  keepalive_requests 4;
  root ${folder}/www;
  server {
    listen ${LOCAL}:${port}; client_max_body_size 1m;
    location /plain/ { alias ${folder}/www/; gzip off; }
    location /slow/ { alias ${folder}/www/; gzip off; limit_rate 400k; }
    location /moved { return 307 /sink; }
    location /sink { proxy_pass http://${LOCAL}:${port}/taken; }
    location /taken { return 200 "$request_method $content_length"; }
  }
  server {
    listen unix:${folder}/tls ssl;
    ssl_certificate ${certs}server.pem;
    ssl_certificate_key ${certs}server.key;
  }
}`;
}

/** Runs a test against an nginx of its own. */
async function withNginx(
  run: (client: Client, url: string, folder: string) => Promise<void>,
): Promise<void> {
  let folder = "";
  const peer = await start("nginx", (port, made) => {
    folder = made;
    mkdirSync(join(made, "www"), { recursive: true });
    writeFileSync(join(made, "www", "text"), TEXT);
    const file = join(made, "nginx.conf");
    writeFileSync(file, config(port, made));
    return ["-p", made, "-e", "/dev/null", "-c", file];
  });
  const client = new Client();
  try {
    await within(
      run(client, `http://${LOCAL}:${peer.port}/`, folder),
      20_000,
      "The test",
    );
  } finally {
    await client.close({ timeout: 0 });
    await peer.close();
  }
}

describe("the client and nginx", { skip: needs("nginx") }, () => {
  test("keep connections, and make new ones as nginx says", () =>
    withNginx(async (client, url) => {
      const reused: boolean[] = [];
      for (let i = 0; i < 9; i++) {
        const response = await client.get(`${url}plain/text`);
        assertEquals(await response.text(), TEXT);
        reused.push(response.timings.reused);
      }
      // Four to a connection.
      assertEquals(reused.filter((it) => !it).length, 3);
    }));

  test("gzip in chunks, ranges, validators, HEAD and 404", () =>
    withNginx(async (client, url) => {
      const coded = await client.get(`${url}text`);
      assertEquals(coded.headers.get("content-encoding"), "gzip");
      assertEquals(coded.headers.get("content-length"), null);
      assertEquals(await coded.text(), TEXT);
      const range = await client.get(`${url}text`, {
        headers: { range: "bytes=6-9" },
      });
      assertEquals([range.status, await range.text()], [206, "says"]);
      const etag = (await client.get(`${url}plain/text`)).headers.get("etag")!;
      const same = await client.get(`${url}plain/text`, {
        headers: { "if-none-match": etag },
      });
      assertEquals([same.status, await same.text()], [304, ""]);
      const head = await client.head(`${url}plain/text`);
      assertEquals(head.headers.get("content-length"), String(TEXT.length));
      assertEquals(await head.text(), "");
      assertEquals((await client.get(`${url}none`)).status, 404);
      assertEquals((await client.get(`${url}text`)).status, 200);
    }));

  test("upload: lengths, chunks, a form, a redirect, and 413", () =>
    withNginx(async (client, url) => {
      const body = "x".repeat(500_000);
      for (const path of ["sink", "moved"]) {
        assertEquals(
          await client.put(url + path, { body }).text(),
          "PUT 500000",
        );
      }
      const chunks = [body, body.slice(1)];
      assertEquals(
        await client.post(`${url}sink`, { body: chunks }).text(),
        "POST 999999",
      );
      const form = { file: new Blob([body]) };
      const told = await client.post(`${url}sink`, { multipart: form }).text();
      assert(Number(told.split(" ")[1]) > body.length, told);
      const refused = await client.post(`${url}sink`, {
        body: "x".repeat(1_500_000),
        expectContinue: 5000,
      });
      assertEquals(refused.status, 413);
      await refused.text();
      assertEquals(await client.put(`${url}sink`, { body }).text(), told0);
    }));
  const told0 = "PUT 500000";

  test("slow pieces come one after the other", () =>
    withNginx(async (client, url) => {
      let pieces = 0;
      const text = await client.get(`${url}slow/text`, {
        onDownloadProgress: () => void pieces++,
      }).text();
      assertEquals(text, TEXT);
      assert(pieces > 1);
    }));

  test("TLS over a Unix socket", () =>
    withNginx(async (client, _, folder) => {
      const init = {
        unix: join(folder, "tls"),
        tls: { ca: pem("ca.pem") },
      };
      for (let i = 0; i < 2; i++) {
        const response = await client.get("https://localhost/text", init);
        assertEquals(await response.text(), TEXT);
        assertEquals(response.timings.reused, i === 1);
      }
    }));
});
