import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { describe, test } from "node:test";
import { parseChallenges, parseParams } from "../http/_challenges.ts";
import { chooseChallenge, DigestAnswers } from "../http/_digest.ts";
import { md5 } from "../http/_md5.ts";
import { Client, digest, retry } from "../http/mod.ts";
import type { ClientOptions, DigestOptions } from "../http/mod.ts";
import { sha512t256 } from "../http/_sha512_256.ts";
import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { bodyOf, nodeServer } from "./_http_servers.ts";
import { needs, within } from "./_support.ts";

const NAMES: Record<string, string> = {
  "MD5": "md5",
  "SHA-256": "sha256",
  "SHA-512-256": "sha512-256",
};

/** What a server of a test wants. */
interface Wanted {
  algorithm?: string;
  qop?: string;
  realm?: string;
  username?: string;
  password?: string;
  userhash?: boolean;
  utf8?: boolean;
  domain?: string;
  /** Requests that a nonce is good for. */
  uses?: number;
  /** Whether it says the next nonce in its answers. */
  next?: boolean;
  /** More before, or after, its challenge. */
  before?: string;
  after?: string;
  /** Answers for all that is let in, and by path for what needs no name. */
  open?: Record<string, { status: number; location: string }>;
}

/** A server of its own making: it checks every part of what it is told. */
function digestServer(wanted: Wanted = {}) {
  const { algorithm, qop = "auth", realm = "here" } = wanted;
  const { username = "Mufasa", password = "Circle of Life" } = wanted;
  const base = (algorithm ?? "MD5").replace("-sess", "");
  // What fields hold is bytes, to both sides.
  const hash = (text: string) =>
    createHash(NAMES[base]).update(text, "latin1").digest("hex");
  const utf8 = (text: string) =>
    String.fromCharCode(...new TextEncoder().encode(text));
  const nonces = new Map<string, { count: number; secret?: string }>();
  const seen: string[] = [];
  const fresh = () => {
    const nonce = randomBytes(8).toString("base64");
    nonces.set(nonce, { count: 0 });
    return nonce;
  };
  const check = (request: IncomingMessage, body: string): string => {
    const field = request.headers.authorization;
    if (field === undefined) return "none";
    const given: Record<string, string> = {};
    for (
      const [, name, quoted, token] of field.slice(7).matchAll(
        /([\w*]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]*))(?:, |$)/g,
      )
    ) given[name] = quoted?.replace(/\\(.)/g, "$1") ?? token;
    const nonce = nonces.get(given.nonce);
    if (nonce === undefined) return "stale";
    const user = wanted.userhash
      ? hash(`${utf8(username)}:${realm}`)
      : /^[ -~]*$/.test(username)
      ? username
      : encodeURIComponent(username);
    const named = given["username*"]?.replace("UTF-8''", "") ?? given.username;
    if (named !== user || given.realm !== realm) return "wrong name";
    if (given.uri !== request.url) return "wrong uri";
    if (given.opaque !== 'o"p\\q') return "wrong opaque";
    if (given.algorithm !== algorithm) return "wrong algorithm";
    let secret = nonce.secret ??
      hash(`${utf8(username)}:${realm}:${utf8(password)}`);
    if (algorithm?.endsWith("-sess") && nonce.secret === undefined) {
      secret = hash(`${secret}:${given.nonce}:${given.cnonce}`);
      nonce.secret = secret;
    }
    const count = parseInt(given.nc ?? "0", 16);
    if (qop !== "") {
      if (!/^[0-9a-f]{8}$/.test(given.nc) || given.cnonce === undefined) {
        return "no count";
      }
      if (count <= nonce.count) return "replay";
      if (count > (wanted.uses ?? Infinity)) return "stale";
      if (!qop.split(/, */).includes(given.qop)) return "wrong qop";
    }
    nonce.count = count;
    const target = `${request.method}:${request.url}`;
    const second = hash(
      given.qop === "auth-int" ? `${target}:${hash(body)}` : target,
    );
    const right = hash(
      qop === "" ? `${secret}:${given.nonce}:${second}` : [
        ...[secret, given.nonce, given.nc, given.cnonce, given.qop, second],
      ].join(":"),
    );
    return right === given.response ? "ok" : "wrong";
  };
  const server = nodeServer(async (request, response) => {
    const body = await bodyOf(request);
    const open = wanted.open?.[request.url!];
    if (open !== undefined) {
      seen.push(
        `open ${request.headers.authorization === undefined ? "none" : "told"}`,
      );
      response.writeHead(open.status, { location: open.location }).end();
      return;
    }
    const verdict = check(request, body);
    seen.push(verdict);
    if (verdict === "wrong uri") {
      response.writeHead(400).end("uri");
    } else if (verdict === "ok") {
      if (wanted.next) {
        const nonce = fresh();
        const old = /nonce="([^"]*)"/.exec(request.headers.authorization!)![1];
        nonces.get(nonce)!.secret = nonces.get(old)!.secret;
        response.setHeader(
          "authentication-info",
          `nextnonce="${nonce}", qop=auth`,
        );
      }
      response.end(`${request.method} ${body}`);
    } else {
      const parts = [
        `realm="${realm}"`,
        `nonce="${fresh()}"`,
        'opaque="o\\"p\\\\q"',
        algorithm && `algorithm=${algorithm}`,
        qop && `qop="${qop}"`,
        verdict === "stale" && "stale=true",
        wanted.userhash && "userhash=true",
        wanted.utf8 && "charset=UTF-8",
        wanted.domain && `domain="${wanted.domain}"`,
      ].filter(Boolean).join(", ");
      const { before = "", after = "" } = wanted;
      response.setHeader(
        "www-authenticate",
        `${before}Digest ${parts}${after}`,
      );
      response.writeHead(401).end("who?");
    }
  });
  return { server, seen };
}

