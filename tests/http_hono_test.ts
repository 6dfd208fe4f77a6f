import { test } from "node:test";
import { Hono } from "hono";
import type { GetConnInfo } from "hono/conninfo";
import type { UpgradeWebSocket } from "hono/ws";
import { cors } from "hono/cors";
import { stream, streamSSE } from "hono/streaming";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { exchange, get, statusOf, withServer } from "./_http_raw.ts";
import { engines, until, within } from "./_support.ts";
import { getConnInfo, upgradeWebSocket } from "../http/hono.ts";
import { connect } from "../ws/connect.ts";
import type { Socket, UpgradeOptions } from "../ws/types.ts";

// They have the very shapes of Hono's own helpers.
const _getConnInfo: GetConnInfo = getConnInfo;
const _upgradeWebSocket: UpgradeWebSocket<Socket, UpgradeOptions> =
  upgradeWebSocket;

function makeApp() {
  const seen: string[] = [];
  const app = new Hono();
  app.use("/api/*", cors());
  app.get("/", (c) => c.text("Hello Hono"));
  app.get("/api/:id", (c) => c.json({ id: c.req.param("id") }));
  app.post("/form", async (c) => {
    const form = await c.req.parseBody();
    return c.text(String(form.a));
  });
  app.post("/json", async (c) => c.json(await c.req.json()));
  app.get("/query", (c) => c.text(c.req.query("a") ?? ""));
  app.get("/header", (c) => {
    c.header("x-a", "b");
    return c.html(`<p>${c.req.header("x-in")}</p>`);
  });
  app.get("/stream", (c) =>
    stream(c, async (out) => {
      await out.write("one ");
      await out.write("two");
    }));
  app.get("/sse", (c) =>
    streamSSE(c, async (out) => {
      await out.writeSSE({ data: "one", event: "e" });
    }));
  app.get("/throws", () => {
    throw new Error("secret");
  });
  app.get("/who", (c) => c.json(getConnInfo(c)));
  app.route("/sub", new Hono().get("/who", (c) => c.json(getConnInfo(c))));
  app.mount(
    "/mounted",
    (request) => new Response(new URL(request.url).pathname),
  );
  app.get(
    "/socket",
    upgradeWebSocket(() => ({
      onOpen(_, socket) {
        seen.push(`open ${socket.readyState}`);
        socket.send("welcome");
      },
      onMessage({ data }, socket) {
        if (data === "bye") socket.close(4000, "so be it");
        else if (typeof data === "string") socket.send(data.toUpperCase());
        else {
          assert(data instanceof ArrayBuffer);
          socket.send(new Uint8Array(data).reverse());
        }
      },
      onClose({ code, reason }, socket) {
        seen.push(`close ${code} ${reason} ${socket.readyState}`);
      },
    })),
  );
  return { app, seen };
}

for (const engine of engines) {
  test(`serve() serves a Hono app as it is, ${engine}`, async () => {
    const { app } = makeApp();
    await withServer(app, { engine }, async (server) => {
      const at = (path: string, init?: RequestInit) =>
        fetch(server.url + path, init);
      const text = async (path: string, init?: RequestInit) =>
        await (await at(path, init)).text();
      assertEquals(await text(""), "Hello Hono");
      const api = await at("api/7", { headers: { origin: "http://a.test" } });
      assertEquals(await api.json(), { id: "7" });
      assertEquals(api.headers.get("access-control-allow-origin"), "*");
      assertEquals(
        await text("form", {
          method: "POST",
          body: new URLSearchParams("a=b"),
        }),
        "b",
      );
      const form = new FormData();
      form.set("a", "multipart");
      assertEquals(
        await text("form", { method: "POST", body: form }),
        "multipart",
      );
      assertEquals(
        await text("json", { method: "POST", body: '{"a":[1]}' }),
        '{"a":[1]}',
      );
      assertEquals(await text("query?a=%20b"), " b");
      const headers = await at("header", { headers: { "x-in": "in" } });
      assertEquals(headers.headers.get("x-a"), "b");
      assertEquals(await headers.text(), "<p>in</p>");
      assertEquals(await text("stream"), "one two");
      assertEquals(await text("sse"), "event: e\ndata: one\n\n");
      assertEquals(await text("mounted/deep"), "/deep");
      assertEquals((await at("nowhere")).status, 404);
      const thrown = await at("throws");
      assertEquals(thrown.status, 500);
      assert(!(await thrown.text()).includes("secret"));
      const head = await exchange(
        server,
        "HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
      );
      assertEquals(statusOf(head), 200);
      assert(head.endsWith("\r\n\r\n"));
    });
  });

  test(`getConnInfo() tells who asks, ${engine}`, async () => {
    const { app } = makeApp();
    await withServer(app, { engine }, async (server) => {
      for (const path of ["who", "sub/who"]) {
        const { remote } = await (await fetch(server.url + path)).json();
        assertEquals(remote.address, "127.0.0.1");
        assertEquals(remote.addressType, "IPv4");
        assertEquals(remote.transport, "tcp");
        assert(remote.port > 0);
      }
    });
  });

  test(`upgradeWebSocket() makes a WebSocket of a route, ${engine}`, async () => {
    const { app, seen } = makeApp();
    await withServer(app, { engine }, async (server) => {
      const socket = await connect(`${server.url}socket`);
      assertEquals(await within(socket.receive()), "welcome");
      await socket.send("hello");
      assertEquals(await within(socket.receive()), "HELLO");
      await socket.send(new Uint8Array([1, 2, 3]));
      assertEquals(
        [...await within(socket.receive()) as Uint8Array],
        [3, 2, 1],
      );
      await socket.send("bye");
      const { code, reason } = await within(socket.closed);
      assertEquals([code, reason], [4000, "so be it"]);
      await until(() => seen.length === 2);
      assertEquals(seen[0], "open 1");
      assert(/^close \d+ .*3$/.test(seen[1]), seen[1]);
      // Without an upgrade the route is not there.
      assertEquals(statusOf(await exchange(server, get("/socket"))), 404);
    });
  });
}

test("getConnInfo() says when the app is not served by us", async () => {
  const app = new Hono();
  let error: unknown;
  app.get("/", (c) => {
    try {
      getConnInfo(c);
    } catch (thrown) {
      error = thrown;
    }
    return c.text("fine");
  });
  await app.request("/");
  assertThrows(
    () => {
      throw error;
    },
    TypeError,
    "http.serve",
  );
});
