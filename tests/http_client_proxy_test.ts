import { describe, test } from "node:test";
import process from "node:process";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { needs, within } from "./_support.ts";
import { answering, LOCAL, noSocketLeft, proxy, scripted } from "./_proxies.ts";
import type { Told } from "./_proxies.ts";
import { microsocks, tinyproxy } from "./_proxy_peers.ts";
import { pem } from "./_tls_support.ts";
import {
  Client,
  DnsError,
  FetchError,
  ProxyError,
  serve,
  TimeoutError,
} from "../http/mod.ts";
import type { ClientInit, ClientOptions, HttpServer } from "../http/mod.ts";
import { proxiesOfEnv, proxyFor } from "../http/_client_proxy.ts";
import { isDirect, noProxyOf } from "../http/_no_proxy.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CREDENTIALS = "Basic dTpw"; // u:p

/** A server that tells what it was asked. */
function origin(tls = false): Promise<HttpServer> {
  return serve((request) =>
    Response.json({
      url: request.url,
      secret: request.headers.get("proxy-authorization"),
      x: request.headers.get("x-way"),
    }), {
    hostname: LOCAL,
    port: 0,
    ...(tls
      ? { tls: { cert: pem("server.pem"), key: pem("server.key") } }
      : {}),
  });
}

const portOf = (server: HttpServer) => Number(new URL(server.url).port);

/** A proxy that answers whatever it is handed. */
function forward(answer = OK): Promise<Told> {
  return scripted((socket) => {
    socket.on("data", () => socket.write(answer));
  });
}

/** Runs with a client and what else is to be closed. */
async function using(
  options: ClientOptions,
  run: (client: Client) => Promise<unknown>,
  ...others: { close(options?: { timeout: number }): Promise<void> }[]
): Promise<void> {
  const client = new Client(options);
  try {
    await within(run(client), 20_000, "The test");
  } finally {
    await client.close({ timeout: 0 });
    for (const other of others) await other.close({ timeout: 0 });
  }
}

