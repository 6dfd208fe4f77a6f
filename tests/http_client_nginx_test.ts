import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { cache, Client, events, eventStream } from "../http/mod.ts";
import type { ClientOptions } from "../http/mod.ts";
import { assertEquals, assertStringIncludes } from "./assert.ts";
import { deferred } from "./_client_support.ts";
import { withServer } from "./_http_raw.ts";
import { needs, tool, until, within } from "./_support.ts";

const TEXT = "All of this is text. ".repeat(200);

/** nginx on a Unix socket, before another server, and a client of it. */
async function withNginx(
  behind: number,
  options: ClientOptions,
  run: (client: Client) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-nginx-"));
  const unix = join(folder, "socket");
  mkdirSync(join(folder, "files"));
  writeFileSync(join(folder, "files", "text.txt"), TEXT);
  writeFileSync(
    join(folder, "conf"),
    `daemon off;
master_process off;
pid ${folder}/pid;
error_log ${folder}/error;
events {}
http {
  access_log off;
  types { text/plain txt; }
  client_body_temp_path ${folder}/a;
  proxy_temp_path ${folder}/b;
  fastcgi_temp_path ${folder}/c;
  uwsgi_temp_path ${folder}/d;
  scgi_temp_path ${folder}/e;
  server {
    listen unix:${unix};
    root ${folder}/files;
    gzip on;
    gzip_vary on;
    location /long/ { alias ${folder}/files/; expires 1h; }
    location /events { proxy_pass http://127.0.0.1:${behind}; proxy_http_version 1.1; }
  }
}
`,
  );
  const args = ["-c", join(folder, "conf"), "-p", folder];
  const child = spawn(tool("nginx")!, args, { stdio: "ignore" });
  const ended = new Promise<void>((resolve) => child.once("close", resolve));
  const client = new Client({ base: "http://localhost/", unix, ...options });
  try {
    await until(
      () =>
        new Promise<boolean>((resolve) => {
          const socket = net.connect({ path: unix });
          socket.once("connect", () => {
            socket.destroy();
            resolve(true);
          });
          socket.once("error", () => resolve(false));
        }),
      "nginx there",
      10_000,
    );
    await within(run(client), 10_000, "The test");
  } finally {
    await client.close({ timeout: 0 });
    child.kill("SIGKILL");
    await within(ended);
    rmSync(folder, { recursive: true });
  }
}

describe("Client before nginx", { skip: needs("nginx") }, () => {
  test("cache() keeps a file, and validates it", () =>
    withNginx(1, { use: [cache()] }, async (client) => {
      const told = async (path: string, init = {}) => {
        const response = await client.get(path, init);
        assertEquals(await response.text(), TEXT);
        return response.headers.get("cache-status");
      };
      const stored = "sluice; fwd=uri-miss; fwd-status=200; stored";
      assertEquals(await told("long/text.txt"), stored);
      assertStringIncludes((await told("long/text.txt"))!, "sluice; hit; ttl=");
      assertEquals(
        await told("long/text.txt", { cache: "no-cache" }),
        "sluice; fwd=request; fwd-status=304",
      );
      // Just written: a tenth of no time at all.
      assertEquals(await told("text.txt"), stored);
      assertEquals(
        await told("text.txt", { cache: "no-cache" }),
        "sluice; fwd=request; fwd-status=304",
      );
      assertStringIncludes(
        (await told("text.txt", { cache: "force-cache" }))!,
        "sluice; hit; ttl=",
      );
      assertEquals(
        await told("text.txt", { cache: "reload", decompress: false }),
        stored,
      );
      const { headers, status } = await client.get("text.txt", {
        headers: { range: "bytes=0-2" },
      });
      assertEquals([status, headers.get("cache-status")], [206, null]);
    }));

  test("events() come through it one by one, and end behind it, too", async () => {
    const left = deferred();
    const asked: (string | undefined)[] = [];
    async function* source(last: string | undefined, signal: AbortSignal) {
      asked.push(last);
      signal.addEventListener("abort", () => left.resolve());
      const from = Number(last ?? 0);
      yield { id: String(from + 1), data: "a" };
      if (asked.length < 3) return;
      await left.promise;
    }
    await withServer(
      (request) =>
        eventStream((last, signal) => source(last, signal), {
          request,
          retry: 1,
        }),
      {},
      (server) =>
        withNginx(Number(new URL(server.url).port), {}, async (client) => {
          const ids: string[] = [];
          for await (const { id } of events("events", { client })) {
            ids.push(id);
            if (ids.length === 3) break;
          }
          assertEquals(ids, ["1", "2", "3"]);
          assertEquals(asked, [undefined, "1", "2"]);
          await within(left.promise);
        }),
    );
  });
});
