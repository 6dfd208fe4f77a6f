import { test } from "node:test";
import { assert } from "./assert.ts";
import { kinds } from "./_channel_clients.ts";
import { chromium, openPage } from "./_chromium.ts";
import type { Page } from "./_chromium.ts";
import { examplePath, Program } from "./_programs.ts";

test("examples/channel chats by all three ways in Chromium", {
  skip: chromium === undefined && "not installed: chromium",
  timeout: 120_000,
}, async () => {
  const program = new Program(examplePath("channel/main"), ["0"]);
  const pages: Page[] = [];
  try {
    const [url] = await program.printed(/http:\S+/);
    for (const kind of kinds) pages.push(await openPage(`${url}#${kind}`));
    const has = (page: Page, text: string) =>
      page.until(
        `document.querySelector("#lines")?.textContent.includes(${
          JSON.stringify(text)
        })`,
      );
    for (const [i, kind] of kinds.entries()) await has(pages[i], `by ${kind}`);
    await has(pages[0], "3 are here");
    for (const [i, kind] of kinds.entries()) {
      await pages[i].type("input", `said by ${kind} é😀`);
      for (const page of pages) await has(page, `said by ${kind} é😀\n`);
    }
    // One that goes says so.
    await pages[2].evaluate("location.hash = '#sse'");
    await has(pages[0], "One left: 2 are here");
    await has(pages[0], "One came by sse: 3 are here");
    assert(program.stderr.replace(/.*ExperimentalWarning.*\n.*\n/, "") === "");
  } finally {
    for (const page of pages) await page.close();
    await program.stop();
  }
});
