// Runs in a folder where the packed tarball was installed, as a user's would:
// see scripts/_package.ts.
import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { bind } from "@sluice/net/udp";
import { connect, serve } from "@sluice/net/tcp";
import * as http from "@sluice/net/http";
import * as ws from "@sluice/net/ws";
import { Channel } from "@sluice/net/streams";
import * as all from "@sluice/net";

const hostname = "127.0.0.1";
const limit = { timeout: 10_000 };

test("the package echoes over TCP", limit, async () => {
  const server = await serve(async (connection) => {
    for await (const chunk of connection) await connection.send(chunk);
  }, { hostname, port: 0 });
  const connection = await connect(server.address);
  await connection.send("hello");
  assert.equal(new TextDecoder().decode(await connection.read(5)), "hello");
  await connection.close();
  await server.close();
});

test("the package echoes over UDP", limit, async () => {
  const server = await bind({ hostname, port: 0 });
  const client = await bind({ hostname, port: 0 });
  await client.send({ data: "hello", hostname, port: server.address.port });
  const asked = await server.receive();
  await server.send(asked);
  const answer = await client.receive();
  assert.equal(new TextDecoder().decode(answer.data), "hello");
  await Promise.all([client.close(), server.close()]);
});

test("the package echoes over HTTP and WebSocket", limit, async () => {
  const server = await http.serve((request) => {
    if (ws.isUpgrade(request)) {
      return ws.upgrade(request, async (socket) => {
        for await (const message of socket) await socket.send(message);
      });
    }
    return new http.Response(request.body);
  }, { hostname, port: 0 });
  const answer = await http.post(server.url, { body: "hello" });
  assert.equal(await answer.text(), "hello");
  const socket = await ws.connect(server.url.replace("http", "ws"));
  await socket.send("hello");
  assert.equal(await socket.receive(), "hello");
  await socket.close();
  await server.close({ timeout: 1000 });
});

test("the package has one module for all, and a channel", limit, () => {
  assert.deepEqual(Object.keys(all).sort(), [
    "http",
    "streams",
    "tcp",
    "udp",
    "ws",
  ]);
  const channel = new Channel();
  channel.send(1);
  assert.equal(channel.receive(), 1);
});

test(
  "the package depends on nothing, and `require` reads it",
  limit,
  async () => {
    const require = createRequire(import.meta.url);
    const { dependencies } = JSON.parse(
      await readFile("node_modules/@sluice/net/package.json", "utf8"),
    );
    assert.equal(dependencies, undefined);
    assert.equal(typeof require("@sluice/net/tcp").serve, "function");
  },
);

test(
  "the package installs a Request that knows light ones",
  limit,
  async () => {
    http.installRequest();
    http.installResponse();
    const server = await http.serve(async (request) => {
      const copy = new Request(request, { headers: { "x-copy": "1" } });
      return new Response(copy.headers.get("x-copy") + (await copy.text()));
    }, { hostname, port: 0 });
    const answer = await fetch(server.url, { method: "POST", body: "hello" });
    assert(answer instanceof Response);
    assert.equal(await answer.text(), "1hello");
    await server.close({ timeout: 1000 });
  },
);
