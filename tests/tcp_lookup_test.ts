import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { within } from "./_support.ts";
import { echoServer, LOCAL, proxy, roundTrip } from "./_proxies.ts";
import { pem } from "./_tls_support.ts";
import { connect, ConnectError, DnsError, TimeoutError } from "../tcp/mod.ts";
import type { Lookup, LookupOptions } from "../tcp/mod.ts";
import { familyOf, inNetwork, ipBytes, networkOf } from "../tcp/_ip.ts";

/** The error of a lookup that gives or does something. */
async function failure(lookup: Lookup): Promise<DnsError> {
  const error = await assertRejects(
    () => within(connect({ hostname: "name.test", port: 9, lookup })),
    DnsError,
    "Cannot look up name.test: ",
  );
  assertEquals(error.phase, "lookup");
  return error;
}

describe("tcp.connect() lookup", () => {
  test("`lookup` says which addresses a name has", async () => {
    const echo = await echoServer();
    const asked: [string, LookupOptions][] = [];
    const lookup: Lookup = (hostname, options) => {
      asked.push([hostname, options]);
      return [LOCAL];
    };
    try {
      const connection = await within(
        connect({ hostname: "name.test", port: echo.port, lookup }),
      );
      assertEquals(await roundTrip(connection, "hello"), "hello");
      await within(connection.close());
      assertEquals(asked.map(([name]) => name), ["name.test"]);
      const [[, options]] = asked;
      assert(options.signal instanceof AbortSignal);
      assertEquals(options.family, undefined);
      assertEquals(options.signal.aborted, false);
    } finally {
      await echo.close();
    }
  });

  test("`lookup` may give objects and a promise, and TLS keeps the name", async () => {
    const echo = await echoServer({ tls: true });
    try {
      const connection = await within(connect({
        hostname: "localhost",
        port: echo.port,
        tls: { ca: pem("ca.pem") },
        lookup: () => Promise.resolve([{ address: LOCAL, family: 4 }]),
      }));
      assertEquals(connection.tls?.serverName, "localhost");
      assertEquals(await roundTrip(connection, "hello"), "hello");
      connection.destroy();
    } finally {
      await echo.close();
    }
  });

  test("`lookup` feeds the race: an address that refuses is passed over", async () => {
    const echo = await echoServer();
    try {
      const connection = await within(connect({
        hostname: "name.test",
        port: echo.port,
        lookup: () => ["127.0.0.9", "::1", LOCAL],
      }));
      assertEquals(connection.remoteAddress, {
        transport: "tcp",
        hostname: LOCAL,
        port: echo.port,
      });
      connection.destroy();
    } finally {
      await echo.close();
    }
  });

  test("`lookup` is told the family that `localAddress` leaves", async () => {
    const families: unknown[] = [];
    const error = await assertRejects(
      () =>
        within(connect({
          hostname: "name.test",
          port: 9,
          localAddress: LOCAL,
          lookup: (_, { family }) => {
            families.push(family);
            return ["::1"];
          },
        })),
      DnsError,
      "Cannot look up name.test: it has no IPv4 address",
    );
    assertEquals([error.code, ...families], ["ENOTFOUND", 4]);
  });

  test("`lookup` that gives nothing, or no addresses, is a DnsError", async () => {
    assertEquals((await failure(() => [])).code, "ENOTFOUND");
    const wrong: unknown[] = [
      undefined,
      "127.0.0.1",
      { address: LOCAL, family: 4 },
      ["localhost"],
      [""],
      ["127.0.0.1 "],
      ["127.1"],
      ["0x7f.0.0.1"],
      ["0177.0.0.1"],
      ["2130706433"],
      ["[::1]"],
      ["1::2::3"],
      ["::1%"],
      [LOCAL, 4],
      [null],
      [{ address: LOCAL }],
      [{ address: LOCAL, family: 6 }],
      [{ address: "localhost", family: 4 }],
    ];
    for (const answer of wrong) {
      const error = await failure(() => answer as string[]);
      assertEquals(error.code, "ERR_LOOKUP", JSON.stringify(answer));
    }
  });

  test("`lookup` that throws or rejects is a DnsError with its cause", async () => {
    const cause = new Error("no answer");
    const thrown = await failure(() => {
      throw cause;
    });
    assertEquals(thrown.message, "Cannot look up name.test: no answer");
    assertStrictEquals(thrown.cause, cause);
    assertEquals([thrown.code, thrown.retryable], ["ERR_LOOKUP", false]);
    const again = await failure(() =>
      Promise.reject(Object.assign(new Error("later"), { code: "EAI_AGAIN" }))
    );
    assertEquals([again.code, again.retryable], ["EAI_AGAIN", true]);
    const none = await failure(() =>
      Promise.reject(Object.assign(new Error("x"), { code: "ENOTFOUND" }))
    );
    assertEquals(none.message, "Cannot look up name.test: no such host");
    assertEquals((await failure(() => Promise.reject())).code, "ERR_LOOKUP");
    const own = new DnsError("Cannot look up name.test: mine", { code: "EX" });
    assertStrictEquals(
      await failure(() => {
        throw own;
      }),
      own,
    );
  });

  test("`lookup` is given up at the timeout, and its signal aborts", async () => {
    let signal: AbortSignal | undefined;
    const error = await assertRejects(
      () =>
        within(connect({
          hostname: "name.test",
          port: 9,
          timeout: 200,
          lookup: (_, options) => {
            signal = options.signal;
            return new Promise(() => {});
          },
        })),
      TimeoutError,
      "Cannot look up name.test within 200 ms",
    );
    assertEquals(error.phase, "lookup");
    assertStrictEquals(signal?.reason, error);
  });

  test("`lookup` is given up by the caller's signal; a late answer is nothing", async () => {
    const echo = await echoServer();
    const reason = new Error("mine");
    for (const late of ["gives", "throws"]) {
      const controller = new AbortController();
      let answer!: (late: string) => void;
      const asked = new Promise<string>((resolve) => answer = resolve);
      const attempt = connect({
        hostname: "name.test",
        port: echo.port,
        signal: controller.signal,
        lookup: async () => {
          controller.abort(reason);
          if (await asked === "throws") throw new Error("late");
          return [LOCAL];
        },
      });
      const given = await attempt.then(() => undefined, (error) => error);
      assertStrictEquals(given, reason);
      answer(late);
    }
    assertEquals(echo.open(), 0);
    await echo.close();
  });

  test("`lookup` is asked for an IP address, too: it can refuse it", async () => {
    const echo = await echoServer();
    const lookup: Lookup = (hostname) => {
      if (hostname.startsWith("127.")) throw new Error("It is private");
      return [hostname];
    };
    try {
      const error = await assertRejects(
        () => within(connect({ hostname: LOCAL, port: echo.port, lookup })),
        DnsError,
        `Cannot look up ${LOCAL}: It is private`,
      );
      assertEquals(error.phase, "lookup");
      assertEquals(echo.open(), 0);
    } finally {
      await echo.close();
    }
  });

  test("`lookup` of a proxy: for its name, and for what SOCKS leaves to us", async () => {
    const echo = await echoServer();
    const there = await proxy();
    const rows: [string, string[]][] = [
      ["http://proxy.test", ["proxy.test"]],
      [`http://${LOCAL}`, []],
      [`socks5h://${LOCAL}`, []],
      [`socks4a://${LOCAL}`, []],
      [`socks5://${LOCAL}`, ["name.test"]],
      [`socks4://${LOCAL}`, ["name.test"]],
      ["socks5://proxy.test", ["name.test", "proxy.test"]],
    ];
    try {
      for (const [url, expected] of rows) {
        const asked: string[] = [];
        const connection = await within(connect({
          hostname: "name.test",
          port: echo.port,
          proxy: `${url}:${there.port}`,
          lookup: (hostname) => {
            asked.push(hostname);
            return [LOCAL];
          },
        }));
        assertEquals(await roundTrip(connection, url), url);
        connection.destroy();
        assertEquals(asked, expected, url);
      }
    } finally {
      await there.close();
      await echo.close();
    }
  });

  test("`lookup` whose addresses mean nothing to a proxy is a DnsError", async () => {
    await assertRejects(
      () =>
        within(connect({
          hostname: "name.test",
          port: 9,
          proxy: `socks5://${LOCAL}:9`,
          lookup: () => ["fe80::1%eth0"],
        })),
      DnsError,
      "a proxy cannot reach link-local addresses",
    );
  });

  test("`lookup` that is no function, or beside a path, is refused", async () => {
    await assertRejects(
      () => connect({ port: 9, lookup: "x" as unknown as Lookup }),
      TypeError,
      "Cannot connect: lookup must be a function",
    );
    await assertRejects(
      () => connect({ path: "/tmp/x", lookup: () => [LOCAL] }),
      TypeError,
      "Cannot connect: give either path or lookup",
    );
  });

  test("`lookup` whose addresses all refuse fails as the first did", async () => {
    const error = await assertRejects(
      () =>
        within(connect({
          hostname: "name.test",
          port: 1,
          lookup: () => ["127.0.0.8", "127.0.0.9"],
        })),
      ConnectError,
      "127.0.0.8",
    );
    assertEquals(error.code, "ECONNREFUSED");
  });
});

