import { describe, test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "./assert.ts";
import { flood } from "./soak/_ws_flood.ts";
import { engines, runtime } from "./_support.ts";

const MIB = 1024 * 1024;
/** What a process may grow by while its peer, or it, does not keep up. */
const GROWTH = 64 * MIB;

// The soak test does the same with 1 GiB and half a minute.
const BYTES = 256 * MIB;
const SECONDS = 2;

describe("backpressure in two processes", () => {
  for (const engine of engines) {
    // Deno's own WebSocket has none in either direction.
    const none = engine === "native" && runtime === "deno";
    for (const slow of ["server", "client"] as const) {
      const title = none
        ? `a ${engine} engine whose ${slow} is slow fails loudly`
        : `a ${engine} engine whose ${slow} is slow stops the other side`;
      test(title, { timeout: 60_000 }, async () => {
        const { server, client } = await flood({
          engine,
          slow,
          bytes: BYTES,
          seconds: SECONDS,
        });
        if (none) {
          assertEquals(server.code, 1008);
          assertStringIncludes(server.error!, 'engine: "wire"');
          return;
        }
        for (const [name, told] of Object.entries({ server, client })) {
          assert(
            told.growth! < GROWTH,
            `the ${name} grew by ${Math.round(told.growth! / MIB)} MiB`,
          );
          assertEquals(told.clean, true, told.error);
        }
        const [fast, reader] = slow === "server"
          ? [client, server]
          : [server, client];
        assertEquals(fast.sent, BYTES);
        assertEquals(reader.read, BYTES);
      });
    }
  }
});
