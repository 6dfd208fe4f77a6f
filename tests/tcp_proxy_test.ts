import { describe, test } from "node:test";
import type * as net from "node:net";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import {
  answering,
  bytesOf,
  echoServer,
  LOCAL,
  noSocketLeft,
  proxy,
  roundTrip,
  scripted,
} from "./_proxies.ts";
import type { Told } from "./_proxies.ts";
import { pem } from "./_tls_support.ts";
import {
  connect,
  ConnectError,
  DnsError,
  ProxyError,
  serve,
  TimeoutError,
  TlsError,
} from "../tcp/mod.ts";
import type { ProxyOptions, TcpConnectOptions } from "../tcp/mod.ts";
import { dial } from "../tcp/_dial.ts";
import { proxyPlan } from "../tcp/_proxy.ts";

const KINDS = ["http", "socks4", "socks4a", "socks5", "socks5h"];
const SECRET = "p%40ss-word";
const CONNECTED = "HTTP/1.1 200 OK\r\n\r\n";

/** The error of connecting through a proxy that answers so. */
async function failure(
  there: Told,
  scheme = "http",
  options: Partial<TcpConnectOptions> = {},
): Promise<ProxyError> {
  const error = await assertRejects(
    () =>
      within(connect({
        hostname: "name.test",
        port: 443,
        proxy: `${scheme}://user:${SECRET}@${LOCAL}:${there.port}`,
        ...options,
      })),
    ProxyError,
  );
  assertEquals(error.phase, "proxy");
  const shown = `${error.message} ${(error.cause as Error)?.message} ${
    JSON.stringify(error)
  }`;
  assert(!/p@ss|p%40ss|user:|dXNlc/.test(shown), shown);
  await noSocketLeft(there);
  return error;
}

async function refusedBy(
  answers: (string | Uint8Array)[],
  scheme = "http",
): Promise<[code: string, why: string, retryable: boolean]> {
  const there = await answering(...answers);
  try {
    const { code, message, retryable } = await failure(there, scheme);
    const start = `Cannot connect to name.test:443 through proxy ${scheme}://` +
      `${LOCAL}:${there.port}: `;
    assert(message.startsWith(start), message);
    return [code, message.slice(start.length), retryable];
  } finally {
    await there.close();
  }
}

