// What is done to a server by many at once: in full by the soak test, and in
// small by `../http_crowd_test.ts`.

import { assert, assertEquals } from "../assert.ts";
import { runtime, until } from "../_support.ts";
import type { ServerStats } from "../../tcp/mod.ts";
import { ask } from "../_crowd.ts";
import { withPeers } from "./_http_peers.ts";
import type { Peer } from "./_http_peers.ts";

const MIB = 1024 * 1024;

interface Memory {
  rss: number;
  heap: number;
}

type Engine = "wire" | "native";

function tell(what: string, figures: Record<string, unknown>): void {
  console.log(JSON.stringify({ what, runtime, ...figures }));
}

/** Waits until the server has no more connections than these. */
export async function untilConnections(
  server: Peer,
  most: number,
): Promise<void> {
  await until(
    async () => (await server.do<ServerStats>("stats")).connections <= most,
    "The connections' end",
    60_000,
  );
}

/** Idle connections, and others that ask on top of them. */
export async function idle(
  engine: Engine,
  many: { idle: number; busy: number; times: number },
): Promise<void> {
  await withPeers({ engine }, async (server, clients) => {
    // Once through, so that what is there for good is there.
    const first = await clients.do<number>("open", 100);
    await clients.do("exchange", first, ask("/"), 100);
    const before = await server.do<Memory>("memory");
    const idle = await clients.do<number>("open", many.idle);
    await clients.do("exchange", idle, ask("/"), 1);
    const after = await server.do<Memory>("memory");
    const busy = await clients.do<number>("open", many.busy);
    const start = performance.now();
    const answered = await clients.do<number>(
      "exchange",
      busy,
      ask("/"),
      many.times,
    );
    const seconds = (performance.now() - start) / 1000;
    assertEquals(answered, many.busy * many.times);
    // Those that waited are still there.
    assertEquals(
      await clients.do("exchange", idle, ask("/"), 1),
      many.idle,
    );
    if (engine === "wire") {
      const { connections } = await server.do<ServerStats>("stats");
      assertEquals(connections, many.idle + many.busy + 100);
    }
    const each = (of: keyof Memory) =>
      Math.round((after[of] - before[of]) / many.idle);
    tell("idle", {
      engine,
      ...many,
      rssEach: each("rss"),
      heapEach: each("heap"),
      perSecond: Math.round(answered / seconds),
    });
    // Far from what it is: a leak or a buffer for each would be seen.
    assert(each("rss") < 64 * 1024, `${each("rss")} bytes each`);
    for (const crowd of [first, idle, busy]) await clients.do("leave", crowd);
    if (engine === "wire") await untilConnections(server, 0);
  });
}

/** How clients can be slow, and what becomes of them. */
const slowly = {
  /** Their heads do not end. */
  head: { first: ask("/").slice(0, -4), deaf: false, status: 408 },
  /** Their bodies do not. */
  body: {
    first: `${ask("/echo", "POST", "content-length: 10\r\n")}abc`,
    deaf: false,
    status: 408,
  },
  /** They do not read what is there for them, */
  whole: { first: ask("/whole"), deaf: true, status: 0 },
  /** nor what is being made. */
  endless: { first: ask("/endless"), deaf: true, status: 0 },
};

/** Slow clients, which others are not to notice and which are to be cut. */
export async function slowloris(
  kinds: readonly (keyof typeof slowly)[],
  many: { slow: number; timeouts: object },
): Promise<void> {
  await withPeers({ timeouts: many.timeouts }, async (server, clients) => {
    const exchange = () => clients.do("meet", 10, ask("/"));
    await exchange();
    const before = await server.do<Memory>("memory");
    await server.do("peak");
    const crowds = [];
    for (const kind of kinds) {
      const { first, deaf } = slowly[kind];
      const at = await clients.do<number>("open", many.slow, first, deaf);
      crowds.push({ at, ...slowly[kind] });
    }
    const start = performance.now();
    for (let i = 0; i < 5; i++) await exchange();
    const took = (performance.now() - start) / 5;
    await untilConnections(server, 0);
    for (const { at, deaf, status } of crowds) {
      if (!deaf) {
        assertEquals(await clients.do("untilOver", at), {
          [status]: many.slow,
        });
      }
      await clients.do("leave", at);
    }
    const peak = await server.do<number>("peak");
    // And all is well again.
    await exchange();
    const after = await server.do<Memory>("memory");
    tell("slowloris", {
      kinds,
      ...many,
      msForTen: Number(took.toFixed(1)),
      peakMiB: Math.round((peak - before.rss) / MIB),
      heapAfterMiB: Number(((after.heap - before.heap) / MIB).toFixed(1)),
    });
    assert(after.heap - before.heap < 32 * MIB, "It is not given back");
  });
}

/** A client that asks on and on and never reads an answer. */
export async function pipelined(
  engine: Engine,
  many: { connections: number; times: number },
): Promise<void> {
  await withPeers({ engine }, async (server, clients) => {
    const first = await clients.do<number>("open", 10);
    await clients.do("exchange", first, ask("/"), 100);
    const before = await server.do<Memory>("memory");
    await server.do("peak");
    const deaf = await clients.do<number>("open", many.connections, "", true);
    await clients.do("flood", deaf, ask("/long"), many.times);
    await clients.do("exchange", first, ask("/"), 100);
    const after = await server.do<Memory>("memory");
    const peak = await server.do<number>("peak");
    tell("pipelined", {
      engine,
      ...many,
      peakMiB: Math.round((peak - before.rss) / MIB),
      heapMiB: Number(((after.heap - before.heap) / MIB).toFixed(1)),
    });
    const most = (16 + many.connections) * MIB;
    assert(after.heap - before.heap < most, "It stores the answers");
    await clients.do("leave", deaf);
    await clients.do("exchange", first, ask("/"), 1);
    if (engine === "wire") await untilConnections(server, 10);
  });
}

/** Clients that come and are gone at once, in the middle of whatever. */
export async function fleeting(
  engine: Engine,
  many: { times: number },
): Promise<void> {
  const requests = [
    "",
    ask("/").slice(0, -2),
    ask("/"),
    ask("/whole"),
    ask("/endless"),
    `${ask("/echo", "POST", "content-length: 10\r\n")}abc`,
  ];
  await withPeers({ engine }, async (server, clients) => {
    const fleet = async (request: string) => {
      const crowd = await clients.do<number>("open", 100, request, true);
      await clients.do("leave", crowd, true);
    };
    const round = async (times: number) => {
      for (let i = 0; i < times; i += 100) {
        await fleet(requests[(i / 100) % requests.length]);
      }
      // Bun counts the last large body, twice, until it has another.
      if (runtime === "bun") await fleet(ask("/"));
      if (engine === "wire") await untilConnections(server, 0);
    };
    await round(many.times / 2);
    const before = await server.do<Memory>("memory");
    await round(many.times);
    let after = before;
    // Some garbage is of the kind that a runtime finds later.
    await until(
      async () => {
        after = await server.do<Memory>("memory");
        return after.heap - before.heap < 8 * MIB;
      },
      "The memory's return",
      30_000,
    );
    const last = await clients.do<number>("open", 10);
    await clients.do("exchange", last, ask("/"), 1);
    tell("fleeting", {
      engine,
      ...many,
      heapEach: Math.round((after.heap - before.heap) / many.times),
      rssEach: Math.round((after.rss - before.rss) / many.times),
    });
  });
}
