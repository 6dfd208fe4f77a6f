import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import { deferred } from "./_client_support.ts";
import { dnsMessage, dnsServer } from "./_dns_server.ts";
import type { Asked, DnsTestServer, TestAnswer } from "./_dns_server.ts";
import { answer, scripted } from "./_http_servers.ts";
import { until, within } from "./_support.ts";
import { Client, resolver } from "../http/mod.ts";
import type { Resolver, ResolverOptions } from "../http/mod.ts";
import { MockClock } from "../streams/mod.ts";
import { DnsError } from "../streams/errors.ts";

type Script = Parameters<typeof dnsServer>[0];

const IPV6 = [0x20, 1, 13, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/** Runs a test with a resolver over a server that answers so. */
async function withDns(
  script: Script,
  run: (lookup: Resolver, server: DnsTestServer) => Promise<void>,
  options: ResolverOptions = {},
): Promise<void> {
  const server = await dnsServer(script);
  try {
    // Nothing here waits for time to pass: it is for machines that are slow.
    const lookup = resolver({
      servers: [server.address],
      timeout: 8000,
      ...options,
    });
    await within(run(lookup, server), 15_000, "The test");
    await until(() => server.open === 0, "The end of all connections");
  } finally {
    await server.close();
  }
}

/** Answers A with this address, and AAAA with nothing. */
const a = (address = "192.0.2.1", ttl = 60): Script => ({ name, type }) => ({
  answers: type === "A" ? [{ name, a: address, ttl }] : [],
});

/** The addresses of family 4. */
async function ipv4(lookup: Resolver, name: string): Promise<string[]> {
  const found = await lookup(name, { family: 4 });
  return found.map(({ address, family }) => {
    assertEquals(family, 4);
    return address;
  });
}

async function notFound(run: () => Promise<unknown>): Promise<void> {
  const error = await assertRejects(run, DnsError);
  assertEquals([error.code, error.phase, error.retryable], [
    "ENOTFOUND",
    "lookup",
    false,
  ]);
}

async function fails(
  run: () => Promise<unknown>,
  message?: string,
): Promise<void> {
  const error = await assertRejects(run, DnsError);
  assertEquals([error.code, error.retryable], ["EAI_AGAIN", true]);
  if (message !== undefined) assertStringIncludes(error.message, message);
}

describe("resolver()", () => {
  test("asks for IPv4 and IPv6, and gives both", () =>
    withDns(({ name, type }) => ({
      answers: type === "A"
        ? [{ name, a: "192.0.2.1" }, { name, a: "192.0.2.2" }]
        : [{ name, aaaa: IPV6 }],
    }), async (lookup, server) => {
      const [six, four] = await Promise.all([
        lookup("a.test", { family: 6 }),
        lookup("a.test", { family: 4 }),
      ]);
      assertEquals(six, [{ address: "2001:db8::1", family: 6 }]);
      assertEquals(four, [
        { address: "192.0.2.1", family: 4 },
        { address: "192.0.2.2", family: 4 },
      ]);
      assertEquals(await lookup("A.test"), [...six, ...four]);
      assertEquals(server.asked.length, 2);
      assertEquals(server.asked.map(({ edns }) => edns), [1232, 1232]);
    }));

  test("gives one family when the other has none, or fails", () =>
    withDns(
      ({ name, type }) =>
        type === "A"
          ? { answers: [{ name, a: "192.0.2.1" }] }
          : { rcode: name === "bad.test" ? 2 : 0 },
      async (lookup) => {
        const expected = [{ address: "192.0.2.1", family: 4 }];
        assertEquals(await lookup("a.test"), expected);
        assertEquals(await lookup("bad.test"), expected);
        await fails(() => lookup("bad.test", { family: 6 }), "code 2");
      },
    ));

  test("does not wait for a family that does not come", () =>
    withDns(
      ({ name, type }) =>
        type === "A" ? { answers: [{ name, a: "192.0.2.1" }] } : undefined,
      async (lookup) => {
        assertEquals((await lookup("a.test")).length, 1);
      },
      { timeout: 3000, attempts: 1 },
    ));

  test("gives an address for itself, and loopback for localhost", () =>
    withDns(() => undefined, async (lookup, server) => {
      for (const [address, family] of [["192.0.2.7", 4], ["::1", 6]] as const) {
        assertEquals(await lookup(address), [{ address, family }]);
      }
      assertEquals(await ipv4(lookup, "localhost"), ["127.0.0.1"]);
      assertEquals(await ipv4(lookup, "a.localhost"), ["127.0.0.1"]);
      assertEquals(server.asked, []);
    }));

  test("asks with ids and ports of their own", () =>
    withDns(a(), async (lookup, server) => {
      for (let i = 0; i < 8; i++) await ipv4(lookup, `n${i}.test`);
      const ids = new Set(server.asked.map(({ id }) => id));
      const ports = new Set(server.asked.map(({ port }) => port));
      assert(ids.size > 4 && ports.size > 4);
    }));

  test("follows names that stand for others, in one answer or in many", () =>
    withDns(({ name }) => {
      const cname = { "a.test": "b.test", "c.test": "d.test" }[name];
      if (name === "one.test") {
        return {
          answers: [
            { name: "e.test", a: "192.0.2.5", ttl: 60 },
            { name: "x.test", a: "192.0.2.66" },
            { name, cname: "E.test", ttl: 5 },
          ],
        };
      }
      if (cname !== undefined) return { answers: [{ name, cname }] };
      return name === "b.test" ? { answers: [{ name, a: "192.0.2.2" }] } : {
        answers: [],
        authority: [{ name: "test", soa: 60 }],
      };
    }, async (lookup) => {
      assertEquals(await ipv4(lookup, "one.test"), ["192.0.2.5"]);
      assertEquals(await ipv4(lookup, "a.test"), ["192.0.2.2"]);
      await notFound(() => ipv4(lookup, "c.test"));
    }));

  test("ends where names stand for each other for ever", () =>
    withDns(({ name }) => {
      if (name === "loop.test") {
        return {
          answers: [
            { name, cname: "other.test" },
            { name: "other.test", cname: name },
          ],
        };
      }
      // Each one leads to one more.
      return { answers: [{ name, cname: `x${name}` }] };
    }, async (lookup, server) => {
      await fails(() => ipv4(lookup, "a.test"), "stand for each other");
      assert(server.asked.length <= 20, `${server.asked.length}`);
    }));

  test("takes what does not fit into a datagram over TCP", () =>
    withDns(({ name, tcp }) =>
      tcp
        ? {
          answers: Array.from({ length: 200 }, (_, i) => ({
            name,
            a: `192.0.2.${i}`,
          })),
        }
        : { flags: 0x8380, answers: [{ name, a: "192.0.2.99" }] }, async (
      lookup,
      server,
    ) => {
      const found = await ipv4(lookup, "big.test");
      assertEquals(found.length, 200);
      assertEquals(server.asked.map(({ tcp }) => tcp), [false, true]);
    }));

  test("asks again without EDNS where it is not understood", () =>
    withDns(({ name, edns }) =>
      edns !== undefined ? { rcode: 1 } : {
        answers: [{ name, a: "192.0.2.1" }],
      }, async (lookup, server) => {
      assertEquals(await ipv4(lookup, "old.test"), ["192.0.2.1"]);
      assertEquals(server.asked.map(({ edns }) => edns), [1232, undefined]);
    }));

  test("does not take an answer to something else, or another id's", () =>
    withDns((asked) => {
      const { name, id } = asked;
      const bad: TestAnswer = { answers: [{ name, a: "192.0.2.66" }] };
      return [
        { ...bad, id: id ^ 1 },
        { ...bad, id: id ^ 0x8000 },
        { ...bad, name: "other.test" },
        { ...bad, type: 28 },
        { ...bad, flags: 0x0100 },
        { ...bad, flags: 0x9180 },
        new Uint8Array(0),
        { answers: [{ name, a: "192.0.2.1" }] },
      ];
    }, async (lookup, server) => {
      assertEquals(await ipv4(lookup, "spoof.test"), ["192.0.2.1"]);
      assertEquals(server.asked.length, 1);
    }));

  test("goes to TCP when somebody seems to guess", () =>
    withDns(
      ({ name, id, tcp }) =>
        tcp
          ? { answers: [{ name, a: "192.0.2.1" }] }
          : Array.from({ length: 40 }, (_, i) => ({
            id: id + 1 + i & 0xffff,
            answers: [{ name, a: "192.0.2.66" }],
          })),
      async (lookup, server) => {
        assertEquals(await ipv4(lookup, "guess.test"), ["192.0.2.1"]);
        assertEquals(server.asked.at(-1)!.tcp, true);
      },
    ));

  const evil: [string, (good: Uint8Array, asked: Asked) => Uint8Array][] = [
    ["cut off", (good) => good.slice(0, good.length - 1)],
    ["longer than it says", (good) => Uint8Array.from([...good, 0])],
    ["a pointer to itself", (good, asked) => pointer(good, asked, 0)],
    ["a pointer forwards", (good, asked) => pointer(good, asked, 4)],
    ["a pointer into the header", (good) => tail(good, [0xc0, 2])],
    ["an unknown kind of label", (good) => tail(good, [0x41, 2])],
    ["a name without an end", (good) => tail(good, [63])],
    ["an A of 3 bytes", (_, asked) =>
      dnsMessage(asked, {
        answers: [{ name: asked.name, raw: [1, [192, 0, 2]] }],
      })],
    ["a CNAME with more behind it", (_, asked) =>
      dnsMessage(asked, {
        answers: [{ name: asked.name, raw: [5, [1, 120, 0, 0]] }],
      })],
    ["more records than there are", (good) => {
      const bytes = good.slice();
      bytes.set([255, 255], 6);
      return bytes;
    }],
    ["no question", (good) => {
      const bytes = good.slice();
      bytes.set([0, 0], 4);
      return bytes;
    }],
    ["a name of 300 bytes", (_, asked) =>
      dnsMessage(asked, {
        answers: [{
          name: Array.from({ length: 10 }, () => "x".repeat(29)).join("."),
          a: "192.0.2.66",
        }],
      })],
  ];
  /** An answer whose record has another name: a pointer from where it is. */
  function pointer(good: Uint8Array, asked: Asked, by: number): Uint8Array {
    const at = 12 + asked.name.length + 2 + 4 + by;
    return tail(good, [0xc0 | at >> 8, at & 255]);
  }
  /** One record that begins so, and is an A. */
  function tail(good: Uint8Array, name: number[]): Uint8Array {
    const head = good.slice(0, good.indexOf(0, 12) + 5);
    return Uint8Array.from([
      ...head,
      ...name,
      ...[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 66],
    ]);
  }
  for (const [what, spoil] of evil) {
    test(`does not take a malformed answer: ${what}`, () =>
      withDns((asked) => {
        const { name } = asked;
        const good = dnsMessage(asked, {
          answers: [{ name, a: "192.0.2.66" }],
        });
        return asked.tcp ? spoil(good, asked) : [
          spoil(good, asked),
          { answers: [{ name, a: "192.0.2.1" }] },
        ];
      }, async (lookup) => {
        assertEquals(await ipv4(lookup, "evil.test"), ["192.0.2.1"]);
      }));
  }

  test("fails when a malformed answer comes over TCP, or none", () =>
    withDns(({ name, tcp }) =>
      !tcp ? { flags: 0x8380 } : name === "cut.test"
        // It is cut off there, too.
        ? { flags: 0x8380 }
        : new Uint8Array(20), async (lookup) => {
      await fails(() => ipv4(lookup, "evil.test"));
      await fails(() => ipv4(lookup, "cut.test"), "cut off");
    }));

  test("asks the next server when one does not answer or refuses", async () => {
    const silent = await dnsServer(() => undefined);
    const refusing = await dnsServer(() => ({ rcode: 5 }));
    try {
      await withDns(a(), async (_, server) => {
        const lookup = resolver({
          servers: [refusing.address, silent.address, server.address],
          timeout: 2000,
        });
        assertEquals(await ipv4(lookup, "a.test"), ["192.0.2.1"]);
        assertEquals(await ipv4(lookup, "b.test"), ["192.0.2.1"]);
        // The one that answered comes first from then on.
        assertEquals([refusing.asked.length, silent.asked.length], [1, 1]);
      });
    } finally {
      await silent.close();
      await refusing.close();
    }
  });

  test("fails when no server answers", async () => {
    await withDns(() => undefined, async (lookup, server) => {
      await fails(() => ipv4(lookup, "a.test"), "within 100 ms");
      assert(server.asked.length <= 3, `${server.asked.length}`);
    }, { timeout: 100, attempts: 3 });
  });

  test("keeps an answer as long as its records say, within bounds", async () => {
    const clock = new MockClock();
    await withDns(({ name }) => ({
      answers: [
        { name, cname: "b.test", ttl: Number(name.split(".")[0]) },
        { name: "b.test", a: "192.0.2.1", ttl: 1000 },
      ],
    }), async (lookup, server) => {
      const asks = async (name: string) => {
        const before = server.asked.length;
        await ipv4(lookup, name);
        return server.asked.length - before;
      };
      for (const name of ["0.test", "20.test", "90.test"]) {
        assertEquals(await asks(name), 1);
      }
      assertEquals(lookup.size, 3);
      await clock.advance(9_999);
      assertEquals(await asks("0.test"), 0);
      await clock.advance(1);
      assertEquals(await asks("0.test"), 1);
      await clock.advance(9_999);
      assertEquals(await asks("20.test"), 0);
      await clock.advance(1);
      assertEquals(await asks("20.test"), 1);
      await clock.advance(9_999);
      assertEquals(await asks("90.test"), 0);
      await clock.advance(1);
      assertEquals(await asks("90.test"), 1);
      lookup.clear();
      assertEquals(lookup.size, 0);
      assertEquals(await asks("90.test"), 1);
    }, { ttl: { min: 10_000, max: 30_000 }, clock });
  });

  test("does not keep what holds for no time, or past its size", () =>
    withDns(
      ({ name }) => ({
        answers: [{
          name,
          a: "192.0.2.1",
          ttl: name === "zero.test" ? 0 : name === "odd.test" ? 2 ** 31 : 60,
        }],
      }),
      async (lookup, server) => {
        for (const name of ["zero.test", "zero.test", "odd.test", "odd.test"]) {
          await ipv4(lookup, name);
        }
        assertEquals([server.asked.length, lookup.size], [4, 0]);
        for (const name of ["a.test", "b.test", "a.test", "c.test"]) {
          await ipv4(lookup, name);
        }
        assertEquals([server.asked.length, lookup.size], [7, 2]);
        // The one longest unused is gone.
        await ipv4(lookup, "a.test");
        assertEquals(server.asked.length, 7);
        await ipv4(lookup, "b.test");
        assertEquals(server.asked.length, 8);
      },
      { size: 2 },
    ));

  test("remembers that there is no such name, as the zone says", async () => {
    const clock = new MockClock();
    await withDns(({ name }) => {
      const [what] = name.split(".");
      return {
        rcode: what === "none" ? 0 : 3,
        authority: what === "unsaid"
          ? []
          : [{ name: "test", soa: what === "long" ? 86_400 : 20, ttl: 3600 }],
      };
    }, async (lookup, server) => {
      const asks = async (name: string) => {
        const before = server.asked.length;
        await notFound(() => ipv4(lookup, name));
        return server.asked.length - before;
      };
      for (const name of ["gone.test", "none.test", "long.test"]) {
        assertEquals(await asks(name), 1);
        assertEquals(await asks(name), 0);
      }
      assertEquals([await asks("unsaid.test"), await asks("unsaid.test")], [
        1,
        1,
      ]);
      await clock.advance(20_000);
      assertEquals(await asks("gone.test"), 1);
      assertEquals(await asks("none.test"), 1);
      assertEquals(await asks("long.test"), 0);
      await clock.advance(10_000);
      assertEquals(await asks("long.test"), 1);
    }, { negativeTtl: 30_000, clock });
  });

  test("asks once for all who ask at a time; one who leaves disturbs nobody", async () => {
    const go = deferred();
    await withDns(async ({ name }) => {
      await go.promise;
      return { answers: [{ name, a: "192.0.2.1" }] };
    }, async (lookup, server) => {
      const abort = new AbortController();
      const reason = new RangeError("Enough");
      const left = assertRejects(() =>
        lookup("a.test", { family: 4, signal: abort.signal })
      );
      const all = Array.from({ length: 50 }, () => ipv4(lookup, "a.test"));
      await until(() => server.asked.length === 1);
      abort.abort(reason);
      assertStrictEquals(await left, reason);
      go.resolve();
      for (const found of await Promise.all(all)) {
        assertEquals(found, ["192.0.2.1"]);
      }
      assertEquals(server.asked.length, 1);
    });
  });

  test("stops asking when nobody waits any more", () =>
    withDns(() => undefined, async (lookup, server) => {
      const abort = new AbortController();
      const one = assertRejects(() =>
        lookup("a.test", { signal: abort.signal })
      );
      await until(() => server.asked.length === 2);
      abort.abort(new RangeError("Enough"));
      assertInstanceOf(await one, RangeError);
      await assertRejects(
        () => lookup("b.test", { signal: abort.signal }),
        RangeError,
      );
      assertEquals(server.asked.length, 2);
    }));

  test("looks within the domains of search, by ndots", () =>
    withDns(({ name }) => {
      if (["a.two.test", "b.c", "only.x.test"].includes(name)) {
        return { answers: [{ name, a: "192.0.2.1" }] };
      }
      return { rcode: 3, authority: [{ name: "", soa: 60 }] };
    }, async (lookup, server) => {
      const names = async (name: string, found = true) => {
        const before = server.asked.length;
        if (found) await ipv4(lookup, name);
        else await notFound(() => ipv4(lookup, name));
        return server.asked.slice(before).map(({ name }) => name);
      };
      assertEquals(await names("a"), ["a.one.test", "a.two.test"]);
      assertEquals(await names("b.c"), ["b.c"]);
      assertEquals(await names("only.x.test."), ["only.x.test"]);
      assertEquals(await names("z.", false), ["z"]);
      assertEquals(await names("y", false), ["y.one.test", "y.two.test", "y"]);
    }, { search: ["one.test", "two.test."] }));

  test("refuses names that are none", () =>
    withDns(a(), async (lookup, server) => {
      for (
        const name of [
          "",
          ".",
          "a..b",
          "a b",
          "a\0.test",
          "é.test",
          "x".repeat(64),
          `${"x.".repeat(130)}x`,
        ]
      ) await notFound(() => lookup(name));
      assertEquals(server.asked, []);
    }));

  test("is a lookup for the client", () =>
    withDns(a("127.0.0.1"), async (lookup, dns) => {
      const server = await scripted(({ socket, head }) =>
        socket.write(answer(/host: (\S+)/.exec(head)![1]))
      );
      const client = new Client({ lookup });
      try {
        for (let i = 0; i < 3; i++) {
          assertEquals(
            await client.get(`http://web.test:${server.port}/`, {
              headers: { connection: "close" },
            }).text(),
            `web.test:${server.port}`,
          );
        }
        assertEquals(dns.asked.filter(({ type }) => type === "A").length, 1);
      } finally {
        await client.close();
        await server.close();
      }
    }));

  test("remembers what the system says without servers", async () => {
    const clock = new MockClock();
    const lookup = resolver({ clock });
    const found = await lookup("localhost", { family: 4 });
    assertEquals(found, [{ address: "127.0.0.1", family: 4 }]);
    assertEquals(lookup.size, 1);
    const again = await lookup("localhost", { family: 4 });
    assertStrictEquals(again[0], found[0]);
    await clock.advance(30_000);
    const fresh = await lookup("localhost", { family: 4 });
    assert(fresh[0] !== found[0]);
    assertEquals(await lookup("192.0.2.1"), [{
      address: "192.0.2.1",
      family: 4,
    }]);
  });

  test("refuses options that make no sense", () => {
    const wrong: [unknown, typeof TypeError | typeof RangeError][] = [
      [{ nonsense: 1 }, TypeError],
      [{ servers: [] }, TypeError],
      [{ servers: "192.0.2.1" }, TypeError],
      [{ servers: ["dns.test"] }, TypeError],
      [{ servers: ["192.0.2.1:0"] }, TypeError],
      [{ servers: ["192.0.2.1:70000"] }, TypeError],
      [{ servers: ["[192.0.2.1]:53"] }, TypeError],
      [{ search: ["a.test"] }, TypeError],
      [{ servers: ["192.0.2.1"], search: ["a..b"] }, TypeError],
      [{ ttl: -1 }, RangeError],
      [{ ttl: { min: 5, max: 1 } }, RangeError],
      [{ ttl: "1" }, RangeError],
      [{ negativeTtl: NaN }, RangeError],
      [{ timeout: 0 }, RangeError],
      [{ size: -1 }, RangeError],
    ];
    for (const [options, kind] of wrong) {
      assertThrows(() => resolver(options as ResolverOptions), kind);
    }
    for (const server of ["::1", "[::1]", "[::1]:53", "127.0.0.1:5353"]) {
      resolver({ servers: [server] });
    }
  });
});
