// In full what `../http_client_chaos_test.ts` is in short.

import { describe, test } from "node:test";
import { chaos } from "../_client_chaos.ts";

describe("Client in chaos", () => {
  for (const seed of [1, 2, 3]) {
    test(`10,000 requests, seed ${seed}`, { timeout: 300_000 }, async () => {
      const ends = await chaos({ requests: 10_000, seed });
      console.log(JSON.stringify(ends));
    });
  }
});
