import express from "express";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { after, before, describe, test } from "node:test";
import { CookieJar, fromNodeListener, serve } from "../http/mod.ts";
import { Client } from "../http/mod.ts";
import type { HttpServer } from "../http/mod.ts";
import { assert, assertEquals, assertStringIncludes } from "./assert.ts";
import { bodyOf, exchange, get, rawClient, statusOf } from "./_http_raw.ts";
import { engines, until, within } from "./_support.ts";

/** As much of Express as is used here. */
interface Req extends Readable {
  body: unknown;
  ip: string;
  protocol: string;
  hostname: string;
  query: Record<string, string>;
  params: Record<string, string>;
  fresh: boolean;
  get(name: string): string | undefined;
}
interface Res {
  headersSent: boolean;
  json(value: unknown): void;
  send(value: unknown): Res;
  status(code: number): Res;
  type(type: string): Res;
  cookie(name: string, value: string, options?: object): Res;
  redirect(to: string): void;
  sendFile(path: string, options?: object): void;
  sendStatus(code: number): void;
  download(path: string, name: string): void;
  write(text: string): boolean;
  end(text?: string): void;
  on(event: string, listener: () => void): void;
}
type Next = (error?: unknown) => void;

const text = "0123456789".repeat(20_000);

function makeApp(root: string, seen: string[]) {
  const app = express();
  app.use(express.json({ limit: "10kb" }));
  app.use(express.urlencoded({ extended: true }));
  app.use("/static", express.static(root, { index: "index.html" }));
  app.get("/hello", (_req: Req, res: Res) => res.send("hello"));
  app.get("/user/:id", (req: Req, res: Res) =>
    res.json({
      id: req.params.id,
      q: req.query.q,
      ip: req.ip,
      host: req.hostname,
      protocol: req.protocol,
    }));
  app.post("/echo", (req: Req, res: Res) => res.status(201).json(req.body));
  app.post("/length", (req: Req, res: Res) => {
    let length = 0;
    req.on("data", (chunk: Uint8Array) => length += chunk.length);
    req.on("end", () => res.json({ length }));
  });
  app.get(
    "/file",
    (_req: Req, res: Res) => res.sendFile(join(root, "text.txt")),
  );
  app.get(
    "/download",
    (_req: Req, res: Res) => res.download(join(root, "text.txt"), "a b.txt"),
  );
  app.get(
    "/login",
    (_req: Req, res: Res) =>
      res.cookie("session", "one", { httpOnly: true }).cookie("b", "2")
        .redirect("/who"),
  );
  app.get(
    "/who",
    (req: Req, res: Res) => res.send(req.get("cookie") ?? "nobody"),
  );
  app.get("/stream", (_req: Req, res: Res) => {
    res.type("text");
    Readable.from(["one ", "two ", "three"]).pipe(res as never);
  });
  app.get("/pipeline", async (_req: Req, res: Res) => {
    await pipeline(Readable.from(["a", "b", "c"]), res as never);
  });
  app.get("/throw", () => {
    throw new Error("secret");
  });
  app.get("/reject", async () => {
    await Promise.resolve();
    throw new Error("secret");
  });
  app.get("/slow", (_req: Req, res: Res) => {
    res.on("close", () => seen.push("closed"));
    seen.push("slow");
  });
  app.get("/late", (_req: Req, res: Res) => {
    res.write("half");
    setTimeout(() => res.end(), 1);
  });
  app.get("/status", (_req: Req, res: Res) => res.sendStatus(418));
  app.use((error: { status?: number }, _req: Req, res: Res, next: Next) => {
    if (res.headersSent) return next(error);
    res.status(error.status ?? 500).send("failed");
  });
  return app;
}

