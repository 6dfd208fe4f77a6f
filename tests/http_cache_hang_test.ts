import { test } from "node:test";
import { TimeoutError } from "../streams/errors.ts";
import type { CacheStore } from "../http/mod.ts";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "./assert.ts";
import { CacheStage } from "./_cache_support.ts";
import { within } from "./_support.ts";

const FRESH = { "cache-control": "max-age=60" };
const never = () => new Promise<never>(() => {});

test("cache() goes on without a store that never answers", async () => {
  for (const method of ["get", "put", "delete"] as const) {
    const faults: unknown[] = [];
    const kept = new Map<string, Awaited<ReturnType<CacheStore["get"]>>>();
    const store: CacheStore = {
      get: (key) => Promise.resolve(kept.get(key)),
      put: (key, responses) => void kept.set(key, responses),
      delete: (key) => kept.delete(key),
      [method]: never,
    };
    const onError = (error: unknown) => faults.push(error);
    const stage = new CacheStage({ storeTimeout: 5, onError }, store);
    const reply = { headers: FRESH, body: "1" };
    await within(stage.step({ reply, body: "1" }, method));
    if (method !== "delete") {
      await within(stage.step({ reply, body: "1" }, method));
    }
    await within(stage.step({ init: { method: "PUT" }, reply: {} }, method));
    assert(faults.length > 0, method);
    for (const fault of faults) {
      assertInstanceOf(fault, TimeoutError);
      assertEquals(fault.phase, "store");
    }
    await stage.client.close({ timeout: 0 });
  }
});

test("cache() waits for a store that hangs once, not for each request", async () => {
  const calls = { get: 0, put: 0, delete: 0 };
  const count = (name: keyof typeof calls) => () => {
    calls[name]++;
    return never();
  };
  const store = {
    get: count("get"),
    put: count("put"),
    delete: count("delete"),
  };
  // It is left alone for ten times as long then.
  const stage = new CacheStage({ storeTimeout: 500 }, store);
  const get = () => {
    stage.reply = { headers: FRESH, body: "1" };
    return stage.client.get("a").text();
  };
  await within(get());
  assertEquals(calls, { get: 1, put: 0, delete: 0 });
  for (let n = 0; n < 20; n++) await within(get());
  assertEquals(calls, { get: 1, put: 0, delete: 0 });
  // What must not be found any more it is told all the same.
  stage.reply = {};
  await within(stage.client.put("a").text());
  assertEquals(calls.get, 1);
  assert(calls.delete > 0);
  await stage.client.close({ timeout: 0 });
});

test("cache() does not hold who gives up while its store hangs", async () => {
  let asked = () => {};
  const began = new Promise<void>((resolve) => asked = resolve);
  const get = () => {
    asked();
    return never();
  };
  const stage = new CacheStage({ storeTimeout: Infinity }, {
    ...{ get, put: never, delete: never },
  });
  const given = new AbortController();
  const { signal } = given;
  const failed = assertRejects(() => stage.client.get("a", { signal }));
  await within(began);
  const reason = new Error("enough");
  given.abort(reason);
  assertEquals(await within(failed), reason);
  assertEquals(stage.asked.length, 0);
  await stage.client.close({ timeout: 0 });
});
