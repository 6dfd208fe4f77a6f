import { describe, test } from "node:test";
import { assert, assertEquals, assertMatch, assertRejects } from "./assert.ts";
import { within } from "./_support.ts";
import { answering, LOCAL, noSocketLeft, proxy } from "./_proxies.ts";
import { pem } from "./_tls_support.ts";
import { serve } from "../http/mod.ts";
import type { HttpServer } from "../http/mod.ts";
import {
  connect,
  DnsError,
  ProxyError,
  TimeoutError,
  upgrade,
} from "../ws/mod.ts";
import type { ConnectOptions } from "../ws/mod.ts";

/** A WebSocket server that sends back what comes. */
function echo(tls = false): Promise<HttpServer> {
  return serve((request) =>
    upgrade(request, async (socket) => {
      for await (const message of socket) await socket.send(message);
    }), {
    hostname: LOCAL,
    port: 0,
    ...(tls
      ? { tls: { cert: pem("server.pem"), key: pem("server.key") } }
      : {}),
  });
}

async function echoes(url: string, options: ConnectOptions): Promise<void> {
  const socket = await within(connect(url, options));
  await socket.send("hello");
  assertEquals(await within(socket.receive()), "hello");
  await within(socket.close());
}

describe("ws.connect() proxy", () => {
  test("`proxy` makes a tunnel, for ws: and for wss:", async () => {
    const [there, plain, secure] = await Promise.all([
      proxy(),
      echo(),
      echo(true),
    ]);
    try {
      const at = `u:p@${LOCAL}:${there.port}`;
      for (const kind of ["http", "socks5h"]) {
        for (const { url } of [plain, secure]) {
          await echoes(url.replace(LOCAL, "localhost"), {
            proxy: `${kind}://${at}`,
            ...(url.startsWith("https") ? { tls: { ca: pem("ca.pem") } } : {}),
          });
        }
      }
      assertEquals(there.taken, 4);
      assertMatch(there.heads[0], /^CONNECT localhost:\d+ /);
      assertMatch(there.through[0], /^GET \/ HTTP\/1\.1\r\n/);
      assert(!there.through[0].includes("proxy-auth"));
      await echoes(plain.url, {
        proxy: `http://${at}`,
        noProxy: ["127.0.0.0/8"],
      });
      await echoes(plain.url, { proxy: false });
      assertEquals(there.taken, 4);
      await noSocketLeft(there);
    } finally {
      await there.close();
      await plain.close({ timeout: 0 });
      await secure.close({ timeout: 0 });
    }
  });

  test("`proxy` that refuses or is silent fails as with tcp", async () => {
    const there = await answering("HTTP/1.1 403 No\r\n\r\n");
    const silent = await answering();
    try {
      const refused = await assertRejects(
        () =>
          within(connect("ws://name.test/", {
            proxy: `http://${LOCAL}:${there.port}`,
          })),
        ProxyError,
        "it answered 403 No",
      );
      assertEquals(refused.phase, "proxy");
      const late = await assertRejects(
        () =>
          within(connect("ws://name.test/", {
            proxy: `http://${LOCAL}:${silent.port}`,
            timeout: 60,
          })),
        TimeoutError,
      );
      assertEquals(late.phase, "proxy");
      await noSocketLeft(silent);
    } finally {
      await there.close();
      await silent.close();
    }
  });

  test("`lookup` says which addresses a name has", async () => {
    const server = await echo();
    try {
      const url = `ws://name.test:${new URL(server.url).port}/`;
      await echoes(url, { lookup: () => [LOCAL] });
      const error = await assertRejects(
        () => within(connect(url, { lookup: () => [] })),
        DnsError,
      );
      assertEquals(error.phase, "lookup");
    } finally {
      await server.close({ timeout: 0 });
    }
  });
});