for (const engine of engines) {
  describe(`fromNodeListener() of an Express app on the ${engine} engine`, () => {
    let root = "";
    let server!: HttpServer;
    const seen: string[] = [];

    before(async () => {
      root = await mkdtemp(join(tmpdir(), "sluice-express-"));
      await writeFile(join(root, "text.txt"), text);
      await writeFile(join(root, "index.html"), "<p>index</p>");
      server = await serve(fromNodeListener(makeApp(root, seen)), {
        hostname: "127.0.0.1",
        port: 0,
        engine,
      });
    });
    after(async () => {
      await within(server.close({ timeout: 0 }));
      await rm(root, { recursive: true });
    });
    const ask = (path: string, init?: RequestInit) =>
      within(fetch(server.url + path, init));

    test("sends text with its tag, and 304 for it", async () => {
      const response = await ask("hello");
      assertEquals(response.headers.get("content-length"), "5");
      assertEquals(
        response.headers.get("content-type"),
        "text/html; charset=utf-8",
      );
      assertEquals(await response.text(), "hello");
      const again = await exchange(
        server,
        get("/hello", `if-none-match: ${response.headers.get("etag")}\r\n`),
      );
      assertEquals(statusOf(again), 304);
    });

    test("tells of the request", async () => {
      const response = await ask("user/7?q=a%20b");
      assertEquals(await response.json(), {
        id: "7",
        q: "a b",
        ip: "127.0.0.1",
        host: "127.0.0.1",
        protocol: "http",
      });
    });

    test("parses JSON and forms, within limits", async () => {
      const post = (type: string, body: string) =>
        ask("echo", {
          method: "POST",
          headers: { "content-type": type },
          body,
        });
      const json = await post("application/json", '{"a":[1]}');
      assertEquals(json.status, 201);
      assertEquals(await json.json(), { a: [1] });
      const form = await post("application/x-www-form-urlencoded", "a=1&b=2");
      assertEquals(await form.json(), { a: "1", b: "2" });
      const bad = await post("application/json", '{"a":');
      assertEquals([bad.status, await bad.text()], [400, "failed"]);
      const long = await post("application/json", `"${"x".repeat(20_000)}"`);
      assertEquals([long.status, await long.text()], [413, "failed"]);
    });

    test("reads an upload", async () => {
      const response = await ask("length", { method: "POST", body: text });
      assertEquals(await response.json(), { length: text.length });
    });

    test("sends files, ranges and conditions", async () => {
      for (const path of ["file", "static/text.txt"]) {
        const whole = await ask(path);
        // Bun.serve sends streams in chunks.
        if (engine === "wire") {
          assertEquals(whole.headers.get("content-length"), `${text.length}`);
        }
        assertEquals(await whole.text(), text);
        const part = await ask(path, { headers: { range: "bytes=5-14" } });
        assertEquals(part.status, 206);
        assertEquals(await part.text(), "5678901234");
        const since = whole.headers.get("last-modified")!;
        const same = await exchange(
          server,
          get(`/${path}`, `if-modified-since: ${since}\r\n`),
        );
        assertEquals(statusOf(same), 304);
        const head = await ask(path, { method: "HEAD" });
        assertEquals(head.status, 200);
        assertEquals(await head.text(), "");
      }
      assertEquals(await (await ask("static/")).text(), "<p>index</p>");
      const gone = await ask("static/none.txt");
      assertEquals(gone.status, 404);
      await gone.text();
      const file = await ask("download");
      assertStringIncludes(
        file.headers.get("content-disposition")!,
        'filename="a b.txt"',
      );
      assertEquals((await file.text()).length, text.length);
    });

    test("keeps cookies over a redirection", async () => {
      const client = new Client({ cookies: new CookieJar() });
      try {
        const response = await within(client.get(`${server.url}login`));
        assertEquals(await response.text(), "session=one; b=2");
      } finally {
        await client.close();
      }
    });

    test("streams", async () => {
      assertEquals(await (await ask("stream")).text(), "one two three");
      assertEquals(await (await ask("pipeline")).text(), "abc");
      assertEquals(await (await ask("late")).text(), "half");
    });

    test("answers for what fails", async () => {
      for (const path of ["throw", "reject"]) {
        const response = await ask(path);
        assertEquals([response.status, await response.text()], [500, "failed"]);
      }
      const teapot = await ask("status");
      assertEquals([teapot.status, await teapot.text()], [418, "I'm a Teapot"]);
      const none = await ask("none");
      assertEquals(none.status, 404);
      assertStringIncludes(await none.text(), "Cannot GET /none");
    });

    test("hears of a client that leaves", async () => {
      const client = await rawClient(server);
      client.send(get("/slow"));
      await until(() => seen.includes("slow"));
      client.destroy();
      await until(() => seen.includes("closed"), "The close", 10_000);
    });

    test("answers many on one connection", async () => {
      const client = await rawClient(server);
      for (let i = 1; i <= 20; i++) {
        client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n");
        await client.until("\r\n\r\nhello", i);
      }
      client.destroy();
    });

    test("is a part of a handler", async () => {
      const text = await exchange(server, get("/hello"));
      assert(/x-powered-by: Express/i.test(text), text);
      assertEquals(bodyOf(text), "hello");
    });
  });
}
