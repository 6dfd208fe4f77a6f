// Crowds in full: `../http_crowd_test.ts` is the same in short. Each process
// has more than 11,000 files open: `ulimit -n` must allow for that.

import { describe, test } from "node:test";
import { engines } from "../_support.ts";
import { fleeting, idle, pipelined, slowloris } from "./_http_crowds.ts";

const timeout = 300_000;

describe("crowds at an HTTP server", () => {
  for (const engine of engines) {
    test(`10,000 idle, 1,000 busy: ${engine}`, { timeout }, async () => {
      await idle(engine, { idle: 10_000, busy: 1000, times: 50 });
    });
    test(
      `10,000 requests of a deaf client: ${engine}`,
      { timeout },
      async () => {
        await pipelined(engine, { connections: 20, times: 10_000 });
      },
    );
    test(`10,000 resets: ${engine}`, { timeout }, async () => {
      await fleeting(engine, { times: 10_000 });
    });
  }
  for (const kind of ["head", "body"] as const) {
    test(`2,000 slow clients: ${kind}`, { timeout }, async () => {
      const timeouts = { header: 5000, body: 5000 };
      await slowloris([kind], { slow: 2000, timeouts });
    });
  }
  for (const kind of ["whole", "endless"] as const) {
    // The kernel keeps megabytes for each.
    test(`200 that do not read: ${kind}`, { timeout }, async () => {
      await slowloris([kind], { slow: 200, timeouts: { idle: 5000 } });
    });
  }
});
