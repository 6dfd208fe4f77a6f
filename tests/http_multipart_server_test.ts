import { execFile } from "node:child_process";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, test } from "node:test";
import { multipart, serve } from "../http/mod.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { chromium, openPage } from "./_chromium.ts";
import { rawClient, statusOf, withServer } from "./_http_raw.ts";
import { engines, needs, until, within } from "./_support.ts";

async function withFolder(run: (folder: string) => Promise<void>) {
  const folder = await mkdtemp(join(tmpdir(), "sluice-multipart-"));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function curl(...args: string[]): Promise<string> {
  return within(
    new Promise((resolve, reject) =>
      execFile(
        "curl",
        ["-sS", "--max-time", "10", ...args],
        (error, stdout) => error ? reject(error) : resolve(stdout),
      )
    ),
    12_000,
  );
}

/** Tells what it was sent. */
async function tell(request: Request): Promise<Response> {
  const seen: unknown[] = [];
  for await (const part of multipart(request)) {
    const { length } = await part.bytes();
    seen.push([part.name, part.filename ?? null, part.type, length]);
  }
  return Response.json(seen);
}

const head = "POST / HTTP/1.1\r\nhost: x\r\n" +
  "content-type: multipart/form-data; boundary=b\r\n";
const opening =
  '--b\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\n';

describe("multipart()", () => {
  for (const engine of engines) {
    test(`takes what curl uploads on the ${engine} engine`, {
      skip: needs("curl"),
    }, () =>
      withFolder(async (folder) => {
        const file = join(folder, 'qu"ote ü.bin');
        await writeFile(file, new Uint8Array(3_000_000));
        await withServer(tell, { engine }, async (server) => {
          const answer = await curl(
            "-F",
            "field=hello",
            "-F",
            `file=@"${file.replace('"', '\\"')}";type=application/x-a`,
            server.url,
          );
          assertEquals(JSON.parse(answer), [
            ["field", null, "text/plain", 5],
            ["file", 'qu"ote ü.bin', "application/x-a", 3_000_000],
          ]);
        });
      }));

    test(`takes FormData of fetch on the ${engine} engine`, () =>
      withServer(tell, { engine }, async (server) => {
        const form = new FormData();
        form.set("a", "1");
        form.set("file", new File([new Uint8Array(500_000)], "ü.bin"));
        const answer = await within(
          fetch(server.url, { method: "POST", body: form }),
        );
        const [field, file] = await answer.json();
        assertEquals([field[0], field[3]], ["a", 1]);
        assertEquals([file[1], file[3]], ["ü.bin", 500_000]);
      }));

    test(`answers in the middle of an upload on the ${engine} engine`, {
      skip: needs("curl"),
    }, () =>
      withFolder(async (folder) => {
        const file = join(folder, "large");
        await writeFile(file, new Uint8Array(8_000_000));
        await withServer(
          async (request) => {
            for await (const part of multipart(request)) {
              return new Response(part.name);
            }
            return new Response("none");
          },
          { engine },
          async (server) => {
            const answer = await curl("-F", `file=@${file}`, server.url)
              // Deno's own server may cut the rest off: then curl cannot send.
              .catch((error) => {
                if (engine === "wire") throw error;
                return "file";
              });
            assertEquals(answer, "file");
            // And it goes on to serve.
            assertEquals(await curl("-F", "x=1", server.url), "x");
          },
        );
      }));

    const failing: [string, string, number][] = [
      ["a limit", `${opening}${"x".repeat(2000)}\r\n--b--\r\n`, 413],
      ["a broken body", `${opening}x\r\n--b`, 400],
      ["no multipart body", "", 415],
    ];
    for (const [what, body, status] of failing) {
      test(`has ${status} for ${what} on the ${engine} engine`, () =>
        withServer(
          async (request) => {
            for await (const _ of multipart(request, { partSize: 1000 }));
            return new Response();
          },
          { engine },
          async (server) => {
            const client = await rawClient(server);
            client.send(
              (status === 415 ? head.replace("form-data", "mixed") : head) +
                `connection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
            );
            const text = await client.until("\r\n\r\n");
            assertEquals(statusOf(text), status);
            client.destroy();
          },
        ));
    }

    test(`is read from a page in Chromium on the ${engine} engine`, {
      skip: chromium === undefined && "not installed: chromium",
      timeout: 60_000,
    }, async () => {
      const server = await serve(
        (request) =>
          request.method === "POST"
            ? tell(request)
            : new Response("<!doctype html>", {
              headers: { "content-type": "text/html" },
            }),
        { port: 0, hostname: "127.0.0.1", engine },
      );
      const page = await openPage(server.url);
      try {
        await page.until(
          "location.protocol === 'http:' && document.readyState === 'complete'",
        );
        const seen = await page.evaluate(`(async () => {
          const form = new FormData();
          form.append("a", "1\\n2");
          form.append('na"me', new File([new Uint8Array(400000)],
            'q"ü\\n\\\\.png', { type: "image/png" }));
          form.append("empty", new File([], ""));
          const answer = await fetch("/", { method: "POST", body: form });
          return answer.json();
        })()`);
        assertEquals(seen, [
          ["a", null, "text/plain", 4],
          ['na"me', 'q"ü\n\\.png', "image/png", 400_000],
          ["empty", "", "application/octet-stream", 0],
        ]);
      } finally {
        await page.close();
        await server.close({ timeout: 0 });
      }
    });
  }
});

describe("part.save()", () => {
  test("writes a file, in place of what was there", () =>
    withFolder((folder) =>
      withServer(
        async (request) => {
          const sizes: number[] = [];
          for await (const part of multipart(request)) {
            const path = join(folder, part.name);
            sizes.push(
              await part.save(part.name === "url" ? pathToFileURL(path) : path),
            );
          }
          return Response.json(sizes);
        },
        {},
        async (server) => {
          await writeFile(join(folder, "b"), "old, and longer than the new");
          const form = new FormData();
          form.set("a", new File([new Uint8Array(300_000).fill(7)], "x"));
          form.set("b", "new");
          form.set("url", "");
          const answer = await fetch(server.url, {
            method: "POST",
            body: form,
          });
          assertEquals(await answer.json(), [300_000, 3, 0]);
          const a = await readFile(join(folder, "a"));
          assert(a.length === 300_000 && a.every((byte) => byte === 7));
          assertEquals(await readFile(join(folder, "b"), "utf8"), "new");
          assertEquals((await readdir(folder)).sort(), ["a", "b", "url"]);
        },
      )
    ));

  test("writes a file whose name is as long as one can be", () =>
    withFolder(async (folder) => {
      const name = "n".repeat(255);
      const form = new FormData();
      form.set("a", "x");
      form.set("b", "y");
      for await (const part of multipart(new Response(form))) {
        const path = join(folder, name);
        await part.save(part.name === "a" ? path : pathToFileURL(path));
      }
      assertEquals(await readdir(folder), [name]);
      assertEquals(await readFile(join(folder, name), "utf8"), "y");
    }));

  test("leaves nothing behind of a part that is cut off", () =>
    withFolder((folder) => {
      let failed: unknown;
      return withServer(
        async (request) => {
          for await (const part of multipart(request)) {
            failed = await part.save(join(folder, "file")).catch((error) =>
              error
            );
          }
          return new Response();
        },
        {},
        async (server) => {
          await writeFile(join(folder, "file"), "old");
          const client = await rawClient(server);
          client.send(`${head}content-length: 5000\r\n\r\n${opening}xxx`);
          await until(
            async () => (await readdir(folder)).length === 2,
            "A half-written file",
          );
          client.destroy();
          await until(() => failed !== undefined, "The failure");
          assert(failed instanceof Error, `${failed}`);
          assertEquals(await readdir(folder), ["file"]);
          assertEquals(await readFile(join(folder, "file"), "utf8"), "old");
        },
      );
    }));

  test("leaves nothing behind past a limit, or where it cannot write", () =>
    withFolder(async (folder) => {
      const form = new FormData();
      form.set("a", "x".repeat(100));
      for await (
        const part of multipart(new Response(form), { partSize: 99 })
      ) {
        await assertRejects(() => part.save(join(folder, "a")));
        break;
      }
      assertEquals(await readdir(folder), []);
      await mkdir(join(folder, "b"));
      for await (const part of multipart(new Response(form))) {
        await assertRejects(() => part.save(join(folder, "b")));
      }
      for await (const part of multipart(new Response(form))) {
        await assertRejects(() => part.save(join(folder, "none", "x")));
      }
      assertEquals(await readdir(folder), ["b"]);
    }));
});