describe("http client proxy", () => {
  test("`proxy` http: is handed requests for http: URLs, in absolute form", async () => {
    const there = await forward();
    const at = `http://u:p@${LOCAL}:${there.port}`;
    await using({ proxy: at, headers: { "x-own": "1" } }, async (client) => {
      const url = "http://name.test:8080/path?a=1#hash";
      assertEquals(await client.get(url).text(), "ok");
      const response = await client.post("http://name.test", {
        body: "b",
        headers: { "x-two": "2" },
        proxy: { url: at, headers: { "x-way": "out", "x-two": "not" } },
      });
      await response.text();
      const { headers } = response.request;
      assertEquals([headers.get("proxy-authorization"), headers.get("x-way")], [
        null,
        null,
      ]);
      assertEquals(
        there.heads[0].replace(/\r\naccept.*/s, ""),
        "GET http://name.test:8080/path?a=1 HTTP/1.1\r\nhost: name.test:8080" +
          `\r\nproxy-authorization: ${CREDENTIALS}\r\nx-own: 1`,
      );
      assertMatch(there.heads[1], /^POST http:\/\/name\.test\/ HTTP\/1\.1\r\n/);
      assertMatch(there.heads[1], /\r\nx-two: 2\r\n/);
      assertMatch(there.heads[1], /\r\nx-way: out\r\n/);
      assert(!there.heads[1].includes("not"));
    }, there);
  });

  test("`proxy` is used again, and shared only by requests that have it, too", async () => {
    const there = await forward();
    const at = (user: string) => `http://${user}@${LOCAL}:${there.port}`;
    await using({ proxy: at("a:p") }, async (client) => {
      const url = "http://name.test/";
      for (let i = 0; i < 3; i++) await client.get(url).text();
      assertEquals(there.taken, 1);
      await client.get(url, { proxy: at("b:p") }).text();
      assertEquals(there.taken, 2);
      await client.get(url, { proxy: new URL(at("a:p")) }).text();
      await client.get(url, { proxy: { url: at("b:p") } }).text();
      assertEquals(there.taken, 2);
      await client.get(url, {
        proxy: { url: at("b:p"), headers: { "x-way": "1" } },
      }).text();
      assertEquals(there.taken, 3);
      const { hosts } = client.stats();
      assertEquals(Object.keys(hosts).length, 3);
      assert(!/:p@|a:p|b:p/.test(JSON.stringify(hosts)));
    }, there);
  });

  test("`proxy` https: is spoken to over TLS, for http: URLs, too", async () => {
    const there = await serve((request) => new Response(request.url), {
      hostname: LOCAL,
      port: 0,
      tls: { cert: pem("server.pem"), key: pem("server.key") },
    });
    const way = {
      url: `https://localhost:${portOf(there)}`,
      tls: { ca: pem("ca.pem") },
    };
    await using({ proxy: way }, async (client) => {
      const text = await client.get("http://name.test/x").text();
      assertMatch(text, /name\.test\/x$/);
    }, there);
  });

  for (const kind of ["http", "https", "socks4a", "socks5", "socks5h"]) {
    test(`\`proxy\` ${kind}: makes tunnels for https: URLs`, async () => {
      const there = await proxy({ secure: kind === "https" });
      const server = await origin(true);
      const user = kind === "socks4a" ? "u@" : "u:p@";
      const options: ClientOptions = {
        tls: { ca: pem("ca.pem") },
        proxy: {
          url: `${kind}://${user}localhost:${there.port}`,
          ...(kind === "https" ? { tls: { ca: pem("ca.pem") } } : {}),
          ...(kind.startsWith("http") ? { headers: { "x-way": "out" } } : {}),
        },
      };
      await using(
        options,
        async (client) => {
          const url = `https://localhost:${portOf(server)}/x`;
          for (let i = 0; i < 2; i++) {
            assertEquals(await client.get(url).json(), {
              url,
              secret: null,
              x: null,
            });
          }
          assertEquals(there.taken, 1);
          if (kind.startsWith("http")) {
            assertMatch(
              there.heads[0],
              /^CONNECT localhost:\d+ HTTP\/1\.1\r\n/,
            );
            assert(
              there.heads[0].includes(`authorization: ${CREDENTIALS}\r\n`),
            );
            assert(there.heads[0].includes("x-way: out\r\n"));
          }
        },
        there,
        server,
      );
    });
  }

  test("`tunnel` makes one for http: URLs, too; SOCKS always does", async () => {
    const there = await proxy();
    const server = await origin();
    await using(
      {},
      async (client) => {
        const url = `http://localhost:${portOf(server)}/`;
        const at = `${LOCAL}:${there.port}`;
        const ways: ClientInit["proxy"][] = [
          { url: `http://u:p@${at}`, tunnel: true },
          `socks5h://u:p@${at}`,
        ];
        for (const proxy of ways) {
          const told = await client.get(url, { proxy }).json();
          assertEquals(told, { url, secret: null, x: null });
        }
        assertMatch(there.heads[0], /^CONNECT localhost:/);
        assertMatch(there.through[0], /^GET \/ HTTP\/1\.1\r\n/);
        const error = await assertRejects(
          () =>
            client.get(url, {
              proxy: ways[0],
              headers: { "proxy-authorization": "mine" },
            }),
          TypeError,
          "through a tunnel proxy-authorization would go to the origin",
        );
        assert(!(error instanceof FetchError));
      },
      there,
      server,
    );
  });

  test("`proxy` that answers 407: a response in absolute form, else an error", async () => {
    const there = await forward(
      "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 4\r\n\r\nnope",
    );
    const proxy = `http://${LOCAL}:${there.port}`;
    await using({ proxy }, async (client) => {
      const response = await client.get("http://name.test");
      assertEquals([response.status, await response.text()], [407, "nope"]);
      const error = await assertRejects(
        () => client.get("https://name.test/?secret"),
        FetchError,
        "it answered 407 Proxy Authentication Required",
      );
      assertEquals([error.code, error.phase], ["ERR_PROXY_AUTH", "proxy"]);
      assertInstanceOf(error.cause, ProxyError);
      assert(!error.message.includes("secret"));
    }, there);
  });

  test("`redirect` goes through the proxy that is for the next URL", async () => {
    const server = await origin(true);
    const { port } = new URL(server.url);
    const there = await proxy();
    const first = await forward(
      `HTTP/1.1 302 Found\r\nlocation: https://localhost:${port}/there\r\n` +
        "content-length: 0\r\n\r\n",
    );
    await using(
      { tls: { ca: pem("ca.pem") } },
      async (client) => {
        const set = (name: string, value: string | undefined) => {
          if (value === undefined) delete process.env[name];
          else process.env[name] = value;
        };
        const before = ["http_proxy", "https_proxy", "no_proxy"].map((name) =>
          [name, process.env[name]] as const
        );
        try {
          set("http_proxy", `http://u:p@${LOCAL}:${first.port}`);
          set("https_proxy", `${LOCAL}:${there.port}`);
          set("no_proxy", "");
          const response = client.get("http://name.test/", {
            proxy: "env",
            headers: { "proxy-authorization": "mine" },
          });
          assertEquals(await response.json(), {
            url: `https://localhost:${port}/there`,
            secret: null,
            x: null,
          });
        } finally {
          for (const [name, value] of before) set(name, value);
        }
        assertMatch(first.heads[0], /\r\nproxy-authorization: mine\r\n/);
        assertEquals(first.heads[0].match(/authorization/g)?.length, 1);
        assert(!there.heads[0].includes("authorization"));
      },
      server,
      there,
      first,
    );
  });

  test("`noProxy` and `proxy: false` go straight; `unix` does always", async () => {
    const there = await forward();
    const server = await origin();
    const proxy = `http://${LOCAL}:${there.port}`;
    await using(
      { proxy, noProxy: "127.0.0.0/8" },
      async (client) => {
        const { url } = server;
        assertEquals((await client.get(url).json<{ url: string }>()).url, url);
        assertEquals(there.taken, 0);
        assertEquals(await client.get(url, { noProxy: [] }).text(), "ok");
        assertEquals(there.taken, 1);
        const init: ClientInit = { noProxy: [], proxy: false };
        assertEquals(
          (await client.get(url, init).json<{ url: string }>()).url,
          url,
        );
        assertEquals(there.taken, 1);
        await assertRejects(
          () => client.get(url, { unix: "/nonexistent/socket", noProxy: [] }),
          FetchError,
          "no such socket file",
        );
      },
      there,
      server,
    );
  });

  test("`proxy` that cannot be reached, or is silent, fails by phase", async () => {
    const silent = await answering();
    await using({}, async (client) => {
      for (const url of ["http://name.test", "https://name.test"]) {
        const error = await assertRejects(
          () => client.get(url, { proxy: `http://u:p@${LOCAL}:1` }),
          FetchError,
        );
        assertEquals([error.code, error.phase], ["ECONNREFUSED", "proxy"]);
        assertInstanceOf(error.cause, ProxyError);
        assert(!/u:p|dTpw/.test(error.message));
      }
      const late = await assertRejects(
        () =>
          client.get("https://name.test", {
            proxy: `http://${LOCAL}:${silent.port}`,
            timeout: { connect: 60 },
          }),
        FetchError,
      );
      assertEquals([late.code, late.phase], ["ETIMEDOUT", "proxy"]);
      assertInstanceOf(late.cause, TimeoutError);
      await noSocketLeft(silent);
      const reason = new Error("mine");
      const controller = new AbortController();
      const attempt = client.get("https://name.test", {
        proxy: `socks5h://${LOCAL}:${silent.port}`,
        signal: controller.signal,
      });
      setTimeout(() => controller.abort(reason), 20);
      const given = await attempt.then(() => undefined, (error) => error);
      assertEquals(given, reason);
      await noSocketLeft(silent);
    }, silent);
  });

  test("`proxy` and `noProxy` that make no sense are refused", async () => {
    assertThrows(
      () => new Client({ proxy: "ftp://hidden@proxy" }),
      TypeError,
      "Cannot fetch: the proxy's scheme must be one of",
    );
    for (
      const noProxy of ["a b/", "::1/200", "a:0", "a:99999", "[x]", "a..b"]
    ) {
      assertThrows(
        () => new Client({ noProxy }),
        TypeError,
        "Cannot fetch: noProxy takes names",
      );
    }
    assertThrows(
      () => new Client({ noProxy: 1 as unknown as string }),
      TypeError,
    );
    await using({}, async (client) => {
      await assertRejects(
        () => client.get("http://name.test", { proxy: "" }),
        TypeError,
        "the proxy's URL is malformed",
      );
    });
  });

  test("`proxy` through tinyproxy, in absolute form and by tunnel", {
    skip: needs("tinyproxy"),
  }, async () => {
    const [peer, plain, secure] = await Promise.all([
      tinyproxy(),
      origin(),
      origin(true),
    ]);
    const options: ClientOptions = {
      proxy: `http://user:secret@${LOCAL}:${peer.port}`,
      tls: { ca: pem("ca.pem") },
    };
    await using(
      options,
      async (client) => {
        for (const { url } of [plain, secure]) {
          const there = url.replace(LOCAL, "localhost");
          for (let i = 0; i < 2; i++) {
            const told = await client.get(there).json<{ secret: null }>();
            assertEquals(told.secret, null);
          }
        }
        const wrong = `http://user:wrong@${LOCAL}:${peer.port}`;
        const { status } = await client.get(plain.url, { proxy: wrong });
        assert(status === 401 || status === 407);
      },
      peer,
      plain,
      secure,
    );
  });

  test(
    "`proxy` through microsocks",
    { skip: needs("microsocks") },
    async () => {
      const [peer, server] = await Promise.all([microsocks(), origin(true)]);
      const options: ClientOptions = {
        proxy: `socks5h://${LOCAL}:${peer.port}`,
        tls: { ca: pem("ca.pem") },
      };
      await using(
        options,
        async (client) => {
          const url = `https://localhost:${portOf(server)}/`;
          assertEquals(
            (await client.get(url).json<{ url: string }>()).url,
            url,
          );
        },
        peer,
        server,
      );
    },
  );
});

