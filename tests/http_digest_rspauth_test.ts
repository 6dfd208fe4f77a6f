import { describe, test } from "node:test";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { parseParams } from "../http/_challenges.ts";
import { digest, FetchError } from "../http/mod.ts";
import { assertEquals, assertRejects } from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { bodyOf, nodeServer } from "./_http_servers.ts";

const NAMES: Record<string, string> = {
  "MD5": "md5",
  "SHA-256": "sha256",
  "SHA-512-256": "sha512-256",
};

/** What a server may say of itself, to one request. */
interface Said {
  rspauth: string;
  nc: string;
  cnonce: string;
  /** As if the body were this. */
  of(body: string, qop?: string): string;
}

/** A server that is content with any name, and says who it is itself. */
function serverOf(
  wanted: { algorithm?: string; qop?: string; body?: string | Uint8Array },
  tell: (said: Said) => string | undefined,
  fields: Record<string, string> = {},
) {
  const { algorithm = "SHA-256", qop = "auth", body = "welcome" } = wanted;
  const hash = (text: string | Uint8Array) =>
    createHash(NAMES[algorithm.replace("-sess", "")]).update(text)
      .digest("hex");
  const seen: string[] = [];
  let first: string | undefined;
  const server = nodeServer(async (request, response) => {
    await bodyOf(request);
    const { authorization } = request.headers;
    if (authorization === undefined) {
      seen.push("none");
      response.setHeader(
        "www-authenticate",
        `Digest realm="r", nonce="n", algorithm=${algorithm}` +
          (qop === "" ? "" : `, qop="${qop}"`),
      );
      response.writeHead(401).end();
      return;
    }
    const given = parseParams(authorization.slice(7))!;
    const get = (name: string) => given.get(name) ?? "";
    seen.push(get("nonce"));
    let secret = hash("Mufasa:r:Circle of Life");
    if (algorithm.endsWith("-sess")) {
      secret = first ??= hash(`${secret}:${get("nonce")}:${get("cnonce")}`);
    }
    const [nc, cnonce] = [get("nc"), get("cnonce")];
    const of = (text: string | Uint8Array, way = get("qop")) => {
      const second = way === "auth-int"
        ? hash(`:${get("uri")}:${hash(text)}`)
        : hash(`:${get("uri")}`);
      return hash(
        way === ""
          ? `${secret}:${get("nonce")}:${second}`
          : [secret, get("nonce"), nc, cnonce, way, second].join(":"),
      );
    };
    const told = tell({
      rspauth: of(request.method === "HEAD" ? "" : body),
      ...{ nc, cnonce, of },
    });
    if (told !== undefined) response.setHeader("authentication-info", told);
    response.writeHead(200, fields).end(body);
  });
  return { server, seen };
}

const me = { username: "Mufasa", password: "Circle of Life" };
const known = () => ({ use: [digest(me)] });

describe("digest() and a server that says who it is", () => {
  for (const name of Object.keys(NAMES)) {
    for (const algorithm of [name, `${name}-sess`]) {
      for (const qop of ["auth", "auth-int", ""]) {
        test(`is content with the right rspauth: ${algorithm}, "${qop}"`, () => {
          const { server, seen } = serverOf(
            { algorithm, qop },
            ({ rspauth, nc, cnonce }) =>
              `rspauth="${rspauth}"` +
              (qop === "" ? "" : `, qop=${qop}, nc=${nc}, cnonce="${cnonce}"`),
          );
          return withClient(server, async (client, { url }) => {
            for (let n = 0; n < 2; n++) {
              const text = client.get(`${url}a?b=c`).text();
              assertEquals(await text, "welcome");
            }
            const put = client.put(url, { body: "some" });
            assertEquals(await put.text(), "welcome");
            assertEquals((await client.head(url)).status, 200);
            assertEquals(seen, ["none", "n", "n", "n", "n"]);
          }, known());
        });
      }
    }
  }

  test("is content with less, and in other letters", async () => {
    const ways: ((said: Said) => string | undefined)[] = [
      () => undefined,
      () => 'nextnonce="m"',
      ({ rspauth }) => `rspauth=${rspauth}`,
      ({ rspauth }) => `RSPAUTH="${rspauth.toUpperCase()}", QOP="AUTH"`,
      ({ of }) => `rspauth="${of("welcome", "auth-int")}", qop=auth-int`,
      // What cannot be read says nothing.
      () => 'rspauth="x',
    ];
    for (const way of ways) {
      const { server } = serverOf({}, way);
      await withClient(server, async (client, { url }) => {
        assertEquals(await client.get(url).text(), "welcome");
      }, known());
    }
  });

  test("rejects when rspauth is wrong, and learns nothing of it", async () => {
    const ways: ((said: Said) => string)[] = [
      () => 'rspauth="", nextnonce="m"',
      ({ rspauth }) => `rspauth="${rspauth.slice(1)}0", nextnonce="m"`,
      ({ rspauth }) => `rspauth="${rspauth}", nc=00000009, nextnonce="m"`,
      ({ rspauth }) => `rspauth="${rspauth}", cnonce="x", nextnonce="m"`,
      ({ rspauth }) => `rspauth="${rspauth}", qop=auth-conf, nextnonce="m"`,
      ({ rspauth }) => `rspauth="${rspauth}", qop=auth-int, nextnonce="m"`,
      ({ of }) => `rspauth="${of("", "auth-int")}", qop=auth-int`,
    ];
    for (const way of ways) {
      const { server, seen } = serverOf({}, way);
      await withClient(server, async (client, { url }) => {
        for (let n = 0; n < 2; n++) {
          const error = await assertRejects(
            () => client.get(`${url}a?secret`),
            FetchError,
            "Cannot trust the answer of http://127.0.0.1:",
          );
          assertEquals(
            [error.code, error.phase, error.retryable],
            ["ERR_RSPAUTH", "response", false],
          );
          assertEquals(error.message.includes("secret"), false);
        }
        assertEquals(seen, ["none", "n", "n"]);
      }, known());
    }
  });

  test("reads the body for auth-int, and leaves it as it was", async () => {
    const big = "x".repeat(300_000);
    for (const right of [true, false]) {
      const { server } = serverOf(
        { qop: "auth-int", body: big },
        ({ rspauth, of }) =>
          `qop=auth-int, rspauth="${right ? rspauth : of("y")}"`,
      );
      await withClient(server, async (client, { url }) => {
        if (!right) {
          await assertRejects(() => client.get(url), FetchError, "rspauth");
          return;
        }
        const response = await client.get(url);
        assertEquals([response.bodyUsed, response.status], [false, 200]);
        let size = 0;
        for (const reader = response.body!.getReader();;) {
          const { done, value } = await reader.read();
          if (done) break;
          size += value.byteLength;
        }
        assertEquals(size, big.length);
      }, known());
    }
  });

  test("does not check a body that is coded, or too large", async () => {
    const tell = ({ of }: Said) => `qop=auth-int, rspauth="${of("other")}"`;
    const coded = serverOf(
      { qop: "auth-int", body: gzipSync("welcome") },
      tell,
      { "content-encoding": "gzip" },
    );
    await withClient(coded.server, async (client, { url }) => {
      assertEquals(await client.get(url).text(), "welcome");
    }, known());
    const large = new Uint8Array(16 * 1024 * 1024 + 1);
    const { server } = serverOf({ qop: "auth-int", body: large }, tell);
    await withClient(server, async (client, { url }) => {
      const bytes = await client.get(url).bytes();
      assertEquals(bytes.byteLength, large.byteLength);
    }, known());
  });
});
