// The proof of the backpressure: 1 GiB to a reader that takes one message a
// second, for half a minute, then all the rest. `../ws_backpressure_test.ts`
// is the same in short.

import { describe, test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { engines, runtime } from "../_support.ts";
import { flood } from "./_ws_flood.ts";

const MIB = 1024 * 1024;
const GROWTH = 64 * MIB;
const BYTES = 1024 * MIB;
const SECONDS = 30;

describe("1 GiB to a slow reader", () => {
  for (const engine of engines) {
    const none = engine === "native" && runtime === "deno";
    for (const slow of ["server", "client"] as const) {
      test(`${engine} engine, slow ${slow}`, { timeout: 300_000 }, async () => {
        const { server, client } = await flood({
          engine,
          slow,
          bytes: BYTES,
          seconds: SECONDS,
        });
        console.log(JSON.stringify({ runtime, engine, slow, server, client }));
        if (none) {
          assertEquals(server.code, 1008);
          assertStringIncludes(server.error!, 'engine: "wire"');
          return;
        }
        for (const told of [server, client]) {
          assert(told.growth! < GROWTH, `${told.growth! / MIB} MiB`);
          assertEquals(told.clean, true, told.error);
        }
        assertEquals(slow === "server" ? server.read : client.read, BYTES);
      });
    }
  }
});
