// The proof of the backpressure: 1 GiB to a reader that takes one chunk a
// second, for half a minute, then all the rest. `../tcp_backpressure_test.ts`
// is the same in short.

import { describe, test } from "node:test";
import { assert, assertEquals } from "../assert.ts";
import { runtime } from "../_support.ts";
import { flood } from "./_tcp_flood.ts";

const MIB = 1024 * 1024;
const GROWTH = 64 * MIB;
const BYTES = 1024 * MIB;
const SECONDS = 30;

describe("1 GiB to a slow reader", () => {
  for (const layer of ["plain", "tls"] as const) {
    for (const slow of ["server", "client"] as const) {
      test(`${layer}, slow ${slow}`, { timeout: 300_000 }, async () => {
        const { server, client } = await flood({
          layer,
          slow,
          bytes: BYTES,
          seconds: SECONDS,
        });
        console.log(JSON.stringify({ runtime, layer, slow, server, client }));
        for (const told of [server, client]) {
          assert(told.growth! < GROWTH, `${told.growth! / MIB} MiB`);
          assertEquals(told.clean, true, told.error);
        }
        assertEquals(slow === "server" ? server.read : client.read, BYTES);
      });
    }
  }
});
