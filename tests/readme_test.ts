// Every block of README.md that begins with three backticks and `ts` is a
// program, and runs as a reader would paste it: `@sluice/net` is the library
// here, and a port that it names is any free one (see _programs.ts). The block
// below one of the four protocols' headings has to echo; any other has to end
// by itself. What must not run is marked otherwise, as `sh` is.
import { access, readFile } from "node:fs/promises";
import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import { echoes } from "./_echoes.ts";
import { examplePath, runSource } from "./_programs.ts";
import { within } from "./_support.ts";

const root = new URL("../", import.meta.url);
const readme = await readFile(new URL("README.md", root), "utf8");

/** The program below a heading. */
function blockBelow(heading: string): string {
  const [, section] = readme.split(new RegExp(`^#+ ${heading}$`, "m"));
  const match = section?.match(/```ts\n([\s\S]*?)```/);
  assert(match, `A program below "${heading}"`);
  return match[1];
}

const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((m) => m[1]);
const headings = {
  http: "HTTP",
  ws: "WebSocket",
  tcp: "TCP",
  udp: "UDP",
} as Record<string, string>;

for (const [protocol, check] of Object.entries(echoes)) {
  test(`README: the ${protocol} echo runs as shown`, async () => {
    const program = await runSource(blockBelow(headings[protocol]));
    try {
      await check(program);
    } finally {
      await program.stop();
    }
  });
}

test("README: the program it opens with is the WebSocket echo", () => {
  assertEquals(blocks[0], blockBelow(headings.ws));
});

test("README: every other program runs to its end", async () => {
  const echoing = Object.values(headings).map(blockBelow);
  for (const block of blocks.filter((block) => !echoing.includes(block))) {
    const program = await runSource(block);
    try {
      const code = await within(program.exit, 30_000, block);
      assertEquals(code, 0, `${block}\n${program.stderr}`);
    } finally {
      await program.stop();
    }
  }
});

test("README: an example is what the README shows", async () => {
  if (import.meta.url.endsWith(".js")) return; // the examples were rewritten
  for (const [protocol, heading] of Object.entries(headings)) {
    const source = await readFile(examplePath(`echo_${protocol}`), "utf8");
    const shown = source.replace("../mod.ts", "@sluice/net");
    assertEquals(blockBelow(heading), shown);
  }
});

test("README: what it links to is there", async () => {
  if (import.meta.url.endsWith(".js")) return; // only the library is packed
  for (const [, path] of readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
    await access(new URL(path, root));
  }
});
