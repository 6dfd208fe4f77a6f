// The wire engine's HTTP/2 with clients that are not ours: curl, nghttp and
// h2load of nghttp2, by prior knowledge (RFC 9113, 3.3) and by ALPN.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import { withServer } from "./_http_raw.ts";
import { needs } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import { Response as LightResponse, withTrailers } from "../http/mod.ts";
import type { Handler, ServeOptions } from "../http/types.ts";

const tls = { cert: pem("server.pem"), key: pem("server.key") };

const modes: [string, ServeOptions, string[]][] = [
  ["prior knowledge", { protocols: ["h2", "http/1.1"] }, [
    "--http2-prior-knowledge",
  ]],
  ["ALPN", { tls }, ["-k", "--http2"]],
];

/** Runs a tool to its end; what it printed, and its exit code. */
function run(
  name: string,
  args: string[],
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(
      name,
      args,
      { timeout: 15_000, maxBuffer: 64 << 20, encoding: "latin1" },
      (error, output) =>
        resolve({ code: Number(error?.code ?? (error ? -1 : 0)), output }),
    );
  });
}

const handler: Handler = async (request, context) => {
  const { pathname } = new URL(request.url);
  switch (pathname) {
    case "/echo":
      return new LightResponse(await request.arrayBuffer());
    case "/pipe":
      return new Response(request.body);
    case "/size":
      return new LightResponse(
        String((await request.arrayBuffer()).byteLength),
      );
    case "/trailers":
      return withTrailers(new Response("body"), { "x-sum": "7" });
    case "/hints":
      context.inform(103, { link: "</style.css>" });
      return new LightResponse("hinted");
    case "/big":
      return new LightResponse(new Uint8Array(3_000_000).fill(0x61));
    case "/fails":
      throw new Error("secret");
  }
  return new LightResponse(
    `${request.method} ${context.protocol} ${request.headers.get("cookie")}`,
    { headers: { "x-a": "1", connection: "close" } },
  );
};

for (const [mode, options, flags] of modes) {
  test(`HTTP/2 by ${mode}: curl asks for all kinds of things`, {
    skip: needs("curl"),
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-"));
    const file = join(folder, "body");
    const body = "0123456789".repeat(60_000);
    writeFileSync(file, body);
    const limits = { body: 1_000_000, target: 100 };
    try {
      await withServer(handler, { ...options, limits }, async (server) => {
        const url = server.url.slice(0, -1);
        const curl = async (...args: string[]) =>
          (await run("curl", ["-s", "--max-time", "10", ...flags, ...args]))
            .output;
        assertEquals(
          await curl("-H", "cookie: a=1", "-H", "cookie: b=2", url),
          "GET h2 a=1; b=2",
        );
        assertEquals(await curl("-X", "PURGE", `${url}/`), "PURGE h2 null");
        for (const path of ["/echo", "/pipe"]) {
          assertEquals(
            await curl("--data-binary", `@${file}`, url + path) === body,
            true,
          );
        }
        const head = await curl("-I", `${url}/big`);
        assert(head.startsWith("HTTP/2 200"), head);
        assert(head.includes("content-length: 3000000\r\n"), head);
        assertEquals(head.includes("connection"), false);
        assertEquals((await curl(`${url}/big`)).length, 3_000_000);
        assert((await curl("-i", `${url}/trailers`)).includes("x-sum: 7"));
        const hints = await curl("-i", `${url}/hints`);
        assert(hints.startsWith("HTTP/2 103"), hints);
        assert(hints.includes("HTTP/2 200"), hints);
        const status = ["-o", "/dev/null", "-w", "%{http_code}"];
        assertEquals(await curl(...status, `${url}/fails`), "500");
        assertEquals(
          await curl(...status, `${url}/${"x".repeat(100)}`),
          "414",
        );
        assertEquals(
          await curl(...status, "-H", `x-long: ${"x".repeat(17_000)}`, url),
          "431",
        );
        assertEquals(
          await curl(
            ...status,
            "-H",
            "expect: 100-continue",
            "--data-binary",
            `@${file}`,
            `${url}/size`,
          ),
          "200",
        );
        writeFileSync(file, body + body);
        assertEquals(
          await curl(...status, "--data-binary", `@${file}`, `${url}/size`),
          "413",
        );
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test(`HTTP/2 by ${mode}: h2load has all its requests answered`, {
    skip: needs("h2load"),
  }, async () => {
    await withServer(handler, options, async (server) => {
      for (const [path, count] of [["", 2000], ["big", 20]] as const) {
        const { code, output } = await run("h2load", [
          ...[`-n${count}`, "-c4", "-m50"],
          server.url + path,
        ]);
        assertEquals(code, 0);
        assert(output.includes(`${count} succeeded, 0 failed`), output);
        assert(output.includes(`${count} 2xx`), output);
      }
    });
  });
}

test("HTTP/2: nghttp uploads, and shares a connection", {
  skip: needs("nghttp"),
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  const file = join(folder, "body");
  writeFileSync(file, "x".repeat(500_000));
  try {
    const options: ServeOptions = { protocols: ["h2"] };
    await withServer(handler, options, async (server) => {
      const upload = await run("nghttp", [
        ...["-d", file, `${server.url}size`],
      ]);
      assertEquals(upload, { code: 0, output: "500000" });
      const many = await run("nghttp", ["-nv", "-m20", `${server.url}big`]);
      assertEquals(many.code, 0);
      assertEquals(many.output.split(":status: 200").length - 1, 20);
      assertEquals(many.output.includes("RST_STREAM"), false);
      assertEquals(server.stats().accepted, 2);
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