describe("tcp IP addresses", () => {
  test("`ipBytes()` reads addresses strictly", () => {
    assertEquals([...ipBytes("1.2.3.255")!], [1, 2, 3, 255]);
    assertEquals(ipBytes("::")!.join(), new Array(16).fill(0).join());
    assertEquals([...ipBytes("1:2::f")!].at(-1), 15);
    assertEquals(
      [...ipBytes("::ffff:10.0.0.1")!].slice(10),
      [255, 255, 10, 0, 0, 1],
    );
    for (
      const text of [
        ...["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "1.2.3.-1"],
        ...[":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9"],
        ...["12345::", "g::", "1:2:3:4:5:6:7::8", "::1.2.3", "1.2.3.4::"],
        ...["::1.2.3.4:5", " ::1", "::1/64", "1.2.3.4\n"],
      ]
    ) assertEquals(ipBytes(text), undefined, text);
  });

  test("`familyOf()` knows zones of IPv6 only", () => {
    assertEquals(
      ["1.2.3.4", "::1", "fe80::1%eth0", "fe80::1%", "1.2.3.4%1", "a"].map(
        familyOf,
      ),
      [4, 6, 6, 0, 0, 0],
    );
  });

  test("`inNetwork()` compares the first bits, of mapped addresses, too", () => {
    const rows: [string, string, boolean][] = [
      ["10.1.2.3", "10.0.0.0/8", true],
      ["11.1.2.3", "10.0.0.0/8", false],
      ["172.31.0.1", "172.16.0.0/12", true],
      ["172.32.0.1", "172.16.0.0/12", false],
      ["::ffff:10.1.2.3", "10.0.0.0/8", true],
      ["1.2.3.4", "0.0.0.0/0", true],
      ["::1", "0.0.0.0/0", false],
      ["fd00::1", "fc00::/7", true],
      ["1.2.3.4", "1.2.3.4", true],
      ["1.2.3.5", "1.2.3.4", false],
    ];
    for (const [address, network, expected] of rows) {
      assertEquals(
        inNetwork(ipBytes(address)!, networkOf(network)!),
        expected,
        `${address} in ${network}`,
      );
    }
    for (const text of ["10.0.0.0/33", "::/129", "10.0.0.0/", "x/8", "/8"]) {
      assertEquals(networkOf(text), undefined, text);
    }
  });
});
