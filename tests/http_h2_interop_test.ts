// HTTP/2 with other implementations: our client with nghttpd, node:http2 and
// the servers of the runtimes, our server with node:http2 and Deno's fetch.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { freePort } from "./_brokers.ts";
import { withServer } from "./_http_raw.ts";
import { engines, needs, runtime, tool, until, within } from "./_support.ts";
import {
  Client,
  FetchError,
  Response as LightResponse,
  withTrailers,
} from "../http/mod.ts";
import type { Handler } from "../http/mod.ts";

const certs = (name: string) =>
  fileURLToPath(new URL(`./certs/${name}`, import.meta.url));
const pem = (name: string) => readFileSync(certs(name), "utf8");
const tls = { cert: pem("server.pem"), key: pem("server.key") };
const ca = pem("ca.pem");
const peer = fileURLToPath(new URL("./_h2_node.mjs", import.meta.url));

/** Runs a program while a test needs it. */
async function during(
  child: ChildProcess,
  run: () => Promise<unknown>,
): Promise<void> {
  const over = new Promise((resolve) => child.once("close", resolve));
  try {
    await run();
  } finally {
    child.kill("SIGKILL");
    await within(over, 5000, "The program's end");
  }
}

test("the client talks with node:http2", { skip: needs("node") }, async () => {
  const child = spawn(tool("node")!, [peer, "serve"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout!.on("data", (chunk) => output += chunk);
  await during(child, async () => {
    await until(() => output.includes("\n"), "its port", 10_000);
    const informed: number[] = [];
    const client = new Client({
      base: `http://127.0.0.1:${output.trim()}`,
      protocols: ["h2"],
      timeout: 12_000,
      onInform: (status) => informed.push(status),
    });
    const response = await client.get("/a?b", { headers: { "X-C": "d" } });
    assertEquals(response.headers.getSetCookie(), ["a=1", "b=2"]);
    const seen = await response.json() as Record<string, string>;
    assertEquals(
      [seen[":method"], seen[":path"], seen[":scheme"], seen["x-c"]],
      ["GET", "/a?b", "http", "d"],
    );
    const body = new Uint8Array(2_000_000).map((_, i) => i);
    assertEquals(await client.post("/echo", { body }).bytes(), body);
    const trailing = await client.get("/trailers");
    assertEquals(await trailing.text(), "body");
    assertEquals((await trailing.trailers).get("x-sum"), "7");
    assertEquals(await client.get("/hints").text(), "hinted");
    assertEquals(informed, [103]);
    const refused = await assertRejects(
      () => client.get("/refuse"),
      FetchError,
    );
    assertEquals(refused.code, "ERR_HTTP2_REFUSED_STREAM");
    // More at a time than it takes on one connection.
    const many = await within(
      Promise.all(
        Array.from({ length: 200 }, () => client.get("/many").json()),
      ),
      12_000,
    );
    assertEquals(many.length, 200);
    for (let i = 0; i < 5; i++) {
      assertEquals(await client.get("/away").text(), "bye");
    }
    await client.close({ timeout: 0 });
  });
});

test("the client talks with nghttpd", { skip: needs("nghttpd") }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  const text = "0123456789".repeat(100_000);
  writeFileSync(join(folder, "file.txt"), text);
  const port = await freePort();
  const child = spawn(tool("nghttpd")!, [
    ...["--no-tls", "-a", "127.0.0.1", "-d", folder, "--echo-upload"],
    ...["--trailer", "x-sum: 7", String(port)],
  ], { stdio: "ignore" });
  try {
    await during(child, async () => {
      const client = new Client({
        base: `http://127.0.0.1:${port}`,
        protocols: ["h2"],
        timeout: 12_000,
      });
      await until(
        () => client.get("/file.txt").text().then(() => true, () => false),
        "nghttpd",
        10_000,
      );
      const response = await client.get("/file.txt");
      assertEquals(response.httpVersion, "2.0");
      assertEquals(await response.text() === text, true);
      assertEquals((await response.trailers).get("x-sum"), "7");
      assertEquals((await client.get("/none")).status, 404);
      const echo = await client.post("/", { body: text });
      assertEquals(await echo.text() === text, true);
      const many = await Promise.all(
        Array.from({ length: 60 }, () => client.get("/file.txt").bytes()),
      );
      assertEquals(many.every((bytes) => bytes.length === text.length), true);
      await client.close({ timeout: 0 });
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

if (engines.includes("native")) {
  test("the client talks with the runtime's own server", () =>
    withServer(
      async (request) => new Response(await request.arrayBuffer()),
      { engine: "native", tls, protocols: ["h2", "http/1.1"] },
      async (server) => {
        const client = new Client({ tls: { ca }, timeout: 12_000 });
        const url = server.url.replace("127.0.0.1", "localhost");
        const body = new Uint8Array(300_000).map((_, i) => i);
        const response = await client.post(url, { body });
        assertEquals(response.httpVersion, "2.0");
        assertEquals(await response.bytes(), body);
        const many = await Promise.all(
          Array.from({ length: 150 }, () =>
            client.post(url, { body: "x" }).text()),
        );
        assertEquals(
          many.every((text) =>
            text === "x"
          ),
          true,
        );
        await client.close({ timeout: 0 });
      },
    ));
}

const handler: Handler = async (request, context) => {
  switch (new URL(request.url).pathname) {
    case "/echo":
      return new LightResponse(await request.text());
    case "/trailers":
      return withTrailers(new Response("body"), { "x-sum": "7" });
    case "/hints":
      context.inform(103, { link: "</a>" });
      return new LightResponse("hinted");
    case "/breaks":
      return new Response(
        new ReadableStream({
          pull: () => Promise.reject(new Error("broken")),
        }),
        { headers: { "content-length": "5" } },
      );
  }
  return new LightResponse(context.protocol);
};

test(
  "node:http2 talks with the server",
  { skip: needs("node") },
  () =>
    withServer(handler, { tls }, async (server) => {
      const url = server.url.replace("127.0.0.1", "localhost");
      const child = spawn(tool("node")!, [
        ...[peer, "fetch", url, certs("ca.pem")],
      ], { stdio: ["ignore", "pipe", "inherit"] });
      let output = "";
      child.stdout!.on("data", (chunk) => output += chunk);
      await during(child, async () => {
        await until(() => output.includes("\n"), "its report", 12_000);
        const [first, echo, trailing, hinted, broken, many] = JSON.parse(
          output,
        );
        assertEquals([first.status, first.text, first.length], [
          200,
          "h2",
          "2",
        ]);
        assertEquals([echo.status, echo.text], [200, true]);
        assertEquals([trailing.text, trailing.trailers], ["body", "7"]);
        assertEquals([hinted.informed, hinted.text], [[103], "hinted"]);
        assert(broken.error !== undefined || broken.status === 500);
        assertEquals(many, true);
      });
    }),
);

if (runtime === "deno") {
  test("Deno's own fetch talks with the server", () =>
    withServer(handler, { tls }, async (server) => {
      const deno = (globalThis as unknown as {
        Deno: {
          createHttpClient(options: object): { close(): void };
        };
      }).Deno;
      const client = deno.createHttpClient({ caCerts: [ca] });
      const url = server.url.replace("127.0.0.1", "localhost");
      const ask = async (path: string, init: object = {}) =>
        (await fetch(url + path, { client, ...init } as RequestInit)).text();
      assertEquals(await ask(""), "h2");
      const body = "x".repeat(500_000);
      assertEquals(await ask("echo", { method: "POST", body }) === body, true);
      client.close();
    }));
}