describe("tcp.connect() proxy", () => {
  for (const kind of KINDS) {
    test(`\`proxy\` ${kind}: makes a tunnel, plain and for TLS`, async () => {
      const there = await proxy();
      const plain = await echoServer();
      const secure = await echoServer({ tls: true });
      try {
        const one = await within(connect({
          hostname: "localhost",
          port: plain.port,
          proxy: `${kind}://${LOCAL}:${there.port}`,
        }));
        assertEquals(one.tls, undefined);
        assertEquals(one.remoteAddress, {
          transport: "tcp",
          hostname: LOCAL,
          port: there.port,
        });
        assertEquals(await roundTrip(one, "in the clear"), "in the clear");
        await within(one.closeWrite());
        assertEquals(await within(one.receive()), undefined);
        await within(one.closed);
        const other = await within(connect({
          hostname: "localhost",
          port: secure.port,
          tls: { ca: pem("ca.pem") },
          proxy: new URL(`${kind}://${LOCAL}:${there.port}`),
        }));
        assertEquals(other.tls?.authorized, true);
        assertEquals(await roundTrip(other, "top secret"), "top secret");
        assertMatch(there.through[0], /in the clear/);
        // The first byte of a TLS record, and nothing readable.
        assertEquals(there.through[1].charCodeAt(0), 22);
        assert(!there.through[1].includes("top secret"));
        await within(other.close());
        await noSocketLeft(there);
      } finally {
        await there.close();
        await plain.close();
        await secure.close();
      }
    });
  }

  test("`proxy` https: speaks TLS to the proxy, and within it to the target", async () => {
    const there = await proxy({ secure: true });
    const plain = await echoServer();
    const secure = await echoServer({ tls: true });
    const ca = pem("ca.pem");
    const way = {
      url: `https://localhost:${there.port}`,
      tls: { ca },
    };
    try {
      const one = await within(
        connect({ hostname: "localhost", port: plain.port, proxy: way }),
      );
      assertEquals(one.tls, undefined, "TLS is with the proxy only");
      assertEquals(await roundTrip(one, "hello"), "hello");
      await within(one.close());
      const other = await within(connect({
        hostname: "localhost",
        port: secure.port,
        tls: { ca },
        proxy: way,
      }));
      assertEquals(other.tls?.authorized, true);
      const long = "TLS in TLS ".repeat(20_000);
      assertEquals(await roundTrip(other, long), long);
      assert(!there.through[1].includes("TLS in TLS"));
      await within(other.close());
      const error = await assertRejects(
        () =>
          within(connect({
            hostname: "localhost",
            port: plain.port,
            proxy: way.url,
          })),
        ProxyError,
      );
      assertEquals([error.code, error.phase], ["ERR_TLS_UNKNOWN_CA", "proxy"]);
      assertInstanceOf(error.cause, TlsError);
      await noSocketLeft(there);
    } finally {
      await there.close();
      await plain.close();
      await secure.close();
    }
  });

  test("`proxy` is told just what its protocol says", async () => {
    const there = await proxy();
    const echo = await echoServer();
    const { port } = echo;
    const two = String.fromCharCode(port >> 8, port & 255);
    const at = (scheme: string, user = "") =>
      `${scheme}://${user}${LOCAL}:${there.port}`;
    const rows: [TcpConnectOptions["proxy"], string, string[]][] = [
      [at("http"), "name.test", [
        `CONNECT name.test:${port} HTTP/1.1\r\nhost: name.test:${port}\r\n\r\n`,
      ]],
      [
        { url: at("http", "us%3fr:p%40ss@"), headers: { "X-Way": "out" } },
        "::1",
        [
          `CONNECT [::1]:${port} HTTP/1.1\r\nhost: [::1]:${port}\r\n` +
          "proxy-authorization: Basic dXM/cjpwQHNz\r\nx-way: out\r\n\r\n",
        ],
      ],
      [at("socks4"), "127.0.0.1", [`\x04\x01${two}\x7f\x00\x00\x01\x00`]],
      [at("socks4a", "me@"), "name.test", [
        `\x04\x01${two}\x00\x00\x00\x01me\x00name.test\x00`,
      ]],
      [at("socks4a"), "127.0.0.1", [`\x04\x01${two}\x7f\x00\x00\x01\x00`]],
      [at("socks5h"), "name.test", [
        "\x05\x01\x00",
        `\x05\x01\x00\x03\x09name.test${two}`,
      ]],
      [at("socks5", "u:p%C3%A9@"), "127.0.0.1", [
        "\x05\x02\x00\x02\x01\x01u\x03p\xc3\xa9",
        `\x05\x01\x00\x01\x7f\x00\x00\x01${two}`,
      ]],
      [at("socks5h"), "bücher.test", [
        "\x05\x01\x00",
        `\x05\x01\x00\x03\x12xn--bcher-kva.test${two}`,
      ]],
    ];
    const six = await echoServer({ hostname: "::1" }).catch(() => undefined);
    try {
      for (const [proxy, hostname, expected] of rows) {
        there.heads.length = 0;
        // To ::1 there may be no way; what was asked for is what counts.
        await within(connect({ hostname, port, proxy })).then(
          (connection) => connection.destroy(),
          (error) => assertInstanceOf(error, ProxyError),
        );
        assertEquals(there.heads, expected);
      }
    } finally {
      await six?.close();
      await there.close();
      await echo.close();
    }
  });

  test("`proxy` whose answer comes with the target's first bytes loses none", async () => {
    const rows: [string, string[]][] = [
      ["http", [`${CONNECTED}first`]],
      ["socks4a", ["\x00\x5a\x00\x00\x00\x00\x00\x00first"]],
      ["socks5h", [
        "\x05\x00",
        "\x05\x00\x00\x03\x04nameabfirst",
      ]],
    ];
    for (const [scheme, answers] of rows) {
      const there = await answering(...answers);
      try {
        const connection = await within(connect({
          hostname: "name.test",
          port: 25,
          proxy: `${scheme}://${LOCAL}:${there.port}`,
        }));
        const bytes = await within(connection.read(5));
        assertEquals(new TextDecoder().decode(bytes), "first", scheme);
        connection.destroy();
        await noSocketLeft(there);
      } finally {
        await there.close();
      }
    }
  });

  test("`proxy` that ends right behind its answer: an end, after the bytes", async () => {
    const there = await scripted((socket) => {
      socket.once("data", () => socket.end(`${CONNECTED}bye`));
    });
    try {
      const connection = await within(connect({
        hostname: "name.test",
        port: 25,
        proxy: `http://${LOCAL}:${there.port}`,
      }));
      const bytes = await within(connection.read(3));
      assertEquals(new TextDecoder().decode(bytes), "bye");
      assertEquals(await within(connection.receive()), undefined);
      await within(connection.close());
      assertEquals((await within(connection.closed)).clean, true);
    } finally {
      await there.close();
    }
  });

  test("`proxy` goes with `startTls()`, which checks the target's name", async () => {
    const there = await proxy();
    const certificate = { cert: pem("server.pem"), key: pem("server.key") };
    const server = await serve(async (plain) => {
      await plain.read(8);
      await plain.send("GO AHEAD");
      const secure = await plain.startTls({ server: true, ...certificate });
      for await (const chunk of secure) await secure.send(chunk);
    }, { hostname: LOCAL, port: 0, onError: () => {} });
    const { port } = server.address as { port: number };
    try {
      for (const kind of KINDS) {
        const plain = await within(connect({
          hostname: "localhost",
          port,
          proxy: `${kind}://${LOCAL}:${there.port}`,
        }));
        assertEquals(await roundTrip(plain, "STARTTLS"), "GO AHEAD");
        const secure = await within(plain.startTls({ ca: pem("ca.pem") }));
        assertEquals(secure.tls?.serverName, "localhost");
        assertEquals(await roundTrip(secure, "secret"), "secret");
        await within(secure.close());
      }
      assert(!there.through.join().includes("secret"));
      await noSocketLeft(there);
    } finally {
      await within(server.close({ timeout: 0 }));
      await there.close();
    }
  });

  test("`proxy` with backpressure: what is not read stops the target", async () => {
    const there = await proxy();
    let sent = 0;
    const flood = await scripted((socket) => {
      const more = () => {
        while (socket.writable && sent < 64e6) {
          const chunk = new Uint8Array(65_536);
          sent += chunk.byteLength;
          if (!socket.write(chunk)) break;
        }
      };
      socket.on("drain", more);
      more();
    });
    try {
      const connection = await within(connect({
        hostname: LOCAL,
        port: flood.port,
        proxy: `http://${LOCAL}:${there.port}`,
      }));
      let before = -1;
      await until(() => {
        const same = before === sent;
        before = sent;
        return same && sent > 0 &&
          new Promise((resolve) => setTimeout(resolve, 100)).then(() =>
            before === sent
          );
      }, "a stop");
      assert(sent < 40e6, `${sent}`);
      connection.destroy();
      await noSocketLeft(there);
    } finally {
      await flood.close();
      await there.close();
    }
  });

  test("`proxy` http that refuses is a ProxyError with the status", async () => {
    const rows: [string, string, string, boolean][] = [
      [
        "407 Proxy Authentication Required",
        "ERR_PROXY_AUTH",
        "it answered 407 Proxy Authentication Required: give it other user " +
        "and password in its URL",
        false,
      ],
      ["403 Forbidden", "ERR_PROXY", "it answered 403 Forbidden", false],
      ["502 Bad Gateway", "ERR_PROXY", "it answered 502 Bad Gateway", true],
      ["503", "ERR_PROXY", "it answered 503", true],
      ["301 Moved", "ERR_PROXY", "it answered 301 Moved", false],
      [
        `400 ${"x".repeat(999)}`,
        "ERR_PROXY",
        `it answered 400 ${"x".repeat(80)}`,
        false,
      ],
      ["400 \x1b[31m\xff", "ERR_PROTOCOL", "", false],
    ];
    for (const [line, code, why, retryable] of rows.slice(0, -1)) {
      assertEquals(
        await refusedBy([`HTTP/1.1 ${line}\r\ncontent-length: 5\r\n\r\nhello`]),
        [code, why, retryable],
      );
    }
  });

  test("`proxy` http whose answer is malformed is refused", async () => {
    const rows: [string, string][] = [
      ["HTTP/2 200 OK\r\n\r\n", "it is not HTTP/1"],
      ["SSH-2.0-OpenSSH\r\n", "it is not HTTP/1"],
      ["\r\n\r\n", "no status line"],
      ["HTTP/1.1 200 OK\n\n", "a line without CR"],
      ["HTTP/1.1 200 OK\r\nx: y\n\r\n", "a line without CR"],
      ["HTTP/1.1 20 OK\r\n\r\n", "no status line"],
      ["HTTP/1.1 2000 OK\r\n\r\n", "no status line"],
      ["HTTP/1.1  200 OK\r\n\r\n", "no status line"],
      ["HTTP/1.1 600 OK\r\n\r\n", "no status line"],
      ["HTTP/1.1 400 \x1b[31m\r\n\r\n", "no status line"],
      ["HTTP/1.1 200 O\rK\r\n\r\n", "no status line"],
      ["HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "a field that is none"],
      ["HTTP/1.1 200 OK\r\na : b\r\n\r\n", "a field that is none"],
      ["HTTP/1.1 200 OK\r\nnothing\r\n\r\n", "a field that is none"],
      ["HTTP/1.1 200 OK\r\na: b\0\r\n\r\n", "a field that is none"],
      ["HTTP/1.1 101 Switch\r\n\r\n", "it switches protocols"],
      [
        "HTTP/1.1 103 Early\r\n\r\n".repeat(17),
        "only informational answers come",
      ],
    ];
    for (const [answer, why] of rows) {
      assertEquals(
        await refusedBy([answer]),
        ["ERR_PROTOCOL", `its answer is malformed: ${why}`, false],
        JSON.stringify(answer),
      );
    }
  });

  test("`proxy` http may answer 1xx before, and any 2xx without a body", async () => {
    const there = await answering(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 299 \r\ncontent-length: 3\r\n" +
        "transfer-encoding: chunked\r\n\r\nabc",
    );
    try {
      const connection = await within(connect({
        hostname: "name.test",
        port: 25,
        proxy: `http://${LOCAL}:${there.port}`,
      }));
      const bytes = await within(connection.read(3));
      assertEquals(new TextDecoder().decode(bytes), "abc");
      connection.destroy();
    } finally {
      await there.close();
    }
  });

  test("`proxy` http whose answer has no end is refused in bounds", async () => {
    const line = `x: ${"y".repeat(1000)}\r\n`;
    const [code, why] = await refusedBy([
      `HTTP/1.1 200 OK\r\n${line.repeat(100)}`,
    ]);
    assertEquals(
      [code, why],
      ["ERR_SIZE_LIMIT", "the head of its answer is larger than 16384 bytes"],
    );
    const [many] = await refusedBy([
      `HTTP/1.1 200 OK\r\n${"a: b\r\n".repeat(129)}\r\n`,
    ]);
    assertEquals(many, "ERR_SIZE_LIMIT");
  });

  test("`proxy` socks5 that refuses is a ProxyError with the reply", async () => {
    const codes = ["", "ERR_PROXY", "ERR_PROXY", "ENETUNREACH"];
    codes.push("EHOSTUNREACH", "ECONNREFUSED", "EHOSTUNREACH", "ERR_PROXY");
    codes.push("EAFNOSUPPORT", "ERR_PROXY");
    for (let reply = 1; reply < codes.length; reply++) {
      const [code, why] = await refusedBy(
        ["\x05\x00", `\x05${String.fromCharCode(reply)}`],
        "socks5h",
      );
      assertEquals(code, codes[reply]);
      assert(why.startsWith(`it refused with reply ${reply} (`), why);
    }
    assertEquals(
      await refusedBy(["\x05\x02", "\x01\x01"], "socks5h"),
      ["ERR_PROXY_AUTH", "it refused user and password (status 1)", false],
    );
    assertEquals(
      await refusedBy(["\x05\xff"], "socks5h"),
      [
        "ERR_PROXY_AUTH",
        "it takes no user and password (reply 255)",
        false,
      ],
    );
    const there = await answering("\x05\xff");
    try {
      const proxy = `socks5h://${LOCAL}:${there.port}`;
      const error = await failure(there, "socks5h", { proxy });
      assertEquals(error.code, "ERR_PROXY_AUTH");
      assertMatch(error.message, /it wants to know who one is \(reply 255\)/);
    } finally {
      await there.close();
    }
  });

  test("`proxy` socks5 whose answer is malformed is refused", async () => {
    const rows: [string[], string][] = [
      [["\x04\x00"], "it is not SOCKS5"],
      [["HTTP/1.1 400 Bad"], "it is not SOCKS5"],
      [["\x05\x01"], "a method that was not offered: 1"],
      [["\x05\x00\x05"], "it spoke out of turn"],
      [["\x05\x02", "\x05\x00"], "it is not RFC 1929"],
      [["\x05\x02", "\x01\x00\x05\x00"], "it spoke out of turn"],
      [["\x05\x00", "\x04\x00\x00\x01"], "it is not SOCKS5"],
      [["\x05\x00", "\x05\x00\x01\x01"], "its reserved byte is not 0"],
      [["\x05\x00", "\x05\x00\x00\x02"], "no such address type: 2"],
    ];
    for (const [answers, why] of rows) {
      assertEquals(
        await refusedBy(answers, "socks5h"),
        ["ERR_PROTOCOL", `its answer is malformed: ${why}`, false],
      );
    }
  });

  test("`proxy` socks4 that refuses, or is malformed, is a ProxyError", async () => {
    const proxyOf = (there: Told) => ({
      proxy: `socks4a://me@${LOCAL}:${there.port}`,
    });
    const rows: [string, string, string][] = [
      [
        "\x00\x5b",
        "ERR_PROXY",
        "it refused with reply 91 (rejected or failed)",
      ],
      ["\x00\x5c", "ERR_PROXY_AUTH", "reply 92"],
      ["\x00\x5d", "ERR_PROXY_AUTH", "reply 93"],
      ["\x00\x00", "ERR_PROTOCOL", "no such reply: 0"],
      ["\x04\x5a", "ERR_PROTOCOL", "it is not SOCKS4"],
    ];
    for (const [answer, code, why] of rows) {
      const there = await answering(answer);
      try {
        const error = await failure(there, "socks4a", proxyOf(there));
        assertEquals(error.code, code);
        assert(error.message.includes(why), error.message);
      } finally {
        await there.close();
      }
    }
    const there = await answering();
    try {
      for (const hostname of ["::1", "0.0.0.7"]) {
        const error = await failure(there, "", { hostname, ...proxyOf(there) });
        assertMatch(error.message, /SOCKS4 (knows only IPv4|cannot say)/);
      }
    } finally {
      await there.close();
    }
  });

  test("`proxy` that is cut off at any byte of its answer is a ProxyError", async () => {
    const rows: [string, string[]][] = [
      ["http", ["HTTP/1.1 200 OK\r\na: b\r\n\r\n"]],
      ["socks4a", ["\x00\x5a\x00\x00\x00\x00\x00\x00"]],
      ["socks5h", ["\x05\x02", "\x01\x00", "\x05\x00\x00\x03\x01n\x00\x50"]],
    ];
    for (const [scheme, answers] of rows) {
      const whole = answers.join("").length;
      for (let size = 0; size < whole; size++) {
        let left = size;
        const there = await scripted((socket) => {
          const script = [...answers];
          socket.on("data", () => {
            const answer = (script.shift() ?? "").slice(0, left);
            left -= answer.length;
            if (left > 0) socket.write(bytesOf(answer));
            else socket.end(bytesOf(answer));
          });
        });
        try {
          const user = scheme === "socks4a" ? "me@" : "me:it@";
          const error = await failure(there, scheme, {
            proxy: `${scheme}://${user}${LOCAL}:${there.port}`,
          });
          assertEquals(error.code, "ECONNRESET", `${scheme} at ${size}`);
          assertEquals(error.retryable, true);
        } finally {
          await there.close();
        }
      }
    }
  });

  test("`proxy` where nobody listens, or that is not found, is a ProxyError", async () => {
    const there = await answering();
    await there.close();
    const refused = await failure(there, "http", {
      proxy: `http://user:${SECRET}@${LOCAL}:1`,
    });
    assertEquals([refused.code, refused.retryable], ["ECONNREFUSED", true]);
    assertInstanceOf(refused.cause, ConnectError);
    const unknown = await assertRejects(
      () =>
        within(connect({
          hostname: "name.test",
          port: 1,
          proxy: "http://me:it@nohost.invalid:3128",
        })),
      ProxyError,
    );
    assertEquals(unknown.code, "ENOTFOUND");
    assertInstanceOf(unknown.cause, DnsError);
    const own = await assertRejects(
      () =>
        within(connect({
          hostname: "nohost.invalid",
          port: 1,
          proxy: `socks5://${LOCAL}:1`,
        })),
      DnsError,
    );
    assertEquals([own.code, own.phase], ["ENOTFOUND", "lookup"]);
  });

  test("`proxy` socks5 is asked for the next address when one is refused", async () => {
    const asked: number[] = [];
    const there = await scripted((socket) => {
      socket.once("data", () => {
        socket.write(bytesOf("\x05\x00"));
        socket.once("data", (request: Uint8Array) => {
          asked.push(request[7]);
          const reply = request[7] === 3 ? 0 : 5;
          socket.write(Uint8Array.from([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]));
        });
      });
    });
    const options = {
      hostname: "name.test",
      port: 25,
      proxy: `socks5://${LOCAL}:${there.port}`,
    };
    try {
      const connection = await within(connect({
        ...options,
        lookup: () => ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"],
      }));
      connection.destroy();
      assertEquals(asked, [1, 2, 3]);
      const error = await assertRejects(
        () =>
          within(
            connect({ ...options, lookup: () => ["10.0.0.1", "10.0.0.2"] }),
          ),
        ProxyError,
      );
      assertEquals(error.code, "ECONNREFUSED");
      await noSocketLeft(there);
    } finally {
      await there.close();
    }
  });
});

describe("tcp.connect() proxy, given up", () => {
  const where = { hostname: "name.test", port: 443 };

  test("`timeout` while the proxy is silent is a TimeoutError, phase proxy", async () => {
    const there = await answering();
    try {
      for (const scheme of ["http", "socks5h"]) {
        const error = await assertRejects(
          () =>
            within(connect({
              ...where,
              timeout: 60,
              proxy: `${scheme}://${LOCAL}:${there.port}`,
            })),
          TimeoutError,
          "Cannot connect through a proxy to name.test:443 within 60 ms",
        );
        assertEquals(error.phase, "proxy");
        await noSocketLeft(there);
      }
    } finally {
      await there.close();
    }
  });

  test("`connectTimeout` limits the proxy's part only", async () => {
    const there = await answering();
    try {
      const error = await assertRejects(
        () =>
          within(connect({
            ...where,
            proxy: {
              url: `http://${LOCAL}:${there.port}`,
              connectTimeout: 60,
            },
          })),
        TimeoutError,
        "within 60 ms",
      );
      assertEquals(error.phase, "proxy");
      await noSocketLeft(there);
    } finally {
      await there.close();
    }
  });

  test("`timeout` while TLS is agreed on within the tunnel: phase tls", async () => {
    const there = await answering(CONNECTED);
    try {
      // The limit of TLS alone: the way to it may take its time.
      const error = await assertRejects(
        () =>
          within(dial({
            ...where,
            tls: true,
            tlsTimeout: 60,
            proxy: proxyPlan(`http://${LOCAL}:${there.port}`, "connect"),
          })),
        TimeoutError,
        "Cannot agree on TLS with name.test:443 within 60 ms",
      );
      assertEquals(error.phase, "tls");
      await noSocketLeft(there);
    } finally {
      await there.close();
    }
  });

  test("`proxy` that drips: a whole answer is taken, one without end is not", async () => {
    const drip = (answer: string, rest: string) =>
      scripted((socket) => {
        let at = 0;
        socket.once("data", () => {
          const timer = setInterval(() => {
            socket.write(bytesOf(answer[at++] ?? rest));
          }, 2);
          socket.on("close", () => clearInterval(timer));
        });
      });
    const slow = await drip(CONNECTED, "z");
    try {
      const connection = await within(
        connect({ ...where, proxy: `http://${LOCAL}:${slow.port}` }),
      );
      assertEquals(await within(connection.read(2)), bytesOf("zz"));
      connection.destroy();
      await noSocketLeft(slow);
    } finally {
      await slow.close();
    }
    const endless = await drip("HTTP/1.1 200 ", "z");
    try {
      const error = await assertRejects(
        () =>
          within(connect({
            ...where,
            timeout: 150,
            proxy: `http://${LOCAL}:${endless.port}`,
          })),
        TimeoutError,
      );
      assertEquals(error.phase, "proxy");
      await noSocketLeft(endless);
    } finally {
      await endless.close();
    }
  });

  test("`proxy` that resets within its answer is a ProxyError", async () => {
    const there = await scripted((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 2", () => socket.resetAndDestroy());
      });
    });
    try {
      const error = await failure(there);
      assertEquals([error.code, error.retryable], ["ECONNRESET", true]);
    } finally {
      await there.close();
    }
  });

  test("`signal` leaves no socket, wherever it aborts", async () => {
    const reason = new Error("mine");
    const scripts: [string, (socket: net.Socket, abort: () => void) => void][] =
      [
        ["at the connection", (_, abort) => abort()],
        ["at the request", (socket, abort) => socket.once("data", abort)],
        [
          "within the answer",
          (socket, abort) =>
            socket.once("data", () => {
              socket.write("HTTP/1.1 200", () => setTimeout(abort, 5));
            }),
        ],
        [
          "at the answer",
          (socket, abort) =>
            socket.once("data", () => {
              socket.write(CONNECTED);
              abort();
            }),
        ],
        [
          "within TLS",
          (socket, abort) =>
            socket.once("data", () => {
              socket.write(CONNECTED);
              socket.once("data", abort);
            }),
        ],
      ];
    for (const [name, script] of scripts) {
      const controller = new AbortController();
      const there = await scripted((socket) =>
        script(socket, () => controller.abort(reason))
      );
      try {
        const given = await within(
          connect({
            ...where,
            tls: true,
            signal: controller.signal,
            proxy: `http://${LOCAL}:${there.port}`,
          }).then(() => undefined, (error) => error),
        );
        assertStrictEquals(given, reason, name);
        await until(() => there.taken === 1, "the connection");
        await noSocketLeft(there);
      } finally {
        await there.close();
      }
    }
  });

  test("`proxy` that breaks off within the target's TLS: a TlsError", async () => {
    const there = await scripted((socket) => {
      socket.once("data", () => {
        socket.write(CONNECTED);
        socket.once("data", () => socket.end());
      });
    });
    try {
      const error = await assertRejects(
        () =>
          within(connect({
            ...where,
            tls: true,
            proxy: `http://${LOCAL}:${there.port}`,
          })),
        TlsError,
        "Cannot agree on TLS with name.test:443",
      );
      assertEquals(error.phase, "tls");
      await noSocketLeft(there);
    } finally {
      await there.close();
    }
  });
});