describe("http client lookup", () => {
  test("`lookup` says which addresses a name has, and Host keeps the name", async () => {
    const server = await origin();
    const port = portOf(server);
    const url = `http://name.test:${port}/`;
    await using({ lookup: () => [LOCAL] }, async (client) => {
      for (let i = 0; i < 2; i++) {
        assertEquals((await client.get(url).json<{ url: string }>()).url, url);
      }
      assertEquals(client.stats().open, 1);
      const other = () => ["127.0.0.9", LOCAL];
      await client.get(url, { lookup: other }).text();
      assertEquals(client.stats().open, 2, "it is another way");
      const error = await assertRejects(
        () =>
          client.get(url, {
            lookup: () => {
              throw new Error("It is private");
            },
          }),
        FetchError,
        "Cannot look up name.test: It is private",
      );
      assertEquals([error.code, error.phase], ["ERR_LOOKUP", "lookup"]);
      assertInstanceOf(error.cause, DnsError);
    }, server);
  });

  test("`timeout.lookup` limits the hook", async () => {
    await using({}, async (client) => {
      let signal: AbortSignal | undefined;
      const error = await assertRejects(
        () =>
          client.get("http://name.test", {
            timeout: { lookup: 40 },
            lookup: (_, options) => {
              signal = options.signal;
              return new Promise(() => {});
            },
          }),
        FetchError,
        "Cannot look up name.test within 40 ms",
      );
      assertEquals([error.code, error.phase], ["ETIMEDOUT", "lookup"]);
      assertEquals(signal?.aborted, true);
      const server = await origin();
      try {
        const url = `http://localhost:${portOf(server)}/`;
        const told = await client.get(url, { timeout: { lookup: 10_000 } });
        assertEquals(told.status, 200);
        await told.text();
      } finally {
        await server.close({ timeout: 0 });
      }
    });
  });
});

