import { describe, test } from "node:test";
import { assert } from "./assert.ts";
import { chaos } from "./_client_chaos.ts";

describe("Client in chaos", () => {
  test("settles every request, and leaves nothing behind", async () => {
    const ends = await chaos({ requests: 800, seed: 7 });
    // How many is a matter of the machine.
    for (const end of ["done", "abort", "ETIMEDOUT", "ECONNRESET"]) {
      assert(ends[end] > 0, JSON.stringify(ends));
    }
  });
});
