// The proof of the backpressure, in short: `soak/tcp_flood_test.ts` is it in
// full.

import { describe, test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import { flood } from "./soak/_tcp_flood.ts";

const MIB = 1024 * 1024;

describe("a slow reader of another process", () => {
  for (const layer of ["plain", "tls"] as const) {
    for (const slow of ["server", "client"] as const) {
      test(
        `${layer}, slow ${slow}: neither process grows, all arrives`,
        { timeout: 60_000 },
        async () => {
          const { server, client } = await flood({
            layer,
            slow,
            bytes: 256 * MIB,
            seconds: 3,
          });
          for (const told of [server, client]) {
            assert(told.growth! < 64 * MIB, `${told.growth! / MIB} MiB`);
            assertEquals(told.clean, true, told.error);
          }
          const reader = slow === "server" ? server : client;
          assertEquals(reader.read, 256 * MIB);
        },
      );
    }
  }
});
