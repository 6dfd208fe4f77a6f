import { test } from "node:test";
import { assertEquals, assertRejects } from "./assert.ts";
import { tool, until, within } from "./_support.ts";

test("`within()` gives the value, and an error when it is late", async () => {
  assertEquals(await within(Promise.resolve(1)), 1);
  await assertRejects(
    () => within(new Promise(() => {}), 5, "It"),
    Error,
    "It did not settle within 5 ms",
  );
});

test("`until()` fails when the condition never holds", async () => {
  await until(() => true);
  await assertRejects(() => until(() => false, "It", 5), Error, "It did not");
});

test("`tool()` finds what is on the PATH", () => {
  assertEquals(tool("no-such-tool-anywhere"), undefined);
  assertEquals(typeof tool("sh"), "string");
});