describe("http client proxy of the environment", () => {
  const shown = (
    env: Record<string, string>,
    url: string,
  ): string | undefined => {
    const { hostname, port, protocol } = new URL(url);
    const secure = protocol === "https:";
    return proxyFor(proxiesOfEnv(env, "fetch"), undefined, {
      hostname,
      port: Number(port) || (secure ? 443 : 80),
      secure,
    })?.shown;
  };

  test('`"env"` takes the variable of the scheme, else ALL_PROXY', () => {
    const env = { HTTP_PROXY: "http://a:1", https_proxy: "socks5://b" };
    assertEquals(shown(env, "http://x"), "http://a:1");
    assertEquals(shown(env, "https://x"), "socks5://b:1080");
    assertEquals(shown({ ALL_PROXY: "c:3" }, "http://x"), "http://c:3");
    assertEquals(shown({ all_proxy: "c:3/" }, "https://x"), "http://c:3");
    assertEquals(
      shown({ http_proxy: "a:1", HTTP_PROXY: "b:2" }, "http://x"),
      "http://a:1",
    );
    assertEquals(
      shown({ http_proxy: " ", ALL_PROXY: "b:2" }, "http://x"),
      "http://b:2",
    );
    assertEquals(shown({}, "http://x"), undefined);
  });

  test('`"env"` does not believe HTTP_PROXY of a CGI program', () => {
    const env = { HTTP_PROXY: "http://a:1", REQUEST_METHOD: "GET" };
    assertEquals(shown(env, "http://x"), undefined);
    assertEquals(
      shown({ ...env, http_proxy: "b:2" }, "http://x"),
      "http://b:2",
    );
    assertEquals(
      shown({ HTTPS_PROXY: "c:3", REQUEST_METHOD: "" }, "https://x"),
      "http://c:3",
    );
  });

  test('`"env"` excepts NO_PROXY; what is malformed there is skipped', () => {
    const env = {
      ALL_PROXY: "p:1",
      NO_PROXY: "localhost, .inner.test 10.0.0.0/8,*bad*,[::1]:80",
    };
    for (
      const [url, direct] of [
        ["http://localhost", true],
        ["http://a.inner.test", true],
        ["http://10.1.2.3", true],
        ["http://other.test", false],
      ] as const
    ) assertEquals(shown(env, url) === undefined, direct, url);
    assertEquals(
      shown({ ALL_PROXY: "p:1", no_proxy: "", NO_PROXY: "*" }, "http://x"),
      "http://p:1",
    );
  });

  test('`"env"` names the variable that is malformed, not what is in it', () => {
    const error = assertThrows(
      () => proxiesOfEnv({ HTTPS_PROXY: "http://u:hidden@a:b" }, "fetch"),
      TypeError,
      "Cannot fetch: the proxy's URL is malformed (HTTPS_PROXY of the",
    );
    assert(!error.message.includes("hidden"));
  });

  test("`noProxy` knows names, suffixes, addresses, networks and ports", () => {
    const rows: [string, string, number, boolean][] = [
      ["*", "a.test", 1, true],
      ["*:8080", "a.test", 1, false],
      ["*:8080", "a.test", 8080, true],
      ["a.test", "a.test", 1, true],
      ["A.Test", "a.test.", 1, true],
      ["a.test", "b.a.test", 1, true],
      ["a.test", "ba.test", 1, false],
      ["a.test", "a.test.evil", 1, false],
      [".a.test", "a.test", 1, false],
      [".a.test", "b.c.a.test", 1, true],
      [".a.test", "xa.test", 1, false],
      ["*.a.test", "b.a.test", 1, true],
      ["a.test:81", "a.test", 80, false],
      ["a.test:81", "a.test", 81, true],
      ["bücher.test", "xn--bcher-kva.test", 1, true],
      ["10.0.0.0/8", "10.255.0.1", 1, true],
      ["10.0.0.0/8", "11.0.0.1", 1, false],
      ["10.0.0.0/8", "10.0.0.1.test", 1, false],
      ["127.0.0.1:81", "127.0.0.1", 81, true],
      ["127.0.0.1:81", "127.0.0.1", 80, false],
      ["::1", "::1", 1, true],
      ["[::1]:81", "::1", 81, true],
      ["0:0::1", "::1", 1, true],
      ["fd00::/8", "fd12::1", 1, true],
      ["127.0.0.0/8", "::ffff:7f00:1", 1, true],
      ["", "a.test", 1, false],
      ["b.test,a.test", "a.test", 1, true],
    ];
    for (const [rule, hostname, port, expected] of rows) {
      assertEquals(
        isDirect(noProxyOf(rule, "fetch"), { hostname, port }),
        expected,
        `${hostname}:${port} by ${rule}`,
      );
    }
  });
});
