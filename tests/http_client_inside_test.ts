import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { dnsServer } from "./_dns_server.ts";
import { proxy } from "./_proxies.ts";
import { within } from "./_support.ts";
import { Client, DnsError, FetchError, resolver, serve } from "../http/mod.ts";
import type { ClientOptions, HttpServer, Lookup } from "../http/mod.ts";

// 127.0.0.1 stands for the public network, all else is our own.
const OUTSIDE = "127.0.0.1";
const INSIDE = "127.0.0.2";
const can = (await reaches(INSIDE)) ? false : "no other loopback address";

async function reaches(hostname: string): Promise<boolean> {
  try {
    await (await serve(() => new Response(), { hostname, port: 0 })).close();
    return true;
  } catch {
    return false;
  }
}

interface World {
  readonly outside: HttpServer;
  readonly inside: HttpServer;
  readonly port: number;
  /** Port of the server that must not be reached. */
  readonly secret: number;
  readonly lookup: Lookup;
  /** What names stand for. */
  readonly names: Map<string, string[]>;
}

/** Runs a test with a client that is to stay outside. */
async function withWorld(
  run: (client: Client, world: World) => Promise<void>,
  options: (world: World) => ClientOptions = () => ({}),
): Promise<void> {
  const names = new Map<string, string[]>();
  const dns = await dnsServer(({ name, type }) => ({
    answers: type === "AAAA" ? [] : (names.get(name) ?? []).map((a) => ({
      name,
      a,
      ttl: 0,
    })),
  }));
  const inside = await serve(() => new Response("secret"), {
    hostname: INSIDE,
    port: 0,
  });
  const secret = Number(new URL(inside.url).port);
  const outside = await serve((request) => {
    const to = new URL(request.url).searchParams.get("to");
    return to === null
      ? new Response("public")
      : new Response(null, { status: 302, headers: { location: to } });
  }, { hostname: OUTSIDE, port: 0 });
  const resolve = resolver({ servers: [dns.address], timeout: 8000 });
  const lookup: Lookup = async (hostname, options) => {
    const found = await resolve(hostname, options);
    const public_ = found.filter(({ address }) => address === OUTSIDE);
    if (public_.length === 0) throw new Error("It is of our own network");
    return public_;
  };
  const port = Number(new URL(outside.url).port);
  const world = { outside, inside, port, secret, lookup, names };
  const client = new Client({ lookup, ...options(world) });
  try {
    await within(run(client, world), 15_000, "The test");
    assertEquals(inside.stats().accepted, 0, "nobody came inside");
  } finally {
    await client.close({ timeout: 0 });
    await outside.close({ timeout: 0 });
    await inside.close({ timeout: 0 });
    await dns.close();
  }
}

async function refused(run: () => Promise<unknown>): Promise<void> {
  const error = await assertRejects(run, FetchError, "our own network");
  assertEquals(error.phase, "lookup");
  assert(error.cause instanceof DnsError);
}

describe("a lookup that refuses addresses of one's own network", () => {
  test(
    "lets names and addresses outside pass",
    { skip: can },
    () =>
      withWorld(async (client, { names, port }) => {
        names.set("good.test", [OUTSIDE]);
        names.set("both.test", [INSIDE, OUTSIDE]);
        for (const host of ["good.test", "both.test", OUTSIDE]) {
          assertEquals(
            await client.get(`http://${host}:${port}/`).text(),
            "public",
          );
        }
      }),
  );

  test("refuses names, addresses in any form, and localhost", {
    skip: can,
  }, () =>
    withWorld(async (client, { names, secret }) => {
      names.set("bad.test", [INSIDE]);
      for (
        const host of [
          ...["bad.test", "BAD.test.", INSIDE, "127.2", "0x7f000002"],
          ...["2130706434", "0177.0.0.2", "[::ffff:127.0.0.2]", "[::1]"],
          ...["0.0.0.0", "0", "127。0。0。2"],
        ]
      ) await refused(() => client.get(`http://${host}:${secret}/`));
    }));

  test(
    "refuses where a redirect leads",
    { skip: can },
    () =>
      withWorld(async (client, { names, port, secret }) => {
        names.set("good.test", [OUTSIDE]);
        names.set("bad.test", [INSIDE]);
        const start = `http://good.test:${port}/`;
        for (
          const to of [
            `http://bad.test:${secret}/`,
            `//${INSIDE}:${secret}/`,
            `http://0x7f.2:${secret}/`,
            `${start}?to=${encodeURIComponent(`http://bad.test:${secret}/`)}`,
          ]
        ) await refused(() => client.get(start, { query: { to } }));
        assertEquals(
          await client.get(start, { query: { to: start } }).text(),
          "public",
        );
      }),
  );

  test("connects to what it gave, though the name has changed by then", {
    skip: can,
  }, () =>
    withWorld(async (client, { names, port }) => {
      names.set("moving.test", [OUTSIDE]);
      const url = `http://moving.test:${port}/`;
      const headers = { connection: "close" };
      assertEquals(await client.get(url, { headers }).text(), "public");
      names.set("moving.test", [INSIDE]);
      await refused(() => client.get(url, { headers }));
    }));

  test("is asked for the target where SOCKS leaves names to us", {
    skip: can,
  }, async () => {
    const socks = await proxy();
    try {
      await withWorld(async (client, { names, port, secret }) => {
        names.set("good.test", [OUTSIDE]);
        names.set("bad.test", [INSIDE]);
        const way = { proxy: `socks5://${OUTSIDE}:${socks.port}` };
        assertEquals(
          await client.get(`http://good.test:${port}/`, way).text(),
          "public",
        );
        for (const host of ["bad.test", INSIDE]) {
          await refused(() => client.get(`http://${host}:${secret}/`, way));
        }
      });
    } finally {
      await socks.close();
    }
  });
});
