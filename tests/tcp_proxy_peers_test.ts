import { describe, test } from "node:test";
import { assert, assertEquals, assertMatch, assertRejects } from "./assert.ts";
import { needs, within } from "./_support.ts";
import { echoServer, LOCAL, roundTrip } from "./_proxies.ts";
import { dante, microsocks, socatTls, tinyproxy } from "./_proxy_peers.ts";
import type { Peer } from "./_proxy_peers.ts";
import { pem } from "./_tls_support.ts";
import { connect, ProxyError } from "../tcp/mod.ts";
import type { TcpConnectOptions } from "../tcp/mod.ts";

/** An echo through the proxy, in the clear and over TLS, of some size. */
async function echoes(proxy: TcpConnectOptions["proxy"]): Promise<void> {
  const long = "0123456789abcdef".repeat(16_384);
  for (const tls of [false, true]) {
    const echo = await echoServer({ tls });
    try {
      const connection = await within(
        connect({
          hostname: "localhost",
          port: echo.port,
          tls: tls && { ca: pem("ca.pem") },
          proxy,
        }),
        10_000,
      );
      assertEquals(await roundTrip(connection, "hello"), "hello");
      assert(await roundTrip(connection, long) === long);
      await within(connection.close());
    } finally {
      await echo.close();
    }
  }
}

/** What the proxy says of a port where nobody listens. */
async function refusal(proxy: string): Promise<ProxyError> {
  return await assertRejects(
    () => within(connect({ hostname: LOCAL, port: 1, proxy }), 10_000),
    ProxyError,
  );
}

async function through(
  peer: Promise<Peer>,
  run: (at: string) => Promise<unknown>,
): Promise<void> {
  const { port, close } = await peer;
  try {
    await run(`${LOCAL}:${port}`);
  } finally {
    await close();
  }
}

describe("tcp.connect() proxy, real ones", () => {
  test(
    "`proxy` through tinyproxy",
    { skip: needs("tinyproxy") },
    () =>
      through(tinyproxy(), async (at) => {
        await echoes(`http://user:secret@${at}`);
        const refused = await refusal(`http://user:wrong@${at}`);
        assertEquals(refused.code, "ERR_PROXY_AUTH");
        assertMatch(refused.message, /it answered 40[17] /);
        const nobody = await refusal(`http://user:secret@${at}`);
        assertMatch(nobody.message, /it answered 5\d\d /);
        assertEquals([nobody.code, nobody.retryable], ["ERR_PROXY", true]);
      }),
  );

  test(
    "`proxy` through tinyproxy behind TLS of socat",
    {
      skip: needs("tinyproxy", "socat"),
    },
    () =>
      through(
        tinyproxy(),
        (at) =>
          through(socatTls(Number(at.split(":")[1])), (outer) =>
            echoes({
              url: `https://user:secret@localhost:${outer.split(":")[1]}`,
              tls: { ca: pem("ca.pem") },
            })),
      ),
  );

  test(
    "`proxy` through microsocks",
    { skip: needs("microsocks") },
    () =>
      through(microsocks(), async (at) => {
        await echoes(`socks5://${at}`);
        await echoes(`socks5h://${at}`);
        assertEquals((await refusal(`socks5://${at}`)).code, "ECONNREFUSED");
      }),
  );

  test("`proxy` through microsocks with user and password", {
    skip: needs("microsocks"),
  }, () =>
    through(microsocks("me", "pass:wörd"), async (at) => {
      await echoes(`socks5h://me:pass%3Aw%C3%B6rd@${at}`);
      const wrong = await refusal(`socks5h://me:wrong@${at}`);
      assertEquals(wrong.code, "ERR_PROXY_AUTH");
      const none = await refusal(`socks5h://${at}`);
      assertMatch(none.message, /reply 255/);
    }));

  test("`proxy` through dante, SOCKS4 and SOCKS5", {
    skip: needs("danted"),
  }, () =>
    through(dante(), async (at) => {
      await echoes(`socks4://${at}`);
      await echoes(`socks5h://${at}`);
      assertMatch((await refusal(`socks4://${at}`)).message, /reply 91/);
    }));
});