describe("tcp.connect() proxy option", () => {
  test("`proxy` that makes no sense is refused, its secrets unsaid", async () => {
    const at = "http://127.0.0.1:1";
    const rows: [unknown, string][] = [
      ["", "malformed"],
      ["whoami:hidden@proxy", "the proxy's scheme must be one of"],
      ["http://whoami:hidden@:80:80", "malformed"],
      ["ftp://whoami:hidden@proxy", "the proxy's scheme must be one of"],
      ["socks6://whoami:hidden@proxy", "the proxy's scheme must be one of"],
      ["socks5://", "no host"],
      ["socks5://whoami:hidden@pr%0aoxy", "no host"],
      ["http://whoami:hidden@proxy/path", "a scheme, a host and a port only"],
      ["http://whoami:hidden@proxy?a", "a scheme, a host and a port only"],
      ["http://whoami:hidden@proxy#a", "a scheme, a host and a port only"],
      ["http://whoami:hidden@proxy:0", "a scheme, a host and a port only"],
      ["http://whoami:hidden%ff@proxy", "user or password is malformed"],
      ["http://who%3aami:hidden@proxy", "has a colon"],
      ["socks4://whoami:hidden@proxy", "no password"],
      ["socks4://who%00ami@proxy", "no NUL"],
      ["socks5://:hidden@proxy", "no user name"],
      [`socks5://whoami:${"hidden".repeat(50)}@proxy`, "up to 255 bytes"],
      [{}, "malformed"],
      [{ url: at, headers: { "x y": "hidden" } }, "headers are malformed"],
      [{ url: at, headers: { host: "hidden" } }, "may not have this one: host"],
      [
        { url: at, headers: { "Content-Length": "1" } },
        "may not have this one: content-length",
      ],
      [
        {
          url: "http://whoami:hidden@proxy",
          headers: { "proxy-authorization": "hidden" },
        },
        "either user and password",
      ],
      [{ url: "socks5://proxy", headers: {} }, "takes no headers"],
      [{ url: at, tunnel: 1 }, "tunnel must be true or false"],
      [{ url: at, tls: {} }, "goes with an https: URL only"],
      [{ url: "https://proxy", tls: { ca: "hidden" } }, "must be PEM text"],
      [{ url: at, agent: 1 }, "no such option: agent"],
    ];
    for (const [proxy, why] of rows) {
      const error = await assertRejects(
        () => connect({ port: 1, proxy: proxy as string }),
        TypeError,
      );
      assert(error.message.includes(why), `${why}: ${error.message}`);
      assert(!/hidden|who/.test(error.message), error.message);
      assertEquals(error.cause, undefined);
    }
    await assertRejects(
      () =>
        connect({
          port: 1,
          proxy: { url: at, connectTimeout: -1 },
        }),
      RangeError,
      "connectTimeout of the proxy",
    );
    await assertRejects(
      () => connect({ path: "/tmp/x", proxy: at }),
      TypeError,
      "Cannot connect: give either path or proxy",
    );
  });

  test("`hostname` that could be read in two ways is not said to a proxy", async () => {
    const there = await answering();
    try {
      for (
        const hostname of [
          "a b",
          "a\r\nx: y",
          "a\0b",
          "a/b",
          "a@b",
          "a:80",
          "[::1]",
          "fe80::1%eth0",
          "é b",
          "é@b",
          "a".repeat(254),
        ]
      ) {
        // Brackets and NULs are in no name, whoever is asked.
        const message = /^\[|\0/.test(hostname)
          ? "Cannot connect: hostname must be a name or an address"
          : "Cannot connect through a proxy: hostname is malformed";
        for (const scheme of ["http", "socks4a", "socks5h"]) {
          await assertRejects(
            () =>
              connect({
                hostname,
                port: 1,
                proxy: `${scheme}://${LOCAL}:${there.port}`,
              }),
            TypeError,
            message,
          );
        }
      }
      assertEquals(there.taken, 0);
    } finally {
      await there.close();
    }
  });

  test("`headers` and `tunnel` of a proxy may be given with its URL", async () => {
    const there = await proxy();
    const echo = await echoServer();
    const way: ProxyOptions = {
      url: new URL(`http://${LOCAL}:${there.port}/`),
      headers: [["Proxy-Authorization", "Bearer x"]],
      tunnel: true,
      connectTimeout: 10_000,
    };
    try {
      const connection = await within(
        connect({ hostname: LOCAL, port: echo.port, proxy: way }),
      );
      assertEquals(await roundTrip(connection, "hello"), "hello");
      assertMatch(there.heads[0], /\r\nproxy-authorization: Bearer x\r\n\r\n$/);
      connection.destroy();
    } finally {
      await there.close();
      await echo.close();
    }
  });
});