const me: DigestOptions = { username: "Mufasa", password: "Circle of Life" };

function using(
  options: Partial<DigestOptions> = {},
  more: ClientOptions = {},
): ClientOptions {
  return { ...more, use: [...more.use ?? [], digest({ ...me, ...options })] };
}

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

describe("digest", () => {
  test("has hashes that agree with those of node:crypto", () => {
    for (let size = 0; size < 300; size++) {
      const bytes = new Uint8Array(size).map((_, i) => i * 7 + size);
      const of = (name: string) => createHash(name).update(bytes).digest("hex");
      assertEquals(hexOf(md5(bytes)), of("md5"));
      assertEquals(hexOf(sha512t256(bytes)), of("sha512-256"));
    }
  });

  test("answers the first example of RFC 7616 (3.9.1)", async () => {
    const challenges = ["SHA-256", "MD5"].map((algorithm) =>
      `Digest realm="http-auth@example.org", qop="auth, auth-int", ` +
      `algorithm=${algorithm}, ` +
      `nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", ` +
      `opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
    ).join(", ");
    const answers = {
      "SHA-256":
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
      "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    };
    for (const [algorithm, answer] of Object.entries(answers)) {
      const allowed = new Set(
        algorithm === "MD5" ? ["MD5"] : ["MD5", "SHA-256"],
      );
      const challenge = chooseChallenge(challenges, allowed)!;
      const header = await new DigestAnswers(challenge, me).header({
        method: "GET",
        uri: "/dir/index.html",
        nonce: challenge.nonce,
        cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        count: 1,
        body: new Uint8Array(0),
      });
      assertEquals(
        Object.fromEntries(parseChallenges(header)[0].params),
        {
          username: "Mufasa",
          realm: "http-auth@example.org",
          uri: "/dir/index.html",
          algorithm,
          nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
          nc: "00000001",
          cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
          qop: "auth",
          response: answer,
          opaque: "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
        },
      );
      // Tokens are sent as such, and the rest in quotes (3.4).
      assertStringIncludes(header, `algorithm=${algorithm}, `);
      assertStringIncludes(header, "qop=auth, nc=00000001");
    }
  });

  test("answers the second example of RFC 7616 (3.9.2), as its erratum has it", async () => {
    const challenge = (userhash: boolean) =>
      chooseChallenge(
        `Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, ` +
          `nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", ` +
          `opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", ` +
          `charset=UTF-8, userhash=${userhash}`,
        new Set(["SHA-512-256"]),
      )!;
    const user = { username: "Ja\u0308søn Doe", password: "Secret, or not?" };
    const header = (userhash: boolean) =>
      new DigestAnswers(challenge(userhash), user).header({
        method: "GET",
        uri: "/doe.json",
        nonce: "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
        count: 1,
        body: new Uint8Array(0),
      });
    const hashed = parseChallenges(await header(true))[0].params;
    assertEquals(
      [hashed.get("username"), hashed.get("response"), hashed.get("userhash")],
      [
        "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b",
        "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
        "true",
      ],
    );
    const plain = await header(false);
    assertStringIncludes(plain, "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe,");
    assertEquals(plain.includes("userhash"), false);
  });

  for (const name of ["MD5", "SHA-256", "SHA-512-256"]) {
    for (const algorithm of [name, `${name}-sess`]) {
      for (const qop of ["auth", "auth-int", "auth-int, auth", ""]) {
        test(`is let in with ${algorithm} and qop "${qop}"`, () => {
          const { server, seen } = digestServer({ algorithm, qop });
          return withClient(server, async (client, { url }) => {
            assertEquals(await client.get(`${url}a?b=c%20d`).text(), "GET ");
            const response = client.put(url, { body: "some text" });
            assertEquals(await response.text(), "PUT some text");
            const json = client.post(`${url}x`, { json: { a: 1 } });
            assertEquals(await json.text(), 'POST {"a":1}');
            // Only the first one is asked who it is.
            assertEquals(seen, ["none", "ok", "ok", "ok"]);
          }, using());
        });
      }
    }
  }

  test("is let in without algorithm, and with userhash and UTF-8", async () => {
    const names: Wanted[] = [
      {},
      { userhash: true },
      { username: "Jäsøn Doe", password: "Gehëim €", utf8: true },
      { username: "Jäsøn Doe", userhash: true, utf8: true },
      { username: 'a"b\\c' },
      { realm: "Räume" },
    ];
    for (const wanted of names) {
      const { server, seen } = digestServer(wanted);
      const { username = me.username, password = me.password } = wanted;
      await withClient(server, async (client, { url }) => {
        assertEquals(await client.get(url).text(), "GET ");
        assertEquals(seen, ["none", "ok"]);
      }, using({ username, password }));
    }
  });

  test("gives the 401 to the caller when the password is wrong", () => {
    const { server, seen } = digestServer();
    return withClient(server, async (client, { url }) => {
      for (let n = 1; n <= 2; n++) {
        const response = await client.get(url);
        assertEquals(response.status, 401);
        assertEquals(await response.text(), "who?");
        assertEquals(seen.length, 2 * n);
      }
      assertEquals(seen, ["none", "wrong", "none", "wrong"]);
    }, using({ password: "Hakuna Matata" }));
  });

  test("goes with a new nonce when the old one is stale", () => {
    const { server, seen } = digestServer({ uses: 2 });
    return withClient(server, async (client, { url }) => {
      for (let n = 0; n < 5; n++) {
        assertEquals((await client.get(url)).ok, true);
      }
      assertEquals(seen, [
        ...["none", "ok", "ok", "stale", "ok", "ok", "stale", "ok"],
      ]);
    }, using());
  });

  test("takes the next nonce from Authentication-Info", async () => {
    for (const algorithm of ["SHA-256", "MD5-sess"]) {
      const { server, seen } = digestServer({ next: true, uses: 1, algorithm });
      await withClient(server, async (client, { url }) => {
        for (let n = 0; n < 4; n++) {
          assertEquals(await client.get(url).text(), "GET ");
        }
        assertEquals(seen, ["none", "ok", "ok", "ok", "ok"]);
      }, using());
    }
  });

  test("ends after three, whatever a server wants", () => {
    let calls = 0;
    const server = nodeServer((_request, response) => {
      const nonce = `nonce="${calls++}"`;
      response.setHeader(
        "www-authenticate",
        `Digest realm="r", qop="auth", stale=true, ${nonce}`,
      );
      response.writeHead(401).end();
    });
    return withClient(server, async (client, { url }) => {
      assertEquals((await client.get(url)).status, 401);
      assertEquals(calls, 3);
    }, using());
  });

  test("counts for many at once", () => {
    const { server, seen } = digestServer({ algorithm: "SHA-256" });
    return withClient(server, async (client, { url }) => {
      await client.get(url).text();
      // One connection: they arrive in their order.
      const texts = await Promise.all(
        Array.from({ length: 20 }, () => client.get(url).text()),
      );
      assertEquals(texts.every((text) => text === "GET "), true);
      assertEquals(seen.filter((verdict) => verdict === "ok").length, 21);
    }, using({}, { pool: { perHost: 1 } }));
  });

  test("chooses among several challenges, also in one field", () => {
    const { server, seen } = digestServer({
      algorithm: "SHA-256",
      before:
        'Basic realm="a, b=\\"c", Negotiate abc==, Digest realm="x", nonce="y", algorithm=SHA3-256, NTLM, ',
      after: ", , Bearer",
    });
    return withClient(server, async (client, { url }) => {
      assertEquals(await client.get(url).text(), "GET ");
      assertEquals(seen, ["none", "ok"]);
    }, using());
  });

  test("leaves challenges alone that it does not answer", async () => {
    const challenges = [
      'Basic realm="x"',
      'Digest realm="x"',
      'Digest nonce="x"',
      'Digest realm="x", nonce="y", algorithm=FOO',
      'Digest realm="x", nonce="y", qop="auth-conf"',
      'Digest realm="x", nonce="y", algorithm=MD5',
      'Digest realm="x", nonce="y", realm="x", algorithm=SHA-256',
      'Digest realm="x", nonce="y',
      'Digest realm="x" nonce="y"',
      'Digest realm=, nonce="y"',
    ];
    for (const challenge of challenges) {
      let calls = 0;
      const server = nodeServer((_request, response) => {
        calls++;
        response.setHeader("www-authenticate", challenge);
        response.writeHead(401).end("no");
      });
      await withClient(server, async (client, { url }) => {
        assertEquals(await client.get(url).text(), "no");
        assertEquals(calls, 1, challenge);
      }, using({ algorithms: ["SHA-256"] }));
    }
  });

  test("leaves other origins and an Authorization of one's own alone", async () => {
    const { server, seen } = digestServer();
    await withClient(server, async (client, { url }) => {
      const headers = { authorization: "Bearer x" };
      assertEquals((await client.get(url, { headers })).status, 401);
      assertEquals(seen, ["stale"]);
    }, using());
    const other = digestServer();
    await withClient(other.server, async (client, { url }) => {
      assertEquals((await client.get(url)).status, 401);
      assertEquals(other.seen, ["none"]);
    }, using({ origins: ["http://127.0.0.1:1"] }));
    const mine = digestServer();
    const there = await mine.server;
    await withClient(mine.server, async (client, { url }) => {
      assertEquals((await client.get(`${url}a`)).status, 200);
    }, using({ origins: [`${there.url}any`] }));
  });

  test("gives nothing to another origin that a redirect leads to", async () => {
    const other = digestServer();
    const there = await other.server;
    const { server, seen } = digestServer({
      open: { "/out": { status: 307, location: `${there.url}x` } },
    });
    await withClient(server, async (client, { url }) => {
      await client.get(url).text();
      const response = await client.get(`${url}out`);
      assertEquals(response.status, 401);
      assertEquals(response.url, `${there.url}x`);
      assertEquals(seen, ["none", "ok", "open told"]);
      assertEquals(other.seen, ["none"]);
    }, using());
    await there.close();
  });

  test("answers for where a redirect of the same origin leads", () => {
    const open = {
      "/moved": { status: 307, location: "/there?x=1" },
      "/see": { status: 303, location: "/there" },
    };
    const { server, seen } = digestServer({ open });
    return withClient(server, async (client, { url }) => {
      const first = await client.put(`${url}moved`, { body: "x" });
      assertEquals(await first.text(), "PUT x");
      assertEquals(seen.splice(0), ["open none", "none", "ok"]);
      const second = await client.put(`${url}moved`, { body: "y" });
      assertEquals(await second.text(), "PUT y");
      assertEquals(seen.splice(0), ["open told", "wrong uri", "ok"]);
      const third = await client.post(`${url}see`, { body: "z" });
      assertEquals(await third.text(), "GET ");
      assertEquals(seen.splice(0), ["open told", "wrong uri", "ok"]);
    }, using());
  });

  test("tells only those paths at once that the domain names", () => {
    const { server, seen } = digestServer({
      domain: "/a http://127.0.0.1:1/ /c/d",
    });
    return withClient(server, async (client, { url }) => {
      for (const path of ["a", "a/x?y", "c/d/e", "b", "c"]) {
        assertEquals((await client.get(url + path)).status, 200);
      }
      assertEquals(seen, [
        ...["none", "ok", "ok", "ok", "none", "ok", "none", "ok"],
      ]);
    }, using());
  });

  test("sends a body that is a stream but once", () => {
    const { server, seen } = digestServer();
    return withClient(server, async (client, { url }) => {
      const send = () =>
        client.put(url, { body: new Blob(["some text"]).stream() });
      assertEquals((await send()).status, 401);
      assertEquals(seen, ["none"]);
      // Now the server is known.
      assertEquals(await send().text(), "PUT some text");
      assertEquals(seen, ["none", "ok"]);
    }, using());
  });

  test("sends a Blob again, and hashes it for auth-int", () => {
    const { server, seen } = digestServer({ qop: "auth-int" });
    return withClient(server, async (client, { url }) => {
      const body = new Blob(["x".repeat(100_000)]);
      const text = await client.put(url, { body }).text();
      assertEquals(text.length, 100_004);
      assertEquals(seen, ["none", "ok"]);
    }, using());
  });

  test("goes together with retry, and leaves the request as it was", () => {
    const { server, seen } = digestServer();
    return withClient(
      server,
      async (client, { url }) => {
        const request = new Request(url, { headers: { "x-a": "b" } });
        assertEquals((await client.fetch(request)).status, 200);
        assertEquals(request.headers.has("authorization"), false);
        assertEquals(seen, ["none", "ok"]);
      },
      using({}, {
        use: [
          retry({ delay: 0 }),
          async (request, next) => {
            const response = await next(request);
            assertEquals(request.headers.has("authorization"), false);
            return response;
          },
        ],
      }),
    );
  });

  test("ends with the signal's reason", () => {
    const controller = new AbortController();
    let calls = 0;
    const server = nodeServer((_request, response) => {
      if (++calls === 2) {
        controller.abort(new Error("enough"));
        return;
      }
      response.setHeader("www-authenticate", 'Digest realm="x", nonce="y"');
      response.writeHead(401).end();
    });
    return withClient(server, async (client, { url }) => {
      let failed: unknown;
      await client.get(url, { signal: controller.signal })
        .catch((error: unknown) => failed = error);
      assertEquals((failed as Error).message, "enough");
    }, using());
  });

  test("refuses options that make no sense", () => {
    const bad: unknown[] = [
      {},
      { username: "x" },
      { ...me, username: "a:b" },
      { ...me, algorithms: ["SHA-1"] },
      { ...me, origins: ["nowhere"] },
      { ...me, realm: "x" },
    ];
    for (const options of bad) {
      assertThrows(() => digest(options as DigestOptions), TypeError);
    }
  });

  for (const algorithm of ["MD5", "SHA-256", "MD5-sess", "SHA-256-sess"]) {
    test(`has a server in these tests that curl agrees with: ${algorithm}`, {
      skip: needs("curl"),
    }, async () => {
      const { server, seen } = digestServer({ algorithm });
      const there = await server;
      try {
        const args = ["-s", "--noproxy", "*", "--digest", "-u"];
        args.push(`${me.username}:${me.password}`, `${there.url}a?b`);
        const out = await within(
          new Promise((resolve, reject) =>
            execFile(
              "curl",
              args,
              (error, stdout) => error ? reject(error) : resolve(stdout),
            )
          ),
        );
        assertEquals(out, "GET ");
        assertEquals(seen, ["none", "ok"]);
      } finally {
        await there.close();
      }
    });
  }
});

