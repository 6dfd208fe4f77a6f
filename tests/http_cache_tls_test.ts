import { createServer } from "node:https";
import { test } from "node:test";
import { cache, FetchError } from "../http/mod.ts";
import type { ClientInit } from "../http/mod.ts";
import { assertEquals, assertRejects } from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { listen } from "./_http_servers.ts";
import { ca, pair } from "./_tls_support.ts";

const FRESH = { "cache-control": "max-age=60" };

function counting() {
  const seen: string[] = [];
  const server = listen(
    createServer({ ...pair("server") }, (request, response) => {
      seen.push(request.method!);
      response.writeHead(200, FRESH).end(String(seen.length));
    }),
    "https",
  );
  return { server, seen };
}

test("cache() gives nothing of whom nobody trusts to who wants trust", () => {
  const { server, seen } = counting();
  return withClient(server, async (client, { url }) => {
    const get = (tls?: ClientInit["tls"]) => client.get(url, { tls }).text();
    assertEquals(await get({ insecure: true }), "1");
    assertEquals(await get({ insecure: true }), "1");
    await assertRejects(() => get(), FetchError);
    assertEquals(await get({ ca }), "2");
    assertEquals(await get({ ca: `${ca}` }), "2");
    await assertRejects(() => get({ ca, serverName: "other.x" }), FetchError);
    assertEquals(await get({ insecure: true }), "1");
    assertEquals(seen.length, 2);
    // What changes things changes them for all.
    await client.post(url, { tls: { ca } }).text();
    assertEquals(await get({ insecure: true }), "4");
  }, { use: [cache()] });
});

test("cache() tells apart who shows which certificate", () => {
  const { server, seen } = counting();
  const shown = (name: string) => ({ tls: { ca, ...pair(name) } });
  return withClient(server, async (client, { url }) => {
    for (const name of ["client", "stranger", "client", "stranger"]) {
      const wanted = name === "client" ? "1" : "2";
      assertEquals(await client.get(url, shown(name)).text(), wanted);
    }
    assertEquals(await client.get(url, { tls: { ca } }).text(), "3");
    assertEquals(seen.length, 3);
  }, { use: [cache(undefined, { partition: () => "one" })] });
});
