import type { TestServer } from "./_http_servers.ts";
import { within } from "./_support.ts";
import { Client } from "../http/client.ts";
import type { ClientOptions } from "../http/client.ts";

/** Runs a test with a client and a server, and ends both. */
export async function withClient(
  server: Promise<TestServer>,
  run: (client: Client, server: TestServer) => Promise<unknown>,
  options?: ClientOptions,
): Promise<void> {
  const there = await server;
  const client = new Client(options);
  try {
    await within(run(client, there), 10_000, "The test");
  } finally {
    await client.close({ timeout: 0 });
    await there.close();
  }
}

/** A promise and what settles it. */
export function deferred<T = void>(): {
  promise: Promise<T>;
  resolve(value: T): void;
} {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