describe("parseChallenges()", () => {
  const read = (text: string) =>
    parseChallenges(text).map(({ scheme, params }) => [
      scheme,
      Object.fromEntries(params),
    ]);

  test("reads schemes with parameters, with a token and with nothing", () => {
    assertEquals(read("Basic"), [["basic", {}]]);
    assertEquals(read(" , Basic , , NTLM ,"), [["basic", {}], ["ntlm", {}]]);
    assertEquals(read("A b=c"), [["a", { b: "c" }]]);
    assertEquals(read("A b"), [["a", {}]]);
    assertEquals(read("A b="), [["a", {}]]);
    assertEquals(read("A b==, C d=e"), [["a", {}], ["c", { d: "e" }]]);
    assertEquals(read('A  b = "c\\"," , D="e"'), [[
      "a",
      { b: 'c",', d: "e" },
    ]]);
    assertEquals(read('A b="", C, D e=f, g=h'), [
      ["a", { b: "" }],
      ["c", {}],
      ["d", { e: "f", g: "h" }],
    ]);
  });

  test("reads nothing of what is malformed or too much", () => {
    for (
      const text of [
        "=",
        "A b=c d",
        "A b=c; d=e",
        'A b="c',
        'A b="c\\',
        'A b="c"d',
        "A b=c, b=d",
        "A b=c, B=d",
        "A b=(c)",
        "A\tb=c",
        '"A"',
        "A b=c, d=",
        "A ".repeat(3),
        Array.from({ length: 33 }, (_, i) => `A${i}`).join(),
        `A ${Array.from({ length: 33 }, (_, i) => `a${i}=b`).join()}`,
        `A b="${"c".repeat(17_000)}"`,
      ]
    ) assertEquals(read(text), [], text.slice(0, 50));
    assertEquals(parseChallenges(null), []);
  });

  test("reads parameters alone", () => {
    assertEquals(
      Object.fromEntries(parseParams('nextnonce="a", , nc=1')!),
      { nextnonce: "a", nc: "1" },
    );
    assertEquals(parseParams("a"), undefined);
    assertEquals(parseParams("a=b c=d"), undefined);
    assertEquals(parseParams(null), undefined);
  });

  test("never hangs, whatever it is given", () => {
    const parts = ["A", " ", ",", "=", '"', "\\", "b", "\t", "(", "é"];
    let state = 1;
    for (let n = 0; n < 20_000; n++) {
      let text = "";
      for (let i = 0; i < 12; i++) {
        state = (state * 1103515245 + 12345) % 2 ** 31;
        text += parts[(state >> 8) % parts.length];
      }
      const list = parseChallenges(text);
      assert(list.length <= 12);
      parseParams(text);
    }
    new Client();
  });
});
