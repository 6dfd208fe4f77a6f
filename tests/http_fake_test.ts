import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { within } from "./_support.ts";
import { Hono } from "hono";
import { Client, fake, FetchError } from "../http/mod.ts";
import { NetError } from "../streams/errors.ts";
import type { FakeRoutes, FakeTransport } from "../http/mod.ts";

/** Runs a test with a client over a fake. */
async function withFake(
  routes: FakeRoutes,
  run: (client: Client, transport: FakeTransport) => Promise<unknown>,
): Promise<void> {
  const transport = fake(routes);
  const client = new Client({ base: "http://a.test", transport });
  try {
    await within(run(client, transport), 10_000, "The test");
  } finally {
    await client.close({ timeout: 0 });
  }
}

describe("fake", () => {
  test("answers by method and path, with parameters", () =>
    withFake({
      "GET /users/:id": (_request, params) => params,
      "POST /users": async (request) =>
        Response.json(await request.json(), { status: 201 }),
      "/any": "any method",
      "* /star": "the same",
      "delete /users/:id/files/*": (_request, params) => params,
      "GET /a/*/c": (_request, params) => params["*"],
    }, async (client) => {
      assertEquals(await client.get("/users/7").json(), { id: "7" });
      assertEquals(await client.get("/users/a%2Fb%20c?x=1").json(), {
        id: "a/b c",
      });
      const made = await client.post("/users", { json: { name: "Ada" } });
      assertEquals(made.status, 201);
      assertEquals(await made.json(), { name: "Ada" });
      for (const method of ["GET", "PUT", "OPTIONS"]) {
        assertEquals(
          await client.fetch("/any", { method }).text(),
          "any method",
        );
        assertEquals(
          await client.fetch("/star", { method }).text(),
          "the same",
        );
      }
      assertEquals(await client.delete("/users/7/files/a/b%20c").json(), {
        id: "7",
        "*": "a/b c",
      });
      assertEquals(await client.get("/a/b/c").text(), "b");
    }));

  test("answers with text, JSON, bytes, responses and errors", () =>
    withFake({
      "/text": "text",
      "/empty": "",
      "/json": { a: [1, null] },
      "/list": [1, 2],
      "/null": null,
      "/zero": 0,
      "/bytes": new Uint8Array([1, 2]),
      "/response": new Response("again", { status: 202 }),
      "/error": new NetError("Gone", { code: "ECONNREFUSED" }),
      "/throw": () => {
        throw new RangeError("Thrown");
      },
      "/nothing": (() => undefined) as unknown as () => string,
    }, async (client) => {
      const text = await client.get("/text");
      assert(text.headers.get("content-type")!.startsWith("text/plain"));
      assertEquals(await text.text(), "text");
      assertEquals(await client.get("/empty").text(), "");
      const json = await client.get("/json");
      assertEquals(json.headers.get("content-type"), "application/json");
      assertEquals(await json.json(), { a: [1, null] });
      assertEquals(await client.get("/list").json(), [1, 2]);
      assertEquals(await client.get("/null").json(), null);
      assertEquals(await client.get("/zero").json(), 0);
      assertEquals([...await client.get("/bytes").bytes()], [1, 2]);
      for (let i = 0; i < 2; i++) {
        const response = await client.get("/response");
        assertEquals(response.status, 202);
        assertEquals(await response.text(), "again");
      }
      const error = await assertRejects(() => client.get("/error"), FetchError);
      assertEquals(error.code, "ECONNREFUSED");
      await assertRejects(() => client.get("/throw"), RangeError, "Thrown");
      await assertRejects(() => client.get("/nothing"), TypeError, "/nothing");
    }));

  test("rejects a request without a route, and lists those there are", () =>
    withFake({ "GET /a": "", "POST /b/:id": "" }, async (client, transport) => {
      for (const path of ["/", "/b/1", "/a/", "/b/"]) {
        const error = await assertRejects(() => client.get(path), FetchError);
        assertEquals(error.code, "ERR_NO_ROUTE");
        assertEquals(
          error.message,
          `Cannot fetch GET http://a.test${path}: the fake has no route for it; its routes are: GET /a, POST /b/:id`,
        );
        assert(!error.retryable);
      }
      assertEquals(transport.requests.length, 4);
    }));

  test("answers HEAD as GET, unless HEAD has a route", () =>
    withFake({
      "GET /a": "body",
      "HEAD /b": new Response(null, { headers: { "x-head": "yes" } }),
      "GET /b": "body",
    }, async (client) => {
      const head = await client.head("/a");
      assertEquals(head.status, 200);
      assertEquals(await head.text(), "");
      assertEquals((await client.head("/b")).headers.get("x-head"), "yes");
    }));

  test("goes by origin and query where a route has them", () =>
    withFake({
      "GET /search?q=a%20b": "found",
      "GET /search": "all",
      "GET https://b.test/x": "b",
      "https://c.test": "c",
      "GET http://a.test/*": (_request, params) => params["*"],
      "*": "rest",
    }, async (client) => {
      assertEquals(await client.get("/search?p=1&q=a+b").text(), "found");
      assertEquals(await client.get("/search?q=b").text(), "all");
      assertEquals(await client.get("https://b.test/x").text(), "b");
      assertEquals(await client.get("https://c.test/").text(), "c");
      assertEquals(await client.get("/y/z").text(), "y/z");
      assertEquals(await client.get("https://d.test/y").text(), "rest");
      assertEquals(await client.put("/y").text(), "rest");
    }));

  test("keeps the requests with their bodies, in order", () =>
    withFake({
      "POST /read": (request) => request.text(),
      "POST /unread": "fine",
      "GET /moved": new Response(null, {
        status: 307,
        headers: { location: "/here" },
      }),
      "GET /here": "here",
    }, async (client, transport) => {
      await client.post("/read", { body: "one" }).text();
      await client.post("/unread", { json: [2], headers: { "x-a": "b" } });
      const form = new FormData();
      form.set("three", "3");
      await client.post("/unread", { body: form });
      await client.get("/moved").text();
      const { requests } = transport;
      assertEquals(
        requests.map(({ method, url }) => `${method} ${new URL(url).pathname}`),
        [
          "POST /read",
          "POST /unread",
          "POST /unread",
          "GET /moved",
          "GET /here",
        ],
      );
      assertEquals(await requests[0].text(), "one");
      assertEquals(requests[1].headers.get("x-a"), "b");
      assertEquals(await requests[1].json(), [2]);
      assertEquals((await requests[2].formData()).get("three"), "3");
      transport.clear();
      assertEquals(transport.requests.length, 0);
    }));

  test("refuses routes that are none", () => {
    for (const route of ["", "GET", "GET  ", "GET users", "a b c", "GET /:"]) {
      assertThrows(
        () => fake({ [route]: "" }),
        TypeError,
        "Cannot make a fake",
      );
    }
  });

  test("has a sibling in an app of Hono's", async () => {
    const app = new Hono();
    app.get("/users/:id", (c) => c.json({ id: c.req.param("id") }));
    const client = new Client({ base: "http://a.test", transport: app.fetch });
    assertEquals(await client.get("/users/7").json(), { id: "7" });
    assertEquals((await client.get("/none")).status, 404);
    await client.close();
  });
});
